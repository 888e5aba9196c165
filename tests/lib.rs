//! Helpers of the end-to-end tests: the ledger as it is shown, the guest's programs and memory, typing at a prompt, a bare
//! client of the link, and tests of other programs as trials.
#![forbid(unsafe_code)]

pub mod at_prompt;
mod failure;
pub mod gdb;
pub mod guest;
pub mod hooks;
pub mod ledger;
pub mod noisy_line;
pub mod scripting;
pub mod trials;
pub mod vendor;
pub mod wire;

pub use failure::Failure;

/// What a test ends with; any error ends it.
pub type Result<T = ()> = std::result::Result<T, Failure>;
