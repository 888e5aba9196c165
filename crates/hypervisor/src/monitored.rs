//! Accesses that monitors wait for: what the instruction uses, the events before it, the instruction, the events behind it.
//!
//! **Holds always**
//! - H1: an instruction that a guarded page stops is looked at as a whole: each of its accesses is tested with its whole width
//!   against every monitor, also those on pages that it would reach only later.
//! - H2: for one access a monitor fires once, and for one access monitors fire in the order in which they were registered.
//! - H3: it is executed once, on this core, with nothing kept from it; other cores stay guarded. One that will fault, since
//!   something of it is not mapped, fires only when it comes again; one that faults for another reason fires each time.
//! - H4: the processor's own accesses are told, too: the frame and the gate of an event that it delivers, and entries of page
//!   tables, for a write only if it marks the entry as used. Where nothing else is known it is 8 bytes at the address that faulted.
//!
//! An instruction is skipped if an event before it says so; then none fires behind it.
//!
//! **Callers**: `life`. **Proof**: the tests below, `tests/e2e/monitor.rs`.

use crate::accesses::{self, Access, Accesses};
use crate::arch::x86::direct;
use crate::arch::{Begun, Core, Event, Exit, Machine, Nested, Passing};
use crate::hooked::Then;
use crate::limits::ACCESSES_MAX;
use crate::monitors::mapped;
use crate::moves::{self, Last, Move};
use crate::root::ROOT;
use crate::scripts::Bench;
use crate::simple::{self, Simple};
use crate::{bank, detours, hooked, hooks, monitors, visible, walk, watch};
use abi::boot::FRAME_BYTES;
use abi::request::event;
use abi::request::monitor::{EXECUTE, READ, WRITE};
use core::sync::atomic::Ordering::SeqCst;

/// Each access on two pages, and what faulted.
const PARTS_MAX: usize = 2 * ACCESSES_MAX + 1;
/// A flush ends a fault of a monitor that has gone. One that comes so often at one place is the guest's own business with memory
/// that there is not, and ends as it does with root's.
const STRAY_FAULTS_MAX: u8 = 16;

/// A monitor that an access hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The event,
    pub id: u32,
    /// its kind,
    pub kind: u32,
    /// and the number of its monitor.
    pub serial: u32,
    /// The access' address, as the monitor names it.
    pub context: u64,
}

/// The bytes of an access on one page.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    pa: u64,
    bytes: u64,
    what: u32,
    /// Which access, and how many of its bytes are before these.
    access: u32,
    ahead: u64,
}

/// What is accessed by the instruction, or the delivery, that passes just now.
#[derive(Debug)]
pub struct Pending {
    parts: [Part; PARTS_MAX],
    count: usize,
    /// Root does what the guest was stopped at, and the step is over.
    by_root: bool,
    /// It seemed about to fault, so that nothing fired before it.
    late: bool,
    /// Hooked frames that it writes: what is executed instead of them must follow. Two pages of one access.
    written: [Option<Written>; 2],
    /// Where a breakpoint of nobody's was last, and the how manieth exit that was.
    unclaimed: (u64, u64),
    /// The last access that root might do itself.
    last: Last,
    /// The last fault that nothing waited for, and how often it came in a row.
    stray: (u64, u8),
}

/// Bytes of a hooked frame that are written, from the first to the last.
#[derive(Clone, Copy, Debug)]
struct Written {
    pfn: u64,
    bytes: (u64, u64),
}

/// Which monitor and which access: the order in which they fire.
type Order = (u32, u32);

impl Pending {
    /// Nothing.
    pub const fn new() -> Pending {
        Pending {
            parts: [Part { pa: 0, bytes: 0, what: 0, access: 0, ahead: 0 }; PARTS_MAX],
            count: 0,
            by_root: false,
            late: false,
            written: [None; 2],
            unclaimed: (0, 0),
            last: Last::NONE,
            stray: (0, 0),
        }
    }

