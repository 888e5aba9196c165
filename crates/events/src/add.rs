//! What is registered, and every refusal.
//!
//! **Holds always**
//! - A1: nothing is taken before the request is sound and its program is verified.
//! - A2: event and buffer are one cost on one ticket; whatever fails, the ticket and the slot go back.
//! - A3: what fits a regular unit gets one; a big one only if no regular one is free (as documented). If there is no big
//!   one either, the refusal speaks of the regular one: more of those are cheaper.
//!
//! **Callers**: root, any core, all at once. **Cost**: O(slots + words of the program). **Proof**: `tests/refusals.rs`.

use crate::code::{bytes_of, returns, staged_words};
use crate::guard::Guard;
use crate::limits::{
    BIG_BUFFER_BYTES, BIG_CONDITION_BYTES, BIG_PROGRAM_BYTES, EXCEPTION_VECTOR_MAX, INTERRUPT_VECTORS, REGULAR_BUFFER_BYTES,
    REGULAR_CONDITION_BYTES, REGULAR_PROGRAM_BYTES,
};
use crate::slot::{Slot, gate, join, phase};
use crate::{Memory, Reserve, Table};
use abi::boot::CORES_MAX;
use abi::code;
use abi::kind::Kind;
use abi::request::{EventAnswer, EventAsk, event};
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use reserve::{Core, Cost, Extent, FRAME_BYTES, Handle, Owner, Refusal};
use script_vm::limits::{DATA_BYTES, GLOBALS_DEFAULT};
use script_vm::{Layout, Limits, Rejected, verify};

/// What the verifier is told: root has as many cells and as much data for each core.
const LIMITS: Limits = Limits { words: abi::request::PROGRAM_WORDS_MAX, globals: GLOBALS_DEFAULT, data: DATA_BYTES };

/// An event that was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its id.
    pub id: u32,
    /// The unit that it got.
    pub unit: Kind,
    /// The unit that its buffer got.
    pub buffer: Option<Kind>,
}

/// Why an event was not registered; nothing was taken. Numbers that a code does not concern are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotAdded {
    /// One of [`code`].
    pub code: u32,
    /// The kind of unit that it lacked.
    pub unit: u32,
    /// Units of that asked; with EVENTS_FULL: events.
    pub asked: u64,
    /// ... free,
    pub free: u64,
    /// ... and reserved.
    pub reserved: u64,
    /// Bytes that were asked for: of the program, or of the buffer.
    pub bytes: u64,
    /// Bytes that there could be at most.
    pub bytes_most: u64,
    /// [`rejected_number`].
    pub rejected: u64,
}

impl From<Added> for EventAnswer {
    fn from(added: Added) -> Self {
        EventAnswer { id: added.id, unit: added.unit as u32, ..EventAnswer::default() }
    }
}

impl From<NotAdded> for EventAnswer {
    fn from(not: NotAdded) -> Self {
        let NotAdded { code: _, unit, asked, free, reserved, bytes, bytes_most, rejected } = not;
        EventAnswer { id: event::ALL, unit, asked, free, reserved, bytes, bytes_most, rejected }
    }
}

/// What the verifier says, as answers carry it: `what | where << 32`, in the order of [`Rejected`] from 1 on.
#[must_use]
pub fn rejected_number(why: Rejected) -> u64 {
    let (what, at) = match why {
        Rejected::TooLong { words } => (1, u32::try_from(words).unwrap_or(u32::MAX)),
        Rejected::Header => (2, 0),
        Rejected::Globals { asked } => (3, asked.into()),
        Rejected::Function { number } => (4, number),
        Rejected::Instruction { at } => (5, at),
        Rejected::Padding => (6, 0),
    };
    join(what, at)
}

const fn refuse(code: u32) -> NotAdded {
    NotAdded { code, unit: 0, asked: 0, free: 0, reserved: 0, bytes: 0, bytes_most: 0, rejected: 0 }
}

/// The units of one event.
struct Units {
    /// A breakpoint has none: what it takes is its hook's.
    event: Option<(Kind, Handle, Extent)>,
    buffer: Option<(Kind, Handle, Extent)>,
}

impl Units {
    /// The kind that the event is told to have got.
    fn kind(&self) -> Kind {
        self.event.map_or(Kind::Breakpoint, |(kind, ..)| kind)
    }
}

