//! What `!epthook` filters by: one instruction.
//!
//! **Holds always**: an address that is known to be inside of an instruction is not hooked. It is known if the prompt has the names of
//! the kernel: instructions are counted from where the name before it begins.

use super::{
    Answer, Cost, EPTHOOK, Error, EventAnswer, EventAsk, Kind, Line, Ready, Session, Units, added, only_place, parse, prepare,
    registered, resolve, units_of, wrong,
};
use crate::answer::hex;
use crate::commands;
use crate::disassembly::{self, INSTRUCTION_BYTES_MAX};
use crate::expr::Arithmetic;
use crate::line::Word;
use crate::memory;
use crate::moved::{ENDBR64, TRACED};
use abi::request::epthook::{Ask, HIDDEN_BY_OTHERS, IS_VISIBLE, PATCHED, PROGRAM};
use abi::request::memory::{Place, VIRTUAL};
use abi::request::{event, op};
use serde::Serialize;
use zerocopy::IntoBytes;

/// How far from its name's beginning an address is looked at: functions are not longer.
const LOOK_BYTES_MAX: u64 = 0x8000;

/// What became of a hook that was asked to be fast.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct How {
    /// It is.
    fast: bool,
    /// Why not, or why it is elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    /// Where it is, if that is not where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

impl How {
    /// As it is told behind the rest.
    pub(crate) fn text(&self) -> String {
        let Self { fast, why, at } = self;
        let mut text = if *fast { ", fast".to_owned() } else { ", hidden".to_owned() };
        if let Some(at) = at {
            text += &format!(" at {}", at.trim_start_matches("0x"));
        }
        if let Some(why) = why {
            text += &format!(": {why}");
        }
        text
    }
}

/// What root says of a hook; `None` if it was not asked to be fast.
pub(crate) fn how(ask: &EventAsk, answer: &EventAnswer, moved: Option<u64>) -> Option<How> {
    let at = moved.map(hex);
    let why = match u32::try_from(answer.rejected).unwrap_or(u32::MAX) {
        IS_VISIBLE if moved.is_some() => Some("behind the place that the kernel keeps for its tracer"),
        IS_VISIBLE => None,
        PATCHED => Some("the kernel patches that instruction, and looks at it before"),
        PROGRAM => Some("the kernel copies and moves pages of programs, and would copy the breakpoint"),
        HIDDEN_BY_OTHERS => Some("as long as others on its page are, or a monitor waits for reads or fetches there"),
        _ => Some("for a reason that this prompt does not know"),
    };
    let fast = answer.rejected == u64::from(IS_VISIBLE);
    (ask.flags & event::FAST != 0).then_some(How { fast, why, at })
}

/// Behind the place of the kernel's tracer, if a function begins there with one: the kernel patches that one, and looks at it before.
fn behind_tracer(session: &mut Session, place: Place) -> Result<Option<u64>, Error> {
    let Ok(known) = session.names().at_hand() else { return Ok(None) };
    let Some((start, _)) = known.table.extent(place.address) else { return Ok(None) };
    let ahead = usize::try_from(place.address - start).unwrap_or(usize::MAX);
    if ahead != 0 && ahead != ENDBR64.len() {
        return Ok(None);
    }
    let read = memory::read(session, Place { address: start, ..place }, (ahead + TRACED.len()) as u64)?;
    let bytes: Option<Vec<u8>> = read.bytes.into_iter().collect();
    let begins = bytes.as_deref().and_then(|bytes| bytes.strip_prefix(ENDBR64.get(..ahead)?));
    Ok((begins == Some(&TRACED)).then(|| place.address + TRACED.len() as u64))
}

/// What is wrong with an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// There is none.
    NoAddress,
    /// No instruction begins there.
    Inside {
        /// Where it was typed to.
        address: u64,
        /// Where the instruction begins that it is in,
        begins: u64,
        /// and the next one.
        next: u64,
    },
}

/// Refuses what is inside of an instruction, as far as that is known.
pub(super) fn look(session: &mut Session, word: &Word, place: Place) -> Result<(), Error> {
    let Ok(known) = session.names().at_hand() else { return Ok(()) };
    let Some((start, _)) = known.table.extent(place.address) else { return Ok(()) };
    let before = place.address - start;
    if before == 0 || before > LOOK_BYTES_MAX {
        return Ok(());
    }
    let read = memory::read(session, Place { address: start, ..place }, before + INSTRUCTION_BYTES_MAX as u64)?;
    check(word, place.address, start, &read.bytes)
}

/// Refuses what is inside of an instruction of these bytes, the first of which is that at `start`.
pub(super) fn check(word: &Word, address: u64, start: u64, bytes: &[Option<u8>]) -> Result<(), Error> {
    let before = address - start;
    match disassembly::around(bytes, before) {
        Some((begins, next)) if begins != before => {
            let wrong_there = Wrong::Inside { address, begins: start + begins, next: start + next };
            Err(wrong(&word.span, super::Wrong::Hook(wrong_there)))
        }
        _ => Ok(()),
    }
}

/// Registers a hook.
pub(crate) fn register(session: &mut Session, line: &Line) -> Result<Answer, Error> {
    let mut typed = parse(line, &EPTHOOK, &mut |word| commands::count(session, word))?;
    let word = only_place(line, &typed.places, super::Wrong::Hook(Wrong::NoAddress))?;
    let address = commands::evaluate(session, &word.text, &word.span, Arithmetic::Wrapping)?;
    let outputs = resolve(session, &typed.outputs)?;
    let pid = if typed.ask.pid == event::ALL { session.pid_in_view() } else { typed.ask.pid };
    let mut place = Place { address, space: VIRTUAL, pid };
    look(session, word, place)?;
    if typed.ask.flags & event::FAST != 0 {
        typed.moved = behind_tracer(session, place)?;
        place.address = typed.moved.unwrap_or(address);
    }
    registered(session, line, &EPTHOOK, typed, outputs, &mut |session, its| {
        let ask = Ask { event: *its, place };
        added(session, op::EPTHOOK_ADD, ask.as_bytes(), |_| Some(place))
    })
}

/// What it would take of the reserve.
pub(crate) fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    let typed = parse(line, &EPTHOOK, &mut commands::fixed_count)?;
    only_place(line, &typed.places, super::Wrong::Hook(Wrong::NoAddress))?;
    let ready: Ready = prepare(session, line, typed, &|session, text, line, how| text.compile(session.book(), line, how))?;
    let units = units_of(&ready).plus(Units::of(Kind::Epthook, 1));
    units.map(Cost::Takes).ok_or(Error::Foretold)
}
