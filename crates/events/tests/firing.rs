//! Who is asked, in which order, and what comes of it.

mod world;

use abi::request::{EventAsk, event};
use events::Verdict;
use world::{Core, World, cpuid, levels, words};

fn small() -> World<8> {
    World::new(levels([8, 0], [4, 1]))
}

/// Would catch an order by id: ids are used anew, registrations are not.
#[test]
fn events_run_in_the_order_in_which_they_were_registered() {
    let world = small();
    let mut core = Core::new(&world, 0);
    for id in 0..3 {
        assert_eq!(world.add(&cpuid(), &words("print($event_id);")).unwrap().id, id);
    }
    assert_eq!(world.change(event::CLEAR, 0), Ok(1));
    assert_eq!(world.add(&cpuid(), &words("print($event_id);")).unwrap().id, 0, "the smallest that is unused");
    core.cpuid();
    assert_eq!(core.ran, [1, 2, 0]);
    assert_eq!(world.change(event::CLEAR, event::ALL), Ok(3));
    assert_eq!(world.used(), [0; 4]);
    assert_eq!(world.add(&cpuid(), &[]).unwrap().id, 0);
}

/// Would catch an exit that pays for events that cannot be meant.
#[test]
fn a_kind_is_armed_while_one_of_its_events_is_enabled() {
    let world = small();
    let armed = || [event::CPUID, event::TSC, 0, 99].map(|kind| world.table.armed(kind));
    assert_eq!(armed(), [false; 4]);
    world.add(&cpuid(), &[]).unwrap();
    world.add(&cpuid(), &[]).unwrap();
    assert_eq!(armed(), [true, false, false, false]);
    assert_eq!(world.change(event::DISABLE, 0), Ok(1));
    assert_eq!(world.change(event::DISABLE, 0), Ok(1), "twice is once");
    assert!(armed()[0]);
    assert_eq!(world.change(event::DISABLE, event::ALL), Ok(2));
    assert_eq!(armed(), [false; 4]);
    assert_eq!(world.change(event::ENABLE, 1), Ok(1));
    assert_eq!(world.change(event::ENABLE, 1), Ok(1));
    assert!(armed()[0]);
    assert_eq!(world.change(event::CLEAR, 1), Ok(1));
    assert_eq!(armed(), [false; 4]);
}

/// Would catch a filter that lets through, one that counts, and a process that is looked up for nobody.
#[test]
fn a_hit_is_past_core_process_option_and_stage() {
    let world = small();
    let ask = |change: fn(&mut EventAsk)| {
        let mut ask = cpuid();
        change(&mut ask);
        world.add(&ask, &[]).unwrap().id
    };
    let everywhere = ask(|_| {});
    let on_core = ask(|ask| ask.core = 1);
    let with_option = ask(|ask| (ask.flags, ask.option) = (event::OPTION, 7));
    let after = ask(|ask| ask.stage = event::POST);
    let both = ask(|ask| ask.stage = event::PRE | event::POST);
    let (mut zero, mut one) = (Core::new(&world, 0), Core::new(&world, 1));
    let hits = || [everywhere, on_core, with_option, after, both].map(|id| world.row(id).hits);
    zero.fire(event::CPUID, event::PRE, 7);
    assert_eq!(hits(), [1, 0, 1, 0, 1]);
    one.fire(event::CPUID, event::PRE, 8);
    assert_eq!(hits(), [2, 1, 1, 0, 2]);
    one.fire(event::CPUID, event::POST, 7);
    assert_eq!(hits(), [2, 1, 1, 1, 3]);
    one.fire(event::TSC, event::PRE, 7);
    one.fire(99, event::PRE, 7);
    assert_eq!(hits(), [2, 1, 1, 1, 3]);
    assert_eq!(zero.pids + one.pids, 0, "nobody filters by process");

    let of_process = [ask(|ask| ask.pid = 100), ask(|ask| ask.pid = 101)];
    zero.cpuid();
    assert_eq!(of_process.map(|id| world.row(id).hits), [1, 0]);
    assert_eq!(zero.pids, 1, "asked once for both");
}

