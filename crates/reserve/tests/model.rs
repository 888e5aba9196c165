//! Sequences of everything that can be asked of a reserve, against a model that counts on its fingers.
//!
//! A moderate number of cases by default; the million of the issue by
//! `PROPTEST_CASES=1000000 cargo test --release -p reserve --test model`.

mod world;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use reserve::sync::AtomicU64;
use reserve::{Core, Cost, Handle, Owner, Plan, Refusal, Reserve, Slot, Ticket};
use std::cell::Cell;
use world::{block, kind, words};

/// Kinds: a frame, a bundle of slabs, a run. The first two have marks.
const KINDS: usize = 3;
/// Frames and units of a slab, by kind.
const SLABS: [(u64, u64); KINDS] = [(1, 1), (7, 6), (20, 1)];
const ORDERS: [u32; 4] = [6, 4, 6, 4];

fn plan() -> Plan<KINDS> {
    let kinds = [kind(1, 0, 4, 8, 16), kind(1, 128, 0, 3, 9), kind(20, 0, 0, 0, u64::MAX)];
    Plan { kinds, ram_frames: 200, bank_target: 0 }
}

#[derive(Clone, Debug)]
enum Op {
    Donate(usize),
    Prealloc(usize, u64),
    Release(usize, u64),
    Reserve(u32, [u64; KINDS]),
    Spend(usize, usize, u32),
    Drop(usize),
    Give(u32, usize),
    GiveStale(usize),
    GiveAll(u32),
    FailNth(usize, u32),
    Refill,
    Shrink,
    Reclaim,
}

fn op() -> impl Strategy<Value = Op> {
    let count = || prop_oneof![8 => 0..12u64, 1 => 60..300u64, 1 => Just(u64::MAX)];
    prop_oneof![
        2 => (0..ORDERS.len()).prop_map(Op::Donate),
        3 => (0..KINDS, count()).prop_map(|(kind, count)| Op::Prealloc(kind, count)),
        2 => (0..KINDS, count()).prop_map(|(kind, count)| Op::Release(kind, count)),
        4 => (0..6u32, [0..5u64, 0..5, 0..2]).prop_map(|(core, units)| Op::Reserve(core, units)),
        6 => (0..4usize, 0..KINDS, 0..4u32).prop_map(|(ticket, kind, owner)| Op::Spend(ticket, kind, owner)),
        2 => (0..4usize).prop_map(Op::Drop),
        3 => (0..6u32, 0..16usize).prop_map(|(core, handle)| Op::Give(core, handle)),
        1 => (0..16usize).prop_map(Op::GiveStale),
        1 => (0..4u32).prop_map(Op::GiveAll),
        1 => (0..KINDS, 0..4u32).prop_map(|(kind, nth)| Op::FailNth(kind, nth)),
        1 => Just(Op::Refill),
        1 => Just(Op::Shrink),
        1 => Just(Op::Reclaim),
    ]
}

/// What the model knows of a kind.
#[derive(Clone, Copy, Debug, Default)]
struct Kind {
    reserved: u64,
    free: u64,
    kept: u64,
    high_water: u64,
    refused: u64,
    refilled: u64,
    /// Requests until one fails on purpose; 0: none will.
    fail: u32,
}

impl Kind {
    /// Counts a request; true if it is the one that shall fail.
    fn fails(&mut self) -> bool {
        let armed = self.fail > 0;
        self.fail = self.fail.saturating_sub(1);
        armed && self.fail == 0
    }

    fn most(&self, kind: usize) -> u64 {
        let (frames, units) = SLABS[kind];
        (plan().ram_frames / 2 / frames * units).saturating_sub(self.reserved)
    }
}

/// The model, and the tickets and handles that the sequence holds.
struct Model<'r> {
    reserve: &'r Reserve<'static, KINDS>,
    kinds: [Kind; KINDS],
    donated: [bool; ORDERS.len()],
    tickets: Vec<(Ticket<'r, 'static, KINDS>, [u64; KINDS])>,
    used: Vec<(usize, u32, Handle)>,
    stale: Vec<Handle>,
}

