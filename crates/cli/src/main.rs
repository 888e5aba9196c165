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
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let interactive = arguments.commands.is_empty() && arguments.script.is_none() && io::stdin().is_terminal();
    let look = terminal::look(arguments.json);
    let (inbox, cancel) = (Arc::new(Inbox::default()), Cancel::default());
    if let Err(why) = signal_hook::flag::register(signal_hook::consts::SIGINT, cancel.flag()) {
        eprintln!("hyperdbg: CTRL+C cannot be caught: {why}");
    }
    let mut session = Session::new(Box::new(terminal::Terminal), look, Arc::clone(&inbox), cancel);
    let mut verdict = match arguments.remote {
        Some(address) => session.connect_at_start(address, arguments.wait),
        None => Verdict::Done,
    };
    if verdict == Verdict::Done && arguments.pause {
        verdict = session.run("pause");
    }
    if interactive {
        verdict = interactive::run(&mut session, &inbox, look);
    } else if verdict == Verdict::Done {
        verdict = batch::run(&mut session, &arguments.commands, arguments.script.as_deref());
    }
    session.leave();
    match verdict {
        Verdict::Done | Verdict::Exit => ExitCode::SUCCESS,
        Verdict::Failed => ExitCode::from(1),
        Verdict::Unreachable => ExitCode::from(3),
    }
}
