//! Tells the physical address behind a virtual one.
//!
//!     !va2pa ADDRESS [pid PID]
//! ADDRESS is an expression; whose it is, is as with db. `!pte` shows the way there.
//! ```kd
//! 0: kHyperDbg> !va2pa ffff888000000100
//! 1100
//! 0: kHyperDbg> !va2pa ffff888000001000
//! err, nothing is mapped at ffff888000001000 (c0000005)
//! ```

use crate::answer::Answer;
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::line::Line;
use crate::memory;
use crate::session::Session;
use abi::code;
use abi::request::memory::VIRTUAL;

/// The command.
pub const COMMAND: Command =
    Command { names: &["!va2pa"], takes: &[Takes::OneAddress, Takes::Options(&[("pid", &[])])], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let asked = memory::asked(session, line, VIRTUAL, false)?;
    if asked.length.is_some() {
        return Err(commands::usage(line));
    }
    let translation = memory::translate(session, asked.place)?;
    if translation.mapped == 0 {
        return Err(memory::refused(code::ADDRESS_INVALID, asked.place, 0));
    }
    Ok(commands::value_answer(translation.physical, false))
}
