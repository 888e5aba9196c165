//! Where requests go: this machine's device, a debuggee at the other end of a line, or (for tests) a model of root.

mod address;
pub mod device;
#[cfg(feature = "fake")]
pub mod fake;
pub mod remote;
mod wire;

use crate::error::Reach;
use abi::ioctl::Load;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Which machine is debugged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// This one, through the device; it keeps running.
    Vmi,
    /// Another one, over the link; it can be halted.
    Debugger,
}

/// CTRL+C and the end of the program: set by signals, looked at by everything that waits.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    pressed: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl Cancel {
    /// The flag of CTRL+C itself, for a signal handler.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.pressed)
    }

    /// Whether it was pressed since [`Cancel::clear`], or the program is to end.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.pressed.load(Ordering::Relaxed) || self.is_ended()
    }

    /// Forgets CTRL+C.
    pub fn clear(&self) {
        self.pressed.store(false, Ordering::Relaxed);
    }

    /// The program is to end: no wait goes on and no further line is done.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Whether it is.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// For what is done last of all: CTRL+C still ends it if it is pressed once more, the end of the program does not.
    pub(crate) fn for_the_last(&self) -> Self {
        self.clear();
        Self { pressed: Arc::clone(&self.pressed), ended: Arc::default() }
    }
}

/// Somebody who answers requests.
pub trait Target: Send {
    /// Which machine is debugged.
    fn mode(&self) -> Mode;

    /// Where it is: a path or an address, as one would type it.
    fn name(&self) -> String;

    /// Sends one request ([`abi::request::op`] and its body) and waits for its answer: a code and a body.
    ///
    /// # Errors
    /// When there is no answer; what root refuses is a code.
    fn call(&mut self, op: u32, body: &[u8], cancel: &Cancel) -> Result<(u32, Vec<u8>), Reach>;

    /// Enters root on every core of this machine.
    ///
    /// # Errors
    /// When the module cannot be asked; what it refuses is [`Load::status`].
    fn load(&mut self, bank_frames: u64, flags: u32) -> Result<Load, Reach>;

    /// A file of the machine that is debugged, if it is this one: what the system tells of itself.
    ///
    /// # Errors
    /// Why not.
    fn file(&self, path: &str) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    /// Starts a program on this machine, that waits to be under interception from its first instruction on. Its process.
    ///
    /// # Errors
    /// Why not.
    fn start(&mut self, path: &str, arguments: &[&str]) -> io::Result<u32> {
        let _on_another_machine = (path, arguments);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Leaves root on every core of this machine.
    ///
    /// # Errors
    /// As [`Target::load`].
    fn unload(&mut self) -> Result<Load, Reach>;
}
