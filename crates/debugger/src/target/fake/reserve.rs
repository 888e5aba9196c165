//! The model's reserve: kinds with their levels, a bank of frames without an order, owners, and refusals made to order.

use super::Root;
use abi::code;
use abi::kind::Kind;
use abi::request::{
    self, Ledger, LedgerRow, OWNER_ROWS_MAX, OwnerRow, Owners, PreallocAnswer, PreallocAsk, ReserveTest, owner, test,
};
use zerocopy::FromZeros;

/// Bytes of a frame.
const FRAME_BYTES: u64 = 4096;
/// Frames that one unit takes, by kind.
const UNIT_FRAMES: [u64; Kind::COUNT] = [3, 5, 3, 4, 3, 22, 1, 20, 1];
/// Frames in which root lives.
const ROOT_FRAMES: u64 = 0x80;
/// Frames that shall be in the bank.
const BANK_TARGET: u64 = 0x100;

/// Low, target and high mark of a kind.
const fn levels(kind: Kind) -> [u64; 3] {
    match kind {
        Kind::Monitor | Kind::Epthook | Kind::Epthook2 | Kind::RegularEvent => [0x14, 0x14, 0x28],
        Kind::ThreadInterception => [2, 2, 4],
        Kind::Breakpoint => [0x64, 0x64, 0xc8],
        Kind::BigEvent | Kind::RegularSafeBuffer | Kind::BigSafeBuffer => [0, 0, 0],
    }
}

/// Every kind at its target, as after a load.
pub(super) fn at_start() -> [LedgerRow; Kind::COUNT] {
    Kind::ALL.map(|kind| {
        let [low, target, high] = levels(kind);
        let (name, unit_bytes) = (request::name(kind.word()), UNIT_FRAMES[kind.index()] * FRAME_BYTES);
        let (reserved, free) = (target, target);
        LedgerRow { name, unit_bytes, reserved, free, low, target, high, ..LedgerRow::default() }
    })
}

impl Root {
    pub(super) fn prealloc(&mut self, ask: PreallocAsk) -> (u32, PreallocAnswer) {
        let Some(kind) = Kind::from_number(ask.kind) else { return (code::PREALLOC_TYPE_UNKNOWN, PreallocAnswer::default()) };
        let frames = UNIT_FRAMES[kind.index()];
        let most = self.most(kind);
        let need = ask.count.saturating_mul(frames);
        let mut short = 0;
        let code = if ask.count == 0 {
            code::COUNT_ZERO
        } else if ask.count > most {
            code::COUNT_TOO_LARGE
        } else if self.fails_now(kind) {
            code::INJECTED
        } else if need > self.bank_free {
            short = need - self.bank_free;
            match self.linux_gives {
                _ if self.link => code::BANK_SHORT,
                Some(gives) if gives >= short => {
                    self.bank_free += short;
                    short = 0;
                    self.keep(kind, ask.count)
                }
                _ => code::KERNEL_OUT_OF_MEMORY,
            }
        } else {
            self.keep(kind, ask.count)
        };
        if code != code::SUCCESS {
            self.rows[kind.index()].refused += 1;
        }
        (code, self.numbers(kind, ask.count, most, short))
    }

    pub(super) fn release(&mut self, ask: PreallocAsk) -> (u32, PreallocAnswer) {
        let Some(kind) = Kind::from_number(ask.kind) else { return (code::PREALLOC_TYPE_UNKNOWN, PreallocAnswer::default()) };
        let row = &mut self.rows[kind.index()];
        let code = match ask.count {
            0 => code::COUNT_ZERO,
            count if count > row.free => code::COUNT_TOO_LARGE,
            count => {
                row.kept = row.kept.saturating_sub(count);
                self.shed(kind, count);
                code::SUCCESS
            }
        };
        let most = self.rows[kind.index()].free;
        (code, self.numbers(kind, ask.count, most, 0))
    }

    pub(super) fn test_reserve(&mut self, ask: ReserveTest) -> (u32, PreallocAnswer) {
        let Some(kind) = Kind::from_number(ask.kind) else { return (code::PREALLOC_TYPE_UNKNOWN, PreallocAnswer::default()) };
        let mut asked = ask.count;
        let code = match ask.what {
            test::HOLD => self.hold(kind, ask.count),
            test::LET => {
                asked = self.held_by(kind, owner::TEST);
                self.owners.retain(|row| row.kind != ask.kind || row.owner != owner::TEST);
                let row = &mut self.rows[kind.index()];
                row.used -= asked;
                row.free += asked;
                code::SUCCESS
            }
            test::FAIL => {
                self.fail_in[kind.index()] = ask.count;
                code::SUCCESS
            }
            _ => code::TEST_UNKNOWN,
        };
        (code, self.numbers(kind, asked, self.most(kind), 0))
    }

