//! Detours: jumps in the guest's kernel that lead to places of the window, how they come, and how they go.
//!
//! ```text
//! off ──► a breakpoint at the first byte ──nobody can be inside──► the jump, behind it ──► off ──nobody can be inside──► the place is free
//!         root leads who meets it to the place                    (the same steps back)
//! ```
//! A detour is a record like a monitor's (`monitors`), of the displaced bytes, and a unit; and a place of the window. The guest sees what
//! stands in its code; root and the prompt read what stood there.
//!
//! **Holds always**
//! - D1: of a jump's bytes none but the first can be met by who executes: first a breakpoint stands there, the others come when no thread
//!   and no core can be between them, and the first when every core has been in root since.
//! - D2: a place is used anew when no thread and no core can be in it. The module's worker says when (`GRACE`): it has waited for each thread
//!   to go to sleep of its own or to a program, and for each core to have run another one.
//! - D3: what is not as root left it is not changed back: what Linux writes there stays, the event is cleared, and its place stays for who
//!   has kept a copy of the jump, until the jump is back, or what stood there.
//! - D4: frames with detours are written by Linux under root's eyes (`monitors` guards them), from before the first byte is changed until after
//!   the last has been.
//!
//! **Callers**: `serve` for requests, `monitors` under its lock, `detoured` on an exit. **Cost**: a request flushes each core up to four times.
//! **Proof**: `tests/e2e/epthook2.rs`.

pub mod code;

use crate::arch::Machine;
use crate::arch::x86::direct;
use crate::limits::EVENTS_MAX;
use crate::root::ROOT;
use crate::{hooks, hypercall, memory, monitors, places, walk, watch};
use abi::boot::{Doorbell, FRAME_BYTES, PLACE_COPY, WINDOW_PLACES};
use abi::code as codes;
use abi::request::epthook2::{Ask, CODE_BYTES_MAX, DISPLACED_BYTES_MAX, FIXUPS_MAX, JUMP_BYTES};
use abi::request::memory::VIRTUAL;
use abi::request::{EventAnswer, EventChange, event};
use code::{Code, Parts};
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};

/// More places than there can be events: what is cleared has its own for a while.
const _: () = assert!(WINDOW_PLACES >= EVENTS_MAX);
const _: () = assert!(PLACE_COPY + CODE_BYTES_MAX + JUMP_BYTES <= places::QUICK && JUMP_BYTES <= 8);

/// What a place is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Phase {
    /// Nothing.
    Free = 0,
    /// A detour that is being registered.
    Taken = 1,
    /// One whose bytes are the kernel's.
    Off = 2,
    /// A breakpoint stands there, until a turn of the worker's.
    Breakpoint = 3,
    /// The jump does.
    Jump = 4,
    /// It is gone, and what stands there is of Linux' making: somebody may come here still.
    Kept = 5,
    /// It is gone; its place is free behind a turn of the worker's.
    Gone = 6,
}

impl Phase {
    const ALL: [Phase; 7] = [Phase::Free, Phase::Taken, Phase::Off, Phase::Breakpoint, Phase::Jump, Phase::Kept, Phase::Gone];
}

/// A detour. Written by who has the lock of the monitors, or took the place; read by all.
struct Detour {
    phase: AtomicU32,
    /// Its event,
    id: AtomicU32,
    /// and the number of its record.
    serial: AtomicU32,
    /// Linear and physical address of the first byte.
    at: AtomicU64,
    pa: AtomicU64,
    /// Displaced bytes.
    bytes: AtomicU32,
    /// What stood there, and the jump: its bytes, the lowest first.
    original: [AtomicU64; DISPLACED_BYTES_MAX / 8],
    jump: AtomicU64,
    /// The turn that it waits for.
    turn: AtomicU64,
    /// Bytes of the copy's first instruction.
    first: AtomicU32,
    /// Its memory is something else's now, or has been written by Linux; and somebody was told.
    struck: AtomicBool,
    lost: AtomicBool,
}

static DETOURS: [Detour; WINDOW_PLACES] = [const { Detour::new() }; WINDOW_PLACES];
/// Places from here on have never been used.
static USED: AtomicUsize = AtomicUsize::new(0);
/// The worker's last turn.
static TURN: AtomicU64 = AtomicU64::new(0);
/// Root is about to leave for good.
static CLOSING: AtomicBool = AtomicBool::new(false);

