//! Hooks and monitors in a program's memory, which Linux copies, swaps out, moves and unmaps: they follow, or go and say so.
use abi::request::memory::{Place, VIRTUAL};
use abi::request::monitor::{self, READ, WRITE};
use abi::request::{EventAsk, epthook, event, op};
use lab::{Builder, Machine};
use tests::guest::until;
use tests::scripting::{accepted, ask, change, events, hear, load, register, row};
use tests::wire::Wire;
use tests::{Result, guest, hooks};
use zerocopy::IntoBytes;

/// Where the program has its function,
const FUNCTION: u64 = 0x1000_0040;
/// and its word.
const WORD: u64 = 0x1000_1000;
const ENDED: &str = "cleared: its process has ended";

struct Lab {
    machine: Machine,
    wire: Wire,
    /// The texts of messages, so far.
    said: String,
}

/// One running program.
#[derive(Clone)]
struct Program {
    name: &'static str,
    pid: u32,
}

impl Lab {
    fn new(change: impl FnOnce(Builder) -> Builder) -> Result<Lab> {
        let builder = Machine::builder()
            .cpus(2)
            .with_guest_program(&guest::program("moves"))
            .with_guest_program(&guest::program("getppid"))
            .with_guest_module(&guest::module("held"));
        let mut machine = change(builder).boot()?;
        machine.ok("insmod /held.ko")?;
        let (wire, _scripts) = load(&mut machine)?;
        Ok(Lab { machine, wire, said: String::new() })
    }

    fn start(&mut self, name: &'static str, how: &str) -> Result<Program> {
        let _until_it_ends = self.machine.spawn(&format!("exec moves {name}"))?;
        guest::until_ok(&mut self.machine, &format!("[ -p /{name}.out ]"))?;
        let mut program = Program { name, pid: 0 };
        program.pid = self.tell(&program, "pid")?.parse()?;
        assert_eq!(self.tell(&program, how)?, "ok");
        Ok(program)
    }

    /// What a program answers.
    fn tell(&mut self, to: &Program, line: &str) -> Result<String> {
        let name = to.name;
        Ok(self.machine.ok(&format!("echo {line} >/{name}.in && cat /{name}.out"))?.trim().to_owned())
    }

    /// What says nothing any more.
    fn last(&mut self, to: &Program, line: &str) -> Result {
        self.machine.ok(&format!("echo {line} >/{}.in", to.name))?;
        Ok(())
    }

    fn frame(&mut self, of: &Program) -> Result<u64> {
        Ok(u64::from_str_radix(&self.tell(of, "frame")?, 16)?)
    }

    /// How many refer to a frame.
    fn count(&mut self, pfn: u64) -> Result<i64> {
        hooks::references(&mut self.machine, pfn)
    }

    /// A hook in a program's function, for all who execute that.
    fn hook(&mut self, of: &Program) -> Result<u32> {
        self.hook_by(of, ask(event::EPTHOOK))
    }

    fn hook_by(&mut self, of: &Program, event: EventAsk) -> Result<u32> {
        let place = Place { address: FUNCTION, space: VIRTUAL, pid: of.pid };
        accepted(register(&mut self.wire, op::EPTHOOK_ADD, epthook::Ask { event, place }.as_bytes())?)
    }

    fn watch(&mut self, of: &Program, address: u64, bytes: u64, access: u32) -> Result<u32> {
        let place = Place { address, space: VIRTUAL, pid: of.pid };
        let ask = monitor::Ask { event: ask(event::MONITOR), place, last: address + (bytes - 1), access, zero: 0 };
        accepted(register(&mut self.wire, op::MONITOR_ADD, ask.as_bytes())?)
    }

    fn hits(&mut self, id: u32) -> Result<u64> {
        Ok(row(&mut self.wire, id)?.hits)
    }

