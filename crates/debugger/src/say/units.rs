//! Refusals about units: each names the type, what was asked, what is there, and the line that helps.
//!
//! **Holds always**: a line that is offered works on the machine whose numbers the answer gives.

use super::{Said, plain};
use crate::error::Wanted;
use crate::line::Line;
use abi::code;
use abi::kind::Kind;
use abi::request::PreallocAnswer;

/// What a refused request for units is called.
pub(super) fn refused(code: u32, answer: &PreallocAnswer, wanted: Wanted, bank_serves: u64, typed: &Line) -> Said {
    let kind = Kind::from_number(answer.kind);
    let word = kind.map_or("units", Kind::word);
    let PreallocAnswer { kind: _, zero: _, asked, free, reserved, most, short, bank_free } = *answer;
    let command = match wanted {
        Wanted::Reserve => Some("prealloc"),
        Wanted::Release => Some("prealloc release"),
        // Who takes units for something else cannot do it by half.
        Wanted::Take => typed.words().get(1).is_some_and(|word| word.text.eq_ignore_ascii_case("hold")).then_some("test hold"),
    };
    let some = |said: Said, units: u64| match command {
        Some(command) if units > 0 => said.try_line(format!("{command} {word} {units:x}")),
        _ => said,
    };
    match code {
        code::COUNT_ZERO => match wanted {
            Wanted::Reserve => some(Said::of_root(code, format!("nothing to reserve: 0x0 {word} asked")), 1),
            Wanted::Release => {
                some(Said::of_root(code, format!("nothing to release: 0x0 {word} asked, 0x{free:x} free")), free)
            }
            Wanted::Take => {
                some(Said::of_root(code, format!("nothing to take: 0x0 {word} asked, 0x{free:x} free")), free.min(1))
            }
        },
        code::COUNT_TOO_LARGE if wanted == Wanted::Release => {
            let message = format!("too many {word} to release: 0x{asked:x} asked, 0x{free:x} free of 0x{reserved:x}");
            some(Said::of_root(code, message), free)
        }
        code::COUNT_TOO_LARGE => {
            let said = Said::of_root(code, format!("too many {word}: 0x{asked:x} asked, 0x{most:x} possible on this machine"));
            match most {
                // Its share of RAM is taken, and by itself: what is free of that can go back to the bank.
                0 if free > 0 => said.try_line(format!("prealloc release {word}")),
                most => some(said, most),
            }
        }
        code::BANK_SHORT => {
            let message =
                format!("the bank is short by 0x{short:x} pages: 0x{asked:x} {word} asked, 0x{bank_free:x} pages free");
            some(Said::of_root(code, message), bank_serves)
        }
        code::KERNEL_OUT_OF_MEMORY => {
            let pages = if short == 0 { "the missing pages".to_owned() } else { format!("the 0x{short:x} missing pages") };
            let message = format!(
                "linux could not give {pages}: 0x{asked:x} {word} asked, 0x{bank_free:x} pages free in the bank; nothing was reserved"
            );
            some(Said::of_root(code, message), bank_serves)
        }
        code::INJECTED => {
            let message = format!("a test asked for this refusal: 0x{asked:x} {word} asked, nothing was taken");
            Said::of_root(code, message).help("the next request is dealt with as ever").try_line(typed.text().trim())
        }
        code::PREALLOC_TYPE_UNKNOWN => Said::of_root(code, format!("root knows no type with the number 0x{:x}", answer.kind)),
        code if kind.is_some_and(|kind| code == code::used_up(kind)) => {
            let said = if free == 0 {
                Said::of_root(code, format!("no {word} left: 0x{asked:x} asked, 0x0 of 0x{reserved:x} free"))
            } else {
                Said::of_root(code, format!("too few {word}: 0x{asked:x} asked, 0x{free:x} of 0x{reserved:x} free"))
            };
            // With enough free another core had them for a moment: one more is sure to help.
            let missing = asked.saturating_sub(free).max(1);
            if missing <= most {
                said.try_line(format!("prealloc {word} {missing:x}"))
            } else {
                some(said.help(format!("this machine could reserve 0x{most:x} more")), free)
            }
        }
        code => plain(code, false),
    }
}
