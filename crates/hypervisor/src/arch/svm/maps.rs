//! The MSR and the I/O permission map (APM2 15.11 "MSR Intercepts", 15.10 "IOIO Intercepts"), shared by all cores.

use super::msr;
use crate::arch::MsrAccess;
use crate::arch::shared::{Permissions, Ports};
use crate::arch::x86::{self, direct::Frame};

/// Registers that root needs or hides, whoever else watches.
const OWN: [u32; 4] = [x86::msr::EFER, msr::VM_CR, msr::VM_HSAVE_PA, x86::msr::TSC_DEADLINE];
const LOW: u64 = 0;
const C000: u64 = 0x800;
const C001: u64 = 0x1000;

/// Two frames for MSRs and three for ports, each run contiguous.
#[derive(Debug)]
pub struct Maps {
    msr: [Frame; 2],
    io: Ports<[Frame; 3]>,
}

impl Maps {
    /// Fills the maps. `io` and `msr` are physically contiguous, cleared.
    #[must_use]
    pub fn new(msr: [Frame; 2], io: [Frame; 3]) -> Maps {
        debug_assert!(msr[1].pfn() == msr[0].pfn() + 1 && io[1].pfn() == io[0].pfn() + 1 && io[2].pfn() == io[0].pfn() + 2);
        let maps = Maps { msr, io: Ports::new(io) };
        maps.watch(MsrAccess::Read, false, &[]);
        maps.watch(MsrAccess::Write, false, &[]);
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
        self.io.map()[0].pa()
    }
}

impl Permissions for Maps {
    type Map = [Frame; 3];

    fn ports(&self) -> &Ports<[Frame; 3]> {
        &self.io
    }

    fn ports_mut(&mut self) -> &mut Ports<[Frame; 3]> {
        &mut self.io
    }

    /// One way of using these registers, or every register, comes to root; of others it no longer does, but for root's own.
    /// Each word of the map is written once, with what it shall be: the processor never sees less.
    fn watch(&self, access: MsrAccess, all: bool, registers: &[u32]) {
        let bits = match access {
            MsrAccess::Read => 1,
            MsrAccess::Write => 2,
        };
        // 2 bits a register: each word holds 32 of them.
        let every = 0x5555_5555_5555_5555 * bits;
        for (frame, words) in self.msr.iter().zip([0_u64, 512]) {
            for slot in 0..512_usize {
                let first = (words + slot as u64) * 64;
                let of = |register: &u32| bit_of(*register).and_then(|bit| bit.checked_sub(first)).filter(|bit| *bit < 64);
                let wanted = registers.iter().chain(&OWN).filter_map(of).fold(0, |word, bit| word | bits << bit);
                let others = frame.get(slot) & !every;
                frame.set(slot, others | if all { every } else { wanted });
            }
        }
    }
}

/// The first of a register's two bits; the processor exits for every register that has none by itself.
fn bit_of(register: u32) -> Option<u64> {
    let (area, index) = match register {
        0..=0x1fff => (LOW, register),
        0xc000_0000..=0xc000_1fff => (C000, register - 0xc000_0000),
        0xc001_0000..=0xc001_1fff => (C001, register - 0xc001_0000),
        _ => return None,
    };
    Some(area * 8 + u64::from(index) * 2)
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
        let mut maps = Maps::new([claim(m), claim(m + 1)], [claim(i), claim(i + 1), claim(i + 2)]);
        let byte = |pa: u64| {
            let mut byte = [0];
            assert!(direct::copy_out(pa, &mut byte));
            byte[0]
        };
        // EFER is 0xc000_0080: byte 0x800 + 0x80 / 4, lowest two bits (APM2 15.11).
        assert_eq!(byte(maps.msr_pa() + 0x800 + 0x20), 3);
        // VM_CR 0xc001_0114 and VM_HSAVE_PA 0xc001_0117 share a byte.
        assert_eq!(byte(maps.msr_pa() + 0x1000 + 0x45), 0b1100_0011);
        // LSTAR 0xc000_0082 shares EFER's byte: reads of both, then of EFER alone; writes are another matter.
        maps.watch(MsrAccess::Read, false, &[0xc000_0082, 0x4000_0000]);
        assert_eq!(byte(maps.msr_pa() + 0x800 + 0x20), 0b01_0011);
        maps.watch(MsrAccess::Write, true, &[]);
        assert_eq!((byte(maps.msr_pa() + 0x800 + 0x20), byte(maps.msr_pa() + 0x1fff)), (0b1011_1011, 0b1010_1010));
        maps.watch(MsrAccess::Read, false, &[]);
        maps.watch(MsrAccess::Write, false, &[]);
        assert_eq!(byte(maps.msr_pa() + 0x800 + 0x20), 3);
        assert_eq!(byte(maps.msr_pa() + 0x1000 + 0x45), 0b1100_0011);
        let bytes = |maps: &Maps| [0x2f0, 0x2f8, 0x300, 0x8000, 0xffff, 0x1_0000].map(|port| byte(maps.io_pa() + port / 8));
        maps.ports_mut().own(0x2fd, 1);
        assert_eq!(bytes(&maps), [0, 1 << 5, 0, 0, 0, 0]);
        maps.ports().watch(false, &[0x2f8, 0x300, 0xffff, 0x8007]);
        assert_eq!(bytes(&maps), [0, 1 << 5 | 1, 1, 1 << 7, 1 << 7, 0]);
        maps.ports().watch(true, &[]);
        assert_eq!(bytes(&maps), [0xff, 0xff, 0xff, 0xff, 0xff, 0]);
        maps.ports().watch(false, &[]);
        assert_eq!(bytes(&maps), [0, 1 << 5, 0, 0, 0, 0], "root's own stays");
    }
}
