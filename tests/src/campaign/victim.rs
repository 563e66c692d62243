//! The process that is killed: a host with several busy sessions, which writes everything that was
//! acknowledged to it to standard output.

use super::chance::Chance;
use super::line::{Word, say};
use super::orders::Orders;
use lastword::event::Seq;
use lastword::{
    Agent, Capability, Host, HostError, Prompt, Run, Session, Workspace, WorkspaceKey,
    WorkspaceOptions,
};
use serde_json::json;
use std::time::Duration;

/// Sessions that are busy at the same time.
pub const SESSIONS: usize = 8;
/// How many different keys a session uses, over all lives.
const KEYS: u64 = 400;
/// No run may be longer, so that nothing that is left alone holds a session up for ever.
const DEADLINE: Duration = Duration::from_millis(400);

/// Lives as it was told, until it is killed or its rounds are over.
pub fn live(orders: &Orders) {
    // What a test harness prints first may lack its end of line.
    println!();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime starts").block_on(load(orders));
}

async fn load(orders: &Orders) {
    say(Word::Opening, &json!(orders.seed));
    let host = match Host::builder()
        .data_dir(&orders.data)
        .cache_dir(&orders.cache)
        .concurrent_runs(16)
        .build()
        .await
    {
        Ok(host) => host,
        Err(error) => return trouble("build", &error),
    };
    let recovered = host.recovered();
    say(
        Word::Recovered,
        &json!({ "ended": recovered.ended, "held": recovered.held }),
    );
    if let Err(error) = work(&host, orders).await {
        trouble("begin", &error);
    }
    say(Word::Closing, &json!(null));
    let left = host.shutdown().await;
    say(Word::Closed, &json!(left));
}

async fn work(host: &Host, orders: &Orders) -> Result<(), HostError> {
    let probe = host.load_agent("probe", orders.probe.clone()).await?;
    let key = WorkspaceKey::Name("campaign".to_owned());
    let options = WorkspaceOptions::new().grant(Capability::State);
    let workspace = host.open_workspace(key, options).await?;
    let mut actors = Vec::new();
    for number in 0..SESSIONS {
        let session = session(&workspace, &probe, orders, number).await?;
        let case = u64::try_from(number).expect("few sessions");
        actors.push(Actor {
            chance: Chance::of_case(orders.seed, case),
            life: orders.seed,
            early: orders.early,
            asked: 0,
            session,
        });
    }
    say(Word::Ready, &json!(null));
    if orders.resume {
        host.resume_held().await?;
    }
    let rounds = orders.rounds;
    let tasks: Vec<_> = actors
        .into_iter()
        .map(|actor| tokio::spawn(actor.act(rounds)))
        .collect();
    for task in tasks {
        task.await.expect("no actor panics");
    }
    Ok(())
}

/// An earlier session, or a new one; what happens in it is watched from here on.
async fn session(
    workspace: &Workspace,
    probe: &Agent,
    orders: &Orders,
    number: usize,
) -> Result<Session, HostError> {
    let (session, after) = match orders.cursors.get(number) {
        Some((id, seq)) => {
            let id = id.parse().expect("the id of a session");
            (workspace.session(id, probe).await?, *seq)
        }
        None => (workspace.new_session(probe).await?, 0),
    };
    say(Word::Session, &json!(session.id()));
    let mut events = session.events(Seq(after));
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => say(Word::Event, &json!(event)),
                // The host has shut down, and said so.
                Err(_) => return,
            }
        }
    });
    Ok(session)
}

fn trouble(what: &str, error: &HostError) {
    say(Word::Trouble, &json!(format!("{what}: {error}")));
}

/// The load of one session: it sends prompts and reports what is acknowledged.
struct Actor {
    session: Session,
    chance: Chance,
    life: u64,
    early: bool,
    asked: u64,
}

impl Actor {
    async fn act(mut self, rounds: u64) {
        for round in 0..rounds {
            // The last request is left alone: the shutdown meets it at work.
            let alone = round + 1 == rounds;
            self.round(alone).await;
        }
    }

