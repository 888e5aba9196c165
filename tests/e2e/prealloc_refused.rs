//! `prealloc` that cannot be done: each refusal has its sentence, takes nothing, and offers a line that works.

use lab::{Answer, Machine, Mode, Prompt};
use tests::Result;
use tests::ledger::Ledger;

const SUCCESS: &str = "the requested pools are allocated and reserved";

/// What the prompt itself refuses: the line, the first line of the answer, and the line that is offered.
const MISTYPED: [(&str, &str, Option<&str>); 19] = [
    ("prealloc nonsense 10", "err, couldn't resolve error at 'nonsense'", None),
    ("prealloc monitors 10", "err, couldn't resolve error at 'monitors'", Some("prealloc monitor 10")),
    ("prealloc REGULAR-EVNT 10", "err, couldn't resolve error at 'REGULAR-EVNT'", Some("prealloc regular-event 10")),
    ("prealloc !regular-event 10", "err, couldn't resolve error at '!regular-event'", Some("prealloc regular-event 10")),
    ("prealloc 10 monitor", "err, couldn't resolve error at '10'", Some("prealloc monitor 10")),
    ("prealloc monitor", "incorrect use of the 'prealloc'", None),
    ("prealloc monitor 10 10", "incorrect use of the 'prealloc'", None),
    ("preallocation 10", "incorrect use of the 'preallocation'", None),
    ("prealloc monitor 10 + 10", "incorrect use of the 'prealloc'", None),
    ("prealloc monitor zz", "err, 'zz' is not a number", Some("prealloc monitor 10")),
    ("prealloc monitor 0n1f", "err, 'f' is not a digit of a number to base 10", Some("prealloc monitor 0x1f")),
    ("prealloc monitor 0x", "err, '0x' is not a number", Some("prealloc monitor 10")),
    ("prealloc monitor `", "err, '`' is not a number", Some("prealloc monitor 10")),
    ("prealloc monitor -1", "err, a count cannot be negative", Some("prealloc monitor 10")),
    ("prealloc monitor 1-2", "err, a count cannot be negative", Some("prealloc monitor 10")),
    ("prealloc monitor 10/0", "err, this is zero, and nothing can be divided by it", None),
    ("prealloc monitor (10", "err, this is never closed by ')'", None),
    (
        "prealloc monitor 10000000000000000",
        "err, the number does not fit 64 bits; the largest is ffffffffffffffff",
        Some("prealloc monitor 10"),
    ),
    (
        "prealloc monitor ffffffffffffffff+1",
        "err, the result does not fit 64 bits, and a count is not cut; the largest is ffffffffffffffff",
        Some("prealloc monitor 10"),
    ),
];

/// Counts that no machine of this size can hold: all of 64 bits, and such as become small when they are cut to 32 bits or
/// multiplied by the pages of a unit.
const TOO_MANY: [(&str, &str); 4] = [
    ("monitor", "ffffffffffffffff"),
    ("monitor", "100000001"),
    ("regular-event", "100000000"),
    ("big-safe-buffer", "ccccccccccccccd"),
];

fn try_line(answer: &Answer) -> Option<&str> {
    answer.lines.iter().find_map(|line| line.trim_start().strip_prefix("try: "))
}

fn first(answer: &Answer) -> &str {
    answer.lines.first().map_or("", String::as_str)
}

/// Types each line that is refused, looks whether the ledger stayed as it was, and types the line that is offered.
fn refusals(kd: &mut Prompt) -> Result {
    let before = Ledger::read(kd)?;
    let prompt = kd.wait_prompt()?;
    for (line, says, offered) in MISTYPED {
        let answer = kd.type_line(line)?;
        assert_eq!((first(&answer), try_line(&answer)), (says, offered), "{line}: {}", answer.text());
        assert_eq!(Ledger::read(kd)?, before, "after {line:?}");
    }
    for line in MISTYPED.iter().filter_map(|(_, _, offered)| *offered) {
        assert_eq!(kd.type_line(line)?.text(), SUCCESS, "{line}");
    }
    for kind in ["monitor", "regular-event"] {
        let kept = Ledger::read(kd)?.types[kind].kept - before.types[kind].kept;
        let answer = kd.type_line(&format!("prealloc release {kind} {kept:x}"))?;
        assert!(first(&answer).starts_with("released: 0x"), "{}", answer.text());
    }
    Ledger::read(kd)?.assert_types(&before, "what the offered lines reserved was released");
    zero(kd)?;
    too_many(kd)?;
    assert_eq!(kd.wait_prompt()?, prompt, "nothing of this may continue the debuggee");
    Ok(())
}

