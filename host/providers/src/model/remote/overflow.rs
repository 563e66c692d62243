//! Recognises the errors of services for a conversation that does not fit the model's window, and
//! the window's size in them. Pure. There is no common code for it, so the services' sentences are
//! listed here, each beside its service.

use serde_json::Value;

/// Values of an error's `code` or `type`.
const CODES: [&str; 3] = [
    "context_length_exceeded",   // OpenAI, Groq, OpenRouter
    "exceed_context_size_error", // llama.cpp
    "context_window_exceeded",
];

/// Parts of sentences, in lower case.
const SENTENCES: [&str; 17] = [
    "maximum context length",     // OpenAI, vLLM, DeepSeek, OpenRouter, Mistral
    "context length exceeded",    // Ollama
    "exceeds the context length", // Ollama
    "exceeds maximum context length", // Ollama
    "exceeds the available context size", // llama.cpp
    "exceed context limit",       // Anthropic
    "prompt is too long",         // Anthropic
    "exceeds the maximum number of tokens", // Gemini
    "exceeds the context window", // OpenAI's newer models
    "context window exceeds",     // MiniMax
    "maximum prompt length",      // xAI
    "reduce the length of the messages", // OpenAI, Groq
    "input is too long",          // Bedrock
    "too many tokens",            // Cohere
    "when context the overflows", // LM Studio
    "greater than the context length", // LM Studio
    "`inputs` tokens + `max_new_tokens` must", // TGI, Together
];

/// Words before the window's size, or between two numbers of which it is the second.
const BEFORE_SIZE: [&str; 9] = [
    "maximum context length is ",
    "maximum context length of ",
    "available context size (",
    "maximum number of tokens allowed (",
    "maximum prompt length is ",
    "context limit: ", // Anthropic: `190000 + 20000 > 200000`
    "tokens > ",
    "context length of ",
    "context window of ",
];

/// The overflow that an error reports, with the size if it contains one. `None` for other errors.
pub(super) fn overflow(body: &Value, words: &str) -> Option<Option<u32>> {
    let inner = body.get("error").unwrap_or(body);
    let words = words.to_lowercase();
    let marked = ["code", "type"].iter().any(|key| {
        let mark = inner.get(key).and_then(Value::as_str);
        mark.is_some_and(|mark| CODES.contains(&mark))
    });
    let is_known = SENTENCES.iter().any(|sentence| words.contains(sentence));
    (marked || is_known).then(|| size(inner, &words))
}

fn size(inner: &Value, words: &str) -> Option<u32> {
    let window = inner.get("n_ctx").and_then(Value::as_u64);
    let window = window.and_then(|size| u32::try_from(size).ok());

    window
        .or_else(|| {
            BEFORE_SIZE.iter().find_map(|before| {
                let rest = &words[words.find(before)? + before.len()..];
                // `190000 + 20000 > 200000`: the last number is the size.
                let rest = match (before.contains("limit"), rest.split_once("> ")) {
                    (true, Some((_, size))) => size,
                    _ => rest,
                };
                let digits = rest.chars().take_while(|c| c.is_ascii_digit() || *c == ',');
                let digits: String = digits.filter(char::is_ascii_digit).collect();
                digits.parse().ok()
            })
        })
        .filter(|size| *size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(error: &Value) -> Option<Option<u32>> {
        let words = error["message"].as_str().unwrap_or_default().to_owned();
        overflow(&json!({ "error": error.clone() }), &words)
    }

    #[test]
    fn the_services_sentences_are_known() {
        for (error, size) in [
            // OpenAI
            (
                json!({"code": "context_length_exceeded", "message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens. Please reduce the length of the messages."}),
                Some(8192),
            ),
            (
                json!({"code": "context_length_exceeded", "message": "Your input exceeds the context window of this model. Please adjust your input and try again."}),
                None,
            ),
            // vLLM
            (
                json!({"type": "BadRequestError", "code": 400, "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4744 in the messages, 256 in the completion)."}),
                Some(4096),
            ),
            // llama.cpp
            (
                json!({"code": 400, "type": "exceed_context_size_error", "message": "request (13392 tokens) exceeds the available context size (8192 tokens), try increasing it", "n_prompt_tokens": 13392, "n_ctx": 8192}),
                Some(8192),
            ),
            // Anthropic
            (
                json!({"type": "invalid_request_error", "message": "prompt is too long: 215168 tokens > 200000 maximum"}),
                Some(200_000),
            ),
            (
                json!({"type": "invalid_request_error", "message": "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or `max_tokens` and try again"}),
                Some(200_000),
            ),
            // Gemini
            (
                json!({"code": 400, "status": "INVALID_ARGUMENT", "message": "The input token count (1100000) exceeds the maximum number of tokens allowed (1048576)."}),
                Some(1_048_576),
            ),
            // Mistral
            (
                json!({"message": "Prompt contains 40960 tokens and 0 draft tokens, too large for model with 32768 maximum context length"}),
                None,
            ),
            // xAI
            (
                json!({"message": "This model's maximum prompt length is 131072 but the request contains 537812 tokens."}),
                Some(131_072),
            ),
        ] {
            assert_eq!(of(&error), Some(size), "{error}");
        }

        let ollama = json!({"error": "the input length exceeds the context length"});
        let words = "the input length exceeds the context length";
        assert_eq!(overflow(&ollama, words), Some(None));
    }

    #[test]
    fn other_errors_are_none() {
        for message in [
            "invalid temperature",
            "max_tokens is too large: 90000",
            "",
            "tokens > 5",
        ] {
            assert_eq!(
                of(&json!({"code": 400, "message": message})),
                None,
                "{message}"
            );
        }
    }
}
