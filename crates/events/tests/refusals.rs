//! Every refusal, with its numbers; and that nothing was taken.

mod world;

use abi::code;
use abi::kind::Kind;
use abi::request::{EventAnswer, EventAsk, event};
use events::NotAdded;
use std::sync::atomic::Ordering::SeqCst;
use world::{Core, World, cpuid, levels, words};

/// A script that is a program of about so many bytes.
fn long(bytes: usize) -> Vec<u64> {
    let line = "print(@rax);";
    let words = words(&line.repeat(bytes / 32));
    assert!((bytes..bytes + bytes / 4).contains(&(8 * words.len())), "{} bytes", 8 * words.len());
    words
}

fn refused<const EVENTS: usize>(world: &World<EVENTS>, ask: EventAsk, program: &[u64]) -> NotAdded {
    let (used, rows) = (world.used(), world.table.rows(0).count);
    let not = world.add(&ask, program).expect_err("a refusal");
    assert_eq!((world.used(), world.table.rows(0).count, world.table.unsettled()), (used, rows, 0), "nothing was taken");
    not
}

fn only(code: u32) -> NotAdded {
    NotAdded { code, ..NotAdded::default() }
}

/// Would catch an event that can never fire, or in a way that nobody wrote.
#[test]
fn what_no_event_can_be_is_refused() {
    let world: World<4> = World::new(levels([4, 0], [0, 0]));
    let with = |change: fn(&mut EventAsk)| {
        let mut ask = cpuid();
        change(&mut ask);
        refused(&world, ask, &[])
    };
    let invalid = only(code::EVENT_INVALID);
    assert_eq!(with(|ask| ask.kind = 0), invalid);
    assert_eq!(with(|ask| ask.kind = event::DEBUG_REGISTER + 1), invalid);
    assert_eq!(with(|ask| ask.stage = 0), invalid);
    assert_eq!(with(|ask| ask.stage = 4), invalid);
    assert_eq!(with(|ask| ask.stage = 5), invalid);
    assert_eq!(with(|ask| ask.flags = 1 << 31), invalid);
    assert_eq!(with(|ask| ask.flags = event::BREAK | event::BREAKPOINT), invalid, "no hook");
    assert_eq!(with(|ask| ask.flags = event::BY_THREAD), invalid, "no thread");
    assert_eq!(with(|ask| ask.flags = event::BREAK | event::TEMPORARY), invalid, "no breakpoint");
    assert_eq!(with(|ask| (ask.kind, ask.flags) = (event::TSC, event::OPTION)), invalid, "no option");
    assert_eq!(with(|ask| (ask.flags, ask.option) = (event::OPTION, 1 << 32)), invalid, "a leaf has 32 bits");
    let vector = |kind, option| {
        let flags = event::OPTION;
        refused(&world, EventAsk { kind, flags, option, ..cpuid() }, &[])
    };
    let exceptions = [0x20, 1 << 32].map(|option| vector(event::EXCEPTION, option));
    assert_eq!(exceptions, [only(code::EXCEPTION_INVALID); 2]);
    let interrupts = [0x1f, 0x100].map(|option| vector(event::INTERRUPT, option));
    assert_eq!(interrupts, [only(code::INTERRUPT_INVALID); 2]);
    assert_eq!(with(|ask| (ask.kind, ask.flags) = (event::SYSRET, event::OPTION)), invalid, "no option");
    assert_eq!(
        with(|ask| (ask.kind, ask.flags) = (event::SYSRET, event::SHORT_CIRCUIT)),
        invalid,
        "there is no other way back"
    );
    let port = |ask: &mut EventAsk| (ask.kind, ask.flags, ask.option) = (event::PORT_OUT, event::OPTION, 0x1_0000);
    assert_eq!(with(port), invalid, "a port has 16 bits");
    let control = |ask: &mut EventAsk| (ask.kind, ask.flags, ask.option) = (event::CONTROL_WRITE, event::OPTION, 1 << 32 | 3);
    assert_eq!(with(control), invalid, "another control register");
    assert_eq!(with(|ask| (ask.kind, ask.flags) = (event::DEBUG_REGISTER, event::OPTION)), invalid, "no option");
    for stage in [event::POST, event::PRE | event::POST] {
        let ask = EventAsk { flags: event::SHORT_CIRCUIT, stage, ..cpuid() };
        assert_eq!(refused(&world, ask, &[]), only(code::SHORT_CIRCUIT_POST));
    }
    assert_eq!(with(|ask| ask.core = 256), only(code::CORE_INVALID));
    for kind in event::CPUID..=event::DEBUG_REGISTER {
        world.add(&EventAsk { kind, ..cpuid() }, &[]).map(|added| world.change(event::CLEAR, added.id)).unwrap().unwrap();
    }
    world.add(&EventAsk { flags: event::OPTION, option: 0x1f, core: 255, ..cpuid() }, &[]).unwrap();
    world.add(&EventAsk { kind: event::EXCEPTION, flags: event::OPTION, option: 0x1f, ..cpuid() }, &[]).unwrap();
    world.add(&EventAsk { kind: event::INTERRUPT, flags: event::OPTION, option: 0xff, ..cpuid() }, &[]).unwrap();
}

