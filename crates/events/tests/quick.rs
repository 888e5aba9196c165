//! The quick way through the events of an exit against the whole one.

mod world;

use abi::request::{EventAsk, event};
use proptest::strategy::{Strategy, ValueTree};
use std::sync::atomic::Ordering::SeqCst;
use world::{Core, World, cpuid, levels, words};

/// Would catch a quick way that asks an event twice or not at all, counts otherwise than a run does, passes an option, a core
/// or a stage by, or ends before the last event.
#[test]
fn the_quick_way_comes_to_the_same() {
    const PROGRAMS: [&str; 6] = [
        "",
        ".quick = .quick + 3;",
        ".quick = .quick - 1;",
        "if (@rax == 1) { .quick = .quick + 5; }",
        "if (@rsp < 1) { print(7); }",
        ".quick = .quick + 123456;",
    ];
    let programs = PROGRAMS.map(|text| if text.is_empty() { Vec::new() } else { words(text) });
    let any = |of: usize| proptest::collection::vec((0..programs.len(), 0..8_u32, 0..4_u32, 0..3_u64), 1..of);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..300 {
        let events = any(6).new_tree(&mut runner).unwrap().current();
        let worlds: [World<8>; 2] = [(); 2].map(|()| World::new(levels([8, 0], [0, 0])));
        for (program, bits, stage, leaf) in &events {
            let flags = if *leaf > 0 { event::OPTION } else { 0 };
            let core = if bits & 1 == 1 { 1 } else { event::ALL };
            let (stage, option) = (1.max(*stage), leaf.saturating_sub(1));
            let ask = EventAsk { flags, core, stage, option, ..cpuid() };
            for world in &worlds {
                let id = world.add(&ask, &programs[*program]).unwrap().id;
                if bits & 6 == 6 {
                    world.change(event::DISABLE, id).unwrap();
                }
            }
        }
        for (number, leaf, rax) in [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 5, 0)] {
            let [quick, plain] = [true, false].map(|quick| {
                let mut core = Core::new(&worlds[usize::from(quick)], number);
                core.gprs = [rax; 16];
                let before = world::CELLS[0].load(SeqCst);
                let verdict = if quick { core.cpuid_of(leaf) } else { core.fire(event::CPUID, event::PRE, leaf) };
                let counted = world::CELLS[0].load(SeqCst).wrapping_sub(before);
                let world = core.world;
                let hits: Vec<u64> = (0..).zip(&events).map(|(id, _)| world.row(id).hits).collect();
                (verdict, counted, core.text(), hits)
            });
            assert_eq!(quick, plain, "core {number}, leaf {leaf}, rax {rax}: {events:?}");
        }
    }
}
