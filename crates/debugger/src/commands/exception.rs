//! Registers an event: an exception, such as a page fault, is about to be delivered.
//!
//!     !exception [VECTOR] [pid N|all] [core N|all] [stage pre|post|all] [sc on|off] [buffer BYTES] [imm yes|no] [output {A, B}] [script { … }]
//!         [[asm] condition { … }] [[asm] code { … }]
//! The options are those of `!cpuid`. VECTOR is 0 to 1f, such as 0 (#DE), 1 (#DB), 3 (INT3), 6 (#UD), d (#GP), e (#PF), and 2 is
//! an NMI of Linux'; `$context` has it. Without it all of them fire. At a page fault @cr2 is the address. `stage pre` fires
//! where the exception arose, `stage post` when it stands before the guest, at the same place.
//!
//! `sc on` keeps the exception from the guest, which then executes the same instruction again (behind INT3 it goes on): unless
//! the script removes the cause or moves @rip, it comes again at once and for ever. Handle with care.
//!
//! An exception that arises in the delivery of another one is shown as what it is; the guest gets a double fault where the
//! processor would make one of the two. Faults that root raises in the processor's place (an MSR that there is not, a hypercall of
//! nobody's) and an NMI that comes while the machine is halted do not fire.
//! ```kd
//! 0: kHyperDbg> !exception e pid 1c8 script { printf("%llx touches %llx\n", @rip, @cr2); }
//! event 0 registered: regular-event, program of 0x{hex} bytes
//! 0: kHyperDbg> !exception 20
//! err, exceptions have vectors 0 to 1f, and this is 20 (c0000007)
//!      !exception 20
//!                 ^~
//!      try: !exception e
//! ```

use crate::answer::Answer;
use crate::commands::Command;
use crate::cost::Cost;
use crate::error::Error;
use crate::event::{self, Wanted};
use crate::line::Line;
use crate::session::Session;

/// The command.
pub const COMMAND: Command = event::command(&["!exception"], run, cost);

const KIND: &Wanted = &event::EXCEPTION;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    event::register(session, line, KIND)
}

fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    event::cost(session, line, KIND)
}
