//! Status codes: the documentation's numbers, and ours above them.
//!
//! Numbers of the documentation keep their meaning. Where it has none for what happened (it has one for success alone
//! in the case of `prealloc`), ours begin at 0xc0001000, which HyperDbg does not use.

use crate::kind::Kind;

/// The request was done, all of it (documentation: `DEBUGGER_OPERATION_WAS_SUCCESSFUL`).
pub const SUCCESS: u32 = 0xffff_ffff;

/// `prealloc`: the type is none of the documented ones.
pub const PREALLOC_TYPE_UNKNOWN: u32 = 0xc000_0028;
/// Nothing is mapped at this address.
pub const ADDRESS_INVALID: u32 = 0xc000_0005;
/// There is no such process.
pub const PID_INVALID: u32 = 0xc000_001e;
/// There is no RAM at this physical address.
pub const PHYSICAL_INVALID: u32 = 0xc000_0052;
/// There is no such core.
pub const CORE_INVALID: u32 = 0xc000_0006;
/// The `test` query is not known.
pub const TEST_UNKNOWN: u32 = 0xc000_003b;
/// Every core must be halted for this, and they are not.
pub const NOT_HALTED: u32 = 0xc000_0050;

/// The process is under interception already.
pub const ATTACHED_ALREADY: u32 = 0xc000_0032;
/// It is not.
pub const NOT_ATTACHED: u32 = 0xc000_0033;
/// It has no such thread.
pub const NO_SUCH_THREAD: u32 = 0xc000_0035;
/// No breakpoint is left.
pub const NO_BREAKPOINT: u32 = 0xc000_0018;
/// No page is left for a hook.
pub const NO_HOOK_PAGE: u32 = 0xc000_0023;
/// An exception's vector is larger than 1f.
pub const EXCEPTION_INVALID: u32 = 0xc000_0007;
/// An external interrupt's vector is below 20 or above ff.
pub const INTERRUPT_INVALID: u32 = 0xc000_0008;
/// There is no event with this id.
pub const NO_SUCH_EVENT: u32 = 0xc000_0000;
/// An event of this kind does not exist here, or not with these options.
pub const EVENT_INVALID: u32 = 0xc000_0003;
/// The condition's machine code is larger than a big event holds.
pub const CONDITION_TOO_LARGE: u32 = 0xc000_0041;
/// Program, condition and code are together larger than a big event holds (HyperDbg: the action).
pub const PROGRAM_TOO_LARGE: u32 = 0xc000_0047;
/// The safe buffer is larger than a big one.
pub const BUFFER_TOO_LARGE: u32 = 0xc000_004b;
/// A short-circuiting event must fire before the instruction.
pub const SHORT_CIRCUIT_POST: u32 = 0xc000_003a;
/// No regular event is left.
pub const NO_REGULAR_EVENT: u32 = 0xc000_0042;
/// No big event is left.
pub const NO_BIG_EVENT: u32 = 0xc000_0043;
/// No regular safe buffer is left.
pub const NO_REGULAR_SAFE_BUFFER: u32 = 0xc000_0049;
/// No big safe buffer is left.
pub const NO_BIG_SAFE_BUFFER: u32 = 0xc000_004a;

/// Fewer units of a kind are free than were asked for: the number that the documentation has for it.
#[must_use]
pub const fn used_up(kind: Kind) -> u32 {
    match kind {
        Kind::Monitor | Kind::Epthook | Kind::Epthook2 => NO_HOOK_PAGE,
        Kind::ThreadInterception => USED_UP,
        Kind::RegularEvent => NO_REGULAR_EVENT,
        Kind::BigEvent => NO_BIG_EVENT,
        Kind::RegularSafeBuffer => NO_REGULAR_SAFE_BUFFER,
        Kind::BigSafeBuffer => NO_BIG_SAFE_BUFFER,
        Kind::Breakpoint => NO_BREAKPOINT,
    }
}

