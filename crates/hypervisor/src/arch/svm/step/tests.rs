//! Steps of a core that no processor runs: its control block says what a processor would have done.
#![expect(unsafe_code, reason = "frames of the tests' own RAM, and a control block of zeros")]

extern crate std;
use super::super::vmcb::{Vmcb, attribute, exit_code};
use super::*;
use crate::arch::Nested;
use crate::arch::x86::direct::{Frame, arena};
use crate::arch::x86::{debug, efer};
use std::boxed::Box;

const VIEWS: Views = Views { open: 0x1000, guarded: 0x2000, closed: 0x3000 };
/// Where the code is, and the stack: one page.
const LINEAR: u64 = 0x7000_0020_3000;
const STACK: u64 = LINEAR + 0x800;
const LONG_MODE: u64 = efer::LMA | efer::SCE;

/// A core in 64-bit code of this ring that begins with these bytes, guarded; and the frame of its page.
fn core(ring: u8, code: &[u8]) -> (Svm, Frame) {
    // SAFETY: the arena hands out each frame once.
    let [root, upper, middle, lower, page] = [0; 5].map(|_| unsafe { Frame::claim(arena::run(1).unwrap()) });
    let index = |level: u32| usize::try_from(LINEAR >> (12 + 9 * level) & 511).unwrap();
    for (table, level, next) in [(&root, 3, &upper), (&upper, 2, &middle), (&middle, 1, &lower), (&lower, 0, &page)] {
        table.set(index(level), next.pa() | 7);
    }
    // SAFETY: the test's own frame.
    assert!(unsafe { direct::copy_in(page.pa(), code) });
    // SAFETY: both are numbers and arrays of numbers.
    let (vmcb, seed) = unsafe { (Box::leak(Box::new(core::mem::zeroed::<Vmcb>())), core::mem::zeroed()) };
    (vmcb.cr3, vmcb.rip, vmcb.rsp, vmcb.efer, vmcb.cpl) = (root.pa(), LINEAR, STACK, LONG_MODE, ring);
    (vmcb.cs.attributes, vmcb.rflags, vmcb.dr6) = (attribute::LONG, 2, DR6_EMPTY);
    let mut svm = Svm::new(vmcb, 0, 0, 0, seed, VIEWS);
    svm.parked = true;
    svm.watch_guarded(true);
    assert_eq!(svm.vmcb.n_cr3, VIEWS.guarded);
    (svm, page)
}

/// The processor has executed an instruction of so many bytes and stopped behind it.
fn stepped(svm: &mut Svm, bytes: u64) -> Passing {
    svm.vmcb.rip += bytes;
    svm.vmcb.dr6 |= debug::STEP;
    svm.vmcb.exit_code = exit_code::EXCP_DB;
    svm.pass(&Exit::Debug)
}

/// Guarded, nothing masked, nothing intercepted, no trap flag of root's.
fn is_as_before(svm: &Svm, flags: u64) {
    let v = &svm.vmcb;
    assert_eq!((v.n_cr3, v.vintr, v.intercept_exceptions, v.rflags), (VIEWS.guarded, 0, 0, flags));
    assert_eq!((v.tlb_control, svm.is_passing()), (TLB_FLUSH_ALL, false));
}

/// Would catch a step in the guarded view, one that interrupts or exceptions leave without root, and a flag that stays (P1 to P4).
#[test]
fn a_step_is_in_the_open_view_and_leaves_nothing_behind() {
    let (mut svm, _page) = core(0, &[0x90]);
    assert_eq!(svm.begin_step(), Begun::Stepping);
    assert_eq!((svm.vmcb.n_cr3, svm.vmcb.vintr, svm.vmcb.rflags), (VIEWS.open, VIRTUAL_MASKING, 2 | TF));
    assert_eq!((svm.vmcb.intercept_exceptions, svm.vmcb.tlb_control), (!4, TLB_FLUSH_ALL));
    assert_eq!(svm.guest_flags(), 2, "what the guest is told");
    assert_eq!((svm.pass(&Exit::Nmi), svm.is_passing()), (Passing::Going, true));
    assert_eq!(stepped(&mut svm, 1), Passing::Done);
    is_as_before(&svm, 2);
    assert_eq!(svm.vmcb.dr6, DR6_EMPTY);
    // It faults: the exit is the guest's, at the instruction.
    svm.begin_step();
    assert_eq!(svm.pass(&Exit::Exception { vector: 14 }), Passing::Broken);
    is_as_before(&svm, 2);
    // Something is due before it.
    svm.interrupted = event::VALID | 0x30;
    assert_eq!(svm.begin_step(), Begun::NotNow);
    is_as_before(&svm, 2);
}