/// Would catch a mask that is taken for a part of the number, one that needs all of its bits, and a filter without one that asks
/// what has changed.
#[test]
fn the_upper_half_of_an_option_is_a_mask() {
    let world = small();
    let ask = |option| {
        let ask = EventAsk { kind: event::CONTROL_WRITE, flags: event::OPTION, option, ..cpuid() };
        world.add(&ask, &[]).unwrap().id
    };
    let ids = [4, 4 | 0x6 << 32, 4 | 0x8 << 32, 0x6 << 32].map(ask);
    let mut core = Core::new(&world, 0);
    for (changed, number, hits) in
        [(0x2, 4, [1, 1, 0, 0]), (0, 4, [2, 1, 0, 0]), (0x8, 4, [3, 1, 1, 0]), (0xc, 4, [4, 2, 2, 0]), (0xe, 0, [4, 2, 2, 1])]
    {
        core.fire(event::CONTROL_WRITE, event::PRE, number | changed << 32);
        assert_eq!(ids.map(|id| world.row(id).hits), hits, "{changed:x} of {number}");
    }
}

/// Would catch a guard that is asked for the wrong register or with the wrong sign, and a miss that is not a hit.
#[test]
fn a_guard_that_misses_leaves_the_program_out() {
    let world = small();
    let mut core = Core::new(&world, 0);
    let id = world.add(&cpuid(), &words("if (@rcx > 5) { print(@rcx); }")).unwrap().id;
    for (rcx, runs) in [(6, 1), (5, 1), (u64::MAX, 1), (7, 2), (1 << 62, 3)] {
        core.gprs = [0x1000; 16];
        core.gprs[1] = rcx;
        core.cpuid();
        assert_eq!(core.ran.len(), runs, "{rcx:x}");
    }
    assert_eq!(world.row(id).hits, 5);
}

/// Would catch a short circuit that scripts cannot change, that works after the instruction, or that the last one decides.
#[test]
fn whoever_wants_a_short_circuit_gets_it() {
    let world = small();
    let mut core = Core::new(&world, 0);
    let sc = EventAsk { flags: event::SHORT_CIRCUIT, ..cpuid() };
    let short = Verdict { short_circuit: true, break_by: None };
    let first = world.add(&sc, &[]).unwrap().id;
    world.add(&cpuid(), &words("event_sc(0);")).unwrap();
    assert_eq!(core.cpuid(), short, "the last one does not decide");
    world.change(event::CLEAR, first).unwrap();
    assert_eq!(core.cpuid(), Verdict::default());
    world.change(event::CLEAR, event::ALL).unwrap();
    world.add(&sc, &words("if (@rax == 1) { event_sc(0); }")).unwrap();
    assert_eq!(core.cpuid(), short, "a condition that is false changes nothing");
    core.gprs[0] = 1;
    assert_eq!(core.cpuid(), Verdict::default());
    world.change(event::CLEAR, event::ALL).unwrap();
    world.add(&EventAsk { stage: 3, ..cpuid() }, &words("event_sc(1);")).unwrap();
    assert_eq!(core.cpuid(), short);
    assert_eq!(core.fire(event::CPUID, event::POST, 0), Verdict::default(), "it is done");
}

/// Would catch a break of an event that was not meant, and one that hides another.
#[test]
fn the_first_event_that_wants_a_break_is_named() {
    let world = small();
    let mut core = Core::new(&world, 0);
    world.add(&cpuid(), &words("print(1);")).unwrap();
    world.add(&EventAsk { flags: event::BREAK, core: 1, ..cpuid() }, &[]).unwrap();
    world.add(&EventAsk { flags: event::BREAK, stage: 3, ..cpuid() }, &words("if (@rax == 1) { print(2); }")).unwrap();
    world.add(&EventAsk { flags: event::BREAK, ..cpuid() }, &[]).unwrap();
    assert_eq!(core.cpuid().break_by, Some((2, event::PRE)));
    assert_eq!(core.fire(event::CPUID, event::POST, 0).break_by, Some((2, event::POST)));
    assert_eq!(Core::new(&world, 1).cpuid().break_by, Some((1, event::PRE)));
}

