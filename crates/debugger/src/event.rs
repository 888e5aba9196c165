//! What the event commands have in common: their options, the program, the request.
//!
//! ```text
//! !KIND [FILTER] [pid N|all] [core N|all] [stage pre|post|all] [sc on|off] [buffer N] [imm yes|no]
//!       [output {A, B}] [script { … }] [[asm] condition { … }] [[asm] code { … }]
//! ```
//! **Holds always**
//! - V1: options may stand in any order, each once.
//! - V2: event and program are one request, which root does as a whole or not at all.
//! - V3: what `prealloc plan` foretells is computed by what registers.

pub(crate) mod breakpoint;
mod control;
pub(crate) mod epthook;
pub(crate) mod epthook2;
pub(crate) mod monitor;

use crate::answer::{Answer, Report};
use crate::book::Registered;
use crate::code;
use crate::commands::{self, Command, Takes};
use crate::cost::{Cost, Units};
use crate::error::{Error, Reach, Refusal};
use crate::globals;
use crate::line::{Line, Word};
use crate::memory;
use crate::nearest;
use crate::outputs;
use crate::program::{self, How, Text};
use crate::session::Session;
use crate::target::Mode;
use abi::code as codes;
use abi::kind::Kind;
use abi::request::memory::Place;
use abi::request::{self, EVENT_ROWS_MAX, EventAnswer, EventAsk, EventRow, Events, PROGRAM_WORDS_MAX, event, op};
use script::Program;
use serde::Serialize;
use std::{io, ops::Range};
use zerocopy::IntoBytes;

/// Bytes of a program that a regular event holds, as documented.
pub(crate) const REGULAR_PROGRAM_BYTES: usize = 8192;
/// Bytes of a regular safe buffer, as documented.
const REGULAR_BUFFER_BYTES: u64 = 4096;
/// Bytes of a condition's machine code that a regular event holds, as documented.
const REGULAR_CONDITION_BYTES: usize = 100;
/// ... and a big one.
const BIG_CONDITION_BYTES: usize = 4096;

/// A kind of event.
pub(crate) struct Wanted {
    /// One of [`event`].
    pub(crate) number: u32,
    /// Its word, as `events` and programs get it.
    pub(crate) word: &'static str,
    /// What its filter is, and the largest there is.
    pub(crate) filter: Option<(&'static str, u64)>,
}

/// `!cpuid`.
pub(crate) static CPUID: Wanted = Wanted { number: event::CPUID, word: "cpuid", filter: Some(("a leaf", 0xffff_ffff)) };
/// `!msrread`.
pub(crate) static MSR_READ: Wanted = Wanted { number: event::MSR_READ, word: "msrread", filter: Some(("an MSR", 0xffff_ffff)) };
/// `!msrwrite`.
pub(crate) static MSR_WRITE: Wanted =
    Wanted { number: event::MSR_WRITE, word: "msrwrite", filter: Some(("an MSR", 0xffff_ffff)) };
/// `!tsc`.
pub(crate) static TSC: Wanted = Wanted { number: event::TSC, word: "tsc", filter: None };
/// `!vmcall`.
pub(crate) static VMCALL: Wanted = Wanted { number: event::HYPERCALL, word: "vmcall", filter: None };
/// `!exception`.
pub(crate) static EXCEPTION: Wanted =
    Wanted { number: event::EXCEPTION, word: "exception", filter: Some(("a vector", u64::MAX)) };
/// `!interrupt`.
pub(crate) static INTERRUPT: Wanted =
    Wanted { number: event::INTERRUPT, word: "interrupt", filter: Some(("a vector", u64::MAX)) };
/// `!syscall`.
pub(crate) static SYSCALL: Wanted =
    Wanted { number: event::SYSCALL, word: "syscall", filter: Some(("a system call's number", 0xffff_ffff)) };
/// `!sysret`.
pub(crate) static SYSRET: Wanted = Wanted { number: event::SYSRET, word: "sysret", filter: None };
/// `!ioin`.
pub(crate) static PORT_IN: Wanted = Wanted { number: event::PORT_IN, word: "ioin", filter: Some(("a port", 0xffff)) };
/// `!ioout`.
pub(crate) static PORT_OUT: Wanted = Wanted { number: event::PORT_OUT, word: "ioout", filter: Some(("a port", 0xffff)) };
/// `!crwrite`.
pub(crate) static CONTROL_WRITE: Wanted =
    Wanted { number: event::CONTROL_WRITE, word: "crwrite", filter: Some(("a control register", 0xffff_ffff)) };
/// `!dr`.
pub(crate) static DEBUG_REGISTER: Wanted = Wanted { number: event::DEBUG_REGISTER, word: "dr", filter: None };
/// `!monitor`.
pub(crate) static MONITOR: Wanted = Wanted { number: event::MONITOR, word: "monitor", filter: None };
/// `!epthook`.
pub(crate) static EPTHOOK: Wanted = Wanted { number: event::EPTHOOK, word: "epthook", filter: None };

/// `!epthook2`.
pub(crate) static EPTHOOK2: Wanted = Wanted { number: event::EPTHOOK2, word: "epthook2", filter: None };

/// The word for a kind of [`event`].
pub(crate) fn word(number: u32) -> &'static str {
    let kinds = [
        &CPUID,
        &MSR_READ,
        &MSR_WRITE,
        &TSC,
        &VMCALL,
        &PORT_IN,
        &PORT_OUT,
        &EXCEPTION,
        &INTERRUPT,
        &SYSCALL,
        &SYSRET,
        &CONTROL_WRITE,
        &DEBUG_REGISTER,
        &MONITOR,
        &EPTHOOK,
        &EPTHOOK2,
    ];
    kinds.iter().find(|kind| kind.number == number).map_or("unknown", |kind| kind.word)
}

