//! Shows memory: db bytes and letters, dd and dq words of 4 and 8 bytes, dc words of 4 and letters.
//!
//!     db|dc|dd|dq ADDRESS [l LENGTH] [pid PID]
//!     !db|!dc|!dd|!dq ADDRESS [l LENGTH]
//! ADDRESS is an expression, LENGTH counts bytes (80 unless said, 100000 at most); both are hex. With ! the address is
//! physical. Other addresses are those of the selected core of a halted debuggee, else of the core that is asked: the
//! kernel's are the same everywhere, a program's are those of the one that runs there unless PID names another.
//!
//! No right is asked and no page is brought in: what is not mapped is shown as ??, and so is what is no RAM or belongs to
//! the hypervisor itself.
//! ```kd
//! 0: kHyperDbg> db ffff888000000100 l 20
//! ffff888000000100  68 65 6c 6c 6f 00 0b 0c  0d 0e 0f 10 11 12 13 14  hello...........
//! ffff888000000110  15 16 17 18 19 1a 1b 1c  1d 1e 1f 20 21 22 23 24  ........... !"#$
//! 0: kHyperDbg> dq ffff888000000ff0 l 20
//! ffff888000000ff0  4746454443424140  4f4e4d4c4b4a4948
//! ffff888000001000  ????????????????  ????????????????
//! ?? are 0x10 bytes at ffff888000001000: not mapped
//! 0: kHyperDbg> !dd 1000 l 8
//! 0000000000001000  03020100 07060504
//! 0: kHyperDbg> db 8
//! err, nothing is mapped at 8 (c0000005)
//!      addresses of programs are those of the one that runs on this core; `pid PID` names another
//! ```

use crate::answer::{Answer, Report, hex};
use crate::commands::{Command, Takes};
use crate::error::Error;
use crate::line::Line;
use crate::memory::{self, Bytes, Missing};
use crate::session::Session;
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command {
    names: &["db", "dc", "dd", "dq", "!db", "!dc", "!dd", "!dq"],
    takes: &[Takes::OneAddress, Takes::Options(&[("l", &[]), ("pid", &[])])],
    run,
    cost: None,
};

/// Bytes that are shown unless said.
const USUAL_BYTES: u64 = 0x80;
/// Bytes of a row.
const ROW_BYTES: usize = 16;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let asked = memory::asked(session, line, memory::space(line), false)?;
    let length = asked.bytes(USUAL_BYTES)?;
    let read = memory::read(session, asked.place, length)?;
    let (unit, letters) = match line.name().trim_start_matches('!').to_ascii_lowercase().as_str() {
        "dq" => (8, false),
        "dd" => (4, false),
        "dc" => (4, true),
        _ => (1, true),
    };
    Ok(Answer::of(&Shown::new(asked.place.address, unit, letters, &read)))
}

#[derive(Serialize)]
struct Shown {
    address: String,
    /// Bytes of a value.
    unit: usize,
    /// In hex, without a prefix; question marks where a byte of it cannot be read.
    values: Vec<String>,
    unreadable: Vec<Missing>,
    #[serde(skip)]
    rows: Vec<Row>,
}

struct Row {
    address: u64,
    values: Vec<String>,
    letters: Option<String>,
}

impl Shown {
    fn new(address: u64, unit: usize, letters: bool, read: &Bytes) -> Self {
        let Bytes { bytes, holes } = read;
        let rows = (0..).step_by(ROW_BYTES).zip(bytes.chunks(ROW_BYTES));
        let rows: Vec<Row> = rows
            .map(|(offset, row): (u64, &[Option<u8>])| Row {
                address: address.wrapping_add(offset),
                values: row.chunks(unit).map(value).collect(),
                letters: letters.then(|| row.iter().map(letter).collect()),
            })
            .collect();
        let values = rows.iter().flat_map(|row| row.values.iter().cloned()).collect();
        Self { address: hex(address), unit, values, unreadable: holes.iter().map(Missing::of).collect(), rows }
    }
}

/// A value of little-endian bytes, the last of which may be fewer.
fn value(bytes: &[Option<u8>]) -> String {
    let all: Option<String> = bytes.iter().rev().map(|byte| byte.map(|byte| format!("{byte:02x}"))).collect();
    all.unwrap_or_else(|| "??".repeat(bytes.len()))
}

fn letter(byte: &Option<u8>) -> char {
    match byte {
        Some(byte) if byte.is_ascii_graphic() || *byte == b' ' => char::from(*byte),
        Some(_) => '.',
        None => '?',
    }
}

impl Report for Shown {
    fn text(&self) -> String {
        let Self { address: _, unit, values: _, unreadable, rows } = self;
        let full = ROW_BYTES / unit;
        // Room for a full row, with one more blank in its middle.
        let width = full * (2 * unit + 1);
        let line = |row: &Row| {
            let (left, right) = row.values.split_at(row.values.len().min(full / 2));
            let mut shown = left.join(" ");
            if !right.is_empty() {
                shown += "  ";
                shown += &right.join(" ");
            }
            let Row { address, values: _, letters } = row;
            match letters {
                Some(letters) => format!("{address:016x}  {shown:<width$}  {letters}"),
                None => format!("{address:016x}  {shown}"),
            }
        };
        rows.iter().map(line).chain(unreadable.iter().map(Missing::text)).collect::<Vec<_>>().join("\n")
    }
}
