//! What a function with a detour costs: instructions of a call, counted by QEMU's `-icount`, and exits. `cargo bench -p tests --bench epthook2`. It
//! prints and judges nothing; the goal is no exit for a script that only counts and for a condition that is false.
use lab::Machine;
use tests::Result;
use tests::guest::{self, exits};

const ROUNDS: u32 = 10_000;
/// PUSH RBX; MOV RBX, RAX; INC EBX.
const PUSH: u64 = 0x80;

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
    let plain = call(&mut machine, PUSH)?;
    machine.hyperdbg_ok(&["load"])?;
    let none = call(&mut machine, PUSH)?;
    println!("a call, instructions: {plain:.1} without root, {none:.1} with it");
    for (what, script, called) in [
        ("its script counts", ".n = .n + 1;", PUSH),
        ("it counts under a condition that is true", "if (@rax == 1) { .n = .n + 1; }", PUSH),
        ("its condition is false", "if (@rax == 2) { .n = @rip; }", PUSH),
        ("its script does something else", ".n = @rip;", PUSH),
        ("a function beside it", ".n = .n + 1;", 0x200),
    ] {
        machine.hyperdbg_ok(&[&format!("!epthook2 {:x} script {{ {script} }}", code + PUSH)])?;
        let before = exits(&mut machine)?;
        let with = call(&mut machine, called)?;
        let by_breakpoint = (exits(&mut machine)? - before) / u64::from(ROUNDS);
        println!("{what}, by the breakpoint: {:.1} more, {by_breakpoint} exits", with - none);
        while machine.hyperdbg_ok(&["events"])?.contains("by a breakpoint") {
            machine.ok("sleep 0.2")?;
        }
        let before = exits(&mut machine)?;
        let with = call(&mut machine, called)?;
        let exits = (exits(&mut machine)? - before) / u64::from(ROUNDS);
        println!("{what}: {:.1} more, {exits} exits", with - none);
        machine.hyperdbg_ok(&["events c all"])?;
    }
    Ok(machine.console_is_healthy()?)
}
