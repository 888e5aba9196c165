//! Maxima of what is kept, each with its reason.

/// Names of one table at most: Linux with everything built in has a tenth of it.
pub const NAMES_MAX: usize = 4_000_000;
/// Bytes of one name at most; the kernel's own limit is 512.
pub const NAME_BYTES_MAX: usize = 512;
/// Modules at most, the kernel being one: their number is kept in 16 bits.
pub const MODULES_MAX: usize = 60_000;
/// Bytes behind the last name of a piece whose end is not known, in which addresses are still told by that name.
pub const BEHIND_MAX: u64 = 0x1_0000;
/// Bytes of the kernel's own table of names at most: today's are 3 MiB.
pub const PACKED_BYTES_MAX: usize = 64 << 20;
/// Modules that are followed in the kernel's ring of them.
pub const RING_MAX: usize = 4096;
/// Names of one module at most that are read out of memory.
pub const MODULE_NAMES_MAX: u32 = 100_000;
/// Types of one description at most: today's kernels have some 200 000.
pub const TYPES_MAX: usize = 4_000_000;
/// How deep types may refer to types before it is taken for a loop.
pub const TYPE_DEPTH_MAX: usize = 32;
/// Tasks of one list that are looked at: as many as Linux has numbers for by default.
pub const TASKS_MAX: usize = 32_768;
/// Bytes between two members of a task that are read with them rather than by a request more: as many as that is on a slow line.
pub const TASK_GAP_BYTES: u64 = 96;