    /// How often an event fires while a program does something.
    fn hits_of(&mut self, id: u32, program: &Program, line: &str) -> Result<u64> {
        let before = self.hits(id)?;
        self.tell(program, line)?;
        Ok(self.hits(id)? - before)
    }

    fn events(&mut self) -> Result<u32> {
        events(&mut self.wire)
    }

    fn used(&mut self) -> Result<[u64; 2]> {
        hooks::used(&mut self.wire)
    }

    fn clear(&mut self) -> Result {
        change(&mut self.wire, event::CLEAR, event::ALL).map(|_| ())
    }

    /// Waits for a message, and forgets what came before.
    fn hear(&mut self, text: &str) -> Result {
        hear(&mut self.wire, &mut self.said, text)?;
        self.said.clear();
        Ok(())
    }

    fn end(mut self) -> Result {
        assert_eq!((self.events()?, self.used()?), (0, [0, 0]));
        self.machine.hyperdbg_ok(&["unload"])?;
        self.machine.ok("rmmod hyperkd")?;
        Ok(self.machine.console_is_healthy()?)
    }
}

/// Would catch a hook that stays with a frame that its program has left, or that hits a program which has that frame now; one that does
/// not hit where the program executes it; and frames and units that are lost.
#[test]
fn a_hook_follows_its_address_from_copy_to_copy() -> Result {
    let mut lab = Lab::new(|builder| builder)?;
    let (first, other) = (lab.start("first", "anon")?, lab.start("other", "anon")?);
    let hook = lab.hook(&first)?;
    let watch = lab.watch(&first, WORD, 8, WRITE)?;
    assert_eq!((lab.hits_of(hook, &first, "call 100")?, lab.hits_of(watch, &first, "store 100")?), (100, 100));
    // Another program has other memory at that address.
    assert_eq!((lab.hits_of(hook, &other, "call 100")?, lab.hits_of(watch, &other, "store 100")?), (0, 0));
    let frame = lab.frame(&first)?;
    until("held", || Ok(lab.count(frame)? == 2))?;
    // What Linux would move, it leaves where it is.
    lab.machine.ok("echo 1 >/proc/sys/vm/compact_memory; echo 3 >/proc/sys/vm/drop_caches")?;
    assert_eq!((lab.frame(&first)?, lab.hits_of(hook, &first, "call 100")?), (frame, 100));
    for round in 0..3 {
        let before = lab.frame(&first)?;
        let pid = lab.tell(&first, "fork child")?.parse()?;
        let child = Program { name: "child", pid };
        guest::until_ok(&mut lab.machine, "[ -p /child.out ]")?;
        // They have it together until one writes.
        assert_eq!((lab.hits_of(hook, &child, "call 100")?, lab.frame(&child)?), (100, before), "{round}");
        assert_eq!(lab.tell(&first, "touch")?, "ok");
        assert_ne!(lab.frame(&first)?, before, "{round}: a copy");
        assert_eq!((lab.hits_of(hook, &first, "call 100")?, lab.hits_of(watch, &first, "store 100")?), (100, 100));
        assert_eq!((lab.hits_of(hook, &child, "call 100")?, lab.hits_of(watch, &child, "store 100")?), (0, 0), "{round}");
        lab.last(&child, "exit")?;
        lab.machine.ok(&format!("while [ -d /proc/{pid} ] && ! grep -q 'State:.Z' /proc/{pid}/status; do :; done"))?;
    }
    lab.clear()?;
    let frame = lab.frame(&first)?;
    until("let go", || Ok(lab.count(frame)? == 1))?;
    assert_eq!(lab.tell(&first, "call 100")?, "100");
    lab.end()
}

