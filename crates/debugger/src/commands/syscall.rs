//! Registers an event: SYSCALL, a program calls the kernel.
//!
//!     !syscall [NUMBER] [pid N|all] [core N|all] [stage pre|post|all] [sc on|off] [buffer BYTES] [imm yes|no] [output {A, B}] [script { … }]
//!         [[asm] condition { … }] [[asm] code { … }]
//! The options are those of `!cpuid`. NUMBER is that of the system call, in eax; `$context` has it, too. Arguments are in @rdi,
//! @rsi, @rdx, @r10, @r8 and @r9. `stage pre` fires in the program, before the call; `stage post` at the kernel's first
//! instruction, where @rcx is the address that the call comes back to.
//!
//! `sc on` keeps the call from the kernel: the program goes on behind it, with @rax as the script left it and all other
//! registers as they were, rcx and r11 too. Calls by `int 80` and SYSENTER are none of these: `!exception`.
//!
//! While it is there every system call of the machine comes to root, which costs each a few microseconds.
//! ```kd
//! 0: kHyperDbg> !syscall 3b script { printf("%s executes %s\n", $pname, @rdi); }
//! event 0 registered: regular-event, program of 0x{hex} bytes
//! 0: kHyperDbg> !syscall 6e pid 1c8 sc on script { @rax = 1; }
//! event 1 registered: regular-event, program of 0x{hex} bytes
//! ```

use crate::answer::Answer;
use crate::commands::Command;
use crate::cost::Cost;
use crate::error::Error;
use crate::event::{self, Wanted};
use crate::line::Line;
use crate::session::Session;

/// The command.
pub const COMMAND: Command = event::command(&["!syscall", "!syscall2"], run, cost);

const KIND: &Wanted = &event::SYSCALL;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    event::register(session, line, KIND)
}

fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    event::cost(session, line, KIND)
}
