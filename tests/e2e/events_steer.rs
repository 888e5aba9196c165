//! Scripts that decide about events, about the guest, and ask about its code.
use abi::kind::Kind;
use abi::request::{EventAsk, event};
use tests::scripting::{self, ask_for, change, machine, row};
use tests::{Result, wire::Wire};

/// Leaves that nobody else asks for.
const LEAF: u64 = 0x1234_5678;
const OTHER: u64 = LEAF + 1;

/// Regular events in use.
fn used(wire: &mut Wire) -> Result<u64> {
    Ok(scripting::units(wire, Kind::RegularEvent)?.1)
}

/// Would catch an event that a script disables and that goes on, one that it enables and whose instruction still passes by,
/// units of an event that cleared itself and stay taken, and an id that is nobody's and is accepted.
#[test]
fn a_script_enables_disables_and_clears_events() -> Result {
    let (mut machine, mut wire, mut scripts) = machine()?;
    let wire = &mut wire;
    let counted = scripts.added(wire, ask_for(event::CPUID, LEAF), ".n = .n + 1;")?;
    let reads = scripts.added(wire, ask_for(event::MSR_READ, 0xc000_0082), ".reads = .reads + 1;")?;
    change(wire, event::DISABLE, reads)?;
    let text = format!("event_disable({counted:x}); event_enable({reads:x});");
    let turns = scripts.added(wire, EventAsk { core: 1, ..ask_for(event::CPUID, OTHER) }, &text)?;
    let mut cpuid = |leaf: u64, count: u32| machine.ok(&format!("instructions cpuid {leaf:x} {count}"));
    cpuid(LEAF, 100)?;
    cpuid(OTHER, 1)?;
    cpuid(LEAF, 100)?;
    assert_eq!((scripts.value(wire, ".n")?, row(wire, counted)?.enabled), (200, 0));
    // On a core that was in the guest when the other one said so.
    machine.ok("instructions rdmsr 0 c0000082 300")?;
    assert_eq!((row(wire, reads)?.hits, row(wire, turns)?.faults), (300, 0));

    assert_eq!(used(wire)?, 3);
    let once = EventAsk { core: 0, ..ask_for(event::CPUID, LEAF) };
    scripts.added(wire, once, ".once = .once + 1; event_clear($event_id);")?;
    let wrong = scripts.added(wire, EventAsk { core: 0, ..ask_for(event::CPUID, OTHER) }, "event_clear(7777); .never = 1;")?;
    assert_eq!(used(wire)?, 5);
    machine.ok(&format!("instructions cpuid {LEAF:x} 50; instructions cpuid {OTHER:x} 1"))?;
    assert_eq!((scripts.value(wire, ".once")?, used(wire)?), (1, 4));
    assert_eq!((row(wire, wrong)?.faults, scripts.value(wire, ".never")?), (1, 0));
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch an exception that does not arrive, comes twice, or has another vector or error code; and one that the
/// processor would refuse, with the machine.
#[test]
fn a_script_injects_what_the_guest_takes_for_its_own() -> Result {
    let (mut machine, mut wire, mut scripts) = machine()?;
    let wire = &mut wire;
    // Linux would tell of them on the console, where faults are looked for.
    machine.ok("echo 0 >/proc/sys/debug/exception-trace")?;
    // The shell tells of a signal by 128 and its number: 4 is an undefined instruction, 11 a protection fault, 8 a division.
    for (script, status) in [
        ("event_inject(3, 6);", 132),
        ("event_inject_error_code(3, d, 0);", 139),
        ("event_inject(3, 0);", 136),
        // None of these is anything, so nothing comes.
        ("event_inject(3, 2);", 0),
        ("event_inject(3, 20);", 0),
        ("event_inject(1, 6);", 0),
        ("event_inject(3, 106);", 0),
        ("event_trace_step();", 0),
    ] {
        let id = scripts.added(wire, EventAsk { core: 1, ..ask_for(event::CPUID, LEAF) }, script)?;
        let told = machine.sh(&format!("taskset -c 1 instructions time {LEAF:x} 1 >/dev/null"))?;
        assert_eq!(told.status, status, "{script}: {told:?}");
        assert_eq!(row(wire, id)?.faults > 0, status == 0, "{script}");
        change(wire, event::CLEAR, id)?;
    }
    machine.ok(&format!("instructions cpuid {LEAF:x} 1"))?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a length of another mode or of bytes elsewhere, and an address of the kernel's map that is another page's.
#[test]
fn a_script_asks_for_lengths_and_for_the_kernels_map() -> Result {
    let (mut machine, mut wire, mut scripts) = machine()?;
    let wire = &mut wire;
    let text = ".len = disassemble_len($ip); .len32 = disassemble_len32($ip); .len64 = disassemble_len64($ip);
        .same = physical_to_virtual(virtual_to_physical($thread)) == $thread;
        .text = check_address(physical_to_virtual(0));";
    let asked = scripts.added(wire, EventAsk { core: 1, ..ask_for(event::CPUID, LEAF) }, text)?;
    let nowhere = scripts.added(wire, EventAsk { core: 1, ..ask_for(event::CPUID, OTHER) }, ".far = disassemble_len(10);")?;
    let beyond = scripts.added(
        wire,
        EventAsk { core: 1, ..ask_for(event::CPUID, OTHER) },
        ".far = physical_to_virtual(1000000000000);",
    )?;
    machine.ok(&format!("instructions cpuid {LEAF:x} 1; instructions cpuid {OTHER:x} 1"))?;
    let mut value = |name: &str| scripts.value(wire, name);
    assert_eq!((value(".len")?, value(".len32")?, value(".len64")?), (2, 2, 2));
    assert_eq!((value(".same")?, value(".text")?, value(".far")?), (1, 1, 0));
    assert_eq!((row(wire, asked)?.faults, row(wire, nowhere)?.faults, row(wire, beyond)?.faults), (0, 1, 1));
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
