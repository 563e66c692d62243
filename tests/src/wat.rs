//! Agents written by hand in the text format, for what no compiler would make: a loop where
//! an allocation should be, a memory of four gigabytes. They follow the canonical ABI of the WIT
//! package.

use crate::guests::root;
use std::fmt::Write as _;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The pieces of a core module that is an agent. All its memory is zero, which reads as an outcome
/// without anything, and as a manifest with nothing but the name that `describe` writes into it.
#[derive(Clone, Debug)]
pub struct Core<'a> {
    /// The memory's declaration.
    pub memory: &'a str,
    /// Further fields of the module: functions, a start.
    pub fields: &'a str,
    /// The body of `describe`.
    pub describe: &'a str,
    /// The body of the allocator.
    pub realloc: &'a str,
    /// The body of `run`.
    pub run: &'a str,
    /// The body of what the host calls after `run` has returned.
    pub post_return: &'a str,
}

/// Loops for ever.
pub const LOOP: &str = "(loop $l (br $l)) unreachable";

/// Returns a manifest named `a`: the text lies behind the record, which has 64 bytes.
const NAMED: &str = "(i32.store (i32.const 2048) (i32.const 2112))
    (i32.store (i32.const 2052) (i32.const 1))
    (i32.store8 (i32.const 2112) (i32.const 97))
    i32.const 2048";

/// The body of `describe` for a manifest in [`manifest`].
pub const DESCRIBE_DATA: &str = "i32.const 2048";

/// Returns the data of a manifest: a name, a want, and the schema of its configuration.
#[must_use]
pub fn manifest(name: &str, want: Option<(&str, bool)>, schema: Option<&str>) -> String {
    const RECORD: u32 = 2048;
    let mut record = [0_u32; 16];
    let mut texts: Vec<u8> = Vec::new();
    let mut keep = |text: &[u8]| {
        // Every text and record begins where a number may lie.
        texts.resize(texts.len().next_multiple_of(4), 0);
        let at = RECORD + 64 + u32::try_from(texts.len()).expect("it is short");
        texts.extend(text);
        (at, u32::try_from(text.len()).expect("it is short"))
    };

    (record[0], record[1]) = keep(name.as_bytes());
    if let Some((capability, required)) = want {
        let (at, length) = keep(capability.as_bytes());
        let want = [at, length, 0, 0, u32::from(required), 0, 0];
        let want: Vec<u8> = want.into_iter().flat_map(u32::to_le_bytes).collect();
        record[6] = keep(&want).0;
        record[7] = 1;
    }

    if let Some(schema) = schema {
        record[8] = 1;
        (record[9], record[10]) = keep(schema.as_bytes());
    }

    let bytes = record.into_iter().flat_map(u32::to_le_bytes).chain(texts);
    let escaped: String = bytes.map(|byte| format!("\\{byte:02x}")).collect();
    format!("(data (i32.const {RECORD}) \"{escaped}\")")
}

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
            describe: NAMED,
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
               (func (export "{turn}#describe") (result i32) {describe})
               (func (export "{turn}#run") {prompt} (result i32) {run})
               (func (export "cabi_post_{turn}#run") (param i32) {post_return})
               (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
               {fields})"#,
            memory = self.memory,
            describe = self.describe,
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
