//! `!epthook2` under a real kernel, on both cores at once: what is counted and by whom, how a detour comes and goes while its function
//! runs, and that Linux does not notice.
use abi::code;
use abi::kind::Kind;
use abi::request::epthook2::{Ask, CODE_BYTES_MAX, DISPLACED_BYTES_MAX};
use abi::request::memory::{NO_PID, Place, VIRTUAL};
use abi::request::monitor::EXECUTE;
use abi::request::{EventAnswer, EventAsk, Exits, Number, event, op};
use lab::{Machine, Mode};
use std::time::{Duration, Instant};
use tests::scripting::{Scripts, accepted, ask, change, load, register, row, said};
use tests::wire::Wire;
use tests::{Result, guest, scripting};
use zerocopy::IntoBytes;

const ROUNDS: u64 = 20_000;
/// How long Linux may need to say that nobody can be in the displaced instructions.
const GRACE_MAX: Duration = Duration::from_secs(60);

/// Functions of the module that begin with instructions of five bytes together, or more: offsets, and the bytes.
const FUNCTIONS: [(u64, &[u8], u32); 4] = [
    // PUSH RBX; MOV RBX, RAX; INC EBX.
    (0x080, &[0x53, 0x48, 0x89, 0xc3, 0xff, 0xc3], 1),
    // MOV R9, RAX; LEA EAX, [R9 + 1].
    (0x0c0, &[0x49, 0x89, 0xc1, 0x41, 0x8d, 0x41, 0x01], 3),
    // SUB RSP, 18; INC EAX.
    (0x100, &[0x48, 0x83, 0xec, 0x18, 0xff, 0xc0], 4),
    // XOR ECX, ECX; SETZ CL.
    (0x140, &[0x31, 0xc9, 0x0f, 0x94, 0xc1], 2),
];
/// Times that one comes, goes, is disabled or enabled.
const COMINGS: usize = 40;
const PUSH: u64 = 0x080;
const OTHER: u64 = 0x200;

const HERE: &str = "cd /sys/module/hooked/parameters";

/// A machine under root with the module, and its page of code.
struct Lab {
    machine: Machine,
    wire: Wire,
    scripts: Scripts,
    code: u64,
}

impl Lab {
    fn new() -> Result<Lab> {
        let builder = Machine::builder()
            .cpus(2)
            .with_guest_module(&guest::module("hooked"))
            .with_guest_program(&guest::program("getppid"));
        let mut machine = builder.boot()?;
        machine.ok("insmod /hooked.ko")?;
        let text = machine.ok(&format!("{HERE}; cat where"))?;
        let code = u64::from_str_radix(text.split_whitespace().next().ok_or("no address")?, 16)?;
        let (wire, scripts) = load(&mut machine)?;
        Ok(Lab { machine, wire, scripts, code })
    }

    /// How often the function at an offset was wrong, on each core.
    fn go(&mut self, offset: u64, count: u64) -> Result<String> {
        Ok(self.machine.ok(&format!("{HERE}; echo {offset:x} {count} >go && cat said"))?)
    }

    /// Bytes as the kernel reads them.
    fn read(&mut self, address: u64) -> Result<String> {
        Ok(self.machine.ok(&format!("{HERE}; echo '{address:x} 16' >read && cat read"))?)
    }

    /// Sets a parameter of the module, and reads it.
    fn set(&mut self, parameter: &str, value: &str) -> Result<String> {
        Ok(self.machine.ok(&format!("{HERE}; echo '{value}' >{parameter} && cat {parameter}"))?)
    }

    fn ask(&mut self, event: EventAsk, offset: u64, script: &str) -> Result<(u32, EventAnswer)> {
        let program_words = if script.is_empty() { 0 } else { self.scripts.stage(&mut self.wire, script)? };
        let (_, bytes, first_bytes) = FUNCTIONS.into_iter().find(|(at, ..)| *at == offset).ok_or("no such function")?;
        let ask = Ask { event: EventAsk { program_words, ..event }, ..of(self.code + offset, bytes, first_bytes) };
        register(&mut self.wire, op::EPTHOOK2_ADD, ask.as_bytes())
    }

