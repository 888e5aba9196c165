//! An NMI between look and exchange, at every such place in turn. On one thread, so that it is the same each time; with
//! other cores at work as well it is tried by `tests/loom.rs`.

extern crate std;
use crate::sync::AtomicU64;
use crate::{Block, Core, Cost, KindPlan, Owner, Plan, Reserve, Shape, Slot, interrupt, table_words};
use core::cell::Cell;
use std::boxed::Box;
use std::rc::Rc;

type Small = Reserve<'static, 1>;

fn small() -> &'static Small {
    let kind = KindPlan { shape: Shape { frames: 1, bytes: 1024 }, low: 0, target: 0, high: 100, ram_1024ths: 1024 };
    let slots: &'static [Slot<'static>] = Box::leak(Box::new([Slot::new()]));
    let reserve = Reserve::new(&Plan { kinds: [kind], ram_frames: 1 << 20, bank_target: 0 }, slots).unwrap();
    reserve.add_table(Box::leak((0..table_words(6)).map(|_| AtomicU64::new(0)).collect())).unwrap();
    reserve.donate(Block { pfn: 64, order: 6, used: 0, keep: false }).unwrap();
    Box::leak(Box::new(reserve))
}

/// Who keeps what a handler took.
const NMI: Owner = Owner(99);

/// Interrupts `work` by `handler` at each place that it passes, one run for each. The handler says how many units it
/// keeps as [`NMI`].
fn at_every_place(work: fn(&'static Small), handler: fn(&'static Small) -> u64) {
    let mut skip = 0;
    loop {
        let reserve = small();
        reserve.prealloc(0, 8).unwrap();
        let struck = Rc::new(Cell::new(None));
        let flag = struck.clone();
        interrupt::at(skip, move || {
            flag.set(Some(handler(reserve)));
        });
        work(reserve);
        reserve.audit().unwrap();
        let Some(kept) = struck.get() else { break };
        assert_eq!(reserve.give_all(Core(0), NMI), kept, "nobody else got what the NMI keeps");
        reserve.audit().unwrap();
        skip += 1;
    }
    assert!(skip > 0, "no place was passed");
}

/// Would catch an exchange that succeeds although an NMI on the same core has changed the list under it.
#[test]
fn supply_interrupted_by_supply_at_any_place_keeps_every_unit() {
    at_every_place(
        |reserve| {
            reserve.prealloc(0, 5).unwrap();
            reserve.release(0, 7).unwrap();
        },
        |reserve| {
            reserve.release(0, 1).unwrap();
            reserve.prealloc(0, 2).unwrap();
            0
        },
    );
}

/// Would catch a unit that an NMI takes from under a request of its own core, or gives back onto a stale top.
#[test]
fn tickets_interrupted_by_tickets_at_any_place_keep_every_unit() {
    fn command(reserve: &'static Small, core: u32, units: u64) {
        let mut ticket = reserve.reserve(Core(core), &Cost::NONE.and(0, units).unwrap()).unwrap();
        let first = ticket.spend(0, Owner(core)).unwrap();
        let _second = ticket.spend(0, Owner(core)).unwrap();
        reserve.give(Core(core), first).unwrap();
        drop(ticket);
        assert_eq!(reserve.give_all(Core(core), Owner(core)), 1);
    }
    fn nested(reserve: &'static Small, core: u32, units: u64) -> u64 {
        command(reserve, core, units);
        0
    }
    // On the lane of the interrupted request, and on another one so that both gather.
    at_every_place(|reserve| command(reserve, 0, 4), |reserve| nested(reserve, 4, 3));
    at_every_place(|reserve| command(reserve, 1, 3), |reserve| nested(reserve, 2, 4));
}

/// Would catch a tag that does not move: the top is the same again, but what was below it is gone (L1, "ABA").
#[test]
fn an_nmi_that_puts_the_same_top_back_and_keeps_the_next_one_is_noticed() {
    at_every_place(
        |reserve| {
            let mut ticket = reserve.reserve(Core(0), &Cost::NONE.and(0, 1).unwrap()).unwrap();
            assert!(ticket.spend(0, Owner(1)).is_some());
            let mut ticket = reserve.reserve(Core(0), &Cost::NONE.and(0, 1).unwrap()).unwrap();
            assert!(ticket.spend(0, Owner(1)).is_some());
            assert_eq!(reserve.give_all(Core(0), Owner(1)), 2);
        },
        |reserve| {
            let mut ticket = reserve.reserve(Core(0), &Cost::NONE.and(0, 2).unwrap()).unwrap();
            let (top, next) = (ticket.spend(0, NMI).unwrap(), ticket.spend(0, NMI));
            reserve.give(Core(0), top).unwrap();
            u64::from(next.is_some())
        },
    );
}
