//! Commands without a terminal: each line in turn until the first that fails.

use debugger::line::Rows;
use debugger::session::{Session, Verdict};
use debugger::target::Cancel;
use std::io::{self, BufRead};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

/// How long standard input is waited for before the end of the program is looked at.
const TICK: Duration = Duration::from_millis(50);

/// Runs the commands, then the script; without either, standard input. With `pause` the debuggee is halted first.
pub fn run(session: &mut Session, cancel: &Cancel, pause: bool, commands: &[String], script: Option<&str>) -> Verdict {
    if pause {
        let verdict = session.run_untyped("pause");
        if verdict != Verdict::Done {
            return verdict;
        }
    }
    for (number, command) in (1..).zip(commands) {
        match session.run(command) {
            Verdict::Done => {}
            failed @ (Verdict::Failed | Verdict::Unreachable) => {
                eprintln!("hyperdbg: stopped at -x {number}: {command}");
                return failed;
            }
            Verdict::Exit => return Verdict::Exit,
        }
    }
    match script {
        // The command says itself at which line it stopped.
        Some(path) => session.run_untyped(&format!(".script \"{path}\"")),
        None if commands.is_empty() => lines(session, cancel),
        None => Verdict::Done,
    }
}

/// A thread of its own reads: nothing else would end a read that waits for a line which never comes.
fn lines(session: &mut Session, cancel: &Cancel) -> Verdict {
    let (read, lines) = sync_channel(0);
    thread::spawn(move || io::stdin().lock().lines().try_for_each(|line| read.send(line)));
    // What braces hold together may come in several.
    let (mut number, mut rows) = (0, Rows::default());
    loop {
        number += 1;
        let line = loop {
            match lines.recv_timeout(TICK) {
                Err(RecvTimeoutError::Timeout) if !cancel.is_ended() => {}
                line => break line,
            }
        };
        let whole = match line {
            Ok(Ok(row)) => match rows.push(&row) {
                Some(line) => Ok(line),
                None => continue,
            },
            Ok(Err(why)) => Err(why),
            Err(_) => match rows.end() {
                Some(line) => Ok(line),
                None => break,
            },
        };
        let verdict = match whole {
            Ok(line) => session.run(&line),
            Err(why) => {
                eprintln!("hyperdbg: standard input cannot be read: {why}");
                Verdict::Failed
            }
        };
        match verdict {
            Verdict::Done => {}
            failed @ (Verdict::Failed | Verdict::Unreachable) => {
                eprintln!("hyperdbg: stopped at line {number}");
                return failed;
            }
            Verdict::Exit => return Verdict::Exit,
        }
    }
    Verdict::Done
}
