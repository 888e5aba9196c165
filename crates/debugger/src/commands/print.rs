//! Evaluates an expression of the script language in root.
//!
//!     print EXPRESSION
//! Unlike `?` it always asks root, and so can read memory: `print poi(@rsp)`. It runs on the selected core of a halted
//! debuggee, else on the one that is asked. The value is in hex, that of a float in decimal.
//! ```kd
//! 0: kHyperDbg> print @rax + 1
//! 11
//! 0: kHyperDbg> print poi(10)
//! err, nothing can be read or written at 10
//!      print poi(10)
//!            ^
//! ```

use crate::answer::Answer;
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::globals;
use crate::line::Line;
use crate::program::{How, Text};
use crate::session::Session;

/// The command.
pub const COMMAND: Command = Command { names: &["print"], takes: &[Takes::Address], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    if line.words().len() < 2 {
        return Err(commands::usage(line));
    }
    let (text, start) = line.rest();
    let text = Text::in_line(line, &(start..start + text.len()));
    let program = globals::compile(session, &text, line, How::Expression)?;
    commands::evaluate_in_root(session, &text, program)
}
