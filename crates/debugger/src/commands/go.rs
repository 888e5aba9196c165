//! Lets every core of a halted debuggee run.
//!
//!     g
//! At a prompt on the machine itself, with a process under interception, it is `continue`.
//! ```kd
//! 0: kHyperDbg> g
//! debuggee is running; press CTRL+C (or type pause) to stop it
//! (running) HyperDbg> g
//! err, the debuggee is running, and this needs it halted (c0000050)
//!      try: pause
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{self, Command, resume};
use crate::error::Error;
use crate::line::Line;
use crate::session::Session;
use crate::target::Mode;
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command { names: &["g", "go"], takes: &[], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    if line.words().len() != 1 {
        return Err(commands::usage(line));
    }
    if let (Mode::Vmi, Some(active)) = (session.mode(), session.active()) {
        return resume::let_run(session, active.process);
    }
    session.go()?;
    Ok(Answer::of(&Gone { running: true }))
}

#[derive(Serialize)]
struct Gone {
    running: bool,
}

impl Report for Gone {
    fn text(&self) -> String {
        "debuggee is running; press CTRL+C (or type pause) to stop it".to_owned()
    }
}
