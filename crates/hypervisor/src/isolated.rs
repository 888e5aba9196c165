//! Page-table isolation: a program runs on tables that have nothing of its kernel but the way in.
//!
//! The kernel's own tables lie a page below them (Linux: arch/x86/include/asm/pgtable.h, `PTI_PGTABLE_SWITCH_BIT`), under another
//! process-context identifier (arch/x86/mm/tlb.c, `X86_CR3_PTI_PCID_USER_BIT`). Without isolation what lies a page below is
//! anything, so it is never taken for tables before something is found there that must be.
//!
//! Where root lets go of a core whose guest is in such a program there is no way back: the module's page, in which CR3 is changed,
//! is not in those tables. So the core goes back by way of the kernel, as the processor would bring it there for a page fault of the
//! instruction that is due. Its page is there, so the kernel finds nothing to do, and goes on with the program. A core that is in the
//! kernel already, and about to change tables or just behind that, goes on there with the kernel's: on the way in they are loaded once
//! more; on the way out, which is two or three instructions, the program is lost to a fault.
//!
//! **Callers**: `scripts`, `memory`, and the vendors' way back. **Proof**: the tests below, `tests/e2e/last_words.rs`,
//! `tests/e2e/events_steer.rs`.

use crate::walk;
use abi::boot::{FRAME_BYTES, Resume};

/// What a program's tables have in CR3 and the kernel's have not.
pub const PROGRAM_TABLES: u64 = FRAME_BYTES;
/// The same for their identifier.
const PROGRAM_IDENTIFIER: u64 = 1 << 11;

/// The gate of page faults in the table of interrupts.
const PAGE_FAULT_GATE: u64 = 14 * 16;
/// In a task's segment: the stack for who comes from a program (SDM3 figure 8-11).
const STACK_IN_TASK: u64 = 4;
/// What a page fault pushes: error code, RIP, CS, RFLAGS, RSP, SS.
const FRAME_WORDS: usize = 6;
/// The error code: a program fetches an instruction, and nothing is there.
const FETCH_BY_PROGRAM: u64 = 1 << 4 | 1 << 2;
/// Flags that a gate of interrupts clears: TF, IF, NT, RF, VM.
const CLEARED: u64 = 1 << 8 | 1 << 9 | 1 << 14 | 1 << 16 | 1 << 17;

/// CR3 of the kernel that belongs to a program's.
#[must_use]
pub const fn kernels(cr3: u64) -> u64 {
    cr3 & !(PROGRAM_TABLES | PROGRAM_IDENTIFIER)
}

/// Where the processor keeps what it needs on its way into the kernel, linear.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The module's page, which must be mapped.
    pub back: u64,
    /// The table of interrupts.
    pub interrupts: u64,
    /// The segment of the running task.
    pub task: u64,
}

/// How a core goes on in the kernel instead of in its program.
#[derive(Debug, PartialEq, Eq)]
pub struct Detour {
    /// The kernel's CR3.
    pub cr3: u64,
    /// The page fault, if it is in a program.
    pub fault: Option<Fault>,
}

/// A page fault as the kernel finds it.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// CR2: the instruction that is due.
    pub address: u64,
    /// What is to lie on the kernel's stack,
    pub frame: [u64; FRAME_WORDS],
    /// and where, physical.
    pub stack: u64,
}

