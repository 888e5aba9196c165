//! RAM by physical address: the direct map that the module built at [`abi::boot::DIRECT_VA`].
//!
//! **Holds always**
//! - D1: the direct map covers `[0, max(4 GiB, end of RAM))` read and write, and stays as long as root runs.
//! - D2: what lies there may change under our feet, by the guest or a device. So it is never a reference, only volatile
//!   or atomic loads and stores of at most eight aligned bytes.
//! - D3: [`Ram`] is bounded by the end of RAM, so a physical address that the guest chose cannot reach a device.
//!
//! **Callers**: everyone in root, through [`Ram`], which is safe: it cannot reach root's own frames unless asked by
//! the rooms that own them (`RamOwn`). **Cost**: one access each.
#![expect(unsafe_code, reason = "the one file that makes a pointer of a physical address")]

use abi::boot::FRAME_BYTES;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

/// End of RAM in bytes.
static END: AtomicU64 = AtomicU64::new(0);

/// Says that RAM reaches at least this far. It never becomes less: every core says so when it enters, while others read.
///
/// # Safety
/// `[0, end)` is mapped at [`DIRECT_VA`] (D1).
pub unsafe fn reaches(end: u64) {
    END.fetch_max(end, Relaxed);
}

/// Where physical address 0 lies.
#[cfg(not(test))]
fn base() -> u64 {
    abi::boot::DIRECT_VA
}
#[cfg(test)]
use arena::base;

#[inline(always)]
fn pointer(pa: u64, bytes: u64) -> Option<*mut u8> {
    let end = pa.checked_add(bytes)?;
    // No overflow: the direct map covers all below the end (D1).
    (end <= END.load(Relaxed)).then(|| base().wrapping_add(pa) as *mut u8)
}

/// The first physical address beyond RAM.
#[must_use]
pub fn end() -> u64 {
    END.load(Relaxed)
}

/// Where bytes of RAM stand in root's address space, for what is not Rust; `None` for none, or beyond RAM.
#[must_use]
pub fn address(pa: u64, bytes: u64) -> Option<u64> {
    pointer(pa, bytes).filter(|_| bytes > 0).map(|at| at as u64)
}

/// Reads eight bytes; `None` beyond RAM or across an eight-byte border.
#[must_use]
pub fn read(pa: u64) -> Option<u64> {
    let word = pointer(pa, 8)?.cast::<u64>();
    // SAFETY: mapped by D1 and D3; aligned by the test; a volatile load is right for memory that others change (D2).
    pa.is_multiple_of(8).then(|| unsafe { word.read_volatile() })
}

/// Writes eight bytes; `false` beyond RAM or across an eight-byte border.
///
/// # Safety
/// The frame is not one that Rust code in root holds a reference into.
pub unsafe fn write(pa: u64, value: u64) -> bool {
    let Some(word) = pointer(pa, 8) else { return false };
    if !pa.is_multiple_of(8) {
        return false;
    }
    // SAFETY: mapped by D1 and D3, aligned; nobody holds a reference by the caller's promise.
    unsafe { word.cast::<u64>().write_volatile(value) };
    true
}

/// Writes 1, 2, 4 or 8 bytes at once; `false` beyond RAM, or if they are not aligned to their width.
///
/// # Safety
/// As [`write`].
#[inline(always)]
pub unsafe fn put(pa: u64, bytes: u64, value: u64) -> bool {
    let Some(to) = pointer(pa, bytes).filter(|_| pa & bytes.wrapping_sub(1) == 0) else { return false };
    // SAFETY: mapped by D1 and D3, aligned; nobody holds a reference by the caller's promise.
    #[expect(clippy::cast_possible_truncation, reason = "the low bytes are what is written")]
    unsafe {
        match bytes {
            8 => to.cast::<u64>().write_volatile(value),
            4 => to.cast::<u32>().write_volatile(value as u32),
            2 => to.cast::<u16>().write_volatile(value as u16),
            1 => to.write_volatile(value as u8),
            _ => return false,
        }
    }
    true
}

/// Changes eight bytes indivisibly; `None` beyond RAM or across an eight-byte border.
///
/// # Safety
/// As [`write`].
pub unsafe fn change<T>(pa: u64, change: impl FnOnce(&AtomicU64) -> T) -> Option<T> {
    let word = pointer(pa, 8)?.cast::<u64>();
    // SAFETY: mapped by D1 and D3; aligned by the test; nobody refers into it but by atomics, by the caller's promise.
    pa.is_multiple_of(8).then(|| change(unsafe { AtomicU64::from_ptr(word) }))
}

