//! Prompts that are killed, in every state: Linux runs on, and the next prompt finds everything in order.
use abi::kind::Kind;
use abi::request::{Attend, EventAsk, Hello, event, notice, op};
use lab::{Machine, Mode, Prompt};
use std::process::Command;
use std::time::Duration;
use tests::guest::{program, until_ok};
use tests::hooks::{ENDBR, Hooks, NOTHING};
use tests::scripting::{accepted, ask, change};
use tests::{Result, at_prompt, wire::Wire};
use zerocopy::IntoBytes;

/// Within what time Linux answers again, in front of other work: a halted machine goes on ten seconds after the last word, and steps that
/// were asked for are done before.
const LIMIT: Duration = Duration::from_secs(300);
/// What a whole kernel's names may take over the link.
const FETCH_LIMIT: Duration = Duration::from_secs(600);

/// Ends a prompt on the host as no program can prevent.
fn kill(mut prompt: Prompt) -> Result {
    let id = prompt.process_id().ok_or("not a program of the host")?;
    // The shell's own: a small Debian has no program of that name.
    assert!(Command::new("sh").args(["-c", &format!("kill -9 {id}")]).status()?.success());
    prompt.wait_end()?;
    Ok(())
}

fn text(kd: &mut Prompt, line: &str) -> Result<String> {
    Ok(kd.type_line(line)?.text())
}

/// A fresh prompt in front of a machine that it halts.
fn halting(machine: &mut Machine) -> Result<Prompt> {
    let mut kd = machine.debugger(&["--pause"])?;
    kd.wait_prompt()?;
    kd.set_limit(FETCH_LIMIT);
    Ok(kd)
}

/// Linux answers: a program of its own starts, runs and ends on each core.
fn runs_on(machine: &mut Machine) -> Result {
    for core in 0..2 {
        let said = machine.sh_within(&format!("taskset -c {core} true && echo alive"), LIMIT)?;
        assert_eq!(said.text().trim(), "alive");
    }
    Ok(machine.console_is_healthy()?)
}

/// The next prompt: it finds a machine that runs, with these many breakpoints and events, and halts it, looks, clears, and goes on.
fn all_is_well(machine: &mut Machine, breakpoints: usize, events: usize) -> Result {
    runs_on(machine)?;
    let mut kd = machine.debugger(&[])?;
    let row = at_prompt::enter_running(&mut kd, "pause")?;
    kd.answer_after(row, "pause")?;
    kd.set_limit(LIMIT);
    assert!(text(&mut kd, "r")?.contains("rip="));
    assert!(!text(&mut kd, ".status")?.contains("in view"), "a view is the prompt's own");
    let listed = text(&mut kd, "bl")?;
    assert_eq!(listed.lines().filter(|line| line.contains("(enabled)")).count(), breakpoints, "{listed}");
    let listed = text(&mut kd, "events")?;
    assert_eq!(listed.lines().filter(|line| line.contains("(enabled)")).count(), events, "{listed}");
    text(&mut kd, "bc all")?;
    text(&mut kd, "events c all")?;
    let stepped = text(&mut kd, "i 10")?;
    assert!(!stepped.contains("err,") && !stepped.contains("were done"), "{stepped}");
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row)?;
    runs_on(machine)
}

fn boot(mode: Mode) -> Result<Machine> {
    let mut machine = Machine::builder().cpus(2).with_guest_program(&program("sleepers")).boot()?;
    machine.load(mode)?;
    Ok(machine)
}

