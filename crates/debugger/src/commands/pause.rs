//! Halts every core of the debuggee, even when its user space is dead.
//!
//!     pause
//! CTRL+C does the same while the debuggee runs. A machine that is halted already stays so, and its place is shown: why it halted, what
//! runs there (pid, tid and name; hex), general registers that are other than when this core was shown last, and what is executed next.
//! ```kd
//! (running) HyperDbg> pause
//! halted on core 0: pause, pid 1c8 tid 1c8 cat, cpl 0
//! ffffffff81000000  f4                            hlt
//! ```

use crate::answer::Answer;
use crate::commands::{self, Command};
use crate::error::Error;
use crate::line::Line;
use crate::session::Session;
use crate::stop::{By, Stop};

/// The command.
pub const COMMAND: Command = Command { names: &["pause", ".pause"], takes: &[], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    if line.words().len() != 1 {
        return Err(commands::usage(line));
    }
    let halted = session.pause()?;
    Ok(Answer::of(&Stop::new(session, &halted, By::Running)))
}
