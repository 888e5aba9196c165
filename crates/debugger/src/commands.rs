//! The command table. Each file in `commands/` is one command: its `//!` lines are its manual, and `build.rs` finds it.

use crate::answer::{self, Answer, Report};
use crate::cost::Cost;
use crate::disassembly::{Names, NoNames};
use crate::error::{Error, Reach, Refusal, Wanted};
use crate::expr::{self, Arithmetic, World};
use crate::line::{Line, Word};
use crate::manual;
use crate::names::{self, Named};
use crate::program::{self, Text, Told};
use crate::session::Session;
use crate::target::Mode;
use ::script::Program;
use abi::code;
use abi::kind::Kind;
use abi::request::{self, PreallocAnswer, Registers};
use serde::Serialize;
use std::ops::Range;
use std::rc::Rc;

include!(concat!(env!("OUT_DIR"), "/commands.rs"));

/// What one module of `commands/` offers.
pub struct Command {
    /// Its names, lower case, the usual one first.
    pub names: &'static [&'static str],
    /// What may stand after the name, word by word; for completion only.
    pub takes: &'static [Takes],
    /// Does it.
    pub run: fn(&mut Session, &Line, &'static Command) -> Result<Answer, Error>,
    /// Tells what it would take of the reserve, and does nothing; `None` if that is nothing, whatever its words are.
    pub cost: Option<Foretell>,
}

/// What a line costs, or why it would be refused.
pub type Foretell = fn(&mut Session, &Line) -> Result<Cost, Error>;

/// What a word may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// One of these.
    Words(&'static [&'static str]),
    /// A type of units, or one of these.
    TypeOr(&'static [&'static str]),
    /// A type of units if one of the first stands before it, a path if the second does.
    TypeOrFileAfter(&'static [&'static str], &'static str),
    /// A type of units if one of the first stands before it, else what belongs to the word before it.
    TypeOrAfter(&'static [&'static str], &'static [(&'static str, &'static [&'static str])]),
    /// What belongs to the word before it.
    After(&'static [(&'static str, &'static [&'static str])]),
    /// From here on these words, each once, with what belongs to the word before.
    Options(&'static [(&'static str, &'static [&'static str])]),
    /// A path.
    File,
    /// A path, if this word stands before it.
    FileAfter(&'static str),
    /// A command's name.
    Command,
    /// A type of the kernel's.
    Type,
    /// An address, so a name of the kernel's.
    OneAddress,
    /// From here on addresses and expressions, so names of the kernel's.
    Address,
}

struct Entry {
    command: &'static Command,
    source: &'static str,
}

/// The command of this name, in any case.
#[must_use]
pub fn find(name: &str) -> Option<&'static Command> {
    entry(name).map(|entry| entry.command)
}

fn entry(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.command.names.iter().any(|n| n.eq_ignore_ascii_case(name)))
}

/// Every name of every command.
pub fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().flat_map(|entry| entry.command.names.iter().copied())
}

/// The usual name of every command.
pub fn usual_names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().filter_map(|entry| entry.command.names.first().copied())
}

/// Every command with its manual.
pub fn all() -> impl Iterator<Item = (&'static Command, String)> {
    ENTRIES.iter().map(|entry| (entry.command, manual::text(entry.source)))
}

/// The manual of the command of this name.
#[must_use]
pub fn manual_of(name: &str) -> Option<String> {
    entry(name).map(|entry| manual::text(entry.source))
}

/// The error for a wrong number of words, or for words that do not belong together.
pub(crate) fn usage(line: &Line) -> Error {
    let syntax = manual_of(line.name()).map_or_else(Vec::new, |text| manual::syntax(&text));
    Error::Usage { typed: line.name().to_owned(), syntax }
}

/// The error for a word that is none of `choices`.
pub(crate) fn unknown_word(word: &Word, what: &'static str, choices: &[&'static str]) -> Error {
    Error::UnknownWord { span: word.span.clone(), what, choices: choices.to_vec() }
}

/// A word as a type of units.
pub(crate) fn kind(word: &Word) -> Result<Kind, Error> {
    Kind::from_word(&word.text).ok_or_else(|| unknown_word(word, "types", &Kind::ALL.map(Kind::word)))
}

/// Sends a request about units, whose refusals have numbers, too.
pub(crate) fn ask_units(session: &mut Session, op: u32, body: &[u8]) -> Result<(u32, PreallocAnswer), Error> {
    let (code, body) = session.call(op, body)?;
    match request::body(&body) {
        Some(answer) => Ok((code, answer)),
        // What is refused before root looks at it has no numbers; those of the request are known here.
        None if code != code::SUCCESS && body.is_empty() => {
            Err(Error::Refused(Refusal::Plain { code, debugger_mode: session.mode() == Mode::Debugger }))
        }
        None => Err(Error::Reach(Reach::Malformed { op })),
    }
}

/// What root would say to a count of zero, for who does not ask it.
pub(crate) fn none_of(kind: Kind, wanted: Wanted) -> Error {
    let answer = PreallocAnswer { kind: kind as u32, ..PreallocAnswer::default() };
    Error::Refused(Refusal::Units { code: code::COUNT_ZERO, answer, wanted, bank_serves: 0 })
}

