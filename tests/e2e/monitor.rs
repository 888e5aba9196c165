//! `!monitor` under a real kernel, on both cores at once: what is counted, what is not, and that Linux does not notice.
use abi::code;
use abi::kind::Kind;
use abi::request::memory::{NO_PID, PHYSICAL, Place, VIRTUAL};
use abi::request::monitor::{self, EXECUTE, READ, WRITE};
use abi::request::{EventAnswer, EventAsk, event, op};
use lab::Machine;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tests::scripting::{Scripts, accepted, ask, change, load, register, row};
use tests::wire::Wire;
use tests::{Result, guest, scripting};
use zerocopy::IntoBytes;

const ROUNDS: u64 = 100_000;

/// A machine under root with the module, its page of data (linear and physical), and its page of code.
struct Lab {
    machine: Machine,
    wire: Wire,
    scripts: Scripts,
    page: u64,
    physical: u64,
    code: u64,
}

impl Lab {
    fn new(cpus: u32) -> Result<Lab> {
        let builder = Machine::builder().cpus(cpus).with_guest_module(&guest::module("monitored"));
        let mut machine = builder
            .with_guest_program(&guest::program("traps"))
            .with_guest_program(&guest::program("watched"))
            .with_stress_ng()
            .boot()?;
        machine.ok("insmod /monitored.ko")?;
        let text = machine.ok("cat /sys/module/monitored/parameters/where")?;
        let mut numbers = text.split_whitespace().map(|word| u64::from_str_radix(word, 16));
        let mut number = || numbers.next().ok_or("no number")?.map_err(|why| why.to_string());
        let (page, physical, code) = (number()?, number()?, number()?);
        let (wire, scripts) = load(&mut machine)?;
        Ok(Lab { machine, wire, scripts, page, physical, code })
    }

    /// What each core found.
    fn go(&mut self, what: &str, count: u64) -> Result<String> {
        let command = format!("cd /sys/module/monitored/parameters; echo {what} {count} >go && cat said");
        Ok(self.machine.ok(&command)?)
    }

    /// Asks for a monitor of so many bytes.
    fn ask(
        &mut self,
        ask: EventAsk,
        space: u32,
        from: u64,
        bytes: u64,
        access: u32,
        script: &str,
    ) -> Result<(u32, EventAnswer)> {
        let program_words = if script.is_empty() { 0 } else { self.scripts.stage(&mut self.wire, script)? };
        let ask = monitor::Ask {
            event: EventAsk { program_words, ..ask },
            place: Place { address: from, space, pid: if ask.pid == event::ALL { NO_PID } else { ask.pid } },
            last: from + (bytes - 1),
            access,
            zero: 0,
        };
        register(&mut self.wire, op::MONITOR_ADD, ask.as_bytes())
    }

    /// A monitor that must be accepted; its id.
    fn add(&mut self, space: u32, from: u64, bytes: u64, access: u32, script: &str) -> Result<u32> {
        accepted(self.ask(ask(event::MONITOR), space, from, bytes, access, script)?)
    }

    fn hits(&mut self, id: u32) -> Result<u64> {
        Ok(row(&mut self.wire, id)?.hits)
    }

    fn clear(&mut self) -> Result {
        change(&mut self.wire, event::CLEAR, event::ALL).map(|_| ())
    }

    fn units(&mut self) -> Result<(u64, u64)> {
        scripting::units(&mut self.wire, Kind::Monitor)
    }

    fn end(mut self) -> Result {
        self.machine.hyperdbg_ok(&["unload"])?;
        Ok(self.machine.console_is_healthy()?)
    }
}

/// Would catch a write that is lost or counted twice when both cores come at once, a neighbour that counts, an access that begins
/// below the range and is missed, and units that do not come back.
#[test]
fn writes_are_exact_on_both_cores_at_once() -> Result {
    let mut lab = Lab::new(2)?;
    let before = lab.units()?;
    let at = lab.page + 0x800;
    let word = lab.add(VIRTUAL, at, 8, WRITE, &format!("if ($context != {at:x}) {{ .elsewhere = .elsewhere + 1; }}"))?;
    assert!(scripting::one_more(before, lab.units()?));
    assert_eq!(lab.go("stored", ROUNDS)?, "0\n0\n");
    assert_eq!(lab.hits(word)?, 2 * ROUNDS);
    assert_eq!(lab.go("near", 1000)?, "0\n0\n");
    assert_eq!(lab.go("read", 1000)?, "0\n0\n");
    assert_eq!(lab.hits(word)?, 2 * ROUNDS, "a neighbour, and reads");
    assert_eq!(lab.go("below", 1000)?, "0\n0\n");
    assert_eq!(lab.hits(word)?, 2 * ROUNDS + 2000);
    assert_eq!(lab.scripts.value(&mut lab.wire, ".elsewhere")?, 2000, "those that began below");
    lab.clear()?;
    assert_eq!(lab.units()?.1, before.1, "more may be free, since the level was filled again");
    lab.end()
}

