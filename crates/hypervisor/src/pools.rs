//! The pools: what one unit of each kind is on this machine, what is asked of the reserve, and its levels.
//!
//! **Holds always**
//! - O1: a request is answered with the numbers it met, whatever its code; a refused one changed nothing.
//! - O2: levels are filled and shed by [`tend`] alone, which the worker calls while the guest runs: never while halted.
//! - O3: when root has left and the machine is to be without it, nobody owns a unit and the ledger balances ([`close`]).
//!
//! **Callers**: root, any core. **Cost**: what the crate `reserve` says; [`owners`] and [`close`] look at every unit.

use crate::arch::x86::window;
use crate::bank;
use crate::limits::DETOURS_MAX;
use abi::boot::Doorbell;
use abi::code;
use abi::kind::Kind;
use abi::request::{self, LedgerRow, OWNER_ROWS_MAX, OwnerRow, Owners, PreallocAnswer, ReserveTest, goodbye, owner, test};
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, Ordering::SeqCst};
use reserve::{Core, Cost, KindPlan, Owner, Refusal, Shape};

/// At most this share of RAM for one kind, in 1024ths: half.
const RAM_1024THS: u32 = 512;
/// Units that tests hold.
const TESTS: Owner = Owner(owner::TEST);

/// A unit, and how many of it there are at start without a `prealloc`. A level is refilled as soon as it is touched, and
/// twice of it may be free before some go back.
const fn kind(frames: u32, bytes: u32, level: u64) -> KindPlan {
    KindPlan { shape: Shape { frames, bytes }, low: level, target: level, high: 2 * level, ram_1024ths: RAM_1024THS }
}

/// By number of the kind, on a machine with two nested views (no execute-only pages): a split table for each view, a shadow
/// page where code and data part, and the descriptors beside them. The levels are those that users know (facts A.6, C.2).
pub const PLANS: [KindPlan; Kind::COUNT] = [
    kind(2, 256, 20),
    kind(5, 0, 2),
    kind(3, 256, 20),
    kind(2, 256, 20),
    kind(2, 512, 20),
    kind(21, 512, 0),
    kind(1, 0, 0),
    kind(20, 0, 0),
    kind(3, 256, 100),
];

/// Frames that the start takes: what [`PLANS`] aims at, in whole slabs, and the tables of the window for machine code.
pub const START_FRAMES: u64 = {
    let (mut frames, mut kind) = (window::FRAMES, 0);
    while kind < Kind::COUNT {
        let plan = PLANS[kind];
        match plan.shape.slab() {
            Some(slab) => frames += plan.target.div_ceil(slab.units as u64) * slab.frames as u64,
            None => panic!("no slab holds this kind"),
        }
        kind += 1;
    }
    frames
};

/// The machine is to be without root for good: [`close`] wants no owner.
static CLOSING: AtomicBool = AtomicBool::new(false);

/// What came of a request.
pub struct Outcome {
    /// One of [`abi::code`].
    pub code: u32,
    /// The numbers, whatever the code.
    pub answer: PreallocAnswer,
    /// In runs of how many frames the bank is short.
    pub run: u64,
}

/// `prealloc`: all of it or nothing. With `last`, a short bank is final: Linux has been asked already.
pub fn prealloc(kind: u32, count: u64, last: bool) -> Outcome {
    let mut outcome = change(kind, count, |reserve, kind| {
        let room = room(kind, reserve.ledger().kinds[kind].reserved);
        if count > room { Err(Refusal::TooMany { kind, asked: count, most: room }) } else { reserve.prealloc(kind, count) }
    });
    if outcome.code == code::BANK_SHORT && last {
        outcome.code = code::KERNEL_OUT_OF_MEMORY;
        count_refusal(kind);
    }
    outcome
}

/// How many more of a kind there is anything for but memory: the code of a detour has its place.
fn room(kind: usize, reserved: u64) -> u64 {
    if kind == Kind::Epthook2.index() { DETOURS_MAX.saturating_sub(reserved) } else { u64::MAX }
}

/// Linux could not give what the last request of this kind was short of: it is a refusal after all.
pub fn count_refusal(kind: u32) {
    if let Some((reserve, kind)) = bank::reserve().zip(Kind::from_number(kind)) {
        // A kind that exists.
        let _counted = reserve.count_refusal(kind.index());
    }
}

/// `prealloc release`: all of it or nothing.
pub fn release(kind: u32, count: u64) -> Outcome {
    change(kind, count, |reserve, kind| reserve.release(kind, count))
}

/// Does with the reserve what commands do, for tests of a running machine. `None`: no such test.
pub fn try_out(ask: ReserveTest) -> Option<Outcome> {
    let ReserveTest { what, kind, count } = ask;
    Some(match what {
        test::HOLD => change(kind, count, |reserve, kind| hold(reserve, kind, count)),
        test::LET => {
            let mut given = 0;
            let mut outcome = change(kind, 0, |reserve, kind| {
                given = let_go(reserve, Some(kind));
                Ok(())
            });
            outcome.answer.asked = given;
            outcome
        }
        test::FAIL => {
            let Ok(nth) = u32::try_from(count) else {
                return Some(change(kind, count, |_, kind| {
                    Err(Refusal::TooMany { kind, asked: count, most: u32::MAX.into() })
                }));
            };
            change(kind, count, |reserve, kind| reserve.fail_nth(kind, nth))
        }
        _ => return None,
    })
}

