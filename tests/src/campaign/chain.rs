//! A chain of kills on one data directory. Each victim is started, killed and checked; the chain
//! ends with a start that is not killed. Delays only choose the moment of a kill: nothing is
//! waited for by time.

use super::chance::Chance;
use super::ledger::{Finding, Ledger, Loss};
use super::life::{End, Life, Moment, listen};
use super::line::Word;
use super::matrix::Matrix;
use super::orders::Orders;
use crate::check;
use std::fmt;
use std::io::BufReader;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Rounds that no victim lives to see.
const FOR_EVER: u64 = 1 << 40;

/// When a victim is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// At any time from the process's first moment until it is ready.
    Starting,
    /// While the data directory is opened and recovered.
    Recovering,
    /// After one of the first accepts.
    Accepting,
    /// After any line, in full work.
    Working,
    /// While a run is being cancelled.
    Cancelling,
    /// While the host is shut down.
    ShuttingDown,
    /// At any time of a `lastword run --json`.
    CommandLine,
}

/// How many lives of a hundred are the command line's, if there is one.
const COMMAND_LINE: u64 = 10;

const PHASES: [Phase; 6] = [
    Phase::Starting,
    Phase::Recovering,
    Phase::Accepting,
    Phase::Working,
    Phase::Cancelling,
    Phase::ShuttingDown,
];

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Recovering => "recovering",
            Self::Accepting => "accepting",
            Self::Working => "working",
            Self::Cancelling => "cancelling",
            Self::ShuttingDown => "shutting down",
            Self::CommandLine => "command line",
        })
    }
}

/// What all chains share.
#[derive(Clone)]
pub struct Campaign {
    /// How a victim is started; its orders are added.
    pub command: fn() -> Command,
    /// The probe guest.
    pub probe: PathBuf,
    /// Where compiled guests are kept.
    pub cache: PathBuf,
    /// The command `lastword`, if it is to be killed too.
    pub lastword: Option<PathBuf>,
}

/// What happened to one data directory.
pub struct Chain {
    campaign: Campaign,
    seed: u64,
    number: u64,
    chance: Chance,
    data: PathBuf,
    ledger: Ledger,
    /// Up to where the ledger was compared already.
    compared: usize,
    /// How long opening, starting and shutting down took so far.
    opening: Duration,
    starting: Duration,
    closing: Duration,
    phases: Vec<Phase>,
    /// Figures so far.
    pub matrix: Matrix,
    /// What was found broken, with the case.
    pub findings: Vec<String>,
}

/// How a life ended.
struct Death {
    killed: bool,
    recovered: bool,
    closed: bool,
    findings: Vec<Finding>,
}

impl Chain {
    /// A chain on an empty data directory.
    #[must_use]
    pub fn new(campaign: Campaign, seed: u64, number: u64, data: PathBuf) -> Self {
        Self {
            campaign,
            seed,
            number,
            chance: Chance::of_case(seed, number),
            data,
            ledger: Ledger::default(),
            compared: 0,
            opening: Duration::from_millis(100),
            starting: Duration::from_millis(300),
            closing: Duration::from_millis(4),
            phases: Vec::new(),
            matrix: Matrix::default(),
            findings: Vec::new(),
        }
    }

