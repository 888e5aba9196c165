//! The guard that the table keeps against the one of `script-vm`, over every comparison.

mod world;

use abi::request::event;
use script_vm::limits::{DATA_BYTES, GLOBALS_DEFAULT, PROGRAM_WORDS_MAX};
use script_vm::{Limits, verify};
use world::{Core, World, cpuid, levels, words};

const LIMITS: Limits = Limits { words: PROGRAM_WORDS_MAX, globals: GLOBALS_DEFAULT, data: DATA_BYTES };
/// Where signs, carries and masks change.
const EDGES: [u64; 12] =
    [0, 1, 2, 5, 0x7fff, 0xffff_ffff_ffff_8000, 1 << 31, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, u64::MAX];

/// Would catch a comparison that was turned round, loses its sign, wraps at an edge, or is asked of another register.
#[test]
fn a_guard_misses_when_and_only_when_the_script_would_do_nothing() {
    let world: World<1> = World::new(levels([1, 0], [0, 0]));
    let mut core = Core::new(&world, 0);
    let (mut guards, mut hits) = (0, 0);
    for how in ["==", "!=", "<", "<=", ">", ">=", "&"] {
        for not in ["", "!"] {
            for value in EDGES {
                let program = words(&format!("if ({not}(@r9 {how} 0x{value:x})) {{ print(1); }}"));
                let layout = verify(&program, &LIMITS).unwrap();
                let opened = layout.open(&program).unwrap();
                let guard = opened.guard();
                guards += u32::from(guard.is_some());
                world.add(&cpuid(), &program).unwrap();
                for found in EDGES {
                    core.gprs = [value.wrapping_sub(1); 16];
                    core.gprs[9] = found;
                    (core.said, core.ran) = (Vec::new(), Vec::new());
                    core.cpuid();
                    let is = match how {
                        "==" => found == value,
                        "!=" => found != value,
                        "<" => found.cast_signed() < value.cast_signed(),
                        "<=" => found.cast_signed() <= value.cast_signed(),
                        ">" => found.cast_signed() > value.cast_signed(),
                        ">=" => found.cast_signed() >= value.cast_signed(),
                        _ => found & value != 0,
                    };
                    let says = is == not.is_empty();
                    assert_eq!(!core.said.is_empty(), says, "{not}({found:x} {how} {value:x})");
                    if let Some(guard) = guard {
                        assert_eq!(guard.misses(&core), !says, "what script-vm says of {not}({found:x} {how} {value:x})");
                        assert_eq!(!core.ran.is_empty(), says, "{not}({found:x} {how} {value:x}): a miss runs nothing");
                    }
                    hits += u64::from(says);
                }
                assert_eq!(world.row(0).hits, EDGES.len() as u64);
                world.change(event::CLEAR, 0).unwrap();
            }
        }
    }
    assert!(guards > 100 && hits > 500, "{guards} guards, {hits} that say something: the compiler makes them");
}
