//! `lastword questions`, `answer` and `grants`: questions of agents to people, and the grants of
//! answers. They use the owner of the data directory, or own it for a moment.

use crate::arguments::{self, ListGrants, OfGrants, Shared, Word};
use crate::failure::{Exit, Failure};
use crate::naming::{self, Candidate, Ids};
use crate::paths::{self, Paths};
use crate::prompts::with_owner;
use crate::reading::Source;
use crate::rendering;
use crate::settings::Settings;
use crate::table::{Column, table};
use crate::terminal::{Terminal, brief, to_stdout};
use crate::units::{self, ago};
use lastword::clock::SystemClock;
use lastword::id::{GrantId, QuestionId};
use lastword::session::{Answer, Asked, Granted, Question, Remember, Within};
use lastword::text;
use lastword_client::{Client, ClientError};
use serde_json::json;
use uuid::Uuid;

const NO_QUESTION: &str = "no question is open";
const NO_GRANT: &str = "no answer has granted anything that stands";
const QUESTIONS: [Column; 4] = [
    Column::fixed("QUESTION"),
    Column::fixed("ASKED").detail(),
    Column::words("AGENT").detail(),
    Column::words("ABOUT"),
];
/// A rule is shown whole: what is granted must not look like less or more.
const GRANTS: [Column; 5] = [
    Column::fixed("GRANT"),
    Column::fixed("RULE"),
    Column::words("AGENT").detail(),
    Column::fixed("WITHIN").detail(),
    Column::path("WORKSPACE").detail(),
];

/// Carries out an operation at the host that owns the data directory, and prints the text that it
/// returns. Where nothing was ever kept, prints the note for that instead, if there is one.
async fn with(
    shared: Shared,
    nothing: Option<&str>,
    terminal: &Terminal,
    work: impl AsyncFn(&Client) -> Result<String, Failure>,
) -> Result<Exit, Failure> {
    let settings = Settings::load(shared.config_file.as_deref())?;
    let paths = Paths::of(&shared, &settings)?;
    if let Some(nothing) = nothing
        && shared.server.is_none()
        && let Source::Nothing = Source::on_disk(&paths)?
    {
        terminal.note(nothing);
        return Ok(Exit::Completed);
    }

    let text = with_owner(&shared, &settings, &paths, terminal, work).await?;
    // A reader that closed the pipe needs no more output: this is no failure.
    let _closed = to_stdout(&text);
    Ok(Exit::Completed)
}

/// Lists questions, or shows one.
pub(crate) async fn questions(
    arguments: arguments::Questions,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let list = async |client: &Client| {
        if let Some(word) = &arguments.question {
            let question = one(client, word).await?;
            return Ok(if arguments.json {
                format!("{}\n", json!(question))
            } else {
                whole(&question, terminal)
            });
        }
        let session = match &arguments.session {
            None => None,
            Some(word) => Some(Source::server(client).session(word).await?.record.id),
        };
        let open = client.questions(session).await?;
        if open.items.is_empty() {
            terminal.note(NO_QUESTION);
            return Ok(String::new());
        }

        if arguments.json {
            return Ok(open
                .items
                .iter()
                .map(|open| format!("{}\n", json!(open)))
                .collect());
        }

        let ids = Ids::of(open.items.iter().map(|open| open.id), &terminal.out);
        let rows: Vec<_> = open.items.iter().map(|open| row(open, ids)).collect();
        Ok(table(QUESTIONS, &rows, terminal))
    };

    let lists = arguments.question.is_none() && arguments.session.is_none();
    with(shared, lists.then_some(NO_QUESTION), terminal, list).await
}

fn row(question: &Question, ids: Ids) -> [String; 4] {
    let now = SystemClock::shared().now().0;
    [
        ids.show(&question.id),
        ago(now, question.asked_ms.0),
        text::line(question.agent.as_str()).into_owned(),
        rendering::subject(&question.asked),
    ]
}

/// Returns a question with its whole diff, and the possible answers.
fn whole(question: &Question, terminal: &Terminal) -> String {
    let mut text = rendering::question(question, usize::MAX, &terminal.out);
    if let Asked::Permission { offers, .. } = &question.asked {
        for offer in offers {
            let rule = text::shell(&text::seen(offer));
            text.push_str(&format!("  --rule {rule}\n"));
        }
    }

    let words = match &question.asked {
        Asked::Permission { .. } => "yes",
        Asked::Input { .. } => "text \"TEXT\"",
    };
    let about = format!(
        "session {} · run {} · `lastword answer {} {words}`\n",
        question.session, question.run, question.id
    );
    text.push_str(&terminal.out.dim(&about));
    text
}

/// The open question that a word names.
async fn one(client: &Client, word: &str) -> Result<Question, Failure> {
    let mut open = client.questions(None).await?.items;
    let found = if word == "latest" {
        open.pop()
    } else {
        naming::QUESTION.pick(word, open)?
    };

    found.ok_or_else(|| {
        Failure::usage(format!(
            "no open question is called `{word}`; `lastword questions` lists those that there are"
        ))
    })
}

impl Candidate for Question {
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn about(&self) -> String {
        let agent = brief(self.agent.as_str(), 40);
        format!("{agent}  {}", rendering::subject(&self.asked))
    }
}

impl Candidate for Granted {
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn about(&self) -> String {
        let agent = brief(self.agent.as_str(), 40);
        format!("{agent}  {}", text::seen(&self.rule))
    }
}

