//! What all cores of root share, as atomics: who is in, who is halted, what was counted.
//!
//! **Holds always**
//! - R1: nothing here is shared with the guest; Linux sees only the doorbell, which is a page of its own.
//! - R2: a core's record is written by that core, but for `kick`, which others set and it clears.
//! - R3: `flushed` of a core is the newest revision of the nested tables whose flush precedes its next guest instruction.
//! - R4: whoever changes what cores look at before they run the guest (a wanted halt, a dying root, `revision`, `watch`,
//!   events to be given back) advances `attention` behind it, and kicks those that must see it soon behind that.

use crate::arch::{Exit, x86};
use crate::limits::{HALT_WAIT_MS, KICK_AGAIN_MS, LAST_EXITS};
use abi::boot::{Boot, CORES_MAX};
use abi::request::{Registers, Task};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use zerocopy::{FromBytes, IntoBytes};

/// Not under root: never entered, or left.
pub const OUT: u32 = 0;
/// Runs the guest, or handles an exit.
pub const RUNNING: u32 = 1;
/// Waits in root until the machine goes on.
pub const HALTED: u32 = 2;

/// Bit of `Root::watch`: INT3 and INT n are intercepted and passed on.
pub const WATCH_BREAKPOINTS: u64 = 1;
/// Bit of `Root::watch`: so is #DB.
pub const WATCH_DEBUG: u64 = 2;
/// Bit of `Root::watch`: RDTSC and RDTSCP are intercepted, for events.
pub const WATCH_TSC: u64 = 4;
/// Bit of `Root::watch`: so are writes of CR0,
pub const WATCH_CONTROL_0: u64 = 8;
/// of CR4,
pub const WATCH_CONTROL_4: u64 = 0x10;
/// and accesses to debug registers.
pub const WATCH_DEBUG_REGISTERS: u64 = 0x20;
/// Bit of `Root::watch`: what monitors keep from the guest is kept from it.
pub const WATCH_GUARDED: u64 = 0x40;
/// Bit of `Root::watch`: there are hooks, so that breakpoints may be root's.
pub const WATCH_HOOKED: u64 = 0x80;
/// Bit of `Root::watch`: SYSCALL and SYSRET are done by root, for events.
pub const WATCH_SYSTEM_CALLS: u64 = 0x100;
/// Bit of `Root::watch`: external interrupts come to root first, for events.
pub const WATCH_INTERRUPTS: u64 = 0x200;
/// The upper half of `Root::watch`: exceptions that are intercepted for events, by vector.
pub const WATCH_EXCEPTIONS: u32 = 32;

const WORDS: usize = size_of::<Registers>() / 8;
const RUNNING_WORDS: usize = size_of::<Task>() / 8;

/// A kick: nobody asked.
const NO_KICK: u32 = 0;
/// Its NMI is about to be sent.
const KICKING: u32 = 1;
/// Its NMI was sent.
const KICKED: u32 = 2;

/// One core's record.
pub struct CoreRecord {
    /// [`OUT`], [`RUNNING`] or [`HALTED`].
    pub state: AtomicU32,
    /// Local APIC id, to kick it.
    pub apic: AtomicU32,
    kick: AtomicU32,
    /// An NMI of ours may still be on its way: the next one without a cause is swallowed.
    pub late: AtomicBool,
    /// See R3.
    pub flushed: AtomicU64,
    exits: [AtomicU64; Exit::REASONS],
    /// The last exits: row and place.
    last: [[AtomicU64; 2]; LAST_EXITS],
    total: AtomicU64,
    snapshot: [AtomicU64; WORDS],
    /// First sixteen bytes of code there, and how many are valid.
    code: [AtomicU64; 2],
    code_valid: AtomicU32,
    cpl: AtomicU32,
    /// What it runs, as words.
    running: [AtomicU64; RUNNING_WORDS],
}

impl CoreRecord {
    const fn new() -> CoreRecord {
        CoreRecord {
            state: AtomicU32::new(OUT),
            apic: AtomicU32::new(0),
            kick: AtomicU32::new(NO_KICK),
            late: AtomicBool::new(false),
            flushed: AtomicU64::new(0),
            exits: [const { AtomicU64::new(0) }; Exit::REASONS],
            last: [const { [const { AtomicU64::new(0) }; 2] }; LAST_EXITS],
            total: AtomicU64::new(0),
            snapshot: [const { AtomicU64::new(0) }; WORDS],
            code: [const { AtomicU64::new(0) }; 2],
            code_valid: AtomicU32::new(0),
            cpl: AtomicU32::new(0),
            running: [const { AtomicU64::new(0) }; RUNNING_WORDS],
        }
    }

    /// Counts an exit and remembers it for last words. Inline, so that which counter it is costs nothing where the exit is known.
    #[inline(always)]
    pub fn count(&self, exit: &Exit, rip: u64) {
        bump(&self.exits[exit.row()]);
        bump(&self.total);
        let [row, place] = &self.last[ring(self.total())];
        row.store(exit.row() as u64, Relaxed);
        place.store(rip, Relaxed);
    }

