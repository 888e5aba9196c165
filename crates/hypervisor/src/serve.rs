//! Requests answered: those that only ask, here; those that stop, start or break the machine, by whoever owns a core.

use crate::arch::{Core, Exit, Machine, x86};
use crate::halt::{HALT, Silent};
use crate::limits::HALT_TRIES;
use crate::line::{self, Message};
use crate::root::{HALTED, ROOT, WATCH_BREAKPOINTS, WATCH_DEBUG};
use crate::{attend, detours, evaluate, globals, hooks, memory, messages, monitors, notes, pools, steps, threads, watch};
use abi::boot::Doorbell;
use abi::code;
use abi::request::{
    self, Attend, CORES_SHOWN_MAX, CoreState, Cores, EXIT_ROWS_MAX, Evaluated, EventAnswer, EventAsk, EventChange, ExitRow,
    Exits, Halted, Hello, MESSAGE_BYTES_MAX, Number, PreallocAsk, ReserveTest, event, global, notice, op, reason, test, thread,
};
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use zerocopy::IntoBytes;

/// A halt that the prompt has not acknowledged is told again after so long, in milliseconds.
const NOTICE_AGAIN_MS: u64 = 300;

static FETCHING: AtomicBool = AtomicBool::new(false);
static REASON: AtomicU32 = AtomicU32::new(0);
/// See [`halt`].
static ABOUT: AtomicU64 = AtomicU64::new(0);
/// What would have halted the machine while it was continued for a fetch, and did not.
static MISSED: AtomicU64 = AtomicU64::new(0);
/// In runs of how many frames the bank was short last.
static RUN: AtomicU64 = AtomicU64::new(1);
/// ... and for which kind.
static SHORT: AtomicU32 = AtomicU32::new(0);

/// What an answer asks of the core that gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Nothing.
    Nothing,
    /// Halt first, then answer.
    Halt,
    /// Answer, then let everything run.
    Go,
    /// Answer; the selected core steps, alone or with the others.
    Step(bool),
    /// Answer, then break root.
    Fault(u64),
    /// Answer; the bank is short of these frames, in runs of so many.
    Short(u64, u64),
}

/// An answer under construction.
struct Answer<'a> {
    room: &'a mut [u8],
    len: usize,
}

impl Answer<'_> {
    fn say(&mut self, code: u32, body: &[u8]) -> Then {
        self.len = request::write(self.room, code, body).unwrap_or(0);
        Then::Nothing
    }

    fn ok<T: IntoBytes + zerocopy::Immutable>(&mut self, body: &T) -> Then {
        self.say(code::SUCCESS, body.as_bytes())
    }

    /// An event is registered, or was not; `None`: the request is none.
    fn added(&mut self, added: Option<(u32, EventAnswer)>) -> Then {
        match added {
            Some((code, added)) => self.say(code, added.as_bytes()),
            None => self.say(code::REQUEST_MALFORMED, &[]),
        }
    }
}

/// What commands refer to.
struct Guest<'e> {
    /// Its page tables.
    tables: u64,
    /// Runs the staged program, of so many words, there.
    evaluate: &'e mut dyn FnMut(u64) -> Option<Evaluated>,
}

