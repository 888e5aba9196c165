//! INS and OUTS, one element at a time: where it lies, what is left of it.
//!
//! **Holds always**
//! - T1: an exit moves at most one element; the guest stays at a repeated instruction until its count is 0, and takes its
//!   interrupts in between.
//! - T2: both sides of an element are there before it is moved: a fault has read nothing from the port.
//! - T3: memory is the guest's, as its own instruction may use it (`reach`); root's frames are read as zeros, and writing
//!   there ends as any such write of the guest's does.
//!
//! **Callers**: `ports`. **Cost**: one walk an element, two where it crosses a page.
//! **Proof**: the tests below, `tests/e2e/events_ports.rs`.
#![expect(unsafe_code, reason = "elements of INS go into pages of the guest")]

use crate::arch::x86::decode::{self, INSTRUCTION_BYTES_MAX, segment};
use crate::arch::x86::{self, direct};
use crate::arch::{Core, Event, Port, Segment};
use crate::bank;
use crate::reach::{self, Rights, Tables};
use crate::root::ROOT;
use abi::boot::FRAME_BYTES;
use core::sync::atomic::Ordering::SeqCst;

const RCX: u8 = 1;
const RSI: u8 = 6;
const RDI: u8 = 7;
const DIRECTION: u64 = 1 << 10;
const ALIGNMENT_CHECK: u64 = 1 << 18;
const CR0_WP: u64 = 1 << 16;
const CR4_SMAP: u64 = 1 << 21;

/// The next element of a string instruction that exited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    port: Port,
    repeats: bool,
    /// The bits of an address that count.
    mask: u64,
    /// Where it lies, in pieces, and how many bytes each has.
    pieces: [(u64, u8); 2],
}

/// The guest's tables, without what is root's (A1 of `reach`).
struct Guest(u32);

impl Tables for Guest {
    fn entry(&self, pa: u64) -> Option<u64> {
        if bank::owns(self.0, pa / FRAME_BYTES) { Some(0) } else { direct::read(pa) }
    }

    fn set(&self, pa: u64, old: u64, bits: u64) -> bool {
        // SAFETY: a table of the guest's, not a frame of root's: there `entry` read 0, which is not present.
        let set = unsafe { direct::change(pa, |word| word.compare_exchange(old, old | bits, SeqCst, SeqCst).is_ok()) };
        set == Some(true)
    }
}

impl Element {
    /// The next element; `None` if nothing is left of a repeated instruction.
    ///
    /// # Errors
    /// What happens to the guest instead.
    pub fn next<C: Core>(cpu: &C, core: u32, port: Port) -> Result<Option<Element>, Event> {
        let mut bytes = [0; INSTRUCTION_BYTES_MAX];
        let read = cpu.code(&mut bytes);
        let bits = cpu.code_bits();
        let form = decode::split(bytes.get(..read).unwrap_or_default(), bits == 64);
        let mask = match (bits, form.address_override) {
            (64, false) => u64::MAX,
            (64, true) | (32, false) | (16, true) => 0xffff_ffff,
            _ => 0xffff,
        };
        if form.repeats && cpu.gpr(RCX.into()) & mask == 0 {
            return Ok(None);
        }
        // The destination of INS is always in ES (APM3 "INS").
        let (register, from) = if port.input { (RDI, segment::ES) } else { (RSI, form.segment.unwrap_or(segment::DS)) };
        let offset = cpu.gpr(register.into()) & mask;
        let linear = linear(cpu.segment(from), from, bits, offset, port).ok_or(Event::GeneralProtection)?;
        let registers = cpu.registers();
        let rights = Rights {
            write: port.input,
            user: cpu.cpl() == 3,
            write_protect: registers.crs[0] & CR0_WP != 0,
            kernel_only: registers.crs[3] & CR4_SMAP != 0 && registers.rflags & ALIGNMENT_CHECK == 0,
        };
        let mut pieces = reach::pieces(linear, port.bytes);
        for (at, bytes) in &mut pieces {
            if *bytes > 0 {
                let address = *at;
                *at = reach::reach(&Guest(core), cpu.cr3(), address, rights)
                    .map_err(|error| Event::PageFault { address, error })?;
            }
        }
        if port.input && pieces.iter().any(|(pa, bytes)| *bytes > 0 && bank::owns(core, pa / FRAME_BYTES)) {
            ROOT.shielded.fetch_add(1, SeqCst);
            return Err(Event::GeneralProtection);
        }
        Ok(Some(Element { port, repeats: form.repeats, mask, pieces }))
    }

    /// What memory holds there, for OUTS.
    pub fn load(&self, core: u32) -> u32 {
        let (mut value, mut at) = ([0; 4], 0);
        for (pa, bytes) in self.pieces {
            let to = value.get_mut(at..at + usize::from(bytes)).unwrap_or_default();
            if !bank::owns(core, pa / FRAME_BYTES) && !direct::copy_out(pa, to) {
                // Nobody answers beyond RAM.
                to.fill(0xff);
            }
            at += usize::from(bytes);
        }
        u32::from_le_bytes(value)
    }

    /// Puts there what INS has read.
    pub fn store(&self, value: u32) {
        let (value, mut at) = (value.to_le_bytes(), 0);
        for (pa, bytes) in self.pieces {
            let from = value.get(at..at + usize::from(bytes)).unwrap_or_default();
            // SAFETY: a page of the guest's (T3), which no Rust code refers into.
            if !unsafe { direct::copy_in(pa, from) } {
                ROOT.shielded.fetch_add(1, SeqCst);
            }
            at += usize::from(bytes);
        }
    }

    /// The element is moved: the guest goes on behind it, or with the next one (T1).
    pub fn step<C: Core>(self, cpu: &mut C) {
        let Element { port, repeats, mask, .. } = self;
        let by = u64::from(port.bytes);
        let by = if cpu.registers().rflags & DIRECTION == 0 { by } else { by.wrapping_neg() };
        add(cpu, if port.input { RDI } else { RSI }, by, mask);
        if repeats && add(cpu, RCX, u64::MAX, mask) != 0 { cpu.again() } else { cpu.skip() }
    }
}

/// Adds to a register in the size of addresses: 16 bits leave the others, 32 clear them. What it holds then.
fn add<C: Core>(cpu: &mut C, register: u8, by: u64, mask: u64) -> u64 {
    let old = cpu.gpr(register.into());
    let sum = old.wrapping_add(by) & mask;
    cpu.set_gpr(register, if mask == 0xffff { old & !mask | sum } else { sum });
    sum
}

/// The linear address of an element; `None` if its segment does not allow that.
fn linear(segment: Segment, number: u8, bits: u8, offset: u64, port: Port) -> Option<u64> {
    let last = offset.wrapping_add(u64::from(port.bytes) - 1);
    if bits == 64 {
        let base = if number == segment::FS || number == segment::GS { segment.base } else { 0 };
        let linear = base.wrapping_add(offset);
        return [linear, base.wrapping_add(last)].into_iter().all(x86::is_canonical).then_some(linear);
    }
    let allowed = segment.usable && (segment.writable || !port.input) && last <= segment.limit.into();
    allowed.then_some(segment.base.wrapping_add(offset) & 0xffff_ffff)
}
