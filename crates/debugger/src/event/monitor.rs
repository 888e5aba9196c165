//! What `!monitor` filters by: bytes, in virtual or physical memory, and what is done with them.
//!
//! ```text
//! [va|pa] r|w|x|… FROM TO | FROM l LENGTH
//! ```
//! **Holds always**: what the plan foretells is what root takes, or more: how the kernel maps the range is not known before.

use super::{
    Answer, Cost, Error, EventAnswer, EventAsk, Kind, Line, MONITOR, OPTIONS, Ready, Registered, Session, Units, added, parse,
    prepare, registered, resolve, units_of, wrong,
};
use crate::commands;
use crate::expr::Arithmetic;
use crate::line::Word;
use abi::request::memory::{NO_PID, PHYSICAL, Place, VIRTUAL};
use abi::request::monitor::{Ask, EXECUTE, READ, WRITE};
use abi::request::{event, op};
use std::ops::Range;
use zerocopy::IntoBytes;

/// Bytes of a page, and of large ones.
const PAGES: [u64; 3] = [1 << 30, 1 << 21, 1 << 12];

/// What is wrong with a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// None of r, w, x.
    NoAccess,
    /// No address.
    NoRange,
    /// An address, and neither another one nor a length.
    NoEnd,
    /// The last byte is before the first.
    Backward {
        /// The first.
        from: u64,
    },
    /// No byte.
    Empty,
    /// Bytes beyond the last address.
    Beyond,
}

/// A range as it was typed.
struct Places<'l> {
    space: u32,
    access: u32,
    from: &'l Word,
    end: End<'l>,
}

enum End<'l> {
    Last(&'l Word),
    Length(&'l Word),
}

/// A word as a set of accesses.
fn access(word: &Word) -> Option<u32> {
    let bit = |letter: char| match letter.to_ascii_lowercase() {
        'r' => Some(READ),
        'w' => Some(WRITE),
        'x' => Some(EXECUTE),
        _ => None,
    };
    word.text
        .chars()
        .try_fold(0, |all, letter| bit(letter).filter(|bit| all & bit == 0).map(|bit| all | bit))
        .filter(|all| *all > 0)
}

/// Sorts the words that are no options.
fn places<'l>(line: &Line, words: &'l [Word]) -> Result<Places<'l>, Error> {
    let end = line.text().trim_end().len();
    let fault = |span: Range<usize>, fault| Err(wrong(&span, super::Wrong::Range(fault)));
    let (mut space, mut accesses, mut from, mut last) = (None, None, None, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let named = match word.text.to_ascii_lowercase().as_str() {
            "va" => Some(VIRTUAL),
            "pa" => Some(PHYSICAL),
            _ => None,
        };
        if let Some(named) = named {
            if space.replace(named).is_some() {
                return Err(wrong(&word.span, super::Wrong::Twice));
            }
        } else if let Some(access) = access(word).filter(|_| accesses.is_none()) {
            accesses = Some(access);
        } else if word.text.eq_ignore_ascii_case("l") && from.is_some() && last.is_none() {
            let Some(length) = words.next() else { return Err(wrong(&word.span, super::Wrong::NoValue)) };
            last = Some(End::Length(length));
        } else if from.is_none() {
            from = Some(word);
        } else if last.is_none() {
            last = Some(End::Last(word));
        } else {
            return Err(commands::unknown_word(word, "options", &OPTIONS));
        }
    }
    let Some(access) = accesses else { return fault(end..end, Wrong::NoAccess) };
    let Some(from) = from else { return fault(end..end, Wrong::NoRange) };
    let Some(last) = last else { return fault(from.span.clone(), Wrong::NoEnd) };
    Ok(Places { space: space.unwrap_or(VIRTUAL), access, from, end: last })
}

type Number<'n> = dyn FnMut(&Word) -> Result<u64, Error> + 'n;

/// The last byte of a range.
fn last(from: u64, end: &End, number: &mut Number) -> Result<u64, Error> {
    let fault = |word: &Word, fault| Err(wrong(&word.span, super::Wrong::Range(fault)));
    match end {
        End::Last(word) => {
            let last = number(word)?;
            if last < from { fault(word, Wrong::Backward { from }) } else { Ok(last) }
        }
        End::Length(word) => {
            let length = number(word)?;
            if length == 0 {
                return fault(word, Wrong::Empty);
            }
            from.checked_add(length - 1).map_or_else(|| fault(word, Wrong::Beyond), Ok)
        }
    }
}