    /// Exits of one reason so far.
    pub fn exits(&self, row: usize) -> u64 {
        self.exits.get(row).map_or(0, |count| count.load(Relaxed))
    }

    /// Exits so far.
    pub fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// The last exits, newest first: name of the reason and where.
    pub fn last_exits(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let total = self.total();
        (0..LAST_EXITS as u64).take_while(move |back| *back < total).map(move |back| {
            let [row, place] = &self.last[ring(total - back)];
            #[expect(clippy::cast_possible_truncation, reason = "a row")]
            let row = row.load(Relaxed) as usize;
            (Exit::NAMES.get(row).copied().unwrap_or("?"), place.load(Relaxed))
        })
    }

    /// Notes where the core stands. It is about to say that it is halted, which makes this visible.
    pub fn note(&self, registers: &Registers, code: &[u8; 16], valid: usize, cpl: u8, running: &Task) {
        for (word, bytes) in self.snapshot.iter().zip(registers.as_bytes().as_chunks::<8>().0) {
            word.store(u64::from_le_bytes(*bytes), Relaxed);
        }
        for (word, bytes) in self.code.iter().zip(code.as_chunks::<8>().0) {
            word.store(u64::from_le_bytes(*bytes), Relaxed);
        }
        self.code_valid.store(u32::try_from(valid).unwrap_or(0), Relaxed);
        self.cpl.store(cpl.into(), Relaxed);
        for (word, bytes) in self.running.iter().zip(running.as_bytes().as_chunks::<8>().0) {
            word.store(u64::from_le_bytes(*bytes), Relaxed);
        }
    }

    /// What the core ran when it halted.
    pub fn running(&self) -> Task {
        let mut bytes = [0_u8; size_of::<Task>()];
        for (to, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(&self.running) {
            *to = word.load(Relaxed).to_le_bytes();
        }
        Task::read_from_bytes(&bytes).unwrap_or_default()
    }

    /// Where the core stood when it halted.
    pub fn registers(&self) -> Registers {
        let mut bytes = [0_u8; size_of::<Registers>()];
        for (to, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(&self.snapshot) {
            *to = word.load(Relaxed).to_le_bytes();
        }
        Registers::read_from_bytes(&bytes).unwrap_or_default()
    }

    /// Code bytes at that place, how many are valid, and the privilege level.
    pub fn code(&self) -> ([u8; 16], u32, u32) {
        let mut code = [0; 16];
        for (to, word) in code.as_chunks_mut::<8>().0.iter_mut().zip(&self.code) {
            *to = word.load(Relaxed).to_le_bytes();
        }
        (code, self.code_valid.load(Relaxed), self.cpl.load(Relaxed))
    }

    /// Brings the core out of the guest by an NMI, unless one is on its way already.
    pub fn kick(&self) {
        if self.kick.compare_exchange(NO_KICK, KICKING, SeqCst, SeqCst).is_ok() {
            x86::apic::send_nmi(self.apic.load(Relaxed));
            self.kick.store(KICKED, SeqCst);
        }
    }

    /// Sends the NMI once more to a core that has not taken it: QEMU 7.2 can lose one at an exit (see the floor's `run`).
    /// If it was only late, one more NMI comes than is asked for, and is swallowed.
    pub fn kick_again(&self) {
        if self.kicked() {
            self.late.store(true, SeqCst);
            x86::apic::send_nmi(self.apic.load(Relaxed));
        }
    }

    /// Whether somebody kicked this core. The NMI counts as arrived: the caller has just taken one.
    pub fn take_kick(&self) -> bool {
        // Between the two steps of `kick` its NMI may not have been sent yet; the sender is in root and about to, unless
        // it has faulted there.
        while self.kick.load(SeqCst) == KICKING && !ROOT.dying.load(SeqCst) {
            x86::relax();
        }
        self.kick.swap(NO_KICK, SeqCst) != NO_KICK
    }

    /// Whether a kick has not been taken yet.
    pub fn kicked(&self) -> bool {
        self.kick.load(SeqCst) != NO_KICK
    }
}

/// Where the `n`th exit is remembered.
fn ring(n: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "below LAST_EXITS")]
    let at = (n % LAST_EXITS as u64) as usize;
    at
}

fn bump(count: &AtomicU64) {
    // A core's own counter (R2): a plain load and store is enough, and no locked instruction on the exit path.
    count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
}

/// What all cores share.
pub struct Root {
    /// Set when the image has prepared itself.
    pub prepared: AtomicBool,
    /// Changes with everything that a core looks at before it runs the guest again (R4), so that it looks at one word.
    pub attention: AtomicU64,
    /// A fault of root's own: every core leaves.
    pub dying: AtomicBool,
    /// Behind that: the core that faulted has called all others.
    pub called: AtomicBool,
    /// Revision of the nested tables, beginning with 1.
    pub revision: AtomicU64,
    /// What is watched: [`WATCH_BREAKPOINTS`] and the others.
    pub watch: AtomicU64,
    /// NMIs that were taken for ours although no cause was found; see `CoreRecord::late`.
    pub swallowed: AtomicU64,
    /// Accesses of the guest to root's frames that were refused.
    pub shielded: AtomicU64,
    /// From the boot page.
    pub boot_id: AtomicU64,
    /// From the boot page.
    pub tsc_khz: AtomicU64,
    /// From the boot page.
    pub ram_frames: AtomicU64,
    /// From the boot page.
    pub doorbell_pa: AtomicU64,
    backend: [AtomicU64; 2],
    /// Whether the link is root's, and whether its line raises NMI.
    pub linked: AtomicBool,
    /// See `linked`.
    pub break_in_by_nmi: AtomicBool,
    cores: [CoreRecord; CORES_MAX],
}

