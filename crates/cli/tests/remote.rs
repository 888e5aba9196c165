//! Debugger mode from end to end without an emulator: the program, a socket, the link's own server and the model of root.

mod common;

use common::{Debuggee, Do, Stream, hyperdbg, printed, run_over, scratch, until};
use debugger::target::fake::Root;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Stdio};

const DONE: &str = "the requested pools are allocated and reserved";

/// A program that reads lines from a pipe, so that a test can act between them.
struct Piped {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Piped {
    fn new(debuggee: &Debuggee) -> Self {
        let mut command = hyperdbg();
        command.arg("--remote").arg(&debuggee.path).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn typed(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Reads until a line has this in it. A program that ends instead ends the reading.
    fn reads(&mut self, part: &str) -> String {
        let mut seen = Vec::new();
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            if line.contains(part) {
                return line;
            }
            seen.push(line);
        }
        panic!("`{part}` was not printed: {seen:#?}");
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Would catch a request that reaches root differently over the link than it was typed.
#[test]
fn prealloc_reserves_over_the_link_while_halted() {
    let debuggee = Debuggee::new(Root::default());
    let output = run_over(&debuggee.path, &["pause", "prealloc regular-event 10", "PREALLOCATE !Monitor 0n16", "g"]);
    let printed = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{printed:#?}");
    assert_eq!(printed[0], "halted on core 0: pause, pid 1c8 tid 1c8 cat, cpl 0");
    assert_eq!(printed[2..4], [DONE, DONE]);
    let root = debuggee.root();
    assert_eq!((root.rows[4].kept, root.rows[0].kept, root.halted), (0x10, 0x10, false));
}

/// Would catch a request that is done twice, or an answer that is taken for another's, when frames are lost.
#[test]
fn every_command_is_done_once_on_a_line_that_spoils_one_frame_in_ten() {
    let debuggee = Debuggee::new(Root { bank_free: 0x1000, ..Root::default() });
    debuggee.order(Do::Lose(10));
    let mut lines = vec!["pause"];
    lines.extend(["prealloc regular-safe-buffer 1", "~ 1", "r rip", "prealloc monitor 2", "~ 0"].repeat(6));
    let output = run_over(&debuggee.path, &lines);
    let printed = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{printed:#?}");
    assert_eq!(printed.iter().filter(|line| *line == DONE).count(), 12);
    assert_eq!(printed.iter().filter(|line| line.starts_with("rip=ffffffff81000000")).count(), 6);
    assert!(debuggee.spoilt() > 0, "nothing was lost, so nothing was shown");
    let root = debuggee.root();
    assert_eq!((root.rows[6].kept, root.rows[0].kept), (6, 12));
}

/// Would catch a fetch whose end is missed, or that is not announced before the context is lost.
#[test]
fn a_short_bank_is_filled_by_letting_the_debuggee_run() {
    let debuggee = Debuggee::new(Root { bank_free: 1, ..Root::default() });
    let output = run_over(&debuggee.path, &["pause", "prealloc monitor 10", "exit halted"]);
    let printed = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{printed:#?}");
    let (before, after) = (&printed[2], &printed[3]);
    assert_eq!(before, "the bank is short by 0x2f pages: the debuggee is continued to fetch them, so this context will change");
    assert_eq!(after, "halted again on core 1: the pages are there; events missed meanwhile: 0x0");
    assert_eq!(printed[4], DONE);
    assert!(debuggee.root().halted, "`exit halted` leaves it so");
}

/// Would catch a debuggee that is left halted by a command typed while it ran.
#[test]
fn a_short_bank_of_a_running_debuggee_leaves_it_running() {
    let debuggee = Debuggee::new(Root { bank_free: 1, ..Root::default() });
    let output = run_over(&debuggee.path, &["prealloc monitor 10"]);
    let printed = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{printed:#?}");
    let before = "the bank is short by 0x2f pages: the debuggee is paused and continued to fetch them";
    assert_eq!(
        printed,
        [
            before,
            "halted again on core 1: the pages are there; events missed meanwhile: 0x0",
            "the debuggee is running again",
            DONE
        ]
    );
    assert!(!debuggee.root().halted);
}

/// Would catch a false success when Linux has nothing to give.
#[test]
fn a_linux_without_memory_is_told_apart_and_nothing_is_reserved() {
    let debuggee = Debuggee::new(Root { bank_free: 1, linux_gives: Some(0), ..Root::default() });
    let output = run_over(&debuggee.path, &["pause", "prealloc monitor 10"]);
    let printed = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{printed:#?}");
    assert!(printed.iter().any(|line| line.starts_with("halted again on core 1: linux could not give them")), "{printed:#?}");
    assert!(printed.iter().any(|line| line.starts_with("err, linux could not give")), "{printed:#?}");
    assert!(!printed.iter().any(|line| line == DONE));
    assert_eq!(debuggee.root().rows[0].kept, 0);
}

/// Would catch a program that leaves a frozen machine behind.
#[test]
fn a_halted_debuggee_is_continued_at_the_end() {
    let debuggee = Debuggee::new(Root::default());
    let output = run_over(&debuggee.path, &["pause"]);
    assert!(printed(&output).last().unwrap().starts_with("the debuggee is continued"));
    assert!(!debuggee.root().halted);
}

/// Would catch a prompt that holds on to the load that is gone.
#[test]
fn a_debuggee_that_reboots_is_waited_for_and_found_again() {
    let debuggee = Debuggee::new(Root::default());
    let mut prompt = Piped::new(&debuggee);
    prompt.typed("prealloc monitor 2");
    prompt.reads(DONE);
    debuggee.order(Do::Reboot);
    prompt.typed("sleep bb8");
    assert_eq!(prompt.reads("rebooting"), "the debuggee is rebooting; waiting for it");
    prompt.reads("the debuggee is back: model, 2 cores, running");
    prompt.typed("prealloc monitor 1");
    prompt.reads(DONE);
    assert_eq!(debuggee.root().rows[0].kept, 1, "it is another load");
}

/// Would catch a cut line that is not opened again, or told more than once.
#[test]
fn a_cut_line_is_opened_again_by_itself() {
    let debuggee = Debuggee::new(Root::default());
    let mut prompt = Piped::new(&debuggee);
    prompt.typed("pause");
    prompt.reads("halted on core 0");
    debuggee.order(Do::Cut);
    prompt.typed("sleep 7530");
    prompt.reads("the line to the debuggee is cut");
    prompt.reads("the line is back: model, 2 cores, halted");
}

/// Would catch a reboot that nobody announced and nobody notices.
#[test]
fn a_reboot_behind_a_cut_line_is_told() {
    let debuggee = Debuggee::new(Root::default());
    let mut prompt = Piped::new(&debuggee);
    prompt.typed("pause");
    prompt.reads("halted on core 0");
    debuggee.order(Do::RebootUnheard);
    prompt.typed("sleep 7530");
    prompt.reads("the debuggee was started again meanwhile");
}

/// Would catch last words that are cut, or shown only when something is typed much later.
#[test]
fn last_words_are_shown_in_full() {
    let debuggee = Debuggee::new(Root::default());
    let mut prompt = Piped::new(&debuggee);
    prompt.typed("pause");
    prompt.reads("halted on core 0");
    debuggee.order(Do::LastWords("vector 0xe at 0xffff87ff80001234\nlast exits: cpuid msr"));
    prompt.typed("sleep 7530");
    prompt.reads("root's last words:");
    assert_eq!(prompt.reads("vector"), "  | vector 0xe at 0xffff87ff80001234");
    assert_eq!(prompt.reads("exits"), "  | last exits: cpuid msr");
}

/// Would catch a number that the other side has and nobody tells.
#[test]
fn another_protocol_is_refused_with_both_numbers() {
    let debuggee = Debuggee::new(Root { protocol: 99, ..Root::default() });
    let output = run_over(&debuggee.path, &["r"]);
    let ours = format!("err, the debuggee speaks protocol 99, this prompt {}; use both from one build", abi::PROTOCOL);
    assert_eq!((output.status.code(), printed(&output)), (Some(1), vec![ours]));
}

/// Would catch a wait without an end for somebody who never answers.
#[test]
fn a_debuggee_that_never_answers_is_out_of_reach() {
    let debuggee = Debuggee::new(Root::default());
    debuggee.order(Do::Mute);
    let output = hyperdbg().arg("--remote").arg(&debuggee.path).args(["--wait", "1", "-x", "r"]).output().unwrap();
    let printed = printed(&output);
    assert_eq!(output.status.code(), Some(3), "{printed:#?}");
    assert!(printed[0].ends_with("is open, but no debuggee answers on it"), "{printed:#?}");
}

/// Would catch a socket that stays taken, so that the next prompt finds nobody.
#[test]
fn the_line_is_free_again_after_a_prompt_that_was_killed() {
    let debuggee = Debuggee::new(Root::default());
    let mut prompt = Piped::new(&debuggee);
    prompt.typed("pause");
    prompt.reads("halted on core 0");
    prompt.child.kill().unwrap();
    prompt.child.wait().unwrap();
    until("the debuggee is still halted", || debuggee.root().halted);
    let output = run_over(&debuggee.path, &["g", ".status"]);
    let printed = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{printed:#?}");
    assert_eq!(printed[0], "debuggee is running; press CTRL+C (or type pause) to stop it");
}

/// Would catch a command that unloads and does not wait for Linux to say so.
#[test]
fn unload_over_the_link_ends_with_the_goodbye() {
    let debuggee = Debuggee::new(Root::default());
    let output = run_over(&debuggee.path, &["unload"]);
    assert_eq!((output.status.code(), printed(&output)), (Some(0), vec!["the hypervisor is unloaded".to_owned()]));
}

/// Would catch a host and port that are not reached, or not reached again.
#[test]
fn a_debuggee_is_reached_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("tcp:{}", listener.local_addr().unwrap());
    let accept = move || {
        let (stream, _) = listener.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(Box::new(stream) as Box<dyn Stream>)
    };
    let debuggee = Debuggee::over(Root::default(), scratch("unused"), Box::new(accept));
    for _ in 0..2 {
        let output = run_over(&address, &["pause", "prealloc monitor 1"]);
        assert_eq!((output.status.code(), printed(&output)[2].as_str()), (Some(0), DONE));
    }
    assert_eq!(debuggee.root().rows[0].kept, 2);
}

/// Would catch a serial device that is not set raw: a terminal changes and echoes what passes.
#[test]
fn a_debuggee_is_reached_over_a_serial_device() {
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&near).unwrap();
    let far = ptsname(&near, Vec::new()).unwrap().into_string().unwrap();
    // Held open, as by a device that is there whether anybody uses it or not.
    let _device = fs::File::open(&far).unwrap();
    fcntl_setfl(&near, OFlags::RDWR | OFlags::NONBLOCK).unwrap();
    let mut line = Some(fs::File::from(near));
    let accept = move || line.take().map(|line| Box::new(line) as Box<dyn Stream>);
    let debuggee = Debuggee::over(Root::default(), scratch("unused"), Box::new(accept));
    let mut lines = vec!["pause"];
    lines.extend(["prealloc regular-event 0n13", "r"].repeat(10));
    let output = run_over(format!("{far},9600"), &lines);
    let printed = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{printed:#?}");
    assert_eq!(debuggee.root().rows[4].kept, 130);
}
