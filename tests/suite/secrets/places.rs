//! Where values are looked for: texts by the name of their place, and everything of a data
//! directory, by tables and by files.

use lastword_tests::check;
use rusqlite::types::ValueRef;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What there is to be searched.
#[derive(Default)]
pub(super) struct Places {
    texts: BTreeMap<String, Vec<Vec<u8>>>,
    /// Whose log was heard.
    pub(super) speakers: BTreeSet<String>,
}

impl Places {
    pub(super) fn add(&mut self, place: &str, text: impl Into<Vec<u8>>) {
        self.texts
            .entry(place.to_owned())
            .or_default()
            .push(text.into());
    }

    /// Every value of every table, whole, as a file holds it in pages; and every file.
    pub(super) fn add_data(&mut self, data: &Path) {
        let conn = check::open(data);
        let mut tables = conn
            .prepare("SELECT name FROM sqlite_master WHERE type = 'table'")
            .expect("the tables");
        let tables = tables.query_map([], |row| row.get(0)).expect("the tables");
        for table in tables {
            let table: String = table.expect("a name");
            let mut query = conn
                .prepare(&format!("SELECT * FROM \"{table}\""))
                .expect("a table");
            let columns: Vec<String> = query.column_names().map(str::to_owned).collect();
            let mut rows = query.query([]).expect("a table");
            while let Some(row) = rows.next().expect("a row") {
                for (at, column) in columns.iter().enumerate() {
                    if let ValueRef::Text(bytes) | ValueRef::Blob(bytes) =
                        row.get_ref(at).expect("a value")
                    {
                        self.add(&format!("{table}.{column}"), bytes);
                    }
                }
            }
        }
        self.add_files(data);
    }

    fn add_files(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => self.add_files(&path),
                false => self.add(
                    &path.display().to_string(),
                    std::fs::read(&path).unwrap_or_default(),
                ),
            }
        }
    }

    /// The lines that were found in the log.
    pub(super) fn log(&self) -> Vec<String> {
        let lines = self.texts.get("log").into_iter().flatten();
        lines
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect()
    }

    /// The places that hold one of these.
    pub(super) fn holding(&self, needles: &[String]) -> Vec<String> {
        let holds = |text: &Vec<u8>| {
            needles
                .iter()
                .any(|needle| contains(text, needle.as_bytes()))
        };
        let holding = self
            .texts
            .iter()
            .filter(|(_, texts)| texts.iter().any(holds));
        holding.map(|(place, _)| place.clone()).collect()
    }
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == needle[0]) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}
