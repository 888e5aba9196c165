//! Machine code of events: when it runs and in which order, what it costs, what is refused, and what is left of it.

mod world;

use abi::code;
use abi::kind::Kind;
use abi::request::{EventAsk, event};
use events::{NotAdded, Part};
use std::sync::atomic::Ordering::SeqCst;
use world::{Core, World, cpuid, levels, staged, words};

const CONDITION: Option<Part> = Some(Part::Condition);
const ACTION: Option<Part> = Some(Part::Action);
/// Writes 5 to rax, and to the first byte of the buffer.
const WRITES_5: &[u8] = &[5, 0];

fn small() -> World<8> {
    World::new(levels([8, 2], [4, 1]))
}

/// Would catch a condition that is asked for who is not meant, one that does not hold and counts, halts, suppresses or acts
/// all the same, and a guard that keeps it from being asked.
#[test]
fn what_a_condition_does_not_let_through_is_no_hit_and_does_nothing() {
    let world = small();
    let mut core = Core::new(&world, 0);
    let ask = EventAsk { flags: event::BREAK | event::SHORT_CIRCUIT, ..cpuid() };
    let breaks = world.add_code(&ask, &[], &[7], &[]).unwrap().id;
    let guarded = words("if (@rbx == 3) { print(1); }");
    let scripted = world.add_code(&cpuid(), &guarded, &[7], &[]).unwrap().id;
    world.add_code(&EventAsk { core: 1, ..cpuid() }, &[], &[7], WRITES_5).unwrap();
    assert_eq!(core.cpuid(), events::Verdict::default());
    assert_eq!(core.parts, [(breaks, CONDITION), (scripted, CONDITION)]);
    core.parts.clear();
    core.gprs[0] = 7;
    let verdict = core.cpuid();
    assert_eq!((verdict.short_circuit, verdict.break_by), (true, Some((breaks, event::PRE))));
    assert_eq!(core.parts, [(breaks, CONDITION), (scripted, CONDITION), (scripted, None)]);
    assert_eq!([0, 1, 2].map(|id| (world.row(id).hits, world.row(id).faults)), [(1, 0), (1, 0), (0, 0)]);
}

/// Would catch an order other than the one in which they were written, an action that is left out, and a break or an effect
/// that is not the event's.
#[test]
fn script_and_code_run_in_the_order_in_which_they_were_written() {
    let world = small();
    let mut core = Core::new(&world, 0);
    let program = words("@rcx = @rax;");
    let behind = world.add_code(&cpuid(), &program, &[0], WRITES_5).unwrap().id;
    assert_eq!(core.cpuid(), events::Verdict::default());
    assert_eq!(core.parts, [(behind, CONDITION), (behind, None), (behind, ACTION)]);
    assert_eq!((core.gprs[0], core.gprs[1]), (5, 0), "the script saw what was there before the code");
    world.change(event::CLEAR, behind).unwrap();
    (core.gprs, core.parts) = ([0; 16], Vec::new());
    let ask = EventAsk { flags: event::CODE_FIRST, buffer_bytes: 8, ..cpuid() };
    let first = world.add_code(&ask, &words("@rcx = @rax + db($buffer);"), &[], WRITES_5).unwrap().id;
    core.cpuid();
    assert_eq!(core.parts, [(first, ACTION), (first, None)]);
    assert_eq!(world.row(first).hits, 1);
    // One without a script, with both stages.
    world.change(event::CLEAR, first).unwrap();
    (core.gprs, core.parts) = ([0; 16], Vec::new());
    let alone = world.add_code(&EventAsk { stage: event::PRE | event::POST, ..cpuid() }, &[], &[], &[9; 100]).unwrap().id;
    core.cpuid();
    core.fire(event::CPUID, event::POST, 0);
    assert_eq!((core.parts.as_slice(), core.gprs[0]), ([(alone, ACTION); 2].as_slice(), 9));
}

/// Would catch a fault that is not counted or counted without its place, and one that takes others with it.
#[test]
fn faults_of_code_are_counted_with_their_place_and_others_run_on() {
    let world = small();
    let mut core = Core::new(&world, 0);
    let bad = world.add_code(&cpuid(), &[], &[0xee, 14, 3], WRITES_5).unwrap().id;
    let acts = world.add_code(&cpuid(), &words("@rcx = 1;"), &[], &[0xee, 6, 0xff]).unwrap().id;
    let good = world.add_code(&cpuid(), &[], &[], WRITES_5).unwrap().id;
    core.cpuid();
    core.cpuid();
    assert_eq!((core.gprs[0], core.gprs[1]), (5, 1));
    let row = world.row(bad);
    assert_eq!((row.hits, row.faults), (0, 2), "a condition that faults does not hold");
    assert_eq!(row.last_fault, u64::from(event::CONDITION_FAULT) | (3 | 14 << 24) << 32);
    let row = world.row(acts);
    assert_eq!((row.hits, row.faults), (2, 2));
    let outside = u64::from(event::CODE_OUTSIDE);
    assert_eq!(row.last_fault, u64::from(event::CODE_FAULT) | (outside | 6 << 24) << 32);
    assert_eq!((world.row(good).hits, world.row(good).faults), (2, 0));
}

