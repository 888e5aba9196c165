//! The virtual machine control block, by the layout of APM2 appendix B "VMCB Layout" (24593, revision 3.42).

use crate::arch;
use crate::arch::x86::descriptor::Descriptor;
use core::mem::offset_of;

/// A segment register with its hidden part.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Attributes: bits 40-47 and 52-55 of a descriptor, packed.
    pub attributes: u16,
    /// Limit in bytes.
    pub limit: u32,
    /// Linear base.
    pub base: u64,
}

/// Bits of [`Segment::attributes`].
pub mod attribute {
    /// Of data: it can be written.
    pub const WRITABLE: u16 = 1 << 1;
    /// Code.
    pub const CODE: u16 = 1 << 3;
    /// It is there.
    pub const PRESENT: u16 = 1 << 7;
    /// 64-bit code.
    pub const LONG: u16 = 1 << 9;
    /// 32-bit code.
    pub const BIG: u16 = 1 << 10;
}

impl From<Descriptor> for Segment {
    fn from(d: Descriptor) -> Segment {
        Segment { selector: d.selector, attributes: d.attributes, limit: d.limit, base: d.base }
    }
}

impl Segment {
    /// As any vendor's.
    #[must_use]
    pub fn plain(&self) -> arch::Segment {
        let is = |bits| self.attributes & (attribute::PRESENT | bits) == attribute::PRESENT | bits;
        let writable = is(attribute::WRITABLE) && !is(attribute::CODE);
        arch::Segment { base: self.base, limit: self.limit, usable: is(0), writable }
    }
}

/// Control area and save area. Gaps are reserved and stay zero.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct Vmcb {
    pub intercept_cr: u32,
    pub intercept_dr: u32,
    pub intercept_exceptions: u32,
    pub intercept_1: u32,
    pub intercept_2: u32,
    gap_014: [u8; 0x40 - 0x14],
    pub iopm_base: u64,
    pub msrpm_base: u64,
    pub tsc_offset: u64,
    pub asid: u32,
    pub tlb_control: u32,
    pub vintr: u64,
    pub interrupt_shadow: u64,
    pub exit_code: u64,
    pub exit_info_1: u64,
    pub exit_info_2: u64,
    pub exit_int_info: u64,
    pub np_enable: u64,
    gap_098: [u8; 0xa8 - 0x98],
    pub event_injection: u64,
    pub n_cr3: u64,
    pub lbr: u64,
    /// Which parts the processor may still know: none, ever.
    pub clean: u64,
    pub next_rip: u64,
    gap_0d0: [u8; 0x400 - 0xd0],
    pub es: Segment,
    pub cs: Segment,
    pub ss: Segment,
    pub ds: Segment,
    pub fs: Segment,
    pub gs: Segment,
    pub gdtr: Segment,
    pub ldtr: Segment,
    pub idtr: Segment,
    pub tr: Segment,
    gap_4a0: [u8; 0x4cb - 0x4a0],
    pub cpl: u8,
    gap_4cc: u32,
    pub efer: u64,
    gap_4d8: [u8; 0x548 - 0x4d8],
    pub cr4: u64,
    pub cr3: u64,
    pub cr0: u64,
    pub dr7: u64,
    pub dr6: u64,
    pub rflags: u64,
    pub rip: u64,
    gap_580: [u8; 0x5d8 - 0x580],
    pub rsp: u64,
    gap_5e0: [u8; 0x5f8 - 0x5e0],
    pub rax: u64,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub sfmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub cr2: u64,
    gap_648: [u8; 0x668 - 0x648],
    pub g_pat: u64,
    gap_670: [u8; 0x1000 - 0x670],
}
const _: () = assert!(size_of::<Vmcb>() == 4096 && offset_of!(Vmcb, iopm_base) == 0x40 && offset_of!(Vmcb, exit_code) == 0x70);
const _: () = assert!(offset_of!(Vmcb, event_injection) == 0xa8 && offset_of!(Vmcb, next_rip) == 0xc8);
const _: () = assert!(offset_of!(Vmcb, cpl) == 0x4cb && offset_of!(Vmcb, efer) == 0x4d0 && offset_of!(Vmcb, cr4) == 0x548);
const _: () = assert!(offset_of!(Vmcb, rip) == 0x578 && offset_of!(Vmcb, rsp) == 0x5d8 && offset_of!(Vmcb, rax) == 0x5f8);
const _: () = assert!(offset_of!(Vmcb, cr2) == 0x640 && offset_of!(Vmcb, g_pat) == 0x668);