    fn add(&mut self, offset: u64, script: &str) -> Result<u32> {
        accepted(self.ask(ask(event::EPTHOOK2), offset, script)?)
    }

    fn hits(&mut self, id: u32) -> Result<u64> {
        Ok(row(&mut self.wire, id)?.hits)
    }

    /// Waits until the jump of a detour stands.
    fn jumps(&mut self, id: u32) -> Result {
        let until = Instant::now() + GRACE_MAX;
        while row(&mut self.wire, id)?.enabled != event::FIRES {
            assert!(Instant::now() < until, "the breakpoint is there still");
            self.machine.ok("sleep 0.1")?;
        }
        Ok(())
    }

    /// Exits on all cores that detours could cause.
    fn exits(&mut self) -> Result<u64> {
        let mut sum = 0;
        for core in 0..2_u64 {
            let exits: Exits = self.wire.get(op::EXITS, Number { value: core }.as_bytes())?;
            let is_one = |name: &[u8]| {
                [&b"breakpoint"[..], b"soft-interrupt", b"nested-fault", b"debug"].iter().any(|one| name.starts_with(one))
            };
            sum += exits.rows.iter().filter(|row| is_one(&row.name)).map(|row| row.count).sum::<u64>();
            sum += exits.rows.iter().filter(|row| row.name.starts_with(b"hypercall")).map(|row| row.count).sum::<u64>();
        }
        Ok(sum)
    }

    fn units(&mut self) -> Result<(u64, u64)> {
        scripting::units(&mut self.wire, Kind::Epthook2)
    }

    /// Waits until so many units are used.
    fn comes_to(&mut self, used: u64) -> Result {
        let until = Instant::now() + GRACE_MAX;
        while self.units()?.1 != used {
            assert!(Instant::now() < until, "{:?}", self.units()?);
            self.machine.ok("sleep 0.1")?;
        }
        Ok(())
    }

    fn clear(&mut self, id: u32) -> Result {
        change(&mut self.wire, event::CLEAR, id).map(|_| ())
    }

    fn end(mut self) -> Result {
        self.machine.hyperdbg_ok(&["unload"])?;
        Ok(self.machine.console_is_healthy()?)
    }
}

/// A detour at instructions that are what they are anywhere.
fn of(address: u64, bytes: &[u8], first_bytes: u32) -> Ask {
    let (mut original, mut code) = ([0; DISPLACED_BYTES_MAX], [0; CODE_BYTES_MAX]);
    original[..bytes.len()].copy_from_slice(bytes);
    code[..bytes.len()].copy_from_slice(bytes);
    let count = u32::try_from(bytes.len()).unwrap_or(0);
    let place = Place { address, space: VIRTUAL, pid: NO_PID };
    Ask { place, original, code, displaced_bytes: count, code_bytes: count, first_bytes, ..Ask::default() }
}

