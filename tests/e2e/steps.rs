//! Steps: what they may not change, where they lead, and what ends them.
use abi::code;
use abi::request::{EventAsk, Halted, Number, Registers, STEPS_MAX, StepAsk, event, op, reason, step};
use lab::Machine;
use std::time::Duration;
use tests::scripting::{self, ask_for};
use tests::{Result, guest, wire::Wire};
use zerocopy::IntoBytes;

/// Leaves of the program `steps`, before and behind what it does.
const BEGIN: u64 = 0x4857_5301;
const END: u64 = 0x4857_5302;
/// Before what the module `stepped` does.
const KERNEL: u64 = 0x4857_5303;
/// The trap flag.
const TF: u64 = 0x100;
/// What one request takes at most, in front of other work.
const LIMIT: Duration = Duration::from_secs(60);

/// A machine under root with the program, which halts before and behind what it does.
fn machine() -> Result<(Machine, Wire)> {
    let builder = Machine::builder().cpus(2).with_guest_program(&guest::program("steps")).with_stress_ng();
    let mut machine = builder.boot()?;
    let (wire, _) = scripting::load(&mut machine)?;
    Ok((machine, wire))
}

/// Has a mark halt.
fn halt_at(wire: &mut Wire, leaf: u64) -> Result {
    let its = ask_for(event::CPUID, leaf);
    let its = EventAsk { flags: its.flags | event::BREAK, ..its };
    scripting::accepted(scripting::register(wire, op::EVENT_ADD, its.as_bytes())?).map(drop)
}

fn asked(wire: &mut Wire, count: u64, how: u32) -> Result<Halted> {
    wire.get::<[u8; 0]>(op::STEP, StepAsk { count, how, zero: 0 }.as_bytes())?;
    wire.halted(LIMIT)
}

/// One step; the registers behind it.
fn one(wire: &mut Wire, how: u32) -> Result<Registers> {
    let halted = asked(wire, 1, how)?;
    assert_eq!((halted.reason, halted.steps), (reason::STEPPED, 1), "{halted:x?}");
    let all: Registers = wire.get(op::REGISTERS, &[])?;
    assert_eq!((all.rip, all.rflags & TF), (halted.rip, 0), "{all:x?}");
    Ok(all)
}

/// Steps beside the other core until an event halts; how many.
fn to_event(wire: &mut Wire, count: u64) -> Result<u64> {
    let mut steps = 0;
    loop {
        let halted = asked(wire, count, step::TOGETHER)?;
        steps += halted.steps;
        if halted.reason == reason::EVENT {
            return Ok(steps);
        }
        assert_eq!((halted.reason, halted.steps), (reason::STEPPED, count), "{halted:x?}");
        assert!(steps < 1_000_000, "it does not come to its end");
    }
}