/// The one.
pub static ROOT: Root = Root {
    prepared: AtomicBool::new(false),
    attention: AtomicU64::new(1),
    dying: AtomicBool::new(false),
    called: AtomicBool::new(false),
    revision: AtomicU64::new(1),
    watch: AtomicU64::new(0),
    swallowed: AtomicU64::new(0),
    shielded: AtomicU64::new(0),
    boot_id: AtomicU64::new(0),
    tsc_khz: AtomicU64::new(0),
    ram_frames: AtomicU64::new(0),
    doorbell_pa: AtomicU64::new(0),
    backend: [const { AtomicU64::new(0) }; 2],
    linked: AtomicBool::new(false),
    break_in_by_nmi: AtomicBool::new(false),
    cores: [const { CoreRecord::new() }; CORES_MAX],
};

impl Root {
    /// The back end's name, as the prompt gets it.
    pub fn backend(&self) -> [u8; 16] {
        let mut name = [0; 16];
        for (to, word) in name.as_chunks_mut::<8>().0.iter_mut().zip(&self.backend) {
            *to = word.load(Relaxed).to_le_bytes();
        }
        name
    }

    /// Takes what the boot page says, and the back end's name, of which sixteen bytes are kept.
    pub fn learn(&self, boot: &Boot, name: &str) {
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        for (word, bytes) in self.backend.iter().zip(bytes.as_chunks::<8>().0) {
            word.store(u64::from_le_bytes(*bytes), Relaxed);
        }
        self.boot_id.store(boot.boot_id, Relaxed);
        self.tsc_khz.store(boot.tsc_khz.max(1), Relaxed);
        self.ram_frames.store(boot.ram_frames, Relaxed);
        self.doorbell_pa.store(boot.doorbell_pa, Relaxed);
    }

    /// The record of a core; numbers beyond the table, which the module refuses to enter, share the last.
    pub fn core(&self, core: u32) -> &CoreRecord {
        &self.cores[usize::try_from(core).map_or(CORES_MAX - 1, |n| n.min(CORES_MAX - 1))]
    }

    /// Every core that is in, with its number.
    pub fn cores_in(&self) -> impl Iterator<Item = (u32, &CoreRecord)> {
        (0..).zip(&self.cores).filter(|(_, record)| record.state.load(SeqCst) != OUT)
    }

    /// Something has changed that cores look at before they run the guest again (R4). It has been stored already.
    pub fn attend(&self) {
        self.attention.fetch_add(1, SeqCst);
    }

    /// Every other core comes to root and sees what has changed.
    pub fn kick_others(&self, core: u32) {
        for (number, record) in self.cores_in() {
            if number != core && record.state.load(SeqCst) == RUNNING {
                record.kick();
            }
        }
    }

    /// Ticks of so many milliseconds.
    pub fn ticks(&self, milliseconds: u64) -> u64 {
        self.tsc_khz.load(Relaxed).saturating_mul(milliseconds)
    }

    /// Ticks of the time stamp counter as time.
    pub fn nanoseconds(&self, ticks: u64) -> u64 {
        let time = u128::from(ticks) * 1_000_000 / u128::from(self.tsc_khz.load(Relaxed).max(1));
        u64::try_from(time).unwrap_or(u64::MAX)
    }

    /// Marks every flush up to now as done before `core`'s next guest instruction (R3). The result is the revision that
    /// `core` has to have flushed by then.
    pub fn acknowledge_flush(&self, core: u32) -> u64 {
        let revision = self.revision.load(SeqCst);
        self.core(core).flushed.store(revision, SeqCst);
        revision
    }

    /// The nested tables changed, or `watch`: comes back when no core runs under what was before; `false` if one was silent
    /// for too long. `core` is the caller.
    #[must_use]
    pub fn flush_all(&self, core: u32) -> bool {
        let revision = self.revision.fetch_add(1, SeqCst) + 1;
        self.attend();
        self.kick_others(core);
        let start = x86::tsc();
        let mut kicked = start;
        for (number, record) in self.cores_in() {
            while number != core && record.state.load(SeqCst) == RUNNING && record.flushed.load(SeqCst) < revision {
                // Whoever waits for us meanwhile shall not wait for our flush, too.
                self.acknowledge_flush(core);
                if x86::tsc().wrapping_sub(start) > self.ticks(HALT_WAIT_MS) {
                    return false;
                }
                if x86::tsc().wrapping_sub(kicked) > self.ticks(KICK_AGAIN_MS) {
                    kicked = x86::tsc();
                    record.kick_again();
                }
                x86::relax();
            }
        }
        true
    }
}
