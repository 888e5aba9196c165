//! Events: what the processor is told to bring to root for them, and what happens when it does.
//!
//! **Holds always**
//! - W1: an access that some enabled event waits for comes to root on every core that runs the guest after the answer to
//!   the request has left.
//! - W2: without an enabled event of its kind an exit costs one load more.
//! - W3: a break halts the machine where the event stands: before the instruction, or behind it.
//!
//! **Callers**: `life`, around what an exit does; `serve`, for requests. **Proof**: `tests/e2e/events.rs`.
#![expect(unsafe_code, reason = "frames of events as words, by the numbers that the reserve handed out")]

use crate::arch::x86::{direct, window};
use crate::arch::{Core, Machine, MsrAccess};
use crate::limits::{EVENTS_MAX, SCRIPT_STEPS};
use crate::monitored::Hit;
use crate::root::{
    ROOT, WATCH_CONTROL_0, WATCH_CONTROL_4, WATCH_DEBUG_REGISTERS, WATCH_EXCEPTIONS, WATCH_INTERRUPTS, WATCH_SYSTEM_CALLS,
    WATCH_TSC,
};
use crate::scripts::{Bench, Here};
use crate::{bank, custom, detours, evaluate, messages, monitors, scripts, serve};
use abi::boot::FRAME_BYTES;
use abi::code;
use abi::request::{EventAnswer, EventAsk, EventChange, Events, event};
use core::sync::atomic::{AtomicBool, Ordering::SeqCst};
use events::{Added, Code, CodeFault, Ended, Form, Mark, Memory, More, NotAdded, Quick, Rest, Running, Table, Verdict};
use script_vm::{Program, Size};
use spin::Mutex;

static EVENTS: Table<EVENTS_MAX> = Table::new();

/// What the processor has to be told of; the other kinds come to root anyway.
const ARMED: [u32; 11] = [
    event::MSR_READ,
    event::MSR_WRITE,
    event::TSC,
    event::PORT_IN,
    event::PORT_OUT,
    event::EXCEPTION,
    event::INTERRUPT,
    event::SYSCALL,
    event::SYSRET,
    event::CONTROL_WRITE,
    event::DEBUG_REGISTER,
];

/// Held while it is told what events wait for, so that of two cores the later one tells the later state.
static ARMING: Mutex<()> = Mutex::new(());

/// Events were enabled, disabled or cleared since it was told.
static CHANGED: AtomicBool = AtomicBool::new(false);

/// The frames of units, by the direct map.
#[derive(Clone, Copy, Debug)]
pub struct Floor;

impl Memory for Floor {
    type Program = &'static [u64];

    fn fill(&self, pfn: u64, words: &[u64]) -> bool {
        // SAFETY: frames of a unit that was taken for this event alone, and that nobody reads yet (M1 of `events`).
        (pfn * FRAME_BYTES..).step_by(8).zip(words).all(|(pa, word)| unsafe { direct::write(pa, *word) })
    }

    fn clear(&self, pfn: u64, frames: u32) -> bool {
        let words = u64::from(frames) * FRAME_BYTES / 8;
        // SAFETY: as `fill`.
        (pfn * FRAME_BYTES..).step_by(8).zip(0..words).all(|(pa, _)| unsafe { direct::write(pa, 0) })
    }

    fn program(&self, pfn: u64, frames: u32) -> Option<&'static [u64]> {
        let words = usize::try_from(u64::from(frames) * FRAME_BYTES / 8).ok()?;
        // SAFETY: frames of a published event: filled before, and not written before the last reader has gone (M1, M2).
        unsafe { direct::words(pfn * FRAME_BYTES, words) }
    }

    fn buffer_read(&self, pfn: u64, offset: usize, size: Size) -> Option<u64> {
        let mut value = [0; 8];
        let room = value.get_mut(..size.bytes())?;
        direct::copy_out(pfn * FRAME_BYTES + offset as u64, room).then(|| u64::from_le_bytes(value))
    }

    fn open_code(&self, id: u32, pfn: u64, bytes: u64) -> bool {
        window::open(id, pfn, bytes)
    }

    fn close_code(&self, id: u32) {
        window::close(id);
    }

    fn buffer_write(&self, pfn: u64, offset: usize, size: Size, value: u64) -> Option<()> {
        let bytes = value.to_le_bytes();
        // SAFETY: frames of this event's buffer, into which no Rust code refers.
        unsafe { direct::copy_in(pfn * FRAME_BYTES + offset as u64, bytes.get(..size.bytes())?) }.then_some(())
    }
}

