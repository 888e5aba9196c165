//! Memory of root: the blocks that the module handed over, and what of them is promised to whom.
//!
//! B1: every frame of a block is hidden from Linux before root counts it as its own.
#![expect(unsafe_code, reason = "makes frames of the numbers that the module handed over")]

use crate::arch::x86::direct::{self, Frame};
use crate::arch::{FRAMES_PER_CORE, Machine, NoFrame};
use crate::root::{OUT, ROOT};
use abi::boot::{BLOCK_ORDER_MAX, BLOCK_ORDER_MIN, BLOCKS_MAX, Block, Boot, CORES_MAX, FRAME_BYTES};
use abi::code;
use abi::kind::Kind;
use abi::request::{Ledger, LedgerRow, PreallocAnswer};
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use spin::Mutex;

/// Frames and bytes beside them that one unit of each kind takes on a machine with two nested views.
const UNIT_FRAMES: [u64; Kind::COUNT] = [1, 5, 3, 3, 3, 21, 1, 20];

struct Bank {
    blocks: [Block; BLOCKS_MAX],
    count: usize,
    free: u64,
    root: u64,
    reserved: [u64; Kind::COUNT],
    refused: [u64; Kind::COUNT],
}

static BANK: Mutex<Bank> = Mutex::new(Bank {
    blocks: [Block { pfn: 0, order: 0, used: 0 }; BLOCKS_MAX],
    count: 0,
    free: 0,
    root: 0,
    reserved: [0; Kind::COUNT],
    refused: [0; Kind::COUNT],
});
static CORE_FRAMES: [AtomicU64; CORES_MAX] = [const { AtomicU64::new(0) }; CORES_MAX];

impl Bank {
    fn all(&mut self) -> &mut [Block] {
        let count = self.count;
        self.blocks.get_mut(..count).unwrap_or_default()
    }

    fn run(&mut self, frames: usize) -> Option<u64> {
        let frames = u32::try_from(frames).ok()?;
        let block = self.all().iter_mut().find(|block| (1 << block.order) - block.used >= frames)?;
        let pfn = block.pfn + u64::from(block.used);
        block.used += frames;
        Some(pfn)
    }
}

/// Takes over what the boot page says and builds what the cores share.
///
/// # Errors
/// [`NoFrame`]: the blocks are too few, too small, or not what they should be.
pub fn prepare<M: Machine>(boot: &Boot) -> Result<(), NoFrame> {
    let mut bank = BANK.lock();
    let bank = &mut *bank;
    bank.count = usize::try_from(boot.blocks).ok().filter(|count| *count <= BLOCKS_MAX).ok_or(NoFrame)?;
    let mut at = boot.blocks_pa;
    for block in bank.all() {
        let pfn = direct::read(at).ok_or(NoFrame)?;
        let rest = direct::read(at + 8).ok_or(NoFrame)?;
        #[expect(clippy::cast_possible_truncation, reason = "two halves of one word")]
        let (order, used) = (rest as u32, (rest >> 32) as u32);
        *block = Block { pfn, order, used };
        at += size_of::<Block>() as u64;
    }
    M::prepare(&mut |n| bank.run(n))?;
    for i in 0..bank.count {
        let block = bank.blocks[i];
        if !plausible(&block) {
            return Err(NoFrame);
        }
        M::hide(block, &mut |n| bank.run(n))?;
    }
    for core in CORE_FRAMES.iter().take(usize::try_from(boot.cores).unwrap_or(0)) {
        core.store(bank.run(FRAMES_PER_CORE).ok_or(NoFrame)?, SeqCst);
    }
    bank.root = bank.all().iter().map(|block| u64::from(block.used)).sum();
    bank.free = bank.all().iter().map(|block| (1 << block.order) - u64::from(block.used)).sum();
    Ok(())
}

fn plausible(block: &Block) -> bool {
    (BLOCK_ORDER_MIN..=BLOCK_ORDER_MAX).contains(&block.order)
        && block.pfn.is_multiple_of(1 << block.order)
        && block.used <= 1 << block.order
        && direct::read((block.pfn + (1 << block.order)) * FRAME_BYTES - 8).is_some()
}

/// The frames that a core needs for itself: the same each time it enters.
pub fn core_frames(core: u32) -> Option<[Frame; FRAMES_PER_CORE]> {
    let first = CORE_FRAMES.get(usize::try_from(core).ok()?)?.load(SeqCst);
    // SAFETY: `prepare` took this run out of the bank for this core alone (F2), hidden and mapped (F1); a core that enters
    // again has dropped its old names when it left.
    (first != 0).then(|| core::array::from_fn(|i| unsafe { Frame::claim(first + i as u64) }))
}