    /// Whether such a fault may be one of the monitors that have just gone: not if it comes again and again.
    fn is_late(&mut self, gpa: u64) -> bool {
        let times = if self.stray.0 == gpa { self.stray.1.saturating_add(1) } else { 1 };
        self.stray = (gpa, times);
        times <= STRAY_FAULTS_MAX
    }

    /// The guest has come further: an exit that is no such fault.
    pub fn moves_on(&mut self) {
        self.stray = (0, 0);
    }

    /// Whether the last exit was a breakpoint of nobody's, too, at the same place; this is the `nth` exit.
    pub fn is_unclaimed(&mut self, rip: u64, nth: u64) -> bool {
        core::mem::replace(&mut self.unclaimed, (rip, nth)) == (rip, nth.wrapping_sub(1))
    }

    fn clear(&mut self) {
        (self.count, self.by_root, self.late) = (0, false, false);
    }

    fn parts(&self) -> &[Part] {
        self.parts.get(..self.count).unwrap_or_default()
    }

    fn add(&mut self, part: Part) {
        if let Some(to) = self.parts.get_mut(self.count) {
            *to = part;
            self.count += 1;
        }
    }

    /// Where these accesses lie, by the tables that the core is in. Whether all of them can be done, by a program if `user`;
    /// what is mapped nowhere is left out.
    fn place(&mut self, cr3: u64, user: bool, accesses: &Accesses) -> bool {
        let mut possible = true;
        for (number, Access { linear, bytes, what }) in (0..).zip(accesses.all()) {
            let first = (*bytes).min(FRAME_BYTES - linear % FRAME_BYTES);
            for (ahead, bytes) in [(0, first), (first, (*bytes - first).min(FRAME_BYTES))] {
                if bytes == 0 {
                    continue;
                }
                let look = walk::look(cr3, linear.wrapping_add(ahead), direct::read);
                possible &= look.found.is_some() && !(user && what & WRITE != 0 && !look.writable());
                if let Some(pa) = look.found {
                    self.add(Part { pa, bytes, what: *what, access: number, ahead });
                }
            }
        }
        possible
    }

    /// Notes what of it is a write into a hooked page.
    fn note_written(&mut self) {
        self.written = [None; 2];
        for at in 0..self.count {
            let Some(part) = self.parts.get(at).filter(|part| part.what & WRITE != 0) else { continue };
            let (pfn, first) = (part.pa / FRAME_BYTES, part.pa % FRAME_BYTES);
            let bytes = (first, first + (part.bytes - 1));
            if !is_followed(pfn) {
                continue;
            }
            let is_free = |room: &&mut Option<Written>| room.is_none_or(|written| written.pfn == pfn);
            if let Some(room) = self.written.iter_mut().find(is_free) {
                let all = room.map_or(bytes, |written| (written.bytes.0.min(bytes.0), written.bytes.1.max(bytes.1)));
                *room = Some(Written { pfn, bytes: all });
            }
        }
    }

    /// What was to be written, is written.
    fn follow<M: Machine>(&mut self, cpu: &M::Core, core: u32) {
        for Written { pfn, bytes } in self.written.iter_mut().filter_map(Option::take) {
            hooks::written(core, pfn);
            visible::written::<M>(core, pfn, bytes);
            mapped::written::<M>(core, cpu.cr3(), pfn);
            while let Some((id, why)) = detours::struck(core, cpu.cr3(), pfn) {
                watch::lose::<M>(core, id, why);
            }
        }
    }

