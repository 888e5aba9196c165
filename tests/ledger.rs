//! The ledger, as `prealloc` without words shows it.
//!
//! **Holds always**
//! - G1: a [`Ledger`] that was read adds up: pages of Linux' = bank + types + root, and for each type free + in use =
//!   reserved. Reading one that does not is a failed assertion.

use lab::{Error, Prompt};
use std::collections::BTreeMap;

/// What is reserved, and where the pages are. What was refused is counted apart ([`Ledger::refused`]), so that two
/// ledgers are equal if nothing was taken, given or lost between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// By type, as the page of the documentation spells it.
    pub types: BTreeMap<String, Row>,
    /// Pages that Linux handed over.
    pub pages: u64,
    /// Pages of those in the bank.
    pub bank: u64,
    /// Pages of those that belong to types.
    pub of_types: u64,
    /// Pages of those in which root lives.
    pub of_root: u64,
}

/// One type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Bytes of one unit.
    pub unit_bytes: u64,
    /// Units reserved.
    pub reserved: u64,
    /// Units free.
    pub free: u64,
    /// Units in use.
    pub used: u64,
}

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
        let (table, pages) = text.split_once("\n\n").unwrap_or_else(|| panic!("this is no ledger:\n{text}"));
        let mut refused = BTreeMap::new();
        let mut types = BTreeMap::new();
        for line in table.lines().skip(1) {
            let (name, numbers) = line.split_once(' ').unwrap_or_else(|| panic!("this is no row: {line}"));
            let [unit_bytes, reserved, free, used, _most, refusals] = numbers_of::<6>(numbers);
            assert_eq!(free + used, reserved, "{line}");
            types.insert(name.to_owned(), Row { unit_bytes, reserved, free, used });
            refused.insert(name.to_owned(), refusals);
        }
        let [pages, bank, of_types, of_root] = numbers_of::<4>(pages);
        assert_eq!(pages, bank + of_types + of_root, "{text}");
        (Self { types, pages, bank, of_types, of_root }, refused)
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
    let numbers = line.split_whitespace().filter_map(|word| word.strip_prefix("0x"));
    let numbers: Vec<u64> = numbers.filter_map(|digits| u64::from_str_radix(digits, 16).ok()).collect();
    numbers.try_into().unwrap_or_else(|numbers| panic!("{N} numbers are not {numbers:?}: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a column that is taken for another.
    #[test]
    fn a_ledger_is_read_column_by_column() {
        let text = "type     unit bytes  reserved  free  in use  most in use  refused\n\
                    monitor      0x1000      0x12  0x10     0x2          0x3      0x5\n\n\
                    pages: 0x800 from linux = 0x600 in the bank + 0x100 of types + 0x100 of root itself";
        let (ledger, refused) = Ledger::parse(text);
        assert_eq!(ledger.types["monitor"], Row { unit_bytes: 0x1000, reserved: 0x12, free: 0x10, used: 2 });
        assert_eq!((ledger.pages, ledger.bank, ledger.of_types, ledger.of_root), (0x800, 0x600, 0x100, 0x100));
        assert_eq!(refused["monitor"], 5);
        assert_eq!(ledger.with("monitor", 1).types["monitor"].free, 0x11);
    }
}
