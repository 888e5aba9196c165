//! What `!epthook2` filters by: one instruction, which a jump takes the place of.
//!
//! **Holds always**
//! - T1: nothing is asked of root before the instructions that make room are known, and known to do the same elsewhere (`moved`).
//! - T2: what the kernel keeps its own probes out of is refused, and so is what it finds by the addresses of instructions.

use super::{
    Answer, Cost, EPTHOOK2, Error, Kind, Line, Ready, Session, Units, added, epthook, only_place, parse, prepare, registered,
    resolve, units_of, wrong,
};
use crate::commands;
use crate::expr::Arithmetic;
use crate::line::Word;
use crate::memory;
use crate::moved::{self, Fixed, Moved, Not};
use crate::names::Known;
use abi::request::epthook2::Ask;
use abi::request::memory::{NO_PID, Place, VIRTUAL};
use abi::request::{event, op};
use symbols::HIGH_HALF;
use zerocopy::IntoBytes;

/// How many bytes of a function are looked at: none is longer.
const FUNCTION_BYTES_MAX: u64 = 0x1_0000;
/// Code that runs on another stack or before the kernel is in order; in which it has no probes of its own, either.
const KEPT_FREE: [[&str; 2]; 4] = [
    ["__entry_text_start", "__entry_text_end"],
    ["__noinstr_text_start", "__noinstr_text_end"],
    ["__cpuidle_text_start", "__cpuidle_text_end"],
    ["__kprobes_text_start", "__kprobes_text_end"],
];
/// Instructions that may fault, and where they go on then: pairs of distances and a word, by the address of the instruction.
const FAULTS: [&str; 2] = ["__start___ex_table", "__stop___ex_table"];
const FAULT_BYTES: u64 = 12;
/// Calls that Linux changes while it runs: pairs of distances.
const PATCHED: [&str; 2] = ["__start_static_call_sites", "__stop_static_call_sites"];
const PATCHED_BYTES: usize = 8;

/// What is wrong with an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// There is none.
    NoAddress,
    /// Behind the instruction there is no stage.
    Stage,
    /// It is a program's.
    Program,
    /// Nobody knows where its function ends.
    Nameless,
    /// The kernel keeps its own probes out of it.
    KeptFree,
    /// An instruction there may fault, and the kernel finds by its address where it goes on.
    Faults {
        /// That one.
        address: u64,
    },
    /// It cannot be moved.
    Not(Not),
}

fn refuse(word: &Word, why: Wrong) -> Error {
    wrong(&word.span, super::Wrong::Detour(why))
}

fn check_stage(line: &Line, stage: u32) -> Result<(), Error> {
    let mut words = line.words().iter();
    if stage != event::PRE && words.any(|word| word.text.eq_ignore_ascii_case("stage")) {
        let value = words.next().map_or(0..0, |word| word.span.clone());
        return Err(wrong(&value, super::Wrong::Detour(Wrong::Stage)));
    }
    Ok(())
}

/// Bytes of the kernel's, from an address up to another, as far as they can be read.
fn read(session: &mut Session, start: u64, end: u64) -> Result<Vec<u8>, Error> {
    let place = Place { address: start, space: VIRTUAL, pid: NO_PID };
    let read = memory::read(session, place, end.saturating_sub(start).min(FUNCTION_BYTES_MAX))?;
    Ok(read.bytes.into_iter().map_while(|byte| byte).collect())
}

fn named(known: &Known, name: &str) -> Option<u64> {
    known.table.named(None, name).first().map(|symbol| symbol.address)
}

/// The instructions that make room, and what stands for them.
fn look(session: &mut Session, word: &Word, address: u64) -> Result<Moved, Error> {
    let known = session.names().at_hand().map_err(|_| refuse(word, Wrong::Nameless))?;
    let (start, end) = known.table.extent(address).ok_or_else(|| refuse(word, Wrong::Nameless))?;
    let is_within = |[from, to]: [&str; 2]| named(&known, from) <= Some(address) && Some(address) < named(&known, to);
    if KEPT_FREE.into_iter().any(|names| named(&known, names[0]).is_some() && is_within(names)) {
        return Err(refuse(word, Wrong::KeptFree));
    }
    let bytes = read(session, start, end)?;
    let all: Vec<Option<u8>> = bytes.iter().copied().map(Some).collect();
    epthook::check(word, address, start, &all)?;
    let address = moved::behind_traced(&bytes, start, address);
    let moved = moved::moved(&bytes, start, address).map_err(|not| refuse(word, Wrong::Not(not)))?;
    // What is seldom executed of a function may lie elsewhere.
    let cold = known.table.near(start).and_then(|near| {
        let name = format!("{}.cold", near.symbol.name);
        known.table.named(near.symbol.module, &name).first().and_then(|symbol| known.table.extent(symbol.address))
    });
    if let Some((start, end)) = cold {
        let part = read(session, start, end)?;
        moved::led_into_from(&part, start, &moved).map_err(|not| refuse(word, Wrong::Not(not)))?;
    }
    if let Some(call) = moved.calls
        && is_patched(session, &known, call)?
    {
        let not = Not::Fixed { address: call, what: Fixed::Patched };
        return Err(refuse(word, Wrong::Not(not)));
    }
    if let [Some(first), Some(last)] = FAULTS.map(|name| named(&known, name))
        && let Some(address) = faults(session, first..last, &moved)?
    {
        return Err(refuse(word, Wrong::Faults { address }));
    }
    Ok(moved)
}

