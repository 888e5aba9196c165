//! Halting: every core waits in root, time stands still for Linux, one core serves the prompt.
//!
//! **Holds always**
//! - H1: at most one core owns the halt. Another that wants one waits its turn, halted itself meanwhile.
//! - H2: a core says that it is halted only after the NMI that called it has been taken, so none leaks to Linux later.
//! - H3: the time from "all are halted" to "the first goes on" is hidden from Linux' time stamp counter, on every core
//!   alike, but for the time in which one of them steps; so no core ever sees it run backwards.
//!
//! **Cost**: an NMI to each core; while halted every core spins. **Proof**: `tests/halt.rs`, 200 halts asked for from both cores.

use crate::arch::{Core, Event, x86};
use crate::limits::{HALT_WAIT_MS, KICK_AGAIN_MS};
use crate::root::{HALTED, OUT, ROOT, RUNNING};
use crate::scripts;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

const NOBODY: u32 = u32::MAX;

/// State of the halt.
pub struct Halt {
    owner: AtomicU32,
    wanted: AtomicBool,
    hidden: AtomicU64,
    selected: AtomicU32,
    since: AtomicU64,
}

/// The one.
pub static HALT: Halt = Halt {
    owner: AtomicU32::new(NOBODY),
    wanted: AtomicBool::new(false),
    hidden: AtomicU64::new(0),
    selected: AtomicU32::new(0),
    since: AtomicU64::new(0),
};

/// A core that did not halt within [`HALT_WAIT_MS`]; the others go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silent {
    /// Its number.
    pub core: u32,
}

impl Halt {
    /// Whether every core is halted or about to be.
    pub fn wanted(&self) -> bool {
        self.wanted.load(SeqCst)
    }

    /// The core that commands refer to.
    pub fn selected(&self) -> u32 {
        self.selected.load(SeqCst)
    }

    /// Commands refer to another core from now on; `false` if it is not halted.
    pub fn select(&self, core: u32) -> bool {
        let halted = ROOT.core(core).state.load(SeqCst) == HALTED;
        if halted {
            self.selected.store(core, SeqCst);
        }
        halted
    }

    /// Halts every core; this one, `core`, then owns the halt and must [`Halt::go`].
    ///
    /// # Errors
    /// [`Silent`]: one did not come; nothing is halted.
    pub fn stop<C: Core>(&self, cpu: &mut C, core: u32) -> Result<(), Silent> {
        while self.owner.compare_exchange(NOBODY, core, SeqCst, SeqCst).is_err() {
            if self.is_owned_by(core) {
                // It steps alone: the others have never left.
                self.settle(cpu, core);
                return Ok(());
            }
            if ROOT.dying.load(SeqCst) {
                // Its owner has left and lets nobody else have it.
                return Err(Silent { core: self.owner.load(SeqCst) });
            }
            self.join(cpu, core);
            x86::relax();
        }
        self.wanted.store(true, SeqCst);
        ROOT.attend();
        for (number, record) in ROOT.cores_in() {
            if number != core {
                record.kick();
            }
        }
        let start = x86::tsc();
        let mut kicked = start;
        for (number, record) in ROOT.cores_in() {
            while number != core && record.state.load(SeqCst) == RUNNING {
                ROOT.acknowledge_flush(core);
                if ROOT.dying.load(SeqCst) || x86::tsc().wrapping_sub(start) > ROOT.ticks(HALT_WAIT_MS) {
                    self.wanted.store(false, SeqCst);
                    self.owner.store(NOBODY, SeqCst);
                    return Err(Silent { core: number });
                }
                if x86::tsc().wrapping_sub(kicked) > ROOT.ticks(KICK_AGAIN_MS) {
                    kicked = x86::tsc();
                    record.kick_again();
                }
                x86::relax();
            }
        }
        self.settle(cpu, core);
        Ok(())
    }

    /// The owner stands where it is, and so does time.
    fn settle<C: Core>(&self, cpu: &C, core: u32) {
        note(cpu, core);
        ROOT.core(core).state.store(HALTED, SeqCst);
        self.selected.store(core, SeqCst);
        self.since.store(x86::tsc(), SeqCst);
    }

    /// Whether this core owns the halt.
    pub fn is_owned_by(&self, core: u32) -> bool {
        self.owner.load(SeqCst) == core
    }

