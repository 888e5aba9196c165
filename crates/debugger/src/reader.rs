//! Memory of the debuggee's kernel for who follows what lies there: each piece is read once.
//!
//! What cannot be read is no failure; that nobody answers, or CTRL+C, is one, and nothing is read behind it.

use crate::error::Error;
use crate::memory;
use crate::session::Session;
use abi::request::memory::{NO_PID, Place, READ_BYTES_MAX, VIRTUAL};
use std::collections::HashMap;
use symbols::unwind::Memory;

/// Memory of the debuggee's kernel, each piece read once.
pub(crate) struct Reader<'s> {
    session: &'s mut Session,
    read: HashMap<(u64, usize), Option<Vec<u8>>>,
    /// It cannot be asked any more.
    failed: Option<Error>,
}

impl<'s> Reader<'s> {
    /// Nothing is read yet.
    pub(crate) fn new(session: &'s mut Session) -> Self {
        Self { session, read: HashMap::new(), failed: None }
    }

    /// Why it could not be asked any more, if that is so.
    pub(crate) fn end(self) -> Result<(), Error> {
        self.failed.map_or(Ok(()), Err)
    }

    fn ask(&mut self, address: u64, count: usize) -> Result<Option<Vec<u8>>, Error> {
        if self.session.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let place = Place { address, space: VIRTUAL, pid: NO_PID };
        let read = memory::request_bytes(self.session, place, count.min(READ_BYTES_MAX) as u64)?;
        Ok(read.ok().map(|(bytes, _)| bytes).filter(|bytes| bytes.len() == count))
    }
}

impl Memory for Reader<'_> {
    fn read(&mut self, address: u64, to: &mut [u8]) -> bool {
        if self.failed.is_some() {
            return false;
        }
        if !self.read.contains_key(&(address, to.len())) {
            match self.ask(address, to.len()) {
                Ok(bytes) => drop(self.read.insert((address, to.len()), bytes)),
                Err(why) => self.failed = Some(why),
            }
        }
        match self.read.get(&(address, to.len())) {
            Some(Some(bytes)) => {
                to.copy_from_slice(bytes);
                true
            }
            _ => false,
        }
    }
}
