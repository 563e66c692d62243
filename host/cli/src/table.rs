//! Rows under a heading, each column as wide as its widest cell.

use crate::terminal::Terminal;

/// A column and its heading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    heading: &'static str,
    is_number: bool,
}

impl Column {
    /// A column of words.
    pub(crate) const fn left(heading: &'static str) -> Self {
        Self {
            heading,
            is_number: false,
        }
    }

    /// A column of numbers, with their last digits below each other.
    pub(crate) const fn right(heading: &'static str) -> Self {
        Self {
            heading,
            is_number: true,
        }
    }
}

/// Returns the rows as text. The cells must be clean.
pub(crate) fn table<const N: usize>(
    columns: [Column; N],
    rows: &[[String; N]],
    terminal: &Terminal,
) -> String {
    let width = |at: usize| {
        let widths = rows.iter().map(|row| row[at].chars().count());
        widths.chain([columns[at].heading.len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();

    let print = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).zip(&columns);
        let padded = cells.map(|((cell, &width), column)| {
            if column.is_number {
                format!("{cell:>width$}")
            } else {
                format!("{cell:width$}")
            }
        });
        let padded: Vec<String> = padded.collect();
        padded.join("  ").trim_end().to_owned()
    };

    let headings = columns.map(|column| column.heading.to_owned());
    let mut text = terminal.out.dim(&print(&headings));
    text.push('\n');
    for row in rows {
        text.push_str(&print(row));
        text.push('\n');
    }

    text
}
