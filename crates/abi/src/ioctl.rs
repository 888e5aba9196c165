//! Requests on `/dev/hyperdbg`.
//!
//! The device is mode 0600 and opening it needs CAP_SYS_RAWIO. Numbers follow Linux' `_IOC` encoding
//! (`include/uapi/asm-generic/ioctl.h`): direction, size, type `'H'`, number; so a wrong size is another request and
//! is answered `ENOTTY`. An unmapped pointer is `EFAULT`; alignment is not asked for, the structure is copied.

use core::mem::{offset_of, size_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `IOCTL_RESERVE_PRE_ALLOCATED_POOLS`. The caller fills `kind` and `count`; `status` comes back, `!0` being success.
///
/// The layout is the documented one (enum, 64-bit count, 32-bit status, natural alignment), not the shorter one that
/// HyperDbg v0.23 ships (facts A.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Prealloc {
    /// A [`crate::kind::Kind`] by number; an unknown one is refused, never guessed.
    pub kind: u32,
    /// The documented structure leaves this to the compiler: ignored coming in, zero going out.
    pub gap: u32,
    /// Units wanted.
    pub count: u64,
    /// One of [`crate::code`].
    pub status: u32,
    /// As `gap`.
    pub tail: u32,
}
const _: () = assert!(size_of::<Prealloc>() == 24 && offset_of!(Prealloc, count) == 8 && offset_of!(Prealloc, status) == 16);

/// One request of [`crate::request`] handed to root and its answer taken back, both as bytes.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Call {
    /// Address of the request in the caller's memory.
    pub request: u64,
    /// Where the answer goes.
    pub answer: u64,
    /// Bytes of the request, at most [`crate::request::MESSAGE_BYTES_MAX`].
    pub request_bytes: u32,
    /// Room for the answer coming in, at least [`crate::request::MESSAGE_BYTES_MAX`]; bytes of it going out.
    pub answer_bytes: u32,
}
const _: () = assert!(size_of::<Call>() == 24);

/// What happened to a [`IOCTL_LOAD`] or [`IOCTL_UNLOAD`].
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Load {
    /// Frames of 4 KiB that the bank shall get; 0 asks for the default share of RAM. Ignored by unload.
    pub bank_frames: u64,
    /// One of [`crate::code`].
    pub status: u32,
    /// With CPU_LACKS and KERNEL_UNSUPPORTED: bits of [`crate::code::lack`].
    pub detail: u32,
    /// Cores that root runs under after this.
    pub cores: u32,
    /// [`LOAD_LINK`] and nothing else.
    pub flags: u32,
}
const _: () = assert!(size_of::<Load>() == 24);

/// [`Load::flags`]: root takes COM2 for the link and hides it from Linux (Debugger Mode).
pub const LOAD_LINK: u32 = 1;

const TYPE: u32 = b'H' as u32;
const READ: u32 = 2;
const READ_WRITE: u32 = 3;
const fn request(direction: u32, number: u32, bytes: usize) -> u32 {
    assert!(bytes < 1 << 14);
    #[expect(clippy::cast_possible_truncation, reason = "asserted to fit 14 bits")]
    let bytes = bytes as u32;
    (direction << 30) | (bytes << 16) | (TYPE << 8) | number
}

/// The documented request; takes a [`Prealloc`].
pub const IOCTL_RESERVE_PRE_ALLOCATED_POOLS: u32 = request(READ_WRITE, 0x15, size_of::<Prealloc>());
/// Any request of [`crate::request`]; takes a [`Call`].
pub const IOCTL_CALL: u32 = request(READ_WRITE, 0x40, size_of::<Call>());
/// Enters root on every core; takes a [`Load`].
pub const IOCTL_LOAD: u32 = request(READ_WRITE, 0x41, size_of::<Load>());
/// Leaves root on every core; takes a [`Load`].
pub const IOCTL_UNLOAD: u32 = request(READ_WRITE, 0x42, size_of::<Load>());
/// Reads the ledger; gives a [`crate::request::Ledger`], or `ENODEV` while the hypervisor is not loaded.
pub const IOCTL_LEDGER: u32 = request(READ, 0x43, size_of::<crate::request::Ledger>());