    async fn round(&mut self, alone: bool) {
        let kind = self.chance.below(14);
        let text = self.request(kind);
        match kind {
            0..=6 => self.undisturbed(text, alone).await,
            7 | 8 => self.several(alone).await,
            9 => self.with_a_key(alone).await,
            _ => self.until_cancelled(text, alone).await,
        }
    }

    fn request(&mut self, kind: u64) -> String {
        self.asked += 1;
        let (life, asked) = (self.life, self.asked);
        match kind {
            0 => format!("echo {life:x} said {asked}"),
            1 | 2 => format!("appends {}", 1 + self.chance.below(300)),
            3 => "two-steps".to_owned(),
            4 => format!("state-set session {life:x}-{asked} {asked}"),
            5 => format!("data {}", 1 + self.chance.below(4000)),
            6 => ["fail on purpose", "unreachable", "sleep 3"][self.index(3)].to_owned(),
            10 => "half-call".to_owned(),
            11 => format!("think {life:x} about {asked}"),
            12 => "flood".to_owned(),
            _ => format!("spin {life:x} before {asked}"),
        }
    }

    async fn undisturbed(&mut self, text: String, alone: bool) {
        if let Some(run) = self.ask(text, None).await
            && !alone
        {
            end(&run).await;
        }
    }

    /// Cancelled by another task, soon; now and then left to its deadline.
    async fn until_cancelled(&mut self, text: String, alone: bool) {
        let Some(run) = self.ask(text, None).await else {
            return;
        };
        if alone {
            return;
        }
        let patience = Duration::from_micros(self.chance.below(6000));
        if self.chance.percent(90) {
            tokio::spawn(cancel(run.clone(), patience));
        }
        end(&run).await;
    }

    /// More than one prompt at a time, so that some are queued.
    async fn several(&mut self, alone: bool) {
        let mut runs = Vec::new();
        for _ in 0..2 + self.chance.below(3) {
            let kind = [0, 1, 3, 4, 6, 13][self.index(6)];
            let text = self.request(kind);
            runs.extend(self.ask(text, None).await);
        }
        if alone {
            return;
        }
        if self.chance.percent(60) {
            say(Word::Cancelling, &json!(self.session.id()));
            for receipt in self.session.cancel().await.unwrap_or_default() {
                say(Word::Receipt, &json!(receipt));
            }
        }
        for run in runs {
            end(&run).await;
        }
    }

    /// The same request twice at once; the key may be one of an earlier life.
    async fn with_a_key(&mut self, alone: bool) {
        let key = format!("k{}", self.chance.below(KEYS));
        let text = format!("echo under {key}");
        let (one, other) = tokio::join!(
            self.ask(text.clone(), Some(key.clone())),
            self.ask(text, Some(key))
        );
        if !alone {
            for run in one.iter().chain(&other) {
                end(run).await;
            }
        }
    }

    async fn ask(&self, text: String, key: Option<String>) -> Option<Run> {
        let session = self.session.id();
        let mut prompt = Prompt::text(&*text).deadline(DEADLINE);
        let mut key = key;
        if self.early {
            key = key.or_else(|| Some(format!("{:x}-{}", self.life, self.asked)));
            say(
                Word::Accept,
                &json!({ "session": session, "run": null, "key": key, "text": text }),
            );
        }
        if let Some(key) = &key {
            prompt = prompt.key(key);
        }
        match self.session.prompt(prompt).await {
            Ok(run) => {
                say(
                    Word::Accept,
                    &json!({ "session": session, "run": run.id(), "key": key, "text": text }),
                );
                Some(run)
            }
            Err(error) => {
                trouble("prompt", &error);
                None
            }
        }
    }

    fn index(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).expect("a short list");
        usize::try_from(self.chance.below(length)).expect("an index of it")
    }
}

async fn cancel(run: Run, patience: Duration) {
    tokio::time::sleep(patience).await;
    say(Word::Cancelling, &json!(run.id()));
    match run.cancel().await {
        Ok(receipt) => say(Word::Receipt, &json!(receipt)),
        Err(error) => trouble("cancel", &error),
    }
}

async fn end(run: &Run) {
    match run.ended().await {
        Ok(receipt) => say(Word::Receipt, &json!(receipt)),
        // Known by its key, and held since an earlier life.
        Err(HostError::Held(_)) => {}
        Err(error) => trouble("end", &error),
    }
}
