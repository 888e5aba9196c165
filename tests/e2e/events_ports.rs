//! Events of ports in a guest that works: what they count and change, and what else goes on while all of them are watched.
use abi::request::{EventAsk, event};
use lab::Machine;
use tests::scripting::{ask, ask_for, change, load, row};
use tests::{Result, guest};

/// A port that nothing listens at: reads are all ones.
const NOBODY: u64 = 0x5f0;

fn machine() -> Result<Machine> {
    Ok(Machine::builder().cpus(2).with_guest_program(&guest::program("ports")).boot()?)
}

fn post(kind: u32, option: u64) -> EventAsk {
    EventAsk { stage: event::POST, ..ask_for(kind, option) }
}

/// Would catch an access that is lost or counted twice when both cores come at once, one of another port or the other
/// direction that counts, a short circuit that does not suppress, and a value that the script or the program does not get.
#[test]
fn accesses_are_exact_on_both_cores_at_once() -> Result {
    let mut machine = machine()?;
    let (mut wire, mut scripts) = load(&mut machine)?;
    let reads = scripts.added(&mut wire, ask_for(event::PORT_IN, NOBODY), "if ($context == 5f0) { .reads = .reads + 1; }")?;
    let after = scripts.added(&mut wire, post(event::PORT_IN, NOBODY), "if (@rax != 55555555555555ff) { .wrong = 1; }")?;
    let writes = scripts.added(&mut wire, ask_for(event::PORT_OUT, NOBODY), "if (@al != 5a) { .wrong = 1; }")?;
    let other = scripts.added(&mut wire, ask_for(event::PORT_IN, NOBODY + 1), ".wrong = 1;")?;
    machine.ok(&format!("ports in {NOBODY:x} 1 20000"))?;
    machine.ok(&format!("ports out {NOBODY:x} 1 5a 10000"))?;
    for (id, hits) in [(reads, 40_000), (after, 40_000), (writes, 20_000), (other, 0)] {
        let row = row(&mut wire, id)?;
        assert_eq!((row.hits, row.faults, row.lost), (hits, 0, 0), "event {id}");
    }
    assert_eq!((scripts.value(&mut wire, ".reads")?, scripts.value(&mut wire, ".wrong")?), (40_000, 0));
    assert_eq!(change(&mut wire, event::CLEAR, event::ALL)?, 4);
    machine.ok(&format!("ports in {NOBODY:x} 1 100"))?;

    // What was written in its place is what the program gets, in the size of the access; and behind it, too.
    let flags = event::OPTION | event::SHORT_CIRCUIT;
    let lies = EventAsk { flags, ..ask_for(event::PORT_IN, NOBODY) };
    let lies = scripts.added(&mut wire, lies, "@eax = 11223344;")?;
    for (bytes, shown) in [(1, "11223344"), (2, "11223344"), (4, "11223344")] {
        assert_eq!(machine.ok(&format!("ports in {NOBODY:x} {bytes} 3"))?, format!("{shown}\n{shown}\n"));
    }
    assert_eq!(row(&mut wire, lies)?.hits, 18);
    change(&mut wire, event::CLEAR, lies)?;
    for (bytes, shown) in [(1, "55555555555555ff"), (2, "555555555555ffff"), (4, "ffffffff")] {
        assert_eq!(machine.ok(&format!("ports in {NOBODY:x} {bytes} 3"))?, format!("{shown}\n{shown}\n"));
    }
    let lies = scripts.added(&mut wire, post(event::PORT_IN, NOBODY), "@al = 7;")?;
    assert_eq!(machine.ok(&format!("ports in {NOBODY:x} 2 3"))?, "555555555555ff07\n555555555555ff07\n");
    change(&mut wire, event::CLEAR, lies)?;

    // What an OUT writes is what the script left there: another cell of the clock's memory is selected.
    machine.ok("ports out 70 1 60 1; ports out 71 1 11 1; ports out 70 1 61 1; ports out 71 1 22 1")?;
    assert_eq!(machine.ok("ports out 70 1 60 1; ports once 71")?, "11\n");
    let turned = scripts.added(&mut wire, ask_for(event::PORT_OUT, 0x70), "if (@al == 60) { @al = 61; }")?;
    assert_eq!(machine.ok("ports out 70 1 60 1; ports once 71")?, "22\n");
    change(&mut wire, event::CLEAR, turned)?;
    // A suppressed one never arrives.
    let nothing = EventAsk { flags, ..ask_for(event::PORT_OUT, 0x71) };
    let nothing = scripts.added(&mut wire, nothing, "")?;
    machine.ok("ports out 70 1 60 1; ports out 71 1 33 1")?;
    change(&mut wire, event::CLEAR, nothing)?;
    assert_eq!(machine.ok("ports once 71")?, "11\n");
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch an element of a string that is lost, doubled or put elsewhere, a fault that the program does not get, and
/// memory that a watched port reads otherwise than one that is not.
#[test]
fn strings_are_those_of_a_machine_without_root() -> Result {
    let mut machine = machine()?;
    let bare = machine.ok("ports strings")?;
    assert!(bare.contains("8182 bytes") || bare.contains(" 0 left"), "{bare}");
    assert!(bare.contains("signal 11"), "{bare}");
    let pci = machine.ok("ports pci")?;
    let (mut wire, mut scripts) = load(&mut machine)?;
    assert_eq!(machine.ok("ports strings")?, bare, "under root");
    let data = scripts.added(&mut wire, ask_for(event::PORT_IN, 0x511), ".in = .in + 1;")?;
    let cell = scripts.added(&mut wire, ask_for(event::PORT_OUT, 0x71), ".out = .out + 1;")?;
    assert_eq!(machine.ok("ports strings")?, bare, "watched");
    // 64 one by one, 2 pages, 64 backwards, one, none, 32 of 64 up to the page that cannot be written, and the next.
    let expected = 64 + 8192 + 64 + 1 + 32 + 1;
    assert_eq!((row(&mut wire, data)?.hits, row(&mut wire, cell)?.hits), (expected, 51 + 41));
    assert_eq!((scripts.value(&mut wire, ".in")?, scripts.value(&mut wire, ".out")?), (expected, 92));
    scripts.added(&mut wire, ask(event::PORT_IN), ".all = .all + 1;")?;
    assert_eq!(machine.ok("ports strings")?, bare, "with all watched");
    assert_eq!(machine.ok("ports pci")?, pci);
    machine.hyperdbg_ok(&["unload"])?;
    assert_eq!(machine.ok("ports strings; ports pci")?, format!("{bare}{pci}"), "after unload");
    Ok(machine.console_is_healthy()?)
}

/// Would catch a device of Linux' that no longer works while every port is watched, root's own ports that show themselves to
/// an event, and a link that the guest could break by them.
#[test]
fn linux_and_its_console_go_on_while_every_port_is_watched() -> Result {
    let mut machine = machine()?;
    let (mut wire, mut scripts) = load(&mut machine)?;
    let reads = scripts.added(&mut wire, ask(event::PORT_IN), "if ($context == 2fd) { .link = .link + 1; }")?;
    let writes = scripts.added(&mut wire, ask(event::PORT_OUT), "if ($context == 3f8) { .console = .console + 1; }")?;
    let seen = EventAsk { stage: event::POST, ..ask_for(event::PORT_IN, 0x2fd) };
    scripts.added(&mut wire, seen, "if (@al != ff) { .wrong = 1; }")?;
    let line = "x".repeat(1000);
    machine.ok(&format!("i=0; while [ $i -lt 20 ]; do echo {line} >/dev/ttyS0; i=$((i + 1)); done; sync"))?;
    machine.ok("modprobe -r rtc_cmos; cat /proc/interrupts /proc/iomem /proc/ioports >/dev/null; hwclock -r || true")?;
    // Root's own: nothing is there, whatever is written.
    assert_eq!(machine.ok("ports out 2f8 1 41 100; ports out 2fb 1 80 100; ports once 2fd")?, "ff\n");
    assert_eq!(machine.ok("ports in 2f6 4 10")?, "ffffffff\nffffffff\n");
    assert!(scripts.value(&mut wire, ".console")? >= 20_000);
    assert_eq!((scripts.value(&mut wire, ".link")?, scripts.value(&mut wire, ".wrong")?), (1, 0));
    assert!(row(&mut wire, reads)?.hits > 20 && row(&mut wire, writes)?.hits > 20_000);
    let before = machine.ok("date +%s.%N; cat /proc/uptime")?;
    assert!(!before.is_empty());
    wire.pause()?;
    wire.go()?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
