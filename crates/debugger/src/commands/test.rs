//! Tests root itself; for those who work on it.
//!
//!     test fault ud|page|stack
//!     test breakpoint on|off
//!     test trap on|off
//!     test hold TYPE COUNT
//!     test let TYPE
//!     test fail TYPE NTH
//! `fault` makes root fault on purpose: it says its last words and lets go of the machine, which runs on without a
//! hypervisor. With `on`, breakpoints or traps of the guest are caught and passed on untouched.
//!
//! `hold` takes units of the reserve, all of them or none, as a command does that applies a hook, and `let` gives back what
//! `hold` took. `fail` has the NTH request for a type from now refused, once; 0 calls it off.
//! ```kd
//! 0: kHyperDbg> test hold monitor 3
//! held: 0x3 monitor; 0x11 of 0x14 free
//! 0: kHyperDbg> test hold regular-event 15
//! err, too few regular-event: 0x15 asked, 0x14 of 0x14 free (c0000042)
//!      try: prealloc regular-event 1
//! 0: kHyperDbg> test let monitor
//! given back: 0x3 monitor; 0x14 of 0x14 free
//! 0: kHyperDbg> test fail monitor 1
//! request 0x1 of monitor from now will be refused
//! 0: kHyperDbg> prealloc monitor 2
//! err, a test asked for this refusal: 0x2 monitor asked, nothing was taken (c0001015)
//!      the next request is dealt with as ever
//!      try: prealloc monitor 2
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
use crate::cost::{Cost, Units};
use crate::error::{Error, Refusal, Wanted};
use crate::line::{Line, Word};
use crate::session::Session;
use abi::code;
use abi::kind::Kind;
use abi::request::{Number, PreallocAnswer, ReserveTest, op, test};
use serde::Serialize;
use zerocopy::IntoBytes;

/// The command.
pub const COMMAND: Command = Command {
    names: &["test", ".test"],
    takes: &[
        Takes::Words(&WORDS),
        Takes::TypeOrAfter(
            &["hold", "let", "fail"],
            &[("fault", &["ud", "page", "stack"]), ("breakpoint", &["on", "off"]), ("trap", &["on", "off"])],
        ),
    ],
    run,
    cost: Some(cost),
};

const WORDS: [&str; 6] = ["fault", "breakpoint", "trap", "hold", "let", "fail"];

/// What a line asks for.
enum Asked<'l> {
    OfRoot(&'static Test),
    Hold(Kind, &'l Word),
    Let(Kind),
    Fail(Kind, &'l Word),
}

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

fn parse(line: &Line) -> Result<Asked<'_>, Error> {
    let [_, first, rest @ ..] = line.words() else { return Err(commands::usage(line)) };
    let word = WORDS.into_iter().find(|word| word.eq_ignore_ascii_case(&first.text));
    let Some(word) = word else { return Err(commands::unknown_word(first, "tests", &WORDS)) };
    match (word, rest) {
        ("hold", [kind, count]) => Ok(Asked::Hold(commands::kind(kind)?, count)),
        ("let", [kind]) => Ok(Asked::Let(commands::kind(kind)?)),
        ("fail", [kind, nth]) => Ok(Asked::Fail(commands::kind(kind)?, nth)),
        ("fault" | "breakpoint" | "trap", [second]) => {
            let of_first = || TESTS.iter().filter(|test| test.words[0] == word);
            let found = of_first().find(|test| test.words[1].eq_ignore_ascii_case(&second.text));
            let what = if word == "fault" { "faults" } else { "words" };
            let choices = || of_first().map(|test| test.words[1]).collect::<Vec<_>>();
            found.map(Asked::OfRoot).ok_or_else(|| commands::unknown_word(second, what, &choices()))
        }
        _ => Err(commands::usage(line)),
    }
}

fn cost(_: &mut Session, line: &Line) -> Result<Cost, Error> {
    match parse(line)? {
        Asked::OfRoot(_) => Ok(Cost::Nothing),
        Asked::Fail(_, nth) => commands::fixed_count(nth).map(|_| Cost::Nothing),
        Asked::Let(kind) => Ok(Cost::Frees(kind)),
        Asked::Hold(kind, count) => match commands::fixed_count(count)? {
            0 => Err(commands::none_of(kind, Wanted::Take)),
            count => Ok(Cost::Holds(Units::of(kind, count))),
        },
    }
}

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let (what, kind, count) = match parse(line)? {
        Asked::OfRoot(test) => {
            session.order(op::TEST, Number { value: test.number }.as_bytes())?;
            return Ok(Answer::of(&Done { test: test.words.join(" "), text: test.said }));
        }
        Asked::Hold(kind, count) => (test::HOLD, kind, commands::count(session, count)?),
        Asked::Let(kind) => (test::LET, kind, 0),
        Asked::Fail(kind, nth) => (test::FAIL, kind, commands::count(session, nth)?),
    };
    let body = ReserveTest { what, kind: kind as u32, count };
    match commands::ask_units(session, op::TEST_RESERVE, body.as_bytes())? {
        (code::SUCCESS, _) if what == test::FAIL => Ok(Answer::of(&Refuses { r#type: kind.word(), nth: count })),
        (code::SUCCESS, answer) => Ok(Answer::of(&Moved::new(what == test::HOLD, kind, &answer))),
        (code, answer) => Err(Error::Refused(Refusal::Units { code, answer, wanted: Wanted::Take, bank_serves: 0 })),
    }
}

/// Units that tests took or gave back.
#[derive(Serialize)]
struct Moved {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    given_back: Option<u64>,
    free: u64,
    reserved: u64,
}

impl Moved {
    fn new(hold: bool, kind: Kind, answer: &PreallocAnswer) -> Self {
        let PreallocAnswer { kind: _, zero: _, asked, free, reserved, most: _, short: _, bank_free: _ } = *answer;
        let (held, given_back) = if hold { (Some(asked), None) } else { (None, Some(asked)) };
        Self { r#type: kind.word(), held, given_back, free, reserved }
    }
}

impl Report for Moved {
    fn text(&self) -> String {
        let Self { r#type, held, given_back, free, reserved } = self;
        let verb = if held.is_some() { "held" } else { "given back" };
        let units = held.or(*given_back).unwrap_or(0);
        format!("{verb}: 0x{units:x} {type}; 0x{free:x} of 0x{reserved:x} free")
    }
}

/// The request that will be refused, or none.
#[derive(Serialize)]
struct Refuses {
    r#type: &'static str,
    nth: u64,
}

impl Report for Refuses {
    fn text(&self) -> String {
        let Self { r#type, nth } = self;
        if *nth == 0 {
            return format!("no request of {type} will be refused by a test");
        }
        format!("request 0x{nth:x} of {type} from now will be refused")
    }
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
