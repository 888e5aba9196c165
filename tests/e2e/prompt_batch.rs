//! The prompt without a terminal: commands, scripts, JSON, and what the program ends with.

use lab::{Machine, Mode};
use serde_json::Value;
use std::fs;
use tests::Result;
use tests::guest::program as guest_program;
use tests::ledger::Ledger;

const SUCCESS: &str = "the requested pools are allocated and reserved";

/// A script with comments whose fifth line cannot be done.
const SCRIPT: &str = "# ten of each\nprealloc monitor 10\n\n// and a slip\nprealloc monitor zz\nprealloc monitor 10\n";

/// What the program printed and ended with.
struct Ran {
    code: Option<i32>,
    out: String,
}

impl Ran {
    fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }

    fn json(&self) -> Result<Vec<Value>> {
        self.out.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

/// Over the link, from the host.
fn host(machine: &Machine, options: &[&str]) -> Result<Ran> {
    let output = machine.debugger_command()?.args(options).output()?;
    Ok(Ran { code: output.status.code(), out: String::from_utf8(output.stdout)? })
}

/// On the machine itself.
fn guest(machine: &mut Machine, options: &[&str]) -> Result<Ran> {
    let output = machine.sh(&format!("{} 2>/dev/null", lab::session::command_line(options)))?;
    Ok(Ran { code: Some(output.status), out: output.text() })
}

/// What both modes have in common. `script` is where [`SCRIPT`] lies for them.
fn both(run: &mut dyn FnMut(&[&str]) -> Result<Ran>, script: &str) -> Result {
    let done = run(&["-x", "prealloc regular-event 10", "-x", "PREALLOC !monitor 0n16"])?;
    assert_eq!((done.code, done.lines()), (Some(0), vec![SUCCESS, SUCCESS]));
    let before = ledger(run)?;

    let refused = run(&["-x", "prealloc monitor 0", "-x", "prealloc monitor 1"])?;
    assert_eq!(refused.code, Some(1), "{}", refused.out);
    assert_eq!(refused.lines()[0], "err, nothing to reserve: 0x0 monitor asked (c0001010)");
    assert_eq!(ledger(run)?, before, "nothing is done after a failure");
    assert_eq!(run(&["--nonsense"])?.code, Some(2));

    for options in [["-x", &format!(".script {script}")], ["--script", script]] {
        let before = ledger(run)?;
        let stopped = run(&options)?;
        assert_eq!(stopped.code, Some(1), "{}", stopped.out);
        assert_eq!(stopped.lines()[..2], [SUCCESS, "err, 'zz' is not a number"], "{}", stopped.out);
        assert_eq!(stopped.lines().last().copied(), Some(&*format!("err, stopped at line 5 of '{script}'")));
        ledger(run)?.assert_types(&before.with("monitor", 0x10), "a script that stopped");
    }

    let json = run(&["--json", "-x", "prealloc big-event 2", "-x", "prealloc", "-x", "prealloc monitor 100000001"])?;
    assert_eq!(json.code, Some(1));
    let [done, shown, refused] = &json.json()?[..] else { panic!("one line a command: {}", json.out) };
    assert_eq!((&done["command"], &done["ok"]), (&"prealloc big-event 2".into(), &true.into()));
    assert_eq!((&done["result"]["type"], &done["result"]["asked"]), (&"big-event".into(), &2.into()));
    let types = shown["result"]["types"].as_array().ok_or("no types")?;
    let big = types.iter().find(|row| row["type"] == "big-event").ok_or("no big events")?;
    assert_eq!((&big["reserved"], &big["free"], &big["used"]), (&2.into(), &2.into(), &0.into()));
    assert_eq!((&refused["ok"], &refused["error"]["code"]), (&false.into(), &"c0001011".into()));
    assert!(refused["error"]["try"].as_str().ok_or("no line that works")?.starts_with("prealloc monitor "), "{refused}");
    Ok(())
}

fn ledger(run: &mut dyn FnMut(&[&str]) -> Result<Ran>) -> Result<Ledger> {
    let shown = run(&["-x", "prealloc"])?;
    assert_eq!(shown.code, Some(0), "{}", shown.out);
    Ok(Ledger::parse(shown.out.trim_end()).0)
}

/// Would catch an end that a script cannot tell from another, commands done after one that failed, and JSON that is none,
/// over the link.
#[test]
fn commands_scripts_and_json_work_over_the_link() -> Result {
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Debugger)?;
    let script = machine.folder().join("script.kd");
    fs::write(&script, SCRIPT)?;
    both(&mut |options| host(&machine, options), &script.display().to_string())?;

    let halted = host(&machine, &["-x", "pause", "-x", "prealloc monitor 1"])?;
    assert_eq!(halted.code, Some(0), "{}", halted.out);
    let lines = halted.lines();
    assert!(lines[0].starts_with("halted on core 0: "), "{}", halted.out);
    assert_eq!(lines[lines.len() - 2], SUCCESS);
    assert_eq!(lines[lines.len() - 1], "the debuggee is continued (`exit halted` would have left it halted)");
    machine.ok("true")?;
    let nobody = machine.debugger_command()?.args(["--remote", "unix:/nowhere", "-x", "r"]).output()?;
    assert_eq!(nobody.status.code(), Some(2), "one address, not two");
    machine.hyperdbg_ok(&["unload"])?;
    let away = host(&machine, &["--wait", "1", "-x", "prealloc monitor 1"])?;
    assert_eq!(away.code, Some(3), "nobody answers on this line: {}", away.out);
    Ok(machine.console_is_healthy()?)
}

/// The same on the machine itself, and who is missing there: the hypervisor, the module, the right.
#[test]
fn commands_scripts_and_json_work_on_the_machine_itself() -> Result {
    let mut machine = Machine::builder().cpus(2).with_guest_program(&guest_program("ioctl_prealloc")).boot()?;
    let unloaded = guest(&mut machine, &["-x", "prealloc monitor 1"])?;
    assert_eq!(unloaded.code, Some(1), "{}", unloaded.out);
    assert_eq!(unloaded.lines(), ["err, the hypervisor is not loaded on this machine (c0001020)", "     try: load"]);
    assert_eq!(guest(&mut machine, &["-x", "load"])?.lines(), ["the hypervisor is loaded on 2 cores"]);
    machine.put("/tmp/script.kd", SCRIPT.as_bytes(), 0o644)?;
    both(&mut |options| guest(&mut machine, options), "/tmp/script.kd")?;

    let halt = guest(&mut machine, &["-x", "pause"])?;
    assert_eq!(
        (halt.code, halt.lines()[0]),
        (Some(1), "err, a machine cannot halt itself: this needs debugger mode (c0001021)")
    );
    let user = machine.sh("ioctl_prealloc as-user 1000 hyperdbg -x 'prealloc monitor 1' 2>/dev/null")?;
    assert_eq!((user.status, user.text().lines().next()), (3, Some("err, /dev/hyperdbg may only be opened by root")));
    machine.ok("rmmod hyperkd")?;
    let gone = guest(&mut machine, &["-x", "prealloc monitor 1"])?;
    assert_eq!(gone.code, Some(3), "{}", gone.out);
    assert_eq!(gone.lines()[0], "err, this machine has no /dev/hyperdbg: the module is not loaded");
    Ok(machine.console_is_healthy()?)
}
