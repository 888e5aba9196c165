//! The world switch: loads the guest's general registers, runs it, and takes them back.
#![expect(unsafe_code, reason = "VMRUN")]

use core::arch::{asm, global_asm};

/// The guest's general registers but rax and rsp, which the control block holds.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Gprs {
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
}
const _: () = assert!(size_of::<Gprs>() == 112);

// rdi = Gprs, rsi = guest control block, rdx = host control block (physical). Root is soft float, so the guest's vector
// registers stay where they are. VMLOAD and VMSAVE move FS, GS, TR, LDTR and the system-call registers.
global_asm!(
    r#"
    .section .text
    .balign 64
svm_run:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push rdi
    push rdx
    mov rax, rsi
    vmload rax
    mov rbx, [rdi]
    mov rcx, [rdi + 8]
    mov rdx, [rdi + 16]
    mov rsi, [rdi + 24]
    mov rbp, [rdi + 40]
    mov r8, [rdi + 48]
    mov r9, [rdi + 56]
    mov r10, [rdi + 64]
    mov r11, [rdi + 72]
    mov r12, [rdi + 80]
    mov r13, [rdi + 88]
    mov r14, [rdi + 96]
    mov r15, [rdi + 104]
    mov rdi, [rdi + 32]
    vmrun rax
    vmsave rax
    pop rax
    vmload rax
    mov rax, [rsp]
    mov [rax], rbx
    mov [rax + 8], rcx
    mov [rax + 16], rdx
    mov [rax + 24], rsi
    mov [rax + 32], rdi
    mov [rax + 40], rbp
    mov [rax + 48], r8
    mov [rax + 56], r9
    mov [rax + 64], r10
    mov [rax + 72], r11
    mov [rax + 80], r12
    mov [rax + 88], r13
    mov [rax + 96], r14
    mov [rax + 104], r15
    pop rdi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
    "#
);

unsafe extern "C" {
    fn svm_run(gprs: *mut Gprs, guest: u64, host: u64);
}

/// Runs the guest once.
///
/// # Safety
/// `guest` and `host` are the physical addresses of control blocks that nobody refers to meanwhile; `guest` holds a state
/// of this core's Linux, and its intercepts and nested tables keep it from everything that is root's.
pub unsafe fn run(gprs: &mut Gprs, guest: u64, host: u64) {
    // SAFETY: by the caller; the routine keeps the registers that the calling convention asks for.
    unsafe { svm_run(gprs, guest, host) };
}

/// Stores FS, GS, TR, LDTR and the system-call registers as they are now.
///
/// # Safety
/// `block` is the physical address of a control block that nobody refers to meanwhile; SVM is on.
pub unsafe fn save(block: u64) {
    // SAFETY: by the caller.
    unsafe { asm!("vmsave rax", in("rax") block, options(nostack, preserves_flags)) };
}

/// Loads them.
///
/// # Safety
/// As [`save`]; and root needs none of them any more, or they are root's.
pub unsafe fn load(block: u64) {
    // SAFETY: by the caller.
    unsafe { asm!("vmload rax", in("rax") block, options(nostack, preserves_flags)) };
}

/// Clears the global interrupt flag: from here nothing interrupts root, not even an NMI.
///
/// # Safety
/// SVM is on.
pub unsafe fn close() {
    // SAFETY: by the caller.
    unsafe { asm!("clgi", options(nomem, nostack, preserves_flags)) };
}

/// Lets a pending NMI come now, to root's own stub.
///
/// # Safety
/// SVM is on, the global interrupt flag is clear, root's IDT is loaded, and interrupts are off.
pub unsafe fn window() {
    // SAFETY: by the caller; the stub counts the NMI and changes no register.
    unsafe { asm!("stgi", "nop", "nop", "clgi", options(nostack, preserves_flags)) };
}
