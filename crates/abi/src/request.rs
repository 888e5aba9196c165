//! Requests of the prompt and answers of root: the same bytes over the link and through the device.
//!
//! A message is an 8-byte head and a body of fixed size for its kind. [`Request::parse`] and [`body`] check length and
//! zeros; nothing after them has to.

use core::mem::size_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of one message at most, head included. It fits a page and a frame of the link.
pub const MESSAGE_BYTES_MAX: usize = 4000;

/// Head of a request (`code` = one of [`op`]), of an answer (`code` = one of [`crate::code`]) and of a notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Head {
    /// What is asked or what became of it.
    pub code: u32,
    /// Bytes of the body that follows.
    pub bytes: u32,
}
const _: () = assert!(size_of::<Head>() == 8);

/// What can be asked. Bodies in brackets: request, answer. Every answer may be an error with no body, unless said.
pub mod op {
    /// \[nothing, [`super::Hello`]\]
    pub const HELLO: u32 = 1;
    /// \[[`super::PreallocAsk`], [`super::PreallocAnswer`] with every code\]
    pub const PREALLOC: u32 = 2;
    /// \[nothing, [`super::Ledger`]\]
    pub const LEDGER: u32 = 3;
    /// Stops every core. Link only. \[nothing, [`super::Halted`]\]
    pub const PAUSE: u32 = 4;
    /// Lets every core run. Link only, halted only. \[nothing, nothing\]
    pub const GO: u32 = 5;
    /// Shows the cores. \[nothing, [`super::Cores`]\]
    pub const CORES: u32 = 6;
    /// Makes another core the one that commands refer to. Halted only. \[[`super::Number`], [`super::Halted`]\]
    pub const CORE_SELECT: u32 = 7;
    /// Registers of the selected core. Halted only. \[nothing, [`super::Registers`]\]
    pub const REGISTERS: u32 = 8;
    /// Exits of one core by reason. \[[`super::Number`] (the core), [`super::Exits`]\]
    pub const EXITS: u32 = 9;
    /// A test of root itself, see [`super::test`]. \[[`super::Number`], nothing\]
    pub const TEST: u32 = 10;
    /// Lets every core run until Linux has handed over this many frames or said that it cannot, then halts them again:
    /// a notice [`super::notice::HALTED`] tells. Link only, halted only. \[[`super::Number`], nothing\]
    pub const FETCH: u32 = 11;
    /// Gives units of a kind back to the bank. \[[`super::PreallocAsk`], [`super::PreallocAnswer`] with every code\]
    pub const RELEASE: u32 = 12;
    /// Lets every core run and has Linux unload the hypervisor; [`super::notice::GOODBYE`] tells when. Link only.
    /// \[nothing, nothing\]
    pub const UNLOAD: u32 = 13;
    /// Who holds units. \[nothing, [`super::Owners`]\]
    pub const OWNERS: u32 = 14;
    /// A test of the reserve, see [`super::test`]. \[[`super::ReserveTest`], [`super::PreallocAnswer`] with every code\]
    pub const TEST_RESERVE: u32 = 15;
    /// Puts words of a program where [`EVENT_ADD`] and [`EVALUATE`] find it. \[[`super::Stage`] and its words, nothing\]
    pub const STAGE: u32 = 16;
    /// Registers an event, with the program that is staged. \[[`super::EventAsk`], [`super::EventAnswer`] with every code\]
    pub const EVENT_ADD: u32 = 17;
    /// Events from an id on. \[[`super::Number`], [`super::Events`]\]
    pub const EVENTS: u32 = 18;
    /// Enables, disables or clears. \[[`super::EventChange`], [`super::Number`] (how many)\]
    pub const EVENT_CHANGE: u32 = 19;
    /// What events said and nobody has fetched. \[nothing, [`super::Messages`] and its records\]
    pub const MESSAGES: u32 = 20;
    /// Runs the staged program once: on the selected core if halted, else on the one that is asked.
    /// \[[`super::Number`] (its words), [`super::Evaluated`]\]
    pub const EVALUATE: u32 = 21;
    /// Names of globals. \[[`super::global::Ask`], [`super::global::Globals`]\]
    pub const GLOBALS: u32 = 22;
    /// Makes one. \[[`super::global::Add`], nothing\]
    pub const GLOBAL_ADD: u32 = 23;
    /// Has the selected core execute instructions and halts again: a notice [`super::notice::HALTED`] tells, with
    /// [`super::reason::STEPPED`] if nothing else halted the machine before. Link only, halted only. \[[`super::StepAsk`], nothing\]
    pub const STEP: u32 = 24;
    /// Says that somebody is at the prompt. If nothing is heard on the link for so long while the machine is halted, in milliseconds,
    /// it goes on: a notice [`super::notice::ABANDONED`] tells, and nothing halts it before something is heard again. 0, which is so
    /// at first and in every new session: it waits for ever. Link only. \[[`super::Attend`], nothing\]
    pub const ATTEND: u32 = 25;
    /// Reads memory. \[[`super::memory::Span`], [`super::memory::Read`] and its bytes\]
    pub const MEMORY_READ: u32 = 32;
    /// Writes memory. \[[`super::memory::Span`] and its bytes, [`super::memory::Written`] with every code\]
    pub const MEMORY_WRITE: u32 = 33;
    /// Searches memory. \[[`super::memory::Search`], [`super::memory::Found`] and its places\]
    pub const MEMORY_SEARCH: u32 = 34;
    /// Translates an address. \[[`super::memory::Place`], [`super::memory::Translation`]\]
    pub const TRANSLATE: u32 = 35;
    /// What Linux said of itself. \[nothing, [`super::note::Notes`]\]
    pub const NOTES: u32 = 40;
    /// Registers a monitor. \[[`super::monitor::Ask`], [`super::EventAnswer`] with every code\]
    pub const MONITOR_ADD: u32 = 48;
    /// Registers a hidden breakpoint. \[[`super::epthook::Ask`], [`super::EventAnswer`] with every code\]
    pub const EPTHOOK_ADD: u32 = 49;
    /// Registers a detour. \[[`super::epthook2::Ask`], [`super::EventAnswer`] with every code\]
    pub const EPTHOOK2_ADD: u32 = 50;
}

