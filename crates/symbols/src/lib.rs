//! Names and types of the debugged kernel: read from text, from files, or out of the kernel's own memory.
//!
//! | file | idea |
//! |---|---|
//! | `table` | names by address and addresses by name, of the kernel and of its modules |
//! | `text` | lines of `/proc/kallsyms` and System.map; of `/proc/modules` |
//! | `packed` | the kernel's own table of names, as it lies in its memory |
//! | `elf` | names in a vmlinux, a module, or their debug files |
//! | `note` | what the kernel tells of itself for who reads its memory |
//! | `btf`, `layout` | types: as the kernel describes them, and where members lie |
//! | `unwind` | who called whom, by the kernel's own table |
//! | `tasks` | processes and threads, by the kernel's lists |
//! | `frames`, `export` | that table, and all names, as other debuggers read them |
//! | `pattern` | `*` and `?` |
//!
//! **Holds always**
//! - L1: any bytes are taken or refused; nothing panics, and what is kept is bounded by [`limits`].
//! - L2: a name that is told for an address lies in the same piece (kernel or module) as the address.
//! - L3: of an ambiguous name all addresses are told, never one of them.
#![forbid(unsafe_code)]

pub mod btf;
pub mod elf;
pub mod export;
mod frames;
pub mod layout;
pub mod limits;
pub mod note;
pub mod packed;
mod pattern;
mod table;
pub mod tasks;
pub mod text;
pub mod unwind;

pub use pattern::Pattern;
pub use table::{Builder, HIGH_HALF, KERNEL, Module, Near, Symbol, Table};

/// Why something is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// There is no name in it.
    Empty,
    /// Every address is zero: the system hides them from this user.
    Hidden,
    /// This line, from 1, is none of a table of names.
    Line(usize),
    /// More than so many.
    TooMany(usize),
    /// It ends too early or points outside of itself: this part of it.
    Cut(&'static str),
    /// It is of a kind or a version that is not read here.
    Unknown,
}
