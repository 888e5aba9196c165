//! Clears the screen.
//!
//!     .cls
//! ```kd
//! HyperDbg> .cls
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{self, Command};
use crate::error::Error;
use crate::line::Line;
use crate::session::Session;
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command { names: &[".cls", "cls", "clear"], takes: &[], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    if line.words().len() != 1 {
        return Err(commands::usage(line));
    }
    session.console().clear();
    Ok(Answer::of(&Cleared {}))
}

#[derive(Serialize)]
struct Cleared {}

impl Report for Cleared {
    fn text(&self) -> String {
        String::new()
    }
}
