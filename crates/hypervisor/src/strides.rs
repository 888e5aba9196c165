//! Strides: a held thread executes some instructions of its program, on the core that is on its way there.
//!
//! ```text
//! the module: interrupts off, the kernel has looked for work for the last time ─► THREAD_STEP ─► the kernel's way out, instruction by
//!    instruction, uncounted ─► the program's, counted ─► an interrupt that the module has pending ─► the thread is held
//! ```
//! What the kernel does on its way out it does itself: registers, tables, the state of the floating point unit. No interrupt comes to the
//! core until the stride ends, and so no other thread.
//!
//! **Holds always**
//! - J1: an instruction is counted when the core is behind it and still in the program. One that leads into the kernel ends the stride; whether
//!   it was executed shows when the thread is held again (`threads`).
//! - J2: a stride ends after [`STRIDE_MAX`] instructions, and one that does not reach the program after [`WAY_OUT_MAX`].
//!
//! **Callers**: `hypercall` begins, `life` goes on, on one core. **Cost**: an exit an instruction. **Proof**: `tests/e2e/threads.rs`.

use crate::arch::{Core, Machine};
use crate::limits::{STRIDE_MAX, WAY_OUT_MAX};
use crate::monitored::{self, Pending};
use crate::root::ROOT;
use crate::scripts::Bench;
use crate::steps::Next;
use crate::threads;
use abi::boot::CORES_MAX;
use abi::code;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

const NOBODY: u64 = u64::MAX;

/// Of one core, and changed by it alone.
struct Stride {
    /// Of its thread; [`NOBODY`]: none.
    place: AtomicU64,
    /// Whose it was when it began: it may be let go meanwhile, by another core.
    task: AtomicU64,
    /// It has been in the program.
    inside: AtomicBool,
    /// An instruction of it has begun, here.
    begun: AtomicBool,
    from: AtomicU64,
    /// Instructions until now: of the kernel's before it is inside, then of the program's.
    passed: AtomicU32,
}

static STRIDES: [Stride; CORES_MAX] = [const {
    Stride {
        place: AtomicU64::new(NOBODY),
        task: AtomicU64::new(0),
        inside: AtomicBool::new(false),
        begun: AtomicBool::new(false),
        from: AtomicU64::new(0),
        passed: AtomicU32::new(0),
    }
}; CORES_MAX];

fn of(core: u32) -> Option<&'static Stride> {
    STRIDES.get(usize::try_from(core).ok()?)
}

/// The thread at a place steps on this core: a code.
pub fn begin(core: u32, place: u64) -> u32 {
    let Some((stride, task)) = of(core).zip(threads::steps(core, place)) else { return code::NO_SUCH_THREAD };
    stride.task.store(task, Relaxed);
    stride.inside.store(false, Relaxed);
    stride.begun.store(false, Relaxed);
    stride.passed.store(0, Relaxed);
    stride.place.store(place, Relaxed);
    ROOT.attend();
    code::SUCCESS
}

/// Whether this core is in one.
pub fn is_on(core: u32) -> bool {
    of(core).is_some_and(|stride| stride.place.load(Relaxed) != NOBODY)
}

/// Before this core runs the guest: counts what has passed, and begins the next, or ends.
pub fn go_on<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, pending: &mut Pending) -> Next {
    let Some(stride) = of(core).filter(|_| is_on(core) && !cpu.passing()) else { return Next::Run };
    let begun = stride.begun.load(Relaxed);
    if begun && cpu.is_due() {
        cpu.deliver_unguarded();
        return Next::Run;
    }
    if !begun || !stride.is_over(core, cpu.cpl() == 3) {
        stride.from.store(cpu.rip(), Relaxed);
        if cpu.is_due() {
            cpu.deliver_unguarded();
        } else {
            monitored::next::<M>(cpu, core, bench, pending);
        }
        stride.begun.store(true, Relaxed);
        return Next::Look;
    }
    stride.place.store(NOBODY, Relaxed);
    Next::Run
}

impl Stride {
    /// An instruction has passed, or what it made the processor deliver: whether it was the last.
    fn is_over(&self, core: u32, in_program: bool) -> bool {
        let passed = self.passed.fetch_add(1, Relaxed) + 1;
        let whose = (self.place.load(Relaxed), self.task.load(Relaxed));
        match (self.inside.load(Relaxed), in_program) {
            (false, false) => passed >= WAY_OUT_MAX,
            (false, true) => {
                self.inside.store(true, Relaxed);
                self.passed.store(0, Relaxed);
                false
            }
            (true, true) => threads::counts_step(core, whose) == 0 || passed >= STRIDE_MAX,
            (true, false) => {
                threads::enters_kernel(core, whose, self.from.load(Relaxed));
                true
            }
        }
    }
}