/// A word as a count.
pub(crate) fn count(session: &mut Session, word: &Word) -> Result<u64, Error> {
    evaluate(session, &word.text, &word.span, Arithmetic::Count)
}

/// How often something is to be done, which is the only word behind the name: once unless said.
pub(crate) fn times(session: &mut Session, line: &Line, most: u64) -> Result<u64, Error> {
    match line.words() {
        [_] => Ok(1),
        [_, word] => match count(session, word)? {
            within if (1..=most).contains(&within) => Ok(within),
            _ => Err(Error::Times { span: word.span.clone(), most }),
        },
        _ => Err(usage(line)),
    }
}

/// A word as the number of a process or a thread.
pub(crate) fn number_of_process(session: &mut Session, word: &Word) -> Result<u32, Error> {
    let number = count(session, word)?;
    u32::try_from(number).ok().filter(|number| (1..=i32::MAX.cast_unsigned()).contains(number)).ok_or(Error::NoProcess(number))
}

/// The process of `pid PID`, or the one that commands refer to.
pub(crate) fn process_meant(session: &mut Session, line: &Line) -> Result<u32, Error> {
    match line.words() {
        [_] => session.active().map(|active| active.process).ok_or(Error::NoActive),
        [_, word, number] if word.text.eq_ignore_ascii_case("pid") => number_of_process(session, number),
        [_, word, ..] => Err(unknown_word(word, "options", &["pid"])),
        _ => Err(usage(line)),
    }
}

/// What names there are for addresses in instructions.
pub(crate) fn names_for_instructions(session: &Session) -> Rc<dyn Names> {
    match session.names().shown() {
        Ok(known) => Rc::new(known),
        Err(_) => Rc::new(NoNames),
    }
}

/// A word as a count that does not depend on the machine: for who foretells.
pub(crate) fn fixed_count(word: &Word) -> Result<u64, Error> {
    value(&word.text, &word.span, Arithmetic::Count, &mut Unseen)
}

/// A part of the line as a value. Registers are those of the selected core.
pub(crate) fn evaluate(session: &mut Session, text: &str, whole: &Range<usize>, how: Arithmetic) -> Result<u64, Error> {
    value(text, whole, how, session)
}

/// The machine before a line is run.
struct Unseen;

impl World for Unseen {
    fn registers(&mut self) -> Result<Registers, Error> {
        Err(Error::Foretold)
    }

    fn named(&mut self, _: &str) -> Named {
        Named::Nothing { near: None, nameless: None }
    }
}

impl World for Session {
    fn registers(&mut self) -> Result<Registers, Error> {
        self.registers_in_view()
    }

    fn named(&mut self, word: &str) -> Named {
        match names::find(self.names_fetched(), word) {
            // It may be of a module that came since.
            Named::Nothing { nameless: None, .. } => names::find(self.names_now(), word),
            found => found,
        }
    }
}

fn value(text: &str, whole: &Range<usize>, how: Arithmetic, world: &mut dyn World) -> Result<u64, Error> {
    expr::evaluate(text, how, world).map_err(|mut error| {
        // A quoted word is longer in the line than in itself; its spans are then those of the whole word.
        let exact = whole.len() == text.len();
        error.span = if exact { whole.start + error.span.start..whole.start + error.span.end } else { whole.clone() };
        Error::Expression { error, count: how == Arithmetic::Count, whole: whole.clone() }
    })
}

/// Sets a register of the selected core by a line of `r`, and shows nothing.
pub(crate) fn set_register(session: &mut Session, line: &Line) -> Result<(), Error> {
    r::set_by_line(session, line)
}

/// What a program tells that runs once in root: its value.
pub(crate) fn evaluate_in_root(session: &mut Session, text: &Text, program: Program) -> Result<Answer, Error> {
    let float = program.tells_float;
    program::evaluate(session, text, program).map(|told| match told {
        Told::Value(value) => value_answer(value, float),
        Told::Text(text) => Answer::of(&TextValue { text }),
    })
}

/// What a program does that runs once in root.
pub(crate) fn run_in_root(session: &mut Session, text: &Text, program: Program) -> Result<Answer, Error> {
    program::evaluate(session, text, program).map(|_| Answer::of(&Nothing {}))
}

/// A value; `float` says that it is the bits of one.
pub(crate) fn value_answer(value: u64, float: bool) -> Answer {
    let float = float.then(|| f64::from_bits(value).to_string());
    Answer::of(&Value { value: answer::hex(value), float })
}

#[derive(Serialize)]
struct Value {
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    float: Option<String>,
}

impl Report for Value {
    fn text(&self) -> String {
        let Self { value, float } = self;
        float.clone().unwrap_or_else(|| value.trim_start_matches("0x").to_owned())
    }
}

/// A value that is a text.
#[derive(Serialize)]
struct TextValue {
    text: String,
}

impl Report for TextValue {
    fn text(&self) -> String {
        let Self { text } = self;
        text.chars().map(|c| if c.is_control() { '.' } else { c }).collect()
    }
}

#[derive(Serialize)]
struct Nothing {}

impl Report for Nothing {
    fn text(&self) -> String {
        String::new()
    }
}
