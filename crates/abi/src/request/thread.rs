//! Threads of programs under interception: who holds them is asked by orders, which Linux carries out.
//!
//! An order is put on a board in root, one at a time; the module takes it ([`crate::boot::hypercall::ORDERS`]) and says what became of it.
//! Numbers of processes and threads are Linux' own, as its first namespace has them.

use super::{Head, MESSAGE_BYTES_MAX};
use core::mem::size_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What can be asked; these continue [`super::op`].
pub mod op {
    /// Puts an order on the board. \[[`super::Order`], [`super::Ordered`]\]
    pub const ORDER: u32 = 56;
    /// What became of one. \[[`super::super::Number`] (its serial), [`super::Ordered`]\]
    pub const ORDERED: u32 = 57;
    /// Threads from a place on. \[[`super::Ask`], [`super::Threads`]\]
    pub const THREADS: u32 = 58;
}

/// What Linux shall do.
pub mod order {
    /// Every thread of the process is held, now and when it is created.
    pub const ATTACH: u32 = 1;
    /// The same from the moment on when it executes another program.
    pub const ATTACH_AT_EXEC: u32 = 2;
    /// All run, and it is left alone.
    pub const DETACH: u32 = 3;
    /// It is killed, and left alone.
    pub const KILL: u32 = 4;
    /// Its threads, or the one, are held when they would return to the program.
    pub const HOLD: u32 = 5;
    /// Its threads, or the one, run.
    pub const LET: u32 = 6;
    /// The one executes [`super::Order::count`] instructions of its program, and is held again.
    pub const STEP: u32 = 7;
}

/// An order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Order {
    /// Root's number for it; zero when it is asked.
    pub serial: u64,
    /// One of [`order`].
    pub what: u32,
    /// The process.
    pub process: u32,
    /// The thread; 0: all of the process.
    pub thread: u32,
    /// Zero.
    pub zero: u32,
    /// Instructions, 1 to [`crate::request::STEPS_MAX`], of [`order::STEP`]; else 0.
    pub count: u64,
}
const _: () = assert!(size_of::<Order>() == 32);

/// Where an order is.
pub mod stage {
    /// Nobody has taken it yet: Linux must run for that.
    pub const ASKED: u32 = 0;
    /// Linux is at it.
    pub const TAKEN: u32 = 1;
    /// It is done, or was refused.
    pub const DONE: u32 = 2;
}

/// What became of an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Ordered {
    /// Its number.
    pub serial: u64,
    /// One of [`stage`].
    pub stage: u32,
    /// When done: one of [`crate::code`].
    pub code: u32,
    /// When done: threads that it was about; when places were too few, units of `thread-interception` that are missing.
    pub number: u64,
}
const _: () = assert!(size_of::<Ordered>() == 24);

/// What a thread does.
pub mod state {
    /// It is to be held, and has not come to where it would return to its program.
    pub const COMING: u32 = 0;
    /// It is held.
    pub const HELD: u32 = 1;
    /// It runs.
    pub const RUNS: u32 = 2;
    /// It executes the instructions that it was asked for.
    pub const STEPS: u32 = 3;
}

/// Threads to be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Ask {
    /// Of this process; 0: of all.
    pub process: u32,
    /// This thread; 0: all.
    pub thread: u32,
    /// From this place on.
    pub from: u32,
    /// Rows at most; 0: the sums alone.
    pub rows: u32,
}
const _: () = assert!(size_of::<Ask>() == 16);

/// A thread under interception.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Row {
    /// Its place among all that root remembers.
    pub place: u32,
    /// Its process,
    pub process: u32,
    /// and its own number.
    pub thread: u32,
    /// One of [`state`].
    pub state: u32,
    /// Address of its task.
    pub task: u64,
    /// Address of the registers with which it will return to its program: [`FRAME_WORDS`] words in the kernel's memory.
    pub frame: u64,
    /// Instructions that it has executed by [`order::STEP`], all together;
    pub stepped: u64,
    /// and those that are left of the last.
    pub left: u64,
    /// How often it was held.
    pub holds: u64,
    /// Nanoseconds for which it has been held.
    pub held: u64,
    /// Its name, ASCII, zero-filled.
    pub name: [u8; 16],
}
const _: () = assert!(size_of::<Row>() == 80);

/// Words of the registers of a thread that is in the kernel: r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi, the number of the
/// system call or -1, rip cs rflags rsp ss.
pub const FRAME_WORDS: usize = 21;

/// Threads, and the sums of those that were asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Threads {
    /// How many of `rows` are valid.
    pub count: u32,
    /// Where to go on, or 0 behind the last.
    pub next: u32,
    /// Threads by [`state`]: of all that were asked about if it was from place 0 on.
    pub states: [u32; 4],
    /// Threads that are held without a place, since none was left when they were created: of all processes.
    pub unplaced: u32,
    /// Threads that run and are not held, since Linux had no memory for that: of all processes.
    pub missed: u32,
    /// The threads, by place.
    pub rows: [Row; ROWS_MAX],
}
/// Rows that one answer can show.
pub const ROWS_MAX: usize = 49;
const _: () = assert!(size_of::<Threads>() == 32 + ROWS_MAX * size_of::<Row>());
const _: () = assert!(size_of::<Threads>() + size_of::<Head>() <= MESSAGE_BYTES_MAX);

/// Threads for which one unit of `thread-interception` has places.
pub const THREADS_PER_UNIT: usize = 100;
