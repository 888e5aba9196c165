//! Cores that fire while others register and clear: the arena panics when a program is read after it was given back.

mod world;

use abi::request::{EventAsk, event};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};
use world::{CELLS, Core, World, cpuid, levels, words};

/// Changes of each core that changes.
const CHANGES: u32 = 10_000;
/// A core that has panicked clears nothing more; nobody waits for it longer than this.
const LIMIT: Duration = Duration::from_secs(60);

/// Would catch a program that is read after its units were given back, a unit that is lost, an event that is missed
/// because a neighbour on its chain went, and a hit that is not counted.
#[test]
fn cores_fire_exactly_while_others_register_and_clear() {
    let world: World<16> = World::new(levels([12, 4], [6, 2]));
    let steady = words(".a = 0; x = interlocked_increment(&.a);");
    // The cell of `.a` in programs that are compiled alone is the first.
    let kept: Vec<u32> = (0..2).map(|_| world.add(&cpuid(), &steady).unwrap().id).collect();
    let passing = words("if (@rax != 0) { x = rdtsc(); y = rdtsc(); print($event_id); }");
    let (fired, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let firing: Vec<_> = (0..2)
            .map(|number| {
                let (world, fired, stop) = (&world, &fired, &stop);
                scope.spawn(move || {
                    let mut core = Core::new(world, number);
                    core.gprs[0] = 1;
                    while !stop.load(SeqCst) {
                        core.ran.clear();
                        core.said.clear();
                        core.cpuid();
                        fired.fetch_add(1, SeqCst);
                        let kept = core.ran.iter().filter(|id| **id < 2).count();
                        assert_eq!(kept, 2, "an event that stays is asked once: {:?}", core.ran);
                        world.table.settle(&world.arena, &world.reserve, number);
                    }
                })
            })
            .collect();
        let changing: Vec<_> = (2..4)
            .map(|number| {
                let (world, passing) = (&world, &passing);
                scope.spawn(move || {
                    for round in 0..CHANGES {
                        let kind = if round % 5 == 0 { event::TSC } else { event::CPUID };
                        let program_words = u32::try_from(passing.len()).unwrap();
                        let buffer_bytes = u64::from(round % 3 == 0) * 64;
                        let ask = EventAsk { kind, buffer_bytes, program_words, ..cpuid() };
                        let Ok(added) = world.table.add(&ask, passing, &world.arena, &world.reserve, number) else {
                            world.table.settle(&world.arena, &world.reserve, number);
                            continue;
                        };
                        if round % 7 == 0 {
                            let change = |what| world.table.change(what, added.id, &world.arena, &world.reserve, number);
                            assert_eq!((change(event::DISABLE), change(event::ENABLE)), (Ok(1), Ok(1)));
                        }
                        let cleared = world.table.change(event::CLEAR, added.id, &world.arena, &world.reserve, number);
                        assert_eq!(cleared, Ok(1));
                    }
                })
            })
            .collect();
        let changed: Vec<_> = changing.into_iter().map(thread::ScopedJoinHandle::join).collect();
        stop.store(true, SeqCst);
        for ended in changed.into_iter().chain(firing.into_iter().map(thread::ScopedJoinHandle::join)) {
            ended.expect("no core has panicked");
        }
    });
    world.settle();
    let fired = fired.load(SeqCst);
    assert!(fired > 0 && world.table.unsettled() == 0);
    for id in kept {
        assert_eq!((world.row(id).hits, world.row(id).faults), (fired, 0));
    }
    assert!(CELLS[0].load(SeqCst) <= 2 * fired);
    assert_eq!(world.used(), [2, 0, 0, 0]);
    assert_eq!((world.table.armed(event::CPUID), world.table.armed(event::TSC)), (true, false));
    assert_eq!(world.change(event::CLEAR, event::ALL), Ok(2));
    assert_eq!(world.used(), [0; 4]);
}

/// Would catch scripts that clear and enable each other's events, on two cores, and lose a unit.
#[test]
fn scripts_that_clear_themselves_on_two_cores_lose_nothing() {
    let world: World<8> = World::new(levels([8, 0], [8, 0]));
    let itself = words("event_disable($event_id); event_enable($event_id); event_clear($event_id);");
    let (cleared, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for number in 0..2 {
            let (world, stop) = (&world, &stop);
            scope.spawn(move || {
                let mut core = Core::new(world, number);
                while !stop.load(SeqCst) {
                    core.cpuid();
                    world.table.settle(&world.arena, &world.reserve, number);
                }
            });
        }
        let end = Instant::now() + LIMIT;
        let mut added: u64 = 0;
        while added < u64::from(CHANGES) / 4 && Instant::now() < end {
            match world.add(&EventAsk { buffer_bytes: 8, ..cpuid() }, &itself) {
                Ok(_) => added += 1,
                Err(_) => thread::yield_now(),
            }
        }
        cleared.store(added, SeqCst);
        while world.table.rows(0).count > 0 && Instant::now() < end {
            thread::yield_now();
        }
        stop.store(true, SeqCst);
    });
    world.settle();
    assert_eq!((world.used(), world.table.unsettled()), ([0; 4], 0));
    assert!(!world.table.armed(event::CPUID));
    assert_eq!(cleared.load(SeqCst), u64::from(CHANGES) / 4);
}

/// Would catch a core that stands on an event while it is taken off its chain, and misses the ones behind it.
#[test]
fn an_event_behind_one_that_goes_is_asked_all_the_same() {
    let world: World<16> = World::new(levels([16, 0], [0, 0]));
    let going = words("x = rdtsc(); x = rdtsc(); x = rdtsc();");
    // Id and round of the event that stays, plus one; 0 while there is none.
    let (stays, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    // Looks in which the event stayed from before to after.
    let looks = AtomicU64::new(0);
    let end = Instant::now() + LIMIT;
    thread::scope(|scope| {
        let firing = scope.spawn(|| {
            let mut core = Core::new(&world, 1);
            while !stop.load(SeqCst) {
                core.ran.clear();
                let before = stays.load(SeqCst);
                core.cpuid();
                if before > 0 && stays.load(SeqCst) == before {
                    let id = u32::try_from(before - 1 & 0xff).unwrap();
                    assert_eq!(core.ran.iter().filter(|ran| **ran == id).count(), 1, "{id} in {:?}", core.ran);
                    looks.fetch_add(1, SeqCst);
                }
                world.table.settle(&world.arena, &world.reserve, 1);
            }
        });
        let waits = || !firing.is_finished() && Instant::now() < end;
        let mut round = 0;
        while round < u64::from(CHANGES) / 10 && waits() {
            let before: Vec<_> = (0..4).filter_map(|_| world.add(&cpuid(), &going).ok()).collect();
            let behind = world.add(&cpuid(), &going).ok();
            if let Some(behind) = behind {
                round += 1;
                stays.store((round << 8 | u64::from(behind.id)) + 1, SeqCst);
            }
            let looked = looks.load(SeqCst);
            for event in before {
                thread::yield_now();
                assert_eq!(world.change(event::CLEAR, event.id), Ok(1));
            }
            if let Some(behind) = behind {
                while looks.load(SeqCst) == looked && waits() {
                    thread::yield_now();
                }
                stays.store(0, SeqCst);
                assert_eq!(world.change(event::CLEAR, behind.id), Ok(1));
            }
        }
        stop.store(true, SeqCst);
        firing.join().expect("no event was missed");
        assert_eq!(round, u64::from(CHANGES) / 10, "in time");
    });
    world.settle();
    assert_eq!(world.used(), [0; 4]);
}