impl<C: Core> events::Here for Here<'_, C> {
    fn core(&self) -> u32 {
        self.number()
    }

    fn pid(&mut self) -> u32 {
        self.process()
    }

    fn thread(&mut self) -> u32 {
        self.thread_number()
    }

    fn run(&mut self, event: &Running, program: Program<'_>) -> Ended {
        self.begin(event);
        let Some(mut scratch) = self.scratch.take() else { return Ended { short_circuit: event.short_circuit, fault: None } };
        let fault = script_vm::run(program, self, &mut scratch, SCRIPT_STEPS).err();
        self.scratch = Some(scratch);
        Ended { short_circuit: self.short_circuit.take().unwrap_or(event.short_circuit), fault }
    }

    fn call(&mut self, event: &Running, code: &Code) -> Result<u64, CodeFault> {
        custom::call(self, event, code)
    }
}

/// What an exit is to events.
#[derive(Clone, Copy, Debug)]
pub struct What {
    /// One of [`event`].
    pub kind: u32,
    /// What they may filter by.
    pub option: u64,
    /// `$context`.
    pub context: u64,
}

/// Whether some enabled event waits for this kind; if not, [`around`] does just what the exit is for.
#[inline(always)]
pub fn armed(kind: u32) -> bool {
    EVENTS.armed(kind)
}

/// Whether one of them fires behind the instruction.
pub fn armed_behind(kind: u32) -> bool {
    EVENTS.armed_behind(kind)
}

/// Does what an exit is for, with the events before and behind it. `act` leaves the guest behind the instruction.
#[inline]
pub fn around<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, what: What, act: impl FnOnce(&mut M::Core)) {
    around_or::<M>(cpu, core, bench, what, act, Core::skip);
}

/// As [`around`], with what is done `instead` if an event suppresses it.
#[inline]
pub fn around_or<M: Machine>(
    cpu: &mut M::Core,
    core: u32,
    bench: &mut Bench,
    what: What,
    act: impl FnOnce(&mut M::Core),
    instead: impl FnOnce(&mut M::Core),
) {
    if armed(what.kind) {
        fired::<M>(cpu, core, bench, what, None, act, instead);
    } else {
        act(cpu);
    }
}

/// What can be done for the events before a CPUID without a run of a script; [`around_rest`] must do the rest, if there is
/// one. Inline: out of line it was some eight instructions more.
#[inline(always)]
pub fn quick_cpuid<C: Core>(cpu: &C, mark: &Mark) -> Option<Rest> {
    EVENTS.fire_quick::<{ event::CPUID }>(mark, &mut Exited(cpu))
}

/// What [`quick_cpuid`] left to do, and what the exit is for.
pub fn around_rest<M: Machine>(
    cpu: &mut M::Core,
    core: u32,
    bench: &mut Bench,
    rest: Rest,
    what: What,
    act: impl FnOnce(&mut M::Core),
) {
    fired::<M>(cpu, core, bench, what, Some(rest), act, Core::skip);
}

/// A core's mark, for [`quick_cpuid`].
pub fn mark(core: u32) -> &'static Mark {
    EVENTS.mark(core)
}

/// A core whose guest executed CPUID.
struct Exited<'c, C>(&'c C);

impl<C: Core> Quick for Exited<'_, C> {
    #[inline(always)]
    fn option(&self) -> u64 {
        self.0.gpr(0) & 0xffff_ffff
    }

    #[inline(always)]
    fn gpr(&self, number: usize) -> u64 {
        self.0.gpr(number)
    }

    #[inline(always)]
    fn count(&mut self, cell: u16, added: u64) {
        scripts::count(cell, added);
    }
}