fn answer<M: Machine>(core: u32, bytes: &[u8], answer: &mut Answer, guest: Guest, on_link: bool, again: bool) -> Then {
    let Some((head, body)) = request::split(bytes) else { return answer.say(code::REQUEST_MALFORMED, &[]) };
    let halted = HALT.wanted();
    match head.code {
        op::HELLO => answer.ok(&hello()),
        op::PREALLOC => match request::body::<PreallocAsk>(body).filter(|ask| ask.zero == 0) {
            Some(ask) => prealloc(ask, answer, again),
            None => answer.say(code::REQUEST_MALFORMED, &[]),
        },
        op::RELEASE => match request::body::<PreallocAsk>(body).filter(|ask| ask.zero == 0) {
            Some(ask) => {
                let outcome = pools::release(ask.kind, ask.count);
                answer.say(outcome.code, outcome.answer.as_bytes())
            }
            None => answer.say(code::REQUEST_MALFORMED, &[]),
        },
        op::LEDGER => answer.ok(&pools::ledger()),
        op::OWNERS => answer.ok(&pools::owners()),
        op::CORES => answer.ok(&cores()),
        op::EXITS => match request::body::<Number>(body).map(|n| u32::try_from(n.value)) {
            Some(Ok(core)) if ROOT.cores_in().any(|(number, _)| number == core) => answer.ok(&exits(core)),
            Some(_) => answer.say(code::CORE_INVALID, &[]),
            None => answer.say(code::REQUEST_MALFORMED, &[]),
        },
        op::TEST => match request::body::<Number>(body) {
            Some(which) => begin_test(which.value, answer),
            None => answer.say(code::REQUEST_MALFORMED, &[]),
        },
        op::EVENTS => match request::body::<Number>(body).map(|from| u32::try_from(from.value)) {
            Some(from) => answer.ok(&watch::rows(from.unwrap_or(u32::MAX))),
            None => answer.say(code::REQUEST_MALFORMED, &[]),
        },
        op::EVENT_ADD => answer.added(request::body::<EventAsk>(body).map(|ask| watch::add::<M>(core, &ask))),
        op::MONITOR_ADD => {
            answer.added(request::body::<request::monitor::Ask>(body).map(|ask| monitors::add::<M>(core, guest.tables, &ask)))
        }
        op::EPTHOOK2_ADD => {
            let added = request::body(body).map(|ask| detours::add::<M>(core, guest.tables, &ask));
            answer.added(added)
        }
        op::EPTHOOK_ADD => {
            answer.added(request::body::<request::epthook::Ask>(body).map(|ask| hooks::add::<M>(core, guest.tables, &ask)))
        }
        op::EVENT_CHANGE => match request::body::<EventChange>(body).map(|ask| watch::change::<M>(core, ask)) {
            Some(Ok(changed)) => answer.ok(&Number { value: changed.into() }),
            Some(Err(code)) => answer.say(code, &[]),
            None => answer.say(code::REQUEST_MALFORMED, &[]),
        },
        op::STAGE => {
            let code = if evaluate::stage(body) { code::SUCCESS } else { code::REQUEST_MALFORMED };
            answer.say(code, &[])
        }
        op::EVALUATE => {
            let evaluated = request::body::<Number>(body).map(|words| (guest.evaluate)(words.value));
            watch::settle_changes::<M>(core);
            match evaluated {
                Some(Some(evaluated)) => answer.ok(&evaluated),
                Some(None) => answer.say(code::PROGRAM_REJECTED, &[]),
                None => answer.say(code::REQUEST_MALFORMED, &[]),
            }
        }
        op::GLOBALS => match request::body::<global::Ask>(body).map(globals::read) {
            Some(Ok(names)) => answer.ok(&names),
            Some(Err(code)) => answer.say(code, &[]),
            None => answer.say(code::REQUEST_MALFORMED, &[]),
        },
        op::GLOBAL_ADD => {
            let code = request::body::<global::Add>(body).map_or(code::REQUEST_MALFORMED, globals::add);
            answer.say(code, &[])
        }
        op::MESSAGES => {
            let mut room = [0; MESSAGE_BYTES_MAX - size_of::<request::Head>()];
            let bytes = messages::take(&mut room);
            answer.say(code::SUCCESS, room.get(..bytes).unwrap_or_default())
        }
        op::MEMORY_READ..=op::TRANSLATE => {
            let mut room = [0; memory::ANSWER_BYTES_MAX];
            let (code, bytes) = memory::answer(core, guest.tables, head.code, body, &mut room);
            answer.say(code, room.get(..bytes).unwrap_or_default())
        }
        op::NOTES => answer.ok(&notes::all()),
        thread::op::ORDER => match request::body::<thread::Order>(body) {
            Some(order) => {
                let (code, ordered) = threads::ask(core, order);
                answer.say(code, ordered.as_bytes())
            }
            None => answer.say(code::REQUEST_MALFORMED, &[]),
        },
        thread::op::ORDERED => match request::body::<Number>(body).map(|serial| threads::ordered(core, serial.value)) {
            Some(Some(ordered)) => answer.ok(&ordered),
            _ => answer.say(code::REQUEST_MALFORMED, &[]),
        },
        thread::op::THREADS => match request::body::<thread::Ask>(body) {
            Some(ask) => answer.ok(&threads::list(core, guest.tables, ask)),
            None => answer.say(code::REQUEST_MALFORMED, &[]),
        },
        op::TEST_RESERVE => match request::body::<ReserveTest>(body).map(pools::try_out) {
            Some(Some(outcome)) => answer.say(outcome.code, outcome.answer.as_bytes()),
            Some(None) => answer.say(code::TEST_UNKNOWN, &[]),
            None => answer.say(code::REQUEST_MALFORMED, &[]),
        },
        op::PAUSE | op::GO | op::FETCH | op::STEP | op::UNLOAD | op::ATTEND if !on_link => answer.say(code::LINK_ONLY, &[]),
        op::PAUSE => Then::Halt,
        op::ATTEND => match request::body::<Attend>(body).map(attend::ask) {
            Some(another) => {
                if another {
                    forget_temporary::<M>(core);
                }
                answer.say(code::SUCCESS, &[])
            }
            None => answer.say(code::REQUEST_MALFORMED, &[]),
        },
        op::UNLOAD => {
            ring_doorbell(offset_of!(Doorbell, unload_wanted), 1);
            answer.say(code::SUCCESS, &[]);
            if halted { Then::Go } else { Then::Nothing }
        }
        op::GO | op::FETCH | op::STEP | op::REGISTERS | op::CORE_SELECT if !halted => answer.say(code::NOT_HALTED, &[]),
        op::GO => {
            answer.say(code::SUCCESS, &[]);
            Then::Go
        }
        op::FETCH => match request::body::<Number>(body) {
            Some(frames) => {
                MISSED.store(0, SeqCst);
                FETCHING.store(true, SeqCst);
                ring_doorbell(offset_of!(Doorbell, run_wanted), RUN.load(SeqCst));
                ring_doorbell(offset_of!(Doorbell, frames_wanted), frames.value);
                answer.say(code::SUCCESS, &[]);
                Then::Go
            }
            None => answer.say(code::REQUEST_MALFORMED, &[]),
        },
        op::STEP => {
            let selected = HALT.selected();
            let rip = ROOT.core(selected).registers().rip;
            match request::body(body).and_then(|ask| steps::ask(selected, rip, ask)) {
                Some(alone) => {
                    answer.say(code::SUCCESS, &[]);
                    Then::Step(alone)
                }
                None => answer.say(code::REQUEST_MALFORMED, &[]),
            }
        }
        op::REGISTERS => answer.ok(&ROOT.core(HALT.selected()).registers()),
        op::CORE_SELECT => match request::body::<Number>(body).map(|n| u32::try_from(n.value)) {
            Some(Ok(core)) if HALT.select(core) => answer.ok(&halted_at(reason::CORE_SELECTED, 0)),
            Some(_) => answer.say(code::CORE_INVALID, &[]),
            None => answer.say(code::REQUEST_MALFORMED, &[]),
        },
        _ => answer.say(code::REQUEST_UNKNOWN, &[]),
    }
}

