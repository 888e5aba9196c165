//! Descriptor tables of root: GDT and TSS of each core, one IDT for all.
//!
//! Root keeps Linux' selectors for its own code and data (CS 0x10, SS 0x18, TR 0x40), so entering and leaving need no far
//! jump.
#![expect(unsafe_code, reason = "loads descriptor tables")]

use super::region::{FAULT_STACK_TOP, LOCAL, Local, NMI_STACK_TOP};
use super::trap;
use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Root's code selector, Linux' too.
pub const CODE: u16 = 0x10;
/// Root's data selector, Linux' too.
pub const DATA: u16 = 0x18;
/// Root's task selector, Linux' too.
pub const TASK: u16 = 0x40;

/// A 64-bit task state segment as 26 double words (APM2 12.2.5 "64-bit Task State Segment").
#[repr(C)]
pub struct Tss([AtomicU32; 26]);
/// Double words where IST 1 and IST 2 begin, and the one with the offset of the I/O map.
const IST1: usize = 9;
const IST2: usize = 11;
const IO_MAP: usize = 25;

impl Tss {
    #[expect(clippy::cast_possible_truncation, reason = "two halves of one address")]
    fn set(&self, at: usize, value: u64) {
        self.0[at].store(value as u32, Relaxed);
        self.0[at + 1].store((value >> 32) as u32, Relaxed);
    }
}

static IDT: [[AtomicU64; 2]; 256] = [const { [const { AtomicU64::new(0) }; 2] }; 256];

#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Base and limit of a descriptor table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Table {
    /// Linear address.
    pub base: u64,
    /// Bytes minus one.
    pub limit: u16,
}

/// The GDT and IDT that are loaded now.
#[must_use]
pub fn current() -> (Table, Table) {
    let mut gdt = Pointer { limit: 0, base: 0 };
    let mut idt = Pointer { limit: 0, base: 0 };
    // SAFETY: the instructions store ten bytes each, the size of `Pointer`.
    unsafe {
        asm!("sgdt [{}]", "sidt [{}]", in(reg) &raw mut gdt, in(reg) &raw mut idt, options(nostack, preserves_flags));
    }
    (Table { base: gdt.base, limit: gdt.limit }, Table { base: idt.base, limit: idt.limit })
}

/// Loads a GDT and an IDT.
///
/// # Safety
/// They are valid under the page tables of whoever next loads a selector or takes a trap.
pub unsafe fn load(gdt: Table, idt: Table) {
    let gdt = Pointer { limit: gdt.limit, base: gdt.base };
    let idt = Pointer { limit: idt.limit, base: idt.base };
    // SAFETY: by the caller.
    unsafe {
        asm!("lgdt [{}]", "lidt [{}]", in(reg) &raw const gdt, in(reg) &raw const idt, options(nostack, preserves_flags))
    };
}

/// Fills the IDT, once for all cores.
pub fn prepare() {
    for (vector, gate) in IDT.iter().enumerate() {
        let target = trap::stub(vector);
        // An interrupt comes where root waits for it, on the stack that it has there.
        let ist = match vector {
            2 => 1,
            0..32 => 2,
            _ => 0,
        };
        gate[0]
            .store(target & 0xffff | u64::from(CODE) << 16 | ist << 32 | 0x8e00 << 32 | (target >> 16 & 0xffff) << 48, Relaxed);
        gate[1].store(target >> 32, Relaxed);
    }
}

/// Builds this core's GDT and TSS and loads them with the IDT.
///
/// # Safety
/// This core is entering root, [`prepare`] has run, and `local` is its region. Linux' tables have been noted.
pub unsafe fn load_root(local: &'static Local) {
    let region = core::ptr::from_ref(local) as u64 - LOCAL;
    local.tss.set(IST1, region + NMI_STACK_TOP);
    local.tss.set(IST2, region + FAULT_STACK_TOP);
    // An I/O map beyond the limit: none.
    local.tss.0[IO_MAP].store(104 << 16, Relaxed);
    let base = (&raw const local.tss) as u64;
    let limit = size_of::<Tss>() as u64 - 1;
    let slot = |selector: u16| usize::from(selector >> 3);
    local.gdt[slot(CODE)].store(0x00af_9b00_0000_ffff, Relaxed);
    local.gdt[slot(DATA)].store(0x00cf_9300_0000_ffff, Relaxed);
    local.gdt[slot(TASK)].store(limit & 0xffff | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56, Relaxed);
    local.gdt[slot(TASK) + 1].store(base >> 32, Relaxed);
    let gdt = Table { base: local.gdt.as_ptr() as u64, limit: 95 };
    let idt = Table { base: IDT.as_ptr() as u64, limit: 4095 };
    // SAFETY: both tables are complete and live as long as root; TR's descriptor was marked available just now.
    unsafe {
        load(gdt, idt);
        asm!("ltr {0:x}", in(reg) TASK, options(nostack, preserves_flags));
    }
}
