//! Programs on their way to root, and those that run once: `?` and `print`.
//!
//! **Holds always**
//! - V1: nothing runs that the verifier has not accepted in root, over the very words that run.
//! - V2: a program runs on the core that it asks about. A halted one is asked to, and answers within a limit: it waits for
//!   nothing else.
//!
//! **Callers**: who serves the prompt; [`serve_other`] by a core that is halted as one of the others.
//! **Cost**: the steps of the program, at most [`crate::limits::SCRIPT_STEPS`].

use crate::arch::{Core, x86};
use crate::halt::{self, HALT};
use crate::limits::{HALT_WAIT_MS, SCRIPT_DATA_BYTES, SCRIPT_GLOBALS, SCRIPT_STEPS};
use crate::root::{HALTED, ROOT};
use crate::scripts::{Bench, Here};
use abi::request::{Evaluated, PROGRAM_WORDS_MAX, STAGE_WORDS_MAX, Stage};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use script_vm::{Fault, FaultKind, Limits};
use spin::Mutex;
use zerocopy::FromBytes;

struct Staged {
    words: [u64; PROGRAM_WORDS_MAX],
    count: usize,
}

static STAGED: Mutex<Staged> = Mutex::new(Staged { words: [0; PROGRAM_WORDS_MAX], count: 0 });
/// Memory of evaluations; one runs at a time.
static BENCH: Mutex<Bench> = Mutex::new(Bench::new());

/// What programs may use.
#[expect(clippy::cast_possible_truncation, reason = "512 cells")]
pub const LIMITS: Limits = Limits { words: PROGRAM_WORDS_MAX, globals: SCRIPT_GLOBALS as u16, data: SCRIPT_DATA_BYTES };

/// Keeps words of a program; false if they do not follow those before, or are too many.
pub fn stage(body: &[u8]) -> bool {
    let Ok((head, bytes)) = Stage::read_from_prefix(body) else { return false };
    let (Ok(first), Ok(count)) = (usize::try_from(head.first), usize::try_from(head.count)) else { return false };
    let mut staged = STAGED.lock();
    let fits = count <= STAGE_WORDS_MAX && bytes.len() == count * 8 && (first == 0 || first == staged.count);
    let Some(to) = staged.words.get_mut(first..first.saturating_add(count)).filter(|_| fits) else { return false };
    for (to, from) in to.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *to = u64::from_le_bytes(*from);
    }
    staged.count = first + count;
    true
}

/// Calls `then` with so many staged words; `None` if there are not just as many.
pub fn staged<T>(words: u64, then: impl FnOnce(&[u64]) -> T) -> Option<T> {
    let staged = STAGED.lock();
    let program = staged.words.get(..staged.count).filter(|program| program.len() as u64 == words)?;
    Some(then(program))
}

/// A request to a halted core: its number, and what came of it.
struct Errand {
    core: AtomicU32,
    words: AtomicU64,
    answer: [AtomicU64; 3],
}

/// Nobody is asked.
const NOBODY: u32 = u32::MAX;
static ERRAND: Errand =
    Errand { core: AtomicU32::new(NOBODY), words: AtomicU64::new(0), answer: [const { AtomicU64::new(0) }; 3] };

/// Runs the staged program on the core that commands refer to; `None` if nothing like it was staged, or that core is silent.
pub fn run<C: Core>(cpu: &mut C, core: u32, words: u64) -> Option<Evaluated> {
    let selected = HALT.selected();
    if !HALT.wanted() || selected == core {
        return here(cpu, core, words);
    }
    ERRAND.words.store(words, SeqCst);
    ERRAND.core.store(selected, SeqCst);
    let start = x86::tsc();
    while ERRAND.core.load(SeqCst) != NOBODY {
        if ROOT.dying.load(SeqCst) || x86::tsc().wrapping_sub(start) > ROOT.ticks(HALT_WAIT_MS) {
            // If it has begun, it ends by its own limit; its answer is not waited for.
            let _was_begun = ERRAND.core.compare_exchange(selected, NOBODY, SeqCst, SeqCst);
            return None;
        }
        x86::relax();
    }
    let [value, fault, address] = [0, 1, 2].map(|i| ERRAND.answer.get(i).map_or(0, |word: &AtomicU64| word.load(SeqCst)));
    (fault != u64::MAX).then_some(Evaluated { value, fault, address })
}

/// Runs what this halted core was asked to run.
pub fn serve_other<C: Core>(cpu: &mut C, core: u32) {
    if ERRAND.core.load(SeqCst) != core {
        return;
    }
    let none = Evaluated { fault: u64::MAX, ..Evaluated::default() };
    let Evaluated { value, fault, address } = here(cpu, core, ERRAND.words.load(SeqCst)).unwrap_or(none);
    for (to, from) in ERRAND.answer.iter().zip([value, fault, address]) {
        to.store(from, SeqCst);
    }
    ERRAND.core.store(NOBODY, SeqCst);
}

fn here<C: Core>(cpu: &mut C, core: u32, words: u64) -> Option<Evaluated> {
    let mut bench = BENCH.lock();
    let evaluated = staged(words, |program| {
        let layout = script_vm::verify(program, &LIMITS).ok()?;
        let program = layout.open(program)?;
        let (mut scratch, text) = bench.parts();
        let result = script_vm::run(program, &mut Here::new(cpu, core, 0, None, text), &mut scratch, SCRIPT_STEPS);
        Some(match result {
            Ok(value) => Evaluated { value, fault: 0, address: 0 },
            Err(why) => {
                let address = if let FaultKind::BadAddress { address } = why.kind { address } else { 0 };
                Evaluated { value: 0, fault: number(&why), address }
            }
        })
    })?;
    if ROOT.core(core).state.load(SeqCst) == HALTED {
        // It may have set registers, which are looked at in the record.
        halt::note(cpu, core);
    }
    evaluated
}

/// A fault as the prompt gets it: kind, from 1 on, and instruction.
pub fn number(fault: &Fault) -> u64 {
    u64::from(events::fault_number(fault.kind)) | u64::from(fault.at) << 32
}
