//! Every interleaving of two or three cores, and of an NMI on one of them (T3, L1, L2, K3, V3, S2).
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p reserve --test loom -- --nocapture`
//!
//! Without `--cfg loom` there is nothing here. With it, the crate's atomics are loom's and there are two lanes. Three
//! cores are tried with every interleaving of up to three preemptions (`LOOM_MAX_PREEMPTIONS` changes it), two cores with
//! four.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use reserve::sync::AtomicU64;
use reserve::{
    Block, Census, Core, Cost, Handle, KindPlan, Owner, Plan, Refusal, Reserve, Shape, Slot, interrupt_at, table_words,
};
use std::sync::atomic::{AtomicUsize, Ordering};

type Small = Reserve<'static, 1>;

/// Calls `check` for each interleaving and says how many there were.
fn every(name: &str, preemptions: usize, check: impl Fn() + Send + Sync + 'static) {
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 50_000;
    let (start, counter) = (std::time::Instant::now(), count.clone());
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        check();
    });
    println!("{name}: {} interleavings in {:.1?}", count.load(Ordering::Relaxed), start.elapsed());
}

/// A reserve of one kind, four units on a frame, with `frames` frames in the bank and room for a block more.
fn small(frames: u32, marks: [u64; 3]) -> Arc<Small> {
    let [low, target, high] = marks;
    let kind = KindPlan { shape: Shape { frames: 0, bytes: 1024 }, low, target, high, ram_1024ths: 1024 };
    let slots: &'static [Slot<'static>] = Box::leak(Box::new([Slot::new(), Slot::new()]));
    let reserve = Reserve::new(&Plan { kinds: [kind], ram_frames: 1 << 20, bank_target: 0 }, slots).unwrap();
    for order in [frames.ilog2(), 0] {
        let words = (0..table_words(order)).map(|_| AtomicU64::new(0)).collect();
        reserve.add_table(Box::leak(words)).unwrap();
    }
    reserve.donate(Block { pfn: 8, order: frames.ilog2(), used: 0, keep: false }).unwrap();
    Arc::new(reserve)
}

fn units(count: u64) -> Cost<1> {
    Cost::NONE.and(0, count).unwrap()
}

/// Takes one unit for an owner.
fn take(reserve: &Small, core: u32) -> Result<Handle, Refusal> {
    Ok(reserve.reserve(Core(core), &units(1))?.spend(0, Owner(core)).unwrap())
}

fn give(reserve: &Small, core: u32, handle: Handle) {
    reserve.give(Core(core), handle).unwrap();
}

/// Runs one body on each of several cores; what they return, in order.
fn cores<T: 'static>(reserve: &Arc<Small>, bodies: Vec<Box<dyn FnOnce(&Small) -> T>>) -> Vec<T> {
    let mut bodies = bodies.into_iter();
    let first = bodies.next().unwrap();
    let others: Vec<_> = bodies
        .map(|body| {
            let reserve = reserve.clone();
            thread::spawn(move || body(&reserve))
        })
        .collect();
    let mut results = vec![first(reserve)];
    results.extend(others.into_iter().map(|other| other.join().unwrap()));
    results
}

fn settled(reserve: &Small, free: u64, used: u64) {
    reserve.audit().unwrap();
    let Census { free: is_free, on_ticket, used: is_used, .. } = reserve.census(0).unwrap();
    assert_eq!((is_free, on_ticket, is_used), (free, 0, used));
}

/// Would catch a unit that two cores get, or that gets lost between them.
#[test]
fn two_cores_take_and_give_on_one_lane() {
    every("two cores, one lane", 4, || {
        let reserve = small(1, [0, 0, 9]);
        reserve.prealloc(0, 2).unwrap();
        let body = || -> Box<dyn FnOnce(&Small)> {
            Box::new(|reserve| {
                let handle = take(reserve, 0).expect("two units for two cores");
                give(reserve, 0, handle);
            })
        };
        cores(&reserve, vec![body(), body()]);
        settled(&reserve, 2, 0);
    });
}

/// Would catch a lane that is robbed by another core while its own core uses it.
#[test]
fn three_cores_take_two_units_and_one_is_refused() {
    every("three cores, two units", 3, || {
        let reserve = small(1, [0, 0, 9]);
        reserve.prealloc(0, 2).unwrap();
        let body = |core| -> Box<dyn FnOnce(&Small) -> Option<Handle>> { Box::new(move |reserve| take(reserve, core).ok()) };
        let had: Vec<Handle> = cores(&reserve, vec![body(0), body(1), body(2)]).into_iter().flatten().collect();
        assert_eq!(had.len(), 2, "as many as there are, no more");
        assert_ne!(had[0], had[1]);
        settled(&reserve, 0, 2);
        assert_eq!(reserve.ledger().kinds[0].high_water, 2);
    });
}

/// Would catch a request that keeps a half while another core has the other (T2).
#[test]
fn two_cores_that_both_want_everything_never_share_it() {
    every("two cores, all or nothing", 3, || {
        let reserve = small(1, [0, 0, 9]);
        reserve.prealloc(0, 2).unwrap();
        let body = |core| -> Box<dyn FnOnce(&Small) -> bool> {
            Box::new(move |reserve| reserve.reserve(Core(core), &units(2)).map(std::mem::forget).is_ok())
        };
        let had = cores(&reserve, vec![body(0), body(1)]);
        assert!(!(had[0] && had[1]));
        let census = reserve.census(0).unwrap();
        let on_ticket = 2 * u64::from(had[0] || had[1]);
        assert_eq!((census.on_ticket, census.free), (on_ticket, 2 - on_ticket));
        reserve.audit().unwrap();
    });
}

/// Would catch a double free that two cores commit at once (T4).
#[test]
fn of_two_returns_of_one_unit_one_is_refused() {
    every("two returns of one unit", 4, || {
        let reserve = small(1, [0, 0, 9]);
        reserve.prealloc(0, 1).unwrap();
        let handle = take(&reserve, 0).unwrap();
        let body =
            |core| -> Box<dyn FnOnce(&Small) -> bool> { Box::new(move |reserve| reserve.give(Core(core), handle).is_ok()) };
        let given = cores(&reserve, vec![body(0), body(1)]);
        assert!(given[0] != given[1]);
        settled(&reserve, 1, 0);
    });
}

/// Would catch a unit seen before its frame is in the bank, and a donation that a refill on another core misses.
#[test]
fn a_core_takes_while_another_donates_and_refills() {
    every("take, donate, refill", 3, || {
        let reserve = small(1, [2, 4, 9]);
        reserve.prealloc(0, 1).unwrap();
        let user: Box<dyn FnOnce(&Small)> = Box::new(|reserve| {
            let handle = take(reserve, 0).expect("one was free before");
            give(reserve, 0, handle);
        });
        let worker: Box<dyn FnOnce(&Small)> = Box::new(|reserve| {
            reserve.donate(Block { pfn: 3, order: 0, used: 0, keep: false }).unwrap();
            reserve.refill();
        });
        cores(&reserve, vec![user, worker]);
        reserve.refill();
        let row = reserve.ledger().kinds[0];
        // The target, the one that the user keeps on top of it, and the one that was in hand when the refill looked.
        assert!(row.free >= 2 && row.free == row.reserved && row.free <= 4 + 1 + 1, "{row:?}");
        assert_eq!(reserve.ledger().frames, 2);
        reserve.audit().unwrap();
    });
}

/// Would catch a deficit filled twice because two workers saw it, or left open because each left it to the other (V3).
#[test]
fn two_workers_refill_to_the_level_and_not_beyond() {
    every("two refills", 3, || {
        let reserve = small(2, [1, 2, 9]);
        let body = || -> Box<dyn FnOnce(&Small)> { Box::new(|reserve| assert_eq!(reserve.refill().frames_short, 0)) };
        cores(&reserve, vec![body(), body()]);
        settled(&reserve, 2, 0);
    });
}

/// Would catch a slab folded back into the bank while a unit of it is taken.
#[test]
fn a_core_takes_while_another_releases_and_preallocates() {
    every("take, release, prealloc", 3, || {
        let reserve = small(2, [0, 0, 9]);
        reserve.prealloc(0, 2).unwrap();
        let user: Box<dyn FnOnce(&Small)> = Box::new(|reserve| {
            if let Ok(handle) = take(reserve, 0) {
                give(reserve, 0, handle);
            }
        });
        let worker: Box<dyn FnOnce(&Small)> = Box::new(|reserve| {
            let _ = reserve.release(0, 2);
            reserve.prealloc(0, 1).unwrap();
        });
        cores(&reserve, vec![user, worker]);
        let reserved = reserve.ledger().kinds[0].reserved;
        assert!(reserved == 1 || reserved == 3);
        settled(&reserve, reserved, 0);
    });
}

/// Would catch frames that two cores cut, and a whole block given away under a core that cuts it (K1, K3).
#[test]
fn a_block_is_reclaimed_or_cut_but_not_both() {
    every("prealloc, prealloc, reclaim", 3, || {
        let reserve = small(2, [0, 0, 9]);
        let grow = || -> Box<dyn FnOnce(&Small) -> u64> { Box::new(|reserve| u64::from(reserve.prealloc(0, 4).is_ok())) };
        let reclaim: Box<dyn FnOnce(&Small) -> u64> = Box::new(|reserve| u64::from(reserve.reclaim().is_some()));
        let [one, two, gone] = cores(&reserve, vec![grow(), grow(), reclaim])[..] else { unreachable!() };
        assert!(gone == 0 || one + two == 0);
        assert!(gone == 1 || one + two == 2, "two frames for two cores");
        reserve.audit().unwrap();
        assert_eq!(reserve.ledger().frames, 2 - 2 * gone);
    });
}

/// Would catch a record that two cores set together and neither notes (S2).
#[test]
fn the_high_water_mark_sees_what_two_cores_hold_at_once() {
    every("high water", 4, || {
        let reserve = small(1, [0, 0, 9]);
        reserve.prealloc(0, 4).unwrap();
        let body = |core| -> Box<dyn FnOnce(&Small)> { Box::new(move |reserve| assert!(take(reserve, core).is_ok())) };
        cores(&reserve, vec![body(0), body(1)]);
        settled(&reserve, 2, 2);
        assert_eq!(reserve.ledger().kinds[0].high_water, 2);
    });
}

/// Would catch an NMI that takes what its own core was about to take, while a second core does the same.
#[test]
fn an_nmi_strikes_between_look_and_exchange_while_another_core_works() {
    for place in 0..4 {
        every(&format!("NMI at place {place}"), 3, move || {
            let reserve = small(1, [0, 0, 9]);
            reserve.prealloc(0, 3).unwrap();
            let struck = reserve.clone();
            let user: Box<dyn FnOnce(&Small)> = Box::new(move |reserve| {
                interrupt_at(place, move || {
                    let handle = take(&struck, 0).expect("three units for three");
                    give(&struck, 0, handle);
                });
                let handle = take(reserve, 0).expect("three units for three");
                give(reserve, 0, handle);
                interrupt_at(0, || {});
            });
            let other: Box<dyn FnOnce(&Small)> = Box::new(|reserve| {
                let handle = take(reserve, 0).expect("three units for three");
                give(reserve, 0, handle);
            });
            cores(&reserve, vec![user, other]);
            settled(&reserve, 3, 0);
        });
    }
}
