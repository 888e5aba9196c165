//! The table against a list in plain memory, step by step.

mod world;

use abi::request::event;
use proptest::prelude::*;
use world::{Core, World, cpuid, levels, words};

#[derive(Clone, Debug)]
enum Step {
    Add { kind: u32, big: bool, buffer: u64 },
    Change { what: u32, id: u32 },
    Fire { kind: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    let id = prop_oneof![8 => 0u32..10, 1 => Just(event::ALL)];
    prop_oneof![
        3 => (1u32..4, prop::bool::weighted(0.2), prop_oneof![Just(0u64), Just(8), Just(4097)])
            .prop_map(|(kind, big, buffer)| Step::Add { kind, big, buffer }),
        2 => (event::ENABLE..=event::CLEAR, id).prop_map(|(what, id)| Step::Change { what, id }),
        2 => (1u32..4).prop_map(|kind| Step::Fire { kind }),
    ]
}

#[derive(Clone, Debug)]
struct Known {
    id: u32,
    kind: u32,
    enabled: bool,
    hits: u64,
    units: [u64; 4],
}

/// What there is of regular and big events, regular and big buffers.
const LEVELS: [u64; 4] = [4, 2, 2, 2];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// Would catch an id, an order, a count, a unit or a refusal that differs from what the words say.
    #[test]
    fn the_table_is_what_a_list_would_be(steps in prop::collection::vec(step(), 1..60)) {
        let world: World<8> = World::new(levels([LEVELS[0], LEVELS[1]], [LEVELS[2], LEVELS[3]]));
        let mut core = Core::new(&world, 0);
        let (small, big) = (words("print($event_id);"), words(&"print($event_id);".repeat(400)));
        prop_assert!(8 * big.len() > 8192);
        let mut known: Vec<Known> = Vec::new();
        for step in steps {
            let used = |known: &[Known], at: usize| known.iter().map(|event| event.units[at]).sum::<u64>();
            match step {
                Step::Add { kind, big: is_big, buffer } => {
                    let free = |at: usize| LEVELS[at] > used(&known, at);
                    let pick = |is_big: bool, first: usize| {
                        let regular = (!is_big && free(first)).then_some(first);
                        regular.or(free(first + 1).then_some(first + 1))
                    };
                    let picked = (known.len() < 8).then(|| {
                        let buffer = if buffer == 0 { Some(None) } else { pick(buffer > 4096, 2).map(Some) };
                        pick(is_big, 0).zip(buffer)
                    });
                    let ask = abi::request::EventAsk { kind, buffer_bytes: buffer, ..cpuid() };
                    let added = world.add(&ask, if is_big { &big } else { &small });
                    match picked.flatten() {
                        Some((unit, buffer)) => {
                            let id = (0..).find(|id| known.iter().all(|event| event.id != *id)).unwrap();
                            let mut units = [0; 4];
                            units[unit] = 1;
                            if let Some(buffer) = buffer {
                                units[buffer] = 1;
                            }
                            prop_assert_eq!(added.map(|added| added.id), Ok(id));
                            known.push(Known { id, kind, enabled: true, hits: 0, units });
                        }
                        None => prop_assert!(added.is_err()),
                    }
                }
                Step::Change { what, id } => {
                    let is_meant = |event: &Known| id == event::ALL || event.id == id;
                    let count = u32::try_from(known.iter().filter(|event| is_meant(event)).count()).unwrap();
                    let expected = if count > 0 || id == event::ALL { Ok(count) } else { Err(abi::code::NO_SUCH_EVENT) };
                    prop_assert_eq!(world.change(what, id), expected);
                    if what == event::CLEAR {
                        known.retain(|event| !is_meant(event));
                    } else {
                        known.iter_mut().filter(|event| is_meant(event)).for_each(|event| event.enabled = what == event::ENABLE);
                    }
                }
                Step::Fire { kind } => {
                    core.ran.clear();
                    core.fire(kind, event::PRE, 0);
                    let mut asked = Vec::new();
                    for event in known.iter_mut().filter(|event| event.enabled && event.kind == kind) {
                        event.hits += 1;
                        asked.push(event.id);
                    }
                    prop_assert_eq!(&core.ran, &asked);
                }
            }
            prop_assert_eq!(world.used(), [0, 1, 2, 3].map(|at| used(&known, at)));
            let rows = world.table.rows(0);
            let mut by_id = known.clone();
            by_id.sort_by_key(|event| event.id);
            let rows: Vec<_> = rows.rows[..rows.count as usize].iter().map(|row| (row.id, row.kind, row.enabled, row.hits)).collect();
            let expected: Vec<_> = by_id.iter().map(|event| (event.id, event.kind, u32::from(event.enabled), event.hits)).collect();
            prop_assert_eq!(rows, expected);
            for kind in 0..8 {
                prop_assert_eq!(world.table.armed(kind), known.iter().any(|event| event.enabled && event.kind == kind));
            }
        }
    }
}
