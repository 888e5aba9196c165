//! A core's life under root: run the guest, decide what its exit means, run it again.
//!
//! **Holds always**
//! - E1: every exit is counted before it is decided, and decided without waiting for anything but another core in root.
//! - E2: before each run the core has joined a wanted halt, flushed what changed, and left if root is dying.
//! - E3: an NMI is Linux' unless its cause is found: a kick, bytes on the UART, or the core itself.

use crate::arch::x86::{self, cpuid_quad, uart};
use crate::arch::{Core, Event, Exit, Machine, Watch};
use crate::halt::HALT;
use crate::limits::LINK_ROUNDS_AT_ONCE;
use crate::monitored::{self, Pending};
use crate::root::{
    OUT, ROOT, RUNNING, WATCH_BREAKPOINTS, WATCH_CONTROL_0, WATCH_CONTROL_4, WATCH_DEBUG, WATCH_DEBUG_REGISTERS,
    WATCH_EXCEPTIONS, WATCH_GUARDED, WATCH_HOOKED, WATCH_INTERRUPTS, WATCH_SYSTEM_CALLS, WATCH_TSC,
};
use crate::scripts::Bench;
use crate::steps::Next;
use crate::watch::{self, What};
use crate::{delivered, detoured, hits, hypercall, line, ports, serve, special, steps, strides, words};
use abi::request::{event, goodbye, notice};
use core::sync::atomic::Ordering::SeqCst;
use zerocopy::IntoBytes;

/// Leaf of ours: eax = "HKRS", ebx = [`abi::PROTOCOL`], ecx = cores under root, edx = 0. It lies where hypervisors have
/// theirs (0x4000_0000 to 0x4fff_ffff), at a place none is known to use.
pub const LEAF: u32 = 0x4857_4400;
/// [`LEAF`]'s eax.
pub const LEAF_SIGNATURE: u32 = u32::from_le_bytes(*b"HKRS");

/// What this core has applied already of what all share.
struct Applied {
    attention: u64,
    revision: u64,
    watch: u64,
}

/// Runs the guest until it leaves. Never comes back.
pub fn live<M: Machine>(cpu: &mut M::Core, core: u32) -> ! {
    let record = ROOT.core(core);
    let mut applied = Applied { attention: 0, revision: 0, watch: 0 };
    let mut bench = Bench::new();
    let mut pending = Pending::new();
    let mut known = hits::Memory::NOTHING;
    let mark = watch::mark(core);
    HALT.adopt_time(cpu);
    cpu.settle_down();
    record.state.store(RUNNING, SeqCst);
    loop {
        let attention = ROOT.attention.load(SeqCst);
        if attention != applied.attention && settle::<M>(cpu, core, &mut applied, &mut bench, &mut pending) {
            known = hits::Memory::NOTHING;
        }
        if cpu.run() {
            record.count(&Exit::Cpuid, cpu.rip());
            let rest = if watch::armed(event::CPUID) { watch::quick_cpuid(cpu, mark) } else { None };
            match rest {
                None => emulate_cpuid(cpu),
                Some(rest) => {
                    let what = asked_leaf(cpu);
                    watch::around_rest::<M>(cpu, core, &mut bench, rest, what, emulate_cpuid);
                }
            }
            continue;
        }
        if applied.watch & WATCH_HOOKED != 0 && hits::quick(cpu, mark, &mut known, |exit, rip| record.count(exit, rip)) {
            pending.moves_on();
            continue;
        }
        let exit = cpu.exit();
        record.count(&exit, cpu.rip());
        if !matches!(exit, Exit::Nested(_)) {
            pending.moves_on();
        }
        let passing = cpu.passing();
        if passing && monitored::passed::<M>(cpu, core, &mut bench, &mut pending, &exit) {
            continue;
        }
        match exit {
            // While an instruction passes that a monitor stopped.
            Exit::Cpuid => {
                let what = asked_leaf(cpu);
                watch::around::<M>(cpu, core, &mut bench, what, emulate_cpuid);
            }
            Exit::Hypercall { cpl: 0 } => hypercall::handle::<M>(cpu, core, &mut bench),
            Exit::Hypercall { .. } => hypercall::foreign::<M>(cpu, core, &mut bench),
            Exit::Extension => delivered::undefined::<M>(cpu, core, &mut bench),
            Exit::MsrRead { msr } => {
                let what = What { kind: event::MSR_READ, option: msr.into(), context: msr.into() };
                watch::around::<M>(cpu, core, &mut bench, what, |cpu| read_msr(cpu, msr));
            }
            Exit::MsrWrite { msr } => {
                let what = What { kind: event::MSR_WRITE, option: msr.into(), context: msr.into() };
                watch::around::<M>(cpu, core, &mut bench, what, |cpu| write_msr(cpu, msr));
            }
            Exit::Tsc { with_core } => {
                let what = What { kind: event::TSC, option: 0, context: with_core.into() };
                watch::around::<M>(cpu, core, &mut bench, what, |cpu| read_tsc(cpu, with_core));
            }
            Exit::Port(port) => ports::exit::<M>(cpu, core, &mut bench, port),
            Exit::ControlWrite { register } => special::control_write::<M>(cpu, core, &mut bench, register),
            Exit::DebugRegister(asked) => special::debug_register::<M>(cpu, core, &mut bench, asked),
            Exit::Nmi => nmi::<M>(cpu, core, &mut bench),
            Exit::Nested(access) => {
                monitored::fault::<M>(cpu, core, &mut bench, &mut pending, &access);
                continue;
            }
            Exit::SoftInterrupt | Exit::Breakpoint if detoured::breakpoint(cpu) => {}
            // Of what passes it is the guest's own.
            Exit::SoftInterrupt | Exit::Breakpoint
                if !passing
                    && applied.watch & WATCH_HOOKED != 0
                    && monitored::breakpoint::<M>(cpu, core, &mut bench, &mut pending) =>
            {
                continue;
            }
            Exit::SoftInterrupt => cpu.pass_on(),
            exit @ (Exit::SystemCall { .. }
            | Exit::SystemReturn { .. }
            | Exit::Exception { .. }
            | Exit::Breakpoint
            | Exit::Interrupt
            | Exit::Debug) => delivered::handle::<M>(cpu, core, &mut bench, exit),
            Exit::Unread => cpu.fetch_again(),
            Exit::Forced => cpu.forced(),
            // What it was for is looked at before every run.
            Exit::Window | Exit::Stepped => {}
            Exit::Shutdown => shut_down(core),
            Exit::Invalid => panic!("the processor refuses the guest's state"),
            Exit::Unknown { code } => panic!("exit {code:#x}, which nothing asked for"),
        }
        if monitored::waits(cpu, &pending) {
            monitored::over::<M>(cpu, core, &mut bench, &mut pending);
        }
    }
}

