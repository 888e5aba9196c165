//! Events in a guest that works: what they count, what they change, what they take, and what is left of them.
use abi::code;
use abi::kind::Kind;
use abi::request::{EventAsk, Ledger, PreallocAsk, Registers, event, op, reason};
use lab::Vendor;
use std::time::Duration;
use tests::scripting::{ask, ask_for, change, machine, row, said};
use tests::{Result, wire::Wire};
use zerocopy::IntoBytes;

const LIMIT: Duration = Duration::from_secs(60);
/// A leaf that nobody else asks for.
const LEAF: u64 = 0x1234_5678;

fn ledger(wire: &mut Wire) -> Result<Ledger> {
    wire.get(op::LEDGER, &[])
}

fn post(option: u64) -> EventAsk {
    EventAsk { stage: event::POST, ..ask_for(event::CPUID, option) }
}

/// Would catch a hit that is lost or counted twice when both cores come at once, an event that is registered by letting the
/// machine run, a filter that lets others through, one that costs output when it misses, and units that stay taken.
#[test]
fn hits_are_exact_on_both_cores_at_once() -> Result {
    let (mut machine, mut wire, mut scripts) = machine()?;
    wire.pause()?;
    let before: Registers = wire.get(op::REGISTERS, &[])?;
    let all = scripts.added(&mut wire, ask_for(event::CPUID, LEAF), ".hits = .hits + 1;")?;
    let only = EventAsk { core: 1, ..ask_for(event::CPUID, LEAF) };
    let one = scripts.added(&mut wire, only, "if ($core != 1) { .wrong = 1; }")?;
    let miss = scripts.added(&mut wire, ask_for(event::CPUID, LEAF), r#"if (@r15 == 123456789) { printf("never\n"); }"#)?;
    let after = scripts.added(&mut wire, post(LEAF), ".after = .after + 1;")?;
    let other = scripts.added(&mut wire, ask_for(event::CPUID, LEAF + 1), ".other = .other + 1;")?;
    assert_eq!((all, one, miss, after, other), (0, 1, 2, 3, 4));
    assert_eq!(wire.get::<Registers>(op::REGISTERS, &[])?, before, "nothing was continued");
    let held = ledger(&mut wire)?.kinds[Kind::RegularEvent.index()];
    assert_eq!((held.used, held.free), (5, 15));
    wire.go()?;
    machine.ok(&format!("instructions cpuid {LEAF:x} 20000"))?;
    for (id, hits) in [(all, 40_000), (one, 20_000), (miss, 40_000), (after, 40_000), (other, 0)] {
        let row = row(&mut wire, id)?;
        assert_eq!((row.hits, row.faults, row.lost, row.enabled), (hits, 0, 0, 1), "event {id}");
    }
    assert_eq!(scripts.value(&mut wire, ".hits")?, 40_000);
    assert_eq!(scripts.value(&mut wire, ".after")?, 40_000);
    assert_eq!((scripts.value(&mut wire, ".wrong")?, scripts.value(&mut wire, ".other")?), (0, 0));
    assert_eq!(said(&mut wire)?.texts.len(), 0, "a condition that is false says nothing");
    // Disabled it stays, cleared it goes; and what it held is free while nothing runs.
    assert_eq!(change(&mut wire, event::DISABLE, all)?, 1);
    machine.ok(&format!("instructions cpuid {LEAF:x} 100"))?;
    assert_eq!(row(&mut wire, all)?.hits, 40_000);
    wire.pause()?;
    let used = ledger(&mut wire)?.kinds[Kind::RegularEvent.index()].used;
    assert_eq!((used, change(&mut wire, event::CLEAR, event::ALL)?), (5, 5));
    let end = ledger(&mut wire)?.kinds[Kind::RegularEvent.index()];
    assert_eq!((end.used, end.free >= 20), (0, true));
    wire.go()?;
    machine.ok(&format!("instructions cpuid {LEAF:x} 100"))?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a short circuit that does not suppress, an answer of the script that the program does not get, a register
/// whose reads or writes pass by, a fault of the guest's that root takes for its own, and a counter that runs backwards.
#[test]
fn scripts_change_what_instructions_do() -> Result {
    let (mut machine, mut wire, mut scripts) = machine()?;
    let cpuid = format!("instructions cpuid {LEAF:x} 3");
    const LIED: &str = "1111 2222 3333 4444\n1111 2222 3333 4444\n";
    let suppress = EventAsk { flags: event::OPTION | event::SHORT_CIRCUIT, ..ask_for(event::CPUID, LEAF) };
    let id = scripts.added(&mut wire, suppress, "@eax = 1111; @ebx = 2222; @ecx = 3333; @edx = 4444;")?;
    assert_eq!(machine.ok(&cpuid)?, LIED);
    assert_eq!(row(&mut wire, id)?.hits, 6);
    change(&mut wire, event::CLEAR, id)?;
    assert_ne!(machine.ok(&cpuid)?, LIED);

    // LSTAR is in no map of root's own: it comes when, and only when, an event waits for it.
    let lstar = "instructions rdmsr 1 c0000082 1";
    let real = machine.ok(lstar)?;
    let reads = scripts.added(&mut wire, ask_for(event::MSR_READ, 0xc000_0082), ".reads = .reads + 1;")?;
    assert_eq!(machine.ok("instructions rdmsr 1 c0000082 1000; instructions rdmsr 0 c0000081 5 >/dev/null")?, real);
    assert_eq!(row(&mut wire, reads)?.hits, 1000);
    let lie = EventAsk { stage: event::POST, ..ask_for(event::MSR_READ, 0xc000_0082) };
    let lie = scripts.added(&mut wire, lie, "@eax = 12345678; @edx = 9abc;")?;
    assert_eq!(machine.ok(lstar)?, "9abc12345678\n");
    assert_eq!(change(&mut wire, event::CLEAR, lie)?, 1);
    assert_eq!(machine.ok(lstar)?, real);
    // A write that faults does so in the guest (QEMU refuses upper bits of PKRS, Bochs a base that is no address), with an event
    // and without.
    let faults = match machine.vendor() {
        Vendor::Amd => "6e1 100000000",
        Vendor::Intel => "c0000102 8000000000000000",
    };
    let refused = &format!("echo on >/sys/module/msr/parameters/allow_writes; instructions wrmsr 0 {faults}");
    let without = machine.ok(refused)?;
    assert_eq!(without, "errno EIO\n");
    let writes = scripts.added(&mut wire, ask(event::MSR_WRITE), ".writes = .writes + 1;")?;
    assert_eq!(machine.ok(refused)?, without);
    assert!(row(&mut wire, writes)?.hits >= 1);
    change(&mut wire, event::CLEAR, writes)?;

    let tsc = scripts.added(&mut wire, ask(event::TSC), ".tsc = .tsc + 1;")?;
    assert_eq!(machine.ok("taskset -c 1 instructions tsc 10000")?, "0 backwards\n");
    assert!(row(&mut wire, tsc)?.hits >= 10_000);
    change(&mut wire, event::CLEAR, tsc)?;

    // A hypercall of nobody's is undefined; with an event that suppresses, it is what the script says.
    assert_eq!(machine.ok("instructions vmcall")?, "signal 4\n");
    let call = EventAsk { flags: event::SHORT_CIRCUIT, ..ask(event::HYPERCALL) };
    let call = scripts.added(&mut wire, call, "if (@rax == 1234) { @rax = beef; } else { event_sc(0); }")?;
    assert_eq!(machine.ok("instructions vmcall")?, "rax beef\n");
    change(&mut wire, event::CLEAR, call)?;
    assert_eq!(machine.ok("instructions vmcall")?, "signal 4\n");
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a budget of another size than is promised, a refusal with another number or one that takes something, a
/// line of the documentation that does not help, and a big slot that is never used.
#[test]
fn events_take_what_the_reserve_has_and_no_more() -> Result {
    let (mut machine, mut wire, mut scripts) = machine()?;
    let kd = &mut wire;
    kd.pause()?;
    for nth in 0..20 {
        let id = scripts.added(kd, ask_for(event::MSR_READ, 0xc000_0090 + nth), "print($pid);")?;
        assert_eq!(u64::from(id), nth);
    }
    let (code, answer) = scripts.add(kd, ask(event::CPUID), "print($pid);")?;
    assert_eq!((code, answer.unit, answer.asked, answer.free), (code::NO_REGULAR_EVENT, Kind::RegularEvent as u32, 1, 0));
    let prealloc = |kind: Kind, count| PreallocAsk { kind: kind as u32, zero: 0, count };
    assert_eq!(kd.ask(op::PREALLOC, prealloc(Kind::RegularEvent, 0x10).as_bytes())?.0, code::SUCCESS);
    for nth in 0..16 {
        scripts.added(kd, ask_for(event::CPUID, LEAF + nth), ".n = .n + 1;")?;
    }
    let cpuid = |buffer_bytes| EventAsk { buffer_bytes, ..ask_for(event::CPUID, LEAF) };
    let big: String = (0..900).map(|n| format!(".g = .g * 3 + {n:x};")).collect();
    let mut refused = |kd: &mut Wire, ask, text: &str| -> Result<u32> { Ok(scripts.add(kd, ask, text)?.0) };
    assert_eq!(refused(kd, cpuid(0), "x = 1;")?, code::NO_REGULAR_EVENT);
    assert_eq!(change(kd, event::CLEAR, 0)?, 1);
    assert_eq!(refused(kd, cpuid(0), &big)?, code::NO_BIG_EVENT);
    assert_eq!(refused(kd, cpuid(8), "x = 1;")?, code::NO_REGULAR_SAFE_BUFFER);
    assert_eq!(refused(kd, cpuid(4097), "x = 1;")?, code::NO_BIG_SAFE_BUFFER);
    assert_eq!(refused(kd, cpuid(81_921), "x = 1;")?, code::BUFFER_TOO_LARGE);
    let late = EventAsk { stage: event::POST, flags: event::SHORT_CIRCUIT, ..ask(event::CPUID) };
    assert_eq!(refused(kd, late, "")?, code::SHORT_CIRCUIT_POST);
    assert_eq!(refused(kd, ask(99), "")?, code::EVENT_INVALID);
    let row_of = ledger(kd)?.kinds[Kind::RegularEvent.index()];
    assert_eq!((row_of.used, row_of.free), (35, 1), "what was refused took nothing");
    for kind in [Kind::BigEvent, Kind::RegularSafeBuffer, Kind::BigSafeBuffer] {
        assert_eq!(kd.ask(op::PREALLOC, prealloc(kind, 1).as_bytes())?.0, code::SUCCESS);
    }
    assert_eq!(change(kd, event::CLEAR, event::ALL)?, 35);
    // What a script keeps in its buffer is there at its next hit, and each event has one of its own.
    // On one core, since two at once may read the same.
    let counts = "eq($buffer, poi($buffer) + 1); if (poi($buffer) == 3) { printf(\"three\\n\"); }";
    let counts = scripts.added(kd, EventAsk { core: 1, ..cpuid(8) }, counts)?;
    let large = scripts.added(kd, cpuid(0x2000), "eq($buffer + 1ff8, poi($buffer + 1ff8) + 2);")?;
    scripts.added(kd, cpuid(0), &big)?;
    kd.go()?;
    machine.ok(&format!("instructions cpuid {LEAF:x} 3"))?;
    assert_eq!((row(kd, counts)?.faults, row(kd, large)?.faults), (0, 0));
    let said = said(kd)?;
    assert_eq!((said.texts.len(), said.lost), (1, 0), "{said:?}");
    assert_eq!((said.texts[0].event, said.texts[0].text.as_str()), (counts, "three\n"));
    // The module leaves with all of them registered, and finds no owner.
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a break that halts elsewhere than where the event stands, or is told with another's name; messages that are
/// lost without a count when nobody fetches them; a script's fault that harms, or is not counted.
#[test]
fn a_break_halts_at_the_instruction_and_a_flood_is_counted() -> Result {
    let (mut machine, mut wire, mut scripts) = machine()?;
    let flags = event::BREAK | event::OPTION;
    let before = scripts.added(&mut wire, EventAsk { flags, core: 1, ..ask_for(event::CPUID, LEAF) }, "")?;
    let behind = scripts.added(&mut wire, EventAsk { flags, core: 0, ..post(LEAF) }, "")?;
    let job = machine.spawn(&format!("instructions cpuid {LEAF:x} 5"))?;
    let mut halts = [0, 0];
    while halts != [5, 5] {
        let halted = wire.halted(LIMIT)?;
        assert_eq!((halted.reason, halted.cpl), (reason::EVENT, 3));
        let on_zero = halted.core == 0;
        assert_eq!((halted.event, halted.stage), if on_zero { (behind, event::POST) } else { (before, event::PRE) });
        assert_eq!(halted.bytes[..2] == [0x0f, 0xa2], !on_zero, "before the instruction, or behind it: {halted:x?}");
        halts[usize::try_from(halted.core)?] += 1;
        wire.go()?;
    }
    assert!(machine.wait_job(job, LIMIT)?.ok());
    change(&mut wire, event::CLEAR, event::ALL)?;

    let text = r#"printf("%d says a rather long line of text about it\n", $core);"#;
    let says = scripts.added(&mut wire, ask_for(event::CPUID, LEAF), text)?;
    let bad = scripts.added(&mut wire, ask_for(event::CPUID, LEAF), "x = poi(8); .never = 1;")?;
    machine.ok(&format!("instructions cpuid {LEAF:x} 2000"))?;
    let said = said(&mut wire)?;
    assert_eq!(said.texts.len() as u64 + said.lost, 4000, "each is there or counted");
    assert!(said.lost > 1000, "{}", said.lost);
    assert!(said.texts.iter().all(|line| line.event == says && line.text.starts_with(&format!("{} says", line.core))));
    assert_eq!(row(&mut wire, says)?.lost, said.lost);
    let row = row(&mut wire, bad)?;
    assert_eq!((row.hits, row.faults, row.last_fault & 0xffff_ffff), (4000, 4000, 1));
    assert_eq!(scripts.value(&mut wire, ".never")?, 0);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
