//! An address space in the RAM of the tests.

extern crate std;
use super::*;
use crate::arch::x86::direct::arena;
use crate::storms;
use std::vec::Vec;

/// A core that no other test has.
const CORE: u32 = 200;
const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const LARGE: u64 = 1 << 7;
/// Where the kernel maps all of RAM.
const MAP: u64 = 0xffff_8880_0000_0000;

/// Four tables for what begins at a multiple of 512 GiB, and the pages below.
struct Space {
    tables: [u64; 4],
}

impl Space {
    fn new() -> Space {
        let tables = [0; 4].map(|_| arena::run(1).unwrap() * FRAME_BYTES);
        let space = Space { tables };
        for pa in tables {
            assert!(hypercall::store(CORE, pa, &[0; 4096]));
        }
        for level in 0..3 {
            space.set(level, 0, tables[level + 1] | PRESENT | WRITABLE);
        }
        // All of RAM, by pages of 2 MiB, in tables of their own.
        let [upper, lower] = [0; 2].map(|_| arena::run(1).unwrap() * FRAME_BYTES);
        for pa in [upper, lower] {
            assert!(hypercall::store(CORE, pa, &[0; 4096]));
        }
        space.set(0, MAP >> 39 & 511, upper | PRESENT | WRITABLE);
        word(upper, lower | PRESENT | WRITABLE);
        for page in 0..arena::FRAMES / 512 {
            word(lower + page * 8, page << 21 | LARGE | PRESENT | WRITABLE);
        }
        space
    }

    fn set(&self, level: usize, slot: u64, entry: u64) {
        word(self.tables[level] + slot * 8, entry);
    }

    /// Maps a frame of its own at a page; its physical address.
    fn page(&self, page: u64, bits: u64) -> u64 {
        let pa = arena::run(1).unwrap() * FRAME_BYTES;
        assert!(hypercall::store(CORE, pa, &[0; 4096]));
        self.set(3, page, pa | PRESENT | bits);
        pa
    }

    fn memory(&self) -> Memory {
        Memory::new(CORE, false, self.tables[0], MAP)
    }

    fn physical(&self) -> Memory {
        Memory::new(CORE, true, self.tables[0], MAP)
    }
}

fn word(pa: u64, value: u64) {
    assert!(hypercall::store(CORE, pa, &value.to_le_bytes()));
}

fn read(memory: &Memory, address: u64, bytes: usize) -> (Vec<u8>, u32) {
    let mut to = std::vec![0xee; bytes];
    let (done, why) = memory.read(address, &mut to);
    to.truncate(done);
    (to, why)
}

fn frame_of_root() -> u64 {
    storms::power_on_once();
    (0..arena::FRAMES).find(|pfn| bank::owns(CORE, *pfn)).unwrap() * FRAME_BYTES
}

/// Would catch a read that stops at a border that is mapped, goes on over one that is not, or wraps.
#[test]
fn bytes_are_read_up_to_the_first_that_cannot_be_and_the_reason_is_told() {
    let space = Space::new();
    let (first, second) = (space.page(1, 0), space.page(2, 0));
    assert!(hypercall::store(CORE, first + 0xffe, b"ab") && hypercall::store(CORE, second, b"cd"));
    let memory = space.memory();
    assert_eq!(read(&memory, 0x1ffe, 4), (b"abcd".to_vec(), code::SUCCESS));
    let (bytes, why) = read(&memory, 0x2ffc, 8);
    assert_eq!((bytes.len(), why), (4, code::ADDRESS_INVALID));
    assert_eq!(read(&memory, 0x3000, 8), (Vec::new(), code::ADDRESS_INVALID));
    assert_eq!(read(&memory, 0x8000_0000_1000, 8), (Vec::new(), code::ADDRESS_INVALID), "not canonical");
    assert_eq!(read(&memory, u64::MAX, 2).1, code::ADDRESS_INVALID);
    let end = arena::FRAMES * FRAME_BYTES;
    let (bytes, why) = read(&space.physical(), end - 2, 4);
    assert_eq!((bytes.len(), why), (2, code::PHYSICAL_INVALID));
    assert_eq!(read(&space.physical(), first + 0xffe, 2).0, b"ab");
    assert_eq!(read(&memory, MAP + first + 0xffe, 2).0, b"ab");
    // An entry that leads out of RAM.
    space.set(3, 5, end | PRESENT);
    assert_eq!(read(&memory, 0x5000, 1), (Vec::new(), code::PHYSICAL_INVALID));
}

