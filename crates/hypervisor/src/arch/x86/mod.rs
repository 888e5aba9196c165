//! What both vendors need: registers, ports, tables, the direct map, the local APIC, the UART.
#![expect(unsafe_code, reason = "the floor: instructions that Rust cannot say")]

#[cfg(not(test))]
pub mod apic;
pub mod called;
pub mod clock;
pub mod control;
pub mod decode;
pub mod descriptor;
pub mod direct;
pub mod event;
#[cfg(not(test))]
pub mod ports;
pub mod region;
pub mod skip;
pub mod syscall;
pub mod tables;
pub mod trap;
#[cfg(not(test))]
pub mod uart;
pub mod watched;
pub mod way;
pub mod window;

#[cfg(test)]
pub use super::model::{apic, ports, uart};

use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, _rdtsc, CpuidResult};

/// Reads a model-specific register.
///
/// # Safety
/// The register exists on this processor; there is no fix-up for #GP in root.
pub unsafe fn read_msr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: by the caller's promise the register exists, and reading one that does has no effect on memory.
    unsafe { asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// The register exists and takes this value, and what it changes (tables, modes, addresses) is what root expects.
pub unsafe fn write_msr(msr: u32, value: u64) {
    #[expect(clippy::cast_possible_truncation, reason = "the instruction takes two halves")]
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: the caller's promise is the instruction's whole contract.
    unsafe { asm!("wrmsr", in("ecx") msr, in("eax") low, in("edx") high, options(nostack, preserves_flags)) };
}

/// Reads a byte from a port that root owns.
///
/// # Safety
/// The port's device is root's: reading may change its state.
pub unsafe fn port_in(port: u16) -> u8 {
    let value: u8;
    // SAFETY: no memory is touched; the device is the caller's.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes a byte to a port that root owns.
///
/// # Safety
/// As [`port_in`]; and the device does no DMA with it.
pub unsafe fn port_out(port: u16, value: u8) {
    // SAFETY: no memory is touched; the device is the caller's.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) };
}

/// CPUID on the hardware below the guest.
#[must_use]
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    __cpuid_count(leaf, subleaf)
}

/// The same as whole registers: rax, rbx, rcx, rdx, whose upper halves it clears.
#[inline(always)]
#[must_use]
pub fn cpuid_quad(leaf: u32, subleaf: u32) -> [u64; 4] {
    let (rax, rbx, rcx, rdx);
    // SAFETY: CPUID changes these four registers alone, and rbx, which cannot be named, is put back.
    unsafe {
        asm!(
            "mov {rbx}, rbx", "cpuid", "xchg {rbx}, rbx", rbx = out(reg) rbx,
            inlateout("rax") u64::from(leaf) => rax, inlateout("rcx") u64::from(subleaf) => rcx, lateout("rdx") rdx,
            options(nomem, nostack, preserves_flags)
        );
    }
    [rax, rbx, rcx, rdx]
}

/// The time stamp counter, nothing hidden.
#[must_use]
pub fn tsc() -> u64 {
    // SAFETY: RDTSC is allowed in ring 0 whatever CR4.TSD says, and it only reads.
    unsafe { _rdtsc() }
}

/// A breath while waiting for another core.
#[cfg(not(test))]
pub fn relax() {
    core::hint::spin_loop();
}
#[cfg(test)]
pub use super::model::relax;

macro_rules! control_register {
    ($read:ident, $name:literal) => {
        /// Reads the control or debug register of this name.
        #[must_use]
        pub fn $read() -> u64 {
            let value: u64;
            // SAFETY: root runs in ring 0 of 64-bit mode, where reading it neither faults nor changes anything.
            unsafe { asm!(concat!("mov {}, ", $name), out(reg) value, options(nomem, nostack, preserves_flags)) };
            value
        }
    };
}
control_register!(cr0, "cr0");
control_register!(cr2, "cr2");
control_register!(cr3, "cr3");
control_register!(cr4, "cr4");
control_register!(cr8, "cr8");
control_register!(dr0, "dr0");
control_register!(dr1, "dr1");
control_register!(dr2, "dr2");
control_register!(dr3, "dr3");
control_register!(dr6, "dr6");
control_register!(dr7, "dr7");

/// Loads CR3.
///
/// # Safety
/// The tables map everything that root uses, as the ones before did.
pub unsafe fn load_cr3(value: u64) {
    // SAFETY: by the caller.
    unsafe { asm!("mov cr3, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Loads CR2, which nothing in root reads but last words.
pub fn write_cr2(value: u64) {
    // SAFETY: the register holds an address and has no effect.
    unsafe { asm!("mov cr2, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
}

/// Loads CR4.
///
/// # Safety
/// The processor takes this value now, and nothing that it switches off is used.
pub unsafe fn write_cr4(value: u64) {
    // SAFETY: by the caller.
    unsafe { asm!("mov cr4, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Writes all caches back to memory and empties them.
pub fn write_back_caches() {
    // SAFETY: memory is the same afterwards, as any device sees it, too.
    unsafe { asm!("wbinvd", options(nostack, preserves_flags)) };
}

/// Loads debug register 7.
///
/// # Safety
/// Breakpoints it arms are the guest's: root's #DB handler must tolerate them.
pub unsafe fn write_dr7(value: u64) {
    // SAFETY: by the caller.
    unsafe { asm!("mov dr7, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
}

/// Reads debug register 0, 1, 2 or 3.
#[must_use]
pub fn breakpoint(number: u8) -> u64 {
    match number & 3 {
        0 => dr0(),
        1 => dr1(),
        2 => dr2(),
        _ => dr3(),
    }
}

/// Loads debug register 0, 1, 2 or 3.
///
/// # Safety
/// As [`write_dr7`].
pub unsafe fn write_breakpoint(number: u8, value: u64) {
    match number & 3 {
        // SAFETY: by the caller.
        0 => unsafe { asm!("mov dr0, {}", in(reg) value, options(nomem, nostack, preserves_flags)) },
        // SAFETY: by the caller.
        1 => unsafe { asm!("mov dr1, {}", in(reg) value, options(nomem, nostack, preserves_flags)) },
        // SAFETY: by the caller.
        2 => unsafe { asm!("mov dr2, {}", in(reg) value, options(nomem, nostack, preserves_flags)) },
        // SAFETY: by the caller.
        _ => unsafe { asm!("mov dr3, {}", in(reg) value, options(nomem, nostack, preserves_flags)) },
    }
}

/// Has the local APIC look again at what is pending for this core: writes the task priority that it has already.
pub fn renew_task_priority() {
    // SAFETY: the register keeps its value, and interrupts are off in root; the stack is not used.
    unsafe { asm!("mov {0}, cr8", "mov cr8, {0}", out(reg) _, options(nomem, nostack, preserves_flags)) };
}

/// Loads debug register 6.
///
/// # Safety
/// Only on the way back to Linux: it is Linux' state.
pub unsafe fn write_dr6(value: u64) {
    // SAFETY: by the caller.
    unsafe { asm!("mov dr6, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
}

/// Bits of RFLAGS (APM2 3.1.6 "RFLAGS Register").
pub mod flag {
    /// Carry.
    pub const CF: u64 = 1;
    /// Parity of the lowest byte.
    pub const PF: u64 = 1 << 2;
    /// Carry out of the lowest four bits.
    pub const AF: u64 = 1 << 4;
    /// Zero.
    pub const ZF: u64 = 1 << 6;
    /// Sign.
    pub const SF: u64 = 1 << 7;
    /// Trap: a #DB behind each instruction.
    pub const TF: u64 = 1 << 8;
    /// External interrupts come.
    pub const IF: u64 = 1 << 9;
    /// Overflow.
    pub const OF: u64 = 1 << 11;
    /// What arithmetic changes.
    pub const ARITHMETIC: u64 = CF | PF | AF | ZF | SF | OF;
    /// What a program can set by POPF in ring 0: CF PF AF ZF SF TF IF DF OF IOPL NT AC ID.
    pub const SETTABLE: u64 = 0x24_7fd5;
}

/// Bits of EFER (APM2 3.1.7 "Extended Feature Enable Register").
pub mod efer {
    /// SYSCALL and SYSRET are there.
    pub const SCE: u64 = 1;
    /// Long mode is enabled,
    pub const LME: u64 = 1 << 8;
    /// and, with paging, active.
    pub const LMA: u64 = 1 << 10;
    /// Pages can be kept from being executed.
    pub const NXE: u64 = 1 << 11;
}

/// Debug registers (APM2 13.1.1 "Debug Registers").
pub mod debug {
    /// DR6: a single step.
    pub const STEP: u64 = 1 << 14;

    /// What DR6 holds of a value, and what is always set in it.
    #[must_use]
    pub const fn dr6(value: u64) -> u64 {
        value & 0xe00f | 0xffff_0ff0
    }

    /// The same of DR7.
    #[must_use]
    pub const fn dr7(value: u64) -> u64 {
        value & 0xffff_23ff | 0x400
    }
}

/// Bits of physical addresses (CPUID 8000_0008 EAX).
#[must_use]
pub fn physical_bits() -> u32 {
    cpuid(0x8000_0008, 0).eax & 0xff
}

/// Whether the kernel runs with five levels of page tables (CR4.LA57).
#[must_use]
pub fn has_five_levels() -> bool {
    cr4() & control::LA57 != 0
}

/// Vectors of exceptions (APM2 8.2 "Vectors").
pub mod vector {
    /// Debug.
    pub const DB: u64 = 1;
    /// Non-maskable interrupt.
    pub const NMI: u64 = 2;
    /// Breakpoint, INT3.
    pub const BP: u64 = 3;
    /// Overflow, INTO.
    pub const OF: u64 = 4;
    /// Undefined instruction.
    pub const UD: u64 = 6;
    /// Double fault.
    pub const DF: u64 = 8;
    /// General protection.
    pub const GP: u64 = 13;
    /// Page fault.
    pub const PF: u64 = 14;
}

/// Model-specific registers that both vendors have (AMD APM2 appendix A, Intel SDM4).
pub mod msr {
    /// Extended features.
    pub const EFER: u32 = 0xc000_0080;
    /// Page attributes.
    pub const PAT: u32 = 0x277;
    /// Time stamp counter.
    pub const TSC: u32 = 0x10;
    /// SYSENTER's code segment,
    pub const SYSENTER_CS: u32 = 0x174;
    /// its stack
    pub const SYSENTER_ESP: u32 = 0x175;
    /// and its target.
    pub const SYSENTER_EIP: u32 = 0x176;
    /// SYSCALL's segments,
    pub const STAR: u32 = 0xc000_0081;
    /// its target in 64-bit mode,
    pub const LSTAR: u32 = 0xc000_0082;
    /// in compatibility mode,
    pub const CSTAR: u32 = 0xc000_0083;
    /// and the flags it clears.
    pub const SFMASK: u32 = 0xc000_0084;
    /// What RDTSCP tells beside the counter.
    pub const TSC_AUX: u32 = 0xc000_0103;
    /// Base of FS.
    pub const FS_BASE: u32 = 0xc000_0100;
    /// Base of GS,
    pub const GS_BASE: u32 = 0xc000_0101;
    /// and what SWAPGS swaps it for.
    pub const KERNEL_GS_BASE: u32 = 0xc000_0102;
    /// Local APIC base and mode.
    pub const APIC_BASE: u32 = 0x1b;
    /// Local APIC timer deadline.
    pub const TSC_DEADLINE: u32 = 0x6e0;
    /// First register of the local APIC in x2APIC mode.
    pub const X2APIC_FIRST: u32 = 0x800;
    /// Interrupts to itself, likewise.
    pub const X2APIC_SELF: u32 = 0x83f;
    /// Interrupt command register in x2APIC mode.
    pub const X2APIC_ICR: u32 = 0x830;
    /// Local APIC id in x2APIC mode.
    pub const X2APIC_ID: u32 = 0x802;
}

/// Whether an address has all upper bits alike, as four levels of page tables want it.
#[must_use]
pub fn is_canonical(address: u64) -> bool {
    (address.cast_signed() << 16 >> 16).cast_unsigned() == address
}

/// Whether each byte is a memory type that the page attribute table may hold (APM2 7.8.1: 0, 1, 4 to 7).
#[must_use]
pub fn is_pat(value: u64) -> bool {
    value.to_le_bytes().iter().all(|kind| matches!(kind, 0 | 1 | 4..=7))
}

/// The end of a core whose state cannot be trusted even for last words.
pub fn halt_for_ever() -> ! {
    loop {
        // SAFETY: stops the core until the next NMI or reset; nothing of Rust's is touched.
        unsafe { asm!("hlt", options(nomem, nostack)) };
    }
}

/// Whether the local APIC's timer can wait for a time stamp (CPUID 1 ECX bit 24).
#[must_use]
pub fn has_tsc_deadline() -> bool {
    cpuid(1, 0).ecx & 1 << 24 != 0
}

/// The time stamp that the timer waits for, 0 for none. Only where [`has_tsc_deadline`].
#[must_use]
pub fn tsc_deadline() -> u64 {
    // SAFETY: every caller has asked `has_tsc_deadline`.
    unsafe { read_msr(msr::TSC_DEADLINE) }
}

/// Sets it. Only where [`has_tsc_deadline`].
pub fn set_tsc_deadline(value: u64) {
    // SAFETY: as `tsc_deadline`; it arms the guest's own timer.
    unsafe { write_msr(msr::TSC_DEADLINE, value) };
}

/// Resets the machine as a triple fault does on bare metal: by the reset register, then by the keyboard controller.
pub fn reset_machine() -> ! {
    // SAFETY: the machine ends here; nothing of Linux' or root's is needed any more.
    unsafe {
        port_out(0xcf9, 0x02);
        port_out(0xcf9, 0x06);
        port_out(0x64, 0xfe);
    }
    halt_for_ever()
}

/// Test of last words: an undefined instruction.
pub fn fault_undefined() -> ! {
    // SAFETY: it only faults, and root's handler does not come back.
    unsafe { asm!("ud2", options(noreturn, nostack)) }
}

/// Test of last words: an address that root's tables do not map.
pub fn fault_page() -> ! {
    // SAFETY: as `fault_undefined`; the lowest page is never mapped in root.
    unsafe { asm!("mov rax, [8]", "ud2", options(noreturn, nostack)) }
}

/// Test of last words: a stack that grows into its guard page.
pub fn fault_stack() -> ! {
    // SAFETY: as `fault_undefined`; what lies below on this core's stack is never used again.
    unsafe { asm!("2:", "push rax", "jmp 2b", options(noreturn)) }
}