impl Detour {
    const fn new() -> Detour {
        Detour {
            phase: AtomicU32::new(Phase::Free as u32),
            id: AtomicU32::new(0),
            serial: AtomicU32::new(0),
            at: AtomicU64::new(0),
            pa: AtomicU64::new(0),
            bytes: AtomicU32::new(0),
            original: [const { AtomicU64::new(0) }; DISPLACED_BYTES_MAX / 8],
            jump: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            first: AtomicU32::new(0),
            struck: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        }
    }

    fn phase(&self) -> Phase {
        let number = self.phase.load(SeqCst);
        Phase::ALL.into_iter().find(|phase| *phase as u32 == number).unwrap_or(Phase::Kept)
    }

    fn become_phase(&self, phase: Phase) {
        self.phase.store(phase as u32, SeqCst);
    }

    /// Whether there is a detour, whatever stands in the kernel's code.
    fn is_there(&self) -> bool {
        !matches!(self.phase(), Phase::Free | Phase::Taken | Phase::Gone)
    }

    fn is_live(&self) -> bool {
        matches!(self.phase(), Phase::Breakpoint | Phase::Jump)
    }

    /// What stood there.
    fn original(&self) -> [u8; JUMP_BYTES] {
        first(self.original[0].load(SeqCst))
    }

    fn jump(&self) -> [u8; JUMP_BYTES] {
        first(self.jump.load(SeqCst))
    }

    /// Whether what stands there is as root left it.
    fn is_intact(&self) -> bool {
        let left = match self.phase() {
            Phase::Jump => self.jump(),
            Phase::Breakpoint => with_first(self.original(), hooks::BREAKPOINT),
            _ => self.original(),
        };
        self.has(left)
    }

    /// Whether these bytes stand there, and what stood behind them.
    fn has(&self, bytes: [u8; JUMP_BYTES]) -> bool {
        let mut all = [0; DISPLACED_BYTES_MAX];
        for (to, word) in all.as_chunks_mut::<8>().0.iter_mut().zip(&self.original) {
            *to = word.load(SeqCst).to_le_bytes();
        }
        all[..JUMP_BYTES].copy_from_slice(&bytes);
        all.get(..self.bytes.load(SeqCst) as usize).is_some_and(|all| stands(self.pa.load(SeqCst), all))
    }

    /// Writes bytes of the jump's from the `nth` on.
    fn put(&self, core: u32, nth: usize, bytes: &[u8]) -> bool {
        let pa = self.pa.load(SeqCst);
        let stored = hypercall::store(core, pa + nth as u64, bytes);
        hooks::follow(pa / FRAME_BYTES);
        stored
    }
}

fn first(word: u64) -> [u8; JUMP_BYTES] {
    let [a, b, c, d, e, ..] = word.to_le_bytes();
    [a, b, c, d, e]
}