/// Would catch a size that is cut to fit, and a program that is trusted to be as long as it says.
#[test]
fn what_is_too_large_is_refused_with_both_sizes() {
    let world: World<4> = World::new(levels([1, 1], [1, 1]));
    let ask = EventAsk { program_words: 10_241, ..cpuid() };
    let too_large = world.table.add(&ask, &[0; 10_241], &world.arena, &world.reserve, 0).unwrap_err();
    assert_eq!(too_large, NotAdded { bytes: 81_928, bytes_most: 81_920, ..only(code::PROGRAM_TOO_LARGE) });
    let not = refused(&world, EventAsk { buffer_bytes: 1 << 33, ..cpuid() }, &[]);
    assert_eq!(not, NotAdded { bytes: 1 << 33, bytes_most: 81_920, ..only(code::BUFFER_TOO_LARGE) });
    assert_eq!(refused(&world, EventAsk { buffer_bytes: 81_921, ..cpuid() }, &[]).bytes, 81_921);
    let ask = EventAsk { program_words: 1, ..cpuid() };
    let not = world.table.add(&ask, &[], &world.arena, &world.reserve, 0).unwrap_err();
    assert_eq!(not, only(code::REQUEST_MALFORMED));
    assert_eq!(world.used(), [0; 4]);
}

/// Would catch a program that runs unverified, and a refusal that does not say where.
#[test]
fn a_program_that_is_none_is_refused_with_what_and_where() {
    let world: World<4> = World::new(levels([1, 0], [0, 0]));
    let not = refused(&world, cpuid(), &[1, 2, 3]);
    assert_eq!(not, NotAdded { bytes: 24, bytes_most: 81_920, rejected: 2, ..only(code::PROGRAM_REJECTED) });
    let mut wrong = words("print(@rax); print(@rbx);");
    wrong[4 + 2 + 3] = u64::MAX;
    assert_eq!(refused(&world, cpuid(), &wrong).rejected, 5 | 3 << 32);
    let answer = EventAnswer::from(not);
    assert_eq!((answer.id, answer.bytes, answer.rejected), (event::ALL, 24, 2));
}

/// Would catch a fallback that is not taken, or taken too early, and a refusal that offers the dearer help.
#[test]
fn what_fits_a_regular_unit_gets_a_big_one_only_when_no_regular_one_is_left() {
    let world: World<8> = World::new(levels([2, 1], [1, 1]));
    let ask = EventAsk { buffer_bytes: 4096, ..cpuid() };
    let added = world.add(&ask, &long(8000)).unwrap();
    assert_eq!((added.unit, added.buffer), (Kind::RegularEvent, Some(Kind::RegularSafeBuffer)));
    let added = world.add(&ask, &[]).unwrap();
    assert_eq!((added.unit, added.buffer), (Kind::RegularEvent, Some(Kind::BigSafeBuffer)));
    let added = world.add(&cpuid(), &[]).unwrap();
    assert_eq!((added.unit, added.buffer), (Kind::BigEvent, None));
    assert_eq!(world.row(added.id).unit, Kind::BigEvent as u32);
    assert_eq!(world.used(), [2, 1, 1, 1]);

    let not = refused(&world, cpuid(), &words("print(1);"));
    assert_eq!((not.code, not.unit), (code::NO_REGULAR_EVENT, Kind::RegularEvent as u32));
    assert_eq!((not.asked, not.free, not.reserved), (1, 0, 2));
    world.reserve.prealloc(Kind::RegularEvent.index(), 1).unwrap();
    let not = refused(&world, ask, &[]);
    assert_eq!((not.code, not.unit), (code::NO_REGULAR_SAFE_BUFFER, Kind::RegularSafeBuffer as u32));
    assert_eq!((not.asked, not.free, not.reserved, not.bytes), (1, 0, 1, 4096));
    world.reserve.prealloc(Kind::RegularSafeBuffer.index(), 1).unwrap();
    world.add(&ask, &[]).unwrap();
    assert_eq!(world.change(event::CLEAR, event::ALL), Ok(4));
    assert_eq!(world.used(), [0; 4]);
}

