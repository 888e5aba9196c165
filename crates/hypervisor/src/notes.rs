//! Numbers that Linux says of itself at load: kept for the prompt, not understood here.
//!
//! **Callers**: `entry` once, `serve`. **Proof**: `tests/e2e/symbols.rs`.

use abi::boot::Boot;
use abi::request::note::{NOTES, Notes};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

static KEPT: [AtomicU64; NOTES] = [const { AtomicU64::new(0) }; NOTES];

/// Takes what the boot page says.
pub fn learn(boot: &Boot) {
    for (kept, note) in KEPT.iter().zip(boot.notes) {
        kept.store(note, Relaxed);
    }
}

/// All of them.
#[must_use]
pub fn all() -> Notes {
    Notes { notes: KEPT.each_ref().map(|kept| kept.load(Relaxed)) }
}