fn with_first(bytes: [u8; JUMP_BYTES], byte: u8) -> [u8; JUMP_BYTES] {
    let [_, b, c, d, e] = bytes;
    [byte, b, c, d, e]
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Places that are or were used, with their numbers.
fn used() -> impl Iterator<Item = (usize, &'static Detour)> {
    DETOURS.iter().enumerate().take(USED.load(SeqCst))
}

/// What the worker is to wait for: whatever it sees this number, it began later.
fn next_turn() -> u64 {
    TURN.fetch_add(1, SeqCst) + 1
}

/// Has the worker wait, if there is reason to.
fn ring() {
    let waits = |detour: &Detour| matches!(detour.phase(), Phase::Breakpoint | Phase::Gone);
    if used().any(|(_, detour)| waits(detour)) {
        crate::serve::ring_doorbell(offset_of!(Doorbell, grace_wanted), TURN.load(SeqCst));
    }
}

/// Registers a detour, with what is staged for it. `tables` is CR3 of the core that is meant. Out of line: others have the stack to themselves.
#[inline(never)]
pub fn add<M: Machine>(core: u32, tables: u64, ask: &Ask) -> (u32, EventAnswer) {
    let Ask { event: its, place, displaced_bytes, code_bytes, fixups_count, .. } = *ask;
    let refuse = |code| (code, EventAnswer { id: event::ALL, bytes: place.address, ..EventAnswer::default() });
    let lengths = (displaced_bytes as usize, code_bytes as usize, fixups_count as usize);
    let (JUMP_BYTES..=DISPLACED_BYTES_MAX, 1..=CODE_BYTES_MAX, 0..=FIXUPS_MAX) = lengths else {
        return refuse(codes::REQUEST_MALFORMED);
    };
    let sound = place.space == VIRTUAL && its.kind == event::EPTHOOK2 && its.stage == event::PRE;
    if !sound || its.flags & event::OPTION != 0 || ask.first_bytes == 0 || ask.first_bytes > code_bytes {
        return refuse(codes::REQUEST_MALFORMED);
    }
    if place.address < memory::UPPER_HALF || CLOSING.load(SeqCst) {
        return refuse(codes::EVENT_INVALID);
    }
    let pa = match memory::space(core, tables, place) {
        Ok(space) => space.page(place.address).map(|(pa, _)| pa),
        Err(code) => return refuse(code),
    };
    let Some(pa) = pa else { return refuse(codes::ADDRESS_INVALID) };
    if pa % FRAME_BYTES + u64::from(displaced_bytes) > FRAME_BYTES {
        return refuse(codes::NOT_MOVABLE);
    }
    let Some((place, detour)) = take() else { return refuse(codes::NO_PLACE) };
    let added = lead::<M>(core, tables, ask, (place, detour), pa);
    if added.0 != codes::SUCCESS && detour.phase() == Phase::Taken {
        detour.become_phase(Phase::Free);
    }
    if added.0 == codes::SUCCESS { added } else { (added.0, EventAnswer { bytes: ask.place.address, ..added.1 }) }
}

/// A place for this caller alone.
fn take() -> Option<(usize, &'static Detour)> {
    let is_free =
        |detour: &Detour| detour.phase.compare_exchange(Phase::Free as u32, Phase::Taken as u32, SeqCst, SeqCst).is_ok();
    let (place, detour) = DETOURS.iter().enumerate().find(|(_, detour)| is_free(detour))?;
    detour.serial.store(0, SeqCst);
    USED.fetch_max(place + 1, SeqCst);
    Some((place, detour))
}

/// The code of a place, but for what needs no root.
fn copy<M: Machine>(ask: &Ask, start: u64) -> Option<Code> {
    let mut bytes = ask.code;
    let from = start + PLACE_COPY as u64;
    for fixup in ask.fixups.get(..ask.fixups_count as usize)? {
        let distance = code::distance(from.wrapping_add(fixup.end.into()), fixup.target)?;
        let offset = usize::try_from(fixup.offset).ok()?;
        bytes.get_mut(..ask.code_bytes as usize)?.get_mut(offset..)?.get_mut(..4)?.copy_from_slice(&distance);
    }
    let mut code = Code::at(start);
    code.add(&M::CALL);
    code.add(bytes.get(..ask.code_bytes as usize)?);
    code.jump(ask.place.address.wrapping_add(ask.displaced_bytes.into()));
    Some(code)
}

/// Fills the place, registers the event, and has the kernel come.
fn lead<M: Machine>(core: u32, tables: u64, ask: &Ask, (place, detour): (usize, &Detour), pa: u64) -> (u32, EventAnswer) {
    let refuse = |code| (code, EventAnswer { id: event::ALL, ..EventAnswer::default() });
    let at = ask.place.address;
    let displaced = ask.original.get(..ask.displaced_bytes as usize).unwrap_or_default();
    if covers(pa, ask.displaced_bytes.into()) {
        return refuse(codes::OVERLAPS);
    }
    if !stands(pa, displaced) {
        return refuse(codes::CODE_CHANGED);
    }
    let Some((start, hits)) = places::address(place).zip(places::cell(place)) else { return refuse(codes::NO_PLACE) };
    let Some(mut code) = copy::<M>(ask, start) else { return refuse(codes::NOT_MOVABLE) };
    let quick = start + places::QUICK as u64;
    // Either is as far as the other, and both are tried before anything is taken.
    let jump_to = |entry: u64| code::distance(at.wrapping_add(JUMP_BYTES as u64), entry);
    let (Some(_), Some(_), Some(bytes)) = (jump_to(start), jump_to(quick), code.bytes()) else {
        return refuse(codes::NOT_MOVABLE);
    };
    if !places::write(core, place, 0, bytes) {
        return refuse(codes::NO_PLACE);
    }
    let last = at + u64::from(ask.displaced_bytes) - 1;
    let (result, answer) = monitors::add_range::<M>(core, tables, &ask.event, (ask.place, last), 0);
    if result != codes::SUCCESS {
        return (result, answer);
    }
    let counted = |form: &events::Form| form.count.and_then(|(cell, _)| places::global(cell));
    let form = watch::form(answer.id).map(|form| {
        code = Code::at(quick);
        let parts = Parts { call: start, copy: start + PLACE_COPY as u64, hits, counted: counted(&form) };
        code::quick(&mut code, &form, &parts);
    });
    let is_quick = form.is_some() && code.bytes().is_some_and(|bytes| places::write(core, place, places::QUICK, bytes));
    let entry = if is_quick { quick } else { start };
    let mut jump = [0xe9, 0, 0, 0, 0];
    if let Some(distance) = jump_to(entry) {
        jump[1..].copy_from_slice(&distance);
    }
    let opened = places::open(core, place, at, entry);
    for (word, value) in [(&detour.at, at), (&detour.pa, pa), (&detour.jump, word(&jump))] {
        word.store(value, SeqCst);
    }
    detour.original.iter().zip(ask.original.chunks(8)).for_each(|(to, bytes)| to.store(word(bytes), SeqCst));
    detour.bytes.store(ask.displaced_bytes, SeqCst);
    detour.first.store(ask.first_bytes, SeqCst);
    detour.id.store(answer.id, SeqCst);
    detour.struck.store(false, SeqCst);
    detour.lost.store(false, SeqCst);
    let is_there = monitors::with_serial(core, answer.id, |serial| {
        detour.serial.store(serial, SeqCst);
        detour.become_phase(Phase::Off);
    });
    rise::<M>(core);
    if is_there.is_some() && opened && detour.is_live() {
        return (codes::SUCCESS, answer);
    }
    // It was cleared already, or disabled; or Linux has written there since the bytes were compared.
    if detour.phase() == Phase::Off && watch::state(event::EPTHOOK2, answer.id, detour.serial.load(SeqCst)) == Some(true) {
        let _cleared = watch::change::<M>(core, EventChange { what: event::CLEAR, id: answer.id });
        return refuse(codes::CODE_CHANGED);
    }
    (codes::SUCCESS, answer)
}

fn stands(pa: u64, bytes: &[u8]) -> bool {
    let mut found = [0; DISPLACED_BYTES_MAX];
    found.get_mut(..bytes.len()).is_some_and(|found| direct::copy_out(pa, found) && found == bytes)
}

/// Whether a record may be made of so many bytes of a frame: no detour may share a byte with a hook or another detour. Under the lock.
pub fn is_free(kind: u32, pfn: u64, range: (u64, u64)) -> bool {
    let meets = |first: u64, last: u64| first <= range.1 && last >= range.0;
    let other = |(_, detour): (usize, &Detour)| {
        let pa = detour.pa.load(SeqCst);
        let first = pa % FRAME_BYTES;
        let there = detour.is_there() && pa / FRAME_BYTES == pfn;
        there && meets(first, first + u64::from(detour.bytes.load(SeqCst)) - 1)
    };
    let hook = || kind == event::EPTHOOK2 && monitors::hooked_bytes(pfn).any(|(first, last)| meets(first, last));
    !matches!(kind, event::EPTHOOK | event::EPTHOOK2) || !(used().any(other) || hook())
}

/// Puts breakpoints where enabled events of detours want them. Every core takes breakpoints to root, and has flushed since their frames were
/// guarded.
pub fn rise<M: Machine>(core: u32) {
    let mut lost = None;
    monitors::steady(core, || {
        for (_, detour) in used().filter(|(_, detour)| detour.phase() == Phase::Off) {
            let (id, serial) = (detour.id.load(SeqCst), detour.serial.load(SeqCst));
            if watch::state(event::EPTHOOK2, id, serial) != Some(true) {
                continue;
            }
            if !detour.is_intact() {
                lost = Some(id);
                continue;
            }
            detour.turn.store(next_turn(), SeqCst);
            detour.become_phase(Phase::Breakpoint);
            if !detour.put(core, 0, &[hooks::BREAKPOINT]) {
                detour.become_phase(Phase::Off);
            }
        }
        ring();
    });
    if let Some(id) = lost {
        watch::lose::<M>(core, id, "Linux has changed its code");
    }
}

/// The detour of a record becomes what its event is; `None`: it was cleared. Under the lock.
///
/// Whether its place is in use for a while yet.
pub fn settle(core: u32, serial: u32, state: Option<bool>) -> bool {
    let is_it = |(_, detour): &(usize, &Detour)| detour.serial.load(SeqCst) == serial && detour.is_there();
    let Some((place, detour)) = used().find(is_it) else { return false };
    if state != Some(true) && detour.is_live() {
        fall(core, detour);
    }
    if state.is_some() {
        return true;
    }
    if detour.phase() != Phase::Kept {
        places::close(core, place);
        detour.become_phase(Phase::Gone);
    }
    detour.turn.store(next_turn(), SeqCst);
    ring();
    true
}

/// What stood there is there again (D1, D3).
fn fall(core: u32, detour: &Detour) {
    if detour.lost.load(SeqCst) {
        return detour.become_phase(Phase::Off);
    }
    if !detour.is_intact() {
        return detour.become_phase(Phase::Kept);
    }
    let original = detour.original();
    if detour.phase() == Phase::Jump {
        detour.put(core, 0, &[hooks::BREAKPOINT]);
        // A core that is silent meets it when it comes.
        let _seen = ROOT.flush_all(core);
        detour.put(core, 1, &original[1..]);
    }
    let _seen = ROOT.flush_all(core);
    detour.put(core, 0, &original[..1]);
    detour.become_phase(Phase::Off);
    let _seen = ROOT.flush_all(core);
}

/// The worker has waited for what was asked of it up to a turn: jumps take the place of breakpoints, and places of detours that are gone are
/// free.
pub fn graced(core: u32, turn: u64) {
    monitors::steady(core, || {
        let due = |phase| used().filter(move |(_, detour)| detour.phase() == phase && detour.turn.load(SeqCst) <= turn);
        let mut any = false;
        for (_, detour) in due(Phase::Breakpoint).filter(|(_, detour)| detour.is_intact()) {
            any = true;
            detour.put(core, 1, &detour.jump()[1..]);
        }
        let seen = any && ROOT.flush_all(core);
        let is_half = |detour: &Detour| detour.has(with_first(detour.jump(), hooks::BREAKPOINT));
        for (_, detour) in due(Phase::Breakpoint).filter(|(_, detour)| is_half(detour)) {
            if seen {
                detour.become_phase(Phase::Jump);
                detour.put(core, 0, &detour.jump()[..1]);
            } else {
                // A core was silent: another time.
                detour.put(core, 1, &detour.original()[1..]);
                detour.turn.store(next_turn(), SeqCst);
            }
        }
        for (place, detour) in due(Phase::Kept) {
            if detour.has(detour.jump()) {
                detour.become_phase(Phase::Jump);
                fall(core, detour);
            } else if detour.has(detour.original()) {
                detour.become_phase(Phase::Off);
            }
            if detour.phase() == Phase::Off {
                places::close(core, place);
                detour.turn.store(next_turn(), SeqCst);
                detour.become_phase(Phase::Gone);
            }
        }
        for (_, detour) in due(Phase::Gone) {
            detour.become_phase(Phase::Free);
        }
        ring();
    });
    monitors::graced(core, |serial| {
        !used().any(|(_, detour)| detour.serial.load(SeqCst) == serial && detour.phase() != Phase::Free)
    });
}

/// Linux has written into a frame: an event whose detour is not what it was, once; and what is to be said of it.
pub fn struck(core: u32, tables: u64, pfn: u64) -> Option<(u32, &'static str)> {
    // Nobody is about to change bytes there.
    if any() { monitors::steady(core, || struck_now(tables, pfn)) } else { None }
}

fn struck_now(tables: u64, pfn: u64) -> Option<(u32, &'static str)> {
    let of_frame = |(_, detour): &(usize, &Detour)| detour.is_live() && detour.pa.load(SeqCst) / FRAME_BYTES == pfn;
    for (_, detour) in used().filter(of_frame) {
        let at = detour.at.load(SeqCst);
        let lost = walk::translate(tables, at, direct::read) != Some(detour.pa.load(SeqCst));
        if (lost || !detour.is_intact()) && !detour.struck.swap(true, SeqCst) {
            detour.lost.store(lost, SeqCst);
            let why = if lost { "its page is something else's now" } else { "Linux has changed its code" };
            return Some((detour.id.load(SeqCst), why));
        }
    }
    None
}

/// Whether there is, or was, a detour anywhere.
pub fn any() -> bool {
    USED.load(SeqCst) > 0
}

/// Whether detours have changed bytes among these.
pub fn covers(pa: u64, bytes: u64) -> bool {
    let meets = |detour: &Detour| {
        let first = detour.pa.load(SeqCst);
        first < pa.saturating_add(bytes) && pa < first + u64::from(detour.bytes.load(SeqCst))
    };
    used().any(|(_, detour)| detour.is_live() && meets(detour))
}

/// Bytes that were read become what stood there.
pub fn restore(pa: u64, read: &mut [u8]) {
    for (_, detour) in used().filter(|(_, detour)| detour.is_live()) {
        let first_pa = detour.pa.load(SeqCst);
        for (nth, byte) in (0..).zip(detour.original()) {
            let at = (first_pa + nth).checked_sub(pa).and_then(|at| usize::try_from(at).ok());
            if let Some(to) = at.and_then(|at| read.get_mut(at)) {
                *to = byte;
            }
        }
    }
}

/// Where the kernel goes on that met a breakpoint of root's: at a place, or where it is, if that is there no more.
pub fn entry(at: u64) -> Option<u64> {
    let is_it = |(_, detour): &(usize, &Detour)| {
        detour.at.load(SeqCst) == at && !matches!(detour.phase(), Phase::Free | Phase::Taken | Phase::Kept)
    };
    let (_, detour) = used().find(is_it)?;
    let mut byte = [0];
    let stands = direct::copy_out(detour.pa.load(SeqCst), &mut byte) && byte == [hooks::BREAKPOINT];
    if stands && !detour.is_live() {
        // Linux' own.
        return None;
    }
    let distance = u32::try_from(detour.jump.load(SeqCst) >> 8 & 0xffff_ffff).unwrap_or(0).cast_signed();
    let entry = at.wrapping_add(JUMP_BYTES as u64).wrapping_add(i64::from(distance).cast_unsigned());
    Some(if stands { entry } else { at })
}

/// What a place is for: its event, the number of its record, where the kernel came from; and where in the place it goes on, at the first
/// instruction or at the second.
pub fn at_place(place: usize) -> Option<(u32, u32, u64, [u64; 2])> {
    let detour = DETOURS.get(place)?;
    let copy = places::address(place)? + PLACE_COPY as u64;
    let second = copy + u64::from(detour.first.load(SeqCst));
    Some((detour.id.load(SeqCst), detour.serial.load(SeqCst), detour.at.load(SeqCst), [copy, second]))
}

/// What the guest counted of an event's hits, and whether it waits for the worker.
pub fn counted(id: u32) -> Option<(u64, bool)> {
    let is_it =
        |(_, detour): &(usize, &Detour)| detour.id.load(SeqCst) == id && detour.is_there() && detour.phase() != Phase::Kept;
    used().find(is_it).map(|(place, detour)| (places::hits(place), detour.phase() == Phase::Breakpoint))
}

/// Root is about to leave for good: the kernel's code is as it was, before any core goes. Whether all of it is.
pub fn leave(core: u32) -> bool {
    CLOSING.store(true, SeqCst);
    monitors::steady(core, || {
        for (_, detour) in used() {
            if detour.phase() == Phase::Kept && detour.has(detour.jump()) {
                detour.become_phase(Phase::Jump);
            }
            if detour.is_live() {
                fall(core, detour);
            }
        }
    });
    !used().any(|(_, detour)| detour.phase() == Phase::Kept)
}

/// Root is dying: the same, at once. Whoever meets a breakpoint or calls root is led on by Linux (`module/window.c`).
pub fn let_go(core: u32) {
    for (_, detour) in used().filter(|(_, detour)| detour.is_live() && detour.is_intact()) {
        let original = detour.original();
        let pa = detour.pa.load(SeqCst);
        for (nth, bytes) in [(0, &[hooks::BREAKPOINT][..]), (1, &original[1..]), (0, &original[..1])] {
            let _stored = hypercall::store(core, pa + nth, bytes);
        }
    }
}

#[cfg(test)]
mod tests;
