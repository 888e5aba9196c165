//! The time of day for scripts: `$date` and `$time`.
//!
//! Linux keeps it. The module's worker writes down, at each look, one moment twice over: by the time stamp counter as it is
//! without root, and by Linux' clock, in UTC. Root adds what has passed since, by the same counter: so the time goes on
//! while everything is halted, and follows Linux within a look when somebody sets the clock.
//!
//! **Holds always**
//! - C1: two moments take turns, and the one that is read is not the one being written, wherever the writer was halted.
//! - C2: what stands there is Linux', so whatever it is, it becomes a date or nothing.
//!
//! **Callers**: `scripts`, any core. **Cost**: a few loads. **Proof**: tests below; `tests/e2e/script_gaps.rs`.

use crate::arch::x86::{self, direct};
use crate::root::ROOT;
use abi::boot::Doorbell;
use core::mem::offset_of;
use core::sync::atomic::Ordering::SeqCst;

/// How often a moment is read anew because the worker wrote meanwhile. It writes twenty times a second.
const TRIES: u32 = 4;

/// A text ended by zeros, as scripts get it.
type Label = [u8; 16];

/// Milliseconds since 1970 in UTC; `None` if Linux has not told yet.
fn now() -> Option<u64> {
    let word = |field: usize| direct::read(ROOT.doorbell_pa.load(SeqCst) + field as u64);
    for _ in 0..TRIES {
        let turn = word(offset_of!(Doorbell, clock_turn)).filter(|turn| *turn != 0)?;
        let moment = offset_of!(Doorbell, clock) + if turn & 1 == 0 { 0 } else { 16 };
        let (ticks, nanoseconds) = (word(moment)?, word(moment + 8)?);
        if word(offset_of!(Doorbell, clock_turn)) == Some(turn) {
            let passed = x86::tsc().wrapping_sub(ticks).cast_signed() / ROOT.ticks(1).max(1).cast_signed();
            return Some((nanoseconds / 1_000_000).wrapping_add_signed(passed));
        }
    }
    None
}

/// `2026-11-26`; nothing if the time is not known.
pub fn date() -> Label {
    now().map_or([0; 16], date_of)
}

/// `13:05:59`; nothing if the time is not known.
pub fn time() -> Label {
    now().map_or([0; 16], time_of)
}

/// Numbers of two digits with something between them; the first may have four.
fn label(numbers: [u64; 3], between: u8, first_digits: u32) -> Label {
    let mut text = [0; 16];
    let mut room = text.iter_mut();
    let mut put = |byte: u8| {
        if let Some(to) = room.next() {
            *to = byte;
        }
    };
    for (nth, number) in numbers.into_iter().enumerate() {
        if nth > 0 {
            put(between);
        }
        for place in (0..if nth == 0 { first_digits } else { 2 }).rev() {
            let [digit, ..] = (number / 10_u64.pow(place) % 10).to_le_bytes();
            put(b'0' + digit);
        }
    }
    text
}

fn time_of(milliseconds: u64) -> Label {
    let seconds = milliseconds / 1000;
    label([seconds / 3600 % 24, seconds / 60 % 60, seconds % 60], b':', 2)
}

/// The proleptic Gregorian calendar, counted in years that begin in March, so that a leap day is the last of its year.
fn date_of(milliseconds: u64) -> Label {
    /// Days of 400 years, of 100, of 4 and of one; from March of the year 0 to 1970.
    const DAYS: [u64; 4] = [146_097, 36_524, 1_461, 365];
    const TO_1970: u64 = 719_468;
    let days = milliseconds / 86_400_000 + TO_1970;
    let day_of_era = days % DAYS[0];
    let year_of_era = (day_of_era - day_of_era / (DAYS[2] - 1) + day_of_era / DAYS[1] - day_of_era / (DAYS[0] - 1)) / DAYS[3];
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // 153 days are five months, March to July and August to December.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, next) = if month_from_march < 10 { (month_from_march + 3, 0) } else { (month_from_march - 9, 1) };
    label([days / DAYS[0] * 400 + year_of_era + next, month, day], b'-', 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(label: &Label) -> &str {
        let bytes = label.split(|byte| *byte == 0).next().unwrap_or_default();
        core::str::from_utf8(bytes).unwrap()
    }

    /// Would catch a month, a leap day or a turn of the day that is off by one, and a panic for what Linux may write there.
    #[test]
    fn milliseconds_are_the_day_and_the_time_that_a_calendar_says() {
        for (seconds, date, time) in [
            (0, "1970-01-01", "00:00:00"),
            (951_782_399, "2000-02-28", "23:59:59"),
            (951_782_400, "2000-02-29", "00:00:00"),
            (951_868_800, "2000-03-01", "00:00:00"),
            (1_709_210_096, "2024-02-29", "12:34:56"),
            (1_735_689_599, "2024-12-31", "23:59:59"),
            (1_735_689_600, "2025-01-01", "00:00:00"),
            (1_795_669_559, "2026-11-26", "05:05:59"),
            (4_107_542_399, "2100-02-28", "23:59:59"),
            (4_107_542_400, "2100-03-01", "00:00:00"),
        ] {
            let milliseconds = seconds * 1000 + 999;
            assert_eq!((text(&date_of(milliseconds)), text(&time_of(milliseconds))), (date, time), "{seconds}");
        }
        for strange in [u64::MAX, u64::MAX / 2, 1 << 60] {
            assert_eq!((text(&date_of(strange)).len(), text(&time_of(strange)).len()), (10, 8));
        }
    }
}
