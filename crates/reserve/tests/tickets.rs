//! Tickets: all or nothing, given back by drop, and handles that are refused once they are stale.

mod world;

use reserve::{Census, Core, Cost, Extent, Handle, Owner, Refusal, Stale};
use world::{BUNDLE, FRAME, KINDS, RUN, SMALL, TINY, World, plan, with_blocks};

const ALL: [usize; KINDS] = [FRAME, BUNDLE, SMALL, RUN, TINY];
const HERE: Core = Core(0);
const ME: Owner = Owner(0xabc);

/// 12 units of each kind.
fn stocked() -> World {
    let reserve = with_blocks(&plan(), &[9, 9]);
    ALL.iter().for_each(|kind| reserve.prealloc(*kind, 12).unwrap());
    reserve
}

fn cost(units: [u64; KINDS]) -> Cost<KINDS> {
    units.iter().enumerate().try_fold(Cost::NONE, |cost, (kind, units)| cost.and(kind, *units)).unwrap()
}

fn census(reserve: &World, kind: usize) -> (u64, u64, u64) {
    let Census { free, on_ticket, used, .. } = reserve.census(kind).unwrap();
    (free, on_ticket, used)
}

/// Would catch weakness B.1.2, half a unit reserved, and units that a spent ticket loses.
#[test]
fn a_ticket_has_all_it_asked_for_and_gives_back_what_is_not_spent() {
    let reserve = stocked();
    let mut ticket = reserve.reserve(HERE, &cost([3, 0, 12, 1, 5])).unwrap();
    assert_eq!(ALL.map(|kind| census(&reserve, kind)), [(9, 3, 0), (12, 0, 0), (0, 12, 0), (11, 1, 0), (7, 5, 0)]);
    reserve.audit().unwrap();
    let mut handles = Vec::new();
    // Out of order, and more than there is.
    for kind in [SMALL, TINY, FRAME, BUNDLE, FRAME, SMALL, RUN, RUN] {
        handles.extend(ticket.spend(kind, ME));
        reserve.audit().unwrap();
    }
    assert_eq!(handles.len(), 6);
    assert_eq!(ALL.map(|kind| census(&reserve, kind)), [(9, 1, 2), (12, 0, 0), (0, 10, 2), (11, 0, 1), (7, 4, 1)]);
    drop(ticket);
    assert_eq!(ALL.map(|kind| census(&reserve, kind)), [(10, 0, 2), (12, 0, 0), (10, 0, 2), (11, 0, 1), (11, 0, 1)]);
    for handle in handles {
        assert_eq!(reserve.owner(handle), Ok(ME));
        reserve.give(HERE, handle).unwrap();
        reserve.audit().unwrap();
    }
    assert_eq!(ALL.map(|kind| census(&reserve, kind)), [(12, 0, 0); KINDS]);
}

/// Would catch a refusal that keeps the kinds before the one that is short, or tells other numbers than there are.
#[test]
fn a_request_that_one_kind_cannot_meet_takes_nothing_of_any() {
    let reserve = stocked();
    for short in ALL {
        let mut units = [12; KINDS];
        units[short] = 13;
        let no = reserve.reserve(Core(3), &cost(units)).map(drop);
        assert_eq!(no, Err(Refusal::Short { kind: short, asked: 13, free: 12, reserved: 12 }));
        assert_eq!(ALL.map(|kind| census(&reserve, kind)), [(12, 0, 0); KINDS]);
        assert_eq!(reserve.ledger().kinds[short].refused, 1);
        reserve.audit().unwrap();
    }
}

/// Would catch weakness B.2.14: what is freed comes back only when the guest runs.
#[test]
fn a_unit_given_back_is_free_for_the_very_next_request() {
    let reserve = stocked();
    let all = cost([12, 0, 0, 0, 0]);
    for core in 0..9 {
        let mut ticket = reserve.reserve(Core(core), &all).unwrap();
        let handles: Vec<Handle> = std::iter::from_fn(|| ticket.spend(FRAME, ME)).collect();
        assert_eq!(handles.len(), 12);
        assert!(reserve.reserve(Core(core), &Cost::NONE.and(FRAME, 1).unwrap()).is_err());
        handles.into_iter().for_each(|handle| reserve.give(Core(core + 1), handle).unwrap());
        reserve.audit().unwrap();
    }
}