/// Would catch a byte of root's that is shown or changed, by its physical address, by a page that maps it, or as a table.
#[test]
fn roots_own_frames_are_neither_shown_nor_written_nor_walked() {
    let space = Space::new();
    let root = frame_of_root();
    space.set(3, 7, root | PRESENT | WRITABLE);
    // As a table it is zeros, whatever it holds.
    space.set(2, 1, root | PRESENT | WRITABLE);
    for (memory, address) in [(space.memory(), 0x7000), (space.physical(), root), (space.memory(), MAP + root)] {
        assert_eq!(read(&memory, address, 1), (Vec::new(), code::MEMORY_OF_ROOT));
        assert_eq!(memory.write(address, &[1]), (code::MEMORY_OF_ROOT, Written::default()));
    }
    assert!(!hypercall::store(CORE, root, &[1]));
    let look = space.memory().translation(1 << 21).unwrap();
    assert_eq!((look.mapped, look.levels, look.entries[3]), (0, 4, request::memory::Entry { at: root, value: 0 }));
}

/// Would catch half a write, a protection that is asked or not told, and a word at a wrong place.
#[test]
fn a_write_is_done_whole_or_not_at_all() {
    let space = Space::new();
    let (first, second) = (space.page(1, WRITABLE), space.page(2, 0));
    let memory = space.memory();
    let bytes: Vec<u8> = (1..=19).collect();
    let (code, written) = memory.write(0x1ff3, &bytes);
    assert_eq!((code, written), (code::SUCCESS, Written { bytes: 19, read_only: 1, physical: first + 0xff3 }));
    assert_eq!(read(&memory, 0x1ff2, 21).0, [&[0], bytes.as_slice(), &[0]].concat());
    assert_eq!(read(&space.physical(), second, 6).0, bytes[13..]);
    let (code, written) = memory.write(0x2ffe, b"wxyz");
    assert_eq!((code, written), (code::ADDRESS_INVALID, Written { bytes: 2, ..Written::default() }));
    assert_eq!(read(&memory, 0x2ffe, 2).0, [0, 0], "nothing was written");
}

/// Would catch a place that is missed at a border of a page or of what is looked at in one go, one that is told twice, one
/// across a hole or beyond the end, and a search without an end.
#[test]
fn every_place_is_found_once_and_holes_are_passed() {
    let space = Space::new();
    for page in [1, 2, 3, 8] {
        space.page(page, WRITABLE);
    }
    let memory = space.memory();
    let wanted: Vec<u64> = std::vec![0x1000, 0x17fe, 0x17ff, 0x1ffe, 0x2a00, 0x3ffb, 0x8000, 0x8ffd];
    for at in &wanted {
        memory.write(*at, b"abc");
    }
    // The last two bytes before a hole are no place.
    memory.write(0x3fff, b"a");
    // 0x17fe was overwritten by the one that begins a byte later.
    let wanted: Vec<u64> = wanted.into_iter().filter(|at| *at != 0x17fe).collect();
    let search = |start: u64, bytes: u64, pattern: &[u8], step| {
        let (mut all, mut done, mut unreadable, mut asked) = (Vec::new(), 0, 0, 0);
        while done < bytes {
            let (found, places) = memory.search(start + done, bytes - done, pattern, step);
            assert!(found.done > 0, "it gets on");
            all.extend_from_slice(&places[..found.count as usize]);
            (done, unreadable, asked) = (done + found.done, unreadable + found.unreadable, asked + 1);
        }
        (all, unreadable, asked)
    };
    assert_eq!(search(0, 0x20_0000, b"abc", 1).0, wanted);
    assert_eq!(search(0, 0x9000, b"abc", 1).1, 0x5000);
    assert_eq!(search(0x1000, 0x8000, b"abc", 4).0, [0x1000, 0x2a00, 0x8000]);
    assert_eq!(search(0x1000, 3, b"abc", 1).0, [0x1000]);
    assert_eq!(search(0x1000, 2, b"abc", 1).0, [0; 0]);
    assert_eq!(search(0x17ff, 0x27fe, b"abc", 1).0, [0x17ff, 0x1ffe, 0x2a00], "the last byte is beyond the end");
    // 512 holes at each of three levels, not one for each page.
    assert_eq!(search(0, 1 << 39, b"abc", 1).2, 13);
    let (beyond, _) = space.physical().search(arena::FRAMES * FRAME_BYTES, 1 << 50, b"abc", 1);
    assert_eq!((beyond.done, beyond.unreadable), (1 << 50, 1 << 50), "what is beyond RAM is one hole");
    let zeros = search(0x2000, 0x1000, &[0; 8], 8).0;
    assert_eq!(zeros.len(), 510, "more than one answer can name, each once");
    assert!(zeros.is_sorted() && zeros.windows(2).all(|two| two[0] < two[1]));
    assert_eq!(search(u64::MAX - 3, u64::MAX, b"a", 1).0, [0; 0]);
}

