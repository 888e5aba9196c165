//! Globals of scripts: their cells, and the names by which prompts know them.
//!
//! **Holds always**
//! - G1: a name keeps its cells until root leaves; the list of names only grows.
//! - G2: cells of two names have nothing in common, and all names together have a cell of their own each at least: so there
//!   are never more names than cells.
//!
//! - G3: cells are shared with the guest's kernel: what root takes from one is a number that scripts see, and nothing else.
//!
//! **Callers**: cells: scripts, any core, without a lock. Names: who serves a prompt; the lock is held for one look at the
//! list. **Cost**: a cell one access, a name O(names). **Proof**: tests below, `tests/e2e/script_gaps.rs`.

use crate::limits::SCRIPT_GLOBALS;
use crate::root::ROOT;
use abi::code;
use abi::request::global::{Add, Ask, Globals, ROWS_MAX, Row};
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use spin::{Mutex, Once};

static CELLS: Once<&'static [AtomicU64; SCRIPT_GLOBALS]> = Once::new();

/// Where there is none of Linux'.
static OWN: [AtomicU64; SCRIPT_GLOBALS] = [const { AtomicU64::new(0) }; SCRIPT_GLOBALS];

/// A cell.
#[inline]
pub fn cell(number: u16) -> Option<&'static AtomicU64> {
    CELLS.get().copied().unwrap_or(&OWN).get(usize::from(number))
}

/// Says where they are: in a page of Linux', so that the kernel's own code can count there for a detour.
pub fn lie_in(page: &'static [AtomicU64; SCRIPT_GLOBALS]) {
    CELLS.call_once(|| page);
}

/// The list of names.
struct Names {
    rows: [Row; SCRIPT_GLOBALS],
    count: usize,
}

static NAMES: Mutex<Names> = Mutex::new(Names::new());

const NO_ROW: Row = Row { name: [0; abi::request::global::NAME_BYTES], cell: 0, cells: 0, zero: 0 };

impl Names {
    const fn new() -> Self {
        Names { rows: [NO_ROW; SCRIPT_GLOBALS], count: 0 }
    }

    fn known(&self) -> &[Row] {
        self.rows.get(..self.count).unwrap_or_default()
    }

    /// Where the names begin that somebody does not know who knows so many.
    fn behind(&self, known: u64) -> Option<&[Row]> {
        self.known().get(usize::try_from(known).ok()?..)
    }

    fn read(&self, known: u64) -> Result<Globals, u32> {
        let behind = self.behind(known).ok_or(code::GLOBALS_CHANGED)?;
        let mut answer = Globals { count: 0, more: u32::from(behind.len() > ROWS_MAX), rows: [NO_ROW; ROWS_MAX] };
        for (to, row) in answer.rows.iter_mut().zip(behind) {
            *to = *row;
            answer.count += 1;
        }
        Ok(answer)
    }

    fn add(&mut self, known: u64, row: Row) -> u32 {
        if self.behind(known).is_none_or(|behind| !behind.is_empty()) {
            return code::GLOBALS_CHANGED;
        }
        let free = self.known().last().map_or(0, |last| last.cell.saturating_add(last.cells));
        let end = usize::from(row.cell) + usize::from(row.cells);
        let named = row.name != NO_ROW.name && self.known().iter().all(|other| other.name != row.name);
        let sound = named && row.zero == 0 && row.cell == free && row.cells > 0 && end <= SCRIPT_GLOBALS;
        // G2: with a cell each there is always a row.
        let Some(to) = self.rows.get_mut(self.count).filter(|_| sound) else { return code::REQUEST_MALFORMED };
        *to = row;
        self.count += 1;
        code::SUCCESS
    }
}

/// Whether somebody means this load.
fn is_this_load(ask: Ask) -> bool {
    ask.boot_id == ROOT.boot_id.load(SeqCst)
}

/// Names that somebody does not know yet.
///
/// # Errors
/// A code.
pub fn read(ask: Ask) -> Result<Globals, u32> {
    if is_this_load(ask) { NAMES.lock().read(ask.known) } else { Err(code::GLOBALS_CHANGED) }
}

/// Adds one; a code.
pub fn add(add: Add) -> u32 {
    if is_this_load(add.ask) { NAMES.lock().add(add.ask.known, add.row) } else { code::GLOBALS_CHANGED }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use abi::request;
    use std::{vec, vec::Vec};

    fn row(name: &str, cell: u16, cells: u16) -> Row {
        Row { name: request::name(name), cell, cells, zero: 0 }
    }

    /// Would catch two prompts whose globals share a cell, a name that is there twice, and more cells than root has.
    #[test]
    fn a_name_is_added_once_at_the_first_free_cell_by_who_knows_all_others() {
        let mut names = Names::new();
        assert_eq!(names.add(0, row(".a", 0, 1)), code::SUCCESS);
        assert_eq!(names.add(0, row(".b", 1, 2)), code::GLOBALS_CHANGED, "it does not know .a");
        assert_eq!(names.add(2, row(".b", 1, 2)), code::GLOBALS_CHANGED, "it knows one that is not there");
        assert_eq!(names.add(u64::MAX, row(".b", 1, 2)), code::GLOBALS_CHANGED);
        for wrong in [row(".a", 1, 1), row("", 1, 1), row(".b", 0, 1), row(".b", 2, 1), row(".b", 1, 0), row(".b", 1, 512)] {
            assert_eq!(names.add(1, wrong), code::REQUEST_MALFORMED, "{wrong:?}");
        }
        assert_eq!(names.add(1, row(".b", 1, 511)), code::SUCCESS);
        assert_eq!(names.add(2, row(".c", 512, 1)), code::REQUEST_MALFORMED);
        let all = names.read(0).unwrap();
        assert_eq!((all.count, all.more, all.rows[..2].to_vec()), (2, 0, vec![row(".a", 0, 1), row(".b", 1, 511)]));
        assert_eq!(names.read(2).unwrap().count, 0);
        assert_eq!(names.read(3), Err(code::GLOBALS_CHANGED));
    }

    /// Would catch a list that is cut at the end of an answer.
    #[test]
    fn all_names_are_read_in_several_answers() {
        let mut names = Names::new();
        for number in 0..512_u16 {
            assert_eq!(names.add(number.into(), row(&std::format!(".n{number}"), number, 1)), code::SUCCESS);
        }
        let mut known = Vec::new();
        loop {
            let answer = names.read(known.len() as u64).unwrap();
            known.extend_from_slice(&answer.rows[..answer.count as usize]);
            if answer.more == 0 {
                break;
            }
        }
        assert_eq!((known.len(), known[511]), (512, row(".n511", 511, 1)));
    }
}
