//! Letting one instruction pass with nothing kept from the guest, or one event be delivered so.
//!
//! An instruction that a monitor stops is executed in the open view with the trap flag set: the single step brings the core back
//! behind it. A delivery cannot be stepped, since what it pushes are the flags; it happens in the closed view, where its end, the
//! first fetch of the handler, is a fault. Other cores stay guarded.
//!
//! **Holds always**
//! - P1: while something passes, no interrupt comes to the guest (virtual masking, with root's own interrupt flag clear: the
//!   guest's is as it is), and no NMI: it waits for the end.
//! - P2: an exception or a software interrupt ends it before it is delivered, so that the delivery is guarded.
//! - P3: when it is over, the guest's trap flag, DR6 and what it pushed of its flags are as without it; a step or a data breakpoint
//!   of its own is told.
//! - P4: between two views the core forgets every translation: the guest flushes those that it runs under alone.
//!
//! Some are not stepped: SYSCALL and SYSRET, since they change the trap flag, are done by root; HLT and MWAIT, which would wait for what is
//! masked, end at once, as by a wake-up for nothing. STI root does, too: its step ends only behind the next instruction (seen with QEMU
//! 7.2), which is HLT in an idle loop. The trap behind MOV SS comes an instruction later: that one passes, too.
//!
//! **Callers**: `core`. **Proof**: the tests below it, `tests/e2e/monitor.rs`.
#![expect(unsafe_code, reason = "the image of the flags that PUSHF leaves in guest memory")]

#[cfg(test)]
mod tests;

use super::core::Svm;
use super::npt::Npt;
use super::vmcb::{TLB_FLUSH_ALL, exit_code};
use crate::arch::nested::executed::Executed;
use crate::arch::nested::open;
use crate::arch::x86::decode::{self, INSTRUCTION_BYTES_MAX};
use crate::arch::x86::flag::{IF, TF};
use crate::arch::x86::syscall::{self, Decoded};
use crate::arch::x86::{debug, efer};
use crate::arch::x86::{direct, event, vector};
use crate::arch::{Begun, Core, Delivery, Exit, Passing};
use crate::walk;

/// DR6: which breakpoints, and what reads as set.
const DR6_HITS: u64 = 0xf;
const DR6_EMPTY: u64 = 0xffff_0ff0;
/// `vintr`: the guest's interrupt flag masks virtual interrupts only (APM2 15.21.1 "V_INTR_MASKING"); root's own is clear.
const VIRTUAL_MASKING: u64 = 1 << 24;

/// Physical addresses of the roots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Views {
    pub(super) open: u64,
    pub(super) guarded: u64,
    pub(super) closed: u64,
}

/// What passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Nothing,
    Instruction(Class),
    Delivery,
}

/// What an instruction does to the trap flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Nothing.
    Plain,
    /// PUSHF: it stores it.
    Pushes,
    /// POPF, IRET: it loads it.
    Loads,
}

/// A core's views, and what passes on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    views: Views,
    /// The core runs guarded else.
    guarded: bool,
    /// And then perhaps with nothing to be executed but one page.
    pub(super) executed: Executed<Npt>,
    mode: Mode,
    /// Where it began, and the guest's own trap flag and DR6.
    rip: u64,
    tf: u64,
    dr6: u64,
    /// The exit of which `run` says that it is CPUID: none while an instruction passes. A field, so that an exit compares once.
    pub(super) quick: u64,
}

impl Step {
    pub(super) fn new(views: Views) -> Step {
        Step {
            views,
            guarded: false,
            executed: Executed::NONE,
            mode: Mode::Nothing,
            rip: 0,
            tf: 0,
            dr6: 0,
            quick: exit_code::CPUID,
        }
    }

    pub(super) fn is_instruction(&self) -> bool {
        matches!(self.mode, Mode::Instruction(_))
    }

    /// The root of the guarded view, if the core runs guarded.
    pub(super) fn guarded_root(&self) -> Option<u64> {
        self.guarded.then_some(self.views.guarded)
    }

