//! Values that nobody may see but those whom they are for: looked for in everything that a
//! guest is given, in every event, every table, every file, every error and every line that
//! any library logs, in all their forms. The same search finds values that are no secrets in
//! each of those places.

pub(crate) mod forms;
mod places;

use crate::mcp_fake::{Web, fake};
use crate::network::{Hostile, Names};
use forms::needles;
use lastword::Capability;
use lastword::capability::http::{HostPatterns, HttpOptions};
use lastword::capability::mcp::{McpConfig, McpServers};
use lastword::capability::model::{Models, ModelsConfig, ServiceConfig};
use lastword::capability::secrets::{SecretConfig, Secrets, SecretsConfig};
use lastword::capability::tools::Commands;
use lastword::event::Position;
use lastword_tests::fixture::{Fixture, Plan};
use lastword_tests::heard::Heard;
use places::Places;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A value for each place that secrets go to. Each has another form in each encoding.
const VALUES: [(&str, &str); 4] = [
    ("http", "canary-http\"1/ >?~a+77f3"),
    ("model", "canary-model\"2/ >?~b+77f4"),
    ("env", "canary-env\"3/ >?~c+77f5"),
    ("header", "canary-header\"4/ >?~d+77f6"),
];

fn value(name: &str) -> &'static str {
    VALUES
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a value")
        .1
}

/// Whether the host is told which values are secret.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    Yes,
    No,
}

impl Told {
    /// What an operator or a guest writes to have the value sent.
    fn written(self, name: &str) -> String {
        match self {
            Self::Yes => format!("{{{{secret:{name}}}}}"),
            Self::No => value(name).to_owned(),
        }
    }
}

fn secrets(folder: &Path, host: &str, told: Told) -> Secrets {
    let one = |(name, value): &(&str, &str)| {
        let file = folder.join(name);
        std::fs::write(&file, value).expect("a file");
        let secret = SecretConfig {
            file: Some(file),
            hosts: vec![host.to_owned()],
            ..SecretConfig::default()
        };
        ((*name).to_owned(), secret)
    };
    let all: BTreeMap<_, _> = VALUES.iter().map(one).collect();
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

/// Everything that a guest can do to learn a value.
fn attempts(server: &Hostile, told: Told) -> Vec<String> {
    let url = server.url("/forms");
    let key = match told {
        Told::Yes => told.written("http"),
        Told::No => format!("{} {}", value("http"), value("model")),
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
        r#"tool run_command {"command":["env"]}"#.to_owned(),
        "has-secret http".to_owned(),
        "http GET http://b.example/ | x-key: {{secret:http}}".to_owned(),
        "env".to_owned(),
        "config".to_owned(),
        "history".to_owned(),
    ];
    // The service refuses the key and quotes it, in another form each time.
    let forms = forms::texts(value("model")).len();
    attempts.extend((0..forms).map(|_| "model-session".to_owned()));
    attempts.push("history".to_owned());
    attempts
}

/// Lets a guest try, and tells what there is to be searched.
async fn tried(told: Told) -> Places {
    let wanted = VALUES.iter().flat_map(|(_, value)| needles(value));
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
        let host = host.secrets(secrets).mcp(servers).model(model).http(http);
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
        places.add("errors", format!("{:?}", outcome.receipt));
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
    for (name, value) in VALUES {
        assert_eq!(places.holding(&needles(value)), [""; 0], "{name}");
    }
    for speaker in ["lastword", "rmcp", "reqwest", "hyper_util", "genai"] {
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
    for (name, value) in VALUES {
        let holding = places.holding(&needles(value));
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
    let places = places.holding(&needles(value("env")));
    for place in ["errors", "log"] {
        assert!(places.contains(&place.to_owned()), "{place}: {places:?}");
    }
}