/// `rest` is there if the quick way has been gone.
#[inline(never)]
fn fired<M: Machine>(
    cpu: &mut M::Core,
    core: u32,
    bench: &mut Bench,
    what: What,
    rest: Option<Rest>,
    act: impl FnOnce(&mut M::Core),
    instead: impl FnOnce(&mut M::Core),
) {
    if stage::<M>(cpu, core, bench, what, event::PRE, rest) {
        instead(cpu);
    } else {
        act(cpu);
    }
    if EVENTS.armed_behind(what.kind) {
        stage::<M>(cpu, core, bench, what, event::POST, None);
    }
}

/// One stage; whether the instruction shall have no effect.
fn stage<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, what: What, stage: u32, rest: Option<Rest>) -> bool {
    let (scratch, text) = bench.parts();
    let mut here = Here::new(cpu, core, what.context, Some(scratch), text);
    let verdict = match rest {
        Some(rest) => EVENTS.fire_rest(rest, what.kind, what.option, &Floor, &mut here),
        None => EVENTS.fire(what.kind, stage, what.option, &Floor, &mut here),
    };
    let (pause, changed) = (here.pause, here.changed);
    wanted::<M>(cpu, core, verdict, stage, pause, changed)
}

/// What events want beside their own effects.
fn wanted<M: Machine>(cpu: &mut M::Core, core: u32, verdict: Verdict, stage: u32, pause: bool, changed: bool) -> bool {
    if changed {
        arm::<M>(core);
    }
    if let Some((id, stage)) = verdict.break_by {
        serve::halt_by_event::<M>(cpu, core, (id, stage), EVENTS.is_breakpoint(id));
    } else if pause {
        serve::halt_by_event::<M>(cpu, core, (event::ALL, stage), false);
    }
    verdict.short_circuit
}

/// This core is outside of every event: gives back what waited for that. Whether nothing is left to be given back.
pub fn settle(core: u32) -> bool {
    if EVENTS.unsettled() > 0
        && let Some(reserve) = bank::reserve()
    {
        EVENTS.settle(&Floor, reserve, core);
    }
    monitors::settle(core) && EVENTS.unsettled() == 0
}

/// Registers an event, with what is staged for it.
pub fn add<M: Machine>(core: u32, ask: &EventAsk) -> (u32, EventAnswer) {
    let added = registered(ask, |staged, reserve| EVENTS.add(ask, staged, &Floor, reserve, core));
    if added.0 == code::SUCCESS {
        if ARMED.contains(&ask.kind) {
            arm::<M>(core);
        } else {
            // It may be on no chain yet, if another core was putting the table in order.
            ROOT.attend();
        }
    }
    added
}

/// The same of a monitor, with its units; [`arm`] must follow.
pub fn register(core: u32, ask: &EventAsk, more: &mut impl More) -> (u32, EventAnswer) {
    registered(ask, |staged, reserve| EVENTS.add_with(ask, staged, &Floor, reserve, core, more))
}

fn registered(ask: &EventAsk, add: impl FnOnce(&[u64], &bank::Reserve) -> Result<Added, NotAdded>) -> (u32, EventAnswer) {
    let refuse = |code| (code, EventAnswer { id: event::ALL, ..EventAnswer::default() });
    let Some(reserve) = bank::reserve() else { return refuse(code::NOT_LOADED) };
    if ask.flags & event::BREAK != 0 && !ROOT.linked.load(SeqCst) {
        return refuse(code::LINK_ONLY);
    }
    let words = events::staged_words(ask);
    let added = if words == 0 {
        add(&[], reserve)
    } else {
        let rejected = Err(NotAdded { code: code::PROGRAM_REJECTED, ..NotAdded::default() });
        evaluate::staged(words, |staged| add(staged, reserve)).unwrap_or(rejected)
    };
    match added {
        Ok(added) => {
            messages::registered(added.id, ask.flags & event::GATHER != 0);
            (code::SUCCESS, added.into())
        }
        Err(not) => (not.code, not.into()),
    }
}

