//! Searches memory for a pattern: sb of bytes, sd of words of 4 bytes, sq of words of 8.
//!
//!     sb|sd|sq START l LENGTH VALUE [VALUE]... [pid PID]
//!     !sb|!sd|!sq START l LENGTH VALUE [VALUE]...
//! START is one expression, LENGTH counts bytes, each VALUE is one of the pattern, which has 40 bytes at most; all are
//! hex. With ! the address is physical; else whose it is, is as with db. The pattern lies whole within the length, across
//! pages too. sd and sq look at each 4th and 8th byte from START on, sb at every one.
//!
//! Each place is told by its address, 1000 of them at most. What is not mapped is passed over, by whole tables where those
//! are missing. CTRL+C ends it and shows what was found until then.
//! ```kd
//! 0: kHyperDbg> sb ffff888000000000 l 2000 68 65 6c 6c 6f
//! ffff888000000100
//! 0x1 found in 0x2000 bytes, of which 0x1000 cannot be read
//! 0: kHyperDbg> !sd 1000 l 200 03020100
//! 0000000000001000
//! 0x1 found in 0x200 bytes
//! 0: kHyperDbg> sq ffff888000000000 l 1000 1234
//! 0x0 found in 0x1000 bytes
//! ```

use crate::answer::{Answer, Report, hex};
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::line::Line;
use crate::memory::{self, End, Places};
use crate::session::Session;
use abi::request::memory::PATTERN_BYTES_MAX;
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command {
    names: &["sb", "sd", "sq", "!sb", "!sd", "!sq"],
    takes: &[Takes::OneAddress, Takes::Words(&["l"]), Takes::Words(&[]), Takes::Words(&[]), Takes::Options(&[("pid", &[])])],
    run,
    cost: None,
};

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let asked = memory::asked(session, line, memory::space(line), true)?;
    let Some((length, span)) = &asked.length else { return Err(commands::usage(line)) };
    if asked.rest.is_empty() {
        return Err(commands::usage(line));
    }
    if *length == 0 {
        return Err(memory::too_long(span, u64::MAX, "bytes"));
    }
    let unit = memory::unit(line.name());
    let pattern = memory::values(session, &asked.rest, unit, PATTERN_BYTES_MAX)?;
    let Places { found, done, unreadable, end } =
        memory::search(session, asked.place, *length, &pattern, u32::try_from(unit).unwrap_or(1))?;
    let ended = match end {
        End::Whole => None,
        End::Full => Some("full"),
        End::Cancelled => Some("cancelled"),
    };
    let next = ended.map(|_| hex(asked.place.address.wrapping_add(done)));
    Ok(Answer::of(&Shown { found: found.into_iter().map(hex).collect(), searched: done, unreadable, ended, next }))
}

#[derive(Serialize)]
struct Shown {
    found: Vec<String>,
    /// Bytes that were looked at,
    searched: u64,
    /// and those of them that could not be read.
    unreadable: u64,
    /// Why it ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<&'static str>,
    /// Where it would go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Report for Shown {
    fn text(&self) -> String {
        let Self { found, searched, unreadable, ended, next } = self;
        let mut lines: Vec<String> = found.iter().map(|place| format!("{:0>16}", place.trim_start_matches("0x"))).collect();
        let mut sum = format!("0x{:x} found in 0x{searched:x} bytes", found.len());
        if *unreadable > 0 {
            sum += &format!(", of which 0x{unreadable:x} cannot be read");
        }
        if let (Some(ended), Some(next)) = (ended, next) {
            let next = next.trim_start_matches("0x");
            let why = if *ended == "full" { "there are more" } else { "it was ended" };
            sum += &format!("; {why}: go on at {next}");
        }
        lines.push(sum);
        lines.join("\n")
    }
}
