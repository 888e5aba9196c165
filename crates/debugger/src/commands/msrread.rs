//! Registers an event: RDMSR, a model-specific register is read.
//!
//!     !msrread [MSR] [pid N|all] [core N|all] [stage pre|post|all] [sc on|off] [buffer BYTES] [imm yes|no] [output {A, B}] [script { … }]
//!         [[asm] condition { … }] [[asm] code { … }]
//! The options are those of `!cpuid`.
//! ```kd
//! 0: kHyperDbg> !msrread c0000080 stage post script { printf("%s reads EFER\n", $pname); }
//! event 0 registered: regular-event, program of 0x{hex} bytes
//! ```

use crate::answer::Answer;
use crate::commands::Command;
use crate::cost::Cost;
use crate::error::Error;
use crate::event::{self, Wanted};
use crate::line::Line;
use crate::session::Session;

/// The command.
pub const COMMAND: Command = event::command(&["!msrread", "!msread"], run, cost);

const KIND: &Wanted = &event::MSR_READ;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    event::register(session, line, KIND)
}

fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    event::cost(session, line, KIND)
}
