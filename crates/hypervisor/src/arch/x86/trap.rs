//! Traps in root: faults end in last words, an NMI in a window is counted, a #DB of the guest's breakpoints is ignored.
//!
//! An external interrupt is taken where root opens a window for one: its stub notes the vector and closes the window, so that
//! it stays one. It is the guest's, which ends it at the local APIC.
//!
//! Reading or writing a register for the guest that may not exist is the one fault that is survived: `trap_gp` knows the
//! instructions by their addresses, and they return that they faulted.
//!
//! Where no flag of the processor's holds NMIs back (Intel), one may come anywhere in root: it is counted. Between root's last look
//! at the count and the entry of the guest its stub ends the switch (`switch_begins` to `switch_over`).
//!
//! While code of the user's runs (`called`), an exception is its own fault and ends it (L1); only a machine check is not.
//!
//! Else root runs with interrupts off and (AMD) the global interrupt flag clear, so nothing else can come.
#![expect(unsafe_code, reason = "trap stubs")]

use super::region::{FAULT_STACK_TOP, LOCAL, Local, local};
use super::tables::{CODE, DATA};
use abi::boot::CORE_STRIDE;
use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How often a core looks whether the NMI that it sent itself has come.
const NMI_WAITS: u32 = 1_000_000;

/// A fault of root's own, as the stub pushed it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Fault {
    /// r15 … rax, as pushed.
    pub gprs: [u64; 15],
    /// Exception vector.
    pub vector: u64,
    /// Its error code, or 0.
    pub error: u64,
    /// Where it happened.
    pub rip: u64,
    /// Selector.
    pub cs: u64,
    /// Flags.
    pub rflags: u64,
    /// Stack pointer then.
    pub rsp: u64,
    /// Selector.
    pub ss: u64,
}

global_asm!(
    r#"
    .section .text
    .balign 16
trap_stubs:
    .set vector, 0
    .rept 32
    .balign 16
    .if (0x60227d00 >> vector) & 1 == 0
    .byte 0x6a, 0
    .endif
    .byte 0x6a, vector
    jmp trap_common
    .set vector, vector + 1
    .endr

    .balign 16
trap_common:
    push rax
    mov rax, rsp
    and rax, {mask}
    cmp qword ptr [rax + {called}], 0
    je 2f
    cmp qword ptr [rsp + 8], 18
    jne trap_called
2:
    mov rax, [rsp]
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push rbp
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    cld
    mov rdi, rsp
    and rsp, -16
    call {fault}
    ud2

    /* rax = the region. INT n pushes no error code, so the frame is looked for from the stack's top. */
    .balign 16
trap_called:
    mov rcx, [rsp + 8]
    mov [rax + {vector}], rcx
    lea rsp, [rax + {frame}]
    mov rcx, [rsp]
    mov [rax + {fault_rip}], rcx
    lea rcx, [rip + called_over]
    mov [rsp], rcx
    mov qword ptr [rsp + 8], {code}
    mov qword ptr [rsp + 16], 2
    mov rcx, [rax + {called}]
    mov [rsp + 24], rcx
    mov qword ptr [rsp + 32], {data}
    iretq

    .balign 16
trap_nmi:
    push rax
    mov rax, rsp
    and rax, {mask}
    lock inc qword ptr [rax + {local}]
    cmp dword ptr [rax + {keeps}], 0
    jne trap_nmi_kept
    lea rax, [rip + switch_begins]
    cmp [rsp + 8], rax
    jb 2f
    lea rax, [rip + switch_over]
    cmp [rsp + 8], rax
    jae 2f
    lea rax, [rip + switch_kept]
    mov [rsp + 8], rax
2:
    pop rax
    iretq

    /* Goes back without IRET, so that NMIs stay held back. rcx rax rip cs rflags rsp ss lie on the stack. */
    .balign 16
trap_nmi_kept:
    mov dword ptr [rax + {keeps}], 0
    push rcx
    mov rax, [rsp + 40]
    mov rcx, [rsp + 16]
    mov [rax - 8], rcx
    mov rcx, [rsp + 32]
    mov [rax - 16], rcx
    mov rcx, [rsp + 8]
    mov [rax - 24], rcx
    mov rcx, [rsp]
    lea rsp, [rax - 24]
    pop rax
    popfq
    ret

    .balign 16
trap_interrupts:
    .set vector, 32
    .rept 224
    .balign 16
    .byte 0x68
    .long vector
    jmp trap_interrupt
    .set vector, vector + 1
    .endr

    .balign 16
trap_interrupt:
    push rax
    push rcx
    mov rax, rsp
    and rax, {mask}
    mov rcx, [rsp + 16]
    mov [rax + {interrupt}], rcx
    and qword ptr [rsp + 40], -0x201
    pop rcx
    pop rax
    add rsp, 8
    iretq

    .balign 16
trap_ignore:
    iretq

    .balign 16
trap_gp:
    push rax
    lea rax, [rip + msr_read_here]
    cmp rax, [rsp + 16]
    je 2f
    lea rax, [rip + msr_write_here]
    cmp rax, [rsp + 16]
    je 2f
    lea rax, [rip + extended_write_here]
    cmp rax, [rsp + 16]
    je 2f
    pop rax
    .byte 0x6a, 13
    jmp trap_common
2:
    lea rax, [rip + msr_fault]
    mov [rsp + 16], rax
    pop rax
    add rsp, 8
    iretq

    .balign 16
msr_read:
    mov ecx, edi
msr_read_here:
    rdmsr
    shl rdx, 32
    or rax, rdx
    mov [rsi], rax
    mov eax, 1
    ret
msr_write:
    mov ecx, edi
    mov rax, rsi
    mov rdx, rsi
    shr rdx, 32
msr_write_here:
    wrmsr
    mov eax, 1
    ret
extended_write:
    mov ecx, edi
    mov rax, rsi
    mov rdx, rsi
    shr rdx, 32
extended_write_here:
    xsetbv
    mov eax, 1
    ret
msr_fault:
    xor eax, eax
    ret
    "#,
    fault = sym fault,
    mask = const -(CORE_STRIDE as i64),
    local = const LOCAL,
    keeps = const LOCAL + offset_of!(Local, keeps) as u64,
    called = const LOCAL + offset_of!(Local, called) as u64,
    vector = const LOCAL + offset_of!(Local, vector) as u64,
    fault_rip = const LOCAL + offset_of!(Local, fault_rip) as u64,
    frame = const FAULT_STACK_TOP - 5 * 8,
    code = const CODE,
    data = const DATA,
    interrupt = const LOCAL + offset_of!(Local, interrupt) as u64,
);

