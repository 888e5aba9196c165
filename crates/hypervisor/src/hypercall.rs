//! Hypercalls of the module, from ring 0 of the guest. Numbers and registers: [`abi::boot::hypercall`].
//!
//! Y1: a physical address that the guest names is read or written only inside RAM and outside of root's own frames.
#![expect(unsafe_code, reason = "answers are written into pages of the guest")]

use crate::arch::x86::direct;
use crate::arch::{Core, Event, Machine};
use crate::halt::HALT;
use crate::root::ROOT;
use crate::{bank, life, line, serve};
use abi::boot::{Block, FRAME_BYTES, hypercall};
use abi::code;
use abi::request::{MESSAGE_BYTES_MAX, Number, goodbye, notice, reason};
use core::sync::atomic::Ordering::SeqCst;
use zerocopy::{FromBytes, IntoBytes};

/// How often a farewell is repeated, and how long each waits for the prompt's acknowledgement, in milliseconds.
const GOODBYE_TRIES: u32 = 4;
const GOODBYE_WAIT_MS: u64 = 100;

/// Decides one hypercall.
pub fn handle<M: Machine>(cpu: &mut M::Core, core: u32) {
    let [rax, rbx, rcx, rdx] = cpu.quad();
    let (result, second) = match rax {
        hypercall::CALL => call(rbx, rcx, false),
        hypercall::CALL_AGAIN => call(rbx, rcx, true),
        hypercall::DONATE => (u64::from(donate::<M>(cpu, core, rbx, rcx)), rbx),
        hypercall::DONATE_FAILED => {
            serve::fetch_ended::<M>(cpu, core, 0);
            (code::SUCCESS.into(), rbx)
        }
        hypercall::LEAVE => life::leave(cpu, core),
        hypercall::GOODBYE => {
            farewell(rbx);
            (code::SUCCESS.into(), rbx)
        }
        hypercall::BREAK => {
            cpu.skip();
            cpu.set_quad([code::SUCCESS.into(), rbx, rcx, rdx]);
            serve::halt::<M>(cpu, core, reason::HYPERCALL, 0);
            return;
        }
        // Another hypervisor's call, or nobody's: as on a machine without one.
        _ => return cpu.inject(Event::UndefinedInstruction),
    };
    cpu.set_quad([result, second, rcx, rdx]);
    cpu.skip();
}

fn guest_page(pa: u64) -> bool {
    pa.is_multiple_of(FRAME_BYTES) && !bank::owns(pa / FRAME_BYTES)
}

fn call(pa: u64, bytes: u64, again: bool) -> (u64, u64) {
    let mut request = [0; MESSAGE_BYTES_MAX];
    let request = usize::try_from(bytes).ok().and_then(|n| request.get_mut(..n));
    let Some(request) = request.filter(|_| guest_page(pa)) else { return (0, 0) };
    if !direct::copy_out(pa, request) {
        return (0, 0);
    }
    let mut room = [0; MESSAGE_BYTES_MAX];
    let (len, wanted) = serve::from_device(request, &mut room, again);
    let answer = room.get(..len).unwrap_or_default();
    // SAFETY: a page of the guest's (Y1), which no Rust code refers into.
    let written = unsafe { direct::copy_in(pa, answer) };
    (if written { len as u64 } else { 0 }, wanted)
}

fn donate<M: Machine>(cpu: &mut M::Core, core: u32, pa: u64, count: u64) -> u32 {
    if !guest_page(pa) || count > FRAME_BYTES / size_of::<Block>() as u64 {
        return code::REQUEST_MALFORMED;
    }
    let mut frames = 0;
    let mut result = code::SUCCESS;
    for i in 0..count {
        let mut bytes = [0; size_of::<Block>()];
        let read = direct::copy_out(pa + i * size_of::<Block>() as u64, &mut bytes);
        let Some(block) = Block::read_from_bytes(&bytes).ok().filter(|_| read) else { return code::REQUEST_MALFORMED };
        match bank::accept::<M>(core, block) {
            Ok(()) => frames += 1 << block.order,
            Err(code) => {
                result = code;
                break;
            }
        }
    }
    // The module learns by `rcx` how many of its blocks are root's now.
    let [rax, rbx, _, rdx] = cpu.quad();
    cpu.set_quad([rax, rbx, frames, rdx]);
    if result == code::SUCCESS {
        serve::fetch_ended::<M>(cpu, core, frames);
    }
    result
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