/// The way round if the guest's tables have no way back, and the kernel's have; `resume` then begins in the kernel.
pub fn by_way_of_the_kernel(
    resume: &mut Resume,
    cr3: u64,
    way: Way,
    read: impl Fn(u64) -> Option<u64> + Copy,
    copy: impl Fn(u64, &mut [u8]) -> bool + Copy,
) -> Option<Detour> {
    let kernel = kernels(cr3);
    if walk::translate(cr3, way.back, read).is_some() {
        return None;
    }
    walk::translate(kernel, way.back, read)?;
    let [rip, cs, flags, rsp, ss] = resume.frame;
    if cs & 3 == 0 {
        return Some(Detour { cr3: kernel, fault: None });
    }
    let word = |linear: u64| {
        let mut bytes = [0; 8];
        (walk::read_bytes(kernel, linear, &mut bytes, read, copy) == bytes.len()).then(|| u64::from_le_bytes(bytes))
    };
    let gate = [word(way.interrupts.wrapping_add(PAGE_FAULT_GATE))?, word(way.interrupts.wrapping_add(PAGE_FAULT_GATE + 8))?];
    // Linux' page faults have no stack of their own; a kernel that gives them one is not known here.
    if gate[0] >> 32 & 7 != 0 {
        return None;
    }
    let handler = gate[0] & 0xffff | gate[0] >> 32 & 0xffff_0000 | gate[1] << 32;
    let top = (word(way.task.wrapping_add(STACK_IN_TASK))? & !15).wrapping_sub(8 * FRAME_WORDS as u64);
    if top % FRAME_BYTES > FRAME_BYTES - 8 * FRAME_WORDS as u64 {
        return None;
    }
    let frame = [FETCH_BY_PROGRAM, rip, cs, flags, rsp, ss];
    let fault = Fault { address: rip, frame, stack: walk::translate(kernel, top, read)? };
    resume.frame = [handler, gate[0] >> 16 & 0xffff, flags & !CLEARED, top, 0];
    Some(Detour { cr3: kernel, fault: Some(fault) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: u64 = 0x2000;
    const WAY: Way = Way { back: 0x1000, interrupts: 0x2000, task: 0x3003 };
    const HANDLER: u64 = 0xffff_ffff_81c0_1230;

    /// Tables of a kernel that maps the first pages to 0x5000 and behind; those of its program, a page above, map nothing. At
    /// 0x7000 lies what the table of interrupts is, at 0x8000 the task.
    fn read(pa: u64) -> Option<u64> {
        Some(match pa {
            0x2000 => 0xb000 | 1,
            0xb000 => 0x4000 | 1,
            0x4000 => 0x9000 | 1,
            0x9000..0x9040 => (0x5000 + (pa - 0x9000) / 8 * 0x1000) | 3,
            0x70e0 => HANDLER & 0xffff | 0x10 << 16 | 0x8e00 << 32 | (HANDLER >> 16 & 0xffff) << 48,
            0x70e8 => HANDLER >> 32,
            _ => 0,
        })
    }

    fn copy(pa: u64, to: &mut [u8]) -> bool {
        // The stack ends at linear 0x5000, behind the page at 0x9000.
        let bytes = if pa == 0x8007 { 0x5000u64.to_le_bytes() } else { read(pa).unwrap_or(0).to_le_bytes() };
        to.copy_from_slice(&bytes[..to.len()]);
        true
    }

    fn program() -> Resume {
        Resume { frame: [0x40_1000, 0x33, 0x1_0346, 0x7ffc_0000, 0x2b], ..Resume::default() }
    }

    /// Would catch a core that goes back to where nothing is mapped, a frame that is not a page fault's, and flags by which the
    /// kernel would be interrupted before it stands.
    #[test]
    fn a_program_without_its_kernels_tables_goes_on_as_if_it_had_faulted() {
        let mut resume = program();
        let cr3 = KERNEL | PROGRAM_TABLES | PROGRAM_IDENTIFIER | 6;
        let round = by_way_of_the_kernel(&mut resume, cr3, WAY, read, copy);
        let frame = [0x14, 0x40_1000, 0x33, 0x1_0346, 0x7ffc_0000, 0x2b];
        let fault = Fault { address: 0x40_1000, frame, stack: 0x9fd0 };
        assert_eq!(round, Some(Detour { cr3: KERNEL | 6, fault: Some(fault) }));
        assert_eq!(resume.frame, [HANDLER, 0x10, 0x46, 0x4fd0, 0]);
        // On the kernel's way in its stack is in use.
        let mut inside = Resume { frame: [HANDLER, 0x10, 0x46, 0x4fd0, 0], ..program() };
        assert_eq!(by_way_of_the_kernel(&mut inside, cr3, WAY, read, copy), Some(Detour { cr3: KERNEL | 6, fault: None }));
        assert_eq!(inside.frame, [HANDLER, 0x10, 0x46, 0x4fd0, 0]);
    }

    /// Would catch a way round where there is a way, or where nobody knows one.
    #[test]
    fn who_has_a_way_takes_it() {
        for (cr3, way) in [
            (KERNEL, WAY),
            (KERNEL | PROGRAM_TABLES, Way { back: 0x9000, ..WAY }),
            (KERNEL | PROGRAM_TABLES, Way { interrupts: 0x9000, ..WAY }),
        ] {
            let mut resume = program();
            assert_eq!(by_way_of_the_kernel(&mut resume, cr3, way, read, copy), None);
            assert_eq!(resume.frame, program().frame);
        }
    }
}
