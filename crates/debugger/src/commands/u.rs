//! Disassembles memory: u as 64-bit code, u2 as 32-bit code.
//!
//!     u|u64|u2|u32 ADDRESS [l LENGTH] [pid PID]
//!     !u|!u64|!u2|!u32 ADDRESS [l LENGTH]
//! ADDRESS is an expression, LENGTH counts bytes (40 unless said, 100000 at most); both are hex. With ! the address is
//! physical; else whose it is, is as with db. The last instruction is shown whole. Branches show where they lead to, by
//! name where there is one. What is no instruction is (bad), what cannot be read is ??.
//! ```kd
//! 0: kHyperDbg> u @rip l 8
//! ffffffff81000000  f4                            hlt
//! ffffffff81000001  c3                            ret
//! ffffffff81000002  66 90                         xchg    ax, ax
//! ffffffff81000004  e8 f7 ff ff ff                call    0xffffffff81000000
//! 0: kHyperDbg> u2 @rip+4 l 1
//! ffffffff81000004  e8 f7 ff ff ff                call    0x81000000
//! 0: kHyperDbg> !u 2001 l 1
//! 0000000000002001  c3                            ret
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{Command, Takes};
use crate::disassembly::{self, INSTRUCTION_BYTES_MAX, Names, NoNames};
use crate::error::Error;
use crate::line::Line;
use crate::memory::{self, Missing};
use crate::session::Session;
use serde::Serialize;
use std::rc::Rc;

/// The command.
pub const COMMAND: Command = Command {
    names: &["u", "u64", "u2", "u32", "!u", "!u64", "!u2", "!u32"],
    takes: &[Takes::OneAddress, Takes::Options(&[("l", &[]), ("pid", &[])])],
    run,
    cost: None,
};

/// Bytes that are disassembled unless said.
const USUAL_BYTES: u64 = 0x40;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let asked = memory::asked(session, line, memory::space(line), false)?;
    let length = asked.bytes(USUAL_BYTES)?;
    let bits = if matches!(line.name().trim_start_matches('!'), "u2" | "U2" | "u32" | "U32") { 32 } else { 64 };
    let read = memory::read(session, asked.place, length + INSTRUCTION_BYTES_MAX as u64)?;
    let names: Rc<dyn Names> = match session.names().shown() {
        Ok(known) => Rc::new(known),
        Err(_) => Rc::new(NoNames),
    };
    let whole = usize::try_from(length).unwrap_or(usize::MAX);
    let instructions = disassembly::instructions(&read.bytes, asked.place.address, whole, bits, &names);
    let end = asked.place.address.wrapping_add(length);
    let unreadable = read.holes.iter().filter(|hole| hole.address < end).map(Missing::of).collect();
    Ok(Answer::of(&Shown { instructions, unreadable }))
}

#[derive(Serialize)]
struct Shown {
    instructions: Vec<disassembly::Shown>,
    unreadable: Vec<Missing>,
}

impl Report for Shown {
    fn text(&self) -> String {
        let Self { instructions, unreadable } = self;
        let mut lines = Vec::new();
        for disassembly::Shown { address, name, bytes, text, target: _ } in instructions {
            lines.extend(name.as_ref().map(|name| format!("{name}:")));
            lines.push(format!("{:0>16}  {bytes:<28}  {text}", address.trim_start_matches("0x")));
        }
        lines.extend(unreadable.iter().map(Missing::text));
        lines.join("\n")
    }
}
