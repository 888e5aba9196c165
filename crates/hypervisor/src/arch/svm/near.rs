//! What is quickly known of where a core stands: its code, its data, and whether it has met a breakpoint.
//!
//! **Callers**: `core`. **Cost**: about 25 machine instructions where the last one was, else a walk.

use super::core::Svm;
use super::vmcb::{attribute, exit_code};
use crate::arch::x86::flag::TF;

/// What a nested fault says (APM2 15.25.6 "Nested versus Guest Page Faults, Fault Ordering"): it was a fetch,
const FETCH: u64 = 1 << 4;
/// and not of the walk of the guest's tables.
const WALK: u64 = 1 << 33;

impl Svm {
    /// See [`crate::arch::Core::near_instruction`].
    #[inline(always)]
    pub(super) fn near_bytes(&mut self) -> Option<(u64, u128)> {
        self.text.instruction(self.vmcb.cr3, self.vmcb.cs.base.wrapping_add(self.vmcb.rip))
    }

    /// See [`crate::arch::Core::near_data`].
    #[inline(always)]
    pub(super) fn near_data(&mut self, linear: u64) -> Option<(u64, u64)> {
        self.data.datum(self.vmcb.cr3, linear)
    }

    /// See [`crate::arch::Core::is_plain`].
    #[inline(always)]
    pub(super) fn is_plainly_kernel(&self) -> bool {
        let v = &self.vmcb;
        v.cpl == 0 && v.cs.attributes & attribute::LONG != 0 && v.rflags & TF == 0 && !self.due
    }

    /// See [`crate::arch::Core::meets_breakpoint`]. QEMU reports INT3 as a software interrupt.
    #[inline(always)]
    pub(super) fn is_at_breakpoint(&self) -> bool {
        matches!(self.vmcb.exit_code, exit_code::SWINT | exit_code::EXCP_BP) && !self.is_passing() && self.is_plainly_kernel()
    }

    /// See [`crate::arch::Core::meets_guard`]. An instruction that ends in another page begins elsewhere in its own than that faults.
    #[inline(always)]
    pub(super) fn is_at_guard(&self) -> Option<u64> {
        let v = &self.vmcb;
        let (fetched, at) = (v.exit_info_1 & (FETCH | WALK) == FETCH, v.exit_info_2);
        let begins = v.cs.base.wrapping_add(v.rip) & 0xfff == at & 0xfff;
        (v.exit_code == exit_code::NPF && fetched && begins && !self.due && !self.is_passing()).then_some(at)
    }
}
