//! The documentation's page of `prealloc`, typed as it stands, with the hooks that it is for: all in one boot.
use lab::{Machine, Prompt};
use std::fs;
use tests::hooks::{self, ENDBR, INC, Places, through_kcore};
use tests::ledger::Ledger;
use tests::{Result, at_prompt};

const RESERVED: &str = "the requested pools are allocated and reserved";
/// What the page reserves, and what a load has of each type.
const MORE: u64 = 0x10;
const LEVEL: u64 = 0x14;
/// Hooks of each of two sorts that one halt ends with: 0x50 in all.
const MANY: u64 = 0x28;

/// Types a line at a machine that is halted, and stays so.
fn typed(kd: &mut Prompt, line: &str) -> Result<String> {
    let answer = kd.type_line(line)?;
    assert!(answer.prompt.ends_with(": kHyperDbg> "), "{line}: {}", answer.prompt);
    Ok(answer.text())
}

fn go(kd: &mut Prompt) -> Result {
    let row = kd.enter("g")?;
    at_prompt::wait_running(kd, row + 1)?;
    Ok(())
}

/// Lets it run, does something there, and halts it.
fn meanwhile<T>(machine: &mut Machine, kd: &mut Prompt, what: impl FnOnce(&mut Machine) -> Result<T>) -> Result<T> {
    go(kd)?;
    let done = what(machine)?;
    let row = at_prompt::enter_running(kd, "pause")?;
    kd.answer_after(row, "pause")?;
    Ok(done)
}

/// How often each core has come to root: as many as before, if none of them ran.
fn exits(kd: &mut Prompt) -> Result<String> {
    typed(kd, "exits")
}

fn registers(kd: &mut Prompt, line: &str, nth: u64, units: &str) -> Result {
    let answer = typed(kd, line)?;
    assert!(answer.starts_with(&format!("event {nth:x} registered: regular-event, {units}")), "{line}: {answer}");
    Ok(())
}

/// `prealloc regular-event 10`, `prealloc monitor 10`, and as many more monitors than there were.
fn sixteen_more_monitors(machine: &mut Machine, kd: &mut Prompt, at: &Places) -> Result {
    let (before, since) = (Ledger::read(kd)?, exits(kd)?);
    // 21 pages, and 20 units: refused whole (facts B.33).
    let refused = typed(kd, &format!("!monitor w {:x} l 14001 script {{ .n = .n + 1; }}", at.data))?;
    assert!(refused.starts_with("err, too few monitor: 0x15 asked, 0x14 of 0x14 free (c0000023)"), "{refused}");
    assert!(refused.contains("try: prealloc monitor 1"), "{refused}");
    assert_eq!(Ledger::read(kd)?, before, "0x14 are free still");
    assert_eq!(typed(kd, "prealloc regular-event 10")?, RESERVED);
    assert_eq!(typed(kd, "prealloc monitor 10")?, RESERVED);
    let expected = before.with("regular-event", MORE).with("monitor", MORE);
    Ledger::read(kd)?.assert_types(&expected, "both lines");
    registers(kd, &format!("!monitor rw {:x} l 800 stage all script {{ .n = .n + 1; }}", at.data), 0, "0x1 monitor")?;
    for nth in 1..LEVEL + MORE {
        let line = format!("!monitor pa rw {:x} l 1 script {{ .n = .n + 1; }}", 0x100_0000 + nth * 0x1000);
        registers(kd, &line, nth, "0x1 monitor")?;
    }
    let more = typed(kd, "!monitor pa rw 2000000 l 1")?;
    assert!(more.contains("(c0000023)") && more.contains("try: prealloc monitor 1"), "{more}");
    assert_eq!(exits(kd)?, since, "nothing was continued");
    assert_eq!(typed(kd, "? .n = 0;")?, "");
    let said = meanwhile(machine, kd, |machine| hooks::uses(machine, "write", 100))?;
    assert_eq!(said, "0\n0\n");
    assert_eq!(typed(kd, "print .n")?, "4b0", "before and behind two reads and a write, on two cores");
    assert_eq!(typed(kd, "events c all")?, "0x24 events cleared");
    // Whole 2 MiB are one unit.
    registers(kd, "!monitor pa w 2000000 l 200000 script { .n = .n + 1; }", 0, "0x1 monitor")?;
    assert_eq!(typed(kd, "events c 0")?, "event 0 cleared");
    Ok(())
}

