//! Breakpoints: hooks that halt and do nothing else, out of a budget of their own.

use super::{EPTHOOK, EventAsk, Kind, Line, Registered, Session, added, epthook, narrow};
use crate::commands;
use crate::cost::{Cost, Units};
use crate::error::Error;
use crate::expr::Arithmetic;
use crate::line::Word;
use crate::program::{self, How, Text, Told};
use abi::request::epthook::Ask;
use abi::request::memory::{NO_PID, Place, VIRTUAL};
use abi::request::{EventAnswer, EventChange, Halted, Registers, event, op, reason};
use zerocopy::IntoBytes;

/// The options.
pub(crate) const OPTIONS: [&str; 3] = ["pid", "tid", "core"];

type Value<'n> = dyn FnMut(&Word) -> Result<u64, Error> + 'n;

/// What was typed behind the address.
fn parse(line: &Line, number: &mut Value) -> Result<EventAsk, Error> {
    let mut ask = plain();
    let mut words = line.words().iter().skip(2);
    let mut seen: Vec<&str> = Vec::new();
    while let Some(word) = words.next() {
        let lower = word.text.to_ascii_lowercase();
        let Some(option) = OPTIONS.into_iter().find(|option| *option == lower) else {
            return Err(commands::unknown_word(word, "options", &OPTIONS));
        };
        let value = words.next().ok_or_else(|| super::wrong(&word.span, super::Wrong::NoValue))?;
        // Of a process or of one of its threads.
        let same = |before: &&str| *before == option || *before != "core" && option != "core";
        if seen.iter().any(same) {
            return Err(super::wrong(&word.span, super::Wrong::Twice));
        }
        seen.push(option);
        if value.text.eq_ignore_ascii_case("all") {
            continue;
        }
        match option {
            "core" => ask.core = narrow(value, number(value)?, "a core number")?,
            "tid" => {
                ask.pid = narrow(value, number(value)?, "a thread number")?;
                ask.flags |= event::BY_THREAD;
            }
            _ => ask.pid = narrow(value, number(value)?, "a process number")?,
        }
    }
    Ok(ask)
}

/// One that fires everywhere.
fn plain() -> EventAsk {
    let flags = event::BREAK | event::BREAKPOINT;
    EventAsk { kind: EPTHOOK.number, stage: event::PRE, flags, core: event::ALL, pid: event::ALL, ..EventAsk::default() }
}

/// What it would take of the reserve.
pub(crate) fn cost(line: &Line) -> Result<Cost, Error> {
    if line.words().len() < 2 {
        return Err(commands::usage(line));
    }
    parse(line, &mut commands::fixed_count)?;
    Ok(Cost::Takes(Units::of(Kind::Breakpoint, 1)))
}

/// Registers what was typed, with these flags more; its number, and where it is.
pub(crate) fn register(session: &mut Session, line: &Line, flags: u32) -> Result<(u32, u64), Error> {
    let Some(word) = line.words().get(1) else { return Err(commands::usage(line)) };
    let ask = parse(line, &mut |word| commands::count(session, word))?;
    let address = commands::evaluate(session, &word.text, &word.span, Arithmetic::Wrapping)?;
    let named = ask.pid != event::ALL && ask.flags & event::BY_THREAD == 0;
    let pid = if named { ask.pid } else { session.pid_in_view() };
    let place = Place { address, space: VIRTUAL, pid };
    epthook::look(session, word, place)?;
    let answer = add(session, EventAsk { flags: ask.flags | flags, ..ask }, place)?;
    let registered = Registered { text: line.text().trim().to_owned(), program: None, is_breakpoint: true };
    session.book().events.insert(answer.id, Some(registered));
    Ok((answer.id, address))
}

fn add(session: &mut Session, event: EventAsk, place: Place) -> Result<EventAnswer, Error> {
    added(session, op::EPTHOOK_ADD, Ask { event, place }.as_bytes(), |_| Some(place))
}

/// Lets the machine run until the thread of the selected core comes to an address with a stack that is no deeper than `stack`, or until
/// something else halts it before. The breakpoint that this takes is cleared, whatever comes: by root, if this
/// program is killed.
pub(crate) fn run_to(session: &mut Session, address: u64, (core, stack): (u32, u64)) -> Result<(Halted, bool), Error> {
    let temporary = EventAsk { flags: plain().flags | event::TEMPORARY, ..plain() };
    let its = match thread(session)? {
        // The idle loop's, which stays on its core.
        0 => EventAsk { core, ..temporary },
        thread => EventAsk { pid: thread, flags: temporary.flags | event::BY_THREAD, ..temporary },
    };
    let EventAnswer { id, .. } = add(session, its, Place { address, space: VIRTUAL, pid: NO_PID })?;
    let came = run_until(session, id, stack);
    // What it was is told first; an event that Linux' end of the page has cleared is gone already.
    let _cleared = session.call(op::EVENT_CHANGE, EventChange { what: event::CLEAR, id }.as_bytes());
    came
}

fn run_until(session: &mut Session, id: u32, stack: u64) -> Result<(Halted, bool), Error> {
    loop {
        session.go()?;
        let halted = session.wait_for_halt()?;
        if halted.reason != reason::BREAKPOINT || halted.event != id {
            return Ok((halted, false));
        }
        let all: Registers = session.ask(op::REGISTERS, &[])?;
        if all.gprs[4] >= stack {
            return Ok((halted, true));
        }
    }
}

/// The thread of the selected core; 0: the idle loop's, of which each core has one, or nothing is known of threads.
fn thread(session: &mut Session) -> Result<u32, Error> {
    let line = Line::new("$tid");
    let text = Text::in_line(&line, &(0..line.text().len()));
    let program = text.compile(session.book(), &line, How::Expression)?;
    match program::evaluate(session, &text, program)? {
        Told::Value(thread) => Ok(u32::try_from(thread).unwrap_or(0)),
        Told::Text(_) => Ok(0),
    }
}
