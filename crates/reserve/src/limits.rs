//! Every maximum of the crate, and why it is what it is.

/// Bytes of a frame.
pub const FRAME_BYTES: u32 = 4096;

/// Frames in a group: as many as one word has bits, so that one exchange takes or gives a whole run.
pub const GROUP_FRAMES: u32 = 64;

/// A block has 2^n frames, n at most this: 512 frames, 2 MiB, one large page.
pub const BLOCK_ORDER_MAX: u32 = 9;

/// Units that one frame may carry. Each costs 16 bytes of table, so four of them make the tables 1.6 % of the bank; an
/// object below 1 KiB takes 1 KiB.
pub const UNITS_PER_FRAME_MAX: u32 = 4;

/// Frames of one slab at most: a run lies in one group.
pub const SLAB_FRAMES_MAX: u32 = GROUP_FRAMES;

/// A slab of several units stays within this many frames where it can: the smallest block that Linux hands over
/// (16 frames, two of them used to hide the block) must be able to carry it.
pub const SLAB_FRAMES_USUAL: u32 = 14;

/// Small parts of units are aligned to this many bytes, one cache line.
pub const SMALL_ALIGN: u32 = 64;

/// Slots at most, one for each block: with 2^11 units in a slot, every unit has a number of 31 bits.
pub const SLOTS_MAX: usize = 1 << 20;

/// Kinds at most: a cost has a bit for each that it needs.
pub const KINDS_MAX: usize = 64;

/// Free lists of one kind. Cores that take the same kind at once go to different ones; a request that finds its own
/// short looks into all of them, so this stays small.
#[cfg(not(loom))]
pub const LANES: usize = 4;
/// As above; two show every way in which lanes can meet, and loom tries them all.
#[cfg(loom)]
pub const LANES: usize = 2;

/// How often a request looks again when the lanes changed while it found too little.
pub const LOOKS_MAX: u32 = 8;

const _: () = assert!(GROUP_FRAMES == u64::BITS, "a group is one word");
const _: () = assert!(SLAB_FRAMES_MAX * UNITS_PER_FRAME_MAX <= 1 << 8, "a unit's number within its slab is one byte");
const _: () = assert!((SLOTS_MAX as u64) << (BLOCK_ORDER_MAX + 2) < u32::MAX as u64, "u32::MAX is no unit");
const _: () = assert!(LANES.is_power_of_two(), "a share of a chain is a shift");
const _: () = assert!(1 << 2 == UNITS_PER_FRAME_MAX, "the shift above");
