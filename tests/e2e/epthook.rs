//! `!epthook` under a real kernel, on both cores at once: what is counted, what is not, and that Linux does not notice.
use abi::code;
use abi::kind::Kind;
use abi::request::epthook::Ask;
use abi::request::memory::{NO_PID, Place, VIRTUAL};
use abi::request::{EventAnswer, EventAsk, event, op};
use lab::Machine;
use tests::scripting::{Scripts, accepted, ask, change, load, register, row};
use tests::wire::Wire;
use tests::{Result, guest, hooks, scripting};
use zerocopy::IntoBytes;

const ROUNDS: u64 = 20_000;
/// Hooks that come and go.
const COMINGS: usize = 200;

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
        let builder = Machine::builder().cpus(cpus).with_guest_module(&guest::module("hooked"));
        let mut machine = builder.with_guest_program(&guest::program("getppid")).with_stress_ng().boot()?;
        machine.ok("insmod /hooked.ko")?;
        let text = machine.ok(&format!("{HERE}; cat where"))?;
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| u64::from_str_radix(word, 16).ok()).collect();
        let [code, keyed] = numbers[..] else { return Err(text.into()) };
        let (wire, scripts) = load(&mut machine)?;
        Ok(Lab { machine, wire, scripts, code, keyed })
    }

    /// How often the function at an offset was wrong, on each core.
    fn go(&mut self, offset: u64, count: u64) -> Result<String> {
        Ok(self.machine.ok(&format!("{HERE}; echo {offset:x} {count} >go && cat said"))?)
    }

    /// Sets a parameter of the module, and reads it.
    fn set(&mut self, parameter: &str, value: &str) -> Result<String> {
        Ok(self.machine.ok(&format!("{HERE}; echo '{value}' >{parameter} && cat {parameter}"))?)
    }

    /// Bytes as the kernel reads them.
    fn read(&mut self, address: u64) -> Result<String> {
        self.set("read", &format!("{address:x} 16"))
    }

    fn ask(&mut self, ask: EventAsk, address: u64, script: &str) -> Result<(u32, EventAnswer)> {
        let program_words = if script.is_empty() { 0 } else { self.scripts.stage(&mut self.wire, script)? };
        let place = Place { address, space: VIRTUAL, pid: NO_PID };
        let ask = Ask { event: EventAsk { program_words, ..ask }, place };
        register(&mut self.wire, op::EPTHOOK_ADD, ask.as_bytes())
    }

    /// A hook that must be accepted; its id.
    fn add(&mut self, address: u64, script: &str) -> Result<u32> {
        accepted(self.ask(ask(event::EPTHOOK), address, script)?)
    }

    fn hits(&mut self, id: u32) -> Result<u64> {
        Ok(row(&mut self.wire, id)?.hits)
    }

    fn clear(&mut self) -> Result {
        change(&mut self.wire, event::CLEAR, event::ALL).map(|_| ())
    }

    fn units(&mut self) -> Result<(u64, u64)> {
        scripting::units(&mut self.wire, Kind::Epthook)
    }

    fn end(mut self) -> Result {
        self.machine.hyperdbg_ok(&["unload"])?;
        Ok(self.machine.console_is_healthy()?)
    }
}

/// Functions of the module, by what they begin with.
const BEGIN: [u64; 9] = [0, 0x40, 0x80, 0xc0, 0x100, 0x140, 0x180, 0x1c0, 0xffe];
/// ENDBR64, as many kernels' functions begin, INC, and what is beside it.
const ENDBR: u64 = 0;
const INC: u64 = 0x180;
const CALLS_INC: u64 = 0x1c0;
const OTHER: u64 = 0x200;