/// Would catch the kernel's half of a program that has none of it, or a page that is taken for a table because a bit of its
/// address is set.
#[test]
fn a_programs_tables_are_completed_by_the_kernels_if_they_are_isolated() {
    let space = Space::new();
    let pa = space.page(1, 0);
    assert!(hypercall::store(CORE, pa, b"x"));
    // Two pages as Linux has them: the kernel's at an even one.
    let both = (arena::run(3).unwrap() * FRAME_BYTES).next_multiple_of(2 * FRAME_BYTES);
    let mut kernels = [0; 4096];
    direct::copy_out(space.tables[0], &mut kernels);
    assert!(hypercall::store(CORE, both, &kernels));
    assert!(hypercall::store(CORE, both + FRAME_BYTES, &[0; 4096]));
    let isolated = Memory::new(CORE, false, both + FRAME_BYTES | 0x800, MAP);
    assert_eq!(isolated.kernel, Some(both));
    assert_eq!(read(&isolated, MAP + pa, 1).0, b"x");
    assert_eq!(read(&isolated, 0x1000, 1).1, code::ADDRESS_INVALID, "the lower half is its own");
    // Without isolation what lies below is no table.
    assert!(hypercall::store(CORE, both, &[0; 4096]) && hypercall::store(CORE, both + FRAME_BYTES, &kernels));
    let plain = Memory::new(CORE, false, both + FRAME_BYTES, MAP);
    assert_eq!(plain.kernel, Some(both + FRAME_BYTES));
    assert!(hypercall::store(CORE, both + FRAME_BYTES, &[0; 4096]));
    assert_eq!(Memory::new(CORE, false, both + FRAME_BYTES, MAP).kernel, None, "neither has the map");
}

/// Would catch a view of another process that shows this one's memory, or that has no kernel of its own to fall back on.
#[test]
fn tables_that_are_named_are_those_that_are_walked() {
    let (space, other) = (Space::new(), Space::new());
    let (here, there) = (space.page(1, 0), other.page(1, 0));
    assert!(hypercall::store(CORE, here, b"h") && hypercall::store(CORE, there, b"t"));
    let frame = |tables: u64| u32::try_from(tables / FRAME_BYTES).unwrap();
    let place = |tables| Place { address: 0x1000, space: BY_TABLES, pid: frame(tables) };
    for (tables, byte) in [(other.tables[0], b"t"), (space.tables[0], b"h")] {
        let memory = Memory::of(CORE, space.tables[0], place(tables)).unwrap_or_else(|code| panic!("{code:x}"));
        assert_eq!(read(&memory, 0x1000, 1).0, byte);
        assert_eq!(memory.translation(0x1000).unwrap().tables, tables);
    }
    // What is no table maps nothing, and is not followed out of RAM.
    for none in [here, 0xffff_ffff * FRAME_BYTES] {
        let memory = Memory::of(CORE, space.tables[0], place(none)).unwrap_or_else(|code| panic!("{code:x}"));
        assert_eq!(read(&memory, 0x1000, 1).1, code::ADDRESS_INVALID);
    }
}