/// Would catch a hook that survives what it was in: unmapped memory, a program that began anew or ended; and one that hits what is mapped
/// there next.
#[test]
fn a_hook_goes_with_its_memory_and_says_why() -> Result {
    let mut lab = Lab::new(|builder| builder)?;
    let first = lab.start("first", "anon")?;
    let unmapped = "cleared: its address is unmapped";
    for (line, text, after) in
        [("unmap", unmapped, ""), ("over", unmapped, "call 100"), ("away", unmapped, "back"), ("exec first", ENDED, "anon")]
    {
        assert_eq!(lab.tell(&first, "anon")?, "ok");
        let (hook, watch) = (lab.hook(&first)?, lab.watch(&first, WORD, 8, WRITE)?);
        assert_eq!((lab.hits_of(hook, &first, "call 10")?, lab.hits_of(watch, &first, "store 10")?), (10, 10), "{line}");
        let frame = lab.frame(&first)?;
        until("held", || Ok(lab.count(frame)? == 2))?;
        if line.starts_with("exec") {
            lab.last(&first, line)?;
        } else {
            assert_eq!(lab.tell(&first, line)?, "ok");
            // At once.
            assert_eq!((lab.events()?, lab.used()?), (0, [0, 0]), "{line}");
        }
        lab.hear(text)?;
        if !after.is_empty() {
            let sum = lab.tell(&first, after)?;
            assert!(sum == "ok" || sum == "200", "{line}: {sum}");
        }
        assert_eq!((lab.events()?, lab.used()?), (0, [0, 0]), "{line}");
    }
    assert_eq!(lab.tell(&first, "anon")?, "ok");
    lab.hook(&first)?;
    lab.last(&first, "exit")?;
    lab.hear(ENDED)?;
    // One that has gone before Linux was asked to tell.
    let second = lab.start("second", "anon")?;
    lab.hook(&second)?;
    lab.machine.ok(&format!("kill -9 {}", second.pid))?;
    lab.hear(ENDED)?;
    lab.end()
}

/// Would catch a hook that is lost when its page is swapped out or forgotten, and one for a single program that fires for all who have that
/// page of a file.
#[test]
fn what_is_swapped_out_or_read_from_a_file_is_hooked_when_it_is_back() -> Result {
    let mut lab = Lab::new(|builder| builder.with_kernel_module("lzo-rle").with_kernel_module("zram"))?;
    lab.machine.modprobe("lzo-rle")?;
    lab.machine.modprobe("zram")?;
    lab.machine.ok("echo 64M >/sys/block/zram0/disksize && mkswap /dev/zram0 && swapon /dev/zram0")?;
    let (first, other) = (lab.start("first", "anon")?, lab.start("other", "file")?);
    let hook = lab.hook(&first)?;
    let watch = lab.watch(&first, WORD, 8, READ | WRITE)?;
    for round in 0..3 {
        assert_eq!(lab.tell(&first, "out")?, "ok");
        assert_eq!(lab.hits_of(hook, &first, "call 100")?, 100, "{round}");
        assert_eq!(lab.hits_of(watch, &first, "store 100")?, 100, "{round}");
    }
    lab.clear()?;
    // Of a file's page the program has no copy of its own: it is everybody's.
    assert_eq!((lab.tell(&first, "file")?.as_str(), lab.tell(&first, "call 1")?.as_str()), ("ok", "1"));
    let all = lab.hook(&first)?;
    let only = lab.hook_by(&first, EventAsk { pid: first.pid, ..ask(event::EPTHOOK) })?;
    assert_eq!((lab.hits_of(all, &first, "call 100")?, lab.hits_of(all, &other, "call 100")?), (100, 100));
    assert_eq!(lab.hits(only)?, 100);
    assert_eq!(lab.tell(&first, "drop")?, "ok");
    assert_eq!(lab.hits_of(only, &first, "call 100")?, 100, "the file's page again");
    // A copy of its own, and forgotten.
    assert_eq!(lab.tell(&first, "touch")?, "ok");
    assert_eq!((lab.hits_of(all, &first, "call 100")?, lab.hits_of(all, &other, "call 100")?), (100, 0));
    assert_eq!(lab.tell(&first, "drop")?, "ok");
    until("followed", || Ok(lab.hits_of(only, &first, "call 100")? == 100))?;
    assert_eq!(lab.hits_of(all, &other, "call 100")?, 100);
    lab.clear()?;
    lab.end()
}

