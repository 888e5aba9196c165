//! `hyperdbg gdbserver` as a program: where it listens, whom it serves, and what it leaves behind.

mod common;

use common::{Debuggee, hyperdbg, scratch, until};
use debugger::target::fake::Root;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStderr, Stdio};

/// A server that says where gdb may connect.
struct Server {
    child: Child,
    said: BufReader<ChildStderr>,
    place: String,
}

impl Server {
    fn new(debuggee: &Debuggee, place: &str) -> Self {
        let mut command = hyperdbg();
        let mut child =
            command.arg("--remote").arg(&debuggee.path).args(["gdbserver", place]).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let place = line_with(&mut said, "target remote ");
        let (_, place) = place.split_once("target remote ").unwrap();
        let place = place.split(';').next().unwrap().to_owned();
        Self { child, said, place }
    }

    fn says(&mut self, text: &str) -> String {
        line_with(&mut self.said, text)
    }

    /// Has it end, and waits; its code.
    fn ended(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

/// The next line that has this in it.
fn line_with(said: &mut impl BufRead, text: &str) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended before it said {text:?}");
        if line.contains(text) {
            return line.trim_end().to_owned();
        }
    }
}

/// Asks why the machine is halted, as gdb does first.
fn greeted(mut line: impl Read + Write) {
    line.write_all(b"$?#3f").unwrap();
    let mut answer = [0; 5];
    line.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+$T05");
}

/// Would catch a port that other machines reach, a server that serves once, and a machine that stays halted behind a gdb that is gone.
#[test]
fn one_gdb_after_the_other_is_served_on_this_machine() {
    let debuggee = Debuggee::new(Root::default());
    let mut server = Server::new(&debuggee, ":0");
    assert!(server.place.starts_with("127.0.0.1:"), "{}", server.place);
    for _ in 0..2 {
        let line = TcpStream::connect(&server.place).unwrap();
        greeted(&line);
        assert!(debuggee.root().halted);
        drop(line);
        server.says("gdb is gone; the debuggee runs");
        assert!(!debuggee.root().halted);
    }
    assert_eq!(server.ended(Signal::INT), Some(0));
}

/// Would catch a server that is ended and leaves a frozen machine, a socket that stays, or one that other users can open.
#[test]
fn a_server_that_is_ended_lets_go_first() {
    let debuggee = Debuggee::new(Root::default());
    for (signal, code) in [(Signal::INT, 0), (Signal::TERM, 128 + 15)] {
        let path = scratch("gdb");
        let server = Server::new(&debuggee, &format!("unix:{}", path.display()));
        assert_eq!(server.place, path.display().to_string());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let line = UnixStream::connect(&path).unwrap();
        greeted(&line);
        assert!(debuggee.root().halted);
        assert_eq!(server.ended(signal), Some(code));
        assert!(!debuggee.root().halted && !path.exists());
    }
}

/// Would catch a server behind gdb's pipe that outlives it, or that writes to it what is no packet.
#[test]
fn a_pipe_is_served_until_it_ends() {
    let debuggee = Debuggee::new(Root::default());
    let mut command = hyperdbg();
    command.arg("--remote").arg(&debuggee.path).args(["gdbserver", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut to, mut from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    to.write_all(b"$?#3f").unwrap();
    let mut answer = [0; 5];
    from.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+$T05");
    assert!(debuggee.root().halted);
    drop(to);
    assert!(child.wait().unwrap().success());
    assert!(!debuggee.root().halted);
}

/// Would catch a debuggee that is open to a network because somebody typed another address, and a server of nothing.
#[test]
fn what_cannot_be_meant_is_refused() {
    let debuggee = Debuggee::new(Root::default());
    let run = |words: &[&str]| {
        // What is kept of the model's kernel is not for other tests.
        let cache = scratch("cache");
        let mut command = hyperdbg();
        command.env("XDG_CACHE_HOME", &cache).arg("--remote").arg(&debuggee.path).args(words);
        let output = command.output().unwrap();
        let _ = std::fs::remove_dir_all(cache);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&["gdbserver", "0.0.0.0:0"]);
    assert!(code == Some(1) && said.contains("--exposed"), "{said}");
    let (code, said) = run(&["gdbserver", ":0", "--symbols", "/nowhere/names"]);
    assert!(code == Some(1) && said.contains("err, "), "{said}");
    until("nobody halted it", || !debuggee.root().halted);
    let nobody = scratch("nobody");
    let output = hyperdbg().arg("--remote").arg(nobody).args(["--wait", "0", "gdbserver", ":0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(!output.stderr.is_empty(), "and says why");
}