/// Would catch a double free, a stale handle that frees its successor's unit, and a made-up one that is believed.
#[test]
fn a_handle_is_good_for_one_return() {
    let reserve = stocked();
    let one = Cost::NONE.and(SMALL, 1).unwrap();
    let old = reserve.reserve(HERE, &one).unwrap().spend(SMALL, ME).unwrap();
    reserve.give(HERE, old).unwrap();
    assert_eq!(reserve.give(HERE, old), Err(Stale(old)));
    // The same unit again, on a ticket and then with another owner.
    let mut ticket = reserve.reserve(HERE, &one).unwrap();
    assert_eq!(reserve.give(HERE, old), Err(Stale(old)));
    let new = ticket.spend(SMALL, Owner(9)).unwrap();
    assert_eq!(new.to_word() << 32, old.to_word() << 32, "the unit used last is the next one out");
    assert_eq!(reserve.give(HERE, old), Err(Stale(old)));
    assert_eq!((reserve.extent(old), reserve.owner(old)), (Err(Stale(old)), Err(Stale(old))));
    assert_eq!(reserve.owner(new), Ok(Owner(9)));
    drop(ticket);
    for word in [0, u64::MAX, 1 << 31, 0x7ff, (9 << 32) | 1, new.to_word() ^ 1, new.to_word() ^ 1 << 63] {
        let forged = Handle::from_word(word);
        assert_eq!(reserve.give(HERE, forged), Err(Stale(forged)), "{word:#x}");
    }
    assert_eq!(Handle::from_word(new.to_word()), new);
    reserve.give(HERE, new).unwrap();
    // A handle outlives even its slab.
    reserve.release(SMALL, 12).unwrap();
    reserve.prealloc(TINY, 40).unwrap();
    assert_eq!(reserve.give(HERE, new), Err(Stale(new)));
    reserve.audit().unwrap();
}

/// Would catch two units that share memory, or memory outside the blocks.
#[test]
fn extents_lie_in_the_blocks_and_do_not_overlap() {
    let reserve = stocked();
    let blocks = 0x1000 * 4096..(0x1000 + 1024) * 4096;
    let mut ticket = reserve.reserve(HERE, &cost([12; KINDS])).unwrap();
    let mut ranges = Vec::new();
    for kind in ALL {
        for _ in 0..12 {
            let handle = ticket.spend(kind, ME).unwrap();
            let Extent { pfn, frames, small_pfn, small_offset, small_bytes } = reserve.extent(handle).unwrap();
            let shape = plan().kinds[kind].shape;
            assert_eq!((frames, small_bytes), (shape.frames, shape.bytes));
            ranges.push(pfn * 4096..(pfn + u64::from(frames)) * 4096);
            let small = small_pfn * 4096 + u64::from(small_offset);
            assert_eq!(small % 64, 0);
            ranges.push(small..small + u64::from(small_bytes));
        }
    }
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| range.start);
    assert!(ranges.iter().all(|range| blocks.contains(&range.start) && range.end <= blocks.end));
    assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
    assert_eq!(ranges.len(), 12 * 6);
}

/// Would catch owners that cannot be listed, or that are not found when their event is cleared.
#[test]
fn owners_are_listed_and_all_that_one_has_comes_back_at_once() {
    let reserve = stocked();
    let mut ticket = reserve.reserve(HERE, &cost([4, 3, 0, 0, 0])).unwrap();
    for owner in [7, 8, 7, 7] {
        ticket.spend(FRAME, Owner(owner)).unwrap();
    }
    ticket.spend(BUNDLE, Owner(7)).unwrap();
    let mut seen = Vec::new();
    reserve.owners(|kind, owner, handle| {
        assert_eq!(reserve.owner(handle), Ok(owner));
        seen.push((kind, owner.0));
    });
    seen.sort_unstable();
    assert_eq!(seen, [(FRAME, 7), (FRAME, 7), (FRAME, 7), (FRAME, 8), (BUNDLE, 7)]);
    assert_eq!(reserve.give_all(HERE, Owner(7)), 4);
    assert_eq!(reserve.give_all(HERE, Owner(7)), 0);
    reserve.audit().unwrap();
    assert_eq!(census(&reserve, BUNDLE), (10, 2, 0));
    drop(ticket);
    assert_eq!(census(&reserve, FRAME), (11, 0, 1));
}

/// Would catch weakness B.4.4 in costs: a sum that wraps reserves almost nothing.
#[test]
fn a_cost_that_overflows_is_refused_with_its_whole_sum() {
    let most = u64::from(u32::MAX);
    let full = Cost::<KINDS>::NONE.and(RUN, most).unwrap();
    assert_eq!(full.and(RUN, 1), Err(Refusal::TooMany { kind: RUN, asked: most + 1, most }));
    assert_eq!(full.and(RUN, u64::MAX), Err(Refusal::TooMany { kind: RUN, asked: u64::MAX, most }));
    assert_eq!(full.plus(&full), Err(Refusal::TooMany { kind: RUN, asked: 2 * most, most }));
    assert_eq!(full.and(KINDS, 1), Err(Refusal::UnknownKind { kind: KINDS }));
    let sum = cost([1, 2, 3, 4, 5]).plus(&cost([1, 0, 0, 0, 5])).unwrap();
    assert_eq!(ALL.map(|kind| sum.of(kind)), [2, 2, 3, 4, 10]);
    assert_eq!(
        stocked().reserve(HERE, &full).map(drop).unwrap_err(),
        Refusal::Short { kind: RUN, asked: most, free: 12, reserved: 12 }
    );
}

