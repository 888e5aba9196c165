//! Machine code of events in a guest that works: what it lets through, what it writes, what it breaks, and what is left of it.
use abi::code;
use abi::kind::Kind;
use abi::request::{EventAsk, Ledger, PreallocAsk, event, op};
use lab::{Machine, Mode};
use std::time::{Duration, Instant};
use tests::scripting::{Scripts, ask, ask_for, change, load, row};
use tests::{Result, at_prompt, guest, wire::Wire};
use zerocopy::IntoBytes;

const LIMIT: Duration = Duration::from_secs(60);
/// A leaf that nobody else asks for.
const LEAF: u64 = 0x1234_5678;
const NOTHING: &[u8] = &[];

fn machine() -> Result<(Machine, Wire, Scripts)> {
    let mut machine = Machine::builder().cpus(2).with_guest_program(&guest::program("instructions")).boot()?;
    let (wire, scripts) = load(&mut machine)?;
    Ok((machine, wire, scripts))
}

fn used(wire: &mut Wire) -> Result<[u64; 2]> {
    let ledger: Ledger = wire.get(op::LEDGER, &[])?;
    Ok([Kind::RegularEvent, Kind::BigEvent].map(|kind| ledger.kinds[kind.index()].used))
}

/// Reserves one unit.
fn reserves(wire: &mut Wire, kind: Kind) -> Result {
    let ask = PreallocAsk { kind: kind as u32, zero: 0, count: 1 };
    assert_eq!(wire.ask(op::PREALLOC, ask.as_bytes())?.0, code::SUCCESS);
    Ok(())
}

/// `xor eax, eax; cmp dword ptr [rcx], LEAF; sete al`: the guest's eax is the leaf.
fn is_leaf(leaf: u64) -> Vec<u8> {
    let [a, b, c, d, ..] = leaf.to_le_bytes();
    vec![0x31, 0xc0, 0x81, 0x39, a, b, c, d, 0x0f, 0x94, 0xc0]
}

/// `mov dword ptr [rdx + 24], VALUE`: rbx becomes this.
fn sets_rbx(value: u32) -> Vec<u8> {
    [&[0xc7, 0x42, 0x18][..], &value.to_le_bytes()].concat()
}