/// What root tells unasked, on the link. The head's code is one of these.
pub mod notice {
    /// Root has taken the machine and listens. Body: [`super::Hello`].
    pub const UP: u32 = 0x100;
    /// Every core is halted, and it was not the answer to a request. Body: [`super::Halted`].
    pub const HALTED: u32 = 0x101;
    /// A fault of root's own. Body: text, the last words. Sent without waiting for anything.
    pub const LAST_WORDS: u32 = 0x102;
    /// Linux reboots, powers off, sleeps or unloads. Body: [`super::Number`], one of [`super::goodbye`].
    pub const GOODBYE: u32 = 0x103;
    /// The machine should have halted and did not: a core was silent. Body: [`super::Number`], the core.
    pub const SILENT: u32 = 0x104;
    /// The machine was halted and goes on, since nothing was heard on the link ([`super::op::ATTEND`]). No body. Sent once.
    pub const ABANDONED: u32 = 0x105;
}

/// Why the machine goes away.
pub mod goodbye {
    /// Reboot or power off.
    pub const REBOOT: u64 = 0;
    /// Suspend or hibernation; it comes back with [`super::notice::UP`].
    pub const SLEEP: u64 = 1;
    /// The hypervisor was unloaded.
    pub const UNLOAD: u64 = 2;
    /// The guest shut itself down by a triple fault.
    pub const TRIPLE_FAULT: u64 = 3;
}

/// Tests of root itself ([`op::TEST`]).
pub mod test {
    /// Root executes an undefined instruction: last words, and Linux runs on without a hypervisor.
    pub const FAULT_UD: u64 = 1;
    /// Root reads an address that is not mapped.
    pub const FAULT_PAGE: u64 = 2;
    /// Root overflows its stack.
    pub const FAULT_STACK: u64 = 3;
    /// #BP and INTn are intercepted and passed on untouched (HyperDbg: `test breakpoint off`).
    pub const BREAKPOINT_PASS_ON: u64 = 4;
    /// They are not intercepted (the default).
    pub const BREAKPOINT_PASS_OFF: u64 = 5;
    /// #DB is intercepted and passed on untouched.
    pub const TRAP_PASS_ON: u64 = 6;
    /// It is not (the default).
    pub const TRAP_PASS_OFF: u64 = 7;

