//! Rows under a heading, each column as wide as its widest cell. At a terminal a table fits the
//! window: words are shortened, then columns are left out. In a pipe or a file nothing is.

use crate::terminal::{Terminal, to_stdout};
use serde_json::Value;
use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Blanks between two columns.
const GAP: usize = 2;
/// The width down to which words are shortened before a column is left out.
const WORDS_MIN: usize = 12;

/// A column and its heading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    heading: &'static str,
    kind: Kind,
    is_detail: bool,
}

/// What the cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Ids, states and times, which are shown whole.
    Fixed,
    /// Numbers, which are shown whole, with their last digits below each other.
    Number,
    /// Words that may lose their end.
    Words,
    /// Paths, which may lose their beginning: the end says more.
    Path,
}

impl Column {
    /// A column of ids, states or times.
    pub(crate) const fn fixed(heading: &'static str) -> Self {
        Self::of(heading, Kind::Fixed)
    }

    /// A column of numbers.
    pub(crate) const fn number(heading: &'static str) -> Self {
        Self::of(heading, Kind::Number)
    }

    /// A column of words.
    pub(crate) const fn words(heading: &'static str) -> Self {
        Self::of(heading, Kind::Words)
    }

    /// A column of paths.
    pub(crate) const fn path(heading: &'static str) -> Self {
        Self::of(heading, Kind::Path)
    }

    const fn of(heading: &'static str, kind: Kind) -> Self {
        Self {
            heading,
            kind,
            is_detail: false,
        }
    }

    /// The same, left out of a window that is too narrow. The last such column goes first.
    pub(crate) const fn detail(self) -> Self {
        Self {
            is_detail: true,
            ..self
        }
    }

    /// Returns the width down to which cells of this natural width may be shortened.
    fn width_min(self, width: usize) -> usize {
        match self.kind {
            Kind::Fixed | Kind::Number => width,
            Kind::Words | Kind::Path => width.min(WORDS_MIN.max(self.heading.width())),
        }
    }

    /// Returns the cell at this width.
    fn cell(self, cell: &str, width: usize) -> String {
        let shown = match self.kind {
            Kind::Path => without_beginning(cell, width),
            _ => without_end(cell, width),
        };
        let blanks = " ".repeat(width.saturating_sub(shown.width()));

        match self.kind {
            Kind::Number => blanks + &shown,
            _ => shown.into_owned() + &blanks,
        }
    }
}

