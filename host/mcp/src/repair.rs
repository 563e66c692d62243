//! Repairs responses of a server that nearly fit the protocol's types: one odd member costs only
//! that member, one odd tool that tool, one odd piece of content its form. Pure: JSON in, JSON out.

use super::introduction;
use rmcp::model::{
    CallToolResult, ContentBlock, ErrorCode, ErrorData, InputRequiredResult, ListToolsResult, Tool,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Where a repaired list of tools names those that were left out.
const LEFT_OUT: &str = "lastword/leftOut";

/// The kind of a request, as far as its response may need repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// The server's introduction: `initialize` and `server/discover`.
    Start,
    /// A page of the list of tools.
    Tools,
    /// The call of a tool.
    Call,
    /// Anything else; its response is passed on unchanged.
    Other,
}

/// Repairs a result, so that it fits the protocol's types.
///
/// # Errors
///
/// What is wrong with the result, if none of it can be used.
pub(super) fn result(result: Value, asked: RequestKind) -> Result<Value, String> {
    match asked {
        RequestKind::Start => Ok(introduction::start(result)),
        RequestKind::Tools => tools(result),
        RequestKind::Call => Ok(call(result)),
        RequestKind::Other => Ok(result),
    }
}

/// Repairs an error of any form.
pub(super) fn error(error: Value) -> ErrorData {
    let Value::Object(mut members) = error else {
        return ErrorData::new(ErrorCode::INTERNAL_ERROR, display(&error), None);
    };
    let code = members.get("code").and_then(number);
    let code = code.and_then(|code| i32::try_from(code).ok());
    let message = match members.get("message") {
        Some(Value::String(message)) => message.clone(),
        _ => Value::Object(members.clone()).to_string(),
    };

    let code = code.map_or(ErrorCode::INTERNAL_ERROR, ErrorCode);
    ErrorData::new(code, message, members.remove("data"))
}

/// Takes the names of the omitted tools out of a repaired list.
pub(super) fn take_left_out(list: &mut ListToolsResult) -> Vec<String> {
    let meta = list.meta.as_mut();
    let names = meta.and_then(|meta| meta.remove(LEFT_OUT));
    names
        .and_then(|names| serde_json::from_value(names).ok())
        .unwrap_or_default()
}

fn tools(result: Value) -> Result<Value, String> {
    let Value::Object(mut list) = result else {
        return Err(format!("expected a list of tools, not {}", kind(&result)));
    };
    let offered = match list.remove("tools") {
        Some(Value::Array(offered)) => offered,
        Some(other) => return Err(format!("`tools` is {}, not a list", kind(&other))),
        None => return Err("it has no list `tools`".to_owned()),
    };
    let mut tools = Vec::with_capacity(offered.len());
    let mut left_out: Vec<String> = Vec::new();

    for (at, offered) in offered.into_iter().enumerate() {
        match tool(offered) {
            Ok(tool) => tools.push(tool),
            Err(why) => left_out.push(format!("number {}: {why}", at + 1)),
        }
    }

    if let Some(cursor) = list.get("nextCursor").and_then(number) {
        list.insert("nextCursor".to_owned(), json!(cursor.to_string()));
    }

    keep(&mut list, &["nextCursor", "ttlMs", "cacheScope", "_meta"]);
    list.insert("tools".to_owned(), json!([]));
    drop_unreadable::<ListToolsResult>(&mut list, &["tools"]);
    list.insert("tools".to_owned(), Value::Array(tools));

    // A value that the server itself put there is overwritten.
    let meta = list.entry("_meta").or_insert_with(|| json!({}));
    if let Value::Object(meta) = meta {
        meta.insert(LEFT_OUT.to_owned(), json!(left_out));
    }

    Ok(Value::Object(list))
}

/// Repairs a tool, by dropping the unreadable members that are not needed to call it.
fn tool(tool: Value) -> Result<Value, String> {
    let Value::Object(mut members) = tool else {
        return Err(format!("it is {}, not a tool", kind(&tool)));
    };
    let name = match members.get("name") {
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        Some(Value::String(_)) | None => return Err("it has no name".to_owned()),
        Some(other) => return Err(format!("its name is {}", kind(other))),
    };

    match members.get("inputSchema") {
        Some(Value::Object(_)) => {}
        // The server checks the arguments itself, so without a schema anything may be tried.
        None | Some(Value::Null | Value::Bool(true)) => {
            members.insert("inputSchema".to_owned(), json!({"type": "object"}));
        }
        Some(other) => return Err(format!("`{name}` has {} as its schema", kind(other))),
    }

    drop_unreadable::<Tool>(&mut members, &["name", "inputSchema"]);
    Ok(Value::Object(members))
}