/// Sends an answer to a question.
pub(crate) async fn answer(
    arguments: arguments::Answer,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let said = said(&arguments)?;
    let answer = async |client: &Client| {
        let id: QuestionId = match arguments.question.parse() {
            Ok(id) => id,
            Err(_) => one(client, &arguments.question).await?.id,
        };
        let key = Uuid::now_v7().to_string();
        let answered = client.answer(id, &said, &key).await.map_err(refused)?;
        if arguments.json {
            return Ok(format!("{}\n", json!(answered)));
        }
        terminal.note(&format!("answered: {}", rendering::answer(&said)));
        if let Some(grant) = &answered.grant {
            terminal.note(&format!(
                "granted {} · `lastword grants revoke {}` takes it back",
                text::seen(&grant.rule),
                grant.id
            ));
        }
        let others = answered.settled.len() as u64;
        if others > 0 {
            let others = units::count(others, "other open question");
            terminal.note(&format!("{others} answered with it"));
        }
        if let Some(run) = answered.run {
            terminal.note(&format!("the session goes on with run {run}"));
        }
        Ok(String::new())
    };

    with(shared, None, terminal, answer).await
}

/// Turns the answer's word and its text, if any, into an answer.
fn said(arguments: &arguments::Answer) -> Result<Answer, Failure> {
    let text = arguments.text.clone();
    let within = match (arguments.answer, &text) {
        (Word::Text, Some(_)) | (Word::No, _) => None,
        (Word::Text, None) => {
            return Err(Failure::usage(
                "say what to answer: `lastword answer QUESTION text \"TEXT\"`",
            ));
        }
        (_, Some(_)) => {
            return Err(Failure::usage(
                "only `text` and `no` have words with them; leave them out, or answer `text`",
            ));
        }
        (Word::Yes, None) => None,
        (Word::Session, None) => Some(Within::Session),
        (Word::Workspace, None) => Some(Within::Workspace),
    };

    let rule = arguments.rule.clone();
    if rule.is_some() && within.is_none() {
        return Err(Failure::usage(
            "`--rule` says what to grant for longer than once; answer `session` or `workspace`",
        ));
    }

    Ok(match (arguments.answer, text) {
        (Word::Text, Some(text)) => Answer::Text { text },
        (Word::No, reason) => Answer::Deny { reason },
        _ => Answer::Allow {
            remember: within.map(|within| Remember { within, rule }),
        },
    })
}

/// Returns a refusal, with the answer that counts or with what to do.
fn refused(error: ClientError) -> Failure {
    let first = error.problem().and_then(|problem| problem.answer.as_ref());
    let first = first.map(rendering::answer);
    let unloaded = error.name() == Some("unknown-agent");
    let mut failure = Failure::from(error);
    if let Some(first) = first {
        failure.message = format!("{}: {first}", failure.message);
    }

    if unloaded {
        failure.message = format!(
            "the run that asked is over, and the answer would begin another: {}, with `lastword \
             serve --agent NAME=FILE`, and answer again",
            failure.message
        );
    }

    failure
}

/// Lists grants, or revokes one.
pub(crate) async fn grants(
    arguments: arguments::Grants,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let which = match arguments.what {
        Some(OfGrants::Revoke { grant }) => {
            let revoke = async |client: &Client| {
                client.revoke(granted(client, &grant).await?).await?;
                terminal.note("it is taken back, for every decision from now on");
                Ok(String::new())
            };
            return with(shared, None, terminal, revoke).await;
        }
        Some(OfGrants::List(which)) => which,
        None => arguments.list,
    };

    let list = async |client: &Client| list(client, &which, terminal).await;
    with(shared, Some(NO_GRANT), terminal, list).await
}

/// The grant that a word names.
async fn granted(client: &Client, word: &str) -> Result<GrantId, Failure> {
    if let Ok(grant) = word.parse() {
        return Ok(grant);
    }

    let mut all = Vec::new();
    for workspace in client.workspaces().await?.items {
        all.extend(client.grants(workspace.id).await?.items);
    }

    let found = naming::GRANT.pick(word, all)?;
    found
        .map(|grant| grant.id)
        .ok_or_else(|| naming::GRANT.unknown(word))
}

async fn list(client: &Client, which: &ListGrants, terminal: &Terminal) -> Result<String, Failure> {
    let mut listed = Vec::new();
    for workspace in client.workspaces().await?.items {
        let key = workspace.stored_key();
        let directory = which.workspace.as_deref();
        if directory.is_some_and(|directory| !paths::is_directory(&key, directory)) {
            continue;
        }
        let place = paths::workspace(&key);
        let grants = client.grants(workspace.id).await?.items.into_iter();
        listed.extend(grants.map(|grant| (grant, place.clone())));
    }

    if listed.is_empty() {
        terminal.note(NO_GRANT);
        return Ok(String::new());
    }

    if which.json {
        let lines = listed
            .iter()
            .map(|(grant, place)| format!("{}\n", json!({ "grant": grant, "workspace": place })));
        return Ok(lines.collect());
    }

    let ids = Ids::of(listed.iter().map(|(grant, _)| grant.id), &terminal.out);
    let rows: Vec<_> = listed
        .iter()
        .map(|(grant, place)| granted_row(grant, place, ids))
        .collect();
    Ok(table(GRANTS, &rows, terminal))
}

fn granted_row(grant: &Granted, place: &str, ids: Ids) -> [String; 5] {
    let within = match grant.session {
        None => "the workspace".to_owned(),
        Some(session) => format!("session {session}"),
    };
    [
        ids.show(&grant.id),
        text::seen(&grant.rule).into_owned(),
        text::line(grant.agent.as_str()).into_owned(),
        within,
        text::line(place).into_owned(),
    ]
}
