//! Tests root itself; for those who work on it.
//!
//!     test fault ud|page|stack
//!     test breakpoint on|off
//!     test trap on|off
//! `fault` makes root fault on purpose: it says its last words and lets go of the machine, which runs on without a
//! hypervisor. With `on`, breakpoints or traps of the guest are caught and passed on untouched.
//! ```kd
//! 0: kHyperDbg> test breakpoint on
//! breakpoints of the guest are caught and passed on
//! 0: kHyperDbg> test fault pag
//! err, couldn't resolve error at 'pag'
//!      test fault pag
//!                 ^~~
//!      faults: ud, page, stack
//!      try: test fault page
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::line::Line;
use crate::session::Session;
use abi::request::{Number, op, test};
use serde::Serialize;
use zerocopy::IntoBytes;

/// The command.
pub const COMMAND: Command = Command {
    names: &["test", ".test"],
    takes: &[
        Takes::Words(&["fault", "breakpoint", "trap"]),
        Takes::After(&[("fault", &["ud", "page", "stack"]), ("breakpoint", &["on", "off"]), ("trap", &["on", "off"])]),
    ],
    run,
};

struct Test {
    words: [&'static str; 2],
    number: u64,
    said: &'static str,
}

const fn entry(first: &'static str, second: &'static str, number: u64, said: &'static str) -> Test {
    Test { words: [first, second], number, said }
}

const TESTS: [Test; 7] = [
    entry("fault", "ud", test::FAULT_UD, "root was made to execute an undefined instruction"),
    entry("fault", "page", test::FAULT_PAGE, "root was made to read an address that is not mapped"),
    entry("fault", "stack", test::FAULT_STACK, "root was made to overflow its stack"),
    entry("breakpoint", "on", test::BREAKPOINT_PASS_ON, "breakpoints of the guest are caught and passed on"),
    entry("breakpoint", "off", test::BREAKPOINT_PASS_OFF, "breakpoints of the guest are not caught"),
    entry("trap", "on", test::TRAP_PASS_ON, "traps of the guest are caught and passed on"),
    entry("trap", "off", test::TRAP_PASS_OFF, "traps of the guest are not caught"),
];

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let [_, first, second] = line.words() else { return Err(commands::usage(line)) };
    let of_first: Vec<&Test> = TESTS.iter().filter(|test| test.words[0].eq_ignore_ascii_case(&first.text)).collect();
    if of_first.is_empty() {
        return Err(commands::unknown_word(first, "tests", &["fault", "breakpoint", "trap"]));
    }
    let Some(test) = of_first.iter().find(|test| test.words[1].eq_ignore_ascii_case(&second.text)) else {
        let what = if of_first[0].words[0] == "fault" { "faults" } else { "words" };
        return Err(commands::unknown_word(second, what, &of_first.iter().map(|test| test.words[1]).collect::<Vec<_>>()));
    };
    session.order(op::TEST, Number { value: test.number }.as_bytes())?;
    Ok(Answer::of(&Done { test: test.words.join(" "), text: test.said }))
}

#[derive(Serialize)]
struct Done {
    test: String,
    #[serde(skip)]
    text: &'static str,
}

impl Report for Done {
    fn text(&self) -> String {
        self.text.to_owned()
    }
}
