//! Steps: a core that executes one instruction after the other, for who looks at it from the prompt.
//!
//! ```text
//! halted ─► asked ─► this core: an instruction passes (`Core::step`), or an event is delivered ─► counted ─► the next, or halted
//!               └──► the others: halted meanwhile (alone), or they run (together)
//! ```
//! What an instruction makes the processor deliver, such as a page fault, belongs to its step: the core is then at the handler's first
//! instruction. Events, monitors and hooks fire as without steps, and one that halts ends them. Between two steps no interrupt is
//! delivered on this core and no NMI, as `arch` has it: both wait for the machine to go on.
//!
//! **Holds always**
//! - T1: one core steps at a time, and whoever serves the prompt asks while every core is halted.
//! - T2: an instruction is counted once, when the core is behind it, also if the machine was halted in the midst of it.
//! - T3: however many are asked for, bytes on the link end them: by the NMI that they are (together), or since they are looked for
//!   every [`STEPS_UNLOOKED_MAX`] steps (alone).
//! - T4: when the machine goes on, nothing of it is left in the guest: no flag, no breakpoint.
//!
//! **Callers**: `life`, before each run; `serve`. **Cost**: an exit each; without steps, nothing. **Proof**: `tests/e2e/steps.rs`.

use crate::arch::{Core, Machine};
use crate::halt::HALT;
use crate::limits::STEPS_UNLOOKED_MAX;
use crate::monitored::{self, Pending};
use crate::root::ROOT;
use crate::scripts::Bench;
use crate::{line, serve};
use abi::request::{STEPS_MAX, StepAsk, step};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

const NOBODY: u32 = u32::MAX;

/// What is asked for, and how far it is.
struct Steps {
    core: AtomicU32,
    wanted: AtomicU64,
    done: AtomicU64,
    /// Where the core was when it was asked.
    from: AtomicU64,
    /// An instruction of theirs has begun, and is not counted.
    begun: AtomicBool,
}

static STEPS: Steps = Steps {
    core: AtomicU32::new(NOBODY),
    wanted: AtomicU64::new(0),
    done: AtomicU64::new(0),
    from: AtomicU64::new(0),
    begun: AtomicBool::new(false),
};

/// What a core does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It runs the guest.
    Run,
    /// It looks once more at what it looks at before that.
    Look,
}

/// Asks a core for steps, which is halted there; `None` if the request is none, else whether it steps alone.
pub fn ask(core: u32, rip: u64, ask: StepAsk) -> Option<bool> {
    let StepAsk { count, how, zero } = ask;
    if zero != 0 || how > step::TOGETHER || !(1..=STEPS_MAX).contains(&count) {
        return None;
    }
    for (word, value) in [(&STEPS.wanted, count), (&STEPS.done, 0), (&STEPS.from, rip)] {
        word.store(value, SeqCst);
    }
    STEPS.begun.store(false, SeqCst);
    STEPS.core.store(core, SeqCst);
    ROOT.attend();
    Some(how == step::ALONE)
}

/// The machine is halted: there are no more of them.
pub fn end() {
    STEPS.core.store(NOBODY, SeqCst);
}

/// The machine is continued.
pub fn forget() {
    end();
    STEPS.done.store(0, SeqCst);
}

/// Instructions of the last request so far.
pub fn done() -> u64 {
    STEPS.done.load(SeqCst)
}

/// Whether this core steps.
pub fn is_asked(core: u32) -> bool {
    STEPS.core.load(SeqCst) == core
}

/// Before this core runs the guest: counts what has passed, and begins the next, or halts.
pub fn go_on<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &mut Pending) -> Next {
    if !is_asked(core) || cpu.passing() {
        return Next::Run;
    }
    let begun = STEPS.begun.load(SeqCst);
    if begun && cpu.is_due() {
        cpu.deliver_unguarded();
        return Next::Run;
    }
    // What the halt came in the midst of counts, too.
    if begun || STEPS.done.load(SeqCst) == 0 && cpu.rip() != STEPS.from.load(SeqCst) {
        STEPS.begun.store(false, SeqCst);
        STEPS.done.fetch_add(1, SeqCst);
    }
    let done = STEPS.done.load(SeqCst);
    // Who steps alone owns the halt.
    let looks = HALT.is_owned_by(core) && done.is_multiple_of(STEPS_UNLOOKED_MAX);
    let message = if looks { line::poll() } else { None };
    if done >= STEPS.wanted.load(SeqCst) || message.is_some() {
        serve::stepped::<M>(cpu, core, message.as_ref());
        return Next::Look;
    }
    if cpu.is_due() {
        cpu.deliver_unguarded();
    } else {
        monitored::next::<M>(cpu, core, bench, pending);
    }
    // A halt in the midst of that has asked anew, or for none.
    STEPS.begun.store(is_asked(core), SeqCst);
    Next::Look
}
