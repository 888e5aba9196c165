//! Waits, for scripts.
//!
//!     sleep MILLISECONDS
//! The number is in hex, as everywhere; CTRL+C ends it.
//! ```kd
//! HyperDbg> sleep 1
//! HyperDbg> sleep -1
//! err, a count cannot be negative
//!      sleep -1
//!            ^~
//!      try: sleep 10
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{self, Command};
use crate::error::Error;
use crate::line::Line;
use crate::session::Session;
use serde::Serialize;
use std::time::Duration;

/// The command.
pub const COMMAND: Command = Command { names: &["sleep"], takes: &[], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let [_, time] = line.words() else { return Err(commands::usage(line)) };
    let milliseconds = commands::count(session, time)?;
    session.sleep(Duration::from_millis(milliseconds))?;
    Ok(Answer::of(&Slept { milliseconds }))
}

#[derive(Serialize)]
struct Slept {
    milliseconds: u64,
}

impl Report for Slept {
    fn text(&self) -> String {
        String::new()
    }
}
