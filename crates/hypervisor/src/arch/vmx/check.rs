//! The end of a core whose entry the processor refuses: what it refused, in the words of last words.
//!
//! An entry fails at controls (by a number) or at the guest's state (by a reason). The processor does not say at which field: the rules that
//! root's own writes could break are looked at here again, one by one, and the first that does not hold is named.

use super::field::{self, reason, rights, segment};
use super::vmcs;
use crate::arch::x86::flag::IF;
use crate::arch::x86::is_canonical;

/// The first rule of a guest's state that does not hold (SDM3 27.3.1 "Checks on the Guest State Area").
fn broken() -> &'static str {
    let read = vmcs::read;
    let of = |number: u64| read(field::GUEST_RIGHTS + 2 * number);
    let flags = read(field::GUEST_RFLAGS);
    let state = read(field::INTERRUPTIBILITY);
    let event = read(field::ENTRY_EVENT);
    let (efer, cr0) = (read(field::GUEST_EFER), read(field::GUEST_CR0));
    let usable = |number: u64| of(number) & rights::UNUSABLE == 0;
    let rules: [(bool, &str); 16] = [
        (cr0 & 0x8000_0021 == 0x8000_0021, "CR0: PE, NE and PG"),
        (read(field::GUEST_CR4) & 1 << 13 != 0, "CR4: VMXE"),
        (read(field::GUEST_CR3) >> 52 == 0, "CR3: reserved bits"),
        (efer & !0xd01 == 0, "EFER: reserved bits"),
        (efer >> 8 & 1 == efer >> 10 & 1, "EFER: LMA without LME"),
        (read(field::GUEST_DR7) >> 32 == 0, "DR7: upper half"),
        (flags & 0xffff_ffff_ffc0_802a == 2, "RFLAGS: reserved bits"),
        (event & 0x8000_0700 != 0x8000_0000 || flags & IF != 0, "RFLAGS: IF, for an interrupt"),
        (of(segment::CS) & rights::LONG == 0 || is_canonical(read(field::GUEST_RIP)), "RIP: canonical"),
        (of(segment::CS) & 0x9b == 0x9b, "CS: rights"),
        (of(segment::TR) & 0x1_009f == 0x8b, "TR: rights"),
        ((segment::ES..=segment::GS).all(|it| !usable(it) || of(it) & 0x91 == 0x91), "a segment: accessed, present"),
        (is_canonical(read(field::GUEST_BASE + 2 * segment::TR)), "TR: base"),
        (state & 3 != 3, "interruptibility: STI and MOV SS"),
        (state & 1 == 0 || flags & IF != 0, "interruptibility: STI without IF"),
        (state & 3 == 0 || read(field::ACTIVITY) == 0, "activity: behind STI or MOV SS"),
    ];
    rules.iter().find(|(holds, _)| !holds).map_or("none that root knows of", |(_, name)| name)
}

/// The guest's state was refused.
#[cold]
pub(super) fn refused(why: u32) -> ! {
    panic!(
        "the processor refuses the guest's state (reason {}, {:x}): {}; rip {:x}, flags {:x}, event {:x}",
        why & !reason::ENTRY_FAILED,
        vmcs::read(field::QUALIFICATION),
        broken(),
        vmcs::read(field::GUEST_RIP),
        vmcs::read(field::GUEST_RFLAGS),
        vmcs::read(field::ENTRY_EVENT),
    )
}

/// The instruction itself failed: controls or root's own state.
#[cold]
pub(super) fn failed() -> ! {
    panic!(
        "the processor refuses to enter the guest: error {} (SDM3 31.4); controls {:x} {:x} {:x} {:x} {:x}, event {:x}",
        vmcs::read(field::INSTRUCTION_ERROR),
        vmcs::read(field::PIN_CONTROLS),
        vmcs::read(field::PRIMARY_CONTROLS),
        vmcs::read(field::SECONDARY_CONTROLS),
        vmcs::read(field::EXIT_CONTROLS),
        vmcs::read(field::ENTRY_CONTROLS),
        vmcs::read(field::ENTRY_EVENT),
    )
}