/// Would catch a machine that stays frozen for a prompt that is gone: halted, between steps, at a breakpoint, with a view.
#[test]
fn who_is_killed_while_it_is_halted_leaves_a_linux_that_runs_on() -> Result {
    let mut machine = boot(Mode::Debugger)?;
    let kd = halting(&mut machine)?;
    kill(kd)?;
    all_is_well(&mut machine, 0, 0)?;

    // A core that takes no interrupt for a hundred thousand steps, some seconds or more, may be told of on Linux' console (decision 23).
    machine.ok("echo 1 >/sys/module/rcupdate/parameters/rcu_cpu_stall_suppress; echo 0 >/proc/sys/kernel/watchdog || true")?;
    for line in ["t 20000", "i 20000"] {
        let mut kd = halting(&mut machine)?;
        kd.enter(line)?;
        kill(kd)?;
        all_is_well(&mut machine, 0, 0)?;
    }

    let sleeper = machine.spawn("exec sleepers text >/tmp/text")?;
    until_ok(&mut machine, "grep tid /tmp/text")?;
    let mut kd = halting(&mut machine)?;
    let listed = text(&mut kd, ".process list")?;
    let row = listed.lines().find(|line| line.ends_with("sleepers")).ok_or("no sleeper")?;
    let pid = row.split_whitespace().next().ok_or("no number")?;
    assert!(text(&mut kd, &format!(".thread tid {pid}"))?.contains("in view: "));
    kill(kd)?;
    all_is_well(&mut machine, 0, 0)?;
    machine.kill_job(sleeper)?;

    let reader = machine.spawn("while cat /proc/version >/dev/null; do :; done")?;
    let mut kd = halting(&mut machine)?;
    assert!(text(&mut kd, "bp vfs_read")?.contains("breakpoint 0 set"));
    let row = kd.enter("g")?;
    kd.wait_text(row, ": breakpoint 0, pid ")?;
    kill(kd)?;
    // It stays, and halts nobody until somebody is there again.
    all_is_well_at_a_breakpoint(&mut machine)?;
    machine.kill_job(reader)?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// The same where a breakpoint stands at what runs all the time: the next prompt is halted by it.
fn all_is_well_at_a_breakpoint(machine: &mut Machine) -> Result {
    runs_on(machine)?;
    let mut kd = halting(machine)?;
    let listed = text(&mut kd, "bl")?;
    assert_eq!(listed.lines().filter(|line| line.contains("(enabled)")).count(), 1, "{listed}");
    text(&mut kd, "bc all")?;
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row)?;
    kill(kd)?;
    all_is_well(machine, 0, 0)
}

/// Would catch breakpoints of steps that outlive who stepped, events that halt a machine for nobody again and again, and a machine that
/// is left without the pages that it was continued for.
#[test]
#[ignore = "nightly: minutes"]
fn who_is_killed_while_it_waits_for_a_halt_leaves_a_linux_that_runs_on() -> Result {
    let mut machine = boot(Mode::Debugger)?;
    // What is waited for comes when nobody waits any more; or never.
    for (sleep, ends) in [("8", true), ("1000000", false)] {
        let mut kd = halting(&mut machine)?;
        assert!(text(&mut kd, "bp hrtimer_nanosleep")?.contains("breakpoint 0 set"));
        let row = kd.enter("g")?;
        at_prompt::wait_running(&mut kd, row)?;
        let job = machine.spawn(&format!("exec sleep {sleep}"))?;
        kd.wait_text(row, ": breakpoint 0, pid ")?;
        kd.wait_prompt()?;
        assert!(text(&mut kd, "bc all")?.contains("0x1 breakpoint cleared"));
        kd.enter("gu")?;
        // It sleeps: the breakpoint at its return is set, and the machine runs.
        runs_on(&mut machine)?;
        kill(kd)?;
        if ends {
            assert!(machine.wait_job(job, LIMIT)?.ok());
            all_is_well(&mut machine, 0, 0)?;
        } else {
            all_is_well(&mut machine, 0, 0)?;
            machine.kill_job(job)?;
        }
    }

    let mut kd = halting(&mut machine)?;
    assert!(text(&mut kd, "!syscall 27 script { printf(\"%x\\n\", $pid); }")?.contains("event 0 registered"));
    assert!(text(&mut kd, "!monitor w jiffies l 8")?.contains("event 1 registered"));
    let row = kd.enter("g")?;
    kd.wait_text(row, "event 1 (pre), pid ")?;
    kill(kd)?;
    runs_on(&mut machine)?;
    let mut kd = halting(&mut machine)?;
    let listed = text(&mut kd, "events")?;
    assert_eq!(listed.lines().filter(|line| line.contains("(enabled)")).count(), 2, "{listed}");
    text(&mut kd, "events c all")?;
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row)?;
    kill(kd)?;
    all_is_well(&mut machine, 0, 0)?;

    let mut kd = halting(&mut machine)?;
    let row = kd.enter("prealloc big-event 400")?;
    kd.wait_text(row, "the bank is short by")?;
    kill(kd)?;
    all_is_well(&mut machine, 0, 0)?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a limit for a client that never set one, a halt for nobody, and breakpoints of steps that stay when another prompt comes, or
