//! The ledger, as `prealloc` without words shows it.
//!
//! **Holds always**
//! - G1: a [`Ledger`] that was read adds up: pages of Linux' = bank + types + root, and for each type free + in use =
//!   reserved. Reading one that does not is a failed assertion.

use lab::{Error, Prompt};
use std::collections::BTreeMap;

/// What is reserved, and where the pages are. What was refused is counted apart ([`Ledger::refused`]), and so is what belongs to
/// the worker ([`Row::refilled`] and its levels), so that two ledgers are equal if nothing was taken, given or lost between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// By type, as the page of the documentation spells it.
    pub types: BTreeMap<String, Row>,
    /// Pages that Linux handed over.
    pub pages: u64,
    /// Pages of those in the bank.
    pub bank: u64,
    /// Pages that the bank shall have.
    pub bank_target: u64,
    /// Pages of those that belong to types.
    pub of_types: u64,
    /// Pages of those in which root lives.
    pub of_root: u64,
    /// Who holds units, as shown: `held by tests: 0x3 monitor`.
    pub held: Vec<String>,
}

/// One type. Equality is that of what somebody asked for: what was refilled by itself is not part of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    /// Bytes of one unit.
    pub unit_bytes: u64,
    /// Units reserved.
    pub reserved: u64,
    /// Units free.
    pub free: u64,
    /// Units in use.
    pub used: u64,
    /// Units that refills brought.
    pub refilled: u64,
    /// Units that a user keeps.
    pub kept: u64,
    /// Fewer free ones are refilled,
    pub low: u64,
    /// to this many,
    pub target: u64,
    /// and what is above goes back.
    pub high: u64,
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        let seen = |row: &Self| (row.unit_bytes, row.reserved, row.free, row.used);
        seen(self) == seen(other)
    }
}

impl Eq for Row {}

impl Ledger {
    /// Types `prealloc` at a prompt and reads what it shows.
    ///
    /// # Errors
    /// Those of the prompt.
    pub fn read(prompt: &mut Prompt) -> Result<Self, Error> {
        Ok(Self::parse(&prompt.type_line("prealloc")?.text()).0)
    }

    /// How often requests of each type were refused so far.
    ///
    /// # Errors
    /// Those of the prompt.
    pub fn refused(prompt: &mut Prompt) -> Result<BTreeMap<String, u64>, Error> {
        Ok(Self::parse(&prompt.type_line("prealloc")?.text()).1)
    }

    /// Reads the text that `prealloc` prints: the ledger, and how often requests of each type were refused.
    ///
    /// # Panics
    /// If it is no ledger, or one that does not add up (G1).
    #[must_use]
    pub fn parse(text: &str) -> (Self, BTreeMap<String, u64>) {
        let (mut refused, mut types, mut held) = (BTreeMap::new(), BTreeMap::<String, Row>::new(), Vec::new());
        let mut pages = None;
        // On a narrow screen there are two tables, each with some of the columns.
        for part in text.split("\n\n") {
            if part.starts_with("pages:") {
                let (of_pages, owners) = part.split_once("\nheld by ").unwrap_or((part, ""));
                pages = Some(numbers_of::<5>(of_pages));
                held = owners.split("held by ").map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
                continue;
            }
            let mut lines = part.lines();
            let head: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
            for line in lines {
                let cells: Vec<&str> = line.split_whitespace().collect();
                assert_eq!(cells.len(), head.len(), "this is no row: {line}");
                let row = types.entry(cells[0].to_owned()).or_default();
                for (column, cell) in head.iter().zip(&cells).skip(1) {
                    match *column {
                        "~bytes" => row.unit_bytes = number(cell),
                        "reserved" => row.reserved = number(cell),
                        "free" => row.free = number(cell),
                        "used" => row.used = number(cell),
                        "refilled" => row.refilled = number(cell),
                        "kept" => row.kept = number(cell),
                        "refused" => drop(refused.insert(cells[0].to_owned(), number(cell))),
                        "low/target/high" => {
                            let levels: Vec<u64> = cell.split('/').map(number).collect();
                            let [low, target, high] = levels.try_into().unwrap_or_else(|_| panic!("three levels: {line}"));
                            (row.low, row.target, row.high) = (low, target, high);
                        }
                        "peak" => {}
                        other => panic!("this is no column of a ledger: {other}"),
                    }
                }
            }
        }
        for (name, row) in &types {
            assert_eq!(row.free + row.used, row.reserved, "{name}: {row:?}");
        }
        let [pages, bank, bank_target, of_types, of_root] = pages.unwrap_or_else(|| panic!("this is no ledger:\n{text}"));
        assert_eq!(pages, bank + of_types + of_root, "{text}");
        (Self { types, pages, bank, bank_target, of_types, of_root, held }, refused)
    }

    /// The same with more units of one type.
    ///
    /// # Panics
    /// If there is no such type.
    #[must_use]
    pub fn with(&self, kind: &str, units: u64) -> Self {
        let mut more = self.clone();
        let row = more.types.get_mut(kind).unwrap_or_else(|| panic!("no type {kind}"));
        row.reserved += units;
        row.free += units;
        row.kept += units;
        more
    }

    /// Asserts that this ledger shows what `expected` has of every type. How types share pages is the reserve's affair.
    ///
    /// # Panics
    /// If it does not.
    pub fn assert_types(&self, expected: &Self, after: &str) {
        assert_eq!(self.types, expected.types, "after {after:?}");
    }
}

/// The numbers of a line, which all begin with `0x`.
fn numbers_of<const N: usize>(line: &str) -> [u64; N] {
    let numbers = line.split_whitespace().filter_map(|word| word.trim_end_matches(')').strip_prefix("0x"));
    let numbers: Vec<u64> = numbers.filter_map(|digits| u64::from_str_radix(digits, 16).ok()).collect();
    numbers.try_into().unwrap_or_else(|numbers| panic!("{N} numbers are not {numbers:?}: {line}"))
}

/// A number of the table: hex, with `0x` unless it is zero or a level.
fn number(cell: &str) -> u64 {
    let digits = cell.strip_prefix("0x").unwrap_or(cell);
    u64::from_str_radix(digits, 16).unwrap_or_else(|why| panic!("{cell}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a column that is taken for another, on a wide screen or a narrow one. The texts are those that the prompt's own
    /// tests compare with what it prints.
    #[test]
    fn a_ledger_is_read_column_by_column() {
        for text in [
            include_str!("../crates/debugger/tests/golden/ledger.txt"),
            include_str!("../crates/debugger/tests/golden/ledger-80.txt"),
        ] {
            let (ledger, refused) = Ledger::parse(text.trim_end());
            let monitor = ledger.types["monitor"];
            let expected = Row { unit_bytes: 0x3000, reserved: 0x24, free: 0x21, used: 3, ..Row::default() };
            assert_eq!((monitor, monitor.kept, monitor.refilled), (expected, 0x10, 0x14));
            assert_eq!((monitor.low, monitor.target, monitor.high), (0x14, 0x14, 0x28));
            assert_eq!(refused["regular-event"], 1);
            assert_eq!(ledger.held[0], "event 3: 0x1 regular-event");
            assert_eq!(ledger.held[1], "tests: 0x3 monitor, 0x2 breakpoint");
            assert_eq!(ledger.types.len(), 9);
            assert_eq!(ledger.with("monitor", 1).types["monitor"].free, 0x22);
        }
    }
}
