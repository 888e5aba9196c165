//! Executes instructions of the selected core one by one: t while the others run, i while they do not.
//!
//!     t|i [COUNT]
//!     tr|ir [COUNT]
//! COUNT is hex (1 unless said, 100000 at most): so many instructions are executed in root, and then it is shown which registers are
//! other than before, and what comes next; tr and ir show all registers behind each. A fault that an instruction causes belongs to it:
//! the core is then at the beginning of the kernel's handler. A repeated string instruction is a step for each time, HLT ends at once.
//! What waits for an instruction (events, monitors, hooks) fires as ever, and what halts ends the steps, as CTRL+C does. Interrupts and
//! NMIs of that core wait until the debuggee goes on. With i, what waits for another core (a lock) waits for ever.
//! At a prompt on the machine itself it is the thread under interception that commands refer to (`.attach`), held before and behind, and
//! all four mean the same: a system call, or a fault that the kernel mends, is one instruction of the program's.
//! ```kd
//! 0: kHyperDbg> i
//! ffffffff81000001  c3                            ret
//! 0: kHyperDbg> t 2
//! ffffffff81000004  e8 f7 ff ff ff                call    0xffffffff81000000
//! 0: kHyperDbg> t 0
//! err, at least one is done, and no more than 100000 at once
//!      t 0
//!        ^
//!      try: t 1
//! ```
//! ```kd
//! (running) HyperDbg> t
//! err, the debuggee is running, and this needs it halted (c0000050)
//!      try: pause
//! ```

use crate::answer::{Answer, Report, hex};
use crate::commands::pause::Context;
use crate::commands::{self, Command, r, switch};
use crate::disassembly;
use crate::error::Error;
use crate::line::Line;
use crate::memory;
use crate::registers::GPRS;
use crate::session::Session;
use crate::target::Mode;
use crate::threads::{self, Active};
use abi::request::thread::{Row, state};
use abi::request::{Halted, Registers, STEPS_MAX, op, reason, step};
use serde::Serialize;
use serde_json::{Map, Value};

/// The command.
pub const COMMAND: Command = Command { names: &["t", "i", "tr", "ir"], takes: &[], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let count = commands::times(session, line, STEPS_MAX)?;
    let name = line.name().to_ascii_lowercase();
    if session.mode() == Mode::Vmi && session.active().is_some() {
        return of_thread(session, line, count, name.ends_with('r'));
    }
    let how = if name.starts_with('i') { step::ALONE } else { step::TOGETHER };
    if !name.ends_with('r') {
        return go(session, count, how, false);
    }
    for _ in 1..count {
        let answer = go(session, 1, how, true)?;
        if answer.fails {
            return Ok(answer);
        }
        session.print_more(line, &answer);
        if session.is_cancelled() {
            return Err(Error::Cancelled);
        }
    }
    go(session, 1, how, true)
}

/// Has the thread under interception execute so many, one by one if all registers are shown.
fn of_thread(session: &mut Session, line: &Line, count: u64, all: bool) -> Result<Answer, Error> {
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
    let registers = if all { r::rows(&after).concat() } else { changed(&before, &after) };
    let registers = registers.into_iter().filter(|(name, _)| of_program(name)).collect();
    let next = if held { switch::next(session, row.process, after.rip)? } else { None };
    let (steps, state) = (now.stepped.wrapping_sub(row.stepped), switch::word(now.state));
    let strode = Strode { steps, count, thread: row.thread, state, registers, next };
    Ok(if steps >= count && held { Answer::of(&strode) } else { failing(&strode) })
}

fn failing(strode: &Strode) -> Answer {
    let mut answer = Answer::of(strode);
    answer.fails = true;
    answer
}

/// Whether a register is known of a thread that is held.
fn of_program(name: &str) -> bool {
    GPRS.contains(&name) || matches!(name, "rip" | "rflags" | "cs" | "ss")
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
        lines.extend(registers.chunks(4).map(r::row));
        lines.extend(next.as_ref().map(disassembly::Shown::line));
        lines.join("\n")
    }
}

/// How far the core has come.
#[derive(Clone, Copy)]
pub(crate) struct Gone {
    /// What is counted, so often,
    pub(crate) done: u64,
    /// of so many.
    pub(crate) count: u64,
    /// Where it stands.
    pub(crate) halted: Halted,
    /// What it had before.
    pub(crate) before: Registers,
}

/// Executes so many, and tells.
fn go(session: &mut Session, count: u64, how: u32, all: bool) -> Result<Answer, Error> {
    let before: Registers = session.ask(op::REGISTERS, &[])?;
    let halted = session.step(count, how)?;
    let done = if halted.reason == reason::STEPPED { halted.steps } else { halted.steps.min(count - 1) };
    tell(session, &Gone { done, count, halted, before }, all)
}

/// Tells where it stands, and the registers that are other than before, or all.
pub(crate) fn tell(session: &mut Session, gone: &Gone, all: bool) -> Result<Answer, Error> {
    let Gone { done: steps, count, halted, before } = *gone;
    let after: Registers = session.ask(op::REGISTERS, &[])?;
    let registers = if all { r::rows(&after).concat() } else { changed(&before, &after) };
    let all = all.then(|| r::Shown::new(session, &after));
    let done = steps >= count;
    let stopped = (!done).then(|| Context::new(session, &halted));
    let bytes = memory::instruction_bytes(session, halted.rip)?;
    let bytes: Vec<Option<u8>> = bytes.into_iter().map(Some).collect();
    let names = commands::names_for_instructions(session);
    let mut next = disassembly::instructions(&bytes, halted.rip, 1, 64, &names);
    let place = session.place(halted.rip);
    let shown = Shown { core: halted.core, steps, registers, place, next: next.pop(), stopped, count, all };
    let mut answer = Answer::of(&shown);
    answer.fails = !done;
    Ok(answer)
}

/// Registers that are other than before, but the instruction pointer, which nearly always is.
fn changed(before: &Registers, after: &Registers) -> Vec<(String, u64)> {
    let pairs = r::rows(before).concat().into_iter().zip(r::rows(after).concat());
    pairs.filter(|(before, after)| before != after && after.0 != "rip").map(|(_, after)| after).collect()
}

#[derive(Serialize)]
struct Shown {
    core: u32,
    /// Instructions that were executed, or functions that were left.
    steps: u64,
    #[serde(serialize_with = "as_object")]
    registers: Vec<(String, u64)>,
    /// The name of the place where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    /// The instruction there, if it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<disassembly::Shown>,
    /// What stopped it before all were executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<Context>,
    #[serde(skip)]
    count: u64,
    #[serde(skip)]
    all: Option<r::Shown>,
}

fn as_object<S: serde::Serializer>(all: &[(String, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    let object: Map<String, Value> = all.iter().map(|(name, value)| (name.clone(), hex(*value).into())).collect();
    object.serialize(serializer)
}

impl Report for Shown {
    fn text(&self) -> String {
        let Self { core: _, steps, registers, place, next, stopped, count, all } = self;
        let mut lines = Vec::new();
        if let Some(stopped) = stopped {
            lines.push(format!("0x{steps:x} of 0x{count:x} were done"));
            lines.push(stopped.text());
        }
        match all {
            Some(all) => lines.push(all.text()),
            None => lines.extend(registers.chunks(4).map(r::row)),
        }
        if let Some(next) = next {
            lines.extend(place.as_ref().map(|place| format!("{place}:")));
            lines.push(next.line());
        }
        lines.join("\n")
    }
}
