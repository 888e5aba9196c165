//! External interrupts as events: each is seen, reaches Linux as it would have, and only if it shall.
use abi::code;
use abi::request::{EventAsk, Number, event, op, reason, test};
use lab::{Machine, Mode};
use std::time::Duration;
use tests::scripting::{Scripts, ask, ask_for, change, row};
use tests::{Result, guest, wire::Wire};
use zerocopy::IntoBytes;

const LIMIT: Duration = Duration::from_secs(60);
/// Linux' timer of each core, and by what a core has another look for work (arch/x86/include/asm/irq_vectors.h).
const TIMER: u64 = 0xec;
const RESCHEDULE: u64 = 0xfd;

fn machine(arguments: &str) -> Result<(Machine, Wire, Scripts)> {
    let builder = Machine::builder().with_stress_ng().with_guest_program(&guest::program("clocks"));
    let mut machine = builder.kernel_argument(arguments).boot()?;
    machine.load(Mode::Debugger)?;
    let wire = Wire::connect(&machine.link_path())?;
    Ok((machine, wire, Scripts::default()))
}

/// How many interrupts of a row of /proc/interrupts each core has handled.
fn handled(machine: &mut Machine, name: &str) -> Result<[u64; 2]> {
    let row = machine.ok(&format!("grep ' *{name}:' /proc/interrupts"))?;
    let mut counts = row.split_whitespace().skip(1).map(str::parse);
    let mut next = || counts.next().ok_or("a core is missing");
    Ok([next()??, next()??])
}

/// Programs that come and go on a core, or anywhere.
fn work(machine: &mut Machine, prefix: &str, times: u32) -> Result {
    machine.ok(&format!("{prefix} sh -c 'n=0; while [ $n -lt {times} ]; do n=$((n + 1)); /bin/true; done'"))?;
    Ok(())
}

/// Would catch an interrupt that is lost or comes twice (Linux' own counts are compared), one under a wrong vector, a timer that
/// stops, and a core that comes late and does not watch.
#[test]
fn interrupts_are_those_that_linux_counts() -> Result {
    let (mut machine, mut wire, mut scripts) = machine("")?;
    let busy = guest::keep_busy(&mut machine)?;
    for (name, vector) in [("LOC", TIMER), ("RES", RESCHEDULE)] {
        let first = handled(&mut machine, name)?;
        let id = scripts.added(
            &mut wire,
            ask_for(event::INTERRUPT, vector),
            &format!("if ($context != {vector:x}) {{ .odd = 1; }}"),
        )?;
        let begin = handled(&mut machine, name)?;
        work(&mut machine, "", 300)?;
        let end = handled(&mut machine, name)?;
        let hits = row(&mut wire, id)?.hits;
        let last = handled(&mut machine, name)?;
        let [first, begin, end, last] = [first, begin, end, last].map(|cores| cores.iter().sum::<u64>());
        assert!(end - begin > 50, "{name}: {begin} {end}");
        assert!((end - begin..=last - first).contains(&hits), "{name}: {hits} of {first} {begin} {end} {last}");
    }
    assert_eq!(scripts.value(&mut wire, ".odd")?, 0);
    let all = scripts.added(&mut wire, ask(event::INTERRUPT), "if ($context < 20 || $context > ff) { .odd = 2; }")?;
    machine.ok("echo 0 >/sys/devices/system/cpu/cpu1/online; echo 1 >/sys/devices/system/cpu/cpu1/online")?;
    let on_core_1 = EventAsk { core: 1, ..ask_for(event::INTERRUPT, TIMER) };
    let on_core_1 = scripts.added(&mut wire, on_core_1, ".late = .late + 1;")?;
    // Halts in between: what was taken when they came is delivered behind them.
    for _ in 0..50 {
        wire.pause()?;
        wire.go()?;
    }
    work(&mut machine, "taskset -c 1", 200)?;
    assert!(row(&mut wire, on_core_1)?.hits > 50);
    assert!(row(&mut wire, all)?.hits > 50);
    assert_eq!(scripts.value(&mut wire, ".odd")?, 0);
    machine.kill_job(busy)?;
    machine.hyperdbg_ok(&["unload"])?;
    machine.ok("taskset -c 1 clocks 100")?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch an interrupt that reaches Linux although it is suppressed, one that stays in service at the local APIC and keeps all
/// others away, and a break that halts elsewhere or loses the interrupt it is about.
#[test]
fn a_suppressed_interrupt_does_not_reach_linux() -> Result {
    // A timer that ticks by itself: one that is set for each tick would not be set again.
    let (mut machine, mut wire, mut scripts) = machine("nohz=off highres=off lapic=notscdeadline")?;
    let drop = EventAsk { flags: event::OPTION | event::SHORT_CIRCUIT, core: 1, ..ask_for(event::INTERRUPT, TIMER) };
    let drop = scripts.added(&mut wire, drop, ".dropped = .dropped + 1;")?;
    let before = handled(&mut machine, "LOC")?;
    // Programs run on that core, too: its other interrupts come.
    work(&mut machine, "", 200)?;
    let after = handled(&mut machine, "LOC")?;
    assert_eq!(after[1], before[1]);
    assert!(after[0] > before[0] + 20, "{before:?} {after:?}");
    assert!(row(&mut wire, drop)?.hits > 20);
    change(&mut wire, event::CLEAR, event::ALL)?;
    work(&mut machine, "taskset -c 1", 50)?;
    assert!(handled(&mut machine, "LOC")?[1] > after[1]);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch an interrupt that is lost when root dies with it in hand: the core's timer would never come again.
#[test]
fn root_that_dies_gives_back_the_interrupt_that_it_holds() -> Result {
    let (mut machine, mut wire, mut scripts) = machine("")?;
    for core in [0, 1] {
        let flags = event::BREAK | event::OPTION;
        scripts.added(&mut wire, EventAsk { flags, core, ..ask_for(event::INTERRUPT, TIMER) }, "")?;
    }
    let halted = wire.halted(LIMIT)?;
    assert_eq!(halted.reason, reason::EVENT);
    assert_eq!(wire.ask(op::TEST, Number { value: test::FAULT_UD }.as_bytes())?.0, code::SUCCESS);
    machine.wait_console("root faulted and let go of the machine", LIMIT)?;
    for core in [0, 1] {
        machine.ok(&format!("taskset -c {core} clocks 100"))?;
    }
    Ok(machine.console_is_healthy()?)
}
