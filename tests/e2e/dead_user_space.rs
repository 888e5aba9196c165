//! Breaking in when nobody in the guest can help: root reads the line itself.
use abi::request::Halted;
use lab::{Machine, Mode};
use std::time::Duration;
use tests::{Result, at_prompt, guest, wire::Wire};

const LIMIT: Duration = Duration::from_secs(60);
/// RFLAGS.IF: interrupts are taken.
const INTERRUPT_FLAG: u64 = 1 << 9;

/// Would catch a break-in that waits for an interrupt, or for a program: both cores spin in the kernel with interrupts
/// off, and are found right there, still spinning.
#[test]
fn cores_that_take_no_interrupt_are_halted_where_they_spin() -> Result {
    let mut machine = Machine::builder().cpus(2).with_guest_module(&guest::module("spinner")).boot()?;
    machine.ok("insmod /spinner.ko milliseconds=5000")?;
    let text = machine.ok("cat /sys/module/spinner/sections/.text")?;
    let text = u64::from_str_radix(text.trim().trim_start_matches("0x"), 16)?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    // Nobody answers while it spins.
    let _begun = machine.spawn("echo 3 >/sys/module/spinner/parameters/go")?;
    machine.wait_console("spinner: core 0 begins", LIMIT)?;
    machine.wait_console("spinner: core 1 begins", LIMIT)?;
    // Between its word and its spin a core may still take an interrupt; the first few halts may find it there.
    let mut spinning = 0;
    for _ in 0..100 {
        let first = wire.pause()?;
        let second = wire.select(1 - u64::from(first.core))?;
        let spins = |halted: Halted| (text..text + 0x1000).contains(&halted.rip) && halted.rflags & INTERRUPT_FLAG == 0;
        let both = spins(first) && spins(second);
        assert!(both || spinning == 0, "it spins for five seconds of its own time: {first:x?} {second:x?}");
        spinning += u32::from(both);
        wire.go()?;
        if spinning == 10 {
            break;
        }
    }
    assert_eq!(spinning, 10);
    machine.wait_console("spinner: core 0 is over", LIMIT)?;
    machine.wait_console("spinner: core 1 is over", LIMIT)?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a prompt that needs the guest's agent or shell: every process of the guest but init is stopped, and the
/// prompt halts, looks, changes the core and lets go all the same.
#[test]
fn the_prompt_works_while_every_process_of_the_guest_is_stopped() -> Result {
    let mut machine = Machine::builder().cpus(2).boot()?;
    machine.load(Mode::Debugger)?;
    let mut prompt = machine.debugger(&[])?;
    at_prompt::wait_running(&mut prompt, 0)?;
    // The shell that stops all others is not stopped itself; it sleeps by the guest's own clock, which a halt stops.
    let stopped = machine.spawn("kill -STOP -1; echo all are stopped >/dev/kmsg; sleep 3; kill -CONT -1")?;
    machine.wait_console("all are stopped", LIMIT)?;

    let row = at_prompt::enter_running(&mut prompt, "pause")?;
    let paused = prompt.answer_after(row, "pause")?;
    assert!(paused.text().contains(": pause, "), "{paused:?}");
    let core = paused.prompt.strip_suffix(": kHyperDbg> ").ok_or("not the prompt of a halted machine")?.to_owned();
    let other = if core == "0" { "1" } else { "0" };
    let cores = prompt.type_line("~")?;
    assert_eq!(cores.lines.iter().filter(|line| line.contains("halted")).count(), 2, "{cores:?}");
    let selected = prompt.type_line(&format!("~ {other}"))?;
    assert_eq!(selected.prompt, format!("{other}: kHyperDbg> "));
    assert!(selected.text().contains(&format!("halted on core {other}: ")), "{selected:?}");
    let row = prompt.enter("g")?;
    prompt.wait_text(row, "debuggee is running")?;
    assert!(machine.wait_job(stopped, LIMIT)?.ok());
    machine.hyperdbg_ok(&["unload"])?;
    prompt.wait_text(row, "the hypervisor was unloaded on the debuggee")?;
    Ok(machine.console_is_healthy()?)
}
