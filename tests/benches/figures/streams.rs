//! The server under streams: how long a delta takes from the agent's `append` to a subscriber
//! in another process, over loopback and through a durable commit; what a stream that is
//! silent costs; what a subscriber that does not read costs the others.

use super::parked::resident_kib;
use super::raw::Raw;
use super::stats::{line, percentile};
use futures_util::future::join_all;
use lastword::{Session, WorkspaceKey, WorkspaceOptions};
use lastword_server::{Anyone, Listener, ServerOptions, router, serve};
use lastword_tests::fixture::{Fixture, Plan};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

const SESSIONS: usize = 200;
const BEATS: u32 = 500;
const INTERVAL: Duration = Duration::from_millis(20);
const SILENT: usize = 1000;

struct Served {
    fixture: Fixture,
    url: String,
    server: JoinHandle<()>,
}

impl Served {
    async fn new() -> Self {
        let plan = Plan::new().host(|host| host.concurrent_runs(256));
        let fixture = plan.build().await;
        let anyone = Arc::new(Anyone);
        let address = "127.0.0.1:0".parse().expect("an address");
        let listener = Listener::tcp(address, &*anyone).await.expect("a port");
        let url = format!("http://{}", listener.address().expect("an address"));
        let options = ServerOptions {
            connections_max: 4096,
            ..ServerOptions::default()
        };
        let host = fixture.host.clone();
        let router = router(host.clone(), anyone, options.clone());
        let server = tokio::spawn(async move {
            serve(vec![listener], router, &options, host.drained()).await;
        });
        Self {
            fixture,
            url,
            server,
        }
    }

    async fn sessions(&self, count: usize) -> Vec<Session> {
        let sessions = (0..count).map(|n| async move {
            let key = WorkspaceKey::name(format!("w{}", n % 20));
            let opened = self
                .fixture
                .host
                .open_workspace(key, WorkspaceOptions::new());
            let workspace = opened.await.expect("it opens");
            let session = workspace.new_session(&self.fixture.agent).await;
            session.expect("a session")
        });
        join_all(sessions).await
    }

    async fn end(self) {
        self.fixture.host.shutdown().await;
        self.server.await.expect("the server ends");
    }
}

/// Subscribers in a process of their own.
struct Readers {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Readers {
    /// Opens these streams, and waits until they are open.
    async fn open(url: &str, paths: &[String]) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["read", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts again");
        let mut input = child.stdin.take().expect("a pipe");
        let paths = paths.join("\n");
        input.write_all(paths.as_bytes()).await.expect("it reads");
        drop(input);
        let output = child.stdout.take().expect("a pipe");
        let mut lines = BufReader::new(output).lines();
        let open = lines.next_line().await.expect("it tells");
        assert_eq!(open.as_deref(), Some("open"));
        Self { child, lines }
    }

    /// How long each delta was on its way, once every run has ended.
    async fn took(mut self) -> Vec<Duration> {
        let line = self.lines.next_line().await.expect("it tells");
        let line = line.expect("it saw all ends");
        self.child.kill().await.expect("it ends");
        let took = line.split(' ').filter_map(|us| us.parse().ok());
        took.map(Duration::from_micros).collect()
    }
}

pub(crate) async fn figures() {
    silent().await;
    let alone = paced("one subscriber each", 0).await;
    let beside = paced("the same beside 50 that do not read", 50).await;
    println!(
        "  {:<52} {:>9.2}",
        "p99 beside those that do not read, over without",
        beside / alone
    );
    let folder = tempfile::tempdir().expect("a folder");
    let mut raw = Raw::open(folder.path(), SESSIONS);
    let took = tokio::task::spawn_blocking(move || raw.paced(SESSIONS, INTERVAL, BEATS));
    let mut took = took.await.expect("it writes");
    let p99 = percentile(&mut took, 99.0);
    line("raw SQLite: the same deltas, from due to committed", took);
    println!(
        "  {:<52} {:>9.2}",
        "p99 to a subscriber, over raw",
        alone / p99
    );
    accepts().await;
}

/// The paced runs of all sessions; answers the p99.
async fn paced(name: &str, slow: usize) -> f64 {
    let served = Served::new().await;
    let sessions = served.sessions(SESSIONS).await;
    let path = |session: &Session| format!("/v1/sessions/{}/events", session.id());
    let mut paths: Vec<String> = sessions.iter().map(path).collect();
    paths.extend(sessions[..slow].iter().map(|s| format!("slow {}", path(s))));
    let readers = Readers::open(&served.url, &paths).await;
    let prompts = sessions.iter().enumerate().map(|(n, session)| async move {
        // Spread, as sessions that know nothing of each other are.
        tokio::time::sleep(INTERVAL * u32::try_from(n).unwrap_or(0) / SESSIONS as u32).await;
        session
            .prompt(format!("pace {BEATS}"))
            .await
            .expect("accepted")
    });
    let runs = join_all(prompts).await;
    let mut took = readers.took().await;
    drop(runs);
    let p99 = percentile(&mut took, 99.0);
    line(&format!("{SESSIONS} sessions × 50 deltas/s, {name}"), took);
    served.end().await;
    p99
}

/// What streams cost that have nothing to say.
async fn silent() {
    let served = Served::new().await;
    let sessions = served.sessions(SILENT).await;
    let paths: Vec<String> = sessions
        .iter()
        .map(|session| format!("/v1/sessions/{}/events", session.id()))
        .collect();
    let before = resident_kib();
    let began = Instant::now();
    let readers = Readers::open(&served.url, &paths).await;
    println!(
        "  {SILENT} streams opened in {:.0} ms, {:.1} KiB each in the server",
        began.elapsed().as_secs_f64() * 1e3,
        (resident_kib() - before) / SILENT as f64,
    );
    drop(readers);
    served.end().await;
}

/// From the request to the 202 of a prompt that is durable, one after another and 16 at a time.
async fn accepts() {
    let served = Served::new().await;
    for at_once in [1, 16] {
        let sessions = served.sessions(at_once).await;
        let client = reqwest::Client::builder().no_proxy().build();
        let client = client.expect("a client");
        let workers = sessions.iter().map(|session| {
            let url = format!("{}/v1/sessions/{}/runs", served.url, session.id());
            let client = &client;
            async move {
                let mut took = Vec::new();
                for _ in 0..2000 / at_once {
                    let body = r#"{"prompt":"nothing"}"#;
                    let request = client.post(&url).header("content-type", "application/json");
                    let began = Instant::now();
                    let answer = request.body(body).send().await.expect("an answer");
                    took.push(began.elapsed());
                    let id = answer.json::<serde_json::Value>().await.expect("JSON");
                    let id = id["run"].as_str().and_then(|id| id.parse().ok());
                    let run = session.run(id.expect("a run"));
                    run.ended().await.expect("it ends");
                }
                took
            }
        });
        let took = join_all(workers).await.concat();
        line(&format!("POST a prompt → 202, {at_once} at a time"), took);
    }
    served.end().await;
}
