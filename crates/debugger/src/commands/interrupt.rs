//! Registers an event: an external interrupt is about to be delivered.
//!
//!     !interrupt [VECTOR] [pid N|all] [core N|all] [stage pre|post|all] [sc on|off] [buffer BYTES] [imm yes|no] [output {A, B}] [script { … }]
//!         [[asm] condition { … }] [[asm] code { … }]
//! The options are those of `!cpuid`. VECTOR is 20 to ff; `$context` has it. Without it all of them fire. Linux' own are the
//! highest, such as ec, the timer of each core; the others are in /sys/kernel/debug/irq. The process of `pid` is the one that is
//! interrupted. `stage pre` and `stage post` both fire where it is, before the handler: post when nothing suppresses it any more.
//!
//! `sc on` drops the interrupt: root ends it at the local APIC, and its device or timer is never served. Linux waits for some
//! of them for ever. Handle with care.
//!
//! While it is there every external interrupt of the machine comes to root, whatever its vector.
//! ```kd
//! 0: kHyperDbg> !interrupt ec core 1 script { .ticks = .ticks + 1; }
//! event 0 registered: regular-event, program of 0x{hex} bytes
//! 0: kHyperDbg> !interrupt e
//! err, external interrupts have vectors 20 to ff, and this is e (c0000008)
//!      !interrupt e
//!                 ^
//!      try: !interrupt ec
//! ```

use crate::answer::Answer;
use crate::commands::Command;
use crate::cost::Cost;
use crate::error::Error;
use crate::event::{self, Wanted};
use crate::line::Line;
use crate::session::Session;

/// The command.
pub const COMMAND: Command = event::command(&["!interrupt"], run, cost);

const KIND: &Wanted = &event::INTERRUPT;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    event::register(session, line, KIND)
}

fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    event::cost(session, line, KIND)
}
