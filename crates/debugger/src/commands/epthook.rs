//! Registers an event: an instruction is executed, and nobody who reads it sees a breakpoint.
//!
//!     !epthook ADDRESS [fast] [pid N|all] [core N|all] [stage pre|post|all] [sc on|off] [buffer BYTES] [imm yes|no]
//!         [output {A, B}] [script { … }] [[asm] condition { … }] [[asm] code { … }]
//! ADDRESS is where the instruction begins: a name, an expression, a number. If the names of the kernel are known, an address
//! inside of an instruction is refused, and the two around it are told. It is virtual, and an address of `pid`'s if that is given. A page
//! that several processes share is hooked for all that `pid` lets through. The other options are those of `!cpuid`. `$context` is ADDRESS, and so is @rip before the instruction;
//! behind it (`stage post`) @rip is where the guest goes on. With `sc on` the instruction is skipped, and nothing fires behind it.
//!
//! Nothing is written into the hooked code: whoever reads it finds it as it was, but for code on the same page; and Linux may patch
//! it as it likes. Any number of hooks may lie on a page. An instruction that faults fires when it comes again.
//!
//! The hook stays at its address: if a program's page is copied, swapped out or moved, it follows. If a module is unloaded, a program's memory
//! is unmapped, or the program ends or begins anew, the hook is cleared and says so. Meanwhile Linux uses the page for nothing else.
//!
//! With `fast` whoever reads the code finds a breakpoint (0xcc), a hit costs one exit, and other code on the page nothing. The debugger's own commands show what was there. The
//! hook is hidden all the same, and the answer says so, where the kernel patches the instruction and looks at it before (NOPs of 2 and 5 bytes, calls, jumps, breakpoints), in a program's
//! page, and as long as a hidden hook or a monitor of reads or fetches is on the page; a hidden hook that comes later hides it, too. Where a function begins with the place of the kernel's
//! tracer, the hook is put on the instruction behind it; then `$context` is that address. If the kernel writes over it, it is hidden from then on, and says so. A probe of the kernel's own behind it in
//! the same function is refused by the kernel.
//!
//! It takes a unit of epthook, `fast` or not. Without `fast` a call of a function on a hooked page costs two exits, hooked or not, and two more for each call from there to
//! other pages; the instruction itself none if it is what functions begin with: ENDBR64, a NOP, PUSH, MOV or XOR of registers, SUB of
//! the stack pointer; else one or two. With a monitor on the same page each instruction there costs two. The rest of memory costs
//! nothing.
//! ```kd
//! 0: kHyperDbg> !epthook ffffffff81000004 script { printf("%s calls it\n", $pname); }
//! event 0 registered: regular-event, 0x1 epthook, program of 0x{hex} bytes
//! 0: kHyperDbg> !epthook ffffffff81000002 core 1
//! event 1 registered: regular-event, 0x1 epthook
//! 0: kHyperDbg> !epthook ffffffff81000006 fast script { .hits = .hits + 1; }
//! event 2 registered: regular-event, 0x1 epthook, program of 0x{hex} bytes, fast
//! 0: kHyperDbg> !cpuid fast
//! err, only a hook can be fast
//!      !cpuid fast
//!             ^~~~
//!      try: !cpuid
//! 0: kHyperDbg> !epthook
//! err, which instruction
//!      !epthook NAME script { … }
//! 0: kHyperDbg> !epthook 10
//! err, nothing is mapped at 10 (c0000005)
//!      addresses of programs are those of the one that runs on this core; `pid PID` names another
//! ```

use crate::answer::Answer;
use crate::commands::Command;
use crate::cost::Cost;
use crate::error::Error;
use crate::event::{self, epthook};
use crate::line::Line;
use crate::session::Session;

/// The command.
pub const COMMAND: Command = event::hook_command(run, cost);

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    epthook::register(session, line)
}

fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    epthook::cost(session, line)
}