/// E2. What is not over is looked at again before the next run. Whether the core flushes.
#[cold]
fn settle<M: Machine>(cpu: &mut M::Core, core: u32, applied: &mut Applied, bench: &mut Bench, pending: &mut Pending) -> bool {
    let mut flushes = look(cpu, core, applied);
    loop {
        let mut next = steps::go_on::<M>(cpu, core, bench, pending);
        if next == Next::Run {
            next = strides::go_on::<M>(cpu, core, bench, pending);
        }
        if next == Next::Run {
            break;
        }
        flushes |= look(cpu, core, applied);
    }
    flushes
}

/// Whether the core flushes.
fn look<C: Core>(cpu: &mut C, core: u32, applied: &mut Applied) -> bool {
    let attention = ROOT.attention.load(SeqCst);
    let settled = watch::settle(core);
    HALT.join(cpu, core);
    if ROOT.dying.load(SeqCst) {
        words::leave_dying(cpu, core);
    }
    let watch = ROOT.watch.load(SeqCst);
    if watch != applied.watch {
        cpu.watch(Watch::Breakpoints, watch & (WATCH_BREAKPOINTS | WATCH_HOOKED) != 0);
        cpu.watch(Watch::Debug, watch & WATCH_DEBUG != 0);
        cpu.watch(Watch::Tsc, watch & WATCH_TSC != 0);
        cpu.watch(Watch::SystemCalls, watch & WATCH_SYSTEM_CALLS != 0);
        cpu.watch(Watch::Interrupts, watch & WATCH_INTERRUPTS != 0);
        cpu.watch_exceptions((watch >> WATCH_EXCEPTIONS) as u32);
        cpu.watch(Watch::Control0, watch & WATCH_CONTROL_0 != 0);
        cpu.watch(Watch::Control4, watch & WATCH_CONTROL_4 != 0);
        cpu.watch(Watch::DebugRegisters, watch & WATCH_DEBUG_REGISTERS != 0);
        cpu.watch(Watch::Guarded, watch & WATCH_GUARDED != 0);
        applied.watch = watch;
    }
    let revision = ROOT.acknowledge_flush(core);
    let flushes = revision != applied.revision;
    if flushes {
        cpu.flush();
        applied.revision = revision;
    }
    if settled && !HALT.wanted() && !steps::is_asked(core) && !strides::is_on(core) {
        applied.attention = attention;
    }
    flushes
}

