//! `!epthook ADDRESS fast` under a real kernel: breakpoints that can be read, on both cores at once, and what Linux makes of them.
use abi::code;
use abi::kind::Kind;
use abi::request::epthook::{Ask, HIDDEN_BY_OTHERS, IS_VISIBLE, PATCHED, PROGRAM};
use abi::request::memory::{NO_PID, Place, VIRTUAL};
use abi::request::monitor::{self, WRITE};
use abi::request::{EventAnswer, EventAsk, event, op};
use lab::Machine;
use std::time::Duration;
use tests::guest::exits;
use tests::scripting::{Scripts, accepted, ask, change, load, register, row, said};
use tests::wire::Wire;
use tests::{Result, guest, hooks, scripting};
use zerocopy::IntoBytes;

const ROUNDS: u64 = 20_000;

/// A machine under root with the module, and its page of code.
struct Lab {
    machine: Machine,
    wire: Wire,
    scripts: Scripts,
    code: u64,
    keyed: u64,
}

const HERE: &str = "cd /sys/module/hooked/parameters";

impl Lab {
    fn new(cpus: u32) -> Result<Lab> {
        let builder = Machine::builder().cpus(cpus).with_stress_ng().with_guest_module(&guest::module("hooked"));
        let builder = builder.with_guest_program(&guest::program("watched")).with_guest_program(&guest::program("traps"));
        let mut machine = builder.boot()?;
        machine.ok("insmod /hooked.ko")?;
        let text = machine.ok(&format!("{HERE}; cat where"))?;
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| u64::from_str_radix(word, 16).ok()).collect();
        let [code, keyed] = numbers[..] else { return Err(text.into()) };
        let (wire, scripts) = load(&mut machine)?;
        Ok(Lab { machine, wire, scripts, code, keyed })
    }

    /// Calls the function at an offset; none of the calls may go wrong.
    fn go(&mut self, offset: u64, count: u64) -> Result {
        let said = self.machine.ok(&format!("{HERE}; echo {offset:x} {count} >go && cat said"))?;
        assert_eq!(said, "0\n0\n", "{offset:x}");
        Ok(())
    }

    /// Sets a parameter of the module, and reads it.
    fn set(&mut self, parameter: &str, value: &str) -> Result<String> {
        Ok(self.machine.ok(&format!("{HERE}; echo '{value}' >{parameter} && cat {parameter}"))?.trim().to_owned())
    }

    /// Bytes as the kernel reads them.
    fn read(&mut self, address: u64) -> Result<String> {
        self.set("read", &format!("{address:x} 4"))
    }

    fn sum(&mut self) -> Result<String> {
        Ok(self.machine.ok(&format!("{HERE}; cat sum"))?)
    }

    fn ask(&mut self, ask: EventAsk, place: Place, script: &str) -> Result<(u32, EventAnswer)> {
        let program_words = if script.is_empty() { 0 } else { self.scripts.stage(&mut self.wire, script)? };
        let ask = Ask { event: EventAsk { program_words, ..ask }, place };
        register(&mut self.wire, op::EPTHOOK_ADD, ask.as_bytes())
    }

    /// A hook that must be accepted: its id, and whether it is visible.
    fn add(&mut self, flags: u32, address: u64, script: &str) -> Result<(u32, u32)> {
        let place = Place { address, space: VIRTUAL, pid: NO_PID };
        let (code, answer) = self.ask(EventAsk { flags, ..ask(event::EPTHOOK) }, place, script)?;
        assert_eq!(code, code::SUCCESS, "{answer:x?}");
        Ok((answer.id, u32::try_from(answer.rejected)?))
    }

    /// One that must be visible.
    fn fast(&mut self, address: u64, script: &str) -> Result<u32> {
        let (id, how) = self.add(event::FAST, address, script)?;
        assert_eq!(how, IS_VISIBLE, "{address:x}");
        Ok(id)
    }

    /// One that must be visible at what a function does first: behind the place of the tracer, if it begins with that.
    fn fast_in(&mut self, function: u64) -> Result<u32> {
        let (id, how) = self.add(event::FAST, function, "")?;
        if how == IS_VISIBLE {
            return Ok(id);
        }
        assert_eq!(self.read(function)?, "0f 1f 44 00");
        self.change(event::CLEAR, id)?;
        self.fast(function + 5, "")
    }

    fn hits(&mut self, id: u32) -> Result<u64> {
        Ok(row(&mut self.wire, id)?.hits)
    }

    fn change(&mut self, what: u32, id: u32) -> Result {
        change(&mut self.wire, what, id).map(|_| ())
    }

    fn units(&mut self) -> Result<(u64, u64)> {
        scripting::units(&mut self.wire, Kind::Epthook)
    }

    fn end(mut self) -> Result {
        self.machine.hyperdbg_ok(&["unload"])?;
        Ok(self.machine.console_is_healthy()?)
    }
}

