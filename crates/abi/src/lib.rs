//! What the prompt, the module and root say to each other.
//!
//! Every structure here crosses a border: prompt to root (over the link or through `/dev/hyperdbg`), module to root
//! (hypercalls and the boot page) or module to image (the header). So each is `repr(C)`, without implicit padding, with
//! its size and offsets asserted at compile time; [`header`] writes the same facts as C into `include/hyperkd.h`.
//!
//! **Holds always**
//! - A1: numbers only. No sentence, no pointer of either side's, no Rust layout crosses a border.
//! - A2: a field called `zero` is sent as zero and refused otherwise; the documented structure has `gap`s instead.
//! - A3: everything is little endian (x86-64 only).
#![no_std]
#![forbid(unsafe_code)]

pub mod boot;
pub mod code;
pub mod header;
pub mod ioctl;
pub mod kind;
pub mod request;

/// Revision of everything in this crate. Prompt, module and image refuse each other when it differs; it is raised by
/// hand with every change of a layout, never derived from a build date.
pub const PROTOCOL: u32 = 8;
