//! Halts every core of the debuggee, even when its user space is dead.
//!
//!     pause
//! CTRL+C does the same while the debuggee runs. A machine that is halted already stays so, and its place is shown.
//! ```kd
//! (running) HyperDbg> pause
//! halted on core 0: rip {hex} cpl 0 (pause)
//!   f4 c3 66 90
//! ```

use crate::answer::{Answer, Report, hex};
use crate::commands::{self, Command};
use crate::error::Error;
use crate::line::Line;
use crate::say;
use crate::session::Session;
use abi::request::{self, Halted, reason};
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command { names: &["pause", ".pause"], takes: &[], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    if line.words().len() != 1 {
        return Err(commands::usage(line));
    }
    let halted = session.pause()?;
    Ok(Answer::of(&Context::new(session, &halted)))
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
