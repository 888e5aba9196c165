//! What is quickly known of where a core stands: its code, and whether it is plainly in the kernel.
//!
//! **Callers**: `core`. **Cost**: about 25 machine instructions where the last one was, else a walk.

use super::core::Vmx;
use super::ept::Ept;
use super::field::{self, rights, segment};
use super::vmcs;
use crate::arch::nested;
use crate::arch::x86::flag::TF;

impl Vmx {
    /// See [`crate::arch::Core::near_instruction`].
    #[inline(always)]
    pub(super) fn near_bytes(&mut self) -> Option<(u64, u128)> {
        self.text.instruction(vmcs::read(field::GUEST_CR3), self.code_at())
    }

    /// See [`crate::arch::Core::is_plain`].
    #[inline(always)]
    pub(super) fn is_plainly_kernel(&self) -> bool {
        let long = vmcs::read(field::GUEST_RIGHTS + 2 * segment::CS) & rights::LONG != 0;
        !self.due && long && self.ring() == 0 && vmcs::read(field::GUEST_RFLAGS) & TF == 0
    }

    /// Whether the open view lets the guest write there.
    pub(super) fn guest_writes(&self, pa: u64) -> bool {
        nested::open::may_write::<Ept>(self.step.open(), pa)
    }
}