/// Would catch a call that is lost or counted twice when both cores come at once, by the breakpoint or by the jump; a detour that only counts
/// and exits; a function that computes something else; one of several on a page that goes with another; bytes that stay behind, and units
/// that do not come back.
#[test]
fn calls_are_exact_on_both_cores_at_once_and_a_count_has_no_exit() -> Result {
    let mut lab = Lab::new()?;
    let before = lab.units()?;
    let mut there = Vec::new();
    for (offset, ..) in FUNCTIONS {
        let bare = lab.read(lab.code + offset)?;
        let id = lab.add(offset, ".n = .n + 1;")?;
        assert_ne!(lab.read(lab.code + offset)?, bare);
        assert_eq!(lab.go(offset, ROUNDS / 4)?, "0\n0\n", "{offset:x}");
        assert_eq!(lab.hits(id)?, ROUNDS / 2, "{offset:x}");
        there.push((offset, id, bare));
    }
    assert_eq!(lab.units()?.1, before.1 + 4);
    for (offset, id, _) in &there {
        lab.jumps(*id)?;
        let exits = lab.exits()?;
        assert_eq!(lab.go(*offset, ROUNDS)?, "0\n0\n", "{offset:x}");
        // The worker's own.
        let more = lab.exits()? - exits;
        assert!(more < 100, "{offset:x}: {more} exits");
        assert_eq!(lab.hits(*id)?, ROUNDS / 2 + 2 * ROUNDS, "{offset:x}");
    }
    assert_eq!(lab.scripts.value(&mut lab.wire, ".n")?, 4 * (ROUNDS / 2 + 2 * ROUNDS));
    assert_eq!(lab.go(OTHER, ROUNDS)?, "0\n0\n");
    for (offset, id, bare) in &there {
        change(&mut lab.wire, event::DISABLE, *id)?;
        assert_eq!(lab.read(lab.code + offset)?, *bare);
        assert_eq!(lab.go(*offset, 1000)?, "0\n0\n", "{offset:x}");
        assert_eq!(lab.hits(*id)?, ROUNDS / 2 + 2 * ROUNDS, "{offset:x}");
        change(&mut lab.wire, event::ENABLE, *id)?;
        assert_eq!(lab.go(*offset, 1000)?, "0\n0\n", "{offset:x}");
        assert_eq!(lab.hits(*id)?, ROUNDS / 2 + 2 * ROUNDS + 2000, "{offset:x}");
        lab.clear(*id)?;
        assert_eq!(lab.read(lab.code + offset)?, *bare);
        assert_eq!(lab.go(*offset, 1000)?, "0\n0\n", "{offset:x}");
    }
    lab.comes_to(before.1)?;
    lab.end()
}

