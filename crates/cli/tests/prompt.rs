//! The prompt on a terminal, typed at through a pseudo-terminal.

mod common;

use common::{Debuggee, Do, LIMIT, scratch, until};
use debugger::target::fake::Root;
use expectrl::session::OsSession;
use expectrl::{ControlCode, Eof, Expect, Regex, Session};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// A program on a terminal, with its own history.
fn on_terminal(arguments: &[&str], state: &Path) -> OsSession {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyperdbg"));
    command.args(arguments).env("XDG_STATE_HOME", state).env("NO_COLOR", "1").env("TERM", "xterm");
    let mut terminal = Session::spawn(command).unwrap();
    terminal.set_expect_timeout(Some(LIMIT));
    terminal
}

fn over(debuggee: &Debuggee) -> OsSession {
    let mut terminal =
        on_terminal(&["--remote", debuggee.path.to_str().unwrap()], &env::temp_dir().join("hyperdbg-test-state"));
    terminal.expect("debugger mode over unix:").unwrap();
    terminal
}

/// Would catch a completion that offers nothing, or the words of another place.
#[test]
fn tab_completes_commands_and_types() {
    let debuggee = Debuggee::new(Root { halted: true, ..Root::default() });
    let mut terminal = over(&debuggee);
    terminal.expect("0: kHyperDbg> ").unwrap();
    terminal.send(".stat\t\n").unwrap();
    terminal.expect("halted, core 0 selected").unwrap();
    terminal.send("pre\tregular-e\t").unwrap();
    terminal.expect("regular-event ").unwrap();
    terminal.send("10\n").unwrap();
    terminal.expect("the requested pools are allocated and reserved").unwrap();
    assert_eq!(debuggee.root().rows[4].kept, 0x10);
}

/// Would catch a CTRL+C that ends the program, or that does not reach a running machine.
#[test]
fn ctrl_c_halts_what_runs_and_clears_a_line_when_halted() {
    let debuggee = Debuggee::new(Root::default());
    let mut terminal = over(&debuggee);
    terminal.expect("(running) HyperDbg> ").unwrap();
    terminal.send(ControlCode::EndOfText).unwrap();
    terminal.expect("halted on core 0: pause, pid 1c8 tid 1c8 cat, cpl 0").unwrap();
    terminal.expect("0: kHyperDbg> ").unwrap();
    assert!(debuggee.root().halted);
    terminal.send("prealloc monitor 5").unwrap();
    terminal.expect("monitor 5").unwrap();
    terminal.send(ControlCode::EndOfText).unwrap();
    terminal.expect("0: kHyperDbg> ").unwrap();
    terminal.send("~ 1\n").unwrap();
    terminal.expect("1: kHyperDbg> ").unwrap();
    assert_eq!(debuggee.root().rows[0].kept, 0, "the line was cleared, not done");
}

/// Would catch a frozen machine that is left behind by CTRL+D.
#[test]
fn ctrl_d_continues_the_debuggee_and_ends() {
    let debuggee = Debuggee::new(Root { halted: true, ..Root::default() });
    let mut terminal = over(&debuggee);
    terminal.expect("0: kHyperDbg> ").unwrap();
    terminal.send(ControlCode::EndOfTransmission).unwrap();
    terminal.expect("the debuggee is continued").unwrap();
    terminal.expect(Eof).unwrap();
    assert!(!debuggee.root().halted);
}

/// Would catch a wait that CTRL+C does not end: the prompt would be gone for ten seconds.
#[test]
fn ctrl_c_ends_a_wait() {
    let debuggee = Debuggee::new(Root::default());
    let mut terminal = over(&debuggee);
    terminal.expect("(running) HyperDbg> ").unwrap();
    debuggee.order(Do::Mute);
    terminal.send("exits\n").unwrap();
    until("the request is under way", || debuggee.heard() == 2);
    terminal.send(ControlCode::EndOfText).unwrap();
    terminal.expect("err, given up waiting").unwrap();
    terminal.expect("(running) HyperDbg> ").unwrap();
}

