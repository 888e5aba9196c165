//! The program `hyperdbg`: a terminal around a [`debugger::session::Session`].
//!
//! **Ends with** 0 if every command was done, 1 if one was not or `doctor` found that the hypervisor cannot be loaded, 2 if it was called wrongly, 3 if the target cannot be
//! reached; 128 and its number if it was ended by a signal, after a halted debuggee was continued. Commands given by `-x`, by `--script` or on a standard input that is no terminal end at the first failure.

mod arguments;
mod batch;
mod folders;
mod gdbserver;
mod interactive;
mod signals;
mod terminal;

use arguments::{Arguments, Instead};
use debugger::gdb::Page;
use debugger::news::Inbox;
use debugger::session::{Console, Look, Session, Verdict};
use debugger::target::Cancel;
use signals::Ending;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    if let Some(code) = debugger::start::becomes_another() {
        return code;
    }
    let arguments = Arguments::of_process();
    let alone = arguments.commands.is_empty() && arguments.script.is_none() && arguments.instead.is_none();
    let interactive = alone && io::stdin().is_terminal();
    let look = match arguments.instead {
        Some(Instead::Gdbserver { .. }) => Look::default(),
        _ => terminal::look(arguments.json),
    };
    let (inbox, cancel) = (Arc::new(Inbox::default()), Cancel::default());
    let ending = signals::catch(&cancel, &inbox, interactive).unwrap_or_else(|why| {
        eprintln!("hyperdbg: signals cannot be caught: {why}");
        Ending::default()
    });
    // Who serves gdb prints where gdb or standard error gets it.
    let page = Page::default();
    let console: Box<dyn Console> = match arguments.instead {
        Some(Instead::Gdbserver { .. }) => Box::new(page.clone()),
        _ => Box::new(terminal::Terminal),
    };
    let mut session = Session::new(console, look, Arc::clone(&inbox), cancel.clone());
    if let Some(folder) = folders::cache() {
        session.keep_in(folder);
    }
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
    let verdict = if let Some(Instead::Gdbserver { place, symbols, exposed }) = &arguments.instead {
        match connected {
            Verdict::Done => gdbserver::run(&mut session, &page, &cancel, place, *exposed, symbols.as_deref()),
            connected => connected,
        }
    } else if arguments.instead == Some(Instead::Doctor) {
        session.run("doctor")
    } else if interactive {
        interactive::run(&mut session, &inbox, &cancel, look, pause)
    } else if connected == Verdict::Done {
        batch::run(&mut session, &cancel, pause, &arguments.commands, arguments.script.as_deref())
    } else {
        connected
    };
    session.leave();
    gdbserver::tell_page(&page);
    if let Some(code) = ending.code() {
        return ExitCode::from(code);
    }
    match verdict {
        Verdict::Done | Verdict::Exit => ExitCode::SUCCESS,
        Verdict::Failed => ExitCode::from(1),
        Verdict::Unreachable => ExitCode::from(3),
    }
}
