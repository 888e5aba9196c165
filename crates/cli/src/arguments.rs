//! What the program is called with.

use crate::gdbserver::Place;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use debugger::error::Error;
use debugger::line::Line;
use debugger::say;
use debugger::target::remote::Address;
use std::num::ParseIntError;
use std::time::Duration;

/// A debugger below the running kernel: this machine's (VMI mode) or that of another (debugger mode).
#[derive(Debug, Parser)]
#[command(
    name = "hyperdbg",
    version,
    after_help = "ends with 0: all done, 1: a command failed, 2: called wrongly, 3: target out of reach"
)]
pub struct Arguments {
    /// Run this command and end; may be given several times
    #[arg(short = 'x', value_name = "COMMAND")]
    pub commands: Vec<String>,
    /// Run the commands of this file and end; after those of -x
    #[arg(long, value_name = "FILE")]
    pub script: Option<String>,
    /// Answer with one JSON object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// Debug another machine: unix:PATH, tcp:HOST:PORT, /dev/ttyS0[,115200] or the path of a unix socket
    #[arg(long, value_name = "ADDR", global = true, value_parser = address)]
    pub remote: Option<Address>,
    /// Halt the debuggee as soon as it answers
    #[arg(long, requires = "remote")]
    pub pause: bool,
    /// How long the debuggee may take to answer at the beginning
    #[arg(long, value_name = "SECONDS", default_value = "5", global = true, value_parser = seconds)]
    pub wait: Duration,
    /// Instead of commands of the prompt's
    #[command(subcommand)]
    pub instead: Option<Instead>,
}

/// What the program does instead of debugging.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Instead {
    /// Tell what this machine has, and whether the hypervisor can be loaded on it; needs no root and no module
    Doctor,
    /// Let gdb attach below the kernel of the debuggee, which --remote names; whoever connects can do anything to it
    Gdbserver {
        /// Where gdb connects: HOST:PORT, :PORT (of this machine alone), unix:PATH or - (standard input and output)
        #[arg(value_name = "ADDR", value_parser = Place::parse)]
        place: Place,
        /// Write a file of the kernel's names first, for gdb's `symbol-file`; it holds for this boot
        #[arg(long, value_name = "FILE")]
        symbols: Option<String>,
        /// Listen where other machines can connect, too: nobody is asked who they are
        #[arg(long)]
        exposed: bool,
    },
}

impl Arguments {
    /// Those of this process; wrong ones end it.
    pub fn of_process() -> Self {
        Self::parse().checked().unwrap_or_else(|error| error.exit())
    }

    /// What clap cannot check, for one option goes together with what is done instead of debugging.
    fn checked(self) -> Result<Self, clap::Error> {
        let types = !self.commands.is_empty() || self.script.is_some();
        let why = match self.instead {
            Some(Instead::Doctor) if types || self.remote.is_some() => {
                "`doctor` goes together with --json alone; at the prompt it is a command like others: -x doctor"
            }
            Some(Instead::Gdbserver { .. }) if types || self.json || self.pause => {
                "`gdbserver` goes together with --remote and --wait alone; gdb's own `monitor` types lines of the prompt's"
            }
            Some(Instead::Gdbserver { .. }) if self.remote.is_none() => {
                "`gdbserver` needs --remote: gdb can halt a machine only from another one"
            }
            _ => return Ok(self),
        };
        Err(Self::command().error(ErrorKind::ArgumentConflict, why))
    }
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|error: Error| {
        let said = say::error(&error, &Line::new(""));
        format!("{}; it is {}", said.message, said.help.join("; "))
    })
}

fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse::<u32>().map(|seconds| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a doctor that is asked on top of commands, one of which may end before it, or that cannot answer a program.
    #[test]
    fn the_doctor_is_asked_alone() {
        let parse = |words: &[&str]| Arguments::try_parse_from(["hyperdbg"].iter().chain(words)).and_then(Arguments::checked);
        for words in [["doctor", "--json"], ["--json", "doctor"]] {
            let arguments = parse(&words).unwrap();
            assert_eq!((arguments.instead, arguments.json), (Some(Instead::Doctor), true));
        }
        for words in
            [&["-x", "load", "doctor"][..], &["--remote", "tcp:host:1", "doctor"], &["--script", "f", "doctor"], &["nurse"]]
        {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }

    /// Would catch a server of a machine that it cannot halt, or one beside which lines are typed that gdb does not know of.
    #[test]
    fn gdb_is_served_for_another_machine_and_nothing_else_is_done() {
        let parse = |words: &[&str]| Arguments::try_parse_from(["hyperdbg"].iter().chain(words)).and_then(Arguments::checked);
        for words in [
            &["--remote", "tcp:host:1", "gdbserver", ":1234"][..],
            &["gdbserver", "-", "--remote", "tcp:host:1", "--symbols", "f", "--wait", "9"],
        ] {
            assert!(matches!(parse(words).unwrap().instead, Some(Instead::Gdbserver { exposed: false, .. })), "{words:?}");
        }
        for words in [
            &["gdbserver", ":1234"][..],
            &["--remote", "tcp:host:1", "gdbserver"],
            &["--remote", "tcp:host:1", "gdbserver", "1234"],
            &["--remote", "tcp:host:1", "-x", "r", "gdbserver", ":1234"],
            &["--remote", "tcp:host:1", "--json", "gdbserver", ":1234"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }

    /// Would catch options that contradict each other; clap finds them only when it is asked.
    #[test]
    fn the_options_fit_together() {
        Arguments::command().debug_assert();
    }
}
