//! The reserve, typed: what runs out, what is read then, what helps; the plan of a file; the picture that follows the
//! debuggee.

use lab::{Machine, Mode, Prompt};
use std::fs;
use tests::ledger::Ledger;
use tests::{Result, at_prompt};

const SUCCESS: &str = "the requested pools are allocated and reserved";

/// Each type, and the number that the documentation has for none of it left (ours for the one that it forgot).
const USED_UP: [(&str, &str); 9] = [
    ("monitor", "c0000023"),
    ("thread-interception", "c0001014"),
    ("epthook", "c0000023"),
    ("epthook2", "c0000023"),
    ("regular-event", "c0000042"),
    ("big-event", "c0000043"),
    ("regular-safe-buffer", "c0000049"),
    ("big-safe-buffer", "c000004a"),
    ("breakpoint", "c0000018"),
];

fn halted() -> Result<(Machine, Prompt)> {
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Debugger)?;
    let kd = machine.debugger(&["--pause"])?;
    Ok((machine, kd))
}

fn go(kd: &mut Prompt) -> Result {
    let row = kd.enter("g")?;
    at_prompt::wait_running(kd, row + 1)?;
    Ok(())
}

/// Would catch a type that runs out without a word or with another's number, a line that is offered and does not help, and
/// what helps only by letting the debuggee run.
#[test]
fn each_type_runs_out_with_words_and_the_line_they_offer_helps() -> Result {
    let (machine, mut kd) = halted()?;
    let start = Ledger::read(&mut kd)?;
    for (kind, code) in USED_UP {
        let row = start.types[kind];
        if row.free > 0 {
            let more = row.free + 2;
            let answer = kd.type_line(&format!("test hold {kind} {more:x}"))?;
            let few = format!("err, too few {kind}: 0x{more:x} asked, 0x{:x} of 0x{:x} free ({code})", row.free, row.reserved);
            assert_eq!(answer.text(), format!("{few}\n     try: prealloc {kind} 2"));
            let held = format!("held: 0x{:x} {kind}; 0x0 of 0x{:x} free", row.free, row.reserved);
            assert_eq!(kd.type_line(&format!("test hold {kind} {:x}", row.free))?.text(), held);
        }
        let answer = kd.type_line(&format!("test hold {kind} 1"))?;
        let none = format!("err, no {kind} left: 0x1 asked, 0x0 of 0x{:x} free ({code})", row.reserved);
        assert_eq!(answer.text(), format!("{none}\n     try: prealloc {kind} 1"));
        assert_eq!(kd.type_line(&format!("prealloc {kind} 1"))?.text(), SUCCESS);
        assert_eq!(
            kd.type_line(&format!("test hold {kind} 1"))?.text(),
            format!("held: 0x1 {kind}; 0x0 of 0x{:x} free", row.reserved + 1)
        );
        // A test can make any request fail; then nothing is taken, and the next one is as before.
        kd.type_line(&format!("test fail {kind} 1"))?;
        let injected = kd.type_line(&format!("prealloc {kind} 1"))?;
        assert!(injected.text().starts_with("err, ") && injected.text().contains("(c0001015)"), "{}", injected.text());
        let answer = kd.type_line(&format!("test let {kind}"))?;
        assert!(answer.text().contains(&format!("0x{:x}", row.free + 1)), "{}", answer.text());
        assert_eq!(Ledger::read(&mut kd)?.types[kind].free, row.free + 1);
    }
    go(&mut kd)?;
    drop(kd);
    let mut machine = machine;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a plan that runs something, one whose lines do not suffice, and a picture that stands still while the
/// debuggee runs.
#[test]
fn a_plan_is_told_before_and_a_picture_follows() -> Result {
    let (machine, mut kd) = halted()?;
    let file = machine.folder().join("hooks.kd");
    fs::write(&file, "prealloc regular-event 2\ntest hold regular-event 20\ntest hold monitor 18\ntest let monitor\n")?;
    let before = Ledger::read(&mut kd)?;
    let plan = kd.type_line(&format!("prealloc plan {}", file.display()))?;
    assert_eq!(Ledger::read(&mut kd)?, before, "a plan runs nothing");
    let offered: Vec<String> =
        plan.lines.iter().filter_map(|line| line.trim_start().strip_prefix("try: ")).map(str::to_owned).collect();
    assert_eq!(offered, ["prealloc monitor 4", "prealloc regular-event a"], "{}", plan.text());
    for line in offered {
        assert_eq!(kd.type_line(&line)?.text(), SUCCESS);
    }
    let script = kd.type_line(&format!(".script {}", file.display()))?;
    assert!(!script.text().contains("err, "), "{}", script.text());
    assert_eq!(Ledger::read(&mut kd)?.types["regular-event"].free, 0);

    // The debuggee runs on: the level comes back, and the picture shows it.
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row + 1)?;
    let row = at_prompt::enter_running(&mut kd, "prealloc --watch")?;
    // 0x20 are used; its level, and what was asked for on top of it, are free again.
    kd.wait_text(row, "0x40  0x20  0x20  0x20")?;
    kd.wait_text(row, "held by tests: 0x20 regular-event")?;
    kd.send(b"q")?;
    at_prompt::wait_running(&mut kd, row + 1)?;
    drop(kd);
    let mut machine = machine;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