impl<const EVENTS: usize> Table<EVENTS> {
    /// Registers an event with its program, condition and code, which are staged in this order, enabled. `core` says who
    /// asks.
    ///
    /// # Errors
    /// [`NotAdded`]; nothing was taken.
    pub fn add(
        &self,
        ask: &EventAsk,
        staged: &[u64],
        memory: &impl Memory,
        reserve: &Reserve<'_>,
        core: u32,
    ) -> Result<Added, NotAdded> {
        if matches!(ask.kind, event::MONITOR | event::EPTHOOK | event::EPTHOOK2) {
            return Err(refuse(code::EVENT_INVALID));
        }
        self.add_with(ask, staged, memory, reserve, core, &mut Nothing)
    }

    /// The same, with units of another kind on the same ticket: A2 for all of them.
    ///
    /// # Errors
    /// [`NotAdded`]; nothing was taken.
    pub fn add_with(
        &self,
        ask: &EventAsk,
        staged: &[u64],
        memory: &impl Memory,
        reserve: &Reserve<'_>,
        core: u32,
        more: &mut impl More,
    ) -> Result<Added, NotAdded> {
        check(ask, staged)?;
        let program = staged.get(..ask.program_words as usize).unwrap_or_default();
        let layout = if program.is_empty() { None } else { Some(verified(program)?) };
        let (id, slot) = self.take_slot()?;
        let filled = take_units(ask, reserve, Core(core), Owner(id), more)
            .and_then(|units| fill(id, &units, ask, staged, memory, reserve, Core(core)).map(|()| units));
        let units = filled.inspect_err(|_| slot.gate.store(phase::FREE, SeqCst))?;
        self.publish(slot, ask, program, layout, &units);
        self.ask_and_settle(memory, reserve, core);
        Ok(Added { id, unit: units.kind(), buffer: units.buffer.map(|(kind, ..)| kind) })
    }

    /// The first free slot, for this caller alone (S1).
    fn take_slot(&self) -> Result<(u32, &Slot), NotAdded> {
        let is_free = |slot: &Slot| slot.gate.compare_exchange(phase::FREE, phase::TAKEN, SeqCst, SeqCst).is_ok();
        let full = NotAdded { asked: 1, reserved: EVENTS as u64, ..refuse(code::EVENTS_FULL) };
        (0..).zip(&self.slots).find(|(_, slot)| is_free(slot)).ok_or(full)
    }

    /// Writes all words of an event, then its gate.
    fn publish(&self, slot: &Slot, ask: &EventAsk, program: &[u64], layout: Option<Layout>, units: &Units) {
        let mut its = phase::READY | gate::ENABLED;
        its |= u64::from(ask.stage) << gate::STAGE_SHIFT | u64::from(ask.kind) << gate::KIND_SHIFT;
        let flag = |is: bool, bit: u64| if is { bit } else { 0 };
        its |= flag(ask.flags & event::BREAK != 0, gate::BREAK);
        its |= flag(ask.flags & event::SHORT_CIRCUIT != 0, gate::SHORT_CIRCUIT);
        its |= flag(ask.flags & event::OPTION != 0, gate::BY_OPTION);
        its |= flag(ask.core != event::ALL, gate::BY_CORE) | flag(ask.pid != event::ALL, gate::BY_PID);
        its |= flag(ask.condition_bytes > 0, gate::CONDITION) | flag(ask.code_bytes > 0, gate::CODE);
        its |= flag(ask.flags & event::CODE_FIRST != 0, gate::CODE_FIRST);
        its |= flag(ask.flags & event::BREAKPOINT != 0, gate::BREAKPOINT);
        its |= flag(ask.flags & event::BY_THREAD != 0, gate::BY_THREAD);
        its |= flag(ask.flags & event::TEMPORARY != 0, gate::TEMPORARY);
        if let Some(layout) = layout {
            its |= gate::PROGRAM;
            slot.set_layout(&layout);
            // With a break or a short circuit a miss has an effect, too; and machine code runs whatever the script begins with.
            let has_no_other = its & (gate::BREAK | gate::SHORT_CIRCUIT | gate::CONDITION | gate::CODE) == 0;
            if let Some(guard) = layout.open(program).as_ref().and_then(Guard::of).filter(|_| has_no_other) {
                its |= gate::GUARD;
                slot.register.store(guard.register.into(), Relaxed);
                if let Some((cell, added)) = guard.count {
                    its |= gate::COUNT | u64::from(cell) << gate::CELL_SHIFT;
                    its |= u64::from(added.cast_unsigned()) << gate::ADDED_SHIFT;
                }
                let words = [guard.mask, guard.low, guard.span];
                slot.guard.iter().zip(words).for_each(|(to, word)| to.store(word, Relaxed));
            }
        }
        let words = u32::try_from(program.len()).unwrap_or(0);
        if let Some((_, handle, extent)) = units.event {
            slot.program_pfn.store(extent.pfn, Relaxed);
            slot.program_size.store(join(words, extent.frames), Relaxed);
            slot.handle.store(handle.to_word(), Relaxed);
        }
        slot.code_bytes.store(join(ask.condition_bytes, ask.code_bytes), Relaxed);
        slot.option.store(ask.option, Relaxed);
        slot.who.store(join(ask.core, ask.pid), Relaxed);
        slot.unit.store(units.kind() as u64, Relaxed);
        slot.buffer_bytes.store(ask.buffer_bytes, Relaxed);
        if let Some((_, handle, extent)) = units.buffer {
            slot.buffer_handle.store(handle.to_word(), Relaxed);
            slot.buffer_pfn.store(extent.pfn, Relaxed);
        }
        for count in [&slot.hits, &slot.faults, &slot.last_fault, &slot.lost] {
            count.store(0, Relaxed);
        }
        slot.order.store(self.orders.fetch_add(1, SeqCst), SeqCst);
        // Counted before it is so: who sees it finds it counted.
        self.unsettled.fetch_add(1, SeqCst);
        self.arm(its);
        slot.gate.store(its, SeqCst);
    }
}

