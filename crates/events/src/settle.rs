//! Chains, and giving back: the table is put in order by one core at a time, and nobody waits for it.
//!
//! Who has changed something says so and offers to put the table in order. If another core does that just now, that core
//! looks again before it is done, so the offer may be withdrawn.
//!
//! # When the units of a cleared event are free
//! A core that goes into [`Table::fire`] writes its mark: the moment, plus one. An event that is cleared is taken off its
//! chain (its own link stays, for who stands on it), then the moment advances, then all marks are read. A core whose mark
//! is not seen there reads the chain's links after they were changed, and cannot find the event; one whose mark is younger
//! knew the new moment, and with it the new links. So only older marks matter (E3).
//!
//! **Holds always**
//! - Q1: links are written by the core that has `settling`, alone.
//! - Q2: the marks, the moment and the links are written and read in one order that all cores agree on (`SeqCst`).
//! - Q3: a slot's `next` is not written while a core may stand on it: an event that was cleared keeps it until E3.
//!
//! **Cost**: one load if nothing is to be done; else every slot is looked at, and every mark if events were cleared.
//! **Proof**: `tests/threads.rs`.

use crate::limits::{LOOKS_MAX, TURNS_MAX};
use crate::slot::{Slot, gate, kind_of, phase, phase_of};
use crate::{Memory, Reserve, Table};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed, Ordering::SeqCst};
use reserve::{Core, Handle};

impl<const EVENTS: usize> Table<EVENTS> {
    /// Gives back what was cleared while cores were inside; how many events. Call it after every exit in which an event
    /// fired, and in halts.
    #[inline]
    pub fn settle(&self, memory: &impl Memory, reserve: &Reserve<'_>, core: u32) -> u32 {
        if self.unsettled.load(Relaxed) == 0 { 0 } else { self.try_settle(memory, reserve, core).unwrap_or(0) }
    }

    /// Cleared events whose units are not free yet, and registered ones that are on no chain yet.
    #[must_use]
    pub fn unsettled(&self) -> u32 {
        self.unsettled.load(SeqCst)
    }

    /// Says that there is something to do, and does it, or leaves it to the core that is doing it for long.
    pub(crate) fn ask_and_settle(&self, memory: &impl Memory, reserve: &Reserve<'_>, core: u32) {
        self.asked.fetch_add(1, SeqCst);
        for _ in 0..TURNS_MAX {
            if self.try_settle(memory, reserve, core).is_some() {
                return;
            }
            core::hint::spin_loop();
        }
    }

    /// Puts the table in order; how many events gave their units back. `None`: another core is about it.
    #[cold]
    fn try_settle(&self, memory: &impl Memory, reserve: &Reserve<'_>, core: u32) -> Option<u32> {
        let mut given: u32 = 0;
        for _ in 0..LOOKS_MAX {
            if self.settling.swap(true, SeqCst) {
                return None;
            }
            let asked = self.asked.load(SeqCst);
            self.link_ready();
            self.unlink_dying();
            given = given.saturating_add(self.give_gone(memory, reserve, Core(core)));
            self.settling.store(false, SeqCst);
            if self.asked.load(SeqCst) == asked {
                break;
            }
        }
        Some(given)
    }

    /// Puts what is registered on its chain, in the order of registration.
    fn link_ready(&self) {
        let is_ready = |slot: &Slot| phase_of(slot.gate.load(SeqCst)) == phase::READY;
        for _ in 0..EVENTS {
            let ready = (1..).zip(&self.slots).filter(|(_, slot)| is_ready(slot));
            let Some((link, slot)) = ready.min_by_key(|(_, slot)| slot.order.load(SeqCst)) else { return };
            slot.next.store(0, SeqCst);
            if let Some(end) = self.end_of(kind_of(slot.gate.load(SeqCst))) {
                end.store(link, SeqCst);
            }
            // If it was cleared meanwhile it is dying, and on its chain.
            let live = |gate| (phase_of(gate) == phase::READY).then_some(gate & !gate::PHASE | phase::LIVE);
            if slot.step(live).is_some() {
                self.unsettled.fetch_sub(1, SeqCst);
            }
        }
    }