fn zero(kd: &mut Prompt) -> Result {
    let (before, refused) = (Ledger::read(kd)?, Ledger::refused(kd)?);
    let answer = kd.type_line("prealloc epthook 0")?;
    assert_eq!(first(&answer), "err, nothing to reserve: 0x0 epthook asked (c0001010)");
    assert_eq!(Ledger::read(kd)?, before, "after a count of zero");
    assert_eq!(Ledger::refused(kd)?["epthook"], refused["epthook"] + 1, "root counts what it refused");
    assert_eq!(try_line(&answer), Some("prealloc epthook 1"));
    assert_eq!(kd.type_line("prealloc epthook 1")?.text(), SUCCESS);
    Ok(())
}

fn too_many(kd: &mut Prompt) -> Result {
    let (before, refused) = (Ledger::read(kd)?, Ledger::refused(kd)?);
    for (kind, count) in TOO_MANY {
        let answer = kd.type_line(&format!("prealloc {kind} {count}"))?;
        let beginning = format!("err, too many {kind}: 0x{count} asked, 0x");
        let most = first(&answer).strip_prefix(&beginning);
        let most = most.and_then(|rest| rest.strip_suffix(" possible on this machine (c0001011)"));
        let most = most.ok_or_else(|| format!("{kind} {count}: {}", answer.text()))?;
        assert_eq!(try_line(&answer), Some(format!("prealloc {kind} {most}").as_str()));
        assert_eq!(Ledger::read(kd)?, before, "after {kind} {count}");
    }
    assert_eq!(Ledger::refused(kd)?["monitor"], refused["monitor"] + 2);
    Ok(())
}

/// The largest count that is offered is granted, and one more is refused.
fn the_most_is_possible(kd: &mut Prompt) -> Result {
    let before = Ledger::read(kd)?;
    let answer = kd.type_line("prealloc big-safe-buffer ffffffff")?;
    let offered = try_line(&answer).ok_or_else(|| answer.text())?.to_owned();
    let granted = kd.type_line(&offered)?;
    assert_eq!(granted.text().lines().last(), Some(SUCCESS), "{offered}: {}", granted.text());
    let most = offered.rsplit(' ').next().ok_or("the line that is offered has no count")?;
    let expected = before.with("big-safe-buffer", u64::from_str_radix(most, 16)?);
    Ledger::read(kd)?.assert_types(&expected, &offered);
    let answer = kd.type_line("prealloc big-safe-buffer 1")?;
    assert_eq!(
        first(&answer),
        "err, too many big-safe-buffer: 0x1 asked, 0x0 possible on this machine (c0001011)",
        "no more than the most"
    );
    Ledger::read(kd)?.assert_types(&expected, "one more than the most");
    assert_eq!(try_line(&answer), Some("prealloc release big-safe-buffer"), "no count would work, but this does");
    assert!(first(&kd.type_line("prealloc release big-safe-buffer")?).starts_with("released: 0x"));
    assert_eq!(kd.type_line("prealloc big-safe-buffer 1")?.text(), SUCCESS);
    Ok(())
}

/// Would catch a refusal that takes something, a success line for what was not reserved, a count that is cut or wraps, and
/// an offer that does not work: while halted.
#[test]
fn what_cannot_be_reserved_is_refused_whole_while_halted() -> Result {
    let mut machine = Machine::builder().memory_mib(512).boot()?;
    machine.load(Mode::Debugger)?;
    let mut kd = machine.debugger(&["--pause"])?;
    refusals(&mut kd)?;
    the_most_is_possible(&mut kd)?;
    assert!(kd.wait_prompt()?.ends_with(": kHyperDbg> "), "whatever was fetched, it is halted again");
    Ok(machine.console_is_healthy()?)
}

/// The same through the device.
#[test]
fn what_cannot_be_reserved_is_refused_whole_on_the_machine_itself() -> Result {
    let mut machine = Machine::builder().memory_mib(512).boot()?;
    machine.load(Mode::Vmi)?;
    let mut kd = machine.vmi(&[])?;
    refusals(&mut kd)?;
    let answer = kd.type_line("prealloc monitor @rax")?;
    assert_eq!(first(&answer), "err, no registers to read: a machine cannot halt itself: this needs debugger mode (c0000050)");
    the_most_is_possible(&mut kd)?;
    Ok(machine.console_is_healthy()?)
}