/// nobody does.
#[test]
fn root_waits_as_long_as_it_was_told_and_clears_what_is_temporary() -> Result {
    let mut hooks = Hooks::new(2)?;
    let (first, second) = (hooks.at.functions + ENDBR, hooks.at.functions);
    let breakpoint = EventAsk { flags: event::BREAK | event::BREAKPOINT, ..ask(event::EPTHOOK) };
    let temporary = EventAsk { flags: breakpoint.flags | event::TEMPORARY, ..breakpoint };
    let attend =
        |hooks: &mut Hooks, who, limit_ms| hooks.wire.get::<[u8; 0]>(op::ATTEND, Attend { who, limit_ms }.as_bytes()).map(drop);
    let breakpoints = |hooks: &mut Hooks| -> Result<u64> { Ok(hooks.used()?[Kind::Breakpoint.index()]) };
    attend(&mut hooks, 1, 0)?;
    accepted(hooks.ask_epthook(temporary, first, "")?)?;
    attend(&mut hooks, 1, 0)?;
    assert_eq!(breakpoints(&mut hooks)?, 1, "it is the same prompt's");
    attend(&mut hooks, 2, 0)?;
    assert_eq!(breakpoints(&mut hooks)?, 0, "another one's is cleared");

    accepted(hooks.ask_epthook(temporary, second, "")?)?;
    let id = accepted(hooks.ask_epthook(breakpoint, first, "")?)?;
    attend(&mut hooks, 2, 500)?;
    hooks.wire.pause()?;
    let told = hooks.wire.told(LIMIT)?;
    assert_eq!(told, Some((notice::ABANDONED, Vec::new())));
    // Nobody is there: it is passed, and counted.
    let line = format!("cd /sys/module/hooked/parameters; echo {ENDBR:x} 3 {NOTHING:x} >go && cat said");
    assert_eq!(hooks.machine.ok(&line)?, "0\n0\n");
    assert_eq!((hooks.hits(id)?, breakpoints(&mut hooks)?), (3, 1), "what was set stays, what was temporary has gone");
    // Somebody is there again.
    let job = hooks.machine.spawn(&line)?;
    assert_eq!(hooks.wire.halted(LIMIT)?.event, id);
    // Another session never said a word of limits.
    drop(std::mem::replace(&mut hooks.wire, Wire::connect(&hooks.machine.link_path())?));
    assert_eq!(hooks.wire.get::<Hello>(op::HELLO, &[])?.halted, 1);
    let told = hooks.wire.told(Duration::from_secs(3))?;
    assert!(told.is_none_or(|(code, _)| code == notice::HALTED), "it waits, and says so at most");
    change(&mut hooks.wire, event::CLEAR, event::ALL_BREAKPOINTS)?;
    hooks.wire.go()?;
    assert!(hooks.machine.wait_job(job, LIMIT)?.ok());
    hooks.end()
}

/// Would catch a prompt in the machine that takes something of root's with it.
#[test]
fn a_prompt_in_the_machine_that_is_killed_leaves_it_as_it_is() -> Result {
    let mut machine = boot(Mode::Debugger)?;
    let sleeper = machine.spawn("exec sleepers text >/tmp/text")?;
    until_ok(&mut machine, "grep tid /tmp/text")?;
    let pid: u32 = machine.ok("pidof sleepers")?.trim().parse()?;
    for line in ["!cpuid script { x = 1; }".to_owned(), format!(".process pid {pid:x}"), format!(".thread tid {pid:x}")] {
        let mut inside = machine.vmi(&[])?;
        inside.set_limit(FETCH_LIMIT);
        let said = text(&mut inside, &line)?;
        assert!(said.contains("registered") || said.contains("in view: "), "{said}");
        machine.ok("kill -9 $(pidof hyperdbg)")?;
        drop(inside);
        runs_on(&mut machine)?;
    }
    let mut inside = machine.vmi(&[])?;
    inside.enter("prealloc big-event 400")?;
    machine.ok("kill -9 $(pidof hyperdbg)")?;
    drop(inside);
    all_is_well(&mut machine, 0, 1)?;
    machine.kill_job(sleeper)?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