/// Clears what is left of commands that nobody waits for any more (A3 of `attend`).
fn forget_temporary<M: Machine>(core: u32) {
    // Not loaded whole, there is none.
    let _none = watch::change::<M>(core, EventChange { what: event::CLEAR, id: event::ALL_TEMPORARY });
}

fn prealloc(ask: PreallocAsk, answer: &mut Answer, again: bool) -> Then {
    let outcome = pools::prealloc(ask.kind, ask.count, again);
    answer.say(outcome.code, outcome.answer.as_bytes());
    if outcome.code != code::BANK_SHORT {
        return Then::Nothing;
    }
    RUN.store(outcome.run, SeqCst);
    SHORT.store(ask.kind, SeqCst);
    Then::Short(outcome.answer.short, outcome.run)
}

/// A request from the device: its answer's length, and the frames that Linux should hand over before it is asked again,
/// in runs of how many.
pub fn from_device<M: Machine>(
    cpu: &mut M::Core,
    core: u32,
    bytes: &[u8],
    room: &mut [u8; MESSAGE_BYTES_MAX],
    again: bool,
) -> (usize, u64, u64) {
    let mut out = Answer { room, len: 0 };
    let guest = Guest { tables: cpu.cr3(), evaluate: &mut |words| evaluate::run(cpu, core, words) };
    match answer::<M>(core, bytes, &mut out, guest, false, again) {
        Then::Short(frames, run) => (out.len, frames, run),
        Then::Fault(which) => fault(which),
        Then::Nothing | Then::Halt | Then::Go | Then::Step(_) => (out.len, 0, 0),
    }
}