/// Would catch a hook or a monitor in 2 MiB of a program's that goes wrong when Linux maps them page by page; and one in the ways into a
/// kernel that programs' tables leave out.
#[test]
#[ignore = "nightly: another boot, with page-table isolation"]
fn large_pages_and_isolated_kernels_make_no_difference() -> Result {
    let mut lab = Lab::new(|builder| builder.kernel_argument("pti=on").memory_mib(768))?;
    assert!(
        lab.machine.ok("cat /sys/devices/system/cpu/vulnerabilities/meltdown; dmesg | grep isolation")?.contains("enabled")
    );
    let first = lab.start("first", "huge")?;
    let large = |lab: &mut Lab| -> Result<bool> {
        let text = lab.machine.ok(&format!("grep AnonHugePages /proc/{}/smaps", first.pid))?;
        Ok(text.contains("2048 kB"))
    };
    assert!(large(&mut lab)?, "not in 2 MiB");
    let hook = lab.hook(&first)?;
    let watch = lab.watch(&first, WORD, 8, WRITE)?;
    let whole = lab.watch(&first, 0x1000_0000, 0x20_0000, WRITE)?;
    assert_eq!(lab.used()?, [1, 2], "2 MiB are one unit");
    let check = |lab: &mut Lab, what: &str| -> Result {
        assert_eq!(lab.hits_of(hook, &first, "call 100")?, 100, "{what}");
        assert_eq!(lab.hits_of(watch, &first, "store 100")?, 100, "{what}");
        assert_eq!(lab.hits_of(whole, &first, "store 100")?, 100, "{what}");
        Ok(())
    };
    check(&mut lab, "as they are")?;
    assert_eq!(lab.tell(&first, "part")?, "ok");
    assert!(!large(&mut lab)?, "still in 2 MiB");
    check(&mut lab, "page by page")?;
    lab.machine.ok("echo 1 >/proc/sys/vm/compact_memory")?;
    check(&mut lab, "after compaction")?;
    let text = lab.machine.ok(
        "grep -E ' T (entry_SYSCALL_64|do_syscall_64|asm_exc_page_fault|asm_sysvec_apic_timer_interrupt)$' /proc/kallsyms",
    )?;
    let mut ways = Vec::new();
    for line in text.lines() {
        let place = Place { address: u64::from_str_radix(&line[..16], 16)?, space: VIRTUAL, pid: first.pid };
        let ask = epthook::Ask { event: ask(event::EPTHOOK), place };
        ways.push(accepted(register(&mut lab.wire, op::EPTHOOK_ADD, ask.as_bytes())?)?);
    }
    assert_eq!(ways.len(), 4, "{text}");
    lab.machine.ok("getppid 1000")?;
    for (id, name) in ways.iter().zip(text.lines()) {
        assert!(lab.hits(*id)? > 10, "{name}");
    }
    check(&mut lab, "with the kernel's hooked")?;
    for id in ways {
        change(&mut lab.wire, event::CLEAR, id)?;
    }
    // A copy of two of its pages: the hook and the word's monitor follow, the 2 MiB cannot.
    lab.tell(&first, "fork child")?;
    assert_eq!(lab.tell(&first, "touch")?, "ok");
    lab.hear("cleared: its large page is in pieces")?;
    assert_eq!(lab.used()?, [1, 1]);
    assert_eq!((lab.hits_of(hook, &first, "call 100")?, lab.hits_of(watch, &first, "store 100")?), (100, 100));
    lab.machine.ok(&format!("kill -9 {}", first.pid))?;
    lab.hear(ENDED)?;
    until("both", || Ok(lab.events()? == 0))?;
    lab.end()
}
