//! Model-specific registers that the control block holds while root runs.
//!
//! **Callers**: `core`.

use super::core::Svm;
use crate::arch::x86::msr;

impl Svm {
    /// A register that the control block holds while root runs.
    pub(super) fn saved(&self, register: u32) -> Option<u64> {
        let v = &self.vmcb;
        Some(match register {
            msr::STAR => v.star,
            msr::LSTAR => v.lstar,
            msr::CSTAR => v.cstar,
            msr::SFMASK => v.sfmask,
            msr::FS_BASE => v.fs.base,
            msr::GS_BASE => v.gs.base,
            msr::KERNEL_GS_BASE => v.kernel_gs_base,
            msr::SYSENTER_CS => v.sysenter_cs,
            msr::SYSENTER_ESP => v.sysenter_esp,
            msr::SYSENTER_EIP => v.sysenter_eip,
            _ => return None,
        })
    }

    /// The same to write, and whether only canonical addresses may be written.
    pub(super) fn saved_mut(&mut self, register: u32) -> Option<(&mut u64, bool)> {
        let v = &mut self.vmcb;
        Some(match register {
            msr::STAR => (&mut v.star, false),
            msr::LSTAR => (&mut v.lstar, true),
            msr::CSTAR => (&mut v.cstar, true),
            msr::SFMASK => (&mut v.sfmask, false),
            msr::FS_BASE => (&mut v.fs.base, true),
            msr::GS_BASE => (&mut v.gs.base, true),
            msr::KERNEL_GS_BASE => (&mut v.kernel_gs_base, true),
            msr::SYSENTER_CS => (&mut v.sysenter_cs, false),
            msr::SYSENTER_ESP => (&mut v.sysenter_esp, false),
            msr::SYSENTER_EIP => (&mut v.sysenter_eip, false),
            _ => return None,
        })
    }
}