/// A request from the link while the guest runs; this core is the link's.
pub fn from_link<M: Machine>(cpu: &mut M::Core, core: u32, message: &Message) {
    attend::heard(message.session);
    let mut room = [0; MESSAGE_BYTES_MAX];
    let mut out = Answer { room: &mut room, len: 0 };
    let guest = Guest { tables: cpu.cr3(), evaluate: &mut |words| evaluate::run(cpu, core, words) };
    match answer::<M>(core, message.bytes(), &mut out, guest, true, false) {
        Then::Halt => match HALT.stop(cpu, core) {
            Ok(()) => {
                // Whoever pauses waits for no fetch any more; what Linux still hands over is welcome all the same.
                FETCHING.store(false, SeqCst);
                REASON.store(reason::PAUSE, SeqCst);
                messages::deliver();
                out.ok(&halted_at(reason::PAUSE, 0));
                line::answer(out.room.get(..out.len).unwrap_or_default());
                while_halted::<M>(cpu, core, None);
            }
            Err(Silent { core: silent }) => {
                out.say(code::CORE_SILENT, Number { value: silent.into() }.as_bytes());
                line::answer(out.room.get(..out.len).unwrap_or_default());
            }
        },
        then => {
            line::answer(out.room.get(..out.len).unwrap_or_default());
            if let Then::Fault(which) = then {
                fault(which);
            }
        }
    }
}

/// Halts because of something on this core, tells the prompt, and serves it until it says go. `about` is, after a fetch, the
/// frames that came, and the id and stage of an event.
fn halt<M: Machine>(cpu: &mut M::Core, core: u32, why: u32, about: u64) {
    halt_first::<M>(cpu, core, (why, about), None);
}

/// The same, with a request that is answered first.
fn halt_first<M: Machine>(cpu: &mut M::Core, core: u32, (why, about): (u32, u64), first: Option<&Message>) {
    if !ROOT.linked.load(SeqCst) {
        return;
    }
    if first.is_none() && attend::is_abandoned() {
        FETCHING.store(false, SeqCst);
        return steps::end();
    }
    let mut silent = 0;
    for _ in 0..HALT_TRIES {
        match HALT.stop(cpu, core) {
            // It waited for its turn while a fetch began.
            Ok(()) if matches!(why, reason::HYPERCALL | reason::EVENT | reason::BREAKPOINT) && FETCHING.load(SeqCst) => {
                MISSED.fetch_add(1, SeqCst);
                return go_on(cpu, core);
            }
            Ok(()) => return tell::<M>(cpu, core, (why, about), first),
            Err(_) if ROOT.dying.load(SeqCst) => return,
            Err(Silent { core }) => silent = core,
        }
    }
    if !matches!(why, reason::HYPERCALL | reason::EVENT | reason::BREAKPOINT) {
        FETCHING.store(false, SeqCst);
    }
    steps::end();
    // The halt was promised, so that it did not come is told.
    line::notice(notice::SILENT, Number { value: silent.into() }.as_bytes());
}

fn tell<M: Machine>(cpu: &mut M::Core, core: u32, (why, about): (u32, u64), first: Option<&Message>) {
    REASON.store(why, SeqCst);
    ABOUT.store(about, SeqCst);
    // Not before every core is halted: who asked for a halt until then has missed it.
    FETCHING.store(false, SeqCst);
    messages::deliver();
    line::notice(notice::HALTED, halted_at(why, about).as_bytes());
    while_halted::<M>(cpu, core, first);
}

