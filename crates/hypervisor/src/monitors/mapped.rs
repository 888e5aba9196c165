//! Linear addresses of hooks and monitors: where they are mapped to, still.
//!
//! A record is about frames, and was asked for by a linear address. What the kernel maps for ever lies where it lies. For all else
//! Linux' worker *holds* the frames (decision 0018): as long as it does, nobody else gets them, whatever Linux does with the
//! address. And it tells what that is.
//!
//! ```text
//! registered: loose ──worker: HOLDS, HELD──► held ──another frame there──► moved there: loose, until it is held
//!                                             └── process ended, address unmapped, module unloaded ──► cleared, with a message
//! ```
//! **Holds always**
//! - P1: a record that is held is about frames that nobody else has had since its address was mapped to them.
//! - P2: one that is *loose* fires only where its address is mapped to its frames at that moment.
//! - P3: a record moves only within the address space that it was asked for, and only if Linux tells of its end: by tables that
//!   are none any more nothing is followed.
//! - P4: nothing here waits for Linux, so that it can be called wherever Linux is.
//!
//! A program's page that is not there (swapped out, not yet come back) keeps its record: the frame is held, and comes back. Until it
//! does the worker looks again and again.
//!
//! **Callers**: `hypercall` for Linux' worker, `monitored` on a fault. **Cost**: a look is linear in records, a walk each.
//! **Proof**: the tests below, `tests/e2e/hooks_modules.rs`, `tests/e2e/hooks_user.rs`.

use super::record::{Mapped, Record, Says};
use super::{Phase, enter, lock, of_monitor, records, release, unchain};
use crate::arch::x86::direct;
use crate::arch::{Machine, Run};
use crate::limits::EVENTS_MAX;
use crate::memory;
use crate::root::ROOT;
use crate::{hooks, serve, walk, watch};
use abi::boot::{Doorbell, FRAME_BYTES, HOLDS, Hold, mapping};
use abi::request::memory::{NO_PID, Place, VIRTUAL};
use core::mem::offset_of;

/// Bytes of a module's name that are told.
const NAME_BYTES: usize = 56;
/// Bytes of why an event was cleared.
const WHY_BYTES: usize = NAME_BYTES + 40;

/// What has become of a record's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Now {
    /// It is mapped to the record's frames.
    There,
    /// To none.
    Away,
    /// To another run, beginning with this frame.
    Elsewhere(u64),
    /// Piece by piece to others.
    Divided,
}

/// What a look is about.
#[derive(Clone, Copy, Debug)]
enum Which {
    /// All records,
    Any,
    /// those of a frame,
    Frame(u64),
    /// or those of a range of an address space.
    Range(Mapped, u64, u64),
}

impl Which {
    fn has(self, mapped: Mapped, says: &Says) -> bool {
        match self {
            Which::Any => true,
            Which::Frame(pfn) => says.run.pfn == pfn && says.run.level == 0,
            Which::Range(space, first, behind) => {
                let (from, last) = (says.base.wrapping_add(says.range.0), says.base.wrapping_add(says.range.1));
                mapped == space && from < behind && last >= first
            }
        }
    }
}

/// Why an event is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Elsewhere,
    Divided,
    Unmapped,
    Ended,
    Unloaded,
}

impl Why {
    /// What is said to that: three parts, and the middle one is the module's name.
    fn parts(self, name: &[u8]) -> [&[u8]; 3] {
        match self {
            Why::Elsewhere => [b"its page is something else's now", b"", b""],
            Why::Divided => [b"its large page is in pieces", b"", b""],
            Why::Unmapped => [b"its address is unmapped", b"", b""],
            Why::Ended => [b"its process has ended", b"", b""],
            Why::Unloaded => [b"module ", name, b" is unloaded"],
        }
    }

    /// Clears the event, and says so.
    fn lose<M: Machine>(self, core: u32, id: u32, name: &[u8]) {
        let mut text = [0; WHY_BYTES];
        let mut used = 0;
        for (to, from) in text.iter_mut().zip(self.parts(name).into_iter().flatten()) {
            *to = *from;
            used += 1;
        }
        let why = text.get(..used).and_then(|text| core::str::from_utf8(text).ok());
        watch::lose::<M>(core, id, why.unwrap_or("its module is unloaded"));
    }
}