/// The options, in the order of the manuals.
pub(crate) const OPTIONS: [&str; 11] =
    ["pid", "core", "stage", "sc", "buffer", "imm", "output", "script", "condition", "code", ASSEMBLY];
/// A word of `!epthook` alone.
const FAST: &str = "fast";
/// Stands before an option whose code is to be assembled.
const ASSEMBLY: &str = "asm";
const ASSEMBLED: [&str; 2] = ["condition", "code"];
/// For completion: each option and what may stand behind it.
const CHOICES: &[(&str, &[&str])] = &[
    ("pid", &["all"]),
    ("core", &["all"]),
    ("stage", &["pre", "post", "all"]),
    ("sc", &["on", "off"]),
    ("buffer", &[]),
    ("imm", &["yes", "no"]),
    ("output", &[]),
    ("script", &[]),
    ("condition", &[]),
    ("code", &[]),
    (ASSEMBLY, &ASSEMBLED),
];

/// What does not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// This option stands there twice.
    Twice,
    /// Nothing stands behind this option.
    NoValue,
    /// A number larger than this.
    TooLarge {
        /// What it is, such as "a leaf".
        what: &'static str,
        /// The largest.
        most: u64,
    },
    /// No exception has this vector.
    NotException,
    /// No external interrupt has this vector.
    NotInterrupt,
    /// The way back of a system call cannot be suppressed.
    NoWayBack,
    /// A word where braces must be.
    NoBraces,
    /// Braces that are not closed.
    Open,
    /// A control register whose writes cannot be watched.
    NoSuchControl,
    /// A mask without a bit.
    NoBit,
    /// A word where braces with machine code must be.
    NoCodeBraces {
        /// Or with assembly.
        assembly: bool,
    },
    /// Nothing is in them.
    NoCode,
    /// A letter that is no digit.
    NotHex,
    /// A byte has one digit.
    OddDigits,
    /// There is no assembler on this machine.
    NoAssembler,
    /// It cannot be run.
    Assembler {
        /// Why.
        why: io::ErrorKind,
    },
    /// There is no effect to suppress after the instruction.
    ShortCircuitPost,
    /// The script uses `$buffer`, and there is none; the place is the end of the line.
    NoBuffer,
    /// Without a script it would halt the machine on which the prompt runs.
    CannotHalt,
    /// What no kind but hooks can be.
    NotFast,
    /// Of bytes to be monitored.
    Range(monitor::Wrong),
    /// Of an instruction to be hooked.
    Hook(epthook::Wrong),
    /// Of one that a jump is to take the place of.
    Detour(epthook2::Wrong),
}

