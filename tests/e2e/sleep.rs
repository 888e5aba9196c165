//! Sleep, reboot, power-off, kexec: root is gone before the machine is, and back when it is.
use abi::request::{Hello, Number, goodbye, notice, op};
use lab::initramfs::Files;
use lab::{Lab, Machine, Mode, Vendor};
use serde_json::json;
use std::fs;
use std::time::Duration;
use tests::{Result, at_prompt, guest, vendor, wire::Wire};
use zerocopy::FromBytes;

const LIMIT: Duration = Duration::from_secs(90);

fn says_goodbye(wire: &mut Wire, why: u64) -> Result {
    let (code, body) = wire.told(LIMIT)?.ok_or("no goodbye")?;
    let told = Number::read_from_bytes(&body).map(|number| number.value);
    assert_eq!((code, told.ok()), (notice::GOODBYE, Some(why)));
    Ok(())
}

/// Would catch a machine that does not wake because root was under it when its cores lost their state, or that wakes
/// without root: suspend to RAM, three times, with both cores looked at after each.
#[test]
fn a_machine_sleeps_in_ram_and_wakes_with_root_under_it() -> Result {
    if !vendor::is_amd("Bochs has no monitor by which its machine could be woken")? {
        return Ok(());
    }
    let mut machine = Machine::builder().cpus(2).boot()?;
    machine.ok("grep -q mem /sys/power/state && grep -q deep /sys/power/mem_sleep && echo deep >/sys/power/mem_sleep")?;
    machine.load(Mode::Debugger)?;
    let mut prompt = machine.debugger(&[])?;
    let mut row = at_prompt::wait_running(&mut prompt, 0)?;
    for _ in 0..3 {
        let asleep = machine.spawn("echo mem >/sys/power/state")?;
        row = prompt.wait_text(row, "the debuggee goes to sleep; waiting for it")?;
        guest::until_status(&mut machine, "suspended")?;
        machine.qmp("system_wakeup", &json!({}))?;
        let awake = machine.wait_job(asleep, LIMIT)?;
        assert!(awake.ok(), "{}", awake.text());
        prompt.wait_text(row, &format!("the debuggee is back: {}, 2 cores, running", machine.vendor().back_end()))?;
        let pause = at_prompt::enter_running(&mut prompt, "pause")?;
        assert!(prompt.answer_after(pause, "pause")?.text().contains(": pause"));
        row = prompt.enter("g")?;
        at_prompt::wait_running(&mut prompt, row)?;
    }
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a power-off that hangs in root, and one that the prompt is not told of.
#[test]
fn a_machine_under_root_powers_off() -> Result {
    let mut machine = Machine::builder().cpus(2).boot()?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    wire.get::<Hello>(op::HELLO, &[])?;
    let _it_takes_its_answer_along = machine.spawn("poweroff -f")?;
    says_goodbye(&mut wire, goodbye::REBOOT)?;
    machine.wait_end(LIMIT)?;
    assert!(machine.console().contains("reboot: Power down"));
    Ok(machine.console_is_healthy()?)
}

/// Would catch a kernel that is started by kexec on top of root: it must find a processor that nobody uses, and load the
/// hypervisor itself.
#[test]
fn the_next_kernel_finds_a_machine_without_root() -> Result {
    let lab = Lab::shared()?;
    let kernel = lab.kernel()?.image();
    let hypervisor = lab.hypervisor()?;
    let mut files = Files::base(&lab.busybox()?);
    files.host(&hypervisor.module, "/hyperkd.ko", 0o644);
    files.program(&hypervisor.program, "/bin/hyperdbg")?;
    let initramfs = lab.cache().path("kexec.cpio");
    files.write(&initramfs)?;
    // In Bochs one system call takes minutes of the guest's time: it makes a digest of kernel and initramfs.
    let patience = if Vendor::usual()? == Vendor::Intel { "nosoftlockup" } else { "" };
    let mut machine = Machine::builder()
        .cpus(2)
        .kernel_argument(patience)
        .with_guest_program(&guest::program("kexec"))
        .with_file(&kernel, "/vmlinuz", 0o644)
        .with_file(&initramfs, "/initramfs", 0o644)
        .boot()?;
    fs::remove_file(&initramfs)?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    wire.get::<Hello>(op::HELLO, &[])?;
    machine.wait_reboot(|machine| {
        let _it_takes_its_answer_along = machine.spawn("kexec /vmlinuz /initramfs")?;
        Ok(())
    })?;
    says_goodbye(&mut wire, goodbye::REBOOT)?;
    drop(wire);
    assert!(machine.console().contains("kexec_core: Starting new kernel"));
    // Bochs' console has only what is worse.
    if machine.vendor() == Vendor::Amd {
        assert_eq!(machine.console().matches("Linux version ").count(), 2);
    }
    assert!(machine.load(Mode::Debugger)?.contains("loaded on 2 cores"));
    let mut wire = Wire::connect(&machine.link_path())?;
    wire.pause()?;
    wire.go()?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