/// Would catch a call that is lost or counted twice when both cores come at once, a neighbour that counts or runs wrong, an
/// instruction that runs twice or not at all, one of two hooks that goes with the other (facts B.35), and units that do not come
/// back.
#[test]
fn calls_are_exact_on_both_cores_at_once_and_neighbours_run_right() -> Result {
    let mut lab = Lab::new(2)?;
    let before = lab.units()?;
    let function = lab.code + ENDBR;
    let first = lab.add(function, &format!("if ($context != {function:x} || @rip != $context) {{ .wrong = .wrong + 1; }}"))?;
    assert!(scripting::one_more(before, lab.units()?));
    assert_eq!(lab.go(ENDBR, ROUNDS)?, "0\n0\n");
    assert_eq!(lab.hits(first)?, 2 * ROUNDS);
    assert_eq!(lab.go(OTHER, ROUNDS)?, "0\n0\n");
    assert_eq!(lab.hits(first)?, 2 * ROUNDS, "a neighbour");
    // INC, behind ENDBR64.
    let second = lab.add(function + 4, "")?;
    let behind = EventAsk { stage: event::POST, ..ask(event::EPTHOOK) };
    let (code, behind) = lab.ask(behind, function, &format!("if (@rip != {:x}) {{ .wrong = .wrong + 1; }}", function + 4))?;
    assert_eq!(code, code::SUCCESS);
    assert_eq!(lab.go(ENDBR, 1000)?, "0\n0\n");
    assert_eq!((lab.hits(second)?, lab.hits(behind.id)?), (2000, 2000));
    change(&mut lab.wire, event::CLEAR, first)?;
    assert_eq!(lab.go(ENDBR, 1000)?, "0\n0\n");
    assert_eq!((lab.hits(second)?, lab.hits(behind.id)?), (4000, 4000));
    change(&mut lab.wire, event::DISABLE, second)?;
    assert_eq!(lab.go(ENDBR, 1000)?, "0\n0\n");
    assert_eq!((lab.hits(second)?, lab.hits(behind.id)?), (4000, 6000));
    assert_eq!(lab.scripts.value(&mut lab.wire, ".wrong")?, 0);
    lab.clear()?;
    assert_eq!(lab.units()?.1, before.1);
    assert_eq!(lab.go(ENDBR, ROUNDS)?, "0\n0\n");
    lab.end()
}

/// Would catch a first instruction that has another effect than its own, or that is lost where it ends in the next page, and a call
/// from the same page that passes by.
#[test]
fn whatever_an_instruction_is_it_does_what_it_does() -> Result {
    let mut lab = Lab::new(2)?;
    let mut ids = Vec::new();
    for offset in BEGIN {
        ids.push(lab.add(lab.code + offset, "")?);
    }
    for (offset, id) in BEGIN.into_iter().zip(ids.clone()) {
        assert_eq!(lab.go(offset, 1000)?, "0\n0\n", "{offset:x}");
        assert_eq!(lab.hits(id)?, 2000, "{offset:x}");
        if offset == CALLS_INC {
            assert_eq!(lab.hits(ids[6])?, 4000, "INC, also called from its own page");
        }
    }
    lab.end()
}

/// Would catch an instruction that is executed although it was suppressed, or one that a script could not replace.
#[test]
fn an_instruction_can_be_skipped_or_replaced() -> Result {
    let mut lab = Lab::new(2)?;
    let function = lab.code + INC;
    let none = EventAsk { flags: event::SHORT_CIRCUIT, ..ask(event::EPTHOOK) };
    let (code, _) = lab.ask(none, function, ".none = .none + 1;")?;
    assert_eq!(code, code::SUCCESS);
    assert_eq!(lab.go(INC, 1000)?, "1000\n1000\n", "nothing was added");
    lab.clear()?;
    lab.add(function, "@rax = @rax + 1; @rip = @rip + 2;")?;
    assert_eq!(lab.go(INC, 1000)?, "0\n0\n", "the script added");
    assert_eq!(lab.scripts.value(&mut lab.wire, ".none")?, 2000);
    lab.end()
}

