//! Steps of a thread under interception, and its registers, as they are told.
//!
//! **Callers**: `t` and `r`, at a prompt on the machine itself. **Proof**: the manuals, `tests/e2e/threads.rs`.

use crate::answer::{Answer, Report};
use crate::disassembly;
use crate::error::Error;
use crate::line::Line;
use crate::registers;
use crate::session::Session;
use crate::stop::{self, By, as_object};
use crate::threads::{self, Active};
use abi::request::Registers;
use abi::request::thread::{Row, state};
use serde::Serialize;

/// Has the thread under interception execute so many, one by one if all registers are shown.
pub(crate) fn of_thread(session: &mut Session, line: &Line, count: u64, all: bool) -> Result<Answer, Error> {
    let each = if all { 1 } else { count };
    let mut done = 0;
    loop {
        let Some(row) = threads::held(session)? else { return Err(Error::NoActive) };
        let answer = stride(session, &row, each, all)?;
        done += each;
        if done >= count || answer.fails {
            return Ok(answer);
        }
        session.print_more(line, &answer);
        if session.is_cancelled() {
            return Err(Error::Cancelled);
        }
    }
}

fn stride(session: &mut Session, row: &Row, count: u64, all: bool) -> Result<Answer, Error> {
    let before = threads::registers(session, row)?;
    let active = Active { process: row.process, thread: row.thread };
    let Some(now) = threads::step(session, active, count)? else {
        session.refer_to(None, false);
        let registers = Vec::new();
        return Ok(failing(&Strode { steps: 0, count, thread: row.thread, state: "ended", registers, next: None }));
    };
    let held = now.state == state::HELD;
    session.refer_to(Some(active), held);
    let after = if held { threads::registers(session, &now)? } else { before };
    let registers = if all { stop::of_program(&after) } else { stop::changed(&before, &after, By::Steps) };
    let next = if held { threads::instruction_at(session, row.process, after.rip)? } else { None };
    let (steps, state) = (now.stepped.wrapping_sub(row.stepped), threads::word(now.state));
    let strode = Strode { steps, count, thread: row.thread, state, registers, next };
    Ok(if steps >= count && held { Answer::of(&strode) } else { failing(&strode) })
}

fn failing(strode: &Strode) -> Answer {
    let mut answer = Answer::of(strode);
    answer.fails = true;
    answer
}

/// Registers with which a thread goes on that is held: all, or the one.
#[derive(Serialize)]
pub(crate) struct Held {
    process: u32,
    thread: u32,
    #[serde(serialize_with = "as_object")]
    registers: Vec<(String, u64)>,
}

impl Held {
    /// Of these, which may be parts of one.
    pub(crate) fn new(row: &Row, all: &Registers, name: Option<&str>) -> Self {
        let registers = match name {
            Some(name) => vec![(name.to_owned(), registers::read(all, name).unwrap_or(0))],
            None => stop::of_program(all),
        };
        Self { process: row.process, thread: row.thread, registers }
    }
}

impl Report for Held {
    fn text(&self) -> String {
        self.registers.chunks(4).map(stop::row).collect::<Vec<_>>().join("\n")
    }
}

/// What a thread has executed, and where it is.
#[derive(Serialize)]
struct Strode {
    steps: u64,
    #[serde(skip)]
    count: u64,
    thread: u32,
    state: &'static str,
    #[serde(serialize_with = "as_object")]
    registers: Vec<(String, u64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<disassembly::Shown>,
}

impl Report for Strode {
    fn text(&self) -> String {
        let Self { steps, count, thread, state, registers, next } = self;
        let mut lines = Vec::new();
        if steps < count || *state != "held" {
            lines.push(format!(
                "0x{steps:x} of 0x{count:x} were done: thread {thread:x} {}",
                if *state == "held" { "is held" } else { state }
            ));
        }
        lines.extend(registers.chunks(4).map(stop::row));
        lines.extend(next.as_ref().map(disassembly::Shown::line));
        lines.join("\n")
    }
}
