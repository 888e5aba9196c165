//! Prealloc, release, refill, shrink: whole or not at all, with the numbers that a refusal needs.

mod world;

use reserve::{Core, Cost, Owner, Plan, Refilled, Refusal, Row};
use world::{BUNDLE, FRAME, KINDS, RUN, SMALL, TINY, block, empty, kind, plan, with_blocks};

/// Would catch weakness B.1: success told for less than the whole request, or for nothing.
#[test]
fn what_is_reserved_is_what_was_asked() {
    let reserve = with_blocks(&plan(), &[9, 9]);
    for (kind, slab_frames, slab_units) in [(FRAME, 1, 1), (BUNDLE, 7, 6), (SMALL, 7, 3), (RUN, 20, 1), (TINY, 1, 4)] {
        reserve.prealloc(kind, 10).unwrap();
        let slabs = 10u64.div_ceil(slab_units);
        let row = reserve.ledger().kinds[kind];
        let unit_bytes = (slab_frames * 4096u64).div_ceil(slab_units);
        let expected = Row {
            unit_bytes,
            reserved: 10,
            free: 10,
            kept: 10,
            marks: [0, 0, u64::MAX],
            spare: slabs * slab_units - 10,
            frames: slabs * slab_frames,
            ..Row::default()
        };
        assert_eq!(row, expected, "kind {kind}");
        reserve.audit().unwrap();
    }
}

/// Would catch weakness B.4, a count that is cut or wraps, and refusals that cannot be told apart.
#[test]
fn zero_too_many_and_unaffordable_are_told_apart_and_change_nothing() {
    let reserve = with_blocks(&plan(), &[9]);
    reserve.prealloc(SMALL, 4).unwrap();
    let before = reserve.ledger();
    assert_eq!(reserve.prealloc(FRAME, 0), Err(Refusal::Zero { kind: FRAME }));
    // One slot of 512 frames is less than half of RAM.
    for asked in [513, 1 << 32, (1 << 32) + 1, u64::MAX] {
        assert_eq!(reserve.prealloc(FRAME, asked), Err(Refusal::TooMany { kind: FRAME, asked, most: 512 }));
    }
    let short = Refusal::BankShort { kind: FRAME, asked: 500, frames_short: 2, run_frames: 1, bank_free: 498 };
    assert_eq!(reserve.prealloc(FRAME, 500), Err(short));
    // The first group of 64 frames has lost 14 to a slab: two runs fit there and three in each of the seven others.
    let short = Refusal::BankShort { kind: RUN, asked: 25, frames_short: 40, run_frames: 20, bank_free: 498 };
    assert_eq!(reserve.prealloc(RUN, 25), Err(short));
    assert_eq!(reserve.prealloc(KINDS, 1), Err(Refusal::UnknownKind { kind: KINDS }));
    let mut after = reserve.ledger();
    assert_eq!((after.kinds[FRAME].refused, after.kinds[RUN].refused), (5, 0), "a short bank is no refusal yet");
    reserve.count_refusal(RUN).unwrap();
    assert_eq!(reserve.ledger().kinds[RUN].refused, 1);
    after.kinds[FRAME].refused = 0;
    assert_eq!(after, before);
    reserve.audit().unwrap();
}

/// Would catch a shortage that is told too small because single frames were counted as runs: the prompt would continue
/// the debuggee twice for one request.
#[test]
fn as_many_runs_as_were_missing_are_enough() {
    let reserve = empty(&plan(), &[9, 7]);
    reserve.donate(block(0, 9)).unwrap();
    let Err(Refusal::BankShort { frames_short, run_frames, .. }) = reserve.prealloc(RUN, 30) else {
        panic!("24 runs are all there is")
    };
    assert_eq!((frames_short, run_frames), (6 * 20, 20));
    // Two groups of 64 frames, three runs each.
    reserve.donate(block(1, 7)).unwrap();
    assert_eq!(reserve.prealloc(RUN, 30), Ok(()));
}

/// Would catch a share of RAM that nobody looks at, or that overflows on a large machine.
#[test]
fn a_kind_takes_no_more_than_its_share_of_ram() {
    let mut plan = plan();
    plan.ram_frames = 1000;
    plan.kinds[FRAME].ram_1024ths = 10;
    plan.kinds[SMALL].ram_1024ths = u32::MAX;
    let reserve = with_blocks(&plan, &[9]);
    assert_eq!(reserve.possible(FRAME), Ok(9));
    reserve.prealloc(FRAME, 9).unwrap();
    assert_eq!(reserve.prealloc(FRAME, 1), Err(Refusal::TooMany { kind: FRAME, asked: 1, most: 0 }));
    assert_eq!(reserve.possible(SMALL), Ok(512 / 7 * 3));
    reserve.release(FRAME, 9).unwrap();
    assert_eq!(reserve.possible(FRAME), Ok(9));
}

