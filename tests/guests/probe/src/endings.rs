//! Commands that end the run, one way or another.
//!
//! It does not know which end the host makes of it.

use lastword_guest::prelude::*;

use crate::{ProbeTurn, number, said};

pub(crate) fn run(turn: &ProbeTurn, command: &str, argument: &str) -> Option<Result<Outcome>> {
    Some(match command {
        "echo" => said(turn, argument),
        "finish" => Ok(Outcome::finish(argument)),
        "cancelled" => Ok(Outcome::finish("cancelled")),
        "fail" => Err(Error::new("invalid", argument)),
        "nothing" => Ok(Outcome::end_turn()),
        "panic" => {
            let before = turn.say("before");
            before.map(|()| panic!("{argument}"))
        }
        "unreachable" => unreachable_instruction(),
        "exit" => number(argument).map(|code| std::process::exit(code)),
        _ => return None,
    })
}

#[cfg(target_family = "wasm")]
fn unreachable_instruction() -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_family = "wasm"))]
fn unreachable_instruction() -> ! {
    std::process::abort()
}
