//! Events as requests name them: kinds, stages, flags, changes.

/// CPUID; option: the leaf.
pub const CPUID: u32 = 1;
/// RDMSR; option: the register.
pub const MSR_READ: u32 = 2;
/// WRMSR; option: the register.
pub const MSR_WRITE: u32 = 3;
/// RDTSC and RDTSCP; no option.
pub const TSC: u32 = 4;
/// A hypercall that is none of root's; no option.
pub const HYPERCALL: u32 = 5;
/// IN and INS; option: the port.
pub const PORT_IN: u32 = 6;
/// OUT and OUTS; option: the port.
pub const PORT_OUT: u32 = 7;
/// An exception; option: its vector, up to 0x1f.
pub const EXCEPTION: u32 = 8;
/// An external interrupt; option: its vector, from 0x20 on.
pub const INTERRUPT: u32 = 9;
/// A system call; option: its number.
pub const SYSCALL: u32 = 10;
/// The way back from one; no option.
pub const SYSRET: u32 = 11;
/// A write to a control register; option: which, 0 or 4, and in the upper half bits of which one must change, 0 for any write.
pub const CONTROL_WRITE: u32 = 12;
/// An access to a debug register; no option.
pub const DEBUG_REGISTER: u32 = 13;
/// An access to a range of memory; registered by [`super::monitor::Ask`].
pub const MONITOR: u32 = 14;
/// An instruction at a hooked address; registered by [`super::epthook::Ask`].
pub const EPTHOOK: u32 = 15;
/// A detour; registered by [`super::epthook2::Ask`].
pub const EPTHOOK2: u32 = 16;

/// [`super::EventAsk::stage`]: before the instruction is emulated.
pub const PRE: u32 = 1;
/// After it.
pub const POST: u32 = 2;

/// [`super::EventAsk::flags`]: halts the machine when it fires.
pub const BREAK: u32 = 1;
/// The instruction has no effect; scripts can change that.
pub const SHORT_CIRCUIT: u32 = 2;
/// [`super::EventAsk::option`] is a filter.
pub const OPTION: u32 = 4;
/// What it says is gathered in root and delivered in one go (`imm no`).
pub const GATHER: u32 = 8;
/// The machine code runs before the program; only with both.
pub const CODE_FIRST: u32 = 16;
/// A hook shall be a breakpoint that can be read, for the sake of speed; see [`super::epthook`].
pub const FAST: u32 = 32;

/// [`EPTHOOK`] as a breakpoint: it halts and does nothing else, has neither program nor buffer, and takes a unit of
/// [`crate::kind::Kind::Breakpoint`] instead of those of an event and of a hook.
pub const BREAKPOINT: u32 = 64;
/// [`super::EventAsk::pid`] is the number of a thread.
pub const BY_THREAD: u32 = 128;
/// A breakpoint of one command's, that is cleared with it: by root, if whoever typed that goes away before ([`super::op::ATTEND`]), or
/// another one takes over the link.
pub const TEMPORARY: u32 = 256;

/// The instruction that returns, and what fills the words behind it.
pub const CODE_RETURN: u8 = 0xc3;
/// See [`CODE_RETURN`].
pub const CODE_FILL: u8 = 0xcc;

/// Words in which so many bytes of machine code are staged: the bytes, [`CODE_RETURN`], and [`CODE_FILL`] up to the end of
/// the last word; 0 if there are none.
#[must_use]
pub const fn code_words(bytes: u32) -> u32 {
    if bytes == 0 { 0 } else { bytes / 8 + 1 }
}

/// [`super::EventRow::last_fault`]: the condition's machine code faulted.
pub const CONDITION_FAULT: u32 = 7;
/// The machine code that acts did.
pub const CODE_FAULT: u32 = 8;
/// The offset of a fault that did not happen within the code itself.
pub const CODE_OUTSIDE: u32 = 0xff_ffff;

/// [`super::EventAsk::core`] and [`super::EventAsk::pid`]: all. [`super::EventChange::id`]: all but breakpoints.
pub const ALL: u32 = u32::MAX;
/// [`super::EventChange::id`]: all breakpoints.
pub const ALL_BREAKPOINTS: u32 = u32::MAX - 1;
/// ... all that are [`TEMPORARY`].
pub const ALL_TEMPORARY: u32 = u32::MAX - 2;

/// [`super::EventChange::what`]: it fires.
pub const ENABLE: u32 = 1;
/// It does not fire and stays.
pub const DISABLE: u32 = 2;
/// It goes, and its units are free.
pub const CLEAR: u32 = 3;

/// [`super::EventRow::enabled`]: it fires.
pub const FIRES: u32 = 1;
/// It is a detour, and fires by a breakpoint until Linux has run for a while.
pub const WAITS: u32 = 2;
