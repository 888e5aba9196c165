//! Memory that code below a kernel may use: reserved before, counted always, given all or nothing.
//!
//! Code below a kernel (a hypervisor, a monitor) cannot allocate where it runs: the kernel may hold any lock when it is
//! interrupted. So whoever is above donates *blocks* of frames to a **bank**; `prealloc` makes *units* of *kinds* out of
//! them; and a command takes the units that it needs with one **ticket**, all or none, in O(1) each, on any core, in an
//! NMI too.
//!
//! The crate knows kinds by index, units, costs and frame *numbers*. It never touches a page, owns no memory and takes no
//! lock: its tables are slices of atomics that the embedder hands in.
//!
//! | file | idea |
//! |---|---|
//! | `plan` | what a unit is made of, and how many there shall be |
//! | `table`, `unit` | the words that describe blocks and units |
//! | `bank` | frames that no kind has yet |
//! | `lane`, `shelf` | free lists, and what is reserved of one kind |
//! | `supply` | units out of frames, and back: prealloc, release, refill, shrink, reclaim |
//! | `ticket` | all that a command needs, taken at once, spent or given back |
//! | `ledger` | the numbers, and the audit that proves them |
//!
//! # In another hypervisor
//! It has two kinds of its own, a block of 512 frames, and a command that needs a page table and two descriptors.
//! ```
//! use reserve::{Block, Core, Cost, KindPlan, Owner, Plan, Refusal, Reserve, Shape, Slot, table_words};
//! use std::sync::atomic::AtomicU64;
//!
//! const TABLE: usize = 0;
//! const DESCRIPTOR: usize = 1;
//!
//! // Room for the descriptions of one block, in memory that stays: here a static, elsewhere a kept block.
//! static SLOTS: [Slot<'static>; 1] = [const { Slot::new() }; 1];
//! static WORDS: [AtomicU64; table_words(9)] = [const { AtomicU64::new(0) }; table_words(9)];
//!
//! let table = KindPlan { shape: Shape { frames: 1, bytes: 0 }, low: 4, target: 8, high: 32, ram_1024ths: 64 };
//! let descriptor = KindPlan { shape: Shape { frames: 0, bytes: 1000 }, ..table };
//! let plan = Plan { kinds: [table, descriptor], ram_frames: 1 << 18, bank_target: 256 };
//! let reserve = Reserve::new(&plan, &SLOTS).unwrap();
//!
//! // What the kernel gives: frames 0x1000 to 0x11ff, of which the first two hold something of ours.
//! reserve.add_table(&WORDS).unwrap();
//! reserve.donate(Block { pfn: 0x1000, order: 9, used: 2, keep: false }).unwrap();
//! assert_eq!(reserve.refill().units, 16);
//!
//! // The cost first, all of it or nothing; then the command cannot run out half way.
//! let cost = Cost::NONE.and(TABLE, 1)?.and(DESCRIPTOR, 2)?;
//! let (this_core, this_hook) = (Core(0), Owner(7));
//! let mut ticket = reserve.reserve(this_core, &cost)?;
//! let page = ticket.spend(TABLE, this_hook).unwrap();
//! let note = ticket.spend(DESCRIPTOR, this_hook).unwrap();
//! drop(ticket); // the second descriptor was the worst case, and goes back
//! assert_eq!(reserve.extent(page).unwrap().frames, 1);
//! assert_eq!(reserve.ledger().kinds[DESCRIPTOR].used, 1);
//!
//! // A request that cannot be met says why, in numbers.
//! let no = reserve.prealloc(TABLE, 1000).unwrap_err();
//! assert!(matches!(no, Refusal::TooMany { asked: 1000, most: 504, .. }));
//!
//! // The hook is cleared: its units are free at once, and their handles are stale.
//! assert_eq!(reserve.give_all(this_core, this_hook), 2);
//! assert!(reserve.give(this_core, note).is_err());
//! reserve.audit().unwrap();
//! # Ok::<(), Refusal>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

mod bank;
mod interrupt;
mod lane;
mod ledger;
pub mod limits;
#[cfg(test)]
mod nmi_tests;
mod plan;
mod refusal;
mod shelf;
mod supply;
pub mod sync;
mod table;
mod ticket;
mod unit;

use core::array;
use sync::{AtomicBool, AtomicU64};

