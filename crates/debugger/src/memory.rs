//! Memory of the debuggee: how commands name it, and requests that are put together to something whole.
//!
//! ```text
//! ADDRESS [l LENGTH] [pid PID]        virtual; `!` before the command's name: physical, without pid
//! ```
//! **Holds always**
//! - M1: what cannot be read is told byte by byte, with the reason, and never taken for zero.
//! - M2: no answer of root's is trusted: one that does not fit its request is an error, and what goes on ends.
//! - M3: CTRL+C ends everything that takes more than one request.
//!
//! **Cost**: a request for each 1024 bytes that are read, for each 256 KiB that are searched. **Proof**: `tests/memory.rs`.

use crate::answer::hex;
use crate::commands;
use crate::disassembly::INSTRUCTION_BYTES_MAX;
use crate::error::{Error, Reach};
use crate::expr::Arithmetic;
use crate::line::{Line, Word};
use crate::session::Session;
use abi::code;
use abi::request::memory::{
    BYTES_MAX, FOUND_MAX, Found, NO_PID, PATTERN_BYTES_MAX, PHYSICAL, Place, Read, Search, Span, Translation, VIRTUAL, Written,
};
use abi::request::{self, op};
use serde::Serialize;
use std::ops::Range;
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of a page.
const PAGE_BYTES: u64 = 4096;
/// Bytes that one command shows at most.
pub(crate) const LENGTH_MAX: u64 = 0x10_0000;
/// Places that one search shows at most.
pub(crate) const PLACES_MAX: usize = 0x1000;

/// Why memory is not shown or changed.
#[derive(Debug)]
pub enum Wrong {
    /// One of [`abi::code`], about this address.
    Refused {
        /// The code.
        code: u32,
        /// Where.
        place: Place,
        /// Bytes before that address that could be written, had it been for them alone.
        before: u32,
    },
    /// More than there can be.
    TooLong {
        /// Where it was typed.
        span: Range<usize>,
        /// How much there can be.
        most: u64,
        /// What is too much.
        what: &'static str,
    },
    /// A value of more bits than its place has.
    TooWide {
        /// Where it was typed.
        span: Range<usize>,
        /// Bytes of the place.
        bytes: usize,
    },
    /// Processes have no physical memory of their own.
    PidOfPhysical {
        /// `pid` and what stands behind it.
        span: Range<usize>,
    },
    /// A physical address that the kernel's own map leaves out.
    NotInMap {
        /// It.
        address: u64,
    },
    /// A register that can only be looked at.
    ReadOnly {
        /// Where it was typed.
        span: Range<usize>,
    },
    /// A part of a register, where whole ones can be set.
    Part {
        /// Where it was typed.
        span: Range<usize>,
    },
    /// A value that this register cannot have.
    NotCanonical {
        /// Where it was typed.
        span: Range<usize>,
    },
}

/// What a line names.
pub(crate) struct Asked {
    /// Where it begins.
    pub(crate) place: Place,
    /// `l LENGTH`, and where that was typed.
    pub(crate) length: Option<(u64, Range<usize>)>,
    /// The words between the options, if there may be any.
    pub(crate) rest: Vec<Word>,
}

/// Words that are no part of an address.
const OPTIONS: [&str; 2] = ["l", "pid"];

