//! This machine's own device.
//!
//! **Holds always**
//! - V1: what is handed to the kernel is a structure of `abi::ioctl` whose size is in the request's number, and the
//!   buffers that it names outlive the call.
//!
//! **Cost**: one ioctl a request. The device is opened at the first request, so a prompt can start before the module.
#![expect(unsafe_code, reason = "the one file of the prompt that makes ioctls")]

use super::{Cancel, Mode, Target};
use crate::error::Reach;
use crate::start;
use abi::ioctl::{Call, IOCTL_CALL, IOCTL_LOAD, IOCTL_UNLOAD, Load};
use abi::request::{self, MESSAGE_BYTES_MAX};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl};
use std::fs::{File, OpenOptions};
use std::io;

/// Where the module makes it.
pub const PATH: &str = "/dev/hyperdbg";

/// The device, opened when it is needed.
#[derive(Debug, Default)]
pub struct Device {
    file: Option<File>,
}

impl Device {
    /// Nothing is opened yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn update<const OPCODE: Opcode, T>(&mut self, value: &mut T) -> Result<(), Reach> {
        if self.file.is_none() {
            self.file = Some(OpenOptions::new().read(true).write(true).open(PATH).map_err(|why| reach(&why))?);
        }
        let Some(file) = &self.file else { return Err(Reach::NoDevice) };
        // SAFETY: `OPCODE` is one of ours, which carries the size of `T` (V1).
        let request = unsafe { Updater::<OPCODE, T>::new(value) };
        // SAFETY: the module copies that many bytes in and out (V1) and keeps no pointer.
        let done = unsafe { ioctl(file, request) };
        done.map_err(|errno| {
            // The next request opens it again: the module may have been replaced.
            self.file = None;
            if errno == Errno::NOTTY { Reach::Protocol { theirs: 0 } } else { reach(&errno.into()) }
        })
    }
}

impl Target for Device {
    fn mode(&self) -> Mode {
        Mode::Vmi
    }

    fn name(&self) -> String {
        PATH.to_owned()
    }

    fn call(&mut self, op: u32, body: &[u8], _: &Cancel) -> Result<(u32, Vec<u8>), Reach> {
        let (mut message, mut answer) = ([0_u8; MESSAGE_BYTES_MAX], [0_u8; MESSAGE_BYTES_MAX]);
        let malformed = Reach::Malformed { op };
        let bytes = request::write(&mut message, op, body).ok_or(malformed.clone())?;
        let mut call = Call {
            request: message.as_ptr().expose_provenance() as u64,
            answer: answer.as_mut_ptr().expose_provenance() as u64,
            request_bytes: u32::try_from(bytes).map_err(|_| malformed.clone())?,
            answer_bytes: u32::try_from(answer.len()).map_err(|_| malformed.clone())?,
        };
        self.update::<IOCTL_CALL, Call>(&mut call)?;
        let message = usize::try_from(call.answer_bytes).ok().and_then(|bytes| answer.get(..bytes));
        let (head, body) = message.and_then(request::split).ok_or(malformed)?;
        Ok((head.code, body.to_vec()))
    }

    fn load(&mut self, bank_frames: u64, flags: u32) -> Result<Load, Reach> {
        let mut load = Load { bank_frames, flags, ..Load::default() };
        self.update::<IOCTL_LOAD, Load>(&mut load)?;
        Ok(load)
    }

    fn start(&mut self, path: &str, arguments: &[&str]) -> io::Result<u32> {
        start::spawn(path, arguments)
    }

    fn unload(&mut self) -> Result<Load, Reach> {
        let mut load = Load::default();
        self.update::<IOCTL_UNLOAD, Load>(&mut load)?;
        Ok(load)
    }
}

fn reach(why: &io::Error) -> Reach {
    match (why.kind(), why.raw_os_error().map(Errno::from_raw_os_error)) {
        (_, Some(Errno::NODEV | Errno::NXIO)) | (io::ErrorKind::NotFound, _) => Reach::NoDevice,
        (io::ErrorKind::PermissionDenied, _) => Reach::Denied,
        (kind, _) => Reach::System(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch an errno that ends in the wrong sentence: who has no right is not told to load the module.
    #[test]
    fn a_missing_device_and_a_missing_right_are_told_apart() {
        let of = |errno: Errno| reach(&errno.into());
        assert_eq!(of(Errno::NOENT), Reach::NoDevice);
        assert_eq!(of(Errno::NXIO), Reach::NoDevice);
        assert_eq!(of(Errno::PERM), Reach::Denied);
        assert_eq!(of(Errno::ACCESS), Reach::Denied);
        assert_eq!(of(Errno::NOMEM), Reach::System(io::ErrorKind::OutOfMemory));
    }
}
