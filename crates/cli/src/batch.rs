//! Commands without a terminal: each line in turn until the first that fails.

use debugger::session::{Session, Verdict};
use std::io::{self, BufRead};

/// Runs the commands, then the script; without either, standard input. With `pause` the debuggee is halted first.
pub fn run(session: &mut Session, pause: bool, commands: &[String], script: Option<&str>) -> Verdict {
    if pause {
        let verdict = session.run("pause");
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
        Some(path) => session.run(&format!(".script \"{path}\"")),
        None if commands.is_empty() => lines(session),
        None => Verdict::Done,
    }
}

fn lines(session: &mut Session) -> Verdict {
    for (number, line) in (1..).zip(io::stdin().lock().lines()) {
        let verdict = match &line {
            Ok(line) => session.run(line),
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
