//! Reads one secret's value from a variable, a file, or a program's output. Bounded in size and
//! time; no error contains a value.

use super::config::Origin;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The smallest number of bytes of a value: a shorter one would match too much other text.
pub(super) const VALUE_BYTES_MIN: usize = 6;
/// The largest number of bytes of a value.
pub(super) const VALUE_BYTES_MAX: usize = 16 << 10;
/// The longest time that a program may take.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(10);

pub(super) fn value(origin: &Origin) -> Result<SecretString, String> {
    let value = match origin {
        Origin::Env(variable) => env(variable)?,
        Origin::File(path) => trimmed(&file(path)?)?,
        Origin::Command(words) => trimmed(&command(words, COMMAND_TIME_MAX)?)?,
    };

    match value.expose_secret().len() {
        0 => Err("its value is empty".to_owned()),
        length if length < VALUE_BYTES_MIN => Err(format!(
            "its value has fewer than {VALUE_BYTES_MIN} bytes: what is so short cannot be kept \
             out of logs and answers"
        )),
        length if length > VALUE_BYTES_MAX => Err(too_long()),
        _ => Ok(value),
    }
}

fn too_long() -> String {
    format!("its value has more than {VALUE_BYTES_MAX} bytes")
}

fn env(variable: &str) -> Result<SecretString, String> {
    match std::env::var(variable) {
        Ok(value) => Ok(value.into()),
        Err(std::env::VarError::NotPresent) => {
            Err(format!("the variable {variable} is not set; set it"))
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(format!("the variable {variable} is not UTF-8"))
        }
    }
}

fn file(path: &Path) -> Result<SecretSlice<u8>, String> {
    let failed = |error: std::io::Error| format!("failed to read {}: {error}", path.display());
    let file = lastword_os::file::open(path).map_err(failed)?;
    read_bounded(file).map_err(failed)?.ok_or_else(too_long)
}

/// Reads all bytes; `None` if there are too many.
fn read_bounded(from: impl Read) -> std::io::Result<Option<SecretSlice<u8>>> {
    let mut bytes = Vec::with_capacity(VALUE_BYTES_MAX + 2);
    let most = VALUE_BYTES_MAX as u64 + 1;
    from.take(most).read_to_end(&mut bytes)?;
    let fits = bytes.len() <= VALUE_BYTES_MAX;
    let bytes = SecretSlice::from(bytes);
    Ok(fits.then_some(bytes))
}

fn trimmed(bytes: &SecretSlice<u8>) -> Result<SecretString, String> {
    let text = std::str::from_utf8(bytes.expose_secret());
    let text = text.map_err(|_| "its value is not UTF-8".to_owned())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Ok(text.trim_end().to_owned().into())
}

/// Returns a program's output. The program has no input, and is killed with its group when its time
/// is over.
fn command(words: &[String], time: Duration) -> Result<SecretSlice<u8>, String> {
    use std::os::unix::process::CommandExt;

    let Some((program, arguments)) = words.split_first() else {
        return Err("`command` is empty".to_owned());
    };

    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    let child = child.map_err(|error| format!("failed to start `{program}`: {error}"))?;
    let group = rustix::process::Pid::from_child(&child);
    let (sender, receiver) = mpsc::sync_channel(1);
    let reader = std::thread::Builder::new()
        .name("lastword-secret".to_owned())
        .spawn(move || drop(sender.send(read(child))))
        .map_err(|error| format!("no thread can be started: {error}"))?;

    let answer = receiver.recv_timeout(time);
    if answer.is_err() {
        let signal = rustix::process::Signal::KILL;
        let _it_may_have_ended = rustix::process::kill_process_group(group, signal);
    }

    let (bytes, status) = match answer {
        Ok(answer) => answer.map_err(|error| format!("failed to read `{program}`: {error}"))?,
        Err(_) => return Err(format!("`{program}` took longer than {} s", time.as_secs())),
    };

    let _it_has_answered = reader.join();

    match (status.success(), bytes) {
        (false, _) => Err(format!(
            "`{program}` failed with {status}; run it to see why"
        )),
        (true, None) => Err(too_long()),
        (true, Some(bytes)) => Ok(bytes),
    }
}

fn read(mut child: Child) -> std::io::Result<(Option<SecretSlice<u8>>, ExitStatus)> {
    let output = child.stdout.take();
    let bytes = output.map_or(Ok(None), read_bounded)?;
    if bytes.is_none() {
        child.kill()?;
        child.wait()?;
        return Ok((None, ExitStatus::default()));
    }
    Ok((bytes, child.wait()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str) -> Result<SecretString, String> {
        let words = ["sh", "-c", script].map(str::to_owned).to_vec();
        value(&Origin::Command(words))
    }

    #[test]
    fn a_program_s_output_is_a_value() {
        let value = run("printf 'hunter2-long\\n\\n'").unwrap();
        assert_eq!(value.expose_secret(), "hunter2-long");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_value() {
        let value = run("printf '\\357\\273\\277hunter2-long\\r\\n'").unwrap();
        assert_eq!(value.expose_secret(), "hunter2-long");

        let mark = run("printf '\\357\\273\\277'").unwrap_err();
        assert_eq!(mark, "its value is empty");

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "\u{feff}hunter2-long\n").unwrap();

        let value = super::value(&Origin::File(path)).unwrap();
        assert_eq!(value.expose_secret(), "hunter2-long");
    }

    #[test]
    fn invalid_values_are_refused_and_never_shown() {
        for (script, says) in [
            ("printf short", "fewer than"),
            ("printf ''", "empty"),
            ("printf hunter2-long; exit 3", "exit status: 3"),
            ("printf '\\377\\376hunter2-long'", "not UTF-8"),
            ("yes hunter2-long", "more than"),
        ] {
            let error = run(script).unwrap_err();
            assert!(error.contains(says), "{script}: {error}");
            assert!(!error.contains("hunter2-long"), "{error}");
        }

        let none = value(&Origin::Command(vec!["/no/such/program".to_owned()]));
        assert!(none.unwrap_err().contains("failed to start"));

        let none = value(&Origin::Env("LASTWORD_NO_SUCH_VARIABLE".to_owned()));
        assert!(none.unwrap_err().contains("is not set"));

        let none = value(&Origin::File("/dev/zero".into()));
        assert!(none.unwrap_err().contains("only plain files"));
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children() {
        let words = ["sh", "-c", "sleep 1000 & sleep 1000"].map(str::to_owned);
        let error = command(&words, Duration::from_millis(100)).unwrap_err();
        assert!(error.contains("took longer"), "{error}");
    }
}