/// What can be said without looking at the program.
fn check(ask: &EventAsk, staged: &[u64]) -> Result<(), NotAdded> {
    let option = (ask.flags & event::OPTION != 0).then_some(ask.option);
    let invalid = Err(refuse(code::EVENT_INVALID));
    let both = ask.program_words > 0 && ask.code_bytes > 0;
    let known = event::BREAK | event::SHORT_CIRCUIT | event::OPTION | event::GATHER | event::CODE_FIRST;
    if ask.flags & !(known | event::BREAKPOINT | event::BY_THREAD | event::TEMPORARY) != 0
        || ask.flags & event::CODE_FIRST != 0 && !both
        || ask.flags & event::BREAKPOINT != 0 && !is_breakpoint(ask)
        || ask.flags & event::BY_THREAD != 0 && ask.pid == event::ALL
        || ask.flags & event::TEMPORARY != 0 && ask.flags & event::BREAKPOINT == 0
        || ask.stage == 0
        || ask.stage & !(event::PRE | event::POST) != 0
    {
        return invalid;
    }
    match (ask.kind, option) {
        (event::CPUID | event::MSR_READ | event::MSR_WRITE, Some(option)) if option > u32::MAX.into() => return invalid,
        (event::CPUID | event::MSR_READ | event::MSR_WRITE, _) => {}
        (event::SYSCALL, Some(option)) if option > u32::MAX.into() => return invalid,
        (event::EXCEPTION, Some(vector)) if vector > EXCEPTION_VECTOR_MAX => return Err(refuse(code::EXCEPTION_INVALID)),
        (event::INTERRUPT, Some(vector)) if !INTERRUPT_VECTORS.contains(&vector) => {
            return Err(refuse(code::INTERRUPT_INVALID));
        }
        // A kernel cannot go on behind its own way back.
        (event::SYSRET, None) if ask.flags & event::SHORT_CIRCUIT != 0 => return invalid,
        (event::EXCEPTION | event::INTERRUPT | event::SYSCALL, _) | (event::SYSRET, None) => {}
        (event::PORT_IN | event::PORT_OUT, option) if option.is_none_or(|port| port <= u16::MAX.into()) => {}
        (event::CONTROL_WRITE, option) if option.is_none_or(|option| matches!(option & 0xffff_ffff, 0 | 4)) => {}
        (event::DEBUG_REGISTER, None) => {}
        // The other kinds have no option.
        (event::CPUID..=event::HYPERCALL, None) => {}
        // By its number, which is not the user's.
        (event::MONITOR | event::EPTHOOK | event::EPTHOOK2, Some(number)) if number <= u32::MAX.into() => {}
        _ => return invalid,
    }
    if ask.flags & event::SHORT_CIRCUIT != 0 && ask.stage != event::PRE {
        return Err(refuse(code::SHORT_CIRCUIT_POST));
    }
    if ask.core != event::ALL && ask.core as usize >= CORES_MAX {
        return Err(refuse(code::CORE_INVALID));
    }
    if ask.condition_bytes > BIG_CONDITION_BYTES {
        let (bytes, bytes_most) = (ask.condition_bytes.into(), BIG_CONDITION_BYTES.into());
        return Err(NotAdded { bytes, bytes_most, ..refuse(code::CONDITION_TOO_LARGE) });
    }
    let bytes = bytes_of(ask);
    if bytes > BIG_PROGRAM_BYTES {
        return Err(NotAdded { bytes, bytes_most: BIG_PROGRAM_BYTES, ..refuse(code::PROGRAM_TOO_LARGE) });
    }
    if ask.buffer_bytes > BIG_BUFFER_BYTES {
        let (bytes, bytes_most) = (ask.buffer_bytes, BIG_BUFFER_BYTES);
        return Err(NotAdded { bytes, bytes_most, ..refuse(code::BUFFER_TOO_LARGE) });
    }
    if staged.len() as u64 != staged_words(ask) || !returns(ask, staged) {
        return Err(refuse(code::REQUEST_MALFORMED));
    }
    Ok(())
}

