//! The prompt on a terminal: editing, completion, history, and news that do not tear what is being typed.
//!
//! A watcher thread shows news while the prompt is open, above it. News that change the prompt also end the reading, as
//! CTRL+C would, and it begins again with the new prompt and what had been typed.

mod helper;
mod history;

use debugger::news::Inbox;
use debugger::session::{Look, Session, State, Verdict, news_text};
use debugger::target::Mode;
use helper::Helper;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor, ExternalPrinter};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Reads and does lines until the end.
pub fn run(session: &mut Session, inbox: &Arc<Inbox>, look: Look) -> Verdict {
    let config = Config::builder().completion_type(CompletionType::List).auto_add_history(false).build();
    let mut editor = match Editor::<Helper, FileHistory>::with_config(config) {
        Ok(editor) => editor,
        Err(why) => {
            eprintln!("hyperdbg: no prompt can be shown: {why}");
            return Verdict::Failed;
        }
    };
    let helper = Helper::new(look.colour);
    let typed = helper.typed();
    editor.set_helper(Some(helper));
    let history = history::path();
    if let Some(path) = &history {
        // The first sitting has no history, and one that cannot be read is not worth a word.
        let _ = editor.load_history(path);
    }
    let redraw = Arc::new(AtomicBool::new(false));
    if let Ok(printer) = editor.create_external_printer() {
        watch(printer, Arc::clone(inbox), look, Arc::clone(&redraw));
    }
    if !look.json {
        println!("hyperdbg {}: {}", env!("CARGO_PKG_VERSION"), session.banner());
        println!("`.help` lists the commands, CTRL+D ends");
    }
    let mut before = (String::new(), String::new());
    loop {
        session.attend();
        let prompt = session.prompt();
        redraw.store(false, Ordering::Relaxed);
        inbox.set_open(true);
        let read = editor.readline_with_initial(&prompt, (&before.0, &before.1));
        inbox.set_open(false);
        before = (String::new(), String::new());
        match read {
            Ok(line) => {
                if !line.trim().is_empty() {
                    remember(&mut editor, &line, history.as_deref());
                }
                if session.run(&line) == Verdict::Exit {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) if redraw.load(Ordering::Relaxed) => {
                before = typed.take();
                erase(&prompt, &before);
            }
            Err(ReadlineError::Interrupted) if session.mode() == Mode::Debugger && session.state() == State::Running => {
                session.run("pause");
            }
            Err(ReadlineError::Interrupted) => {}
            Err(_) => break,
        }
    }
    inbox.close();
    Verdict::Done
}

/// Shows news while the prompt is open, from a thread of its own.
fn watch(mut printer: impl ExternalPrinter + Send + 'static, inbox: Arc<Inbox>, look: Look, redraw: Arc<AtomicBool>) {
    thread::spawn(move || {
        let mut show = |news: &debugger::news::News| {
            // A terminal that is gone ends the reading, too.
            let _ = printer.print(format!("{}\n", news_text(news, look)));
            redraw.store(true, Ordering::Relaxed);
            // The prompt is open, so rustyline takes this signal as the end of the line.
            let _ = signal_hook::low_level::raise(signal_hook::consts::SIGINT);
        };
        while inbox.tell(&mut show) {}
    });
}

/// Takes an unfinished line off the screen, if it has a row of its own; a longer one stays to be seen.
fn erase(prompt: &str, (left, right): &(String, String)) {
    const NARROW: usize = 60;
    if prompt.chars().count() + left.chars().count() + right.chars().count() < NARROW {
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