/// Writes the eight bytes around an address as they are, indivisibly: nothing changes. For an emulator that executes what was
/// there before (QEMU 7.2 keeps a translation that another processor has made while the code was changed) and looks again when
/// it is written.
pub fn renew(pa: u64) {
    // Refused if it is another by now: then somebody else has just written.
    let written_over = |word: &AtomicU64| {
        let now = word.load(Relaxed);
        let _written = word.compare_exchange(now, now, SeqCst, Relaxed);
    };
    // SAFETY: what is written is what is there, indivisibly, so whoever refers to it sees no change.
    let _in_ram = unsafe { change(pa & !7, written_over) };
}

/// A page of RAM that root shares with the guest, word by word; `None` beyond RAM.
///
/// # Safety
/// The page stays the guest's as long as root runs, and root changes it by these words alone.
#[must_use]
pub unsafe fn shared(pfn: u64) -> Option<&'static [AtomicU64; 512]> {
    let words = pointer(pfn.checked_mul(4096)?, 4096)?.cast::<[AtomicU64; 512]>();
    // SAFETY: mapped by D1 and D3, aligned as a page is; others change it, which atomics allow (D2), and it stays, by the caller's promise.
    Some(unsafe { &*words })
}

/// Eight bytes of RAM that were found once, to be read again and again.
#[derive(Clone, Copy, Debug)]
pub struct Word(*const u64);

impl Word {
    /// Those at a physical address; `None` as [`read`].
    #[must_use]
    pub fn at(pa: u64) -> Option<Word> {
        let word = pointer(pa, 8)?.cast::<u64>().cast_const();
        pa.is_multiple_of(8).then_some(Word(word))
    }

    /// Eight bytes that are zero.
    #[must_use]
    pub fn nowhere() -> Word {
        Word((&raw const NOWHERE.0).cast())
    }

    /// Reads them.
    #[inline(always)]
    #[must_use]
    pub fn get(self) -> u64 {
        // SAFETY: `at` found it mapped, which it stays (D1), and aligned; volatile by D2.
        unsafe { self.0.read_volatile() }
    }
}

/// `N` times eight bytes of RAM that were found once.
#[derive(Clone, Copy, Debug)]
pub struct Words<const N: usize>(*const u64);

impl<const N: usize> Words<N> {
    /// Those from a physical address on; `None` as [`read`].
    #[inline(always)]
    #[must_use]
    pub fn at(pa: u64) -> Option<Words<N>> {
        let first = pointer(pa, N as u64 * 8)?.cast::<u64>().cast_const();
        pa.is_multiple_of(8).then_some(Words(first))
    }

    /// Reads one of them.
    #[inline(always)]
    #[must_use]
    pub fn get(self, number: usize) -> u64 {
        assert!(number < N, "one of those that were found");
        // SAFETY: `at` found all `N` mapped, which they stay (D1), and aligned; volatile by D2.
        unsafe { self.0.add(number).read_volatile() }
    }
}

/// A page of RAM that was found once.
#[derive(Clone, Copy, Debug)]
pub struct Page(*const u8);

/// A page that is no page of RAM.
#[repr(align(4096))]
struct Nowhere([u8; 4096]);
static NOWHERE: Nowhere = Nowhere([0; 4096]);

impl Page {
    /// The one around a physical address; `None` beyond RAM.
    #[must_use]
    pub fn at(pa: u64) -> Option<Page> {
        pointer(pa & !0xfff, FRAME_BYTES).map(|page| Page(page.cast_const()))
    }

    /// A page of zeros.
    #[must_use]
    pub fn nowhere() -> Page {
        Page((&raw const NOWHERE.0).cast())
    }

    /// Reads two bytes, aligned or not, as one little-endian number. Of the offset the low twelve bits count, and the last byte counts as the last pair.
    #[inline(always)]
    #[must_use]
    pub fn pair(self, offset: u64) -> u32 {
        let pair;
        // SAFETY: within the page that `at` found mapped, which it stays (D1). The processor reads what is there at that
        // moment, for which Rust has no load that need not be aligned (D2).
        unsafe {
            asm!(
                "movzx {pair:e}, word ptr [{page} + {at}]", pair = lateout(reg) pair, page = in(reg) self.0,
                at = in(reg) (offset & 0xfff).min(0xffe), options(nostack, preserves_flags, readonly)
            );
        }
        pair
    }

