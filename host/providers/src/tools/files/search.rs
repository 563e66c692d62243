//! `search_text`: matching lines, by the crates of ripgrep, in the order of the paths.

use super::first_n::FirstN;
use super::job::{StopFlag, run_blocking};
use super::list::matcher as glob_matcher;
use super::path::{FILE_BYTES_MAX, RequestedPath, explain, open_at};
use super::walk::{Entry, Kind, TIME_MAX, Visit, Walk, WalkResult};
use super::{Run, TEXT_BYTES_MAX, ToolFailure, arguments, reading, reading_below};
use crate::permits::Allowed;
use crate::tools::{Effects, Invocation, Tool, ToolError, ToolOutput};
use globset::GlobMatcher;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{
    BinaryDetection, MmapChoice, Searcher, SearcherBuilder, Sink, SinkContext, SinkFinish,
    SinkMatch,
};
use serde::Deserialize;
use serde_json::json;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::runtime::Handle;

/// How many matching lines one result has by default.
const MATCHES: usize = 100;
/// How many matching lines one result may have.
const MATCHES_MAX: usize = 1_000;
/// Lines of context on each side.
const CONTEXT_MAX: usize = 20;
/// Bytes of a line that are shown.
const LINE_BYTES_MAX: usize = 400;
/// Bytes of a pattern.
const PATTERN_BYTES_MAX: usize = 4 << 10;
/// Bytes of a compiled pattern, which bounds the cost of each searched byte.
const PROGRAM_BYTES_MAX: usize = 1 << 20;
/// Bytes of a pattern's cache.
const CACHE_BYTES_MAX: usize = 2 << 20;
/// Bytes of a line that are held; a file with a longer one is skipped.
const HEAP_BYTES_MAX: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    pattern: String,
    path: Option<String>,
    glob: Option<String>,
    #[serde(default)]
    literal: bool,
    #[serde(default)]
    ignore_case: bool,
    #[serde(default)]
    hidden: bool,
    context_lines: Option<u64>,
    max_matches: Option<u64>,
}

pub(super) fn tool() -> Tool {
    Tool {
        name: "search_text".to_owned(),
        description: "Search the text files below a directory of the workspace, or one file, \
            for lines that match a regular expression (Rust syntax) or a literal text. What \
            .gitignore leaves out, hidden and binary files are passed over. The answer is \
            sorted by path; a line `12: text` matches, `13- text` is around a match."
            .to_owned(),
        parameters: json!({
            "type": "object",
            "properties": {
                "pattern": {"type": "string", "minLength": 1, "maxLength": PATTERN_BYTES_MAX,
                    "description": "What to look for, within one line."},
                "literal": {"type": "boolean",
                    "description": "The pattern is a text as it stands."},
                "ignore_case": {"type": "boolean"},
                "path": {"type": "string",
                    "description": "A directory or file relative to the workspace; all of it if \
                        not given."},
                "glob": {"type": "string",
                    "description": "Only these: *.rs anywhere, or src/**/*.rs from the workspace."},
                "hidden": {"type": "boolean",
                    "description": "Also names that begin with a dot, other than .git."},
                "context_lines": {"type": "integer", "minimum": 0, "maximum": CONTEXT_MAX,
                    "description": "Lines to show before and after each match."},
                "max_matches": {"type": "integer", "minimum": 1, "maximum": MATCHES_MAX,
                    "description": "How many at the most; 100 if not given."},
            },
            "required": ["pattern"],
            "additionalProperties": false,
        }),
        effects: Effects::None,
    }
}