    /// One core alone runs the guest for a while, and owns the halt from here on; `core`, the owner, calls this. If it is another one,
    /// comes back when the machine has gone on; else at once.
    pub fn lend<C: Core>(&self, cpu: &mut C, core: u32, to: u32) {
        debug_assert!(self.is_owned_by(core), "H1");
        let halted = x86::tsc().wrapping_sub(self.since.load(SeqCst));
        self.hidden.fetch_add(halted, SeqCst);
        if to == core {
            ROOT.core(core).state.store(RUNNING, SeqCst);
            cpu.hide_time(self.hidden.load(SeqCst));
        } else {
            self.owner.store(to, SeqCst);
            self.join(cpu, core);
        }
    }

    /// Lets every core go on; before they do, `tell` learns how many ticks are hidden in all. Only the owner calls this.
    pub fn go<C: Core>(&self, cpu: &mut C, core: u32, tell: impl FnOnce(u64)) {
        debug_assert_eq!(self.owner.load(SeqCst), core, "H1");
        let halted = x86::tsc().wrapping_sub(self.since.load(SeqCst));
        tell(self.hidden.fetch_add(halted, SeqCst).wrapping_add(halted));
        ROOT.core(core).state.store(RUNNING, SeqCst);
        self.wanted.store(false, SeqCst);
        let start = x86::tsc();
        for (number, record) in ROOT.cores_in() {
            // Until the last has seen it: a new halt must not find a core still in the old one.
            while number != core && record.state.load(SeqCst) == HALTED && !ROOT.dying.load(SeqCst) {
                if x86::tsc().wrapping_sub(start) > ROOT.ticks(HALT_WAIT_MS) {
                    break;
                }
                x86::relax();
            }
        }
        cpu.hide_time(self.hidden.load(SeqCst));
        self.owner.store(NOBODY, SeqCst);
    }

    /// Halts here as one of the others, if a halt is wanted, until the owner lets go.
    pub fn join<C: Core>(&self, cpu: &mut C, core: u32) {
        let owner = self.owner.load(SeqCst);
        if !self.wanted() || owner == core || owner == NOBODY {
            return;
        }
        let record = ROOT.core(core);
        let mut foreign = 0;
        let start = x86::tsc();
        while record.kicked() && x86::tsc().wrapping_sub(start) < ROOT.ticks(HALT_WAIT_MS) / 2 {
            if cpu.take_nmi() > 0 {
                // What the core has noted of NMIs of its own is about this one, and no later one.
                let (own, kicked) = (cpu.is_own_nmi(), record.take_kick());
                // One NMI brought both; the other's may still come.
                record.late.fetch_or(own && kicked, SeqCst);
                foreign += u64::from(!own && !kicked);
            }
            x86::relax();
        }
        note(cpu, core);
        record.state.store(HALTED, SeqCst);
        while self.wanted() && !self.is_owned_by(core) && !ROOT.dying.load(SeqCst) {
            crate::evaluate::serve_other(cpu, core);
            x86::relax();
        }
        record.state.store(RUNNING, SeqCst);
        cpu.hide_time(self.hidden.load(SeqCst));
        foreign += take_others(cpu);
        if record.kicked() && record.take_kick() {
            // Its NMI has been sent since; if it is not here, it is the next one.
            foreign += take_others(cpu);
            record.late.fetch_or(foreign == 0, SeqCst);
            foreign = foreign.saturating_sub(1);
        }
        // Others that may be ours: a kick that was sent once more, and on the link's core a ring whose bytes a poll took.
        if foreign > 0 && record.late.swap(false, SeqCst) {
            foreign -= 1;
        }
        if foreign > 0 && crate::line::is_mine(core) && crate::line::may_have_rung() {
            foreign -= 1;
        }
        if foreign > 0 {
            cpu.inject(Event::Nmi);
        }
        // The owner has armed the line again or is about to: a ring for bytes that wait must not have ended here. No other
        // halt can have begun to poll, since it would wait for this core first.
        crate::line::ring_again(core);
    }

    /// A core that enters while time is hidden already starts with what the others have.
    pub fn adopt_time<C: Core>(&self, cpu: &mut C) {
        cpu.hide_time(self.hidden.load(SeqCst));
    }
}

/// Takes an NMI that may be pending, if it is none of the core's own: 0 or 1.
fn take_others<C: Core>(cpu: &mut C) -> u64 {
    let taken = cpu.take_nmi();
    if taken > 0 && cpu.is_own_nmi() { 0 } else { taken }
}

/// Puts down where a core is, for who looks while it is halted.
pub fn note<C: Core>(cpu: &C, core: u32) {
    let mut code = [0; 16];
    let valid = cpu.code(&mut code);
    debug_assert_ne!(ROOT.core(core).state.load(SeqCst), OUT);
    ROOT.core(core).note(&cpu.registers(), &code, valid, cpu.cpl(), &scripts::running(cpu));
}