/// Whether Linux changes a call while it runs: it has a list of those of the kernel. Those of modules are not looked for.
fn is_patched(session: &mut Session, known: &Known, call: u64) -> Result<bool, Error> {
    let (from, to) = known.table.kernel();
    let [Some(first), Some(last)] = PATCHED.map(|name| named(known, name)) else { return Ok(true) };
    if !(from..to).contains(&call) {
        return Ok(true);
    }
    let mut at = first;
    while at < last {
        let list = read(session, at, last)?;
        let whole = list.len() / PATCHED_BYTES;
        let is_it = |(nth, entry): (u64, &[u8; PATCHED_BYTES])| {
            let here = at + nth * PATCHED_BYTES as u64;
            let distance = entry.first_chunk::<4>().map_or(0, |bytes| i32::from_le_bytes(*bytes));
            here.wrapping_add(i64::from(distance).cast_unsigned()) == call
        };
        if whole == 0 || (0..).zip(list.as_chunks::<PATCHED_BYTES>().0).any(is_it) {
            return Ok(true);
        }
        at += (whole * PATCHED_BYTES) as u64;
    }
    Ok(false)
}

/// The first of displaced instructions that stands in the kernel's table of those that may fault.
fn faults(session: &mut Session, table: std::ops::Range<u64>, moved: &Moved) -> Result<Option<u64>, Error> {
    let (mut low, mut high) = (0, table.end.saturating_sub(table.start) / FAULT_BYTES);
    while low < high {
        let middle = low + (high - low) / 2;
        let at = table.start + middle * FAULT_BYTES;
        let bytes = read(session, at, at + 4)?;
        let Some(distance) = bytes.first_chunk::<4>() else { return Ok(None) };
        let address = at.wrapping_add(i64::from(i32::from_le_bytes(*distance)).cast_unsigned());
        if address < moved.address {
            low = middle + 1;
        } else if address < moved.address + moved.original.len() as u64 {
            return Ok(Some(address));
        } else {
            high = middle;
        }
    }
    Ok(None)
}

/// Registers a detour.
pub(crate) fn register(session: &mut Session, line: &Line) -> Result<Answer, Error> {
    let mut typed = parse(line, &EPTHOOK2, &mut |word| commands::count(session, word))?;
    let word = only_place(line, &typed.places, super::Wrong::Detour(Wrong::NoAddress))?.clone();
    check_stage(line, typed.ask.stage)?;
    let address = commands::evaluate(session, &word.text, &word.span, Arithmetic::Wrapping)?;
    let outputs = resolve(session, &typed.outputs)?;
    if address < HIGH_HALF {
        // What is mapped nowhere is told as that.
        let place = Place { address, space: VIRTUAL, pid: NO_PID };
        memory::read(session, place, 1)?;
        return Err(refuse(&word, Wrong::Program));
    }
    let moved = look(session, &word, address)?;
    typed.moved = (moved.address != address).then_some(moved.address);
    registered(session, line, &EPTHOOK2, typed, outputs, &mut |session, its| {
        let ask = ask(its, &moved);
        added(session, op::EPTHOOK2_ADD, ask.as_bytes(), |_| Some(ask.place))
    })
}

/// The request.
fn ask(its: &abi::request::EventAsk, moved: &Moved) -> Ask {
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let place = Place { address: moved.address, space: VIRTUAL, pid: NO_PID };
    let mut ask = Ask {
        event: *its,
        place,
        displaced_bytes: number(moved.original.len()),
        code_bytes: number(moved.code.len()),
        first_bytes: number(moved.first),
        fixups_count: number(moved.fixups.len()),
        ..Ask::default()
    };
    ask.original.iter_mut().zip(&moved.original).for_each(|(to, from)| *to = *from);
    ask.code.iter_mut().zip(&moved.code).for_each(|(to, from)| *to = *from);
    ask.fixups.iter_mut().zip(&moved.fixups).for_each(|(to, from)| *to = *from);
    ask
}

/// What it would take of the reserve.
pub(crate) fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    let typed = parse(line, &EPTHOOK2, &mut commands::fixed_count)?;
    only_place(line, &typed.places, super::Wrong::Detour(Wrong::NoAddress))?;
    check_stage(line, typed.ask.stage)?;
    let ready: Ready = prepare(session, line, typed, &|session, text, line, how| text.compile(session.book(), line, how))?;
    let units = units_of(&ready).plus(Units::of(Kind::Epthook2, 1));
    units.map(Cost::Takes).ok_or(Error::Foretold)
}
