//! Who is asked, in which order, and what comes of it.
//!
//! Each enabled event of the kind, in the order of registration: core, process, option and stage must be the event's own;
//! then its condition, if it has machine code for one. What passes is a hit. Then its guard, what it does (program and
//! machine code, in the order in which they were written), and its break. Filters have no effects, so that the cheapest is
//! asked first.
//!
//! A guard that misses is a run that would end at once (`script_vm::Guard`), and is left out; it counts as a hit all the
//! same, or the count would depend on how a condition was written.
//!
//! **Holds always**
//! - F1: a core is inside from its mark on until the mark is 0 again, on every way out.
//! - F2: an event does not fire inside another one on the same core; it is then as if there were none.
//! - F3: a core does not halt while it is inside. So nobody is inside while all are halted, and what is cleared then gives
//!   its units back at once.
//!
//! **Callers**: root, in an exit, any core. **Cost**: for one event whose guard misses, 40 machine instructions at most
//! (`benches/counts.rs`). **Proof**: `tests/firing.rs`, `tests/threads.rs`.

use crate::code::{self, Code, CodeFault};
use crate::slot::{Slot, gate, high, is_there, join, kind_of, low};
use crate::table::Mark;
use crate::{Buffer, Memory, Table};
use abi::request::event;
use core::num::NonZero;
use core::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use script_vm::{Fault, FaultKind, Machine, Program};

/// Where something happens: a core, in an exit, and its guest.
pub trait Here: Machine {
    /// The core, below [`abi::boot::CORES_MAX`]: cores of one number modulo that would take each other for themselves (F2).
    fn core(&self) -> u32;

    /// The process that runs there. Asked at most once, and only if an event wants a certain one.
    fn pid(&mut self) -> u32;

    /// The thread. Likewise.
    fn thread(&mut self) -> u32;

    /// Runs a program ([`script_vm::run()`], over a stack and data of the core's own, with a limit of steps). Until it
    /// returns, `$event_id`, `$event_stage`, `$buffer` and `event_sc()` are `event`'s; `pause()` is remembered, and done
    /// when [`Table::fire`] has returned (F3).
    fn run(&mut self, event: &Running, program: Program<'_>) -> Ended;

    /// Calls machine code of the event, which lies where [`Memory::open_code`] has put it; what it returned.
    ///
    /// # Errors
    /// [`CodeFault`]; then no register of the guest's has changed.
    fn call(&mut self, event: &Running, code: &Code) -> Result<u64, CodeFault>;
}

/// What [`Table::fire_quick`] needs of where something happens.
pub trait Quick {
    /// What events of the kind filter by.
    fn option(&self) -> u64;

    /// As [`Machine::gpr`].
    fn gpr(&self, number: usize) -> u64;

    /// Adds to a cell that all scripts share, indivisibly.
    fn count(&mut self, cell: u16, added: u64);
}

/// An event whose program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its id.
    pub id: u32,
    /// One of [`event`].
    pub kind: u32,
    /// [`event::PRE`] or [`event::POST`].
    pub stage: u32,
    /// Whether it suppresses what the guest wanted, if its program says nothing else.
    pub short_circuit: bool,
    /// Its safe buffer.
    pub buffer: Buffer,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// As the program left it.
    pub short_circuit: bool,
    /// What ended it early.
    pub fault: Option<Fault>,
}

/// What all events together want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What the guest wanted has no effect: at least one event says so, before it.
    pub short_circuit: bool,
    /// The machine halts: the first event that wants it, and its stage.
    pub break_by: Option<(u32, u32)>,
}

impl<const EVENTS: usize> Table<EVENTS> {
    /// Something happens, and [`Table::armed`] says that somebody may want to know: asks every event of the kind. `stage` is
    /// [`event::PRE`] or [`event::POST`], `option` what events of the kind filter by.
    pub fn fire<M: Memory, H: Here>(&self, kind: u32, stage: u32, option: u64, memory: &M, here: &mut H) -> Verdict {
        let mark = self.mark(here.core());
        // F2. Looked at before it is written: a younger mark would give away what this core is inside of. It is its own.
        if mark.0.load(Relaxed) != 0 {
            return Verdict::default();
        }
        let first = self.go_in(kind, mark);
        self.fire_from(first, Fired { kind, stage, option }, memory, here)
    }