    fn view(&self) -> u64 {
        match self.mode {
            Mode::Instruction(_) => self.views.open,
            Mode::Delivery => self.views.closed,
            Mode::Nothing if self.executed.on => self.executed.root_pa(),
            Mode::Nothing if self.guarded => self.views.guarded,
            Mode::Nothing => self.views.open,
        }
    }
}

impl Svm {
    /// Whether something passes.
    #[inline(always)]
    pub(super) fn is_passing(&self) -> bool {
        self.step.mode != Mode::Nothing
    }

    /// P4.
    pub(super) fn change_view(&mut self) {
        self.step.quick = if self.step.is_instruction() { u64::MAX } else { exit_code::CPUID };
        self.vmcb.n_cr3 = self.step.view();
        self.vmcb.tlb_control = TLB_FLUSH_ALL;
        self.vmcb.vintr = if self.is_passing() { VIRTUAL_MASKING } else { 0 };
    }

    /// Whether what monitors keep from the guest is kept from it here.
    pub(super) fn watch_guarded(&mut self, on: bool) {
        if self.step.guarded != on {
            self.step.guarded = on;
            self.step.executed.on = false;
            self.change_view();
        }
    }

    /// The guest's flags as it knows them.
    pub(super) fn guest_flags(&self) -> u64 {
        if self.step.is_instruction() { self.vmcb.rflags & !TF | self.step.tf } else { self.vmcb.rflags }
    }

    /// What the guest would have in its flags from now on.
    pub(super) fn set_guest_flags(&mut self, value: u64) {
        self.vmcb.rflags = value;
        if self.step.is_instruction() {
            self.step.tf = value & TF;
            self.vmcb.rflags |= TF;
        }
    }

    /// See [`crate::arch::Core::is_due`].
    pub(super) fn has_event_due(&self) -> bool {
        self.interrupted != 0 || self.vmcb.event_injection & event::VALID != 0
    }

    /// See [`crate::arch::Core::step`].
    pub(super) fn begin_step(&mut self) -> Begun {
        if self.has_event_due() {
            return Begun::NotNow;
        }
        let mut bytes = [0; INSTRUCTION_BYTES_MAX];
        let read = self.code(&mut bytes);
        let bytes = bytes.get(..read).unwrap_or_default();
        let kernel = self.vmcb.cpl == 0;
        if let Decoded::Is(found) = syscall::decode(bytes, self.is_long())
            && self.vmcb.efer & (efer::LMA | efer::SCE) == efer::LMA | efer::SCE
        {
            let length = u8::try_from(found.length).unwrap_or(2);
            match found.returns {
                false => self.enter_kernel(length),
                true if kernel => self.leave_kernel(found.wide),
                true => return self.begin(Class::Plain),
            }
            return Begun::Done;
        }
        let form = decode::split(bytes, self.code_bits() == 64);
        let ahead = (read - form.rest.len()) as u64;
        if let Some(length) = decode::waits(form.rest).filter(|_| kernel) {
            self.vmcb.rip = self.vmcb.rip.wrapping_add(ahead + length);
            self.vmcb.interrupt_shadow = 0;
            return Begun::Done;
        }
        if let ([0xfb, ..], true, 0) = (form.rest, kernel, self.vmcb.rflags & TF) {
            self.vmcb.rflags |= IF;
            self.vmcb.rip = self.vmcb.rip.wrapping_add(ahead + 1);
            self.vmcb.interrupt_shadow = 1;
            return Begun::Done;
        }
        self.begin(match form.rest {
            [0x9c, ..] => Class::Pushes,
            [0x9d | 0xcf, ..] => Class::Loads,
            _ => Class::Plain,
        })
    }

    fn begin(&mut self, class: Class) -> Begun {
        let vmcb = &mut *self.vmcb;
        (self.step.rip, self.step.tf, self.step.dr6) = (vmcb.rip, vmcb.rflags & TF, vmcb.dr6);
        self.step.mode = Mode::Instruction(class);
        vmcb.rflags |= TF;
        vmcb.dr6 = DR6_EMPTY;
        self.change_view();
        self.intercept();
        Begun::Stepping
    }

