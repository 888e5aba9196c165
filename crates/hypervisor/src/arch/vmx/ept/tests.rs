//! What is Intel's own in nested tables: entries that processors refuse, pages that are only executed, types of memory, and
//! processors without large ones.
#![expect(unsafe_code, reason = "frames of the tests' own RAM")]

extern crate std;
use super::*;
use crate::arch::nested::executed::Executed;
use crate::arch::nested::guarded::{Guarded, entry};
use crate::arch::nested::open::Open;
use crate::arch::nested::{ADDRESS, TOP};
use crate::arch::vmx::mtrr::Range;
use crate::arch::x86::direct::{Frame, arena};
use crate::arch::{Guard, NoFrame, Run};
use abi::boot::Block;
use std::boxed::Box;
use std::vec::Vec;

const BITS: u32 = 36;
const END: u64 = 5 * GIB + (256 << 20);

fn frame() -> Option<Frame> {
    // SAFETY: the arena hands out each frame once.
    arena::run(1).map(|pfn| unsafe { Frame::claim(pfn) })
}

fn pfns<const N: usize>() -> [u64; N] {
    [0; N].map(|_| frame().unwrap().pfn())
}

/// RAM is write-back, with firmware's megabytes at its end below 2 GiB; devices are not; a screen is in the first MiB.
fn usual() -> Mtrrs {
    let all = (1 << BITS) - 1;
    let range = |base, bytes: u64, kind| Some(Range { base, mask: all & !(bytes - 1), kind });
    let mut mtrrs = Mtrrs::all(UNCACHED);
    mtrrs.ranges[0] = range(0, 2 * GIB, WRITE_BACK);
    mtrrs.ranges[1] = range(4 * GIB, GIB, WRITE_BACK);
    mtrrs.ranges[2] = range(5 * GIB, GIB >> 2, WRITE_BACK);
    mtrrs.ranges[3] = range(0x7fe0_0000, 2 << 20, UNCACHED);
    let mut fixed = [WRITE_BACK; 88];
    fixed[16..24].fill(UNCACHED);
    mtrrs.fixed = Some(fixed);
    mtrrs
}

fn built(execute_only: bool, gib_pages: bool) -> (Box<Open<Ept>>, Guarded<Ept>) {
    learn(execute_only, gib_pages, usual());
    let mut open = Box::new(Open::empty());
    open.build(BITS, END, &mut frame).unwrap();
    let mut guarded = Guarded::empty();
    guarded.build(open.root_pa(), END, &mut || frame().map(|frame| frame.pfn())).unwrap();
    (open, guarded)
}

/// What a walk finds for an address, if it is mapped there: the entry, and its level.
fn walk(root: u64, pa: u64) -> Option<(u64, u32)> {
    let mut table = root;
    for level in (0..=TOP).rev() {
        let found = entry(table, level, pa / FRAME_BYTES);
        if !Ept::is_there(found) {
            return None;
        }
        if level == 0 || Ept::is_large(found) {
            return Some((found, level));
        }
        table = found;
    }
    None
}

/// Has each entry of a table, and of those below it, be one that a processor takes (V1): 29.3.3.1 "EPT Misconfigurations".
fn is_sound(table: u64, level: u32, execute_only: bool) {
    const TYPES: [u64; 5] = [0, 1, 4, 5, 6];
    for slot in 0..512_u64 {
        let found = entry(table, level, slot << (9 * level));
        if !Ept::is_there(found) {
            continue;
        }
        let is_leaf = level == 0 || Ept::is_large(found);
        assert!(found & WRITE == 0 || found & READ != 0, "{found:x} is written and not read");
        assert!(execute_only || found & RIGHTS != EXECUTE, "{found:x} is only executed");
        assert_eq!(found >> BITS & ((1 << (52 - BITS)) - 1), 0, "{found:x} has an address beyond this processor's");
        assert_eq!(found >> 57, 0, "{found:x} has bits with meanings");
        assert_eq!(found & (7 << 8 | 1 << 6), 0, "{found:x} has bits of walks, of user code, or against the guest's types");
        if is_leaf {
            assert!(level < TOP && TYPES.contains(&(found >> TYPE & 7)), "{found:x} at level {level}");
            assert_eq!(found & ((FRAME_BYTES << (9 * level)) - 1) & ADDRESS, 0, "{found:x} is not aligned");
        } else {
            assert_eq!(found & 0xf8, 0, "{found:x} leads to a table");
            is_sound(found & ADDRESS, level - 1, execute_only);
        }
    }
}

