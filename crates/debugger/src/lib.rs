//! Everything between a typed line and root: the command table, one module for each command, and the sentences.
//!
//! A [`session::Session`] takes lines and prints answers. It knows no terminal (that is `cli`) and no vendor (that is
//! root): it parses, asks its [`target::Target`], and says what came of it. Each command's manual is the doc comment of
//! its own file in `src/commands/`, and every example in it is run by a test.
//!
//! **Holds always**
//! - D1: sentences are made in [`say`] and in the commands' reports, nowhere else; errors are fields until then.
//! - D2: a parsing error is reported whether there is a target or not.
//! - D3: no input panics (`tests/any_input.rs`).

pub mod answer;
mod assemble;
mod book;
mod code;
pub mod commands;
pub mod complete;
mod console;
pub mod cost;
mod disassembly;
pub mod error;
pub mod event;
pub mod expr;
pub mod foreign;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod gdb;
mod globals;
pub mod host;
mod ledger;
pub mod line;
pub mod manual;
pub mod memory;
pub mod moved;
pub mod names;
pub mod nearest;
pub mod news;
mod outputs;
mod plan;
pub mod program;
mod reader;
pub mod registers;
pub mod say;
pub mod session;
pub mod start;
mod state;
pub mod stop;
mod strides;
pub mod target;
mod threads;
mod value;
pub mod view;
mod watch;
mod wrap;