pub(super) async fn call(
    run: Arc<Run>,
    mut call: Invocation,
    runtime: &Handle,
) -> Result<ToolOutput, ToolFailure> {
    let arguments: Arguments = arguments(&mut call)?;
    let wanted = RequestedPath::parse(arguments.path.as_deref().unwrap_or("."))?;
    let search = Search::new(&arguments)?;
    let at = Arc::clone(&run);

    let (path, is_directory) = run_blocking(runtime, move |_| {
        let root = at.root()?;
        let path = wanted.existing(root)?;
        let found = root.symlink_metadata(&path);
        let is_directory = found.map_err(|error| explain(&path, &error))?.is_dir();
        Ok((path, is_directory))
    })
    .await?;

    let access = if is_directory {
        reading_below(&path, "search")
    } else {
        reading(&path, "search")
    };
    let allowed = call.permits.authorize(access).await?;

    run_blocking(runtime, move |stop| {
        if is_directory {
            search.search_tree(&run, &path, &allowed, stop)
        } else {
            search.search_file(&run, &path, stop)
        }
    })
    .await
}

/// A search: the pattern, and where to look.
struct Search {
    matcher: RegexMatcher,
    glob: Option<GlobMatcher>,
    hidden: bool,
    context: usize,
    max: usize,
}

/// A line of the result.
struct Line {
    number: u64,
    text: String,
    matches: bool,
    /// Whether lines were left out before it.
    gap: bool,
}

impl Search {
    fn new(arguments: &Arguments) -> Result<Self, ToolError> {
        let pattern = &arguments.pattern;
        if pattern.is_empty() || pattern.len() > PATTERN_BYTES_MAX {
            let message = format!("the pattern has to have 1 to {PATTERN_BYTES_MAX} bytes");
            return Err(ToolError::invalid(message));
        }

        let matcher = RegexMatcherBuilder::new()
            .case_insensitive(arguments.ignore_case)
            .fixed_strings(arguments.literal)
            .line_terminator(Some(b'\n'))
            .size_limit(PROGRAM_BYTES_MAX)
            .dfa_size_limit(CACHE_BYTES_MAX)
            .build(pattern)
            .map_err(|error| {
                ToolError::invalid(format!(
                    "`{pattern}` is no pattern for one line: {error}; set `literal` to look for \
                     it as it stands"
                ))
            })?;

        let bounded = |value: Option<u64>, default: usize, max: usize| {
            value.map_or(default, |value| {
                usize::try_from(value).unwrap_or(max).min(max)
            })
        };

        Ok(Self {
            matcher,
            glob: arguments.glob.as_deref().map(glob_matcher).transpose()?,
            hidden: arguments.hidden,
            context: bounded(arguments.context_lines, 0, CONTEXT_MAX),
            max: bounded(arguments.max_matches, MATCHES, MATCHES_MAX).max(1),
        })
    }

    fn searcher(&self) -> Searcher {
        SearcherBuilder::new()
            .binary_detection(BinaryDetection::quit(0))
            // A file that is truncated while it is mapped would crash the host.
            .memory_map(MmapChoice::never())
            .heap_limit(Some(HEAP_BYTES_MAX))
            .line_number(true)
            .before_context(self.context)
            .after_context(self.context)
            // One more than is shown, to know that there are more.
            .max_matches(Some(self.max as u64 + 1))
            .build()
    }

    fn search_tree(
        &self,
        run: &Run,
        path: &str,
        allowed: &Allowed,
        stop: &StopFlag,
    ) -> Result<ToolOutput, ToolFailure> {
        let until = Instant::now() + TIME_MAX;
        let first = FirstN::new(self.max + 1);
        let passed_over = AtomicUsize::new(0);

        let walk = Walk {
            root: run.root()?,
            start: path,
            hidden: self.hidden,
            stop,
        };

        let walked = walk.run(|| SearchVisitor {
            search: self,
            searcher: self.searcher(),
            first: &first,
            passed_over: &passed_over,
            run,
            allowed,
            stop,
            until,
        });
        let walked = walked.map_err(|error| explain(path, &error))?;
        stop.check()?;

        let (files, _) = first.into_ordered();
        Ok(self.output(files, walked, passed_over.into_inner()))
    }

