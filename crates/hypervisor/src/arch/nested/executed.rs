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
//! **Callers**: the vendors' steps, on their core. **Cost**: as much as differs: for another page of the same 2 MiB two entries, else
//! 512 for each level that is another.

use super::guarded::{entry, set};
use super::{ADDRESS, Entries, TABLES, TOP};
use abi::boot::FRAME_BYTES;
use core::marker::PhantomData;

/// The view.
#[derive(Clone, Copy, Debug)]
pub struct Executed<E> {
    /// Frames of the tables, from the lowest on; 0: there are none.
    tables: [u64; TABLES],
    /// The page, and the frame that is executed instead.
    page: Option<(u64, u64)>,
    /// The core runs in it, unless something passes.
    pub on: bool,
    format: PhantomData<E>,
}

impl<E: Entries> Executed<E> {
    /// None.
    pub const NONE: Executed<E> = Executed { tables: [0; TABLES], page: None, on: false, format: PhantomData };

    /// In these frames, which are cleared.
    #[must_use]
    pub fn of(tables: [u64; TABLES]) -> Executed<E> {
        Executed { tables, ..Executed::NONE }
    }

    fn table(&self, level: u32) -> u64 {
        self.tables.get(level as usize).map_or(0, |pfn| pfn * FRAME_BYTES)
    }

    /// Its root.
    #[must_use]
    pub fn root_pa(&self) -> u64 {
        self.table(TOP)
    }

    /// Shows a page; `guarded` is the root of the guarded view. False if that has no entry for it.
    #[inline]
    pub fn aim(&mut self, guarded: u64, pfn: u64, shown: u64) -> bool {
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
                Some((old, _)) if side_by_side(old) => set(table, level, old, E::without_fetch(entry(from, level, old))),
                _ => (0..512_u64).map(|slot| slot << (9 * level)).for_each(|each| {
                    set(table, level, each, E::without_fetch(entry(from, level, each)));
                }),
            }
            if !E::is_there(way) || level > 0 && E::is_large(way) {
                return false;
            }
            let mine = match level {
                0 if E::may_read(way) => E::shown(shown * FRAME_BYTES),
                0 => E::without_read(E::shown(shown * FRAME_BYTES)),
                _ => E::towards(self.table(level - 1), way),
            };
            set(table, level, pfn, mine);
            from = way & ADDRESS;
        }
        self.page = Some((pfn, shown));
        true
    }

    /// X2: what it shows is written anew next time.
    pub fn forget(&mut self) {
        self.page = None;
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "frames of the tests' own RAM")]
mod tests {
    extern crate std;
    use super::super::guarded::Guarded;
    use super::super::open::Open;
    use super::*;
    use crate::arch::x86::direct::{self, Frame, arena};
    use crate::arch::{Guard, Run};
    use std::boxed::Box;

    fn frame() -> Option<Frame> {
        // SAFETY: the arena hands out each frame once.
        arena::run(1).map(|pfn| unsafe { Frame::claim(pfn) })
    }

    /// What a frame's walk ends at, and whether all of the way can be written and executed.
    fn walk<E: Entries>(root: u64, pfn: u64) -> (u64, bool, bool) {
        let (mut table, mut writes, mut fetches) = (root, true, true);
        for level in (0..=TOP).rev() {
            let found = entry(table, level, pfn);
            (writes, fetches) = (writes && E::may_write(found), fetches && E::may_fetch(found));
            if level > 0 && level < TOP && E::is_large(found) {
                let below = (1 << (9 * level)) - 1;
                return ((found & ADDRESS) / FRAME_BYTES & !below | pfn & below, writes, fetches);
            }
            table = found;
        }
        ((table & ADDRESS) / FRAME_BYTES, writes, fetches)
    }

    super::super::both! {
        /// Would catch a page beside the hooked one that is executed as it is, one that stays executed when the core has gone
        /// on to another, near or far, and something guarded that is not so here (X1, X2).
        fn one_page_alone_is_executed_and_it_is_the_other<E>() {
            let mut open = Box::new(Open::<E>::empty());
            open.build(40, direct::end(), &mut frame).unwrap();
            let mut guarded = Guarded::<E>::empty();
            guarded.build(open.root_pa(), direct::end(), &mut || frame().map(|frame| frame.pfn())).unwrap();
            let hooked = [0x8_0003_u64, 0x8_0005, 0x8_1234, 0x9_4003, 0x8_0003];
            let hook = Guard { covered: true, read: false, write: true, fetch: true, shown: None };
            for pfn in hooked {
                guarded.guard(Run { pfn, level: 0 }, hook, [0; 2].map(|_| frame().unwrap().pfn()));
            }
            let mut view = Executed::<E>::of([0; TABLES].map(|_| frame().unwrap().pfn()));
            let mut none = Executed::<E>::NONE;
            assert!(!none.aim(guarded.root_pa(), hooked[0], 1), "without tables");
            for (pfn, shown) in hooked.into_iter().zip(0x70_u64..) {
                for again in [false, true] {
                    assert!(view.aim(guarded.root_pa(), pfn, shown));
                    assert_eq!(walk::<E>(view.root_pa(), pfn), (shown, false, true), "{pfn:x}, again: {again}");
                    for other in hooked.into_iter().filter(|other| *other != pfn) {
                        assert_eq!(walk::<E>(view.root_pa(), other), (other, false, false), "{other:x} beside {pfn:x}");
                    }
                    for free in [pfn + 1, pfn ^ 1 << 10, pfn ^ 1 << 19] {
                        assert_eq!(walk::<E>(view.root_pa(), free), (free, true, false), "{free:x} beside {pfn:x}");
                    }
                }
            }
            view.forget();
            let last = hooked[4];
            let large = Run { pfn: last >> 9 << 9, level: 1 };
            guarded.guard(large, Guard { fetch: false, ..hook }, [0; 2]);
            assert!(view.aim(guarded.root_pa(), last, 0x7e));
            assert_eq!(walk::<E>(view.root_pa(), last + 1), (last + 1, false, false), "all of its 2 MiB is guarded");
            guarded.guard(large, Guard::default(), [0; 2]);
            view.forget();
            guarded.guard(Run { pfn: last, level: 0 }, Guard { read: true, fetch: false, ..hook }, [0; 2]);
            let (beside, before) = (last + 1, entry(view.root_pa(), TOP, last));
            guarded.guard(Run { pfn: beside, level: 0 }, Guard { fetch: false, ..hook }, [0; 2]);
            if view.aim(guarded.root_pa(), last, 0x7f) {
                assert_eq!(walk::<E>(view.root_pa(), last), (0x7f, false, true));
                let copy = (0..=TOP).rev().fold(view.root_pa(), |table, level| entry(table, level, last));
                assert!(!E::may_read(copy), "reads of the page are kept from its own code, too");
                assert_eq!(walk::<E>(view.root_pa(), beside), (beside, false, false), "what changed meanwhile");
                assert_eq!(entry(view.root_pa(), TOP, last), before);
            }
        }
    }
}