/// Would catch a device that is read as if it were RAM.
#[test]
fn what_the_kernel_does_not_map_is_no_ram() {
    let space = Space::new();
    let upper = direct::read(space.tables[0] + (MAP >> 39 & 511) * 8).unwrap() & TABLES;
    let lower = direct::read(upper).unwrap() & TABLES;
    // The last 2 MiB, where nothing else is.
    let hole = arena::FRAMES / 512 - 1;
    assert_ne!(space.tables[0] >> 21, hole);
    word(lower + hole * 8, 0);
    assert_eq!(read(&space.physical(), hole << 21, 1).1, code::PHYSICAL_INVALID);
    assert_eq!(read(&space.physical(), (hole << 21) - 1, 2).0.len(), 1);
}

/// Would catch a translation that leaves out a level, or a physical address that is found where the map does not have it.
#[test]
fn both_ways_of_a_translation_show_each_level() {
    let space = Space::new();
    let pa = space.page(3, WRITABLE);
    let there = space.memory().translation(0x3123).unwrap();
    assert_eq!((there.mapped, there.physical, there.page_bytes, there.levels), (1, pa + 0x123, 0x1000, 4));
    assert_eq!((there.entries[0].at, there.entries[3].at), (space.tables[0], space.tables[3] + 0x18));
    assert_eq!(there.entries[3].value, pa | PRESENT | WRITABLE);
    let back = space.physical().translation(pa + 0x123).unwrap();
    assert_eq!((back.mapped, back.linear, back.physical, back.levels), (1, MAP + pa + 0x123, pa + 0x123, 3));
    assert_eq!(back.page_bytes, 0x20_0000);
    assert_eq!(space.physical().translation(1 << 45).unwrap().mapped, 0);
    assert_eq!(Memory::new(CORE, true, space.tables[0], 0).translation(pa), Err(code::PHYSICAL_INVALID));
    let nowhere = space.memory().translation(1 << 47).unwrap();
    assert_eq!((nowhere.mapped, nowhere.levels), (0, 0));
}

/// Would catch a request of any length or content that is not refused, or that is answered beyond its room.
#[test]
fn requests_that_are_none_are_refused() {
    let mut room = [0; ANSWER_BYTES_MAX];
    let mut ask = |what, body: &[u8]| answer(CORE, 0, what, body, &mut room);
    let place = Place { address: 0, space: PHYSICAL, pid: NO_PID };
    let span = |bytes, zero, space| Span { place: Place { space, ..place }, bytes, zero };
    for (bytes, zero, space) in [(3841, 0, PHYSICAL), (1, 1, PHYSICAL), (1, 0, 3)] {
        let ask = ask(op::MEMORY_READ, span(bytes, zero, space).as_bytes());
        assert_eq!(ask, (code::REQUEST_MALFORMED, 0));
    }
    assert_eq!(ask(op::MEMORY_READ, span(3840, 0, PHYSICAL).as_bytes()), (code::SUCCESS, 8 + 3840));
    for bytes in [0, 1025] {
        let body = [span(u32::try_from(bytes).unwrap(), 0, PHYSICAL).as_bytes(), &std::vec![0; bytes]].concat();
        assert_eq!(ask(op::MEMORY_WRITE, &body), (code::REQUEST_MALFORMED, 0));
    }
    let search = |step, pattern_bytes| Search { place, bytes: 1, step, pattern_bytes, pattern: [0; PATTERN_BYTES_MAX] };
    for (step, bytes) in [(0, 1), (2, 1), (1, 0), (1, 65)] {
        assert_eq!(ask(op::MEMORY_SEARCH, search(step, bytes).as_bytes()), (code::REQUEST_MALFORMED, 0));
    }
    let of_process = Place { pid: 77, ..place };
    assert_eq!(ask(op::TRANSLATE, of_process.as_bytes()), (code::PID_INVALID, 0));
    assert_eq!(ask(op::TRANSLATE, &[0; 15]), (code::REQUEST_MALFORMED, 0));
}