/// Would catch weakness B.5.33, half an action kept when a later allocation fails; each kind at each nth request.
#[test]
fn each_kind_failing_at_each_nth_request_leaks_nothing_and_grants_nothing_by_half() {
    for kind in ALL {
        for nth in 1..=6 {
            let reserve = stocked();
            let before = ALL.map(|kind| census(&reserve, kind));
            reserve.fail_nth(kind, nth).unwrap();
            let mut refused = Vec::new();
            for request in 1..=6 {
                // A command: a ticket of every kind, all of it applied; the third one preallocates instead.
                let result = if request == 3 {
                    ALL.iter().try_for_each(|kind| reserve.prealloc(*kind, 1))
                } else {
                    reserve.reserve(HERE, &cost([2, 1, 1, 1, 1])).map(|mut ticket| {
                        for kind in [FRAME, FRAME, BUNDLE, SMALL, RUN, TINY] {
                            ticket.spend(kind, Owner(request)).unwrap();
                        }
                    })
                };
                refused.extend(result.err().map(|why| (request, why)));
                reserve.audit().unwrap();
                assert!(ALL.iter().all(|kind| census(&reserve, *kind).1 == 0), "nothing stays on a ticket");
                reserve.give_all(HERE, Owner(request));
            }
            let [(request, Refusal::Injected { kind: failed, .. })] = refused[..] else { panic!("{refused:?}") };
            assert_eq!((request, failed), (nth, kind));
            // The third request grew every kind, or those before the one that failed.
            for grown in ALL.into_iter().filter(|grown| nth != 3 || *grown < kind) {
                reserve.release(grown, 1).unwrap();
            }
            assert_eq!(ALL.map(|kind| census(&reserve, kind)), before);
            reserve.audit().unwrap();
        }
    }
}

/// Would catch an injected failure that comes early, late, twice, or cannot be called off.
#[test]
fn only_the_nth_request_fails_and_only_once() {
    let reserve = stocked();
    let one = Cost::NONE.and(FRAME, 1).unwrap();
    reserve.fail_nth(FRAME, 3).unwrap();
    reserve.fail_nth(BUNDLE, 1).unwrap();
    reserve.fail_nth(BUNDLE, 0).unwrap();
    let outcomes = [(); 6].map(|()| reserve.reserve(HERE, &one).is_ok());
    assert_eq!(outcomes, [true, true, false, true, true, true]);
    assert!(reserve.reserve(HERE, &Cost::NONE.and(BUNDLE, 1).unwrap()).is_ok());
    assert_eq!(reserve.ledger().kinds[FRAME].refused, 1);
    assert_eq!(reserve.fail_nth(KINDS, 1), Err(Refusal::UnknownKind { kind: KINDS }));
}

/// Would catch a record that is never noted, noted too high, or forgotten when lanes are refilled from other cores (S2).
#[test]
fn the_high_water_mark_is_the_most_units_ever_used_at_once() {
    let reserve = with_blocks(&plan(), &[9]);
    reserve.prealloc(FRAME, 100).unwrap();
    let one = Cost::NONE.and(FRAME, 1).unwrap();
    let (mut held, mut most, mut random) = (Vec::new(), 0, 1u64);
    // Miri takes a thousand times as long for a step, and looks for other things.
    let steps = if cfg!(miri) { 300 } else { 20_000 };
    for step in 0..steps {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let core = Core(u32::from(random.to_be_bytes()[0] >> 4));
        // Tides of different height, so that old records stand for long.
        let tide = [10, 40, 25, 90, 60][step * 20 / steps % 5];
        if held.len() < tide && random >> 33 & 3 > 0 {
            held.push(reserve.reserve(core, &one).unwrap().spend(FRAME, ME).unwrap());
        } else if !held.is_empty() {
            let at = usize::from(random.to_be_bytes()[2]) % held.len();
            reserve.give(core, held.swap_remove(at)).unwrap();
        }
        most = most.max(held.len() as u64);
        assert_eq!(reserve.ledger().kinds[FRAME].high_water, most, "step {step}");
        if step % (steps / 6) == 1 {
            reserve.prealloc(FRAME, 5).unwrap();
            reserve.release(FRAME, 5).unwrap();
        }
    }
    assert!(cfg!(miri) || most >= 85, "{most}");
}