    /// What faulted, if it is none of these (H4).
    fn place_fault(&mut self, fault: &Nested) {
        let access = self.parts().iter().map(|part| part.access + 1).max().unwrap_or(0);
        if fault.walk {
            let pa = fault.gpa & !7;
            let marks = direct::read(pa).is_some_and(|entry| entry & walk::ACCESSED == 0);
            let what = READ | if marks { WRITE } else { 0 };
            return self.add(Part { pa, bytes: 8, what, access, ahead: 0 });
        }
        let inside = |part: &Part| fault.gpa.wrapping_sub(part.pa) < part.bytes;
        if !self.parts().iter().any(inside) {
            let what = match (fault.fetch, fault.write) {
                (true, _) => EXECUTE,
                (_, true) => WRITE,
                _ => READ,
            };
            let bytes = (FRAME_BYTES - fault.gpa % FRAME_BYTES).min(8);
            self.add(Part { pa: fault.gpa, bytes, what, access, ahead: 0 });
        }
    }
}

/// Whether what becomes of a frame that is written must be looked at.
fn is_followed(pfn: u64) -> bool {
    hooks::shown(pfn).is_some() || detours::covers(pfn * FRAME_BYTES, FRAME_BYTES)
}

/// The first hit behind this one (H2), and whether there are more.
#[inline(always)]
fn first_hit<C: Core>(cpu: &C, core: u32, parts: &[Part], after: Order) -> Option<(Order, Hit, bool)> {
    let mut first = None;
    for part in parts {
        for watched in monitors::of_frame(part.pa / FRAME_BYTES) {
            let order = (watched.serial, part.access);
            let last = part.pa.wrapping_add(part.bytes.wrapping_sub(1));
            let touches = part.pa <= watched.range.1 && last >= watched.range.0;
            // A hook is hit by the instruction that begins there: its fetch is the first access, and this its first byte.
            let begins = part.access == 0 && part.ahead == 0 && part.pa == watched.range.0;
            if !touches || watched.hook && !begins || watched.access & part.what == 0 || order <= after {
                continue;
            }
            if watched.loose && !mapped::is_there(core, cpu.cr3(), watched.serial, part.pa, watched.context) {
                continue;
            }
            let kind = if watched.hook { event::EPTHOOK } else { event::MONITOR };
            let context = part.pa.wrapping_sub(part.ahead).wrapping_add(watched.context);
            let hit = Hit { id: watched.id, kind, serial: watched.serial, context };
            first = earlier(first, order, hit);
        }
    }
    first
}

/// The earlier of two hits; a part of the same access on its second page is the same hit.
#[inline(always)]
fn earlier(first: Option<(Order, Hit, bool)>, order: Order, hit: Hit) -> Option<(Order, Hit, bool)> {
    match first {
        Some((here, ..)) if order < here => Some((order, hit, true)),
        Some((here, hit, more)) => Some((here, hit, more || order != here)),
        None => Some((order, hit, false)),
    }
}

/// What came of events that fired.
#[derive(Clone, Copy, Debug, Default)]
struct Fired {
    /// One wants that the instruction has no effect.
    suppressed: bool,
    /// There was one.
    any: bool,
    /// One has done more than to count: what was looked at before may be otherwise.
    ran: bool,
}

/// Fires every monitor that is hit.
fn fire<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &Pending, stage: u32) -> Fired {
    let (mut fired, mut after) = (Fired::default(), (0, 0));
    while let Some((order, hit, more)) = first_hit(cpu, core, pending.parts(), after) {
        if stage != event::PRE || !watch::monitored_quick(cpu, core, &hit) {
            fired.suppressed |= watch::monitored::<M>(cpu, core, bench, &hit, stage);
            fired.ran = true;
        }
        (fired.any, after) = (true, order);
        if !more {
            break;
        }
    }
    fired
}

/// An access that nested tables did not allow.
pub fn fault<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &mut Pending, fault: &Nested) {
    pending.clear();
    if !plain::<M>(cpu, core, bench, pending, fault) {
        other::<M>(cpu, core, bench, pending, fault);
    }
}