/// Reads `ADDRESS [l LENGTH] [pid PID]`. If `one_word`, the address is one word and others may follow it; else they belong to
/// the address up to the first option.
pub(crate) fn asked(session: &mut Session, line: &Line, space: u32, one_word: bool) -> Result<Asked, Error> {
    let is_option = |word: &Word| OPTIONS.iter().any(|option| word.text.eq_ignore_ascii_case(option));
    let words = line.words().get(1..).unwrap_or_default();
    let (Some(first), false) = (words.first(), words.first().is_some_and(is_option)) else { return Err(commands::usage(line)) };
    let behind = if one_word { 1 } else { words.iter().position(is_option).unwrap_or(words.len()) };
    let (address, mut left) = words.split_at(behind);
    let end = address.last().unwrap_or(first).span.end;
    let address = match address {
        [one] => commands::evaluate(session, &one.text, &one.span, Arithmetic::Wrapping)?,
        _ => {
            let span = first.span.start..end;
            commands::evaluate(session, &line.text()[span.clone()], &span, Arithmetic::Wrapping)?
        }
    };
    let place = if space == VIRTUAL { session.place_in_view(address) } else { Place { address, space, pid: NO_PID } };
    let mut asked = Asked { place, length: None, rest: Vec::new() };
    let mut pid = None;
    while let Some((word, behind)) = left.split_first() {
        if !is_option(word) {
            if !one_word {
                return Err(commands::usage(line));
            }
            asked.rest.push(word.clone());
            left = behind;
            continue;
        }
        let Some((value, behind)) = behind.split_first() else { return Err(commands::usage(line)) };
        let number = commands::count(session, value)?;
        let span = word.span.start..value.span.end;
        let twice = if word.text.eq_ignore_ascii_case("l") {
            asked.length.replace((number, value.span.clone())).is_some()
        } else if space == PHYSICAL {
            return Err(Error::Memory(Wrong::PidOfPhysical { span }));
        } else {
            pid.replace(number).is_some()
        };
        if twice {
            return Err(commands::usage(line));
        }
        left = behind;
    }
    if let Some(pid) = pid {
        // The number that stands for none is no process' either.
        let pid = u32::try_from(pid).ok().filter(|pid| *pid != NO_PID).unwrap_or(NO_PID - 1);
        asked.place = Place { address, space, pid };
    }
    Ok(asked)
}

impl Asked {
    /// The length, or `usual` if there is none.
    pub(crate) fn bytes(&self, usual: u64) -> Result<u64, Error> {
        match &self.length {
            None => Ok(usual),
            Some((bytes, _)) if (1..=LENGTH_MAX).contains(bytes) => Ok(*bytes),
            Some((_, span)) => Err(too_long(span, LENGTH_MAX, "bytes")),
        }
    }
}

pub(crate) fn too_long(span: &Range<usize>, most: u64, what: &'static str) -> Error {
    Error::Memory(Wrong::TooLong { span: span.clone(), most, what })
}

/// Words as values of so many bytes each, little endian.
pub(crate) fn values(session: &mut Session, words: &[Word], unit: usize, most: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    for word in words {
        let value = commands::evaluate(session, &word.text, &word.span, Arithmetic::Wrapping)?.to_le_bytes();
        let (value, more) = value.split_at(unit.min(8));
        if more.iter().any(|byte| *byte != 0) {
            return Err(Error::Memory(Wrong::TooWide { span: word.span.clone(), bytes: unit }));
        }
        bytes.extend_from_slice(value);
        if bytes.len() > most {
            return Err(too_long(&word.span, most as u64, "bytes"));
        }
    }
    Ok(bytes)
}

/// Bytes that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    /// The first one.
    pub(crate) address: u64,
    /// How many.
    pub(crate) bytes: u64,
    /// Why: one of [`abi::code`].
    pub(crate) why: u32,
}

/// What was read, byte by byte, and what was not.
pub(crate) struct Bytes {
    /// `None` for a byte that could not be read.
    pub(crate) bytes: Vec<Option<u8>>,
    /// Those, in their order.
    pub(crate) holes: Vec<Hole>,
}

fn behind(place: Place, bytes: u64) -> Place {
    Place { address: place.address.wrapping_add(bytes), ..place }
}