    /// See [`crate::arch::Core::deliver_unguarded`].
    pub(super) fn begin_delivery(&mut self) {
        let (kind, number) = (self.interrupted & event::TYPE, self.interrupted & 0xff);
        let by_instruction = kind == event::SOFTWARE || kind == event::EXCEPTION && matches!(number, vector::BP | vector::OF);
        if by_instruction {
            // What is pushed is where it goes on.
            self.vmcb.rip = self.next_rip();
            self.vmcb.next_rip = self.vmcb.rip;
        }
        self.step.mode = Mode::Delivery;
        self.change_view();
    }

    /// See [`crate::arch::Core::passed`].
    pub(super) fn pass(&mut self, exit: &Exit) -> Passing {
        match (self.step.mode, exit) {
            (Mode::Nothing, _) => Passing::Broken,
            (_, Exit::Nmi) => Passing::Going,
            (Mode::Delivery, Exit::Nested(access)) if access.fetch && !access.delivery => {
                self.end_step(false);
                Passing::Done
            }
            (Mode::Instruction(_), Exit::Debug) if self.vmcb.dr6 & debug::STEP != 0 => {
                if self.end_step(true) {
                    Passing::DoneAnd
                } else {
                    Passing::Done
                }
            }
            (Mode::Instruction(_), exit) if exit.is_done_by_root() => Passing::Going,
            _ => {
                self.end_step(false);
                Passing::Broken
            }
        }
    }

    /// See [`crate::arch::Core::passed_by_root`].
    pub(super) fn pass_by_root(&mut self) -> Option<bool> {
        let done = self.vmcb.rip != self.step.rip;
        let is_over = done || self.vmcb.event_injection & event::VALID != 0;
        if !self.step.is_instruction() || !is_over {
            return None;
        }
        self.end_step(false);
        Some(done)
    }

    /// P3. `executed` by the processor, which stopped behind it; whether the guest has to be told of a #DB then.
    pub(super) fn end_step(&mut self, executed: bool) -> bool {
        let Step { mode, tf, dr6, .. } = self.step;
        self.step.mode = Mode::Nothing;
        self.change_view();
        let Mode::Instruction(class) = mode else { return false };
        let hits = self.vmcb.dr6 & DR6_HITS;
        let told = executed && tf != 0 || hits != 0;
        let step = if executed && tf != 0 { debug::STEP } else { 0 };
        self.vmcb.dr6 = if told { dr6 & !DR6_HITS | hits | step } else { dr6 };
        if !(executed && class == Class::Loads) {
            self.vmcb.rflags = self.vmcb.rflags & !TF | tf;
        }
        if executed && class == Class::Pushes && tf == 0 {
            self.clear_pushed();
        }
        self.intercept();
        told
    }

    /// Takes the trap flag out of what PUSHF has just left on the stack.
    fn clear_pushed(&self) {
        let stack = if self.is_long() { self.vmcb.rsp } else { self.vmcb.ss.base.wrapping_add(self.vmcb.rsp & 0xffff_ffff) };
        let Some(pa) = walk::translate(self.vmcb.cr3, stack.wrapping_add(1), direct::read) else { return };
        let mut byte = [0];
        // Another core may have changed the tables meanwhile: root's own frames are none of the guest's.
        if self.guest_writes(pa) && direct::copy_out(pa, &mut byte) {
            // SAFETY: memory that the guest can write itself, and has just written; no Rust reference leads there.
            let _in_ram = unsafe { direct::copy_in(pa, &[byte[0] & !1]) };
        }
    }

    /// Whether the open view lets the guest write there.
    pub(super) fn guest_writes(&self, pa: u64) -> bool {
        open::may_write::<Npt>(self.step.views.open, pa)
    }

    /// See [`crate::arch::Core::delivery`].
    pub(super) fn delivered_where(&self) -> Option<Delivery> {
        let v = &self.vmcb;
        let stacks = event::Stacks { idt: v.idtr.base, task: v.tr.base, cpl: v.cpl, rsp: v.rsp };
        if v.efer & efer::LMA == 0 {
            return None;
        }
        event::delivery(self.interrupted, &stacks, |at, to| self.guest_bytes(at, to))
    }
}