/// A core has left: its record says so, and the last one gives the UART back.
pub fn core_leaves(core: u32) {
    ROOT.core(core).state.store(OUT, SeqCst);
    crate::line::core_left();
}

/// Accepts one block from Linux.
///
/// # Errors
/// A code; then the block is Linux' as before.
pub fn accept<M: Machine>(core: u32, block: Block) -> Result<(), u32> {
    let mut bank = BANK.lock();
    let bank = &mut *bank;
    let overlaps = |other: &Block| block.pfn < other.pfn + (1 << other.order) && other.pfn < block.pfn + (1 << block.order);
    if block.used != 0 || !plausible(&block) || bank.all().iter().any(|other| overlaps(other)) || bank.count == BLOCKS_MAX {
        return Err(code::REQUEST_MALFORMED);
    }
    let mut mine = block;
    M::hide(block, &mut |n| {
        let pfn = mine.pfn + u64::from(mine.used);
        mine.used += u32::try_from(n).ok()?;
        Some(pfn)
    })
    .map_err(|NoFrame| code::BOOT_MEMORY)?;
    if !ROOT.flush_all(core) {
        M::show(block);
        return Err(code::CORE_SILENT);
    }
    bank.blocks[bank.count] = mine;
    bank.count += 1;
    bank.root += u64::from(mine.used);
    bank.free += (1 << mine.order) - u64::from(mine.used);
    Ok(())
}

/// Whether a frame is root's.
pub fn owns(pfn: u64) -> bool {
    BANK.lock().all().iter().any(|block| (block.pfn..block.pfn + (1 << block.order)).contains(&pfn))
}

/// Gives units back to the bank; as many as are free, at most.
pub fn release(kind: u32, count: u64) -> (u32, PreallocAnswer) {
    let mut bank = BANK.lock();
    let mut answer = PreallocAnswer { kind, asked: count, bank_free: bank.free, ..PreallocAnswer::default() };
    let Some(kind) = Kind::from_number(kind) else { return (code::PREALLOC_TYPE_UNKNOWN, answer) };
    answer.reserved = bank.reserved[kind.index()];
    answer.free = answer.reserved;
    answer.most = answer.reserved;
    if count == 0 || count > answer.free {
        return (if count == 0 { code::COUNT_ZERO } else { code::COUNT_TOO_LARGE }, answer);
    }
    bank.reserved[kind.index()] -= count;
    bank.free += count * UNIT_FRAMES[kind.index()];
    answer.reserved -= count;
    answer.free -= count;
    answer.bank_free = bank.free;
    (code::SUCCESS, answer)
}

/// `prealloc`: all of it or nothing. The code is in the first place.
pub fn prealloc(kind: u32, count: u64) -> (u32, PreallocAnswer) {
    let mut bank = BANK.lock();
    let mut answer = PreallocAnswer { kind, asked: count, bank_free: bank.free, ..PreallocAnswer::default() };
    let Some(kind) = Kind::from_number(kind) else { return (code::PREALLOC_TYPE_UNKNOWN, answer) };
    let unit = UNIT_FRAMES[kind.index()];
    let limit = ROOT.ram_frames.load(SeqCst) / 2;
    let committed: u64 = Kind::ALL.iter().map(|kind| bank.reserved[kind.index()] * UNIT_FRAMES[kind.index()]).sum();
    answer.reserved = bank.reserved[kind.index()];
    answer.free = answer.reserved;
    answer.most = limit.saturating_sub(committed) / unit;
    let refusal = if count == 0 {
        Some(code::COUNT_ZERO)
    } else if count > answer.most {
        Some(code::COUNT_TOO_LARGE)
    } else if count * unit > bank.free {
        answer.short = count * unit - bank.free;
        Some(code::BANK_SHORT)
    } else {
        None
    };
    if let Some(code) = refusal {
        bank.refused[kind.index()] += 1;
        return (code, answer);
    }
    bank.free -= count * unit;
    bank.reserved[kind.index()] += count;
    answer.reserved += count;
    answer.free += count;
    answer.bank_free = bank.free;
    (code::SUCCESS, answer)
}

/// The ledger.
pub fn ledger() -> Ledger {
    let bank = BANK.lock();
    let mut ledger = Ledger { frames_root: bank.root, frames_free: bank.free, ..Ledger::default() };
    for (i, row) in ledger.kinds.iter_mut().enumerate() {
        let reserved = bank.reserved[i];
        *row = LedgerRow {
            unit_bytes: UNIT_FRAMES[i] * FRAME_BYTES,
            reserved,
            free: reserved,
            refused: bank.refused[i],
            ..LedgerRow::default()
        };
        ledger.frames_kinds += reserved * UNIT_FRAMES[i];
    }
    ledger.frames = ledger.frames_root + ledger.frames_free + ledger.frames_kinds;
    ledger
}
