//! Cores that go and come while root is under the others.
//!
//! That core 0 may not go while it hears the link is not tried here: Linux never lets it go on AMD's processors
//! (arch/x86/kernel/topology.c, `arch_register_cpu`).
use abi::request::{Cores, op};
use lab::{Machine, Mode};
use std::time::Duration;
use tests::{Result, at_prompt, guest, wire::Wire};

const CORE_1: &str = "/sys/devices/system/cpu/cpu1/online";

/// Numbers of the cores that root says it is under.
fn cores(wire: &mut Wire) -> Result<Vec<u32>> {
    let cores: Cores = wire.get(op::CORES, &[])?;
    Ok(cores.cores[..usize::try_from(cores.count)?].iter().map(|core| core.core).collect())
}

/// Would catch a core that comes back without root, one whose going takes the machine along (an INIT that root cannot
/// survive), and a halt that waits for a core that is gone.
#[test]
fn a_core_goes_and_comes_twenty_times_under_load() -> Result {
    let mut machine = Machine::builder().cpus(2).with_stress_ng().boot()?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    assert_eq!(cores(&mut wire)?, [0, 1]);
    let busy = guest::keep_busy(&mut machine)?;
    for _ in 0..20 {
        machine.ok(&format!("echo 0 >{CORE_1}"))?;
        assert_eq!(cores(&mut wire)?, [0]);
        wire.pause()?;
        wire.go()?;
        machine.ok(&format!("echo 1 >{CORE_1}"))?;
        assert_eq!(cores(&mut wire)?, [0, 1]);
        let halted = wire.pause()?;
        assert_eq!(wire.select(1 - u64::from(halted.core))?.core, 1 - halted.core);
        wire.go()?;
    }
    machine.kill_job(busy)?;
    drop(wire);
    let mut prompt = machine.debugger(&[])?;
    let row = at_prompt::enter_running(&mut prompt, "~")?;
    let row = at_prompt::wait_running(&mut prompt, row + 1)?;
    let session = prompt.session();
    assert_eq!(session.matches("running  ").count(), 2, "{session}");
    let row = at_prompt::enter_running(&mut prompt, ".status").map(|_| row)?;
    prompt.wait_text(row, &format!("{}, 2 cores", machine.vendor().back_end()))?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a clock that follows a core whose counter is ahead of the others', by what halts have hidden: one that goes, having
/// left root, or one that comes, not yet under it.
#[test]
fn linux_time_does_not_jump_when_a_core_goes_and_comes_after_a_halt() -> Result {
    const HALT: Duration = Duration::from_secs(8);
    let mut machine = Machine::builder().cpus(2).boot()?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    wire.pause()?;
    std::thread::sleep(HALT);
    wire.go()?;
    for online in ["0", "1"] {
        // In one go: while a guest of Bochs' waits for the next command, its time flies. Each core has a timer to serve.
        let looks = "cut -d' ' -f1 /proc/uptime";
        let text = machine.ok(&format!(
            "{looks}; echo {online} >{CORE_1}; for core in 0 {online}; do taskset -c $core sleep 0.1; done; {looks}"
        ))?;
        let times = text.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<f64>, _>>()?;
        let took = times[1] - times[0];
        assert!((0.0..HALT.as_secs_f64() / 2.0).contains(&took), "core 1 online {online}: {text}");
    }
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a load that waits for a core that is offline or forgets it when it comes, and an unload that does.
#[test]
fn a_core_that_was_offline_at_load_comes_under_root_and_leaves_it() -> Result {
    let mut machine = Machine::builder().cpus(2).with_guest_program(&guest::program("cycle")).boot()?;
    machine.ok(&format!("echo 0 >{CORE_1}"))?;
    assert!(machine.load(Mode::Debugger)?.contains("loaded on 1 core"));
    let mut wire = Wire::connect(&machine.link_path())?;
    assert_eq!(cores(&mut wire)?, [0]);
    machine.ok(&format!("echo 1 >{CORE_1}"))?;
    assert_eq!(cores(&mut wire)?, [0, 1]);
    machine.ok(&format!("echo 0 >{CORE_1}"))?;
    machine.hyperdbg_ok(&["unload"])?;
    machine.ok(&format!("echo 1 >{CORE_1}"))?;
    // It looks on every core for whether root is there.
    assert_eq!(machine.ok("cycle 2")?, "2 cycles on 2 cores\n");
    Ok(machine.console_is_healthy()?)
}
