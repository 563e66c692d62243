//! Secret values reach only their recipients. The tests look for them in everything that a guest is
//! given, in every event, table, file and error, and in every line that a library logs, in all
//! their forms. As a control, the same search finds values that are not secret in each of these
//! places.

pub(crate) mod forms;
mod places;

use crate::mcp_fake::{Web, fake};
use crate::network::{Hostile, Names};
use forms::needles;
use futures_util::future::BoxFuture;
use lastword::Capability;
use lastword::event::Position;
use lastword::http::{HostPatterns, HttpOptions};
use lastword::mcp::{McpConfig, McpServers};
use lastword::model::{CallContext, Models, ModelsConfig, ServiceConfig};
use lastword::secrets::{SecretConfig, Secrets, SecretsConfig};
use lastword::tools::{
    Commands, Effects, Invocation, Tool, ToolContent, ToolError, ToolErrorKind, ToolOutput,
    ToolProvider,
};
use lastword_tests::fixture::{Fixture, Plan};
use lastword_tests::heard::Heard;
use places::Places;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What secrets are for: requests of agents, a model's service, MCP servers that are programs
/// and those that are addresses.
const USES: [&str; 4] = ["http", "model", "env", "header"];

/// Whether the host is told which values are secret.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Yes,
    No,
}

impl Told {
    /// A value that has another form in each encoding. No two are alike, also of the two
    /// tests, which hear each other's log.
    fn value(self, name: &str) -> String {
        format!("canary-{name}-{self:?}\"1/ >?~a+77f3")
    }

    /// What an operator or a guest writes to have the value sent.
    fn written(self, name: &str) -> String {
        match self {
            Self::Yes => format!("{{{{secret:{name}}}}}"),
            Self::No => self.value(name),
        }
    }
}

fn secrets(folder: &Path, host: &str, told: Told) -> Secrets {
    let one = |name: &&str| {
        let file = folder.join(name);
        std::fs::write(&file, told.value(name)).expect("a file");
        let secret = SecretConfig {
            file: Some(file),
            hosts: vec![host.to_owned()],
            ..SecretConfig::default()
        };
        ((*name).to_owned(), secret)
    };
    let all: BTreeMap<_, _> = USES.iter().map(one).collect();
    let known = SecretsConfig(if told == Told::Yes {
        all
    } else {
        BTreeMap::new()
    });
    Secrets::load(&known).expect("they are read")
}

/// A service of models, whose key lies in a file: that is one, whatever else is known.
fn model(folder: &Path, server: &Hostile) -> Models {
    let openai = ServiceConfig {
        base_url: Some(format!("http://127.0.0.1:{}/v1", server.port)),
        api_key_file: Some(folder.join("model")),
        ..ServiceConfig::default()
    };
    let config = ModelsConfig {
        openai,
        ..ModelsConfig::default()
    };
    let models = Models::with_config(&config).expect("a service");
    models.model("openai:any").expect("a model")
}

fn servers(web: &Web, told: Told) -> McpServers {
    let program = McpConfig {
        env: [("TOKEN".to_owned(), told.written("env"))].into(),
        ..fake(&[])
    };
    let mut remote = web.config();
    remote.headers = [("Authorization".to_owned(), told.written("header"))].into();
    let both = [("it".to_owned(), program), ("web".to_owned(), remote)];
    McpServers::new(both.into()).expect("two servers")
}

/// An embedder's tool that was given a value, and tells it wherever it can.
struct Leak(Told);

impl ToolProvider for Leak {
    fn tools(&self, _: &CallContext) -> BoxFuture<'static, Result<Vec<Tool>, ToolError>> {
        let tool = Tool {
            name: "test.leak".to_owned(),
            description: "Tells a value.".to_owned(),
            parameters: json!({ "type": "object" }),
            effects: Effects::None,
        };
        Box::pin(std::future::ready(Ok(vec![tool])))
    }

    fn call(&self, call: Invocation) -> BoxFuture<'static, Result<ToolOutput, ToolError>> {
        let texts = forms::texts(&self.0.value("http"));
        let told = match call.arguments.get("fails") {
            Some(_) => Err(ToolError::new(ToolErrorKind::Unavailable, texts.join(" "))),
            None => {
                let mut output = ToolOutput::text(texts.join(" "));
                output.content.push(ToolContent::Data {
                    media_type: "text/plain".to_owned(),
                    name: None,
                    bytes: texts.join(" ").into_bytes(),
                });
                Ok(output.structured(json!(texts)).metadata(json!(texts)))
            }
        };
        Box::pin(std::future::ready(told))
    }
}

