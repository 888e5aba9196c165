//! The two pools that are compared: ours, and the textbook's. Both have 8 kinds, a unit of 4 KiB each.

#![allow(dead_code, reason = "each bench uses its part of it")]

use reserve::sync::AtomicU64;
use reserve::{Block, Core, Cost, Handle, KindPlan, Owner, Plan, Reserve, Shape, Slot, table_words};
use std::hint::black_box;

pub const KINDS: usize = 8;
/// The kind whose units lie last in the textbook's list.
pub const DEEPEST: usize = KINDS - 1;
pub const SIZES: [usize; 6] = [10, 100, 1_000, 10_000, 100_000, 1_000_000];
pub const BUSY_PERCENTS: [usize; 3] = [0, 50, 90];

/// Units of each kind when there are `size` of all: the later kinds have one more.
fn units_of(kind: usize, size: usize) -> usize {
    size * (kind + 1) / KINDS - size * kind / KINDS
}

/// Units of those that are busy; one is always free.
fn busy_of(units: usize, percent: usize) -> usize {
    (units * percent / 100).min(units - 1)
}

/// Ours.
pub struct Ours {
    pub reserve: Reserve<'static, KINDS>,
    pub busy: Vec<Handle>,
}

impl Ours {
    pub fn new(size: usize, busy_percent: usize) -> Self {
        let (reserve, mut busy) = (bank(size), Vec::new());
        for kind in 0..KINDS {
            let units = units_of(kind, size);
            reserve.prealloc(kind, units as u64).expect("the bank suffices");
            let count = busy_of(units, busy_percent) as u64;
            let mut ticket = reserve.reserve(Core(0), &Cost::NONE.and(kind, count).unwrap()).unwrap();
            while let Some(handle) = ticket.spend(kind, Owner(1)) {
                busy.push(handle);
            }
        }
        reserve.audit().expect("everything adds up");
        Ours { reserve, busy }
    }

    /// Request and return of one unit that no owner was found for: ticket, and dropped.
    #[inline]
    pub fn ticket(&self, core: Core, cost: &Cost<KINDS>) {
        drop(self.reserve.reserve(core, black_box(cost)).unwrap());
    }

    /// Request and return of one unit: cost, ticket, owner, handle, free again.
    #[inline]
    pub fn cycle(&self, core: Core, cost: &Cost<KINDS>, kind: usize) {
        let mut ticket = self.reserve.reserve(core, black_box(cost)).unwrap();
        let handle = ticket.spend(kind, Owner(2)).unwrap();
        self.reserve.give(core, black_box(handle)).unwrap();
    }
}

/// What one unit of a kind costs.
pub fn one(kind: usize) -> Cost<KINDS> {
    Cost::NONE.and(kind, 1).unwrap()
}

/// A reserve whose bank has room for `size` units.
pub fn bank(size: usize) -> Reserve<'static, KINDS> {
    let kind = KindPlan { shape: Shape { frames: 1, bytes: 0 }, low: 0, target: 0, high: u64::MAX, ram_1024ths: 1024 };
    let blocks = size.div_ceil(512);
    let slots: &'static [Slot<'static>] = Vec::leak((0..blocks).map(|_| Slot::new()).collect());
    let plan = Plan { kinds: [kind; KINDS], ram_frames: 1 << 30, bank_target: 0 };
    let reserve = Reserve::new(&plan, slots).unwrap();
    for block in 0..blocks {
        reserve.add_table(Vec::leak((0..table_words(9)).map(|_| AtomicU64::new(0)).collect())).unwrap();
        let pfn = (block as u64 + 1) * 512;
        reserve.donate(Block { pfn, order: 9, used: 0, keep: false }).unwrap();
    }
    reserve
}

/// The textbook's: one linked list of all kinds, one lock, the first free unit of the kind is it. A return names the
/// unit's memory, as everywhere, and the list is searched for it. The lock is a spin lock and the nodes lie in memory in
/// the order of the list, both to its favour.
pub struct Textbook {
    list: spin::Mutex<Vec<Node>>,
}

/// One unit of the list.
struct Node {
    kind: usize,
    pfn: u64,
    owner: u32,
    busy: bool,
    /// The next node's place in the list; the first one is at 0.
    next: usize,
}

impl Textbook {
    pub fn new(size: usize, busy_percent: usize) -> Self {
        let mut list = Vec::new();
        for kind in 0..KINDS {
            let units = units_of(kind, size);
            for unit in 0..units {
                let (busy, number) = (unit < busy_of(units, busy_percent), list.len());
                list.push(Node { kind, pfn: 0x1000 + number as u64, owner: 0, busy, next: number + 1 });
            }
        }
        Textbook { list: spin::Mutex::new(list) }
    }

    fn take(&self, kind: usize) -> (usize, u64) {
        let kind = black_box(kind);
        let mut list = self.list.lock();
        let mut unit = 0;
        while list[unit].kind != kind || list[unit].busy {
            unit = list[unit].next;
        }
        let node = &mut list[unit];
        (node.busy, node.owner) = (true, 2);
        (unit, node.pfn)
    }

    /// Request and return of one unit.
    #[inline]
    pub fn cycle(&self, kind: usize) {
        let pfn = black_box(self.take(kind).1);
        let mut list = self.list.lock();
        let mut unit = 0;
        while list[unit].pfn != pfn {
            unit = list[unit].next;
        }
        list[unit].busy = false;
    }

    /// The same, if a return knew its node: what no such pool offers, for comparison.
    #[inline]
    pub fn cycle_by_node(&self, kind: usize) {
        let unit = black_box(self.take(kind).0);
        self.list.lock()[unit].busy = false;
    }
}