/// Would catch a read that is taken for a write or the other way round, a read that is written back and counts twice, elements of
/// a string that are lost, a byte that is taken for its neighbour, a physical address that is another, and monitors of one page
/// that get in each other's way or keep each other alive.
#[test]
fn each_monitor_counts_what_it_waits_for_and_no_other_byte() -> Result {
    let mut lab = Lab::new(2)?;
    let before = lab.units()?;
    let (page, physical) = (lab.page, lab.physical);
    let monitors = [
        (VIRTUAL, page + 0x800, 8, READ),
        (VIRTUAL, page + 0x800, 8, READ | WRITE),
        (PHYSICAL, physical + 0x807, 1, WRITE),
        (PHYSICAL, physical + 0x808, 1, WRITE),
        (VIRTUAL, page + 0x7fc, 0x20, WRITE),
        (VIRTUAL, page + 0x900, 0x40, WRITE),
        (VIRTUAL, page + 0x800, 0x40, READ),
    ];
    let mut ids = Vec::new();
    for (space, from, bytes, access) in monitors {
        ids.push(lab.add(space, from, bytes, access, "")?);
    }
    assert_eq!(lab.units()?.1, 7);
    let mut so_far = vec![0; ids.len()];
    let mut expect = |lab: &mut Lab, what: &str, count: u64, each: [u64; 7]| -> Result {
        assert_eq!(lab.go(what, count)?, "0\n0\n", "{what}");
        for (((id, so_far), each), nth) in ids.iter().zip(&mut so_far).zip(each).zip(0..) {
            *so_far += 2 * count * each;
            assert_eq!(lab.hits(*id)?, *so_far, "{what}: monitor {nth}");
        }
        Ok(())
    };
    expect(&mut lab, "stored", 1000, [0, 1, 1, 0, 1, 0, 0])?;
    expect(&mut lab, "near", 1000, [0, 0, 0, 1, 1, 0, 0])?;
    expect(&mut lab, "below", 1000, [0, 1, 0, 0, 1, 0, 0])?;
    expect(&mut lab, "read", 1000, [1, 1, 0, 0, 0, 0, 1])?;
    expect(&mut lab, "shared", 1000, [1, 1, 1, 0, 1, 0, 1])?;
    // 64 bytes, of which eight are the word; what compares them afterwards reads them too, in words of its own.
    assert_eq!(lab.go("copy", 100)?, "0\n0\n");
    assert_eq!(lab.hits(ids[5])?, 2 * 100 * 64);
    // One of them gone, the others stay as they are.
    change(&mut lab.wire, event::CLEAR, ids[1])?;
    change(&mut lab.wire, event::DISABLE, ids[4])?;
    let (first, third, fifth) = (lab.hits(ids[0])?, lab.hits(ids[2])?, lab.hits(ids[4])?);
    assert_eq!(lab.go("shared", 1000)?, "0\n0\n");
    assert_eq!((lab.hits(ids[0])?, lab.hits(ids[2])?, lab.hits(ids[4])?), (first + 2000, third + 2000, fifth));
    change(&mut lab.wire, event::ENABLE, ids[4])?;
    assert_eq!(lab.go("stored", 1000)?, "0\n0\n");
    assert_eq!(lab.hits(ids[4])?, fifth + 2000);
    lab.clear()?;
    assert_eq!(lab.units()?.1, before.1);
    assert_eq!(lab.go("write", 1000)?, "0\n0\n");
    lab.end()
}

