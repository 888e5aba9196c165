//! Shows the registers of the selected core of a halted debuggee or of the thread in view, or sets one.
//!
//!     r [REGISTER]
//!     r REGISTER = VALUE
//! REGISTER may be a part, such as eax, or have the @ of an expression. rax to r15, their parts, rip and rflags can be set;
//! VALUE is an expression. A write of a part leaves the rest of the register, of eax as of al. It counts from the next
//! instruction on, when the debuggee goes on. At a prompt on the machine itself they are those of the thread under interception that commands
//! refer to: whole ones can be set, and what is not the program's is shown as zero.
//! ```kd
//! 0: kHyperDbg> r rip
//! rip={hex}
//! 0: kHyperDbg> r rcx = @rax + 1
//! rcx=0000000000000011
//! 0: kHyperDbg> r cr3=0
//! err, this register can only be looked at
//!      r cr3=0
//!        ^~~
//!      rax to r15, their parts, rip and rflags can be set
//! 0: kHyperDbg> r
//! rax={hex} rcx={hex} rdx={hex} rbx={hex}
//! {any}
//! 0: kHyperDbg> r rqx
//! err, there is no register '@rqx'
//!      r rqx
//!        ^~~
//!      try: r @rax
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{self, Command};
use crate::error::Error;
use crate::expr::{self, Arithmetic};
use crate::line::Line;
use crate::memory::Wrong;
use crate::program::{self, How, Text};
use crate::registers::{self, GPRS};
use crate::session::Session;
use crate::stop::{self, row, rows};
use crate::strides::Held;
use crate::threads;
use crate::view::{self, Saved};
use abi::request::thread::Row;
use abi::request::{Registers, op};
use serde::Serialize;
use std::ops::Range;

/// The command.
pub const COMMAND: Command = Command { names: &["r"], takes: &[crate::commands::Takes::Words(&GPRS)], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let thread = threads::held_here(session)?;
    let (rest, start) = line.rest();
    let name = match (line.words(), rest.find('=')) {
        ([_], _) => None,
        (_, Some(at)) => Some(set(session, line, start, at, thread.as_ref())?),
        ([_, name], None) => Some(register(&name.text, &name.span)?),
        _ => return Err(commands::usage(line)),
    };
    if let Some(thread) = &thread {
        let all = threads::registers(session, thread)?;
        return Ok(Answer::of(&Held::new(thread, &all, name.as_deref())));
    }
    if let (None, Some(saved)) = (&name, session.view.as_ref().and_then(|view| view.thread.clone())) {
        return Ok(Answer::of(&asleep(session, &saved)));
    }
    let all = session.registers_in_view()?;
    if session.view.as_ref().is_none_or(|view| view.thread.is_none()) {
        session.saw(&all);
    }
    let shown = match name {
        Some(name) => {
            let value = registers::read(&all, &name).unwrap_or(0);
            let place = if name == "rip" { session.place(all.rip) } else { None };
            Shown { core: all.core, registers: vec![vec![(name, value)]], place }
        }
        None => Shown::new(session, &all),
    };
    Ok(Answer::of(&shown))
}

/// The name of a register there is.
fn register(text: &str, span: &Range<usize>) -> Result<String, Error> {
    let short = text.trim_start_matches('@').to_ascii_lowercase();
    if registers::is_register(&short) {
        return Ok(short);
    }
    let error = expr::Error { span: span.clone(), kind: expr::Kind::NoRegister(short) };
    Err(Error::Expression { error, count: false, whole: span.clone() })
}

/// Sets a register, for who has typed nothing: by a line as it is typed.
pub(crate) fn set_by_line(session: &mut Session, line: &Line) -> Result<(), Error> {
    let (rest, start) = line.rest();
    let at = rest.find('=').ok_or_else(|| commands::usage(line))?;
    set(session, line, start, at, None).map(drop)
}