    /// The last link of a chain.
    fn end_of(&self, kind: u32) -> Option<&AtomicU32> {
        self.links(kind).find(|link| link.load(SeqCst) == 0)
    }

    /// The links of a chain, its head first. It has no more links than slots and a head.
    fn links(&self, kind: u32) -> impl Iterator<Item = &AtomicU32> {
        let head = self.heads.get(kind as usize);
        let after = |link: &&AtomicU32| self.slot(link.load(SeqCst)).map(|(_, slot)| &slot.next);
        core::iter::successors(head, after).take(EVENTS.saturating_add(1))
    }

    /// The slot that a link names, and its number.
    #[inline(always)]
    pub(crate) fn slot(&self, link: u32) -> Option<(u32, &Slot)> {
        let id = link.wrapping_sub(1);
        self.slots.get(id as usize).map(|slot| (id, slot))
    }

    /// Takes what was cleared off its chain.
    fn unlink_dying(&self) {
        let mut any = false;
        for (link, slot) in (1..).zip(&self.slots) {
            let gate = slot.gate.load(SeqCst);
            if phase_of(gate) != phase::DYING {
                continue;
            }
            if let Some(before) = self.links(kind_of(gate)).find(|before| before.load(SeqCst) == link) {
                before.store(slot.next.load(SeqCst), SeqCst);
            }
            // Not earlier than any link was changed; the moment that begins now is the next.
            slot.retired.store(self.moment.load(SeqCst).wrapping_add(1), SeqCst);
            // Only the core that has `settling` takes it from DYING on.
            slot.gate.store(gate & !gate::PHASE | phase::GONE, SeqCst);
            any = true;
        }
        if any {
            self.moment.fetch_add(1, SeqCst);
        }
    }

    /// Gives back the units of what nobody can be inside of.
    fn give_gone(&self, memory: &impl Memory, reserve: &Reserve<'_>, core: Core) -> u32 {
        let is_gone = |slot: &Slot| phase_of(slot.gate.load(SeqCst)) == phase::GONE;
        let mut given: u32 = 0;
        let mut oldest = None;
        for (id, slot) in (0..).zip(&self.slots).filter(|(_, slot)| is_gone(slot)) {
            let oldest = *oldest.get_or_insert_with(|| self.oldest_mark());
            // A mark is its moment plus one.
            if slot.retired.load(SeqCst).wrapping_add(1) > oldest {
                continue;
            }
            if slot.gate.load(SeqCst) & (gate::CONDITION | gate::CODE) != 0 {
                memory.close_code(id);
            }
            let give = |handle: u64| {
                let handle = Handle::from_word(handle);
                if let Ok(extent) = reserve.extent(handle) {
                    memory.given_back(&extent);
                }
                // It is the slot's own until here: nobody else can have given it back.
                let _given = reserve.give(core, handle);
            };
            // What a breakpoint has is its hook's.
            if slot.gate.load(SeqCst) & gate::BREAKPOINT == 0 {
                give(slot.handle.load(SeqCst));
            }
            if slot.buffer_bytes.load(SeqCst) > 0 {
                give(slot.buffer_handle.load(SeqCst));
            }
            slot.gate.store(phase::FREE, SeqCst);
            self.unsettled.fetch_sub(1, SeqCst);
            given = given.saturating_add(1);
        }
        given
    }

    /// The mark of the core that is inside for longest; past all moments if none is.
    fn oldest_mark(&self) -> u64 {
        self.marks.iter().map(|mark| mark.0.load(SeqCst)).filter(|mark| *mark > 0).min().unwrap_or(u64::MAX)
    }
}
