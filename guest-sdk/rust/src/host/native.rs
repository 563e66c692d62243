//! The host functions of a native target. They panic unless a test has set a host for its thread.
//! Their names and types are those of the functions in a component.

use std::cell::RefCell;
use std::rc::Rc;

use crate::bindings::types::{Failure, Message, Part, ToolCall, ToolResult};
use crate::bindings::{log as wit_log, model as wit_model, state as wit_state};

/// The events of an answer. Returns none after the end.
pub(crate) type Events = Box<dyn Iterator<Item = Result<wit_model::Event, Failure>>>;

/// A host that a test provides.
pub(crate) trait Backend {
    fn history(&self, before: Option<&str>, limit: u32) -> Result<Vec<Message>, Failure>;
    fn append_text(&self, delta: &str) -> Result<(), Failure>;
    fn append_reasoning(&self, delta: &str) -> Result<(), Failure>;
    fn append_part(&self, part: &Part) -> Result<(), Failure>;
    fn record_result(&self, result: &ToolResult) -> Result<(), Failure>;
    fn summarise(&self, text: &str, through: &str) -> Result<(), Failure>;
    fn set_title(&self, title: &str) -> Result<(), Failure>;
    fn read_blob(&self, id: &str) -> Result<Vec<u8>, Failure>;
    fn complete(&self, request: &wit_model::Request) -> Result<Events, Failure>;
    fn models(&self) -> Result<Vec<wit_model::ModelInfo>, Failure>;
    fn available(&self) -> Result<Vec<wit_model::ToolSpec>, Failure>;
    fn call(&self, call: &ToolCall) -> Result<ToolResult, Failure>;
    fn state(&self, scope: wit_state::Scope) -> Result<Rc<RefCell<Values>>, Failure>;
    fn has_secret(&self, name: &str) -> Result<bool, Failure>;
    fn interruption(&self) -> Option<String>;
    fn remaining_ms(&self) -> Option<u64>;
    fn log(&self, level: wit_log::Level, message: &str, fields_json: Option<&str>);
}

/// The values of one scope of the state, by key.
pub(crate) type Values = std::collections::BTreeMap<String, Vec<u8>>;

thread_local! {
    static CURRENT: RefCell<Option<Rc<dyn Backend>>> = const { RefCell::new(None) };
}

/// Sets the thread's host while `act` runs, and removes it afterwards even if `act` panics.
pub(crate) fn enter<R>(backend: Rc<dyn Backend>, act: impl FnOnce() -> R) -> R {
    struct Back(Option<Rc<dyn Backend>>);
    impl Drop for Back {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _back = Back(CURRENT.replace(Some(backend)));
    act()
}

fn current() -> Rc<dyn Backend> {
    let current = CURRENT.with_borrow(Clone::clone);
    current.expect("there is no host here: let `lastword_guest::testing::Host` run the agent")
}

pub(crate) mod transcript {
    //! The conversation.
    use super::{Failure, Message, Part, ToolResult, current};

    pub(crate) fn history(before: Option<&str>, limit: u32) -> Result<Vec<Message>, Failure> {
        current().history(before, limit)
    }
    pub(crate) fn append_text(delta: &str) -> Result<(), Failure> {
        current().append_text(delta)
    }
    pub(crate) fn append_reasoning(delta: &str) -> Result<(), Failure> {
        current().append_reasoning(delta)
    }
    pub(crate) fn append_part(part: &Part) -> Result<(), Failure> {
        current().append_part(part)
    }
    pub(crate) fn record_result(result: &ToolResult) -> Result<(), Failure> {
        current().record_result(result)
    }
    pub(crate) fn summarise(text: &str, through: &str) -> Result<(), Failure> {
        current().summarise(text, through)
    }
    pub(crate) fn set_title(title: &str) -> Result<(), Failure> {
        current().set_title(title)
    }
    pub(crate) fn read_blob(id: &str) -> Result<Vec<u8>, Failure> {
        current().read_blob(id)
    }
}

pub(crate) mod model {
    //! Models.
    use std::cell::RefCell;
    use std::fmt;

    use super::wit_model::{Event, ModelInfo, Reply, Request};
    use super::{Events, Failure, current};
    use crate::testing::gather;

    /// An answer under way.
    pub(crate) struct Completion(RefCell<Events>);

    impl Completion {
        pub(crate) fn next(&self) -> Result<Option<Event>, Failure> {
            self.0.borrow_mut().next().transpose()
        }

        pub(crate) fn to_transcript(&self) -> Result<Reply, Failure> {
            gather(&*current(), &mut self.0.borrow_mut())
        }
    }

    impl fmt::Debug for Completion {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Completion").finish_non_exhaustive()
        }
    }

    pub(crate) fn complete(request: &Request) -> Result<Completion, Failure> {
        let events = current().complete(request)?;
        Ok(Completion(RefCell::new(events)))
    }
    pub(crate) fn models() -> Result<Vec<ModelInfo>, Failure> {
        current().models()
    }
}

pub(crate) mod tools {
    //! Tools of the host.
    use super::wit_model::ToolSpec;
    use super::{Failure, ToolCall, ToolResult, current};

    pub(crate) fn available() -> Result<Vec<ToolSpec>, Failure> {
        current().available()
    }
    pub(crate) fn call(call: &ToolCall) -> Result<ToolResult, Failure> {
        current().call(call)
    }
    pub(crate) fn call_all(calls: &[ToolCall]) -> Vec<Result<ToolResult, Failure>> {
        let host = current();
        calls.iter().map(|call| host.call(call)).collect()
    }
}

pub(crate) mod state {
    //! Values between runs.
    use super::wit_state::Scope;
    use super::{Failure, current};

    pub(crate) fn get(scope: Scope, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        let values = current().state(scope)?;
        Ok(values.borrow().get(key).cloned())
    }
    pub(crate) fn set(scope: Scope, key: &str, value: &[u8]) -> Result<(), Failure> {
        let values = current().state(scope)?;
        values.borrow_mut().insert(key.to_owned(), value.to_vec());
        Ok(())
    }
    pub(crate) fn compare_and_set(
        scope: Scope,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
    ) -> Result<bool, Failure> {
        if get(scope, key)?.as_deref() != expected {
            return Ok(false);
        }
        set(scope, key, value).map(|()| true)
    }
    pub(crate) fn delete(scope: Scope, key: &str) -> Result<(), Failure> {
        let values = current().state(scope)?;
        values.borrow_mut().remove(key);
        Ok(())
    }
    pub(crate) fn keys(scope: Scope, prefix: &str) -> Result<Vec<String>, Failure> {
        let values = current().state(scope)?;
        let values = values.borrow();
        let keys = values.keys().filter(|key| key.starts_with(prefix));
        Ok(keys.cloned().collect())
    }
}

pub(crate) mod secrets {
    //! Names of secrets.
    use super::{Failure, current};

    pub(crate) fn exists(name: &str) -> Result<bool, Failure> {
        current().has_secret(name)
    }
}

pub(crate) mod control {
    //! The run's end.
    use super::current;

    pub(crate) fn interruption() -> Option<String> {
        current().interruption()
    }
    pub(crate) fn remaining_ms() -> Option<u64> {
        current().remaining_ms()
    }
}

pub(crate) mod log {
    //! Lines for the operator.
    use super::current;
    use super::wit_log::Level;

    pub(crate) fn write(level: Level, message: &str, fields_json: Option<&str>) {
        current().log(level, message, fields_json);
    }
}
