//! What an exit is (SDM volume 3 chapter 28 "VM Exits", appendix C).
//!
//! **Callers**: `core`.

use super::core::Vmx;
use super::field::{self, reason};
use super::vmcs;
use crate::arch::x86::{event, vector};
use crate::arch::{DebugRegister, Exit, Nested, Port};

/// Qualification of an EPT violation (SDM3 table 28-7): what the access was, whether there is a linear address, and whether the access
/// was to what that translates to, not to a table on the way.
const WRITE: u64 = 1 << 1;
const FETCH: u64 = 1 << 2;
const LINEAR: u64 = 1 << 7;
const FINAL: u64 = 1 << 8;
/// Of a violation, and of an exception: NMIs were held back, an IRET had let them come, and did not end.
const IRET_UNDONE: u64 = 1 << 12;

/// `EXIT_EVENT` of type 2 is an NMI; of type 6 an INT3 or INTO.
const NMI: u64 = event::VALID | event::NMI | vector::NMI;

impl Vmx {
    /// The exception or NMI of the exit, as [`event`] has them; 0: it is none.
    pub(super) fn raised(&self) -> u64 {
        if self.reason != reason::EXCEPTION_OR_NMI {
            return 0;
        }
        let what = vmcs::read(field::EXIT_EVENT);
        what & 0xffff_efff | if what & event::ERROR == 0 { 0 } else { vmcs::read(field::EXIT_ERROR) << 32 }
    }

    /// Whether the exit is an exception with this vector.
    pub(super) fn is_exception(&self, vector: u64) -> bool {
        let what = self.raised();
        what & event::VALID != 0 && what & event::TYPE != event::NMI && what & 0xff == vector
    }

    /// Whether NMIs have to be held back again: the IRET that let them come did not end.
    pub(super) fn undoes_iret(&self) -> bool {
        match self.reason {
            reason::EXCEPTION_OR_NMI => {
                let what = vmcs::read(field::EXIT_EVENT);
                what & 0xff != vector::DF && what & IRET_UNDONE != 0
            }
            reason::EPT_VIOLATION => vmcs::read(field::QUALIFICATION) & IRET_UNDONE != 0,
            _ => false,
        }
    }

    pub(super) fn decode(&self) -> Exit {
        if self.kept {
            return Exit::Nmi;
        }
        match self.reason {
            reason::EXCEPTION_OR_NMI => match self.raised() {
                what if what & !(0xffff_ffff << 32) == NMI => Exit::Nmi,
                what => self.exception(what),
            },
            reason::INTERRUPT => Exit::Interrupt,
            reason::TRIPLE_FAULT => Exit::Shutdown,
            reason::INTERRUPT_WINDOW | reason::NMI_WINDOW => Exit::Window,
            reason::CPUID => Exit::Cpuid,
            reason::INVD | reason::XSETBV => Exit::Forced,
            reason::RDTSC => Exit::Tsc { with_core: false },
            reason::RDTSCP => Exit::Tsc { with_core: true },
            reason::VMCALL => Exit::Hypercall { cpl: self.ring() },
            reason::VMCLEAR..=reason::VMXON | reason::GETSEC | reason::INVEPT | reason::INVVPID => Exit::Extension,
            reason::CONTROL_REGISTER => {
                Exit::ControlWrite { register: vmcs::read(field::QUALIFICATION).to_le_bytes()[0] & 0xf }
            }
            reason::DEBUG_REGISTER => {
                let how = vmcs::read(field::QUALIFICATION);
                Exit::DebugRegister(DebugRegister { number: how.to_le_bytes()[0] & 7, write: how & 1 << 4 == 0 })
            }
            reason::PORT => Exit::Port(port(vmcs::read(field::QUALIFICATION))),
            #[expect(clippy::cast_possible_truncation, reason = "ecx")]
            reason::RDMSR => Exit::MsrRead { msr: self.gprs.rcx as u32 },
            #[expect(clippy::cast_possible_truncation, reason = "ecx")]
            reason::WRMSR => Exit::MsrWrite { msr: self.gprs.rcx as u32 },
            reason::TRAP => Exit::Stepped,
            reason::EPT_VIOLATION => Exit::Nested(self.nested()),
            code => Exit::Unknown { code: code.into() },
        }
    }

    fn nested(&self) -> Nested {
        let how = vmcs::read(field::QUALIFICATION);
        Nested {
            gpa: vmcs::read(field::GUEST_PHYSICAL),
            write: how & WRITE != 0,
            fetch: how & FETCH != 0,
            walk: how & (LINEAR | FINAL) == LINEAR,
            delivery: vmcs::read(field::VECTORING) & event::VALID != 0,
        }
    }

    /// The physical address, if the exit is a fetch that guards did not allow.
    #[inline(always)]
    pub(super) fn fetched(&self) -> Option<u64> {
        let is = self.reason == reason::EPT_VIOLATION && vmcs::read(field::QUALIFICATION) & (FETCH | FINAL) == FETCH | FINAL;
        is.then(|| vmcs::read(field::GUEST_PHYSICAL))
    }
}

fn port(how: u64) -> Port {
    #[expect(clippy::cast_possible_truncation, reason = "bits 0 to 2 and 16 to 31 of the field")]
    let (bytes, port) = ((how & 7) as u8 + 1, (how >> 16) as u16);
    Port { port, bytes, input: how & 1 << 3 != 0, string: how & 1 << 4 != 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch an access to another port, or of another width or direction (SDM3 table 28-5).
    #[test]
    fn accesses_to_ports_are_as_the_manual_says() {
        let out = Port { port: 0x3f8, bytes: 1, input: false, string: false };
        assert_eq!(port(0x03f8_0000), out);
        assert_eq!(port(0x0cf8_001b), Port { port: 0xcf8, bytes: 4, input: true, string: true });
    }
}
