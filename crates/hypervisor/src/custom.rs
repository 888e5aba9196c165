//! Machine code of events: what it gets, and what becomes of the registers that it writes.
//!
//! ```text
//! rcx, rdx, r8   registers, context (a condition)     buffer, registers, context (an action)
//! registers      rax rcx rdx rbx rsp rbp rsi rdi r8 … r15 rip rflags, 8 bytes each
//! ```
//! **Holds always**
//! - U1: what an action leaves in the first sixteen becomes the guest's, if it did not fault; rip, rflags and what a condition
//!   writes do not.
//!
//! **Callers**: `watch`, for an event that fires on this core.
#![expect(unsafe_code, reason = "calls what the user wrote")]

use crate::arch::Core;
use crate::arch::x86::{called, direct};
use crate::scripts::Here;
use abi::boot::FRAME_BYTES;
use events::{Code, CodeFault, Part, Running};
use script_vm::{Machine, Pseudo, Special};

/// The general registers, rip and rflags.
const WORDS: usize = 18;
const GENERAL: usize = 16;

/// Calls one piece.
pub fn call<C: Core>(here: &mut Here<'_, C>, event: &Running, code: &Code) -> Result<u64, CodeFault> {
    let mut registers = [0; WORDS];
    for (number, to) in (0..).zip(registers.iter_mut().take(GENERAL)) {
        *to = here.gpr(number);
    }
    registers[GENERAL] = here.pseudo(Pseudo::Ip);
    registers[GENERAL + 1] = here.special(Special::Rflags);
    let (context, at) = (here.pseudo(Pseudo::Context), &raw mut registers as u64);
    let buffer = direct::address(event.buffer.pfn() * FRAME_BYTES, event.buffer.bytes() as u64).unwrap_or(0);
    let arguments = match code.part {
        Part::Condition => [at, context, 0],
        Part::Action => [buffer, at, context],
    };
    // SAFETY: `events` calls only what it has opened, and opened only what ends in a return (M4, N1); the event cannot be
    // given back while this core is inside it. Who registers events may load modules, so nothing is kept from them here.
    // The registers outlive the call, and the buffer's frames are the event's.
    let called = unsafe { called::call(event.id, code.offset, arguments) };
    let value = called.map_err(|exception| {
        let within = exception.offset.wrapping_sub(code.offset.into());
        // The return behind the code is a part of it.
        let offset = u32::try_from(within).ok().filter(|offset| *offset <= code.bytes);
        CodeFault { vector: exception.vector, offset }
    })?;
    if code.part == Part::Action {
        for (number, value) in (0..).zip(registers.into_iter().take(GENERAL)) {
            here.set_gpr(number, value);
        }
    }
    Ok(value)
}
