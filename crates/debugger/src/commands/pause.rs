//! Halts every core of the debuggee, even when its user space is dead.
//!
//!     pause [pid PID]
//! CTRL+C does the same while the debuggee runs. A machine that is halted already stays so, and its place is shown: why it halted, what
//! runs there (pid, tid and name; hex), general registers that are other than when this core was shown last, and what is executed next.
//! With PID, or at a prompt on the machine itself, it holds the threads of a process under interception: see `.attach`.
//! ```kd
//! (running) HyperDbg> pause
//! halted on core 0: pause, pid 1c8 tid 1c8 cat, cpl 0
//! ffffffff81000000  f4                            hlt
//! ```

use crate::answer::Answer;
use crate::commands::switch::Standing;
use crate::commands::{self, Command};
use crate::error::Error;
use crate::line::Line;
use crate::session::Session;
use crate::stop::{By, Stop};
use crate::target::Mode;
use crate::threads;
use abi::request::thread::order;

/// The command.
pub const COMMAND: Command = Command { names: &["pause", ".pause"], takes: &[], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let of_machine = session.mode() == Mode::Debugger || session.active().is_none();
    if line.words().len() > 1 || !of_machine {
        return hold(session, line);
    }
    let halted = session.pause()?;
    Ok(Answer::of(&Stop::new(session, &halted, By::Running)))
}

/// Holds a process under interception.
fn hold(session: &mut Session, line: &Line) -> Result<Answer, Error> {
    let process = commands::process_meant(session, line)?;
    threads::order(session, order::HOLD, process, 0, 0)?;
    threads::wait_until_held(session, process)?;
    let active = session.active().filter(|active| active.process == process);
    let row = active.map(|active| threads::row(session, active)).transpose()?.flatten();
    match row.map(|row| Standing::new(session, &row)).transpose()? {
        Some(standing) => Ok(Answer::of(&standing)),
        None => match Standing::of_first(session, process)? {
            Some(standing) => Ok(Answer::of(&standing)),
            None => Err(Error::NoActive),
        },
    }
}
