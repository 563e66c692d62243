//! Which language a file is in, by its name.
//!
//! It does not look into files.

/// Endings and languages, sorted by ending.
const BY_EXTENSION: &[(&str, &str)] = &[
    ("adoc", "AsciiDoc"),
    ("bash", "Shell"),
    ("c", "C"),
    ("cc", "C++"),
    ("cjs", "JavaScript"),
    ("clj", "Clojure"),
    ("cmake", "CMake"),
    ("cpp", "C++"),
    ("cs", "C#"),
    ("css", "CSS"),
    ("csv", "CSV"),
    ("cxx", "C++"),
    ("dart", "Dart"),
    ("erl", "Erlang"),
    ("ex", "Elixir"),
    ("exs", "Elixir"),
    ("fs", "F#"),
    ("go", "Go"),
    ("gradle", "Gradle"),
    ("h", "C"),
    ("hpp", "C++"),
    ("hs", "Haskell"),
    ("htm", "HTML"),
    ("html", "HTML"),
    ("ini", "INI"),
    ("java", "Java"),
    ("js", "JavaScript"),
    ("json", "JSON"),
    ("jsonl", "JSON"),
    ("jsx", "JavaScript"),
    ("jl", "Julia"),
    ("kt", "Kotlin"),
    ("kts", "Kotlin"),
    ("less", "Less"),
    ("lock", "Lock file"),
    ("lua", "Lua"),
    ("m", "Objective-C"),
    ("markdown", "Markdown"),
    ("md", "Markdown"),
    ("mjs", "JavaScript"),
    ("ml", "OCaml"),
    ("mts", "TypeScript"),
    ("nim", "Nim"),
    ("nix", "Nix"),
    ("php", "PHP"),
    ("pl", "Perl"),
    ("proto", "Protocol Buffers"),
    ("ps1", "PowerShell"),
    ("py", "Python"),
    ("pyi", "Python"),
    ("r", "R"),
    ("rb", "Ruby"),
    ("rs", "Rust"),
    ("rst", "reStructuredText"),
    ("s", "Assembly"),
    ("scala", "Scala"),
    ("scss", "Sass"),
    ("sh", "Shell"),
    ("sol", "Solidity"),
    ("sql", "SQL"),
    ("svelte", "Svelte"),
    ("svg", "SVG"),
    ("swift", "Swift"),
    ("tex", "TeX"),
    ("tf", "Terraform"),
    ("toml", "TOML"),
    ("ts", "TypeScript"),
    ("tsx", "TypeScript"),
    ("txt", "Text"),
    ("vue", "Vue"),
    ("wat", "WebAssembly text"),
    ("wit", "WIT"),
    ("xml", "XML"),
    ("yaml", "YAML"),
    ("yml", "YAML"),
    ("zig", "Zig"),
    ("zsh", "Shell"),
];

/// Names that say more than their ending does.
const BY_NAME: &[(&str, &str)] = &[
    ("CMakeLists.txt", "CMake"),
    ("Dockerfile", "Dockerfile"),
    ("Justfile", "Just"),
    ("Makefile", "Make"),
    ("justfile", "Just"),
];

/// The language of a text file.
pub(crate) fn of(name: &str) -> &'static str {
    if let Some((_, language)) = BY_NAME.iter().find(|(known, _)| *known == name) {
        return language;
    }
    let Some((_, extension)) = name.rsplit_once('.') else {
        return "Other text";
    };
    let extension = extension.to_ascii_lowercase();
    BY_EXTENSION
        .iter()
        .find(|(known, _)| *known == extension)
        .map_or("Other text", |(_, language)| language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_languages() {
        for (name, language) in [
            ("lib.rs", "Rust"),
            ("INDEX.HTML", "HTML"),
            ("CMakeLists.txt", "CMake"),
            ("notes.txt", "Text"),
            ("Makefile", "Make"),
            ("LICENSE", "Other text"),
            ("x.unheard-of", "Other text"),
        ] {
            assert_eq!(of(name), language, "{name}");
        }
    }
}
