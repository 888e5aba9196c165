//! What the processor's extension can do, read from its registers and never assumed (SDM volume 3 appendix A "VMX Capability
//! Reporting Facility").
#![expect(unsafe_code, reason = "reads registers that are there only where CPUID says so")]

use super::field::{entering, leaving, pin, primary, secondary};
use super::msr;
use crate::arch::x86::read_msr;
use abi::code::lack;

/// Offsets from [`msr::CAPABILITIES_FIRST`].
const BASIC: u32 = 0;
const CR0_MUST: u32 = 6;
const SECONDARY: u32 = 0xb;
const EPT_VPID: u32 = 0xc;
const TRUE_PIN: u32 = 0xd;
const TRUE_PRIMARY: u32 = 0xe;
const TRUE_EXIT: u32 = 0xf;
const TRUE_ENTRY: u32 = 0x10;
/// Of the basic register: there are the four above.
const TRUE_CONTROLS: u64 = 1 << 55;
/// Of the one for EPT and VPID: what can only be executed,
const EXECUTE_ONLY: u64 = 1;
/// walks of four levels in write-back memory, pages of 2 MiB and 1 GiB,
const WALK_4: u64 = 1 << 6;
const WRITE_BACK: u64 = 1 << 14;
const PAGES_2M: u64 = 1 << 16;
const PAGES_1G: u64 = 1 << 17;
/// INVEPT of all, INVVPID of all.
const INVEPT_ALL: u64 = 1 << 20 | 1 << 26;
const INVVPID_ALL: u64 = 1 << 32 | 1 << 42;

/// Bits of a control that must be set, and those that may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Allowed {
    must: u32,
    may: u32,
}

impl Allowed {
    #[expect(clippy::cast_possible_truncation, reason = "two halves of one register")]
    fn of(value: u64) -> Allowed {
        Allowed { must: value as u32, may: (value >> 32) as u32 }
    }

    fn has(self, bits: u32) -> bool {
        self.may & bits == bits
    }

    /// These, of `wish` what there is, and what must be.
    fn with(self, bits: u32, wish: u32) -> u32 {
        bits | self.must | wish & self.may
    }
}

/// The controls to run a guest with, before anything is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Controls {
    pub(super) pin: u32,
    pub(super) primary: u32,
    pub(super) secondary: u32,
    pub(super) exit: u32,
    pub(super) entry: u32,
}

/// All of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    basic: u64,
    cr0_must: u64,
    pin: Allowed,
    primary: Allowed,
    secondary: Allowed,
    exit: Allowed,
    entry: Allowed,
    ept: u64,
}

impl Capabilities {
    /// Of the processor that runs this.
    ///
    /// # Safety
    /// CPUID reports the extension.
    pub(super) unsafe fn read() -> Capabilities {
        // SAFETY: by the caller these registers are there; those that hang on another bit are read behind it.
        let read = |offset| unsafe { read_msr(msr::CAPABILITIES_FIRST + offset) };
        let basic = read(BASIC);
        let mut all = Capabilities { basic, cr0_must: read(CR0_MUST), ..Capabilities::default() };
        if basic & TRUE_CONTROLS == 0 {
            return all;
        }
        (all.pin, all.primary) = (Allowed::of(read(TRUE_PIN)), Allowed::of(read(TRUE_PRIMARY)));
        (all.exit, all.entry) = (Allowed::of(read(TRUE_EXIT)), Allowed::of(read(TRUE_ENTRY)));
        if all.primary.has(primary::SECONDARY) {
            all.secondary = Allowed::of(read(SECONDARY));
        }
        if all.secondary.may & (secondary::EPT | secondary::VPID) != 0 {
            all.ept = read(EPT_VPID);
        }
        all
    }

    /// What root cannot do without and this processor has not: bits of [`lack`].
    pub(super) fn missing(&self) -> u32 {
        if self.basic & TRUE_CONTROLS == 0 {
            return lack::TRUE_CONTROLS;
        }
        let needs = |there: bool, bit: u32| if there { 0 } else { bit };
        let ept = self.secondary.has(secondary::EPT) && self.ept & (WALK_4 | WRITE_BACK) == WALK_4 | WRITE_BACK;
        let efer = self.exit.has(leaving::SAVE_EFER | leaving::LOAD_EFER) && self.entry.has(entering::LOAD_EFER);
        let pat = self.exit.has(leaving::SAVE_PAT | leaving::LOAD_PAT) && self.entry.has(entering::LOAD_PAT);
        let mut missing = needs(self.pin.has(pin::NMI | pin::VIRTUAL_NMI), lack::VIRTUAL_NMIS)
            | needs(self.primary.has(primary::TRAP), lack::MTF)
            | needs(self.primary.has(primary::MSR_BITMAPS | primary::IO_BITMAPS), lack::MSR_BITMAPS)
            | needs(efer && pat, lack::LOAD_EFER)
            | needs(ept, lack::EPT);
        if ept {
            missing |= needs(self.ept & INVEPT_ALL == INVEPT_ALL, lack::INVEPT) | needs(self.ept & PAGES_2M != 0, lack::EPT_2M);
        }
        missing
    }