/// Whether it is no more than a breakpoint can be.
fn is_breakpoint(ask: &EventAsk) -> bool {
    let more = event::SHORT_CIRCUIT | event::GATHER | event::CODE_FIRST;
    let halts = ask.flags & event::BREAK != 0 && ask.flags & more == 0 && ask.stage == event::PRE;
    halts && ask.kind == event::EPTHOOK && staged_words(ask) == 0 && ask.buffer_bytes == 0
}

fn verified(program: &[u64]) -> Result<Layout, NotAdded> {
    verify(program, &LIMITS).map_err(|why| NotAdded {
        bytes: 8 * program.len() as u64,
        bytes_most: BIG_PROGRAM_BYTES,
        rejected: rejected_number(why),
        ..refuse(code::PROGRAM_REJECTED)
    })
}

/// One ticket for event and buffer (A2), in the smallest kinds that are free (A3).
fn take_units(
    ask: &EventAsk,
    reserve: &Reserve<'_>,
    core: Core,
    owner: Owner,
    more: &mut impl More,
) -> Result<Units, NotAdded> {
    let (more_kind, more_count) = more.units();
    let bytes = bytes_of(ask);
    let fits = |bytes, most, regular, big| if bytes <= most { regular } else { big };
    let mut unit = fits(bytes, REGULAR_PROGRAM_BYTES, Kind::RegularEvent, Kind::BigEvent);
    if ask.condition_bytes > REGULAR_CONDITION_BYTES {
        unit = Kind::BigEvent;
    }
    let mut buffer = (ask.buffer_bytes > 0)
        .then(|| fits(ask.buffer_bytes, REGULAR_BUFFER_BYTES, Kind::RegularSafeBuffer, Kind::BigSafeBuffer));
    // What each lacked first: the regular one, if it could be one.
    let (mut no_event, mut no_buffer) = (None, None);
    loop {
        let has_unit = ask.flags & event::BREAKPOINT == 0;
        let cost = Cost::NONE.and(unit.index(), has_unit.into());
        let cost = cost.and_then(|cost| buffer.map_or(Ok(cost), |kind| cost.and(kind.index(), 1)));
        let cost = cost.and_then(|cost| cost.and(more_kind.index(), more_count));
        let refusal = match cost.and_then(|cost| reserve.reserve(core, &cost)) {
            Ok(mut ticket) => {
                let mut spend = |kind: Kind| {
                    let handle = ticket.spend(kind.index(), owner)?;
                    Some((kind, handle, reserve.extent(handle).ok()?))
                };
                // The ticket has all that it cost.
                let event = if has_unit { Some(spend(unit).ok_or(refuse(code::UNBALANCED))?) } else { None };
                let buffer = buffer.and_then(&mut spend);
                while let Some((_, handle, extent)) = spend(more_kind) {
                    more.take(owner.0, handle, &extent);
                }
                return Ok(Units { event, buffer });
            }
            Err(refusal) => refusal,
        };
        let short = |kind: Kind, bytes, bytes_most| {
            move |seen: Option<NotAdded>| seen.unwrap_or_else(|| refused(refusal, kind, bytes, bytes_most))
        };
        match refusal {
            Refusal::Short { kind, .. } if kind == unit.index() => {
                let why = short(unit, bytes, BIG_PROGRAM_BYTES)(no_event);
                if unit == Kind::BigEvent {
                    return Err(why);
                }
                (unit, no_event) = (Kind::BigEvent, Some(why));
            }
            Refusal::Short { kind, .. } if buffer.is_some_and(|buffer| kind == buffer.index()) => {
                let lacked = buffer.unwrap_or(Kind::BigSafeBuffer);
                let why = short(lacked, ask.buffer_bytes, BIG_BUFFER_BYTES)(no_buffer);
                if lacked == Kind::BigSafeBuffer {
                    return Err(why);
                }
                (buffer, no_buffer) = (Some(Kind::BigSafeBuffer), Some(why));
            }
            Refusal::Short { kind, .. } if kind == more_kind.index() && more_count > 0 => {
                return Err(refused(refusal, more_kind, 0, 0));
            }
            other => return Err(refused(other, unit, bytes, BIG_PROGRAM_BYTES)),
        }
    }
}