impl<'r> Model<'r> {
    fn step(&mut self, op: &Op) {
        let reserve = self.reserve;
        let before = reserve.ledger();
        match *op {
            Op::Donate(number) => {
                let result = reserve.donate(block(number as u64, ORDERS[number]));
                assert_eq!(result.is_ok(), !self.donated[number]);
                self.donated[number] = true;
            }
            Op::Prealloc(kind, count) => self.prealloc(kind, count),
            Op::Release(kind, count) => {
                let model = &mut self.kinds[kind];
                let result = reserve.release(kind, count);
                if count == 0 {
                    assert_eq!(result, Err(Refusal::Zero { kind }));
                } else if count > model.free {
                    let Kind { free, reserved, .. } = *model;
                    assert_eq!(result, Err(Refusal::Short { kind, asked: count, free, reserved }));
                    model.refused += 1;
                } else {
                    assert_eq!(result, Ok(()));
                    model.free -= count;
                    model.reserved -= count;
                    model.kept = model.kept.saturating_sub(count);
                }
            }
            Op::Reserve(core, units) => self.take(core, units),
            Op::Spend(ticket, kind, owner) => {
                let tickets = self.tickets.len().max(1);
                if let Some((ticket, left)) = self.tickets.get_mut(ticket % tickets) {
                    let handle = ticket.spend(kind, Owner(owner));
                    assert_eq!(handle.is_some(), left[kind] > 0);
                    left[kind] = left[kind].saturating_sub(1);
                    self.used.extend(handle.map(|handle| (kind, owner, handle)));
                }
            }
            Op::Drop(ticket) if !self.tickets.is_empty() => {
                let (ticket, left) = self.tickets.swap_remove(ticket % self.tickets.len());
                drop(ticket);
                self.kinds.iter_mut().zip(left).for_each(|(model, left)| model.free += left);
            }
            Op::Give(core, handle) if !self.used.is_empty() => {
                let (kind, _, handle) = self.used.swap_remove(handle % self.used.len());
                assert_eq!(reserve.give(Core(core), handle), Ok(()));
                self.kinds[kind].free += 1;
                self.stale.push(handle);
            }
            Op::GiveStale(handle) if !self.stale.is_empty() => {
                let handle = self.stale[handle % self.stale.len()];
                assert!(reserve.give(Core(0), handle).is_err(), "a stale handle was taken");
            }
            Op::GiveAll(owner) => {
                let (gone, stay): (Vec<_>, Vec<_>) = self.used.drain(..).partition(|used| used.1 == owner);
                assert_eq!(reserve.give_all(Core(1), Owner(owner)), gone.len() as u64);
                gone.iter().for_each(|(kind, ..)| self.kinds[*kind].free += 1);
                self.stale.extend(gone.into_iter().map(|(.., handle)| handle));
                self.used = stay;
            }
            Op::FailNth(kind, nth) => {
                reserve.fail_nth(kind, nth).unwrap();
                self.kinds[kind].fail = nth;
            }
            Op::Refill => self.refill(),
            Op::Shrink => {
                let mut shed = 0;
                for (model, plan) in self.kinds.iter_mut().zip(plan().kinds) {
                    if model.free > plan.high.saturating_add(model.kept) {
                        let surplus = model.free - plan.target - model.kept;
                        (model.free, model.reserved) = (model.free - surplus, model.reserved - surplus);
                        shed += surplus;
                    }
                }
                assert_eq!(reserve.shrink(), shed);
            }
            Op::Reclaim => {
                if let Some(gone) = reserve.reclaim() {
                    let number = (0..ORDERS.len()).find(|number| block(*number as u64, ORDERS[*number]) == gone);
                    assert!(std::mem::take(&mut self.donated[number.expect("a block of ours")]));
                } else {
                    assert!(before.frames_bank < before.frames || before.frames == 0, "all is free, and stays");
                }
            }
            Op::Drop(_) | Op::Give(..) | Op::GiveStale(_) => {}
        }
        self.check();
    }

    fn prealloc(&mut self, kind: usize, count: u64) {
        let before = self.reserve.ledger();
        let result = self.reserve.prealloc(kind, count);
        let model = &mut self.kinds[kind];
        let most = model.most(kind);
        let (frames, units) = SLABS[kind];
        let expected = if count == 0 {
            Err(Refusal::Zero { kind })
        } else if count > most {
            Err(Refusal::TooMany { kind, asked: count, most })
        } else if model.fails() {
            Err(Refusal::Injected { kind, asked: count })
        } else if let Err(Refusal::BankShort { frames_short, run_frames, .. }) = result {
            // Whether the frames lie side by side the model does not know; the rest it does.
            let need = count.saturating_sub(before.kinds[kind].spare).div_ceil(units) * frames;
            assert!(need > before.frames_bank || frames > 1, "single frames were there");
            assert!(frames_short > 0 && frames_short <= need && frames_short % frames == 0);
            assert!(frames_short >= need.saturating_sub(before.frames_bank));
            let run_is = u64::from(run_frames);
            assert_eq!(run_is, frames);
            result
        } else {
            Ok(())
        };
        assert_eq!(result, expected);
        if result.is_ok() {
            model.reserved += count;
            model.free += count;
            model.kept += count;
        } else {
            let mut after = self.reserve.ledger();
            // A short bank is no refusal yet: whoever can donate asks again.
            if !matches!(result, Err(Refusal::BankShort { .. })) {
                model.refused += 1;
                after.kinds[kind].refused -= 1;
            }
            assert_eq!(after, before, "a refused request changes nothing");
        }
    }