/// Would catch weakness B.1.7: no way back; and slabs that are given back while a unit of theirs is reserved.
#[test]
fn what_is_released_is_in_the_bank_again() {
    let reserve = with_blocks(&plan(), &[9]);
    for kind in [FRAME, BUNDLE, SMALL, RUN, TINY] {
        reserve.prealloc(kind, 16).unwrap();
        assert_eq!(reserve.release(kind, 0), Err(Refusal::Zero { kind }));
        assert_eq!(reserve.release(kind, 17), Err(Refusal::Short { kind, asked: 17, free: 16, reserved: 16 }));
        assert_eq!(reserve.release(kind, 1 << 40), Err(Refusal::Short { kind, asked: 1 << 40, free: 16, reserved: 16 }));
        for left in (0..16).rev() {
            reserve.release(kind, 1).unwrap();
            reserve.audit().unwrap();
            assert_eq!(reserve.ledger().kinds[kind].reserved, left);
        }
        assert_eq!(reserve.ledger().frames_bank, 512, "kind {kind}");
    }
}

/// Would catch weakness B.2.15-17: refills by replay, which get lost or pile up.
#[test]
fn a_refill_fills_to_the_target_and_a_second_one_does_nothing() {
    let mut plan = plan();
    plan.kinds[FRAME] = kind(1, 0, 20, 40, 60);
    plan.kinds[SMALL] = kind(0, 8572, 1, 10, 20);
    let reserve = with_blocks(&plan, &[5]);
    assert_eq!((reserve.deficit(FRAME), reserve.deficit(SMALL), reserve.deficit(RUN)), (Ok(40), Ok(10), Ok(0)));
    // 32 frames: the first kind gets what there is, and what is missing is told.
    assert_eq!(reserve.refill(), Refilled { units: 32, frames_short: 28, run_frames: 7 });
    reserve.audit().unwrap();
    reserve.release(FRAME, 32).unwrap();
    assert_eq!(reserve.refill().units, 32);
    let more = with_blocks(&plan, &[9]);
    assert_eq!(more.refill(), Refilled { units: 50, frames_short: 0, run_frames: 0 });
    assert_eq!(more.refill(), Refilled::default());
    more.release(FRAME, 20).unwrap();
    assert_eq!(more.refill(), Refilled::default(), "20 are free: not below the low mark");
    more.release(FRAME, 1).unwrap();
    assert_eq!(more.refill().units, 21);
    assert_eq!(more.ledger().kinds[FRAME].refilled, 61);
    more.audit().unwrap();
}

/// Would catch a reserve that never shrinks (B.2.18), or one that takes away what a user asked for.
#[test]
fn a_kind_above_its_high_mark_shrinks_to_its_target_but_keeps_what_was_preallocated() {
    let plan = Plan { kinds: [kind(1, 0, 5, 10, 20), kind(1, 128, 0, 0, u64::MAX)], ram_frames: 1 << 18, bank_target: 0 };
    let reserve = with_blocks(&plan, &[9]);
    assert_eq!(reserve.refill().units, 10);
    reserve.prealloc(FRAME, 100).unwrap();
    assert_eq!(reserve.shrink(), 0);
    reserve.release(FRAME, 100).unwrap();
    assert_eq!(reserve.ledger().kinds[FRAME].reserved, 10);
    reserve.prealloc(FRAME, 5).unwrap();
    reserve.release(FRAME, 15).unwrap();
    assert_eq!((reserve.ledger().kinds[FRAME].kept, reserve.refill().units), (0, 10));
    assert_eq!(reserve.shrink(), 0);
    reserve.audit().unwrap();
}

/// Would catch a level that a user raised by `prealloc` and that is gone once it was used.
#[test]
fn what_a_user_keeps_is_free_again_after_a_refill() {
    let plan = Plan { kinds: [kind(1, 0, 5, 10, 20)], ram_frames: 1 << 18, bank_target: 0 };
    let reserve = with_blocks(&plan, &[9]);
    reserve.open();
    reserve.prealloc(0, 30).unwrap();
    assert_eq!(reserve.deficit(0), Ok(0));
    let mut ticket = reserve.reserve(Core(0), &Cost::NONE.and(0, 6).unwrap()).unwrap();
    while ticket.spend(0, Owner(1)).is_some() {}
    assert_eq!(reserve.refill().units, 6);
    let row = reserve.ledger().kinds[0];
    assert_eq!((row.free, row.used, row.kept), (40, 6, 30));
    reserve.release(0, 30).unwrap();
    assert_eq!((reserve.deficit(0), reserve.give_all(Core(0), Owner(1))), (Ok(0), 6));
    assert_eq!((reserve.shrink(), reserve.ledger().kinds[0].free), (0, 16));
    reserve.audit().unwrap();
}

/// Would catch a start that counts as refill, a bank that aims at what it had before it, and a deficit of the bank that is
/// told while there is none, or not told.
#[test]
fn after_the_start_the_bank_keeps_what_it_left() {
    let levels = Plan { kinds: [kind(1, 0, 8, 16, 32); KINDS], ..plan() };
    let reserve = with_blocks(&levels, &[9]);
    assert_eq!(reserve.open().units, 16 * KINDS as u64);
    let ledger = reserve.ledger();
    let left = 512 - 16 * KINDS as u64;
    assert_eq!((ledger.frames_bank, ledger.frames_target), (left, left));
    assert!(ledger.kinds.iter().all(|row| (row.free, row.refilled, row.marks) == (16, 0, [8, 16, 32])));
    assert_eq!(reserve.bank_deficit(), 0);
    reserve.prealloc(FRAME, left / 2).unwrap();
    assert_eq!(reserve.bank_deficit(), 0, "half of it is there");
    reserve.prealloc(FRAME, 1).unwrap();
    assert_eq!(reserve.bank_deficit(), left / 2 + 1);
}
