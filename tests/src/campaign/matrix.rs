//! The loss matrix: what was tried and what was found, by the phase of the kill. Counts only.

use super::chain::Phase;
use super::ledger::Loss;
use std::collections::BTreeMap;
use std::fmt;

/// What became of the kills of one phase.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Kills by SIGKILL that found the process alive.
    pub kills: u64,
    /// What had been acknowledged by then.
    pub acknowledged: u64,
    /// What was found broken.
    pub found: BTreeMap<Loss, u64>,
}

/// A row for each phase.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    /// The rows.
    pub rows: BTreeMap<Phase, Row>,
}

impl Matrix {
    /// Kills of all phases.
    #[must_use]
    pub fn kills(&self) -> u64 {
        self.rows.values().map(|row| row.kills).sum()
    }

    /// Counts another matrix in.
    pub fn add(&mut self, other: Self) {
        for (phase, row) in other.rows {
            let sum = self.rows.entry(phase).or_default();
            sum.kills += row.kills;
            sum.acknowledged += row.acknowledged;
            for (loss, count) in row.found {
                *sum.found.entry(loss).or_default() += count;
            }
        }
    }
}

const LOSSES: [(Loss, &str); 5] = [
    (Loss::Acknowledged, "acknowledged lost"),
    (Loss::Visible, "visible lost"),
    (Loss::NonTerminal, "non-terminal"),
    (Loss::Ends, "duplicate ends"),
    (Loss::Other, "other"),
];

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {:<13} | kills | acknowledged |", "phase")?;
        for (_, title) in LOSSES {
            write!(f, " {title} |")?;
        }
        write!(f, "\n|---|---|---|---|---|---|---|---|")?;
        let mut sum = Row::default();
        for (phase, row) in &self.rows {
            write_row(f, &phase.to_string(), row)?;
            sum.kills += row.kills;
            sum.acknowledged += row.acknowledged;
            for (loss, count) in &row.found {
                *sum.found.entry(*loss).or_default() += count;
            }
        }
        write_row(f, "all", &sum)
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, name: &str, row: &Row) -> fmt::Result {
    write!(
        f,
        "\n| {name:<13} | {:>5} | {:>12} |",
        row.kills, row.acknowledged
    )?;
    for (loss, title) in LOSSES {
        let count = row.found.get(&loss).copied().unwrap_or_default();
        write!(f, " {count:>width$} |", width = title.len())?;
    }
    Ok(())
}
