//! What a hooked function costs: instructions of a call from the guest to root and back, counted by QEMU's `-icount`, and exits.
//! `cargo bench -p tests --bench epthook`. It prints and judges nothing; the goal is at most three exits a hit, one and 300 instructions of a fast
//! hook, and none for who is beside that. What an exit and a
//! flush cost a processor beside its instructions, on silicon a thousand cycles and more, no emulator shows.
use lab::Machine;
use tests::Result;
use tests::guest::{self, exits};

const ROUNDS: u32 = 10_000;

/// Instructions of one call of the function at an offset of the page of code.
fn call(machine: &mut Machine, offset: u64) -> Result<f64> {
    let command = format!("cd /sys/module/hooked/parameters; echo {offset:x} {ROUNDS} >go && cat said >/dev/null && cat took");
    Ok(machine.ok(&command)?.trim().parse::<f64>()? / f64::from(ROUNDS))
}

fn main() -> Result {
    let mut machine = Machine::builder().with_guest_module(&guest::module("hooked")).icount().boot()?;
    machine.ok("insmod /hooked.ko")?;
    let text = machine.ok("cat /sys/module/hooked/parameters/where")?;
    let code = u64::from_str_radix(text.split_whitespace().next().ok_or("no address")?, 16)?;
    let plain = call(&mut machine, 0)?;
    machine.hyperdbg_ok(&["load"])?;
    let none = call(&mut machine, 0)?;
    println!("a call, instructions: {plain:.1} without root, {none:.1} with it");
    for (what, fast, hooked, called) in [
        ("fast at ENDBR64, its script counts a hit", "fast", 0, 0),
        ("fast at PUSH, likewise", "fast", 0x80, 0x80),
        ("fast at a NOP, likewise", "fast", 0x280, 0x280),
        ("fast at INC, which is stepped, likewise", "fast", 0x180, 0x180),
        ("a function beside it", "fast", 0, 0x200),
        ("hidden at ENDBR64, its script counts a hit", "", 0, 0),
        ("hidden at PUSH, likewise", "", 0x80, 0x80),
        ("hidden at INC, which is stepped, likewise", "", 0x180, 0x180),
        ("called from its own page, likewise", "", 0x180, 0x1c0),
        ("a function beside it", "", 0, 0x200),
    ] {
        let none = call(&mut machine, called)?;
        let hooked = code + hooked;
        let said = machine.hyperdbg_ok(&[&format!("!epthook {hooked:x} {fast} script {{ .n = .n + 1; }}")])?;
        if said.contains("fast") == fast.is_empty() {
            return Err(said.into());
        }
        let before = exits(&mut machine)?;
        let with = call(&mut machine, called)?;
        let exits = (exits(&mut machine)? - before) / u64::from(ROUNDS);
        println!("{what}: {:.1} more, {exits} exits; {none:.1} without it", with - none);
        machine.hyperdbg_ok(&["events c all"])?;
    }
    Ok(machine.console_is_healthy()?)
}
