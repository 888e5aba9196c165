//! Registers an event: RDTSC or RDTSCP, the time stamp counter is read.
//!
//!     !tsc [pid N|all] [core N|all] [stage pre|post|all] [sc on|off] [buffer BYTES] [imm yes|no] [output {A, B}] [script { … }]
//!         [[asm] condition { … }] [[asm] code { … }]
//! The options are those of `!cpuid`.
//! ```kd
//! 0: kHyperDbg> !tsc stage post script { @rax = 0; @rdx = 0; }
//! event 0 registered: regular-event, program of 0x{hex} bytes
//! 0: kHyperDbg> !tsc sc on stage all
//! err, only before the instruction its effect can be suppressed (sc on) (c000003a)
//!      !tsc sc on stage all
//!                       ^~~
//!      try: !tsc sc on stage pre
//! ```

use crate::answer::Answer;
use crate::commands::Command;
use crate::cost::Cost;
use crate::error::Error;
use crate::event::{self, Wanted};
use crate::line::Line;
use crate::session::Session;

/// The command.
pub const COMMAND: Command = event::command(&["!tsc"], run, cost);

const KIND: &Wanted = &event::TSC;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    event::register(session, line, KIND)
}

fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    event::cost(session, line, KIND)
}
