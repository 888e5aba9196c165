//! Whether somebody is at the prompt: a machine that is halted for nobody goes on.
//!
//! A line does not say that the program at its other end was killed. So a prompt says from time to time that it is there, and within what
//! time it must be heard again. Who never says so (a program of its own that speaks the link) is waited for without end.
//!
//! **Holds always**
//! - A1: the limit belongs to the session that set it: another one begins without.
//! - A2: behind the limit nothing halts the machine, until something is heard on the link again.
//! - A3: what is temporary is cleared behind the limit, and when another prompt comes.
//!
//! **Callers**: `serve`, by whoever serves the link. **Cost**: a look at the clock while halted; running, one load a halt.
//! **Proof**: `tests/e2e/client_death.rs`.

use crate::arch::x86;
use crate::root::ROOT;
use abi::request::Attend;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

static SESSION: AtomicU32 = AtomicU32::new(0);
static WHO: AtomicU64 = AtomicU64::new(0);
/// Milliseconds; 0: there is none.
static LIMIT_MS: AtomicU64 = AtomicU64::new(0);
/// When something was heard, or the machine was halted.
static HEARD: AtomicU64 = AtomicU64::new(0);
static ABANDONED: AtomicBool = AtomicBool::new(false);

/// A request came, of this session.
pub fn heard(session: u32) {
    if SESSION.swap(session, SeqCst) != session {
        LIMIT_MS.store(0, SeqCst);
    }
    ABANDONED.store(false, SeqCst);
    from_now();
}

/// The limit counts from now on.
pub fn from_now() {
    HEARD.store(x86::tsc(), SeqCst);
}

/// A prompt says that it is there; whether it is another one than before.
pub fn ask(ask: Attend) -> bool {
    LIMIT_MS.store(ask.limit_ms, SeqCst);
    WHO.swap(ask.who, SeqCst) != ask.who
}

/// Whether the limit is over. Asked while the machine is halted.
pub fn is_over() -> bool {
    let limit_ms = LIMIT_MS.load(SeqCst);
    limit_ms != 0 && x86::tsc().wrapping_sub(HEARD.load(SeqCst)) > ROOT.ticks(limit_ms)
}

/// Nobody is there any more.
pub fn abandon() {
    ABANDONED.store(true, SeqCst);
}

/// Whether that is so.
pub fn is_abandoned() -> bool {
    ABANDONED.load(SeqCst)
}
