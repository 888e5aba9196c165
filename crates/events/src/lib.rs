//! The table of events: registered on one ticket, fired on any core, given back when nobody is inside.
//!
//! An event waits for something that the guest does (an instruction). [`Table::add`] takes its units from
//! the reserve, all or none, and publishes it; [`Table::fire`] asks every event of a kind whether it is meant, and runs its
//! program; [`Table::change`] enables, disables and clears. All of them take `&self`, on every core at once, and none of
//! them waits: what cannot be done now, because a core is inside an event, [`Table::settle`] does when it has left.
//!
//! | file | idea |
//! |---|---|
//! | `limits` | every maximum |
//! | `memory` | the trait of the frames that programs and buffers lie in |
//! | `slot` | one event: its words, and the phases of its life |
//! | `guard` | the condition that a program begins with, as two words |
//! | `table` | all slots: what there is, enable and disable |
//! | `code` | machine code of events: where it lies, and when it runs |
//! | `add` | what is registered, and every refusal |
//! | `fire` | who is asked, in which order, and what comes of it |
//! | `settle` | chains, and giving back |
//!
//! **Holds always**
//! - E1: an event is in one phase: `FREE → TAKEN → READY → LIVE → DYING → GONE → FREE`. One word, the *gate*, says which, and
//!   whether it is enabled; whoever exchanges it has made the step.
//! - E2: an event that is not free holds its units; one that is free holds none. A registration that fails leaves every
//!   count as it found it.
//! - E3: a core inside [`Table::fire`] shows that by its mark. Units of an event, and its slot, are used anew only when no
//!   mark is older than the moment in which the event was taken off its chain (`settle`).
//! - E4: the frames of a program are written before its event is published, and not again before E3 allows it.
//! - E5: an event that fires was on its chain with all its words written. One that is enabled throughout a [`Table::fire`]
//!   of its kind is asked exactly once, and after all that were registered before it.
#![no_std]
#![forbid(unsafe_code)]

mod add;
mod code;
mod fire;
mod guard;
pub mod limits;
mod memory;
mod settle;
mod slot;
mod table;

pub use add::{Added, More, NotAdded, rejected_number};
pub use code::{Code, CodeFault, Part, staged_words};
pub use fire::{Ended, Form, Here, Misses, Quick, Rest, Running, Verdict, fault_number};
pub use memory::{Buffer, Memory};
pub use table::{Mark, Table};

/// The reserve of root: its kinds are those of [`abi::kind`].
pub type Reserve<'m> = reserve::Reserve<'m, { abi::kind::Kind::COUNT }>;
