//! What an event costs: instructions of a CPUID from the guest to root and back, counted by QEMU's `-icount`, which repeat to
//! the digit. `cargo bench -p tests --bench events`. It prints and judges nothing; the goals are at most 120 with no event, 40
//! more for one that misses its condition, 100 more for one whose script counts a hit. What an exit costs a processor beside
//! its instructions, about a thousand cycles on silicon, no emulator shows.
use lab::Machine;
use tests::{Result, guest};

/// A leaf that nobody else asks for.
const LEAF: &str = "12345678";

fn main() -> Result {
    let mut machine = Machine::builder().with_guest_program(&guest::program("instructions")).icount().boot()?;
    let cpuid =
        |machine: &mut Machine| -> Result<f64> { Ok(machine.ok(&format!("instructions time {LEAF} 10000"))?.trim().parse()?) };
    let plain = cpuid(&mut machine)?;
    machine.hyperdbg_ok(&["load"])?;
    let none = cpuid(&mut machine)?;
    println!("a CPUID, instructions: {plain:.1} without root, {none:.1} with it: {:.1} there and back", none - plain);
    for (what, event) in [
        ("an event of another leaf", "!cpuid 1 script { .n = .n + 1; }".to_owned()),
        ("its condition misses, any leaf", "!cpuid script { if (@r15 == 123456789abc) { .n = .n + 1; } }".to_owned()),
        ("its condition misses", format!("!cpuid {LEAF} script {{ if (@r15 == 123456789abc) {{ .n = .n + 1; }} }}")),
        ("its script counts a hit", format!("!cpuid {LEAF} script {{ .n = .n + 1; }}")),
        ("condition and count", format!("!cpuid {LEAF} script {{ if (@rax == {LEAF}) {{ .n = .n + 1; }} }}")),
        ("its machine code misses", format!("!cpuid {LEAF} condition {{ 31 c0 }} code {{ 90 }}")),
        ("its machine code runs", format!("!cpuid {LEAF} code {{ 90 }}")),
    ] {
        machine.hyperdbg_ok(&[&event])?;
        let with = cpuid(&mut machine)?;
        println!("{what}: {:.1} more", with - none);
        machine.hyperdbg_ok(&["events c all"])?;
    }
    Ok(machine.console_is_healthy()?)
}