    /// Reads eight bytes, aligned or not, as [`Page::pair`]; the last eight of the page count as the last.
    #[inline(always)]
    #[must_use]
    pub fn word(self, offset: u64) -> u64 {
        let word;
        // SAFETY: as in `pair`.
        unsafe {
            asm!(
                "mov {word}, [{page} + {at}]", word = lateout(reg) word, page = in(reg) self.0,
                at = in(reg) (offset & 0xfff).min(0xff8), options(nostack, preserves_flags, readonly)
            );
        }
        word
    }

    /// Sixteen bytes, the first one lowest, of an offset that leaves so many.
    #[inline(always)]
    #[must_use]
    pub fn sixteen(self, offset: u64) -> u128 {
        u128::from(self.word(offset)) | u128::from(self.word(offset + 8)) << 64
    }
}

/// Words of RAM that nobody writes; `None` beyond its end.
///
/// # Safety
/// The frames are root's own and are not written as long as the slice is used.
#[must_use]
pub unsafe fn words(pa: u64, count: usize) -> Option<&'static [u64]> {
    let word = pointer(pa, count as u64 * 8)?.cast::<u64>();
    // SAFETY: mapped by D1 and D3 as long as root runs; aligned by the test; not written by the caller's promise.
    pa.is_multiple_of(8).then(|| unsafe { core::slice::from_raw_parts(word, count) })
}

/// Copies bytes out of RAM; `false` if they reach beyond it.
pub fn copy_out(pa: u64, to: &mut [u8]) -> bool {
    let Some(from) = pointer(pa, to.len() as u64) else { return false };
    for (i, byte) in to.iter_mut().enumerate() {
        // SAFETY: within the range that `pointer` checked (D1, D3); single bytes are always aligned (D2).
        *byte = unsafe { from.add(i).read_volatile() };
    }
    true
}

/// Copies bytes into RAM of the guest; `false` if they reach beyond it.
///
/// # Safety
/// As [`write`].
pub unsafe fn copy_in(pa: u64, from: &[u8]) -> bool {
    let Some(to) = pointer(pa, from.len() as u64) else { return false };
    for (i, byte) in from.iter().enumerate() {
        // SAFETY: as in `copy_out`; nobody holds a reference by the caller's promise.
        unsafe { to.add(i).write_volatile(*byte) };
    }
    true
}

/// One frame of root's own, exclusively held: a table, a map, a control block.
///
/// F1: its frame lies in a block that the module handed over, hidden from Linux, mapped as long as root runs (D1).
/// F2: it is the only name of that frame.
#[derive(Debug)]
pub struct Frame {
    pfn: u64,
}

impl Frame {
    /// Takes a frame and clears it.
    ///
    /// # Safety
    /// F1 and F2 hold for `pfn`.
    #[must_use]
    pub unsafe fn claim(pfn: u64) -> Frame {
        let frame = Frame { pfn };
        for slot in 0..512 {
            frame.set(slot, 0);
        }
        frame
    }

    /// The frame's number.
    #[must_use]
    pub fn pfn(&self) -> u64 {
        self.pfn
    }

    /// Its physical address.
    #[must_use]
    pub fn pa(&self) -> u64 {
        self.pfn * FRAME_BYTES
    }

    /// The frame's address in root, for what is bigger than a word.
    #[must_use]
    pub fn address(&self) -> *mut u8 {
        (base() + self.pa()) as *mut u8
    }

    /// Reads one of 512 words.
    #[must_use]
    pub fn get(&self, slot: usize) -> u64 {
        self.word(slot).load(Relaxed)
    }

    /// Writes one of 512 words; a table walker sees the old entry or the new one.
    pub fn set(&self, slot: usize, entry: u64) {
        self.word(slot).store(entry, core::sync::atomic::Ordering::Release);
    }

    fn word(&self, slot: usize) -> &AtomicU64 {
        assert!(slot < 512, "a table has 512 words");
        // SAFETY: F1 maps the frame for as long as root runs, F2 and atomic access exclude other Rust references of
        // another type; the slot is inside by the assert; the processor's walkers load 8 aligned bytes at once.
        unsafe { AtomicU64::from_ptr(self.address().cast::<u64>().add(slot)) }
    }
}

