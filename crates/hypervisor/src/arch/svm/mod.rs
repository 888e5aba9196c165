//! AMD: secure virtual machine (APM2 chapter 15, 24593 revision 3.42).

mod control;
mod core;
mod debug;
mod enter;
mod executed;
mod faults;
mod interrupts;
mod leave;
mod maps;
mod near;
pub(in crate::arch) mod npt;
mod run;
mod saved;
mod step;
mod vmcb;

pub use self::core::Svm;
pub use enter::Amd;

/// Registers of the extension.
pub mod msr {
    /// SVM switches; bit 4 is SVMDIS.
    pub const VM_CR: u32 = 0xc001_0114;
    /// Where the host's state is saved while the guest runs.
    pub const VM_HSAVE_PA: u32 = 0xc001_0117;
}

/// EFER bit 12, SVME.
pub const EFER_SVME: u64 = 1 << 12;
