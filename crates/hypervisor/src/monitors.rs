//! Monitors: which bytes of memory events wait for, by page, and what the guest may not do there.
//!
//! ```text
//! a range ─► pieces: pages, whole 2 MiB, whole 1 GiB ─► a unit each: a record, and two frames for tables (`Machine::guard`)
//! a frame ─► the chain of its hash ─► records of every monitor that it concerns ─► the bytes of an access
//! ```
//! **Holds always**
//! - N1: a monitor has all of its units or none; they come on its event's ticket.
//! - N2: what a monitor that was cleared had goes back when every core has flushed since its records left their chains:
//!   nobody walks its tables then, and nobody reads its records, since no core flushes or halts while it reads them.
//! - N3: an access that an enabled monitor waits for comes to root on every core that runs the guest after the answer to the
//!   request has left. One that is disabled keeps its units and keeps nothing from the guest.
//! - N4: who has the lock may wait for other cores to flush; so who waits for the lock acknowledges flushes meanwhile, and
//!   nobody who has it waits for a halt.
//!
//! Linear addresses are translated when a monitor is registered; what becomes of them later: `mapped`.
//!
//! **Callers**: `serve` and `watch` for requests; `monitored` on a fault. **Cost**: on a fault, three chains; a request is linear
//! in its pieces. **Proof**: the tests below, `tests/e2e/monitor.rs`.

pub(crate) mod mapped;
pub(crate) mod record;
#[cfg(test)]
mod tests;

use crate::arch::{Guard, Machine, Run, x86};
use crate::limits::{EVENTS_MAX, MONITOR_BUCKETS, MONITOR_PIECES_MAX};
use crate::memory::{self, Space};
use crate::root::{ROOT, RUNNING, WATCH_GUARDED, WATCH_HOOKED};
use crate::{bank, detours, hooks, pools, watch};
use abi::boot::FRAME_BYTES;
use abi::code;
use abi::kind::Kind;
use abi::request::memory::{PHYSICAL, Place, VIRTUAL};
use abi::request::monitor::{Ask, EXECUTE, READ, WRITE};
use abi::request::{EventAnswer, EventAsk, event};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use record::{Mapped, Record, Says, VISIBLE};
use reserve::{Core, Extent, Handle, Shape};
use spin::{Mutex, MutexGuard};

/// Levels of runs.
const LEVELS: u32 = 3;
const UNIT: Shape = pools::PLANS[Kind::Monitor.index()].shape;
const HOOK: Shape = pools::PLANS[Kind::Epthook.index()].shape;
const _: () = assert!(record::BYTES <= UNIT.bytes && UNIT.frames == 2, "a unit has room for a record and two tables");
const BREAKPOINT: Shape = pools::PLANS[Kind::Breakpoint.index()].shape;
const _: () =
    assert!(record::BYTES <= BREAKPOINT.bytes && BREAKPOINT.frames == HOOK.frames, "one of a breakpoint, which is a hook");
const DETOUR: Shape = pools::PLANS[Kind::Epthook2.index()].shape;
const _: () = assert!(record::BYTES <= DETOUR.bytes && DETOUR.frames == 2, "one of a detour, too");
const _: () = assert!(record::BYTES <= HOOK.bytes && HOOK.frames == 3, "and one of a hook for the page that is executed");

/// One monitor, or one hook.
#[derive(Clone, Copy)]
struct Monitor {
    phase: Phase,
    /// Of its event.
    kind: u32,
    id: u32,
    serial: u32,
    /// Its records.
    first: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Free,
    /// Its event is there: enabled or not.
    There(bool),
    /// Its records are off their chains; its units go when every core has flushed this revision.
    Gone(u64),
    /// Likewise, and first its detour's place must be free.
    Detoured,
}

struct Monitors {
    all: [Monitor; EVENTS_MAX],
    /// The number of the next.
    serial: u32,
}

