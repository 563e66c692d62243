//! Tests the adapter against a real model on a real server, which shows from outside whether
//! dropping a stream stops the generation. Skipped with a message unless a server is given.

use super::Remote;
use crate::model::config::ServiceConfig;
use crate::model::endpoint::{Endpoint, Service};
use crate::model::testing::{context, drain, request};
use crate::model::{ModelEvent, ModelFinish, ModelProvider};
use futures_util::StreamExt;

/// Against `tests/tools/model-server.sh`, whose address is in `LASTWORD_MODEL_URL`.
#[tokio::test]
async fn a_real_model_answers_and_stops_when_dropped() {
    let Ok(url) = std::env::var("LASTWORD_MODEL_URL") else {
        eprintln!(
            "skipped: start tests/tools/model-server.sh and set LASTWORD_MODEL_URL to what it prints"
        );
        return;
    };

    let endpoint = openai(&url);
    let remote = Remote::new(endpoint.clone());
    let mut request = request("Tell me about the sea.");

    request.model = Some("smollm2".to_owned());
    request.max_output_tokens = Some(12);

    let stream = remote.complete(context(), request.clone()).await.unwrap();
    let (events, error) = drain(stream).await;
    assert_eq!(error, None);

    let end = ModelEvent::Finish(ModelFinish::MaxTokens);
    assert_eq!(events.last(), Some(&end));
    assert!(matches!(events[events.len() - 2], ModelEvent::Usage(u) if u.output_tokens == 12));

    request.max_output_tokens = Some(1500);
    request
        .extra
        .insert("ignore_eos".to_owned(), "true".to_owned());

    let mut stream = remote.complete(context(), request).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());

    let server = url.trim_end_matches('/').trim_end_matches("/v1");
    let slots = format!("{server}/slots");
    let http = super::tls::client(&endpoint).unwrap();

    assert!(is_processing(&http, &slots).await, "the server is idle");
    drop(stream);

    // The server checks its connections between two tokens; generating the whole response would
    // take longer than this many requests.
    for _ in 0..1000 {
        if !is_processing(&http, &slots).await {
            return;
        }
    }

    panic!("the server went on although the stream was dropped");
}

fn openai(url: &str) -> Endpoint {
    let table = ServiceConfig {
        base_url: Some(url.to_owned()),
        ..ServiceConfig::default()
    };
    Endpoint::new(Service::OpenAi, &table, &|_| None).unwrap()
}

async fn is_processing(http: &reqwest::Client, slots: &str) -> bool {
    let answer = http.get(slots).send().await.unwrap();
    let text = answer.text().await.unwrap();
    text.contains(r#""is_processing":true"#)
}