/// Whether the event of a monitor, or of a hook, is enabled; `None` if it was cleared.
pub fn state(kind: u32, id: u32, serial: u32) -> Option<bool> {
    EVENTS.state(id, kind, serial.into())
}

/// What an event does that needs no root, if it has such a form.
pub fn form(id: u32) -> Option<Form> {
    EVENTS.form(id)
}

/// One stage of one monitor; whether the instruction shall have no effect.
pub fn monitored<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, hit: &Hit, stage: u32) -> bool {
    let (scratch, text) = bench.parts();
    let mut here = Here::new(cpu, core, hit.context, Some(scratch), text);
    let verdict = EVENTS.fire_one(hit.id, hit.kind, stage, hit.serial.into(), &Floor, &mut here);
    let (pause, changed) = (here.pause, here.changed);
    wanted::<M>(cpu, core, verdict, stage, pause, changed)
}

/// What one monitor wants before an instruction, if that is known without a run; whether it is done.
pub fn monitored_quick<C: Core>(cpu: &C, core: u32, hit: &Hit) -> bool {
    EVENTS.fire_one_quick(mark(core), hit.id, hit.kind, &mut Stopped { cpu, serial: hit.serial })
}

/// The same of one hook. Inline: out of line it was a dozen instructions more.
#[inline(always)]
pub fn hooked_quick<C: Core>(cpu: &C, mark: &Mark, id: u32, serial: u32) -> bool {
    EVENTS.fire_one_quick(mark, id, event::EPTHOOK, &mut Stopped { cpu, serial })
}

/// A core whose guest was stopped by a monitor.
struct Stopped<'c, C> {
    cpu: &'c C,
    serial: u32,
}

impl<C: Core> Quick for Stopped<'_, C> {
    #[inline(always)]
    fn option(&self) -> u64 {
        self.serial.into()
    }

    #[inline(always)]
    fn gpr(&self, number: usize) -> u64 {
        self.cpu.gpr(number)
    }

    #[inline(always)]
    fn count(&mut self, cell: u16, added: u64) {
        scripts::count(cell, added);
    }
}

/// Enables, disables or clears.
///
/// # Errors
/// A code.
pub fn change<M: Machine>(core: u32, change: EventChange) -> Result<u32, u32> {
    let changed = change_within(core, change.what, change.id)?;
    arm::<M>(core);
    Ok(changed)
}

/// Clears an event that cannot stay, and says why.
pub fn lose<M: Machine>(core: u32, id: u32, why: &str) {
    messages::push(id, core, b"cleared: ");
    messages::push(id, core, why.as_bytes());
    messages::push(id, core, b"\n");
    // It may have been cleared meanwhile.
    let _changed = change::<M>(core, EventChange { what: event::CLEAR, id });
}

/// The same from inside of an event; [`arm`] must follow when it has ended.
///
/// # Errors
/// A code.
pub fn change_within(core: u32, what: u32, id: u32) -> Result<u32, u32> {
    let reserve = bank::reserve().ok_or(code::NOT_LOADED)?;
    let changed = EVENTS.change(what, id, &Floor, reserve, core)?;
    CHANGED.store(true, SeqCst);
    messages::changed(what, id);
    Ok(changed)
}

/// Does what an evaluation has left to do that changed events.
pub fn settle_changes<M: Machine>(core: u32) {
    if CHANGED.load(SeqCst) {
        arm::<M>(core);
    }
}

/// Counts messages of an event that were lost; those of an evaluation have no row.
pub fn count_lost(id: u32, messages: u64) {
    EVENTS.count_lost(id, messages);
}

/// Events from an id on.
pub fn rows(from: u32) -> Events {
    // In place: there is not the stack for two of them.
    EVENTS.rows_with(from, |row| {
        if row.kind == event::EPTHOOK2
            && let Some((counted, waits)) = detours::counted(row.id)
        {
            row.hits = row.hits.wrapping_add(counted);
            row.enabled |= if waits { event::WAITS } else { 0 };
        }
    })
}