#[inline(always)]
fn asked_leaf<C: Core>(cpu: &C) -> What {
    let leaf = cpu.gpr(0) & 0xffff_ffff;
    What { kind: event::CPUID, option: leaf, context: leaf }
}

#[inline(always)]
fn emulate_cpuid<C: Core>(cpu: &mut C) {
    let [rax, _, rcx, _] = cpu.quad();
    #[expect(clippy::cast_possible_truncation, reason = "eax and ecx")]
    let (leaf, subleaf) = (rax as u32, rcx as u32);
    let [rax, rbx, rcx, rdx] = cpuid_quad(leaf, subleaf);
    // Ours is the lowest that is not as the processor says.
    if leaf >= LEAF || C::MASKS_LEAF_1 && leaf == 1 {
        return answer_changed(cpu, leaf, rax, rbx, rcx, rdx);
    }
    cpu.answer([rax, rbx, rcx, rdx]);
}

/// Given registers one by one, so that answers that are not changed never go through memory.
#[cold]
#[inline(never)]
fn answer_changed<C: Core>(cpu: &mut C, leaf: u32, rax: u64, rbx: u64, rcx: u64, rdx: u64) {
    let mut quad = [rax, rbx, rcx, rdx];
    if leaf == LEAF {
        let cores = ROOT.cores_in().count() as u64;
        quad = [LEAF_SIGNATURE.into(), abi::PROTOCOL.into(), cores, 0];
    } else {
        cpu.mask_cpuid(leaf, &mut quad);
    }
    cpu.answer(quad);
}

fn read_msr<C: Core>(cpu: &mut C, register: u32) {
    let Some(value) = cpu.read_msr(register) else { return cpu.inject(Event::GeneralProtection) };
    let [_, rbx, rcx, _] = cpu.quad();
    cpu.answer([value & 0xffff_ffff, rbx, rcx, value >> 32]);
}

fn write_msr<C: Core>(cpu: &mut C, register: u32) {
    let [rax, _, _, rdx] = cpu.quad();
    if cpu.write_msr(register, rdx << 32 | rax & 0xffff_ffff) {
        cpu.skip();
    } else {
        cpu.inject(Event::GeneralProtection);
    }
}

fn read_tsc<C: Core>(cpu: &mut C, with_core: bool) {
    let value = x86::tsc().wrapping_sub(cpu.hidden_time());
    let [_, rbx, rcx, _] = cpu.quad();
    // Linux keeps the number of its core there (APM3 "RDTSCP").
    let rcx = if with_core { cpu.read_msr(x86::msr::TSC_AUX).unwrap_or(0) & 0xffff_ffff } else { rcx };
    cpu.answer([value & 0xffff_ffff, rbx, rcx, value >> 32]);
}

fn nmi<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench) {
    let record = ROOT.core(core);
    let own = cpu.is_own_nmi();
    let taken = cpu.take_nmi();
    let kicked = record.kicked() && record.take_kick();
    let mut rang = false;
    // Who steps alone owns the halt: what comes on the line is looked at between two steps.
    let serves = || line::is_mine(core) && !HALT.is_owned_by(core);
    if serves() {
        line::disarm();
        for _ in 0..LINK_ROUNDS_AT_ONCE {
            if !line::waiting() || !serves() {
                break;
            }
            rang = true;
            if let Some(message) = line::poll() {
                serve::from_link::<M>(cpu, core, &message);
            }
        }
    }
    if kicked && (rang || own) && taken < 2 {
        // One NMI brought both; the other's may still come.
        record.late.store(true, SeqCst);
    }
    let ours = own || kicked || rang || line::is_mine(core) && line::may_have_rung() || record.late.swap(false, SeqCst);
    if rang {
        // What rang while the bytes were being read. A halt that ended meanwhile has armed the line, so the ring that is
        // swallowed here may be for bytes that still wait: the line must fall, to rise again for them below.
        line::disarm();
        ROOT.swallowed.fetch_add(cpu.take_nmi(), SeqCst);
        let _for_these_bytes = line::may_have_rung();
    }
    if serves() {
        line::arm();
    }
    if !ours {
        delivered::nmi::<M>(cpu, core, bench);
    } else if !own && !kicked && !rang {
        ROOT.swallowed.fetch_add(1, SeqCst);
    }
}

fn shut_down(core: u32) -> ! {
    line::notice(notice::GOODBYE, abi::request::Number { value: goodbye::TRIPLE_FAULT }.as_bytes());
    ROOT.core(core).state.store(OUT, SeqCst);
    uart::interrupts(false);
    x86::reset_machine()
}
