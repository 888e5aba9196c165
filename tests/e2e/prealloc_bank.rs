//! `prealloc` beyond the bank: Linux is asked for pages, and it is said when that costs the context.

use lab::{Answer, Machine, Mode, Prompt};
use std::process::Output;
use tests::ledger::Ledger;
use tests::{Result, at_prompt};

const SUCCESS: &str = "the requested pools are allocated and reserved";

fn boot(mode: Mode) -> Result<Machine> {
    let mut machine = Machine::builder().memory_mib(512).boot()?;
    machine.hyperdbg_ok(&[if mode == Mode::Debugger { "load link bank 100" } else { "load bank 100" }])?;
    Ok(machine)
}

/// Units of one page each, so that a count of them is a count of pages: more than the bank has.
fn more_than_the_bank(ledger: &Ledger, pages: u64) -> u64 {
    assert_eq!(ledger.types["regular-safe-buffer"].unit_bytes, 4096);
    ledger.bank + pages
}

/// Asserts the two lines that come before and after the debuggee was continued, and gives the rest.
fn continued(answer: &Answer, before: &str, after: &str) -> String {
    let text = answer.text();
    let [said_before, said_after, ref rest @ ..] = text.lines().collect::<Vec<_>>()[..] else {
        panic!("two lines and an answer are expected: {text}");
    };
    assert!(said_before.starts_with("the bank is short by 0x"), "{said_before}");
    assert!(said_before.ends_with(before), "{said_before}");
    assert!(said_after.starts_with("halted again on core ") && said_after.ends_with(after), "{said_after}");
    rest.join("\n")
}

/// Fills the guest's memory until about so many MiB are left, in a file.
fn leave_mib(machine: &mut Machine, left: u64) -> Result {
    machine.ok("mkdir -p /fill && mount -t tmpfs -o size=100% none /fill")?;
    machine.ok(&format!(
        "free=$(awk '/^MemAvailable/ {{ print int($2 / 1024) }}' /proc/meminfo); \
         dd if=/dev/zero of=/fill/it bs=1M count=$((free - {left})) 2>&1"
    ))?;
    Ok(())
}

/// As many units as are below the cap of half the memory, and more than 100 MiB.
const MORE_THAN_LINUX_HAS: u64 = 160 << 20 >> 12;

fn refused_by_linux(answer: &str, units: u64) {
    let (line, offered) = answer.split_once('\n').unwrap_or((answer, ""));
    assert!(offered.trim_start().starts_with("try: prealloc regular-safe-buffer "), "what the bank can serve: {answer}");
    assert!(line.starts_with("err, linux could not give the 0x"), "{line}");
    assert!(line.contains(&format!(" missing pages: 0x{units:x} regular-safe-buffer asked, 0x")), "{line}");
    assert!(line.ends_with(" pages free in the bank; nothing was reserved (c0001013)"), "{line}");
}

/// Would catch a bank that is not filled up by the module, one that grows by less than was missing, and a refusal by
/// Linux that takes or loses pages, or that is final.
#[test]
fn the_module_fetches_what_the_bank_lacks_or_takes_nothing() -> Result {
    let mut machine = boot(Mode::Vmi)?;
    let mut kd = machine.vmi(&[])?;
    let before = Ledger::read(&mut kd)?;
    let units = more_than_the_bank(&before, 0x800);
    assert_eq!(kd.type_line(&format!("prealloc regular-safe-buffer {units:x}"))?.text(), SUCCESS);
    let after = Ledger::read(&mut kd)?;
    after.assert_types(&before.with("regular-safe-buffer", units), "more than the bank had");
    assert!(after.pages >= before.pages + 0x800, "{before:?} {after:?}");

    leave_mib(&mut machine, 100)?;
    let line = format!("prealloc regular-safe-buffer {MORE_THAN_LINUX_HAS:x}");
    let answer = kd.type_line(&line)?;
    refused_by_linux(&answer.text(), MORE_THAN_LINUX_HAS);
    assert_eq!(Ledger::read(&mut kd)?, after, "what Linux cannot give is not half taken");
    machine.ok("umount /fill")?;
    assert_eq!(kd.type_line(&line)?.text(), SUCCESS);
    let last = after.with("regular-safe-buffer", MORE_THAN_LINUX_HAS);
    Ledger::read(&mut kd)?.assert_types(&last, "the memory is free again");
    Ok(machine.console_is_healthy()?)
}

