//! Registers an event: a hypercall that is none of root's own.
//!
//!     !vmcall [pid N|all] [core N|all] [stage pre|post|all] [sc on|off] [buffer BYTES] [imm yes|no] [output {A, B}] [script { … }]
//!         [[asm] condition { … }] [[asm] code { … }]
//! The options are those of `!cpuid`.
//! ```kd
//! 0: kHyperDbg> !vmcall buffer 8 script { eq($buffer, @rax); }
//! err, no regular-safe-buffer left: 0x1 asked, 0x0 of 0x0 free (c0000049)
//!      try: prealloc regular-safe-buffer 1
//! 0: kHyperDbg> prealloc regular-safe-buffer 1
//! the requested pools are allocated and reserved
//! 0: kHyperDbg> !vmcall buffer 8 script { eq($buffer, @rax); }
//! event 0 registered: regular-event, program of 0x{hex} bytes, $buffer of 0x8
//! 0: kHyperDbg> !vmcall script { eq($buffer, @rax); }
//! err, the script uses $buffer, and the event has none
//!      try: !vmcall script { eq($buffer, @rax); } buffer 8
//! ```

use crate::answer::Answer;
use crate::commands::Command;
use crate::cost::Cost;
use crate::error::Error;
use crate::event::{self, Wanted};
use crate::line::Line;
use crate::session::Session;

/// The command.
pub const COMMAND: Command = event::command(&["!vmcall"], run, cost);

const KIND: &Wanted = &event::VMCALL;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    event::register(session, line, KIND)
}

fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    event::cost(session, line, KIND)
}
