//! The MSR and the I/O bitmaps (SDM3 25.6.9 "MSR-Bitmap Address", 25.6.4 "I/O-Bitmap Addresses"), shared by all cores.

use super::msr;
use crate::arch::MsrAccess;
use crate::arch::shared::{Permissions, Ports};
use crate::arch::x86::{self, direct::Frame};

/// Registers that root needs or hides, whoever else watches; and those that tell what the extension can do.
const OWN: [u32; 3] = [x86::msr::EFER, msr::FEATURE_CONTROL, x86::msr::TSC_DEADLINE];
const CAPABILITIES: core::ops::RangeInclusive<u32> = msr::CAPABILITIES_FIRST..=msr::CAPABILITIES_LAST;
/// Words of one part: 8192 registers.
const PART_WORDS: usize = 128;

/// One frame for MSRs (reads of low ones, of high ones, writes of low ones, of high ones), two for ports.
#[derive(Debug)]
pub struct Maps {
    msr: Frame,
    io: Ports<[Frame; 2]>,
}

impl Maps {
    /// Fills the maps. The frames are cleared.
    #[must_use]
    pub fn new(msr: Frame, io: [Frame; 2]) -> Maps {
        let maps = Maps { msr, io: Ports::new(io) };
        maps.watch(MsrAccess::Read, false, &[]);
        maps.watch(MsrAccess::Write, false, &[]);
        maps
    }

    /// Physical address of the MSR bitmap.
    #[must_use]
    pub fn msr_pa(&self) -> u64 {
        self.msr.pa()
    }

    /// Physical addresses of both I/O bitmaps.
    #[must_use]
    pub fn io_pa(&self) -> [u64; 2] {
        self.io.map().each_ref().map(Frame::pa)
    }
}

impl Permissions for Maps {
    type Map = [Frame; 2];

    fn ports(&self) -> &Ports<[Frame; 2]> {
        &self.io
    }

    fn ports_mut(&mut self) -> &mut Ports<[Frame; 2]> {
        &mut self.io
    }

    /// One way of using these registers, or every register, comes to root; of others it no longer does, but for root's own.
    /// Each word of the map is written once, with what it shall be: the processor never sees less.
    fn watch(&self, access: MsrAccess, all: bool, registers: &[u32]) {
        let parts = match access {
            MsrAccess::Read => 0,
            MsrAccess::Write => 2,
        };
        for part in 0..2 {
            for slot in 0..PART_WORDS {
                let place = part * PART_WORDS + slot;
                let of = |register: u32| place_of(register).filter(|(word, _)| *word == place).map(|(_, bit)| bit);
                let wanted = registers.iter().copied().chain(OWN).chain(CAPABILITIES);
                let wanted = wanted.filter_map(of).fold(0, |word, bit| word | bit);
                self.msr.set(parts * PART_WORDS + place, if all { u64::MAX } else { wanted });
            }
        }
    }
}

/// Word and bit of a register among those that are read; the processor exits for every register that has none by itself.
fn place_of(register: u32) -> Option<(usize, u64)> {
    let (part, index) = match register {
        0..=0x1fff => (0, register),
        0xc000_0000..=0xc000_1fff => (PART_WORDS, register - 0xc000_0000),
        _ => return None,
    };
    Some((part + index as usize / 64, 1 << (index % 64)))
}

#[cfg(test)]
#[expect(unsafe_code, reason = "frames of the tests' own RAM")]
mod tests {
    use super::*;
    use crate::arch::x86::direct::{self, arena};

    /// Would catch a register or port whose accesses do not come to root, or a neighbour whose do.
    #[test]
    fn watched_registers_and_ports_are_the_bits_the_manual_says() {
        // SAFETY: the arena hands out each frame once.
        let frame = || unsafe { Frame::claim(arena::run(1).unwrap()) };
        let mut maps = Maps::new(frame(), [frame(), frame()]);
        let byte = |pa: u64| {
            let mut byte = [0];
            assert!(direct::copy_out(pa, &mut byte));
            byte[0]
        };
        // EFER is 0xc000_0080: bit 0x80 of the second and of the fourth KiB.
        let high = |maps: &Maps| [1, 3].map(|kib| byte(maps.msr_pa() + kib * 1024 + 0x10));
        assert_eq!(high(&maps), [1, 1]);
        // The registers of the extension, 0x480 to 0x493, and the one that allows it, 0x3a.
        let low = |kib: u64, register: u64| byte(maps.msr_pa() + kib * 1024 + register / 8);
        assert_eq!([0, 2].map(|kib| [low(kib, 0x480), low(kib, 0x490), low(kib, 0x38)]), [[0xff, 0x0f, 4]; 2]);
        // LSTAR 0xc000_0082 shares EFER's byte: reads of both, then of EFER alone; writes are another matter.
        maps.watch(MsrAccess::Read, false, &[0xc000_0082, 0x4000_0000]);
        assert_eq!(high(&maps), [5, 1]);
        maps.watch(MsrAccess::Write, true, &[]);
        assert_eq!((high(&maps), byte(maps.msr_pa() + 0xfff)), ([5, 0xff], 0xff));
        maps.watch(MsrAccess::Read, false, &[]);
        maps.watch(MsrAccess::Write, false, &[]);
        assert_eq!(high(&maps), [1, 1]);
        let port = |maps: &Maps, port: u64| byte(maps.io_pa()[usize::from(port >= 0x8000)] + (port & 0x7fff) / 8);
        let bytes = |maps: &Maps| [0x2f0, 0x2f8, 0x300, 0x8000, 0xffff].map(|at| port(maps, at));
        maps.ports_mut().own(0x2fd, 1);
        assert_eq!(bytes(&maps), [0, 1 << 5, 0, 0, 0]);
        maps.ports().watch(false, &[0x2f8, 0x300, 0xffff, 0x8007]);
        assert_eq!(bytes(&maps), [0, 1 << 5 | 1, 1, 1 << 7, 1 << 7]);
        maps.ports().watch(true, &[]);
        assert_eq!(bytes(&maps), [0xff; 5]);
        maps.ports().watch(false, &[]);
        assert_eq!(bytes(&maps), [0, 1 << 5, 0, 0, 0], "root's own stays");
    }
}
