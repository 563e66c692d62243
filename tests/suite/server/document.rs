//! The OpenAPI document says what the router does, all of it and nothing else.

use super::harness::{self, Server};
use lastword::RunState;
use lastword::session::{FinishReason, Role};
use lastword_tests::guests::root;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const METHODS: [&str; 4] = ["get", "post", "patch", "delete"];

fn document() -> Value {
    serde_json::to_value(lastword_server::openapi()).unwrap()
}

/// `GET /v1/health` and the like, as the document lists them.
fn listed(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = METHODS.iter().filter(|method| item.get(**method).is_some());
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    operations.collect()
}

/// The routes as the handlers' attributes name them.
fn written() -> BTreeSet<String> {
    let mut routes = BTreeSet::new();
    for file in std::fs::read_dir(root().join("host/server/src/api")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for attribute in text.split("#[utoipa::path(").skip(1) {
            let method = attribute.trim_start().split(',').next().unwrap();
            let path = attribute.split("path = \"").nth(1).unwrap();
            let path = path.split('"').next().unwrap();
            routes.insert(format!("{} /v1{path}", method.to_uppercase()));
        }
    }
    routes
}

#[test]
fn it_lists_every_route() {
    let listed = listed(&document());
    assert_eq!(listed, written());
    assert!(listed.len() > 30, "{listed:?}");
    let mut files = std::fs::read_dir(root().join("host/server/src/api")).unwrap();
    let past = files.find_map(|file| {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let routes = [
            "axum::routing",
            ".route(",
            ".route_service(",
            ".nest_service(",
        ];
        routes.into_iter().find(|way| text.contains(way))
    });
    assert_eq!(past, None, "routes are added with their description only");
}

#[test]
fn it_lists_the_words_that_are_sent() {
    let document = document();
    let words = |name: &str| document["components"]["schemas"][name]["enum"].clone();
    assert_eq!(words("RunState"), json!(RunState::ALL));
    assert_eq!(words("FinishReason"), json!(FinishReason::ALL));
    assert_eq!(words("Role"), json!(Role::ALL));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_that_it_lists_is_there() {
    let server = Server::new().await;
    let mut document = document();
    let missing = |document: Value| {
        let server = &server;
        async move {
            let mut missing = Vec::new();
            for operation in listed(&document) {
                let (method, path) = operation.split_once(' ').unwrap();
                let path = path.replace(['{', '}'], "");
                let path = path.strip_prefix("/v1").unwrap();
                let request = server.request(method.parse().unwrap(), path);
                let response = request.send().await.unwrap();
                let status = response.status().as_u16();
                let body = response.text().await.unwrap();
                if status == 405 || (status == 404 && body.contains("unknown-route")) {
                    missing.push(operation);
                }
            }
            missing
        }
    };
    assert_eq!(missing(document.clone()).await, [""; 0]);
    document["paths"]["/v1/nothing"] = document["paths"]["/v1/health"].clone();
    assert_eq!(
        missing(document).await,
        ["GET /v1/nothing"],
        "a wrong document is caught"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_served_as_it_is_made() {
    let server = Server::new().await;
    let (status, served) = harness::json(server.get("/openapi.json")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(served, document());
    assert_eq!(served["openapi"], "3.2.0");
}

/// What is wrong with a document's structure.
fn faults(document: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    references(document, document, &mut faults);
    faults.dedup();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            let Some(operation) = item.get(method) else {
                continue;
            };
            let here = format!("{method} {path}");
            match operation["operationId"].as_str() {
                Some(id) if ids.insert(id.to_owned()) => {}
                id => faults.push(format!("{here}: the operation id {id:?}")),
            }
            let parameters = operation["parameters"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let described: BTreeSet<_> = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .filter_map(|parameter| parameter["name"].as_str())
                .collect();
            let named: BTreeSet<_> = path
                .split('{')
                .skip(1)
                .filter_map(|rest| rest.split('}').next())
                .collect();
            if described != named {
                faults.push(format!("{here}: parameters {described:?} of {named:?}"));
            }
            let responses = operation["responses"]
                .as_object()
                .cloned()
                .unwrap_or_default();
            if !responses.keys().any(|status| status.starts_with('2')) {
                faults.push(format!("{here}: no success"));
            }
            if !responses.contains_key("default") {
                faults.push(format!("{here}: no problems"));
            }
            if operation["summary"].as_str().is_none_or(str::is_empty) {
                faults.push(format!("{here}: no summary"));
            }
        }
    }
    faults
}

fn references(root: &Value, value: &Value, faults: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(target)) = members.get("$ref") {
                let found = target.strip_prefix('#').and_then(|path| root.pointer(path));
                if found.is_none() {
                    faults.push(format!("{target} is not there"));
                }
            }
            members
                .values()
                .for_each(|value| references(root, value, faults));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|value| references(root, value, faults)),
        _ => {}
    }
}

#[test]
fn it_is_sound() {
    let document = document();
    assert_eq!(faults(&document), [""; 0]);
    let mut broken = document;
    broken["paths"]["/v1/agents/{a}"]["get"]["parameters"] = Value::Array(vec![]);
    broken["components"]["schemas"]
        .as_object_mut()
        .unwrap()
        .remove("Problem");
    assert_eq!(faults(&broken).len(), 2, "{:?}", faults(&broken));
}

#[test]
fn streams_are_described_by_their_events() {
    let document = document();
    for path in [
        "/v1/workspaces/{w}/events",
        "/v1/sessions/{s}/events",
        "/v1/runs/{r}/events",
    ] {
        let content = &document["paths"][path]["get"]["responses"]["200"]["content"];
        let stream = &content["text/event-stream"];
        assert_eq!(
            stream["itemSchema"]["$ref"], "#/components/schemas/Event",
            "{path}"
        );
    }
}