/// What was typed.
struct Typed {
    ask: EventAsk,
    text: Option<Text>,
    outputs: Vec<Name>,
    condition: Vec<u8>,
    code: Vec<u8>,
    /// The code stands before the script.
    code_first: bool,
    /// Words of `!monitor`, `!epthook` and `!epthook2` that are no options.
    places: Vec<Word>,
    /// Where a hook or the jump of a detour is put instead, if it is not where it was asked for.
    moved: Option<u64>,
}

/// The name of an output, and its place.
type Name = (String, Range<usize>);

type Number<'n> = dyn FnMut(&Word) -> Result<u64, Error> + 'n;

fn wrong(span: &Range<usize>, wrong: Wrong) -> Error {
    Error::Event { span: span.clone(), wrong }
}

/// The word that is the address of an instruction; `none` is what is wrong without one.
fn only_place<'l>(line: &Line, words: &'l [Word], none: Wrong) -> Result<&'l Word, Error> {
    let end = line.text().trim_end().len();
    match words {
        [] => Err(wrong(&(end..end), none)),
        [word] => Ok(word),
        [_, word, ..] => Err(commands::unknown_word(word, "options", &OPTIONS)),
    }
}

fn parse(line: &Line, kind: &Wanted, number: &mut Number) -> Result<Typed, Error> {
    let mut ask = EventAsk { kind: kind.number, stage: event::PRE, core: event::ALL, pid: event::ALL, ..EventAsk::default() };
    let (mut seen, mut text, mut outputs) = (Vec::new(), None, Vec::new());
    let (mut stage_span, mut imm_span) = (None, None);
    let (mut condition, mut code, mut code_first, mut places) = (Vec::new(), Vec::new(), false, Vec::new());
    let mut words = line.words().iter().skip(1);
    while let Some(mut word) = words.next() {
        let lower = word.text.to_ascii_lowercase();
        if lower == FAST {
            match kind.number {
                event::EPTHOOK if ask.flags & event::FAST == 0 => ask.flags |= event::FAST,
                event::EPTHOOK => return Err(wrong(&word.span, Wrong::Twice)),
                _ => return Err(wrong(&word.span, Wrong::NotFast)),
            }
            continue;
        }
        let Some(mut option) = OPTIONS.into_iter().find(|option| *option == lower) else {
            // Whatever begins like a number is meant for the filter.
            match kind.filter {
                None if matches!(kind.number, event::MONITOR | event::EPTHOOK | event::EPTHOOK2)
                    && line.block(word).is_none() =>
                {
                    places.push(word.clone());
                    continue;
                }
                Some((what, most)) if ask.flags & event::OPTION == 0 && line.block(word).is_none() => {
                    let value = number(word).map_err(|error| filter_error(word, error))?;
                    ask.option = at_most(word, value, what, most)?;
                    check_vector(word, kind, value)?;
                    ask.flags |= event::OPTION;
                    control::check(kind, word, value)?;
                    continue;
                }
                Some(_) if control::wants_mask(kind, &ask) && line.block(word).is_none() => {
                    let value = number(word).map_err(|error| filter_error(word, error))?;
                    ask.option |= control::mask(word, value)? << 32;
                    continue;
                }
                _ => return Err(commands::unknown_word(word, "options", &OPTIONS)),
            }
        };
        let assembly = option == ASSEMBLY;
        if assembly {
            word = words.next().ok_or_else(|| wrong(&word.span, Wrong::NoValue))?;
            let found = ASSEMBLED.into_iter().find(|option| option.eq_ignore_ascii_case(&word.text));
            option = found.ok_or_else(|| commands::unknown_word(word, "words", &ASSEMBLED))?;
        }
        if seen.contains(&option) {
            return Err(wrong(&word.span, Wrong::Twice));
        }
        seen.push(option);
        let Some(value) = words.next() else { return Err(wrong(&word.span, Wrong::NoValue)) };
        let one_of = |choices: &[(&'static str, u32)], what| {
            let found = choices.iter().find(|(choice, _)| choice.eq_ignore_ascii_case(&value.text));
            let names: Vec<&'static str> = choices.iter().map(|(choice, _)| *choice).collect();
            found.map(|(_, number)| *number).ok_or_else(|| commands::unknown_word(value, what, &names))
        };
        match option {
            "pid" | "core" if value.text.eq_ignore_ascii_case("all") => {}
            "pid" => ask.pid = narrow(value, number(value)?, "a process number")?,
            "core" => ask.core = narrow(value, number(value)?, "a core number")?,
            "stage" => {
                let stages = [("pre", event::PRE), ("post", event::POST), ("all", event::PRE | event::POST)];
                ask.stage = one_of(&stages, "stages")?;
                stage_span = Some(value.span.clone());
            }
            "sc" => {
                ask.flags |= one_of(&[("on", event::SHORT_CIRCUIT), ("off", 0)], "words")?;
                if kind.number == event::SYSRET && ask.flags & event::SHORT_CIRCUIT != 0 {
                    return Err(wrong(&value.span, Wrong::NoWayBack));
                }
            }
            "buffer" => ask.buffer_bytes = number(value)?,
            "imm" => {
                ask.flags |= one_of(&[("yes", 0), ("no", event::GATHER)], "words")?;
                imm_span = Some(value.span.clone());
            }
            "output" => outputs = output_names(line, value)?,
            "condition" => condition = code::bytes(line, value, assembly)?,
            "code" => (code, code_first) = (code::bytes(line, value, assembly)?, text.is_none()),
            _ => text = Some(script(line, value)?),
        }
    }
    if let Some(span) = imm_span.filter(|_| ask.flags & event::GATHER != 0 && !outputs.is_empty()) {
        return Err(Error::Output { span, wrong: outputs::Wrong::Gathers });
    }
    match stage_span {
        Some(span) if ask.flags & event::SHORT_CIRCUIT != 0 && ask.stage != event::PRE => {
            Err(wrong(&span, Wrong::ShortCircuitPost))
        }
        _ => Ok(Typed { ask, text, outputs, condition, code, code_first, places, moved: None }),
    }
}

/// A word that is neither a number nor an option was meant to be what it is nearer to.
fn filter_error(word: &Word, error: Error) -> Error {
    let misspelt = nearest::of(&word.text, OPTIONS.into_iter()).is_some();
    if misspelt && matches!(error, Error::Expression { .. }) {
        return commands::unknown_word(word, "options", &OPTIONS);
    }
    error
}

fn at_most(word: &Word, value: u64, what: &'static str, most: u64) -> Result<u64, Error> {
    if value <= most { Ok(value) } else { Err(wrong(&word.span, Wrong::TooLarge { what, most })) }
}

/// Vectors below 20 are exceptions, those up to ff interrupts.
fn check_vector(word: &Word, kind: &Wanted, value: u64) -> Result<(), Error> {
    match kind.number {
        event::EXCEPTION if value > 0x1f => Err(wrong(&word.span, Wrong::NotException)),
        event::INTERRUPT if !(0x20..=0xff).contains(&value) => Err(wrong(&word.span, Wrong::NotInterrupt)),
        _ => Ok(()),
    }
}

/// A number below [`event::ALL`].
fn narrow(word: &Word, value: u64, what: &'static str) -> Result<u32, Error> {
    let most = event::ALL - 1;
    let value = at_most(word, value, what, most.into())?;
    Ok(u32::try_from(value).unwrap_or(most))
}

/// `{ … }` or `{file:PATH}`.
fn script(line: &Line, word: &Word) -> Result<Text, Error> {
    let block = line.block(word).ok_or_else(|| wrong(&word.span, Wrong::NoBraces))?;
    if !block.closed {
        return Err(wrong(&(word.span.start..word.span.start + 1), Wrong::Open));
    }
    match line.text()[block.inner.clone()].trim().strip_prefix("file:") {
        Some(path) => Text::in_file(path.trim().trim_matches('"')),
        None => Ok(Text::in_line(line, &block.inner)),
    }
}

/// `{A, B}`.
fn output_names(line: &Line, word: &Word) -> Result<Vec<Name>, Error> {
    let refuse = |span: &Range<usize>, wrong| Err(Error::Output { span: span.clone(), wrong });
    let Some(block) = line.block(word) else { return refuse(&word.span, outputs::Wrong::NoBraces) };
    if !block.closed {
        return Err(wrong(&(word.span.start..word.span.start + 1), Wrong::Open));
    }
    let text = &line.text()[block.inner.clone()];
    let mut names: Vec<Name> = Vec::new();
    for name in text.split(|c: char| c == ',' || c.is_whitespace()).filter(|name| !name.is_empty()) {
        let start = block.inner.start + (name.as_ptr().addr() - text.as_ptr().addr());
        let span = start..start + name.len();
        if names.iter().any(|(other, _)| other == name) {
            return refuse(&span, outputs::Wrong::Twice);
        }
        if names.len() == outputs::OF_AN_EVENT_MAX {
            return refuse(&span, outputs::Wrong::TooMany(outputs::OF_AN_EVENT_MAX));
        }
        names.push((name.to_owned(), span));
    }
    if names.is_empty() { Err(wrong(&word.span, Wrong::NoValue)) } else { Ok(names) }
}

/// An event and what it runs, ready to be sent.
struct Ready {
    ask: EventAsk,
    program: Option<Program>,
    /// Program, condition and code.
    staged: Vec<u64>,
}

impl Ready {
    /// Whether it needs a big event.
    fn is_big(&self) -> bool {
        self.staged.len() * 8 > REGULAR_PROGRAM_BYTES || self.ask.condition_bytes as usize > REGULAR_CONDITION_BYTES
    }
}

/// Compiles for `register`, or only to foretell.
type Compile<'c> = &'c dyn Fn(&mut Session, &Text, &Line, How) -> Result<Program, Error>;

fn prepare(session: &mut Session, line: &Line, typed: Typed, compile: Compile) -> Result<Ready, Error> {
    let Typed { mut ask, text, outputs: _, condition, code, code_first, places: _, moved: _ } = typed;
    let end = line.text().trim_end().len();
    let program = text.map(|text| compile(session, &text, line, How::Script)).transpose()?;
    match &program {
        Some(program) if program.uses_buffer && ask.buffer_bytes == 0 => return Err(wrong(&(end..end), Wrong::NoBuffer)),
        Some(_) if code_first => ask.flags |= event::CODE_FIRST,
        None if code.is_empty() && session.mode() == Mode::Vmi => return Err(wrong(&(end..end), Wrong::CannotHalt)),
        None if code.is_empty() => ask.flags |= event::BREAK,
        _ => {}
    }
    let too_large = |code, bytes: usize, most: usize| {
        let answer = EventAnswer { bytes: bytes as u64, bytes_most: most as u64, ..EventAnswer::default() };
        Err(refused(session, code, answer))
    };
    if condition.len() > BIG_CONDITION_BYTES {
        return too_large(codes::CONDITION_TOO_LARGE, condition.len(), BIG_CONDITION_BYTES);
    }
    let mut staged = program.as_ref().map(|program| program.words.clone()).unwrap_or_default();
    let program_words = staged.len();
    staged.extend(code::words(&condition));
    staged.extend(code::words(&code));
    if staged.len() > PROGRAM_WORDS_MAX {
        return too_large(codes::PROGRAM_TOO_LARGE, 8 * staged.len(), 8 * PROGRAM_WORDS_MAX);
    }
    // All of them are 81 920 at most.
    let number = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    ask.program_words = number(program_words);
    (ask.condition_bytes, ask.code_bytes) = (number(condition.len()), number(code.len()));
    Ok(Ready { ask, program, staged })
}

/// Registers an event.
pub(crate) fn register(session: &mut Session, line: &Line, kind: &'static Wanted) -> Result<Answer, Error> {
    let typed = parse(line, kind, &mut |word| commands::count(session, word))?;
    let outputs = resolve(session, &typed.outputs)?;
    registered(session, line, kind, typed, outputs, &mut add)
}

type Add<'a> = &'a mut dyn FnMut(&mut Session, &EventAsk) -> Result<EventAnswer, Error>;

/// Registers what was typed; `add` sends the request.
fn registered(
    session: &mut Session,
    line: &Line,
    kind: &'static Wanted,
    typed: Typed,
    outputs: Vec<usize>,
    add: Add,
) -> Result<Answer, Error> {
    let moved = typed.moved;
    let Ready { ask, program, staged } = prepare(session, line, typed, &globals::compile)?;
    session.hear_alone();
    program::stage(session, &staged)?;
    let answer = add(session, &ask)?;
    let EventAnswer { id, unit, .. } = answer;
    let monitor_units = monitor::pages_of(&answer, ask.kind);
    let units_if = |kind| if ask.kind == kind { answer.asked } else { 0 };
    let (epthook_units, epthook2_units) = (units_if(event::EPTHOOK), units_if(event::EPTHOOK2));
    let EventAsk { program_words, condition_bytes, code_bytes, buffer_bytes, .. } = ask;
    session.outputs().route(id, outputs);
    let book = session.book();
    book.events.insert(id, Some(Registered { text: line.text().trim().to_owned(), program, is_breakpoint: false }));
    let unit = Kind::from_number(unit).map_or("unknown", Kind::word);
    let (kind, program_bytes) = (kind.word, u64::from(program_words) * 8);
    Ok(Answer::of(&Added {
        event: id,
        kind,
        unit,
        monitor_units,
        epthook_units,
        epthook2_units,
        jump: moved.filter(|_| ask.kind == event::EPTHOOK2).map(|at| format!("{at:x}")),
        program_bytes,
        condition_bytes,
        code_bytes,
        buffer_bytes,
        how: epthook::how(&ask, &answer, moved),
    }))
}

/// Outputs by their names: they must be open.
fn resolve(session: &Session, names: &[Name]) -> Result<Vec<usize>, Error> {
    let words: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
    session.outputs().resolve(&words).map_err(|(nth, wrong)| {
        // It is one of these.
        let span = names.get(nth).map_or(0..0, |(_, span)| span.clone());
        Error::Output { span, wrong }
    })
}

fn add(session: &mut Session, ask: &EventAsk) -> Result<EventAnswer, Error> {
    added(session, op::EVENT_ADD, ask.as_bytes(), |_| None)
}

/// Asks root to register an event. `place` is which address a refusal is about that is about one, if the event has one.
fn added(
    session: &mut Session,
    op: u32,
    ask: &[u8],
    place: impl FnOnce(&EventAnswer) -> Option<Place>,
) -> Result<EventAnswer, Error> {
    let (code, body) = session.call(op, ask)?;
    match request::body::<EventAnswer>(&body) {
        Some(answer) if code == codes::SUCCESS => Ok(answer),
        Some(answer) => {
            let is_about_place = matches!(code, codes::ADDRESS_INVALID | codes::PHYSICAL_INVALID | codes::PID_INVALID);
            let place = if is_about_place { place(&answer) } else { None };
            Err(place.map_or_else(|| refused(session, code, answer), |place| memory::refused(code, place, 0)))
        }
        None if code != codes::SUCCESS && body.is_empty() => Err(refused(session, code, EventAnswer::default())),
        None => Err(Error::Reach(Reach::Malformed { op })),
    }
}

/// Events and breakpoints, by id.
pub(crate) fn rows(session: &mut Session) -> Result<Vec<EventRow>, Error> {
    let mut rows: Vec<EventRow> = Vec::new();
    loop {
        let from = rows.last().map_or(0, |row| u64::from(row.id) + 1);
        let events: Events = session.ask(op::EVENTS, request::Number { value: from }.as_bytes())?;
        let count = usize::try_from(events.count).unwrap_or(usize::MAX).min(EVENT_ROWS_MAX);
        // Ids rise, or this would never end.
        let more = events.rows[..count].iter().take_while(|row| u64::from(row.id) >= from);
        let before = rows.len();
        rows.extend(more);
        if events.more == 0 || rows.len() == before {
            return Ok(rows);
        }
    }
}

/// Whether one of them is a breakpoint.
pub(crate) fn is_breakpoint(row: &EventRow) -> bool {
    row.unit == Kind::Breakpoint as u32
}

/// A refusal of root's about an event.
pub(crate) fn refused(session: &Session, code: u32, answer: EventAnswer) -> Error {
    Error::Refused(Refusal::Event { code, answer, debugger_mode: session.mode() == Mode::Debugger })
}

/// What it would take of the reserve.
pub(crate) fn cost(session: &mut Session, line: &Line, kind: &Wanted) -> Result<Cost, Error> {
    let typed = parse(line, kind, &mut commands::fixed_count)?;
    let ready = prepare(session, line, typed, &|session, text, line, how| text.compile(session.book(), line, how))?;
    Ok(Cost::Takes(units_of(&ready)))
}

/// Units of the event and of its buffer.
fn units_of(ready: &Ready) -> Units {
    let event = Units::of(if ready.is_big() { Kind::BigEvent } else { Kind::RegularEvent }, 1);
    let buffer = match ready.ask.buffer_bytes {
        0 => Units::default(),
        1..=REGULAR_BUFFER_BYTES => Units::of(Kind::RegularSafeBuffer, 1),
        _ => Units::of(Kind::BigSafeBuffer, 1),
    };
    // One and one always fit.
    event.plus(buffer).unwrap_or_default()
}

/// The command of a kind.
pub(crate) const fn command(
    names: &'static [&'static str],
    run: fn(&mut Session, &Line, &'static Command) -> Result<Answer, Error>,
    cost: commands::Foretell,
) -> Command {
    Command { names, takes: &[Takes::Options(CHOICES)], run, cost: Some(cost) }
}

/// The command of monitors.
pub(crate) const fn monitor_command(
    run: fn(&mut Session, &Line, &'static Command) -> Result<Answer, Error>,
    cost: commands::Foretell,
) -> Command {
    const ACCESSES: Takes = Takes::Words(&["r", "w", "x", "rw", "rx", "wx", "rwx", "va", "pa"]);
    Command { names: &["!monitor"], takes: &[ACCESSES, Takes::Options(CHOICES)], run, cost: Some(cost) }
}

/// The command of hooks.
pub(crate) const fn hook_command(
    run: fn(&mut Session, &Line, &'static Command) -> Result<Answer, Error>,
    cost: commands::Foretell,
) -> Command {
    Command { names: &["!epthook"], takes: &[Takes::Words(&[FAST]), Takes::Options(CHOICES)], run, cost: Some(cost) }
}

/// The command of detours.
pub(crate) const fn detour_command(
    run: fn(&mut Session, &Line, &'static Command) -> Result<Answer, Error>,
    cost: commands::Foretell,
) -> Command {
    Command { names: &["!epthook2"], takes: &[Takes::Words(&[]), Takes::Options(CHOICES)], run, cost: Some(cost) }
}

/// A registered event.
#[derive(Serialize)]
struct Added {
    event: u32,
    kind: &'static str,
    unit: &'static str,
    #[serde(skip_serializing_if = "is_none")]
    monitor_units: u64,
    #[serde(skip_serializing_if = "is_none")]
    epthook_units: u64,
    #[serde(skip_serializing_if = "is_none")]
    epthook2_units: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    jump: Option<String>,
    program_bytes: u64,
    condition_bytes: u32,
    code_bytes: u32,
    buffer_bytes: u64,
    /// Of a hook that was asked to be fast.
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<epthook::How>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as the derive calls it")]
fn is_none(units: &u64) -> bool {
    *units == 0
}

impl Report for Added {
    fn text(&self) -> String {
        let Self { event, kind: _, unit, monitor_units, epthook_units, epthook2_units, jump, .. } = self;
        let Self { program_bytes, condition_bytes, code_bytes, buffer_bytes, how, .. } = self;
        let mut text = format!("event {event:x} registered: {unit}");
        for (kind, units) in [(Kind::Monitor, monitor_units), (Kind::Epthook, epthook_units), (Kind::Epthook2, epthook2_units)]
        {
            if *units > 0 {
                text += &format!(", 0x{units:x} {}", kind.word());
            }
        }
        if *program_bytes > 0 {
            text += &format!(", program of 0x{program_bytes:x} bytes");
        }
        for (what, bytes) in [("condition", condition_bytes), ("code", code_bytes)] {
            if *bytes > 0 {
                text += &format!(", {what} of 0x{bytes:x}");
            }
        }
        if *buffer_bytes > 0 {
            text += &format!(", $buffer of 0x{buffer_bytes:x}");
        }
        if let Some(how) = how {
            text += &how.text();
        }
        if let Some(jump) = jump {
            text += &format!("\n     the jump stands at {jump}, behind what Linux traces by");
        }
        text
    }
}
