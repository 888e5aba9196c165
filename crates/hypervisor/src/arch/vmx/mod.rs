//! Intel: virtual machine extensions (SDM volume 3, 325384-085, chapters 24 to 31).

mod capabilities;
mod check;
mod control;
mod core;
mod debug;
mod deliver;
mod enter;
pub mod ept;
mod exits;
mod faults;
mod field;
mod interrupts;
mod leave;
mod maps;
pub mod mtrr;
mod near;
mod run;
mod saved;
mod step;
mod vmcs;

pub use self::core::Vmx;
pub use enter::Intel;

/// Registers of the extension.
pub mod msr {
    /// What the firmware allows; locked until the next reset.
    pub const FEATURE_CONTROL: u32 = 0x3a;
    /// The first of those that tell what the extension can do,
    pub const CAPABILITIES_FIRST: u32 = 0x480;
    /// and the last.
    pub const CAPABILITIES_LAST: u32 = 0x493;
    /// Debug controls.
    pub const DEBUGCTL: u32 = 0x1d9;
}

/// CR4 bit 13, VMXE.
pub const CR4_VMXE: u64 = 1 << 13;

/// Whether this processor is of the vendor.
#[must_use]
pub fn is_here() -> bool {
    let vendor = super::x86::cpuid(0, 0);
    // "GenuineIntel".
    (vendor.ebx, vendor.edx, vendor.ecx) == (0x756e_6547, 0x4965_6e69, 0x6c65_746e)
}