fn call(result: Value) -> Value {
    let mut members = match result {
        Value::Object(members) => members,
        Value::Null => Map::new(),
        other => return json!({"content": [text(&display(&other))]}),
    };

    match members.get("resultType").and_then(Value::as_str) {
        Some("input_required") => {
            drop_unreadable::<InputRequiredResult>(&mut members, &["resultType", "inputRequests"]);
            return Value::Object(members);
        }
        // It is left as it is, and reported as a task: this host does not follow tasks.
        Some("task") => return Value::Object(members),
        _ => {}
    }

    const KNOWN: [&str; 5] = [
        "content",
        "structuredContent",
        "isError",
        "_meta",
        "resultType",
    ];

    if !KNOWN[..3].iter().any(|name| members.contains_key(*name)) {
        let mut rest = members.clone();
        rest.retain(|name, _| !KNOWN.contains(&name.as_str()));
        if !rest.is_empty() {
            members.insert("structuredContent".to_owned(), Value::Object(rest));
        }
    }

    let content = match members.remove("content") {
        Some(Value::Array(blocks)) => blocks,
        Some(Value::Null) | None => vec![],
        Some(other) => vec![other],
    };
    let mut content: Vec<Value> = content.into_iter().map(block).collect();
    is_error(&mut members, &mut content);

    if let Some(other) = members.remove("resultType")
        && other != "complete"
        && !other.is_null()
    {
        content.push(text(&format!(
            "[a result of the type {other}, which this host does not know]"
        )));
    }

    keep(&mut members, &KNOWN);
    members.insert("content".to_owned(), Value::Array(content));
    drop_unreadable::<CallToolResult>(&mut members, &["content", "structuredContent"]);

    Value::Object(members)
}

/// Reads the values that servers use for a boolean, and adds a note for any other.
fn is_error(members: &mut Map<String, Value>, content: &mut Vec<Value>) {
    let Some(said) = members.remove("isError") else {
        return;
    };
    let read = match &said {
        Value::Null => return,
        Value::Bool(read) => Some(*read),
        Value::String(said) => said.to_ascii_lowercase().parse().ok(),
        Value::Number(number) => number.as_i64().map(|number| number != 0),
        _ => None,
    };

    match read {
        Some(read) => _ = members.insert("isError".to_owned(), json!(read)),
        None => content.push(text(&format!("[`isError` is not a boolean: {said}]"))),
    }
}

/// Repairs a piece of content; one of an unknown kind, or one that cannot be read, becomes text
/// that shows it.
fn block(block: Value) -> Value {
    if ContentBlock::deserialize_from(&block) {
        return block;
    }

    let Value::Object(mut members) = block else {
        return text(&display(&block));
    };
    let kind = members.get("type").and_then(Value::as_str);

    let needed: &[&str] = match kind {
        Some("text") => &["type", "text"],
        Some("image" | "audio") => &["type", "data", "mimeType"],
        Some("resource_link") => &["type", "uri", "name"],
        Some("resource") => &["type", "resource"],
        _ => &["type"],
    };

    let whole = Value::Object(members.clone());

    if let Some(Value::Object(resource)) = members.get_mut("resource") {
        resource.retain(|name, value| match name.as_str() {
            "uri" | "text" | "blob" => true,
            "mimeType" => value.is_string(),
            "_meta" => value.is_object(),
            _ => false,
        });
    }

    drop_unreadable::<ContentBlock>(&mut members, needed);
    let repaired = Value::Object(members);
    match (ContentBlock::deserialize_from(&repaired), kind_of(&whole)) {
        (true, _) => repaired,
        (false, Some(kind)) => text(&format!(
            "[content of the type `{kind}` that this host cannot read]\n{whole}"
        )),
        (false, None) => text(&format!("[content without a type]\n{whole}")),
    }
}

