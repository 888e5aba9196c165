//! The window: memory of Linux' into which detours lead its kernel, place by place, and in which that counts.
//!
//! ```text
//! a place, 256 bytes    the call of root ─ what stands for the displaced instructions ─ the way back ─ from QUICK on: what needs no root
//! its cell, 64 bytes    hits that the place counted; where the kernel meets a breakpoint instead of a jump, and where it goes on
//! one page              cells of scripts (`globals`)
//! ```
//! **Holds always**
//! - W1: the guest executes places and writes cells, root writes places by the direct map: no address is both written and executed.
//! - W2: nothing here decides what root does. A kernel that writes into it harms itself, and the numbers that are read out of it.
//!
//! **Callers**: `detours`, `detoured`. **Cost**: a store a word. **Proof**: `tests/e2e/epthook2.rs`.
#![expect(unsafe_code, reason = "a page of words that root shares with the guest")]

use crate::arch::x86::direct;
use crate::{globals, hypercall};
use abi::boot::{
    Boot, Cell, FRAME_BYTES, PLACE_BYTES, WINDOW_CELL_FRAMES, WINDOW_FRAMES, WINDOW_PLACES, WINDOW_TEXT_FRAMES, Window,
};
use core::mem::offset_of;
use spin::Once;
use zerocopy::{FromBytes, IntoBytes};

static WINDOW: Once<Window> = Once::new();

/// Where in a place the code begins that needs no root.
pub const QUICK: usize = 64;

/// Takes what the boot page says.
pub fn learn(boot: &Boot) {
    let mut bytes = [0; size_of::<Window>()];
    let read = boot.window_pa != 0 && direct::copy_out(boot.window_pa, &mut bytes);
    let Some(window) = Window::read_from_bytes(&bytes).ok().filter(|_| read) else { return };
    // SAFETY: a page of the module's own data, which stays as long as that is loaded, and root no longer; nothing else of root's writes
    // there.
    if let Some(page) = unsafe { direct::shared(window.frames[WINDOW_FRAMES - 1]) } {
        globals::lie_in(page);
    }
    WINDOW.call_once(|| window);
}

/// Linear address of a place.
pub fn address(place: usize) -> Option<u64> {
    WINDOW.get().map(|window| window.text + (place * PLACE_BYTES) as u64)
}

/// Linear address of what a place counts in.
pub fn cell(place: usize) -> Option<u64> {
    WINDOW.get().map(|window| window.data + (place * size_of::<Cell>()) as u64)
}

/// Linear address of a cell of scripts.
pub fn global(number: u16) -> Option<u64> {
    WINDOW.get().map(|window| window.data + WINDOW_CELL_FRAMES as u64 * FRAME_BYTES + u64::from(number) * 8)
}

/// The place at whose beginning an instruction pointer is.
#[inline]
pub fn called(rip: u64) -> Option<usize> {
    let offset = rip.wrapping_sub(WINDOW.get()?.text);
    let is_one = offset < (WINDOW_PLACES * PLACE_BYTES) as u64 && offset.is_multiple_of(PLACE_BYTES as u64);
    is_one.then(|| usize::try_from(offset).unwrap_or(0) / PLACE_BYTES)
}

/// Physical address of a byte of the window's frames from the `first` on.
fn physical(first: usize, offset: usize) -> Option<u64> {
    const BYTES: usize = 4096;
    const _: () = assert!(BYTES as u64 == FRAME_BYTES);
    let pfn = WINDOW.get()?.frames.get(first + offset / BYTES)?;
    Some(pfn * FRAME_BYTES + (offset % BYTES) as u64)
}

/// Writes code into a place; false if it has no room there.
pub fn write(core: u32, place: usize, offset: usize, code: &[u8]) -> bool {
    let pa = physical(0, place * PLACE_BYTES + offset);
    place < WINDOW_PLACES && offset + code.len() <= PLACE_BYTES && pa.is_some_and(|pa| hypercall::store(core, pa, code))
}

/// The word of a place's cell at an offset.
fn word(place: usize, offset: usize) -> Option<u64> {
    physical(WINDOW_TEXT_FRAMES, place * size_of::<Cell>() + offset).filter(|_| place < WINDOW_PLACES)
}

/// Says for whom a place is, and that it has counted nothing.
pub fn open(core: u32, place: usize, address: u64, entry: u64) -> bool {
    let cell = Cell { hits: 0, address, entry, unused: [0; 5] };
    word(place, 0).is_some_and(|pa| hypercall::store(core, pa, cell.as_bytes()))
}

/// No breakpoint leads to it any more.
pub fn close(core: u32, place: usize) {
    if let Some(pa) = word(place, offset_of!(Cell, address)) {
        // It is the module's page, or nobody's any more.
        let _stored = hypercall::store(core, pa, &0_u64.to_le_bytes());
    }
}

/// What it counted.
pub fn hits(place: usize) -> u64 {
    word(place, offset_of!(Cell, hits)).and_then(direct::read).unwrap_or(0)
}
