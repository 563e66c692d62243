//! A JSON Schema of a tool's arguments, made by hand and small.

use serde_json::{Map, Value, json};

/// The arguments of a tool: an object with these fields and no others.
///
/// ```
/// use lastword_guest::run_tools::{Kind, Parameters};
///
/// let parameters = Parameters::new()
///     .required("city", Kind::Text, "Where")
///     .optional("days", Kind::Integer, "How many days ahead; 1 unless given");
/// assert_eq!(parameters.schema()["required"], serde_json::json!(["city"]));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    properties: Map<String, Value>,
    required: Vec<String>,
}

/// What an argument is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// A string.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Flag,
    /// One of these strings.
    OneOf(Vec<String>),
    /// An array of such values.
    List(Box<Self>),
    /// Whatever this JSON Schema says.
    Schema(Value),
}

impl Kind {
    /// One of these strings.
    pub fn one_of<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Self {
        Self::OneOf(words.into_iter().map(Into::into).collect())
    }

    /// An array of such values.
    pub fn list(of: Self) -> Self {
        Self::List(Box::new(of))
    }

    fn schema(self) -> Value {
        match self {
            Self::Text => json!({ "type": "string" }),
            Self::Integer => json!({ "type": "integer" }),
            Self::Number => json!({ "type": "number" }),
            Self::Flag => json!({ "type": "boolean" }),
            Self::OneOf(words) => json!({ "type": "string", "enum": words }),
            Self::List(of) => json!({ "type": "array", "items": of.schema() }),
            Self::Schema(schema) => schema,
        }
    }
}

impl Parameters {
    /// No arguments.
    pub fn new() -> Self {
        Self::default()
    }

    /// An argument that every call has. The description is for the model.
    #[must_use]
    pub fn required(mut self, name: &str, kind: Kind, description: &str) -> Self {
        self.required.push(name.to_owned());
        self.optional(name, kind, description)
    }

    /// An argument that a call may have.
    #[must_use]
    pub fn optional(mut self, name: &str, kind: Kind, description: &str) -> Self {
        let mut schema = kind.schema();
        if let Value::Object(schema) = &mut schema {
            schema.insert("description".to_owned(), description.into());
        }
        self.properties.insert(name.to_owned(), schema);
        self
    }

    /// The schema.
    pub fn schema(&self) -> Value {
        json!({
            "type": "object",
            "properties": self.properties,
            "required": self.required,
            "additionalProperties": false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_says_what_was_put_in() {
        let parameters = Parameters::new()
            .required("path", Kind::Text, "Which")
            .optional("lines", Kind::list(Kind::Integer), "Where")
            .optional("how", Kind::one_of(["fast", "well"]), "How");
        assert_eq!(
            parameters.schema(),
            json!({
                "type": "object",
                "properties": {
                    "path": { "type": "string", "description": "Which" },
                    "lines": { "type": "array", "items": { "type": "integer" }, "description": "Where" },
                    "how": { "type": "string", "enum": ["fast", "well"], "description": "How" },
                },
                "required": ["path"],
                "additionalProperties": false,
            })
        );
    }
}
