//! Halts every core of the debuggee, even when its user space is dead.
//!
//!     pause [pid PID]
//! CTRL+C does the same while the debuggee runs. A machine that is halted already stays so, and its place is shown.
//! With PID, or at a prompt on the machine itself, it holds the threads of a process under interception: see `.attach`.
//! ```kd
//! (running) HyperDbg> pause
//! halted on core 0: rip {hex} cpl 0 (pause)
//!   f4 c3 66 90
//! ```

use crate::answer::{Answer, Report, hex};
use crate::commands::switch::Standing;
use crate::commands::{self, Command};
use crate::error::Error;
use crate::line::Line;
use crate::say;
use crate::session::Session;
use crate::target::Mode;
use crate::threads;
use abi::request::thread::order;
use abi::request::{self, Halted, reason};
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command { names: &["pause", ".pause"], takes: &[], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let of_machine = session.mode() == Mode::Debugger || session.active().is_none();
    if line.words().len() > 1 || !of_machine {
        return hold(session, line);
    }
    let halted = session.pause()?;
    Ok(Answer::of(&Context::new(session, &halted)))
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

/// Where a machine is halted.
#[derive(Serialize)]
pub struct Context {
    core: u32,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    rip: String,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    rflags: String,
    cr3: String,
    cpl: u32,
    bytes: Vec<u8>,
    #[serde(skip)]
    text: String,
}

impl Context {
    /// Of what root sends.
    pub fn new(session: &Session, halted: &Halted) -> Self {
        let Halted { core, reason, rip, rflags, cr3, bytes, bytes_valid, cpl, event, stage, .. } = *halted;
        let valid = usize::try_from(bytes_valid).unwrap_or(0).min(bytes.len());
        let place = session.place(rip);
        let (rip, rflags, cr3) = (hex(rip), hex(rflags), hex(cr3));
        let by_event = matches!(reason, reason::EVENT | reason::BREAKPOINT);
        // A script that paused does not say of which event it was.
        let named = by_event && event != request::event::ALL;
        let (event, stage) = (named.then_some(event), by_event.then(|| say::events::stage_word(stage)));
        let (reason, bytes, text) = (say::reason_word(reason), bytes[..valid].to_vec(), say::halted(halted, place.as_deref()));
        Self { core, reason, event, stage, rip, place, rflags, cr3, cpl, bytes, text }
    }
}

impl Report for Context {
    fn text(&self) -> String {
        self.text.clone()
    }
}
