//! `hyperdbg` against a guest, in both modes.
//!
//! Debugger Mode: the program on the host, at the other end of the guest's COM2. VMI Mode: the program as root in the
//! guest, on its `/dev/ttyS3`. This file alone knows the program's options.

use crate::{
    control::{Job, Output},
    error::{Error, Fault},
    machine::Machine,
    prompt::{Feed, Prompt},
    screen::{COLUMNS, ROWS},
};
use std::{fmt, path::Path, process::Command, str::FromStr, sync::Arc, time::Duration};

/// How one debugs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// From the host, over the link; the guest can be halted.
    Debugger,
    /// From within the guest, through `/dev/hyperdbg`.
    Vmi,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "debugger" => Ok(Self::Debugger),
            "vmi" => Ok(Self::Vmi),
            other => Err(format!("`{other}` is neither debugger nor vmi")),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debugger => "debugger",
            Self::Vmi => "vmi",
        })
    }
}

impl Mode {
    /// The command that puts the hypervisor under the guest.
    fn load(self) -> &'static str {
        match self {
            Self::Debugger => "load link",
            Self::Vmi => "load",
        }
    }
}

impl Machine {
    /// Runs commands of hyperdbg's in the guest, without a terminal: `hyperdbg -x COMMAND …`.
    ///
    /// # Errors
    /// As [`Machine::sh`].
    pub fn hyperdbg(&mut self, commands: &[&str]) -> Result<Output, Error> {
        self.sh(&script(commands))
    }

    /// As [`Machine::hyperdbg`], but an exit status other than 0 is an error; what it wrote.
    ///
    /// # Errors
    /// As [`Machine::ok`].
    pub fn hyperdbg_ok(&mut self, commands: &[&str]) -> Result<String, Error> {
        self.ok(&script(commands))
    }

    /// Puts the hypervisor under the guest, by the agent in it.
    ///
    /// # Errors
    /// As [`Machine::ok`].
    pub fn load(&mut self, mode: Mode) -> Result<String, Error> {
        self.hyperdbg_ok(&[mode.load()])
    }

    /// The host's `hyperdbg` as it is started to debug this guest; more options may be added.
    ///
    /// # Errors
    /// [`Error::Guest`] for a guest without hypervisor.
    pub fn debugger_command(&self) -> Result<Command, Error> {
        let mut command = Command::new(self.program()?);
        command.args(self.remote());
        Ok(command)
    }

    /// A prompt in Debugger Mode. The hypervisor should be loaded ([`Machine::load`]). The guest runs on unless an option
    /// says otherwise.
    ///
    /// # Errors
    /// [`Error::Guest`] for a guest without hypervisor, [`Error::Start`].
    pub fn debugger(&self, options: &[&str]) -> Result<Prompt, Error> {
        let remote = self.remote();
        let arguments: Vec<&str> = remote.iter().map(String::as_str).chain(options.iter().copied()).collect();
        Prompt::on_host(self.program()?, &arguments, self.folder(), Some(Arc::clone(&self.process)))
    }

    /// A prompt in VMI Mode; one at a time.
    ///
    /// # Errors
    /// [`Error::Guest`] if the guest is gone.
    pub fn vmi(&mut self, options: &[&str]) -> Result<Prompt, Error> {
        let line = self.terminal()?;
        let feed = match &self.feed {
            Some(feed) => Arc::clone(feed),
            None => Arc::clone(self.feed.insert(Feed::start(self.terminal()?))),
        };
        feed.clear();
        let job = self.on_terminal(&command_line(options), ROWS, COLUMNS, "xterm")?;
        Ok(Prompt::in_guest(feed, Box::new(line), job, Arc::clone(&self.process)))
    }

    /// Runs a command of the guest's shell on `/dev/ttyS3`, as its controlling terminal of this size and kind.
    ///
    /// # Errors
    /// As [`Machine::spawn`].
    pub fn on_terminal(&mut self, command: &str, rows: u16, columns: u16, kind: &str) -> Result<Job, Error> {
        // The job leads a session without a terminal, so the first one it opens becomes its own. `stty` waits until
        // everything is written; the end of the session would throw it away. Linux polls the port: every 4 ms at this speed, every 8 at the usual one. Ctrl-C is for the command alone. A zero byte
        // says that the terminal is set up: what is typed before may be lost.
        self.spawn(&format!(
            "exec 0<>/dev/ttyS3 1>&0 2>&0; stty sane 115200 rows {rows} cols {columns}; trap : INT QUIT; export TERM={kind}; printf '\\0'\n\
             {command}\nstatus=$?; stty sane; exit $status",
            kind = quoted(kind)
        ))
    }

    /// Tells what runs on `/dev/ttyS3` that its terminal has another size.
    ///
    /// # Errors
    /// As [`Machine::sh`].
    pub fn resize_terminal(&mut self, rows: u16, columns: u16) -> Result<(), Error> {
        self.sh(&format!("stty -F /dev/ttyS3 rows {rows} cols {columns}")).map(drop)
    }

    /// How a job ended, if it did.
    ///
    /// # Errors
    /// [`Error::Guest`] if the guest died or booted again.
    pub fn job_ended(&mut self, job: Job) -> Result<Option<Output>, Error> {
        self.poll_job(job, Duration::ZERO)
    }

    fn remote(&self) -> [String; 2] {
        ["--remote".to_owned(), format!("unix:{}", self.link_path().display())]
    }

    fn program(&self) -> Result<&Path, Error> {
        let missing = || Fault::Socket { what: "this guest was booted without hypervisor".to_owned() };
        self.program.as_deref().ok_or_else(|| self.fault(missing()))
    }
}

/// `hyperdbg` with these options, for the guest's shell.
pub fn command_line(options: &[impl AsRef<str>]) -> String {
    options.iter().fold("hyperdbg".to_owned(), |line, option| format!("{line} {}", quoted(option.as_ref())))
}

/// `hyperdbg -x COMMAND …` for the guest's shell.
fn script(commands: &[&str]) -> String {
    commands.iter().fold("hyperdbg".to_owned(), |line, command| format!("{line} -x {}", quoted(command)))
}

/// A word as the shell reads it back.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a command that the guest's shell takes apart or expands.
    #[test]
    fn a_command_reaches_hyperdbg_as_it_was_given() {
        assert_eq!(script(&["prealloc monitor `10", "it's $x"]), "hyperdbg -x 'prealloc monitor `10' -x 'it'\\''s $x'");
    }
}
