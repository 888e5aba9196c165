//! Breakpoints, steps and watches of the guest's own programs, under root and under root that watches them.
use abi::request::{Exits, Number, op};
use lab::{Machine, Mode, Vendor};
use tests::{Result, guest, wire::Wire};
use zerocopy::IntoBytes;

/// One core: with the first watch of a program Linux patches its scheduler, and QEMU 7.2 (TCG) with several cores does not
/// survive every such patch, root or no root.
const CORES: u32 = 1;

/// Writes that the program watches: 300 by perf, 300 by ptrace.
const WATCHED: u64 = 600;

/// What the program says on a machine that works.
fn traps(machine: &mut Machine) -> Result<String> {
    Ok(machine.ok("traps")?)
}

/// The number that stands behind a word of the program's.
fn number_after(said: &str, word: &str) -> Result<u64> {
    let rest = said.split_once(word).ok_or("not said")?.1;
    Ok(rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default().parse()?)
}

/// Exits of these reasons.
fn exits(wire: &mut Wire, reasons: [&str; 3]) -> Result<[u64; 3]> {
    let mut sums = [0; 3];
    for core in 0..u64::from(CORES) {
        let exits: Exits = wire.get(op::EXITS, Number { value: core }.as_bytes())?;
        for row in &exits.rows {
            let name = row.name.split(|byte| *byte == 0).next().unwrap_or_default();
            if let Some(at) = reasons.iter().position(|reason| reason.as_bytes() == name) {
                sums[at] += row.count;
            }
        }
    }
    Ok(sums)
}

/// Would catch a breakpoint, a software interrupt, a step or a watch of a program that root loses, doubles or moves:
/// without root, under it, and while it catches them and passes them on.
#[test]
fn breakpoints_steps_and_watches_of_programs_are_those_of_a_machine_without_root() -> Result {
    let mut machine = Machine::builder().cpus(CORES).with_guest_program(&guest::program("traps")).boot()?;
    let bare = traps(&mut machine)?;
    assert!(bare.starts_with("int3: 300 traps, 0 misplaced\nint 3: 300 traps, 0 misplaced\nint 0x80: 300 of 300\n"), "{bare}");
    assert!(bare.contains("perf: 300 writes\nptrace: 300 writes, 0 other stops\n"), "{bare}");
    let steps: u64 = number_after(&bare, "\nsteps: ")? + number_after(&bare, "\nsteps of ptrace: ")?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    const REASONS: [&str; 3] = ["breakpoint", "soft-interrupt", "debug"];
    let mut before = exits(&mut wire, REASONS)?;
    assert_eq!(before, [0; 3], "nothing is caught unless asked");
    for (tests, breakpoints, debug) in [
        (&["test trap off"][..], false, false),
        (&["test breakpoint on"], true, false),
        (&["test breakpoint off", "test trap on"], false, true),
        (&["test breakpoint on"], true, true),
        (&["test breakpoint off", "test trap off"], false, false),
    ] {
        machine.hyperdbg_ok(tests)?;
        // A core notices when it next comes to root; asking it from within makes it come.
        machine.hyperdbg_ok(&[".status"])?;
        assert_eq!(traps(&mut machine)?, bare, "after {tests:?}");
        let now = exits(&mut wire, REASONS)?;
        let caught = [0, 1, 2].map(|at| now[at] - before[at]);
        // 300 of each kind of breakpoint and 300 software interrupts, and those that Linux meets while it
        // patches its own code; every step, every write that is watched, and nothing besides. Intel's processors have no exit
        // for INT n.
        let ours = caught[0] + caught[1];
        let all = if machine.vendor() == Vendor::Amd { 900 } else { 300 };
        assert!(if breakpoints { ours >= all } else { ours == 0 }, "after {tests:?}: {caught:?}");
        assert_eq!(caught[2], if debug { steps + WATCHED } else { 0 }, "after {tests:?}: {caught:?}");
        before = now;
    }
    machine.hyperdbg_ok(&["unload"])?;
    assert_eq!(traps(&mut machine)?, bare, "after unload");
    Ok(machine.console_is_healthy()?)
}