    /// [`super::op::TEST_RESERVE`]: takes `count` units on one ticket and keeps them, as a hook would.
    pub const HOLD: u32 = 1;
    /// Gives back what tests hold of the kind; `count` is zero.
    pub const LET: u32 = 2;
    /// The `count`th request of the kind from now is refused, once; 0 calls it off.
    pub const FAIL: u32 = 3;
}

/// What is to be tried with the reserve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct ReserveTest {
    /// One of [`test`].
    pub what: u32,
    /// A [`crate::kind::Kind`] by number.
    pub kind: u32,
    /// Units, or which request.
    pub count: u64,
}
const _: () = assert!(size_of::<ReserveTest>() == 16);

/// One number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Number {
    /// The number.
    pub value: u64,
}

/// Who answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Hello {
    /// [`crate::PROTOCOL`].
    pub protocol: u32,
    /// Cores under root.
    pub cores: u32,
    /// 1 if every core is halted.
    pub halted: u32,
    /// The core that commands refer to.
    pub core: u32,
    /// Differs with every load.
    pub boot_id: u64,
    /// Frames of RAM that Linux has.
    pub ram_frames: u64,
    /// The back end, as ASCII, zero-filled: "AMD SVM".
    pub backend: [u8; 16],
    /// How a break-in reaches the machine: 1 the UART raises NMI, 0 only when a core exits for another reason.
    pub break_in_by_nmi: u32,
    /// 1 if root speaks the link; 0 in VMI Mode, or when it should and no UART answered at COM2.
    pub linked: u32,
}
const _: () = assert!(size_of::<Hello>() == 56);

/// What to reserve or release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct PreallocAsk {
    /// A [`crate::kind::Kind`] by number.
    pub kind: u32,
    /// Zero.
    pub zero: u32,
    /// Units.
    pub count: u64,
}

/// What became of it. Filled for every code, so that a refusal has its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct PreallocAnswer {
    /// As asked.
    pub kind: u32,
    /// Zero.
    pub zero: u32,
    /// Units asked, as sent, never cut to fit.
    pub asked: u64,
    /// Units of this kind now free.
    pub free: u64,
    /// Units of this kind now reserved, free or in use.
    pub reserved: u64,
    /// Units more that this machine could ever hold.
    pub most: u64,
    /// Frames that the bank is short of; 0 unless the code is BANK_SHORT.
    pub short: u64,
    /// Frames free in the bank now.
    pub bank_free: u64,
}
const _: () = assert!(size_of::<PreallocAnswer>() == 56);

/// One row of the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct LedgerRow {
    /// The kind's word, ASCII, zero-filled: who shows a ledger need not know the kinds.
    pub name: [u8; 24],
    /// Bytes that one unit takes.
    pub unit_bytes: u64,
    /// Units reserved: free + in use.
    pub reserved: u64,
    /// Units free.
    pub free: u64,
    /// Units in use.
    pub used: u64,
    /// Most units that were in use at once.
    pub high_water: u64,
    /// Requests refused.
    pub refused: u64,
    /// Units that refills brought, to keep the level.
    pub refilled: u64,
    /// Units that a user asked for by `prealloc` and has not released: never taken away by themselves.
    pub kept: u64,
    /// Fewer free units than this are refilled while the debuggee runs,
    pub low: u64,
    /// to this many;
    pub target: u64,
    /// and what is free above this (and above `kept`) goes back to the bank.
    pub high: u64,
}