fn hold(reserve: &bank::Reserve, kind: usize, count: u64) -> Result<(), Refusal> {
    if count == 0 {
        return Err(Refusal::Zero { kind });
    }
    let cost = Cost::NONE.and(kind, count)?;
    let mut ticket = reserve.reserve(Core(0), &cost)?;
    while ticket.spend(kind, TESTS).is_some() {}
    Ok(())
}

/// Takes back what tests hold, of one kind or of all.
fn let_go(reserve: &bank::Reserve, of: Option<usize>) -> u64 {
    let mut given = 0;
    reserve.owners(|kind, owner, handle| {
        if owner == TESTS && of.is_none_or(|of| of == kind) {
            given += u64::from(reserve.give(Core(0), handle).is_ok());
        }
    });
    given
}

fn change(kind: u32, count: u64, change: impl FnOnce(&bank::Reserve, usize) -> Result<(), Refusal>) -> Outcome {
    let answer = PreallocAnswer { kind, asked: count, ..PreallocAnswer::default() };
    let mut outcome = Outcome { code: code::PREALLOC_TYPE_UNKNOWN, answer, run: 1 };
    let Some((reserve, kind)) = bank::reserve().zip(Kind::from_number(kind)) else { return outcome };
    let result = change(reserve, kind.index());
    let ledger = reserve.ledger();
    let row = ledger.kinds[kind.index()];
    let answer = &mut outcome.answer;
    answer.free = row.free;
    answer.reserved = row.reserved;
    answer.bank_free = ledger.frames_bank;
    answer.most = reserve.possible(kind.index()).unwrap_or(0).min(room(kind.index(), row.reserved));
    outcome.code = match result {
        Ok(()) => {
            wish_to_be_tended();
            code::SUCCESS
        }
        Err(Refusal::Zero { .. }) => code::COUNT_ZERO,
        Err(Refusal::UnknownKind { .. }) => code::PREALLOC_TYPE_UNKNOWN,
        Err(Refusal::TooMany { most, .. }) => {
            answer.most = most;
            code::COUNT_TOO_LARGE
        }
        Err(Refusal::Short { free, reserved, .. }) => {
            // As the request met them.
            (answer.free, answer.reserved) = (free, reserved);
            code::used_up(kind)
        }
        Err(Refusal::BankShort { frames_short, run_frames, .. }) => {
            answer.short = frames_short;
            outcome.run = run_frames.into();
            code::BANK_SHORT
        }
        Err(Refusal::Injected { .. }) => code::INJECTED,
    };
    outcome
}

/// Levels were touched: the worker looks soon.
pub fn wish_to_be_tended() {
    crate::serve::ring_doorbell(offset_of!(Doorbell, tend_wanted), 1);
}

/// Fills and sheds to the levels; frames that the bank lacks, and in runs of how many.
pub fn tend() -> (u64, u64) {
    crate::serve::ring_doorbell(offset_of!(Doorbell, tend_wanted), 0);
    let Some(reserve) = bank::reserve() else { return (0, 1) };
    let refilled = reserve.refill();
    reserve.shrink();
    let lacking = refilled.frames_short + reserve.bank_deficit();
    (lacking, u64::from(refilled.run_frames.max(1)))
}

/// The machine is about to be without root, for one of [`goodbye`].
pub fn closing(why: u64) {
    CLOSING.store(why == goodbye::UNLOAD || why == goodbye::REBOOT, SeqCst);
}

/// The last core has left: gives back what tests hold, and looks whether all is well. A code.
pub fn close() -> u32 {
    let Some(reserve) = bank::reserve() else { return code::SUCCESS };
    let mut owned = false;
    if CLOSING.load(SeqCst) {
        let_go(reserve, None);
        crate::watch::close();
        reserve.owners(|_, _, _| owned = true);
    }
    if owned || reserve.audit().is_err() { code::UNBALANCED } else { code::SUCCESS }
}

/// The ledger.
pub fn ledger() -> request::Ledger {
    let Some(reserve) = bank::reserve() else { return request::Ledger::default() };
    let from = reserve.ledger();
    let mut kinds = [LedgerRow::default(); Kind::COUNT];
    for ((to, kind), row) in kinds.iter_mut().zip(Kind::ALL).zip(&from.kinds) {
        let [low, target, high] = row.marks;
        *to = LedgerRow {
            name: request::name(kind.word()),
            unit_bytes: row.unit_bytes,
            reserved: row.reserved,
            free: row.free,
            used: row.used,
            high_water: row.high_water,
            refused: row.refused,
            refilled: row.refilled,
            kept: row.kept,
            low,
            target,
            high,
        };
    }
    request::Ledger {
        kinds,
        frames: from.frames,
        frames_root: from.frames_embedder,
        frames_free: from.frames_bank,
        frames_kinds: from.frames_kinds,
        frames_target: from.frames_target,
    }
}

/// Who holds what.
pub fn owners() -> Owners {
    let mut owners = Owners { count: 0, zero: 0, other: 0, rows: [OwnerRow::default(); OWNER_ROWS_MAX] };
    let Some(reserve) = bank::reserve() else { return owners };
    let mut count = 0;
    reserve.owners(|kind, owner, _| {
        let kind = Kind::ALL.get(kind).map_or(u32::MAX, |kind| *kind as u32);
        let known = owners.rows.iter_mut().take(count).find(|row| (row.kind, row.owner) == (kind, owner.0));
        if let Some(row) = known {
            row.units += 1;
        } else if let Some(row) = owners.rows.get_mut(count) {
            *row = OwnerRow { kind, owner: owner.0, units: 1 };
            count += 1;
        } else {
            owners.other += 1;
        }
    });
    owners.count = u32::try_from(count).unwrap_or(0);
    owners
}
