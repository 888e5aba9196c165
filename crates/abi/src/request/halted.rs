//! A machine that is halted: why, where, and in which task.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a core runs, as its kernel has it; all zeros if that cannot be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Task {
    /// Address of the task.
    pub task: u64,
    /// Its process (thread group),
    pub process: u32,
    /// and its own number. Those of the idle loop are 0.
    pub thread: u32,
    /// Its name, zero-filled: any bytes, as the guest chose them.
    pub name: [u8; 16],
}

/// A halted machine, seen from the selected core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Halted {
    /// The core.
    pub core: u32,
    /// One of [`reason`].
    pub reason: u32,
    /// Where it will continue.
    pub rip: u64,
    /// Its flags.
    pub rflags: u64,
    /// Its page tables.
    pub cr3: u64,
    /// Bytes at `rip`, as many as `bytes_valid` says.
    pub bytes: [u8; 16],
    /// How many of `bytes` could be read.
    pub bytes_valid: u32,
    /// Its privilege level, 0 or 3.
    pub cpl: u32,
    /// After [`super::op::FETCH`]: frames that Linux handed over; else 0.
    pub fetched: u64,
    /// After [`super::op::FETCH`]: what would have halted the machine meanwhile and did not; else 0.
    pub missed: u64,
    /// With [`reason::EVENT`] and [`reason::BREAKPOINT`]: its id; else 0.
    pub event: u32,
    /// With these: [`super::event::PRE`] or [`super::event::POST`]; else 0.
    pub stage: u32,
    /// Instructions that the last [`super::op::STEP`] has had executed until now; 0 if the machine was continued since.
    pub steps: u64,
    /// What it runs.
    pub running: Task,
}
const _: () = assert!(size_of::<Task>() == 32 && size_of::<Halted>() == 120);

/// Why the machine halted.
pub mod reason {
    /// The prompt asked.
    pub const PAUSE: u32 = 1;
    /// A [`super::super::op::FETCH`] ended, with everything.
    pub const FETCHED: u32 = 2;
    /// A [`super::super::op::FETCH`] ended, with nothing.
    pub const FETCH_FAILED: u32 = 3;
    /// Another core was selected.
    pub const CORE_SELECTED: u32 = 4;
    /// The kernel asked, by [`crate::boot::hypercall::BREAK`].
    pub const HYPERCALL: u32 = 5;
    /// An event asked; [`super::Halted::event`] says which.
    pub const EVENT: u32 = 6;
    /// The instructions of an [`super::super::op::STEP`] are executed.
    pub const STEPPED: u32 = 7;
    /// As [`EVENT`], and it is a breakpoint.
    pub const BREAKPOINT: u32 = 8;
}