/// Would catch a buffer that others see, that a hit clears, or that ends where its frames do.
#[test]
fn a_buffer_is_an_events_own_and_is_kept_between_hits() {
    let world = small();
    let mut core = Core::new(&world, 0);
    let ask = EventAsk { buffer_bytes: 24, ..cpuid() };
    for _ in 0..2 {
        world.add(&ask, &words("eq($buffer + 8, poi($buffer + 8) + 1 + $event_id); print(poi($buffer + 8));")).unwrap();
    }
    core.cpuid();
    core.cpuid();
    assert_eq!(core.text(), "1\n2\n2\n4\n");
    let id = world.add(&ask, &words("eq($buffer + 0n17, 1);")).unwrap().id;
    core.cpuid();
    assert_eq!((world.row(id).faults, world.row(id).last_fault & 0xff), (1, 1), "8 bytes at 17 of 24");
}

/// Would catch a fault that stops the events after it, or is not told.
#[test]
fn a_fault_ends_one_run_and_is_counted_with_its_place() {
    let world = small();
    let mut core = Core::new(&world, 0);
    world.add(&cpuid(), &words("print(1 / @rax);")).unwrap();
    world.add(&cpuid(), &words("print(2);")).unwrap();
    core.cpuid();
    core.cpuid();
    core.gprs[0] = 1;
    core.cpuid();
    assert_eq!(core.text(), "2\n2\n1\n2\n");
    let row = world.row(0);
    assert_eq!((row.hits, row.faults, row.last_fault & 0xffff_ffff), (3, 2, 2));
    assert!(row.last_fault >> 32 > 0, "the instruction");
}

/// Would catch units that go back under a program that runs, and ones that never do.
#[test]
fn a_script_that_clears_its_own_event_ends_and_the_units_come_back_when_it_has() {
    let world = small();
    let mut core = Core::new(&world, 0);
    world.add(&EventAsk { buffer_bytes: 8, ..cpuid() }, &words("event_clear($event_id); print(3);")).unwrap();
    core.cpuid();
    assert_eq!(core.text(), "3\n");
    assert_eq!((world.used(), world.table.unsettled()), ([1, 0, 1, 0], 1));
    core.cpuid();
    assert_eq!(core.ran, [0], "it is cleared");
    assert_eq!(world.change(event::CLEAR, 0), Err(abi::code::NO_SUCH_EVENT));
    assert_eq!(world.settle(), 1);
    assert_eq!((world.used(), world.table.unsettled(), world.settle()), ([0; 4], 0, 0));
}

/// Would catch an answer that loses events at its end, and options that are not the enabled ones.
#[test]
fn rows_go_on_where_they_stopped() {
    let world: World<80> = World::new(levels([80, 0], [0, 0]));
    for option in 0..80 {
        world.add(&EventAsk { flags: event::OPTION, option, ..cpuid() }, &[]).unwrap();
    }
    world.change(event::CLEAR, 5).unwrap();
    world.change(event::DISABLE, 6).unwrap();
    let first = world.table.rows(0);
    assert_eq!((first.count, first.more, first.rows[5].id, first.rows[5].enabled), (64, 1, 6, 0));
    let rest = world.table.rows(first.rows[63].id + 1);
    assert_eq!((rest.count, rest.more, rest.rows[14].id), (15, 0, 79));
    assert_eq!(world.table.rows(80).count, 0);
    let mut options = Vec::new();
    world.table.options(event::CPUID, |option| options.push(option.unwrap()));
    assert_eq!(options.len(), 78);
    assert!(!options.contains(&5) && !options.contains(&6));
}

/// Would catch an event that fires inside itself for ever, and an inner one that says that the core has left the outer one.
#[test]
fn nothing_fires_inside_an_event_on_the_same_core() {
    let world = small();
    let mut core = Core::new(&world, 0);
    world.add(&EventAsk { flags: event::BREAK, ..cpuid() }, &words("event_clear($event_id); print(4);")).unwrap();
    core.nests = true;
    assert_eq!(core.cpuid().break_by, Some((0, event::PRE)));
    assert_eq!((core.ran.len(), core.text().as_str()), (1, "4\n"));
    assert_eq!(world.table.unsettled(), 1, "the core was inside all the time");
    assert_eq!((world.settle(), world.used()), (1, [0; 4]));
}
