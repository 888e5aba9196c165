//! Registers an event: bytes of memory are read, written or executed.
//!
//!     !monitor [va|pa] r|w|x|… FROM TO | FROM l LENGTH [pid N|all] [core N|all] [stage pre|post|all] [sc on|off] [buffer BYTES] [imm yes|no]
//!         [output {A, B}] [script { … }] [[asm] condition { … }] [[asm] code { … }]
//! Any of the letters r (reads), w (writes) and x (executed instructions), together as in rw. TO is the last byte that counts, and LENGTH counts
//! bytes: one is enough, and gigabytes are not too many. Addresses are virtual (va) unless said, and `pid`'s if that is given; with pa they
//! are physical. The other options are those of `!cpuid`. `$context` is the address that is accessed, in the same sort of addresses.
//!
//! An access counts if one of its bytes is in the range, wherever it begins; once, whichever page it reaches into. Monitors may
//! overlap, and each fires. Events of the processor's own count, too: what it pushes when it delivers an interrupt. Instructions of 32-bit
//! programs and those that read tables of the processor's count as 8 bytes where they begin to touch a monitored page.
//! What root does in the guest's place (INS while its port is watched) does not, nor does a page table's mark that a page was written.
//! With `sc on` the instruction is skipped, and nothing fires behind it. Each element of a REP counts by itself. HLT and MWAIT on a page
//! whose execution is monitored end at once.
//!
//! A monitor of virtual addresses stays with them: if a program's page is copied, swapped out or moved, it follows. If a module is unloaded, the memory
//! is unmapped, or the program ends or begins anew, it is cleared and says so; also if one of 2 MiB that it took a single unit for is mapped in
//! pieces elsewhere. One of physical memory stays whatever that is used for.
//!
//! It takes a unit of monitor for each page that the range touches; where whole 2 MiB or 1 GiB lie side by side, one for all of them. On
//! such a page every access costs an exit or two, also beside the range; the rest of memory costs nothing.
//! ```kd
//! 0: kHyperDbg> !monitor w ffff888000002ff8 l 10 script { printf("%s writes %llx\n", $pname, $context); }
//! event 0 registered: regular-event, 0x2 monitor, program of 0x{hex} bytes
//! 0: kHyperDbg> !monitor pa rw 2000 2007
//! event 1 registered: regular-event, 0x1 monitor
//! 0: kHyperDbg> !monitor x ffff888000003000 ffff888000002000
//! err, the last byte is before the first
//!      !monitor x ffff888000003000 ffff888000002000
//!                                  ^~~~~~~~~~~~~~~~
//!      try: !monitor x ffff888000003000 ffff888000003000
//! 0: kHyperDbg> !monitor wx ffff888000004000 l 15000
//! err, too few monitor: 0x15 asked, 0x11 of 0x14 free (c0000023)
//!      try: prealloc monitor 4
//! 0: kHyperDbg> !monitor r 10 l 1
//! err, nothing is mapped at 10 (c0000005)
//!      addresses of programs are those of the one that runs on this core; `pid PID` names another
//! ```

use crate::answer::Answer;
use crate::commands::Command;
use crate::cost::Cost;
use crate::error::Error;
use crate::event::{self, monitor};
use crate::line::Line;
use crate::session::Session;

/// The command.
pub const COMMAND: Command = event::monitor_command(run, cost);

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    monitor::register(session, line)
}

fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    monitor::cost(session, line)
}
