//! What all cores of a vendor share: the nested tables and the permission maps. A vendor keeps one, under its lock.
#![expect(unsafe_code, reason = "frames of the module's blocks become root's")]

use super::nested::Entries;
use super::nested::guarded::Guarded;
use super::nested::open::Open;
use super::x86::direct::{self, Frame};
use super::{Frames, Guard, MsrAccess, NoFrame, Run};
use abi::boot::Block;
use core::ops::Range;

/// Which ports and registers come to root.
pub trait Permissions {
    /// See [`super::Machine::own_ports`].
    fn own_ports(&mut self, first: u16, count: u16);
    /// See [`super::Machine::watch_ports`].
    fn watch_ports(&self, all: bool, ports: &[u16]);
    /// See [`super::Machine::watch_msrs`].
    fn watch(&self, access: MsrAccess, all: bool, registers: &[u32]);
}

/// Fills a map of ports, a bit each: these, or all, and root's own. Each word is written once, with what it shall be: the
/// processor never sees less. The map is 8 KiB, or a third frame behind that stays as it is.
pub fn fill_ports(map: &[Frame], all: bool, ports: &[u16], own: &Range<u16>) {
    for (frame, words) in map.iter().zip([0_u32, 512]) {
        for slot in 0..512_u32 {
            let first = (words + slot) * 64;
            let of = |port: u16| u32::from(port).checked_sub(first).filter(|bit| *bit < 64);
            let wanted = ports.iter().copied().chain(own.clone()).filter_map(of).fold(0, |word, bit| word | 1 << bit);
            frame.set(slot as usize, if all { u64::MAX } else { wanted });
        }
    }
}

/// All of it.
#[derive(Debug)]
pub struct Shared<E: Entries, P> {
    /// Everything but root's own blocks.
    pub open: Open<E>,
    /// And less what monitors keep.
    pub guarded: Guarded<E>,
    /// There are some since `build`.
    pub maps: Option<P>,
}

/// The frame is root's.
pub fn claim(pfn: u64) -> Frame {
    // SAFETY: `Frames` hands out each frame of the module's blocks once (F2), and blocks are hidden from Linux before any
    // core runs under the tables and mapped as long as root runs (F1).
    unsafe { Frame::claim(pfn) }
}

impl<E: Entries, P: Permissions> Shared<E, P> {
    /// Nothing yet. It is large, so it is filled where it lies.
    pub const fn empty() -> Shared<E, P> {
        Shared { open: Open::empty(), guarded: Guarded::empty(), maps: None }
    }

    /// Builds the tables, for physical addresses of so many bits.
    ///
    /// # Errors
    /// [`NoFrame`].
    pub fn build(&mut self, maps: P, bits: u32, frames: &mut Frames) -> Result<(), NoFrame> {
        self.maps = Some(maps);
        self.open.build(bits, direct::end(), &mut || frames(1).map(claim))?;
        // Cleared by the claim; from then on it is known by its number.
        let mut cleared = || frames(1).map(|pfn| claim(pfn).pfn());
        self.guarded.build(self.open.root_pa(), direct::end(), &mut cleared)
    }

    /// See [`super::Machine::own_ports`].
    pub fn own_ports(&mut self, first: u16, count: u16) {
        self.maps.iter_mut().for_each(|maps| maps.own_ports(first, count));
    }

    /// See [`super::Machine::watch_ports`].
    pub fn watch_ports(&self, all: bool, ports: &[u16]) {
        self.maps.iter().for_each(|maps| maps.watch_ports(all, ports));
    }

    /// See [`super::Machine::watch_msrs`].
    pub fn watch_msrs(&self, access: MsrAccess, all: bool, registers: &[u32]) {
        self.maps.iter().for_each(|maps| maps.watch(access, all, registers));
    }

    /// See [`super::Machine::hide`].
    ///
    /// # Errors
    /// [`NoFrame`].
    pub fn hide(&mut self, block: Block, frames: &mut Frames) -> Result<(), NoFrame> {
        let hidden = self.open.hide(block, &mut || frames(1).map(claim));
        // A refused one may have divided a large page.
        self.guarded.follow(block);
        hidden
    }

    /// See [`super::Machine::show`].
    pub fn show(&mut self, block: Block) {
        self.open.show(block);
        self.guarded.follow(block);
    }

    /// See [`super::Machine::guard`].
    pub fn guard(&self, run: Run, guard: Guard, frames: [u64; 2]) {
        self.guarded.guard(run, guard, frames);
    }

    /// See [`super::Machine::release`].
    pub fn release(&self, run: Run, frames: [u64; 2], frames_of: &mut dyn FnMut(Run) -> Option<[u64; 2]>) {
        self.guarded.release(run, frames, frames_of);
    }
}