/// Would catch a flag of the trap's in a program's sight, an instruction that is left out or done twice, an event that is delivered to
/// nobody, and time that runs backwards.
#[test]
fn a_program_that_is_stepped_through_the_kernel_and_back_does_what_it_does_else() -> Result {
    let (mut machine, mut wire) = machine()?;
    let plain = machine.ok("steps 1 1")?;
    assert!(plain.contains("1 rounds") && plain.contains("never seen, 0 wrong, 0 backwards"), "{plain}");
    halt_at(&mut wire, BEGIN)?;
    halt_at(&mut wire, END)?;
    // The core itself must have nothing else to do: without its interrupts nobody else would let go of it.
    let busy = machine.spawn("exec steps 0 100000000")?;
    let marked = wire.halted(LIMIT)?;
    assert_eq!((marked.reason, marked.core), (reason::EVENT, 0));
    wire.go()?;
    for count in [1000, 313] {
        let job = machine.spawn("steps 1 1")?;
        let begun = wire.halted(LIMIT)?;
        assert_eq!((begun.reason, begun.core, begun.steps), (reason::EVENT, 1, 0));
        let steps = to_event(&mut wire, count)?;
        println!("{steps} steps");
        assert!(steps > 20_000, "only {steps} steps");
        wire.go()?;
        let said = machine.wait_job(job, LIMIT)?;
        assert_eq!(said.text(), plain);
    }
    machine.kill_job(busy)?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a step that ends before or behind its instruction: the one that the machine was halted before, flags on the stack, MOV
/// SS, a system call, its end, a fault.
#[test]
fn each_step_ends_where_its_instruction_does() -> Result {
    let (mut machine, mut wire) = machine()?;
    let wire = &mut wire;
    halt_at(wire, BEGIN)?;
    halt_at(wire, END)?;
    for how in [step::ALONE, step::TOGETHER] {
        let job = machine.spawn("steps 0 1")?;
        let begun = wire.halted(LIMIT)?;
        let at = |all: &Registers| all.rip.wrapping_sub(begun.rip);
        assert_eq!(at(&one(wire, how)?), 2, "CPUID, which the event halted before");
        let pushed = one(wire, how)?;
        assert_eq!(at(&pushed), 3, "PUSHF");
        let image = scripting::Scripts::default().value(wire, &format!("dq({:x})", pushed.gprs[4]))?;
        assert_eq!(image & TF, 0, "the image of the flags");
        assert_eq!(at(&one(wire, how)?), 4, "POPF");
        assert_eq!(at(&one(wire, how)?), 6, "MOV from SS");
        // With the trap flag the next instruction belongs to it (APM2 13.1.4 "Single stepping", SDM3 6.8.3).
        let behind = at(&one(wire, how)?);
        assert!(behind == 8 || behind == 9, "MOV SS: {behind}");
        if behind == 8 {
            assert_eq!(at(&one(wire, how)?), 9, "NOP");
        }
        assert_eq!(at(&one(wire, how)?), 14, "MOV");
        let inside = one(wire, how)?;
        assert!(inside.rip >> 63 == 1 && inside.selectors[0] & 3 == 0, "SYSCALL: {inside:x?}");
        assert_eq!((inside.gprs[1].wrapping_sub(begun.rip), inside.gprs[11] & TF), (16, 0), "what it keeps");
        let (mut back, mut steps) = (inside, 1);
        while back.rip >> 63 == 1 {
            back = one(wire, how)?;
            steps += 1;
            assert!(steps < 5000, "{back:x?}");
        }
        assert_eq!(at(&back), 16, "the way back");
        assert!(steps > 50, "{steps} steps in the kernel");
        assert_eq!(at(&one(wire, how)?), 17, "NOP");
        let fault = one(wire, how)?;
        assert!(fault.rip >> 63 == 1 && fault.selectors[0] & 3 == 0, "a page that is not there: {fault:x?}");
        to_event(wire, 1000)?;
        wire.go()?;
        assert!(machine.wait_job(job, LIMIT)?.text().contains("never seen, 0 wrong"));
    }
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch the same of what only a kernel executes: its interrupt flag, a repeated string instruction, IRET within the kernel, HLT.
#[test]
fn each_step_in_the_kernel_ends_where_its_instruction_does() -> Result {
    const IF: u64 = 0x200;
    let mut machine = Machine::builder().cpus(2).with_guest_module(&guest::module("stepped")).boot()?;
    machine.ok("insmod /stepped.ko")?;
    let (mut wire, _) = scripting::load(&mut machine)?;
    let wire = &mut wire;
    halt_at(wire, KERNEL)?;
    for how in [step::ALONE, step::TOGETHER] {
        let job = machine.spawn("echo 1 >/sys/module/stepped/parameters/go")?;
        let begun = wire.halted(LIMIT)?;
        let at = |all: &Registers| all.rip.wrapping_sub(begun.rip);
        // Behind each, and whether interrupts are on: CPUID, PUSHF, CLI, NOP, STI, NOP, CLI, POPF, MOV.
        for (behind, on) in
            [(2, true), (3, true), (4, false), (5, false), (6, true), (7, true), (8, false), (9, true), (14, true)]
        {
            let all = one(wire, how)?;
            assert_eq!((at(&all), all.rflags & IF != 0), (behind, on));
        }
        // Three times, and once more where the processor looks at the count before rather than behind.
        let mut times = 1;
        let mut all = one(wire, how)?;
        while at(&all) == 14 {
            all = one(wire, how)?;
            times += 1;
        }
        assert!((3..=4).contains(&times) && all.gprs[1] == 0, "{times} steps of a repeated instruction");
        // It; MOV, MOV, three times PUSH, MOV, PUSH, LEA, PUSH, IRET, STI, HLT, NOP.
        for behind in [16, 19, 21, 22, 23, 24, 26, 27, 34, 35, 37, 38, 39, 40] {
            assert_eq!(at(&all), behind);
            all = one(wire, how)?;
        }
        wire.go()?;
        assert!(machine.wait_job(job, LIMIT)?.ok());
    }
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a core that others cannot be stepped beside, one that sleeps in an idle loop for ever, and a machine that does not go on
/// behind steps of each core.
#[test]
fn each_core_steps_wherever_it_is() -> Result {
    let (mut machine, mut wire) = machine()?;
    let wire = &mut wire;
    for round in 0..4 {
        let busy = if round % 2 == 1 { Some(guest::keep_busy(&mut machine)?) } else { None };
        wire.pause()?;
        for turn in 0..6 {
            let core = turn % 2;
            wire.select(core)?;
            for (count, how) in [(1, step::ALONE), (200, step::ALONE), (1, step::TOGETHER), (200, step::TOGETHER)] {
                let halted = asked(wire, count, how)?;
                assert_eq!((halted.reason, halted.steps), (reason::STEPPED, count), "{halted:x?}");
                assert_eq!(u64::from(halted.core), core);
            }
        }
        wire.go()?;
        machine.ok("true")?;
        if let Some(busy) = busy {
            machine.kill_job(busy)?;
        }
    }
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch steps that cannot be ended, that are counted wrong when they are, and requests that are none and are accepted.
#[test]
fn a_pause_ends_steps_and_what_is_none_is_refused() -> Result {
    let (mut machine, mut wire) = machine()?;
    let wire = &mut wire;
    let ask = |count, how, zero| StepAsk { count, how, zero };
    assert_eq!(wire.ask(op::STEP, ask(1, step::ALONE, 0).as_bytes())?.0, code::NOT_HALTED);
    for core in 0..2 {
        for how in [step::ALONE, step::TOGETHER] {
            wire.pause()?;
            wire.select(core)?;
            wire.get::<[u8; 0]>(op::STEP, ask(STEPS_MAX, how, 0).as_bytes())?;
            let halted = wire.pause()?;
            assert!(halted.steps < STEPS_MAX, "{halted:x?}");
            // Those that were done when the pause came are told, too, if that was between two of them.
            while wire.told(Duration::from_millis(100))?.is_some() {}
            let again = wire.pause()?;
            assert_eq!((again.steps, again.rip), (halted.steps, halted.rip));
            wire.go()?;
        }
    }
    wire.pause()?;
    for wrong in [ask(0, step::ALONE, 0), ask(STEPS_MAX + 1, step::ALONE, 0), ask(1, 2, 0), ask(1, step::ALONE, 1)] {
        assert_eq!(wire.ask(op::STEP, wrong.as_bytes())?.0, code::REQUEST_MALFORMED, "{wrong:x?}");
    }
    assert_eq!(wire.ask(op::STEP, Number { value: 1 }.as_bytes())?.0, code::REQUEST_MALFORMED);
    wire.go()?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