    /// Of a processor with nothing missing.
    pub(super) fn controls(&self) -> Controls {
        let vpid = if self.tags() { secondary::VPID } else { 0 };
        Controls {
            pin: self.pin.with(pin::NMI | pin::VIRTUAL_NMI, 0),
            primary: self
                .primary
                .with(primary::TSC_OFFSET | primary::IO_BITMAPS | primary::MSR_BITMAPS | primary::SECONDARY, 0),
            // Instructions that the guest has and that are undefined unless they are allowed here.
            secondary: self
                .secondary
                .with(secondary::EPT | vpid, secondary::RDTSCP | secondary::INVPCID | secondary::XSAVES | secondary::WAIT),
            exit: self.exit.with(
                leaving::SAVE_DEBUG
                    | leaving::LONG_HOST
                    | leaving::SAVE_PAT
                    | leaving::LOAD_PAT
                    | leaving::SAVE_EFER
                    | leaving::LOAD_EFER,
                0,
            ),
            entry: self.entry.with(entering::LOAD_DEBUG | entering::LONG_GUEST | entering::LOAD_PAT | entering::LOAD_EFER, 0),
        }
    }

    /// What the first word of a structure holds.
    #[expect(clippy::cast_possible_truncation, reason = "bits 0 to 30")]
    pub(super) fn revision(&self) -> u32 {
        self.basic as u32 & !(1 << 31)
    }

    /// Bits of CR0 that are set while the extension is on.
    pub(super) fn fixed(&self) -> u64 {
        self.cr0_must
    }

    /// Whether translations are tagged, so that an exit forgets none.
    pub(super) fn tags(&self) -> bool {
        self.secondary.has(secondary::VPID) && self.ept & INVVPID_ALL == INVVPID_ALL
    }

    /// Whether a page can be executed and not read,
    pub(super) fn execute_only(&self) -> bool {
        self.ept & EXECUTE_ONLY != 0
    }

    /// and whether one entry may be 1 GiB.
    pub(super) fn gib_pages(&self) -> bool {
        self.ept & PAGES_1G != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Bochs tells of its Skylake-X, as far as it matters.
    fn whole() -> Capabilities {
        let all = |must| Allowed { must, may: u32::MAX };
        Capabilities {
            basic: TRUE_CONTROLS | 0x2b,
            pin: all(0x16),
            primary: all(0x0400_6172),
            secondary: all(0),
            exit: all(0x3_6dfb),
            entry: all(0x11fb),
            ept: EXECUTE_ONLY | WALK_4 | WRITE_BACK | PAGES_2M | PAGES_1G | INVEPT_ALL | INVVPID_ALL,
            ..Capabilities::default()
        }
    }

    /// Would catch a processor that is entered though something is missing, or refused for the wrong thing.
    #[test]
    fn what_is_missing_is_named_and_nothing_else() {
        assert_eq!(whole().missing(), 0);
        assert_eq!(Capabilities { basic: 0x2b, ..whole() }.missing(), lack::TRUE_CONTROLS);
        let without = |bits: u32| Allowed { must: 0, may: !bits };
        for (less, named) in [
            (Capabilities { pin: without(pin::VIRTUAL_NMI), ..whole() }, lack::VIRTUAL_NMIS),
            (Capabilities { primary: without(primary::TRAP), ..whole() }, lack::MTF),
            (Capabilities { primary: without(primary::MSR_BITMAPS), ..whole() }, lack::MSR_BITMAPS),
            (Capabilities { exit: without(leaving::LOAD_EFER), ..whole() }, lack::LOAD_EFER),
            (Capabilities { secondary: without(secondary::EPT), ..whole() }, lack::EPT),
            (Capabilities { ept: whole().ept & !WRITE_BACK, ..whole() }, lack::EPT),
            (Capabilities { ept: whole().ept & !(1 << 26), ..whole() }, lack::INVEPT),
            (Capabilities { ept: whole().ept & !PAGES_2M, ..whole() }, lack::EPT_2M),
        ] {
            assert_eq!(less.missing(), named);
        }
        let old = Capabilities { ept: whole().ept & !(PAGES_1G | EXECUTE_ONLY | INVVPID_ALL), ..whole() };
        assert_eq!((old.missing(), old.tags(), old.gib_pages(), old.execute_only()), (0, false, false, false));
        assert_eq!(old.controls().secondary & secondary::VPID, 0);
    }

    /// Would catch an entry that fails for a control that must be set, and loads and stores of CR3 that exit for nothing.
    #[test]
    fn controls_are_what_must_be_and_what_is_wanted() {
        let controls = whole().controls();
        assert_eq!(controls.pin, 0x16 | 0x28);
        assert_eq!(controls.primary & 0x0400_6172, 0x0400_6172);
        assert_eq!(controls.primary & (primary::RDTSC | primary::TRAP | 3 << 15), 0);
        assert_eq!(controls.secondary, 0x0410_102a);
    }
}