    /// As [`Table::fire`], and it is known which event it is that filters by this option: no other is asked.
    pub fn fire_one<M: Memory, H: Here>(
        &self,
        id: u32,
        kind: u32,
        stage: u32,
        option: u64,
        memory: &M,
        here: &mut H,
    ) -> Verdict {
        let mark = self.mark(here.core());
        if mark.0.load(Relaxed) != 0 {
            return Verdict::default();
        }
        // Its slot is used anew only when no mark is older than its end (E3): what is there is it, or says otherwise.
        let _head = self.go_in(kind, mark);
        let wanted = gate::ENABLED | gate::BY_OPTION | u64::from(stage) << gate::STAGE_SHIFT;
        let (mut wants, mut pid) = (0, None);
        if let Some(slot) = self.slots.get(id as usize) {
            let gate = slot.gate.load(SeqCst);
            let is_it = is_there(gate) && kind_of(gate) == kind && gate & wanted == wanted;
            if is_it && passes(slot, gate, option, here, &mut pid) {
                wants = hit(slot, id, gate, Fired { kind, stage, option }, memory, here);
            }
        }
        self.mark(here.core()).0.store(0, Release);
        Verdict::of(wants)
    }

    /// What [`Table::fire_one`] does before an instruction, if that is known without a run; whether it is done. If not, nothing is.
    ///
    /// Only where no event can be running on this core (F2).
    #[inline]
    pub fn fire_one_quick(&self, mark: &Mark, id: u32, kind: u32, quick: &mut impl Quick) -> bool {
        let _head = self.go_in(kind, mark);
        let done = self.slots.get(id as usize).is_none_or(|slot| {
            let gate = slot.gate.load(SeqCst);
            !is_there(gate) || kind_of(gate) != kind || is_done(slot, quick)
        });
        mark.0.store(0, Release);
        done
    }

    /// The events before an instruction of which it is known what they want without a run: those that are not meant, whose
    /// guard misses, or that only count. Ends at the first other one, from which [`Table::fire_rest`] must go on.
    ///
    /// Only where no event can be running on this core: at the beginning of an exit (F2).
    #[inline(always)]
    pub fn fire_quick<const KIND: u32>(&self, mark: &Mark, quick: &mut impl Quick) -> Option<Rest> {
        let first = self.go_in(KIND, mark);
        // One event is what there is most often: without a loop it needs few registers.
        if let Some((_, slot)) = self.slot(first) {
            if !is_done(slot, quick) {
                return NonZero::new(first).map(Rest);
            }
            let next = slot.next.load(SeqCst);
            if next != 0 {
                return self.quick_from(next, mark, quick);
            }
        }
        mark.0.store(0, Release);
        None
    }

    /// The same from a link on.
    #[inline(never)]
    fn quick_from(&self, mut link: u32, mark: &Mark, quick: &mut impl Quick) -> Option<Rest> {
        while let Some((_, slot)) = self.slot(link) {
            if !is_done(slot, quick) {
                return NonZero::new(link).map(Rest);
            }
            link = slot.next.load(SeqCst);
        }
        mark.0.store(0, Release);
        None
    }

    /// What [`Table::fire_quick`] left.
    pub fn fire_rest<M: Memory, H: Here>(&self, rest: Rest, kind: u32, option: u64, memory: &M, here: &mut H) -> Verdict {
        self.fire_from(rest.0.get(), Fired { kind, stage: event::PRE, option }, memory, here)
    }

    /// Shows that this core is inside (F1); the link to the first event of the kind.
    #[inline(always)]
    fn go_in(&self, kind: u32, mark: &Mark) -> u32 {
        mark.0.store(self.moment.load(SeqCst).wrapping_add(1), SeqCst);
        self.heads.get(kind as usize).map_or(0, |head| head.load(SeqCst))
    }

    /// Asks the events from this one on, and leaves (F1).
    #[inline(never)]
    fn fire_from<M: Memory, H: Here>(&self, mut link: u32, fired: Fired, memory: &M, here: &mut H) -> Verdict {
        let wanted = gate::ENABLED | u64::from(fired.stage) << gate::STAGE_SHIFT;
        let (mut wants, mut pid) = (0, None);
        while let Some((id, slot)) = self.slot(link) {
            let gate = slot.gate.load(SeqCst);
            if gate & wanted == wanted && (gate & gate::FILTERS == 0 || passes(slot, gate, fired.option, here, &mut pid)) {
                wants = both(wants, hit(slot, id, gate, fired, memory, here));
            }
            link = slot.next.load(SeqCst);
        }
        self.mark(here.core()).0.store(0, Release);
        Verdict::of(wants)
    }
}

