//! An agent for the tests of the host's epilogue: it says `before` and spins until it is
//! interrupted. Its closing words misbehave if its prompt was `loop` or `panic`, which it passes
//! on by saying so: `before loop`.
//!
//! It does not know what the host promises about closing words.

use std::hint::black_box;

use lastword_guest::prelude::*;

struct EpilogueProbe;

impl Agent for EpilogueProbe {
    type Config = ();

    fn manifest() -> Manifest {
        Manifest::new("epilogue-probe", env!("CARGO_PKG_VERSION"))
            .describe("Spins, and has closing words")
    }

    fn run(turn: &Turn<Self::Config>) -> Result<Outcome> {
        turn.say("before")?;
        if let word @ ("loop" | "panic") = turn.prompt().trim() {
            turn.say(&format!(" {word}"))?;
        }
        spin()
    }
}

impl Epilogue for EpilogueProbe {
    fn close(interruption: &Interruption, said: &[Part]) -> Vec<Part> {
        let text: String = said.iter().filter_map(Part::as_text).collect();
        if text.contains("loop") {
            spin();
        }
        assert!(!text.contains("panic"), "closing words that panic");
        vec![Part::text(format!(
            "closing words ({})",
            interruption.cause
        ))]
    }
}

fn spin() -> ! {
    let mut count = 0_u64;
    loop {
        count = black_box(count.wrapping_add(1));
    }
}

lastword_guest::export_with_epilogue!(EpilogueProbe);
