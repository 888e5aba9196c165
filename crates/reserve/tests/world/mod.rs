//! A machine for tests: tables and blocks out of nothing. Frame numbers stand for no memory, and none is needed.

#![allow(dead_code, reason = "each test file uses its part of it")]

use reserve::sync::AtomicU64;
use reserve::{Block, KindPlan, Plan, Reserve, Shape, Slot, table_words};

/// Kinds in the tests, by what is special about them.
pub const FRAME: usize = 0;
/// A frame and 128 bytes: slabs of 7 frames with 6 units.
pub const BUNDLE: usize = 1;
/// Two thirds of a frame short of three: slabs of 7 frames with 3 units.
pub const SMALL: usize = 2;
/// 20 frames side by side.
pub const RUN: usize = 3;
/// Four on a frame.
pub const TINY: usize = 4;
pub const KINDS: usize = 5;

pub type World = Reserve<'static, KINDS>;

/// A kind with these marks.
pub const fn kind(frames: u32, bytes: u32, low: u64, target: u64, high: u64) -> KindPlan {
    KindPlan { shape: Shape { frames, bytes }, low, target, high, ram_1024ths: 512 }
}

/// The plan of most tests: no marks, so nothing moves by itself.
pub const fn plan() -> Plan<KINDS> {
    let none = u64::MAX;
    Plan {
        kinds: [
            kind(1, 0, 0, 0, none),
            kind(1, 128, 0, 0, none),
            kind(0, 8572, 0, 0, none),
            kind(20, 0, 0, 0, none),
            kind(0, 72, 0, 0, none),
        ],
        ram_frames: 1 << 18,
        bank_target: 0,
    }
}

/// An empty reserve with a table for a block of each of these orders.
pub fn empty<const K: usize>(plan: &Plan<K>, orders: &[u32]) -> Reserve<'static, K> {
    let slots: &'static [Slot<'static>] = Box::leak(orders.iter().map(|_| Slot::new()).collect());
    let reserve = Reserve::new(plan, slots).expect("a sound plan");
    for order in orders {
        reserve.add_table(words(*order)).expect("a slot for each");
    }
    reserve
}

/// A reserve with a block of each of these orders in its bank.
pub fn with_blocks<const K: usize>(plan: &Plan<K>, orders: &[u32]) -> Reserve<'static, K> {
    let reserve = empty(plan, orders);
    for (number, order) in orders.iter().enumerate() {
        reserve.donate(block(number as u64, *order)).expect("a slot for each");
    }
    reserve
}

/// The words of a table.
pub fn words(order: u32) -> &'static [AtomicU64] {
    Box::leak((0..table_words(order)).map(|_| AtomicU64::new(0)).collect())
}

/// The block with this number; no two overlap.
pub fn block(number: u64, order: u32) -> Block {
    Block { pfn: 0x1000 + number * 512, order, used: 0, keep: false }
}