/// The same with `epthook`.
fn sixteen_more_hooks(machine: &mut Machine, kd: &mut Prompt, at: &Places) -> Result {
    let (before, since) = (Ledger::read(kd)?, exits(kd)?);
    assert_eq!(typed(kd, "prealloc regular-event 10")?, RESERVED);
    assert_eq!(typed(kd, "prealloc epthook 10")?, RESERVED);
    Ledger::read(kd)?.assert_types(&before.with("regular-event", MORE).with("epthook", MORE), "both lines");
    for nth in 0..LEVEL + MORE {
        let place = at.functions + if nth == 0 { INC } else { 0x800 + nth };
        registers(kd, &format!("!epthook {place:x} script {{ .n = .n + 1; }}"), nth, "0x1 epthook")?;
    }
    let more = typed(kd, &format!("!epthook {:x}", at.functions + 0x900))?;
    assert!(more.contains("(c0000023)") && more.contains("try: prealloc epthook 1"), "{more}");
    assert_eq!(exits(kd)?, since, "nothing was continued");
    assert_eq!(typed(kd, "? .n = 0;")?, "");
    assert_eq!(meanwhile(machine, kd, |machine| hooks::calls(machine, INC, 1000, INC))?, "0\n0\n");
    assert_eq!(typed(kd, "print .n")?, "7d0");
    assert_eq!(typed(kd, "events c all")?, "0x24 events cleared");
    Ok(())
}

/// Events with buffers of both sizes.
fn buffers(machine: &mut Machine, kd: &mut Prompt, at: &Places) -> Result {
    let since = exits(kd)?;
    assert_eq!(typed(kd, "prealloc regular-safe-buffer 10")?, RESERVED);
    assert_eq!(typed(kd, "prealloc big-safe-buffer 1")?, RESERVED);
    let counts = "script { eq($buffer, poi($buffer) + 1); .n = poi($buffer); }";
    let small = typed(kd, &format!("!epthook {:x} core 0 buffer 100 {counts}", at.functions + INC))?;
    assert!(
        small.starts_with("event 0 registered: regular-event, 0x1 epthook") && small.ends_with("$buffer of 0x100"),
        "{small}"
    );
    // The last word of the larger one.
    let counts = counts.replace("$buffer", "$buffer + 1ff8").replace(".n", ".m");
    let large = typed(kd, &format!("!monitor w {:x} l 8 core 0 buffer 2000 {counts}", at.data))?;
    assert!(
        large.starts_with("event 1 registered: regular-event, 0x1 monitor") && large.ends_with("$buffer of 0x2000"),
        "{large}"
    );
    let types = Ledger::read(kd)?.types;
    assert_eq!((types["regular-safe-buffer"].used, types["big-safe-buffer"].used), (1, 1));
    assert_eq!(exits(kd)?, since, "nothing was continued");
    meanwhile(machine, kd, |machine| Ok((hooks::calls(machine, INC, 100, INC)?, hooks::uses(machine, "write", 50)?)))?;
    assert_eq!((typed(kd, "print .n")?, typed(kd, "print .m")?), ("64".to_owned(), "32".to_owned()));
    assert_eq!(typed(kd, "events c all")?, "0x2 events cleared");
    Ok(())
}