/// Drops the members because of which `T` cannot be read, except those that it needs.
pub(super) fn drop_unreadable<T: DeserializeOwned>(
    members: &mut Map<String, Value>,
    needed: &[&str],
) {
    let whole = Value::Object(std::mem::take(members));
    let fits = T::deserialize_from(&whole);
    let Value::Object(whole) = whole else { return };

    if fits {
        *members = whole;
        return;
    }

    let (mut base, others): (Map<_, _>, Map<_, _>) = whole
        .into_iter()
        .partition(|(name, _)| needed.contains(&name.as_str()));
    let mut readable = Vec::new();

    for (name, value) in others {
        base.insert(name.clone(), value);
        let candidate = Value::Object(std::mem::take(&mut base));
        let fits = T::deserialize_from(&candidate);
        if let Value::Object(candidate) = candidate {
            base = candidate;
        }
        let value = base.remove(&name);
        readable.extend(value.filter(|_| fits).map(|value| (name, value)));
    }

    base.extend(readable);
    *members = base;
}

/// Whether a value can be read as this type.
pub(super) trait DeserializeFrom: DeserializeOwned {
    fn deserialize_from(value: &Value) -> bool {
        Self::deserialize(value).is_ok()
    }
}

impl<T: DeserializeOwned> DeserializeFrom for T {}

fn keep(members: &mut Map<String, Value>, names: &[&str]) {
    members.retain(|name, _| names.contains(&name.as_str()));
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// Returns a string as it is, and any other value as JSON.
pub(super) fn display(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns an integer, also from a string or a number with a fraction of zero.
fn number(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        // A number above 2^53 is not exact, and neither a code nor a page.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it has no fraction and fits"
        )]
        other => other.as_i64().or_else(|| {
            let number = other.as_f64()?;
            (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
        }),
    }
}

