//! Checks a call's arguments against the schema of a built-in tool, and describes the errors so
//! that a model can correct its call. The bounds are written once, in the schema that models
//! receive; this module reads the schema keywords that the built-in tools use, and no others. Other
//! tools check their arguments themselves.

use super::{Tool, ToolError};
use serde_json::{Map, Value};

/// The largest number of errors that are reported at once.
const FAULTS_TOLD: usize = 3;
/// The largest number of characters of a value that an error repeats.
const SHOWN_CHARS_MAX: usize = 40;

/// Checks arguments against the schema of a built-in tool.
///
/// # Errors
/// [`ToolErrorKind::Invalid`](super::ToolErrorKind::Invalid), with the arguments that do not fit
/// and what each has to be.
pub fn check(tool: &Tool, arguments: &Value) -> Result<(), ToolError> {
    let mut faults = Vec::new();
    find_faults("", &tool.parameters, arguments, &mut faults);
    if faults.is_empty() {
        return Ok(());
    }

    faults.truncate(FAULTS_TOLD);
    Err(ToolError::invalid(format!(
        "the arguments do not fit `{}`: {}",
        tool.name,
        faults.join("; ")
    )))
}

fn find_faults(path: &str, schema: &Value, value: &Value, faults: &mut Vec<String>) {
    let fits = match value {
        Value::String(text) => {
            is_of(schema, "string") && is_within(schema, "Length", text.chars().count() as u64)
        }
        Value::Number(number) => {
            let whole = number.as_u64().filter(|_| is_of(schema, "integer"));
            whole.is_some_and(|whole| is_within(schema, "imum", whole))
        }
        Value::Array(items) => {
            is_of(schema, "array") && is_within(schema, "Items", items.len() as u64)
        }
        Value::Bool(_) => is_of(schema, "boolean"),
        Value::Object(_) => is_of(schema, "object"),
        Value::Null => false,
    };
    let listed = schema["enum"].as_array();
    if !fits || listed.is_some_and(|listed| !listed.contains(value)) {
        let has_to = expected(schema);
        faults.push(format!(
            "`{path}` is {}; it has to be {has_to}",
            shown(value)
        ));
        return;
    }

    match value {
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                find_faults(&format!("{path}[{at}]"), &schema["items"], item, faults);
            }
        }
        Value::Object(fields) => find_faults_in_object(path, schema, fields, faults),
        _ => {}
    }
}

fn find_faults_in_object(
    path: &str,
    schema: &Value,
    fields: &Map<String, Value>,
    faults: &mut Vec<String>,
) {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        _ => format!("{path}.{name}"),
    };
    let none = Map::new();
    let known = schema["properties"].as_object().unwrap_or(&none);

    let required = schema["required"].as_array().into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            let is = expected(&known[name]);
            faults.push(format!("`{}` is missing: {is}", below(name)));
        }
    }

    for (name, value) in fields {
        match (known.get(name), &schema["additionalProperties"]) {
            (Some(schema), _) | (None, schema @ Value::Object(_)) => {
                find_faults(&below(name), schema, value, faults);
            }
            (None, Value::Bool(false)) => {
                let names: Vec<String> = known.keys().map(|name| format!("`{name}`")).collect();
                let name = below(&name.chars().take(SHOWN_CHARS_MAX).collect::<String>());
                faults.push(format!("there is no `{name}`, only {}", names.join(", ")));
            }
            (None, _) => {}
        }
    }
}

/// Whether a schema accepts values of this type. One with a list of values accepts texts.
fn is_of(schema: &Value, kind: &str) -> bool {
    schema["type"].as_str().unwrap_or("string") == kind
}

/// Whether a size is between a schema's `minLength` and `maxLength`, or another such pair.
fn is_within(schema: &Value, what: &str, size: u64) -> bool {
    let (least, most) = bounds(schema, what);
    least.is_none_or(|least| size >= least) && most.is_none_or(|most| size <= most)
}

fn bounds(schema: &Value, what: &str) -> (Option<u64>, Option<u64>) {
    let bound = |which: &str| schema[format!("{which}{what}")].as_u64();
    (bound("min"), bound("max"))
}

/// Describes what a schema accepts.
fn expected(schema: &Value) -> String {
    if let Some(listed) = schema["enum"].as_array() {
        let listed: Vec<String> = listed.iter().map(Value::to_string).collect();
        return listed.join(" or ");
    }
    let range = |what: &str, unit: &str| match bounds(schema, what) {
        (None, None) => String::new(),
        (Some(least), None) => format!(", at least {least}{unit}"),
        (None, Some(most)) => format!(", at most {most}{unit}"),
        (Some(least), Some(most)) => format!(", {least} to {most}{unit}"),
    };
    match schema["type"].as_str() {
        Some("integer") => format!("a whole number{}", range("imum", "")),
        Some("array") => format!("a list{}", range("Items", " items")),
        Some("boolean") => "true or false".to_owned(),
        Some("object") => "an object".to_owned(),
        _ => format!("a text{}", range("Length", " characters")),
    }
}

/// Returns a value for an error message; of a long one only its size.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().count() > SHOWN_CHARS_MAX => {
            format!("a text of {} characters", text.chars().count())
        }
        Value::Array(items) => format!("a list of {} items", items.len()),
        Value::Object(_) => "an object".to_owned(),
        Value::Null => "null".to_owned(),
        value => value.to_string(),
    }
}

