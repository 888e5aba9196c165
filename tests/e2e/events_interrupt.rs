//! External interrupts as events: each is seen, reaches Linux as it would have, and only if it shall.
use abi::code;
use abi::request::{EventAsk, Number, event, op, reason, test};
use lab::{Machine, Vendor};
use std::time::{Duration, Instant};
use tests::scripting::{Scripts, ask, ask_for, change, load, row};
use tests::{Result, guest, wire::Wire};
use zerocopy::IntoBytes;

const LIMIT: Duration = Duration::from_secs(60);
/// Linux' timer of each core, and by what a core has another look for work (arch/x86/include/asm/irq_vectors.h).
const TIMER: u64 = 0xec;
const RESCHEDULE: u64 = 0xfd;
const PAGE: u64 = 0xe;
/// Interrupts that are suppressed in a row.
const DROPPED: u64 = 50;

fn machine(arguments: &str) -> Result<(Machine, Wire, Scripts)> {
    let builder = Machine::builder().cpus(2).with_stress_ng().with_guest_program(&guest::program("clocks"));
    let mut machine = builder.kernel_argument(arguments).boot()?;
    let (wire, scripts) = load(&mut machine)?;
    Ok((machine, wire, scripts))
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

/// Would catch an interrupt that is lost, comes twice or is counted for another core (Linux' own counts bound each core's from
/// both sides), one under a wrong vector, and one that gets lost behind a halt or a page fault that is watched, too.
#[test]
fn each_core_sees_the_interrupts_that_linux_counts_there() -> Result {
    let (mut machine, mut wire, mut scripts) = machine("")?;
    let busy = guest::keep_busy(&mut machine)?;
    // Everything else of the kind comes to root all the while, and page faults.
    let all = scripts.added(&mut wire, ask(event::INTERRUPT), "if ($context < 20 || $context > ff) { .odd = 1; }")?;
    scripts.added(&mut wire, ask_for(event::EXCEPTION, PAGE), ".faults = .faults + 1;")?;
    let rows = [("LOC", TIMER), ("RES", RESCHEDULE)];
    let first = rows.map(|(name, _)| handled(&mut machine, name));
    let mut ids = Vec::new();
    for (_, vector) in rows {
        for core in [0, 1] {
            let ask = EventAsk { core, ..ask_for(event::INTERRUPT, vector) };
            ids.push(scripts.added(
                &mut wire,
                ask,
                &format!("if ($context != {vector:x} || $core != {core}) {{ .odd = 2; }}"),
            )?);
        }
    }
    let begin = rows.map(|(name, _)| handled(&mut machine, name));
    work(&mut machine, "taskset -c 0", 100)?;
    for _ in 0..50 {
        wire.pause()?;
        wire.go()?;
    }
    work(&mut machine, "taskset -c 1", 100)?;
    let end = rows.map(|(name, _)| handled(&mut machine, name));
    let mut hits = Vec::new();
    for id in &ids {
        hits.push(row(&mut wire, *id)?.hits);
    }
    let last = rows.map(|(name, _)| handled(&mut machine, name));
    for (kind, (((first, begin), end), last)) in first.into_iter().zip(begin).zip(end).zip(last).enumerate() {
        let (first, begin, end, last) = (first?, begin?, end?, last?);
        for core in [0, 1] {
            let (name, hits) = (rows[kind].0, hits[kind * 2 + core]);
            // One may be between root and Linux' count at each end.
            let (least, most) = ((end[core] - begin[core]).saturating_sub(1), last[core] - first[core] + 1);
            // A guest of Bochs' gets less done meanwhile.
            assert!(machine.vendor() != Vendor::Amd || least > 20, "{name} on {core}: {begin:?} {end:?}");
            assert!((least..=most).contains(&hits), "{name} on {core}: {hits} of {first:?} {begin:?} {end:?} {last:?}");
        }
    }
    assert!(row(&mut wire, all)?.hits >= hits.iter().sum());
    assert_eq!(scripts.value(&mut wire, ".odd")?, 0);
    assert!(scripts.value(&mut wire, ".faults")? > 1000);
    machine.kill_job(busy)?;
    machine.hyperdbg_ok(&["unload"])?;
    for core in [0, 1] {
        machine.ok(&format!("taskset -c {core} clocks 100"))?;
    }
    Ok(machine.console_is_healthy()?)
}

/// Would catch a timer that stops, an interrupt of a device or of another core that never comes, and a core that comes late and
/// does not watch.
#[test]
fn linux_works_while_every_interrupt_is_watched() -> Result {
    let (mut machine, mut wire, mut scripts) = machine("")?;
    let both = EventAsk { stage: event::PRE | event::POST, ..ask(event::INTERRUPT) };
    let all = scripts.added(&mut wire, both, "if ($event_stage == 1) { .behind = .behind + 1; }")?;
    machine.ok("stress-ng --quiet --timer 2 --timer-freq 500 --fork 1 --switch 1 --pipe 1 --timeout 8")?;
    machine.ok("echo 0 >/sys/devices/system/cpu/cpu1/online; echo 1 >/sys/devices/system/cpu/cpu1/online")?;
    let late = EventAsk { core: 1, ..ask_for(event::INTERRUPT, TIMER) };
    let late = scripts.added(&mut wire, late, "")?;
    machine.ok("stress-ng --quiet --timer 2 --timer-freq 500 --fork 1 --switch 1 --pipe 1 --timeout 8")?;
    for core in [0, 1] {
        machine.ok(&format!("taskset -c {core} clocks 100"))?;
    }
    assert!(row(&mut wire, late)?.hits > 100);
    change(&mut wire, event::DISABLE, all)?;
    let (all, behind) = (row(&mut wire, all)?, scripts.value(&mut wire, ".behind")?);
    // Each core may have been between the two when it was disabled.
    assert!(behind > 2000 && all.faults == 0 && (behind * 2..=behind * 2 + 2).contains(&all.hits), "{behind} {all:?}");
    change(&mut wire, event::ENABLE, event::ALL)?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch an interrupt that reaches Linux although it is suppressed, one that stays in service at the local APIC and keeps all
/// others away, and a break that halts elsewhere or loses the interrupt it is about.
#[test]
fn a_suppressed_interrupt_does_not_reach_linux() -> Result {
    // A timer that ticks by itself: one that is set for each tick would not be set again.
    let (mut machine, mut wire, mut scripts) = machine("nohz=off highres=off lapic=notscdeadline")?;
    let drop = EventAsk { flags: event::OPTION | event::SHORT_CIRCUIT, core: 1, ..ask_for(event::INTERRUPT, TIMER) };
    let first = handled(&mut machine, "LOC")?[1];
    // A fifth of a second: without its timer a core wakes nobody who sleeps there.
    let some = format!("if (.dropped < {DROPPED:x}) {{ .dropped = .dropped + 1; }} else {{ event_sc(0); }}");
    let drop = scripts.added(&mut wire, drop, &some)?;
    let until = Instant::now() + LIMIT;
    while scripts.value(&mut wire, ".dropped")? < DROPPED {
        assert!(Instant::now() < until, "{:?}", row(&mut wire, drop)?);
    }
    let begin = handled(&mut machine, "LOC")?[1];
    // Programs run on that core, too: its other interrupts come.
    work(&mut machine, "", 200)?;
    let end = handled(&mut machine, "LOC")?[1];
    change(&mut wire, event::DISABLE, drop)?;
    let passed = row(&mut wire, drop)?.hits - DROPPED;
    let after = handled(&mut machine, "LOC")?;
    assert!(
        end > begin + 20 && end - begin <= passed + 1 && after[1] - first + 1 >= passed,
        "{first} {begin} {end} {passed} {after:?}"
    );
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
