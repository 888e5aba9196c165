//! All slots: what there is, enable and disable.
//!
//! An event's id is the number of its slot, so the smallest unused id is the first free slot.
//!
//! **Callers**: root, any core, all at once, in an NMI too. **Cost**: [`Table::armed`] is one load; [`Table::change`] and
//! [`Table::rows`] look at every slot. **Proof**: `tests/model.rs`, `tests/threads.rs`.

use crate::limits::{EVENTS_MAX, KINDS};
use crate::slot::{Slot, gate, high, is_there, join, kind_of, low, phase, phase_of};
use crate::{Memory, Reserve};
use abi::boot::CORES_MAX;
use abi::code;
use abi::request::{EVENT_ROWS_MAX, EventRow, Events, event};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

/// An event in the count of each stage that it fires in.
const fn stages(gate: u64) -> u64 {
    let stage = low(gate >> gate::STAGE_SHIFT);
    join((stage & event::PRE != 0) as u32, (stage & event::POST != 0) as u32)
}

/// One core's mark, on a line of its own: 0 outside of events, else the moment at which it went in, plus one.
#[repr(align(64))]
pub struct Mark(pub(crate) AtomicU64);

/// A fixed table of events. A static: it begins as zeros. 256 bytes an event, and 16 KiB.
#[repr(C)]
pub struct Table<const EVENTS: usize> {
    /// First, so that a slot is found without an offset.
    pub(crate) slots: [Slot; EVENTS],
    pub(crate) marks: [Mark; CORES_MAX],
    /// The first of each kind, as number plus one; 0: none.
    pub(crate) heads: [AtomicU32; KINDS],
    /// Enabled events of each kind: before the instruction, and in the upper half behind it.
    pub(crate) armed: [AtomicU64; KINDS],
    /// Counts how often events were taken off chains.
    pub(crate) moment: AtomicU64,
    /// Slots that are READY, DYING or GONE: [`Table::settle`] has something to do.
    pub(crate) unsettled: AtomicU32,
    /// Counts who has left something for [`Table::settle`] to do.
    pub(crate) asked: AtomicU64,
    /// Some core puts the table in order.
    pub(crate) settling: AtomicBool,
    /// Counts registrations.
    pub(crate) orders: AtomicU64,
}

impl<const EVENTS: usize> Default for Table<EVENTS> {
    fn default() -> Self {
        Table::new()
    }
}

