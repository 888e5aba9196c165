//! Code of hooked pages on its way: where a core fetches it, where it meets a breakpoint of root's, where it leaves.
//!
//! ```text
//! guarded ──a fetch from a hooked page──► the page's copy alone ──a fetch elsewhere──► guarded
//!     └── at a hook: events, then the instruction      └── a breakpoint of the copy: the same
//! ```
//! The instruction at a hook is done by root if it is a simple one (`simple`); else the core steps over it in the open view, as
//! `monitored` has it. A page on which a monitor waits for something is not executed as a copy: all of it is stepped.
//!
//! **Holds always**
//! - B1: an instruction at an enabled hook fires it once, on whichever way the core comes there; what faults fires again when it is tried
//!   again.
//! - B2: a breakpoint that the guest has itself put there is the guest's, behind the events of a hook at its place.
//!
//! Most of it goes a shorter way: `hits`.
//!
//! **Callers**: `monitored` and `life`, on an exit. **Cost**: two exits for a call of a hooked function from another page.
//! **Proof**: `tests/e2e/epthook.rs`.

use crate::arch::x86::direct;
use crate::arch::{Core, Machine, Nested};
use crate::hooks::{self, BREAKPOINT};
use crate::monitored::{self, Pending};
use crate::root::ROOT;
use crate::scripts::Bench;
use crate::{monitors, simple, walk};
use abi::boot::FRAME_BYTES;

/// What becomes of an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing more.
    Over,
    /// It is stepped over, if monitors let it.
    Step,
    /// It is none of hooks'.
    Other,
}

/// Where the instruction lies that the core is about to execute.
fn place<C: Core>(cpu: &C) -> Option<u64> {
    // Bases of code are 0 but in 16-bit code and in a few old programs.
    let base = if cpu.code_bits() == 64 { 0 } else { cpu.segment(crate::arch::x86::decode::segment::CS).base };
    walk::translate(cpu.cr3(), base.wrapping_add(cpu.rip()), direct::read)
}

/// A fetch that nested tables did not allow.
pub fn fetched<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &mut Pending, fault: &Nested) -> Then {
    let Some(at) = place(cpu) else { return Then::Other };
    let pfn = fault.gpa / FRAME_BYTES;
    if at / FRAME_BYTES != pfn {
        // An instruction that ends in the next page.
        return if cpu.executes_page() { Then::Step } else { Then::Other };
    }
    hooks::freshen(core, pfn);
    let mut watched = monitors::of_frame(pfn);
    match hooks::shown(pfn) {
        // It can be executed without a view of its own.
        Some(_) if cpu.executes_page() && hooks::is_visible(pfn) => {
            cpu.execute_all();
            cpu.again();
            Then::Over
        }
        Some(shown) if watched.all(|watched| watched.lets_execute()) => go_on::<M>(cpu, core, bench, pending, at, shown),
        None if cpu.executes_page() && watched.all(|watched| watched.lets_execute()) => {
            cpu.execute_all();
            cpu.again();
            Then::Over
        }
        _ => Then::Other,
    }
}

/// A breakpoint that the core met.
pub fn breakpoint<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &mut Pending) -> Then {
    let Some(at) = place(cpu) else { return Then::Other };
    if hooks::is_at(at) {
        let pfn = at / FRAME_BYTES;
        return match hooks::shown(pfn) {
            _ if !cpu.executes_page() => do_hooked::<M>(cpu, core, bench, pending, at),
            Some(shown) if monitors::of_frame(pfn).all(|watched| watched.lets_execute()) => {
                go_on::<M>(cpu, core, bench, pending, at, shown)
            }
            _ => Then::Step,
        };
    }
    let mut byte = [0];
    if direct::copy_out(at, &mut byte) && byte == [BREAKPOINT] {
        return Then::Other;
    }
    direct::renew(at);
    if pending.is_unclaimed(cpu.rip(), ROOT.core(core).total()) {
        return Then::Other;
    }
    // If the hook has gone this instant, what there is now is there behind a flush, and it does not come again.
    monitors::steady(core, || ());
    cpu.flush();
    cpu.again();
    Then::Over
}

/// The core executes the copy from here on; a hook here fires first.
fn go_on<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &mut Pending, at: u64, shown: u64) -> Then {
    let shows = cpu.execute(at / FRAME_BYTES, shown);
    if !hooks::is_at(at) {
        cpu.again();
        return if shows { Then::Over } else { Then::Other };
    }
    do_hooked::<M>(cpu, core, bench, pending, at)
}

/// A hook here fires, and root does the instruction if it can.
fn do_hooked<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &mut Pending, at: u64) -> Then {
    let Some(instruction) = simple::of(cpu) else { return Then::Step };
    monitored::simple::<M>(cpu, core, bench, pending, at, instruction);
    Then::Over
}