/// Linux' worker shall look at what is to be held.
pub(super) fn wish_to_be_held() {
    serve::ring_doorbell(offset_of!(Doorbell, holds_wanted), 1);
}

/// Where an address lies by these tables, and the bytes of its page.
fn found(core: u32, tables: u64, linear: u64) -> Option<(u64, u64)> {
    memory::space(core, tables, Place { address: linear, space: VIRTUAL, pid: NO_PID }).ok()?.page(linear)
}

/// The tables to ask; `cr3` is a core's that has the kernel's half.
fn tables(mapped: Mapped, cr3: u64) -> Option<u64> {
    match mapped {
        Mapped::Always => None,
        Mapped::Kernel => Some(cr3),
        Mapped::By(tables) => Some(tables),
    }
}

/// P2: whether an access is to where the address of a monitor is mapped to. `distance` is from physical to linear addresses.
#[cold]
#[inline(never)]
pub fn is_there(core: u32, cr3: u64, serial: u32, pa: u64, distance: u64) -> bool {
    let mut all =
        (0..super::LEVELS).flat_map(|level| records(Run { pfn: pa / FRAME_BYTES >> (9 * level) << (9 * level), level }));
    let Some(record) = all.find(|record| says(*record).is_some_and(|says| says.serial == serial)) else { return false };
    let Some(tables) = tables(record.mapped(), cr3) else { return true };
    found(core, tables, pa.wrapping_add(distance)).is_some_and(|(found, _)| found == pa)
}

fn says(record: Record) -> Option<Says> {
    record.look().map(|(says, _)| says)
}

fn now(core: u32, cr3: u64, mapped: Mapped, says: &Says) -> Now {
    let Some(tables) = tables(mapped, cr3) else { return Now::There };
    let (start, whole) = (says.run.pfn * FRAME_BYTES, FRAME_BYTES << (9 * says.run.level));
    let mut at = 0;
    while at < whole {
        match found(core, tables, says.base.wrapping_add(at)) {
            None => return Now::Away,
            Some((pa, bytes)) if pa != start + at => {
                let alike = at == 0 && bytes >= whole && pa.is_multiple_of(whole);
                return if alike { Now::Elsewhere(pa / FRAME_BYTES) } else { Now::Divided };
            }
            Some((_, bytes)) => at += bytes,
        }
    }
    Now::There
}

/// Tells Linux' worker what it has to hold, from a place on: how many, and the place to go on from, or 0.
pub fn holds(core: u32, from: u64, mut each: impl FnMut(u64, Hold)) -> (u64, u64) {
    if from == 0 {
        serve::ring_doorbell(offset_of!(Doorbell, holds_wanted), 0);
    }
    let monitors = lock(core);
    let mut count = 0;
    for (nth, monitor) in (0_u64..).zip(&monitors.all).skip(usize::try_from(from >> 32).unwrap_or(EVENTS_MAX)) {
        if monitor.phase == Phase::Free {
            continue;
        }
        let first = if nth == from >> 32 { from & u64::from(u32::MAX) } else { 0 };
        for (number, record) in (0_u64..).zip(of_monitor(monitor.first)).filter(|(number, _)| *number >= first) {
            let Some(says) = says(record) else { break };
            let tables = match record.mapped() {
                Mapped::Always => continue,
                Mapped::Kernel => 0,
                Mapped::By(tables) => tables,
            };
            if count == HOLDS {
                return (count, nth << 32 | number);
            }
            let Says { run, base, serial, .. } = says;
            each(count, Hold { linear: base, tables, pfn: run.pfn, level: run.level, serial, held: 0 });
            count += 1;
        }
    }
    (count, 0)
}