/// Reads memory; what cannot be read is left out, unless that is all of it.
pub(crate) fn read(session: &mut Session, place: Place, length: u64) -> Result<Bytes, Error> {
    let mut all = Bytes { bytes: Vec::new(), holes: Vec::new() };
    let mut done = 0;
    while done < length {
        if session.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let here = behind(place, done);
        let asked = (length - done).min(BYTES_MAX as u64);
        let (bytes, why) = read_some(session, here, asked)?;
        let got = bytes.len() as u64;
        all.bytes.extend(bytes.into_iter().map(Some));
        done += got;
        if got < asked {
            let at = here.address.wrapping_add(got);
            let missing = (PAGE_BYTES - at % PAGE_BYTES).min(length - done);
            for _ in 0..missing {
                all.bytes.push(None);
            }
            match all.holes.last_mut().filter(|hole| hole.why == why && hole.address.wrapping_add(hole.bytes) == at) {
                Some(hole) => hole.bytes += missing,
                None => all.holes.push(Hole { address: at, bytes: missing, why }),
            }
            done += missing;
        }
    }
    match all.holes.first() {
        Some(hole) if all.bytes.iter().all(Option::is_none) => Err(refused(hole.why, place, 0)),
        _ => Ok(all),
    }
}

/// One request: as many bytes as could be read, and why not more.
fn read_some(session: &mut Session, place: Place, bytes: u64) -> Result<(Vec<u8>, u32), Error> {
    request_bytes(session, place, bytes)?.map_err(|code| refusal(session, code, place, 0))
}

/// The same, with the code of a refusal as it came. At most [`abi::request::memory::READ_BYTES_MAX`] bytes.
pub(crate) fn request_bytes(session: &mut Session, place: Place, bytes: u64) -> Result<Result<(Vec<u8>, u32), u32>, Error> {
    let asked = Span { place, bytes: u32::try_from(bytes).unwrap_or(0), zero: 0 };
    let (code, body) = session.call(op::MEMORY_READ, asked.as_bytes())?;
    if code != code::SUCCESS {
        return Ok(Err(code));
    }
    let malformed = Error::Reach(Reach::Malformed { op: op::MEMORY_READ });
    let Ok((head, body)) = Read::read_from_prefix(&body) else { return Err(malformed) };
    let whole = u64::from(head.bytes) == bytes;
    if body.len() as u64 != u64::from(head.bytes) || body.len() as u64 > bytes || whole != (head.why == code::SUCCESS) {
        return Err(malformed);
    }
    Ok(Ok((body.to_vec(), head.why)))
}

/// What the instruction at an address may consist of, as far as it can be read there.
pub(crate) fn instruction_bytes(session: &mut Session, place: Place) -> Result<Vec<u8>, Error> {
    let read = request_bytes(session, place, INSTRUCTION_BYTES_MAX as u64)?;
    Ok(read.map_or_else(|_| Vec::new(), |(bytes, _)| bytes))
}

/// Writes at most [`BYTES_MAX`] bytes, all or none.
pub(crate) fn write(session: &mut Session, place: Place, bytes: &[u8]) -> Result<Written, Error> {
    let asked = Span { place, bytes: u32::try_from(bytes.len()).unwrap_or(0), zero: 0 };
    let (code, body) = session.call(op::MEMORY_WRITE, &[asked.as_bytes(), bytes].concat())?;
    match (code, request::body::<Written>(&body)) {
        (code::SUCCESS, Some(written)) => Ok(written),
        (code::SUCCESS, None) => Err(Error::Reach(Reach::Malformed { op: op::MEMORY_WRITE })),
        (code, written) => {
            let before = written.map_or(0, |written| written.bytes);
            Err(refusal(session, code, behind(place, before.into()), before))
        }
    }
}

/// What a search came to.
pub(crate) struct Places {
    /// Where the pattern is.
    pub(crate) found: Vec<u64>,
    /// Bytes that were looked at,
    pub(crate) done: u64,
    /// and those of them that could not be read.
    pub(crate) unreadable: u64,
    /// It was ended before its end.
    pub(crate) end: End,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All was looked at.
    Whole,
    /// There are as many places as are shown.
    Full,
    /// CTRL+C.
    Cancelled,
}