/// The whole ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Ledger {
    /// By number of the kind.
    pub kinds: [LedgerRow; crate::kind::Kind::COUNT],
    /// Frames that Linux handed over.
    pub frames: u64,
    /// Frames of those that root itself lives in: image, stacks, tables.
    pub frames_root: u64,
    /// Frames in the bank, given to no kind.
    pub frames_free: u64,
    /// Frames given to the kinds.
    pub frames_kinds: u64,
    /// Frames in the bank that are aimed at: fewer than half of them are topped up while the debuggee runs, whole blocks
    /// above them go back to Linux.
    pub frames_target: u64,
}
const _: () = assert!(size_of::<Ledger>() == crate::kind::Kind::COUNT * 112 + 40);
const _: () = assert!(size_of::<Ledger>() + size_of::<Head>() <= MESSAGE_BYTES_MAX);

/// Units of one kind that one owner holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct OwnerRow {
    /// A [`crate::kind::Kind`] by number.
    pub kind: u32,
    /// One of [`owner`].
    pub owner: u32,
    /// Units.
    pub units: u64,
}

/// Who holds units.
pub mod owner {
    /// Tests ([`super::test::HOLD`]).
    pub const TEST: u32 = u32::MAX;
    /// Threads under interception.
    pub const THREADS: u32 = u32::MAX - 1;
}

/// Who holds what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Owners {
    /// How many of `rows` are valid.
    pub count: u32,
    /// Zero.
    pub zero: u32,
    /// Units of owners that found no row.
    pub other: u64,
    /// By kind and owner, in no order.
    pub rows: [OwnerRow; OWNER_ROWS_MAX],
}
/// Rows that one answer can show.
pub const OWNER_ROWS_MAX: usize = 128;
const _: () = assert!(size_of::<Owners>() + size_of::<Head>() <= MESSAGE_BYTES_MAX);

/// Instructions to execute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct StepAsk {
    /// How many; from 1 to [`STEPS_MAX`].
    pub count: u64,
    /// One of [`step`].
    pub how: u32,
    /// Zero.
    pub zero: u32,
}
/// Instructions of one [`op::STEP`] at most: so long does a core take no interrupt, some ten seconds in an emulator. A pause ends them
/// before.
pub const STEPS_MAX: u64 = 1 << 20;

/// Who runs while a core steps.
pub mod step {
    /// The others stay halted.
    pub const ALONE: u32 = 0;
    /// They run.
    pub const TOGETHER: u32 = 1;
}

/// Who is at the prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Attend {
    /// Differs with every prompt: what is temporary of another one's is cleared.
    pub who: u64,
    /// Milliseconds of silence after which nobody is taken to be there; 0: none.
    pub limit_ms: u64,
}

/// Words of a program on their way to root; `count` words follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Stage {
    /// Where the first one goes; 0 begins anew.
    pub first: u32,
    /// How many.
    pub count: u32,
}
/// Words that one message can stage. Small, so that the message arrives well within the time after which it is sent again,
/// also on a slow line: 0.05 s at 115 200 baud.
pub const STAGE_WORDS_MAX: usize = 64;
/// Words of a program at most: what a big event holds.
pub const PROGRAM_WORDS_MAX: usize = 10_240;
const _: () = assert!(size_of::<Stage>() + 8 * STAGE_WORDS_MAX + size_of::<Head>() <= MESSAGE_BYTES_MAX);

pub mod epthook;
pub mod epthook2;
pub mod event;
pub mod global;
mod halted;
pub mod memory;
pub mod monitor;
pub mod note;
pub mod thread;

pub use halted::{Halted, Task, reason};

/// An event to register. Its program, condition and code were staged before, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct EventAsk {
    /// One of [`event`].
    pub kind: u32,
    /// [`event::PRE`], [`event::POST`] or both.
    pub stage: u32,
    /// [`event::BREAK`], [`event::SHORT_CIRCUIT`], [`event::OPTION`], [`event::GATHER`], [`event::CODE_FIRST`], [`event::FAST`],
    /// [`event::BREAKPOINT`], [`event::BY_THREAD`], [`event::TEMPORARY`].
    pub flags: u32,
    /// The only core on which it fires, or [`event::ALL`].
    pub core: u32,
    /// The only process (thread group) for which it fires, or thread if the flag says so, or [`event::ALL`].
    pub pid: u32,
    /// Words of the program that was staged; 0: none.
    pub program_words: u32,
    /// Bytes of a safe buffer of its own; 0: none.
    pub buffer_bytes: u64,
    /// The kind's own filter, if the flag says so.
    pub option: u64,
    /// Bytes of machine code that decide whether it fires; 0: none. It was staged behind the program, see
    /// [`event::code_words`].
    pub condition_bytes: u32,
    /// Bytes of machine code that it runs; 0: none. It was staged behind the condition.
    pub code_bytes: u32,
}
const _: () = assert!(size_of::<EventAsk>() == 48);

