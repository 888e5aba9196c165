//! Registers an event: OUT or OUTS, a port is written.
//!
//!     !ioout [PORT] [pid N|all] [core N|all] [stage pre|post|all] [sc on|off] [buffer BYTES] [imm yes|no] [output {A, B}] [script { … }]
//!         [[asm] condition { … }] [[asm] code { … }]
//! The options are those of `!cpuid`, PORT and `$context` those of `!ioin`. What an OUT writes is in `@al`, `@ax` or `@eax`, and
//! a script before it (`stage pre`) can change it.
//! ```kd
//! 0: kHyperDbg> !ioout cf8 script { printf("%s selects %x\n", $pname, @eax); }
//! event 0 registered: regular-event, program of 0x{hex} bytes
//! 0: kHyperDbg> !ioout stage post sc on
//! err, only before the instruction its effect can be suppressed (sc on) (c000003a)
//!      !ioout stage post sc on
//!                   ^~~~
//!      try: !ioout stage pre sc on
//! ```

use crate::answer::Answer;
use crate::commands::Command;
use crate::cost::Cost;
use crate::error::Error;
use crate::event::{self, Wanted};
use crate::line::Line;
use crate::session::Session;

/// The command.
pub const COMMAND: Command = event::command(&["!ioout", "!iout"], run, cost);

const KIND: &Wanted = &event::PORT_OUT;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    event::register(session, line, KIND)
}

fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    event::cost(session, line, KIND)
}
