//! The bank: blocks in, blocks out, and everything that is no block.

mod world;

use reserve::{BadBlock, BadPlan, BadTable, Block, KindPlan, Plan, Reserve, Shape, Slot, table_words};
use world::{FRAME, RUN, block, empty, plan, with_blocks, words};

/// Would catch a donation that is counted twice, not at all, or with the frames that the embedder uses.
#[test]
fn donated_frames_are_in_the_bank_or_with_the_embedder() {
    let reserve = empty(&plan(), &[9, 4]);
    reserve.donate(Block { used: 70, ..block(0, 9) }).unwrap();
    reserve.donate(Block { used: 2, ..block(1, 4) }).unwrap();
    let ledger = reserve.ledger();
    assert_eq!((ledger.frames, ledger.frames_embedder, ledger.frames_bank), (528, 72, 456));
    reserve.audit().unwrap();
}

/// Would catch a block taken that is no block: it could not be told from its neighbour later.
#[test]
fn a_block_of_a_wrong_shape_is_refused() {
    let reserve = empty(&plan(), &[9]);
    let good = block(0, 9);
    for bad in [
        Block { order: 10, pfn: 0, ..good },
        Block { order: 63, pfn: 0, ..good },
        Block { order: 64, pfn: 0, ..good },
        Block { pfn: good.pfn + 1, ..good },
        Block { pfn: 0u64.wrapping_sub(512), ..good },
        Block { used: 513, ..good },
    ] {
        assert_eq!(reserve.donate(bad), Err(BadBlock::Shape { block: bad }));
    }
    assert_eq!(reserve.ledger().frames, 0);
    reserve.donate(good).unwrap();
}

/// Would catch frames that are handed in twice: two owners would write to one page.
#[test]
fn a_block_that_is_here_already_is_refused_also_in_part() {
    let reserve = empty(&plan(), &[9, 9, 9]);
    reserve.donate(block(1, 9)).unwrap();
    let pfn = block(1, 9).pfn;
    for (first, order) in [(pfn, 9), (pfn, 4), (pfn + 496, 4)] {
        let twice = Block { pfn: first, order, used: 0, keep: false };
        assert_eq!(reserve.donate(twice), Err(BadBlock::Overlaps { pfn }));
    }
    reserve.donate(block(0, 9)).unwrap();
    reserve.donate(block(2, 9)).unwrap();
    reserve.audit().unwrap();
}

/// Would catch a block that outgrows its table, or a refusal that does not say what is missing.
#[test]
fn a_block_without_a_table_of_its_size_says_how_many_words_are_missing() {
    let reserve = empty(&plan(), &[4, 4]);
    assert_eq!(reserve.donate(block(0, 5)), Err(BadBlock::NoTable { words: table_words(5) }));
    reserve.donate(block(0, 4)).unwrap();
    reserve.donate(block(1, 4)).unwrap();
    assert_eq!(reserve.donate(block(2, 4)), Err(BadBlock::NoTable { words: table_words(4) }));
    assert_eq!(reserve.add_table(words(9)), Err(BadTable::SlotsFull { slots: 2 }));
    assert_eq!(reserve.add_table(&words(9)[..23]), Err(BadTable::Short { words: 23 }));
}

/// Would catch a block given back with a frame of it in use, one that must stay, or one that the bank needs.
#[test]
fn only_whole_blocks_above_the_target_are_given_back() {
    let reserve = empty(&Plan { bank_target: 512, ..plan() }, &[9, 9, 9]);
    reserve.donate(block(0, 9)).unwrap();
    reserve.donate(Block { used: 8, keep: true, ..block(1, 9) }).unwrap();
    reserve.donate(Block { used: 2, ..block(2, 9) }).unwrap();
    // One frame of the first block is in use, the second is kept, the third is whole.
    reserve.prealloc(FRAME, 1).unwrap();
    assert_eq!(reserve.reclaim(), Some(Block { used: 2, ..block(2, 9) }));
    reserve.audit().unwrap();
    assert_eq!(reserve.reclaim(), None);
    reserve.release(FRAME, 1).unwrap();
    // 512 + 504 frames: without the first block 504 would be left, below the target.
    assert_eq!(reserve.reclaim(), None);
    reserve.donate(block(5, 4)).unwrap();
    assert_eq!(reserve.reclaim(), Some(block(5, 4)), "1016 are left");
    assert_eq!(reserve.reclaim(), None);
    reserve.audit().unwrap();
    assert_eq!(reserve.ledger().frames, 1024);
}

