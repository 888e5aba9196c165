//! The prompt on a terminal, in front of a real machine: what it offers, explains, remembers, and leaves whole.

use lab::{Machine, Mode, Prompt};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tests::ledger::Ledger;
use tests::{Result, at_prompt};

const SUCCESS: &str = "the requested pools are allocated and reserved";

/// The page's table of types.
const TYPES: [&str; 8] = [
    "thread-interception",
    "monitor",
    "epthook",
    "epthook2",
    "regular-event",
    "big-event",
    "regular-safe-buffer",
    "big-safe-buffer",
];

fn halted(machine: &Machine) -> Result<Prompt> {
    let mut kd = machine.debugger(&["--pause"])?;
    assert_eq!(kd.wait_prompt()?, "0: kHyperDbg> ");
    Ok(kd)
}

/// Sends keys and waits until the line at the cursor shows this text after its prompt.
fn keys(kd: &mut Prompt, keys: &str, shows: &str) -> Result {
    let row = kd.row();
    kd.send(keys.as_bytes())?;
    kd.wait_text(row, &format!("HyperDbg> {shows}"))?;
    Ok(())
}

fn completion(kd: &mut Prompt) -> Result {
    kd.wait_prompt()?;
    let row = kd.row();
    keys(kd, "prea\t", "prealloc")?;
    keys(kd, "reg\t", "prealloc regular-")?;
    keys(kd, "E\t", "prealloc regular-event")?;
    kd.send(b"10\r")?;
    assert_eq!(kd.answer_after(row, "prealloc regular-event 10")?.text(), SUCCESS);
    let row = kd.row();
    keys(kd, ".he\t", ".help")?;
    keys(kd, "prealloca\t", ".help preallocat")?;
    kd.send(b"e\r")?;
    assert!(kd.answer_after(row, ".help preallocate")?.text().starts_with("prealloc, preallocate, preallocation : "));
    // What is ambiguous is shown.
    let row = kd.row();
    keys(kd, "prealloc big-\t\t", "prealloc big-")?;
    kd.wait_text(row + 1, "big-event")?;
    kd.wait_text(row + 1, "big-safe-buffer")?;
    let after = kd.row();
    kd.ctrl_c()?;
    kd.answer_after(after, "CTRL+C")?;
    Ok(())
}

/// A slip, a wrong word and a wrong number: the whole answer, with the caret under the place.
const SLIPS: [(&str, &str); 3] = [
    (
        "prealocc monitor 1",
        "err, there is no command 'prealocc'\n     \
         prealocc monitor 1\n     \
         ^~~~~~~~\n     \
         `.help` lists the commands\n     \
         try: prealloc monitor 1",
    ),
    (
        "prealloc monitor 10+zz",
        "err, 'zz' is not a number\n     \
         prealloc monitor 10+zz\n     \
         \u{20}                   ^~\n     \
         numbers are hex; 0n10 is decimal, 0y10 binary, 0t10 octal\n     \
         try: prealloc monitor 10",
    ),
    (
        "prealloc  regular-evnt 1",
        "err, couldn't resolve error at 'regular-evnt'\n     \
         prealloc  regular-evnt 1\n     \
         \u{20}         ^~~~~~~~~~~~\n     \
         types: monitor, thread-interception, epthook, epthook2, regular-event, big-event, regular-safe-buffer, big-safe-buffer, breakpoint\n     \
         try: prealloc  regular-event 1",
    ),
];

fn slips(kd: &mut Prompt) -> Result {
    for (line, explained) in SLIPS {
        assert_eq!(kd.type_line(line)?.text(), explained);
        let offered = explained.rsplit("try: ").next().unwrap_or_default();
        assert_eq!(kd.type_line(offered)?.text(), SUCCESS, "{offered}");
    }
    Ok(())
}

/// Types the examples of `.help prealloc` and compares what is printed, but for what differs between machines.
fn help(kd: &mut Prompt) -> Result {
    let manual = kd.type_line(".help prealloc")?.text();
    for part in ["prealloc, preallocate, preallocation : ", "syntax : prealloc [TYPE COUNT]", "COUNT"].iter().chain(&TYPES) {
        assert!(manual.contains(part), "{part} is missing in {manual}");
    }
    let (_, examples) = manual.split_once("e.g :\n").ok_or("no examples")?;
    let lines = examples.lines().map(|line| line.strip_prefix("    ").unwrap_or(line));
    let mut typed = 0;
    let mut answer: Vec<String> = Vec::new();
    for line in lines {
        if let Some(command) = line.strip_prefix("0: kHyperDbg> ") {
            assert_eq!(answer, [""; 0], "printed, and not in the manual");
            answer = kd.type_line(command)?.text().lines().map(str::to_owned).collect();
            typed += 1;
        } else {
            let printed = answer.remove(0);
            let same: Vec<&str> = line.split('…').collect();
            let (first, last) = (same[0], same[same.len() - 1]);
            assert!(printed.starts_with(first) && printed.ends_with(last), "{printed:?} is {line:?} in the manual");
        }
    }
    assert!(typed >= 3, "{examples}");
    Ok(())
}

