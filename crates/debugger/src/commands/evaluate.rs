//! Evaluates an expression, in hex unless a prefix says otherwise.
//!
//!     ? EXPRESSION
//! Operators, the weakest first: | ^ & then << >> then + - then * / % then - ~ and parentheses; modulo 2^64. 0n10 is
//! decimal, 0y10 binary, 0t10 octal; ` may part digits. @rax and its like are the selected core's, if it is halted.
//!
//! Whatever else the script language has (docs/script.md) is run in root once, statements too: `? poi(@rsp)`,
//! `? .hits`, `? printf("%s\n", $pname)`. That needs no halt: it runs on the core that is asked.
//! ```kd
//! HyperDbg> ? (10 + 0n6) << 4
//! 160
//! HyperDbg> ? 10 / (4 - 4)
//! err, this is zero, and nothing can be divided by it
//!      ? 10 / (4 - 4)
//!             ^~~~~~~
//! HyperDbg> ? db(ffff888000000100) == 'h'
//! 1
//! HyperDbg> ? $pname
//! bash
//! HyperDbg> ? 10000000000000000
//! err, the number does not fit 64 bits; the largest is ffffffffffffffff
//!      ? 10000000000000000
//!        ^~~~~~~~~~~~~~~~~
//!      try: ? ffffffffffffffff
//! ```

use crate::answer::Answer;
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::expr::Arithmetic;
use crate::globals;
use crate::line::Line;
use crate::program::{How, Text};
use crate::session::Session;

/// The command.
pub const COMMAND: Command = Command { names: &["?", "eval", "evaluate"], takes: &[Takes::Address], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    if line.words().len() < 2 {
        return Err(commands::usage(line));
    }
    let (text, start) = line.rest();
    let span = start..start + text.len();
    if is_arithmetic(text) {
        let value = commands::evaluate(session, text, &span, Arithmetic::Wrapping)?;
        return Ok(commands::value_answer(value, false));
    }
    let whole = Text::in_line(line, &span);
    let statements = text.ends_with([';', '}']);
    let how = if statements { How::Script } else { How::Expression };
    match globals::compile(session, &whole, line, how) {
        Ok(program) if statements => commands::run_in_root(session, &whole, program),
        Ok(program) => commands::evaluate_in_root(session, &whole, program),
        // What tells no value may be a statement without its end; if it is neither, the one that went further says why.
        Err(error) if statements => Err(error),
        Err(error) => match globals::compile(session, &whole.as_statement(), line, How::Script) {
            Ok(program) => commands::run_in_root(session, &whole, program),
            Err(other) if first_place(&other) > first_place(&error) => Err(other),
            Err(_) => Err(error),
        },
    }
}

/// Whether these are numbers, registers and operators alone, which the prompt evaluates itself.
fn is_arithmetic(text: &str) -> bool {
    let ours = |c: char| c.is_alphanumeric() || c.is_whitespace() || "`_\\@+-*/%&|^~()<>#,:?!".contains(c);
    // A module and a name; anything else with this sign is the script language's.
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let parts = text.match_indices('!').all(|(at, _)| text[..at].ends_with(word) && text[at + 1..].starts_with(word));
    let called =
        text.match_indices('(').any(|(at, _)| text[..at].trim_end().ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    let shifts = text.replace("<<", "").replace(">>", "");
    text.chars().all(ours) && parts && !called && !shifts.contains(['<', '>']) && !text.contains("&&") && !text.contains("||")
}

/// Where the first thing stands that is wrong with a script.
fn first_place(error: &Error) -> Option<usize> {
    let Error::Program { troubles, .. } = error else { return None };
    troubles.first()?.span.as_ref().map(|span| span.start)
}