/// Would catch news that tear the line being typed, or a prompt that stays what it was.
#[test]
fn news_come_above_the_line_and_what_was_typed_stays() {
    let debuggee = Debuggee::new(Root { halted: true, ..Root::default() });
    let mut terminal = over(&debuggee);
    terminal.expect("0: kHyperDbg> ").unwrap();
    terminal.send("prealloc monitor 7").unwrap();
    terminal.expect("monitor 7").unwrap();
    debuggee.order(Do::Reboot);
    terminal.expect("the debuggee is rebooting; waiting for it").unwrap();
    terminal.expect("the debuggee is back: model, 2 cores, running").unwrap();
    terminal.expect(Regex(r"\(running\) HyperDbg> prealloc monitor 7")).unwrap();
    terminal.send("\n").unwrap();
    terminal.expect("the requested pools are allocated and reserved").unwrap();
    assert_eq!(debuggee.root().rows[0].kept, 7);
}

/// Would catch a script that ends with its first row, or braces in a string that keep a line open.
#[test]
fn a_script_goes_on_until_its_braces_close() {
    let debuggee = Debuggee::new(Root { halted: true, ..Root::default() });
    let mut terminal = over(&debuggee);
    terminal.expect("0: kHyperDbg> ").unwrap();
    terminal.send("!cpuid 1 script {\n").unwrap();
    terminal.send("if (@rax == 1) { printf(\"{\"); }\n").unwrap();
    terminal.send("}\n").unwrap();
    terminal.expect("event 0 registered: regular-event").unwrap();
    terminal.send("events\n").unwrap();
    terminal.expect("!cpuid 1 script { if (@rax == 1) { printf(\"{\"); } }").unwrap();
}

/// Would catch messages that wait for the next command, that tear the line being typed, or a halt that is shown before them.
#[test]
fn what_events_say_comes_above_the_line_that_is_typed() {
    let debuggee = Debuggee::new(Root::default());
    let mut terminal = over(&debuggee);
    terminal.expect("(running) HyperDbg> ").unwrap();
    terminal.send("!cpuid script { x = 1; }\n").unwrap();
    terminal.expect("event 0 registered").unwrap();
    terminal.send("!tsc\n").unwrap();
    terminal.expect("event 1 registered").unwrap();
    terminal.expect("(running) HyperDbg> ").unwrap();
    terminal.send("prealloc monitor 7").unwrap();
    terminal.expect("monitor 7").unwrap();
    debuggee.root().fire(0, "one\ntwo\n");
    terminal.expect("event 0, core 0: one\r\n").unwrap();
    terminal.expect("event 0, core 0: two\r\n").unwrap();
    terminal.expect(Regex(r"\(running\) HyperDbg> prealloc monitor 7")).unwrap();
    debuggee.root().fire(1, "before\n");
    terminal.expect("event 1, core 0: before").unwrap();
    terminal.expect("halted on core 0: event 1 (pre)").unwrap();
    terminal.expect(Regex(r"0: kHyperDbg> prealloc monitor 7")).unwrap();
    terminal.send("\n").unwrap();
    terminal.expect("the requested pools are allocated and reserved").unwrap();
    assert_eq!(debuggee.root().rows[0].kept, 7);
}

