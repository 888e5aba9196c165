//! Which exceptions come to root and for whom, and what of EFER they displace while system calls are watched.
//!
//! No vendor has an exit for SYSCALL. While calls are watched EFER.SCE is off for the processor, so that SYSCALL and SYSRET are
//! undefined; #UD comes to root, the bytes tell, and root does what the instruction does (`syscall`).
//!
//! **Callers**: a vendor's `faults`.

use super::efer;

const EXCEPTION_UD: u32 = 1 << 6;
/// All but the vector of NMIs.
const EVERY_EXCEPTION: u32 = !(1 << 2);
/// How often an instruction that cannot be read is fetched again before it counts as undefined: the first fetch faults for
/// the page, the others are for a page that comes and goes.
const FETCHES_MAX: u8 = 8;

/// What is watched of these, and what of the guest's state it displaces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watched {
    /// Vectors that events wait for.
    pub wanted: u32,
    /// Vectors that are only passed on.
    passed: u32,
    /// SYSCALL and SYSRET.
    pub calls: bool,
    /// EFER.SCE as the guest wrote it, while `calls`.
    enabled: bool,
    /// Where an instruction could not be read, and how often in a row.
    unread: (u64, u8),
}

impl Watched {
    /// Vectors come to root to be passed on, or no longer.
    pub fn pass(&mut self, vectors: u32, on: bool) {
        self.passed = if on { self.passed | vectors } else { self.passed & !vectors };
    }

    /// Vectors that come to root; all, while an instruction passes (`stepping`).
    #[must_use]
    pub fn vectors(&self, stepping: bool) -> u32 {
        let calls = if self.calls { EXCEPTION_UD } else { 0 };
        if stepping { EVERY_EXCEPTION } else { self.wanted | self.passed | calls }
    }

    /// The bit of EFER that the guest has and the processor has not.
    #[must_use]
    pub fn hidden_efer(&self) -> u64 {
        if self.calls && self.enabled { efer::SCE } else { 0 }
    }

    /// EFER for the processor, of one that the guest asks for.
    pub fn hide_efer(&mut self, value: u64) -> u64 {
        self.enabled = value & efer::SCE != 0;
        if self.calls { value & !efer::SCE } else { value }
    }

    /// An instruction could not be read; whether it is to be fetched again, or is undefined now.
    pub fn again(&mut self, rip: u64) -> bool {
        let (before, times) = self.unread;
        let times = if rip == before { times.saturating_add(1) } else { 1 };
        let again = times <= FETCHES_MAX;
        self.unread = if again { (rip, times) } else { (0, 0) };
        again
    }
}