/// Would catch a condition that exits although it is false, a script that finds other registers, or whose changes are lost; a detour that fires
/// for cores that it is not for; an instruction that is not skipped; and what shares bytes with another, or stands where the code is other.
#[test]
fn what_needs_root_costs_one_exit_and_finds_the_function_as_it_was_called() -> Result {
    let mut lab = Lab::new()?;
    let function = lab.code + PUSH;
    let no = lab.add(PUSH, "if (@rax == 2) { .no = .no + 1; .rip = @rip; }")?;
    lab.jumps(no)?;
    let exits = lab.exits()?;
    assert_eq!(lab.go(PUSH, ROUNDS)?, "0\n0\n");
    assert!(lab.exits()? - exits < 100);
    assert_eq!((lab.hits(no)?, lab.scripts.value(&mut lab.wire, ".no")?), (2 * ROUNDS, 0));
    // Nobody shares its bytes.
    for (kind, op) in [(event::EPTHOOK2, op::EPTHOOK2_ADD), (event::EPTHOOK, op::EPTHOOK_ADD)] {
        let ask = Ask { event: ask(kind), ..of(function + 1, &FUNCTIONS[0].1[1..], 3) };
        let hook = abi::request::epthook::Ask { event: ask.event, place: ask.place };
        let (code, _) = register(&mut lab.wire, op, if kind == event::EPTHOOK2 { ask.as_bytes() } else { hook.as_bytes() })?;
        assert_eq!(code, code::OVERLAPS);
    }
    let other = Ask { event: ask(event::EPTHOOK2), ..of(lab.code + OTHER, FUNCTIONS[0].1, 1) };
    assert_eq!(register(&mut lab.wire, op::EPTHOOK2_ADD, other.as_bytes())?.0, code::CODE_CHANGED);
    lab.clear(no)?;
    lab.comes_to(0)?;
    let text = format!("if (@rip != {function:x} || $context != @rip || @rax != 1) {{ .wrong = .wrong + 1; }} .last = @rsp;");
    let yes = lab.add(PUSH, &text)?;
    lab.jumps(yes)?;
    let exits = lab.exits()?;
    assert_eq!(lab.go(PUSH, 1000)?, "0\n0\n");
    let more = lab.exits()? - exits;
    assert!((2000..2100).contains(&more), "{more}");
    assert_eq!((lab.hits(yes)?, lab.scripts.value(&mut lab.wire, ".wrong")?), (2000, 0));
    lab.clear(yes)?;
    // One core, a changed register, and the second instruction instead of the first: MOV R9, RAX is skipped.
    let one = EventAsk { core: 1, ..ask(event::EPTHOOK2) };
    let skips = EventAsk { flags: event::SHORT_CIRCUIT, ..ask(event::EPTHOOK2) };
    let one = accepted(lab.ask(one, 0x100, "@rax = 2;")?)?;
    let skips = accepted(lab.ask(skips, 0x0c0, "@r9 = 6;")?)?;
    assert_eq!(lab.go(0x100, 1000)?, "0\n1000\n");
    assert_eq!(lab.go(0x0c0, 1000)?, "1000\n1000\n");
    assert_eq!((lab.hits(one)?, lab.hits(skips)?), (1000, 2000));
    lab.clear(skips)?;
    // A hidden breakpoint and a monitor on the same page: each has its own.
    let beside = EventAsk { program_words: lab.scripts.stage(&mut lab.wire, ".m = .m + 1;")?, ..ask(event::EPTHOOK) };
    let place = Place { address: lab.code + OTHER, space: VIRTUAL, pid: NO_PID };
    let hook = abi::request::epthook::Ask { event: beside, place };
    let hook = accepted(register(&mut lab.wire, op::EPTHOOK_ADD, hook.as_bytes())?)?;
    let count = lab.add(PUSH, ".n = .n + 1;")?;
    for _ in 0..2 {
        assert_eq!((lab.go(PUSH, 500)?, lab.go(OTHER, 500)?), ("0\n0\n".to_owned(), "0\n0\n".to_owned()));
        lab.jumps(count)?;
    }
    assert_eq!((lab.hits(count)?, lab.hits(hook)?), (2000, 2000));
    let beside = EventAsk { program_words: lab.scripts.stage(&mut lab.wire, ".x = .x + 1;")?, ..ask(event::MONITOR) };
    let monitor = abi::request::monitor::Ask { event: beside, place, last: place.address, access: EXECUTE, zero: 0 };
    accepted(register(&mut lab.wire, op::MONITOR_ADD, monitor.as_bytes())?)?;
    assert_eq!((lab.go(PUSH, 500)?, lab.go(OTHER, 500)?), ("0\n0\n".to_owned(), "0\n0\n".to_owned()));
    assert_eq!((lab.hits(count)?, lab.hits(hook)?), (3000, 3000));
    assert_eq!(lab.scripts.value(&mut lab.wire, ".x")?, 1000);
    change(&mut lab.wire, event::CLEAR, event::ALL)?;
    assert_eq!(lab.go(PUSH, 500)?, "0\n0\n");
    lab.end()
}

