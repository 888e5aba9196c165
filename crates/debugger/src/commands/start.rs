//! Starts a program, and holds it before its first instruction.
//!
//!     .start path PATH [ARGUMENT ...]
//! It is under interception from its first instruction on, which is the dynamic linker's if it has one: see `.attach`. What it prints
//! comes to this terminal, and it reads nothing from there. It is the prompt's own child: it is let go, not ended, when the prompt ends.
//! ```kd
//! HyperDbg> .start path /bin/busy 3
//! process 1c8 (busy) is under interception: 0x2 threads, 0x2 held
//! thread 1c8 is held: rip ffffffff81000000
//! ffffffff81000000  f4                            hlt
//! ```
//! ```kd
//! (running) HyperDbg> .start path /bin/busy
//! err, a program is started on this machine, and the prompt is connected to another
//!      start it there, and then here: .attach pid PID
//! ```

use crate::answer::Answer;
use crate::commands::{self, Command, Takes, attach};
use crate::error::Error;
use crate::line::Line;
use crate::session::Session;
use crate::target::Mode;
use crate::threads;
use abi::request::thread::order;

/// The command.
pub const COMMAND: Command =
    Command { names: &[".start", "start"], takes: &[Takes::Words(&["path"]), Takes::File], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let [_, word, path, arguments @ ..] = line.words() else { return Err(commands::usage(line)) };
    if !word.text.eq_ignore_ascii_case("path") {
        return Err(commands::unknown_word(word, "options", &["path"]));
    }
    if session.mode() == Mode::Debugger {
        return Err(Error::StartElsewhere);
    }
    session.greet()?;
    let arguments: Vec<&str> = arguments.iter().map(|word| word.text.as_str()).collect();
    let started = session.target().start(&path.text, &arguments);
    let process = started.map_err(|why| Error::File { path: path.text.clone(), why: why.kind() })?;
    threads::order(session, order::ATTACH_AT_EXEC, process, 0, 0)?;
    match threads::wait_until_started(session, process)? {
        Some(sums) => attach::tell(session, process, sums),
        None => Err(Error::NotStarted(path.text.clone())),
    }
}
