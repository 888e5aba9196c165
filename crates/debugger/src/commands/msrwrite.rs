//! Registers an event: WRMSR, a model-specific register is written.
//!
//!     !msrwrite [MSR] [pid N|all] [core N|all] [stage pre|post|all] [sc on|off] [buffer BYTES] [imm yes|no] [output {A, B}] [script { … }]
//!         [[asm] condition { … }] [[asm] code { … }]
//! The options are those of `!cpuid`.
//! ```kd
//! HyperDbg> !msrwrite c0000080 script { printf("%llx\n", @rdx << 20 | @eax); }
//! event 0 registered: regular-event, program of 0x{hex} bytes
//! HyperDbg> !msrwrite c0000080
//! err, without a script the event would halt the machine, and a machine cannot halt itself
//!      here an event has a script; halting needs debugger mode: .help .debug
//!      try: !msrwrite c0000080 script { print($pid); }
//! ```

use crate::answer::Answer;
use crate::commands::Command;
use crate::cost::Cost;
use crate::error::Error;
use crate::event::{self, Wanted};
use crate::line::Line;
use crate::session::Session;

/// The command.
pub const COMMAND: Command = event::command(&["!msrwrite"], run, cost);

const KIND: &Wanted = &event::MSR_WRITE;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    event::register(session, line, KIND)
}

fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    event::cost(session, line, KIND)
}
