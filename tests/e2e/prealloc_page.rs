//! The documentation's page of `prealloc`, line by line, in both modes.

use lab::{Machine, Mode, Prompt};
use tests::Result;
use tests::ledger::Ledger;

/// The page's examples, as it prints them.
const EXAMPLES: [&str; 3] = [
    "0: kHyperDbg> prealloc regular-event 10\n\
     the requested pools are allocated and reserved\n\
     \n\
     0: kHyperDbg> prealloc monitor 10\n\
     the requested pools are allocated and reserved\n",
    "0: kHyperDbg> prealloc regular-event 10\n\
     the requested pools are allocated and reserved\n\
     \n\
     0: kHyperDbg> prealloc epthook 10\n\
     the requested pools are allocated and reserved\n",
    "0: kHyperDbg> prealloc regular-safe-buffer 1\n\
     the requested pools are allocated and reserved\n",
];

/// The line that is printed when, and only when, everything was reserved.
const SUCCESS: &str = "the requested pools are allocated and reserved";

/// The page's table of types.
const TYPES: [&str; 8] = [
    "thread-interception",
    "monitor",
    "epthook",
    "epthook2",
    "regular-event",
    "big-event",
    "regular-safe-buffer",
    "big-safe-buffer",
];

/// What may be typed beyond the examples: the line, the type it means, and how many.
const SPELLINGS: [(&str, &str, u64); 28] = [
    ("PREALLOC MONITOR 1", "monitor", 1),
    ("Prealloc Regular-EVENT 2", "regular-event", 2),
    ("prealloc Thread-Interception 1", "thread-interception", 1),
    ("prealloc !monitor 3", "monitor", 3),
    ("prealloc !epthook 2", "epthook", 2),
    ("prealloc !epthook2 2", "epthook2", 2),
    ("prealloc !EptHook2 1", "epthook2", 1),
    ("preallocate monitor 1", "monitor", 1),
    ("preallocation monitor 1", "monitor", 1),
    ("PreAllocate !MONITOR 1", "monitor", 1),
    ("  prealloc    monitor   1  ", "monitor", 1),
    ("prealloc monitor 10", "monitor", 0x10),
    ("prealloc monitor 0x10", "monitor", 0x10),
    ("prealloc monitor 0X1f", "monitor", 0x1f),
    ("prealloc monitor 1F", "monitor", 0x1f),
    ("prealloc monitor 0n16", "monitor", 16),
    ("prealloc monitor 0N20", "monitor", 20),
    ("prealloc monitor 0y1010", "monitor", 0b1010),
    ("prealloc monitor 0t20", "monitor", 0o20),
    ("prealloc monitor 00000000`00000010", "monitor", 0x10),
    ("prealloc monitor 0000000000000000000000000000000000000010", "monitor", 0x10),
    ("prealloc monitor 8+8", "monitor", 0x10),
    ("prealloc monitor 0n10+6", "monitor", 0x10),
    ("prealloc monitor (10 + 5)", "monitor", 0x15),
    ("prealloc monitor (4-2)*8", "monitor", 0x10),
    ("prealloc monitor 1<<4", "monitor", 0x10),
    ("prealloc monitor 21/2", "monitor", 0x10),
    ("prealloc monitor ~(~10)", "monitor", 0x10),
];

/// Types every type and every spelling, and looks after each whether the ledger shows just that.
fn types_and_spellings(prompt: &mut Prompt) -> Result {
    let mut expected = Ledger::read(prompt)?;
    for (number, kind) in (1..).zip(TYPES) {
        assert_eq!(prompt.type_line(&format!("prealloc {kind} {number:x}"))?.text(), SUCCESS, "{kind}");
        expected = expected.with(kind, number);
    }
    Ledger::read(prompt)?.assert_types(&expected, "every type once");
    for (line, kind, units) in SPELLINGS {
        assert_eq!(prompt.type_line(line)?.text(), SUCCESS, "{line:?}");
        expected = expected.with(kind, units);
        Ledger::read(prompt)?.assert_types(&expected, line);
    }
    Ok(())
}

/// Would catch any difference from the page: a sentence, a blank, the prompt, or a success that reserves something else.
#[test]
fn the_examples_of_the_page_work_character_for_character_while_halted() -> Result {
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Debugger)?;
    let mut kd = machine.debugger(&["--pause"])?;
    assert_eq!(kd.wait_prompt()?, "0: kHyperDbg> ");
    let before = Ledger::read(&mut kd)?;
    for example in EXAMPLES {
        kd.wait_prompt()?;
        let start = kd.row();
        for line in example.lines().filter_map(|line| line.strip_prefix("0: kHyperDbg> ")) {
            kd.type_line(line)?;
        }
        let session = kd.session();
        let seen: Vec<&str> = session.lines().skip(start).take(example.lines().count()).collect();
        assert_eq!(seen.join("\n"), example.trim_end());
    }
    let expected = before.with("regular-event", 0x20).with("monitor", 0x10).with("epthook", 0x10);
    let expected = expected.with("regular-safe-buffer", 1);
    Ledger::read(&mut kd)?.assert_types(&expected, "the page's examples");
    Ok(machine.console_is_healthy()?)
}

/// Would catch a type, a case, a name of the command or a way to write a number that is not taken, or taken for another.
#[test]
fn every_type_name_and_number_is_taken_while_halted() -> Result {
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Debugger)?;
    let mut kd = machine.debugger(&["--pause"])?;
    types_and_spellings(&mut kd)?;
    let before = Ledger::read(&mut kd)?;
    assert_eq!(kd.type_line("prealloc monitor (@rip-@rip)+5")?.text(), SUCCESS);
    Ledger::read(&mut kd)?.assert_types(&before.with("monitor", 5), "a count made of a register");
    assert_eq!(kd.wait_prompt()?, "0: kHyperDbg> ", "nothing of this may continue the debuggee");
    Ok(machine.console_is_healthy()?)
}

/// Would catch VMI Mode differing from Debugger Mode in anything but the prompt.
#[test]
fn every_type_name_and_number_is_taken_on_the_machine_itself() -> Result {
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Vmi)?;
    let mut kd = machine.vmi(&[])?;
    assert_eq!(kd.wait_prompt()?, "HyperDbg> ");
    let before = Ledger::read(&mut kd)?;
    let mut expected = before;
    for line in EXAMPLES.iter().flat_map(|example| example.lines()).filter_map(|line| line.strip_prefix("0: kHyperDbg> ")) {
        assert_eq!(kd.type_line(line)?.text(), SUCCESS, "{line}");
        let words: Vec<&str> = line.split(' ').collect();
        expected = expected.with(words[1], u64::from_str_radix(words[2], 16).expect("the page's counts are hex"));
    }
    Ledger::read(&mut kd)?.assert_types(&expected, "the page's examples");
    types_and_spellings(&mut kd)?;
    Ok(machine.console_is_healthy()?)
}