/// Returns the rows as text. The cells must be clean, and each one line.
pub(crate) fn table<const N: usize>(
    columns: [Column; N],
    rows: &[[String; N]],
    terminal: &Terminal,
) -> String {
    let natural = columns.iter().enumerate().map(|(at, column)| {
        let widths = rows.iter().map(|row| row[at].width());
        widths.fold(column.heading.width(), usize::max)
    });
    let mut shown: Vec<Shown> = columns
        .iter()
        .zip(natural)
        .enumerate()
        .map(|(at, (&column, width))| Shown { at, column, width })
        .collect();
    if let Some(window) = terminal.out.window {
        fit(&mut shown, window);
    }

    let print = |row: &[String; N]| {
        let cells = shown.iter();
        let cells: Vec<String> = cells
            .map(|shown| shown.column.cell(&row[shown.at], shown.width))
            .collect();
        cells.join(&" ".repeat(GAP)).trim_end().to_owned()
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

/// Prints a table to standard output, or a note in the place of one without rows.
pub(crate) fn print<const N: usize>(
    columns: [Column; N],
    rows: &[[String; N]],
    none: &str,
    terminal: &Terminal,
) {
    if rows.is_empty() {
        terminal.note(none);
        return;
    }

    // A reader that closed the pipe needs no more output: this is no failure.
    let _closed = to_stdout(&table(columns, rows, terminal));
}

/// Prints values to standard output, one on each line.
pub(crate) fn print_json(values: impl IntoIterator<Item = Value>) {
    let lines: String = values
        .into_iter()
        .map(|value| format!("{value}\n"))
        .collect();
    // A reader that closed the pipe needs no more output: this is no failure.
    let _closed = to_stdout(&lines);
}

/// A column that is shown, and how wide it is.
struct Shown {
    /// Its place among the columns of a row.
    at: usize,
    column: Column,
    width: usize,
}

/// Leaves out columns and shortens words until a row fits the window, if it can.
fn fit(shown: &mut Vec<Shown>, window: usize) {
    let row = |width: fn(&Shown) -> usize, shown: &[Shown]| {
        let widths: usize = shown.iter().map(width).sum();
        widths + GAP * shown.len().saturating_sub(1)
    };
    let least = |shown: &Shown| shown.column.width_min(shown.width);
    while row(least, shown) > window
        && let Some(at) = shown.iter().rposition(|shown| shown.column.is_detail)
    {
        shown.remove(at);
    }

    while row(|shown| shown.width, shown) > window {
        let longer = shown.iter_mut().filter(|shown| shown.width > least(shown));
        match longer.max_by_key(|shown| shown.width) {
            Some(widest) => widest.width -= 1,
            None => return,
        }
    }
}

/// Returns the text with `…` in the place of its end, if it is wider than this.
fn without_end(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }

    let ends = text.char_indices().map(|(at, _)| at);
    let kept = ends
        .map(|end| &text[..end])
        .take_while(|kept| kept.width() < width)
        .last();
    Cow::Owned(format!("{}…", kept.unwrap_or_default().trim_end()))
}

/// Returns the text with `…` in the place of its beginning, if it is wider than this.
fn without_beginning(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }

    let starts = text.char_indices().map(|(at, _)| at).rev();
    let kept = starts
        .map(|start| &text[start..])
        .take_while(|kept| kept.width() < width)
        .last();
    // Marks that belong to a letter before them would move to the `…`.
    let kept = kept.unwrap_or_default();
    let kept = kept.trim_start_matches(|c: char| c.width() == Some(0));
    Cow::Owned(format!("…{kept}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Stream;

    const COLUMNS: [Column; 4] = [
        Column::fixed("ID"),
        Column::number("TOKENS").detail(),
        Column::path("WORKSPACE").detail(),
        Column::words("TITLE"),
    ];

    fn shown(window: Option<usize>, rows: &[[&str; 4]]) -> Vec<String> {
        let mut out = Stream::plain();
        out.window = window;
        let terminal = Terminal {
            out,
            err: Stream::plain(),
            reads: false,
            verbose: false,
        };
        let rows: Vec<[String; 4]> = rows.iter().map(|row| row.map(str::to_owned)).collect();
        let text = table(COLUMNS, &rows, &terminal);
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn wide_letters_take_two_cells() {
        let rows = [
            ["1", "7", "/日本語", "first"],
            ["2", "1234567", "/👩\u{200d}🚀/e\u{301}", "second"],
            ["3", "", "/plain", "third"],
        ];
        let expected = [
            "ID   TOKENS  WORKSPACE  TITLE",
            "1         7  /日本語    first",
            "2   1234567  /👩\u{200d}🚀/e\u{301}      second",
            "3            /plain     third",
        ];
        assert_eq!(shown(None, &rows), expected);
    }

    #[test]
    fn only_a_window_shortens_anything() {
        let (path, title) = ("/work".repeat(100), "word ".repeat(100) + "end");
        let rows = [["1", "2", path.as_str(), title.as_str()]];
        let whole = shown(None, &rows);
        assert_eq!(whole[1], format!("1        2  {path}  {title}"));

        for window in [50, 60, 80, 200] {
            let lines = shown(Some(window), &rows);
            assert_eq!(lines[1].width(), window, "{}", lines[1]);
            assert!(
                lines[1].contains("  …"),
                "the end of the path: {}",
                lines[1]
            );
            assert!(lines[1].ends_with('…'), "the title's start: {}", lines[1]);
        }
    }

    #[test]
    fn the_widest_words_are_shortened_first() {
        let rows = [["1", "2", "/short", "a title that is too long"]];
        let expected = [
            "ID  TOKENS  WORKSPACE  TITLE",
            "1        2  /short     a title that i…",
        ];
        assert_eq!(shown(Some(38), &rows), expected);
    }

    #[test]
    fn a_narrow_window_leaves_out_details_and_keeps_ids_whole() {
        let id = "01990b6e-7c1d";
        let rows = [[id, "1234567", "/somewhere/else", "some words that are said"]];
        let titled = [
            "ID              TOKENS  TITLE",
            "01990b6e-7c1d  1234567  some words that…",
        ];
        assert_eq!(shown(Some(40), &rows), titled);
        let untold = ["ID             TITLE", "01990b6e-7c1d  some words…"];
        assert_eq!(shown(Some(27), &rows), untold);
        assert_eq!(
            shown(Some(5), &rows),
            untold,
            "what cannot fit is left to the terminal"
        );
    }

    #[test]
    fn letters_are_not_cut_in_two() {
        assert_eq!(without_end("日本語の題", 10), "日本語の題");
        assert_eq!(without_end("日本語の題", 9), "日本語の…");
        assert_eq!(without_end("日本語の題", 8), "日本語…");
        assert_eq!(without_end("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
        assert_eq!(without_beginning("/日本語", 6), "…本語");
        assert_eq!(without_beginning("/日本語", 5), "…本語");
        assert_eq!(without_beginning("ae\u{301}e\u{301}", 2), "…e\u{301}");
        assert_eq!(without_end("日", 1), "…");
    }
}
