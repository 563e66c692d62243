//! An agent that talks, and then computes for ever without a single call to its host: the kind
//! that a host can only end by force. What it said is still there afterwards.
//!
//! It does not know that it will be stopped.

use std::hint::black_box;

use lastword_guest::prelude::*;

struct Hog;

const WORDS: [&str; 4] = [
    "I have an idea. ",
    "It only needs a little computing. ",
    "I will not call the host while I am at it, and I will not give back the processor. ",
    "Stop me whenever you like: these words are safe with the host.",
];

impl Agent for Hog {
    type Config = ();

    fn manifest() -> Manifest {
        Manifest::new("hog", env!("CARGO_PKG_VERSION"))
            .describe("Says a few sentences, then loops for ever")
            .default_prompt("Take all the time you want.")
    }

    fn run(turn: &Turn<Self::Config>) -> Result<Outcome> {
        for words in WORDS {
            turn.say(words)?;
        }
        let mut count = 0_u64;
        loop {
            count = black_box(count.wrapping_add(1));
        }
    }
}

lastword_guest::export!(Hog);