/// `intercept_cr`: writes of control register 0; the others follow.
pub const INTERCEPT_CR_WRITE: u32 = 1 << 16;
/// `intercept_dr`: reads of all,
pub const INTERCEPT_DR_READS: u32 = 0xff;
/// writes of all,
pub const INTERCEPT_DR_WRITES: u32 = 0xff << 16;
/// and writes of DR7 alone, by both of its names.
pub const INTERCEPT_DR7_WRITES: u32 = 0xa0 << 16;

/// `intercept_1`, offset 0x00c.
pub mod intercept_1 {
    /// External interrupts.
    pub const INTR: u32 = 1;
    /// NMI.
    pub const NMI: u32 = 1 << 1;
    /// RDTSC.
    pub const RDTSC: u32 = 1 << 14;
    /// CPUID.
    pub const CPUID: u32 = 1 << 18;
    /// INT n.
    pub const INTN: u32 = 1 << 21;
    /// INVLPGA.
    pub const INVLPGA: u32 = 1 << 26;
    /// Ports by the I/O map.
    pub const IOIO: u32 = 1 << 27;
    /// Registers by the MSR map.
    pub const MSR: u32 = 1 << 28;
    /// Triple fault.
    pub const SHUTDOWN: u32 = 1 << 31;
}

/// `intercept_2`, offset 0x010: VMRUN VMMCALL VMLOAD VMSAVE STGI CLGI SKINIT.
pub const INTERCEPT_2_ALL: u32 = 0x7f;
/// RDTSCP.
pub const INTERCEPT_2_RDTSCP: u32 = 1 << 7;

/// `tlb_control`: the processor forgets every translation before the guest runs (APM2 15.16.2 "TLB Flush").
pub const TLB_FLUSH_ALL: u32 = 1;

/// Exit codes (APM2 appendix C "SVM Intercept Exit Codes").
pub mod exit_code {
    /// The exception with vector 0; the others follow.
    pub const EXCP_FIRST: u64 = 0x40;
    pub const CR0_WRITE: u64 = 0x10;
    pub const CR4_WRITE: u64 = 0x14;
    pub const DR0_READ: u64 = 0x20;
    pub const DR0_WRITE: u64 = 0x30;
    pub const DR7_WRITE: u64 = 0x37;
    pub const EXCP_DB: u64 = 0x41;
    pub const EXCP_BP: u64 = 0x43;
    pub const EXCP_UD: u64 = 0x46;
    pub const EXCP_PF: u64 = 0x4e;
    pub const EXCP_LAST: u64 = 0x5f;
    pub const INTR: u64 = 0x60;
    pub const NMI: u64 = 0x61;
    pub const RDTSC: u64 = 0x6e;
    pub const RDTSCP: u64 = 0x87;
    pub const CPUID: u64 = 0x72;
    pub const SWINT: u64 = 0x75;
    pub const INVLPGA: u64 = 0x7a;
    pub const IOIO: u64 = 0x7b;
    pub const MSR: u64 = 0x7c;
    pub const SHUTDOWN: u64 = 0x7f;
    pub const VMRUN: u64 = 0x80;
    pub const VMMCALL: u64 = 0x81;
    pub const VMLOAD: u64 = 0x82;
    pub const SKINIT: u64 = 0x86;
    pub const NPF: u64 = 0x400;
    pub const INVALID: u64 = u64::MAX;
}
