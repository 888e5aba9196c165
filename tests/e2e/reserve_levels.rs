//! The reserve in a Linux that works: its levels, what a halt leaves untouched, what comes back.
use abi::code;
use abi::kind::Kind;
use abi::request;
use abi::request::{
    Cores, Halted, Ledger, LedgerRow, Number, PreallocAnswer, PreallocAsk, Registers, ReserveTest, op, reason, test,
};
use lab::{Fault, Machine, Mode, Vendor};
use std::time::{Duration, Instant};
use tests::{Result, guest, wire::Wire};
use zerocopy::IntoBytes;

const LIMIT: Duration = Duration::from_secs(240);
/// Rounds of the soak; each asks two to four times.
const ROUNDS: u64 = 10_000;
/// KiB by which available memory differs between two looks at a guest that does nothing.
const NOISE_KIB: i64 = 4096;

fn prealloc(wire: &mut Wire, op: u32, kind: Kind, count: u64) -> Result<(u32, PreallocAnswer)> {
    let (code, body) = wire.ask(op, PreallocAsk { kind: kind as u32, zero: 0, count }.as_bytes())?;
    Ok((code, request::body(&body).ok_or("an answer without numbers")?))
}

fn hold(wire: &mut Wire, what: u32, kind: Kind, count: u64) -> Result<u32> {
    Ok(wire.ask(op::TEST_RESERVE, ReserveTest { what, kind: kind as u32, count }.as_bytes())?.0)
}

fn ledger(wire: &mut Wire) -> Result<Ledger> {
    let ledger: Ledger = wire.get(op::LEDGER, &[])?;
    let sums = |row: &LedgerRow| row.free + row.used == row.reserved;
    assert!(ledger.kinds.iter().all(sums), "{ledger:?}");
    assert_eq!(ledger.frames, ledger.frames_root + ledger.frames_free + ledger.frames_kinds);
    Ok(ledger)
}

/// Looks at the ledger until it is as wanted.
fn until(wire: &mut Wire, what: &str, wanted: impl Fn(&Ledger) -> bool) -> Result<Ledger> {
    let begun = Instant::now();
    loop {
        let now = ledger(wire)?;
        if wanted(&now) {
            return Ok(now);
        }
        if begun.elapsed() > LIMIT {
            return Err(format!("the ledger does not become {what}: {now:?}").into());
        }
    }
}

/// What the guest's kernel has in memory of its own, code and data: (first byte, bytes) and a picture of it, taken from
/// outside; empty where that cannot be.
fn picture(machine: &mut Machine, ranges: &[(u64, u64)]) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for (first, bytes) in ranges {
        all.extend(guest::memory_from_outside(machine, *first, *bytes)?.unwrap_or_default());
    }
    assert!(machine.vendor() != Vendor::Amd || all.len() > 16 << 20, "0x{:x} bytes", all.len());
    Ok(all)
}

/// Registers of each halted core, and how often it has come to root.
fn cores(wire: &mut Wire) -> Result<Vec<(Registers, u64)>> {
    let mut all = Vec::new();
    for core in 0..2_u32 {
        wire.select(core.into())?;
        let registers = wire.get(op::REGISTERS, &[])?;
        let cores: Cores = wire.get(op::CORES, &[])?;
        let exits = cores.cores.iter().find(|state| state.core == core).ok_or("a core is missing")?.exits;
        all.push((registers, exits));
    }
    Ok(all)
}

fn kernel_ranges(machine: &mut Machine) -> Result<Vec<(u64, u64)>> {
    let text = machine.ok("grep Kernel /proc/iomem")?;
    let mut ranges = Vec::new();
    for line in text.lines() {
        let range = line.trim().split_once(' ').ok_or("no range")?.0;
        let (first, last) = range.split_once('-').ok_or("no range")?;
        let (first, last) = (u64::from_str_radix(first, 16)?, u64::from_str_radix(last, 16)?);
        ranges.push((first, last + 1 - first));
    }
    assert!(ranges.iter().map(|(_, bytes)| bytes).sum::<u64>() > 16 << 20, "{text}");
    Ok(ranges)
}

