//! Halts, many and at once: none is lost, none leaks an NMI to Linux.
use abi::request::{Exits, Number, op, reason};
use lab::{Machine, Mode};
use std::time::Duration;
use tests::{Result, guest, wire::Wire};
use zerocopy::IntoBytes;

const LIMIT: Duration = Duration::from_secs(120);

/// Would catch a halt that is lost or told twice when both cores want one at once, a core that goes on before the prompt
/// says so, and an NMI of ours that Linux gets ("Uhhuh").
#[test]
fn two_hundred_halts_from_each_core_at_once_all_arrive() -> Result {
    let mut machine = Machine::builder().cpus(2).with_guest_module(&guest::module("halter")).boot()?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    let breaks = machine.spawn("insmod /halter.ko count=200")?;
    let mut halts = [0; 2];
    while halts != [200, 200] {
        let halted = wire.halted(LIMIT).map_err(|error| format!("after {halts:?} halts: {error:?}"))?;
        assert_eq!((halted.reason, halted.cpl), (reason::HYPERCALL, 0));
        halts[usize::try_from(halted.core)?] += 1;
        wire.go()?;
    }
    let ended = machine.wait_job(breaks, LIMIT)?;
    assert!(ended.ok(), "{}", ended.text());
    machine.wait_console("halter: 400 halts, 0 refused", LIMIT)?;
    assert_eq!(wire.told(Duration::from_secs(1))?, None, "no halt is told twice");
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch an NMI that is lost, or that Linux gets, where it meets a page fault on its way into the kernel or out of it: one
/// core asks for halts, the other one faults, forks and switches.
#[test]
#[ignore = "nightly: twenty thousand halts from each core"]
fn halts_from_either_core_reach_the_other_one_while_it_faults() -> Result {
    const HALTS: u32 = 20_000;
    let mut machine = Machine::builder().cpus(2).with_guest_module(&guest::module("halter")).with_stress_ng().boot()?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    let busy = guest::keep_busy(&mut machine)?;
    for core in 0..2 {
        let breaks = machine.spawn(&format!("insmod /halter.ko count={HALTS} core={core} && rmmod halter"))?;
        for halt in 0..HALTS {
            let halted = wire.halted(LIMIT).map_err(|error| format!("after {halt} halts of core {core}: {error:?}"))?;
            assert_eq!((halted.reason, halted.core), (reason::HYPERCALL, core));
            wire.go()?;
        }
        let ended = machine.wait_job(breaks, LIMIT)?;
        assert!(ended.ok(), "{}", ended.text());
        assert_eq!(machine.console().matches(&format!("halter: {HALTS} halts, 0 refused")).count(), 1 + usize::try_from(core)?);
    }
    machine.kill_job(busy)?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a pause that loses an event of a core which faults, forks or switches at that moment, or that leaks the
/// NMI it is made of: the load must go on, on both cores.
#[test]
fn two_hundred_pauses_of_busy_cores_disturb_nothing() -> Result {
    let mut machine = Machine::builder().cpus(2).with_stress_ng().boot()?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    let busy = guest::keep_busy(&mut machine)?;
    let mut in_user_space = 0;
    for round in 0..200 {
        let halted = wire.pause()?;
        assert_eq!(halted.reason, reason::PAUSE, "round {round}");
        let other = wire.select(1 - u64::from(halted.core))?;
        assert_eq!((other.core, other.reason), (1 - halted.core, reason::CORE_SELECTED));
        in_user_space += u32::from(halted.cpl == 3) + u32::from(other.cpl == 3);
        wire.go()?;
        // So that both run again when the next one comes. Bytes that come while a core is in root need no NMI.
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!((1..400).contains(&in_user_space), "cores were halted in user space and in the kernel: {in_user_space} of 400");
    for core in 0..2_u64 {
        let exits: Exits = wire.get(op::EXITS, Number { value: core }.as_bytes())?;
        let nmis: u64 = exits.rows.iter().filter(|row| row.name.starts_with(b"nmi\0")).map(|row| row.count).sum();
        // Not by each pause: one that comes while the core is in root needs none, and on a busy host it often is.
        assert!(nmis >= 20, "core {core} was called by {nmis} NMIs");
    }
    let before: u64 = machine.ok("sed -n 's/^processes //p' /proc/stat")?.trim().parse()?;
    guest::until_ok(&mut machine, &format!("[ $(sed -n 's/^processes //p' /proc/stat) -gt {} ]", before + 200))?;
    machine.kill_job(busy)?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