/// Linux holds these frames, and tells what becomes of their addresses.
pub fn held(core: u32, holds: impl Iterator<Item = Hold>) {
    let monitors = lock(core);
    let mut hooked = false;
    for Hold { linear, pfn, level, serial, .. } in holds.filter(|hold| hold.held != 0) {
        if level >= super::LEVELS {
            continue;
        }
        let is_it = |record: &Record| says(*record).is_some_and(|says| says.serial == serial && says.base == linear);
        if let Some(record) = records(Run { pfn, level }).find(is_it) {
            // K3: from here on the copy is made anew only when a processor writes.
            hooks::renew(record);
            hooked |= record.is_hook() && record.is_loose();
            record.hold();
        }
    }
    drop(monitors);
    if hooked {
        // What cores know of loose hooks they forget (Q1 of `hits`).
        let _all_have_forgotten = ROOT.flush_all(core);
    }
}

/// Linux says what has become of a range of an address space; `cr3` is the core's that says so.
pub fn changed<M: Machine>(core: u32, cr3: u64, what: u64, [tables, first, behind]: [u64; 3]) {
    let space = if tables == 0 { Mapped::Kernel } else { Mapped::By(tables) };
    match what {
        mapping::ANY => look::<M>(core, cr3, Which::Any, lost),
        mapping::CHANGED => look::<M>(core, cr3, Which::Range(space, first, behind), lost),
        mapping::UNMAPPED => {
            let why = |mapped, now| if now == Now::Away { Some(Why::Unmapped) } else { lost(mapped, now) };
            look::<M>(core, cr3, Which::Range(space, first, behind), why);
        }
        mapping::ENDED => look::<M>(core, cr3, Which::Range(space, 0, u64::MAX), |_, _| Some(Why::Ended)),
        _ => {}
    }
}

/// A module of the kernel's goes; `name` is where its name is.
pub fn unloaded<M: Machine>(core: u32, cr3: u64, [first, behind, name]: [u64; 3]) {
    let mut bytes = [0; NAME_BYTES];
    let read = walk::read_bytes(cr3, name, &mut bytes, direct::read, direct::copy_out);
    let name = bytes.get(..read).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
    let which = Which::Range(Mapped::Kernel, first, behind);
    look_and_say::<M>(core, cr3, which, name, |_, _| Some(Why::Unloaded));
}

fn lost(mapped: Mapped, now: Now) -> Option<Why> {
    match now {
        Now::There => None,
        // What the kernel maps no longer does not come back.
        Now::Away => (mapped == Mapped::Kernel).then_some(Why::Elsewhere),
        Now::Elsewhere(_) => Some(Why::Elsewhere),
        Now::Divided => Some(Why::Divided),
    }
}

/// A core has written into a frame; if that is not what a record took it for, Linux has not told yet.
pub fn written<M: Machine>(core: u32, cr3: u64, pfn: u64) {
    let strayed = |record: Record| {
        let mapped = record.mapped();
        says(record).is_some_and(|says| lost(mapped, now(core, cr3, mapped, &says)).is_some())
    };
    if records(Run { pfn, level: 0 }).any(strayed) {
        look::<M>(core, cr3, Which::Frame(pfn), lost);
    }
}

fn look<M: Machine>(core: u32, cr3: u64, which: Which, why: impl Fn(Mapped, Now) -> Option<Why>) {
    look_and_say::<M>(core, cr3, which, b"", why);
}

