//! The prompt on a terminal: editing, completion, history, and news that do not tear what is being typed.
//!
//! A watcher thread waits for news, or the end of the program, while the prompt is open. It ends the reading as CTRL+C would; the unfinished line is
//! taken off the screen, the news are shown, and the reading begins again with the prompt that now holds and with what
//! had been typed. (rustyline's external printer could show the news above the line, but the prompt would stay what it
//! was, and it blocks once the reading has ended.)

mod helper;
mod history;

use crate::terminal::Terminal;
use debugger::news::Inbox;
use debugger::session::{Console, Ear, Look, Session, State, Verdict};
use debugger::target::{Cancel, Mode};
use helper::Helper;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Reads and does lines until the end. With `pause` the debuggee is halted first.
pub fn run(session: &mut Session, inbox: &Arc<Inbox>, cancel: &Cancel, look: Look, pause: bool) -> Verdict {
    let config = Config::builder().completion_type(CompletionType::List).auto_add_history(false).build();
    let mut editor = match Editor::<Helper, FileHistory>::with_config(config) {
        Ok(editor) => editor,
        Err(why) => {
            eprintln!("hyperdbg: no prompt can be shown: {why}");
            return Verdict::Failed;
        }
    };
    let helper = Helper::new(look.colour, session.names());
    let typed = helper.typed();
    editor.set_helper(Some(helper));
    let history = history::path();
    if let Some(path) = &history {
        // The first sitting has no history, and one that cannot be read is not worth a word.
        let _ = editor.load_history(path);
    }
    let redraw = Arc::new(AtomicBool::new(false));
    // With one of these rustyline waits for signals as well as for keys, which is how the watcher reaches it.
    let _printer = editor.create_external_printer();
    watch(Arc::clone(inbox), Arc::clone(&redraw));
    listen(Arc::clone(inbox), session.ear());
    if !look.json {
        Terminal.print(&format!("hyperdbg {}: {}", env!("CARGO_PKG_VERSION"), session.banner()));
        Terminal.print("`.help` lists the commands, CTRL+D ends");
    }
    if pause {
        session.run_untyped("pause");
        part(look);
    }
    let mut before = (String::new(), String::new());
    while !cancel.is_ended() {
        session.attend();
        let prompt = session.prompt();
        redraw.store(false, Ordering::Relaxed);
        inbox.set_open(true);
        let read = editor.readline_with_initial(&prompt, (&before.0, &before.1));
        inbox.set_open(false);
        let left = std::mem::take(&mut before);
        let newer = typed.take();
        match read {
            Ok(line) => {
                if line.trim().is_empty() {
                    continue;
                }
                remember(&mut editor, &line, history.as_deref());
                if session.run(&line) == Verdict::Exit {
                    break;
                }
                part(look);
            }
            Err(ReadlineError::Interrupted) if redraw.load(Ordering::Relaxed) => {
                before = newer.unwrap_or(left);
                erase(&prompt, &before);
                // What events say stands above the prompt, line by line.
                if session.attend() {
                    part(look);
                }
            }
            Err(ReadlineError::Interrupted) if session.mode() == Mode::Debugger && session.state() == State::Running => {
                session.run_untyped("pause");
                part(look);
            }
            Err(ReadlineError::Interrupted) => {}
            Err(_) => break,
        }
    }
    inbox.close();
    Verdict::Done
}

/// An empty line between an answer and the next prompt, as in the sessions of the documentation.
fn part(look: Look) {
    if !look.json {
        Terminal.print("");
    }
}

/// Ends the reading when there is news, from a thread of its own.
fn watch(inbox: Arc<Inbox>, redraw: Arc<AtomicBool>) {
    const AGAIN: Duration = Duration::from_millis(50);
    thread::spawn(move || {
        let mut knock = || {
            redraw.store(true, Ordering::Relaxed);
            // While it reads, rustyline takes this signal for CTRL+C. Outside of that it is caught as one, and
            // forgotten when the next line is done. Where it cannot be raised, the news wait for the next line.
            let _ = signal_hook::low_level::raise(signal_hook::consts::SIGINT);
        };
        while inbox.knock(AGAIN, &mut knock) {}
    });
}

/// Fetches what events say while a prompt is open, from a thread of its own: it becomes news, and knocks.
fn listen(inbox: Arc<Inbox>, ear: Ear) {
    const PACE: Duration = Duration::from_millis(100);
    thread::spawn(move || {
        while !inbox.is_closed() {
            thread::sleep(PACE);
            if inbox.is_open() {
                ear.listen();
            }
        }
    });
}

/// Takes an unfinished line off the screen, if it has a row of its own; a longer one stays to be seen.
fn erase(prompt: &str, (left, right): &(String, String)) {
    const NARROW: usize = 60;
    let rows = left.contains('\n') || right.contains('\n');
    if !rows && prompt.chars().count() + left.chars().count() + right.chars().count() < NARROW {
        print!("\x1b[1A\x1b[2K\r");
        // The prompt that follows is written at once in any case.
        let _ = io::stdout().flush();
    }
}

fn remember(editor: &mut Editor<Helper, FileHistory>, line: &str, path: Option<&std::path::Path>) {
    if matches!(editor.add_history_entry(line), Ok(true))
        && let Some(path) = path
    {
        // At once, so that it outlives a prompt that is killed; a full disk must not stop the debugging.
        let _ = editor.append_history(path);
    }
}
