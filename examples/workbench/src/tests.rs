//! The agent at work on a file that is held in memory.

use std::cell::RefCell;
use std::rc::Rc;

use lastword_guest::run_tools::{Answer, Kind, Parameters, Tool};
use lastword_guest::testing::{Host, Reply};
use serde_json::{Value, json};

use super::*;

type Contents = Rc<RefCell<String>>;

/// A host with one file, which may be changed or not.
fn host(file: &Contents, may_write: bool) -> Host {
    let path = Parameters::new().required("path", Kind::Text, "Which");
    let read = Rc::clone(file);
    let read = Tool::new("read_file", "Reads", &path, move |_: Value| {
        Ok(read.borrow().clone())
    });
    let write = Rc::clone(file);
    let edit = Tool::new("edit_file", "Edits", &path, move |edit: Value| {
        if !may_write {
            return Err(Error::new("denied", "write-files=greeting.rs was denied"));
        }
        let text = |name: &str| edit[name].as_str().unwrap_or_default().to_owned();
        let edited = write
            .borrow()
            .replace(&text("old_string"), &text("new_string"));
        write.replace(edited);
        Ok(Answer::text("edited"))
    });
    Host::new().tool(read).tool(edit)
}

fn file() -> Contents {
    Rc::new(RefCell::new("Helo".to_owned()))
}

fn mend() -> Reply {
    let edit = json!({ "path": "greeting.rs", "old_string": "Helo", "new_string": "Hello" });
    Reply::call("edit_file", &edit)
}

#[test]
fn a_file_is_read_and_changed_and_the_change_explained() {
    let file = file();
    let host = host(&file, true)
        .reply(Reply::call("read_file", &json!({ "path": "greeting.rs" })))
        .reply(mend())
        .reply(Reply::text("I mended the greeting."));
    let outcome = host
        .run::<Workbench>("Mend the typo in greeting.rs")
        .unwrap();
    assert_eq!(outcome.reason(), "end_turn");
    assert_eq!(*file.borrow(), "Hello");
    assert_eq!(host.text(), "I mended the greeting.");
    let first = &host.requests()[0];
    assert_eq!(first.tools, ["read_file", "edit_file"]);
    assert!(
        first
            .system
            .as_ref()
            .unwrap()
            .contains("Nobody can be asked")
    );
}

#[test]
fn what_was_denied_is_said_whatever_the_model_says() {
    let file = file();
    let host = host(&file, false)
        .reply(mend())
        .reply(mend())
        .reply(Reply::text("All is well."));
    host.run::<Workbench>("Mend it").unwrap();
    assert_eq!(*file.borrow(), "Helo");
    let said = host.text();
    assert!(said.starts_with("All is well.\n\nDenied this time:\n* `edit_file`: write-files"));
    assert_eq!(said.matches("edit_file").count(), 1);
}

#[test]
fn without_tools_that_change_files_it_says_that_nothing_was_changed() {
    let host = Host::new().reply(Reply::text("I changed everything."));
    host.run::<Workbench>("Mend it").unwrap();
    assert!(host.text().contains("so none was changed"));
    let task = host.requests()[0].system.clone().unwrap_or_default();
    assert!(task.contains("may not change files"));
}

#[test]
fn a_change_that_was_cut_off_is_not_made_and_that_is_said() {
    let file = file();
    let cut = Reply::text("I mend it.").and_cut_call("edit_file", r#"{"path":"greeting.rs""#);
    let host = host(&file, true).reply(cut);
    let outcome = host.run::<Workbench>("Mend it").unwrap();
    assert_eq!(outcome.reason(), "max_tokens");
    assert_eq!(*file.borrow(), "Helo");
    assert!(host.text().contains("My answer was cut off"));
}

#[test]
fn without_tools_it_says_so() {
    let denied = host(&file(), true).deny(Capability::Tools);
    let error = denied.run::<Workbench>("Mend it").unwrap_err();
    assert!(error.is_denied());
    assert!(
        error.message().starts_with("I cannot work without"),
        "{error}"
    );
}

#[test]
fn a_model_that_repeats_itself_is_told_and_then_stopped() {
    let read = || Reply::call("read_file", &json!({ "path": "greeting.rs" }));
    let host = (0..6).fold(host(&file(), true), |host, _| host.reply(read()));
    let outcome = host.run::<Workbench>("Mend it").unwrap();
    assert_eq!(outcome.extra_json("loop-ended"), Some("\"loop\""));
    assert!(host.text().contains("I repeated myself"));
}
