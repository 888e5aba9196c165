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
    bank_target: u64,
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
            bank_target: plan.bank_target,
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