/// What an event does before the instruction that it waits for, if that needs no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// It does nothing but to count as a hit, if this is so.
    pub misses: Option<Misses>,
    /// Else it adds to a cell, if that is all: which, and how much. If it is not, it runs.
    pub count: Option<(u16, i32)>,
}

/// `(register & mask) - low <= span`, without a sign and wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misses {
    /// Which general register.
    pub register: u8,
    /// See above,
    pub mask: u64,
    /// likewise,
    pub low: u64,
    /// likewise.
    pub span: u64,
}

impl<const EVENTS: usize> Table<EVENTS> {
    /// What an event is that fires for every core and process, before its instruction, and needs no run of its program, or not always.
    #[must_use]
    pub fn form(&self, id: u32) -> Option<Form> {
        const ASKED: u64 = gate::STAGES | gate::GUARD | gate::BY_CORE | gate::BY_PID;
        let slot = self.slots.get(id as usize)?;
        let gate = slot.gate.load(SeqCst);
        if !is_there(gate) || gate & ASKED != (event::PRE as u64) << gate::STAGE_SHIFT | gate::GUARD {
            return None;
        }
        let [mask, low, span] = slot.guard.each_ref().map(|word| word.load(Relaxed));
        let register = u8::try_from(slot.register.load(Relaxed) & 15).ok()?;
        // One that never misses.
        let misses = (mask != 0 || span >= mask.wrapping_sub(low)).then_some(Misses { register, mask, low, span });
        let added = i32::try_from(added(gate).cast_signed()).ok();
        Some(Form { misses, count: added.filter(|_| gate & gate::COUNT != 0).map(|added| (cell(gate), added)) })
    }
}

/// Where [`Table::fire_quick`] stopped; the core is inside (F1).
#[derive(Debug)]
#[must_use = "the core stays inside of events until `Table::fire_rest`"]
pub struct Rest(NonZero<u32>);

/// Does what an event wants before the instruction, if that can be done without a run; whether it could.
#[inline(always)]
fn is_done(slot: &Slot, quick: &mut impl Quick) -> bool {
    const ASKED: u64 = gate::ENABLED | gate::STAGES | gate::GUARD | gate::FILTERS;
    const SIMPLE: u64 = gate::ENABLED | (event::PRE as u64) << gate::STAGE_SHIFT | gate::GUARD;
    let gate = slot.gate.load(SeqCst);
    if gate & ASKED != SIMPLE {
        if gate & gate::ENABLED == 0 || gate & gate::BY_OPTION != 0 && slot.option.load(Relaxed) != quick.option() {
            return true;
        }
        if gate & ASKED != SIMPLE | gate::BY_OPTION {
            return false;
        }
    }
    if !slot.guard_misses(|register| quick.gpr(register)) {
        if gate & gate::COUNT == 0 {
            return false;
        }
        quick.count(cell(gate), added(gate));
    }
    slot.hits.fetch_add(1, Relaxed);
    true
}

/// The cell that an event counts in.
const fn cell(gate: u64) -> u16 {
    (gate >> gate::CELL_SHIFT & 0xffff) as u16
}

/// What it adds to it.
const fn added(gate: u64) -> u64 {
    (gate.cast_signed() >> gate::ADDED_SHIFT).cast_unsigned()
}

/// What happens.
#[derive(Clone, Copy)]
struct Fired {
    kind: u32,
    stage: u32,
    option: u64,
}

impl Verdict {
    /// A verdict as a word: bit 0 short circuit, bit 1 break, bits 2 and 3 the stage of it, upper half its id.
    const SHORT_CIRCUIT: u64 = 1;
    const BREAK: u64 = 2;
    const STAGE_SHIFT: u32 = 2;

    #[inline(always)]
    fn of(wants: u64) -> Self {
        if wants == 0 {
            return Verdict::default();
        }
        let stage = low(wants >> Self::STAGE_SHIFT & 3);
        let break_by = (wants & Self::BREAK != 0).then_some((high(wants), stage));
        Verdict { short_circuit: wants & Self::SHORT_CIRCUIT != 0, break_by }
    }
}

/// Two words of verdicts together: the first break stays.
#[inline(always)]
const fn both(first: u64, then: u64) -> u64 {
    if first & Verdict::BREAK != 0 { first | then & Verdict::SHORT_CIRCUIT } else { first | then }
}

/// Whether what happens is what an event waits for: the low halves are numbers, and equal; a high half of the event's own is
/// a mask, of which what happens has a bit.
#[inline(always)]
const fn meant(own: u64, given: u64) -> bool {
    low(own) == low(given) && (high(own) == 0 || high(own) & high(given) != 0)
}

