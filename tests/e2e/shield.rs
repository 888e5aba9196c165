//! Root's memory, looked for and struck at by a kernel that may touch every byte of its own.
use abi::request::{Exits, Hello, Ledger, Number, op};
use lab::{Lab, Machine, Mode};
use std::fs;
use tests::{Result, guest, wire::Wire};
use zerocopy::IntoBytes;

/// Frames that hold these bytes at this place, as one core sees them.
fn found(machine: &mut Machine, core: u32, needle: &[u8], at: usize) -> Result<Vec<u64>> {
    let hex: String = needle.iter().map(|byte| format!("{byte:02x}")).collect();
    let here = "/sys/module/peek/parameters";
    let script = format!("echo {hex} >{here}/needle; echo {at} >{here}/at; taskset -c {core} cat {here}/look");
    let numbers = numbers(&machine.ok(&script)?)?;
    assert!(numbers[0] > 200_000, "it looked at {} frames of a gigabyte", numbers[0]);
    Ok(numbers[1..].to_vec())
}

/// Frames that one core cannot write to, and how many of them read as zeros; none may take a write after all.
fn struck(machine: &mut Machine, core: u32) -> Result<(u64, u64)> {
    let numbers = numbers(&machine.ok(&format!("taskset -c {core} cat /sys/module/peek/parameters/strike"))?)?;
    assert_eq!(numbers[2], 0, "core {core} wrote to a frame that it cannot write to");
    Ok((numbers[0], numbers[1]))
}

fn numbers(text: &str) -> Result<Vec<u64>> {
    Ok(text.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?)
}

fn nested_faults(wire: &mut Wire, core: u64) -> Result<u64> {
    let exits: Exits = wire.get(op::EXITS, Number { value: core }.as_bytes())?;
    Ok(exits.rows.iter().filter(|row| row.name.starts_with(b"nested-fault\0")).map(|row| row.count).sum())
}

/// Would catch a frame of root's that Linux can read or write, from either core: every frame it handed over reads as
/// zeros and takes no write, no other frame changes, the image's code is nowhere to be found, and root counts the attempts
/// and lives.
#[test]
fn linux_sees_nothing_of_root_and_cannot_strike_it() -> Result {
    let image = fs::read(Lab::shared()?.hypervisor()?.image)?;
    // The header, and code from within the second page: each page of the image has a frame of its own.
    let needles = [(&image[..32], 0), (&image[0x1100..0x1120], 0x100)];
    let mut machine = Machine::builder().cpus(2).with_guest_module(&guest::module("peek")).boot()?;
    machine.ok("insmod /peek.ko")?;
    let mut copies = Vec::new();
    for (needle, at) in needles {
        let frames = found(&mut machine, 0, needle, at)?;
        assert!(!frames.is_empty(), "the module's own copy is not found, so the search is worth nothing");
        copies.push(frames);
    }
    // What Linux itself made read-only.
    let before = struck(&mut machine, 0)?;

    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    let ledger: Ledger = wire.get(op::LEDGER, &[])?;
    for core in 0..2 {
        for ((needle, at), copies) in needles.into_iter().zip(&copies) {
            // Linux' own copies may go meanwhile (free frames that still held one are used again); none may come.
            let now = found(&mut machine, core, needle, at)?;
            assert!(
                now.iter().all(|frame| copies.contains(frame)),
                "core {core} sees root's image: {now:?}, before {copies:?}"
            );
        }
        let faults = nested_faults(&mut wire, core.into())?;
        let now = struck(&mut machine, core)?;
        assert_eq!((now.0 - before.0, now.1 - before.1), (ledger.frames, ledger.frames), "core {core}");
        let refused = nested_faults(&mut wire, core.into())? - faults;
        assert_eq!(refused, 2 * ledger.frames, "each attempt is counted, by the core that made it");
    }
    wire.pause()?;
    wire.go()?;
    assert_eq!(wire.get::<Hello>(op::HELLO, &[])?.cores, 2);
    assert_eq!(wire.get::<Ledger>(op::LEDGER, &[])?, ledger);
    machine.hyperdbg_ok(&["prealloc monitor 10", "unload"])?;
    assert_eq!(struck(&mut machine, 1)?, before, "all of it is Linux' again");
    Ok(machine.console_is_healthy()?)
}
