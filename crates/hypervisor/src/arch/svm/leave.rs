//! The way back to bare metal: the guest's own state is loaded, and root's is forgotten.
//!
//! **Callers**: `core`. **Proof**: `tests/e2e/load_unload.rs`.
#![expect(unsafe_code, reason = "the floor: the way back")]

use super::core::Svm;
use super::run;
use crate::arch::Core;
use crate::arch::x86::{self, direct, msr, region, tables};
use crate::isolated::{self, Way};
use abi::boot::Resume;
use core::arch::asm;
use core::sync::atomic::Ordering::Relaxed;
use zerocopy::IntoBytes;

/// In the last argument of the way back: open the global interrupt flag.
const LEAVE_OPENS_GIF: u64 = 1 << 32;

impl Svm {
    /// See [`crate::arch::Core::leave`].
    pub(super) fn leave_for_good(&mut self) -> ! {
        self.give_back_interrupts();
        if self.is_passing() {
            self.end_step(false);
        }
        let efer = self.efer();
        let v = &*self.vmcb;
        let g = &self.gprs;
        let mut resume = Resume {
            gprs: [g.r15, g.r14, g.r13, g.r12, g.r11, g.r10, g.r9, g.r8, g.rbp, g.rdi, g.rsi, g.rdx, g.rcx, g.rbx, v.rax],
            frame: [v.rip, u64::from(v.cs.selector), v.rflags, v.rsp, u64::from(v.ss.selector)],
        };
        region::local().object.store(0, Relaxed);
        let data = u64::from(v.ds.selector) | u64::from(v.es.selector) << 16 | LEAVE_OPENS_GIF;
        self.unpark();
        let v = &*self.vmcb;
        let way = Way { back: self.seed.leave, interrupts: v.idtr.base, task: v.tr.base };
        let round = isolated::by_way_of_the_kernel(&mut resume, v.cr3, way, direct::read, direct::copy_out);
        let cr3 = round.as_ref().map_or(v.cr3, |round| round.cr3);
        let fault = round.and_then(|round| round.fault);
        let cr2 = fault.as_ref().map_or(v.cr2, |fault| fault.address);
        let (limit, idt_limit) = (table_limit(v.gdtr.limit), table_limit(v.idtr.limit));
        // SAFETY: everything loaded here is the guest's own state, which it loaded itself before: its debug registers, its
        // PAT, and with VMLOAD its FS, GS, TR, LDTR and system-call registers. Its tables become valid with its CR3, which
        // the way back loads before anything can use them: the global interrupt flag is still clear, so not even an NMI
        // comes between, and the code and stack of these lines do not need a descriptor. `resume` lies in memory of
        // Linux' that the module set aside for this core. The way back is mapped alike in both address spaces. What the way round
        // puts on a stack lies where the processor itself would put it.
        unsafe {
            if let Some(fault) = &fault {
                direct::copy_in(fault.stack, fault.frame.as_bytes());
            }
            direct::copy_in(self.seed.resume_pa, resume.as_bytes());
            x86::write_dr6(v.dr6);
            x86::write_dr7(v.dr7);
            x86::write_msr(msr::PAT, v.g_pat);
            run::load(self.vmcb_pa);
            asm!("mov cr2, {}", in(reg) cr2, options(nostack));
            tables::load(tables::Table { base: v.gdtr.base, limit }, tables::Table { base: v.idtr.base, limit: idt_limit });
            asm!(
                "jmp {way_back}",
                way_back = in(reg) self.seed.leave,
                in("rdi") self.seed.resume_va,
                in("rsi") cr3,
                in("rdx") v.cr4,
                in("rcx") efer,
                in("r8") v.cr0,
                in("r9") data,
                options(noreturn)
            );
        }
    }
}

fn table_limit(limit: u32) -> u16 {
    u16::try_from(limit & 0xffff).unwrap_or(u16::MAX)
}