/// Would catch a condition that sees another core's registers or none, one that lets others through, and registers or a buffer
/// that are not the event's.
#[test]
fn conditions_and_code_see_and_change_the_core_that_exits() -> Result {
    let (mut machine, mut wire, mut scripts) = machine()?;
    let condition = is_leaf(LEAF);
    let only = scripts.added_with_code(&mut wire, ask(event::CPUID), ".hits = .hits + 1;", [&condition, NOTHING])?;
    let breaks = EventAsk { flags: event::BREAK, ..ask(event::CPUID) };
    let never = scripts.added_with_code(&mut wire, breaks, "", [&is_leaf(LEAF + 2), NOTHING])?;
    machine.ok(&format!("instructions cpuid {LEAF:x} 20000; instructions cpuid {:x} 1000", LEAF + 1))?;
    assert_eq!((row(&mut wire, only)?.hits, row(&mut wire, never)?.hits), (40_000, 0));
    assert_eq!(scripts.value(&mut wire, ".hits")?, 40_000);
    assert_eq!((row(&mut wire, only)?.faults, row(&mut wire, never)?.faults), (0, 0));
    change(&mut wire, event::CLEAR, event::ALL)?;

    // `inc qword ptr [rcx]`, and the leaf, which is `$context`, into rcx: then the script reads the buffer. On one core, since two
    // at once may read the same.
    reserves(&mut wire, Kind::RegularSafeBuffer)?;
    let code = [&[0x48, 0xff, 0x01, 0x4c, 0x89, 0x42, 0x08][..], &sets_rbx(0xbeef)].concat();
    let flags = event::OPTION | event::SHORT_CIRCUIT | event::CODE_FIRST;
    let acts = EventAsk { flags, core: 1, buffer_bytes: 8, ..ask_for(event::CPUID, LEAF) };
    let text = ".seen = poi($buffer); @eax = @ebx + 1; @edx = 7;";
    let acts = scripts.added_with_code(&mut wire, acts, text, [NOTHING, &code])?;
    let told = machine.ok(&format!("instructions cpuid {LEAF:x} 500"))?;
    assert_eq!(told.lines().nth(1), Some(format!("bef0 beef {LEAF:x} 7").as_str()), "{told}");
    let of_acts = row(&mut wire, acts)?;
    assert_eq!((of_acts.hits, of_acts.faults, scripts.value(&mut wire, ".seen")?), (500, 0, 500));
    // The other way round the script is overtaken.
    change(&mut wire, event::CLEAR, event::ALL)?;
    let behind = EventAsk { flags: event::OPTION | event::SHORT_CIRCUIT, ..ask_for(event::CPUID, LEAF) };
    scripts.added_with_code(&mut wire, behind, "@eax = 1; @ebx = 2; @ecx = 3; @edx = 4;", [NOTHING, &sets_rbx(0xbeef)])?;
    assert_eq!(machine.ok(&format!("instructions cpuid {LEAF:x} 1"))?, "1 beef 3 4\n".repeat(2));
    // As much as there can be: it goes over all pages of a big unit.
    change(&mut wire, event::CLEAR, event::ALL)?;
    reserves(&mut wire, Kind::BigEvent)?;
    let nops = |bytes: usize, end: &[u8]| [&vec![0x90; bytes - end.len()][..], end].concat();
    let ends = EventAsk { stage: event::POST, ..ask_for(event::CPUID, LEAF) };
    // Behind the instruction rax is what the processor answers.
    let told = machine.ok(&format!("instructions cpuid {LEAF:x} 1"))?;
    let answer = u64::from_str_radix(told.split_whitespace().next().unwrap_or_default(), 16)?;
    let most = [nops(4096, &is_leaf(answer)), nops(81_920 - 4105, &sets_rbx(0xfee1))];
    let big = scripts.added_with_code(&mut wire, ends, "", [&most[0], &most[1]])?;
    let told = machine.ok(&format!("instructions cpuid {LEAF:x} 10"))?;
    assert!(told.lines().all(|line| line.split(' ').nth(1) == Some("fee1")), "{told}");
    assert_eq!((row(&mut wire, big)?.hits, used(&mut wire)?), (20, [0, 1]));
    for (condition, code, refusal) in [(4097, 1, "c0000041"), (4096, 81_920 - 4104, "c0000047")] {
        let [condition, code] = [vec![0x90; condition], vec![0x90; code]];
        let refused = scripts.added_with_code(&mut wire, ask(event::CPUID), "", [&condition, &code]).expect_err("a refusal");
        // What does not fit a big event does not even fit where it is staged.
        let why = format!("{refused:?}");
        assert!(why.contains(refusal) || why.contains("staging"), "{why}");
    }
    assert_eq!(used(&mut wire)?, [0, 1]);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch code that takes the machine with it, a fault that is not counted or told with another's vector or place, and one
/// that spoils what root keeps in registers or on its stack.
#[test]
fn code_that_faults_is_counted_and_the_machine_goes_on() -> Result {
    let (mut machine, mut wire, mut scripts) = machine()?;
    let good = scripts.added(&mut wire, ask_for(event::CPUID, LEAF), ".good = .good + 1;")?;
    let outside = event::CODE_OUTSIDE;
    let cases: [(&str, &[u8], u32, u32); 11] = [
        ("a read at 0", &[0x31, 0xc0, 0x48, 0x8b, 0x00], 14, 2),
        ("a division by 0", &[0x31, 0xc9, 0x48, 0xf7, 0xf1], 0, 2),
        ("an undefined instruction", &[0x90, 0x0f, 0x0b], 6, 1),
        ("a breakpoint", &[0xcc], 3, 1),
        ("an exception that pushes no error code", &[0xcd, 0x0d], 13, 2),
        ("a stack at 0", &[0x31, 0xe4, 0x50], 14, 2),
        ("a return on another stack", &[0x48, 0x8d, 0x64, 0x24, 0xc0, 0xff, 0x64, 0x24, 0x40], 6, outside),
        ("a stack without an end", &[0xe8, 0xfb, 0xff, 0xff, 0xff], 14, 0),
        ("a write to itself", &[0x48, 0x8d, 0x05, 0, 0, 0, 0, 0xc6, 0x00, 0x90], 14, 7),
        ("a jump to nowhere", &[0xb8, 0x00, 0x10, 0x00, 0x00, 0xff, 0xe0], 14, outside),
        ("no canonical address", &[0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x48, 0x8b, 0x00], 13, 10),
    ];
    let mut expected = 0;
    for (what, code, vector, offset) in cases {
        for condition in [true, false] {
            let both = if condition { [code, &[0x90][..]] } else { [NOTHING, code] };
            let id = scripts.added_with_code(&mut wire, ask_for(event::CPUID, LEAF), "", both)?;
            machine.ok(&format!("instructions cpuid {LEAF:x} 200"))?;
            expected += 400;
            let row = row(&mut wire, id)?;
            assert_eq!((row.hits, row.faults), (if condition { 0 } else { 400 }, 400), "{what}");
            let part = if condition { event::CONDITION_FAULT } else { event::CODE_FAULT };
            let word = u64::from(part) | u64::from(offset | vector << 24) << 32;
            assert_eq!(row.last_fault, word, "{what}: {:x} instead of {word:x}", row.last_fault);
            change(&mut wire, event::CLEAR, id)?;
        }
    }
    // `std`, and zeros in every register that root must find again.
    let clobbers = [
        0xfd, 0x31, 0xdb, 0x31, 0xed, 0x45, 0x31, 0xe4, 0x49, 0x89, 0xdf, 0x49, 0x89, 0xde, 0x49, 0x89, 0xdd, 0x31, 0xff, 0x31,
        0xf6,
    ];
    let clobbers = scripts.added_with_code(&mut wire, ask_for(event::CPUID, LEAF), "", [NOTHING, &clobbers])?;
    machine.ok(&format!("instructions cpuid {LEAF:x} 200"))?;
    assert_eq!((row(&mut wire, clobbers)?.hits, row(&mut wire, clobbers)?.faults), (400, 0));
    assert_eq!((row(&mut wire, good)?.hits, scripts.value(&mut wire, ".good")?), (expected + 400, expected + 400));
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a core that runs what stood at an event's place before, code that goes while a core is in it, and units or
/// pages that stay taken.
#[test]
fn places_are_used_anew_while_both_cores_are_busy() -> Result {
    let (mut machine, mut wire, mut scripts) = machine()?;
    let job = machine.spawn(&format!("while :; do instructions cpuid {LEAF:x} 20000 >/dev/null; done"))?;
    let flags = event::OPTION | event::SHORT_CIRCUIT | event::CODE_FIRST;
    let mut there: Vec<(u32, u32)> = Vec::new();
    let (mut random, mut rounds) = (0x2545_f491_u32, 0);
    while rounds < 300 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if there.len() < 5 && random >> 16 & 1 == 0 || there.is_empty() {
            rounds += 1;
            // What each writes is its own; a filler has no code, so that ids and frames are paired anew.
            let filler = random >> 17 & 3 == 0;
            let code = if filler { Vec::new() } else { sets_rbx(rounds) };
            let text = if filler { "x = 1;".to_owned() } else { format!("if (@ebx != {rounds:x}) {{ .wrong = .wrong + 1; }}") };
            let flags = if filler { event::OPTION } else { flags };
            let ask = EventAsk { flags, ..ask_for(event::CPUID, LEAF) };
            let id = scripts.added_with_code(&mut wire, ask, &text, [NOTHING, &code])?;
            there.push((id, rounds));
            let end = Instant::now() + LIMIT;
            while row(&mut wire, id)?.hits == 0 {
                assert!(Instant::now() < end, "event {id} of round {rounds} is never hit");
            }
        } else {
            let (id, round) = there.swap_remove(random as usize >> 20 & 7 % there.len().max(1));
            assert_eq!(row(&mut wire, id)?.faults, 0, "round {round}");
            change(&mut wire, event::CLEAR, id)?;
        }
    }
    assert_eq!(scripts.value(&mut wire, ".wrong")?, 0);
    wire.pause()?;
    assert_eq!(change(&mut wire, event::CLEAR, event::ALL)?, there.len() as u64);
    assert_eq!(used(&mut wire)?, [0, 0]);
    wire.go()?;
    machine.kill_job(job)?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch assembly that becomes other code, a condition that lets others through, a fault that is told in other words, and
/// options that the prompt takes and root does not.
#[test]
fn assembly_typed_at_the_prompt_runs_in_root() -> Result {
    let mut machine = Machine::builder().cpus(2).with_guest_program(&guest::program("instructions")).boot()?;
    machine.load(Mode::Debugger)?;
    let mut kd = machine.debugger(&["--pause"])?;
    let condition = format!("asm condition {{ xor eax, eax; cmp edx, 0x{LEAF:x}; sete al }}");
    let only = kd.type_line(&format!("!cpuid {condition} asm code {{ mov dword ptr [rdx + 24], 0x2a }} stage post"))?;
    assert_eq!(only.text(), "event 0 registered: regular-event, condition of 0xb, code of 0x7");
    let faults = kd.type_line(&format!("!cpuid {LEAF:x} asm code {{ nop; xor eax, eax; mov rax, [rax] }}"))?;
    assert_eq!(faults.text(), "event 1 registered: regular-event, code of 0x6");
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row + 1)?;
    let told = machine.ok(&format!("instructions cpuid {LEAF:x} 50; instructions cpuid {:x} 50", LEAF + 1))?;
    let rbx: Vec<_> = told.lines().map(|line| line.split(' ').nth(1) == Some("2a")).collect();
    assert_eq!(rbx, [true, true, false, false], "{told}");
    drop(kd);
    let mut kd = machine.debugger(&["--pause"])?;
    let listed = kd.type_line("events")?.text();
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((&rows[1][2..4], &rows[2][2..4]), (&["0x64", "0"][..], &["0x64", "0x64"][..]), "{listed}");
    assert!(listed.ends_with("last fault of 1: code faulted: vector e (#PF) at offset 3"), "{listed}");
    assert_eq!(kd.type_line("events c all")?.text(), "0x2 events cleared");
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row + 1)?;
    drop(kd);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
