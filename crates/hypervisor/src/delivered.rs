//! What comes to the guest, or takes it to its kernel and back: exceptions, interrupts and system calls, with the events around.
//!
//! What is suppressed has not happened: a system call is stepped over, an exception or interrupt is not delivered. What cannot be
//! left out without losing the guest is done all the same: the way back of a system call.
//!
//! **Callers**: `life`. **Proof**: `tests/e2e/events_syscall.rs`, `tests/e2e/events_exception.rs`,
//! `tests/e2e/events_interrupt.rs`.

use crate::arch::x86::vector;
use crate::arch::{Core, Event, Exit, Machine};
use crate::scripts::Bench;
use crate::watch::{self, What};
use abi::request::event;

/// Does what the exit is for; exits of other kinds are none of this room's.
pub fn handle<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, exit: Exit) {
    match exit {
        Exit::SystemCall { length } => {
            let number = cpu.gpr(0) & 0xffff_ffff;
            let what = What { kind: event::SYSCALL, option: number, context: number };
            watch::around::<M>(cpu, core, bench, what, |cpu| cpu.system_call(length));
        }
        // For a program that tries it, it is a fault like others.
        Exit::SystemReturn { .. } if cpu.cpl() != 0 => {
            exception::<M>(cpu, core, bench, vector::GP, |cpu| cpu.inject(Event::GeneralProtection), |_| {});
        }
        Exit::SystemReturn { wide } => {
            // rcx: where it returns to.
            let what = What { kind: event::SYSRET, option: 0, context: cpu.gpr(1) };
            let back = |cpu: &mut M::Core| cpu.system_return(wide);
            watch::around_or::<M>(cpu, core, bench, what, back, back);
        }
        // A breakpoint that is not delivered is an instruction without effect.
        Exit::Breakpoint => exception::<M>(cpu, core, bench, vector::BP, Core::pass_on, Core::skip),
        Exit::Debug => exception::<M>(cpu, core, bench, vector::DB, Core::pass_on, |_| {}),
        Exit::Exception { vector } => exception::<M>(cpu, core, bench, vector.into(), Core::pass_on, |_| {}),
        Exit::Interrupt => {
            let Some(vector) = cpu.take_interrupt() else { return };
            let what = What { kind: event::INTERRUPT, option: vector.into(), context: vector.into() };
            let deliver = |cpu: &mut M::Core| cpu.interrupt(vector);
            watch::around_or::<M>(cpu, core, bench, what, deliver, |cpu| cpu.drop_interrupt(vector));
        }
        _ => {}
    }
}

/// An instruction that is undefined because root says so.
pub fn undefined<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench) {
    exception::<M>(cpu, core, bench, vector::UD, |cpu| cpu.inject(Event::UndefinedInstruction), |_| {});
}

/// An NMI that is Linux'.
pub fn nmi<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench) {
    exception::<M>(cpu, core, bench, vector::NMI, |cpu| cpu.inject(Event::Nmi), |_| {});
}

fn exception<M: Machine>(
    cpu: &mut M::Core,
    core: u32,
    bench: &mut Bench,
    vector: u64,
    deliver: impl FnOnce(&mut M::Core),
    instead: impl FnOnce(&mut M::Core),
) {
    let what = What { kind: event::EXCEPTION, option: vector, context: vector };
    watch::around_or::<M>(cpu, core, bench, what, deliver, instead);
}
