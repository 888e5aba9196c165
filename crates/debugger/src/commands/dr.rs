//! Registers an event: a debug register is read or written.
//!
//!     !dr [pid N|all] [core N|all] [stage pre|post|all] [sc on|off] [buffer BYTES] [imm yes|no] [output {A, B}] [script { … }]
//!         [[asm] condition { … }] [[asm] code { … }]
//! The options are those of `!cpuid`. `$context` is the number of the register, and 10 more if it is written: 7 is a read of
//! DR7, 17 a write. DR4 and DR5 are 6 and 7 where they are not undefined.
//! ```kd
//! 0: kHyperDbg> !dr stage post script { if ($context == 17) { printf("%s arms %x\n", $pname, @dr7); } }
//! event 0 registered: regular-event, program of 0x{hex} bytes
//! 0: kHyperDbg> !dr 7
//! err, couldn't resolve error at '7'
//!      !dr 7
//!          ^
//!      options: pid, core, stage, sc, buffer, imm, output, script, condition, code, asm
//! ```

use crate::answer::Answer;
use crate::commands::Command;
use crate::cost::Cost;
use crate::error::Error;
use crate::event::{self, Wanted};
use crate::line::Line;
use crate::session::Session;

/// The command.
pub const COMMAND: Command = event::command(&["!dr"], run, cost);

const KIND: &Wanted = &event::DEBUG_REGISTER;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    event::register(session, line, KIND)
}

fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    event::cost(session, line, KIND)
}