/// Looks at records, moves those that can be, and clears the events of those that are lost.
#[inline(never)]
fn look_and_say<M: Machine>(core: u32, cr3: u64, which: Which, name: &[u8], why: impl Fn(Mapped, Now) -> Option<Why>) {
    let mut losers = [None; EVENTS_MAX];
    let mut monitors = lock(core);
    let mut wish = false;
    for (monitor, loser) in monitors.all.iter_mut().zip(&mut losers) {
        if !matches!(monitor.phase, Phase::There(_)) {
            continue;
        }
        for record in of_monitor(monitor.first) {
            let (mapped, Some(says)) = (record.mapped(), says(record)) else { break };
            if mapped == Mapped::Always || !which.has(mapped, &says) {
                continue;
            }
            let now = now(core, cr3, mapped, &says);
            let Some(why) = why(mapped, now) else {
                wish |= now == Now::Away || says.loose;
                continue;
            };
            match now {
                Now::Elsewhere(pfn) if moves(record, why) && follow::<M>(core, record, pfn) => wish = true,
                _ => {
                    *loser = Some((monitor.serial, why));
                    break;
                }
            }
        }
    }
    drop(monitors);
    if wish {
        wish_to_be_held();
    }
    for (nth, loser) in losers.into_iter().enumerate() {
        let Some((serial, why)) = loser else { continue };
        let its = lock(core).all.get(nth).map(|monitor| (monitor.kind, monitor.id, monitor.serial));
        let is_there = |(kind, id, is): &(u32, u32, u32)| *is == serial && watch::state(*kind, *id, *is).is_some();
        if let Some((_, id, _)) = its.filter(is_there) {
            why.lose::<M>(core, id, name);
        }
    }
}

/// P3.
fn moves(record: Record, why: Why) -> bool {
    why == Why::Elsewhere && matches!(record.mapped(), Mapped::By(_)) && record.is_known()
}

/// Moves a record to another run; false if that is not possible: then it is on no chain any more.
fn follow<M: Machine>(core: u32, record: Record, pfn: u64) -> bool {
    if !M::can_guard(pfn) {
        return false;
    }
    unchain::<M>(record);
    release::<M>(record);
    if !ROOT.flush_all(core) {
        return false;
    }
    record.place(pfn);
    enter::<M>(record);
    // A core that is silent sees it when it comes.
    let _all_have_seen_it = ROOT.flush_all(core);
    true
}

#[cfg(test)]
pub(crate) mod tests {
    extern crate std;
    use super::*;
    use crate::arch::model::Model;
    use crate::arch::x86::direct::arena;
    use crate::storms::{self, Prompt};
    use crate::{hooks, hypercall};
    use abi::code;
    use abi::kind::Kind;
    use abi::request::{EventAsk, Events, Ledger, Message, Messages, Number, epthook, event, op};
    use std::string::String;
    use std::vec::Vec;
    use zerocopy::{FromBytes, IntoBytes};

    /// An address space with one page, at 0.
    struct Space {
        tables: u64,
        entry: u64,
    }

    impl Space {
        fn new() -> Space {
            let [tables, upper, middle, lower] = [0; 4].map(|_| frame());
            for (table, next) in [(tables, upper), (upper, middle), (middle, lower)] {
                assert!(hypercall::store(0, table, &(next | 7).to_le_bytes()));
            }
            Space { tables, entry: lower }
        }

        fn map(&self, page: u64, bits: u64) {
            assert!(hypercall::store(0, self.entry, &(page | bits).to_le_bytes()));
        }

        fn tell(&self, what: u64, first: u64, behind: u64) {
            changed::<Model>(0, 0, what, [self.tables, first, behind]);
        }
    }

    fn frame() -> u64 {
        arena::run(1).unwrap() * FRAME_BYTES
    }

    fn hook(space: &Space, offset: u64) {
        let event = EventAsk { kind: event::EPTHOOK, stage: 1, core: event::ALL, pid: event::ALL, ..EventAsk::default() };
        let place = Place { address: offset, space: VIRTUAL, pid: NO_PID };
        let (code, answer) = hooks::add::<Model>(0, space.tables, &epthook::Ask { event, place });
        assert_eq!(code, code::SUCCESS, "{answer:x?}");
    }

    /// What the worker is told, and says: that it holds all of it.
    pub(crate) fn hold_all() -> Vec<Hold> {
        let mut all = Vec::new();
        let (count, next) = holds(0, 0, |nth, hold| {
            assert_eq!(nth, all.len() as u64);
            all.push(Hold { held: 1, ..hold });
        });
        assert_eq!((count, next), (all.len() as u64, 0));
        held(0, all.iter().copied());
        all
    }

    fn is_loose(page: u64) -> bool {
        records(Run { pfn: page / FRAME_BYTES, level: 0 }).any(Record::is_loose)
    }

