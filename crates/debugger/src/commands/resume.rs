//! Lets the threads of a process run that is under interception, and keeps it so.
//!
//!     continue [pid PID]
//! Without PID it is the one that commands refer to; `g` does the same then. `pause` holds them again.
//! ```kd
//! HyperDbg> .attach pid 1c8
//! process 1c8 (busy) is under interception: 0x2 threads, 0x2 held
//! {any}
//! 1c8:1c8 (paused) u64HyperDbg> continue
//! process 1c8 runs; pause holds it again
//! 1c8:1c8 (running) u64HyperDbg> t
//! err, thread 1c8 is not held (c0001071)
//!      try: pause
//! 1c8:1c8 (running) u64HyperDbg> pause
//! thread 1c8 is held: rip ffffffff81000000
//! ffffffff81000000  f4                            hlt
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::line::Line;
use crate::session::Session;
use crate::threads;
use abi::request::thread::order;
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command { names: &["continue", "cont"], takes: &[Takes::Words(&["pid"])], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let process = commands::process_meant(session, line)?;
    let_run(session, process)
}

/// Lets the threads of a process run.
pub(crate) fn let_run(session: &mut Session, process: u32) -> Result<Answer, Error> {
    threads::order(session, order::LET, process, 0, 0)?;
    if let Some(active) = session.active().filter(|active| active.process == process) {
        session.refer_to(Some(active), false);
    }
    Ok(Answer::of(&Gone { process, running: true }))
}

#[derive(Serialize)]
struct Gone {
    process: u32,
    running: bool,
}

impl Report for Gone {
    fn text(&self) -> String {
        format!("process {:x} runs; pause holds it again", self.process)
    }
}
