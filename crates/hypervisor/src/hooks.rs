//! Hidden breakpoints: instructions of the guest that events wait for, and the pages that cores execute instead of theirs.
//!
//! ```text
//! guarded view      the hooked page as it is: it can be read; a write is stepped, a fetch is a fault
//! execution view    what cores fetch: a copy with a breakpoint at each hook, in a frame of a hook's unit (`Core::execute`)
//! ```
//! A hook is a record like a monitor's (`monitors`), of one byte: where its instruction begins. The guest's memory stays as it is, for
//! whoever reads it.
//!
//! **Holds always**
//! - K1: the copy that cores execute is the page, but for the breakpoints: it is made anew behind each write of the guest's or of
//!   root's, before the core that wrote goes on, and whenever a hook comes, goes, or is enabled or disabled.
//! - K2: one hook of a page has the copy. If it goes, another one's is made before, and cores that execute the old one flush
//!   before its unit is given back (N2 of `monitors`).
//! - K3: a copy is of what is there now, also where that came by no processor: while Linux does not hold the frame yet it is made
//!   anew before a core begins to execute it (P2 of `monitors::mapped`).
//!
//! **Callers**: `serve` for requests, `monitors` under its lock, `hooked` on an exit. **Cost**: a copy is 512 words compared.
//! **Proof**: `tests/e2e/epthook.rs`.
#![expect(unsafe_code, reason = "copies of pages, in frames of units")]

use crate::arch::Machine;
use crate::arch::x86::direct;
use crate::monitors::{self, record::Record, record::VISIBLE};
use crate::{memory, visible};
use abi::boot::FRAME_BYTES;
use abi::code;
use abi::request::epthook::{Ask, IS_VISIBLE};
use abi::request::memory::VIRTUAL;
use abi::request::monitor::EXECUTE;
use abi::request::{EventAnswer, event};

const _: () = assert!(FRAME_BYTES == 64 * 64);
/// INT3.
pub const BREAKPOINT: u8 = 0xcc;

/// Registers a hook, with what is staged for it. `tables` is CR3 of the core that is meant.
pub fn add<M: Machine>(core: u32, tables: u64, ask: &Ask) -> (u32, EventAnswer) {
    let Ask { event: mut its, place } = *ask;
    let fast = its.flags & event::FAST != 0;
    its.flags &= !event::FAST;
    if place.space != VIRTUAL || its.kind != event::EPTHOOK || its.flags & event::OPTION != 0 {
        return (code::REQUEST_MALFORMED, EventAnswer { id: event::ALL, ..EventAnswer::default() });
    }
    // A process is searched for in Linux' list.
    let space = if fast { memory::space(core, tables, place).ok() } else { None };
    let mut why = space.as_ref().map_or(IS_VISIBLE, |space| visible::why_hidden(space, place.address));
    let access = EXECUTE | if fast && why == IS_VISIBLE { VISIBLE } else { 0 };
    let (code, mut answer) = monitors::add_range::<M>(core, tables, &its, (place, place.address), access);
    if code == code::SUCCESS && fast {
        if why == IS_VISIBLE
            && let Some((pa, _)) = space.and_then(|space| space.page(place.address))
        {
            why = visible::why_hidden_there(pa);
        }
        answer.rejected = why.into();
    }
    (code, answer)
}

/// What is executed instead of a frame, if that has hooks.
pub fn shown(pfn: u64) -> Option<u64> {
    monitors::hooks_of(pfn).find(|record| record.is_shown()).map(Record::shadow)
}

/// Whether what cores execute of a frame is what everybody reads there (`visible`): one of its hooks may be seen, and no other may not.
pub fn is_visible(pfn: u64) -> bool {
    let mut enabled = monitors::hooks_of(pfn).filter(|record| record.hooked().1).map(Record::is_visible);
    enabled.next() == Some(true) && enabled.all(|visible| visible)
}

/// Whether an enabled hook is at a physical address.
pub fn is_at(pa: u64) -> bool {
    monitors::hooks_of(pa / FRAME_BYTES).any(|record| record.hooked() == (pa % FRAME_BYTES, true))
}

/// A record has come or gone, or is enabled or disabled: if it is a hook's, its page's copy is made anew. Under the lock.
pub fn renew(record: Record) {
    if !record.is_hook() {
        return;
    }
    let pfn = record.run().pfn;
    if record.is_shown() {
        // Also if it has gone: until cores have flushed, it is what they execute.
        copy(pfn, record.shadow());
    }
    let heir = monitors::hooks_of(pfn).find(|record| record.is_shown()).or_else(|| monitors::hooks_of(pfn).next());
    if let Some(heir) = heir {
        copy(pfn, heir.shadow());
        heir.show(true);
    }
}

/// Root has written into a frame. Under the lock.
pub fn follow(pfn: u64) {
    monitors::hooks_of(pfn).next().into_iter().for_each(renew);
}

/// The guest or root has written into a frame.
pub fn written(core: u32, pfn: u64) {
    if monitors::hooks_of(pfn).next().is_some() {
        monitors::steady(core, || follow(pfn));
    }
}

/// A core is about to execute what there is of a frame (K3).
pub fn freshen(core: u32, pfn: u64) {
    if monitors::hooks_of(pfn).any(Record::is_loose) {
        written(core, pfn);
    }
}

/// K1. Only words that differ are written: others execute them meanwhile.
fn copy(pfn: u64, shadow: u64) {
    let mut hooked = [0_u64; 64];
    for (byte, enabled) in monitors::hooks_of(pfn).map(Record::hooked) {
        if let Some(bits) = hooked.get_mut((byte / 64) as usize).filter(|_| enabled) {
            *bits |= 1 << (byte % 64);
        }
    }
    for (nth, offset) in (0..FRAME_BYTES).step_by(8).enumerate() {
        let Some(word) = direct::read(pfn * FRAME_BYTES + offset) else { return };
        let bits = hooked.get(nth / 8).map_or(0, |bits| bits >> (nth % 8 * 8));
        let mut bytes = word.to_le_bytes();
        for (_, byte) in bytes.iter_mut().enumerate().filter(|(nth, _)| bits >> nth & 1 != 0) {
            *byte = BREAKPOINT;
        }
        let word = u64::from_le_bytes(bytes);
        if direct::read(shadow * FRAME_BYTES + offset) != Some(word) {
            // SAFETY: the third frame of a hook's unit, which no Rust code refers into; cores that execute it fetch whole
            // words, old or new.
            let _in_ram = unsafe { direct::write(shadow * FRAME_BYTES + offset, word) };
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
