//! What a victim is told, in one variable of its environment: so that any executable that
//! ends up in `victim::live` can be one, a test binary included.

use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

/// The variable.
pub const VARIABLE: &str = "LASTWORD_VICTIM";

/// How a victim lives.
#[derive(Clone, Debug, PartialEq)]
pub struct Orders {
    /// The data directory.
    pub data: PathBuf,
    /// Where compiled guests are kept.
    pub cache: PathBuf,
    /// The probe guest.
    pub probe: PathBuf,
    /// What decides everything else.
    pub seed: u64,
    /// Requests of each session before the host is shut down.
    pub rounds: u64,
    /// Whether held prompts go on.
    pub resume: bool,
    /// Says `accept` before the host has answered: a fault that the campaign must find.
    pub early: bool,
    /// The sessions to go on with, each after the last event that was seen.
    pub cursors: Vec<(String, u64)>,
}

impl Orders {
    /// Tells a process that is about to start.
    pub fn give(&self, command: &mut Command) {
        let orders = json!({
            "data": self.data,
            "cache": self.cache,
            "probe": self.probe,
            "seed": self.seed,
            "rounds": self.rounds,
            "resume": self.resume,
            "early": self.early,
            "cursors": self.cursors,
        });
        command.env(VARIABLE, orders.to_string());
    }

    /// The orders of this process, if it is a victim.
    ///
    /// # Panics
    /// When the variable holds something else.
    #[must_use]
    pub fn of_this_process() -> Option<Self> {
        let text = std::env::var(VARIABLE).ok()?;
        let orders: Value = serde_json::from_str(&text).expect("orders are JSON");
        let path = |name: &str| PathBuf::from(orders[name].as_str().expect("a path"));
        let number = |name: &str| orders[name].as_u64().expect("a number");
        let cursors = orders["cursors"].as_array().expect("a list").iter();
        Some(Self {
            data: path("data"),
            cache: path("cache"),
            probe: path("probe"),
            seed: number("seed"),
            rounds: number("rounds"),
            resume: orders["resume"] == true,
            early: orders["early"] == true,
            cursors: cursors
                .map(|cursor| {
                    let session = cursor[0].as_str().expect("a session").to_owned();
                    (session, cursor[1].as_u64().expect("a number"))
                })
                .collect(),
        })
    }
}