    fn take(&mut self, core: u32, units: [u64; KINDS]) {
        let cost = units.iter().enumerate().try_fold(Cost::NONE, |cost, (kind, units)| cost.and(kind, *units)).unwrap();
        let mut expected = Ok(());
        for (kind, asked) in units.into_iter().enumerate().filter(|(_, asked)| *asked > 0) {
            let model = &mut self.kinds[kind];
            if model.fails() {
                expected = Err(Refusal::Injected { kind, asked });
            } else if asked > model.free {
                expected = Err(Refusal::Short { kind, asked, free: model.free, reserved: model.reserved });
            } else {
                let used = model.reserved - model.free + asked;
                model.high_water = model.high_water.max(used);
                continue;
            }
            model.refused += 1;
            break;
        }
        match self.reserve.reserve(Core(core), &cost) {
            Ok(ticket) => {
                assert_eq!(expected, Ok(()));
                self.kinds.iter_mut().zip(units).for_each(|(model, units)| model.free -= units);
                self.tickets.push((ticket, units));
            }
            Err(why) => assert_eq!(expected, Err(why)),
        }
    }

    fn refill(&mut self) {
        let refilled = self.reserve.refill();
        let after = self.reserve.ledger();
        let mut units = 0;
        for (kind, (model, plan)) in self.kinds.iter_mut().zip(plan().kinds).enumerate() {
            let (low, target) = (plan.low + model.kept, plan.target + model.kept);
            let lacking = if model.free < low { (target - model.free).min(model.most(kind)) } else { 0 };
            let came = after.kinds[kind].free - model.free;
            assert!(came <= lacking);
            assert!(came == lacking || refilled.frames_short > 0, "what is missing is told");
            (model.free, model.reserved) = (model.free + came, model.reserved + came);
            model.refilled += came;
            units += came;
        }
        assert_eq!(refilled.units, units);
    }

    /// After each step: the ledger is the model's, the audit balances, and tickets are where the model has them.
    fn check(&self) {
        self.reserve.audit().unwrap();
        let ledger = self.reserve.ledger();
        for (kind, (row, model)) in ledger.kinds.iter().zip(self.kinds).enumerate() {
            assert_eq!((row.reserved, row.free, row.kept), (model.reserved, model.free, model.kept), "kind {kind}");
            assert_eq!((row.refused, row.refilled), (model.refused, model.refilled), "kind {kind}");
            assert_eq!(row.high_water, model.high_water, "kind {kind}");
            let census = self.reserve.census(kind).unwrap();
            assert_eq!(census.on_ticket, self.tickets.iter().map(|(_, left)| left[kind]).sum::<u64>());
            assert_eq!(census.used, self.used.iter().filter(|used| used.0 == kind).count() as u64);
        }
        let donated = self.donated.iter().zip(ORDERS).filter(|(here, _)| **here).map(|(_, order)| 1 << order).sum();
        assert_eq!(ledger.frames, donated);
    }

    /// Gives everything back, and the blocks too: nothing may be left.
    fn unload(mut self) {
        self.tickets.clear();
        for (_, _, handle) in std::mem::take(&mut self.used) {
            self.reserve.give(Core(0), handle).unwrap();
        }
        for kind in 0..KINDS {
            let reserved = self.kinds[kind].reserved;
            assert!(reserved == 0 || self.reserve.release(kind, reserved).is_ok());
        }
        let blocks = std::iter::from_fn(|| self.reserve.reclaim()).count();
        assert_eq!(blocks, self.donated.iter().filter(|here| **here).count());
        assert_eq!(self.reserve.ledger().frames, 0);
        self.reserve.audit().unwrap();
    }
}

/// Slots and their tables. They are clean again when a sequence has unloaded, so the next one takes them.
type Room = (&'static [Slot<'static>], [&'static [AtomicU64]; ORDERS.len()]);

thread_local! {
    static ROOM: Cell<Option<Room>> = const { Cell::new(None) };
}

fn sequence(ops: &[Op]) {
    let made = || -> Room { (Vec::leak(ORDERS.iter().map(|_| Slot::new()).collect()), ORDERS.map(words)) };
    let (slots, tables) = ROOM.take().unwrap_or_else(made);
    let reserve = Reserve::new(&plan(), slots).unwrap();
    for table in tables {
        reserve.add_table(table).unwrap();
    }
    let mut model = Model {
        reserve: &reserve,
        kinds: [Kind::default(); KINDS],
        donated: [false; ORDERS.len()],
        tickets: Vec::new(),
        used: Vec::new(),
        stale: Vec::new(),
    };
    // Half of all sequences would never see a full bank otherwise.
    model.step(&Op::Donate(0));
    ops.iter().for_each(|op| model.step(op));
    model.unload();
    ROOM.set(Some((slots, tables)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: Some(Box::new(FileFailurePersistence::Off)), ..cases() })]

    /// Would catch any step that takes half, loses a unit, miscounts, or tells a number that is not so.
    #[test]
    fn every_sequence_does_what_the_model_does_and_balances_after_each_step(ops in prop::collection::vec(op(), 1..40)) {
        sequence(&ops);
    }
}

/// A few seconds' worth, unless the environment says how many.
fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    let is_set = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        cases: if is_set {
            default.cases
        } else if cfg!(miri) {
            3
        } else {
            400
        },
        ..default
    }
}