const FREE: Monitor = Monitor { phase: Phase::Free, kind: 0, id: 0, serial: 0, first: 0 };
static MONITORS: Mutex<Monitors> = Mutex::new(Monitors { all: [FREE; EVENTS_MAX], serial: 1 });
/// The first record of each chain.
static CHAINS: [AtomicU64; MONITOR_BUCKETS] = [const { AtomicU64::new(0) }; MONITOR_BUCKETS];
/// Records of more than one frame that are on chains.
static LARGE: AtomicU32 = AtomicU32::new(0);
/// Records of hooks that are on chains.
static HOOKS: AtomicU32 = AtomicU32::new(0);
/// Monitors that are [`Phase::Gone`].
static GONE: AtomicU32 = AtomicU32::new(0);

fn lock(core: u32) -> MutexGuard<'static, Monitors> {
    loop {
        if let Some(monitors) = MONITORS.try_lock() {
            return monitors;
        }
        ROOT.acknowledge_flush(core);
        x86::relax();
    }
}

fn chain_of(run: Run) -> &'static AtomicU64 {
    let hash = (run.pfn >> (9 * run.level)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let at = (hash.wrapping_add(u64::from(run.level)) % MONITOR_BUCKETS as u64) as usize;
    &CHAINS[at]
}

/// Whether there is a hook anywhere.
pub(crate) fn has_hooks() -> bool {
    HOOKS.load(SeqCst) > 0
}

/// Whether it is known at once that there is no monitor and no hook in a frame; if not, there may be none all the same.
#[inline(always)]
pub(crate) fn is_nobodys(pfn: u64) -> bool {
    chain_of(Run { pfn, level: 0 }).load(SeqCst) == 0 && LARGE.load(SeqCst) == 0
}

/// Hooks of a frame, enabled or not; no core may flush or halt before the last was seen (N2).
pub(crate) fn hooks_of(pfn: u64) -> impl Iterator<Item = Record> {
    records(Run { pfn, level: 0 }).filter(|record| record.is_hook())
}

/// Hooks of a frame that are visible and one of these bytes is written of, from the first to the last, are hidden from now on, on every
/// core; `each` is told their events.
pub(crate) fn hide<M: Machine>(core: u32, pfn: u64, (first, last): (u64, u64), mut each: impl FnMut(u32)) {
    let is_hit = |record: &Record| record.is_visible() && (first..=last).contains(&record.hooked().0);
    if !hooks_of(pfn).any(|record| is_hit(&record)) {
        return;
    }
    {
        let _monitors = lock(core);
        for record in hooks_of(pfn).filter(is_hit) {
            record.hide();
            each(record.id());
            guard::<M>(record.run(), record.frames());
        }
    }
    // A core that is silent sees it when it comes.
    let _all_have_seen_it = ROOT.flush_all(core);
}

/// Does something while no monitor and no hook comes or goes.
pub(crate) fn steady<T>(core: u32, what: impl FnOnce() -> T) -> T {
    let _monitors = lock(core);
    what()
}

/// The number of the monitor of an event that is there, for something that is done while none comes or goes.
pub(crate) fn with_serial<T>(core: u32, id: u32, what: impl FnOnce(u32) -> T) -> Option<T> {
    let monitors = lock(core);
    let is_it = |monitor: &&Monitor| matches!(monitor.phase, Phase::There(_)) && monitor.id == id;
    monitors.all.iter().find(is_it).map(|monitor| what(monitor.serial))
}

/// Bytes of a frame that hooks are at: the first and the last of each.
pub(crate) fn hooked_bytes(pfn: u64) -> impl Iterator<Item = (u64, u64)> {
    hooks_of(pfn).map(|record| record.hooked().0).map(|byte| (byte, byte))
}

/// The records of just this run.
fn records(run: Run) -> impl Iterator<Item = Record> {
    let first = Record::at(chain_of(run).load(SeqCst));
    core::iter::successors(first, |record| Record::at(record.chained())).filter(move |record| record.run() == run)
}

/// The bytes of one frame that a monitor waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The event,
    pub id: u32,
    /// and the number of its monitor: those that were registered later have larger ones.
    pub serial: u32,
    /// [`abi::request::monitor`].
    pub access: u32,
    /// Physical addresses of the first and the last byte.
    pub range: (u64, u64),
    /// What is to be added to a physical address, wrapping, for `$context`.
    pub context: u64,
    /// It is a hook: an instruction that begins at its byte.
    pub hook: bool,
    /// It fires only if `mapped` says that its address is mapped there.
    pub loose: bool,
    /// It is a detour's, and waits for nothing but that Linux writes there.
    detour: bool,
}