    fn search_file(
        &self,
        run: &Run,
        path: &str,
        stop: &StopFlag,
    ) -> Result<ToolOutput, ToolFailure> {
        let bytes = open_at(run.root()?, path)?.read(path)?;
        let bytes = StoppableFile {
            file: &*bytes,
            stop,
            until: Instant::now() + TIME_MAX,
        };
        let lines = self.lines(&mut self.searcher(), bytes);

        stop.check()?;
        let passed_over = usize::from(lines.is_none());
        let files = lines.filter(|lines| !lines.is_empty());
        let files = files.map(|lines| (path.to_owned(), lines));

        Ok(self.output(files.into_iter().collect(), WalkResult::Whole, passed_over))
    }

    /// The matching lines; `None` if the file is binary or cannot be read.
    fn lines(&self, searcher: &mut Searcher, file: impl Read) -> Option<Vec<Line>> {
        let mut found = FileMatches::default();
        match searcher.search_reader(&self.matcher, file, &mut found) {
            Ok(()) if !found.binary => Some(found.lines),
            _ => None,
        }
    }

    fn output(
        &self,
        files: Vec<(String, Vec<Line>)>,
        walked: WalkResult,
        passed_over: usize,
    ) -> ToolOutput {
        let mut text = String::new();
        let mut shown = Vec::new();
        let mut truncated = false;

        'files: for (path, lines) in files {
            text.push_str(&format!("{path}\n"));
            for line in lines {
                let is_more = line.matches && shown.len() == self.max;
                if is_more || text.len() + line.text.len() > TEXT_BYTES_MAX {
                    truncated = true;
                    break 'files;
                }

                if line.gap {
                    text.push_str("--\n");
                }

                let mark = if line.matches { ':' } else { '-' };
                text.push_str(&format!("{}{mark} {}\n", line.number, line.text));

                if line.matches {
                    shown.push(json!({
                        "path": path, "line": line.number, "text": line.text,
                    }));
                }
            }
        }

        let count = shown.len();

        match (truncated, walked) {
            (true, _) => text.push_str(&format!(
                "[truncated: the first {count} matches, there are more; narrow the pattern, the \
                 path or the glob]"
            )),
            (false, WalkResult::Part) => text.push_str(
                "[truncated: there are more files than one search looks at; give a path below]",
            ),
            (false, WalkResult::Whole) if count == 0 => text.push_str("[no matches]"),
            (false, WalkResult::Whole) => {}
        }

        if passed_over > 0 && !truncated {
            text.push_str(&format!(
                "\n[{passed_over} files are binary, too large or unreadable and were passed over]"
            ));
        }

        let truncated = truncated || walked == WalkResult::Part;
        // If the result is truncated, it is chance which files were not reached.
        let passed_over = (!truncated).then_some(passed_over);
        ToolOutput::text(text).structured(json!({
            "matches": shown, "truncated": truncated, "passed_over": passed_over,
        }))
    }
}

/// The visitor of one thread of the walk.
struct SearchVisitor<'a> {
    search: &'a Search,
    searcher: Searcher,
    first: &'a FirstN<Vec<Line>>,
    passed_over: &'a AtomicUsize,
    run: &'a Run,
    allowed: &'a Allowed,
    stop: &'a StopFlag,
    until: Instant,
}

/// A file whose reads fail once the caller is gone or the time is over, since searching one large
/// file can take longer than that.
struct StoppableFile<'a, F> {
    file: F,
    stop: &'a StopFlag,
    until: Instant,
}

impl<F: Read> Read for StoppableFile<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.stop.is_set() || Instant::now() >= self.until {
            Err(std::io::Error::other("the search is over"))
        } else {
            self.file.read(buffer)
        }
    }
}

