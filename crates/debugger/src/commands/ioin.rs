//! Registers an event: IN or INS, a port is read.
//!
//!     !ioin [PORT] [pid N|all] [core N|all] [stage pre|post|all] [sc on|off] [buffer BYTES] [imm yes|no] [output {A, B}] [script { … }]
//!         [[asm] condition { … }] [[asm] code { … }]
//! The options are those of `!cpuid`. PORT is the one that the instruction names, the first of an access of two or four bytes;
//! without it every port is meant. `$context` is the port. Behind it (`stage post`) `@al`, `@ax` or `@eax` holds what was
//! read. Each element of a repeated INS is an access of its own; `sc on` suppresses the whole instruction. Ports that
//! root hides, as those of the link, are seen as Linux sees them: there is nothing.
//! ```kd
//! 0: kHyperDbg> !ioin 60 stage post script { printf("key %x\n", @al); }
//! event 0 registered: regular-event, program of 0x{hex} bytes
//! 0: kHyperDbg> !ioin 10000
//! err, a port is ffff at most
//!      !ioin 10000
//!            ^~~~~
//!      try: !ioin ffff
//! ```

use crate::answer::Answer;
use crate::commands::Command;
use crate::cost::Cost;
use crate::error::Error;
use crate::event::{self, Wanted};
use crate::line::Line;
use crate::session::Session;

/// The command.
pub const COMMAND: Command = event::command(&["!ioin"], run, cost);

const KIND: &Wanted = &event::PORT_IN;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    event::register(session, line, KIND)
}

fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    event::cost(session, line, KIND)
}