/// Would catch a debuggee that is continued without a word, one that is not halted again, a success before the pages are
/// there, and a refusal by Linux that takes or loses pages.
#[test]
fn a_halted_debuggee_is_continued_with_a_word_before_and_after() -> Result {
    let mut machine = boot(Mode::Debugger)?;
    let mut kd = machine.debugger(&["--pause"])?;
    let before = Ledger::read(&mut kd)?;
    let units = more_than_the_bank(&before, 0x800);
    let answer = kd.type_line(&format!("prealloc regular-safe-buffer {units:x}"))?;
    const WARNED: &str = ": the debuggee is continued to fetch them, so this context will change";
    assert_eq!(continued(&answer, WARNED, ": the pages are there; events missed meanwhile: 0x0"), SUCCESS);
    assert!(answer.prompt.ends_with(": kHyperDbg> "), "{}", answer.prompt);
    let after = Ledger::read(&mut kd)?;
    after.assert_types(&before.with("regular-safe-buffer", units), "more than the bank had");
    assert!(after.pages >= before.pages + 0x800, "{before:?} {after:?}");
    assert_eq!(kd.type_line("prealloc monitor 1")?.text(), SUCCESS, "the rest of what came is in the bank");

    go(&mut kd)?;
    leave_mib(&mut machine, 100)?;
    let mut kd = again(&machine, kd)?;
    let before = Ledger::read(&mut kd)?;
    let answer = kd.type_line(&format!("prealloc regular-safe-buffer {MORE_THAN_LINUX_HAS:x}"))?;
    refused_by_linux(
        &continued(&answer, WARNED, ": linux could not give them; events missed meanwhile: 0x0"),
        MORE_THAN_LINUX_HAS,
    );
    assert!(answer.prompt.ends_with(": kHyperDbg> "), "{}", answer.prompt);
    assert_eq!(Ledger::read(&mut kd)?, before, "what Linux cannot give is not half taken");
    go(&mut kd)?;
    machine.ok("true")?;
    Ok(machine.console_is_healthy()?)
}

fn go(kd: &mut Prompt) -> Result {
    let row = kd.enter("g")?;
    at_prompt::wait_running(kd, row + 1)?;
    Ok(())
}

/// Another sitting that begins with a halt.
fn again(machine: &Machine, old: Prompt) -> Result<Prompt> {
    drop(old);
    Ok(machine.debugger(&["--pause"])?)
}

/// Would catch a running debuggee that is left halted by a fetch, or that has to be halted for what the bank has.
#[test]
fn a_running_debuggee_runs_on_after_a_fetch() -> Result {
    let machine = boot(Mode::Debugger)?;
    let ask = |line: &str| -> Result<Output> { Ok(machine.debugger_command()?.args(["-x", line, "-x", "prealloc"]).output()?) };
    let out = ask("prealloc regular-safe-buffer 10")?;
    let text = String::from_utf8(out.stdout)?;
    let (said, table) = text.split_once('\n').ok_or("no answer")?;
    assert_eq!(said, SUCCESS);
    let before = Ledger::parse(table.trim_end()).0;
    assert_eq!(before.types["regular-safe-buffer"].free, 0x10);

    let units = more_than_the_bank(&before, 0x800);
    let out = ask(&format!("prealloc regular-safe-buffer {units:x}"))?;
    let text = String::from_utf8(out.stdout)?;
    let lines: Vec<&str> = text.lines().take(4).collect();
    assert!(lines[0].ends_with(": the debuggee is paused and continued to fetch them"), "{text}");
    assert!(
        lines[1].starts_with("halted again on core ")
            && lines[1].ends_with(": the pages are there; events missed meanwhile: 0x0"),
        "{text}"
    );
    assert_eq!(lines[2..], ["the debuggee is running again", SUCCESS], "{text}");

    // For a program the same words stand beside the answer, on its one line.
    let (after, _) = Ledger::parse(text.split_once(SUCCESS).ok_or("no answer")?.1.trim());
    let line = format!("prealloc regular-safe-buffer {:x}", more_than_the_bank(&after, 0x800));
    let out = machine.debugger_command()?.args(["--json", "-x", &line]).output()?;
    let answer: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    assert_eq!((&answer["ok"], &answer["result"]["fetches"]), (&true.into(), &1.into()), "{answer}");
    assert_eq!(answer["notes"].as_array().map(Vec::len), Some(3), "{answer}");
    let mut machine = machine;
    machine.ok("true")?;
    Ok(machine.console_is_healthy()?)
}