pub use bank::{BadBlock, Block};
#[cfg(loom)]
pub use interrupt::at as interrupt_at;
pub use ledger::{Census, Imbalance, Ledger, Row};
pub use limits::FRAME_BYTES;
pub use plan::{BadPlan, KindPlan, Plan, Shape, Slab};
pub use refusal::{Refusal, Stale};
pub use shelf::Core;
pub use supply::Refilled;
pub use table::{BadTable, Slot, table_words};
pub use ticket::{Cost, Owner, Ticket};
pub use unit::{Extent, Handle};

/// All there is: the bank and a shelf for each kind.
///
/// Every method takes `&self`, and any core may call any of them at any time.
pub struct Reserve<'m, const KINDS: usize> {
    tables: table::Tables<'m>,
    bank: bank::Bank,
    shelves: [shelf::Shelf; KINDS],
    ram_frames: u64,
    bank_target: AtomicU64,
    /// Somebody fills deficits.
    refilling: AtomicBool,
}

impl<'m, const KINDS: usize> Reserve<'m, KINDS> {
    /// An empty reserve that can hold as many blocks as there are slots. Next come [`Reserve::add_table`] and
    /// [`Reserve::donate`].
    ///
    /// # Errors
    /// [`BadPlan`]: the plan contradicts itself.
    pub fn new(plan: &Plan<KINDS>, slots: &'m [Slot<'m>]) -> Result<Self, BadPlan> {
        let slabs = plan.check(slots.len())?;
        // `check` has seen that a kind's index is a byte.
        let shelf = |kind: usize| shelf::Shelf::new(u8::try_from(kind).unwrap_or(u8::MAX), plan.kinds[kind], slabs[kind]);
        Ok(Reserve {
            tables: table::Tables::new(slots),
            bank: bank::Bank::default(),
            shelves: array::from_fn(shelf),
            ram_frames: plan.ram_frames,
            bank_target: AtomicU64::new(plan.bank_target),
            refilling: AtomicBool::new(false),
        })
    }

    /// Gives one slot its table: [`table_words`] words for the order of block that shall fit there, all zero. The memory
    /// must stay as long as the reserve does; it may lie in a block that is donated with `keep`.
    ///
    /// # Errors
    /// [`BadTable`]; the words are not used then.
    pub fn add_table(&self, words: &'m [AtomicU64]) -> Result<(), BadTable> {
        self.tables.add(words)
    }

    /// Takes a block into the bank.
    ///
    /// # Errors
    /// [`BadBlock`]; the block is the embedder's still.
    pub fn donate(&self, block: Block) -> Result<(), BadBlock> {
        self.bank.donate(&self.tables, block)
    }

    /// Whether a block of this order finds a table that was handed in for its size and describes no block: one more
    /// [`Reserve::add_table`] is not needed then. A table stays when its block goes, and serves the next.
    pub fn has_vacant_table(&self, order: u32) -> bool {
        self.tables.all().any(|(_, table)| table.order_most() == order && table.status() == table::Status::VACANT)
    }

    /// Slots that have no table yet: so many more can be added.
    pub fn vacant_slots(&self) -> usize {
        self.tables.slots() - self.tables.all().count()
    }

    /// Frames that the bank lacks: 0 while at least half of its target are there, else what is missing to the target.
    pub fn bank_deficit(&self) -> u64 {
        let (free, target) = (self.bank.free.load(sync::Ordering::SeqCst), self.bank_target.load(sync::Ordering::SeqCst));
        if free >= target / 2 { 0 } else { target - free }
    }

    /// Lets the `nth` request of a kind from now be refused with [`Refusal::Injected`], once; 0 calls it off. Requests
    /// are counted whether they take or prealloc. This is in every build: what the tests try is what runs, the command
    /// that tests a running machine needs it, and unarmed it costs one load of a line that is read anyway.
    ///
    /// # Errors
    /// [`Refusal::UnknownKind`].
    pub fn fail_nth(&self, kind: usize, nth: u32) -> Result<(), Refusal> {
        self.shelf(kind)?.fail_nth(nth);
        Ok(())
    }

    fn shelf(&self, kind: usize) -> Result<&shelf::Shelf, Refusal> {
        self.shelves.get(kind).ok_or(Refusal::UnknownKind { kind })
    }
}