unsafe extern "C" {
    static trap_stubs: [[u8; 16]; 32];
    static trap_interrupts: [[u8; 16]; 224];
    static trap_nmi: u8;
    static trap_ignore: u8;
    static trap_gp: u8;
    fn msr_read(register: u32, value: *mut u64) -> u32;
    fn msr_write(register: u32, value: u64) -> u32;
    fn extended_write(register: u32, value: u64) -> u32;
}

/// Reads a model-specific register that may not exist; `None` if that faults.
#[must_use]
pub fn try_read_msr(register: u32) -> Option<u64> {
    let mut value = 0;
    // SAFETY: reading changes nothing, and a fault is an answer (`trap_gp`); the routine keeps to the calling convention.
    (unsafe { msr_read(register, &raw mut value) } != 0).then_some(value)
}

/// Writes a model-specific register for the guest; false if that faults.
///
/// # Safety
/// The guest might write it itself if root did not watch: it is none that root or the switch to the guest depends on.
#[must_use]
pub unsafe fn try_write_msr(register: u32, value: u64) -> bool {
    // SAFETY: by the caller; a fault is an answer, as in `try_read_msr`.
    unsafe { msr_write(register, value) != 0 }
}

/// Writes an extended control register for the guest; false if that faults.
#[must_use]
pub fn try_write_extended(register: u32, value: u64) -> bool {
    // SAFETY: which state components are enabled is the guest's affair: root is soft float. A fault is an answer.
    unsafe { extended_write(register, value) != 0 }
}

/// Holds NMIs back from here to the next IRET: sends this core one, and has its stub go back without. False if none came.
#[must_use]
pub fn hold_nmis() -> bool {
    let local = local();
    local.keeps.store(1, Relaxed);
    super::apic::send_nmi(super::apic::id());
    // It comes within a few instructions; whichever comes first will do.
    for _ in 0..NMI_WAITS {
        if local.keeps.load(Relaxed) == 0 {
            return true;
        }
        super::relax();
    }
    local.keeps.swap(0, Relaxed) == 0
}
/// Address of the stub for a vector below 256.
pub(super) fn stub(vector: usize) -> u64 {
    match vector {
        1 => &raw const trap_ignore as u64,
        2 => &raw const trap_nmi as u64,
        13 => &raw const trap_gp as u64,
        // SAFETY: only the address is computed; the array has as many as there are vectors from 32 on.
        32..=255 => unsafe { (&raw const trap_interrupts).cast::<[u8; 16]>().add(vector - 32) as u64 },
        // SAFETY: likewise; this one is below 32.
        _ => unsafe { (&raw const trap_stubs).cast::<[u8; 16]>().add(vector & 31) as u64 },
    }
}

static HANDLER: AtomicUsize = AtomicUsize::new(0);

/// Says who writes the last words. Once, before any core loads the IDT.
pub fn on_fault(handler: fn(&Fault) -> !) {
    HANDLER.store(handler as usize, Relaxed);
}

extern "C" fn fault(frame: &Fault) -> ! {
    let handler = HANDLER.load(Relaxed);
    if handler == 0 {
        super::halt_for_ever();
    }
    // SAFETY: only `on_fault` stores here, and only functions of this type.
    let handler = unsafe { core::mem::transmute::<usize, fn(&Fault) -> !>(handler) };
    handler(frame)
}

/// The vector of the interrupt that root took in the last window on this core, once.
#[must_use]
pub fn interrupt_taken() -> Option<u8> {
    // No interrupt has a vector below 32.
    u8::try_from(local().interrupt.swap(0, Relaxed)).ok().filter(|vector| *vector >= 32)
}

/// NMIs that root took in windows on this core so far.
#[must_use]
pub fn nmis_taken() -> u64 {
    local().nmis.load(Relaxed)
}