/// Would catch execution that is not trapped, with writes (facts B.37) or alone, an instruction beside the range that counts, a page whose other
/// functions run wrong, an instruction that is executed although it was suppressed, and events behind it in the wrong number.
#[test]
fn execution_is_counted_by_the_instruction_and_can_be_suppressed() -> Result {
    let mut lab = Lab::new(2)?;
    let function = lab.code + 0x800;
    for access in [EXECUTE, EXECUTE | WRITE, EXECUTE | WRITE | READ] {
        let id = lab.add(VIRTUAL, function, 8, access, "if (@rip != $context) { .wrong = .wrong + 1; }")?;
        let behind = EventAsk { stage: event::POST, ..ask(event::MONITOR) };
        let (code, behind) =
            lab.ask(behind, VIRTUAL, function, 2, access, "if (@rip == $context + 2) { .behind = .behind + 1; }")?;
        assert_eq!(code, code::SUCCESS);
        assert_eq!(lab.go("call", 1000)?, "0\n0\n");
        assert_eq!((lab.hits(id)?, lab.hits(behind.id)?), (4000, 2000), "INC and RET, on both cores");
        assert_eq!(lab.go("other", 1000)?, "0\n0\n");
        assert_eq!(lab.hits(id)?, 4000);
        lab.clear()?;
    }
    assert_eq!(lab.scripts.value(&mut lab.wire, ".behind")?, 6000);
    let none = EventAsk { flags: event::SHORT_CIRCUIT, ..ask(event::MONITOR) };
    let (code, _) = lab.ask(none, VIRTUAL, function, 2, EXECUTE, ".none = .none + 1;")?;
    assert_eq!(code, code::SUCCESS);
    assert_eq!(lab.go("call", 1000)?, "1000\n1000\n", "nothing was added");
    lab.clear()?;
    let none = EventAsk { flags: event::SHORT_CIRCUIT, ..ask(event::MONITOR) };
    let own = lab.page;
    let (code, _) = lab.ask(none, VIRTUAL, own, 0x800, WRITE, "")?;
    assert_eq!(code, code::SUCCESS);
    assert_eq!(lab.go("write", 500)?, "500\n500\n", "nothing was written");
    lab.clear()?;
    assert_eq!((lab.go("call", 1000)?.as_str(), lab.go("write", 500)?.as_str()), ("0\n0\n", "0\n0\n"));
    lab.end()
}

/// Would catch a trap flag of root's that a program of the guest's or its kernel ever sees, and one of the guest's own that is lost,
/// while all that its exceptions push is monitored.
#[test]
fn the_guests_own_steps_and_breakpoints_are_as_without_monitors() -> Result {
    let mut lab = Lab::new(1)?;
    let bare = lab.machine.ok("traps")?;
    let stack = lab.add(VIRTUAL, lab.page + 0x900, 0x100, READ | WRITE, "")?;
    assert_eq!(lab.go("push", 1000)?, "0\n", "a trap flag was pushed");
    // PUSHF, MOV, POPF, PUSHF, OR and POP.
    assert_eq!(lab.hits(stack)?, 6000);
    lab.clear()?;
    let text = lab.machine.ok("cat /sys/module/monitored/parameters/entries")?;
    let top = u64::from_str_radix(text.trim(), 16).map_err(|why| format!("{text}: {why}"))?;
    let entries = lab.add(VIRTUAL, top - 0x100, 0x100, WRITE, "")?;
    assert_eq!(lab.machine.ok("traps")?, bare);
    let hits = lab.hits(entries)?;
    assert!(hits > 1000, "{hits} pushes of exceptions");
    lab.clear()?;
    assert_eq!(lab.machine.ok("traps")?, bare);
    lab.end()
}

/// Would catch a kernel that does not survive a stack, a counter or a page of its own of every sort that is monitored while it works,
/// and counts that stand still.
#[test]
fn linux_is_healthy_while_its_hot_pages_are_monitored() -> Result {
    let mut lab = Lab::new(2)?;
    let text = lab
        .machine
        .ok("cat /sys/module/monitored/parameters/entries; awk '/ (jiffies|init_task)$/ { print $1 }' /proc/kallsyms")?;
    let addresses: Vec<u64> = text.split_whitespace().filter_map(|word| u64::from_str_radix(word, 16).ok()).collect();
    assert_eq!(addresses.len(), 4, "{text}");
    let job = guest::keep_busy(&mut lab.machine)?;
    let pid = lab.machine.ok("pidof stress-ng | tr ' ' '\n' | sort -n | sed -n 2p")?;
    lab.machine.ok(&format!("cd /sys/module/monitored/parameters; echo {} >stack", pid.trim()))?;
    let stack = lab.machine.ok("cat /sys/module/monitored/parameters/stack")?;
    let stack = u64::from_str_radix(stack.trim(), 16).map_err(|why| format!("{stack}: {why}"))?;
    let ids = [
        lab.add(VIRTUAL, addresses[0] - 0x200, 0x200, READ | WRITE, "")?,
        lab.add(VIRTUAL, addresses[1] - 0x200, 0x200, WRITE, "")?,
        lab.add(VIRTUAL, addresses[2], 8, READ | WRITE, "")?,
        lab.add(VIRTUAL, addresses[3], 8, READ | WRITE, "")?,
        lab.add(VIRTUAL, stack, 0x4000, READ | WRITE, "")?,
    ];
    lab.machine.ok("sleep 5")?;
    for (id, nth) in ids.into_iter().zip(0..) {
        let hits = lab.hits(id)?;
        assert!(hits > 0 || nth == 3, "monitor {nth}: {hits}");
    }
    lab.clear()?;
    lab.machine.kill_job(job)?;
    assert_eq!(lab.units()?.1, 0);
    lab.end()
}

