//! Why a request was refused. Nothing was taken then; numbers only, the sentence is made at the prompt.

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no kind with this index.
    UnknownKind {
        /// As asked.
        kind: usize,
    },
    /// Nothing was asked for.
    Zero {
        /// Of this kind.
        kind: usize,
    },
    /// More than this machine can ever hold: only a smaller count helps.
    TooMany {
        /// Of this kind.
        kind: usize,
        /// As asked, never cut to fit.
        asked: u64,
        /// Units more that the kind's share of RAM, and the slots, could ever hold.
        most: u64,
    },
    /// The bank has too few frames, or too few side by side: donated blocks help.
    BankShort {
        /// Of this kind.
        kind: usize,
        /// As asked.
        asked: u64,
        /// Frames missing, whole slabs.
        frames_short: u64,
        /// They must come in runs of this many.
        run_frames: u32,
        /// Frames in the bank.
        bank_free: u64,
    },
    /// Fewer free units than the request needs: a larger reserve of the kind helps.
    Short {
        /// The first kind that is short.
        kind: usize,
        /// Units asked of it.
        asked: u64,
        /// Free ones.
        free: u64,
        /// Reserved ones, free or not.
        reserved: u64,
    },
    /// A test asked for this refusal ([`crate::Reserve::fail_nth`]).
    Injected {
        /// Of this kind.
        kind: usize,
        /// As asked.
        asked: u64,
    },
}

/// Why a handle was not taken: it names no unit that is in use. It was given back already, never existed, or its unit
/// has another owner by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale(pub crate::Handle);