/// Units of another kind that an event takes with its own.
pub trait More {
    /// The kind, which is none of an event's or its buffer's, and how many.
    fn units(&self) -> (Kind, u64);

    /// One of them, for the event of this id. It is the caller's to give back, also if the event is not registered after all.
    fn take(&mut self, id: u32, handle: Handle, extent: &Extent);
}

/// As most events.
struct Nothing;

impl More for Nothing {
    fn units(&self) -> (Kind, u64) {
        (Kind::Monitor, 0)
    }

    fn take(&mut self, _: u32, _: Handle, _: &Extent) {}
}

/// A refusal of the reserve in numbers.
fn refused(refusal: Refusal, unit: Kind, bytes: u64, bytes_most: u64) -> NotAdded {
    match refusal {
        Refusal::Short { asked, free, reserved, .. } => {
            NotAdded { code: code::used_up(unit), unit: unit as u32, asked, free, reserved, bytes, bytes_most, rejected: 0 }
        }
        Refusal::Injected { kind, asked } => {
            let unit = Kind::ALL.get(kind).map_or(unit as u32, |kind| *kind as u32);
            NotAdded { unit, asked, ..refuse(code::INJECTED) }
        }
        // A cost of one unit of a known kind is refused for no other reason.
        _ => refuse(code::UNBALANCED),
    }
}

/// Writes what the event runs and clears the buffer; gives both back if that cannot be.
fn fill(
    id: u32,
    units: &Units,
    ask: &EventAsk,
    staged: &[u64],
    memory: &impl Memory,
    reserve: &Reserve<'_>,
    core: Core,
) -> Result<(), NotAdded> {
    let holds = |extent: &Extent, bytes: u64| bytes <= u64::from(extent.frames).saturating_mul(FRAME_BYTES.into());
    let bytes = bytes_of(ask);
    let fits = |extent: &Extent| holds(extent, bytes) && (staged.is_empty() || memory.fill(extent.pfn, staged));
    let mut filled = units.event.as_ref().map_or(staged.is_empty(), |(_, _, extent)| fits(extent));
    filled = filled && units.buffer.is_some() == (ask.buffer_bytes > 0);
    if let Some((_, _, extent)) = &units.buffer {
        filled = filled && holds(extent, ask.buffer_bytes) && memory.clear(extent.pfn, extent.frames);
    }
    let has_code = ask.condition_bytes > 0 || ask.code_bytes > 0;
    // Last, so that there is nothing to close.
    let opens = || units.event.as_ref().is_some_and(|(_, _, extent)| memory.open_code(id, extent.pfn, bytes));
    if filled && (!has_code || opens()) {
        return Ok(());
    }
    for (_, handle, extent) in units.event.iter().chain(&units.buffer) {
        memory.given_back(extent);
        // Its own, and spent just now.
        let _given = reserve.give(core, *handle);
    }
    Err(refuse(code::UNBALANCED))
}
