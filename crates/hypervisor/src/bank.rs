//! Memory of root: the blocks that the module handed over, hidden from Linux, and the reserve that is made of them.
//!
//! **Holds always**
//! - B1: every frame of a block is hidden from Linux before root counts it as its own.
//! - B2: each frame has one use: the image and the cores (`used` by the module), tables of root, or the reserve.
//!
//! **Callers**: root, any core. `BLOCKS` is locked by nobody who waits for another core to halt.
#![expect(unsafe_code, reason = "makes frames of the numbers that the module handed over")]

use crate::arch::x86::direct::{self, Frame};
use crate::arch::{FRAMES_PER_CORE, Frames, Machine, NoFrame};
use crate::root::{OUT, ROOT};
use abi::boot::{BLOCK_ORDER_MAX, BLOCK_ORDER_MIN, BLOCKS_MAX, Block, Boot, CORES_MAX, FRAME_BYTES, block_overhead};
use abi::code;
use abi::kind::Kind;
use abi::request::{Ledger, LedgerRow, PreallocAnswer};
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use reserve::{KindPlan, Plan, Refusal, Shape, Slot};
use spin::{Mutex, Once};

type Reserve = reserve::Reserve<'static, { Kind::COUNT }>;

/// What one unit of each kind is made of, on a machine with two nested views (no execute-only pages): a split table for
/// each view, a shadow page where code and data part, and the descriptors beside them. By number of the kind.
const SHAPES: [Shape; Kind::COUNT] = [
    Shape { frames: 1, bytes: 256 },
    Shape { frames: 5, bytes: 0 },
    Shape { frames: 3, bytes: 256 },
    Shape { frames: 3, bytes: 512 },
    Shape { frames: 2, bytes: 512 },
    Shape { frames: 21, bytes: 512 },
    Shape { frames: 1, bytes: 0 },
    Shape { frames: 20, bytes: 0 },
];
/// At most this share of RAM for one kind, in 1024ths: half.
const RAM_1024THS: u32 = 512;

struct Blocks {
    all: [Block; BLOCKS_MAX],
    count: usize,
}

static BLOCKS: Mutex<Blocks> = Mutex::new(Blocks { all: [Block { pfn: 0, order: 0, used: 0 }; BLOCKS_MAX], count: 0 });
static SLOTS: [Slot<'static>; BLOCKS_MAX] = [const { Slot::new() }; BLOCKS_MAX];
static RESERVE: Once<Reserve> = Once::new();
/// Requests of each kind that were told how many frames are missing and may come again: no refusals yet.
static ASKED: [AtomicU64; Kind::COUNT] = [const { AtomicU64::new(0) }; Kind::COUNT];
static CORE_FRAMES: [AtomicU64; CORES_MAX] = [const { AtomicU64::new(0) }; CORES_MAX];

impl Blocks {
    fn all(&mut self) -> &mut [Block] {
        let count = self.count;
        self.all.get_mut(..count).unwrap_or_default()
    }

    /// A run of frames for root itself.
    fn run(&mut self, frames: usize) -> Option<u64> {
        self.all().iter_mut().find_map(|block| take(block, frames))
    }
}

fn take(block: &mut Block, frames: usize) -> Option<u64> {
    let used = block.used.checked_add(u32::try_from(frames).ok()?).filter(|used| *used <= 1 << block.order)?;
    let pfn = block.pfn + u64::from(block.used);
    block.used = used;
    Some(pfn)
}

/// Takes over what the boot page says and builds what the cores share.
///
/// # Errors
/// [`NoFrame`]: the blocks are too few, too small, or not what they should be.
pub fn prepare<M: Machine>(boot: &Boot) -> Result<(), NoFrame> {
    let mut blocks = BLOCKS.lock();
    let blocks = &mut *blocks;
    blocks.count = usize::try_from(boot.blocks).ok().filter(|count| *count <= BLOCKS_MAX).ok_or(NoFrame)?;
    read_table(boot.blocks_pa, blocks.all())?;
    M::prepare(&mut |n| blocks.run(n))?;
    let reserve = new_reserve(boot.ram_frames)?;
    for i in 0..blocks.count {
        let block = blocks.all[i];
        M::hide(block, &mut |n| blocks.run(n))?;
        add_table(reserve, block.order, &mut |n| blocks.run(n))?;
    }
    for core in CORE_FRAMES.iter().take(usize::try_from(boot.cores).unwrap_or(0)) {
        core.store(blocks.run(FRAMES_PER_CORE).ok_or(NoFrame)?, SeqCst);
    }
    for block in blocks.all() {
        reserve.donate(kept(*block)).map_err(|_| NoFrame)?;
    }
    Ok(())
}

fn read_table(mut at: u64, blocks: &mut [Block]) -> Result<(), NoFrame> {
    for block in blocks {
        let (pfn, rest) = direct::read(at).zip(direct::read(at + 8)).ok_or(NoFrame)?;
        #[expect(clippy::cast_possible_truncation, reason = "two halves of one word")]
        let (order, used) = (rest as u32, (rest >> 32) as u32);
        *block = Block { pfn, order, used };
        if !plausible(block) {
            return Err(NoFrame);
        }
        at += size_of::<Block>() as u64;
    }
    Ok(())
}

fn plausible(block: &Block) -> bool {
    (BLOCK_ORDER_MIN..=BLOCK_ORDER_MAX).contains(&block.order)
        && block.pfn.is_multiple_of(1 << block.order)
        && block.used <= 1 << block.order
        && block.pfn < 1 << 40
        && direct::read((block.pfn + (1 << block.order)) * FRAME_BYTES - 8).is_some()
}

fn new_reserve(ram_frames: u64) -> Result<&'static Reserve, NoFrame> {
    let kinds = SHAPES.map(|shape| KindPlan { shape, low: 0, target: 0, high: 0, ram_1024ths: RAM_1024THS });
    RESERVE.try_call_once(|| Reserve::new(&Plan { kinds, ram_frames, bank_target: 0 }, &SLOTS).map_err(|_| NoFrame))
}