impl Visit for SearchVisitor<'_> {
    fn enter(&mut self, path: &str, _: usize) -> bool {
        self.first.may_have(&format!("{path}/"))
    }

    fn entry(&mut self, entry: Entry<'_>) {
        let fits = |glob: &GlobMatcher| glob.is_match(&entry.path);

        if entry.kind != Kind::File
            || !self.search.glob.as_ref().is_none_or(fits)
            || !self.first.may_have(&entry.path)
            || !(self.run.readable)(&entry.path, self.allowed)
        {
            return;
        }

        let Ok(file) = entry.open() else {
            self.passed_over.fetch_add(1, Ordering::Relaxed);
            return;
        };

        let too_large = file
            .metadata()
            .is_ok_and(|metadata| metadata.len() > FILE_BYTES_MAX);
        let lines = if too_large {
            None
        } else {
            let bounded = StoppableFile {
                file: file.take(FILE_BYTES_MAX),
                stop: self.stop,
                until: self.until,
            };
            self.search.lines(&mut self.searcher, bounded)
        };

        match lines {
            None => {
                self.passed_over.fetch_add(1, Ordering::Relaxed);
            }
            Some(lines) if lines.is_empty() => {}
            Some(lines) => {
                let matches = lines.iter().filter(|line| line.matches).count();
                self.first.add(entry.path, matches, lines);
            }
        }
    }
}

/// The matches of one file.
#[derive(Default)]
struct FileMatches {
    lines: Vec<Line>,
    gap: bool,
    binary: bool,
}

impl FileMatches {
    fn add(&mut self, number: Option<u64>, bytes: &[u8], matches: bool) {
        let bytes = bytes.trim_ascii_end();
        let shown = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
        let mut text = String::from_utf8_lossy(shown).into_owned();

        if bytes.len() > LINE_BYTES_MAX {
            text.push_str(&format!(" [… {} bytes]", bytes.len()));
        }

        self.lines.push(Line {
            number: number.unwrap_or_default(),
            text,
            matches,
            gap: std::mem::take(&mut self.gap),
        });
    }
}

impl Sink for &mut FileMatches {
    type Error = std::io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, Self::Error> {
        self.add(found.line_number(), found.bytes(), true);
        Ok(true)
    }

    fn context(&mut self, _: &Searcher, found: &SinkContext<'_>) -> Result<bool, Self::Error> {
        self.add(found.line_number(), found.bytes(), false);
        Ok(true)
    }

    fn context_break(&mut self, _: &Searcher) -> Result<bool, Self::Error> {
        self.gap = true;
        Ok(true)
    }

    fn finish(&mut self, _: &Searcher, end: &SinkFinish) -> Result<(), Self::Error> {
        self.binary = end.binary_byte_offset().is_some();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test support: endless lines, which ask for the stop after a while.
    struct Endless<'a> {
        stop: &'a StopFlag,
        reads: usize,
    }

    impl Read for Endless<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.reads += 1;
            assert!(self.reads < 100, "it is read on after the stop was asked");
            if self.reads == 10 {
                self.stop.set();
            }
            buffer.fill(b'\n');
            Ok(buffer.len())
        }
    }

    #[test]
    fn a_search_in_one_endless_file_ends_when_it_is_asked_to() {
        let arguments = serde_json::from_value(json!({"pattern": "x"})).unwrap();
        let Ok(search) = Search::new(&arguments) else {
            panic!("it is a pattern");
        };
        let stop = StopFlag::default();

        let endless = StoppableFile {
            file: Endless {
                stop: &stop,
                reads: 0,
            },
            stop: &stop,
            until: Instant::now() + TIME_MAX,
        };
        assert!(search.lines(&mut search.searcher(), endless).is_none());
        assert!(stop.is_set());
    }

    #[test]
    fn a_search_ends_with_its_time() {
        let stop = StopFlag::default();
        let mut stoppable = StoppableFile {
            file: &b"text"[..],
            stop: &stop,
            until: Instant::now(),
        };
        assert!(stoppable.read(&mut [0; 8]).is_err());
    }
}
