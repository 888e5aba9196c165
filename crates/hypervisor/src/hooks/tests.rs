//! Hooks of a machine whose cores are threads: what is executed instead of a page, over its whole life.

extern crate std;
use super::*;
use crate::arch::x86::direct::arena;
use crate::hypercall;
use crate::memory::UPPER_HALF;
use crate::storms::{self, Prompt};
use abi::kind::Kind;
use abi::request::memory::{NO_PID, Place};
use abi::request::{EventAsk, EventChange, Ledger, epthook, op};
use zerocopy::{FromBytes, IntoBytes};

/// A hook at an offset of that page, by its linear address in the kernel's half: its event, and whether it is visible.
pub(crate) fn added<M: Machine>(tables: u64, offset: u64, flags: u32) -> (u32, u32) {
    let event = EventAsk { kind: event::EPTHOOK, stage: 1, core: event::ALL, pid: event::ALL, flags, ..EventAsk::default() };
    let place = Place { address: UPPER_HALF + offset, space: VIRTUAL, pid: NO_PID };
    let (code, answer) = add::<M>(0, tables, &Ask { event, place });
    assert_eq!(code, code::SUCCESS, "{answer:x?}");
    (answer.id, u32::try_from(answer.rejected).unwrap())
}

/// Four tables that map the page at 0, and the first one of the kernel's half, to a frame, and that frame.
pub(crate) fn space() -> (u64, u64) {
    let [root, upper, middle, lower, page] = [0; 5].map(|_| arena::run(1).unwrap() * FRAME_BYTES);
    for (table, next) in [(root, upper), (root + 256 * 8, upper), (upper, middle), (middle, lower), (lower, page)] {
        assert!(hypercall::store(0, table, &(next | 7).to_le_bytes()));
    }
    (root, page)
}

fn bytes(pa: u64) -> [u8; 4] {
    let mut bytes = [0; 4];
    assert!(direct::copy_out(pa, &mut bytes));
    bytes
}

/// What is executed instead of a frame, at these of its bytes.
fn executed(page: u64, offset: u64) -> Option<[u8; 4]> {
    shown(page / FRAME_BYTES).map(|pfn| bytes(pfn * FRAME_BYTES + offset))
}

/// Would catch a breakpoint that is not there, one that stays when its hook goes (facts B.35), a copy that does not follow what is written
/// (facts B.45) or that goes with the hook that had it, a page that is written to, and a unit that is lost.
#[test]
fn a_copy_is_the_page_but_for_its_hooks_as_long_as_there_is_one() {
    let prompt = &mut *storms::machine();
    let used = |prompt: &mut Prompt| {
        let ledger = Ledger::read_from_bytes(&prompt.ask(op::LEDGER, &[]).1).unwrap();
        ledger.kinds[Kind::Epthook.index()].used
    };
    let change = |prompt: &mut Prompt, what, id| {
        assert_eq!(prompt.ask(op::EVENT_CHANGE, EventChange { what, id }.as_bytes()).0, code::SUCCESS);
    };
    let (tables, page) = space();
    let pfn = page / FRAME_BYTES;
    let code = [0x55, 0x90, 0xc3, 0x66];
    assert!(hypercall::store(0, page + 0x7fe, &code));
    let added = |offset: u64| {
        let event = EventAsk { kind: event::EPTHOOK, stage: 1, core: event::ALL, pid: event::ALL, ..EventAsk::default() };
        let place = Place { address: offset, space: VIRTUAL, pid: NO_PID };
        let (code, answer) = add::<crate::arch::model::Model>(0, tables, &Ask { event, place });
        assert_eq!(code, code::SUCCESS, "{answer:x?}");
        answer.id
    };
    let first = added(0x7fe);
    assert_eq!((executed(page, 0x7fe), bytes(page + 0x7fe)), (Some([0xcc, 0x90, 0xc3, 0x66]), code));
    let second = added(0x800);
    assert_eq!((executed(page, 0x7fe), used(prompt)), (Some([0xcc, 0x90, 0xcc, 0x66]), 2));
    assert!(is_at(page + 0x800) && !is_at(page + 0x801));
    assert!(hypercall::store(0, page + 0x7fe, &[0xe9, 0xeb, 0xcc, 0x90]));
    written(0, pfn);
    assert_eq!(executed(page, 0x7fe), Some([0xcc, 0xeb, 0xcc, 0x90]));
    change(prompt, event::CLEAR, first);
    assert_eq!(executed(page, 0x7fe), Some([0xe9, 0xeb, 0xcc, 0x90]), "the other's copy");
    change(prompt, event::DISABLE, second);
    assert!(hypercall::store(0, page + 0x7fe, &code));
    written(0, pfn);
    assert_eq!((executed(page, 0x7fe), is_at(page + 0x800)), (Some(code), false));
    change(prompt, event::ENABLE, second);
    assert_eq!(executed(page, 0x7fe), Some([0x55, 0x90, 0xcc, 0x66]));
    change(prompt, event::CLEAR, second);
    assert_eq!((executed(page, 0x7fe), bytes(page + 0x7fe), used(prompt)), (None, code, 0));
}