/// Would catch a function that is wrong while its detour comes or goes, a unit that is lost, and a root that leaves jumps behind.
#[test]
fn detours_come_and_go_while_their_functions_run() -> Result {
    let mut lab = Lab::new()?;
    let bare: Vec<String> = FUNCTIONS.iter().map(|(offset, ..)| lab.read(lab.code + offset)).collect::<Result<_>>()?;
    let every = "for at in 80 c0 100 140; do echo $at 300 >go; grep -qv '^0$' said && touch /wrong; done";
    let job = lab.machine.spawn(&format!("{HERE}; while :; do {every}; done"))?;
    let (mut there, mut random) = ([None; 4], 1_u64);
    for _ in 0..COMINGS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (what, which) = (random >> 60, usize::try_from(random >> 33)? % 4);
        match there[which] {
            None => {
                let script = if what % 2 == 0 { ".n = .n + 1;" } else { "@r11 = 5;" };
                let (code, answer) = lab.ask(ask(event::EPTHOOK2), FUNCTIONS[which].0, script)?;
                // All units may be on their way back.
                assert!(matches!(code, code::SUCCESS | code::NO_HOOK_PAGE), "{code:x}");
                there[which] = (code == code::SUCCESS).then_some(answer.id);
            }
            Some(id) if what < 4 => _ = change(&mut lab.wire, event::DISABLE, id)?,
            Some(id) if what < 8 => _ = change(&mut lab.wire, event::ENABLE, id)?,
            Some(id) if what < 12 => {
                lab.clear(id)?;
                there[which] = None;
            }
            Some(_) => _ = lab.machine.ok("sleep 0.2")?,
        }
    }
    let live = there.iter().flatten().count();
    lab.comes_to(live as u64)?;
    for ((offset, ..), id) in FUNCTIONS.into_iter().zip(there) {
        match id {
            Some(id) => _ = change(&mut lab.wire, event::ENABLE, id)?,
            None => _ = lab.add(offset, "@r11 = 5;")?,
        }
    }
    // Root leaves with detours in every state, and its places are in use again at once.
    for round in 0..2 {
        lab.machine.hyperdbg_ok(&["unload"])?;
        let after: Vec<String> = FUNCTIONS.iter().map(|(offset, ..)| lab.read(lab.code + offset)).collect::<Result<_>>()?;
        assert_eq!(after, bare, "{round}");
        let machine = &mut lab.machine;
        (lab.wire, lab.scripts) = load(machine)?;
        for (offset, ..) in FUNCTIONS {
            lab.add(offset, ".n = .n + 1;")?;
        }
    }
    lab.machine.kill_job(job)?;
    assert_eq!(lab.machine.ok("ls /wrong 2>/dev/null || true")?, "");
    lab.end()
}

/// Would catch a detour in the bytes that Linux compares before it traces, one that Linux' own breakpoint ends in a mix of both, and a
/// function of the kernel that is refused, or is not refused, without a word that helps.
#[test]
fn what_linux_puts_on_a_function_and_a_detour_do_not_disturb_each_other() -> Result {
    const TRACING: &str = "cd /sys/kernel/tracing";
    // A system call that nobody else makes here.
    const TRACED: &str = "__x64_sys_sched_get_priority_max";
    let mut lab = Lab::new()?;
    lab.machine.ok("mount -t tracefs none /sys/kernel/tracing 2>/dev/null || true")?;
    let calls = |lab: &mut Lab| lab.machine.ok("getppid 500 146");
    let said = lab.machine.hyperdbg_ok(&[&format!("!epthook2 {TRACED} script {{ .n = .n + 1; }}")])?;
    assert!(said.contains("0x1 epthook2") && said.contains("behind what Linux traces by"), "{said}");
    let hit = |lab: &mut Lab, before: u64| -> Result<u64> {
        let hits = lab.hits(0)?;
        assert_eq!(hits - before, 500);
        Ok(hits)
    };
    calls(&mut lab)?;
    let hits = hit(&mut lab, 0)?;
    lab.jumps(0)?;
    lab.machine
        .ok(&format!("{TRACING} && echo {TRACED} >set_ftrace_filter && echo function >current_tracer && echo >trace"))?;
    calls(&mut lab)?;
    let hits = hit(&mut lab, hits)?;
    let traced = lab.machine.ok(&format!("{TRACING}; grep -c '{TRACED} ' trace || true"))?;
    assert_eq!(traced.trim(), "500");
    lab.machine.ok(&format!("{TRACING}; echo nop >current_tracer; echo >set_ftrace_filter"))?;
    calls(&mut lab)?;
    hit(&mut lab, hits)?;
    lab.clear(0)?;
    for (line, why) in [
        ("schedule", ""),
        ("entry_SYSCALL_64", "keeps its own probes out"),
        ("hooked_keyed", "Linux changes the instruction at"),
        ("hooked_call+1", "is inside of an instruction"),
        ("hooked_code+1c0", "Linux changes the instruction at"),
        ("hooked_code+200", "and the function has 0x3 more"),
        ("0x400000", "err"),
    ] {
        let (ok, text) = typed(&mut lab, &format!("!epthook2 {line} script {{ .n = .n + 1; }}"))?;
        assert_eq!(ok, why.is_empty(), "{line}: {text}");
        assert!(text.contains(why), "{line}: {text}");
    }
    change(&mut lab.wire, event::CLEAR, event::ALL)?;
    lab.comes_to(0)?;
    // A probe of Linux' just where the jump stands.
    let bare = lab.read(lab.code + PUSH)?;
    let id = lab.add(PUSH, ".n = .n + 1;")?;
    lab.jumps(id)?;
    lab.set("probe", &format!("{PUSH:x}"))?;
    let texts = said_of(&mut lab)?;
    assert!(texts.iter().any(|text| text.contains("Linux has changed its code")), "{texts:?}");
    assert_eq!(lab.go(PUSH, 500)?, "0\n0\n");
    assert_eq!(lab.set("probe", "ffff")?, "1000\n");
    assert_eq!(lab.go(PUSH, 500)?, "0\n0\n");
    lab.machine.hyperdbg_ok(&["unload"])?;
    assert_eq!(lab.read(lab.code + PUSH)?, bare);
    assert_eq!(lab.go(PUSH, 500)?, "0\n0\n");
    Ok(lab.machine.console_is_healthy()?)
}