impl Watched {
    /// Whether a copy of the page can be executed all the same.
    pub fn lets_execute(&self) -> bool {
        self.hook || self.detour
    }
}

/// What enabled monitors wait for in one frame; no core may flush or halt before the last was seen (N2).
#[inline(always)]
pub fn of_frame(pfn: u64) -> OfFrame {
    OfFrame { run: Run { pfn, level: 0 }, next: chain_of(Run { pfn, level: 0 }).load(SeqCst) }
}

/// See [`of_frame`]. Written out, since every access that is stopped goes through it: as a chain of iterators it was eight
/// hundred instructions.
#[derive(Clone, Debug)]
pub struct OfFrame {
    run: Run,
    /// The next record of its chain, or 0.
    next: u64,
}

impl Iterator for OfFrame {
    type Item = Watched;

    #[inline(always)]
    fn next(&mut self) -> Option<Watched> {
        loop {
            while let Some((says, next)) = Record::at(self.next).and_then(Record::look) {
                self.next = next;
                if says.run == self.run && says.enabled {
                    return Some(watched(&says));
                }
            }
            let level = self.run.level + 1;
            if level == LEVELS || LARGE.load(SeqCst) == 0 {
                return None;
            }
            self.run = Run { pfn: self.run.pfn >> (9 * level) << (9 * level), level };
            self.next = chain_of(self.run).load(SeqCst);
        }
    }
}

#[inline(always)]
fn watched(says: &Says) -> Watched {
    let start = says.run.pfn * FRAME_BYTES;
    Watched {
        id: says.id,
        serial: says.serial,
        access: says.access,
        range: (start | says.range.0, start | says.range.1),
        context: says.base.wrapping_sub(start),
        hook: says.hook,
        detour: says.detour,
        loose: says.loose,
    }
}

/// A stretch of a range within one run of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    run: Run,
    range: (u64, u64),
    base: u64,
}

/// A range, from one end to the other.
#[derive(Clone)]
struct Pieces<'s> {
    /// Where the next begins; `None`: behind the last.
    at: Option<u64>,
    last: u64,
    /// How linear addresses are translated.
    space: Option<&'s Space>,
}

impl Pieces<'_> {
    /// Where it lies, and how many bytes around it lie side by side at most.
    fn place(&self, at: u64) -> Result<(u64, u64), u32> {
        match self.space {
            None => Ok((at, u64::MAX)),
            Some(space) => space.page(at).ok_or(code::ADDRESS_INVALID),
        }
    }
}

impl Iterator for Pieces<'_> {
    /// Or a code, and the address that it is about.
    type Item = Result<Piece, (u32, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at?;
        let (pa, around) = match self.place(at) {
            Ok(found) => found,
            Err(code) => return Some(Err((code, at))),
        };
        let whole = |level: &u32| {
            let bytes = FRAME_BYTES << (9 * level);
            at.is_multiple_of(bytes) && pa.is_multiple_of(bytes) && around >= bytes && self.last - at >= bytes - 1
        };
        let level = (1..LEVELS).rev().find(whole).unwrap_or(0);
        let bytes = FRAME_BYTES << (9 * level);
        let first = at % bytes;
        let base = at - first;
        let end = base + (bytes - 1);
        self.at = if end < self.last { Some(end + 1) } else { None };
        Some(Ok(Piece { run: Run { pfn: pa / FRAME_BYTES, level }, range: (first, self.last.min(end) - base), base }))
    }
}

/// Makes a record of each unit that a new monitor gets.
struct Taker<'s> {
    pieces: Pieces<'s>,
    count: u64,
    serial: u32,
    /// Of the event.
    kind: u32,
    /// What is taken for each piece.
    unit: Kind,
    access: u32,
    /// The records so far, the last one first.
    first: u64,
    /// The range was mapped otherwise when it was looked at again.
    moved: bool,
}