/// Functions of the module: by what they begin with, and one that is hooked by nobody.
const BEGIN: [u64; 7] = [0, 0x80, 0xc0, 0x100, 0x140, 0x180, 0xffe];
const ENDBR: u64 = 0;
const NOP: u64 = 0x40;
const PUSH: u64 = 0x80;
const INC: u64 = 0x180;
const CALLS_INC: u64 = 0x1c0;
const OTHER: u64 = 0x200;

/// Would catch a call that is lost or counted twice when both cores come at once, one that costs more than its exit, a neighbour that
/// costs any, an instruction that is another under its breakpoint, a program's own breakpoint that is kept from it, a breakpoint that stays when its hook is disabled or cleared, or when
/// root has gone, and a unit that is lost.
#[test]
fn fast_hooks_count_exactly_cost_one_exit_and_leave_nothing_behind() -> Result {
    let mut lab = Lab::new(2)?;
    let (units, bare) = (lab.units()?, lab.sum()?);
    let function = lab.code + ENDBR;
    let bytes = lab.read(function)?;
    let hook = lab.fast(function, ".n = .n + 1; if ($context != @rip) { .wrong = .wrong + 1; }")?;
    assert!(scripting::one_more(units, lab.units()?), "as a hidden one");
    let before = exits(&mut lab.machine)?;
    lab.go(OTHER, ROUNDS)?;
    assert!(exits(&mut lab.machine)? - before < 1000, "a neighbour");
    let before = exits(&mut lab.machine)?;
    lab.go(ENDBR, ROUNDS)?;
    let cost = exits(&mut lab.machine)? - before;
    assert_eq!(lab.hits(hook)?, 2 * ROUNDS);
    assert!((2 * ROUNDS..2 * ROUNDS + 1000).contains(&cost), "{cost} exits");
    assert_eq!(lab.scripts.value(&mut lab.wire, ".n")?, 2 * ROUNDS);
    assert_eq!(lab.scripts.value(&mut lab.wire, ".wrong")?, 0);
    assert_eq!(lab.read(function)?, format!("cc{}", &bytes[2..]), "whoever reads it finds a breakpoint");
    lab.change(event::DISABLE, hook)?;
    assert_eq!((lab.read(function)?, lab.sum()?), (bytes.clone(), bare.clone()));
    lab.go(ENDBR, 1000)?;
    assert_eq!(lab.hits(hook)?, 2 * ROUNDS);
    lab.change(event::ENABLE, hook)?;
    lab.go(ENDBR, 1000)?;
    assert_eq!(lab.hits(hook)?, 2 * ROUNDS + 2000);
    lab.change(event::CLEAR, event::ALL)?;
    assert_eq!((lab.sum()?, lab.units()?.1), (bare.clone(), units.1));
    let traps = lab.machine.ok("traps")?;
    let mut ids = Vec::new();
    for offset in BEGIN {
        ids.push(lab.fast(lab.code + offset, "")?);
    }
    for (offset, id) in BEGIN.into_iter().zip(ids.clone()) {
        lab.go(offset, 1000)?;
        assert_eq!(lab.hits(id)?, 2000, "{offset:x}");
    }
    lab.go(CALLS_INC, 1000)?;
    assert_eq!(lab.hits(ids[5])?, 4000, "INC, called from its own page");
    assert_eq!(lab.machine.ok("traps")?, traps, "breakpoints of a program's own");
    // They come and go while their page runs.
    let job = lab.machine.spawn(&format!("{HERE}; while :; do for at in 0 80 180 1c0 200; do echo $at 100 >go; done; done"))?;
    for round in 0..100 {
        let which = ids[round % ids.len()];
        lab.change(if round % 3 == 0 { event::DISABLE } else { event::ENABLE }, which)?;
        if round % 7 == 0 {
            lab.change(event::CLEAR, ids.remove(0))?;
            ids.push(lab.fast(lab.code + PUSH + 1, "")?);
        }
    }
    lab.machine.kill_job(job)?;
    lab.machine.hyperdbg_ok(&["unload"])?;
    assert_eq!(lab.sum()?, bare);
    lab.go(PUSH, 1000)?;
    Ok(lab.machine.console_is_healthy()?)
}