/// The steps are done, or a request came meanwhile, which is answered then.
pub fn stepped<M: Machine>(cpu: &mut M::Core, core: u32, first: Option<&Message>) {
    halt_first::<M>(cpu, core, (reason::STEPPED, 0), first);
}

/// The kernel asks for a halt. While the machine is continued for a fetch it is not halted, but the prompt learns how many
/// times it would have been.
pub fn break_in<M: Machine>(cpu: &mut M::Core, core: u32) {
    if FETCHING.load(SeqCst) {
        MISSED.fetch_add(1, SeqCst);
    } else {
        halt::<M>(cpu, core, reason::HYPERCALL, 0);
    }
}

/// An event asks for a halt, which may be a breakpoint: as [`break_in`].
pub fn halt_by_event<M: Machine>(cpu: &mut M::Core, core: u32, (id, stage): (u32, u32), breakpoint: bool) {
    if FETCHING.load(SeqCst) {
        MISSED.fetch_add(1, SeqCst);
    } else {
        let why = if breakpoint { reason::BREAKPOINT } else { reason::EVENT };
        halt::<M>(cpu, core, why, u64::from(id) | u64::from(stage) << 32);
    }
}

/// Linux has answered the doorbell, with frames or with none: if the prompt waits for it, the machine halts here.
pub fn fetch_ended<M: Machine>(cpu: &mut M::Core, core: u32, frames: u64) {
    ring_doorbell(offset_of!(Doorbell, frames_wanted), 0);
    if FETCHING.load(SeqCst) {
        if frames == 0 {
            pools::count_refusal(SHORT.load(SeqCst));
        }
        halt::<M>(cpu, core, if frames > 0 { reason::FETCHED } else { reason::FETCH_FAILED }, frames);
    }
}

fn while_halted<M: Machine>(cpu: &mut M::Core, core: u32, mut first: Option<&Message>) {
    line::disarm();
    steps::end();
    attend::from_now();
    let mut told = x86::tsc();
    loop {
        if ROOT.dying.load(SeqCst) {
            return;
        }
        ROOT.acknowledge_flush(core);
        if x86::tsc().wrapping_sub(told) > ROOT.ticks(NOTICE_AGAIN_MS) {
            told = x86::tsc();
            let _else_again_later = line::notice_arrived(true);
        }
        let polled = if first.is_none() { line::poll() } else { None };
        let Some(message) = first.take().or(polled.as_ref()) else {
            if attend::is_over() {
                attend::abandon();
                forget_temporary::<M>(core);
                // Whoever comes next is not told of this halt, nor that it ended.
                line::withdraw();
                line::datagram(notice::ABANDONED, &[]);
                steps::forget();
                break;
            }
            x86::relax();
            continue;
        };
        attend::heard(message.session);
        let mut room = [0; MESSAGE_BYTES_MAX];
        let mut out = Answer { room: &mut room, len: 0 };
        let tables = ROOT.core(HALT.selected()).registers().crs[2];
        let guest = Guest { tables, evaluate: &mut |words| evaluate::run(cpu, core, words) };
        let then = answer::<M>(core, message.bytes(), &mut out, guest, true, false);
        if then == Then::Halt {
            // It is halted already, which is all that was asked.
            out.ok(&halted_at(REASON.load(SeqCst), ABOUT.load(SeqCst)));
        }
        line::answer(out.room.get(..out.len).unwrap_or_default());
        attend::from_now();
        match then {
            Then::Go => {
                steps::forget();
                break;
            }
            Then::Step(false) => break,
            // The line stays as it is: who owns the halt looks at it.
            Then::Step(true) => return HALT.lend(cpu, core, HALT.selected()),
            Then::Fault(which) => fault(which),
            Then::Nothing | Then::Halt | Then::Short(..) => {}
        }
    }
    go_on(cpu, core);
    line::arm();
}

fn go_on<C: Core>(cpu: &mut C, core: u32) {
    HALT.go(cpu, core, |hidden| ring_doorbell(offset_of!(Doorbell, hidden), hidden));
}

/// Writes a word of the doorbell.
pub fn ring_doorbell(field: usize, value: u64) {
    x86::direct::doorbell_set(ROOT.doorbell_pa.load(SeqCst) + field as u64, value);
}