/// Everything that a guest can do to learn a value.
fn attempts(server: &Hostile, told: Told) -> Vec<String> {
    let url = server.url("/forms");
    let key = match told {
        Told::Yes => told.written("http"),
        Told::No => format!("{} {}", told.value("http"), told.value("model")),
    };
    let fetch = json!({ "url": url, "headers": { "x-key": key } });
    let mut attempts = vec![
        format!("http GET {url} | x-key: {key}"),
        format!("tool fetch_url {fetch}"),
        "tool it.environment {}".to_owned(),
        "tool it.loud {}".to_owned(),
        "tool it.die {}".to_owned(),
        "tool it.echo {}".to_owned(),
        "tool web.seen {}".to_owned(),
        "tool test.leak {}".to_owned(),
        r#"tool test.leak {"fails":true}"#.to_owned(),
        r#"tool run_command {"command":["env"]}"#.to_owned(),
        "has-secret http".to_owned(),
        "http GET http://b.example/ | x-key: {{secret:http}}".to_owned(),
        "env".to_owned(),
        "config".to_owned(),
        "history".to_owned(),
    ];
    // The service refuses the key and quotes it, in another form each time.
    let forms = forms::texts("").len();
    attempts.extend((0..forms).map(|_| "model-session".to_owned()));
    attempts.push("history".to_owned());
    attempts
}

/// Lets a guest try, and tells what there is to be searched.
async fn tried(told: Told) -> Places {
    let wanted = USES.iter().flat_map(|name| needles(&told.value(name)));
    let heard = Heard::listen(wanted.collect());
    let elsewhere = tempfile::tempdir().expect("a folder");
    let server = Hostile::serve().await;
    let web = Web::start();
    let secrets = secrets(elsewhere.path(), &server.target(), told);
    let servers = servers(&web, told);
    let http = HttpOptions::new()
        .resolver(Arc::new(Names::default()))
        .private(HostPatterns::new([server.target()]).expect("a host"));
    let brought = (
        secrets.clone(),
        servers.clone(),
        model(elsewhere.path(), &server),
    );
    let plan = Plan::new().host(|host| {
        let (secrets, servers, model) = brought;
        let host = host.secrets(secrets).tools(servers).model(model).http(http);
        let host = host.tools(Leak(told));
        host.commands(Commands::none().allow("env"))
    });
    let grants = [
        Capability::Network,
        Capability::Secrets,
        Capability::Tools,
        Capability::RunCommands,
        Capability::Model,
    ];
    let fixture = plan.grants(grants).build().await;
    let mut places = Places::default();
    for attempt in attempts(&server, told) {
        let outcome = fixture.run(&attempt).await;
        places.add("guest", outcome.text());
        let (said, receipt) = (outcome.text(), &outcome.receipt);
        if said.starts_with("error") || said.starts_with("failed") {
            places.add("errors", said);
        }
        places.add("errors", format!("{receipt:?}"));
    }
    places.add(
        "errors",
        format!("{:?}", servers.status(fixture.workspace.id())),
    );
    places.add(
        "errors",
        format!("{secrets:?} {:?}", model(elsewhere.path(), &server)),
    );
    add_events(&fixture, &mut places).await;
    for asked in server.asked() {
        let body = asked.split_once("\r\n\r\n").unwrap_or_default().1;
        places.add("model", body.to_owned());
    }
    fixture.host.shutdown().await;
    places.add_data(&fixture.data());
    for line in heard.found() {
        places.add("log", line);
    }
    places.speakers = heard.speakers();
    places
}

async fn add_events(fixture: &Fixture, places: &mut Places) {
    let last = fixture.run("echo the last").await.receipt.run;
    let mut events = fixture.host.events(Position(0));
    while let Some(event) = events.next().await {
        let event = event.expect("the log is read");
        places.add("events", format!("{event:?}"));
        if matches!(&event.body, lastword::event::EventBody::RunEnded { receipt } if receipt.run == last)
        {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_is_anywhere_but_with_those_whom_it_is_for() {
    let places = tried(Told::Yes).await;
    for name in USES {
        let holding = places.holding(&needles(&Told::Yes.value(name)));
        assert_eq!(holding, [""; 0], "{name}; in the log: {:?}", places.log());
    }
    for speaker in ["lastword", "rmcp", "reqwest", "hyper_util"] {
        assert!(
            places.speakers.contains(speaker),
            "{speaker} was not heard: {:?}",
            places.speakers
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_finds_values_that_are_no_secrets_in_every_place() {
    let places = tried(Told::No).await;
    for name in USES {
        let holding = places.holding(&needles(&Told::No.value(name)));
        for place in [
            "guest",
            "events",
            "model",
            "event.body",
            "message.parts",
            "lastword.db",
        ] {
            let found = holding.iter().any(|holding| holding.contains(place));
            assert!(found, "{name} is not found in {place}: {holding:?}");
        }
    }
    let places = places.holding(&needles(&Told::No.value("env")));
    for place in ["errors", "log"] {
        assert!(places.contains(&place.to_owned()), "{place}: {places:?}");
    }
}
