//! The command `lastword`: runs agents from a terminal, serves them, and reads their sessions.
//!
//! It uses only the public interfaces of the library, the server and the client, as any embedder
//! does. Each command is a module.

mod agent;
mod agents;
mod arguments;
mod asking;
mod attach;
mod attachments;
mod backup;
mod cargo;
mod check;
mod doctor;
mod external;
mod failure;
mod follow;
mod hints;
mod init;
mod keeping;
mod manual;
mod mcp;
mod naming;
#[cfg(feature = "otlp")]
mod otlp;
mod owner;
mod paths;
mod plan;
mod printer;
mod prompts;
mod question_ui;
mod questions;
mod reading;
mod redirect;
mod remote_run;
mod rendering;
mod requirements;
mod resume;
mod run;
mod runs;
mod serve;
mod service_manager;
mod serving;
mod sessions;
mod settings;
mod show;
mod signals;
mod table;
mod terminal;
mod trace;
mod units;
mod view;

use arguments::{Arguments, Command};
use clap::Parser;
use failure::{Exit, Failure};
use printer::printer;
use rustix::process::{Resource, getrlimit};
use terminal::Terminal;

/// With this word as its first argument, this program compiles one component for the host that
/// started it.
const COMPILE: &str = "compile-worker";

/// Threads of the runtime.
const WORKERS: usize = 2;
/// Open files without which a command cannot do its work.
const FILES_MIN: u64 = 64;
/// Bytes of address space without which threads and the database cannot be had.
const SPACE_MIN: u64 = 512 << 20;

fn main() {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == COMPILE)
    {
        lastword::compile_worker();
    }
    let first = init::is_first().then(init::run);
    if let Some(Ok(code)) = first {
        std::process::exit(code);
    }

    let arguments = Arguments::try_parse().unwrap_or_else(|error| leave(&error));
    let terminal = Terminal::new(arguments.shared.no_color, arguments.shared.verbose);
    if let Some(Err(error)) = first {
        terminal.warn(&format!(
            "processes without a parent are not collected here: {error}; start the container with \
             `--init`"
        ));
    }

    let traces = trace::start(arguments.shared.verbose, &terminal);
    let mut exit = dispatch(arguments, &terminal).unwrap_or_else(|failure| {
        terminal.error(&failure.message);
        failure.exit
    });
    traces.flush();
    if let Some(error) = written() {
        terminal.error(&format!("cannot write to standard output: {error}"));
        exit = exit.cut_short(match error.kind() {
            std::io::ErrorKind::TimedOut => Exit::Cancelled,
            _ => Exit::Failed,
        });
        let _told = written();
    }

    // Exits here, since a compilation that is no longer needed would delay the return from `main`.
    std::process::exit(exit.code());
}

/// Prints help, the version, or what is wrong with the arguments, and ends the process.
fn leave(told: &clap::Error) -> ! {
    let code = match told.print() {
        Err(error) if !told.use_stderr() && error.kind() != std::io::ErrorKind::BrokenPipe => {
            let terminal = Terminal::new(false, false);
            terminal.error(&format!("cannot write to standard output: {error}"));
            let _told = written();
            Exit::Failed.code()
        }
        _ => told.exit_code(),
    };
    std::process::exit(code)
}

fn dispatch(arguments: Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let shared = arguments.shared;
    match arguments.command {
        Command::Run(run) => block_on(run::run(*run, shared, terminal))?,
        Command::Check(check) => block_on(check::check(check, shared, terminal))?,
        Command::Sessions(list) => block_on(sessions::sessions(&list, &shared, terminal))?,
        Command::Doctor(look) => doctor::doctor(&look, &shared, terminal),
        Command::Runs(list) => block_on(runs::runs(&list, &shared, terminal))?,
        Command::Agents(list) => block_on(agents::agents(&list, &shared, terminal))?,
        Command::Follow(follow) => block_on(attach::follow(follow, shared, terminal))?,
        Command::Show(show) => block_on(show::show(&show, &shared, terminal))?,
        Command::Serve(serve) => block_on(serve::serve(*serve, shared, terminal))?,
        Command::Cancel(cancel) => block_on(prompts::cancel(cancel, shared, terminal))?,
        Command::Queue(queue) => block_on(prompts::queue(queue, shared, terminal))?,
        Command::Questions(open) => block_on(questions::questions(open, shared, terminal))?,
        Command::Answer(answer) => block_on(questions::answer(answer, shared, terminal))?,
        Command::Grants(grants) => block_on(questions::grants(grants, shared, terminal))?,
        Command::Mcp(servers) => block_on(mcp::mcp(servers, shared, terminal))?,
        Command::Resume(resume) => block_on(resume::resume(*resume, shared, terminal))?,
        Command::Rename(rename) => block_on(keeping::rename(rename, shared, terminal))?,
        Command::Delete(delete) => block_on(keeping::delete(delete, shared, terminal))?,
        Command::Export(export) => block_on(keeping::export(export, shared, terminal))?,
        Command::Backup(file) => block_on(backup::backup(file, shared, terminal))?,
        Command::Completions(of) => Ok(manual::completions(&of)),
        Command::Man(place) => manual::man(&place, terminal),
    }
}

/// Waits until the output is written; signals are still handled. Returns the error, if it failed.
fn written() -> Option<std::io::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.ok()?.block_on(printer().finish())
}

/// The runtime is never dropped: the process ends before it does.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    limits()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build();
    let runtime =
        runtime.map_err(|error| Failure::usage(format!("cannot wait for events: {error}")))?;
    let answer = runtime.block_on(async {
        signals::ignore_file_size();
        future.await
    });
    std::mem::forget(runtime);
    Ok(answer)
}

/// Fails where the limits of this process are too low for any command, and names the one to raise.
/// Later they would show as many different errors, and the runtime panics without its threads.
fn limits() -> Result<(), Failure> {
    if let Some(files) = getrlimit(Resource::Nofile).current
        && files < FILES_MIN
    {
        return Err(Failure::usage(format!(
            "the limit of open files is {files}, and at least {FILES_MIN} are needed; raise it \
             (`ulimit -n 1024`)"
        )));
    }

    if let Some(bytes) = getrlimit(Resource::As).current
        && bytes < SPACE_MIN
    {
        return Err(Failure::usage(format!(
            "the limit of address space is {} MiB, and at least {} MiB are needed, for runs more \
             than 4 GiB; raise it (`ulimit -v unlimited`)",
            bytes >> 20,
            SPACE_MIN >> 20
        )));
    }

    let started = std::thread::scope(|scope| {
        let start = |_| {
            std::thread::Builder::new()
                .spawn_scoped(scope, || ())
                .map(drop)
        };
        (0..WORKERS).try_for_each(start)
    });
    started.map_err(|error| {
        Failure::usage(format!(
            "cannot start threads: {error}; raise the limit of processes (`ulimit -u`)"
        ))
    })
}
