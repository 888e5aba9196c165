//! Shows who called whom: the stack of the selected core or of the thread in view, newest first.
//!
//!     k [l COUNT]
//! Each row has the frame's number, its stack pointer, and the place where it runs or where it is returned to. COUNT is hex: so many
//! frames at most (40 unless said). The kernel's own table for this (ORC) is read; where it says nothing, as in modules, the next word
//! on the stack that follows a call is taken, and the row says (guessed). A frame of a program ends the stack.
//! ```kd
//! 0: kHyperDbg> r rip = do_syscall_64 + 10
//! {any}
//! 0: kHyperDbg> k
//! 0  {hex}  do_syscall_64+0x10
//! 0: kHyperDbg> k l 0
//! err, a stack has one frame at least, and no more than 100 are shown
//!      k l 0
//!          ^
//!      try: k l 10
//! ```

use crate::answer::{Answer, Report, hex};
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::line::Line;
use crate::reader::Reader;
use crate::session::Session;
use abi::request::{Registers, op};
use serde::Serialize;
use symbols::unwind::{self, FRAMES_MAX, Frame, More, Orc};

/// The command.
pub const COMMAND: Command = Command { names: &["k"], takes: &[Takes::Words(&["l"])], run, cost: None };

/// Frames that are shown unless said.
const USUAL: u64 = 0x40;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let most = match line.words() {
        [_] => USUAL,
        [_, l, count] if l.text.eq_ignore_ascii_case("l") => match commands::count(session, count)? {
            most if (1..=FRAMES_MAX as u64).contains(&most) => most,
            _ => return Err(Error::Frames { span: count.span.clone() }),
        },
        _ => return Err(commands::usage(line)),
    };
    let (core, frames) = frames(session, usize::try_from(most).unwrap_or(FRAMES_MAX))?;
    let table = session.names_needed()?.table;
    let row = |Frame { ip, sp, exact: _, guessed }: &Frame| {
        let place = table.near(*ip).map(|near| near.to_string());
        Row { ip: hex(*ip), sp: hex(*sp), place, guessed: *guessed }
    };
    Ok(Answer::of(&Shown { core, frames: frames.iter().map(row).collect() }))
}

/// Frames of the thread in view, or of the selected core, which is told then; so many at most.
pub(crate) fn frames(session: &mut Session, most: usize) -> Result<(Option<u32>, Vec<Frame>), Error> {
    let saved = session.view.as_ref().and_then(|view| view.thread.as_ref()).map(|saved| (saved.place, saved.more));
    let (core, place, more) = match saved {
        Some((place, more)) => (None, place, more),
        None => {
            let all: Registers = session.ask(op::REGISTERS, &[])?;
            let [_, _, dx, _, sp, bp, _, di] = [0, 1, 2, 3, 4, 5, 6, 7].map(|nth| all.gprs[nth]);
            let more = More { r10: all.gprs[10], r13: all.gprs[13], di, dx };
            (Some(all.core), unwind::Place { ip: all.rip, sp, bp }, more)
        }
    };
    let table = session.names_needed()?.table;
    let mut memory = Reader::new(session);
    let frames = unwind::walk(Orc::of(&table), place, more, most, &table, &mut memory);
    memory.end()?;
    Ok((core, frames))
}

#[derive(Serialize)]
struct Shown {
    /// Left out for a thread that no core runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    core: Option<u32>,
    frames: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    ip: String,
    sp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    guessed: bool,
}

impl Report for Shown {
    fn text(&self) -> String {
        let Self { core: _, frames } = self;
        let width = format!("{:x}", frames.len().saturating_sub(1)).len();
        let row = |(number, Row { ip, sp, place, guessed }): (usize, &Row)| {
            let place = place.as_deref().unwrap_or_else(|| ip.trim_start_matches("0x"));
            let guessed = if *guessed { "  (guessed)" } else { "" };
            format!("{number:<width$x}  {:0>16}  {place}{guessed}", sp.trim_start_matches("0x"))
        };
        frames.iter().enumerate().map(row).collect::<Vec<_>>().join("\n")
    }
}
