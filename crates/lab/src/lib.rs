//! Builds and boots the machine to try the debugger on: a real Debian kernel in QEMU, with AMD SVM, or in
//! Bochs, with Intel VT-x.
//!
//! One call does everything, from missing Debian packages to a guest that answers:
//! ```no_run
//! # fn main() -> Result<(), lab::Error> {
//! let mut machine = lab::Machine::builder().without_hypervisor().boot()?;
//! println!("{}", machine.sh("uname -r")?.text());
//! machine.console_is_healthy()
//! # }
//! ```
//! **Holds always**
//! - L1: a guest ends with the process that booted it, however that ends ([`Machine`]); a run leaves files behind only
//!   when it failed, and the error says where.
//! - L2: set-up may be called from any thread and process at any time; it changes nothing that is up to date ([`Lab`]).
//! - L3: every wait has a limit and is for a condition.
#![forbid(unsafe_code)]

pub mod artefacts;
pub mod bochs;
pub mod builder;
pub mod cache;
mod child;
mod command;
pub mod control;
pub mod cpio;
pub mod emulator;
pub mod error;
pub mod figures;
pub mod foreground;
pub mod health;
mod ignne;
pub mod initramfs;
pub mod kernel;
pub mod machine;
mod monitor;
pub mod packages;
mod process;
pub mod progress;
pub mod prompt;
pub mod qemu;
mod relay;
pub mod run;
pub mod screen;
pub mod session;
pub mod setup;

pub use builder::Builder;
pub use control::{Job, Output};
pub use emulator::Vendor;
pub use error::{Error, Fault, GuestError};
pub use machine::Machine;
pub use prompt::{Answer, Prompt};
pub use qemu::Accel;
pub use session::Mode;
pub use setup::Lab;
