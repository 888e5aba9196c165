//! Scripts that run in root, over a bare client of the link: what they read of a real guest, and how they fail.
use abi::code;
use abi::request::{Evaluated, Halted, Number, Registers, event, op};
use lab::{Machine, Mode};
use tests::scripting::{Line, Said, Scripts, said, stage};
use tests::{Result, guest, wire::Wire};
use zerocopy::IntoBytes;

/// Would catch a script that sees another core than the one that was selected, another task than Linux runs, memory that is
/// not the guest's, or that changes what it only looks at; and a fault that is not told, or harms.
#[test]
fn a_script_sees_the_halted_core_its_task_and_its_memory() -> Result {
    let mut machine = Machine::builder().cpus(2).with_stress_ng().boot()?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    let mut scripts = Scripts::default();
    let busy = guest::keep_busy(&mut machine)?;
    for _ in 0..20 {
        wire.pause()?;
        for core in 0..2_u64 {
            let halted: Halted = wire.select(core)?;
            let registers: Registers = wire.get(op::REGISTERS, &[])?;
            assert_eq!(scripts.value(&mut wire, "$core")?, core);
            assert_eq!(scripts.value(&mut wire, "@rip")?, halted.rip);
            assert_eq!(scripts.value(&mut wire, "@rsp")?, registers.gprs[4]);
            assert_eq!(scripts.value(&mut wire, "@cr3 + 0")?, registers.crs[2]);
            assert_eq!(scripts.value(&mut wire, "@r15")?, registers.gprs[15]);
            // What is pushed there can be read both ways, by its virtual and by its physical address.
            let top = scripts.evaluate(&mut wire, "poi(@rsp)")?;
            if top.fault == 0 {
                assert_eq!(scripts.value(&mut wire, "dq_pa(virtual_to_physical(@rsp))")?, top.value);
            }
            assert!(
                scripts.value(&mut wire, "$pid")? <= scripts.value(&mut wire, "$tid")?,
                "a thread's number is its process' or a later one"
            );
            assert!(scripts.value(&mut wire, "$proc")? > 0xffff_8000_0000_0000, "a task is in the kernel's half");
            assert_eq!(wire.get::<Registers>(op::REGISTERS, &[])?, registers, "nothing changed");
        }
        wire.go()?;
    }
    wire.pause()?;
    let bad = scripts.evaluate(&mut wire, "poi(8)")?;
    assert_eq!((bad.fault & 0xffff_ffff, bad.address), (1, 8));
    assert_eq!(scripts.evaluate(&mut wire, "5 / (@cr3 - @cr3)")?.fault & 0xffff_ffff, 2);
    let words = scripts.stage(&mut wire, "while (1 == 1) { x = x + 1; }")?;
    let endless: Evaluated = wire.get(op::EVALUATE, Number { value: words.into() }.as_bytes())?;
    assert_eq!(endless.fault & 0xffff_ffff, 3, "{endless:x?}");
    // Words that are no program are refused, whatever they are.
    stage(&mut wire, &[0x1234; 100])?;
    assert_eq!(wire.ask(op::EVALUATE, Number { value: 100 }.as_bytes())?.0, code::PROGRAM_REJECTED);
    assert_eq!(wire.ask(op::STAGE, &[0; 9])?.0, code::REQUEST_MALFORMED);

    let words = scripts.stage(&mut wire, r#"printf("core %d, %s, %llx\n", $core, "text", 1234);"#)?;
    wire.select(1)?;
    wire.get::<Evaluated>(op::EVALUATE, Number { value: words.into() }.as_bytes())?;
    let line = Line { event: event::ALL, core: 1, text: "core 1, text, 1234\n".to_owned() };
    assert_eq!(said(&mut wire)?, Said { texts: vec![line], lost: 0 });
    assert_eq!(said(&mut wire)?, Said::default());
    wire.go()?;
    machine.kill_job(busy)?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