/// Tells the processor what the enabled events wait for (W1).
pub fn arm<M: Machine>(core: u32) {
    let arming = ARMING.lock();
    CHANGED.store(false, SeqCst);
    arm_msrs::<M>(event::MSR_READ, MsrAccess::Read);
    arm_msrs::<M>(event::MSR_WRITE, MsrAccess::Write);
    arm_ports::<M>();
    // Every core looks at this when it enters the guest.
    let (mut control_0, mut control_4) = (false, false);
    EVENTS.options(event::CONTROL_WRITE, |option| {
        let register = option.map(|option| option & 0xffff_ffff);
        control_0 |= register.is_none_or(|register| register == 0);
        control_4 |= register.is_none_or(|register| register == 4);
    });
    let set = |bits, on| if on { ROOT.watch.fetch_or(bits, SeqCst) } else { ROOT.watch.fetch_and(!bits, SeqCst) };
    set(WATCH_TSC, EVENTS.armed(event::TSC));
    set(WATCH_CONTROL_0, control_0);
    set(WATCH_CONTROL_4, control_4);
    set(WATCH_DEBUG_REGISTERS, EVENTS.armed(event::DEBUG_REGISTER));
    set(WATCH_SYSTEM_CALLS, EVENTS.armed(event::SYSCALL) || EVENTS.armed(event::SYSRET));
    set(WATCH_INTERRUPTS, EVENTS.armed(event::INTERRUPT));
    let vectors = exceptions();
    set(vectors, true);
    set(!vectors & u64::from(u32::MAX) << WATCH_EXCEPTIONS, false);
    drop(arming);
    monitors::arm::<M>(core);
    // A core may have read the old state when it last entered the guest. One that is silent sees the new when it comes.
    let _all_have_seen_it = ROOT.flush_all(core);
    detours::rise::<M>(core);
}

/// Exceptions that some event waits for, as bits of `Root::watch`.
fn exceptions() -> u64 {
    let mut vectors = 0;
    EVENTS.options(event::EXCEPTION, |option| vectors |= option.map_or(u32::MAX, |vector| 1 << (vector & 31)));
    u64::from(vectors) << WATCH_EXCEPTIONS
}

fn arm_msrs<M: Machine>(kind: u32, access: MsrAccess) {
    let mut registers = Wanted::new();
    registers.add(kind);
    M::watch_msrs(access, registers.all, registers.some());
}

fn arm_ports<M: Machine>() {
    // The processor cannot tell reads from writes before they come; the other direction is then simply done.
    let mut ports = Wanted::new();
    ports.add(event::PORT_IN);
    ports.add(event::PORT_OUT);
    M::watch_ports(ports.all, ports.some());
}

/// What enabled events wait for, of what a map of the processor's has a bit for.
struct Wanted<N> {
    all: bool,
    numbers: [N; EVENTS_MAX],
    count: usize,
}

impl<N: Copy + Default + TryFrom<u64>> Wanted<N> {
    fn new() -> Self {
        Wanted { all: false, numbers: [N::default(); EVENTS_MAX], count: 0 }
    }

    fn add(&mut self, kind: u32) {
        EVENTS.options(kind, |option| match option.map(N::try_from) {
            Some(Ok(number)) => {
                if let Some(to) = self.numbers.get_mut(self.count) {
                    *to = number;
                    self.count += 1;
                }
            }
            Some(Err(_)) => {}
            None => self.all = true,
        });
    }

    fn some(&self) -> &[N] {
        self.numbers.get(..self.count).unwrap_or_default()
    }
}

/// Root is about to leave: nothing fires any more, and nobody holds a unit.
pub fn close() {
    if let Some(reserve) = bank::reserve() {
        for all in [event::ALL, event::ALL_BREAKPOINTS] {
            // There may be none, which is no error here.
            let _cleared = EVENTS.change(event::CLEAR, all, &Floor, reserve, 0);
        }
        EVENTS.settle(&Floor, reserve, 0);
        monitors::close();
    }
}
