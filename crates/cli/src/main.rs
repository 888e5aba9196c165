//! The program `hyperdbg`: a terminal around a [`debugger::session::Session`].
//!
//! **Ends with** 0 if every command was done, 1 if one was not, 2 if it was called wrongly, 3 if the target cannot be
//! reached. Commands given by `-x`, by `--script` or on a standard input that is no terminal end at the first failure.

mod arguments;
mod batch;
mod interactive;
mod terminal;

use arguments::Arguments;
use clap::Parser;
use debugger::news::Inbox;
use debugger::session::{Session, Verdict};
use debugger::target::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT};
use signal_hook::flag;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let interactive = arguments.commands.is_empty() && arguments.script.is_none() && io::stdin().is_terminal();
    let look = terminal::look(arguments.json);
    let (inbox, cancel) = (Arc::new(Inbox::default()), Cancel::default());
    if let Err(why) = catch_signals(&cancel, interactive) {
        eprintln!("hyperdbg: CTRL+C cannot be caught: {why}");
    }
    let mut session = Session::new(Box::new(terminal::Terminal), look, Arc::clone(&inbox), cancel);
    let connected = match arguments.remote {
        Some(address) => {
            if interactive {
                eprintln!("hyperdbg: waiting for a debuggee at {address}; CTRL+C ends that");
            }
            session.connect_at_start(address, arguments.wait)
        }
        None => Verdict::Done,
    };
    let pause = arguments.pause && connected == Verdict::Done;
    let verdict = if interactive {
        interactive::run(&mut session, &inbox, look, pause)
    } else if connected == Verdict::Done {
        batch::run(&mut session, pause, &arguments.commands, arguments.script.as_deref())
    } else {
        connected
    };
    session.leave();
    match verdict {
        Verdict::Done | Verdict::Exit => ExitCode::SUCCESS,
        Verdict::Failed => ExitCode::from(1),
        Verdict::Unreachable => ExitCode::from(3),
    }
}

/// CTRL+C ends a wait, and so does a terminal that is closed, so that a halted debuggee is continued before the end. A
/// second CTRL+C ends a program that reads its commands from elsewhere: the first may have found no wait to end.
fn catch_signals(cancel: &Cancel, interactive: bool) -> io::Result<()> {
    if !interactive {
        flag::register_conditional_shutdown(SIGINT, 128 + SIGINT, cancel.flag())?;
    }
    flag::register(SIGINT, cancel.flag())?;
    flag::register(SIGHUP, cancel.flag())?;
    Ok(())
}