/// Would catch a kernel that reads a breakpoint where it is about to patch, and stops to patch, or dies; one that is told that its write
/// has failed; a hook that is lost or that hits twice when its instruction is written to; and a breakpoint of Linux' own that root keeps.
#[test]
fn what_linux_patches_is_hooked_hidden_and_so_is_what_it_writes_over() -> Result {
    let mut lab = Lab::new(2)?;
    let bare = lab.sum()?;
    assert_eq!(lab.add(event::FAST, lab.code + NOP, "")?.1, PATCHED);
    let (key, how) = lab.add(event::FAST, lab.keyed, "")?;
    assert_eq!(how, PATCHED, "what the tracer patches");
    for round in 0..4 {
        assert_eq!(lab.set("key", "1")?, "1", "{round}");
        assert_eq!(lab.set("key", "0")?, "0", "{round}");
    }
    assert_eq!(lab.hits(key)?, 8);
    lab.change(event::CLEAR, event::ALL)?;
    // A breakpoint of Linux' before, which stays as long as the hook; another one is refused by Linux, which goes on.
    lab.set("probe", &format!("{INC:x}"))?;
    let (hook, how) = lab.add(event::FAST, lab.code + INC, "")?;
    assert_eq!(how, PATCHED, "a breakpoint of Linux'");
    lab.go(INC, 100)?;
    assert_eq!((lab.hits(hook)?, lab.set("probe", "ffff")?), (200, "200".to_owned()));
    lab.go(INC, 100)?;
    lab.change(event::CLEAR, event::ALL)?;
    let hook = lab.fast(lab.code + INC, "")?;
    let refused = lab.machine.ok(&format!("{HERE}; echo {INC:x} >probe 2>/dev/null || echo refused"))?;
    assert_eq!(refused, "refused\n", "Linux sees a breakpoint of somebody else's");
    lab.go(INC, 100)?;
    assert_eq!((lab.hits(hook)?, lab.set("probe", "ffff")?), (200, "200".to_owned()));
    lab.change(event::CLEAR, event::ALL)?;
    lab.set("probe", &format!("{INC:x}"))?;
    lab.go(INC, 100)?;
    assert_eq!(lab.set("probe", "ffff")?, "400", "as without root");
    // The tracer, on a function whose hook is behind its place.
    let function = hooks::named(&mut lab.machine, &["took_get"])?[0];
    assert_eq!(lab.add(event::FAST, function, "")?.1, PATCHED);
    lab.change(event::CLEAR, event::ALL)?;
    let typed = lab.machine.hyperdbg_ok(&["!epthook took_get fast script { .took = .took + 1; }"])?;
    let behind = format!(", fast at {:x}: behind the place that the kernel keeps for its tracer", function + 5);
    assert!(typed.trim_end().ends_with(&behind), "{typed}");
    let hook = lab.fast(function + 5, "")?;
    const CALLS: &str = "for n in 1 2 3 4 5 6 7 8 9 a; do cat /sys/module/hooked/parameters/took >/dev/null; done";
    let trace = "cd /sys/kernel/tracing && echo took_get >set_ftrace_filter && echo function";
    let traced = lab.machine.ok(&format!("{trace} >current_tracer && {CALLS}; grep -c 'took_get *<-' trace"))?;
    assert_eq!((lab.hits(hook)?, &*traced), (10, "10\n"));
    lab.machine.ok(&format!("cd /sys/kernel/tracing && echo nop >current_tracer && {CALLS}"))?;
    assert_eq!(lab.hits(hook)?, 20);
    lab.change(event::CLEAR, event::ALL)?;
    // Somebody writes over it: what he reads is what he wrote, and no call is lost.
    let hook = lab.fast(lab.code + INC, "")?;
    lab.go(INC, 100)?;
    lab.machine.ok(&format!("{HERE}; echo '{:x} 90' >poke", INC + 0x20))?;
    assert_eq!(lab.read(lab.code + INC)?[..2], *"cc", "beside it");
    lab.machine.ok(&format!("{HERE}; echo '{INC:x} ff' >poke"))?;
    assert_eq!(lab.read(lab.code + INC)?[..2], *"ff", "hidden");
    lab.go(INC, 100)?;
    assert_eq!(lab.hits(hook)?, 400);
    let said = said(&mut lab.wire)?.texts;
    assert_eq!(said.iter().filter(|line| line.text.contains("hidden from now on")).count(), 1, "{said:?}");
    lab.change(event::CLEAR, event::ALL)?;
    assert_eq!(lab.sum()?, bare);
    lab.end()
}

