//! Registers an event: a program or the kernel executes CPUID.
//!
//!     !cpuid [LEAF] [pid N|all] [core N|all] [stage pre|post|all] [sc on|off] [buffer BYTES] [imm yes|no] [output {A, B}] [script { … }]
//!         [[asm] condition { … }] [[asm] code { … }]
//! Every event command takes these options, in any order, numbers in hex: `pid` and `core` filter; `stage` says whether it
//! fires before (pre, the default) or after the instruction, or both; `sc on` suppresses the instruction's effect, and
//! scripts can change that; `buffer` gives the script a `$buffer` of so many bytes; `script { … }` is what it runs in root,
//! `script {file:PATH}` likewise from a file. Without a script and code it halts the debuggee. Braces may go over several
//! lines.
//!
//! `condition` and `code` are machine code of yours that runs in root, in bytes (`{ 31 c0 }`) or, behind `asm`, in assembly
//! (`{ xor eax, eax; inc eax }`, Intel syntax, by `as` of binutils). A condition gets `registers` in rcx and `$context` in
//! rdx, and the event fires when it leaves rax other than 0; code gets the address of its buffer (or 0) in rcx, `registers` in
//! rdx and `$context` in r8. `registers` are 8 bytes each: rax rcx rdx rbx rsp rbp rsi rdi r8 … r15 rip rflags; what code
//! leaves in the first sixteen becomes the guest's. Script and code run in the order in which they were typed. An exception
//! in them is counted and ends that run; code that never ends stops the machine for good, and nothing helps then: see
//! docs/guide/machine-code.md.
//!
//! `imm no` gathers what the script prints in root, up to 4 KiB, and delivers it in one go: when that is full, on flush(),
//! when the event is disabled or cleared, and when the debuggee halts. `output {A, B}` sends it to up to 5 outputs
//! (`.help output`) instead of the screen.
//!
//! It is registered at once, halted or not: nothing is continued, its memory comes from the reserve (`prealloc`). What the
//! script prints is shown above the prompt; `events` lists, disables and clears. See also: docs/script.md.
//! ```kd
//! 0: kHyperDbg> !cpuid 1 script { .hits = .hits + 1; }
//! event 0 registered: regular-event, program of 0x{hex} bytes
//! 0: kHyperDbg> !cpuid pid 1c8 core 0
//! event 1 registered: regular-event
//! 0: kHyperDbg> !cpuid asm condition { xor eax, eax; cmp dword ptr [rcx], 1; sete al } code { c7 42 18 2a 00 00 00 }
//! event 2 registered: regular-event, condition of 0x8, code of 0x7
//! 0: kHyperDbg> !cpuid asm code { mov eax, 1; pusch rax }
//! err, no such instruction: 'pusch rax'
//!      !cpuid asm code { mov eax, 1; pusch rax }
//!                                    ^~~~~~~~~
//! 0: kHyperDbg> !cpuid script { x = @rxa; }
//! err, there is no register rxa
//!      !cpuid script { x = @rxa; }
//!                          ^~~~
//!      try: !cpuid script { x = @rax; }
//! 0: kHyperDbg> !cpuid stag post
//! err, couldn't resolve error at 'stag'
//!      !cpuid stag post
//!             ^~~~
//!      options: pid, core, stage, sc, buffer, imm, output, script, condition, code, asm
//!      try: !cpuid stage post
//! ```

use crate::answer::Answer;
use crate::commands::Command;
use crate::cost::Cost;
use crate::error::Error;
use crate::event::{self, Wanted};
use crate::line::Line;
use crate::session::Session;

/// The command.
pub const COMMAND: Command = event::command(&["!cpuid"], run, cost);

const KIND: &Wanted = &event::CPUID;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    event::register(session, line, KIND)
}

fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    event::cost(session, line, KIND)
}
