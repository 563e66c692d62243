//! Agents written by hand in the text format, for what no compiler would make: a loop where
//! an allocation should be, a memory of four gigabytes. They follow the canonical ABI of the WIT
//! package.

use crate::guests::root;
use std::fmt::Write as _;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The pieces of a core module that is an agent. All its memory is zero, which reads as an
/// empty manifest and as an outcome without anything.
#[derive(Clone, Debug)]
pub struct Core<'a> {
    /// The memory's declaration.
    pub memory: &'a str,
    /// Further fields of the module: functions, a start.
    pub fields: &'a str,
    /// The body of the allocator.
    pub realloc: &'a str,
    /// The body of `run`.
    pub run: &'a str,
    /// The body of what the host calls after `run` has returned.
    pub post_return: &'a str,
}

/// Loops for ever.
pub const LOOP: &str = "(loop $l (br $l)) unreachable";

/// A function that is small and costly to compile: each of its branches sets one of its variables,
/// which the compiler then has to keep book of wherever control flow meets.
#[must_use]
pub fn costly(variables: usize, branches: usize) -> String {
    let mut text = format!("(func (param i32) (local{})", " i32".repeat(variables));
    for branch in 0..branches {
        // A fixed way to look at another variable each time.
        let (set, read) = (1 + branch % variables, 1 + branch * 7919 % variables);
        let _infallible = write!(text, "local.get {read} if local.get 0 local.set {set} end ");
    }
    text.push(')');
    text
}

impl Default for Core<'_> {
    fn default() -> Self {
        Self {
            memory: "(memory (export \"memory\") 2)",
            fields: "",
            realloc: "i32.const 65536",
            run: "i32.const 1024",
            post_return: "",
        }
    }
}

impl Core<'_> {
    /// The component.
    ///
    /// # Panics
    /// When the text is wrong.
    #[must_use]
    pub fn component(&self) -> Vec<u8> {
        let turn = "lastword:agent/turn@0.1.0";
        let prompt = "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)";
        let mut text = String::from("(module\n");
        let _infallible = write!(
            text,
            r#"{memory}
               (func (export "{turn}#describe") (result i32) i32.const 1024)
               (func (export "{turn}#run") {prompt} (result i32) {run})
               (func (export "cabi_post_{turn}#run") (param i32) {post_return})
               (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
               {fields})"#,
            memory = self.memory,
            run = self.run,
            post_return = self.post_return,
            realloc = self.realloc,
            fields = self.fields,
        );
        let mut module = wat::parse_str(&text).expect("the text is WebAssembly");
        let mut resolve = Resolve::default();
        let (package, _) = resolve
            .push_dir(root().join("wit"))
            .expect("the WIT package");
        let world = resolve
            .select_world(&[package], Some("agent"))
            .expect("its world");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .expect("the world fits");
        ComponentEncoder::default()
            .module(&module)
            .and_then(|encoder| encoder.validate(false).encode())
            .expect("the module fits its world")
    }
}
