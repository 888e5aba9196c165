//! The program without a terminal and without a hypervisor: what is printed, and what it ends with.

mod common;

use common::{Debuggee, hyperdbg, printed, scratch, until};
use debugger::target::fake::Root;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

/// Would catch an end that a script cannot tell from another.
#[test]
fn the_program_ends_with_a_number_that_says_why() {
    let code = |arguments: &[&str]| hyperdbg().args(arguments).output().unwrap().status.code();
    assert_eq!(code(&["-x", "? 1"]), Some(0));
    assert_eq!(code(&["-x", "exit", "-x", "nonsense"]), Some(0));
    assert_eq!(code(&["-x", "? zz"]), Some(1));
    assert_eq!(code(&["--nonsense"]), Some(2));
    assert_eq!(code(&["--pause", "-x", "r"]), Some(2), "there is nobody to halt");
    assert_eq!(code(&["--remote", "unix:/nowhere.sock", "--wait", "0", "-x", "r"]), Some(3));
    let absent = if fs::exists("/dev/hyperdbg").unwrap_or(true) { None } else { Some(3) };
    assert!(absent.is_none() || code(&["-x", "prealloc monitor 1"]) == absent);
}

/// Would catch a doctor whose verdict a shell cannot read, or who says one thing to people and another to programs.
#[test]
fn the_doctor_ends_with_its_verdict_on_this_machine() {
    let run = |arguments: &[&str]| hyperdbg().args(arguments).output().unwrap();
    let (people, programs, typed) = (run(&["doctor"]), run(&["doctor", "--json"]), run(&["-x", "doctor", "-x", "? 1"]));
    let answer: Value = serde_json::from_slice(&programs.stdout).unwrap();
    let refused = answer["result"]["verdict"] == "refused";
    for output in [&people, &programs, &typed] {
        assert_eq!(output.status.code(), Some(i32::from(refused)), "{answer:#}");
    }
    assert_eq!(printed(&people).join(" ").contains("`load` will not work here"), refused);
    assert_eq!(printed(&typed).last().is_some_and(|line| line == "1"), !refused, "what follows a refusal is not run");
    assert!(answer["result"]["facts"].as_array().unwrap().iter().any(|fact| fact["about"] == "processor"));
}

/// Would catch a machine without binutils on which `asm` fails without a word of what is missing.
#[test]
fn without_an_assembler_asm_says_how_to_get_one() {
    let output = hyperdbg().env("PATH", "/nowhere").args(["-x", "!cpuid asm code { nop }"]).output().unwrap();
    let printed = printed(&output);
    assert_eq!((output.status.code(), printed[0].as_str()), (Some(1), "err, there is no assembler here: as, of binutils"));
    assert!(printed.contains(&"     apt install binutils".to_owned()), "{printed:#?}");
}

/// Would catch a script that goes on after a failure, or that does not say where it stopped.
#[test]
fn the_first_failure_ends_a_script_and_is_located() {
    let path = scratch("kd");
    fs::write(&path, "# a comment\n? 1\n\n? 1/0\n? 2\n").unwrap();
    let output = hyperdbg().arg("--script").arg(&path).output().unwrap();
    let printed = printed(&output);
    assert_eq!((output.status.code(), printed[0].as_str()), (Some(1), "1"));
    assert_eq!(printed.last().unwrap(), &format!("err, stopped at line 4 of '{}'", path.display()));
    assert!(!printed.iter().any(|line| line == "2"));
    fs::remove_file(path).unwrap();
}

/// Would catch a script that includes itself for ever.
#[test]
fn a_script_that_calls_itself_ends() {
    let path = scratch("kd");
    fs::write(&path, format!(".script {}\n", path.display())).unwrap();
    let output = hyperdbg().arg("--script").arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(printed(&output)[0], "err, scripts call each other more than 8 deep");
    fs::remove_file(path).unwrap();
}

/// Would catch a prompt or a colour in what another program reads.
#[test]
fn standard_input_is_a_script_and_shows_no_prompt() {
    let mut child = hyperdbg().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"? 2 + 3\n? nonsense(\n? 4\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let printed = printed(&output);
    assert_eq!((printed[0].as_str(), printed[1].starts_with("err, ")), ("5", true), "{printed:#?}");
    assert!(!output.stdout.contains(&0x1b));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "hyperdbg: stopped at line 2\n");
}

