//! Memory of root: the blocks that the module handed over, hidden from Linux, and the reserve that is made of them.
//!
//! A block in which something of root's own lies (an image, a table) is kept until root leaves. A whole one of 2 MiB in
//! which nothing does can go back to Linux when the bank does not need it ([`reclaim`]); so the tables that describe such
//! blocks lie together in one of them that is kept.
//!
//! **Holds always**
//! - B1: every frame of a block is hidden from Linux before root counts it as its own, and counted no more before it is shown.
//! - B2: each frame has one use: the image and the cores (`used` by the module), tables of root, or the reserve.
//!
//! - B3: who has `BLOCKS` locked may wait for other cores to flush; so who waits for the lock acknowledges flushes meanwhile
//!   ([`lock`]), and nobody who has it waits for a halt.
//!
//! **Callers**: root, any core.
#![expect(unsafe_code, reason = "makes frames of the numbers that the module handed over")]

use crate::arch::x86::{
    self,
    direct::{self, Frame},
    window,
};
use crate::arch::{FRAMES_PER_CORE, Frames, Machine, NoFrame};
use crate::pools;
use crate::root::{OUT, ROOT};
use abi::boot::{BLOCK_ORDER_MAX, BLOCK_ORDER_MIN, BLOCKS_MAX, Block, Boot, CORES_MAX, FRAME_BYTES, block_overhead};
use abi::code;
use abi::kind::Kind;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use reserve::{Plan, Slot};
use spin::{Mutex, MutexGuard, Once};

/// The reserve, with a shelf for each kind.
pub type Reserve = reserve::Reserve<'static, { Kind::COUNT }>;

/// Blocks of 2 MiB whose tables one of them carries, at most: those that come with it, but at least so many as
/// [`TABLES_AHEAD`], so that blocks that come later one by one can go again.
const TABLES_TOGETHER: usize = 60;
const TABLES_AHEAD: usize = 8;
const _: () = assert!(
    (TABLES_TOGETHER * reserve::table_words(BLOCK_ORDER_MAX)).div_ceil(512) + 2 <= 1 << BLOCK_ORDER_MAX,
    "they fit beside what hides the block"
);

struct Blocks {
    all: [Block; BLOCKS_MAX],
    count: usize,
}

static BLOCKS: Mutex<Blocks> = Mutex::new(Blocks { all: [Block { pfn: 0, order: 0, used: 0 }; BLOCKS_MAX], count: 0 });
static SLOTS: [Slot<'static>; BLOCKS_MAX] = [const { Slot::new() }; BLOCKS_MAX];
static RESERVE: Once<Reserve> = Once::new();
/// The last core has left, and looked whether the ledger balances.
static CLOSED: AtomicBool = AtomicBool::new(false);
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
    window::prepare(boot.root_cr3, &mut |n| blocks.run(n))?;
    let reserve = new_reserve(boot.ram_frames)?;
    for i in 0..blocks.count {
        let block = blocks.all[i];
        M::hide(block, &mut |n| blocks.run(n))?;
        add_tables(reserve, block.order, 1, &mut |n| blocks.run(n))?;
    }
    for core in CORE_FRAMES.iter().take(usize::try_from(boot.cores).unwrap_or(0)) {
        core.store(blocks.run(FRAMES_PER_CORE).ok_or(NoFrame)?, SeqCst);
    }
    for block in blocks.all() {
        reserve.donate(counted(*block, true)).map_err(|_| NoFrame)?;
    }
    reserve.open();
    Ok(())
}

/// The reserve, once there is one.
pub fn reserve() -> Option<&'static Reserve> {
    RESERVE.get()
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
    let plan = Plan { kinds: pools::PLANS, ram_frames, bank_target: 0 };
    RESERVE.try_call_once(|| Reserve::new(&plan, &SLOTS).map_err(|_| NoFrame))
}

fn counted(block: Block, keep: bool) -> reserve::Block {
    reserve::Block { pfn: block.pfn, order: block.order, used: block.used, keep }
}

/// The words that count what is in so many blocks of this order.
fn add_tables(reserve: &Reserve, order: u32, many: usize, frames: &mut Frames) -> Result<(), NoFrame> {
    let words = reserve::table_words(order);
    let first = frames((many * words).div_ceil(512)).ok_or(NoFrame)?;
    // SAFETY: the run was taken out of a block of root's for this alone (B2), and that block is kept.
    let words_of_all = unsafe { direct::claim_words(first, many * words) };
    words_of_all.chunks_exact(words).try_for_each(|words| reserve.add_table(words).map_err(|_| NoFrame))
}

