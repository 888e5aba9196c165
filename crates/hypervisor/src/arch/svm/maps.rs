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

#[cfg(test)]
#[expect(unsafe_code, reason = "frames of the tests' own RAM")]
mod tests {
    use super::*;
    use crate::arch::x86::direct::{self, arena};

    /// Would catch a register whose accesses do not come to root, or a neighbour whose do.
    #[test]
    fn watched_registers_and_ports_are_the_bits_the_manual_says() {
        let (m, i) = (arena::run(2).unwrap(), arena::run(3).unwrap());
        // SAFETY: the arena hands out each frame once.
        let claim = |pfn| unsafe { Frame::claim(pfn) };
        let maps = Maps::new([claim(m), claim(m + 1)], [claim(i), claim(i + 1), claim(i + 2)]);
        let byte = |pa: u64| {
            let mut byte = [0];
            assert!(direct::copy_out(pa, &mut byte));
            byte[0]
        };
        // EFER is 0xc000_0080: byte 0x800 + 0x80 / 4, lowest two bits (APM2 15.11).
        assert_eq!(byte(maps.msr_pa() + 0x800 + 0x20), 3);
        // VM_CR 0xc001_0114 and VM_HSAVE_PA 0xc001_0117 share a byte.
        assert_eq!(byte(maps.msr_pa() + 0x1000 + 0x45), 0b1100_0011);
        maps.watch_msr(0x4000_0000);
        maps.watch_port(0x2fd);
        assert_eq!(byte(maps.io_pa() + 0x2f8 / 8), 1 << 5);
        assert_eq!(byte(maps.io_pa() + 0x2f8 / 8 + 1), 0);
    }
}
