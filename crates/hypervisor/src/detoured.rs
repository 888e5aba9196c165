//! What comes to root of a detour: a breakpoint that stands for its jump, and the call of its place.
//!
//! **Holds always**
//! - O1: events of a detour find the guest as it is before the first displaced instruction: at its address, with its registers.
//! - O2: it goes on at what stands for that instruction, or behind it if it was suppressed, or where a script has sent it.
//!
//! **Callers**: `life` and `hypercall`, on an exit. **Cost**: one exit each. **Proof**: `tests/e2e/epthook2.rs`.

use crate::arch::{Core, Machine};
use crate::monitored::Hit;
use crate::scripts::Bench;
use crate::{detours, places, watch};
use abi::request::event;

/// A breakpoint that the guest has met; whether it stands, or stood a moment ago, for a jump: then it is led on.
pub fn breakpoint<C: Core>(cpu: &mut C) -> bool {
    if cpu.cpl() != 0 || cpu.code_bits() != 64 {
        return false;
    }
    let Some(entry) = detours::entry(cpu.rip()) else { return false };
    cpu.continue_at(entry);
    true
}

/// A call of root, from ring 0; whether it was a place's: then its event has fired.
pub fn called<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench) -> bool {
    let Some(place) = places::called(cpu.rip()) else { return false };
    let Some((id, serial, at, [copy, second])) = detours::at_place(place) else { return false };
    cpu.continue_at(at);
    let hit = Hit { id, kind: event::EPTHOOK2, serial, context: at };
    let suppressed = watch::monitored::<M>(cpu, core, bench, &hit, event::PRE);
    if cpu.rip() == at {
        cpu.continue_at(if suppressed { second } else { copy });
    }
    true
}
