//! The JSON Schema of an agent's configuration, as far as the host holds a run to it: the required
//! members and the types of the members at the top. The agent itself reads the rest.

use serde_json::{Map, Value};
use std::fmt::Write as _;

/// The largest number of faults that are told at once.
const FAULTS_TOLD: usize = 3;

/// What an agent's configuration has to have.
#[derive(Debug)]
pub(crate) struct ConfigSchema {
    required: Vec<String>,
    /// The types that each member may have; a member without an entry may have any.
    types: Vec<(String, Vec<String>)>,
}

impl ConfigSchema {
    /// Reads a schema.
    ///
    /// # Errors
    /// If it is not a JSON Schema of an object: the reason, for the agent's author.
    pub(crate) fn read(json: &str) -> Result<Self, String> {
        let schema: Value =
            serde_json::from_str(json).map_err(|error| format!("it is not JSON: {error}"))?;
        let Value::Object(schema) = schema else {
            return Err(format!("it is {}, and not an object", named(&schema)));
        };

        if schema.contains_key("type") && !types(&schema).iter().any(|kind| kind == "object") {
            return Err(format!(
                "its `type` is {}, and a configuration is an `object`",
                schema["type"]
            ));
        }

        let none = Map::new();
        let properties = match schema.get("properties") {
            None => &none,
            Some(Value::Object(properties)) => properties,
            Some(other) => return Err(format!("its `properties` are {}", named(other))),
        };

        let required = match schema.get("required") {
            None => Vec::new(),
            Some(Value::Array(names)) => {
                let names = names.iter().map(|name| name.as_str().map(str::to_owned));
                let names: Option<Vec<_>> = names.collect();
                names.ok_or("its `required` members are not all texts")?
            }
            Some(other) => {
                return Err(format!("its `required` is {}, and no list", named(other)));
            }
        };

        let typed = properties.iter().filter_map(|(name, member)| {
            let kinds = types(member.as_object()?);
            (!kinds.is_empty()).then(|| (name.clone(), kinds))
        });
        Ok(Self {
            required,
            types: typed.collect(),
        })
    }

    /// Checks the configuration of a run. One that sets nothing is left to the agent's defaults.
    ///
    /// # Errors
    /// If it does not fit: each member that does not, and what it has to be.
    pub(crate) fn check(&self, config: &str) -> Result<(), String> {
        if matches!(config.trim(), "" | "null" | "{}") {
            return Ok(());
        }

        let refused = |why: String| Err(format!("the configuration does not fit the agent: {why}"));
        let config: Value = match serde_json::from_str(config) {
            Ok(config) => config,
            Err(error) => return refused(format!("it is not JSON: {error}")),
        };
        let Value::Object(config) = config else {
            return refused(format!("it is {}, and not an object", named(&config)));
        };

        let missing = self
            .required
            .iter()
            .filter(|name| !config.contains_key(*name))
            .map(|name| format!("`{name}` is missing{}", self.wanted(name)));
        let wrong = self.types.iter().filter_map(|(name, kinds)| {
            let value = config.get(name)?;
            let fits = kinds.iter().any(|kind| is_of(kind, value));
            let is = named(value);
            (!fits).then(|| format!("`{name}` is {is}; it has to be {}", kinds.join(" or ")))
        });

        let faults: Vec<String> = missing.chain(wrong).collect();
        match faults.len() {
            0 => Ok(()),
            count => {
                let mut told = faults[..count.min(FAULTS_TOLD)].join("; ");
                if count > FAULTS_TOLD {
                    let _infallible = write!(told, "; and {} more", count - FAULTS_TOLD);
                }
                refused(told)
            }
        }
    }

    /// Returns what a missing member has to be, if the schema says so.
    fn wanted(&self, name: &str) -> String {
        let typed = self.types.iter().find(|(own, _)| own == name);
        typed
            .map(|(_, kinds)| format!(": {}", kinds.join(" or ")))
            .unwrap_or_default()
    }
}

/// Returns the types that a schema names; none if it names none.
fn types(schema: &Map<String, Value>) -> Vec<String> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind.clone()],
        Some(Value::Array(kinds)) => {
            let kinds = kinds.iter().filter_map(Value::as_str);
            kinds.map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a value is of a type of JSON Schema. A type that is not known accepts every value.
fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => {
            let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
            value.is_i64() || value.is_u64() || whole
        }
        _ => true,
    }
}

/// Returns the type of a value, for people.
fn named(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_schema_of_an_object_is_refused() {
        for (json, why) in [
            ("{", "not JSON"),
            ("[]", "an array, and not an object"),
            ("true", "a boolean, and not an object"),
            (r#"{"type": "string"}"#, "`type` is \"string\""),
            (r#"{"type": 3}"#, "`type` is 3"),
            (r#"{"properties": []}"#, "`properties` are an array"),
            (r#"{"required": "a"}"#, "`required` is a string"),
            (r#"{"required": [1]}"#, "not all texts"),
        ] {
            let refused = ConfigSchema::read(json).expect_err(json);
            assert!(refused.contains(why), "{json}: {refused}");
        }
        for json in ["{}", r#"{"type": ["object", "null"]}"#, r#"{"anyOf": []}"#] {
            assert!(ConfigSchema::read(json).is_ok(), "{json}");
        }
    }

    #[test]
    fn a_configuration_is_held_to_required_members_and_types() {
        let schema = ConfigSchema::read(
            r#"{"type": "object", "required": ["repo", "depth"], "properties": {
                "repo": {"type": "string"},
                "depth": {"type": "integer"},
                "tags": {"type": ["array", "null"]},
                "odd": {"type": "unheard-of"},
                "any": {}, "always": true
            }}"#,
        )
        .expect("a schema");
        for fits in [
            "",
            " {} ",
            "null",
            r#"{"repo": "a", "depth": 1, "more": 1}"#,
            r#"{"repo": "a", "depth": -1.0, "tags": null, "odd": 1, "any": [], "always": 1}"#,
        ] {
            assert_eq!(schema.check(fits), Ok(()), "{fits}");
        }
        for (config, why) in [
            ("{", "it is not JSON"),
            ("[]", "it is an array, and not an object"),
            (r#"{"depth": 1}"#, "`repo` is missing: string"),
            (
                r#"{"repo": 7, "depth": 1}"#,
                "`repo` is a number; it has to be string",
            ),
            (
                r#"{"repo": "a", "depth": 1.5}"#,
                "`depth` is a number; it has to be integer",
            ),
            (
                r#"{"repo": "a", "depth": 1, "tags": "x"}"#,
                "`tags` is a string; it has to be array or null",
            ),
        ] {
            let refused = schema.check(config).expect_err(config);
            assert!(refused.contains(why), "{config}: {refused}");
        }
    }

    #[test]
    fn many_faults_are_counted() {
        let required: Vec<String> = (0..9).map(|at| format!("\"m{at}\"")).collect();
        let schema = format!("{{\"required\": [{}]}}", required.join(","));
        let schema = ConfigSchema::read(&schema).expect("a schema");
        let refused = schema.check(r#"{"a": 1}"#).expect_err("nothing is there");
        assert!(
            refused.ends_with("`m2` is missing; and 6 more"),
            "{refused}"
        );
    }
}
