//! Evaluates an expression, in hex unless a prefix says otherwise.
//!
//!     ? EXPRESSION
//! Operators, the weakest first: | ^ & then << >> then + - then * / % then - ~ and parentheses; modulo 2^64. 0n10 is
//! decimal, 0y10 binary, 0t10 octal; ` may part digits. @rax and its like are the selected core's, if it is halted.
//! ```kd
//! HyperDbg> ? (10 + 0n6) << 4
//! 160
//! HyperDbg> ? 10 / (4 - 4)
//! err, this is zero, and nothing can be divided by it
//!      ? 10 / (4 - 4)
//!             ^~~~~~~
//! HyperDbg> ? 10000000000000000
//! err, the number does not fit 64 bits; the largest is ffffffffffffffff
//!      ? 10000000000000000
//!        ^~~~~~~~~~~~~~~~~
//!      try: ? ffffffffffffffff
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{self, Command};
use crate::error::Error;
use crate::expr::Arithmetic;
use crate::line::Line;
use crate::session::Session;
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command { names: &["?", "eval", "evaluate"], takes: &[], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    if line.words().len() < 2 {
        return Err(commands::usage(line));
    }
    let (text, start) = line.rest();
    let value = commands::evaluate(session, text, &(start..start + text.len()), Arithmetic::Wrapping)?;
    Ok(Answer::of(&Value { value: crate::answer::hex(value), text: format!("{value:x}") }))
}

#[derive(Serialize)]
struct Value {
    value: String,
    #[serde(skip)]
    text: String,
}

impl Report for Value {
    fn text(&self) -> String {
        self.text.clone()
    }
}