/// Registers a monitor.
pub(crate) fn register(session: &mut Session, line: &Line) -> Result<Answer, Error> {
    let typed = parse(line, &MONITOR, &mut |word| commands::count(session, word))?;
    let Places { space, access, from, end } = places(line, &typed.places)?;
    let mut number = |word: &Word| commands::evaluate(session, &word.text, &word.span, Arithmetic::Wrapping);
    let from = number(from)?;
    let last = last(from, &end, &mut number)?;
    let outputs = resolve(session, &typed.outputs)?;
    let pid = match typed.ask.pid {
        _ if space == PHYSICAL => NO_PID,
        event::ALL => session.pid_in_view(),
        pid => pid,
    };
    let place = Place { address: from, space, pid };
    registered(session, line, &MONITOR, typed, outputs, &mut |session, its| {
        let ask = Ask { event: *its, place, last, access, zero: 0 };
        added(session, op::MONITOR_ADD, ask.as_bytes(), |answer| Some(Place { address: answer.bytes, ..place }))
    })
}

/// Registers one that halts behind an access to so many bytes; its number.
pub(crate) fn watch(session: &mut Session, address: u64, bytes: u64, access: u32) -> Result<u32, Error> {
    let ask = EventAsk {
        kind: MONITOR.number,
        stage: event::POST,
        flags: event::BREAK,
        core: event::ALL,
        pid: event::ALL,
        ..EventAsk::default()
    };
    let place = Place { address, space: VIRTUAL, pid: NO_PID };
    let ask = Ask { event: ask, place, last: address.saturating_add(bytes.max(1) - 1), access, zero: 0 };
    let answer = added(session, op::MONITOR_ADD, ask.as_bytes(), |answer| Some(Place { address: answer.bytes, ..place }))?;
    let letters = [(READ, "r"), (WRITE, "w")].into_iter().filter(|(bit, _)| access & bit != 0).map(|(_, letter)| letter);
    let text = format!("!monitor {} {address:x} l {bytes:x} stage post", letters.collect::<String>());
    session.book().events.insert(answer.id, Some(Registered { text, program: None, is_breakpoint: false }));
    Ok(answer.id)
}

/// What it would take of the reserve.
pub(crate) fn cost(session: &mut Session, line: &Line) -> Result<Cost, Error> {
    let typed = parse(line, &MONITOR, &mut commands::fixed_count)?;
    let Places { space, from, end, .. } = places(line, &typed.places)?;
    let fixed = commands::fixed_count(from);
    // Of a range that begins anywhere only the length tells.
    let pages = match (fixed, &end) {
        (Ok(from), end) => {
            let last = last(from, end, &mut commands::fixed_count)?;
            pages(from, last, space == PHYSICAL)
        }
        (Err(_), End::Length(_)) => {
            let last = last(PAGES[2] - 1, &end, &mut commands::fixed_count)?;
            pages(PAGES[2] - 1, last, false)
        }
        (Err(error), End::Last(_)) => return Err(error),
    };
    let ready: Ready = prepare(session, line, typed, &|session, text, line, how| text.compile(session.book(), line, how))?;
    let units = units_of(&ready).plus(Units::of(Kind::Monitor, pages));
    units.map(Cost::Takes).ok_or(Error::Foretold)
}

/// Pages of a range, or whole large ones if they lie side by side.
fn pages(from: u64, last: u64, physical: bool) -> u64 {
    let page = PAGES[2];
    if !physical {
        return last / page - from / page + 1;
    }
    let (mut at, mut count) = (from, 0_u64);
    // Of more than this root takes none.
    while count < 1 << 20 {
        let whole = |bytes: &&u64| at.is_multiple_of(**bytes) && last - at >= **bytes - 1;
        let bytes = PAGES.iter().find(whole).copied().unwrap_or(page);
        count += 1;
        match (at / bytes * bytes).checked_add(bytes) {
            Some(next) if next <= last => at = next,
            _ => return count,
        }
    }
    count
}

/// What is told beside what all events tell.
pub(super) fn pages_of(answer: &EventAnswer, kind: u32) -> u64 {
    if kind == event::MONITOR { answer.asked } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::pages;

    /// Would catch a plan that is too small, or one that divides what root does not.
    #[test]
    fn whole_large_pages_are_one_each_where_they_lie_side_by_side() {
        assert_eq!((pages(0x1000, 0x1000, true), pages(0x1fff, 0x2000, true), pages(0, 0xfff, false)), (1, 2, 1));
        assert_eq!(pages(0x20_0000, 0x3f_ffff, true), 1);
        assert_eq!(pages(0x20_0000, 0x3f_ffff, false), 512);
        assert_eq!(pages(0x1f_f000, 0x40_0fff, true), 3);
        assert_eq!(pages(0, 0x3fff_ffff, true), 1);
        assert_eq!(pages(0, 0x4020_0fff, true), 3);
    }
}