/// Core, process, option.
fn passes<H: Here>(slot: &Slot, gate: u64, option: u64, here: &mut H, pid: &mut Option<u32>) -> bool {
    let who = slot.who.load(Relaxed);
    if gate & gate::BY_CORE != 0 && low(who) != here.core() {
        return false;
    }
    if gate & gate::BY_THREAD != 0 {
        if high(who) != here.thread() {
            return false;
        }
    } else if gate & gate::BY_PID != 0 && high(who) != *pid.get_or_insert_with(|| here.pid()) {
        return false;
    }
    gate & gate::BY_OPTION == 0 || meant(slot.option.load(Relaxed), option)
}

/// What passes its filters.
#[inline(always)]
fn hit<M: Memory, H: Here>(slot: &Slot, id: u32, gate: u64, fired: Fired, memory: &M, here: &mut H) -> u64 {
    if gate & (gate::CONDITION | gate::CODE) != 0 {
        return act_with_code(slot, id, gate, fired, memory, here);
    }
    slot.hits.fetch_add(1, Relaxed);
    if gate & gate::GUARD != 0 && slot.guard_misses(|register| here.gpr(u8::try_from(register).unwrap_or(0))) {
        return 0;
    }
    act(slot, id, gate, fired, memory, here)
}

/// The same of an event with machine code: its condition is asked before the hit counts.
#[cold]
#[inline(never)]
fn act_with_code<M: Memory, H: Here>(slot: &Slot, id: u32, gate: u64, fired: Fired, memory: &M, here: &mut H) -> u64 {
    let Fired { kind, stage, .. } = fired;
    let buffer = Buffer { pfn: slot.buffer_pfn.load(Relaxed), bytes: slot.buffer_bytes.load(Relaxed) };
    let running = Running { id, kind, stage, short_circuit: gate & gate::SHORT_CIRCUIT != 0, buffer };
    if gate & gate::CONDITION != 0 && !code::holds(slot, &running, here) {
        return 0;
    }
    slot.hits.fetch_add(1, Relaxed);
    if gate & gate::CODE_FIRST != 0 {
        code::act(slot, &running, here);
    }
    let wants = act(slot, id, gate, fired, memory, here);
    if gate & (gate::CODE | gate::CODE_FIRST) == gate::CODE {
        code::act(slot, &running, here);
    }
    wants
}

/// Runs its program; what it wants, as the word of a verdict.
#[inline(always)]
fn act<M: Memory, H: Here>(slot: &Slot, id: u32, gate: u64, fired: Fired, memory: &M, here: &mut H) -> u64 {
    let Fired { kind, stage, .. } = fired;
    let mut short_circuit = gate & gate::SHORT_CIRCUIT != 0;
    if gate & gate::PROGRAM != 0 {
        let buffer = Buffer { pfn: slot.buffer_pfn.load(Relaxed), bytes: slot.buffer_bytes.load(Relaxed) };
        let running = Running { id, kind, stage, short_circuit, buffer };
        let size = slot.program_size.load(Relaxed);
        let words = memory.program(slot.program_pfn.load(Relaxed), high(size));
        let words = words.as_deref().and_then(|words| words.get(..low(size) as usize));
        let layout = slot.layout();
        let fault = match words.and_then(|words| layout.open(words)) {
            Some(program) => {
                let ended = here.run(&running, program);
                short_circuit = ended.short_circuit;
                ended.fault
            }
            None => Some(Fault { kind: FaultKind::BadProgram, at: 0 }),
        };
        if let Some(fault) = fault {
            slot.last_fault.store(join(fault_number(fault.kind), fault.at), Relaxed);
            slot.faults.fetch_add(1, Relaxed);
        }
    }
    let short = if short_circuit && stage == event::PRE { Verdict::SHORT_CIRCUIT } else { 0 };
    let halt = Verdict::BREAK | u64::from(stage) << Verdict::STAGE_SHIFT | u64::from(id) << 32;
    short | if gate & gate::BREAK != 0 { halt } else { 0 }
}

/// A fault of a program as answers carry it, from 1 on: in the order of [`FaultKind`]. [`event::CONDITION_FAULT`] and
/// [`event::CODE_FAULT`] come behind them.
#[must_use]
pub const fn fault_number(kind: FaultKind) -> u32 {
    match kind {
        FaultKind::BadAddress { .. } => 1,
        FaultKind::DivideByZero => 2,
        FaultKind::StepLimit => 3,
        FaultKind::CallDepth => 4,
        FaultKind::Refused => 5,
        FaultKind::BadProgram => 6,
    }
}
