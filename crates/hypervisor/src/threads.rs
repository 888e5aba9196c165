//! Threads under interception: what is asked about them, and what root remembers of each.
//!
//! ```text
//! prompt ─► ORDER ─► the board ─► doorbell ─► the module: ORDERS … ORDERED          Linux holds threads, lets them go, tells
//!                                                │ THREAD_TAKE, _STATE, _GONE        of those that come and end
//! prompt ◄─ THREADS ◄─ records, in holders ◄─────┘ THREAD_STEP ─► `strides`
//! ```
//!
//! **Holds always**
//! - N1: a thread has a place or is told as one that has none; a place is one thread's until it is gone.
//! - N2: holders are as many as places need, but while an order is carried out, which may be about to need them.
//! - N3: one order is on the board; who asks for another before it is done is refused.
//!
//! **Callers**: `hypercall` for the module, `serve` for prompts, `strides`: any core. The lock is held for one look at the holders, or for
//! one answer. **Cost**: a place O(holders) at worst. **Proof**: tests below, `tests/e2e/threads.rs`.

use crate::holders::{self, Holder, PLACES, WORDS};
use crate::limits::{FRUITLESS_MAX, HOLDERS_MAX};
use crate::root::ROOT;
use crate::tasks::TASKS;
use crate::{arch::x86, memory, pools, serve};
use abi::boot::Doorbell;
use abi::code;
use abi::request::STEPS_MAX;
use abi::request::thread::{Ask, Order, Ordered, ROWS_MAX, Row, THREADS_PER_UNIT, Threads, order, stage, state};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use reserve::Refusal;
use spin::{Mutex, MutexGuard};

/// Words of a record.
#[derive(Clone, Copy)]
enum Word {
    /// The process in the upper half, the thread in the lower.
    Who,
    State,
    Task,
    Frame,
    Stepped,
    Left,
    Holds,
    /// Ticks.
    Held,
    /// When it was held last, in ticks.
    Since,
    /// Where an instruction of its steps began that led into the kernel, and whether one did,
    From,
    Entered,
    /// and how often in a row that came to nothing.
    Fruitless,
}
const _: () = assert!((Word::Fruitless as usize) < WORDS);

struct Record<'a>(&'a [AtomicU64; WORDS]);

impl Record<'_> {
    fn get(&self, word: Word) -> u64 {
        self.0[word as usize].load(Relaxed)
    }

    fn set(&self, word: Word, value: u64) {
        self.0[word as usize].store(value, Relaxed);
    }

    fn add(&self, word: Word, more: u64) {
        self.set(word, self.get(word).wrapping_add(more));
    }

    /// An instruction of those that were asked for has been executed. How many are left.
    fn counts_step(&self) -> u64 {
        self.add(Word::Stepped, 1);
        self.set(Word::Left, self.get(Word::Left).saturating_sub(1));
        self.set(Word::Fruitless, 0);
        self.get(Word::Left)
    }

    /// It comes to be held where it was to step from: what the last instruction was that led it into the kernel.
    fn ends_step(&self, at: u64) {
        if self.get(Word::Entered) == 0 || self.get(Word::Left) == 0 {
            return;
        }
        self.set(Word::Entered, 0);
        if self.get(Word::From) != at {
            self.counts_step();
            return;
        }
        // It faulted, or the kernel has it try again.
        self.add(Word::Fruitless, 1);
        if self.get(Word::Fruitless) >= FRUITLESS_MAX {
            self.set(Word::Left, 0);
        }
    }
}

/// What is asked of Linux.
struct Board {
    order: Order,
    stage: u32,
    code: u32,
    number: u64,
}

struct All {
    holders: [Option<Holder>; HOLDERS_MAX],
    board: Board,
    /// As the module said last.
    unplaced: u32,
    missed: u32,
}

static ALL: Mutex<All> = Mutex::new(All {
    holders: [const { None }; HOLDERS_MAX],
    board: Board {
        order: Order { serial: 0, what: 0, process: 0, thread: 0, zero: 0, count: 0 },
        stage: stage::DONE,
        code: code::SUCCESS,
        number: 0,
    },
    unplaced: 0,
    missed: 0,
});

fn lock(core: u32) -> MutexGuard<'static, All> {
    loop {
        if let Some(all) = ALL.try_lock() {
            return all;
        }
        ROOT.acknowledge_flush(core);
        x86::relax();
    }
}

