//! What a script knows of the world outside of its core: the time of day, and globals that other prompts made.
use abi::request::{Evaluated, Number, op};
use lab::{Machine, Mode, Vendor};
use std::time::{Duration, Instant};
use tests::scripting::{Scripts, said};
use tests::{Result, at_prompt, guest, wire::Wire};
use zerocopy::IntoBytes;

/// How long root may take to notice that somebody set the clock: the module looks every few milliseconds.
const LIMIT: Duration = Duration::from_secs(20);
const LEAF: &str = "12345678";

/// `2026-11-26 13:05:59`, as root says it.
fn time_in_root(wire: &mut Wire) -> Result<String> {
    let words = Scripts::default().stage(wire, r#"printf("%s %s", $date, $time);"#)?;
    wire.get::<Evaluated>(op::EVALUATE, Number { value: words.into() }.as_bytes())?;
    Ok(said(wire)?.texts.pop().ok_or("root said nothing")?.text)
}

/// Seconds since 1970 by the guest's own calendar.
fn seconds(machine: &mut Machine, text: &str) -> Result<i64> {
    Ok(machine.ok(&format!("date -u -d '{text}' +%s"))?.trim().parse()?)
}

/// Waits until root's clock is Linux' within a second.
fn agrees(machine: &mut Machine, wire: &mut Wire) -> Result {
    let until = Instant::now() + LIMIT;
    loop {
        let before: i64 = machine.ok("date -u +%s")?.trim().parse()?;
        let root = time_in_root(wire)?;
        let after: i64 = machine.ok("date -u +%s")?.trim().parse()?;
        let root = seconds(machine, &root)?;
        if (before - 1..=after + 1).contains(&root) {
            return Ok(());
        }
        assert!(Instant::now() < until, "root says {root}, Linux {before} to {after}");
    }
}

/// Would catch a clock that is not Linux', that stands still while the machine is halted, that loses the time of a halt, or that
/// does not follow when somebody sets the time.
#[test]
fn scripts_know_the_time_of_day_in_a_halt_after_it_and_when_it_is_set() -> Result {
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    agrees(&mut machine, &mut wire)?;

    wire.pause()?;
    let (began, from) = (Instant::now(), time_in_root(&mut wire)?);
    std::thread::sleep(Duration::from_secs(10)); // What is tested is that time passes.
    let (passed, to) = (began.elapsed(), time_in_root(&mut wire)?);
    wire.go()?;
    let counted = seconds(&mut machine, &to)? - seconds(&mut machine, &from)?;
    let passed = i64::try_from(passed.as_secs())?;
    // Bochs' time is its instructions, however long they take: it passes, and nobody knows how fast.
    let right = if machine.vendor() == Vendor::Amd { passed - 1..=passed + 2 } else { 1..=i64::MAX };
    assert!(right.contains(&counted), "{passed} s passed, {counted} in root: {from}, {to}");
    agrees(&mut machine, &mut wire)?;

    machine.ok("date -u -s '2031-05-06 07:08:09'")?;
    agrees(&mut machine, &mut wire)?;
    assert!(time_in_root(&mut wire)?.starts_with("2031-05-06 07:"));
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a prompt that reads another cell than the one into which an event of a prompt before it counts.
#[test]
fn a_second_prompt_and_one_in_the_guest_know_the_globals_of_the_first() -> Result {
    let mut machine = Machine::builder().cpus(2).with_guest_program(&guest::program("instructions")).boot()?;
    machine.load(Mode::Debugger)?;
    let mut kd = machine.debugger(&["--pause"])?;
    kd.type_line("? .other = 55")?;
    kd.type_line(&format!("!cpuid {LEAF} core 1 script {{ .n = .n + 1; }}"))?;
    let name = kd.type_line("? $pname")?.text();
    assert!(!name.is_empty() && name.len() < 16 && u64::from_str_radix(&name, 16).is_err(), "{name}");
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row + 1)?;
    machine.ok(&format!("instructions cpuid {LEAF} 5"))?;
    drop(kd);

    machine.ok(&format!("instructions cpuid {LEAF} 7"))?;
    let inside = machine.hyperdbg_ok(&["? .third = 9", "? .n", "? .other"])?;
    assert_eq!(inside.split_whitespace().collect::<Vec<_>>(), ["9", "c", "55"]);
    let mut kd = machine.debugger(&["--pause"])?;
    assert_eq!(kd.type_line("? .third * 1000 + .n")?.text(), "900c");
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row + 1)?;
    drop(kd);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
