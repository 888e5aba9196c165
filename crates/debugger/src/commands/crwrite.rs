//! Registers an event: control register 0 or 4 is written.
//!
//!     !crwrite [0|4 [MASK]] [pid N|all] [core N|all] [stage pre|post|all] [sc on|off] [buffer BYTES] [imm yes|no] [output {A, B}] [script { … }]
//!         [[asm] condition { … }] [[asm] code { … }]
//! The options are those of `!cpuid`. With MASK a write is meant if it changes one of these bits; without it every write is,
//! whether it changes something or not (Intel's processors tell only of one that does); without a register those of both are. MOV,
//! LMSW and CLTS are writes. `$context` is the value that is written; the one before is still in `@cr0`, `@cr4` (`stage pre`).
//! ```kd
//! 0: kHyperDbg> !crwrite 4 4 script { printf("%s forbids or allows RDTSC: %llx\n", $pname, $context); }
//! event 0 registered: regular-event, program of 0x{hex} bytes
//! 0: kHyperDbg> !crwrite 3
//! err, writes of control register 3 cannot be watched, those of 0 and 4 can
//!      !crwrite 3
//!               ^
//!      try: !crwrite 4
//! 0: kHyperDbg> !crwrite 4 0
//! err, no bit of this mask can change
//!      !crwrite 4 0
//!                 ^
//!      without a mask every write is meant, whether it changes something or not
//!      try: !crwrite 4
//! ```

use crate::answer::Answer;
use crate::commands::Command;
use crate::cost::Cost;
use crate::error::Error;
use crate::event::{self, Wanted};
use crate::line::Line;
use crate::session::Session;

/// The command.
pub const COMMAND: Command = event::command(&["!crwrite"], run, cost);

const KIND: &Wanted = &event::CONTROL_WRITE;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    event::register(session, line, KIND)
}

fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    event::cost(session, line, KIND)
}
