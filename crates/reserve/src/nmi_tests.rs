//! An NMI between look and exchange, at every such place in turn. On one thread, so that it is the same each time; with
//! other cores at work as well it is tried by `tests/loom.rs`.

extern crate std;
use crate::sync::AtomicU64;
use crate::{Block, KindPlan, Plan, Reserve, Shape, Slot, interrupt, table_words};
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

/// Interrupts `work` by `handler` at each place that it passes, one run for each.
fn at_every_place(work: fn(&'static Small), handler: fn(&'static Small)) {
    let mut skip = 0;
    loop {
        let reserve = small();
        reserve.prealloc(0, 8).unwrap();
        let struck = Rc::new(Cell::new(false));
        let flag = struck.clone();
        interrupt::at(skip, move || {
            handler(reserve);
            flag.set(true);
        });
        work(reserve);
        reserve.audit().unwrap();
        if !struck.get() {
            break;
        }
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
        },
    );
}
