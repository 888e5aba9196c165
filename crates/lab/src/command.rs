//! Runs one program to its end and keeps what it said for the case that it fails.

use crate::error::{Error, tail};
use std::process::{Command, Output, Stdio};

/// Lines of a failed program that its error shows.
const TAIL_LINES: usize = 40;

/// The command as one would type it.
#[must_use]
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs it without input and returns what it wrote, standard output and standard error.
///
/// # Errors
/// [`Error::Start`], and [`Error::Command`] with the end of its output when it does not end with 0.
pub fn run(command: &mut Command) -> Result<(String, String), Error> {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().map_err(|source| Error::Start { command: shown(command), source })?;
    let (out, err) = (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned());
    if status.success() {
        return Ok((out, err));
    }
    Err(failed(command, &status.to_string(), &format!("{out}{err}")))
}

/// An error about this command, with the end of what it wrote.
pub(crate) fn failed(command: &Command, why: &str, said: &str) -> Error {
    Error::Command { command: shown(command), why: why.to_owned(), tail: tail(said.trim_end(), TAIL_LINES) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a failure that is reported without its cause.
    #[test]
    fn a_failed_command_shows_itself_and_what_it_said() {
        let error = run(Command::new("sh").args(["-c", "echo out; echo why >&2; exit 3"])).unwrap_err().to_string();
        for part in ["sh -c echo out", "exit status: 3", "out\nwhy"] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }
}
