//! Bytecode of scripts: its verifier and its interpreter, without an allocation and without a panic.
//!
//! The same code runs in root and, under test, on the host. A program is words ([`program`]) of 8-byte instructions
//! ([`op`]) for a register machine; [`verify()`] says once whether they are one, [`run()`] runs them against a
//! [`Machine`], which is all that a script can see and touch. The embedder brings all memory.
//!
//! | file | idea |
//! |---|---|
//! | `op` | the instructions and what their fields are |
//! | `program` | the layout of a program |
//! | `verify` | which words are a program |
//! | `run` | the interpreter |
//! | `guard` | the condition that a program begins with, asked without a run |
//! | `world` | addresses: the script's own memory, and the guest's |
//! | `functions`, `system` | the documented functions |
//! | `format` | numbers as text |
//! | `arith` | shifts, divisions, floats, as the language defines them |
//! | `machine` | the trait |
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod arith;
mod fault;
mod format;
mod functions;
mod guard;
pub mod limits;
mod machine;
pub mod op;
pub mod program;
mod run;
pub mod system;
mod verify;
mod world;

pub use fault::{Fault, FaultKind};
pub use format::Spec;
pub use guard::Guard;
pub use machine::{BadAddress, Control, Interlocked, Label, Machine, Pseudo, Refused, Size, Space, Special};
pub use program::{Areas, Layout, Program};
pub use run::{Scratch, run};
pub use verify::{Limits, Rejected, verify};
pub use world::{BUFFER, DATA, GLOBALS, NAMES, TEXT};