/// What became of it. Numbers are filled for every code that they concern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct EventAnswer {
    /// Its id, from 0 on.
    pub id: u32,
    /// The kind of unit that it got or lacked ([`crate::kind::Kind`]).
    pub unit: u32,
    /// Units of that asked.
    pub asked: u64,
    /// ... free,
    pub free: u64,
    /// ... and reserved.
    pub reserved: u64,
    /// Bytes that were asked for (the program, or the buffer),
    pub bytes: u64,
    /// and that there could be at most.
    pub bytes_most: u64,
    /// If the program was not accepted: what is wrong with it and where (the verifier's numbers).
    pub rejected: u64,
}
const _: () = assert!(size_of::<EventAnswer>() == 56);

/// One event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct EventRow {
    /// Its id.
    pub id: u32,
    /// One of [`event`].
    pub kind: u32,
    /// 0, or [`event::FIRES`] and what more of it there is to say: [`event::WAITS`].
    pub enabled: u32,
    /// The kind of unit that it holds.
    pub unit: u32,
    /// How often it fired: past its filters.
    pub hits: u64,
    /// Runs of its program, condition or code that ended by a fault.
    pub faults: u64,
    /// The last of those: what, and at which instruction (`kind | at << 32`). With [`event::CONDITION_FAULT`] and
    /// [`event::CODE_FAULT`] the upper half is `offset | vector << 24`.
    pub last_fault: u64,
    /// What it said and was lost, messages.
    pub lost: u64,
}
const _: () = assert!(size_of::<EventRow>() == 48);

/// Events at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Events {
    /// How many of `rows` are valid.
    pub count: u32,
    /// 1 if there are more with larger ids.
    pub more: u32,
    /// By id.
    pub rows: [EventRow; EVENT_ROWS_MAX],
}
/// Events that one answer can show.
pub const EVENT_ROWS_MAX: usize = 64;
const _: () = assert!(size_of::<Events>() + size_of::<Head>() <= MESSAGE_BYTES_MAX);

/// What shall be done with an event, or with all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct EventChange {
    /// One of [`event`].
    pub what: u32,
    /// Its id, or [`event::ALL`].
    pub id: u32,
}

/// What events said: records follow, each a [`Message`], its text, and zeros up to a multiple of 8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Messages {
    /// Messages lost since the last answer because nobody fetched them in time.
    pub lost: u64,
    /// Records that follow.
    pub count: u32,
    /// 1 if there are more already.
    pub more: u32,
}

/// One message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Message {
    /// The event's id, or [`event::ALL`] for an evaluation.
    pub event: u32,
    /// The core.
    pub core: u16,
    /// Bytes of text.
    pub bytes: u16,
}

/// What an evaluation came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Evaluated {
    /// Its value, if there was no fault.
    pub value: u64,
    /// 0, or the fault: kind (from 1 on) and instruction (`kind | at << 32`).
    pub fault: u64,
    /// With a bad address: it.
    pub address: u64,
}

/// Cores at a glance.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Cores {
    /// How many entries of `cores` are valid.
    pub count: u32,
    /// The one that commands refer to.
    pub selected: u32,
    /// Halted or not, by core.
    pub cores: [CoreState; CORES_SHOWN_MAX],
}
/// Cores that one answer can show; [`Cores::count`] may be larger.
pub const CORES_SHOWN_MAX: usize = 64;

/// One core.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct CoreState {
    /// Its number with Linux.
    pub core: u32,
    /// 1 halted, 0 running, 2 not under root (offline).
    pub state: u32,
    /// Where it is, if halted.
    pub rip: u64,
    /// Exits so far.
    pub exits: u64,
    /// What it runs, if halted.
    pub running: Task,
}

