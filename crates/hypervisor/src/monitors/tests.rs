//! Monitors of a machine whose cores are threads, over nested tables that only the tests walk.

extern crate std;
use super::*;
use crate::arch::model::views;
use crate::arch::x86::direct;
use crate::storms::{self, Prompt};
use abi::request::memory::{NO_PID, Place};
use abi::request::{EventAsk, EventChange, Ledger, op};
use std::vec;
use std::vec::Vec;
use zerocopy::{FromBytes, IntoBytes};

/// Beyond the RAM of the tests: what is monitored is never touched.
const FIRST: u64 = 0x4_0000;
const LARGE: u64 = 512;
const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const LARGE_PAGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

fn ask(prompt: &mut Prompt, from: u64, bytes: u64, access: u32) -> (u32, EventAnswer) {
    let event = EventAsk { kind: event::MONITOR, stage: event::PRE, core: event::ALL, pid: event::ALL, ..EventAsk::default() };
    let place = Place { address: from, space: PHYSICAL, pid: NO_PID };
    let ask = Ask { event, place, last: from + (bytes - 1), access, zero: 0 };
    let (code, body) = prompt.ask(op::MONITOR_ADD, ask.as_bytes());
    (code, EventAnswer::read_from_bytes(&body).unwrap())
}

fn added(prompt: &mut Prompt, from: u64, bytes: u64, access: u32) -> u32 {
    let (code, answer) = ask(prompt, from, bytes, access);
    assert_eq!(code, code::SUCCESS, "{answer:x?}");
    answer.id
}

fn change(prompt: &mut Prompt, what: u32, id: u32) {
    assert_eq!(prompt.ask(op::EVENT_CHANGE, EventChange { what, id }.as_bytes()).0, code::SUCCESS);
}

/// Free and used units of monitors.
fn units(prompt: &mut Prompt) -> [u64; 2] {
    let (_, body) = prompt.ask(op::LEDGER, &[]);
    let row = Ledger::read_from_bytes(&body).unwrap().kinds[Kind::Monitor.index()];
    [row.free, row.used]
}

/// What the guarded view lets the guest do with a frame: read, write, fetch; and how large the page is that says so.
fn allowed(pfn: u64) -> ([bool; 3], u32) {
    let mut table = views(|views| views.root_pa());
    let mut may = [true; 3];
    for level in (0..4).rev() {
        let entry = direct::read((table & ADDRESS) + (pfn >> (9 * level) & 511) * 8).unwrap();
        let is = [entry & PRESENT != 0, entry & WRITABLE != 0, entry & NO_EXECUTE == 0];
        may = [may[0] && is[0], may[1] && is[1], may[2] && is[2]];
        if level == 0 || level < 3 && entry & LARGE_PAGE != 0 {
            let below = (1 << (9 * level)) - 1;
            assert_eq!(entry & ADDRESS, (pfn & !below) * FRAME_BYTES, "mapped to itself");
            return (if may[0] { may } else { [false; 3] }, level);
        }
        table = entry;
    }
    unreachable!()
}

const ALL: [bool; 3] = [true; 3];

