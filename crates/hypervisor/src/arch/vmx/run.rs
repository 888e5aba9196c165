//! The world switch: loads the guest's general registers, runs it, and takes them back.
//!
//! An NMI that comes while root works is counted by root's own stub. One that comes between the last look at that count and the
//! entry would stay there until the next exit: so the stub, which knows these instructions by their addresses, has the switch
//! end without an entry.
#![expect(unsafe_code, reason = "VMLAUNCH and VMRESUME")]

use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::AtomicU64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The guest's general registers in the order of instructions; rsp is in the control structure.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Gprs {
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rbx: u64,
    no_rsp: u64,
    pub rbp: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
}
const _: () = assert!(size_of::<Gprs>() == 128 && offset_of!(Gprs, r8) == 64);

impl Gprs {
    /// One by its number in instructions; not rsp. The low four bits count.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, number: usize) -> u64 {
        let words: &[u64; 16] = zerocopy::transmute_ref!(self);
        words[number & 15]
    }

    /// Sets one.
    pub fn set(&mut self, number: usize, value: u64) {
        let words: &mut [u64; 16] = zerocopy::transmute_mut!(self);
        words[number & 15] = value;
    }
}

/// How a switch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// By an exit.
    Exit,
    /// By an NMI, before the guest was entered.
    Nmi,
    /// The processor refused the entry.
    Refused,
}

// rdi = registers, esi = not 0 if the structure was launched before, rdx = where NMIs are counted, rcx = how many are known.
// From `switch_begins` to `switch_over` nothing of root's is lost: registers may hold the guest's already, the stack is as it was.
global_asm!(
    r#"
    .section .text
    .balign 16
vmx_switch:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push rdi
    mov eax, {host_rsp}
    vmwrite rax, rsp
    .global switch_begins
switch_begins:
    cmp [rdx], rcx
    jne switch_kept
    test esi, esi
    mov rax, [rdi]
    mov rcx, [rdi + 8]
    mov rdx, [rdi + 16]
    mov rbx, [rdi + 24]
    mov rbp, [rdi + 40]
    mov rsi, [rdi + 48]
    mov r8, [rdi + 64]
    mov r9, [rdi + 72]
    mov r10, [rdi + 80]
    mov r11, [rdi + 88]
    mov r12, [rdi + 96]
    mov r13, [rdi + 104]
    mov r14, [rdi + 112]
    mov r15, [rdi + 120]
    mov rdi, [rdi + 56]
    jz 2f
    vmresume
    jmp switch_over
2:
    vmlaunch
    .global switch_over
switch_over:
    mov eax, 2
    jmp 3f
    .global switch_kept
switch_kept:
    mov eax, 1
    jmp 3f

    .balign 16
vmx_exit:
    xchg rdi, [rsp]
    mov [rdi], rax
    mov [rdi + 8], rcx
    mov [rdi + 16], rdx
    mov [rdi + 24], rbx
    mov [rdi + 40], rbp
    mov [rdi + 48], rsi
    mov [rdi + 64], r8
    mov [rdi + 72], r9
    mov [rdi + 80], r10
    mov [rdi + 88], r11
    mov [rdi + 96], r12
    mov [rdi + 104], r13
    mov [rdi + 112], r14
    mov [rdi + 120], r15
    mov rax, [rsp]
    mov [rdi + 56], rax
    xor eax, eax
3:
    add rsp, 8
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

/* NMIs are held back behind one until an IRET: this one returns to where it was called. */
    .balign 16
vmx_open_nmis:
    mov rax, rsp
    mov ecx, ss
    push rcx
    push rax
    pushfq
    mov ecx, cs
    push rcx
    lea rcx, [rip + 4f]
    push rcx
    iretq
4:
    ret
    "#,
    host_rsp = const super::field::HOST_RSP,
);

unsafe extern "C" {
    static vmx_exit: u8;
    fn vmx_switch(gprs: *mut Gprs, launched: u32, count: *mut u64, known: u64) -> u32;
    fn vmx_open_nmis();
}

/// Where an exit comes out.
#[must_use]
pub fn exit_at() -> u64 {
    &raw const vmx_exit as u64
}

/// Runs the guest once. `known` are the NMIs of `count` that somebody has looked at.
///
/// # Safety
/// A structure is current that holds a state of this core's Linux and of root, and its controls and tables keep the guest from
/// everything that is root's.
#[inline(always)]
pub unsafe fn run(gprs: &mut Gprs, launched: bool, count: &AtomicU64, known: u64) -> Ran {
    // SAFETY: by the caller; the routine keeps to the calling convention, and root is soft float, so the guest's vector
    // registers stay where they are. The count is only read.
    match unsafe { vmx_switch(gprs, launched.into(), count.as_ptr(), known) } {
        0 => Ran::Exit,
        1 => Ran::Nmi,
        _ => Ran::Refused,
    }
}

/// Lets NMIs come again, which the last exit, by an NMI, holds back.
///
/// # Safety
/// Root's IDT is loaded.
pub unsafe fn open_nmis() {
    // SAFETY: by the caller; the stack below is free (no red zone), selectors are those that are loaded.
    unsafe { vmx_open_nmis() };
}
