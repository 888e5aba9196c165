//! How an embedder finds writes to memory that was given back: the reserve knows frame numbers only, so poison is filled
//! and checked outside, just before `give` and just after `spend`.

mod world;

use reserve::{Core, Cost, Handle, Owner};
use std::cell::RefCell;
use world::{BUNDLE, World, plan, with_blocks};

const POISON: u8 = 0xdb;

/// The memory of the block at frame 0x1000.
struct Memory {
    bytes: RefCell<Vec<u8>>,
}

impl Memory {
    fn new() -> Self {
        Memory { bytes: RefCell::new(vec![POISON; 512 * 4096]) }
    }

    /// Calls `each` with the bytes of the whole frames and of the small part.
    fn of(&self, reserve: &World, handle: Handle, mut each: impl FnMut(&mut [u8])) {
        let extent = reserve.extent(handle).unwrap();
        let at = |pfn: u64, offset: u32| usize::try_from((pfn - 0x1000) * 4096).unwrap() + offset as usize;
        let mut bytes = self.bytes.borrow_mut();
        each(&mut bytes[at(extent.pfn, 0)..][..extent.frames as usize * 4096]);
        each(&mut bytes[at(extent.small_pfn, extent.small_offset)..][..extent.small_bytes as usize]);
    }

    fn take(&self, reserve: &World) -> Result<Handle, &'static str> {
        let cost = Cost::NONE.and(BUNDLE, 1).unwrap();
        let handle = reserve.reserve(Core(0), &cost).unwrap().spend(BUNDLE, Owner(1)).unwrap();
        let mut intact = true;
        self.of(reserve, handle, |bytes| intact &= bytes.iter().all(|byte| *byte == POISON));
        if intact { Ok(handle) } else { Err("somebody wrote to a free unit") }
    }

    fn give(&self, reserve: &World, handle: Handle) {
        self.of(reserve, handle, |bytes| bytes.fill(POISON));
        reserve.give(Core(0), handle).unwrap();
    }
}

/// Would catch an extent that moves between two lives of a unit, or a part of it that nobody poisons.
#[test]
fn a_write_after_the_return_is_seen_by_the_next_owner() {
    let (reserve, memory) = (with_blocks(&plan(), &[9]), Memory::new());
    reserve.prealloc(BUNDLE, 3).unwrap();
    for late in [0, 4095, 4096, 4096 + 127] {
        let handle = memory.take(&reserve).unwrap();
        let extent = reserve.extent(handle).unwrap();
        memory.of(&reserve, handle, |bytes| bytes.fill(0x55));
        memory.give(&reserve, handle);
        let again = memory.take(&reserve).expect("nobody wrote yet");
        assert_eq!(reserve.extent(again), Ok(extent));
        memory.give(&reserve, again);
        // The first owner writes through what it remembers.
        let at = if late < 4096 {
            (extent.pfn - 0x1000) * 4096 + late
        } else {
            (extent.small_pfn - 0x1000) * 4096 + u64::from(extent.small_offset) + late - 4096
        };
        memory.bytes.borrow_mut()[usize::try_from(at).unwrap()] = 0;
        assert!(memory.take(&reserve).is_err(), "byte {late}");
        let taken = reserve.give_all(Core(0), Owner(1));
        assert_eq!(taken, 1);
        memory.bytes.borrow_mut().fill(POISON);
    }
}