/// Searches so many bytes for a pattern.
pub(crate) fn search(session: &mut Session, place: Place, length: u64, pattern: &[u8], step: u32) -> Result<Places, Error> {
    let mut bytes = [0; PATTERN_BYTES_MAX];
    bytes.iter_mut().zip(pattern).for_each(|(to, from)| *to = *from);
    let pattern_bytes = u32::try_from(pattern.len()).unwrap_or(0);
    let mut places = Places { found: Vec::new(), done: 0, unreadable: 0, end: End::Whole };
    while places.done < length {
        if session.is_cancelled() {
            return Ok(Places { end: End::Cancelled, ..places });
        }
        let here = behind(place, places.done);
        let ask = Search { place: here, bytes: length - places.done, step, pattern_bytes, pattern: bytes };
        let (code, body) = session.call(op::MEMORY_SEARCH, ask.as_bytes())?;
        if code != code::SUCCESS {
            return Err(refusal(session, code, place, 0));
        }
        let malformed = || Error::Reach(Reach::Malformed { op: op::MEMORY_SEARCH });
        let (found, body) = Found::read_from_prefix(&body).map_err(|_| malformed())?;
        let (these, rest) = body.as_chunks::<8>();
        let count = usize::try_from(found.count).unwrap_or(usize::MAX);
        if these.len() != count || count > FOUND_MAX || !rest.is_empty() || found.done == 0 {
            return Err(malformed());
        }
        for at in these.iter().map(|at| u64::from_le_bytes(*at)) {
            if places.found.len() == PLACES_MAX {
                return Ok(Places { done: at.wrapping_sub(place.address), end: End::Full, ..places });
            }
            places.found.push(at);
        }
        places.done = places.done.saturating_add(found.done).min(length);
        places.unreadable = places.unreadable.saturating_add(found.unreadable);
    }
    Ok(places)
}

/// How an address is mapped.
pub(crate) fn translate(session: &mut Session, place: Place) -> Result<Translation, Error> {
    let (code, body) = session.call(op::TRANSLATE, place.as_bytes())?;
    match code {
        code::SUCCESS => request::body(&body).ok_or(Error::Reach(Reach::Malformed { op: op::TRANSLATE })),
        code => Err(refusal(session, code, place, 0)),
    }
}

fn refusal(session: &Session, code: u32, place: Place, before: u32) -> Error {
    match code {
        code::ADDRESS_INVALID | code::PHYSICAL_INVALID | code::MEMORY_OF_ROOT | code::PID_INVALID => {
            refused(code, place, before)
        }
        code => session.refused(code),
    }
}

/// A refusal about an address.
pub(crate) fn refused(code: u32, place: Place, before: u32) -> Error {
    Error::Memory(Wrong::Refused { code, place, before })
}

/// Bytes that could not be read, as programs get them.
#[derive(Serialize)]
pub(crate) struct Missing {
    address: String,
    bytes: u64,
    why: &'static str,
}

impl Missing {
    pub(crate) fn of(hole: &Hole) -> Self {
        Self { address: hex(hole.address), bytes: hole.bytes, why: why(hole.why) }
    }

    /// ... and people.
    pub(crate) fn text(&self) -> String {
        let Self { address, bytes, why } = self;
        format!("?? are 0x{bytes:x} bytes at {}: {why}", address.trim_start_matches("0x"))
    }
}

/// Why a byte cannot be read.
pub(crate) fn why(code: u32) -> &'static str {
    match code {
        code::ADDRESS_INVALID => "not mapped",
        code::PHYSICAL_INVALID => "no RAM",
        code::MEMORY_OF_ROOT => "the hypervisor's own",
        _ => "unknown",
    }
}

/// Physical memory for a command whose name begins with an exclamation mark.
pub(crate) fn space(line: &Line) -> u32 {
    if line.name().starts_with('!') { PHYSICAL } else { VIRTUAL }
}

/// Bytes of a value, by the last letter of a command's name.
pub(crate) fn unit(name: &str) -> usize {
    match name.as_bytes().last().map(u8::to_ascii_lowercase) {
        Some(b'q') => 8,
        Some(b'd') => 4,
        _ => 1,
    }
}