impl events::More for Taker<'_> {
    fn units(&self) -> (Kind, u64) {
        (self.unit, self.count)
    }

    fn take(&mut self, id: u32, handle: Handle, extent: &Extent) {
        let piece = match self.pieces.next() {
            Some(Ok(piece)) => piece,
            _ => {
                self.moved = true;
                Piece { run: Run { pfn: 0, level: 0 }, range: (1, 0), base: 0 }
            }
        };
        let Piece { run, range, base } = piece;
        let (hook, detour) = (self.kind == event::EPTHOOK, self.kind == event::EPTHOOK2);
        let mapped = self.pieces.space.map_or(Mapped::Always, |space| space.mapped(base));
        let loose = mapped != Mapped::Always;
        let says = Says { run, range, base, id, serial: self.serial, access: self.access, enabled: true, hook, detour, loose };
        let Some(record) = Record::at(extent.small_pfn * FRAME_BYTES + u64::from(extent.small_offset)) else { return };
        record.write(&says, mapped, extent.pfn, handle);
        record.link(self.first);
        self.first = record.pa();
    }
}

/// What is taken for each piece of an event.
fn unit_of(its: &EventAsk) -> Kind {
    match its.kind {
        event::EPTHOOK if its.flags & event::BREAKPOINT != 0 => Kind::Breakpoint,
        event::EPTHOOK => Kind::Epthook,
        event::EPTHOOK2 => Kind::Epthook2,
        _ => Kind::Monitor,
    }
}

/// What a refusal says.
fn refuse(code: u32, address: u64) -> (u32, EventAnswer) {
    (code, EventAnswer { id: event::ALL, bytes: address, ..EventAnswer::default() })
}

/// Registers a monitor, with what is staged for it. `tables` is CR3 of the core that is meant.
pub fn add<M: Machine>(core: u32, tables: u64, ask: &Ask) -> (u32, EventAnswer) {
    let Ask { event: its, place, last, access, zero } = *ask;
    let known = READ | WRITE | EXECUTE;
    let sound = zero == 0 && access != 0 && access & !known == 0 && matches!(place.space, VIRTUAL | PHYSICAL);
    if !sound || its.kind != event::MONITOR || its.flags & event::OPTION != 0 || last < place.address {
        return refuse(code::REQUEST_MALFORMED, 0);
    }
    add_range::<M>(core, tables, &its, (place, last), access)
}

/// The same for who has looked at the request: bytes from a place up to the last, of an event without a filter.
pub fn add_range<M: Machine>(core: u32, tables: u64, its: &EventAsk, of: (Place, u64), access: u32) -> (u32, EventAnswer) {
    let (place, last) = of;
    let space = match memory::space(core, tables, place) {
        Ok(space) => (place.space == VIRTUAL).then_some(space),
        Err(code) => return refuse(code, 0),
    };
    let pieces = Pieces { at: Some(place.address), last, space: space.as_ref() };
    let mut count = 0;
    for piece in pieces.clone() {
        match piece {
            Err((code, at)) => return refuse(code, at),
            Ok(piece) if !M::can_guard(piece.run.pfn) => return refuse(code::PHYSICAL_INVALID, piece.base + piece.range.0),
            Ok(_) if count == MONITOR_PIECES_MAX => {
                let (code, answer) = refuse(code::COUNT_TOO_LARGE, 0);
                return (code, EventAnswer { unit: Kind::Monitor as u32, bytes_most: MONITOR_PIECES_MAX, ..answer });
            }
            Ok(_) => count += 1,
        }
    }
    let mut monitors = lock(core);
    let shares = |piece: Piece| !detours::is_free(its.kind, piece.run.pfn, piece.range);
    if pieces.clone().next().and_then(Result::ok).is_some_and(shares) {
        return refuse(code::OVERLAPS, place.address);
    }
    let serial = monitors.serial;
    let Some(monitor) = monitors.all.iter_mut().find(|monitor| monitor.phase == Phase::Free) else {
        return refuse(code::EVENTS_FULL, 0);
    };
    let mut taker = Taker { pieces, count, serial, kind: its.kind, unit: unit_of(its), access, first: 0, moved: false };
    let its = EventAsk { flags: its.flags | event::OPTION, option: serial.into(), ..*its };
    let (code, answer) = watch::register(core, &its, &mut taker);
    let moved = taker.moved || taker.pieces.next().is_some();
    *monitor = Monitor { phase: Phase::There(true), kind: its.kind, id: answer.id, serial, first: taker.first };
    if code != code::SUCCESS {
        give(monitor, core);
        return (code, answer);
    }
    monitors.serial = serial.wrapping_add(1).max(1);
    if moved {
        // It has no record on any chain yet; `arm` finds its event gone.
        let _cleared = watch::change_within(core, event::CLEAR, answer.id);
    } else {
        for record in of_monitor(taker.first) {
            enter::<M>(record);
        }
    }
    if of_monitor(taker.first).any(Record::is_loose) {
        mapped::wish_to_be_held();
    }
    drop(monitors);
    watch::arm::<M>(core);
    if moved { refuse(code::ADDRESS_INVALID, place.address) } else { (code, EventAnswer { asked: count, ..answer }) }
}

