//! Registers an event: SYSRET, the kernel goes back to a program.
//!
//!     !sysret [pid N|all] [core N|all] [stage pre|post|all] [buffer BYTES] [imm yes|no] [output {A, B}] [script { … }]
//!         [[asm] condition { … }] [[asm] code { … }]
//! The options are those of `!cpuid`, but there is no filter and no `sc on`: a kernel cannot go on without its way back. `$context`
//! is the address that it goes back to (rcx). `stage pre` fires in the kernel, when everything but the ring is the program's
//! already: @rax is what the system call returns. `stage post` fires before the program's next instruction.
//!
//! Linux returns from some calls by IRET (signals, exec, a debugger at the program); those do not fire.
//! ```kd
//! 0: kHyperDbg> !sysret pid 1c8 script { printf("%llx: %llx\n", $context, @rax); }
//! event 0 registered: regular-event, program of 0x{hex} bytes
//! 0: kHyperDbg> !sysret sc on
//! err, a kernel cannot go on without its way back: !sysret suppresses nothing
//!      !sysret sc on
//!                 ^~
//!      try: !sysret sc off
//! ```

use crate::answer::Answer;
use crate::commands::Command;
use crate::cost::Cost;
use crate::error::Error;
use crate::event::{self, Wanted};
use crate::line::Line;
use crate::session::Session;

/// The command.
pub const COMMAND: Command = event::command(&["!sysret", "!sysret2"], run, cost);

const KIND: &Wanted = &event::SYSRET;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    event::register(session, line, KIND)
}

fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    event::cost(session, line, KIND)
}
