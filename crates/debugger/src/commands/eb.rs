//! Writes memory: eb bytes, ed words of 4 bytes, eq words of 8.
//!
//!     eb|ed|eq ADDRESS VALUE [VALUE]... [pid PID]
//!     !eb|!ed|!eq ADDRESS VALUE [VALUE]...
//! ADDRESS and each VALUE is one expression, in hex. With ! the address is physical; else whose it is, is as with db. All
//! values are written or none; 400 bytes at once at most.
//!
//! It is a debugger's write: no right is asked, and kernel text and read-only pages are changed as they lie in memory, for
//! everybody who maps them. No page is copied before, as Linux does it on a write, and none is marked as changed: what a
//! program maps from a file is changed in the page cache and not in the file. `eq` at a multiple of 8 is one store; else
//! pause the debuggee first if somebody might see the half of it.
//! ```kd
//! 0: kHyperDbg> eb ffff888000000100 48 45
//! wrote 0x2 bytes at ffff888000000100 (physical 1100)
//! 0: kHyperDbg> db ffff888000000100 l 5
//! ffff888000000100  48 45 6c 6c 6f                                    HEllo
//! 0: kHyperDbg> eb ffffffff81000000 90
//! wrote 0x1 bytes at ffffffff81000000 (physical 2000), which the guest itself may not write
//! 0: kHyperDbg> ed ffff888000000ffc 1 2
//! err, nothing is mapped at ffff888000001000; nothing was written (c0000005)
//! 0: kHyperDbg> eb ffff888000000100 100
//! err, the value does not fit; the largest is ff
//!      eb ffff888000000100 100
//!                          ^~~
//!      try: eb ffff888000000100 ff
//! ```

use crate::answer::{Answer, Report, hex};
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::line::Line;
use crate::memory;
use crate::session::Session;
use abi::request::memory::{BYTES_MAX, Written};
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command {
    names: &["eb", "ed", "eq", "!eb", "!ed", "!eq"],
    takes: &[Takes::OneAddress, Takes::Words(&[]), Takes::Options(&[("pid", &[])])],
    run,
    cost: None,
};

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let asked = memory::asked(session, line, memory::space(line), true)?;
    if asked.rest.is_empty() || asked.length.is_some() {
        return Err(commands::usage(line));
    }
    let bytes = memory::values(session, &asked.rest, memory::unit(line.name()), BYTES_MAX)?;
    let Written { bytes, read_only, physical } = memory::write(session, asked.place, &bytes)?;
    Ok(Answer::of(&Done {
        address: hex(asked.place.address),
        bytes,
        physical: hex(physical),
        read_only_pages: read_only,
        is_physical: line.name().starts_with('!'),
    }))
}

#[derive(Serialize)]
struct Done {
    address: String,
    bytes: u32,
    physical: String,
    /// Pages that the guest itself may not write.
    read_only_pages: u32,
    #[serde(skip)]
    is_physical: bool,
}

impl Report for Done {
    fn text(&self) -> String {
        let Self { address, bytes, physical, read_only_pages, is_physical } = self;
        let [address, physical] = [address, physical].map(|text| text.trim_start_matches("0x"));
        let place = if *is_physical { String::new() } else { format!(" (physical {physical})") };
        let read_only = if *read_only_pages > 0 { ", which the guest itself may not write" } else { "" };
        format!("wrote 0x{bytes:x} bytes at {address}{place}{read_only}")
    }
}
