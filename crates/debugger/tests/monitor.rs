//! `!monitor` at the prompt, over the model of root: what is asked of it, what is refused in which words, what the plan says.

mod common;

use abi::request::memory::{NO_PID, PHYSICAL, Place, VIRTUAL};
use abi::request::monitor::{Ask, EXECUTE, READ, WRITE};
use abi::request::{EventAsk, event};
use common::{Prompt, try_line};

const AT: u64 = 0xffff_8880_0000_2ff8;

/// Where, up to where, and what for.
fn asked(line: &str) -> (Place, u64, u32, EventAsk) {
    let mut prompt = Prompt::halted();
    prompt.ok(line);
    let root = prompt.root.lock().unwrap();
    let Ask { event, place, last, access, zero } = root.events.monitors[0];
    assert_eq!((zero, event.kind, event.flags & event::OPTION), (0, event::MONITOR, 0));
    (place, last, access, event)
}

/// Would catch a range that is a byte too long or too short, a byte alone that is refused (facts B.40), an order of words that
/// is not taken, and a process that filters and is not translated by, or the other way round.
#[test]
fn a_range_is_the_same_in_every_spelling() {
    let place = Place { address: AT, space: VIRTUAL, pid: NO_PID };
    for line in [
        "!monitor w ffff888000002ff8 ffff888000003007",
        "!monitor va W ffff888000002ff8 l 10",
        "!MONITOR ffff888000002ff8 l 8*2 w va",
        "!monitor ffff888000002ff0+8 w stage pre L 0n16",
    ] {
        let (got, last, access, event) = asked(line);
        assert_eq!((got, last, access), (place, AT + 15, WRITE), "{line}");
        assert_eq!((event.pid, event.stage, event.flags), (event::ALL, event::PRE, event::BREAK), "{line}");
    }
    for (word, bits) in [("r", READ), ("x", EXECUTE), ("rw", READ | WRITE), ("xw", WRITE | EXECUTE), ("wrx", 7)] {
        assert_eq!(asked(&format!("!monitor pa {word} 2000 2000")).2, bits);
    }
    let (place, last, _, _) = asked("!monitor pa r 2000 l 1 pid 1c8");
    assert_eq!((place, last), (Place { address: 0x2000, space: PHYSICAL, pid: NO_PID }, 0x2000));
    let (place, _, _, event) = asked("!monitor r 402000 l 1 pid 1c8 core 1 sc on script { x = $context; }");
    assert_eq!(place, Place { address: 0x40_2000, space: VIRTUAL, pid: 0x1c8 });
    assert_eq!((event.pid, event.core, event.flags), (0x1c8, 1, event::SHORT_CIRCUIT));
}

/// Would catch a line that says nothing of what is missing, or offers one that does not work.
#[test]
fn what_is_missing_is_said_and_what_is_offered_works() {
    let mut prompt = Prompt::halted();
    for (line, message, offer) in [
        (
            "!monitor ffff888000002000 l 8",
            "err, which accesses: reads (r), writes (w), executed instructions (x), or several of them",
            None,
        ),
        ("!monitor w", "err, which bytes", None),
        ("!monitor w 2000", "err, up to where", Some("!monitor w 2000 l 8")),
        ("!monitor w 2000 1fff", "err, the last byte is before the first", Some("!monitor w 2000 2000")),
        ("!monitor w 2000 l 0", "err, no byte is none to be monitored", Some("!monitor w 2000 l 1")),
        ("!monitor w ffffffffffffffff l 2", "err, there are not so many addresses", Some("!monitor w ffffffffffffffff l 1")),
        ("!monitor pa pa w 2000 l 1", "err, 'pa' stands there twice", None),
    ] {
        let printed = prompt.err(line);
        assert!(printed[0].starts_with(message), "{line}: {printed:#?}");
        assert_eq!(try_line(&printed), offer, "{line}");
        offer.map(|offer| prompt.ok(offer));
    }
    let printed = prompt.err("!monitor w 2000 3000 4000");
    assert!(printed[0].contains("4000"), "{printed:#?}");
    assert_eq!(prompt.root.lock().unwrap().events.monitors.len(), 4);
}

/// Would catch a plan that knows less than what is taken, and one that pays a page at a time for what is one entry.
#[test]
fn a_plan_counts_the_pages_of_a_range() {
    let path = std::env::temp_dir().join(format!("hyperdbg-monitor-plan-{}.kd", std::process::id()));
    let lines = "!monitor w ffff888000002ff8 l 10\n!monitor pa rw 200000 l 200000\n!monitor x ffff888000010000 l 12000\n";
    std::fs::write(&path, lines).unwrap();
    let mut prompt = Prompt::halted();
    let printed = prompt.ok(&format!("prealloc plan {}", path.display()));
    std::fs::remove_file(&path).unwrap();
    // 2, 1 and 18 pages of 20 that are there.
    assert!(printed.iter().any(|line| line == "     try: prealloc monitor 1"), "{printed:#?}");
}