impl<const EVENTS: usize> Table<EVENTS> {
    /// A table without events.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(EVENTS > 0 && EVENTS <= EVENTS_MAX, "a link is 32 bits") }
        Table {
            slots: [const { Slot::new() }; EVENTS],
            heads: [const { AtomicU32::new(0) }; KINDS],
            armed: [const { AtomicU64::new(0) }; KINDS],
            marks: [const { Mark(AtomicU64::new(0)) }; CORES_MAX],
            moment: AtomicU64::new(0),
            unsettled: AtomicU32::new(0),
            asked: AtomicU64::new(0),
            settling: AtomicBool::new(false),
            orders: AtomicU64::new(0),
        }
    }

    /// Whether some event of this kind is enabled: else [`Table::fire`] would do nothing.
    #[inline(always)]
    #[must_use]
    pub fn armed(&self, kind: u32) -> bool {
        self.armed.get(kind as usize).is_some_and(|armed| armed.load(Relaxed) > 0)
    }

    /// The mark of a core: cores of one number modulo [`CORES_MAX`] would take each other for themselves (F2).
    #[must_use]
    pub fn mark(&self, core: u32) -> &Mark {
        &self.marks[core as usize % CORES_MAX]
    }

    /// Whether some enabled event of this kind fires behind the instruction.
    #[inline]
    #[must_use]
    pub fn armed_behind(&self, kind: u32) -> bool {
        self.armed.get(kind as usize).is_some_and(|armed| high(armed.load(Relaxed)) > 0)
    }

    /// Calls `each` with the option of every enabled event of a kind, `None` for one that takes all: what the processor
    /// must be told to intercept.
    pub fn options(&self, kind: u32, mut each: impl FnMut(Option<u64>)) {
        for slot in &self.slots {
            let order = slot.order.load(SeqCst);
            let before = slot.gate.load(SeqCst);
            let option = slot.option.load(SeqCst);
            let same = slot.gate.load(SeqCst) == before && slot.order.load(SeqCst) == order;
            if same && is_there(before) && before & gate::ENABLED != 0 && kind_of(before) == kind {
                each((before & gate::BY_OPTION != 0).then_some(option));
            }
        }
    }

    /// Whether the event of this id that filters by this option is enabled; `None` if it is none, or cleared.
    pub fn state(&self, id: u32, kind: u32, option: u64) -> Option<bool> {
        let slot = self.slots.get(id as usize)?;
        let gate = slot.gate.load(SeqCst);
        let is_it = is_there(gate) && kind_of(gate) == kind && slot.option.load(SeqCst) == option;
        is_it.then_some(gate & gate::ENABLED != 0)
    }

    /// Whether the event of this id is a breakpoint.
    pub fn is_breakpoint(&self, id: u32) -> bool {
        let gate = self.slots.get(id as usize).map_or(0, |slot| slot.gate.load(SeqCst));
        is_there(gate) && gate & gate::BREAKPOINT != 0
    }

    /// Enables, disables or clears one event, or [`event::ALL`], [`event::ALL_BREAKPOINTS`], [`event::ALL_TEMPORARY`]; how many it
    /// concerned.
    ///
    /// A disabled or cleared event is asked no more; a core that runs its program just now ends that run. What was cleared
    /// gives its units back at once if no core is inside an event, else when those have left ([`Table::settle`]).
    ///
    /// # Errors
    /// [`code::NO_SUCH_EVENT`]; [`code::REQUEST_MALFORMED`] if `what` is none of the three.
    pub fn change(&self, what: u32, id: u32, memory: &impl Memory, reserve: &Reserve<'_>, core: u32) -> Result<u32, u32> {
        let change = match what {
            event::ENABLE => Self::enable,
            event::DISABLE => Self::disable,
            event::CLEAR => Self::clear,
            _ => return Err(code::REQUEST_MALFORMED),
        };
        let count = if matches!(id, event::ALL | event::ALL_BREAKPOINTS | event::ALL_TEMPORARY) {
            let are = |slot: &&Slot| {
                let gate = slot.gate.load(SeqCst);
                match id {
                    event::ALL_TEMPORARY => gate & gate::TEMPORARY != 0,
                    _ => (gate & gate::BREAKPOINT != 0) == (id == event::ALL_BREAKPOINTS),
                }
            };
            self.slots.iter().filter(are).map(|slot| u32::from(change(self, slot))).sum()
        } else {
            let slot = self.slots.get(id as usize).ok_or(code::NO_SUCH_EVENT)?;
            if !change(self, slot) {
                return Err(code::NO_SUCH_EVENT);
            }
            1
        };
        if what == event::CLEAR && count > 0 {
            self.ask_and_settle(memory, reserve, core);
        }
        Ok(count)
    }

    fn enable(&self, slot: &Slot) -> bool {
        let Some(before) = slot.step(|gate| is_there(gate).then_some(gate | gate::ENABLED)) else { return false };
        if before & gate::ENABLED == 0 {
            self.arm(before);
        }
        true
    }

    fn disable(&self, slot: &Slot) -> bool {
        let Some(before) = slot.step(|gate| is_there(gate).then_some(gate & !gate::ENABLED)) else { return false };
        self.disarm(before);
        true
    }

    fn clear(&self, slot: &Slot) -> bool {
        // Counted before it is so: who sees it dying finds it counted.
        self.unsettled.fetch_add(1, SeqCst);
        let dying = |gate| is_there(gate).then_some(gate & !(gate::ENABLED | gate::PHASE) | phase::DYING);
        let before = slot.step(dying);
        if before.is_none_or(|gate| phase_of(gate) == phase::READY) {
            self.unsettled.fetch_sub(1, SeqCst);
        }
        let Some(before) = before else { return false };
        self.disarm(before);
        true
    }

    /// Counts an event that is enabled now, by its gate.
    pub(crate) fn arm(&self, gate: u64) {
        if let Some(armed) = self.armed.get(kind_of(gate) as usize) {
            armed.fetch_add(stages(gate), SeqCst);
        }
    }

    /// Counts an event that is enabled no more, if it was.
    fn disarm(&self, before: u64) {
        if let Some(armed) = self.armed.get(kind_of(before) as usize)
            && before & gate::ENABLED != 0
        {
            armed.fetch_sub(stages(before), SeqCst);
        }
    }

    /// Events from an id on, as [`abi::request::op::EVENTS`] answers.
    #[must_use]
    pub fn rows(&self, from: u32) -> Events {
        self.rows_with(from, |_| {})
    }

    /// The same, with what somebody else knows of each.
    pub fn rows_with(&self, from: u32, mut more: impl FnMut(&mut EventRow)) -> Events {
        let mut events = Events { count: 0, more: 0, rows: [EventRow::default(); EVENT_ROWS_MAX] };
        let mut rows = events.rows.iter_mut();
        for (id, slot) in (0..).zip(&self.slots).skip(from as usize) {
            let Some(row) = Self::row(id, slot) else { continue };
            let Some(to) = rows.next() else {
                events.more = 1;
                break;
            };
            *to = row;
            more(to);
            events.count = events.count.saturating_add(1);
        }
        events
    }

    /// What is known of one event; `None` if it is none, or ceased to be the same meanwhile.
    fn row(id: u32, slot: &Slot) -> Option<EventRow> {
        let order = slot.order.load(SeqCst);
        let gate = slot.gate.load(SeqCst);
        let row = EventRow {
            id,
            kind: kind_of(gate),
            enabled: u32::from(gate & gate::ENABLED != 0),
            unit: low(slot.unit.load(SeqCst)),
            hits: slot.hits.load(SeqCst),
            faults: slot.faults.load(SeqCst),
            last_fault: slot.last_fault.load(SeqCst),
            lost: slot.lost.load(SeqCst),
        };
        let same = slot.order.load(SeqCst) == order && is_there(slot.gate.load(SeqCst));
        (is_there(gate) && same).then_some(row)
    }

    /// Counts messages of an event that were lost.
    pub fn count_lost(&self, id: u32, messages: u64) {
        if let Some(slot) = self.slots.get(id as usize) {
            slot.lost.fetch_add(messages, Relaxed);
        }
    }
}