/// Would catch a slot that cannot be used again, or keeps something of its last block.
#[test]
fn a_slot_takes_the_next_block_when_its_block_has_gone() {
    let reserve = empty(&plan(), &[9]);
    for (round, order) in (0..20).zip([9, 4, 6].into_iter().cycle()) {
        reserve.donate(block(round, order)).unwrap();
        reserve.prealloc(FRAME, 16).unwrap();
        assert_eq!(reserve.reclaim(), None);
        reserve.release(FRAME, 16).unwrap();
        assert_eq!(reserve.reclaim(), Some(block(round, order)));
        assert_eq!(reserve.ledger().frames, 0);
        reserve.audit().unwrap();
    }
}

/// Would catch a table that is asked for although one waits, and one that is promised and belongs to a block.
#[test]
fn a_vacant_table_is_known_by_its_size() {
    let reserve = empty(&plan(), &[9, 4]);
    let vacant = || [reserve.has_vacant_table(9), reserve.has_vacant_table(6), reserve.has_vacant_table(4)];
    assert_eq!(vacant(), [true, false, true]);
    reserve.donate(block(0, 9)).unwrap();
    assert_eq!(vacant(), [false, false, true]);
    assert_eq!(reserve.reclaim(), Some(block(0, 9)));
    assert_eq!(vacant(), [true, false, true]);
}

/// Would catch a run that crosses from one block or group into the next.
#[test]
fn a_run_is_taken_only_where_its_frames_lie_side_by_side() {
    let reserve = with_blocks(&plan(), &[4, 4, 4, 4]);
    assert!(reserve.prealloc(RUN, 1).is_err(), "64 frames, but no 20 in a row");
    reserve.audit().unwrap();
    let reserve = with_blocks(&plan(), &[9]);
    reserve.prealloc(RUN, 24).unwrap();
    assert!(reserve.prealloc(RUN, 1).is_err(), "3 in each group of 64");
    assert_eq!(reserve.ledger().frames_bank, 512 - 480);
    reserve.audit().unwrap();
}

/// Would catch a plan that is taken and cannot be kept.
#[test]
fn a_plan_that_contradicts_itself_is_refused() {
    let slots: &'static [Slot<'static>] = &[];
    let sound = KindPlan { shape: Shape { frames: 1, bytes: 0 }, low: 1, target: 2, high: 3, ram_1024ths: 1 };
    let check = |kind: KindPlan| Reserve::new(&Plan { kinds: [sound, kind], ram_frames: 1, bank_target: 0 }, slots).map(|_| ());
    assert_eq!(check(sound), Ok(()));
    assert_eq!(check(KindPlan { low: 3, ..sound }), Err(BadPlan::Marks { kind: 1 }));
    assert_eq!(check(KindPlan { high: 1, ..sound }), Err(BadPlan::Marks { kind: 1 }));
    let shape = Shape { frames: 0, bytes: 0 };
    assert_eq!(check(KindPlan { shape, ..sound }), Err(BadPlan::Shape { kind: 1, shape }));
    let none = Plan::<0> { kinds: [], ram_frames: 1, bank_target: 0 };
    assert_eq!(Reserve::new(&none, slots).map(|_| ()), Err(BadPlan::Kinds { kinds: 0 }));
    let many = Plan { kinds: [sound; 65], ram_frames: 1, bank_target: 0 };
    assert_eq!(Reserve::new(&many, slots).map(|_| ()), Err(BadPlan::Kinds { kinds: 65 }));
}
