//! Hits of hooks in few instructions: what there is to know of the one that was met last, and an event that only counts.
//!
//! ```text
//! a breakpoint ─► the page that the last one was on: no walk ─► the same bytes as then: no look for hooks, no decoding ─► counted ─► done
//! ```
//! What is not as simple as that goes the way of `hooked`, as if this had not been tried.
//!
//! **Holds always**
//! - Q1: what is known is forgotten with every flush. So no hook or monitor that has come since is missed for longer than its request takes
//!   (N3 of `monitors`), and one that has gone is asked for in the table of events, which knows.
//! - Q2: nothing is done, and no event told, before it is sure that all of it can be done.
//!
//! **Callers**: `life`. **Cost**: `cargo bench -p tests --bench epthook`. **Proof**: the tests below, `tests/e2e/epthook_fast.rs`.

use crate::arch::{Core, Machine};
use crate::monitored::Hit;
use crate::simple::{self, Simple};
use crate::{monitors, watch};
use abi::boot::FRAME_BYTES;
use abi::request::event;
use abi::request::monitor::EXECUTE;

/// The instruction at a hook.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Where it lies physically,
    pa: u64,
    /// its bytes and what follows,
    code: u128,
    /// what it does,
    does: Simple,
    /// and what it fires.
    hit: Hit,
}

/// What waits for an instruction at a physical address: one hook alone, or it is not known here.
fn hook_at(pa: u64) -> Option<Hit> {
    let mut all = monitors::of_frame(pa / FRAME_BYTES)
        .filter(|watched| watched.access & EXECUTE != 0 && (watched.range.0..=watched.range.1).contains(&pa));
    let one = all.next().filter(|watched| watched.hook)?;
    let hit = Hit { id: one.id, kind: event::EPTHOOK, serial: one.serial, context: pa.wrapping_add(one.context) };
    all.next().is_none().then_some(hit)
}

#[cold]
#[inline(never)]
fn look(pa: u64, code: u128) -> Option<Known> {
    Some(Known { pa, code, does: simple::decoded(code)?, hit: hook_at(pa)? })
}

/// Does the hit that the core has just come out for, if that is a simple one; whether it was.
#[inline(always)]
pub fn quick<M: Machine>(cpu: &mut M::Core, core: u32, known: &mut Option<Known>) -> bool {
    let Some((pa, code)) = cpu.near_instruction() else { return false };
    if known.as_ref().is_none_or(|known| known.pa != pa || known.code != code) {
        *known = look(pa, code);
    }
    let Some(known) = known else { return false };
    if watch::armed_behind(event::EPTHOOK) {
        return false;
    }
    let Some(does) = known.does.aimed(cpu) else { return false };
    if !watch::monitored_quick(cpu, core, &known.hit) {
        return false;
    }
    if does.execute(cpu) {
        let next = cpu.rip().wrapping_add(does.length);
        cpu.continue_at(next);
    } else {
        cpu.again();
    }
    true
}