/// The request is shorter or longer than its kind, or a field that must be zero is not.
pub const REQUEST_MALFORMED: u32 = 0xc000_1000;
/// Root does not know this request: prompt and module are of different versions.
pub const REQUEST_UNKNOWN: u32 = 0xc000_1001;
/// The count is zero: nothing was asked for.
pub const COUNT_ZERO: u32 = 0xc000_1010;
/// The count exceeds what this machine can ever hold.
pub const COUNT_TOO_LARGE: u32 = 0xc000_1011;
/// The bank is short of frames and Linux has to be asked; [`crate::request::PreallocAnswer::short`] says how many.
pub const BANK_SHORT: u32 = 0xc000_1012;
/// Linux was asked for frames and could not give them all; nothing was reserved.
pub const KERNEL_OUT_OF_MEMORY: u32 = 0xc000_1013;
/// Nothing is left of a kind that the documentation has no number for (thread-interception).
pub const USED_UP: u32 = 0xc000_1014;
/// Root does not accept the program: [`crate::request::EventAnswer::rejected`] says why.
pub const PROGRAM_REJECTED: u32 = 0xc000_1040;
/// As many events as there can be.
pub const EVENTS_FULL: u32 = 0xc000_1041;
/// Another prompt made globals that this one does not know, or another load is meant: it asks for their names again.
pub const GLOBALS_CHANGED: u32 = 0xc000_1042;
/// Another order is not carried out yet.
pub const ORDER_PENDING: u32 = 0xc000_1070;
/// The thread is not held.
pub const THREAD_NOT_HELD: u32 = 0xc000_1071;
/// A thread of the kernel's own, or the one that asks, is never held.
pub const THREAD_EXEMPT: u32 = 0xc000_1072;
/// The kernel lacks what threads are held by: its tracepoints, or notice of a return to a program.
pub const THREADS_UNSUPPORTED: u32 = 0xc000_1073;
/// This memory is root's own.
pub const MEMORY_OF_ROOT: u32 = 0xc000_1050;
/// No place is left for the code of a detour.
pub const NO_PLACE: u32 = 0xc000_1060;
/// The code there is not, or no longer, what the request takes it for.
pub const CODE_CHANGED: u32 = 0xc000_1061;
/// What stands for the code there cannot be reached from where it could lie, or is in two pages.
pub const NOT_MOVABLE: u32 = 0xc000_1062;
/// A hook or a detour is there already.
pub const OVERLAPS: u32 = 0xc000_1063;
/// A test asked for this refusal.
pub const INJECTED: u32 = 0xc000_1015;
/// Root has left, and its ledger does not balance or a unit still has an owner: a fault of root's own.
pub const UNBALANCED: u32 = 0xc000_1016;
/// The hypervisor is not loaded on this machine.
pub const NOT_LOADED: u32 = 0xc000_1020;
/// This request makes sense only on the link (Debugger Mode).
pub const LINK_ONLY: u32 = 0xc000_1021;
/// A halted core did not answer within the limit.
pub const CORE_SILENT: u32 = 0xc000_1022;
/// The processor has no such extension (SVM or VT-x), or not all that root needs of it; the detail says what (`LACK_*`).
pub const CPU_LACKS: u32 = 0xc000_1030;
/// The firmware disabled the extension (AMD: VM_CR.SVMDIS; Intel: IA32_FEATURE_CONTROL is locked without it).
pub const CPU_LOCKED: u32 = 0xc000_1031;
/// Another hypervisor uses the extension already (AMD: EFER.SVME was set; Intel: CR4.VMXE).
pub const CPU_IN_USE: u32 = 0xc000_1032;
/// This state of the kernel is not supported; the detail says which (`LACK_*`).
pub const KERNEL_UNSUPPORTED: u32 = 0xc000_1033;
/// The memory handed in at load does not suffice for root itself.
pub const BOOT_MEMORY: u32 = 0xc000_1034;
/// The link was asked for and no UART answers at COM2.
pub const NO_UART: u32 = 0xc000_1037;
/// Cores of an earlier load have not all left root yet, after a fault of its own.
pub const STILL_LEAVING: u32 = 0xc000_1038;
/// Module and image are of different revisions.
pub const BOOT_VERSION: u32 = 0xc000_1036;

/// Detail of a refusal at load: what is missing, as a bit. Several may be set.
pub mod lack {
    /// CPUID 8000_0001 ECX bit 2, "SVM".
    pub const SVM: u32 = 1 << 0;
    /// CPUID 8000_000A EDX bit 0, "NP" (nested paging).
    pub const NESTED_PAGING: u32 = 1 << 1;
    /// CPUID 8000_0001 EDX bit 26, 1 GiB pages.
    pub const GIB_PAGES: u32 = 1 << 2;
    /// The kernel runs with five-level page tables (CR4.LA57), which root does not.
    pub const LA57: u32 = 1 << 3;
    /// The kernel encrypts its memory (SME).
    pub const SME: u32 = 1 << 4;
    /// This processor is neither AMD's nor Intel's.
    pub const VENDOR: u32 = 1 << 5;
    /// The machine has more cores than [`crate::boot::CORES_MAX`].
    pub const CORES: u32 = 1 << 6;
    /// Its memory ends beyond [`crate::boot::DIRECT_BYTES_MAX`].
    pub const RAM: u32 = 1 << 7;
    /// CPUID 1 ECX bit 5, "VMX".
    pub const VMX: u32 = 1 << 8;
    /// Secondary control "enable EPT", or EPT's walk of four levels or its tables in write-back memory.
    pub const EPT: u32 = 1 << 9;
    /// Processor-based control "monitor trap flag".
    pub const MTF: u32 = 1 << 10;
    /// Pin-based control "virtual NMIs".
    pub const VIRTUAL_NMIS: u32 = 1 << 11;
    /// IA32_VMX_BASIC bit 55: the true controls.
    pub const TRUE_CONTROLS: u32 = 1 << 12;
    /// The entry's and the exit's controls that load and save EFER.
    pub const LOAD_EFER: u32 = 1 << 13;
    /// INVEPT of a single context and of all.
    pub const INVEPT: u32 = 1 << 14;
    /// EPT pages of 2 MiB.
    pub const EPT_2M: u32 = 1 << 15;
    /// Processor-based control "use MSR bitmaps".
    pub const MSR_BITMAPS: u32 = 1 << 16;
}
