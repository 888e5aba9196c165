//! What the program is called with.

use clap::Parser;
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
    #[arg(long)]
    pub json: bool,
    /// Debug another machine: unix:PATH, tcp:HOST:PORT, /dev/ttyS0[,115200] or the path of a unix socket
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub remote: Option<Address>,
    /// Halt the debuggee as soon as it answers
    #[arg(long, requires = "remote")]
    pub pause: bool,
    /// How long the debuggee may take to answer at the beginning
    #[arg(long, value_name = "SECONDS", default_value = "5", requires = "remote", value_parser = seconds)]
    pub wait: Duration,
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
    use clap::CommandFactory;

    /// Would catch options that contradict each other; clap finds them only when it is asked.
    #[test]
    fn the_options_fit_together() {
        Arguments::command().debug_assert();
    }
}
