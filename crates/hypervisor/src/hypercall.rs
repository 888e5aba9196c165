//! Hypercalls of the module, from ring 0 of the guest. Numbers and registers: [`abi::boot::hypercall`].
//!
//! Y1: a physical address that the guest names is read or written only inside RAM and outside of root's own frames.
#![expect(unsafe_code, reason = "answers are written into pages of the guest")]

use crate::arch::x86::direct;
use crate::arch::{Core, Event, Machine};
use crate::halt::HALT;
use crate::monitors::mapped;
use crate::root::ROOT;
use crate::scripts::Bench;
use crate::watch::{self, What};
use crate::{bank, detoured, detours, line, pools, serve, strides, threads};
use abi::boot::{Block, FRAME_BYTES, HOLDS, Hold, hypercall};
use abi::code;
use abi::request::{MESSAGE_BYTES_MAX, Number, event, goodbye, notice};
use core::sync::atomic::Ordering::SeqCst;
use zerocopy::{FromBytes, IntoBytes};

/// How often a farewell is repeated, and how long each waits for the prompt's acknowledgement, in milliseconds.
const GOODBYE_TRIES: u32 = 4;
const GOODBYE_WAIT_MS: u64 = 100;

/// Decides one hypercall.
pub fn handle<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench) {
    // The kernel's own registers, whatever they are.
    if detoured::called::<M>(cpu, core, bench) {
        return;
    }
    let [rax, rbx, rcx, rdx] = cpu.quad();
    let (result, second, third) = match rax {
        hypercall::CALL => call::<M>(cpu, core, rbx, rcx, false),
        hypercall::CALL_AGAIN => call::<M>(cpu, core, rbx, rcx, true),
        hypercall::DONATE => donate::<M>(core, rbx, rcx),
        hypercall::LEAVE => leave(cpu, core),
        hypercall::ENTERED => {
            line::datagram(notice::UP, serve::hello().as_bytes());
            (code::SUCCESS.into(), rbx, rcx)
        }
        hypercall::GOODBYE => {
            pools::closing(rbx);
            farewell(rbx);
            let all = rbx == goodbye::SLEEP || detours::leave(core);
            (if all { code::SUCCESS } else { code::OVERLAPS }.into(), rbx, rcx)
        }
        hypercall::LOOK => {
            line::ring_for_waiting();
            (code::SUCCESS.into(), rbx, rcx)
        }
        hypercall::TEND => {
            let (frames, run) = pools::tend();
            (code::SUCCESS.into(), frames, run)
        }
        hypercall::RECLAIM => {
            let block = bank::reclaim::<M>(core);
            let (pfn, frames) = block.map_or((0, 0), |block| (block.pfn, 1 << block.order));
            (code::SUCCESS.into(), pfn, frames)
        }
        hypercall::GRACE => {
            detours::graced(core, rbx);
            (code::SUCCESS.into(), rbx, rcx)
        }
        hypercall::HOLDS => holds(core, rbx, rcx),
        hypercall::HELD => held(core, rbx, rcx),
        hypercall::MAPPING => {
            mapped::changed::<M>(core, cpu.cr3(), rbx % FRAME_BYTES, [rbx - rbx % FRAME_BYTES, rcx, rdx]);
            (code::SUCCESS.into(), rbx, rcx)
        }
        hypercall::UNLOADED => {
            mapped::unloaded::<M>(core, cpu.cr3(), [rbx, rcx, rdx]);
            (code::SUCCESS.into(), rbx, rcx)
        }
        hypercall::ORDERS..=hypercall::THREAD_LOSSES => thread(core, rax, [rbx, rcx, rdx]),
        hypercall::FETCH_ENDED | hypercall::BREAK => (code::SUCCESS.into(), rbx, rcx),
        // Another hypervisor's call, or nobody's: as on a machine without one.
        _ => return foreign::<M>(cpu, core, bench),
    };
    cpu.set_quad([result, second, third, rdx]);
    cpu.skip();
    // The guest stands behind the instruction when the machine halts.
    match rax {
        hypercall::FETCH_ENDED => serve::fetch_ended::<M>(cpu, core, rbx),
        hypercall::BREAK => serve::break_in::<M>(cpu, core),
        _ => {}
    }
}

/// A call that is none of root's, or not from ring 0: undefined, as on a machine without a hypervisor, unless an event
/// says otherwise.
pub fn foreign<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench) {
    let what = What { kind: event::HYPERCALL, option: 0, context: cpu.gpr(0) };
    watch::around::<M>(cpu, core, bench, what, |cpu| cpu.inject(Event::UndefinedInstruction));
}

/// This core leaves root by Linux' own wish.
fn leave<C: Core>(cpu: &mut C, core: u32) -> ! {
    cpu.skip();
    let [_, rbx, rcx, rdx] = cpu.quad();
    let code = bank::core_leaves(core);
    cpu.set_quad([code.into(), rbx, rcx, rdx]);
    cpu.leave()
}

fn guest_page(core: u32, pa: u64) -> bool {
    pa.is_multiple_of(FRAME_BYTES) && !bank::owns(core, pa / FRAME_BYTES)
}