/// One that is no plain access.
#[inline(never)]
fn other<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &mut Pending, fault: &Nested) {
    let pfn = fault.gpa / FRAME_BYTES;
    let fetch = fault.fetch && !fault.delivery && !fault.walk;
    let then = if fetch { hooked::fetched::<M>(cpu, core, bench, pending, fault) } else { Then::Other };
    match then {
        Then::Over => return,
        Then::Step => return pass::<M>(cpu, core, bench, pending, fault),
        Then::Other => {}
    }
    if monitors::of_frame(pfn).next().is_none() {
        if bank::owns(core, pfn) || !pending.is_late(fault.gpa) {
            return shield(cpu);
        }
        // A monitor that was there when the core began to run, or that goes just now: who takes it away may be held up between its record
        // and the tables, for as long as many faults take. Behind that, and a flush, it does not come again.
        monitors::steady(core, || ());
        cpu.flush();
        return cpu.again();
    }
    pass::<M>(cpu, core, bench, pending, fault);
}

/// The access is a plain one, which root does itself, with the events around it; false: it is not, and nothing was done.
#[inline(always)]
fn plain<M: Machine>(cpu: &mut M::Core, number: u32, bench: &mut Bench, pending: &mut Pending, fault: &Nested) -> bool {
    if fault.fetch || fault.walk || fault.delivery {
        return false;
    }
    let Some((does, pa)) = moves::of(cpu, &mut pending.last) else { return false };
    let hooked = does.what & WRITE != 0 && (monitors::has_hooks() || detours::any()) && is_followed(pa / FRAME_BYTES);
    if hooked || fault.gpa.wrapping_sub(pa) >= does.bytes {
        return false;
    }
    // Its fetch was not stopped, so nothing waits for that.
    let part = Part { pa, bytes: does.bytes, what: does.what, access: 1, ahead: 0 };
    let quick = match first_hit(cpu, number, core::slice::from_ref(&part), (0, 0)) {
        None => true,
        Some((_, hit, more)) => !more && !watch::armed_behind(event::MONITOR) && watch::monitored_quick(cpu, number, &hit),
    };
    if quick && does.execute(cpu, pa) {
        let next = cpu.rip().wrapping_add(does.length);
        cpu.continue_at(next);
    } else {
        let does = *does;
        pending.add(part);
        plain_around::<M>(cpu, number, bench, pending, &does, quick);
    }
    true
}

/// The same with events that do more than to count; `told` if they have been asked.
#[inline(never)]
fn plain_around<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &mut Pending, does: &Move, told: bool) {
    let rip = cpu.rip();
    let fired = if told { Fired::default() } else { fire::<M>(cpu, core, bench, pending, event::PRE) };
    let next = rip.wrapping_add(does.length);
    if cpu.rip() != rip {
        return pending.clear();
    }
    if fired.suppressed {
        pending.clear();
        return cpu.continue_at(next);
    }
    // A script may have changed what it uses.
    let pa = pending.parts().first().map_or(0, |part| part.pa);
    let same = !fired.ran || moves::of(cpu, &mut pending.last).is_some_and(|(is, at)| (is, at) == (does, pa));
    if same && does.execute(cpu, pa) {
        cpu.continue_at(next);
        behind_it::<M>(cpu, core, bench, pending);
    } else {
        step::<M>(cpu, core, bench, pending);
    }
}

/// The guest executes the instruction, and what waits for it is told behind it.
fn step<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &mut Pending) {
    match cpu.step() {
        Begun::Stepping => {}
        Begun::Done => behind_it::<M>(cpu, core, bench, pending),
        Begun::NotNow => pending.clear(),
    }
}

/// Lets pass what an access belongs to, with the events around it.
fn pass<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &mut Pending, fault: &Nested) {
    pass_all::<M>(cpu, core, bench, pending, Some(fault));
}

/// Lets the next instruction pass, whether anything waits for it or not, with the events around it.
pub fn next<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &mut Pending) {
    pending.clear();
    pass_all::<M>(cpu, core, bench, pending, None);
}