/// Puts a record on its chain, and tells the tables.
fn enter<M: Machine>(record: Record) {
    let chain = chain_of(record.run());
    record.chain(chain.load(SeqCst));
    chain.store(record.pa(), SeqCst);
    LARGE.fetch_add(u32::from(record.run().level > 0), SeqCst);
    HOOKS.fetch_add(u32::from(record.is_hook()), SeqCst);
    hooks::renew(record);
    guard::<M>(record.run(), record.frames());
}

/// The records of a monitor.
fn of_monitor(first: u64) -> impl Iterator<Item = Record> {
    core::iter::successors(Record::at(first), |record| record.next())
}

/// What all monitors together keep from the guest in a run of frames.
fn guard<M: Machine>(run: Run, frames: [u64; 2]) {
    let (mut guard, mut visible, mut hidden) = (Guard::default(), false, false);
    for (says, _) in records(run).filter_map(Record::look) {
        guard.covered = true;
        if says.enabled {
            guard.read |= says.access & READ != 0;
            guard.write |= says.access & WRITE != 0;
            guard.fetch |= says.access & EXECUTE != 0 && !says.hook;
            hidden |= says.access & EXECUTE != 0 && says.hook && says.access & VISIBLE == 0;
            // What is executed of a hooked page is a copy; what stands at a detour, and what becomes of the page, root must know.
            guard.write |= says.hook | says.detour;
            visible |= says.access & VISIBLE != 0;
        }
    }
    if hidden && !guard.fetch && M::executes_only() {
        // One view will do: the copy is executed, and who reads, reads the page, with root's help.
        (guard.read, guard.shown) = (true, hooks::shown(run.pfn));
    } else if visible && !hidden && !guard.read && !guard.fetch {
        guard.shown = hooks::shown(run.pfn);
    }
    guard.fetch |= (visible || hidden) && guard.shown.is_none();
    M::guard(run, guard, frames);
}

/// Tells the processor what has become of monitors since their events were enabled, disabled or cleared. What the cores run
/// under is the same only when they have flushed: the caller sees to that; units of cleared ones are free at once if they did.
pub fn arm<M: Machine>(core: u32) {
    let mut monitors = lock(core);
    let (mut guarded, mut hooked, mut gone) = (false, false, false);
    for monitor in &mut monitors.all {
        let Phase::There(was) = monitor.phase else { continue };
        match watch::state(monitor.kind, monitor.id, monitor.serial) {
            None => {
                gone |= retire::<M>(core, monitor);
            }
            Some(is) => {
                guarded |= is;
                hooked |= is && matches!(monitor.kind, event::EPTHOOK | event::EPTHOOK2);
                if is != was {
                    monitor.phase = Phase::There(is);
                    let _stays = detours::settle(core, monitor.serial, Some(is));
                    of_monitor(monitor.first).for_each(|record| record.enable(is));
                    of_monitor(monitor.first).for_each(hooks::renew);
                    of_monitor(monitor.first).for_each(|record| guard::<M>(record.run(), record.frames()));
                }
            }
        }
    }
    for (bit, is) in [(WATCH_GUARDED, guarded), (WATCH_HOOKED, hooked)] {
        if is {
            ROOT.watch.fetch_or(bit, SeqCst)
        } else {
            ROOT.watch.fetch_and(!bit, SeqCst)
        };
    }
    if !gone {
        return;
    }
    let flushed = ROOT.flush_all(core);
    let revision = ROOT.revision.load(SeqCst);
    for monitor in &mut monitors.all {
        if monitor.phase == Phase::Gone(u64::MAX) {
            monitor.phase = Phase::Gone(revision);
            if flushed {
                give(monitor, core);
            }
        }
    }
}