fn kind_of(block: &Value) -> Option<&str> {
    block.get("type").and_then(Value::as_str)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(tools: &Value) -> ListToolsResult {
        serde_json::from_value(result(json!({ "tools": tools }), RequestKind::Tools).unwrap())
            .unwrap()
    }

    #[test]
    fn one_odd_tool_hides_no_other() {
        let good = json!({"name": "good", "inputSchema": {"type": "object"}});

        for (odd, left_out) in [
            (json!({"inputSchema": {}}), "has no name"),
            (json!({"name": "", "inputSchema": {}}), "has no name"),
            (
                json!({"name": 7, "inputSchema": {}}),
                "its name is a number",
            ),
            (
                json!({"name": "odd", "inputSchema": "x"}),
                "`odd` has a text",
            ),
            (
                json!({"name": "odd", "inputSchema": []}),
                "`odd` has a list",
            ),
            (json!("odd"), "it is a text"),
            (json!(null), "it is null"),
        ] {
            let mut list = list(&json!([good, odd, good]));
            assert_eq!(list.tools.len(), 2, "{odd}");
            let named = take_left_out(&mut list);
            assert!(named[0].starts_with("number 2: "), "{named:?}");
            assert!(named[0].contains(left_out), "{named:?}");
            assert_eq!(named.len(), 1);
        }
    }

    #[test]
    fn an_odd_member_costs_that_member_alone() {
        let with = |name: &str, value: Value| {
            let mut tool = json!({"name": "odd", "description": "Does.", "inputSchema":
                {"type": "object", "properties": {"n": {}}}, "title": "Odd"});
            tool[name] = value;
            let mut list = list(&json!([tool]));
            assert_eq!(take_left_out(&mut list), [""; 0]);
            list.tools.remove(0)
        };

        for (name, value) in [
            ("annotations", json!("none")),
            ("annotations", json!({"readOnlyHint": "yes"})),
            ("icons", json!({"src": 1})),
            ("icons", json!([{}])),
            ("outputSchema", json!(true)),
            ("_meta", json!(1)),
            ("execution", json!(1)),
        ] {
            let tool = with(name, value);
            assert_eq!(tool.description.as_deref(), Some("Does."), "{name}");
            assert_eq!(tool.title.as_deref(), Some("Odd"), "{name}");
            assert!(tool.input_schema.contains_key("properties"), "{name}");
            assert_eq!(tool.annotations, None);
        }

        for (name, value) in [("title", json!(1)), ("description", json!([]))] {
            assert_eq!(with(name, value).name, "odd");
        }

        for schema in [json!(null), json!(true)] {
            let tool = with("inputSchema", schema);
            assert_eq!(json!(*tool.input_schema), json!({"type": "object"}));
        }

        let list = list(&json!([{"name": "bare"}]));
        assert_eq!(
            json!(*list.tools[0].input_schema),
            json!({"type": "object"})
        );
    }

    #[test]
    fn an_odd_page_is_still_a_page() {
        let page = json!({"tools": [], "nextCursor": 5, "ttlMs": "soon", "cacheScope": 1,
            "_meta": [], "contents": [], "resultType": 3});
        let page = result(page, RequestKind::Tools).unwrap();
        let page: ListToolsResult = serde_json::from_value(page).unwrap();

        assert_eq!(page.next_cursor.as_deref(), Some("5"));
        assert_eq!(page.ttl_ms, None);

        for none in [json!({}), json!({"tools": {}}), json!([]), json!(null)] {
            assert!(result(none, RequestKind::Tools).is_err());
        }
    }

    fn called(answer: Value) -> CallToolResult {
        serde_json::from_value(result(answer, RequestKind::Call).unwrap()).unwrap()
    }

    fn texts(result: &CallToolResult) -> Vec<&str> {
        let texts = result.content.iter().filter_map(|block| match block {
            ContentBlock::Text(text) => Some(text.text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    #[test]
    fn content_of_any_kind_is_shown_with_the_rest() {
        let answer = called(json!({"content": [
            {"type": "text", "text": "first"},
            {"type": "video", "url": "x:y"},
            {"type": "text", "text": "second", "annotations": 7, "_meta": "x"},
            {"type": "image", "data": "Zm9v"},
            {"type": "image", "data": "Zm9v", "mimeType": "image/png", "annotations": []},
            {"type": "resource", "resource": {"uri": "a:b", "text": "third", "mimeType": 3}},
            {"text": "untyped"},
            "bare",
            5,
        ]}));
        let shown = texts(&answer);
        assert_eq!(answer.content.len(), 9);
        assert_eq!(shown[0], "first");
        assert!(shown[1].contains("`video`") && shown[1].contains("x:y"));
        assert_eq!(shown[2], "second");
        assert!(shown[3].contains("`image`") && shown[3].contains("Zm9v"));
        assert!(shown[4].contains("without a type") && shown[4].contains("untyped"));
        assert_eq!(shown[5..], ["bare", "5"]);
    }

    #[test]
    fn a_result_of_any_shape_is_delivered() {
        assert_eq!(texts(&called(json!("plain"))), ["plain"]);
        assert_eq!(texts(&called(json!([1]))), ["[1]"]);
        assert_eq!(called(json!(null)).content, []);
        assert_eq!(called(json!({})).content, []);
        assert_eq!(texts(&called(json!({"content": "x"}))), ["x"]);

        let old = called(json!({"toolResult": {"n": 1}}));
        assert_eq!(
            old.structured_content,
            Some(json!({"toolResult": {"n": 1}}))
        );

        for (said, read) in [
            (json!("true"), Some(true)),
            (json!("False"), Some(false)),
            (json!(1), Some(true)),
            (json!(null), None),
        ] {
            assert_eq!(
                called(json!({"content": [], "isError": said})).is_error,
                read
            );
        }

        let odd = called(json!({"content": [], "isError": {}, "_meta": 1, "resultType": "odd"}));
        assert!(texts(&odd)[0].contains("isError") && texts(&odd)[1].contains("odd"));

        // Members of other results do not make it one of these.
        let odd = called(json!({"content": [], "action": "accept", "messages": []}));
        assert_eq!(odd.content, []);
    }

    #[test]
    fn an_error_is_an_error_whatever_its_form() {
        let read = |error: Value| {
            let error = super::error(error);
            (error.code.0, error.message.to_string())
        };

        assert_eq!(
            read(json!({"code": -5, "message": "m"})),
            (-5, "m".to_owned())
        );

        assert_eq!(
            read(json!({"code": "-5", "message": "m"})),
            (-5, "m".to_owned())
        );

        assert_eq!(read(json!("broken")), (-32_603, "broken".to_owned()));
        assert_eq!(read(json!({"why": 1})), (-32_603, "{\"why\":1}".to_owned()));
    }
}