/// The frames that a core needs for itself: the same each time it enters.
pub fn core_frames(core: u32) -> Option<[Frame; FRAMES_PER_CORE]> {
    CLOSED.store(false, SeqCst);
    let first = CORE_FRAMES.get(usize::try_from(core).ok()?)?.load(SeqCst);
    // SAFETY: `prepare` took this run out of the blocks for this core alone (F2), hidden and mapped (F1); a core that
    // enters again has dropped its old names when it left.
    (first != 0).then(|| core::array::from_fn(|i| unsafe { Frame::claim(first + i as u64) }))
}

/// A core has left: its record says so, and the last one gives the UART back and looks whether the ledger balances. A code.
pub fn core_leaves(core: u32) -> u32 {
    ROOT.core(core).state.store(OUT, SeqCst);
    crate::line::core_left();
    // Two that leave at once may both find nobody else in: one of them is the last.
    let last = ROOT.cores_in().next().is_none() && !CLOSED.swap(true, SeqCst);
    if last { pools::close() } else { code::SUCCESS }
}

/// The blocks, for this core alone (B3).
fn lock(core: u32) -> MutexGuard<'static, Blocks> {
    loop {
        if let Some(blocks) = BLOCKS.try_lock() {
            return blocks;
        }
        ROOT.acknowledge_flush(core);
        x86::relax();
    }
}

/// Whether a frame is root's.
pub fn owns(core: u32, pfn: u64) -> bool {
    lock(core).all().iter().any(|block| (block.pfn..block.pfn + (1 << block.order)).contains(&pfn))
}

/// Accepts one block from Linux; `more` of its size come in the same call.
///
/// # Errors
/// A code; then the block is Linux' as before.
pub fn accept<M: Machine>(core: u32, block: Block, more: usize) -> Result<(), u32> {
    let reserve = RESERVE.get().ok_or(code::NOT_LOADED)?;
    let mut blocks = lock(core);
    let blocks = &mut *blocks;
    let overlaps = |other: &Block| block.pfn < other.pfn + (1 << other.order) && other.pfn < block.pfn + (1 << block.order);
    if block.used != 0 || !plausible(&block) || blocks.all().iter().any(overlaps) || blocks.count == BLOCKS_MAX {
        return Err(code::REQUEST_MALFORMED);
    }
    let mut mine = block;
    M::hide(block, &mut |n| take(&mut mine, n)).map_err(|NoFrame| code::BOOT_MEMORY)?;
    // What is refused must be Linux' again, on every core, before it hears of that.
    let refuse = |code| {
        M::show(block);
        let _silent_cores_still_see_zeros = ROOT.flush_all(core);
        Err(code)
    };
    if !ROOT.flush_all(core) {
        return refuse(code::CORE_SILENT);
    }
    // Only from here nobody but root can write there.
    if !reserve.has_vacant_table(block.order) {
        let many = if block.order == BLOCK_ORDER_MAX { (1 + more).clamp(TABLES_AHEAD, TABLES_TOGETHER) } else { 1 };
        // Of tables that were added none goes again, so the block would be root's: it is all of them or none.
        let frames = (many * reserve::table_words(block.order)).div_ceil(512);
        if u64::from(mine.used) + frames as u64 > 1 << mine.order || reserve.vacant_slots() < many {
            return refuse(code::BOOT_MEMORY);
        }
        add_tables(reserve, block.order, many, &mut |n| take(&mut mine, n)).map_err(|NoFrame| code::BOOT_MEMORY)?;
        debug_assert!(many > 1 || u64::from(mine.used) <= block_overhead(mine.order), "what the module reckoned with");
    }
    blocks.all[blocks.count] = mine;
    blocks.count += 1;
    let keep = mine.used > 0 || mine.order < BLOCK_ORDER_MAX;
    reserve.donate(counted(mine, keep)).map_err(|_| code::BOOT_MEMORY)
}

/// Gives Linux a block back that the bank can spare, if there is one.
pub fn reclaim<M: Machine>(core: u32) -> Option<Block> {
    let reserve = RESERVE.get()?;
    let mut blocks = lock(core);
    let blocks = &mut *blocks;
    let spared = reserve.reclaim()?;
    let at = blocks.all().iter().position(|block| block.pfn == spared.pfn)?;
    let block = blocks.all[at];
    M::show(block);
    if !ROOT.flush_all(core) {
        // A core may still see zeros there, so it stays root's.
        let hidden = M::hide(block, &mut |_| None);
        debug_assert!(hidden.is_ok(), "what was hidden before needs no table");
        let _told_by_the_audit = reserve.donate(counted(block, false));
        return None;
    }
    blocks.count -= 1;
    blocks.all[at] = blocks.all[blocks.count];
    Some(block)
}