/// Asserts that [`check`] supports a schema completely: each part has a type, and every keyword is
/// known.
///
/// # Panics
/// If it does not support the schema. For tests of tools.
pub fn assert_is_read_whole(schema: &Value) {
    let fields = schema.as_object().expect("a schema is an object");
    let heeded: &[&str] = match fields
        .get("type")
        .map_or("string", |kind| kind.as_str().expect("a type is a text"))
    {
        "object" => &["properties", "required", "additionalProperties"],
        "array" => &["items", "minItems", "maxItems"],
        "integer" => &["minimum", "maximum"],
        "string" => &["enum", "minLength", "maxLength"],
        "boolean" => &[],
        other => panic!("no type: {other}"),
    };
    for (key, value) in fields {
        let is_known = ["type", "description"].contains(&key.as_str());
        assert!(
            is_known || heeded.contains(&key.as_str()),
            "`{key}` goes unheeded"
        );
        match (key.as_str(), value) {
            ("type" | "description", Value::String(_)) => {}
            ("properties", Value::Object(properties)) => {
                properties.values().for_each(assert_is_read_whole);
                for name in schema["required"].as_array().into_iter().flatten() {
                    let name = name.as_str().expect("a name is a text");
                    assert!(
                        properties.contains_key(name),
                        "`{name}` is required and unknown"
                    );
                }
            }
            ("additionalProperties", Value::Bool(false)) => {}
            ("items" | "additionalProperties", part) => assert_is_read_whole(part),
            ("required" | "enum", Value::Array(listed)) => {
                assert!(!listed.is_empty() && listed.iter().all(Value::is_string));
            }
            (_, Value::Number(bound)) => assert!(bound.is_u64(), "`{key}`: {bound}"),
            (_, value) => panic!("`{key}` is {value}"),
        }
    }
    let says = ["type", "enum"].iter().any(|key| fields.contains_key(*key));
    assert!(says, "it says what it is: {schema}");
}

#[cfg(test)]
mod tests {
    use super::super::Effects;
    use super::*;
    use serde_json::json;

    fn said(arguments: &Value) -> String {
        let tool = Tool {
            name: "it".to_owned(),
            description: String::new(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "path": {"type": "string", "minLength": 1, "maxLength": 50},
                    "depth": {"type": "integer", "minimum": 1, "maximum": 9},
                    "at": {"type": "integer", "minimum": 0},
                    "all": {"type": "boolean"},
                    "headers": {"type": "object", "additionalProperties": {"type": "string"}},
                    "edits": {"type": "array", "minItems": 1, "maxItems": 2, "items": {
                        "type": "object",
                        "properties": {"how": {"enum": ["once", "everywhere"]}},
                        "required": ["how"],
                        "additionalProperties": false
                    }}
                },
                "required": ["path"],
                "additionalProperties": false
            }),
            effects: Effects::None,
        };
        assert_is_read_whole(&tool.parameters);
        let checked = check(&tool, arguments);
        checked.map_or_else(|error| error.message, |()| String::new())
    }

    #[test]
    fn what_fits_passes() {
        for fits in [
            json!({"path": "x"}),
            json!({"path": "ü".repeat(50), "depth": 9, "at": 0, "all": false}),
            json!({"path": "x", "headers": {"any": "x"}, "edits": [{"how": "once"}]}),
        ] {
            assert_eq!(said(&fits), "", "{fits}");
        }
    }

    #[test]
    fn every_fault_names_its_argument_and_what_it_has_to_be() {
        for (arguments, fault) in [
            (json!({}), "`path` is missing: a text, 1 to 50 characters"),
            (json!({"path": null}), "`path` is null; it has to be a text"),
            (json!({"path": ""}), r#"`path` is ""; it has to be a text"#),
            (
                json!({"path": "x".repeat(51)}),
                "`path` is a text of 51 characters; it has",
            ),
            (json!({"path": 1}), "`path` is 1; it has to be a text"),
            (
                json!({"path": "x", "depth": 0}),
                "`depth` is 0; it has to be a whole number, 1 to 9",
            ),
            (
                json!({"path": "x", "depth": 1.5}),
                "`depth` is 1.5; it has to be a whole number",
            ),
            (
                json!({"path": "x", "depth": "1"}),
                r#"`depth` is "1"; it has to be a whole number"#,
            ),
            (
                json!({"path": "x", "at": -1}),
                "`at` is -1; it has to be a whole number, at least 0",
            ),
            (
                json!({"path": "x", "all": "yes"}),
                r#"`all` is "yes"; it has to be true or false"#,
            ),
            (
                json!({"path": "x", "headers": []}),
                "`headers` is a list of 0 items; it has to be an o",
            ),
            (
                json!({"path": "x", "headers": {"a": 1}}),
                "`headers.a` is 1; it has to be a text",
            ),
            (
                json!({"path": "x", "edits": []}),
                "has to be a list, 1 to 2 items",
            ),
            (
                json!({"path": "x", "edits": [{}]}),
                "`edits[0].how` is missing",
            ),
            (
                json!({"path": "x", "edits": [{"how": "once"}, {"how": "x"}]}),
                r#"`edits[1].how` is "x"; it has to be "once" or "everywhere""#,
            ),
            (
                json!({"path": "x", "edits": [{"how": "once", "x": 1}]}),
                "no `edits[0].x`, only `how`",
            ),
            (
                json!({"path": "x", "pathh": 1}),
                "there is no `pathh`, only `path`, `depth`, `at`",
            ),
        ] {
            let said = said(&arguments);
            assert!(
                said.starts_with("the arguments do not fit `it`: "),
                "{said}"
            );
            assert!(said.contains(fault), "{arguments}: {said}");
        }
    }

    #[test]
    fn a_fault_stays_short_whatever_the_model_wrote() {
        let long = "x".repeat(10_000);
        let mut arguments = json!({"path": long, "depth": [long]});
        for at in 0..100 {
            arguments[format!("{at}{long}")] = json!(1);
        }
        assert!(said(&arguments).len() < 1000);
    }
}