/// Would catch a prealloc that lets the halted machine run, if only for an instruction, or writes where it has no business:
/// registers of every core, exits, and all of the kernel's own memory are the same before and after; and each kind that is
/// used up, and filled again from the bank, is so without Linux.
#[test]
fn what_the_bank_serves_leaves_a_halted_machine_untouched() -> Result {
    let mut machine = Machine::builder().cpus(2).with_stress_ng().boot()?;
    machine.load(Mode::Debugger)?;
    let ranges = kernel_ranges(&mut machine)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    let busy = guest::keep_busy(&mut machine)?;
    wire.pause()?;
    let (before, memory) = (cores(&mut wire)?, picture(&mut machine, &ranges)?);
    for kind in Kind::ALL {
        assert_eq!(prealloc(&mut wire, op::PREALLOC, kind, 0x10)?.0, code::SUCCESS, "{kind:?}");
        let free = ledger(&mut wire)?.kinds[kind.index()].free;
        assert_eq!(hold(&mut wire, test::HOLD, kind, free)?, code::SUCCESS);
        assert_eq!(hold(&mut wire, test::HOLD, kind, 1)?, code::used_up(kind), "{kind:?}");
        assert_eq!(prealloc(&mut wire, op::PREALLOC, kind, 1)?.0, code::SUCCESS, "{kind:?}");
        assert_eq!(hold(&mut wire, test::HOLD, kind, 1)?, code::SUCCESS, "{kind:?}");
        assert_eq!(hold(&mut wire, test::LET, kind, 0)?, code::SUCCESS);
        assert_eq!(prealloc(&mut wire, op::RELEASE, kind, 0x11)?.0, code::SUCCESS);
    }
    assert_eq!(cores(&mut wire)?, before);
    let after = picture(&mut machine, &ranges)?;
    let differs = memory.iter().zip(&after).position(|(before, after)| before != after);
    assert_eq!(differs, None, "a byte of the kernel's that changed while halted");
    wire.go()?;
    machine.kill_job(busy)?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a level that is not filled again when the debuggee runs, one that is filled while it is halted, and one that
/// keeps growing.
#[test]
fn a_level_is_filled_again_while_the_debuggee_runs_and_not_before() -> Result {
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    let start = ledger(&mut wire)?;
    for (kind, least) in [(Kind::RegularEvent, 20), (Kind::Monitor, 20), (Kind::Epthook, 20), (Kind::Epthook2, 20)] {
        assert!(start.kinds[kind.index()].free >= least, "{kind:?}");
    }
    assert!(start.kinds[Kind::Breakpoint.index()].free >= 100 && start.kinds[Kind::ThreadInterception.index()].free >= 2);
    let at = Kind::Breakpoint.index();
    wire.pause()?;
    assert_eq!(hold(&mut wire, test::HOLD, Kind::Breakpoint, 60)?, code::SUCCESS);
    let halted = ledger(&mut wire)?;
    assert_eq!((halted.kinds[at].free, halted.kinds[at].used, halted.kinds[at].refilled), (40, 60, 0));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ledger(&mut wire)?, halted, "nothing moves while halted");
    wire.go()?;
    let filled = until(&mut wire, "full", |ledger| ledger.kinds[at].free >= 100)?;
    assert_eq!((filled.kinds[at].free, filled.kinds[at].refilled), (100, 60));
    // Two turns of the worker later it is the same.
    machine.ok("sleep 3")?;
    assert_eq!(ledger(&mut wire)?.kinds[at], filled.kinds[at]);
    assert_eq!(hold(&mut wire, test::HOLD, Kind::Breakpoint, 90)?, code::SUCCESS);
    until(&mut wire, "full again", |ledger| ledger.kinds[at].free == 100)?;
    assert_eq!(hold(&mut wire, test::LET, Kind::Breakpoint, 0)?, code::SUCCESS);
    let shed = until(&mut wire, "down to its target", |ledger| ledger.kinds[at].free == 100)?;
    assert_eq!((shed.kinds[at].reserved, shed.kinds[at].used, shed.kinds[at].high_water), (100, 0, 150));
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch memory that Linux does not get back once nobody needs it, and a bank that stays empty.
#[test]
fn what_is_released_is_linux_memory_again() -> Result {
    const UNITS: u64 = 128 << 20 >> 12;
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    let before = guest::available_kib(&mut machine)?;
    let start = ledger(&mut wire)?;
    machine.hyperdbg_ok(&[&format!("prealloc regular-safe-buffer {UNITS:x}")])?;
    let full = until(&mut wire, "one with a full bank", |ledger| ledger.frames_free >= ledger.frames_target / 2)?;
    assert!(full.frames >= start.frames + UNITS - start.frames_free, "{start:?} {full:?}");
    let meanwhile = guest::available_kib(&mut machine)?;
    assert!(meanwhile < before - (100 << 10), "{before} KiB before, {meanwhile} KiB with 128 MiB reserved");
    machine.hyperdbg_ok(&["prealloc release regular-safe-buffer"])?;
    // Of 60 blocks one carries the tables and stays, and the bank keeps what it aims at.
    const STAYS: u64 = 3 * 512;
    let end = until(&mut wire, "small again", |ledger| ledger.frames <= start.frames + STAYS)?;
    assert_eq!(end.kinds[Kind::RegularSafeBuffer.index()].reserved, 0);
    guest::memory_comes_back(&mut machine, before - (i64::try_from(STAYS)? << 2), NOISE_KIB)?;
    // The blocks that went are taken again, and unload finds every one.
    machine.hyperdbg_ok(&[
        &format!("prealloc regular-safe-buffer {UNITS:x}"),
        "prealloc release regular-safe-buffer",
        "unload",
    ])?;
    guest::memory_comes_back(&mut machine, before, NOISE_KIB)?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a unit, a page or an owner that is lost when both cores reserve, hold, let go and release while a third
/// party halts the machine and Linux has no rest; and a ledger that differs by the way in which it is read.
#[test]
fn ten_thousand_rounds_under_load_and_halts_balance_at_the_end() -> Result {
    let mut machine = Machine::builder().with_guest_program(&guest::program("pools")).with_stress_ng().boot()?;
    // Bochs is slow: there a tenth will do.
    let rounds = if machine.vendor() == Vendor::Amd { ROUNDS } else { ROUNDS / 10 };
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    let busy = guest::keep_busy(&mut machine)?;
    let soak = machine.spawn(&format!("pools soak {rounds}"))?;
    let (mut halts, begun) = (0, Instant::now());
    let ended = loop {
        let halt = wire.pause().and_then(|_| ledger(&mut wire)).and_then(|_| wire.go());
        halt.map_err(|error| machine.fault(Fault::Socket { what: format!("after {halts} halts: {error:?}") }))?;
        halts += 1;
        if let Some(ended) = machine.job_ended(soak)? {
            break ended;
        }
        assert!(begun.elapsed() < LIMIT, "the soak does not end: {:?}", ledger(&mut wire)?);
    };
    assert!(ended.ok() && ended.text().starts_with(&format!("{rounds} rounds, ")), "{}", ended.text());
    assert!(halts > 20, "{halts} halts in between");
    machine.kill_job(busy)?;
    let end = until(&mut wire, "at its levels", |ledger| {
        ledger.kinds.iter().all(|row| row.used == 0 && row.kept == 0 && (row.target..=row.high).contains(&row.free))
    })?;
    assert!(end.kinds.iter().all(|row| row.high_water > 0), "{end:?}");
    machine.ok("mount -t debugfs none /sys/kernel/debug 2>/dev/null || true")?;
    let by_file = machine.ok("cat /sys/kernel/debug/hyperdbg/ledger")?;
    assert_eq!(machine.ok("pools ledger")?, by_file);
    let first: Vec<&str> = by_file.lines().nth(1).ok_or("no row")?.split(' ').collect();
    assert_eq!((first[0], first[2]), ("monitor", end.kinds[0].reserved.to_string().as_str()));
    machine.hyperdbg_ok(&["unload"])?;
    assert!(!machine.sh("pools ledger")?.ok(), "there is no ledger without root");
    Ok(machine.console_is_healthy()?)
}

/// Would catch a halt that is taken, or lost without a count, while the machine runs for a fetch.
#[test]
fn what_would_have_halted_during_a_fetch_is_counted() -> Result {
    let mut machine = Machine::builder().with_guest_module(&guest::module("halter")).boot()?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    let _never_waited_for = machine.spawn("insmod /halter.ko count=100000")?;
    assert_eq!(wire.halted(LIMIT)?.reason, reason::HYPERCALL);
    let (code, answer) = prealloc(&mut wire, op::PREALLOC, Kind::BigSafeBuffer, 0x200)?;
    assert_eq!(code, code::BANK_SHORT);
    wire.get::<[u8; 0]>(op::FETCH, Number { value: answer.short }.as_bytes())?;
    let halted: Halted = wire.halted(LIMIT)?;
    assert_eq!(halted.reason, reason::FETCHED);
    assert!(halted.missed > 0, "{halted:?}");
    assert_eq!(prealloc(&mut wire, op::PREALLOC, Kind::BigSafeBuffer, 0x200)?.0, code::SUCCESS);
    // Back to what it is for: the next one halts again, and it ends like that.
    wire.go()?;
    let halted = wire.halted(LIMIT)?;
    assert_eq!((halted.reason, halted.missed), (reason::HYPERCALL, 0));
    Ok(machine.console_is_healthy()?)
}