/// Every block is kept: the words that count its units lie in blocks, too.
fn kept(block: Block) -> reserve::Block {
    reserve::Block { pfn: block.pfn, order: block.order, used: block.used, keep: true }
}

/// The words that count what is in one block of this order.
fn add_table(reserve: &Reserve, order: u32, frames: &mut Frames) -> Result<(), NoFrame> {
    let words = reserve::table_words(order);
    let first = frames(words.div_ceil(512)).ok_or(NoFrame)?;
    // SAFETY: the run was taken out of a block of root's for this alone (B2), and is never given back.
    reserve.add_table(unsafe { direct::claim_words(first, words) }).map_err(|_| NoFrame)
}

/// The frames that a core needs for itself: the same each time it enters.
pub fn core_frames(core: u32) -> Option<[Frame; FRAMES_PER_CORE]> {
    let first = CORE_FRAMES.get(usize::try_from(core).ok()?)?.load(SeqCst);
    // SAFETY: `prepare` took this run out of the blocks for this core alone (F2), hidden and mapped (F1); a core that
    // enters again has dropped its old names when it left.
    (first != 0).then(|| core::array::from_fn(|i| unsafe { Frame::claim(first + i as u64) }))
}

/// A core has left: its record says so, and the last one gives the UART back.
pub fn core_leaves(core: u32) {
    ROOT.core(core).state.store(OUT, SeqCst);
    crate::line::core_left();
}

/// Whether a frame is root's.
pub fn owns(pfn: u64) -> bool {
    BLOCKS.lock().all().iter().any(|block| (block.pfn..block.pfn + (1 << block.order)).contains(&pfn))
}

/// Accepts one block from Linux.
///
/// # Errors
/// A code; then the block is Linux' as before.
pub fn accept<M: Machine>(core: u32, block: Block) -> Result<(), u32> {
    let reserve = RESERVE.get().ok_or(code::NOT_LOADED)?;
    let mut blocks = BLOCKS.lock();
    let blocks = &mut *blocks;
    let overlaps = |other: &Block| block.pfn < other.pfn + (1 << other.order) && other.pfn < block.pfn + (1 << block.order);
    if block.used != 0 || !plausible(&block) || blocks.all().iter().any(overlaps) || blocks.count == BLOCKS_MAX {
        return Err(code::REQUEST_MALFORMED);
    }
    let mut mine = block;
    M::hide(block, &mut |n| take(&mut mine, n)).map_err(|NoFrame| code::BOOT_MEMORY)?;
    if !ROOT.flush_all(core) {
        M::show(block);
        return Err(code::CORE_SILENT);
    }
    // Only from here nobody but root can write there.
    add_table(reserve, block.order, &mut |n| take(&mut mine, n)).map_err(|NoFrame| code::BOOT_MEMORY)?;
    debug_assert!(u64::from(mine.used) <= block_overhead(mine.order), "what the module reckoned with");
    blocks.all[blocks.count] = mine;
    blocks.count += 1;
    reserve.donate(kept(mine)).map_err(|_| code::BOOT_MEMORY)
}