/// Would catch a breakpoint that is read where it may not be, or not read where it may; a hook that stays visible when its instruction is
/// written to, or that gets lost then; and two of a page that hide each other for ever.
#[test]
fn a_fast_hook_is_visible_until_others_hide_it_or_it_is_written_to() {
    use crate::arch::model::{self, Model};
    let prompt = &mut *storms::machine();
    let change = |prompt: &mut Prompt, what, id| {
        assert_eq!(prompt.ask(op::EVENT_CHANGE, EventChange { what, id }.as_bytes()).0, code::SUCCESS);
    };
    let (tables, page) = space();
    let pfn = page / FRAME_BYTES;
    assert!(hypercall::store(0, page, &[0x55, 0x53, 0x0f, 0x1f, 0x44, 0, 0, 0x56]));
    let added = |offset, flags| added::<Model>(tables, offset, flags);
    // What the guest reads and executes there; `None` if it cannot execute it.
    let seen = || model::views(|views| views.executed(pfn)).map(|frame| bytes(frame * FRAME_BYTES));
    let fast = added(0, event::FAST);
    assert_eq!((fast.1, seen()), (epthook::IS_VISIBLE, Some([0xcc, 0x53, 0x0f, 0x1f])));
    assert_eq!(bytes(page), [0x55, 0x53, 0x0f, 0x1f], "the guest's memory is as it was");
    let patched = added(2, event::FAST);
    assert_eq!((patched.1, seen()), (epthook::PATCHED, None), "a hidden one hides the page");
    change(prompt, event::DISABLE, patched.0);
    assert_eq!(seen(), Some([0xcc, 0x53, 0x0f, 0x1f]));
    change(prompt, event::ENABLE, patched.0);
    let late = added(7, event::FAST);
    assert_eq!((late.1, seen()), (epthook::HIDDEN_BY_OTHERS, None));
    change(prompt, event::CLEAR, patched.0);
    assert_eq!(seen(), Some([0xcc, 0x53, 0x0f, 0x1f]));
    change(prompt, event::DISABLE, fast.0);
    assert_eq!((seen(), is_at(page)), (Some([0x55, 0x53, 0x0f, 0x1f]), false));
    change(prompt, event::ENABLE, fast.0);
    assert!(hypercall::store(0, page + 1, &[0x57]));
    written(0, pfn);
    visible::written::<Model>(0, pfn, (1, 1));
    assert_eq!(seen(), Some([0xcc, 0x57, 0x0f, 0x1f]), "beside it");
    assert!(hypercall::store(0, page, &[0x56]));
    written(0, pfn);
    visible::written::<Model>(0, pfn, (0, 3));
    assert_eq!((seen(), executed(page, 0), is_at(page)), (None, Some([0xcc, 0x57, 0x0f, 0x1f]), true), "hidden");
    change(prompt, event::CLEAR, fast.0);
    assert_eq!(seen(), Some([0x56, 0x57, 0x0f, 0x1f]), "the other is visible still");
    change(prompt, event::CLEAR, late.0);
    assert_eq!((seen(), bytes(page)), (Some([0x56, 0x57, 0x0f, 0x1f]), [0x56, 0x57, 0x0f, 0x1f]));
}
