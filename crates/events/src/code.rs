//! Machine code of events: where it lies in the unit, when it runs, and what comes of its faults.
//!
//! ```text
//! the unit   program | condition, return | code, return
//! ```
//! **Holds always**
//! - N1: what runs ends in the return that lies behind its bytes: what was staged without one is refused.
//! - N2: a condition that faults does not hold, and an action that faults has changed no register of the guest's; either
//!   is counted, and the event's other actions run.
//!
//! **Callers**: `add`, `fire`. **Proof**: `tests/code.rs`.

use crate::slot::{Slot, high, join, low};
use crate::{Here, Running};
use abi::request::{EventAsk, event};
use core::sync::atomic::Ordering::Relaxed;

/// What machine code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It decides whether the event fires: with `registers` and `context`.
    Condition,
    /// It acts: with `buffer`, `registers` and `context`, and what it leaves in the registers becomes the guest's.
    Action,
}

/// A piece of machine code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// What for.
    pub part: Part,
    /// Bytes from the start of the event's place ([`crate::Memory::open_code`]).
    pub offset: u32,
    /// Its bytes; a return lies behind them.
    pub bytes: u32,
}

/// What ended machine code early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeFault {
    /// The exception's vector.
    pub vector: u8,
    /// Bytes from the start of the code; `None` if it happened elsewhere.
    pub offset: Option<u32>,
}

/// Bytes of everything that an event runs.
pub(crate) fn bytes_of(ask: &EventAsk) -> u64 {
    staged_words(ask).saturating_mul(8)
}

/// Words that are staged for an event: program, condition and code.
#[must_use]
pub fn staged_words(ask: &EventAsk) -> u64 {
    let words = [ask.program_words, event::code_words(ask.condition_bytes), event::code_words(ask.code_bytes)];
    words.iter().map(|words| u64::from(*words)).sum()
}

/// Whether a return lies behind condition and code (N1).
pub(crate) fn returns(ask: &EventAsk, staged: &[u64]) -> bool {
    let mut first = ask.program_words as usize;
    [ask.condition_bytes, ask.code_bytes].into_iter().all(|bytes| {
        let last = first.saturating_add(bytes as usize / 8);
        first = first.saturating_add(event::code_words(bytes) as usize);
        let behind = staged.get(last).and_then(|word| word.to_le_bytes().get(bytes as usize % 8).copied());
        bytes == 0 || behind == Some(event::CODE_RETURN)
    })
}

/// The condition of an event, or what it does.
fn code(slot: &Slot, part: Part) -> Code {
    let bytes = slot.code_bytes.load(Relaxed);
    let condition = low(slot.program_size.load(Relaxed)).saturating_mul(8);
    match part {
        Part::Condition => Code { part, offset: condition, bytes: low(bytes) },
        Part::Action => {
            let behind = event::code_words(low(bytes)).saturating_mul(8);
            Code { part, offset: condition.saturating_add(behind), bytes: high(bytes) }
        }
    }
}

/// Whether an event with a condition fires.
pub(crate) fn holds<H: Here>(slot: &Slot, running: &Running, here: &mut H) -> bool {
    run(slot, Part::Condition, running, here).is_some_and(|value| value != 0)
}

/// Runs the machine code that acts.
pub(crate) fn act<H: Here>(slot: &Slot, running: &Running, here: &mut H) {
    // Its value means nothing.
    let _value = run(slot, Part::Action, running, here);
}

fn run<H: Here>(slot: &Slot, part: Part, running: &Running, here: &mut H) -> Option<u64> {
    let fault = match here.call(running, &code(slot, part)) {
        Ok(value) => return Some(value),
        Err(fault) => fault,
    };
    let what = match part {
        Part::Condition => event::CONDITION_FAULT,
        Part::Action => event::CODE_FAULT,
    };
    let offset = fault.offset.unwrap_or(event::CODE_OUTSIDE).min(event::CODE_OUTSIDE);
    slot.last_fault.store(join(what, offset | u32::from(fault.vector) << 24), Relaxed);
    slot.faults.fetch_add(1, Relaxed);
    None
}