/// Would catch an entry at which the processor stops with a misconfiguration, whatever is guarded, hidden, shown or executed.
#[test]
fn no_guard_makes_an_entry_that_processors_refuse() {
    for (execute_only, gib_pages) in [(true, true), (false, true), (true, false), (false, false)] {
        let (mut open, guarded) = built(execute_only, gib_pages);
        let mut view = Executed::<Ept>::of(pfns());
        let (tables, page) = (pfns(), 0x2_0003_u64);
        let block = Block { pfn: 0x2_0000, order: 4, used: 0 };
        for number in 0..3 * 32_u32 {
            let bit = |at: u32| number / 3 >> at & 1 != 0;
            let level = number % 3;
            let guard = Guard { covered: true, read: bit(0), write: bit(1), fetch: bit(2), shown: bit(3).then_some(0x77) };
            let run = Run { pfn: page >> (9 * level) << (9 * level), level };
            guarded.guard(run, guard, tables);
            if bit(4) {
                open.hide(block, &mut frame).unwrap();
                guarded.follow(block);
            }
            view.forget();
            let shows = view.aim(guarded.root_pa(), page, 0x78);
            for root in [open.root_pa(), guarded.root_pa(), guarded.closed_pa(), view.root_pa()] {
                is_sound(root, TOP, execute_only);
            }
            let rights = EXECUTE | if guard.read && level == 0 { 0 } else { READ };
            let copy = leaf(0x78 * FRAME_BYTES, WRITE_BACK, rights);
            assert!(!shows || walk(view.root_pa(), page * FRAME_BYTES) == Some((copy, 0)), "{guard:?}");
            if bit(4) {
                open.show(block);
                guarded.follow(block);
            }
            guarded.guard(run, Guard::default(), tables);
        }
        is_sound(guarded.root_pa(), TOP, execute_only);
    }
}

/// Would catch a hidden hook that readers find, one that costs exits to come and go, and a copy that is executed where the
/// processor cannot keep it from being read.
#[test]
fn what_is_not_read_is_executed_where_the_processor_can() {
    for (execute_only, rights) in [(true, EXECUTE), (false, 0)] {
        let (_open, guarded) = built(execute_only, true);
        let (run, tables) = (Run { pfn: 0x2_0003, level: 0 }, pfns());
        let hidden = Guard { covered: true, read: true, write: true, fetch: false, shown: Some(0x77) };
        let seen = || entry_of_page(&guarded, run.pfn);
        guarded.guard(run, hidden, tables);
        assert_eq!((seen() & RIGHTS, seen() & ADDRESS), (rights, 0x77 * FRAME_BYTES));
        assert_eq!(guarded.executed(run.pfn), execute_only.then_some(0x77));
        guarded.guard(run, Guard { shown: None, ..hidden }, tables);
        assert_eq!((seen() & RIGHTS, seen() & ADDRESS), (rights, run.pfn * FRAME_BYTES));
        guarded.guard(run, Guard { fetch: true, ..hidden }, tables);
        assert_eq!(seen() & RIGHTS, 0);
        assert_eq!(has_execute_only(), execute_only);
    }
}

/// What stands for a page in its own table of the guarded view.
fn entry_of_page(guarded: &Guarded<Ept>, pfn: u64) -> u64 {
    (0..=TOP).rev().fold(guarded.root_pa(), |table, level| entry(table, level, pfn))
}