/// Would catch hooks of two sorts and a monitor on one page of which one goes without the others, a page that is shown with breakpoints
/// although a hidden hook is on it, and a breakpoint in a program's page, which Linux copies.
#[test]
fn fast_and_hidden_hooks_and_monitors_share_a_page_and_programs_pages_stay_clean() -> Result {
    let mut lab = Lab::new(2)?;
    let bare = lab.sum()?;
    let fast = lab.fast(lab.code + ENDBR, "")?;
    let hidden = lab.add(0, lab.code + INC, "")?.0;
    assert_eq!(lab.sum()?, bare, "one hides all");
    let late = lab.add(event::FAST, lab.code + PUSH, "")?;
    assert_eq!(late.1, HIDDEN_BY_OTHERS);
    for offset in [ENDBR, INC, PUSH] {
        lab.go(offset, 1000)?;
    }
    assert_eq!((lab.hits(fast)?, lab.hits(hidden)?, lab.hits(late.0)?), (2000, 2000, 2000));
    lab.change(event::CLEAR, hidden)?;
    assert_ne!(lab.sum()?, bare, "seen again");
    let place = Place { address: lab.code + 0x800, space: VIRTUAL, pid: NO_PID };
    let writes = monitor::Ask { event: ask(event::MONITOR), place, last: place.address, access: WRITE, zero: 0 };
    let writes = accepted(register(&mut lab.wire, op::MONITOR_ADD, writes.as_bytes())?)?;
    let reads = monitor::Ask { event: ask(event::MONITOR), place, last: place.address, access: monitor::READ, zero: 0 };
    let before = exits(&mut lab.machine)?;
    lab.go(ENDBR, 1000)?;
    lab.go(OTHER, 1000)?;
    assert!(exits(&mut lab.machine)? - before < 3000, "one a hit");
    lab.machine.ok(&format!("{HERE}; echo '800 90' >poke"))?;
    assert_eq!((lab.hits(fast)?, lab.hits(writes)?), (4000, 1));
    let reads = accepted(register(&mut lab.wire, op::MONITOR_ADD, reads.as_bytes())?)?;
    assert_eq!(lab.sum()?, bare, "a monitor of reads hides them, too");
    lab.go(ENDBR, 100)?;
    lab.go(PUSH, 100)?;
    assert_eq!((lab.hits(fast)?, lab.hits(late.0)?), (4200, 2200));
    assert!(lab.hits(reads)? >= 1);
    lab.change(event::CLEAR, event::ALL)?;
    assert_eq!(lab.sum()?, bare);
    // A program.
    let job = lab.machine.spawn("watched 1000 >/tmp/said")?;
    let said = lab.machine.ok("until grep -q . /tmp/said; do usleep 10000; done; cat /tmp/said")?;
    let mut words = said.split_whitespace();
    let mut number = || u64::from_str_radix(words.next().unwrap_or_default(), 16);
    let (pid, _, who) = (number()?, number()?, number()?);
    let place = Place { address: who, space: VIRTUAL, pid: u32::try_from(pid)? };
    let (code, answer) = lab.ask(EventAsk { flags: event::FAST, ..ask(event::EPTHOOK) }, place, "")?;
    assert_eq!((code, answer.rejected), (code::SUCCESS, PROGRAM.into()));
    let read = format!("dd if=/proc/{pid}/mem bs=1 skip={who} count=1 2>/dev/null | od -An -tx1");
    assert_eq!(lab.machine.ok(&read)?.trim(), "b8", "mov");
    lab.machine
        .ok(&format!("kill -USR1 {pid}; until grep -q wrong /tmp/said; do usleep 10000; done; grep -qx '0 wrong' /tmp/said"))?;
    assert_eq!(lab.hits(answer.id)?, 2000);
    lab.machine.ok(&format!("kill -USR1 {pid}"))?;
    lab.machine.wait_job(job, Duration::from_secs(60))?;
    lab.change(event::CLEAR, event::ALL)?;
    lab.end()
}