/// Would catch memory of a program that is taken for another's of the same address, a store of its that is lost on either core, and a system
/// call that goes wrong on a page whose execution is monitored.
#[test]
fn a_programs_own_memory_and_code_are_monitored() -> Result {
    const COUNT: u64 = 5000;
    let mut lab = Lab::new(2)?;
    let job = lab.machine.spawn(&format!("exec watched {COUNT} >/out"))?;
    let text = guest::until_ok(&mut lab.machine, "grep ' ' /out")?;
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| u64::from_str_radix(word, 16).ok()).collect();
    let [pid, word, function] = numbers[..] else { return Err(text.into()) };
    let its = EventAsk { pid: u32::try_from(pid)?, ..ask(event::MONITOR) };
    let mut ids = Vec::new();
    for (from, bytes, access) in [(word, 8, WRITE), (word, 16, WRITE), (function, 8, EXECUTE)] {
        let (code, answer) = lab.ask(its, VIRTUAL, from, bytes, access, "")?;
        assert_eq!(code, code::SUCCESS, "{answer:x?}");
        ids.push(answer.id);
    }
    let (code, answer) = lab.ask(EventAsk { pid: 0x7ff_fff0, ..its }, VIRTUAL, word, 8, WRITE, "")?;
    assert_eq!(code, code::PID_INVALID, "{answer:x?}");
    let (code, answer) = lab.ask(its, VIRTUAL, 0x1000, 8, WRITE, "")?;
    assert_eq!((code, answer.bytes), (code::ADDRESS_INVALID, 0x1000));
    lab.machine.ok(&format!("kill -USR1 {pid}"))?;
    assert_eq!(guest::until_ok(&mut lab.machine, "grep wrong /out")?, "0 wrong\n");
    let hits = [lab.hits(ids[0])?, lab.hits(ids[1])?, lab.hits(ids[2])?];
    // MOV, SYSCALL and RET.
    assert_eq!(hits, [2 * COUNT, 4 * COUNT, 6 * COUNT]);
    lab.machine.ok(&format!("kill -USR1 {pid}"))?;
    lab.machine.wait_job(job, std::time::Duration::from_secs(120))?;
    lab.clear()?;
    assert_eq!(lab.units()?.1, 0);
    lab.end()
}

/// Would catch an instruction that does not survive being executed alone (SYSRET, IRET, SWAPGS, STI, HLT, those that load segments), and a
/// kernel that is lost on its way in or out.
#[test]
fn the_kernels_ways_in_and_out_are_executed_one_by_one() -> Result {
    // Each begins at, or just before, what it is here for.
    const WAYS: [&str; 7] = [
        "entry_SYSCALL_64",
        "entry_SYSRETQ_unsafe_stack",
        "asm_exc_page_fault",
        "asm_sysvec_apic_timer_interrupt",
        "native_irq_return_iret",
        "default_idle",
        "__switch_to_asm",
    ];
    const BYTES: u64 = 0x10;
    const ENOUGH: u64 = 100;
    let mut lab = Lab::new(2)?;
    // Before any of them is monitored: it takes thousands of system calls to read that list.
    let names = lab.machine.ok(&format!("grep -E ' ({})$' /proc/kallsyms", WAYS.join("|")))?;
    for way in WAYS {
        let line = names.lines().find(|line| line.split_whitespace().nth(2) == Some(way)).ok_or(format!("no {way}"))?;
        let address = u64::from_str_radix(line.split_whitespace().next().unwrap_or_default(), 16)?;
        let id = lab.add(VIRTUAL, address, BYTES, EXECUTE, "")?;
        // Programs that start, fault, ask, end and sleep. Whatever runs on that page costs exits now: where the host is
        // busy, the way of the timer's interrupt takes longer than from one to the next, and Linux stands still. So no
        // longer than it takes to see it, and they end behind that.
        let job = lab.machine.spawn("for n in 1 2 3 4; do cat /proc/self/status >/dev/null; done; sleep 1")?;
        let until = Instant::now() + Duration::from_secs(15);
        while lab.hits(id)? < ENOUGH {
            assert!(Instant::now() < until, "{way}: {} hits", lab.hits(id)?);
            sleep(Duration::from_millis(50));
        }
        lab.clear()?;
        assert!(lab.machine.wait_job(job, Duration::from_secs(60))?.ok(), "{way}");
    }
    assert_eq!(lab.units()?.1, 0);
    lab.end()
}
