//! The execution view of a core: as the guarded one, but that nothing can be executed in it, save one page, which is another.
//!
//! ```text
//! an entry      the guarded view's, without fetches; on the way to the page a table of the core's own
//! the page      a frame that is executed instead of it: it can be read and executed, and not be written
//! ```
//! A core goes there to execute code of a hooked page, and comes back with its first fetch elsewhere. So what the frame has and
//! the page has not is read by nobody but the code on that very page.
//!
//! **Holds always**
//! - X1: what the guarded view keeps from the guest, but fetches from the page, is kept from it here: entries are copied, and the
//!   tables below them are the same ones.
//! - X2: who changes the guarded view, or takes the frame away, has every core flush; a flush forgets the copies. So nobody
//!   runs under an old one.
//!
//! **Callers**: `step`'s views, on their core. **Cost**: as much as differs: for another page of the same 2 MiB two entries, else
//! 512 for each level that is another.

use super::core::Svm;
use super::guarded::{entry, set};
use super::npt::{ADDRESS, LARGE, NO_EXECUTE, PRESENT, WRITE};
use abi::boot::FRAME_BYTES;

/// Tables of a core: pages, 2 MiB, 1 GiB, 512 GiB.
pub const TABLES: usize = 4;
/// The highest level.
const TOP: u32 = 3;
const _: () = assert!(TABLES == TOP as usize + 1);
const USER: u64 = 1 << 2;

/// The view.
#[derive(Clone, Copy, Debug)]
pub(super) struct Executed {
    /// Frames of the tables, from the lowest on; 0: there are none.
    tables: [u64; TABLES],
    /// The page, and the frame that is executed instead.
    page: Option<(u64, u64)>,
    /// The core runs in it, unless something passes.
    pub(super) on: bool,
}

impl Executed {
    /// None.
    pub(super) const NONE: Executed = Executed { tables: [0; TABLES], page: None, on: false };

    /// In these frames, which are cleared.
    pub(super) fn of(tables: [u64; TABLES]) -> Executed {
        Executed { tables, ..Executed::NONE }
    }

    fn table(&self, level: u32) -> u64 {
        self.tables.get(level as usize).map_or(0, |pfn| pfn * FRAME_BYTES)
    }

    /// Its root.
    pub(super) fn root_pa(&self) -> u64 {
        self.table(TOP)
    }

    /// Shows a page; `guarded` is the root of the guarded view. False if that has no entry for it.
    fn aim(&mut self, guarded: u64, pfn: u64, shown: u64) -> bool {
        let before = self.page.take();
        if before == Some((pfn, shown)) {
            self.page = before;
            return true;
        }
        if self.root_pa() == 0 {
            return false;
        }
        let mut from = guarded;
        for level in (0..=TOP).rev() {
            let (table, way) = (self.table(level), entry(from, level, pfn));
            let side_by_side = |other: u64| other >> (9 * (level + 1)) == pfn >> (9 * (level + 1));
            match before {
                Some((old, _)) if side_by_side(old) => set(table, level, old, entry(from, level, old) | NO_EXECUTE),
                _ => (0..512_u64).map(|slot| slot << (9 * level)).for_each(|each| {
                    set(table, level, each, entry(from, level, each) | NO_EXECUTE);
                }),
            }
            if way & PRESENT == 0 || level > 0 && way & LARGE != 0 {
                return false;
            }
            let mine = match level {
                0 => shown * FRAME_BYTES | PRESENT | USER,
                _ => self.table(level - 1) | PRESENT | USER | way & WRITE,
            };
            set(table, level, pfn, mine);
            from = way & ADDRESS;
        }
        self.page = Some((pfn, shown));
        true
    }
}

impl Svm {
    /// See [`crate::arch::Core::execute`].
    pub(super) fn execute_page(&mut self, pfn: u64, shown: u64) -> bool {
        let guarded = self.step.guarded_root();
        let shows = guarded.is_some_and(|root| self.step.executed.aim(root, pfn, shown));
        self.step.executed.on = shows;
        self.change_view();
        shows
    }

    /// See [`crate::arch::Core::execute_all`].
    pub(super) fn leave_page(&mut self) {
        if self.step.executed.on {
            self.step.executed.on = false;
            self.change_view();
        }
    }

    /// X2.
    pub(super) fn forget_page(&mut self) {
        self.step.executed.page = None;
        self.leave_page();
    }
}
