//! `cargo run --example campaign -- [--kills N] [--seed S] [--chain C]`: kills a busy host N
//! times and prints the loss matrix. Ends with 1 if anything was lost. Knows no rule itself.

use lastword_tests::campaign::{Campaign, Chain, Matrix, Orders, victim};
use lastword_tests::guests::{guest, root};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Kills on one data directory.
const CHAIN: u64 = 25;
const USAGE: &str = "usage: campaign [--kills N] [--seed S] [--chain C]";

fn main() -> ExitCode {
    if let Some(orders) = Orders::of_this_process() {
        victim::live(&orders);
        return ExitCode::SUCCESS;
    }
    let plan = match Plan::parse(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match plan.run() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What to try.
struct Plan {
    kills: u64,
    seed: u64,
    chain: Option<u64>,
}

/// What came of it.
#[derive(Default)]
struct Results {
    matrix: Matrix,
    findings: Vec<String>,
    chains: Vec<u64>,
}

impl Plan {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let seed = std::env::var("CAMPAIGN_SEED").ok();
        let seed = seed.map(|text| number(&text)).transpose()?;
        let mut plan = Self {
            kills: 500,
            seed: seed.unwrap_or(1),
            chain: None,
        };
        while let Some(name) = args.next() {
            let value = args.next().ok_or(format!("{name} needs a number"))?;
            let value = number(&value)?;
            match name.as_str() {
                "--kills" => plan.kills = value,
                "--seed" => plan.seed = value,
                "--chain" => plan.chain = Some(value),
                _ => return Err(format!("unknown option {name}")),
            }
        }
        Ok(plan)
    }

    fn run(&self) -> bool {
        let began = Instant::now();
        let campaign = Campaign {
            command: itself,
            probe: guest("probe"),
            cache: root().join("target/lastword-test-cache"),
            lastword: command_line(),
        };
        let (first, last) = match self.chain {
            Some(chain) => (chain, chain + 1),
            None => (0, self.kills.div_ceil(CHAIN)),
        };
        let next = AtomicU64::new(first);
        let results = Mutex::new(Results::default());
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let chain = next.fetch_add(1, Ordering::Relaxed);
                        if chain >= last {
                            return;
                        }
                        let kills = CHAIN.min(self.kills.saturating_sub(chain * CHAIN)).max(1);
                        one_chain(&campaign, self.seed, chain, kills, &results);
                    }
                });
            }
        });
        let results = results.into_inner().expect("no chain panicked");
        println!("{}", results.matrix);
        let kills = results.matrix.kills();
        println!(
            "\n{kills} kills in {:.1} s, seed {}",
            began.elapsed().as_secs_f64(),
            self.seed
        );
        for finding in &results.findings {
            println!("commit {}, {finding}", commit());
        }
        for chain in &results.chains {
            let (seed, kills) = (self.seed, self.kills);
            println!(
                "replay: cargo run --example campaign -- --seed {seed} --kills {kills} --chain {chain}"
            );
        }
        results.findings.is_empty()
    }
}

fn one_chain(campaign: &Campaign, seed: u64, number: u64, kills: u64, results: &Mutex<Results>) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let data = folder.path().join("data");
    let mut chain = Chain::new(campaign.clone(), seed, number, data);
    let ran = catch_unwind(AssertUnwindSafe(|| chain.run(kills)));
    if ran.is_err() {
        let panic = format!("seed {seed}, chain {number}: the judge panicked, see above");
        chain.findings.push(panic);
    }
    if !chain.findings.is_empty() {
        let kept = folder.keep();
        chain.findings.push(format!(
            "chain {number}: its data is kept in {}",
            kept.display()
        ));
    }
    let mut results = results.lock().expect("no chain panicked");
    results.matrix.add(chain.matrix);
    if !chain.findings.is_empty() {
        results.chains.push(number);
    }
    results.findings.append(&mut chain.findings);
}

/// The command `lastword`, which lies beside the folder of the examples once it is built.
fn command_line() -> Option<PathBuf> {
    let itself = std::env::current_exe().ok()?;
    let file = itself.parent()?.parent()?.join("lastword");
    let help = Command::new(&file).args(["run", "--help"]).output();
    let ready = help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--json"));
    if !ready {
        eprintln!("the command line is not built (`cargo build` does it) and so not killed");
    }
    ready.then_some(file)
}

/// This very program, as a victim.
fn itself() -> Command {
    Command::new(std::env::current_exe().expect("a program knows where it is"))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn commit() -> String {
    let git = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .current_dir::<&Path>(root())
        .output();
    let hash = git.map(|git| String::from_utf8_lossy(&git.stdout).trim().to_owned());
    hash.unwrap_or_else(|_| "unknown".to_owned())
}
