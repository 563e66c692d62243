//! Commands about what WASI offers: files, clocks, standard streams, chance, the network.
//!
//! It does not know which of it a host allows. What fails is said, and the run goes on.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lastword_guest::prelude::*;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

use crate::{ProbeTurn, number, said, said_result, word};

const CHUNK: usize = 64 * 1024;
/// In milliseconds.
const HOUR: u64 = 60 * 60 * 1000;

/// A line of standard output, without its end.
const LINE: &str = concat!(
    "0123456789012345678901234567890123456789",
    "0123456789012345678901234567890123456789",
    "01234567890123456789",
);

pub(crate) fn run(turn: &ProbeTurn, command: &str, argument: &str) -> Option<Result<Outcome>> {
    Some(match command {
        "read" => said_result(turn, fs::read_to_string(argument)),
        "write" => said_result(turn, write(argument)),
        "list" => said_result(turn, list(argument)),
        "open" => said_result(turn, File::open(argument).map(|_| "opened".to_owned())),
        "tmp" => number(argument).and_then(|bytes| said_result(turn, fill_tmp(bytes))),
        "make" => said_result(turn, make(argument)),
        "hold" => turn.say(&hold(argument)).and_then(|()| rest(turn, HOUR)),
        "hold-and-end" => said(turn, &hold(argument)),
        "sleep" => number(argument).and_then(|milliseconds| rest(turn, milliseconds)),
        "pace" => number(argument).and_then(|count| pace(turn, count)),
        "stdout" => number(argument).and_then(|lines| print(turn, lines)),
        "stderr" => {
            eprintln!("{argument}");
            said(turn, "done")
        }
        "stdin" => said_result(turn, read_line()),
        "clock" => said_result(turn, clock()),
        "env" => said(turn, &environment()),
        "random" => number(argument).and_then(|bytes| said_result(turn, random(bytes))),
        "net" => said_result(turn, connect()),
        _ => return None,
    })
}

fn write(argument: &str) -> io::Result<String> {
    let (path, text) = word(argument);
    fs::write(path, text).map(|()| "written".to_owned())
}

fn list(path: &str) -> io::Result<String> {
    let mut names = fs::read_dir(path)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names.join("\n"))
}

fn fill_tmp(bytes: usize) -> io::Result<String> {
    let mut file = File::create("/tmp/x")?;
    let chunk = [b'x'; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(CHUNK);
        file.write_all(&chunk[..part])?;
        left -= part;
    }
    Ok(format!("wrote {bytes}"))
}

/// `KIND COUNT`: makes so many in `/tmp`; `nest` makes each directory in the one before.
fn make(argument: &str) -> Result<String, String> {
    let (kind, count) = word(argument);
    let count: usize = count.parse().map_err(|_| "no number".to_owned())?;
    let directories = get_directories();
    let tmp = directories.iter().find(|(_, name)| name == "/tmp");
    let (tmp, _) = tmp.ok_or("there is no /tmp")?;
    let mut deepest = None;
    for made in 0..count {
        let one = match kind {
            "nest" => nest(deepest.as_ref().unwrap_or(tmp)).map(|below| deepest = Some(below)),
            _ => make_one(tmp, kind, &format!("{kind}-{made}")),
        };
        if let Err(error) = one {
            return Ok(format!("made {made}, then {}", error.name()));
        }
    }
    Ok(format!("made {count}"))
}

fn nest(at: &Descriptor) -> Result<Descriptor, ErrorCode> {
    at.create_directory_at("d")?;
    at.open_at(
        PathFlags::empty(),
        "d",
        OpenFlags::DIRECTORY,
        DescriptorFlags::READ,
    )
}

fn make_one(at: &Descriptor, kind: &str, name: &str) -> Result<(), ErrorCode> {
    let file = |name| {
        let how = (
            PathFlags::empty(),
            OpenFlags::CREATE,
            DescriptorFlags::WRITE,
        );
        at.open_at(how.0, name, how.1, how.2).map(drop)
    };
    match kind {
        "file" => file(name),
        "directory" => at.create_directory_at(name),
        "symlink" => at.symlink_at("nowhere", name),
        "link" => {
            file("linked")?;
            at.link_at(PathFlags::empty(), "linked", at, name)
        }
        // The same again and again, which is made once.
        _ => match at.create_directory_at("again") {
            Err(ErrorCode::Exist) => Ok(()),
            made => made,
        },
    }
}

/// Opens the same again and again and keeps it: `/tmp`, a file in it with `file`, a stream of a
/// file that is closed with `stream`, and asks 400 times for the directories with `preopens`.
/// Says how many it could, and why no more.
fn hold(kind: &str) -> String {
    let directories = get_directories();
    let Some((tmp, _)) = directories.iter().find(|(_, name)| name == "/tmp") else {
        return "there is no /tmp".to_owned();
    };
    if kind == "preopens" {
        let again: Vec<_> = (0..400).map(|_| get_directories()).collect();
        std::mem::forget(again);
        return "held all".to_owned();
    }
    let (mut descriptors, mut streams) = (Vec::new(), Vec::new());
    for held in 0.. {
        let (path, how) = match kind {
            "directory" => (".", OpenFlags::DIRECTORY),
            _ => ("held", OpenFlags::CREATE),
        };
        match tmp.open_at(PathFlags::empty(), path, how, DescriptorFlags::READ) {
            Ok(file) if kind == "stream" => streams.push(file.read_via_stream(0)),
            Ok(descriptor) => descriptors.push(descriptor),
            Err(error) => {
                std::mem::forget((directories, descriptors, streams));
                return format!("held {held}, then {}", error.name());
            }
        }
    }
    unreachable!("it is never refused")
}

fn rest(turn: &ProbeTurn, milliseconds: u64) -> Result<Outcome> {
    turn.say("before")?;
    sleep(Duration::from_millis(milliseconds));
    said(turn, "after")
}

/// Says 50 times a second what time it is, in microseconds since 1970.
fn pace(turn: &ProbeTurn, count: u32) -> Result<Outcome> {
    let interval = Duration::from_millis(20);
    let began = Instant::now();
    for beat in 1..=count {
        sleep((began + interval * beat).saturating_duration_since(Instant::now()));
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        turn.say(&format!("{};", since.unwrap_or_default().as_micros()))?;
    }
    Ok(Outcome::end_turn())
}

fn print(turn: &ProbeTurn, lines: u64) -> Result<Outcome> {
    for _ in 0..lines {
        println!("{LINE}");
    }
    said(turn, "done")
}

fn read_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line.len().to_string())
}

/// The wall clock in milliseconds since 1970, and whether the other one never runs backwards.
fn clock() -> Result<String, std::time::SystemTimeError> {
    let start = Instant::now();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let order = if Instant::now() >= start {
        "ok"
    } else {
        "backwards"
    };
    Ok(format!("wall {wall}, monotonic {order}"))
}

/// How many arguments there are, and every variable.
fn environment() -> String {
    let mut lines = vec![format!("args {}", std::env::args().count())];
    let variables = std::env::vars_os();
    lines
        .extend(variables.map(|(name, value)| {
            format!("{}={}", name.to_string_lossy(), value.to_string_lossy())
        }));
    lines.join("\n")
}

fn random(bytes: usize) -> Result<String, getrandom::Error> {
    let mut buffer = vec![0; bytes];
    getrandom::fill(&mut buffer)?;
    Ok(buffer.len().to_string())
}

fn connect() -> io::Result<String> {
    TcpStream::connect("127.0.0.1:80").map(|_| "connected".to_owned())
}
