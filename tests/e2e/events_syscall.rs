//! System calls as events: each is seen once on both cores, does what it did, and comes back as it came.
use abi::request::{EventAsk, Registers, event, op};
use lab::{Machine, Vendor};
use tests::scripting::{Scripts, ask, ask_for, change, load, row, said};
use tests::{Result, guest, wire::Wire};

/// getppid, in 64-bit and in 32-bit programs.
const GETPPID: u64 = 110;
const GETPPID_NARROW: u64 = 64;

fn machine(arguments: &str) -> Result<(Machine, Wire, Scripts)> {
    let builder = Machine::builder().cpus(2).with_guest_program(&guest::program("calls")).with_stress_ng();
    let mut machine = builder.kernel_argument(arguments).boot()?;
    let (wire, scripts) = load(&mut machine)?;
    Ok((machine, wire, scripts))
}

/// What the program says under each of its ways, and its end.
const WAYS: &str = "calls getppid 500; calls once; calls six; calls narrow 200; echo narrow $?; calls returns";

/// The same and steps over them; those not in Bochs, where Linux complains of a step that ends in the kernel, root or no root.
fn ways(machine: &Machine) -> String {
    if machine.vendor() == Vendor::Amd { format!("{WAYS}; calls steps 50") } else { WAYS.to_owned() }
}