/// 0x50 hooks in one halt, as the plan says; what is hooked looks as before, to the kernel, to a program and to the user.
fn fifty_in_one_halt(machine: &mut Machine, kd: &mut Prompt, at: &Places) -> Result {
    let function = at.functions + ENDBR;
    let shown = [format!("db {function:x} l 40"), format!("u {function:x} l 3"), format!("!epthook {:x}", function + 1)];
    let bare = [typed(kd, &shown[0])?, typed(kd, &shown[1])?];
    let mut lines = Vec::new();
    for nth in 0..MANY {
        let place = at.functions + if nth == 0 { ENDBR } else { 0x800 + nth };
        lines.push(format!("!epthook {place:x} script {{ .h = .h + 1; }}\n"));
        lines.push(format!("!monitor w {:x} l 1 script {{ .w = .w + 1; }}\n", at.data + nth * 8));
    }
    let file = machine.folder().join("fifty.kd");
    fs::write(&file, lines.concat())?;
    let since = exits(kd)?;
    let plan = typed(kd, &format!("prealloc plan {}", file.display()))?;
    let offered: Vec<&str> = plan.lines().filter_map(|line| line.trim_start().strip_prefix("try: ")).collect();
    assert!(!offered.is_empty(), "{plan}");
    for line in offered {
        assert_eq!(typed(kd, line)?, RESERVED);
    }
    let done = typed(kd, &format!(".script {}", file.display()))?;
    assert!(!done.contains("err, ") && done.matches(" registered: ").count() == 0x50, "{done}");
    assert_eq!(exits(kd)?, since, "nothing was continued");
    assert_eq!([typed(kd, &shown[0])?, typed(kd, &shown[1])?], bare);
    let found = meanwhile(machine, kd, |machine| {
        let said = (hooks::calls(machine, ENDBR, 1000, ENDBR)?, hooks::uses(machine, "write", 100)?);
        Ok((said, through_kcore(machine, function, 16)?, read(machine, function)?))
    })?;
    assert_eq!(found.0, ("0\n0\n".to_owned(), "0\n0\n".to_owned()));
    let first: Vec<&str> = bare[0].lines().next().unwrap_or_default().split("  ").collect();
    assert_eq!(found.1, first.get(1..3).unwrap_or_default().join(" "), "through /proc/kcore");
    assert_eq!(found.1, found.2, "as the kernel reads it");
    // Words of both cores, and a byte of each is watched: of each write its lowest bytes, which the words of 8 bytes begin with.
    assert_eq!((typed(kd, "print .h")?, typed(kd, "print .w")?), ("7d0".to_owned(), "c8".to_owned()));
    assert_eq!([typed(kd, &shown[0])?, typed(kd, &shown[1])?], bare);
    assert_eq!(typed(kd, "events c all")?, "0x50 events cleared");
    let row = Ledger::read(kd)?;
    assert_eq!((row.types["monitor"].used, row.types["epthook"].used, row.types["regular-event"].used), (0, 0, 0));
    Ok(())
}

/// Bytes as the kernel reads them.
fn read(machine: &mut Machine, address: u64) -> Result<String> {
    let line = format!("cd /sys/module/hooked/parameters; echo {address:x} 16 >read && cat read");
    Ok(machine.ok(&line)?.trim().to_owned())
}

/// Would catch the documentation's story that does not come true: hooks beyond those that are there at start, applied while the machine
/// stays halted; one that is refused and takes something all the same (facts B.33); a plan that is too small; and a hook that whoever
/// reads its instruction sees.
#[test]
fn the_page_of_the_documentation_comes_true_in_each_halt() -> Result {
    let mut machine = hooks::builder(2).boot()?;
    let at = hooks::places(&mut machine)?;
    machine.load(lab::Mode::Debugger)?;
    let mut kd = machine.debugger(&["--pause"])?;
    sixteen_more_monitors(&mut machine, &mut kd, &at)?;
    sixteen_more_hooks(&mut machine, &mut kd, &at)?;
    buffers(&mut machine, &mut kd, &at)?;
    fifty_in_one_halt(&mut machine, &mut kd, &at)?;
    go(&mut kd)?;
    drop(kd);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
