//! Letting one instruction pass with nothing kept from the guest, or one event be delivered so.
//!
//! Both happen in the open view under the monitor trap flag (SDM3 26.5.2), which brings the core back behind the instruction, or
//! behind the delivery of the event that is injected. Other cores stay guarded.
//!
//! **Holds always**
//! - P1: while something passes, no interrupt comes to the guest (it is behind STI for so long, if its flag is set), and no NMI: it
//!   waits for the end.
//! - P2: an exception or a software interrupt ends it before it is delivered, so that the delivery is guarded.
//! - P3: the guest's trap flag, DR6 and what it pushes of its flags are its own all the time.
//!
//! HLT and MWAIT, which would wait for what is held back, end at once, as by a wake-up for nothing. INT n, which does not exit, is
//! delivered by root.
//!
//! **Callers**: `core`. **Proof**: `tests/e2e/monitor.rs`.

use super::core::Vmx;
use super::deliver::{BY_MOV_SS, BY_STI};
use super::ept::Ept;
use super::field::{self, primary};
use super::vmcs;
use crate::arch::nested::executed::Executed;
use crate::arch::x86::decode::{self, INSTRUCTION_BYTES_MAX};
use crate::arch::x86::event;
use crate::arch::x86::flag::IF;
use crate::arch::{Begun, Core, Exit, Passing};

/// Of a pointer: tables in write-back memory, of four levels (SDM3 25.6.11).
const POINTER: u64 = 6 | 3 << 3;

/// Physical addresses of the roots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Views {
    pub(super) open: u64,
    pub(super) guarded: u64,
}

/// What passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Nothing,
    Instruction,
    Delivery,
}

/// A core's views, and what passes on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    views: Views,
    /// The core runs guarded else.
    guarded: bool,
    /// And then perhaps with nothing to be executed but one page.
    pub(super) executed: Executed<Ept>,
    mode: Mode,
    /// Where it began.
    rip: u64,
    /// The guest is behind STI because root says so.
    held: bool,
}

impl Step {
    pub(super) fn new(views: Views) -> Step {
        Step { views, guarded: false, executed: Executed::NONE, mode: Mode::Nothing, rip: 0, held: false }
    }

    pub(super) fn is_instruction(&self) -> bool {
        self.mode == Mode::Instruction
    }

    pub(super) fn open(&self) -> u64 {
        self.views.open
    }

    fn view(&self) -> u64 {
        match self.mode {
            Mode::Instruction | Mode::Delivery => self.views.open,
            Mode::Nothing if self.executed.on => self.executed.root_pa(),
            Mode::Nothing if self.guarded => self.views.guarded,
            Mode::Nothing => self.views.open,
        }
    }
}

impl Vmx {
    /// Whether something passes.
    #[inline(always)]
    pub(super) fn is_passing(&self) -> bool {
        self.step.mode != Mode::Nothing
    }

    /// Translations are tagged by the pointer, so nothing has to be forgotten.
    pub(super) fn change_view(&mut self) {
        vmcs::write(field::EPT_POINTER, self.step.view() | POINTER);
        self.set_primary(primary::TRAP, self.step.mode != Mode::Nothing);
    }

    /// Whether what monitors keep from the guest is kept from it here.
    pub(super) fn watch_guarded(&mut self, on: bool) {
        if self.step.guarded != on {
            self.step.guarded = on;
            self.step.executed.on = false;
            self.change_view();
        }
    }

    /// See [`crate::arch::Core::is_due`].
    pub(super) fn has_event_due(&self) -> bool {
        self.interrupted != 0 || self.event != 0
    }

    /// See [`crate::arch::Core::step`].
    pub(super) fn begin_step(&mut self) -> Begun {
        if self.has_event_due() {
            return Begun::NotNow;
        }
        let mut bytes = [0; INSTRUCTION_BYTES_MAX];
        let read = self.text_bytes(&mut bytes);
        let form = decode::split(bytes.get(..read).unwrap_or_default(), self.code_bits() == 64);
        let ahead = (read - form.rest.len()) as u64;
        let rip = vmcs::read(field::GUEST_RIP);
        if let Some(length) = decode::waits(form.rest).filter(|_| self.ring() == 0) {
            self.go(rip.wrapping_add(ahead + length));
            return Begun::Done;
        }
        if let [0xcd, number, ..] = form.rest {
            self.event_length = ahead + 2;
            self.set_event(event::VALID | event::SOFTWARE | u64::from(*number));
            return Begun::Done;
        }
        self.step.mode = Mode::Instruction;
        self.step.rip = rip;
        let free = vmcs::read(field::GUEST_RFLAGS) & IF != 0;
        self.step.held = free && vmcs::read(field::INTERRUPTIBILITY) & (BY_STI | BY_MOV_SS) == 0;
        if self.step.held {
            self.set_blocking(BY_STI, true);
        }
        self.change_view();
        self.intercept();
        Begun::Stepping
    }

    /// See [`crate::arch::Core::deliver_unguarded`].
    pub(super) fn begin_delivery(&mut self) {
        self.step.mode = Mode::Delivery;
        self.change_view();
    }

    /// See [`crate::arch::Core::passed`].
    pub(super) fn pass(&mut self, exit: &Exit) -> Passing {
        match (self.step.mode, exit) {
            (Mode::Nothing, _) => Passing::Broken,
            (_, Exit::Nmi | Exit::Window) => Passing::Going,
            (_, Exit::Stepped) => {
                self.end_step(true);
                Passing::Done
            }
            (Mode::Instruction, exit) if exit.is_done_by_root() => Passing::Going,
            _ => {
                self.end_step(false);
                Passing::Broken
            }
        }
    }

    /// See [`crate::arch::Core::passed_by_root`].
    pub(super) fn pass_by_root(&mut self) -> Option<bool> {
        let done = vmcs::read(field::GUEST_RIP) != self.step.rip;
        if !self.step.is_instruction() || !done && self.event == 0 {
            return None;
        }
        self.end_step(done);
        Some(done)
    }

    /// P1: where the instruction was not executed, the guest is no longer behind STI.
    pub(super) fn end_step(&mut self, executed: bool) {
        let was = core::mem::replace(&mut self.step.mode, Mode::Nothing);
        if was == Mode::Instruction && self.step.held && !executed {
            self.set_blocking(BY_STI, false);
        }
        self.step.held = false;
        self.change_view();
        self.intercept();
        if self.nmi {
            self.due = true;
        }
    }

    /// See [`crate::arch::Core::execute`].
    pub(super) fn execute_page(&mut self, pfn: u64, shown: u64) -> bool {
        let shows = self.step.guarded && self.step.executed.aim(self.step.views.guarded, pfn, shown);
        self.step.executed.on = shows;
        if shows {
            vmcs::invalidate_ept();
        }
        self.change_view();
        shows
    }

    /// See [`crate::arch::Core::execute_all`].
    pub(super) fn leave_page(&mut self) {
        if self.step.executed.on {
            self.step.executed.on = false;
            self.change_view();
        }
    }

    /// What the view was made of has changed, or its frame goes.
    pub(super) fn forget_page(&mut self) {
        self.step.executed.forget();
        self.leave_page();
    }
}
