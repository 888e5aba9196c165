//! Fields of the virtual machine control structure by their encodings (SDM volume 3 appendix B "Field Encoding in VMCS").

/// Execution controls.
pub const VPID: u64 = 0x0000;
pub const IO_BITMAP_A: u64 = 0x2000;
pub const IO_BITMAP_B: u64 = 0x2002;
pub const MSR_BITMAP: u64 = 0x2004;
pub const TSC_OFFSET: u64 = 0x2010;
pub const EPT_POINTER: u64 = 0x201a;
pub const XSS_BITMAP: u64 = 0x202c;
pub const PIN_CONTROLS: u64 = 0x4000;
pub const PRIMARY_CONTROLS: u64 = 0x4002;
pub const EXCEPTIONS: u64 = 0x4004;
pub const PAGE_FAULT_MASK: u64 = 0x4006;
pub const PAGE_FAULT_MATCH: u64 = 0x4008;
pub const CR3_TARGETS: u64 = 0x400a;
pub const EXIT_CONTROLS: u64 = 0x400c;
pub const EXIT_MSR_STORES: u64 = 0x400e;
pub const EXIT_MSR_LOADS: u64 = 0x4010;
pub const ENTRY_CONTROLS: u64 = 0x4012;
pub const ENTRY_MSR_LOADS: u64 = 0x4014;
pub const ENTRY_EVENT: u64 = 0x4016;
pub const ENTRY_ERROR: u64 = 0x4018;
pub const ENTRY_LENGTH: u64 = 0x401a;
pub const SECONDARY_CONTROLS: u64 = 0x401e;
pub const CR0_MASK: u64 = 0x6000;
pub const CR4_MASK: u64 = 0x6002;
pub const CR0_SHADOW: u64 = 0x6004;
pub const CR4_SHADOW: u64 = 0x6006;

/// What an exit says.
pub const GUEST_PHYSICAL: u64 = 0x2400;
pub const INSTRUCTION_ERROR: u64 = 0x4400;
pub const EXIT_REASON: u64 = 0x4402;
pub const EXIT_EVENT: u64 = 0x4404;
pub const EXIT_ERROR: u64 = 0x4406;
pub const VECTORING: u64 = 0x4408;
pub const VECTORING_ERROR: u64 = 0x440a;
pub const EXIT_LENGTH: u64 = 0x440c;
pub const QUALIFICATION: u64 = 0x6400;

/// The guest. A segment's selector is at 0x800, its limit at 0x4800, its rights at 0x4814, its base at 0x6806, and two
/// times its number behind.
pub const GUEST_SELECTOR: u64 = 0x0800;
pub const GUEST_LIMIT: u64 = 0x4800;
pub const GUEST_RIGHTS: u64 = 0x4814;
pub const GUEST_BASE: u64 = 0x6806;
pub const LINK_POINTER: u64 = 0x2800;
pub const GUEST_DEBUGCTL: u64 = 0x2802;
pub const GUEST_PAT: u64 = 0x2804;
pub const GUEST_EFER: u64 = 0x2806;
pub const GUEST_GDT_LIMIT: u64 = 0x4810;
pub const GUEST_IDT_LIMIT: u64 = 0x4812;
pub const INTERRUPTIBILITY: u64 = 0x4824;
pub const ACTIVITY: u64 = 0x4826;
pub const GUEST_SYSENTER_CS: u64 = 0x482a;
pub const GUEST_CR0: u64 = 0x6800;
pub const GUEST_CR3: u64 = 0x6802;
pub const GUEST_CR4: u64 = 0x6804;
pub const GUEST_GDT_BASE: u64 = 0x6816;
pub const GUEST_IDT_BASE: u64 = 0x6818;
pub const GUEST_DR7: u64 = 0x681a;
pub const GUEST_RSP: u64 = 0x681c;
pub const GUEST_RIP: u64 = 0x681e;
pub const GUEST_RFLAGS: u64 = 0x6820;
pub const PENDING_DEBUG: u64 = 0x6822;
pub const GUEST_SYSENTER_ESP: u64 = 0x6824;
pub const GUEST_SYSENTER_EIP: u64 = 0x6826;

/// Segments of the guest by number, as their fields are ordered.
pub mod segment {
    pub const ES: u64 = 0;
    pub const CS: u64 = 1;
    pub const SS: u64 = 2;
    pub const DS: u64 = 3;
    pub const FS: u64 = 4;
    pub const GS: u64 = 5;
    pub const LDTR: u64 = 6;
    pub const TR: u64 = 7;
}

/// Rights of a segment (SDM3 table 25-2).
pub mod rights {
    /// Of data: it can be written.
    pub const WRITABLE: u64 = 1 << 1;
    /// Code.
    pub const CODE: u64 = 1 << 3;
    pub const PRESENT: u64 = 1 << 7;
    /// 64-bit code.
    pub const LONG: u64 = 1 << 13;
    /// 32-bit code.
    pub const BIG: u64 = 1 << 14;
    pub const UNUSABLE: u64 = 1 << 16;
}