/// Would catch a big program or buffer in a regular unit.
#[test]
fn what_does_not_fit_a_regular_unit_asks_for_a_big_one() {
    let world: World<8> = World::new(levels([2, 1], [2, 1]));
    let big = long(8200);
    let added = world.add(&EventAsk { buffer_bytes: 81_920, ..cpuid() }, &big).unwrap();
    assert_eq!((added.unit, added.buffer), (Kind::BigEvent, Some(Kind::BigSafeBuffer)));
    let mut core = Core::new(&world, 0);
    core.cpuid();
    assert_eq!((core.ran.len(), world.row(0).faults), (1, 0));
    let not = refused(&world, cpuid(), &big);
    assert_eq!((not.code, not.unit), (code::NO_BIG_EVENT, Kind::BigEvent as u32));
    assert_eq!((not.asked, not.free, not.reserved, not.bytes), (1, 0, 1, 8 * big.len() as u64));
    let not = refused(&world, EventAsk { buffer_bytes: 4097, ..cpuid() }, &[]);
    assert_eq!((not.code, not.unit, not.bytes), (code::NO_BIG_SAFE_BUFFER, Kind::BigSafeBuffer as u32, 4097));
}

/// Would catch a table that writes past its end, or that stays full.
#[test]
fn a_full_table_says_so_and_has_room_after_a_clear() {
    let world: World<2> = World::new(levels([4, 0], [0, 0]));
    world.add(&cpuid(), &[]).unwrap();
    world.add(&cpuid(), &[]).unwrap();
    assert_eq!(refused(&world, cpuid(), &[]), NotAdded { asked: 1, reserved: 2, ..only(code::EVENTS_FULL) });
    world.change(event::CLEAR, 0).unwrap();
    assert_eq!(world.add(&cpuid(), &[]).unwrap().id, 0);
}

/// Would catch a refusal by a test that is taken for a lack, or that leaves half.
#[test]
fn an_injected_refusal_and_frames_that_are_no_memory_leave_nothing() {
    let world: World<2> = World::new(levels([1, 1], [1, 0]));
    let ask = EventAsk { buffer_bytes: 8, ..cpuid() };
    for kind in [Kind::RegularEvent, Kind::RegularSafeBuffer] {
        world.reserve.fail_nth(kind.index(), 1).unwrap();
        let not = refused(&world, ask, &[]);
        assert_eq!(not, NotAdded { unit: kind as u32, asked: 1, ..only(code::INJECTED) });
    }
    let added = world.add(&ask, &words("print(1);")).unwrap();
    let mut pfn = 0;
    world.reserve.owners(|kind, owner, handle| {
        assert_eq!(owner.0, added.id);
        if kind == Kind::RegularEvent.index() {
            pfn = world.reserve.extent(handle).unwrap().pfn;
        }
    });
    world.change(event::CLEAR, event::ALL).unwrap();
    world.arena.broken.store(pfn, SeqCst);
    assert_eq!(refused(&world, ask, &words("print(1);")), only(code::UNBALANCED));
}

/// Would catch a change of what is not there that counts, and a number that is taken for another.
#[test]
fn a_change_of_nothing_is_refused() {
    let world: World<2> = World::new(levels([1, 0], [0, 0]));
    assert_eq!(world.change(event::ENABLE, 0), Err(code::NO_SUCH_EVENT));
    assert_eq!(world.change(event::CLEAR, 2), Err(code::NO_SUCH_EVENT));
    assert_eq!(world.change(0, event::ALL), Err(code::REQUEST_MALFORMED));
    assert_eq!(world.change(event::CLEAR, event::ALL), Ok(0));
}
