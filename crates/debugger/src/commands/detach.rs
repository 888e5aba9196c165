//! Lets a process go that is under interception (.detach), or kills it (.kill).
//!
//!     .detach [pid PID]
//!     .kill [pid PID]
//! Without PID it is the one that commands refer to. Its threads go on as if nothing had been, with the registers that were set; their
//! places are given back. `.kill` sends it SIGKILL, which is all of a process that others can see.
//! ```kd
//! HyperDbg> .attach pid 1c8
//! process 1c8 (busy) is under interception: 0x2 threads, 0x2 held
//! {any}
//! 1c8:1c8 (paused) u64HyperDbg> .detach
//! process 1c8 is let go
//! HyperDbg> .detach
//! err, commands refer to no process
//!      try: .switch
//! HyperDbg> .kill pid 1c8
//! err, process 1c8 is not under interception (c0000033)
//!      try: .attach pid 1c8
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
pub const COMMAND: Command =
    Command { names: &[".detach", "detach", ".kill", "kill"], takes: &[Takes::Words(&["pid"])], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let process = commands::process_meant(session, line)?;
    let kills = line.name().to_ascii_lowercase().ends_with("kill");
    threads::order(session, if kills { order::KILL } else { order::DETACH }, process, 0, 0)?;
    if session.active().is_some_and(|active| active.process == process) {
        session.refer_to(None, false);
    }
    Ok(Answer::of(&Gone { process, killed: kills }))
}

#[derive(Serialize)]
struct Gone {
    process: u32,
    killed: bool,
}

impl Report for Gone {
    fn text(&self) -> String {
        let Self { process, killed } = self;
        format!("process {process:x} is {}", if *killed { "killed" } else { "let go" })
    }
}
