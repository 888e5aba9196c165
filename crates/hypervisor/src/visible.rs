//! Visible breakpoints (`!epthook … fast`): which hooks may be such, and when one ceases to be one.
//!
//! ```text
//! guarded view      the copy of the page instead of it: read and executed by everybody, so a hit is one exit; a write is stepped
//! ```
//! The guest's memory stays as it is, here too: what is seen of the breakpoint is the copy (`hooks`). So a core that has left root, or root
//! that has died, leaves no breakpoint behind.
//!
//! **Holds always**
//! - I1: an instruction that Linux itself patches is hooked hidden: it reads what is there before it writes, and after.
//! - I2: a write of the guest's over the byte of a visible hook makes it a hidden one, before the writer goes on; its event says so once.
//!   No call is lost: at every moment one of the two is there.
//! - I3: a program's page is hooked hidden: Linux reads it to copy, to move and to store it, and what it reads would become the page.
//! - I4: with a hidden hook on the page, or a monitor that keeps reads or fetches from the guest, visible hooks are as hidden ones.
//!
//! **Callers**: `hooks` for requests, `monitored` behind a write. **Proof**: the tests below, `tests/e2e/epthook_fast.rs`.

use crate::arch::Machine;
use crate::arch::x86::direct;
use crate::memory::{Space, UPPER_HALF};
use crate::messages;
use crate::monitors::{self, record::VISIBLE};
use abi::boot::FRAME_BYTES;
use abi::request::epthook::{HIDDEN_BY_OTHERS, IS_VISIBLE, PATCHED, PROGRAM};
use abi::request::monitor::{EXECUTE, READ};

/// Bytes of the longest instruction that Linux patches.
const PATCHED_BYTES: usize = 5;

/// Whether an instruction is one that Linux patches while it runs: a place for its tracer or for a static key, the calls and jumps that
/// they become, a static call, a breakpoint of its own.
fn is_patched(code: &[u8]) -> bool {
    match code {
        // INT3; CALL and JMP to 32 bits, JMP to 8.
        [0xcc | 0xe8 | 0xe9 | 0xeb, ..] => true,
        // NOP of 2 and of 5 bytes.
        [0x66, 0x90, ..] | [0x0f, 0x1f, 0x44, 0, 0, ..] => true,
        // Jcc to 32 bits, where a static call is the last one of a function.
        [0x0f, 0x80..=0x8f, ..] => true,
        // What a static call is that goes nowhere, and one that returns 0.
        [0xc3, 0xcc, 0xcc, 0xcc, 0xcc, ..] | [0x2e, 0x2e, 0x2e, 0x31, 0xc0, ..] => true,
        _ => false,
    }
}

/// Why the hook at a linear address is a hidden one whoever asks ([`IS_VISIBLE`]: it need not be).
pub fn why_hidden(space: &Space, linear: u64) -> u32 {
    if linear < UPPER_HALF {
        return PROGRAM;
    }
    let mut code = [0; PATCHED_BYTES];
    let mut read = 0;
    for (at, byte) in (linear..).zip(code.chunks_mut(1)) {
        if !space.page(at).is_some_and(|(pa, _)| direct::copy_out(pa, byte)) {
            break;
        }
        read += 1;
    }
    if is_patched(code.get(..read).unwrap_or_default()) { PATCHED } else { IS_VISIBLE }
}

/// The same of one that may be visible, for others on its page (I4).
pub fn why_hidden_there(pa: u64) -> u32 {
    let hides = |access: u32| access & READ != 0 || access & EXECUTE != 0 && access & VISIBLE == 0;
    if monitors::of_frame(pa / FRAME_BYTES).any(|watched| hides(watched.access)) { HIDDEN_BY_OTHERS } else { IS_VISIBLE }
}

/// The guest has written bytes of a frame, from the first to the last (I2).
pub fn written<M: Machine>(core: u32, pfn: u64, bytes: (u64, u64)) {
    monitors::hide::<M>(core, pfn, bytes, |id| {
        messages::push(
            id,
            core,
            b"hidden from now on: its instruction was written to. Nobody reads a breakpoint there, and a hit costs more\n",
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a breakpoint where Linux reads an instruction before it patches it, and one that is hidden for nothing.
    #[test]
    fn what_linux_patches_is_known_and_nothing_else() {
        let patched: [&[u8]; 10] = [
            &[0xcc],
            &[0xe8, 1, 2, 3, 4],
            &[0xe9, 1, 2, 3, 4],
            &[0xeb, 3],
            &[0x66, 0x90],
            &[0x0f, 0x1f, 0x44, 0, 0],
            &[0x0f, 0x84, 1, 2, 3],
            &[0xc3, 0xcc, 0xcc, 0xcc, 0xcc],
            &[0x2e, 0x2e, 0x2e, 0x31, 0xc0],
            &[0x0f, 0x1f, 0x44, 0, 0, 0x55],
        ];
        assert!(patched.iter().all(|code| is_patched(code)));
        let others: [&[u8]; 8] = [
            &[],
            &[0x0f],
            &[0x55],
            &[0xf3, 0x0f, 0x1e, 0xfa],
            &[0x0f, 0x1f, 0x44, 0, 1],
            &[0x0f, 0x1f, 0],
            &[0x74, 3],
            &[0xc3, 0xcc, 0xcc, 0xcc, 0x55],
        ];
        assert!(!others.iter().any(|code| is_patched(code)));
    }
}