/// Registers of a halted core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Registers {
    /// The core.
    pub core: u32,
    /// Zero.
    pub zero: u32,
    /// rax rcx rdx rbx rsp rbp rsi rdi r8 … r15: the order of the instruction encoding.
    pub gprs: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// cs ss ds es fs gs: selectors.
    pub selectors: [u64; 6],
    /// Bases of fs, gs and the kernel's gs.
    pub bases: [u64; 3],
    /// cr0 cr2 cr3 cr4.
    pub crs: [u64; 4],
    /// dr6 dr7.
    pub drs: [u64; 2],
    /// EFER as Linux sees it.
    pub efer: u64,
}
const _: () = assert!(size_of::<Registers>() == 8 + 8 * 34);

/// Exits of one core.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Exits {
    /// The core.
    pub core: u32,
    /// How many of `rows` are valid.
    pub count: u32,
    /// Exits of reasons that found no row.
    pub other: u64,
    /// By reason.
    pub rows: [ExitRow; EXIT_ROWS_MAX],
}
/// Reasons that one answer can show.
pub const EXIT_ROWS_MAX: usize = 40;

/// Exits of one reason.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct ExitRow {
    /// Name of the reason, ASCII, zero-filled.
    pub name: [u8; 16],
    /// How often.
    pub count: u64,
}
const _: () = assert!(size_of::<Exits>() + size_of::<Head>() <= MESSAGE_BYTES_MAX);
const _: () = assert!(size_of::<Cores>() + size_of::<Head>() <= MESSAGE_BYTES_MAX);

/// Splits a message into head and body.
///
/// # Errors
/// `None` if it is shorter than a head or if its body is not as long as the head says.
#[must_use]
pub fn split(message: &[u8]) -> Option<(Head, &[u8])> {
    let (head, body) = Head::read_from_prefix(message).ok()?;
    (usize::try_from(head.bytes).ok()? == body.len()).then_some((head, body))
}

/// The body as a `T`, if it is exactly one.
#[must_use]
pub fn body<T: FromBytes>(bytes: &[u8]) -> Option<T> {
    T::read_from_bytes(bytes).ok()
}

/// A name as fields carry it: ASCII, zero-filled, cut if it does not fit.
#[must_use]
pub const fn name<const BYTES: usize>(word: &str) -> [u8; BYTES] {
    let (word, mut field, mut i) = (word.as_bytes(), [0; BYTES], 0);
    while i < BYTES && i < word.len() {
        field[i] = word[i];
        i += 1;
    }
    field
}

/// Writes a message into `room` and returns its length, or `None` if it does not fit.
pub fn write(room: &mut [u8], code: u32, body: &[u8]) -> Option<usize> {
    let total = size_of::<Head>() + body.len();
    let head = Head { code, bytes: u32::try_from(body.len()).ok()? };
    let room = room.get_mut(..total)?;
    let (front, back) = room.split_at_mut(size_of::<Head>());
    front.copy_from_slice(head.as_bytes());
    back.copy_from_slice(body);
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a parser that trusts the length in the head.
    #[test]
    fn a_body_shorter_or_longer_than_its_head_says_is_refused() {
        let mut room = [0; 64];
        let n = write(&mut room, op::CORE_SELECT, Number { value: 1 }.as_bytes()).unwrap();
        assert_eq!(n, 16);
        let (head, bytes) = split(&room[..n]).unwrap();
        assert_eq!((head.code, body::<Number>(bytes)), (op::CORE_SELECT, Some(Number { value: 1 })));
        assert!(split(&room[..n - 1]).is_none());
        assert!(split(&room[..n + 1]).is_none());
        assert!(split(&room[..7]).is_none());
        assert!(body::<Number>(&bytes[..7]).is_none());
    }

    /// Would catch a write past the room.
    #[test]
    fn a_message_that_does_not_fit_is_not_written() {
        assert_eq!(write(&mut [0; 15], op::GO, &[0; 8]), None);
    }
}
