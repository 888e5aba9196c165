//! Breakpoints: where they halt, for whom, what they take, and what is typed behind them.
use abi::code;
use abi::kind::Kind;
use abi::request::{EventAsk, PreallocAsk, event, op, reason};
use lab::{Machine, Mode, Prompt};
use std::time::Duration;
use tests::hooks::{ENDBR, Hooks, NOTHING, OTHER, through_kcore};
use tests::scripting::{accepted, ask, change};
use tests::{Result, at_prompt};
use zerocopy::IntoBytes;

/// What a halt, or a command of the guest's, takes at most in front of other work.
const LIMIT: Duration = Duration::from_secs(60);
/// What a whole kernel's names may take over the link, on a host that does much else.
const FETCH_LIMIT: Duration = Duration::from_secs(600);
/// How many there are at start.
const AT_START: u64 = 100;

fn breakpoint() -> EventAsk {
    EventAsk { flags: event::BREAK | event::BREAKPOINT, ..ask(event::EPTHOOK) }
}

/// Would catch a breakpoint that halts elsewhere, that can be read, that halts for others than it was set for, or when it is disabled.
#[test]
fn it_halts_where_and_for_whom_it_was_set_and_nobody_reads_it() -> Result {
    let mut hooks = Hooks::new(2)?;
    let function = hooks.at.functions + ENDBR;
    let bytes = through_kcore(&mut hooks.machine, function, 16)?;
    let id = accepted(hooks.ask_epthook(breakpoint(), function, "")?)?;
    assert_eq!(through_kcore(&mut hooks.machine, function, 16)?, bytes);
    let line = format!("cd /sys/module/hooked/parameters; echo {ENDBR:x} 3 {NOTHING:x} >go && cat said");
    let job = hooks.machine.spawn(&line)?;
    for _ in 0..3 {
        let halted = hooks.wire.halted(LIMIT)?;
        assert_eq!((halted.reason, halted.event, halted.rip), (reason::BREAKPOINT, id, function), "{halted:x?}");
        hooks.wire.go()?;
    }
    assert_eq!(hooks.machine.wait_job(job, LIMIT)?.text(), "0\n0\n");
    assert_eq!(hooks.hits(id)?, 3);

    assert_eq!(change(&mut hooks.wire, event::CLEAR, event::ALL)?, 0, "no event is a breakpoint");
    change(&mut hooks.wire, event::DISABLE, id)?;
    for its in [
        EventAsk { pid: 1, ..breakpoint() },
        EventAsk { pid: 1, flags: breakpoint().flags | event::BY_THREAD, ..breakpoint() },
        EventAsk { core: 1, ..breakpoint() },
    ] {
        accepted(hooks.ask_epthook(its, function, "")?)?;
    }
    assert_eq!(hooks.machine.ok(&line)?, "0\n0\n", "it is another's, and the other core's");
    assert_eq!(hooks.hits(id)?, 3);
    // The module has a thread on each core, and only that of the second one is meant here.
    let job = hooks.machine.spawn(&format!("cd /sys/module/hooked/parameters; echo {OTHER:x} 1 {ENDBR:x} >go && cat said"))?;
    let halted = hooks.wire.halted(LIMIT)?;
    assert_eq!((halted.reason, halted.core, halted.rip), (reason::BREAKPOINT, 1, function), "{halted:x?}");
    change(&mut hooks.wire, event::CLEAR, event::ALL_BREAKPOINTS)?;
    hooks.wire.go()?;
    assert!(hooks.machine.wait_job(job, LIMIT)?.ok());
    hooks.end()
}