/// Sets a register: what stands behind the name begins at `start`, and its `=` is the byte `at` of that. Root does it by a
/// script, on the core that commands refer to.
fn set(session: &mut Session, line: &Line, start: usize, at: usize, thread: Option<&Row>) -> Result<String, Error> {
    let left = &line.text()[start..start + at];
    let span = start..start + left.trim_end().len();
    let name = register(left.trim_end(), &span)?;
    let Some(bits) = registers::settable_bits(&name) else { return Err(Error::Memory(Wrong::ReadOnly { span })) };
    let right = &line.text()[start + at + 1..];
    let begin = start + at + 1 + (right.len() - right.trim_start().len());
    let span = begin..begin + right.trim().len();
    let value = commands::evaluate(session, right.trim(), &span, Arithmetic::Wrapping)?;
    if bits < 64 && value >> bits != 0 {
        return Err(Error::Memory(Wrong::TooWide { span, bytes: bits / 8 }));
    }
    if name == "rip" && (value.cast_signed() << 16 >> 16).cast_unsigned() != value {
        return Err(Error::Memory(Wrong::NotCanonical { span }));
    }
    if let Some(thread) = thread {
        if bits < 64 {
            return Err(Error::Memory(Wrong::Part { span: start..start + left.trim_end().len() }));
        }
        threads::set_register(session, thread, &name, value)?;
        return Ok(name);
    }
    if let Some(tid) = session.view.as_ref().filter(|view| view.thread.is_some()).map(|view| view.task.tid) {
        return Err(Error::Task { span: Some(start..start + at), wrong: view::Wrong::ReadOnly(tid) });
    }
    // Refuses while it runs.
    let _: Registers = session.ask(op::REGISTERS, &[])?;
    let script = Line::new(&format!("@{name} = {value:x};"));
    let text = Text::in_line(&script, &(0..script.text().len()));
    let program = text.compile(session.book(), &script, How::Script)?;
    program::evaluate(session, &text, program)?;
    Ok(name)
}

/// What was saved of a thread that sleeps.
fn asleep(session: &Session, saved: &Saved) -> Asleep {
    let Saved { user, place, more: _, kernel } = saved;
    let user = user.map(|all| stop::of_program(&all).chunks(4).map(<[_]>::to_vec).collect());
    Asleep { registers: user.unwrap_or_default(), kernel: kernel.clone(), place: session.place(place.ip) }
}

/// Registers of a thread that sleeps: its program's, and the kernel's.
#[derive(Serialize)]
struct Asleep {
    #[serde(serialize_with = "as_object")]
    registers: Vec<Vec<(String, u64)>>,
    #[serde(serialize_with = "stop::as_object")]
    kernel: Vec<(String, u64)>,
    /// Where it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

impl Report for Asleep {
    fn text(&self) -> String {
        let Self { registers, kernel, place } = self;
        let place = place.as_ref().map_or_else(String::new, |place| format!(" ({place})"));
        let user = registers.iter().map(|registers| row(registers));
        let kernel = kernel.chunks(4).map(row).collect::<Vec<_>>().join("\n");
        user.chain([format!("in the kernel{place}:"), kernel]).collect::<Vec<_>>().join("\n")
    }
}

/// Registers, and where they are.
#[derive(Serialize)]
pub(crate) struct Shown {
    core: u32,
    #[serde(serialize_with = "as_object")]
    registers: Vec<Vec<(String, u64)>>,
    /// The name of the place where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

impl Shown {
    /// All of them.
    pub(crate) fn new(session: &Session, all: &Registers) -> Self {
        Self { core: all.core, registers: rows(all), place: session.place(all.rip) }
    }
}

fn as_object<S: serde::Serializer>(rows: &[Vec<(String, u64)>], serializer: S) -> Result<S::Ok, S::Error> {
    stop::as_object(&rows.concat(), serializer)
}

impl Report for Shown {
    fn text(&self) -> String {
        let Self { core: _, registers, place } = self;
        let line = |registers: &Vec<(String, u64)>| match place {
            Some(place) if registers.iter().any(|(name, _)| name == "rip") => format!("{} ({place})", row(registers)),
            _ => row(registers),
        };
        registers.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}