/// What came of a request.
pub struct Outcome {
    /// One of [`abi::code`].
    pub code: u32,
    /// The numbers, whatever the code.
    pub answer: PreallocAnswer,
    /// In runs of how many frames the bank is short.
    pub run: u64,
}

/// `prealloc`: all of it or nothing. With `last`, a short bank is final: Linux has been asked already.
pub fn prealloc(kind: u32, count: u64, last: bool) -> Outcome {
    let mut outcome = change(kind, count, |reserve, kind| reserve.prealloc(kind, count));
    if outcome.code == code::BANK_SHORT {
        if last {
            outcome.code = code::KERNEL_OUT_OF_MEMORY;
        } else if let Some(kind) = Kind::from_number(kind) {
            ASKED[kind.index()].fetch_add(1, SeqCst);
        }
    }
    outcome
}

/// Linux could not give what the last request of this kind was short of: it is a refusal after all.
pub fn count_refusal(kind: Kind) {
    ASKED[kind.index()].fetch_sub(1, SeqCst);
}

/// `prealloc release`: all of it or nothing.
pub fn release(kind: u32, count: u64) -> Outcome {
    change(kind, count, |reserve, kind| reserve.release(kind, count))
}

fn change(kind: u32, count: u64, change: impl FnOnce(&Reserve, usize) -> Result<(), Refusal>) -> Outcome {
    let answer = PreallocAnswer { kind, asked: count, ..PreallocAnswer::default() };
    let mut outcome = Outcome { code: code::PREALLOC_TYPE_UNKNOWN, answer, run: 1 };
    let (Some(kind), Some(reserve)) = (Kind::from_number(kind), RESERVE.get()) else { return outcome };
    let result = change(reserve, kind.index());
    let ledger = reserve.ledger();
    let row = ledger.kinds[kind.index()];
    let answer = &mut outcome.answer;
    answer.free = row.free;
    answer.reserved = row.reserved;
    answer.bank_free = ledger.frames_bank;
    answer.most = reserve.possible(kind.index()).unwrap_or(0);
    outcome.code = match result {
        Ok(()) => code::SUCCESS,
        Err(Refusal::Zero { .. }) => code::COUNT_ZERO,
        Err(Refusal::UnknownKind { .. }) => code::PREALLOC_TYPE_UNKNOWN,
        Err(Refusal::TooMany { most, .. } | Refusal::Short { free: most, .. }) => {
            answer.most = most;
            code::COUNT_TOO_LARGE
        }
        Err(Refusal::BankShort { frames_short, run_frames, .. }) => {
            answer.short = frames_short;
            outcome.run = run_frames.into();
            code::BANK_SHORT
        }
        Err(Refusal::Injected { .. }) => code::KERNEL_OUT_OF_MEMORY,
    };
    outcome
}

/// The ledger.
pub fn ledger() -> Ledger {
    let Some(reserve) = RESERVE.get() else { return Ledger::default() };
    let from = reserve.ledger();
    let shown = |(row, asked): (&reserve::Row, &AtomicU64)| LedgerRow {
        unit_bytes: row.unit_bytes,
        reserved: row.reserved,
        free: row.free,
        used: row.used,
        high_water: row.high_water,
        refused: row.refused.saturating_sub(asked.load(SeqCst)),
    };
    let mut kinds = [LedgerRow::default(); Kind::COUNT];
    for (to, from) in kinds.iter_mut().zip(from.kinds.iter().zip(&ASKED).map(shown)) {
        *to = from;
    }
    Ledger {
        kinds,
        frames: from.frames,
        frames_root: from.frames_embedder,
        frames_free: from.frames_bank,
        frames_kinds: from.frames_kinds,
    }
}
