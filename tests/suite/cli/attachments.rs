//! Files that are attached to a prompt: for the command's own host, for the process that owns the
//! data directory, and for a server at an address; and the messages about files that cannot be
//! attached.

use super::served::Served;
use super::{Shell, probe};
use lastword_tests::check::violations;

/// Two files, and how they are attached.
fn files(shell: &Shell) -> [String; 4] {
    let image = shell.file("plot", b"\x89PNG\r\n\x1a\nrest");
    let words = shell.file("notes.md", "words");
    ["--attach".to_owned(), image, "--attach".to_owned(), words]
}

const TOLD: &str = "image/png plot \u{fffd}PNG\r\n\u{1a}\nrest\ntext/markdown notes.md words\n";

#[test]
fn an_agent_is_told_of_files_wherever_it_runs() {
    let shell = Shell::new();
    let files = files(&shell);
    // The bytes of an image hold what a terminal would obey.
    let files = files.iter().map(String::as_str).chain(["--raw"]);
    let files: Vec<&str> = files.collect();
    assert_eq!(shell.probe("attached", &files).exits(0).out, TOLD);

    let served = Served::start(&shell, &[]);
    assert_eq!(shell.probe("attached", &files).exits(0).out, TOLD);
    let other = Shell::new();
    let server = ["--server", served.text("url")];
    let server = [&server[..], &["--token-file", served.text("token_file")]].concat();
    let asked = [&files[..], &server].concat();
    assert_eq!(other.probe("attached", &asked).exits(0).out, TOLD);

    let shown = shell.lastword(&["show", "latest"]).exits(0);
    for line in [
        "[plot, image/png, 12 bytes]",
        "[notes.md, text/markdown, 5 bytes]",
    ] {
        assert!(shown.out.contains(line), "{shown:?}");
    }
    let page = shell.lastword(&["export", "latest"]).exits(0);
    assert!(
        page.out.contains("*`plot`, image/png, 12 bytes*"),
        "{page:?}"
    );
    served.end();
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn a_file_may_be_all_that_is_asked() {
    let shell = Shell::new();
    let words = shell.file("notes.txt", "words");
    let done = shell.lastword(&["run", &probe(), "--attach", &words]);
    // The probe does not know what to do without words; what counts is that it was asked.
    assert!(!done.err.contains("empty"), "{done:?}");
    assert_eq!(shell.newest().0[0].messages[0].parts.len(), 2);
}

#[test]
fn a_prompt_that_waits_tells_its_files() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    let words = shell.file("notes.txt", "words");
    shell.probe("spin before", &["--detach"]).exits(0);
    let behind = ["--detach", "--session", "latest", "--attach", &words];
    let run = shell.probe("first", &behind).exits(0).out;
    let edit = ["queue", "latest", "--edit", run.trim(), "attached"];
    let edited = shell.lastword(&edit).exits(0);
    let waits = "queued  attached [notes.txt, text/plain, 5 bytes]\n";
    assert!(edited.out.ends_with(waits), "{edited:?}");
    let listed = shell.lastword(&["queue", "latest"]).exits(0);
    assert!(listed.out.ends_with(waits), "{listed:?}");
    served.end();
}

#[test]
fn what_cannot_be_attached_is_said_before_anything_runs() {
    let shell = Shell::new();
    let large = shell.file("large.bin", vec![0; (8 << 20) + 1]);
    let third = shell.file("third.bin", vec![0; 7 << 20]);
    let small = shell.file("small", "x");
    let folder = shell.folder.path().to_str().expect("a path of ours");
    let times = |file: &str, count: usize| vec![["--attach".to_owned(), file.to_owned()]; count];
    for (file, count, words) in [
        ("nowhere.png", 1, ["there is no file nowhere.png"; 2]),
        (folder, 1, ["is a directory", "--workspace"]),
        (&large, 1, ["large.bin", "8.0 MiB"]),
        ("/dev/zero", 1, ["/dev/zero", "only plain files"]),
        (&third, 3, ["20.0 MiB together", "--workspace"]),
        (&small, 65, ["65 files", "may have 64"]),
    ] {
        let options = times(file, count).concat();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        shell.probe("attached", &options).exits(2).tells(&words);
    }
    assert!(shell.sessions().is_empty());
}