/// Would catch devices that are cached, RAM that is not, a leaf of 1 GiB where the processor has none, and a table more than
/// the types ask for.
#[test]
fn leaves_are_as_large_as_the_processor_and_the_types_allow() {
    for gib_pages in [true, false] {
        let (open, guarded) = built(true, gib_pages);
        let largest = if gib_pages { 2 } else { 1 };
        let expected = [
            (0, Some((WRITE_BACK, 0))),
            (0xb_8000, Some((UNCACHED, 0))),
            (0x1f_f000, Some((WRITE_BACK, 0))),
            (2 << 20, Some((WRITE_BACK, 1))),
            (0x7fc0_0000, Some((WRITE_BACK, 1))),
            (0x7fe0_0000, Some((UNCACHED, 1))),
            (3 * GIB, Some((UNCACHED, largest))),
            (4 * GIB, Some((WRITE_BACK, largest))),
            (5 * GIB, Some((WRITE_BACK, 1))),
            (END, Some((UNCACHED, 1))),
            (6 * GIB, gib_pages.then_some((UNCACHED, 2))),
            (63 * GIB, gib_pages.then_some((UNCACHED, 2))),
            (64 * GIB, None),
        ];
        for (pa, expected) in expected {
            for root in [open.root_pa(), guarded.root_pa()] {
                let found = walk(root, pa);
                let large = |level| if level > 0 { LARGE } else { 0 };
                let expected = expected.map(|(kind, level)| (leaf(pa, kind, RIGHTS | large(level)), level));
                assert_eq!(found, expected, "{pa:x}, leaves of 1 GiB: {gib_pages}");
            }
        }
    }
}

/// Would catch tables that fill the memory which the module has brought, and a refusal of a machine that is not too large.
#[test]
fn without_large_leaves_more_than_64_gib_are_refused() {
    learn(true, false, Mtrrs::all(WRITE_BACK));
    let frames = |end| {
        let mut taken = Vec::new();
        let mut open = Box::new(Open::<Ept>::empty());
        let built = open.build(40, end, &mut || {
            taken.push(());
            frame()
        });
        built.map(|()| taken.len())
    };
    assert_eq!(frames(3 * GIB), Ok(4 + 4), "up to 4 GiB there are devices");
    assert_eq!(frames(64 * GIB), Ok(4 + 64));
    assert_eq!(frames(64 * GIB + 1), Err(NoFrame));
    learn(true, true, Mtrrs::all(WRITE_BACK));
    assert_eq!(frames(64 * GIB + 1), Ok(4 + 1), "two of 512 GiB");
}

/// Would catch a whole block that comes back as other memory than it was, or needs a table where one is.
#[test]
fn what_is_hidden_comes_back_with_its_type() {
    let (mut open, _guarded) = built(true, false);
    let (whole, small) = (Block { pfn: 0x400, order: 9, used: 0 }, Block { pfn: 0x7_fe10, order: 2, used: 0 });
    assert_eq!(open.tables_to_hide(whole), 0);
    open.hide(whole, &mut || None).unwrap();
    open.hide(small, &mut frame).unwrap();
    let zeros = walk(open.root_pa(), 0x400 << 12).unwrap();
    assert_eq!((zeros.0 & !ADDRESS, zeros.1), (READ | u64::from(WRITE_BACK) << TYPE, 0));
    assert_eq!(walk(open.root_pa(), 0x7_fe10 << 12), Some(zeros));
    open.show(whole);
    open.show(small);
    assert_eq!(walk(open.root_pa(), 0x400 << 12), Some((leaf(0x400 << 12, WRITE_BACK, RIGHTS | LARGE), 1)));
    assert_eq!(walk(open.root_pa(), 0x7_fe10 << 12), Some((leaf(0x7_fe10 << 12, UNCACHED, RIGHTS), 0)));
}
