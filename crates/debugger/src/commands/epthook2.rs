//! Registers an event: an instruction of the kernel is executed, and a count costs no exit.
//!
//!     !epthook2 ADDRESS [pid N|all] [core N|all] [stage pre] [sc on|off] [buffer BYTES] [imm yes|no]
//!         [output {A, B}] [script { … }] [[asm] condition { … }] [[asm] code { … }]
//! ADDRESS is where an instruction of the kernel or of a module begins, of which the names must be known. The jump takes five bytes: what
//! is displaced by it is written anew elsewhere and does there what it did. Where ADDRESS is what Linux changes to trace a
//! function, at its beginning, the jump stands behind that, and the answer says where; `$context` and @rip are its place. The other options are those of
//! `!epthook`; with `sc on` the first displaced instruction is skipped. There is no stage behind it.
//!
//! A script that only counts (`.n = .n + 1;`), or does so under a condition on one register (`if (@rdi == 5) { … }`), is done in the kernel's own
//! code: it costs no exit. So does nothing a condition that is false. Anything else costs one exit. Hits are exact.
//!
//! The jump comes while the machine runs. Until Linux has run long enough for nobody to be in the displaced instructions, a second or less, a
//! breakpoint stands for it, which costs an exit each time; `events` says so. While the machine is halted it stays that way. Likewise its unit is
//! free a while after the event was cleared.
//!
//! What changed is seen by code that reads the kernel's; what is read at the prompt is what stood there. If Linux writes there itself, as for a
//! probe of its own, the event is cleared and says so. Refused, and something for `!epthook`: instructions that cannot be moved, among them calls of modules and
//! what Linux patches; functions that are too short, or that jump between displaced instructions; code in which the kernel has no probes;
//! programs.
//!
//! It takes a unit of epthook2, of which there can be 0x200.
//! ```kd
//! HyperDbg> !epthook2 do_one_initcall script { .n = .n + 1; }
//! event 0 registered: regular-event, 0x1 epthook2, program of 0x{hex} bytes
//!      the jump stands at ffffffff81000045, behind what Linux traces by
//! HyperDbg> !epthook2 startup_64 script { .n = .n + 1; }
//! err, the instruction at ffffffff81000000 must stay where it is
//!      !epthook2 startup_64 script { .n = .n + 1; }
//!                ^~~~~~~~~~
//!      try: !epthook startup_64 script { .n = .n + 1; }
//! HyperDbg> !epthook2
//! err, which instruction
//!      !epthook2 NAME script { … }
//! ```

use crate::answer::Answer;
use crate::commands::Command;
use crate::cost::Cost;
use crate::error::Error;
use crate::event::{self, epthook2};
use crate::line::Line;
use crate::session::Session;

/// The command.
pub const COMMAND: Command = event::detour_command(run, cost);

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    epthook2::register(session, line)
}

fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    epthook2::cost(session, line)
}