    fn events(prompt: &mut Prompt) -> u32 {
        Events::read_from_bytes(&prompt.ask(op::EVENTS, Number { value: 0 }.as_bytes()).1).unwrap().count
    }

    /// All that was said since.
    fn said(prompt: &mut Prompt) -> String {
        let mut all = String::new();
        loop {
            let body = prompt.ask(op::MESSAGES, &[]).1;
            let (head, mut rest) = Messages::read_from_prefix(&body).unwrap();
            for _ in 0..head.count {
                let (message, text) = Message::read_from_prefix(rest).unwrap();
                let bytes = usize::from(message.bytes);
                all.push_str(std::str::from_utf8(&text[..bytes]).unwrap());
                rest = text.get(bytes.next_multiple_of(8)..).unwrap_or_default();
            }
            if head.more == 0 {
                return all;
            }
        }
    }

    fn used(prompt: &mut Prompt) -> u64 {
        Ledger::read_from_bytes(&prompt.ask(op::LEDGER, &[]).1).unwrap().kinds[Kind::Epthook.index()].used
    }

    /// Would catch a hook that follows before Linux tells of its address space's end, one that does not follow, or leaves something behind;
    /// one that is lost when its page is away for a while, one of another space or range that goes with it, and one that stays when it must
    /// go.
    #[test]
    fn a_hook_follows_what_is_told_and_goes_when_it_is_over() {
        let prompt = &mut *storms::machine();
        let _others = said(prompt);
        let (one, other) = (Space::new(), Space::new());
        let (page, copy) = (frame(), frame());
        one.map(page, 7);
        other.map(page, 7);
        let pfns = |holds: &[Hold]| holds.iter().map(|hold| (hold.tables, hold.pfn * FRAME_BYTES)).collect::<Vec<_>>();
        hook(&one, 0x10);
        one.map(copy, 7);
        one.tell(mapping::CHANGED, 0, FRAME_BYTES);
        assert_eq!((said(prompt).as_str(), events(prompt)), ("cleared: its page is something else's now\n", 0), "loose");
        one.map(page, 7);
        hook(&one, 0x10);
        hook(&other, 0x20);
        assert!(is_loose(page));
        assert_eq!(pfns(&hold_all()), [(one.tables, page), (other.tables, page)]);
        assert!(!is_loose(page) && hooks::is_at(page + 0x10));
        one.map(copy, 7);
        one.tell(mapping::CHANGED, FRAME_BYTES, 2 * FRAME_BYTES);
        assert!(hooks::is_at(page + 0x10), "another range");
        one.tell(mapping::CHANGED, 0, FRAME_BYTES);
        let hooked = |page: u64| [hooks::is_at(page + 0x10), hooks::is_at(page + 0x20)];
        assert_eq!((hooked(page), hooked(copy), is_loose(copy)), ([false, true], [true, false], true));
        assert!(hooks::shown(copy / FRAME_BYTES).is_some() && hooks::shown(page / FRAME_BYTES).is_some());
        // Back, before it was held there.
        one.map(page, 7);
        one.tell(mapping::CHANGED, 0, FRAME_BYTES);
        assert_eq!((hooked(page), hooked(copy)), ([true, true], [false, false]));
        hold_all();
        one.map(page, 0);
        one.tell(mapping::CHANGED, 0, u64::MAX);
        changed::<Model>(0, 0, mapping::ANY, [0; 3]);
        assert_eq!((said(prompt).as_str(), events(prompt)), ("", 2), "away");
        one.tell(mapping::UNMAPPED, 0, FRAME_BYTES);
        assert_eq!((said(prompt).as_str(), events(prompt)), ("cleared: its address is unmapped\n", 1));
        one.tell(mapping::ENDED, 0, 0);
        assert_eq!(events(prompt), 1, "the other's");
        other.tell(mapping::ENDED, 0, 0);
        assert_eq!((said(prompt).as_str(), events(prompt), used(prompt)), ("cleared: its process has ended\n", 0, 0));
        assert!(hold_all().is_empty());
    }
}
