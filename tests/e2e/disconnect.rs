//! Clients that come, go, are killed, or are still there when the hypervisor leaves.
use abi::request::{Hello, op, reason};
use lab::{Machine, Mode, Prompt};
use std::process::Command;
use tests::{Result, at_prompt, wire::Wire};

/// Ends a prompt on the host as no program can prevent.
fn kill(mut prompt: Prompt) -> Result {
    let id = prompt.process_id().ok_or("not a program of the host")?;
    // The shell's own: a small Debian has no program of that name.
    assert!(Command::new("sh").args(["-c", &format!("kill -9 {id}")]).status()?.success());
    prompt.wait_end()?;
    Ok(())
}

/// Would catch an unload that a halted machine cannot do, and one that breaks whoever is connected: a prompt on the link
/// and one in the guest are told, and work again after the next load.
#[test]
fn the_hypervisor_leaves_while_clients_are_connected() -> Result {
    let mut machine = Machine::builder().cpus(2).boot()?;
    machine.load(Mode::Debugger)?;
    let mut inside = machine.vmi(&[])?;
    assert!(inside.type_line("prealloc monitor 1")?.text().contains("allocated and reserved"));
    let mut outside = machine.debugger(&["--pause"])?;
    outside.wait_prompt()?;

    let unloaded = outside.type_line("unload")?;
    assert!(unloaded.text().contains("the hypervisor is unloaded"), "{unloaded:?}");
    assert_eq!(unloaded.prompt, "HyperDbg> ");
    let refused = inside.type_line("prealloc monitor 1")?;
    assert!(refused.text().contains("the hypervisor is not loaded on this machine"), "{refused:?}");
    let refused = outside.type_line("prealloc monitor 1")?;
    assert!(refused.text().contains("is away; it is waited for"), "{refused:?}");

    let row = outside.row();
    assert!(inside.type_line("load link")?.text().contains("loaded on 2 cores"));
    outside.wait_text(row, "the debuggee is back")?;
    let paused = at_prompt::enter_running(&mut outside, "pause")?;
    outside.answer_after(paused, "pause")?;
    let row = outside.enter("g")?;
    at_prompt::wait_running(&mut outside, row)?;
    assert!(inside.type_line("unload")?.text().contains("the hypervisor is unloaded"));
    outside.wait_text(row, "the hypervisor was unloaded on the debuggee")?;
    inside.send(b"\x04")?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a module that goes away under a program that has its device open.
#[test]
fn the_module_stays_while_a_program_has_its_device_open() -> Result {
    let mut machine = Machine::builder().cpus(2).boot()?;
    machine.load(Mode::Debugger)?;
    let refused = machine.sh("exec 3<>/dev/hyperdbg; rmmod hyperkd")?;
    assert!(!refused.ok() && refused.text().contains("Resource temporarily unavailable"), "{}", refused.text());
    let mut wire = Wire::connect(&machine.link_path())?;
    let hello: Hello = wire.get(op::HELLO, &[])?;
    assert_eq!(hello.cores, 2, "a refusal leaves everything as it was");
    machine.ok("rmmod hyperkd; ! [ -d /sys/module/hyperkd ]")?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a machine that stays frozen or a link that stays dead when a prompt is killed: halted, running, and in the
/// middle of a frame.
#[test]
fn a_killed_prompt_costs_nothing_but_itself() -> Result {
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Debugger)?;

    let mut halted = machine.debugger(&["--pause"])?;
    let prompt = halted.wait_prompt()?;
    kill(halted)?;
    let mut next = machine.debugger(&[])?;
    assert_eq!(next.wait_prompt()?, prompt, "it is still halted, on the same core");
    assert!(next.type_line("r")?.text().contains("rip"));
    let row = next.enter("g")?;
    at_prompt::wait_running(&mut next, row)?;
    machine.ok("true")?;

    kill(next)?;
    let mut next = machine.debugger(&[])?;
    at_prompt::wait_running(&mut next, 0)?;
    kill(next)?;

    let mut wire = Wire::connect(&machine.link_path())?;
    wire.get::<Hello>(op::HELLO, &[])?;
    for cut in 1..20 {
        let frame = wire.frame_of(op::PAUSE, &[])?;
        wire.raw(&frame[..cut])?;
        drop(wire);
        wire = Wire::connect(&machine.link_path())?;
        let hello: Hello = wire.get(op::HELLO, &[])?;
        assert_eq!(hello.halted, 0, "half a request is no request: {cut} bytes");
    }
    assert_eq!(wire.pause()?.reason, reason::PAUSE);
    drop(wire);
    let mut wire = Wire::connect(&machine.link_path())?;
    assert_eq!(wire.get::<Hello>(op::HELLO, &[])?.halted, 1, "a line that is closed is no reason to go on");
    wire.go()?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