/// Would catch a large page that is divided without need or stays divided, a right that is taken from a neighbour, and a monitor
/// that gets a part of its units (facts B.33: 21 pages with 20 units are refused whole, and 20 are free).
#[test]
fn a_monitor_is_paid_whole_or_not_at_all_and_leaves_nothing_behind() {
    let prompt = &mut *storms::machine();
    let [free, used] = units(prompt);
    assert_eq!((free, used), (20, 0));
    let (code, answer) = ask(prompt, FIRST * FRAME_BYTES + 0xfff, 20 * FRAME_BYTES, WRITE);
    assert_eq!((code, answer.unit, answer.asked, answer.free), (code::NO_HOOK_PAGE, Kind::Monitor as u32, 21, 20));
    assert_eq!((units(prompt), allowed(FIRST)), ([20, 0], (ALL, 2)));
    let sixteen: Vec<u32> = (0..16).map(|nth| added(prompt, (FIRST + nth * 600) * FRAME_BYTES + 8, 1, WRITE)).collect();
    assert_eq!(units(prompt), [4, 16]);
    for nth in 0..16 {
        assert_eq!(allowed(FIRST + nth * 600), ([true, false, true], 0));
        assert_eq!(allowed(FIRST + nth * 600 + 1), (ALL, 0));
    }
    assert_eq!(allowed(FIRST + 20 * LARGE), (ALL, 1), "another 2 MiB of that GiB");
    sixteen.into_iter().for_each(|id| change(prompt, event::CLEAR, id));
    assert_eq!((units(prompt), allowed(FIRST)), ([20, 0], (ALL, 2)));
    // Two whole large pages, and a page before and behind them.
    let id = added(prompt, (FIRST + LARGE - 1) * FRAME_BYTES, (2 * LARGE + 2) * FRAME_BYTES, READ | EXECUTE);
    assert_eq!(units(prompt), [16, 4]);
    for (pfn, level) in [(LARGE - 1, 0), (LARGE, 1), (3 * LARGE - 1, 1), (3 * LARGE, 0)] {
        assert_eq!(allowed(FIRST + pfn), ([false; 3], level), "{pfn:x}");
    }
    assert_eq!((allowed(FIRST + LARGE - 2), allowed(FIRST + 3 * LARGE + 1)), ((ALL, 0), (ALL, 0)));
    change(prompt, event::DISABLE, id);
    assert_eq!((allowed(FIRST + LARGE), allowed(FIRST + 3 * LARGE)), ((ALL, 1), (ALL, 0)));
    change(prompt, event::ENABLE, id);
    assert_eq!(allowed(FIRST + LARGE), ([false; 3], 1));
    change(prompt, event::CLEAR, event::ALL);
    let whole = added(prompt, FIRST * FRAME_BYTES, 512 * LARGE * FRAME_BYTES, EXECUTE);
    assert_eq!((units(prompt), allowed(FIRST + 77777)), ([19, 1], ([true, true, false], 2)));
    change(prompt, event::CLEAR, whole);
    assert_eq!((units(prompt), allowed(FIRST)), ([20, 0], (ALL, 2)));
    let (code, answer) = ask(prompt, 1 << 50, 8, WRITE);
    assert_eq!((code, answer.bytes), (code::PHYSICAL_INVALID, 1 << 50));
    let (code, answer) = ask(prompt, FIRST * FRAME_BYTES, (MONITOR_PIECES_MAX + 1) * FRAME_BYTES - 1, WRITE);
    assert_eq!(code, code::NO_HOOK_PAGE, "{answer:x?}: large pages");
    assert_eq!(ask(prompt, FIRST * FRAME_BYTES, 8, 0).0, code::REQUEST_MALFORMED);
    assert_eq!(ask(prompt, FIRST * FRAME_BYTES, 8, 8).0, code::REQUEST_MALFORMED);
}

/// One monitor of the test below, as it was asked for.
#[derive(Clone, Copy)]
struct Known {
    id: u32,
    from: u64,
    last: u64,
    access: u32,
    enabled: bool,
}