/// A run of frames as words, cleared, for as long as root runs.
///
/// # Safety
/// F1 and F2 hold for `words / 512` frames, rounded up, from `first` on.
#[must_use]
pub unsafe fn claim_words(first: u64, words: usize) -> &'static [AtomicU64] {
    for pfn in (first..).take(words.div_ceil(512)) {
        // SAFETY: by the caller; the name goes at once.
        let _cleared = unsafe { Frame::claim(pfn) };
    }
    let start = (base() + first * FRAME_BYTES) as *const AtomicU64;
    // SAFETY: by the caller the frames are mapped side by side, aligned, and nobody else's; they hold zeros now, and any
    // word is a valid `AtomicU64`.
    unsafe { core::slice::from_raw_parts(start, words) }
}

/// Adds to a word of the doorbell, a page of Linux' that its worker reads; nothing beyond RAM is touched.
pub fn doorbell_add(pa: u64, n: u64) {
    if let Some(word) = doorbell(pa) {
        word.fetch_add(n, Relaxed);
    }
}

/// Stores a word of the doorbell.
pub fn doorbell_set(pa: u64, value: u64) {
    if let Some(word) = doorbell(pa) {
        word.store(value, Relaxed);
    }
}

fn doorbell(pa: u64) -> Option<&'static AtomicU64> {
    let word = pointer(pa, 8)?.cast::<u64>();
    // SAFETY: the module set this page aside for both sides and keeps it until root is gone; both use whole aligned words.
    pa.is_multiple_of(8).then(|| unsafe { AtomicU64::from_ptr(word) })
}

/// RAM for tests on the host: a few megabytes at physical address 0.
#[cfg(test)]
pub mod arena {
    extern crate std;
    use super::{END, FRAME_BYTES};
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::sync::OnceLock;
    use std::vec::Vec;

    /// Frames there are.
    pub const FRAMES: u64 = 8192;
    static NEXT: AtomicU64 = AtomicU64::new(1);

    pub(super) fn base() -> u64 {
        static WORDS: OnceLock<u64> = OnceLock::new();
        *WORDS.get_or_init(|| {
            let words: Vec<u64> = std::vec![0; usize::try_from((FRAMES + 1) * FRAME_BYTES / 8).unwrap()];
            END.store(FRAMES * FRAME_BYTES, Relaxed);
            (std::boxed::Box::leak(words.into_boxed_slice()).as_mut_ptr().expose_provenance() as u64)
                .next_multiple_of(FRAME_BYTES)
        })
    }

    /// A run of frames that no other test has.
    pub fn run(frames: usize) -> Option<u64> {
        // So that the end of RAM is known before anything is read there.
        base();
        let first = NEXT.fetch_add(frames as u64, Relaxed);
        (first + frames as u64 <= FRAMES).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a core that enters and, for a moment, takes from the others what they read.
    #[test]
    fn ram_never_becomes_less() {
        // SAFETY: the frame is this test's alone.
        let frame = unsafe { Frame::claim(arena::run(1).unwrap()) };
        // SAFETY: the arena reaches further than that.
        unsafe { reaches(FRAME_BYTES) };
        assert_eq!(read(frame.pa()), Some(0));
    }

    /// Would catch an address of the guest's choosing that reaches beyond RAM, or a torn word.
    #[test]
    fn nothing_beyond_ram_or_across_a_word_is_read() {
        let pfn = arena::run(1).unwrap();
        // SAFETY: the frame is this test's alone.
        let frame = unsafe { Frame::claim(pfn) };
        frame.set(1, 0x1122_3344_5566_7788);
        assert_eq!(read(frame.pa() + 8), Some(0x1122_3344_5566_7788));
        assert_eq!(read(frame.pa() + 4), None);
        let end = arena::FRAMES * FRAME_BYTES;
        assert_eq!((read(end - 8).is_some(), read(end), read(u64::MAX - 7)), (true, None, None));
        let mut bytes = [0; 8];
        assert!(copy_out(frame.pa() + 9, &mut bytes));
        assert_eq!(bytes[0], 0x77);
        assert!(!copy_out(end - 4, &mut bytes));
    }
}
