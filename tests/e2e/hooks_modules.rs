//! Hooks and monitors in what the kernel maps and unmaps: modules that go and come, memory that is given back.
use abi::request::memory::{NO_PID, Place, VIRTUAL};
use abi::request::monitor::{self, WRITE};
use abi::request::{epthook, event, op};
use lab::Machine;
use tests::guest::until;
use tests::scripting::{Scripts, accepted, ask, events, hear, load, register, row};
use tests::wire::Wire;
use tests::{Result, guest, hooks, scripting};
use zerocopy::IntoBytes;

/// `inc %eax`, and the page after `hooked_code`: of the module's functions.
const INC: u64 = 0x180;

struct Lab {
    machine: Machine,
    wire: Wire,
    /// The texts of messages, so far.
    said: String,
}

impl Lab {
    fn new() -> Result<Lab> {
        let mut machine = Machine::builder()
            .cpus(2)
            .with_guest_module(&guest::module("hooked"))
            .with_guest_module(&guest::module("held"))
            .boot()?;
        machine.ok("insmod /held.ko")?;
        let (wire, _scripts): (Wire, Scripts) = load(&mut machine)?;
        Ok(Lab { machine, wire, said: String::new() })
    }

    /// The numbers that a module's parameter tells, in hex.
    fn numbers(&mut self, parameter: &str) -> Result<Vec<u64>> {
        let text = self.machine.ok(&format!("cat /sys/module/{parameter}"))?;
        Ok(text.split_whitespace().map(|word| u64::from_str_radix(word, 16)).collect::<std::result::Result<_, _>>()?)
    }

    fn insert(&mut self) -> Result<u64> {
        self.machine.ok("insmod /hooked.ko")?;
        Ok(self.numbers("hooked/parameters/where")?[0])
    }

    /// Calls the function on each core.
    fn call(&mut self, count: u64) -> Result {
        let here = "cd /sys/module/hooked/parameters";
        assert_eq!(self.machine.ok(&format!("{here}; echo {INC:x} {count} >go && cat said"))?, "0\n0\n");
        Ok(())
    }

    fn hook(&mut self, address: u64) -> Result<u32> {
        let place = Place { address, space: VIRTUAL, pid: NO_PID };
        let ask = epthook::Ask { event: ask(event::EPTHOOK), place };
        accepted(register(&mut self.wire, op::EPTHOOK_ADD, ask.as_bytes())?)
    }

    fn watch(&mut self, address: u64) -> Result<u32> {
        let place = Place { address, space: VIRTUAL, pid: NO_PID };
        let ask = monitor::Ask { event: ask(event::MONITOR), place, last: address + 7, access: WRITE, zero: 0 };
        accepted(register(&mut self.wire, op::MONITOR_ADD, ask.as_bytes())?)
    }

    fn hits(&mut self, id: u32) -> Result<u64> {
        Ok(row(&mut self.wire, id)?.hits)
    }

    fn events(&mut self) -> Result<u32> {
        events(&mut self.wire)
    }

    fn used(&mut self) -> Result<[u64; 2]> {
        hooks::used(&mut self.wire)
    }

    /// How many refer to a frame.
    fn count(&mut self, pfn: u64) -> Result<i64> {
        hooks::references(&mut self.machine, pfn)
    }

    /// Waits for a message.
    fn hear(&mut self, text: &str) -> Result {
        hear(&mut self.wire, &mut self.said, text)
    }

    fn end(mut self) -> Result {
        self.machine.hyperdbg_ok(&["unload"])?;
        Ok(self.machine.console_is_healthy()?)
    }
}

/// Would catch a hook that stays behind in memory that is somebody else's now, one that goes without a word or with the neighbour's,
/// a unit that is lost, and what the next module that lies there finds of it.
#[test]
fn a_hook_goes_with_its_module_and_never_hits_the_next_one() -> Result {
    let mut lab = Lab::new()?;
    let before = lab.used()?;
    let schedule = lab.machine.ok("grep ' T schedule$' /proc/kallsyms")?;
    let kernels = lab.hook(u64::from_str_radix(&schedule[..16], 16)?)?;
    let mut places = Vec::new();
    for round in 0..4 {
        let code = lab.insert()?;
        places.push(code);
        lab.call(100)?;
        assert_eq!(lab.used()?, [before[0] + 1, before[1]], "{round}: nothing of the last one");
        let hook = lab.hook(code + INC)?;
        let watch = lab.watch(code + 0x800)?;
        lab.call(1000)?;
        assert_eq!((lab.hits(hook)?, lab.hits(watch)?), (2000, 0), "{round}");
        lab.machine.ok("rmmod hooked")?;
        assert_eq!((lab.events()?, lab.used()?), (1, [before[0] + 1, before[1]]), "{round}: at once");
        lab.hear("cleared: module hooked is unloaded")?;
        lab.said.clear();
    }
    places.dedup();
    assert!(places.len() < 4, "never twice at one place: {places:x?}");
    assert!(lab.hits(kernels)? > 0, "the kernel's own is there still");
    lab.end()
}

/// Would catch a frame that Linux gives to somebody else while a monitor is on it, one that stays behind when nobody needs it any more, and
/// a monitor that fires for what is mapped at its address later.
#[test]
fn a_page_is_held_as_long_as_a_monitor_needs_it_and_no_longer() -> Result {
    let mut lab = Lab::new()?;
    let before = lab.used()?;
    let set = |lab: &mut Lab, what: &str| lab.machine.ok(&format!("cd /sys/module/held/parameters; echo {what}"));
    set(&mut lab, "1 >area")?;
    let [address, pfn] = lab.numbers("held/parameters/area")?[..] else { return Err("no area".into()) };
    assert_eq!(lab.count(pfn)?, 1);
    let watch = lab.watch(address)?;
    set(&mut lab, "100 >store")?;
    assert_eq!(lab.hits(watch)?, 100);
    until("held", || Ok(lab.count(pfn)? == 2))?;
    let second = lab.watch(address + 8)?;
    set(&mut lab, "100 >store")?;
    assert_eq!((lab.hits(watch)?, lab.hits(second)?), (200, 0));
    scripting::change(&mut lab.wire, event::CLEAR, second)?;
    assert_eq!(lab.count(pfn)?, 2, "the first one needs it still");
    set(&mut lab, "0 >area")?;
    // Linux has given it back, and nobody but the worker tells.
    lab.hear("cleared: its page is something else's now")?;
    assert_eq!((lab.events()?, lab.used()?), (0, before));
    set(&mut lab, "1 >area")?;
    assert_eq!(lab.numbers("held/parameters/area")?[0], address, "the same address");
    set(&mut lab, "100 >store")?;
    let pfn = lab.numbers("held/parameters/area")?[1];
    // One that is cleared by hand lets go, too; and one that is there when root leaves.
    let watch = lab.watch(address)?;
    set(&mut lab, "100 >store")?;
    assert_eq!(lab.hits(watch)?, 100);
    until("held", || Ok(lab.count(pfn)? == 2))?;
    scripting::change(&mut lab.wire, event::CLEAR, watch)?;
    until("let go", || Ok(lab.count(pfn)? == 1))?;
    lab.watch(address)?;
    until("held", || Ok(lab.count(pfn)? == 2))?;
    lab.machine.hyperdbg_ok(&["unload"])?;
    assert_eq!(lab.count(pfn)?, 1);
    set(&mut lab, "0 >area")?;
    lab.machine.ok("rmmod held && rmmod hyperkd")?;
    Ok(lab.machine.console_is_healthy()?)
}
