//! The MSR and the I/O permission map (APM2 15.11 "MSR Intercepts", 15.10 "IOIO Intercepts"), shared by all cores.

use super::msr;
use crate::arch::x86::{self, direct::Frame};

const LOW: u64 = 0;
const C000: u64 = 0x800;
const C001: u64 = 0x1000;

/// Two frames for MSRs and three for ports, each run contiguous.
#[derive(Debug)]
pub struct Maps {
    msr: [Frame; 2],
    io: [Frame; 3],
}

impl Maps {
    /// Fills the maps. `io` and `msr` are physically contiguous, cleared.
    #[must_use]
    pub fn new(msr: [Frame; 2], io: [Frame; 3]) -> Maps {
        debug_assert!(msr[1].pfn() == msr[0].pfn() + 1 && io[1].pfn() == io[0].pfn() + 1 && io[2].pfn() == io[0].pfn() + 2);
        let maps = Maps { msr, io };
        for register in [x86::msr::EFER, msr::VM_CR, msr::VM_HSAVE_PA, x86::msr::TSC_DEADLINE] {
            maps.watch_msr(register);
        }
        maps
    }

    /// Physical address of the MSR map.
    #[must_use]
    pub fn msr_pa(&self) -> u64 {
        self.msr[0].pa()
    }

    /// Physical address of the I/O map.
    #[must_use]
    pub fn io_pa(&self) -> u64 {
        self.io[0].pa()
    }

    /// Reads and writes of a register come to root.
    pub fn watch_msr(&self, register: u32) {
        let (area, index) = match register {
            0..=0x1fff => (LOW, register),
            0xc000_0000..=0xc000_1fff => (C000, register - 0xc000_0000),
            0xc001_0000..=0xc001_1fff => (C001, register - 0xc001_0000),
            // The processor exits for every other register by itself.
            _ => return,
        };
        set(&self.msr, area * 8 + u64::from(index) * 2, 3);
    }

    /// Every access to a port comes to root.
    pub fn watch_port(&self, port: u16) {
        set(&self.io, u64::from(port), 1);
    }
}

fn set(frames: &[Frame], bit: u64, bits: u64) {
    let word = usize::try_from(bit / 64).unwrap_or(usize::MAX);
    if let Some(frame) = frames.get(word / 512) {
        frame.set(word % 512, frame.get(word % 512) | bits << (bit % 64));
    }
}