/// Stores bytes within one frame of the guest's; false, and nothing is stored, if it is none (Y1). Whole words are stored at
/// once.
pub fn store(core: u32, pa: u64, bytes: &[u8]) -> bool {
    if pa % FRAME_BYTES + bytes.len() as u64 > FRAME_BYTES || bank::owns(core, pa / FRAME_BYTES) {
        return false;
    }
    let (mut at, mut left) = (pa, bytes);
    loop {
        let word = left.split_first_chunk::<8>().filter(|_| at.is_multiple_of(8));
        let (stored, rest) = if let Some((word, rest)) = word {
            // SAFETY: a page of the guest's (Y1), which no Rust code refers into; it stays the guest's until this core has seen
            // a flush, which it does not before it comes back from here.
            (unsafe { direct::write(at, u64::from_le_bytes(*word)) }, rest)
        } else if let Some((byte, rest)) = left.split_first() {
            // SAFETY: as above.
            (unsafe { direct::copy_in(at, &[*byte]) }, rest)
        } else {
            return true;
        };
        if !stored {
            return false;
        }
        at += (left.len() - rest.len()) as u64;
        left = rest;
    }
}

fn call<M: Machine>(cpu: &mut M::Core, core: u32, pa: u64, bytes: u64, again: bool) -> (u64, u64, u64) {
    let mut request = [0; MESSAGE_BYTES_MAX];
    let request = usize::try_from(bytes).ok().and_then(|n| request.get_mut(..n));
    let Some(request) = request.filter(|_| guest_page(core, pa)) else { return (0, 0, 0) };
    if !direct::copy_out(pa, request) {
        return (0, 0, 0);
    }
    let mut room = [0; MESSAGE_BYTES_MAX];
    let (len, wanted, run) = serve::from_device::<M>(cpu, core, request, &mut room, again);
    let answer = room.get(..len).unwrap_or_default();
    // SAFETY: a page of the guest's (Y1), which no Rust code refers into.
    let written = unsafe { direct::copy_in(pa, answer) };
    (if written { len as u64 } else { 0 }, wanted, run)
}

/// How many, and the place to go on from.
fn holds(core: u32, pa: u64, from: u64) -> (u64, u64, u64) {
    if !guest_page(core, pa) {
        return (0, 0, 0);
    }
    let (count, next) = mapped::holds(core, from, |nth, hold| {
        // SAFETY: a page of the guest's (Y1), which no Rust code refers into.
        let _in_ram = unsafe { direct::copy_in(pa + nth * size_of::<Hold>() as u64, hold.as_bytes()) };
    });
    (count, next, from)
}

fn held(core: u32, pa: u64, count: u64) -> (u64, u64, u64) {
    if !guest_page(core, pa) || count > HOLDS {
        return (code::REQUEST_MALFORMED.into(), pa, count);
    }
    mapped::held(
        core,
        (0..count).filter_map(|nth| {
            let mut bytes = [0; size_of::<Hold>()];
            direct::copy_out(pa + nth * size_of::<Hold>() as u64, &mut bytes);
            Hold::read_from_bytes(&bytes).ok()
        }),
    );
    (code::SUCCESS.into(), pa, count)
}

/// What is about threads under interception.
fn thread(core: u32, call: u64, [rbx, rcx, rdx]: [u64; 3]) -> (u64, u64, u64) {
    let (result, second) = match call {
        hypercall::ORDERS => {
            let order = guest_page(core, rbx).then(|| threads::next_order(core)).flatten();
            // SAFETY: a page of the guest's (Y1), which no Rust code refers into.
            let written = order.is_some_and(|order| unsafe { direct::copy_in(rbx, order.as_bytes()) });
            (u32::from(written), rbx)
        }
        hypercall::ORDERED => {
            threads::order_ended(core, rbx, rcx, rdx);
            (code::SUCCESS, rbx)
        }
        hypercall::THREAD_ROOM => threads::make_room(core, rbx),
        hypercall::THREAD_TAKE => threads::take(core, rbx, rcx, rdx),
        hypercall::THREAD_STATE => threads::set_state(core, rbx, rcx, rdx),
        hypercall::THREAD_STEP => (strides::begin(core, rbx), rbx),
        hypercall::THREAD_GONE => (threads::gone(core, rbx), rbx),
        _ => {
            threads::tell_losses(core, rbx, rcx);
            (code::SUCCESS, rbx)
        }
    };
    (result.into(), second, rcx)
}

/// The code, and in the third place how many frames are root's now: all, or those before the block that was refused.
fn donate<M: Machine>(core: u32, pa: u64, count: u64) -> (u64, u64, u64) {
    let mut frames = 0;
    let mut result = code::SUCCESS;
    if !guest_page(core, pa) || count > FRAME_BYTES / size_of::<Block>() as u64 {
        result = code::REQUEST_MALFORMED;
    }
    for i in 0..count {
        let mut bytes = [0; size_of::<Block>()];
        if result != code::SUCCESS || !direct::copy_out(pa + i * size_of::<Block>() as u64, &mut bytes) {
            break;
        }
        match Block::read_from_bytes(&bytes).map_err(|_| code::REQUEST_MALFORMED).and_then(|block| {
            let more = usize::try_from(count - i - 1).unwrap_or(0);
            bank::accept::<M>(core, block, more)?;
            Ok(1 << block.order)
        }) {
            Ok(more) => frames += more,
            Err(code) => result = code,
        }
    }
    (result.into(), pa, frames)
}

fn farewell(why: u64) {
    if !ROOT.linked.load(SeqCst) || HALT.wanted() {
        return;
    }
    line::disarm();
    line::notice(notice::GOODBYE, Number { value: why }.as_bytes());
    for _ in 0..GOODBYE_TRIES {
        let start = crate::arch::x86::tsc();
        while crate::arch::x86::tsc().wrapping_sub(start) < ROOT.ticks(GOODBYE_WAIT_MS) {
            // Nothing is asked any more; what still comes in besides the acknowledgement is not answered.
            let _unanswered = line::poll();
            if line::notice_arrived(false) {
                break;
            }
        }
        if line::notice_arrived(true) {
            break;
        }
    }
    if why != goodbye::UNLOAD {
        line::arm();
    }
}