    fn hold(&mut self, kind: Kind, count: u64) -> u32 {
        let fails = count != 0 && self.fails_now(kind);
        let row = &mut self.rows[kind.index()];
        if count == 0 || fails || count > row.free {
            row.refused += 1;
            return match count {
                0 => code::COUNT_ZERO,
                _ if fails => code::INJECTED,
                _ => code::used_up(kind),
            };
        }
        row.free -= count;
        row.used += count;
        row.high_water = row.high_water.max(row.used);
        let number = kind as u32;
        match self.owners.iter_mut().find(|row| row.kind == number && row.owner == owner::TEST) {
            Some(row) => row.units += count,
            None => self.owners.push(OwnerRow { kind: number, owner: owner::TEST, units: count }),
        }
        code::SUCCESS
    }

    fn held_by(&self, kind: Kind, owner: u32) -> u64 {
        self.owners.iter().filter(|row| row.kind == kind as u32 && row.owner == owner).map(|row| row.units).sum()
    }

    /// Counts down to the request that a test wants refused.
    fn fails_now(&mut self, kind: Kind) -> bool {
        let left = &mut self.fail_in[kind.index()];
        let now = *left == 1;
        *left = left.saturating_sub(1);
        now
    }

    /// Units more that the kind could ever have: half of RAM at most.
    fn most(&self, kind: Kind) -> u64 {
        (self.ram_frames / 2 / UNIT_FRAMES[kind.index()]).saturating_sub(self.rows[kind.index()].reserved)
    }

    fn keep(&mut self, kind: Kind, count: u64) -> u32 {
        self.grow(kind, count);
        self.rows[kind.index()].kept += count;
        code::SUCCESS
    }

    fn grow(&mut self, kind: Kind, count: u64) {
        let row = &mut self.rows[kind.index()];
        row.reserved += count;
        row.free += count;
        self.bank_free -= count * UNIT_FRAMES[kind.index()];
    }

    fn shed(&mut self, kind: Kind, count: u64) {
        let row = &mut self.rows[kind.index()];
        row.free -= count;
        row.reserved -= count;
        self.bank_free += count * UNIT_FRAMES[kind.index()];
    }

    /// What the worker does while the guest runs: fills what is below its low mark as far as the bank and Linux go, and sheds
    /// what is above the high mark and nobody keeps.
    pub(super) fn tend(&mut self) {
        let lacking = |(row, frames): (&LedgerRow, u64)| {
            if row.free < row.low + row.kept { (row.target + row.kept - row.free) * frames } else { 0 }
        };
        let frames: u64 = self.rows.iter().zip(UNIT_FRAMES).map(lacking).sum();
        let short = frames.saturating_sub(self.bank_free);
        if self.linux_gives.is_some_and(|gives| gives >= short) {
            self.bank_free += short;
        }
        for kind in Kind::ALL {
            let row = self.rows[kind.index()];
            if row.free < row.low + row.kept {
                let units = (row.target + row.kept - row.free).min(self.bank_free / UNIT_FRAMES[kind.index()]);
                self.grow(kind, units);
                self.rows[kind.index()].refilled += units;
            } else if row.free > row.high + row.kept {
                self.shed(kind, row.free - row.target - row.kept);
            }
        }
    }

    fn numbers(&self, kind: Kind, asked: u64, most: u64, short: u64) -> PreallocAnswer {
        let row = self.rows[kind.index()];
        let (free, reserved, bank_free) = (row.free, row.reserved, self.bank_free);
        PreallocAnswer { kind: kind as u32, zero: 0, asked, free, reserved, most, short, bank_free }
    }

    pub(super) fn ledger(&self) -> Ledger {
        let frames_kinds = self.rows.iter().zip(UNIT_FRAMES).map(|(row, frames)| row.reserved * frames).sum();
        let frames = ROOT_FRAMES + self.bank_free + frames_kinds;
        let frames_free = self.bank_free;
        Ledger { kinds: self.rows, frames, frames_root: ROOT_FRAMES, frames_free, frames_kinds, frames_target: BANK_TARGET }
    }

    pub(super) fn owners(&self) -> Owners {
        let mut all = Owners::new_zeroed();
        for (to, from) in all.rows.iter_mut().zip(&self.owners) {
            *to = *from;
        }
        all.count = u32::try_from(self.owners.len().min(OWNER_ROWS_MAX)).unwrap_or(0);
        let more: u64 = self.owners.iter().skip(OWNER_ROWS_MAX).map(|row| row.units).sum();
        all.other = self.owners_other + more;
        all
    }
}
