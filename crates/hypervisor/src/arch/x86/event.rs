//! Events that a processor delivers, as both vendors' control blocks have them (APM2 15.20 "Event Injection", SDM3 25.8.3
//! "VM-Entry Controls for Event Injection"): vector, type, whether there is an error code, and that in the upper half.
//!
//! **Callers**: a vendor's floor. **Proof**: the tests below.

use super::vector;
use crate::arch::Delivery;

/// The field holds an event.
pub const VALID: u64 = 1 << 31;
/// It pushes the error code in the upper half.
pub const ERROR: u64 = 1 << 11;
/// Bits of the type.
pub const TYPE: u64 = 7 << 8;
/// External interrupt.
pub const EXTERNAL: u64 = 0;
/// NMI.
pub const NMI: u64 = 2 << 8;
/// Exception.
pub const EXCEPTION: u64 = 3 << 8;
/// INT n.
pub const SOFTWARE: u64 = 4 << 8;

/// Vectors that push an error code: #DF #TS #NP #SS #GP #PF #AC #CP #VC #SX.
const WITH_ERROR: u32 = 0x6022_7d00;
/// #DE #TS #NP #SS #GP: two of them one in the other are a double fault.
const CONTRIBUTORY: u32 = 0x3c01;

/// An exception as it is injected.
#[must_use]
pub fn exception(vector: u64, error: u64) -> u64 {
    let error = if vector < 32 && WITH_ERROR >> vector & 1 != 0 { ERROR | error << 32 } else { 0 };
    VALID | EXCEPTION | vector | error
}

/// What the guest gets of an exception that came while `first` was delivered (0: while nothing was); `None` is a shutdown.
///
/// Where the two are no double fault the second is delivered alone, at the instruction that the first was delivered at: a
/// fault comes again with its instruction, a trap or an interrupt is lost, as it is without root. Linux' stacks and tables
/// for deliveries are always there, so of these two only a kernel that is overflowing its stack sees anything.
#[must_use]
pub fn combined(first: u64, vector: u64, error: u64) -> Option<u64> {
    let second = exception(vector, error);
    if first & VALID == 0 || first & TYPE != EXCEPTION {
        return Some(second);
    }
    let first = first & 0xff;
    let contributory = |vector: u64| vector < 32 && CONTRIBUTORY >> vector & 1 != 0;
    let severe = contributory(vector) || vector == vector::PF;
    match first {
        vector::DF if severe => None,
        vector::PF if severe => Some(exception(vector::DF, 0)),
        first if contributory(first) && contributory(vector) => Some(exception(vector::DF, 0)),
        _ => Some(second),
    }
}

/// What the processor pushes of itself in 64-bit mode: SS, RSP, RFLAGS, CS, RIP.
const FRAME_BYTES: u64 = 40;

/// What tells where an event's stack frame is put.
#[derive(Clone, Copy, Debug)]
pub struct Stacks {
    /// Base of the table of gates,
    pub idt: u64,
    /// and of the task state, with the stacks of rings and gates.
    pub task: u64,
    /// The ring that is interrupted,
    pub cpl: u8,
    /// and its stack.
    pub rsp: u64,
}

/// Where an event that was being delivered is put in long mode, and the gate that leads there. `None` if there is none, or if what
/// tells cannot be read.
pub fn delivery(what: u64, stacks: &Stacks, read: impl Fn(u64, &mut [u8]) -> usize) -> Option<Delivery> {
    if what & VALID == 0 {
        return None;
    }
    let gate = stacks.idt.wrapping_add((what & 0xff) * 16);
    let word = |at: u64| {
        let mut bytes = [0; 8];
        (read(at, &mut bytes) == 8).then(|| u64::from_le_bytes(bytes))
    };
    // APM2 8.9.3 "Interrupt Stack Frame": a stack of the gate's own, one of the ring's, or the same.
    let top = match word(gate)? >> 32 & 7 {
        0 if stacks.cpl == 0 => stacks.rsp,
        0 => word(stacks.task.wrapping_add(4))?,
        own => word(stacks.task.wrapping_add(0x24 + (own - 1) * 8))?,
    };
    let bytes = FRAME_BYTES + if what & ERROR == 0 { 0 } else { 8 };
    Some(Delivery { frame: ((top & !15).wrapping_sub(bytes), bytes), gate: (gate, 16) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DE: u64 = 0;
    const UD: u64 = 6;
    const DF: u64 = vector::DF;
    const GP: u64 = vector::GP;
    const PF: u64 = vector::PF;

    /// Would catch an exception without the error code that its handler expects on the stack, or with one that it does not.
    #[test]
    fn an_exception_is_passed_on_with_its_error_code_and_no_other_has_one() {
        assert_eq!(combined(0, PF, 7), Some(7 << 32 | 0x8000_0b0e));
        assert_eq!(combined(0, UD, 7), Some(0x8000_0306));
        let with: u32 = (0..32).filter(|v| exception(*v, 0) & ERROR != 0).map(|v| 1 << v).sum();
        assert_eq!(with, 1 << 8 | 0x1f << 10 | 1 << 17 | 1 << 21 | 3 << 29);
        // A script may ask for a vector that no exception has.
        assert_eq!(exception(0xff, 7), 0x8000_03ff);
    }

    /// Would catch a guest that goes on where a processor would have said double fault or stopped, or the other way round
    /// (APM2 8.2.9, table "Simultaneous Contributory and Non-Contributory Exceptions").
    #[test]
    fn two_at_once_become_what_the_processor_makes_of_them() {
        let double = Some(exception(DF, 0));
        for (first, second, becomes) in [
            (DE, GP, double),
            (GP, DE, double),
            (PF, GP, double),
            (PF, PF, double),
            (GP, PF, Some(exception(PF, 5))),
            (UD, PF, Some(exception(PF, 5))),
            (PF, UD, Some(exception(UD, 0))),
            (DF, PF, None),
            (DF, GP, None),
            (DF, UD, Some(exception(UD, 0))),
        ] {
            assert_eq!(combined(exception(first, 0), second, if second == PF { 5 } else { 0 }), becomes, "{first} {second}");
        }
        for other in [EXTERNAL, NMI, SOFTWARE] {
            assert_eq!(combined(VALID | other | PF, PF, 5), Some(exception(PF, 5)));
        }
        assert_eq!(combined(exception(PF, 0) & !VALID, PF, 5), Some(exception(PF, 5)), "nothing was delivered");
    }
}
