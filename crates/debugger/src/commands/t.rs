//! Executes instructions of the selected core one by one: t while the others run, i while they do not.
//!
//!     t|i [COUNT]
//!     tr|ir [COUNT]
//! COUNT is hex (1 unless said, 100000 at most): so many instructions are executed in root, and then it is shown which registers are
//! other than when the core was shown last, and what comes next; tr and ir show all registers behind each. Where core, task and
//! privilege are still what was shown, they are not shown again. A fault that an instruction causes belongs to it:
//! the core is then at the beginning of the kernel's handler. A repeated string instruction is a step for each time, HLT ends at once.
//! What waits for an instruction (events, monitors, hooks) fires as ever, and what halts ends the steps, as CTRL+C does. Interrupts and
//! NMIs of that core wait until the debuggee goes on. With i, what waits for another core (a lock) waits for ever.
//! At a prompt on the machine itself it is the thread under interception that commands refer to (`.attach`), held before and behind, and
//! all four mean the same: a system call, or a fault that the kernel mends, is one instruction of the program's.
//! ```kd
//! 0: kHyperDbg> i
//! halted on core 0: steps, pid 1c8 tid 1c8 cat, cpl 0
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

use crate::answer::{Answer, Report};
use crate::commands::{self, Command, r};
use crate::error::Error;
use crate::line::Line;
use crate::session::Session;
use crate::stop::{By, Stop};
use crate::strides;
use crate::target::Mode;
use abi::request::{Halted, Registers, STEPS_MAX, op, reason, step};
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command { names: &["t", "i", "tr", "ir"], takes: &[], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let count = commands::times(session, line, STEPS_MAX)?;
    let name = line.name().to_ascii_lowercase();
    if session.mode() == Mode::Vmi && session.active().is_some() {
        return strides::of_thread(session, line, count, name.ends_with('r'));
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

/// How far the core has come.
#[derive(Clone, Copy)]
pub(crate) struct Gone {
    /// What is counted, so often,
    pub(crate) done: u64,
    /// of so many.
    pub(crate) count: u64,
    /// Where it stands.
    pub(crate) halted: Halted,
}

/// Executes so many, and tells.
fn go(session: &mut Session, count: u64, how: u32, all: bool) -> Result<Answer, Error> {
    session.end_view();
    session.look_before_steps()?;
    let halted = session.step(count, how)?;
    let done = if halted.reason == reason::STEPPED { halted.steps } else { halted.steps.min(count - 1) };
    tell(session, &Gone { done, count, halted }, all)
}

/// Tells where it stands, and the registers that are other than before, or all.
pub(crate) fn tell(session: &mut Session, gone: &Gone, all: bool) -> Result<Answer, Error> {
    let Gone { done: steps, count, halted } = *gone;
    let mut stop = Stop::new(session, &halted, By::Steps);
    let all = if all {
        let registers: Registers = session.ask(op::REGISTERS, &[])?;
        stop.show_all(&registers);
        Some(r::Shown::new(session, &registers))
    } else {
        None
    };
    let shown = Shown { steps, stop, count, all };
    let mut answer = Answer::of(&shown);
    answer.fails = steps < count;
    Ok(answer)
}

#[derive(Serialize)]
struct Shown {
    /// Instructions that were executed, or functions that were left.
    steps: u64,
    #[serde(flatten)]
    stop: Stop,
    #[serde(skip)]
    count: u64,
    #[serde(skip)]
    all: Option<r::Shown>,
}

impl Report for Shown {
    fn text(&self) -> String {
        let Self { steps, stop, count, all } = self;
        let mut lines = Vec::new();
        if steps < count {
            lines.push(format!("0x{steps:x} of 0x{count:x} were done"));
        }
        match all {
            Some(all) => {
                lines.extend(stop.head().map(str::to_owned));
                lines.push(all.text());
                lines.push(stop.place_text());
            }
            None => lines.push(stop.text()),
        }
        lines.join("\n")
    }
}
