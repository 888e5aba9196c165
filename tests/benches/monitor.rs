//! What a monitored access costs: instructions of a store from the guest to root and back, counted by QEMU's `-icount`, and exits.
//! `cargo bench -p tests --bench monitor`. It prints and judges nothing; the goals are at most 500 instructions and two exits. What an
//! exit and a flush cost a processor beside its instructions, on silicon a thousand cycles and more, no emulator shows.
use lab::Machine;
use tests::Result;
use tests::guest::{self, exits};

const ROUNDS: u32 = 10_000;

/// Instructions of one store.
fn store(machine: &mut Machine) -> Result<f64> {
    let text = machine.ok(&format!("cd /sys/module/monitored/parameters; echo timed {ROUNDS} >go && cat said"))?;
    Ok(text.trim().parse::<f64>()? / f64::from(ROUNDS))
}

fn main() -> Result {
    let mut machine = Machine::builder().with_guest_module(&guest::module("monitored")).icount().boot()?;
    machine.ok("insmod /monitored.ko")?;
    let page = machine.ok("cat /sys/module/monitored/parameters/where")?;
    let page = u64::from_str_radix(page.split_whitespace().next().ok_or("no page")?, 16)?;
    let plain = store(&mut machine)?;
    machine.hyperdbg_ok(&["load"])?;
    let none = store(&mut machine)?;
    println!("a store, instructions: {plain:.1} without root, {none:.1} with it");
    for (what, event) in [
        ("beside the range", format!("!monitor w {:x} l 8 script {{ .n = .n + 1; }}", page + 0x100)),
        ("its script counts a hit", format!("!monitor w {:x} l 8 script {{ .n = .n + 1; }}", page + 0x800)),
        ("reads and writes, likewise", format!("!monitor rw {:x} l 8 script {{ .n = .n + 1; }}", page + 0x800)),
        ("behind it, likewise", format!("!monitor w {:x} l 8 stage post script {{ .n = .n + 1; }}", page + 0x800)),
    ] {
        machine.hyperdbg_ok(&[&event])?;
        let before = exits(&mut machine)?;
        let with = store(&mut machine)?;
        let exits = (exits(&mut machine)? - before) / u64::from(ROUNDS);
        println!("{what}: {:.1} more, {exits} exits", with - none);
        machine.hyperdbg_ok(&["events c all"])?;
    }
    Ok(machine.console_is_healthy()?)
}