/// Would catch a step or a breakpoint of the guest's own that is lost, invented, or told with what an earlier one left.
#[test]
fn the_guests_own_steps_and_breakpoints_are_told() {
    let (mut svm, _page) = core(3, &[0x90]);
    svm.vmcb.rflags = 0x202 | TF;
    svm.vmcb.dr6 = DR6_EMPTY | 1;
    svm.begin_step();
    assert_eq!(svm.guest_flags(), 0x202 | TF);
    assert_eq!(stepped(&mut svm, 1), Passing::DoneAnd);
    is_as_before(&svm, 0x202 | TF);
    assert_eq!(svm.vmcb.dr6, DR6_EMPTY | debug::STEP);
    // A data breakpoint, without a step of its own.
    (svm.vmcb.rflags, svm.vmcb.dr6) = (0x202, DR6_EMPTY);
    svm.begin_step();
    svm.vmcb.dr6 |= 4;
    assert_eq!(stepped(&mut svm, 1), Passing::DoneAnd);
    assert_eq!((svm.vmcb.dr6, svm.vmcb.rflags), (DR6_EMPTY | 4, 0x202));
    // One that stops before the instruction.
    svm.vmcb.dr6 = DR6_EMPTY;
    svm.begin_step();
    svm.vmcb.dr6 |= 2;
    assert_eq!(svm.pass(&Exit::Debug), Passing::Broken);
    assert_eq!((svm.vmcb.dr6, svm.vmcb.rflags), (DR6_EMPTY | 2, 0x202));
}

/// Would catch a trap flag of root's on the guest's stack, and one of the guest's that is not loaded or not stored.
#[test]
fn what_is_pushed_and_loaded_of_the_flags_is_the_guests() {
    let (mut svm, page) = core(0, &[0x9c]);
    // Of the open view only this page is looked at; it can be written.
    let view: [Frame; 4] = core::array::from_fn(|_| {
        // SAFETY: the arena hands out each frame once.
        unsafe { Frame::claim(arena::run(1).unwrap()) }
    });
    for level in 0..4_usize {
        let next = if level == 0 { page.pa() } else { view[level - 1].pa() };
        view[level].set(usize::try_from(page.pfn() >> (9 * level) & 511).unwrap(), next | 7);
    }
    svm.step = Step::new(Views { open: view[3].pa(), ..VIEWS });
    svm.watch_guarded(true);
    svm.begin_step();
    svm.vmcb.rsp -= 8;
    page.set(0x7f8 / 8, 0x302);
    assert_eq!(stepped(&mut svm, 1), Passing::Done);
    assert_eq!(page.get(0x7f8 / 8), 0x202);
    is_as_before(&svm, 2);
    let (mut svm, _page) = core(0, &[0x9d]);
    svm.begin_step();
    svm.vmcb.rflags = 2 | TF;
    assert_eq!(stepped(&mut svm, 1), Passing::Done);
    is_as_before(&svm, 2 | TF);
    svm.vmcb.rip = LINEAR;
    svm.begin_step();
    svm.vmcb.rflags = 2;
    assert_eq!(stepped(&mut svm, 1), Passing::DoneAnd, "it was stepping when it began");
    is_as_before(&svm, 2);
}

