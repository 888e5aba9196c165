//! Lets the kernel run on bare metal again: this machine's, or that of the debuggee.
//!
//!     unload [vmm]
//! A halted debuggee is continued for it.
//! ```kd
//! HyperDbg> unload
//! the hypervisor is unloaded
//! HyperDbg> prealloc monitor 1
//! err, the hypervisor is not loaded on this machine (c0001020)
//!      try: load
//! ```
//! ```kd
//! 0: kHyperDbg> unload
//! the hypervisor is unloaded
//! ```

use super::load;
use crate::answer::{Answer, Report};
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::line::Line;
use crate::session::Session;
use crate::target::Mode;
use abi::request::op;
use serde::Serialize;
use std::time::Duration;

/// The command.
pub const COMMAND: Command = Command { names: &["unload", ".unload"], takes: &[Takes::Words(&["vmm"])], run, cost: None };

/// How long Linux may take to leave root on every core.
const GOODBYE_SECONDS: u64 = 30;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    match line.words() {
        [_] => {}
        [_, word] if word.text.eq_ignore_ascii_case("vmm") => {}
        [_, word] => return Err(commands::unknown_word(word, "words", &["vmm"])),
        _ => return Err(commands::usage(line)),
    }
    // Events end with the hypervisor; what they said until now is fetched first.
    session.hear_the_last_of_events()?;
    if session.mode() == Mode::Debugger {
        session.order(op::UNLOAD, &[])?;
        session.runs();
        let goodbye = session.wait_for_goodbye(Duration::from_secs(GOODBYE_SECONDS))?;
        goodbye.ok_or(Error::UnloadSilent(GOODBYE_SECONDS))?;
        return Ok(Answer::of(&Left { loaded: false }));
    }
    session.forget();
    load::checked(session.target().unload()?)?;
    Ok(Answer::of(&Left { loaded: false }))
}

#[derive(Serialize)]
struct Left {
    loaded: bool,
}

impl Report for Left {
    fn text(&self) -> String {
        let Self { loaded: _ } = self;
        "the hypervisor is unloaded".to_owned()
    }
}