/// Would catch a breakpoint that takes something else of the reserve, one that is set although there is none left, and units that are
/// not there again.
#[test]
fn they_have_a_budget_of_their_own() -> Result {
    let mut hooks = Hooks::new(2)?;
    let before = hooks.used()?;
    let at = Kind::Breakpoint.index();
    let mut set = 0;
    // While it runs, what is taken is filled again.
    hooks.wire.pause()?;
    let refused = loop {
        let (code, answer) = hooks.ask_epthook(breakpoint(), hooks.at.functions + set % 0x10, "")?;
        if code != code::SUCCESS {
            break (code, answer);
        }
        set += 1;
        if set == 1 || set == AT_START {
            let mut now = hooks.used()?;
            assert_eq!(now[at], before[at] + set);
            now[at] = before[at];
            assert_eq!(now, before, "it takes a unit of its own kind and nothing else");
        }
        assert!(set <= AT_START, "they have no end");
    };
    assert_eq!(set, AT_START);
    assert_eq!((refused.0, refused.1.unit), (code::NO_BREAKPOINT, Kind::Breakpoint as u32));
    let more = PreallocAsk { kind: Kind::Breakpoint as u32, zero: 0, count: 5 };
    assert_eq!(hooks.wire.ask(op::PREALLOC, more.as_bytes())?.0, code::SUCCESS);
    accepted(hooks.ask_epthook(breakpoint(), hooks.at.functions, "")?)?;
    for wrong in [
        EventAsk { flags: event::BREAKPOINT, ..breakpoint() },
        EventAsk { flags: breakpoint().flags | event::SHORT_CIRCUIT, ..breakpoint() },
        EventAsk { buffer_bytes: 8, ..breakpoint() },
        EventAsk { stage: event::POST, ..breakpoint() },
        EventAsk { flags: breakpoint().flags | event::BY_THREAD, ..breakpoint() },
    ] {
        assert_eq!(hooks.ask_epthook(wrong, hooks.at.functions, "")?.0, code::EVENT_INVALID, "{wrong:x?}");
    }
    assert_eq!(change(&mut hooks.wire, event::CLEAR, event::ALL_BREAKPOINTS)?, set + 1);
    assert_eq!(hooks.used()?, before);
    hooks.wire.go()?;
    hooks.end()
}

fn text(kd: &mut Prompt, line: &str) -> Result<String> {
    Ok(kd.type_line(line)?.text())
}

/// Would catch a breakpoint by name that is none, a step over a call that goes into it, a way out of a function that ends elsewhere,
/// and breakpoints of steps that stay.
#[test]
fn who_types_stops_in_a_function_steps_over_its_calls_and_out_of_it() -> Result {
    let mut machine = Machine::builder().cpus(2).boot()?;
    machine.load(Mode::Debugger)?;
    let reader = machine.spawn("while cat /proc/version >/dev/null; do :; done")?;
    let mut kd = machine.debugger(&["--pause"])?;
    kd.wait_prompt()?;
    kd.set_limit(FETCH_LIMIT);
    let set = text(&mut kd, "bp vfs_read")?;
    assert!(set.contains("breakpoint 0 set at ") && set.contains("(vfs_read)"), "{set}");
    let row = kd.enter("g")?;
    let row = kd.wait_text(row, ": breakpoint 0, pid ")?;
    kd.wait_text(row, "kHyperDbg>")?;
    let listed = text(&mut kd, "bl")?;
    assert!(listed.contains("(enabled)") && listed.contains("bp vfs_read"), "{listed}");
    assert_eq!(text(&mut kd, "events")?.trim(), "there are no active or disabled events");
    // Others come there, too.
    assert_eq!(text(&mut kd, "bd 0")?.trim(), "breakpoint 0 disabled");
    let stack = text(&mut kd, "k l 3")?;
    assert!(stack.contains("vfs_read") && stack.contains("read+0x"), "{stack}");
    for _ in 0..20 {
        let stepped = text(&mut kd, "p")?;
        assert!(stepped.contains("vfs_read+0x"), "{stepped}");
    }
    let out = text(&mut kd, "gu")?;
    assert!(out.contains("read+0x") && !out.contains("vfs_read+0x"), "{out}");
    let into = text(&mut kd, "t 20")?;
    assert!(!into.contains("were done"), "{into}");
    let alone = text(&mut kd, "ir 2")?;
    assert!(alone.contains("r15=") && alone.contains("rip="), "{alone}");
    let listed = text(&mut kd, "bl")?;
    assert_eq!(listed.lines().count(), 2, "those of steps have gone: {listed}");
    assert_eq!(text(&mut kd, "bc all")?.trim(), "0x1 breakpoint cleared");
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row)?;
    machine.kill_job(reader)?;
    drop(kd);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