/// Would catch a size that is not counted, a limit of another size than the documented one, and a refusal that has taken something.
#[test]
fn program_condition_and_code_share_the_unit() {
    let world: World<8> = World::new(levels([2, 1], [1, 0]));
    let unit = |program: &[u64], condition: usize, code: usize| {
        let added = world.add_code(&cpuid(), program, &vec![0x90; condition], &vec![0x90; code]);
        let unit = added.map(|added| added.unit);
        world.change(event::CLEAR, event::ALL).unwrap();
        assert_eq!((world.used(), world.arena.open()), ([0; 4], 0));
        unit.map_err(|not| (not.code, not.bytes, not.bytes_most))
    };
    // A return takes a byte, and each begins at eight.
    assert_eq!(unit(&[], 100, 8192 - 104 - 1), Ok(Kind::RegularEvent));
    assert_eq!(unit(&[], 100, 8192 - 104), Ok(Kind::BigEvent));
    assert_eq!(unit(&[], 101, 1), Ok(Kind::BigEvent));
    let program = words("print(1);");
    let left = 8192 - 8 * program.len();
    assert_eq!(unit(&program, 0, left - 1), Ok(Kind::RegularEvent));
    assert_eq!(unit(&program, 0, left), Ok(Kind::BigEvent));
    assert_eq!(unit(&[], 4096, 81_920 - 4104 - 1), Ok(Kind::BigEvent));
    assert_eq!(unit(&[], 4096, 81_920 - 4104), Err((code::PROGRAM_TOO_LARGE, 81_928, 81_920)));
    assert_eq!(unit(&[], 4097, 1), Err((code::CONDITION_TOO_LARGE, 4097, 4096)));
    assert_eq!(unit(&[], 0, 1 << 24), Err((code::PROGRAM_TOO_LARGE, (1 << 24) + 8, 81_920)));
    world.add(&cpuid(), &[]).unwrap();
    world.add(&cpuid(), &[]).unwrap();
    assert_eq!(world.add_code(&cpuid(), &[], &[1], &[2]).unwrap().unit, Kind::BigEvent);
    let not = world.add_code(&cpuid(), &[], &[1], &[2]).unwrap_err();
    assert_eq!((not.code, not.asked, not.free), (code::NO_REGULAR_EVENT, 1, 0));
    let not = world.add_code(&cpuid(), &[], &[1; 101], &[2]).unwrap_err();
    assert_eq!((not.code, not.asked, not.free), (code::NO_BIG_EVENT, 1, 0));
}

/// Would catch code that runs on behind its end, words that are taken for others, and an order that means nothing.
#[test]
fn what_does_not_end_in_a_return_is_refused() {
    let world = small();
    let add =
        |ask: EventAsk, staged: &[u64]| world.table.add(&ask, staged, &world.arena, &world.reserve, 0).map_err(|not| not.code);
    let ask = EventAsk { condition_bytes: 2, code_bytes: 8, ..cpuid() };
    let good = [staged(&[1, 2]), staged(&[3; 8])].concat();
    assert_eq!(good.len(), 3);
    for wrong in [&good[..2], &[good[0], good[1], good[2], 0], &[0, good[1], good[2]], &[good[0], good[1], 0x90]] {
        assert_eq!(add(ask, wrong), Err(code::REQUEST_MALFORMED), "{wrong:x?}");
    }
    assert_eq!(add(EventAsk { flags: event::CODE_FIRST, ..ask }, &good), Err(code::EVENT_INVALID));
    assert_eq!(add(EventAsk { program_words: 1, ..ask }, &good), Err(code::REQUEST_MALFORMED));
    assert_eq!((world.used(), world.arena.open()), ([0; 4], 0));
    assert!(add(ask, &good).is_ok());
}

/// Would catch half an event: one whose code cannot be run, or that keeps what it took.
#[test]
fn code_that_cannot_be_made_executable_leaves_nothing() {
    let world = small();
    world.arena.closed.store(true, SeqCst);
    let ask = EventAsk { buffer_bytes: 8, ..cpuid() };
    let not = world.add_code(&ask, &words("print(1);"), &[1], &[2]).unwrap_err();
    assert_eq!(not, NotAdded { code: code::UNBALANCED, ..NotAdded::default() });
    assert_eq!(world.used(), [0; 4]);
    world.add(&ask, &words("print(1);")).unwrap();
    world.arena.closed.store(false, SeqCst);
    assert_eq!(world.add_code(&ask, &[], &[1], &[2]).unwrap().id, 1);
    assert_eq!((world.change(event::CLEAR, event::ALL), world.arena.open()), (Ok(2), 0));
    assert_eq!(world.used(), [0; 4]);
}