/// Would catch a core that meets a breakpoint or a place without root under it and dies: one that goes offline and comes, and all of them when
/// root lets go after a fault; code that stays changed then; and a module that goes while somebody is in it.
#[test]
fn cores_without_root_are_led_on() -> Result {
    const CORE_1: &str = "/sys/devices/system/cpu/cpu1/online";
    let mut machine = Machine::builder().cpus(2).with_guest_program(&guest::program("getppid")).boot()?;
    machine.load(Mode::Vmi)?;
    let add = [
        "!epthook2 schedule script { .n = .n + 1; }",
        "!epthook2 __x64_sys_getppid script { .last = @rsp; }",
        "!epthook2 wake_up_process script { .last = @rip; }",
    ];
    machine.hyperdbg_ok(&add)?;
    let come_and_go = |machine: &mut Machine| {
        machine.ok(&format!("for i in 1 2 3; do echo 0 >{CORE_1}; getppid 100; echo 1 >{CORE_1}; done"))
    };
    come_and_go(&mut machine)?;
    let until = Instant::now() + GRACE_MAX;
    while machine.hyperdbg_ok(&["events"])?.contains("by a breakpoint") {
        assert!(Instant::now() < until, "the breakpoints are there still");
        machine.ok("sleep 0.1")?;
    }
    come_and_go(&mut machine)?;
    // Root dies.
    assert!(!machine.hyperdbg(&["test fault ud"])?.ok());
    machine.wait_console("root faulted and let go of the machine", GRACE_MAX)?;
    machine.ok("getppid 1000; sleep 1")?;
    machine.load(Mode::Vmi)?;
    machine.hyperdbg_ok(&add)?;
    machine.hyperdbg_ok(&["unload"])?;
    machine.ok("rmmod hyperkd; getppid 1000")?;
    Ok(machine.console_is_healthy()?)
}

/// A line at the prompt of the machine itself; whether it was done.
fn typed(lab: &mut Lab, line: &str) -> Result<(bool, String)> {
    let output = lab.machine.hyperdbg(&[line])?;
    Ok((output.ok(), output.text()))
}

fn said_of(lab: &mut Lab) -> Result<Vec<String>> {
    Ok(said(&mut lab.wire)?.texts.into_iter().map(|line| line.text).collect())
}
