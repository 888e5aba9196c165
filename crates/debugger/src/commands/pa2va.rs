//! Tells where the kernel has a physical address in its own map of all RAM.
//!
//!     !pa2va ADDRESS
//! ADDRESS is an expression. A frame may be mapped elsewhere, too, by the kernel and by programs; that is not told.
//! ```kd
//! 0: kHyperDbg> !pa2va 1100
//! ffff888000000100
//! 0: kHyperDbg> !pa2va fee00000
//! err, the kernel's map of RAM does not have the physical address fee00000 (c0000052)
//! ```

use crate::answer::Answer;
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::line::Line;
use crate::memory::{self, Wrong};
use crate::session::Session;
use abi::request::memory::PHYSICAL;

/// The command.
pub const COMMAND: Command = Command { names: &["!pa2va"], takes: &[Takes::Words(&[])], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let asked = memory::asked(session, line, PHYSICAL, false)?;
    if asked.length.is_some() {
        return Err(commands::usage(line));
    }
    let address = asked.place.address;
    match memory::translate(session, asked.place) {
        Ok(translation) if translation.mapped == 1 => Ok(commands::value_answer(translation.linear, false)),
        // Without a map root says that there is no such RAM.
        Ok(_) | Err(Error::Memory(Wrong::Refused { .. })) => Err(Error::Memory(Wrong::NotInMap { address })),
        Err(error) => Err(error),
    }
}
