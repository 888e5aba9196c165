//! What `!epthook` filters by: one instruction.
//!
//! **Holds always**: an address that is known to be inside of an instruction is not hooked. It is known if the prompt has the names of
//! the kernel: instructions are counted from where the name before it begins.

use super::{
    Answer, Cost, EPTHOOK, Error, Kind, Line, OPTIONS, Ready, Session, Units, added, parse, prepare, registered, resolve,
    units_of, wrong,
};
use crate::commands;
use crate::disassembly::{self, INSTRUCTION_BYTES_MAX};
use crate::expr::Arithmetic;
use crate::line::Word;
use crate::memory;
use abi::request::epthook::Ask;
use abi::request::memory::{NO_PID, Place, VIRTUAL};
use abi::request::{event, op};
use zerocopy::IntoBytes;

/// How far from its name's beginning an address is looked at: functions are not longer.
const LOOK_BYTES_MAX: u64 = 0x8000;

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

/// The word that is the address.
fn place<'l>(line: &Line, words: &'l [Word]) -> Result<&'l Word, Error> {
    let end = line.text().trim_end().len();
    match words {
        [] => Err(wrong(&(end..end), super::Wrong::Hook(Wrong::NoAddress))),
        [word] => Ok(word),
        [_, word, ..] => Err(commands::unknown_word(word, "options", &OPTIONS)),
    }
}

/// Refuses what is inside of an instruction, as far as that is known.
fn look(session: &mut Session, word: &Word, place: Place) -> Result<(), Error> {
    let Ok(known) = session.names().at_hand() else { return Ok(()) };
    let Some((start, _)) = known.table.extent(place.address) else { return Ok(()) };
    let before = place.address - start;
    if before == 0 || before > LOOK_BYTES_MAX {
        return Ok(());
    }
    let read = memory::read(session, Place { address: start, ..place }, before + INSTRUCTION_BYTES_MAX as u64)?;
    match disassembly::around(&read.bytes, before) {
        Some((begins, next)) if begins != before => {
            let Place { address, .. } = place;
            let wrong_there = Wrong::Inside { address, begins: start + begins, next: start + next };
            Err(wrong(&word.span, super::Wrong::Hook(wrong_there)))
        }
        _ => Ok(()),
    }
}

/// Registers a hook.
pub(crate) fn register(session: &mut Session, line: &Line) -> Result<Answer, Error> {
    let typed = parse(line, &EPTHOOK, &mut |word| commands::count(session, word))?;
    let word = place(line, &typed.places)?;
    let address = commands::evaluate(session, &word.text, &word.span, Arithmetic::Wrapping)?;
    let outputs = resolve(session, &typed.outputs)?;
    let pid = if typed.ask.pid == event::ALL { NO_PID } else { typed.ask.pid };
    let place = Place { address, space: VIRTUAL, pid };
    look(session, word, place)?;
    registered(session, line, &EPTHOOK, typed, outputs, &mut |session, its| {
        let ask = Ask { event: *its, place };
        added(session, op::EPTHOOK_ADD, ask.as_bytes(), |_| Some(place))
    })
}

/// What it would take of the reserve.
pub(crate) fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    let typed = parse(line, &EPTHOOK, &mut commands::fixed_count)?;
    place(line, &typed.places)?;
    let ready: Ready = prepare(session, line, typed, &|session, text, line, how| text.compile(session.book(), line, how))?;
    let units = units_of(&ready).plus(Units::of(Kind::Epthook, 1));
    units.map(Cost::Takes).ok_or(Error::Foretold)
}
