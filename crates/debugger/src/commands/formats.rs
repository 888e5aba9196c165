//! Shows a value in every number format.
//!
//!     .formats EXPRESSION
//! ```kd
//! HyperDbg> .formats 41 + 1
//! hex      42
//! decimal  66
//! signed   66
//! octal    102
//! binary   1000010
//! chars    .......B
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{self, Command};
use crate::error::Error;
use crate::expr::Arithmetic;
use crate::line::Line;
use crate::session::Session;
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command { names: &[".formats", ".format"], takes: &[], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    if line.words().len() < 2 {
        return Err(commands::usage(line));
    }
    let (text, start) = line.rest();
    let value = commands::evaluate(session, text, &(start..start + text.len()), Arithmetic::Wrapping)?;
    Ok(Answer::of(&Formats::new(value)))
}

#[derive(Serialize)]
struct Formats {
    hex: String,
    decimal: String,
    signed: String,
    octal: String,
    binary: String,
    /// The bytes as characters, the highest first.
    chars: String,
}

impl Formats {
    fn new(value: u64) -> Self {
        let bytes = value.to_be_bytes();
        let chars = bytes.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' }).collect();
        Self {
            hex: format!("{value:x}"),
            decimal: value.to_string(),
            signed: value.cast_signed().to_string(),
            octal: format!("{value:o}"),
            binary: format!("{value:b}"),
            chars,
        }
    }
}

impl Report for Formats {
    fn text(&self) -> String {
        let Self { hex, decimal, signed, octal, binary, chars } = self;
        format!("hex      {hex}\ndecimal  {decimal}\nsigned   {signed}\noctal    {octal}\nbinary   {binary}\nchars    {chars}")
    }
}
