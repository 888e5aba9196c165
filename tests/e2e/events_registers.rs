//! Events of control and debug registers in a guest that works: what they count, what they change, what they leave alone.
use abi::request::{EventAsk, event};
use lab::{Machine, Vendor};
use tests::scripting::{ask, ask_for, change, load, row};
use tests::{Result, guest};

/// CR4.TSD, as a mask.
const TSD: u64 = 4 << 32;

fn machine(cpus: u32) -> Result<Machine> {
    let builder = Machine::builder().cpus(cpus).with_guest_module(&guest::module("registers"));
    let builder = builder.with_guest_program(&guest::program("registers")).with_guest_program(&guest::program("traps"));
    let mut machine = builder.boot()?;
    machine.ok("insmod /registers.ko")?;
    Ok(machine)
}

/// What each core found.
fn registers(machine: &mut Machine, what: &str) -> Result<String> {
    Ok(machine.ok(&format!("cd /sys/module/registers/parameters; echo {what} >go && cat said"))?)
}

/// Would catch a write that is lost or counted twice when both cores come at once, a mask that lets others through or keeps its
/// own from the event, a value that is not what was written, and a write that has no effect.
#[test]
fn writes_of_control_registers_are_exact_on_both_cores_at_once() -> Result {
    let mut machine = machine(2)?;
    let (mut wire, mut scripts) = load(&mut machine)?;
    let control = |option| ask_for(event::CONTROL_WRITE, option);
    let all = scripts.added(&mut wire, control(0), "if (@cr0 == $context) { .same = .same + 1; }")?;
    // Of three writes two change AM.
    let masked = scripts.added(&mut wire, control(1 << 50), ".am = .am + 1;")?;
    let never = scripts.added(&mut wire, control(1 << 32 | 1 << 61), ".wrong = 1;")?;
    assert_eq!(registers(&mut machine, "cr0 5000")?, "0\n0\n");
    let hits = [all, masked, never].map(|id| row(&mut wire, id).map(|row| row.hits));
    // One of three changes nothing: Intel's processors have no exit for that one.
    let same = if machine.vendor() == Vendor::Amd { 10_000 } else { 0 };
    assert_eq!(hits.into_iter().collect::<Result<Vec<_>>>()?, [20_000 + same, 20_000, 0]);
    assert_eq!(scripts.value(&mut wire, ".same")?, same);
    change(&mut wire, event::CLEAR, event::ALL)?;
    let status = scripts.added(&mut wire, control(0), ".status = .status + 1;")?;
    assert_eq!(registers(&mut machine, "status 1000")?, "0\n0\n");
    assert_eq!(row(&mut wire, status)?.hits, 8000);
    change(&mut wire, event::CLEAR, event::ALL)?;

    let tsd = scripts.added(&mut wire, control(4 | TSD), ".tsd = .tsd + 1; if (($context ^ @cr4) != 4) { .wrong = 1; }")?;
    let after = EventAsk { stage: event::POST, ..control(4 | TSD) };
    let after = scripts.added(&mut wire, after, "if ($context == @cr4) { .done = .done + 1; }")?;
    assert_eq!(registers(&mut machine, "cr4 5000")?, "0\n0\n");
    assert_eq!((row(&mut wire, tsd)?.hits, row(&mut wire, after)?.hits), (20_000, 20_000));
    assert_eq!((scripts.value(&mut wire, ".done")?, scripts.value(&mut wire, ".wrong")?), (20_000, 0));
    assert_eq!(registers(&mut machine, "global 1000")?, "0\n0\n");
    assert_eq!(row(&mut wire, tsd)?.hits, 20_000, "another bit");
    const FLIPPED: &str = "500 refused, 500 read\n500 refused, 500 read\n";
    assert_eq!(machine.ok("registers tsc 500")?, FLIPPED);
    assert!(row(&mut wire, tsd)?.hits >= 22_000, "each of them, and switches between");
    change(&mut wire, event::CLEAR, event::ALL)?;
    assert_eq!(registers(&mut machine, "cr4 100")?, "0\n0\n");

    // Suppressed, the bit stays as it is: nothing is refused, and Linux goes on.
    let flags = event::OPTION | event::SHORT_CIRCUIT;
    let nothing = scripts.added(&mut wire, EventAsk { flags, ..control(4 | TSD) }, "")?;
    assert_eq!(machine.ok("registers tsc 100")?, "0 refused, 200 read\n0 refused, 200 read\n");
    change(&mut wire, event::CLEAR, nothing)?;
    assert_eq!(machine.ok("registers tsc 500")?, FLIPPED);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a value that the processor refuses and root does not, or the other way round; then root would end with it.
#[test]
fn what_these_registers_refuse_is_refused_while_they_are_watched() -> Result {
    const BOTH: [&str; 3] = ["aliases 3", "high 5", "dr 10"];
    let mut machine = machine(2)?;
    let all = |machine: &mut Machine| BOTH.into_iter().map(|what| registers(machine, what)).collect::<Result<Vec<_>>>();
    let bare = all(&mut machine)?;
    assert_eq!(bare, ["0\n0\n", "10\n10\n", "0\n0\n"]);
    let (mut wire, mut scripts) = load(&mut machine)?;
    assert_eq!(all(&mut machine)?, bare, "under root");
    scripts.added(&mut wire, ask(event::CONTROL_WRITE), ".cr = .cr + 1;")?;
    scripts.added(&mut wire, ask(event::DEBUG_REGISTER), ".dr = .dr + 1;")?;
    assert_eq!(all(&mut machine)?, bare, "watched");
    // QEMU itself takes some of these and dies of it, so it is not asked without root.
    assert_eq!(registers(&mut machine, "refused 100")?, "800\n800\n");
    assert!(scripts.value(&mut wire, ".cr")? >= 1600 && scripts.value(&mut wire, ".dr")? >= 480);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch an access that is lost or doubled when both cores come at once, a register whose value is another's, a guard that
/// is not told of, and a write that is not suppressed.
#[test]
fn accesses_to_debug_registers_are_exact_on_both_cores_at_once() -> Result {
    let mut machine = machine(2)?;
    let (mut wire, mut scripts) = load(&mut machine)?;
    let all = scripts.added(&mut wire, ask(event::DEBUG_REGISTER), "if ($context == 13) { .writes3 = .writes3 + 1; }")?;
    let after = EventAsk { stage: event::POST, ..ask(event::DEBUG_REGISTER) };
    let script = "if ($context == 17 && (@dr7 & ff) != 0) { .armed = 1; } if ($context == 6) { .reads6 = .reads6 + 1; }";
    let after = scripts.added(&mut wire, after, script)?;
    assert_eq!(registers(&mut machine, "dr 1000")?, "0\n0\n");
    // 12 writes and 12 reads each time.
    assert_eq!((row(&mut wire, all)?.hits, row(&mut wire, after)?.hits), (48_000, 48_000));
    let values = [".writes3", ".reads6", ".armed"].map(|name| scripts.value(&mut wire, name));
    assert_eq!(values.into_iter().collect::<Result<Vec<_>>>()?, [4000, 4000, 0]);
    assert_eq!(registers(&mut machine, "guard 10")?, "10\n10\n");
    assert_eq!(registers(&mut machine, "aliases 10")?, "0\n0\n");
    change(&mut wire, event::CLEAR, event::ALL)?;
    let lie = "if ($context == 2) { @rax = 3333; } else { event_sc(0); }";
    let lies = EventAsk { flags: event::SHORT_CIRCUIT, ..ask(event::DEBUG_REGISTER) };
    let lies = scripts.added(&mut wire, lies, lie)?;
    assert_eq!(registers(&mut machine, "high 7")?, "14\n14\n");
    change(&mut wire, event::CLEAR, lies)?;
    assert_eq!(registers(&mut machine, "dr 100")?, "0\n0\n");
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a breakpoint of a program that is lost, doubled or moved while its setting comes to root, and after that.
#[test]
fn breakpoints_of_programs_are_hit_while_debug_registers_are_watched() -> Result {
    // One core: see tests/e2e/breakpoints.rs.
    let mut machine = machine(1)?;
    let bare = machine.ok("registers breakpoints; traps")?;
    assert!(bare.contains("dr1 1, dr2 1, dr7"), "{bare}");
    let (mut wire, mut scripts) = load(&mut machine)?;
    assert_eq!(machine.ok("registers breakpoints; traps")?, bare, "under root");
    for round in 0..2 {
        let all = scripts.added(&mut wire, ask(event::DEBUG_REGISTER), ".n = .n + 1;")?;
        assert_eq!(machine.ok("registers breakpoints; traps")?, bare, "watched, round {round}");
        assert!(row(&mut wire, all)?.hits > 1000);
        change(&mut wire, event::CLEAR, all)?;
        assert_eq!(machine.ok("registers breakpoints; traps")?, bare, "watched no more, round {round}");
    }
    scripts.added(&mut wire, ask(event::DEBUG_REGISTER), ".n = .n + 1;")?;
    machine.hyperdbg_ok(&["unload"])?;
    assert_eq!(machine.ok("registers breakpoints; traps")?, bare, "after unload");
    Ok(machine.console_is_healthy()?)
}
