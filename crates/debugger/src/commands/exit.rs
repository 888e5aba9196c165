//! Ends the program.
//!
//!     exit [halted]
//! A halted debuggee is continued first, so that nobody leaves a frozen machine behind by accident; `exit halted` leaves
//! it as it is. CTRL+D, SIGTERM and a terminal that is closed end it as `exit` does. Of a program that is killed nothing is heard any
//! more: a debuggee that it left halted goes on after ten seconds.
//! ```kd
//! 0: kHyperDbg> exit now
//! err, couldn't resolve error at 'now'
//!      exit now
//!           ^~~
//!      words: halted
//! 0: kHyperDbg> exit
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{self, Command, Takes};
use crate::cost::Cost;
use crate::error::Error;
use crate::line::Line;
use crate::session::Session;
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command { names: &["exit", ".exit"], takes: &[Takes::Words(&["halted"])], run, cost: Some(cost) };

fn cost(_: &mut Session, line: &Line) -> Result<Cost, Error> {
    is_halted(line).map(|_| Cost::Ends)
}

/// Whether it is to be left halted.
fn is_halted(line: &Line) -> Result<bool, Error> {
    match line.words() {
        [_] => Ok(false),
        [_, word] if word.text.eq_ignore_ascii_case("halted") => Ok(true),
        [_, word] => Err(commands::unknown_word(word, "words", &["halted"])),
        _ => Err(commands::usage(line)),
    }
}

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    if is_halted(line)? {
        session.leave_halted();
    }
    Ok(Answer { exit: true, ..Answer::of(&Left {}) })
}

#[derive(Serialize)]
struct Left {}

impl Report for Left {
    fn text(&self) -> String {
        String::new()
    }
}