/// Would catch a kernel that does not live with breakpoints in its hottest functions, on the way in and out of it, and one of its own that root
/// keeps or that comes to nobody; and text that is not as it was.
#[test]
#[ignore = "nightly: a minute of load"]
fn the_hottest_functions_are_hooked_for_a_minute_and_linux_stays_healthy() -> Result {
    let mut lab = Lab::new(4)?;
    let names = [
        "schedule",
        "handle_mm_fault",
        "do_syscall_64",
        "copy_user_generic_string",
        "asm_exc_page_fault",
        "asm_sysvec_apic_timer_interrupt",
        "entry_SYSCALL_64",
        "try_to_wake_up",
    ];
    let addresses = hooks::named(&mut lab.machine, &names)?;
    let read = |lab: &mut Lab| addresses.iter().map(|address| lab.read(*address)).collect::<Result<Vec<String>>>();
    let bare = read(&mut lab)?;
    lab.machine.ok("traps no-watches >/tmp/traps")?;
    let job = guest::keep_busy(&mut lab.machine)?;
    let ids = addresses.iter().map(|address| lab.fast_in(*address)).collect::<Result<Vec<u32>>>()?;
    // A program's own breakpoints, meanwhile.
    for _ in 0..6 {
        lab.machine.ok("sleep 10; traps no-watches | cmp - /tmp/traps")?;
    }
    for (id, name) in ids.into_iter().zip(names) {
        let hits = lab.hits(id)?;
        println!("{name}: {hits:x} hits");
        assert!(hits >= 100, "{name}: {hits}");
    }
    lab.change(event::CLEAR, event::ALL)?;
    lab.machine.kill_job(job)?;
    assert_eq!(read(&mut lab)?, bare);
    lab.end()
}