    /// How much was acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.ledger.len()
    }

    /// Lives and dies so often, then starts undisturbed, and compares everything once more.
    pub fn run(&mut self, kills: u64) {
        let mut lives = 0;
        while self.matrix.kills() < kills && self.findings.is_empty() && lives < 2 * kills {
            let phase = self.phase();
            self.life(phase, |_| {});
            lives += 1;
        }
        if self.matrix.kills() < kills && self.findings.is_empty() {
            self.findings
                .push("half of the victims ended before they were killed".to_owned());
        }
        self.rest();
    }

    /// Each block of six lives dies in all six phases, in any order.
    fn phase(&mut self) -> Phase {
        if self.campaign.lastword.is_some() && self.chance.percent(COMMAND_LINE) {
            return Phase::CommandLine;
        }
        if self.phases.is_empty() {
            self.phases.extend(PHASES);
            self.chance.shuffle(&mut self.phases);
        }
        self.phases.pop().expect("filled above")
    }

    /// One life, and one death in this phase. `change` alters the orders.
    pub fn life(&mut self, phase: Phase, change: impl FnOnce(&mut Orders)) {
        if phase == Phase::CommandLine {
            return self.life_of_a_command();
        }
        let mut orders = self.orders();
        orders.rounds = match phase {
            Phase::ShuttingDown => 1 + self.chance.below(4),
            _ => FOR_EVER,
        };
        change(&mut orders);
        let moment = self.moment(phase);
        let before = self.ledger.len();
        let mut death = self.live_and_die(self.victim(&orders), Some(moment));
        if !death.killed && !death.closed {
            let text = "the victim ended by itself, and not by a shutdown";
            death.findings.push(Finding::new(Loss::Other, text));
        }
        self.judge(phase, death, before);
    }

    /// Starts a victim without killing it. Afterwards everything that was acknowledged must be
    /// there.
    pub fn rest(&mut self) {
        let mut orders = self.orders();
        (orders.rounds, orders.resume, orders.early) = (0, false, false);
        let before = self.ledger.len();
        let mut death = self.live_and_die(self.victim(&orders), None);
        if !death.closed {
            let text = "the last, undisturbed start did not end by itself";
            death.findings.push(Finding::new(Loss::Other, text));
        }
        self.compared = 0;
        let open = "SELECT id FROM run WHERE state IN ('queued', 'running', 'finishing')";
        if check::is_begun(&self.data)
            && check::open(&self.data)
                .prepare(open)
                .expect(open)
                .exists([])
                .expect(open)
        {
            let text = "a run is open after a clean start and a shutdown";
            death.findings.push(Finding::new(Loss::NonTerminal, text));
        }
        self.judge(Phase::ShuttingDown, death, before);
    }

    fn orders(&mut self) -> Orders {
        Orders {
            data: self.data.clone(),
            cache: self.campaign.cache.clone(),
            probe: self.campaign.probe.clone(),
            seed: self.chance.any(),
            rounds: FOR_EVER,
            resume: self.chance.percent(50),
            early: false,
            cursors: self.ledger.cursors(),
        }
    }

    fn moment(&mut self, phase: Phase) -> Moment {
        let (word, nth, span) = match phase {
            Phase::Starting => (None, 0, self.starting),
            Phase::Recovering => (Some(Word::Opening), 1, self.opening),
            Phase::Accepting => (
                Some(Word::Accept),
                1 + self.chance.below(12),
                Duration::from_millis(1),
            ),
            Phase::Working => (None, 20 + self.chance.below(700), Duration::from_millis(2)),
            Phase::Cancelling => (
                Some(Word::Cancelling),
                1 + self.chance.below(25),
                Duration::from_millis(3),
            ),
            Phase::ShuttingDown => (Some(Word::Closing), 1, self.closing),
            Phase::CommandLine => match self.chance.below(8) {
                0 => (None, 0, self.starting),
                nth => (Some(Word::Event), nth, Duration::from_millis(10)),
            },
        };
        let span = u64::try_from(span.as_micros()).expect("a short time");
        Moment {
            phase,
            word,
            nth,
            delay: Duration::from_micros(self.chance.below(span + 1)),
        }
    }

    fn victim(&self, orders: &Orders) -> Command {
        let mut command = (self.campaign.command)();
        orders.give(&mut command);
        command
    }

    /// One run from the command line, in its session of before or in a new one.
    fn life_of_a_command(&mut self) {
        let lastword = self.campaign.lastword.clone().expect("asked for above");
        let prompts = [
            "echo Hello.",
            "appends 300",
            "two-steps",
            "sleep 20",
            "spin",
            "flood",
        ];
        let prompt = self.chance.below(prompts.len() as u64);
        let mut command = Command::new(lastword);
        command
            .arg("run")
            .arg(&self.campaign.probe)
            .arg(prompts[usize::try_from(prompt).expect("an index")])
            .args(["--json", "--deadline", "1s", "--data-dir"])
            .arg(&self.data)
            .arg("--cache-dir")
            .arg(&self.campaign.cache)
            .stderr(Stdio::null());
        if let Some(session) = self.ledger.session_of_commands() {
            command.args(["--session", session]);
        }
        let before = self.ledger.len();
        let moment = self.moment(Phase::CommandLine);
        let death = self.live_and_die(command, Some(moment));
        self.judge(Phase::CommandLine, death, before);
    }

    fn live_and_die(&mut self, mut command: Command, moment: Option<Moment>) -> Death {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a victim starts");
        let born = Instant::now();
        let out = child.stdout.take().expect("its output is a pipe");
        let (lines, heard) = channel();
        let listener = std::thread::spawn(move || listen(BufReader::new(out), &lines));
        let mut life = Life::new(born, moment);
        let end = life.until_the_moment(&heard);
        let mut killed = false;
        if end != End::Over {
            if let (End::Moment, Some(moment)) = (end, moment) {
                std::thread::sleep(moment.delay);
            }
            child.kill().expect("it can be killed");
        }
        let status = wait(&mut child);
        killed |= status == Some(9);
        // Whatever the pipe still holds was said before the end.
        while let Ok(line) = heard.recv() {
            life.hear(line);
        }
        listener.join().expect("the listener ends with the pipe");
        self.remember(&life, end, killed)
    }

    /// Takes down what a victim has said.
    fn remember(&mut self, life: &Life, end: End, killed: bool) -> Death {
        if let Some(opened) = life.opened {
            self.opening = (self.opening + opened) / 2;
        }
        if let Some(ready) = life.ready {
            self.starting = (self.starting + ready) / 2;
        }
        if let Some(closing) = life.closing {
            self.closing = (self.closing + closing) / 2;
        }
        let mut findings = Vec::new();
        if end == End::Silence {
            findings.push(Finding::new(
                Loss::Other,
                "the victim said nothing for 30 s",
            ));
        }
        for line in &life.lines {
            findings.extend(self.ledger.note(line));
        }
        Death {
            killed,
            recovered: life.opened.is_some(),
            closed: life.closing.is_some(),
            findings,
        }
    }

    /// Compares the database with what was acknowledged, as the dead process left it.
    fn judge(&mut self, phase: Phase, mut death: Death, before: usize) {
        if check::is_begun(&self.data) {
            let conn = check::open(&self.data);
            let missing = self.ledger.missing(&conn, self.compared);
            death.findings.extend(missing);
            if death.recovered {
                death.findings.extend(left_open(&conn));
            }
            for violation in check::violations(&self.data) {
                let ends = ["number of ends", "has an end"];
                let loss = if ends.into_iter().any(|words| violation.contains(words)) {
                    Loss::Ends
                } else {
                    Loss::Other
                };
                death.findings.push(Finding::new(loss, violation));
            }
        } else if !self.ledger.is_empty() {
            let text = "the database is gone";
            death.findings.push(Finding::new(Loss::Acknowledged, text));
        }
        self.compared = self.ledger.len();
        let row = self.matrix.rows.entry(phase).or_default();
        row.kills += u64::from(death.killed);
        row.acknowledged += u64::try_from(self.compared - before).expect("a count");
        let (seed, chain, kill) = (self.seed, self.number, self.matrix.kills());
        for finding in death.findings {
            let row = self.matrix.rows.entry(phase).or_default();
            *row.found.entry(finding.loss).or_default() += 1;
            self.findings.push(format!(
                "seed {seed}, chain {chain}, kill {kill}, {phase}: {finding}"
            ));
        }
    }
}

/// Once a host stands, what an earlier one began has its end.
fn left_open(conn: &rusqlite::Connection) -> Option<Finding> {
    let sql = "SELECT count(*) FROM run, owner
               WHERE state IN ('running', 'finishing') AND run.epoch < owner.epoch";
    let count: i64 = conn.query_row(sql, [], |row| row.get(0)).expect(sql);
    let text = format!("{count} runs of an earlier host are open after recovery");
    (count > 0).then(|| Finding::new(Loss::NonTerminal, text))
}

/// The signal that ended a process, if one did.
fn wait(child: &mut Child) -> Option<i32> {
    child.wait().expect("it can be waited for").signal()
}