/// Who we are.
#[must_use]
pub fn hello() -> Hello {
    Hello {
        protocol: abi::PROTOCOL,
        cores: u32::try_from(ROOT.cores_in().count()).unwrap_or(0),
        halted: u32::from(HALT.wanted()),
        core: HALT.selected(),
        boot_id: ROOT.boot_id.load(SeqCst),
        ram_frames: ROOT.ram_frames.load(SeqCst),
        backend: ROOT.backend(),
        break_in_by_nmi: u32::from(ROOT.break_in_by_nmi.load(SeqCst)),
        linked: u32::from(ROOT.linked.load(SeqCst)),
    }
}

fn halted_at(why: u32, about: u64) -> Halted {
    let record = ROOT.core(HALT.selected());
    let registers = record.registers();
    let (bytes, bytes_valid, cpl) = record.code();
    let fetch = matches!(why, reason::FETCHED | reason::FETCH_FAILED);
    let event = if matches!(why, reason::EVENT | reason::BREAKPOINT) { about } else { 0 };
    #[expect(clippy::cast_possible_truncation, reason = "two halves of one word")]
    let (event, stage) = (event as u32, (event >> 32) as u32);
    Halted {
        core: HALT.selected(),
        reason: why,
        rip: registers.rip,
        rflags: registers.rflags,
        cr3: registers.crs[2],
        bytes,
        bytes_valid,
        cpl,
        fetched: if fetch { about } else { 0 },
        missed: if fetch { MISSED.load(SeqCst) } else { 0 },
        event,
        stage,
        steps: steps::done(),
        running: record.running(),
    }
}

fn cores() -> Cores {
    let mut cores = Cores { count: 0, selected: HALT.selected(), cores: [CoreState::default(); CORES_SHOWN_MAX] };
    for (number, record) in ROOT.cores_in() {
        if let Some(state) = usize::try_from(cores.count).ok().and_then(|i| cores.cores.get_mut(i)) {
            let halted = record.state.load(SeqCst) == HALTED;
            let (rip, running) = if halted { (record.registers().rip, record.running()) } else { Default::default() };
            *state = CoreState { core: number, state: halted.into(), rip, exits: record.total(), running };
        }
        cores.count += 1;
    }
    cores
}

fn exits(core: u32) -> Exits {
    const _: () = assert!(Exit::REASONS <= EXIT_ROWS_MAX, "each reason finds a row");
    let record = ROOT.core(core);
    let mut exits = Exits { core, count: 0, other: 0, rows: [ExitRow::default(); EXIT_ROWS_MAX] };
    for (row, (name, to)) in Exit::NAMES.iter().zip(&mut exits.rows).enumerate() {
        for (to, from) in to.name.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        to.count = record.exits(row);
        exits.count += 1;
    }
    exits
}

fn begin_test(which: u64, answer: &mut Answer) -> Then {
    let (set, clear) = match which {
        test::BREAKPOINT_PASS_ON => (WATCH_BREAKPOINTS, 0),
        test::BREAKPOINT_PASS_OFF => (0, WATCH_BREAKPOINTS),
        test::TRAP_PASS_ON => (WATCH_DEBUG, 0),
        test::TRAP_PASS_OFF => (0, WATCH_DEBUG),
        test::FAULT_UD | test::FAULT_PAGE | test::FAULT_STACK => {
            answer.say(code::SUCCESS, &[]);
            return Then::Fault(which);
        }
        _ => return answer.say(code::TEST_UNKNOWN, &[]),
    };
    ROOT.watch.fetch_or(set, SeqCst);
    ROOT.watch.fetch_and(!clear, SeqCst);
    ROOT.attend();
    // Every core notices when it next comes to root.
    for (_, record) in ROOT.cores_in() {
        record.kick();
    }
    answer.say(code::SUCCESS, &[])
}

fn fault(which: u64) -> ! {
    match which {
        test::FAULT_PAGE => x86::fault_page(),
        test::FAULT_STACK => x86::fault_stack(),
        _ => x86::fault_undefined(),
    }
}
