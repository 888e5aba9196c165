//! The way back to bare metal: the guest's own state is loaded, and root's is forgotten.
//!
//! No flag of the processor's holds NMIs back here, and one that came between root's address space and Linux' would find neither's
//! tables. So the last thing root does is to take one of its own without an IRET: the way back ends with one.
//!
//! **Callers**: `core`. **Proof**: `tests/e2e/load_unload.rs`.
#![expect(unsafe_code, reason = "the floor: the way back")]

use super::core::Vmx;
use super::field::{self, segment};
use super::{msr as own, vmcs};
use crate::arch::Core;
use crate::arch::x86::{self, direct, msr, region, tables, trap, write_msr};
use crate::isolated::{self, Way};
use abi::boot::Resume;
use core::arch::asm;
use core::sync::atomic::Ordering::Relaxed;
use zerocopy::IntoBytes;

/// In the last argument of the way back: FS and GS are loaded there.
const LEAVE_LOADS_FS_GS: u64 = 1 << 33;
/// A descriptor of a local table, present; of a task, present and available.
const LOCAL_TABLE: u64 = 0x82 << 40;
const TASK: u64 = 0x89 << 40;

impl Vmx {
    /// See [`crate::arch::Core::leave`].
    pub(super) fn leave_for_good(&mut self) -> ! {
        self.give_back_interrupts();
        if self.is_passing() {
            self.end_step(false);
        }
        let selector = |number: u64| vmcs::read(field::GUEST_SELECTOR + 2 * number) & 0xffff;
        let base = |number: u64| vmcs::read(field::GUEST_BASE + 2 * number);
        let g = &self.gprs;
        let mut resume = Resume {
            gprs: [g.r15, g.r14, g.r13, g.r12, g.r11, g.r10, g.r9, g.r8, g.rbp, g.rdi, g.rsi, g.rdx, g.rcx, g.rbx, g.rax],
            frame: [self.rip(), selector(segment::CS), self.rflags(), vmcs::read(field::GUEST_RSP), selector(segment::SS)],
        };
        region::local().object.store(0, Relaxed);
        let fs_gs = [
            selector(segment::FS) | selector(segment::GS) << 16 | (base(segment::FS) & 0xffff_ffff) << 32,
            base(segment::FS) >> 32 | base(segment::GS) << 32,
            base(segment::GS) >> 32,
        ];
        let data = selector(segment::DS) | selector(segment::ES) << 16 | LEAVE_LOADS_FS_GS;
        let way = Way {
            back: self.seed.leave,
            interrupts: vmcs::read(field::GUEST_IDT_BASE),
            task: vmcs::read(field::GUEST_BASE + 2 * segment::TR),
        };
        let round = isolated::by_way_of_the_kernel(&mut resume, self.cr3(), way, direct::read, direct::copy_out);
        let cr3 = round.as_ref().map_or(self.cr3(), |round| round.cr3);
        let fault = round.and_then(|round| round.fault);
        if let Some(fault) = &fault {
            self.set_fault_address(fault.address);
        }
        let (efer, cr0, cr4) = (self.efer(), self.control(0), self.control(4));
        let table = |base: u64, limit: u64| tables::Table {
            base: vmcs::read(base),
            limit: u16::try_from(vmcs::read(limit) & 0xffff).unwrap_or(u16::MAX),
        };
        let gdt = table(field::GUEST_GDT_BASE, field::GUEST_GDT_LIMIT);
        let idt = table(field::GUEST_IDT_BASE, field::GUEST_IDT_LIMIT);
        let dr7 = vmcs::read(field::GUEST_DR7);
        let registers = [
            (msr::PAT, field::GUEST_PAT),
            (msr::SYSENTER_CS, field::GUEST_SYSENTER_CS),
            (msr::SYSENTER_ESP, field::GUEST_SYSENTER_ESP),
            (msr::SYSENTER_EIP, field::GUEST_SYSENTER_EIP),
        ]
        .map(|(register, field)| (register, vmcs::read(field)));
        // The exit has cleared it; where it does not exist it never was anything else.
        let debug = Some(vmcs::read(field::GUEST_DEBUGCTL)).filter(|value| *value != 0);
        describe(segment::LDTR, LOCAL_TABLE);
        describe(segment::TR, TASK);
        // Without it an NMI of another device's, in the few instructions that follow, would be the end. Linux goes on all the
        // same: that one did not come in so long is no reason to believe that another will.
        let _held = trap::hold_nmis();
        // SAFETY: everything loaded here is the guest's own state, which it loaded itself before. TR and LDTR are loaded from
        // root's table, where their descriptors stand with Linux' selectors; what they refer to is Linux' own. Linux' tables
        // become valid with its CR3, which the way back loads before anything can use them: NMIs are held back, interrupts
        // are off, and the code and stack of these lines do not need a descriptor. `resume` lies in memory of Linux' that
        // the module set aside for this core. The way back is mapped alike in both address spaces. What the way round puts on a
        // stack lies where the processor itself would put it.
        unsafe {
            if let Some(fault) = &fault {
                direct::copy_in(fault.stack, fault.frame.as_bytes());
            }
            direct::copy_in(self.seed.resume_pa, resume.as_bytes());
            for (register, value) in registers.into_iter().chain(debug.map(|value| (own::DEBUGCTL, value))) {
                write_msr(register, value);
            }
            let (ldtr, tr) = (selector(segment::LDTR), selector(segment::TR));
            asm!("lldt {0:x}", "ltr {1:x}", in(reg) ldtr, in(reg) tr, options(nostack, preserves_flags));
            let _written = vmcs::clear(self.structure);
            vmcs::off();
            x86::write_dr7(dr7);
            tables::load(gdt, idt);
            asm!(
                "jmp {way_back}",
                way_back = in(reg) self.seed.leave,
                in("rdi") self.seed.resume_va,
                in("rsi") cr3,
                in("rdx") cr4,
                in("rcx") efer,
                in("r8") cr0,
                in("r9") data,
                in("r10") fs_gs[0],
                in("r11") fs_gs[1],
                in("r12") fs_gs[2],
                options(noreturn)
            );
        }
    }
}

/// Puts a system segment of the guest's into root's own table, at the guest's selector.
fn describe(number: u64, kind: u64) {
    let selector = vmcs::read(field::GUEST_SELECTOR + 2 * number) & 0xffff;
    let base = vmcs::read(field::GUEST_BASE + 2 * number);
    let limit = vmcs::read(field::GUEST_LIMIT + 2 * number);
    let slot = (selector >> 3) as usize;
    let low = limit & 0xffff | (base & 0xff_ffff) << 16 | kind | (limit >> 16 & 0xf) << 48 | (base >> 24 & 0xff) << 56;
    // Linux' are at 0x40 and 0x50, or null (arch/x86/include/asm/segment.h).
    if let Some([first, second]) = region::local().gdt.get(slot..slot + 2).filter(|_| slot >= 8) {
        first.store(low, Relaxed);
        second.store(base >> 32, Relaxed);
    }
}