/// Would catch a hook that readers see, code that Linux patches and that runs as it was before, and a breakpoint of Linux' own that
/// gets lost, or that takes the hook away (facts B.45).
#[test]
fn what_linux_patches_on_a_hooked_page_is_what_runs() -> Result {
    let mut lab = Lab::new(2)?;
    let (function, keyed) = (lab.code + INC, lab.keyed);
    let (bare, bare_keyed) = (lab.read(function)?, lab.read(keyed)?);
    let hook = lab.add(function, "")?;
    let key = lab.add(keyed, "")?;
    assert_eq!((lab.read(function)?, lab.read(keyed)?), (bare.clone(), bare_keyed.clone()));
    for round in 0..10 {
        assert_eq!(lab.set("key", "1")?, "1\n", "{round}");
        assert_eq!(lab.set("key", "0")?, "0\n", "{round}");
    }
    assert_eq!(lab.hits(key)?, 20);
    for round in 1..4 {
        let hits = lab.hits(hook)?;
        lab.set("probe", &format!("{INC:x}"))?;
        assert_ne!(lab.read(function)?, bare, "its breakpoint");
        assert_eq!(lab.go(INC, 100)?, "0\n0\n");
        assert_eq!(lab.set("probe", "ffff")?, format!("{}\n", 200 * round));
        assert_eq!(lab.read(function)?, bare);
        assert_eq!(lab.go(INC, 100)?, "0\n0\n");
        assert_eq!(lab.hits(hook)?, hits + 400);
    }
    // The hook goes while the breakpoint is there.
    lab.set("probe", &format!("{INC:x}"))?;
    lab.clear()?;
    assert_eq!(lab.go(INC, 100)?, "0\n0\n");
    assert_eq!(lab.set("probe", "ffff")?, "800\n");
    assert_eq!((lab.read(function)?, lab.read(keyed)?), (bare, bare_keyed));
    lab.end()
}

/// Would catch a hot path of the kernel that does not survive its hook, and one that goes on firing.
#[test]
fn hot_functions_of_the_kernel_are_hooked_and_look_as_before() -> Result {
    let mut lab = Lab::new(2)?;
    let names = ["do_syscall_64", "__x64_sys_getppid", "handle_mm_fault", "schedule", "asm_exc_page_fault"];
    let addresses = hooks::named(&mut lab.machine, &names)?;
    let read = |lab: &mut Lab| addresses.iter().map(|address| lab.read(*address)).collect::<Result<Vec<String>>>();
    let bare = read(&mut lab)?;
    let job = guest::keep_busy(&mut lab.machine)?;
    let mut ids = Vec::new();
    for address in &addresses {
        ids.push(lab.add(*address, "")?);
    }
    assert_eq!(read(&mut lab)?, bare);
    lab.machine.ok("getppid 1000; sleep 5")?;
    for (id, name) in ids.into_iter().zip(names) {
        let hits = lab.hits(id)?;
        assert!(hits >= 100, "{name}: {hits}");
    }
    lab.clear()?;
    lab.machine.kill_job(job)?;
    assert_eq!(read(&mut lab)?, bare);
    lab.end()
}

/// Would catch a unit that is lost, or a page that is not as it was, after many hooks have come and gone in any order while their page is
/// executed.
#[test]
fn many_come_and_go_while_their_page_runs() -> Result {
    let mut lab = Lab::new(2)?;
    let before = lab.units()?;
    let bare: Vec<String> = BEGIN.iter().map(|offset| lab.read(lab.code + offset)).collect::<Result<_>>()?;
    let job = lab.machine.spawn(&format!("{HERE}; while :; do for at in 0 80 180 1c0 200; do echo $at 100 >go; done; done"))?;
    let (mut there, mut random) = (Vec::new(), 1_u64);
    for _ in 0..COMINGS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (what, which) = (random >> 60, usize::try_from(random >> 33)?);
        if there.len() < 12 && what < 9 || there.is_empty() {
            there.push(lab.add(lab.code + BEGIN[which % BEGIN.len()], "")?);
            continue;
        }
        let nth = which % there.len();
        match what % 4 {
            0 => change(&mut lab.wire, event::DISABLE, there[nth])?,
            1 => change(&mut lab.wire, event::ENABLE, there[nth])?,
            _ => change(&mut lab.wire, event::CLEAR, there.swap_remove(nth))?,
        };
    }
    lab.machine.kill_job(job)?;
    assert_eq!(usize::try_from(lab.units()?.1)?, there.len());
    for offset in BEGIN {
        assert_eq!(lab.go(offset, 100)?, "0\n0\n", "{offset:x}");
    }
    lab.clear()?;
    assert_eq!(lab.units()?.1, before.1);
    let after: Vec<String> = BEGIN.iter().map(|offset| lab.read(lab.code + offset)).collect::<Result<_>>()?;
    assert_eq!(after, bare);
    lab.end()
}