/// `fault` is what nested tables did not allow, if anything.
fn pass_all<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &mut Pending, fault: Option<&Nested>) {
    pending.moves_on();
    let delivery = fault.is_some_and(|fault| fault.delivery);
    let mut accesses = Accesses::default();
    if delivery {
        if let Some(delivery) = cpu.delivery() {
            accesses.add(delivery.frame.0, delivery.frame.1, WRITE);
            accesses.add(delivery.gate.0, delivery.gate.1, READ);
        }
    } else {
        accesses = accesses::of(cpu);
    }
    let possible = pending.place(cpu.cr3(), cpu.cpl() == 3, &accesses);
    fault.into_iter().for_each(|fault| pending.place_fault(fault));
    pending.note_written();
    let rip = cpu.rip();
    // It will fault, and come again.
    let comes_again = !possible && !delivery;
    let fired = if comes_again { Fired::default() } else { fire::<M>(cpu, core, bench, pending, event::PRE) };
    if !fired.any {
        pending.clear();
    }
    if delivery {
        return cpu.deliver_unguarded();
    }
    if cpu.rip() != rip {
        // A script, or somebody at the prompt, has sent the guest elsewhere.
        return pending.clear();
    }
    if let Some(length) = accesses.length.filter(|_| fired.suppressed) {
        pending.clear();
        return cpu.continue_at(rip.wrapping_add(length));
    }
    step::<M>(cpu, core, bench, pending);
}

/// The instruction at a hook, which root can do itself; nothing else waits for it.
pub fn simple<M: Machine>(
    cpu: &mut M::Core,
    core: u32,
    bench: &mut Bench,
    pending: &mut Pending,
    at: u64,
    does: (Simple, u64),
) {
    pending.clear();
    pending.add(Part { pa: at, bytes: 1, what: EXECUTE, access: 0, ahead: 0 });
    let rip = cpu.rip();
    let fired = fire::<M>(cpu, core, bench, pending, event::PRE);
    if cpu.rip() != rip {
        return pending.clear();
    }
    if fired.suppressed {
        pending.clear();
    } else if fired.ran && simple::of(cpu) != Some(does) || !does.0.execute(cpu, does.1) {
        // A script has changed what it uses.
        return step::<M>(cpu, core, bench, pending);
    }
    cpu.continue_at(rip.wrapping_add(does.0.length));
    behind_it::<M>(cpu, core, bench, pending);
}

/// A breakpoint while there are hooks; whether it was root's.
pub fn breakpoint<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &mut Pending) -> bool {
    let then = hooked::breakpoint::<M>(cpu, core, bench, pending);
    if then == Then::Step {
        let gpa = walk::translate(cpu.cr3(), cpu.rip(), direct::read).unwrap_or(0);
        pending.clear();
        let fault = Nested { gpa, write: false, fetch: true, walk: false, delivery: false };
        pass::<M>(cpu, core, bench, pending, &fault);
    }
    then != Then::Other
}

/// An exit while something passes; whether that was all of it.
pub fn passed<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &mut Pending, exit: &Exit) -> bool {
    let passing = cpu.passed();
    if passing != Passing::Going {
        pending.follow::<M>(cpu, core);
    }
    match (passing, exit) {
        (Passing::Going, _) => false,
        (Passing::Done, _) => {
            behind_it::<M>(cpu, core, bench, pending);
            true
        }
        (Passing::DoneAnd, _) => {
            behind_it::<M>(cpu, core, bench, pending);
            false
        }
        // With nothing kept from it by monitors.
        (Passing::Broken, Exit::Nested(_)) => {
            pending.clear();
            shield(cpu);
            true
        }
        (Passing::Broken, Exit::SystemCall { .. } | Exit::SystemReturn { .. } | Exit::SoftInterrupt | Exit::Breakpoint) => {
            pending.by_root = true;
            false
        }
        (Passing::Broken, _) => {
            pending.clear();
            false
        }
    }
}