/// Would catch rights or records of one monitor that go, come or move with another's, in any order; a table that is lost when the
/// one whose frame it lies in goes first; and a unit that does not come back.
#[test]
fn any_order_of_monitors_comes_and_goes_and_each_frame_has_what_is_left() {
    let prompt = &mut *storms::machine();
    assert_eq!(units(prompt)[1], 0);
    let mut seed = 0x1234_5678_9abc_def1_u64;
    let mut random = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let mut known: Vec<Known> = vec![];
    // Within three large pages, so that they meet.
    let (base, bytes) = (FIRST * FRAME_BYTES, 3 * LARGE * FRAME_BYTES);
    for round in 0..3000 {
        match random(5) {
            0 | 1 if known.len() < 12 => {
                let from = base + random(bytes);
                let length = match random(4) {
                    0 => 1,
                    1 => 1 + random(16),
                    2 => 1 + random(3 * FRAME_BYTES),
                    _ => LARGE * FRAME_BYTES,
                };
                let from = if length == LARGE * FRAME_BYTES { from & !(length - 1) } else { from };
                let access = 1 + u32::try_from(random(7)).unwrap();
                match ask(prompt, from, length, access) {
                    (code::SUCCESS, EventAnswer { id, .. }) => {
                        known.push(Known { id, from, last: from + (length - 1), access, enabled: true });
                    }
                    (code, answer) => assert_eq!(code, code::NO_HOOK_PAGE, "{answer:x?}"),
                }
            }
            2 if !known.is_empty() => {
                let at = usize::try_from(random(known.len() as u64)).unwrap();
                change(prompt, event::CLEAR, known.swap_remove(at).id);
            }
            _ if !known.is_empty() => {
                let at = usize::try_from(random(known.len() as u64)).unwrap();
                let enabled = random(2) == 0;
                known[at].enabled = enabled;
                change(prompt, if enabled { event::ENABLE } else { event::DISABLE }, known[at].id);
            }
            _ => {}
        }
        // Frames at the ends of all monitors, and anywhere.
        let mut frames: Vec<u64> = known.iter().flat_map(|one| [one.from, one.last]).map(|at| at / FRAME_BYTES).collect();
        frames.extend((0..4).map(|_| FIRST + random(3 * LARGE)));
        for pfn in frames {
            let (first, last) = (pfn * FRAME_BYTES, pfn * FRAME_BYTES + (FRAME_BYTES - 1));
            let here: Vec<&Known> = known.iter().filter(|one| one.enabled && one.from <= last && one.last >= first).collect();
            let kept = here.iter().fold(0, |all, one| all | one.access);
            let [read, write, fetch] = [READ, WRITE, EXECUTE].map(|bit| kept & bit == 0);
            let wanted = if read { [true, write, fetch] } else { [false; 3] };
            assert_eq!(allowed(pfn).0, wanted, "round {round}, frame {pfn:x}");
            let mut told: Vec<(u32, u64, u64)> =
                of_frame(pfn).map(|one| (one.id, one.range.0.max(first), one.range.1.min(last))).collect();
            let mut wanted: Vec<(u32, u64, u64)> =
                here.iter().map(|one| (one.id, one.from.max(first), one.last.min(last))).collect();
            told.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(told, wanted, "round {round}, frame {pfn:x}");
        }
    }
    change(prompt, event::CLEAR, event::ALL);
    assert_eq!(units(prompt)[1], 0);
    assert_eq!((allowed(FIRST), allowed(FIRST + LARGE)), ((ALL, 2), (ALL, 2)), "as it was before");
    assert!(CHAINS.iter().all(|chain| chain.load(SeqCst) == 0));
}

/// Would catch a page of the kernel's map that is taken for several, or several that are taken for one since their addresses follow
/// each other and their frames do not.
#[test]
fn pieces_are_as_large_as_what_lies_side_by_side() {
    let pieces = |from, last| {
        let pieces = Pieces { at: Some(from), last, space: None };
        pieces.map(|piece| piece.unwrap()).map(|piece| (piece.run.pfn, piece.run.level, piece.range)).collect::<Vec<_>>()
    };
    assert_eq!(pieces(0x1234, 0x1234), [(1, 0, (0x234, 0x234))]);
    assert_eq!(pieces(0x1fff, 0x2000), [(1, 0, (0xfff, 0xfff)), (2, 0, (0, 0))]);
    assert_eq!(pieces(0x1f_f000, 0x40_0fff), [(0x1ff, 0, (0, 0xfff)), (0x200, 1, (0, 0x1f_ffff)), (0x400, 0, (0, 0xfff))]);
    assert_eq!(pieces(0x4000_0000, 0x7fff_ffff), [(0x4_0000, 2, (0, 0x3fff_ffff))]);
    assert_eq!(pieces(u64::MAX, u64::MAX), [(u64::MAX >> 12, 0, (0xfff, 0xfff))]);
}
