//! The world switch: loads the guest's general registers, runs it, and takes them back.
#![expect(unsafe_code, reason = "VMRUN")]

use core::arch::asm;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The guest's general registers in the order of instructions, but rax and rsp, which the control block holds; and what the
/// switch back needs.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Gprs {
    no_rax: u64,
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
    /// Physical address of the control block of root's own state: what is loaded when the guest has run.
    host: u64,
}
const _: () = assert!(size_of::<Gprs>() == 136 && core::mem::offset_of!(Gprs, r8) == 64);

impl Gprs {
    /// All zeros.
    #[must_use]
    pub fn new(host: u64) -> Self {
        Gprs { host, ..Gprs::default() }
    }

    /// One by its number in instructions; neither rax nor rsp. The low four bits count.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, number: usize) -> u64 {
        let words: &[u64; 17] = zerocopy::transmute_ref!(self);
        words[number & 15]
    }

    /// Sets one.
    pub fn set(&mut self, number: usize, value: u64) {
        let words: &mut [u64; 17] = zerocopy::transmute_mut!(self);
        words[number & 15] = value;
    }
}

/// Runs the guest once.
///
/// # Safety
/// `guest` and that of `gprs` are the physical addresses of control blocks that nobody refers to meanwhile; `guest` holds a
/// state of this core's Linux, and its intercepts and nested tables keep it from everything that is root's.
#[inline(always)]
pub unsafe fn run(gprs: &mut Gprs, guest: u64) {
    // Here and not in a routine, so that the compiler keeps nothing in registers across it and nothing is saved in vain.
    // Root is soft float, so the guest's vector registers stay where they are. VMLOAD and VMSAVE move FS, GS, TR, LDTR and
    // the system-call registers.
    //
    // SAFETY: by the caller. rbx and rbp, which cannot be named, are saved here, all others are declared; the processor
    // saves and loads root's own rax, rsp, rip and flags. The stack is as it was behind it.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "push rdi",
            "vmload rax",
            "mov rcx, [rdi + 8]",
            "mov rdx, [rdi + 16]",
            "mov rbx, [rdi + 24]",
            "mov rbp, [rdi + 40]",
            "mov rsi, [rdi + 48]",
            "mov r8, [rdi + 64]",
            "mov r9, [rdi + 72]",
            "mov r10, [rdi + 80]",
            "mov r11, [rdi + 88]",
            "mov r12, [rdi + 96]",
            "mov r13, [rdi + 104]",
            "mov r14, [rdi + 112]",
            "mov r15, [rdi + 120]",
            "mov rdi, [rdi + 56]",
            "vmrun rax",
            "vmsave rax",
            "pop rax",
            "mov [rax + 8], rcx",
            "mov [rax + 16], rdx",
            "mov [rax + 24], rbx",
            "mov [rax + 40], rbp",
            "mov [rax + 48], rsi",
            "mov [rax + 56], rdi",
            "mov [rax + 64], r8",
            "mov [rax + 72], r9",
            "mov [rax + 80], r10",
            "mov [rax + 88], r11",
            "mov [rax + 96], r12",
            "mov [rax + 104], r13",
            "mov [rax + 112], r14",
            "mov [rax + 120], r15",
            "mov rax, [rax + 128]",
            "vmload rax",
            "pop rbp",
            "pop rbx",
            inout("rax") guest => _,
            inout("rdi") core::ptr::from_mut(gprs) => _,
            out("rdx") _, out("rcx") _, out("rsi") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
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

/// Lets a pending interrupt come now, to root's own stub, and an NMI with it. At most one interrupt comes: the stub closes
/// the window.
///
/// # Safety
/// As [`window`].
pub unsafe fn interrupt_window() {
    // SAFETY: by the caller; the stubs note what came and change no register. The stack below is free (no red zone).
    unsafe { asm!("stgi", "sti", "nop", "nop", "cli", "clgi") };
}