/// Takes the records of a monitor off their chains, and its frames out of the tables. Whether its units go behind a flush.
fn retire<M: Machine>(core: u32, monitor: &mut Monitor) -> bool {
    let waits = monitor.kind == event::EPTHOOK2 && detours::settle(core, monitor.serial, None);
    of_monitor(monitor.first).for_each(unchain::<M>);
    of_monitor(monitor.first).for_each(release::<M>);
    if of_monitor(monitor.first).any(|record| record.mapped() != Mapped::Always) {
        mapped::wish_to_be_held();
    }
    if waits {
        monitor.phase = Phase::Detoured;
        return false;
    }
    monitor.phase = Phase::Gone(u64::MAX);
    GONE.fetch_add(1, SeqCst);
    true
}

/// Places of detours may have become free: whose units wait for that goes the way of the others. `is_free` says it by number.
pub fn graced(core: u32, is_free: impl Fn(u32) -> bool) {
    let mut monitors = lock(core);
    let revision = ROOT.revision.load(SeqCst);
    for monitor in &mut monitors.all {
        if monitor.phase == Phase::Detoured && is_free(monitor.serial) {
            monitor.phase = Phase::Gone(revision);
            GONE.fetch_add(1, SeqCst);
        }
    }
    drop(monitors);
    settle(core);
}

/// Takes a record off its chain, if it is on it, and tells the tables. Its frames may be used otherwise when [`release`] was called,
/// too, and every core has flushed.
fn unchain<M: Machine>(gone: Record) {
    let chain = chain_of(gone.run());
    // Its own link stays, for who stands on it.
    let mut before = core::iter::successors(Record::at(chain.load(SeqCst)), |record| Record::at(record.chained()));
    if chain.load(SeqCst) == gone.pa() {
        chain.store(gone.chained(), SeqCst);
    } else if let Some(before) = before.find(|record| record.chained() == gone.pa()) {
        before.chain(gone.chained());
    } else {
        return;
    }
    LARGE.fetch_sub(u32::from(gone.run().level > 0), SeqCst);
    HOOKS.fetch_sub(u32::from(gone.is_hook()), SeqCst);
    hooks::renew(gone);
    guard::<M>(gone.run(), gone.frames());
}

fn release<M: Machine>(gone: Record) {
    M::release(gone.run(), gone.frames(), &mut |run| records(run).next().map(Record::frames));
}

/// Gives back what a monitor had.
fn give(monitor: &mut Monitor, core: u32) {
    let Some(reserve) = bank::reserve() else { return };
    let mut next = Record::at(monitor.first);
    while let Some(record) = next {
        next = record.next();
        // Its own: nobody else can have given it back.
        let _given = reserve.give(Core(core), record.handle());
    }
    if matches!(monitor.phase, Phase::Gone(_)) {
        GONE.fetch_sub(1, SeqCst);
    }
    *monitor = FREE;
}

/// Gives back what waited for a core that was silent. Whether nothing is left to be given back.
pub fn settle(core: u32) -> bool {
    if GONE.load(SeqCst) > 0
        && let Some(mut monitors) = MONITORS.try_lock()
    {
        let flushed = |revision| {
            let has = |(number, record): (u32, &crate::root::CoreRecord)| {
                number == core || record.state.load(SeqCst) != RUNNING || record.flushed.load(SeqCst) >= revision
            };
            ROOT.cores_in().all(has)
        };
        for monitor in &mut monitors.all {
            if let Phase::Gone(revision) = monitor.phase
                && flushed(revision)
            {
                give(monitor, core);
            }
        }
    }
    GONE.load(SeqCst) == 0
}

/// Root has left: nobody runs under anything of monitors any more.
pub fn close() {
    let mut monitors = MONITORS.lock();
    monitors.all.iter_mut().filter(|monitor| monitor.phase != Phase::Free).for_each(|monitor| give(monitor, 0));
    CHAINS.iter().for_each(|chain| chain.store(0, SeqCst));
    LARGE.store(0, SeqCst);
    HOOKS.store(0, SeqCst);
}
