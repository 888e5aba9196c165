//! Every maximum of the crate, and why it is what it is.

use abi::boot::CORES_MAX;
use abi::kind::Kind;
use abi::request::{PROGRAM_WORDS_MAX, event};

/// Kinds of events, by number from 1 on; row 0 of a table by kind stays empty.
pub const KINDS: usize = event::EPTHOOK2 as usize + 1;

/// Slots of one table at most: an id is the number of a slot, and a slot's number plus one is a link.
pub const EVENTS_MAX: usize = 1 << 16;

/// Bytes of program, condition and code together that fit a regular event: its two frames.
pub const REGULAR_PROGRAM_BYTES: u64 = 8192;

/// Bytes of program, condition and code together that fit a big event: 20 of its frames.
pub const BIG_PROGRAM_BYTES: u64 = 8 * PROGRAM_WORDS_MAX as u64;

/// Bytes of a condition's machine code that fit a regular event, as documented.
pub const REGULAR_CONDITION_BYTES: u32 = 100;

/// Bytes of a condition's machine code that fit a big event, as documented.
pub const BIG_CONDITION_BYTES: u32 = 4096;

/// Bytes of a regular safe buffer, as documented.
pub const REGULAR_BUFFER_BYTES: u64 = 4096;

/// Bytes of a big safe buffer, as documented.
pub const BIG_BUFFER_BYTES: u64 = 81920;

/// The largest vector of an exception (APM2 8.2).
pub const EXCEPTION_VECTOR_MAX: u64 = 0x1f;

/// Vectors of external interrupts: all behind those of exceptions.
pub const INTERRUPT_VECTORS: core::ops::RangeInclusive<u64> = EXCEPTION_VECTOR_MAX + 1..=0xff;

/// How often who has changed the table offers to put it in order while another core does that, before it leaves the rest
/// to that core: a turn takes some 10 machine instructions, putting in order 10^5 at worst.
pub const TURNS_MAX: u32 = 1 << 16;

/// How often in one call the table is put in order again because others changed it meanwhile. What is left then waits
/// for the next call, on any core.
pub const LOOKS_MAX: u32 = 8;

const _: () = assert!(BIG_PROGRAM_BYTES == 81920, "a big event holds what the link can bring");
const _: () = assert!(REGULAR_PROGRAM_BYTES < BIG_PROGRAM_BYTES && REGULAR_BUFFER_BYTES < BIG_BUFFER_BYTES, "big is larger");
const _: () = assert!(event::CPUID == 1 && KINDS == 17, "kinds are numbered from 1 without a gap");
const _: () = assert!((EVENTS_MAX as u64) < u32::MAX as u64, "a link is 32 bits, and 0 is none");
const _: () = assert!(CORES_MAX <= u32::MAX as usize && Kind::COUNT <= 1 << 8, "cores and kinds fit their fields");