/// Would catch a script on standard input that is cut at the end of a row, or messages that nobody sees because the program
/// ends.
#[test]
fn a_script_on_standard_input_may_have_several_rows() {
    let debuggee = Debuggee::new(Root { halted: true, ..Root::default() });
    let mut command = hyperdbg();
    command.arg("--remote").arg(&debuggee.path).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = b"!cpuid script {\n  x = 1;\n}\n? for (i = 0; i < 2; i++) {\n  printf(\"%d\\n\", i);\n}\n? 1 +\n";
    child.stdin.take().unwrap().write_all(lines).unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = printed(&output);
    assert!(printed[0].starts_with("event 0 registered"), "{printed:#?}");
    assert_eq!(printed[1..3], ["0", "1"]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "hyperdbg: stopped at line 7\n");
}

/// Would catch text between the objects, or two objects for one command.
#[test]
fn json_is_one_object_a_line() {
    let debuggee = Debuggee::new(Root { bank_free: 1, ..Root::default() });
    let mut command = hyperdbg();
    command.arg("--json").arg("--remote").arg(&debuggee.path);
    let output = command
        .args(["-x", "pause", "-x", "prealloc monitor 10", "-x", "prealloc", "-x", "prealloc monitor 0"])
        .output()
        .unwrap();
    let lines: Vec<Value> = printed(&output).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5, "four commands and the word that it is continued: {lines:#?}");
    assert_eq!((&lines[1]["ok"], &lines[1]["result"]["asked"]), (&Value::from(true), &Value::from(16)));
    assert_eq!(lines[1]["notes"].as_array().unwrap().len(), 2);
    assert_eq!(lines[2]["result"]["types"][0]["kept"], 16);
    assert_eq!((&lines[3]["error"]["code"], &lines[3]["error"]["try"]), (&"c0001010".into(), &"prealloc monitor 1".into()));
    assert_eq!(lines[4]["notice"], "continued");
    let output = hyperdbg().arg("--json").arg("--remote").arg(&debuggee.path).args(["--pause", "-x", "g"]).output().unwrap();
    let lines: Vec<Value> = printed(&output).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["command"], &lines[0]["typed"]), (&"pause".into(), &Value::from(false)), "nobody typed it");
    assert_eq!(lines[1].get("typed"), None);
}

/// Would catch a reader that closes early and gets a panic for it.
#[test]
fn a_closed_pipe_is_no_panic() {
    let mut child =
        hyperdbg().args(["-x", ".help", "-x", ".help"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}

/// Would catch a watch that CTRL+C does not end in a pipe, or that ends what comes after it.
#[test]
fn a_watch_in_a_pipe_prints_what_changed_until_ctrl_c() {
    let debuggee = Debuggee::new(Root::default());
    let mut command = hyperdbg();
    command.arg("--json").arg("--remote").arg(&debuggee.path).args(["-x", "prealloc --watch", "-x", "? 1"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let first = next();
    assert_eq!((&first["more"], &first["result"]["types"][8]["refused"]), (&true.into(), &0.into()));
    debuggee.root().rows[8].refused = 5;
    let second = next();
    assert_eq!((&second["more"], &second["result"]["types"][8]["refused"]), (&true.into(), &5.into()));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let last = next();
    assert_eq!((last.get("more"), &last["result"]), (None, &second["result"]));
    assert_eq!(next()["command"], "? 1");
    assert!(child.wait().unwrap().success());
}

/// Would catch a machine that stays frozen because somebody ended the prompt, or a prompt that does not end.
#[test]
fn a_signal_ends_the_program_and_the_debuggee_runs_on() {
    // While it waits, and while nothing comes to be read.
    for arguments in [&["-x", "pause", "-x", "sleep ffffffff", "-x", "prealloc monitor 1"][..], &["--pause"]] {
        for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
            let debuggee = Debuggee::new(Root::default());
            let mut command = hyperdbg();
            command.arg("--remote").arg(&debuggee.path).args(arguments);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let open = child.stdin.take();
            until("the debuggee is halted", || debuggee.root().halted);
            kill_process(Pid::from_child(&child), signal).unwrap();
            let output = child.wait_with_output().unwrap();
            drop(open);
            assert_eq!(output.status.code(), Some(code), "{arguments:?}");
            assert!(!debuggee.root().halted);
            assert_eq!(debuggee.root().rows[0].kept, 0);
            assert!(printed(&output).last().unwrap().starts_with("the debuggee is continued"));
        }
    }
}