/// Root's own state.
pub const HOST_ES: u64 = 0x0c00;
pub const HOST_CS: u64 = 0x0c02;
pub const HOST_SS: u64 = 0x0c04;
pub const HOST_DS: u64 = 0x0c06;
pub const HOST_FS: u64 = 0x0c08;
pub const HOST_GS: u64 = 0x0c0a;
pub const HOST_TR: u64 = 0x0c0c;
pub const HOST_PAT: u64 = 0x2c00;
pub const HOST_EFER: u64 = 0x2c02;
pub const HOST_SYSENTER_CS: u64 = 0x4c00;
pub const HOST_CR0: u64 = 0x6c00;
pub const HOST_CR3: u64 = 0x6c02;
pub const HOST_CR4: u64 = 0x6c04;
pub const HOST_FS_BASE: u64 = 0x6c06;
pub const HOST_GS_BASE: u64 = 0x6c08;
pub const HOST_TR_BASE: u64 = 0x6c0a;
pub const HOST_GDT_BASE: u64 = 0x6c0c;
pub const HOST_IDT_BASE: u64 = 0x6c0e;
pub const HOST_SYSENTER_ESP: u64 = 0x6c10;
pub const HOST_SYSENTER_EIP: u64 = 0x6c12;
pub const HOST_RSP: u64 = 0x6c14;
pub const HOST_RIP: u64 = 0x6c16;

/// Pin-based controls (SDM3 25.6.1).
pub mod pin {
    pub const INTERRUPTS: u32 = 1;
    pub const NMI: u32 = 1 << 3;
    pub const VIRTUAL_NMI: u32 = 1 << 5;
}

/// Primary processor-based controls (SDM3 25.6.2).
pub mod primary {
    pub const INTERRUPT_WINDOW: u32 = 1 << 2;
    pub const TSC_OFFSET: u32 = 1 << 3;
    pub const RDTSC: u32 = 1 << 12;
    pub const DEBUG_REGISTERS: u32 = 1 << 23;
    pub const NMI_WINDOW: u32 = 1 << 22;
    pub const IO_BITMAPS: u32 = 1 << 25;
    pub const TRAP: u32 = 1 << 27;
    pub const MSR_BITMAPS: u32 = 1 << 28;
    pub const SECONDARY: u32 = 1 << 31;
}

/// Secondary processor-based controls (SDM3 25.6.2).
pub mod secondary {
    pub const EPT: u32 = 1 << 1;
    pub const RDTSCP: u32 = 1 << 3;
    pub const VPID: u32 = 1 << 5;
    pub const INVPCID: u32 = 1 << 12;
    pub const XSAVES: u32 = 1 << 20;
    pub const WAIT: u32 = 1 << 26;
}

/// Controls of the exit (SDM3 25.7.1).
pub mod leaving {
    pub const SAVE_DEBUG: u32 = 1 << 2;
    pub const LONG_HOST: u32 = 1 << 9;
    pub const SAVE_PAT: u32 = 1 << 18;
    pub const LOAD_PAT: u32 = 1 << 19;
    pub const SAVE_EFER: u32 = 1 << 20;
    pub const LOAD_EFER: u32 = 1 << 21;
}

/// Controls of the entry (SDM3 25.8.1).
pub mod entering {
    pub const LOAD_DEBUG: u32 = 1 << 2;
    pub const LONG_GUEST: u32 = 1 << 9;
    pub const LOAD_PAT: u32 = 1 << 14;
    pub const LOAD_EFER: u32 = 1 << 15;
}

/// Basic exit reasons (SDM volume 3 appendix C).
pub mod reason {
    pub const EXCEPTION_OR_NMI: u32 = 0;
    pub const INTERRUPT: u32 = 1;
    pub const TRIPLE_FAULT: u32 = 2;
    pub const INTERRUPT_WINDOW: u32 = 7;
    pub const NMI_WINDOW: u32 = 8;
    pub const CPUID: u32 = 10;
    pub const GETSEC: u32 = 11;
    pub const INVD: u32 = 13;
    pub const RDTSC: u32 = 16;
    pub const VMCALL: u32 = 18;
    pub const VMCLEAR: u32 = 19;
    pub const VMXON: u32 = 27;
    pub const CONTROL_REGISTER: u32 = 28;
    pub const DEBUG_REGISTER: u32 = 29;
    pub const PORT: u32 = 30;
    pub const RDMSR: u32 = 31;
    pub const WRMSR: u32 = 32;
    pub const TRAP: u32 = 37;
    pub const EPT_VIOLATION: u32 = 48;
    pub const EPT_MISCONFIGURATION: u32 = 49;
    pub const INVEPT: u32 = 50;
    pub const RDTSCP: u32 = 51;
    pub const INVVPID: u32 = 53;
    pub const XSETBV: u32 = 55;
    /// The entry failed: the reason says at what.
    pub const ENTRY_FAILED: u32 = 1 << 31;
}