/// Would catch a call or a return that is lost or counted twice when both cores make them at once and others make theirs, one
/// that another process made, and a kernel that gets other registers than the program gave.
#[test]
fn calls_are_exact_on_both_cores_at_once_under_load() -> Result {
    let (mut machine, mut wire, mut scripts) = machine("")?;
    let busy = guest::keep_busy(&mut machine)?;
    // The process is there and waits: so that its number is known before its first call.
    machine.ok("mkfifo /tmp/start")?;
    let job = machine.spawn("echo $$ >/tmp/who; read go </tmp/start; exec calls getppid 20000")?;
    let who = guest::until_ok(&mut machine, "cat /tmp/who && [ -s /tmp/who ]")?.trim().parse()?;
    wire.pause()?;
    let before: Registers = wire.get(op::REGISTERS, &[])?;
    let process = |kind| EventAsk { pid: who, ..ask(kind) };
    let number = EventAsk { pid: who, ..ask_for(event::SYSCALL, GETPPID) };
    let calls = scripts.added(&mut wire, number, ".calls = .calls + 1;")?;
    let inside = EventAsk { stage: event::POST, ..number };
    let inside = scripts.added(&mut wire, inside, "if (@rip < 8000000000000000 || @cs != 10) { .outside = 1; }")?;
    let core = scripts.added(&mut wire, EventAsk { core: 1, ..number }, ".core = .core + 1;")?;
    let back = "if (@cs != 10 || $context != @rcx) { .odd = 1; }";
    let returns = scripts.added(&mut wire, process(event::SYSRET), back)?;
    let all = scripts.added(&mut wire, ask(event::SYSCALL), "x = 1;")?;
    assert_eq!(wire.get::<Registers>(op::REGISTERS, &[])?, before, "nothing was continued");
    wire.go()?;
    machine.ok("echo >/tmp/start")?;
    let output = machine.wait_job(job, std::time::Duration::from_secs(120))?;
    assert_eq!(output.text(), "2 cores, 0 wrong\n");
    // One more on each core: who its parent is, before.
    let [calls, inside, core] = [row(&mut wire, calls)?, row(&mut wire, inside)?, row(&mut wire, core)?];
    assert_eq!((calls.hits, inside.hits, core.hits), (40_002, 40_002, 20_001));
    assert_eq!((calls.faults, inside.faults, core.faults), (0, 0, 0));
    assert_eq!(scripts.value(&mut wire, ".calls")?, 40_002);
    assert_eq!((scripts.value(&mut wire, ".outside")?, scripts.value(&mut wire, ".odd")?), (0, 0));
    let returned = row(&mut wire, returns)?.hits;
    assert!(returned >= 40_000, "{returned}: all but those that an interrupt let return otherwise");
    assert!(row(&mut wire, all)?.hits > 40_002, "those of others, too");
    change(&mut wire, event::CLEAR, event::ALL)?;
    assert_eq!(machine.ok("calls getppid 1000")?, "2 cores, 0 wrong\n");
    machine.kill_job(busy)?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a program that sees from its results, its steps or its faults whether its calls are watched; of 32 bits, of 64,
/// on a kernel that hides itself from programs (page-table isolation) and on one that does not.
#[test]
fn programs_see_no_difference() -> Result {
    for arguments in ["", "pti=on"] {
        let (mut machine, mut wire, mut scripts) = machine(arguments)?;
        let ways = ways(&machine);
        let without = machine.ok(&ways)?;
        assert!(without.starts_with("2 cores, 0 wrong\nthe parent, rcx and r11 used\nENOSYS\nnarrow 0\n"), "{without}");
        let narrow = "if (@cs == 23) { .narrow = .narrow + 1; }";
        let narrow = scripts.added(&mut wire, ask_for(event::SYSCALL, GETPPID_NARROW), narrow)?;
        let all = scripts.added(&mut wire, ask(event::SYSRET), ".returns = .returns + 1;")?;
        let six = "printf(\"%x %x %x %x %x %x %x\\n\", $context, @rdi, @rsi, @rdx, @r10, @r8, @r9);";
        scripts.added(&mut wire, ask_for(event::SYSCALL, 0x7ff), six)?;
        let names = "if ($pid == 0) { .nobody = 1; }";
        scripts.added(&mut wire, ask_for(event::SYSCALL, GETPPID), names)?;
        assert_eq!(machine.ok(&ways)?, without, "{arguments}");
        assert_eq!(said(&mut wire)?.texts[0].text, "7ff 11 22 33 44 55 66\n");
        // Of a 32-bit program SYSCALL is undefined on Intel's processors; Linux does not use it there.
        let narrows = if machine.vendor() == Vendor::Amd { 200 } else { 0 };
        assert!(row(&mut wire, narrow)?.hits >= narrows);
        assert_eq!(scripts.value(&mut wire, ".narrow")?, narrows, "{arguments}");
        assert_eq!(scripts.value(&mut wire, ".nobody")?, 0, "{arguments}");
        // A core that comes while they are watched watches, too; and one that went has its own back.
        const CORE_1: &str = "/sys/devices/system/cpu/cpu1/online";
        machine.ok(&format!("echo 0 >{CORE_1}; calls getppid 10; echo 1 >{CORE_1}"))?;
        let before = row(&mut wire, all)?.hits;
        assert_eq!(machine.ok("taskset -c 1 calls getppid 10000")?, "2 cores, 0 wrong\n");
        assert!(row(&mut wire, all)?.hits >= before + 20_000);
        change(&mut wire, event::CLEAR, event::ALL)?;
        let last = scripts.value(&mut wire, ".returns")?;
        assert_eq!(machine.ok(&ways)?, without);
        assert_eq!(scripts.value(&mut wire, ".returns")?, last);
        scripts.added(&mut wire, ask(event::SYSCALL), "x = 1;")?;
        machine.hyperdbg_ok(&["unload"])?;
        assert_eq!(machine.ok(&ways)?, without, "root has left with the event there");
        machine.console_is_healthy()?;
    }
    Ok(())
}

/// Would catch a call that reaches the kernel although it is suppressed, or an answer of the script's that does not come; a
/// script that cannot let some through; and a call whose number the script changed without an effect.
#[test]
fn a_suppressed_call_answers_what_the_script_says() -> Result {
    let (mut machine, mut wire, mut scripts) = machine("")?;
    let suppress = EventAsk { flags: event::OPTION | event::SHORT_CIRCUIT, ..ask_for(event::SYSCALL, GETPPID) };
    let lie = scripts.added(&mut wire, suppress, "@rax = 1234;")?;
    assert_eq!(machine.ok("calls once | cut -d, -f2")?, " rcx and r11 kept\n");
    assert!(row(&mut wire, lie)?.hits >= 2, "the program asks twice, and shells do, too");
    change(&mut wire, event::CLEAR, lie)?;
    let once = "if (@rcx == 1111) { @rax = 5678; } else { event_sc(0); }";
    scripts.added(&mut wire, suppress, once)?;
    assert_eq!(machine.ok("calls once")?, "5678, rcx and r11 kept\n");
    change(&mut wire, event::CLEAR, event::ALL)?;
    // Another call in its place: getpid.
    let other = "if (@rcx == 1111) { @rax = 27; }";
    scripts.added(&mut wire, ask_for(event::SYSCALL, GETPPID), other)?;
    let other = machine.ok("calls once & echo $!; wait")?;
    let (pid, said) = other.split_once('\n').ok_or("two lines")?;
    assert_eq!(said, format!("{:x}, rcx and r11 used\n", pid.parse::<u64>()?));
    change(&mut wire, event::CLEAR, event::ALL)?;
    assert_eq!(machine.ok("calls once")?, "the parent, rcx and r11 used\n");
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