/// Would catch a core that waits for an interrupt that is masked, a system call under the trap flag, and what root does that is
/// executed once more or never ends.
#[test]
fn what_is_not_stepped_is_done_and_what_root_does_ends_it() {
    let (mut svm, _page) = core(0, &[0xf4]);
    assert_eq!((svm.begin_step(), svm.vmcb.rip, svm.is_passing()), (Begun::Done, LINEAR + 1, false));
    let (mut svm, _page) = core(0, &[0xfb, 0xf4]);
    assert_eq!((svm.begin_step(), svm.vmcb.rip, svm.vmcb.rflags), (Begun::Done, LINEAR + 1, 2 | IF));
    assert_eq!((svm.vmcb.interrupt_shadow, svm.begin_step(), svm.vmcb.rip), (1, Begun::Done, LINEAR + 2));
    let (mut svm, _page) = core(3, &[0xf4]);
    assert_eq!(svm.begin_step(), Begun::Stepping, "a fault");
    let (mut svm, _page) = core(3, &[0x0f, 0x05]);
    svm.vmcb.lstar = 0xffff_ffff_8100_0000;
    assert_eq!((svm.begin_step(), svm.vmcb.rip, svm.vmcb.cpl), (Begun::Done, 0xffff_ffff_8100_0000, 0));
    assert_eq!(svm.gprs.rcx, LINEAR + 2);
    let (mut svm, _page) = core(0, &[0x0f, 0xa2]);
    svm.begin_step();
    assert_eq!(svm.pass(&Exit::Cpuid), Passing::Going);
    assert_eq!(svm.pass_by_root(), None);
    svm.vmcb.rip += 2;
    assert_eq!(svm.pass_by_root(), Some(true));
    is_as_before(&svm, 2);
    svm.vmcb.rip = LINEAR;
    svm.begin_step();
    svm.set_event(event::EXCEPTION, vector::GP);
    assert_eq!(svm.pass_by_root(), Some(false), "it faulted");
    is_as_before(&svm, 2);
}

/// Would catch a delivery that executes something unguarded, one that never ends, and a frame that is looked for elsewhere.
#[test]
fn a_delivery_ends_with_the_first_fetch() {
    let (mut svm, page) = core(0, &[0xcd, 0x80]);
    svm.interrupted = event::VALID | event::SOFTWARE | 0x80;
    svm.vmcb.idtr.base = LINEAR - 0x1000 - 0x800;
    svm.vmcb.rsp = STACK + 5;
    assert_eq!(svm.delivered_where().map(|delivery| delivery.frame), None, "no gate can be read there");
    svm.vmcb.idtr.base = LINEAR + 0x400 - 0x800;
    let delivery = svm.delivered_where().unwrap();
    assert_eq!((delivery.frame, delivery.gate), ((STACK - 40, 40), (LINEAR + 0x400, 16)));
    svm.vmcb.tr.base = LINEAR + 0x200;
    page.set(0x400 / 8, 2 << 32);
    // The second of the stacks that gates can name stands at 0x2c: across two words.
    page.set(0x228 / 8, STACK << 32);
    page.set(0x230 / 8, STACK >> 32);
    svm.interrupted |= event::ERROR;
    assert_eq!(svm.delivered_where().unwrap().frame, (STACK - 48, 48));
    svm.interrupted &= !event::ERROR;
    svm.begin_delivery();
    assert_eq!((svm.vmcb.n_cr3, svm.vmcb.vintr, svm.vmcb.rip), (VIEWS.closed, VIRTUAL_MASKING, LINEAR + 2));
    assert_eq!((svm.vmcb.rflags, svm.vmcb.intercept_exceptions), (2, 0));
    let fetch = Nested { gpa: 0, write: false, fetch: true, walk: false, delivery: false };
    assert_eq!(svm.pass(&Exit::Nmi), Passing::Going);
    assert_eq!(svm.pass(&Exit::Nested(fetch)), Passing::Done);
    is_as_before(&svm, 2);
    svm.interrupted = event::VALID | event::EXTERNAL | 0x30;
    svm.begin_delivery();
    let access = Nested { fetch: false, write: true, delivery: true, ..fetch };
    assert_eq!(svm.pass(&Exit::Nested(access)), Passing::Broken, "a frame of root's");
}
