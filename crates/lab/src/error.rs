//! What can go wrong in the lab, with everything one needs to see why.
//!
//! The lab runs at the prompt's side, so these are sentences for people. An error that concerns a guest carries the end
//! of its console, what the emulator said, how it ended and where the run's files were kept ([`GuestError`]).

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

/// Any failure of the lab. A test that returns it prints its `Debug`, so that is for people too.
#[derive(thiserror::Error)]
pub enum Error {
    /// A file, folder or socket could not be used.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried, as a verb.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("cannot start `{command}`: {source}")]
    Start {
        /// The command line.
        command: String,
        /// Why not.
        source: io::Error,
    },
    /// A program ended with an error, or said something that counts as one.
    #[error("`{command}`: {why}\n{tail}")]
    Command {
        /// The command line.
        command: String,
        /// What is wrong with it.
        why: String,
        /// The last lines it wrote.
        tail: String,
    },
    /// Debian packages are missing and could not be installed.
    #[error("{why}; by hand, as root: apt-get install {}", packages.join(" "))]
    Packages {
        /// Their names.
        packages: Vec<String>,
        /// Why the lab could not.
        why: String,
    },
    /// A part of the project is not there.
    #[error("{} is missing: {needed_for}", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// What it is needed for.
        needed_for: &'static str,
    },
    /// The emulator's source is not to be had, so it cannot be built.
    #[error("{what} cannot be built here: {why}\n{instead}")]
    NoSource {
        /// What was to be built.
        what: &'static str,
        /// Why its source could not be fetched.
        why: String,
        /// What one can do.
        instead: String,
    },
    /// The kernel image of a version is not to be had, or has not what is expected.
    #[error("kernel {version}: {why}")]
    Kernel {
        /// As in `uname -r`.
        version: String,
        /// What is wrong.
        why: String,
    },
    /// An environment variable says what cannot be.
    #[error("{name}: {why}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// `--accel kvm` is not possible here.
    #[error("--accel kvm is not possible here: {0}")]
    NoKvm(String),
    /// A session at the prompt went wrong that no guest belongs to.
    #[error("{0}")]
    Prompt(Fault),
    /// A guest failed, or did something else than was expected of it.
    #[error(transparent)]
    Guest(Box<GuestError>),
}

/// The failure of one guest, and what it left behind.
pub struct GuestError {
    /// What happened.
    pub fault: Fault,
    /// Lines by which the kernel complained, the first few ones; see [`crate::health`].
    pub complaints: Vec<String>,
    /// The last lines of its console.
    pub console_tail: String,
    /// What emulates it.
    pub emulator: &'static str,
    /// What the emulator said of it.
    pub emulator_said: String,
    /// How the emulator ended, if it did.
    pub emulator_ended: Option<ExitStatus>,
    /// The files of the run; they are kept.
    pub run: PathBuf,
}

/// What happened to a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The emulator is gone.
    Gone,
    /// Something did not happen within the limit.
    Late {
        /// What was waited for.
        awaited: String,
        /// How long.
        limit: Duration,
        /// What there was instead, if something can be shown.
        seen: String,
    },
    /// The console holds a line that a healthy kernel does not write.
    Unhealthy {
        /// The lines.
        lines: Vec<String>,
    },
    /// A command in the guest ended with an error.
    Command {
        /// The command.
        command: String,
        /// Its exit status.
        status: i32,
        /// What it wrote.
        output: String,
    },
    /// The monitor (QMP) refused a command or answered nonsense.
    Monitor {
        /// The command.
        command: String,
        /// Its answer.
        answer: String,
    },
    /// A socket of the guest broke.
    Socket {
        /// Which and how.
        what: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => write!(f, "the guest is gone"),
            Self::Late { awaited, limit, seen } => {
                write!(f, "{awaited} did not come within {limit:?}")?;
                if seen.is_empty() { Ok(()) } else { write!(f, "; instead:\n{}", indent(seen)) }
            }
            Self::Unhealthy { lines } => write!(f, "the kernel is not well:\n{}", indent(&lines.join("\n"))),
            Self::Command { command, status, output } => {
                write!(f, "`{command}` in the guest ended with {status}:\n{}", indent(output))
            }
            Self::Monitor { command, answer } => write!(f, "QEMU's monitor answered `{command}` with {answer}"),
            Self::Socket { what } => write!(f, "{what}"),
        }
    }
}

impl fmt::Display for GuestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.fault)?;
        if !self.complaints.is_empty() {
            writeln!(f, "the kernel complained:\n{}", indent(&self.complaints.join("\n")))?;
        }
        writeln!(f, "end of the console:\n{}", indent(&self.console_tail))?;
        if !self.emulator_said.is_empty() {
            writeln!(f, "{} said:\n{}", self.emulator, indent(&self.emulator_said))?;
        }
        match self.emulator_ended {
            Some(status) => writeln!(f, "{} ended: {status}", self.emulator)?,
            None => writeln!(f, "{} was still running", self.emulator)?,
        }
        write!(f, "files of the run: {}", self.run.display())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for GuestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for GuestError {}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// The last `count` lines of a text.
#[must_use]
pub fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Makes [`Error::File`] of an I/O error.
pub(crate) trait At<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::File { what, path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a failure whose message leaves out what one needs to find the cause.
    #[test]
    fn a_guests_failure_shows_console_emulator_and_the_kept_files() {
        let error = Error::Guest(Box::new(GuestError {
            fault: Fault::Gone,
            complaints: vec!["BUG: unable".into()],
            console_tail: "Kernel panic - not syncing".into(),
            emulator: "QEMU",
            emulator_said: "no such device".into(),
            emulator_ended: None,
            run: "runs/7".into(),
        }));
        assert!(format!("{error:?}").contains("no such device"), "a test that returns it shows it");
        let text = error.to_string();
        for part in [
            "the guest is gone",
            "    BUG: unable",
            "    Kernel panic",
            "    no such device",
            "QEMU was still running",
            "runs/7",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }

    /// Would catch a tail that panics on a short text or takes the wrong end.
    #[test]
    fn a_tail_is_the_end_and_never_more_than_there_is() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 40), "a");
        assert_eq!(tail("", 40), "");
    }
}