/// Would catch a completion without a choice, a caret under the wrong place, an offer that does not work, and a manual
/// whose examples are not what the machine says.
#[test]
fn the_prompt_completes_explains_and_its_manual_is_true() -> Result {
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Debugger)?;
    let mut kd = halted(&machine)?;
    help(&mut kd)?;
    completion(&mut kd)?;
    slips(&mut kd)?;
    // CTRL+C takes back what was typed, and nothing else.
    let before = Ledger::read(&mut kd)?;
    keys(&mut kd, "prealloc monitor 5", "prealloc monitor 5")?;
    let row = kd.row();
    kd.ctrl_c()?;
    let prompt = kd.answer_after(row, "CTRL+C")?.prompt;
    assert_eq!(prompt, "0: kHyperDbg> ", "it stays halted");
    assert_eq!(Ledger::read(&mut kd)?, before, "the line was not done");
    Ok(machine.console_is_healthy()?)
}

/// Would catch a history that is lost with a prompt that is killed, or that everybody may read, and a machine that a
/// second prompt does not find halted as the first one left it.
#[test]
fn the_history_outlives_a_prompt_that_is_killed() -> Result {
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Debugger)?;
    let mut kd = halted(&machine)?;
    let before = Ledger::read(&mut kd)?;
    assert_eq!(kd.type_line("prealloc monitor 3")?.text(), SUCCESS);
    drop(kd);
    let history = machine.folder().join(".local/state/hyperdbg/history");
    assert_eq!(fs::metadata(&history)?.permissions().mode() & 0o777, 0o600);
    let mut kd = halted(&machine)?;
    let row = kd.row();
    keys(&mut kd, "\x1b[A", "prealloc monitor 3")?;
    kd.send(b"\r")?;
    assert_eq!(kd.answer_after(row, "the line of before")?.text(), SUCCESS);
    Ledger::read(&mut kd)?.assert_types(&before.with("monitor", 6), "the same line twice");
    Ok(machine.console_is_healthy()?)
}

/// Would catch CTRL+C that does not reach a machine that runs or ends the prompt, and news that tear a line which is
/// being typed, or throw it away.
#[test]
fn news_and_interruptions_leave_the_line_whole() -> Result {
    let mut machine = Machine::builder().cpus(2).boot()?;
    machine.load(Mode::Debugger)?;
    let mut kd = machine.debugger(&[])?;
    let row = at_prompt::wait_running(&mut kd, 0)?;
    kd.ctrl_c()?;
    let halted = kd.answer_after(row, "CTRL+C")?;
    assert!(halted.text().starts_with("halted on core 0: pause, "), "{}", halted.text());
    assert_eq!(halted.prompt, "0: kHyperDbg> ");
    // What is printed before says that the wait has begun: CTRL+C at a prompt does something else.
    let script = machine.folder().join("wait.kd");
    fs::write(&script, "? 2a\nsleep 100000\n")?;
    let script = format!(".script {}", script.display());
    let row = kd.enter(&script)?;
    let begun = kd.wait_text(row + 1, "2a")?;
    kd.ctrl_c()?;
    let ended = kd.answer_after(begun, &script)?.text();
    assert!(ended.contains("err, given up waiting; what was asked may still be done"), "{ended}");
    assert!(ended.contains("err, stopped at line 2 of '"), "{ended}");
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row + 1)?;

    keys(&mut kd, "prealloc moni", "prealloc moni")?;
    machine.hyperdbg_ok(&["unload"])?;
    let row = kd.wait_text(row, "the hypervisor was unloaded on the debuggee; waiting for it to be loaded again")?;
    let row = kd.wait_text(row + 1, "HyperDbg> prealloc moni")?;
    machine.hyperdbg_ok(&["load link"])?;
    let row = kd.wait_text(row, &format!("the debuggee is back: {}, 2 cores, running", machine.vendor().back_end()))?;
    let row = kd.wait_text(row + 1, "(running) HyperDbg> prealloc moni")?;
    assert!(kd.before_cursor().ends_with("> prealloc moni"), "{}", kd.session());
    kd.send(b"tor 5\r")?;
    kd.wait_text(row, "(running) HyperDbg> prealloc monitor 5")?;
    kd.wait_text(row + 1, SUCCESS)?;
    let session = kd.session();
    let torn = session.lines().find(|line| line.contains("the debuggee") && line.contains("prealloc"));
    assert_eq!(torn, None, "{session}");
    let ledger = Ledger::parse(machine.hyperdbg_ok(&["prealloc"])?.trim_end()).0;
    assert_eq!(ledger.types["monitor"].kept, 5);
    Ok(machine.console_is_healthy()?)
}

/// Would catch a prompt on the machine itself that completes, forgets or dies of CTRL+C where the other does not.
#[test]
fn the_prompt_on_the_machine_itself_does_the_same() -> Result {
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Vmi)?;
    let mut kd = machine.vmi(&[])?;
    completion(&mut kd)?;
    slips(&mut kd)?;
    keys(&mut kd, "prealloc monitor 7", "prealloc monitor 7")?;
    let row = kd.row();
    kd.ctrl_c()?;
    assert_eq!(kd.answer_after(row, "CTRL+C")?.prompt, "HyperDbg> ");
    let job = kd.job().ok_or("a prompt in the guest is a job")?;
    kd.enter("exit")?;
    assert!(machine.wait_job(job, lab::machine::COMMAND_LIMIT)?.ok());
    let mut kd = machine.vmi(&[])?;
    kd.wait_prompt()?;
    let row = kd.row();
    keys(&mut kd, "\x1b[A\x1b[A", "prealloc  regular-event 1")?;
    kd.send(b"\r")?;
    assert_eq!(kd.answer_after(row, "the line of before")?.text(), SUCCESS);
    Ok(machine.console_is_healthy()?)
}
