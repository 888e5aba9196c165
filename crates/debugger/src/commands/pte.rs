//! Shows the entries of the page tables for an address, from the highest table down.
//!
//!     !pte ADDRESS [pid PID]
//! ADDRESS is an expression; whose it is, is as with db. Each entry is shown with the physical place where it lies; the last
//! one is that of the page, or the one that maps nothing. Their names are Linux', and the processor's behind them.
//! ```kd
//! 0: kHyperDbg> !pte ffff888000000100
//! ffff888000000100 is at physical 1100, in a page of 0x1000 bytes; cr3 100000
//! pgd pml4e  at 100888 is 101067            present writable user accessed dirty
//! pud pdpte  at 101000 is 102067            present writable user accessed dirty
//! pmd pde    at 102000 is 103067            present writable user accessed dirty
//! pte pte    at 103000 is 8000000000001063  present writable accessed dirty no-execute
//! 0: kHyperDbg> !pte 1000
//! nothing is mapped at 1000, nor in 0x8000000000 bytes around it; cr3 100000
//! pgd pml4e  at 100000 is 0  not present
//! ```

use crate::answer::{Answer, Report, hex};
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::line::Line;
use crate::memory;
use crate::session::Session;
use abi::request::memory::{Entry, Translation, VIRTUAL};
use serde::Serialize;

/// The command.
pub const COMMAND: Command =
    Command { names: &["!pte"], takes: &[Takes::OneAddress, Takes::Options(&[("pid", &[])])], run, cost: None };

/// Linux' and the processor's names of entries, from the highest table down.
const LEVELS: [[&str; 2]; 4] = [["pgd", "pml4e"], ["pud", "pdpte"], ["pmd", "pde"], ["pte", "pte"]];
const PRESENT: u64 = 1;
/// Bits that have a name; of the large ones only an entry that is not of the last table is said to be.
const BITS: [(u32, &str); 8] = [
    (0, "present"),
    (1, "writable"),
    (2, "user"),
    (3, "write-through"),
    (4, "uncached"),
    (5, "accessed"),
    (6, "dirty"),
    (63, "no-execute"),
];
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let asked = memory::asked(session, line, VIRTUAL, false)?;
    if asked.length.is_some() {
        return Err(commands::usage(line));
    }
    let translation = memory::translate(session, asked.place)?;
    Ok(Answer::of(&Shown::new(&translation)))
}

#[derive(Serialize)]
struct Shown {
    #[serde(rename = "virtual")]
    linear: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    physical: Option<String>,
    /// Of the page, or of the hole.
    page_bytes: u64,
    cr3: String,
    entries: Vec<Level>,
}

#[derive(Serialize)]
struct Level {
    linux: &'static str,
    processor: &'static str,
    at: String,
    value: String,
    bits: Vec<&'static str>,
}

impl Shown {
    fn new(translation: &Translation) -> Self {
        let Translation { linear, physical, page_bytes, tables, mapped, levels, entries } = translation;
        let valid = usize::try_from(*levels).unwrap_or(usize::MAX).min(entries.len());
        let entries = LEVELS.iter().zip(&entries[..valid]).enumerate();
        Self {
            linear: hex(*linear),
            physical: (*mapped == 1).then(|| hex(*physical)),
            page_bytes: *page_bytes,
            cr3: hex(*tables),
            entries: entries
                .map(|(depth, ([linux, processor], Entry { at, value }))| Level {
                    linux,
                    processor,
                    at: hex(*at),
                    value: hex(*value),
                    bits: bits(*value, depth + 1 == LEVELS.len()),
                })
                .collect(),
        }
    }
}

/// What an entry says of its page or table. One that is not present says nothing: the rest of it is Linux' own.
fn bits(value: u64, last: bool) -> Vec<&'static str> {
    if value & PRESENT == 0 {
        return vec!["not present"];
    }
    let mut bits: Vec<&str> = BITS.iter().filter(|(bit, _)| value >> bit & 1 == 1).map(|(_, name)| *name).collect();
    if value & LARGE != 0 && !last {
        bits.push("large");
    }
    if value & GLOBAL != 0 && (last || value & LARGE != 0) {
        bits.push("global");
    }
    bits
}

impl Report for Shown {
    fn text(&self) -> String {
        let Self { linear, physical, page_bytes, cr3, entries } = self;
        let bare = |text: &String| text.trim_start_matches("0x").to_owned();
        let (at, cr3) = (bare(linear), bare(cr3));
        let head = match physical {
            Some(physical) => {
                format!("{at} is at physical {}, in a page of 0x{page_bytes:x} bytes; cr3 {cr3}", bare(physical))
            }
            None => format!("nothing is mapped at {at}, nor in 0x{page_bytes:x} bytes around it; cr3 {cr3}"),
        };
        let width = entries.iter().map(|level| level.value.len() - 2).max().unwrap_or(0);
        let line = |Level { linux, processor, at, value, bits }: &Level| {
            let (at, value) = (bare(at), bare(value));
            format!("{linux} {processor:<5}  at {at} is {value:<width$}  {}", bits.join(" "))
        };
        std::iter::once(head).chain(entries.iter().map(line)).collect::<Vec<_>>().join("\n")
    }
}