#[expect(clippy::cast_possible_truncation, reason = "two halves of one word")]
const fn halves(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

impl All {
    fn record(&self, place: u64) -> Option<Record<'_>> {
        let place = usize::try_from(place).ok()?;
        self.holders.get(place / PLACES)?.as_ref()?.record(place % PLACES).map(Record)
    }

    /// The same, if it is this task's.
    fn record_of(&self, place: u64, task: u64) -> Option<Record<'_>> {
        self.record(place).filter(|record| record.get(Word::Task) == task)
    }

    /// Pays for holders, all or none: a code, and how many units are missing.
    fn pay(&mut self, core: u32, units: u64) -> Result<(), (u32, u64)> {
        let vacant = self.holders.iter().filter(|holder| holder.is_none()).count() as u64;
        if units > vacant {
            return Err((code::COUNT_TOO_LARGE, units - vacant));
        }
        pools::wish_to_be_tended();
        let mut paid = holders::pay(core, units).map_err(|refusal| match refusal {
            Some(Refusal::Short { free, .. }) => (code::USED_UP, units.saturating_sub(free)),
            Some(Refusal::Injected { .. }) => (code::INJECTED, units),
            _ => (code::NOT_LOADED, units),
        })?;
        for holder in self.holders.iter_mut().filter(|holder| holder.is_none()) {
            *holder = paid.next();
            if holder.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// N2.
    fn give_empty(&mut self, core: u32) {
        for holder in &mut self.holders {
            if holder.as_ref().is_some_and(|holder| holder.used() == 0)
                && let Some(holder) = holder.take()
            {
                holder.give(core);
            }
        }
    }

    fn take(&mut self) -> Option<usize> {
        let mut each = self.holders.iter_mut().enumerate();
        each.find_map(|(at, holder)| holder.as_mut()?.take().map(|place| at * PLACES + place))
    }
}

/// Puts an order on the board: a code, and what became of it so far.
pub fn ask(core: u32, order: Order) -> (u32, Ordered) {
    let Order { serial, what, process, thread, zero, count } = order;
    let steps = what == order::STEP;
    let fits = serial == 0 && zero == 0 && process != 0 && (order::ATTACH..=order::STEP).contains(&what);
    let counts = if steps { thread != 0 && (1..=STEPS_MAX).contains(&count) } else { count == 0 };
    if !fits || !counts || thread != 0 && what < order::HOLD {
        return (code::REQUEST_MALFORMED, Ordered::default());
    }
    let mut all = lock(core);
    let board = &mut all.board;
    if board.stage != stage::DONE {
        return (code::ORDER_PENDING, board.ordered());
    }
    let serial = board.order.serial.wrapping_add(1);
    *board = Board { order: Order { serial, ..order }, stage: stage::ASKED, code: code::SUCCESS, number: 0 };
    serve::ring_doorbell(offset_of!(Doorbell, orders_wanted), 1);
    (code::SUCCESS, board.ordered())
}

impl Board {
    fn ordered(&self) -> Ordered {
        Ordered { serial: self.order.serial, stage: self.stage, code: self.code, number: self.number }
    }
}

/// What became of an order; `None`: it is none, or others came since.
pub fn ordered(core: u32, serial: u64) -> Option<Ordered> {
    let ordered = lock(core).board.ordered();
    (ordered.serial == serial).then_some(ordered)
}

/// The module takes the order that waits.
pub fn next_order(core: u32) -> Option<Order> {
    serve::ring_doorbell(offset_of!(Doorbell, orders_wanted), 0);
    let board = &mut lock(core).board;
    if board.stage != stage::ASKED {
        return None;
    }
    board.stage = stage::TAKEN;
    Some(board.order)
}

/// The module has carried it out, or has not.
pub fn order_ended(core: u32, serial: u64, code: u64, number: u64) {
    let mut all = lock(core);
    if all.board.order.serial == serial && all.board.stage == stage::TAKEN {
        all.board.stage = stage::DONE;
        all.board.code = halves(code).1;
        all.board.number = number;
    }
    all.give_empty(core);
}

/// So many places are about to be needed: a code, and how many units are missing.
pub fn make_room(core: u32, places: u64) -> (u32, u64) {
    let mut all = lock(core);
    let free: usize = all.holders.iter().flatten().map(|holder| PLACES - holder.used()).sum();
    let units = places.saturating_sub(free as u64).div_ceil(THREADS_PER_UNIT as u64);
    match if units == 0 { Ok(()) } else { all.pay(core, units) } {
        Ok(()) => (code::SUCCESS, 0),
        Err(refused) => refused,
    }
}

/// A thread comes: a code, and its place.
pub fn take(core: u32, who: u64, task: u64, frame: u64) -> (u32, u64) {
    let mut all = lock(core);
    let mut place = all.take();
    if place.is_none() {
        if let Err((code, _)) = all.pay(core, 1) {
            return (code, 0);
        }
        place = all.take();
    }
    let Some(place) = place.map(|place| place as u64) else { return (code::USED_UP, 0) };
    if let Some(record) = all.record(place) {
        for (word, value) in [(Word::Who, who), (Word::State, state::RUNS.into()), (Word::Task, task), (Word::Frame, frame)] {
            record.set(word, value);
        }
    }
    (code::SUCCESS, place)
}

/// It is, or is to be, in another state: a code, and instructions that are left of those it was to step.
pub fn set_state(core: u32, place: u64, now: u64, detail: u64) -> (u32, u64) {
    let all = lock(core);
    let Some(record) = all.record(place).filter(|_| now <= state::STEPS.into()) else { return (code::NO_SUCH_THREAD, 0) };
    let was = record.get(Word::State);
    record.set(Word::State, now);
    if was == u64::from(state::HELD) && now != was {
        record.add(Word::Held, x86::tsc().wrapping_sub(record.get(Word::Since)));
    }
    match halves(now).1 {
        state::COMING => record.set(Word::Left, 0),
        state::HELD => {
            record.ends_step(detail);
            record.set(Word::Since, x86::tsc());
            if record.get(Word::Left) > 0 {
                // For a moment: it goes on.
                record.set(Word::State, state::STEPS.into());
            } else {
                record.add(Word::Holds, u64::from(was != now));
            }
        }
        state::STEPS if detail != 0 => {
            for (word, value) in [(Word::Left, detail), (Word::Fruitless, 0), (Word::Entered, 0)] {
                record.set(word, value);
            }
        }
        _ => {}
    }
    (code::SUCCESS, record.get(Word::Left))
}

/// A thread has gone, or is let go.
pub fn gone(core: u32, place: u64) -> u32 {
    let mut all = lock(core);
    if all.record(place).is_none() {
        return code::NO_SUCH_THREAD;
    }
    let place = usize::try_from(place).unwrap_or(usize::MAX);
    let at_order = all.board.stage == stage::TAKEN;
    let Some(slot) = all.holders.get_mut(place / PLACES) else { return code::NO_SUCH_THREAD };
    if let Some(holder) = slot {
        holder.free(place % PLACES);
    }
    if !at_order
        && slot.as_ref().is_some_and(|holder| holder.used() == 0)
        && let Some(holder) = slot.take()
    {
        holder.give(core);
    }
    code::SUCCESS
}

/// What the module could not do, all together: threads that are held without a place, and that are not held.
pub fn tell_losses(core: u32, unplaced: u64, missed: u64) {
    let mut all = lock(core);
    all.unplaced = u32::try_from(unplaced).unwrap_or(u32::MAX);
    all.missed = u32::try_from(missed).unwrap_or(u32::MAX);
}

/// The task that has this place, if it has instructions to step.
pub fn steps(core: u32, place: u64) -> Option<u64> {
    let all = lock(core);
    let record = all.record(place).filter(|record| record.get(Word::Left) > 0)?;
    Some(record.get(Word::Task))
}

/// It has executed one, unless the place is another's by now. How many are left.
pub fn counts_step(core: u32, (place, task): (u64, u64)) -> u64 {
    lock(core).record_of(place, task).map_or(0, |record| record.counts_step())
}

/// The instruction at this address led it into the kernel: whether it was executed is seen when it is held.
pub fn enters_kernel(core: u32, (place, task): (u64, u64), from: u64) {
    if let Some(record) = lock(core).record_of(place, task) {
        record.set(Word::From, from);
        record.set(Word::Entered, 1);
    }
}

/// Threads, as asked. `tables` are those of the core that answers.
pub fn list(core: u32, tables: u64, ask: Ask) -> Threads {
    let all = lock(core);
    let mut list = Threads {
        count: 0,
        next: 0,
        states: [0; 4],
        unplaced: all.unplaced,
        missed: all.missed,
        rows: [Row::default(); ROWS_MAX],
    };
    let read = memory::kernel_reader(core, tables);
    let most = ROWS_MAX.min(usize::try_from(ask.rows).unwrap_or(ROWS_MAX));
    let first = usize::try_from(ask.from).unwrap_or(usize::MAX);
    let holders = all.holders.iter().enumerate().filter(|(at, holder)| holder.is_some() && (at + 1) * PLACES > first);
    for place in holders.flat_map(|(at, _)| at * PLACES..(at + 1) * PLACES).filter(|place| *place >= first) {
        let Some(record) = all.record(place as u64) else { continue };
        let (process, thread) = halves(record.get(Word::Who));
        let fits = |asked, is| asked == 0 || asked == is;
        if !fits(ask.process, process) || !fits(ask.thread, thread) {
            continue;
        }
        if let Some(sum) = usize::try_from(record.get(Word::State)).ok().and_then(|state| list.states.get_mut(state)) {
            *sum += 1;
        }
        if most == 0 || list.next != 0 {
            continue;
        }
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        let count = usize::try_from(list.count).unwrap_or(usize::MAX);
        match list.rows.get_mut(count).filter(|_| count < most) {
            Some(row) => {
                *row = shown(&record, (place, process, thread), &read);
                list.count += 1;
            }
            None => {
                list.next = place;
                // Of those that follow the sums are known already.
                if first > 0 {
                    break;
                }
            }
        }
    }
    list
}

fn shown(record: &Record, (place, process, thread): (u32, u32, u32), read: &impl Fn(u64, &mut [u8]) -> bool) -> Row {
    let now = halves(record.get(Word::State)).1;
    let since = if now == state::HELD { x86::tsc().wrapping_sub(record.get(Word::Since)) } else { 0 };
    let task = record.get(Word::Task);
    let mut name = [0; 16];
    let at = task.wrapping_add(TASKS.name.load(Relaxed).into());
    let _without_a_name = read(at, &mut name);
    Row {
        place,
        process,
        thread,
        state: now,
        task,
        frame: record.get(Word::Frame),
        stepped: record.get(Word::Stepped),
        left: record.get(Word::Left),
        holds: record.get(Word::Holds),
        held: ROOT.nanoseconds(record.get(Word::Held).wrapping_add(since)),
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(words: &[AtomicU64; WORDS]) -> Record<'_> {
        Record(words)
    }

    /// Would catch a fault that is counted as an instruction, and one for ever.
    #[test]
    fn an_instruction_that_comes_to_nothing_is_given_up() {
        let words = [const { AtomicU64::new(0) }; WORDS];
        let record = record(&words);
        record.set(Word::Left, 5);
        for tried in 1..=FRUITLESS_MAX {
            assert_eq!((record.get(Word::Left), record.get(Word::Stepped)), (5, 0), "{tried}");
            record.set(Word::From, 0x1000);
            record.set(Word::Entered, 1);
            record.ends_step(0x1000);
        }
        assert_eq!((record.get(Word::Left), record.get(Word::Stepped)), (0, 0));
    }

    /// Would catch a system call that is counted twice, or not at all.
    #[test]
    fn one_that_leads_into_the_kernel_counts_when_it_is_left_behind() {
        let words = [const { AtomicU64::new(0) }; WORDS];
        let record = record(&words);
        record.set(Word::Left, 2);
        record.set(Word::From, 0x1000);
        record.set(Word::Entered, 1);
        record.ends_step(0x1002);
        assert_eq!((record.get(Word::Left), record.get(Word::Stepped)), (1, 1));
        record.ends_step(0x1002);
        assert_eq!(
            (record.get(Word::Left), record.get(Word::Stepped)),
            (1, 1),
            "a stride that ended in the program counted its own"
        );
    }

    /// Would catch an order that nobody can carry out, and a second one before the first is done.
    #[test]
    fn an_order_is_one_and_waits_for_its_end() {
        let attach = Order { what: order::ATTACH, process: 5, ..Order::default() };
        for wrong in [
            Order { process: 0, ..attach },
            Order { what: 0, ..attach },
            Order { what: order::STEP + 1, ..attach },
            Order { count: 1, ..attach },
            Order { thread: 6, ..attach },
            Order { what: order::STEP, thread: 6, ..attach },
            Order { what: order::STEP, count: 1, ..attach },
            Order { what: order::STEP, thread: 6, count: STEPS_MAX + 1, ..attach },
        ] {
            assert_eq!(ask(0, wrong).0, code::REQUEST_MALFORMED, "{wrong:?}");
        }
        let (code, asked) = ask(0, attach);
        assert_eq!((code, asked.stage), (code::SUCCESS, stage::ASKED));
        assert_eq!(ask(0, attach).0, code::ORDER_PENDING);
        let taken = next_order(0);
        assert_eq!(taken, Some(Order { serial: asked.serial, ..attach }));
        assert_eq!(next_order(0), None);
        assert_eq!(ordered(0, asked.serial).map(|ordered| ordered.stage), Some(stage::TAKEN));
        order_ended(0, asked.serial + 1, code::SUCCESS.into(), 0);
        assert_eq!(ordered(0, asked.serial).map(|ordered| ordered.stage), Some(stage::TAKEN), "that was another's");
        order_ended(0, asked.serial, code::PID_INVALID.into(), 7);
        let done = Ordered { serial: asked.serial, stage: stage::DONE, code: code::PID_INVALID, number: 7 };
        assert_eq!(ordered(0, asked.serial), Some(done));
    }
}
