//! A small builder for the JSON Schema of a tool's arguments.

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

/// The type of an argument.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// A string.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false, a JSON boolean.
    Flag,
    /// One of these strings.
    OneOf(Vec<String>),
    /// An array of values of this type.
    List(Box<Self>),
    /// Any value that this JSON Schema allows.
    Schema(Value),
}

impl Kind {
    /// Returns the type of a string that is one of `words`.
    pub fn one_of<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Self {
        Self::OneOf(words.into_iter().map(Into::into).collect())
    }

    /// Returns the type of an array of values of type `of`.
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
    /// Creates an object without arguments.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an argument that every call must have. The description is for the model.
    #[must_use]
    pub fn required(mut self, name: &str, kind: Kind, description: &str) -> Self {
        self.required.push(name.to_owned());
        self.optional(name, kind, description)
    }

    /// Adds an argument that a call may have. The description is for the model.
    #[must_use]
    pub fn optional(mut self, name: &str, kind: Kind, description: &str) -> Self {
        let mut schema = kind.schema();
        if let Value::Object(schema) = &mut schema {
            schema.insert("description".to_owned(), description.into());
        }
        self.properties.insert(name.to_owned(), schema);
        self
    }

    /// Returns the JSON Schema.
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
