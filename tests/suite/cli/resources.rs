//! What a server gives out of the machine's: file descriptors, places for connections, memory.
//! Agents and strangers that take all they can leave enough for it to answer.

use super::served::Served;
use super::{Shell, Started, binary, probe};
use lastword::id::ClientId;
use reqwest::Client;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A server under limits that a shell sets, and a client of it.
pub(super) struct Bounded {
    pub(super) served: Served,
    http: Client,
    token: String,
}

impl Bounded {
    /// Starts one with the probe; `shell` runs before it, in its process.
    pub(super) fn start(shell: &Shell, before: &str, options: &[&str]) -> Self {
        let mut command = shell.prepare(Command::new("sh"));
        let agent = format!("probe={}", probe());
        let serve = [
            "serve",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--agent",
            &agent,
        ];
        command
            .args(["-c", &format!("{before}\nexec \"$@\""), "sh"])
            .arg(binary())
            .args(serve)
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let served = Served::ready(Started::of(command));
        let token = std::fs::read_to_string(served.text("token_file")).expect("a token");
        // One is enough for all tests of this binary.
        drop(rustls::crypto::ring::default_provider().install_default());
        Self {
            served,
            http: Client::builder().no_proxy().build().expect("a client"),
            token: token.trim().to_owned(),
        }
    }

    pub(super) async fn get(&self, path: &str) -> reqwest::Response {
        let url = format!("{}/v1{path}", self.served.text("url"));
        let asked = self.http.get(url).bearer_auth(&self.token).send().await;
        asked.expect("it answers")
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}/v1{path}", self.served.text("url"));
        let request = self.http.post(url).bearer_auth(&self.token).json(body);
        let answer = request.send().await.expect("it answers");
        assert!(answer.status().is_success(), "{answer:?}");
        answer.json().await.expect("JSON")
    }

    /// Begins a run in a session of its own, and returns its path.
    pub(super) async fn prompt(&self, prompt: &str) -> String {
        let client = ClientId::generate();
        let open = json!({ "client_id": client, "name": "bounded" });
        let workspace = self.post("/workspaces", &open).await;
        let path = format!("/workspaces/{}/sessions", text(&workspace, "id"));
        let session = self.post(&path, &json!({ "agent": "probe" })).await;
        let path = format!("/sessions/{}/runs", text(&session, "id"));
        let run = self.post(&path, &json!({ "prompt": prompt })).await;
        format!("/runs/{}", text(&run, "run"))
    }

    /// Reads a run's events until they hold one of these.
    pub(super) async fn until(&self, run: &str, words: &[&str]) -> String {
        let mut stream = self.get(&format!("{run}/events")).await;
        let mut read = String::new();
        while !words.iter().any(|words| read.contains(words)) {
            let chunk = stream.chunk().await.expect("the stream is read");
            let chunk = chunk.unwrap_or_else(|| panic!("it ended after {read}"));
            read.push_str(&String::from_utf8_lossy(&chunk));
        }
        read
    }
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_else(|| panic!("{value}"))
}

/// The hard limit is lower than what the runs may have each, so that only the host's own share
/// keeps it alive.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_runs_that_open_all_they_can_leave_the_server_answering() {
    const LIMIT: usize = 512;
    let shell = Shell::new();
    let slots = ["--concurrent-runs", "128"];
    let mut server = Bounded::start(&shell, &format!("ulimit -n {LIMIT}"), &slots);
    let started = &mut server.served.started;
    started.until_told("guests share fewer file descriptors than they may have each");
    let mut held = 0;
    for number in 0..100 {
        let kind = ["file", "directory", "stream"][number % 3];
        let run = server.prompt(&format!("hold {kind}")).await;
        let said = server
            .until(&run, &["then insufficient-memory", "no /tmp"])
            .await;
        held += usize::from(said.contains("then insufficient-memory"));
    }
    // Those that came later still have their directory.
    assert!(held > 60, "{held}");
    let process = server.served.started.child.as_ref().expect("it runs").id();
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs");
    let descriptors = descriptors.count();
    assert!(descriptors > LIMIT / 2, "the runs held {descriptors}");
    assert!(descriptors < LIMIT * 3 / 4, "{descriptors} of {LIMIT}");
    assert_eq!(server.get("/health").await.status(), 200);
    let run = server.prompt("echo still here").await;
    server.until(&run, &["still here"]).await;
    server.served.end();
}

/// Places for connections are bounded by the descriptors too, so that a few hundred show it.
#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_token_leave_the_owner_a_place() {
    let shell = Shell::new();
    let mut server = Bounded::start(&shell, "ulimit -n 512", &[]);
    server
        .served
        .started
        .until_told("fewer connections than asked for");
    let run = server.prompt("echo before").await;
    let mut stream = server.get(&format!("{run}/events")).await;
    let address = server.served.text("url").trim_start_matches("http://");
    let strangers = (0..600).map(|_| {
        let mut stranger = TcpStream::connect(address).expect("it is accepted");
        let request = b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stranger.write_all(request).expect("it is sent");
        let mut answer = [0; 12];
        stranger.read_exact(&mut answer).expect("it is answered");
        assert_eq!(&answer, b"HTTP/1.1 200");
        stranger
    });
    let strangers: Vec<_> = strangers.collect();
    assert_eq!(server.get("/agents").await.status(), 200);
    let other = Client::builder().no_proxy().build().expect("a client");
    let url = format!("http://{address}/v1/agents");
    let asked = other.get(url).bearer_auth(&server.token).send().await;
    assert_eq!(asked.expect("it answers").status(), 200);
    // Over the socket, which has places of its own.
    assert_eq!(shell.probe("echo by socket", &[]).exits(0).out, "by socket");
    while stream.chunk().await.expect("the stream is read").is_some() {}
    drop(strangers);
    server.served.end();
}

/// A control group with a limit on memory, removed when it is dropped.
struct Group(PathBuf);

impl Group {
    /// `None` where this process may make none.
    fn of(bytes: u64) -> Option<Self> {
        let name = format!("lastword-test-{}", std::process::id());
        let tops = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        tops.into_iter().find_map(|(top, file)| {
            let group = PathBuf::from(top).join(&name);
            std::fs::create_dir(&group).ok()?;
            let group = Self(group);
            std::fs::write(group.0.join(file), bytes.to_string()).ok()?;
            Some(group)
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _is_in_use = std::fs::remove_dir(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_take_all_the_memory_they_may_do_not_get_the_server_killed() {
    let Some(group) = Group::of(600 << 20) else {
        eprintln!("not tested: this user may make no control group with a limit on memory");
        return;
    };
    let shell = Shell::new();
    let enter = format!("echo $$ > {}/cgroup.procs", group.0.display());
    let mut server = Bounded::start(&shell, &enter, &[]);
    assert_eq!(server.served.ready["concurrent_runs"], 3);
    server
        .served
        .started
        .until_told("up to 3 runs at the same time");
    let mut runs = Vec::new();
    for _ in 0..50 {
        runs.push(server.prompt("grow").await);
    }
    for run in runs {
        let ended = server.until(&run, &["event: run.ended"]).await;
        assert!(ended.contains("out-of-memory"), "{ended}");
    }
    assert_eq!(server.get("/health").await.status(), 200);
    server.served.end();
}
