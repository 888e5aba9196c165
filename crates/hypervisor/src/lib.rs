//! The hypervisor: safe decisions above, the architecture floor below.
//!
//! A core comes in through [`entry`], lives in `life` until it leaves, and halts in `halt`. `serve` answers the prompt,
//! `hypercall` the module; `bank` knows whose memory is whose, `pools` what it is reserved for; `words` are the last ones. [`arch`] alone says what a
//! processor is. Nothing here allocates, and every loop that waits has an end or is a halt.
#![no_std]

pub mod arch;
mod decode;
pub mod entry;
pub mod limits;
pub mod pools;
pub mod words;

mod accesses;
mod attend;
mod bank;
mod clock;
mod custom;
mod delivered;
mod detoured;
mod detours;
mod evaluate;
mod globals;
mod halt;
mod hits;
mod holders;
mod hooked;
mod hooks;
mod hypercall;
mod isolated;
mod life;
mod line;
mod memory;
mod messages;
mod monitored;
mod monitors;
mod moves;
mod notes;
mod places;
mod ports;
mod reach;
mod root;
mod scripts;
mod serve;
mod simple;
mod special;
mod steps;
#[cfg(test)]
mod storms;
mod strides;
mod strings;
mod tasks;
mod threads;
mod visible;
mod walk;
mod watch;