/// Root has done what an exit was for; if that was what passes, it is over.
pub fn over<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &mut Pending) {
    let going = cpu.passing();
    let executed = if going { cpu.passed_by_root() } else { Some(pending.by_root) };
    if going && executed.is_some() {
        pending.follow::<M>(cpu, core);
    }
    match executed {
        Some(true) => behind_it::<M>(cpu, core, bench, pending),
        Some(false) => pending.clear(),
        None => {}
    }
}

/// Whether [`over`] may have something to do.
#[inline(always)]
pub fn waits<C: Core>(cpu: &C, pending: &Pending) -> bool {
    pending.count > 0 || cpu.passing()
}

fn behind_it<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &mut Pending) {
    if pending.count > 0 {
        if pending.late {
            fire::<M>(cpu, core, bench, pending, event::PRE);
        }
        if watch::armed_behind(event::MONITOR) || watch::armed_behind(event::EPTHOOK) {
            fire::<M>(cpu, core, bench, pending, event::POST);
        }
        pending.clear();
    }
}

/// Linux has no business there; what it would have destroyed is counted, and it is told like any bus would.
fn shield<C: Core>(cpu: &mut C) {
    ROOT.shielded.fetch_add(1, SeqCst);
    cpu.inject(Event::GeneralProtection);
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    /// Would catch a core that is told #GP since who takes a monitor away is held up between its record and the tables.
    #[test]
    fn who_faults_at_a_monitor_that_goes_waits_for_its_end() {
        use crate::arch::model::{Model, ModelCore};
        use crate::arch::x86::direct::arena;
        use core::sync::atomic::{AtomicBool, AtomicU32};
        /// None of the machine's: what it acknowledges shows where it waits.
        const CORE: u32 = 77;
        let _machine = crate::storms::machine();
        let gpa = arena::run(1).unwrap() * FRAME_BYTES;
        let (held, faults) = (AtomicBool::new(false), AtomicU32::new(0));
        let goes = || {
            let _flushed = ROOT.flush_all(0);
            let waits = || ROOT.core(CORE).flushed.load(SeqCst) >= ROOT.revision.load(SeqCst);
            held.store(true, SeqCst);
            while !waits() && faults.load(SeqCst) <= u32::from(STRAY_FAULTS_MAX) {
                core::hint::spin_loop();
            }
            held.store(false, SeqCst);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| monitors::steady(0, goes));
            while !held.load(SeqCst) {
                core::hint::spin_loop();
            }
            let (mut cpu, mut bench, mut pending) = (ModelCore::new(CORE), Bench::new(), Pending::new());
            let fault = Nested { gpa, write: true, fetch: false, walk: false, delivery: false };
            while faults.fetch_add(1, SeqCst) <= u32::from(STRAY_FAULTS_MAX) {
                other::<Model>(&mut cpu, CORE, &mut bench, &mut pending, &fault);
                if !held.load(SeqCst) {
                    break;
                }
            }
            assert_eq!(cpu.injected, None);
        });
    }

    /// Would catch hits in another order than that of registration, one that is told twice, and one that is told before its time.
    #[test]
    fn the_first_hit_is_found_and_whether_there_are_others() {
        let hit = |serial| Hit { id: 0, kind: 0, serial, context: 0 };
        let found = |all: &[Order]| all.iter().fold(None, |first, order| earlier(first, *order, hit(order.0)));
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[(7, 0)]), Some(((7, 0), hit(7), false)));
        assert_eq!(found(&[(7, 0), (7, 0)]), Some(((7, 0), hit(7), false)), "two pages of one access");
        assert_eq!(found(&[(7, 0), (3, 0), (9, 0)]), Some(((3, 0), hit(3), true)));
        assert_eq!(found(&[(4, 1), (4, 0)]), Some(((4, 0), hit(4), true)));
    }
}
