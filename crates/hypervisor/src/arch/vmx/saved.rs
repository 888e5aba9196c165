//! Model-specific registers that the control structure holds while root runs.
//!
//! **Callers**: `core`.

use super::core::Vmx;
use super::field::{self, segment};
use super::{msr as own, vmcs};
use crate::arch::x86::efer;
use crate::arch::x86::{self, msr};

/// The field of a register.
fn field_of(register: u32) -> Option<u64> {
    Some(match register {
        msr::PAT => field::GUEST_PAT,
        msr::FS_BASE => field::GUEST_BASE + 2 * segment::FS,
        msr::GS_BASE => field::GUEST_BASE + 2 * segment::GS,
        msr::SYSENTER_CS => field::GUEST_SYSENTER_CS,
        msr::SYSENTER_ESP => field::GUEST_SYSENTER_ESP,
        msr::SYSENTER_EIP => field::GUEST_SYSENTER_EIP,
        own::DEBUGCTL => field::GUEST_DEBUGCTL,
        _ => return None,
    })
}

impl Vmx {
    /// A register that the structure holds.
    pub(super) fn saved(&self, register: u32) -> Option<u64> {
        field_of(register).map(vmcs::read)
    }

    /// Writes one; false if the guest would fault. `None` if the structure does not hold it.
    pub(super) fn save(&mut self, register: u32, value: u64) -> Option<bool> {
        let field = field_of(register)?;
        let takes = match register {
            msr::PAT => x86::is_pat(value),
            msr::SYSENTER_CS => value >> 32 == 0,
            // Branches are recorded by the processor, for the guest: LBR, BTF and freezing are all that an entry takes for sure.
            own::DEBUGCTL => value & !0xdfc3 == 0,
            _ => x86::is_canonical(value),
        };
        if takes {
            vmcs::write(field, value);
        }
        Some(takes)
    }

    /// Writes EFER as the guest would; false if that faults (SDM3 2.2.1 "Extended Feature Enable Register").
    pub(super) fn write_efer(&mut self, value: u64) -> bool {
        let changes_mode = (value ^ self.guest_efer()) & efer::LME != 0;
        if value & !(efer::SCE | efer::LME | efer::LMA | efer::NXE) != 0 || changes_mode {
            return false;
        }
        self.set_guest_efer(value);
        true
    }
}
