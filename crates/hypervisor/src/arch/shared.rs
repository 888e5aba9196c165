//! What all cores of a vendor share: the nested tables and the permission maps. A vendor keeps one, under its lock.
#![expect(unsafe_code, reason = "frames of the module's blocks become root's")]

use super::nested::Entries;
use super::nested::guarded::Guarded;
use super::nested::open::Open;
use super::x86::direct::{self, Frame};
use super::{Frames, Guard, MsrAccess, NoFrame, Run};
use abi::boot::Block;
use core::ops::Range;

/// Which registers come to root, in a vendor's format; and which ports.
pub trait Permissions {
    /// Frames of the map of ports.
    type Map: AsRef<[Frame]>;

    /// See [`super::Machine::watch_msrs`].
    fn watch(&self, access: MsrAccess, all: bool, registers: &[u32]);
    /// The ports.
    fn ports(&self) -> &Ports<Self::Map>;
    /// To change which are root's own.
    fn ports_mut(&mut self) -> &mut Ports<Self::Map>;
}

/// Which ports come to root: a bit each, 8 KiB, and behind that what one vendor's processors look at with the last port, which stays 0.
#[derive(Debug)]
pub struct Ports<M> {
    map: M,
    /// Ports of root's own.
    own: Range<u16>,
}

impl<M: AsRef<[Frame]>> Ports<M> {
    /// None, in these frames, which are cleared.
    pub fn new(map: M) -> Ports<M> {
        Ports { map, own: 0..0 }
    }

    /// Its frames.
    pub fn map(&self) -> &M {
        &self.map
    }

    /// Every access to these ports comes to root for good.
    pub fn own(&mut self, first: u16, count: u16) {
        self.own = first..first.saturating_add(count);
        self.watch(false, &[]);
    }

    /// Accesses to these ports, or to every port, come to root; those to others no longer do, but for root's own. Each word is written
    /// once, with what it shall be: the processor never sees less.
    pub fn watch(&self, all: bool, ports: &[u16]) {
        for (frame, words) in self.map.as_ref().iter().zip([0_u32, 512]) {
            for slot in 0..512_u32 {
                let first = (words + slot) * 64;
                let of = |port: u16| u32::from(port).checked_sub(first).filter(|bit| *bit < 64);
                let wanted = ports.iter().copied().chain(self.own.clone()).filter_map(of).fold(0, |word, bit| word | 1 << bit);
                frame.set(slot as usize, if all { u64::MAX } else { wanted });
            }
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
        self.maps.iter_mut().for_each(|maps| maps.ports_mut().own(first, count));
    }

    /// See [`super::Machine::watch_ports`].
    pub fn watch_ports(&self, all: bool, ports: &[u16]) {
        self.maps.iter().for_each(|maps| maps.ports().watch(all, ports));
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