/// Would catch an unknown command that ends the sitting, or a history that is not kept, or kept for everybody to read.
#[test]
fn a_slip_is_explained_and_the_history_is_kept() {
    let state = scratch("state");
    let mut terminal = on_terminal(&[], &state);
    terminal.expect("VMI mode on this machine (/dev/hyperdbg)").unwrap();
    terminal.expect("HyperDbg> ").unwrap();
    terminal.send("prealocc monitor 1\n").unwrap();
    terminal.expect("err, there is no command 'prealocc'").unwrap();
    terminal.expect("try: prealloc monitor 1").unwrap();
    terminal.send("exit\n").unwrap();
    terminal.expect(Eof).unwrap();
    let history = state.join("hyperdbg/history");
    assert!(fs::read_to_string(&history).unwrap().contains("prealocc monitor 1"));
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&history).unwrap()) & 0o777, 0o600);
    let mut terminal = on_terminal(&[], &state);
    terminal.expect("HyperDbg> ").unwrap();
    terminal.send("\x1b[A\x1b[A").unwrap();
    terminal.expect("prealocc monitor 1").unwrap();
    fs::remove_dir_all(state).unwrap();
}

/// Would catch a list that a terminal cuts in the middle of a word, or one that is broken where there is room.
#[test]
fn lists_fit_the_terminal() {
    let debuggee = Debuggee::new(Root { halted: true, ..Root::default() });
    let mut terminal = over(&debuggee);
    terminal.expect("0: kHyperDbg> ").unwrap();
    terminal.get_process_mut().set_window_size(60, 40).unwrap();
    terminal.send("prealloc monitr 1\n").unwrap();
    terminal.expect("types: monitor, thread-interception, epthook, epthook2,\r\n").unwrap();
    terminal.expect("try: prealloc monitor 1").unwrap();
    terminal.expect("0: kHyperDbg> ").unwrap();
    terminal.get_process_mut().set_window_size(200, 40).unwrap();
    terminal.send("prealloc monitr 1\n").unwrap();
    terminal.expect("regular-safe-buffer, big-safe-buffer, breakpoint\r\n").unwrap();
}

/// Would catch a watch that no key ends, one that leaves the keyboard mute behind it, or a key that is taken for the next line.
#[test]
fn a_watch_is_drawn_in_place_and_ended_by_a_key_or_ctrl_c() {
    let debuggee = Debuggee::new(Root { halted: true, ..Root::default() });
    let mut terminal = over(&debuggee);
    terminal.expect("0: kHyperDbg> ").unwrap();
    terminal.get_process_mut().set_window_size(100, 40).unwrap();
    terminal.send("prealloc --watch\n").unwrap();
    terminal.expect("the debuggee is halted, so nothing changes by itself; any key ends this").unwrap();
    debuggee.root().rows[4].refused = 0x1234;
    // Up by what it had drawn: head, nine types, a blank line, pages and the last line.
    terminal.expect("\x1b[13A").unwrap();
    terminal.expect("0x1234").unwrap();
    terminal.send("q").unwrap();
    terminal.expect("0: kHyperDbg> ").unwrap();
    terminal.send("? 2 + 3\n").unwrap();
    terminal.expect("? 2 + 3").unwrap();
    terminal.expect("5").unwrap();
    terminal.expect("0: kHyperDbg> ").unwrap();
    terminal.send("prealloc watch\n").unwrap();
    terminal.expect("any key ends this").unwrap();
    terminal.send(ControlCode::EndOfText).unwrap();
    terminal.expect("0: kHyperDbg> ").unwrap();
    assert!(debuggee.root().halted);
}

/// Would catch a frozen machine that is left behind by `kill`, or a prompt that a signal does not reach.
#[test]
fn a_signal_ends_an_open_prompt_and_the_debuggee_runs_on() {
    let debuggee = Debuggee::new(Root { halted: true, ..Root::default() });
    let mut terminal = over(&debuggee);
    terminal.expect("0: kHyperDbg> ").unwrap();
    terminal.send("prealloc mon").unwrap();
    terminal.expect("prealloc mon").unwrap();
    let program = Pid::from_raw(terminal.get_process().pid().as_raw()).unwrap();
    kill_process(program, Signal::TERM).unwrap();
    terminal.expect("the debuggee is continued").unwrap();
    terminal.expect(Eof).unwrap();
    assert!(!debuggee.root().halted);
}
