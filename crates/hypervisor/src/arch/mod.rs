//! The floor: the whole of what the rooms above may ask of a processor.
//!
//! One image holds every back end; which one runs is decided once, by CPUID. Exits are data, decided above.

#[cfg(test)]
pub mod model;
pub mod nested;
pub mod shared;
pub mod svm;
pub mod vmx;
pub mod x86;

use abi::boot::{self, Block, PLACE_COPY};
use abi::request::Registers;
use x86::direct::Frame;

/// Why a core came out of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// CPUID.
    Cpuid,
    /// The instruction for hypercalls, from this privilege level.
    Hypercall {
        /// 0 to 3.
        cpl: u8,
    },
    /// A register that root watches or owns is read.
    MsrRead {
        /// Its number.
        msr: u32,
    },
    /// ... or written, with the value in edx:eax.
    MsrWrite {
        /// Its number.
        msr: u32,
    },
    /// A port that root owns or watches.
    Port(Port),
    /// An NMI arrived; it is still pending.
    Nmi,
    /// An instruction of the extension that root itself uses.
    Extension,
    /// An access that the nested tables do not allow.
    Nested(Nested),
    /// INT3 or #BP, while watched.
    Breakpoint,
    /// INT n, while watched.
    SoftInterrupt,
    /// #DB, while watched.
    Debug,
    /// RDTSC or RDTSCP, while watched.
    Tsc {
        /// RDTSCP: the core's number is asked for, too.
        with_core: bool,
    },
    /// Another exception, while watched.
    Exception {
        /// Its vector, below 32.
        vector: u8,
    },
    /// SYSCALL, while watched.
    SystemCall {
        /// Its bytes.
        length: u8,
    },
    /// SYSRET, while watched.
    SystemReturn {
        /// To 64-bit code.
        wide: bool,
    },
    /// An external interrupt arrived, while watched; it is still pending.
    Interrupt,
    /// An instruction that might be one of these two, and has ceased to be readable since it was fetched.
    Unread,
    /// A control register is written, while watched.
    ControlWrite {
        /// 0 or 4.
        register: u8,
    },
    /// A debug register is read or written, while watched.
    DebugRegister(DebugRegister),
    /// The guest faulted thrice.
    Shutdown,
    /// The processor refuses the guest's state; nothing ran.
    Invalid,
    /// An instruction that passes, or a delivery, has ended behind itself.
    Stepped,
    /// The moment that the core has waited for: what is due can be delivered.
    Window,
    /// An instruction that the vendor's processors never let a guest execute, which changes nothing that anybody watches:
    /// [`Core::forced`].
    Forced,
    /// None of these.
    Unknown {
        /// The vendor's number.
        code: u64,
    },
}

/// An access to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// First port.
    pub port: u16,
    /// Bytes: 1, 2 or 4.
    pub bytes: u8,
    /// IN rather than OUT.
    pub input: bool,
    /// INS or OUTS.
    pub string: bool,
}

/// An access to a debug register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DebugRegister {
    /// As the instruction names it, 0 to 7.
    pub number: u8,
    /// It is written rather than read.
    pub write: bool,
}

/// A refused access to guest-physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nested {
    /// Guest-physical address.
    pub gpa: u64,
    /// It was a write.
    pub write: bool,
    /// It was a fetch.
    pub fetch: bool,
    /// The processor itself walked the guest's page tables.
    pub walk: bool,
    /// An event was being delivered.
    pub delivery: bool,
}

/// A run of frames that one entry of a nested table describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first of them.
    pub pfn: u64,
    /// 0: one frame, 1: 2 MiB, 2: 1 GiB.
    pub level: u32,
}

/// What the guest may not do with a run of frames in the guarded view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Some record is about it, whether anything is kept from the guest just now or not.
    pub covered: bool,
    /// Read; nor write, as processors have it, nor fetch on those that cannot execute what cannot be read.
    pub read: bool,
    /// Write.
    pub write: bool,
    /// Fetch instructions.
    pub fetch: bool,
    /// A frame that is read and executed instead of the run, which is one frame, and is not written: `write` is meant, too. With
    /// `read` it is only executed, if anything is.
    pub shown: Option<u64>,
}

/// What came of the wish to let an instruction pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The guest executes it, and nothing else, when it runs next.
    Stepping,
    /// It is done already.
    Done,
    /// Something else comes before it, and it comes again.
    NotNow,
}

/// What an exit is to the instruction that is let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// It is not over.
    Going,
    /// The exit was its end, and nothing else.
    Done,
    /// It is over, and the exit is the guest's own all the same.
    DoneAnd,
    /// It has not been executed: the exit says why.
    Broken,
}

/// The stack frame of an event that is being delivered: where it lies, linear, and the gate that leads there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The first byte of what is pushed, and how many.
    pub frame: (u64, u64),
    /// The same of its descriptor.
    pub gate: (u64, u64),
}

impl Exit {
    /// Reasons are counted in this many rows.
    pub const REASONS: usize = 25;

    /// Names of the rows, for people.
    pub const NAMES: [&'static str; Exit::REASONS] = [
        "cpuid",
        "hypercall",
        "msr-read",
        "msr-write",
        "port",
        "nmi",
        "extension",
        "nested-fault",
        "breakpoint",
        "soft-interrupt",
        "debug",
        "shutdown",
        "invalid",
        "unknown",
        "tsc",
        "exception",
        "system-call",
        "system-return",
        "unread",
        "control-write",
        "debug-register",
        "interrupt",
        "stepped",
        "window",
        "forced",
    ];

    /// Whether it stands for an instruction that root does itself, so that one that passes is not over with it.
    #[must_use]
    pub const fn is_done_by_root(&self) -> bool {
        matches!(
            self,
            Exit::Cpuid
                | Exit::Hypercall { .. }
                | Exit::MsrRead { .. }
                | Exit::MsrWrite { .. }
                | Exit::Port(_)
                | Exit::Extension
                | Exit::Forced
                | Exit::Tsc { .. }
                | Exit::ControlWrite { .. }
                | Exit::DebugRegister(_)
        )
    }

    /// The row this exit is counted in.
    #[must_use]
    pub const fn row(&self) -> usize {
        match self {
            Exit::Cpuid => 0,
            Exit::Hypercall { .. } => 1,
            Exit::MsrRead { .. } => 2,
            Exit::MsrWrite { .. } => 3,
            Exit::Port(_) => 4,
            Exit::Nmi => 5,
            Exit::Extension => 6,
            Exit::Nested(_) => 7,
            Exit::Breakpoint => 8,
            Exit::SoftInterrupt => 9,
            Exit::Debug => 10,
            Exit::Shutdown => 11,
            Exit::Invalid => 12,
            Exit::Unknown { .. } => 13,
            Exit::Tsc { .. } => 14,
            Exit::Exception { .. } => 15,
            Exit::SystemCall { .. } => 16,
            Exit::SystemReturn { .. } => 17,
            Exit::Unread => 18,
            Exit::ControlWrite { .. } => 19,
            Exit::DebugRegister(_) => 20,
            Exit::Interrupt => 21,
            Exit::Stepped => 22,
            Exit::Window => 23,
            Exit::Forced => 24,
        }
    }
}

/// Something that happens to the guest on its next entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A non-maskable interrupt.
    Nmi,
    /// #UD.
    UndefinedInstruction,
    /// #GP(0).
    GeneralProtection,
    /// #DB; what the debug registers tell of it is theirs already.
    Debug,
    /// #PF.
    PageFault {
        /// Where.
        address: u64,
        /// Its error code.
        error: u32,
    },
}

/// What a script may make happen to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injection {
    /// An external interrupt.
    External,
    /// An NMI.
    Nmi,
    /// An exception.
    Exception,
    /// INT n.
    Software,
}

/// What can be watched and passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// INT3 and INT n.
    Breakpoints,
    /// #DB.
    Debug,
    /// RDTSC and RDTSCP.
    Tsc,
    /// SYSCALL and SYSRET.
    SystemCalls,
    /// Writes of CR0.
    Control0,
    /// Writes of CR4.
    Control4,
    /// Reads and writes of debug registers.
    DebugRegisters,
    /// External interrupts.
    Interrupts,
    /// What is kept from the guest by [`Machine::guard`].
    Guarded,
}

/// How a model-specific register is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MsrAccess {
    /// RDMSR.
    Read,
    /// WRMSR.
    Write,
}

/// Registers of the guest that are no general ones, as one looks at them from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemRegisters {
    /// Base of the interrupt descriptor table.
    pub idt: u64,
    /// Base of the global descriptor table.
    pub gdt: u64,
    /// Selector of the local descriptor table.
    pub ldtr: u16,
    /// Selector of the task state segment.
    pub tr: u16,
}

/// A segment register with what the processor keeps of its descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Linear base.
    pub base: u64,
    /// The last byte.
    pub limit: u32,
    /// There is a segment.
    pub usable: bool,
    /// It can be written.
    pub writable: bool,
}

/// Why a core cannot be entered: a code and its detail, as the prompt gets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CannotEnter {
    /// One of [`abi::code`].
    pub code: u32,
    /// Bits of [`abi::code::lack`], or 0.
    pub detail: u32,
}

/// Not enough frames for the tables that something needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoFrame;

/// Where tables come from: a run of so many contiguous frames, cleared, or `None`.
pub type Frames<'a> = dyn FnMut(usize) -> Option<u64> + 'a;

/// Frames that each core needs for itself.
pub const FRAMES_PER_CORE: usize = 3 + nested::TABLES;

/// A vendor: what its cores share. All of it is chosen once.
#[expect(unsafe_code, reason = "entering is a promise about this core's state")]
pub trait Machine: Sized {
    /// Its cores.
    type Core: Core;
    /// Its name, for people.
    const NAME: &'static str;
    /// The instruction for hypercalls.
    const CALL: [u8; PLACE_COPY];

    /// Whether this core could be entered.
    ///
    /// # Errors
    /// The first thing in the way.
    fn supported() -> Result<(), CannotEnter>;
    /// Builds what the cores share, once, before any core enters.
    ///
    /// # Errors
    /// [`NoFrame`].
    fn prepare(frames: &mut Frames) -> Result<(), NoFrame>;
    /// Accesses to these ports come to root from now on.
    fn own_ports(first: u16, count: u16);
    /// Accesses to these ports, or to all of them, come to root, and those to others no longer do; root's own always do. At
    /// no moment does one pass by that did come to root and still shall.
    fn watch_ports(all: bool, ports: &[u16]);
    /// Reads or writes of these registers, or of all of them, come to root, and those of others no longer do; root's own
    /// always do. At no moment does one pass by that did come to root and still shall.
    fn watch_msrs(access: MsrAccess, all: bool, registers: &[u32]);
    /// Takes a block out of the guest's sight: it reads zeros there and may not write. The caller flushes every core.
    ///
    /// # Errors
    /// [`NoFrame`]; then the guest sees the block as before.
    fn hide(block: Block, frames: &mut Frames) -> Result<(), NoFrame>;
    /// Gives it back. The caller flushes every core.
    fn show(block: Block);
    /// Whether something can be guarded there.
    fn can_guard(pfn: u64) -> bool;
    /// Whether a frame that is shown instead of another can be kept from reads, so that it is executed alone.
    fn executes_only() -> bool;
    /// What cores that watch [`Watch::Guarded`] may not do with a run of frames. `frames` are two for tables, of the record
    /// that it is about; a table stays there until [`Machine::release`]. The caller flushes every core.
    fn guard(run: Run, guard: Guard, frames: [u64; 2]);
    /// The frames of a record that is gone are needed no more when every core has flushed; another one below the same
    /// table, whose frames `frames_of` tells, takes over.
    fn release(run: Run, frames: [u64; 2], frames_of: &mut dyn FnMut(Run) -> Option<[u64; 2]>);
    /// Makes this core's Linux a guest.
    ///
    /// # Errors
    /// As [`Machine::supported`].
    ///
    /// # Safety
    /// This core runs in root on its own region's stack with interrupts off, and [`Machine::prepare`] and
    /// `tables::prepare` have run; `seed` tells where its Linux continues.
    unsafe fn enter(core: u32, seed: boot::Core, frames: [Frame; FRAMES_PER_CORE]) -> Result<Self::Core, CannotEnter>;
    /// The core object of the core that runs this gives its guest back to bare metal, after a fault of root's.
    fn let_go() -> !;
}

/// One core under root: what the decisions above need of it.
pub trait Core {
    /// [`Core::mask_cpuid`] changes what CPUID answers to leaf 1.
    const MASKS_LEAF_1: bool = false;
    /// The object stays where it is from now on.
    fn settle_down(&mut self);
    /// Runs the guest until something happens. Guest code runs nowhere else. [`Core::settle_down`] was called.
    /// Whether that is [`Exit::Cpuid`]: the exit that a program has most easily, and measures us by.
    fn run(&mut self) -> bool;
    /// What happened.
    fn exit(&self) -> Exit;
    /// The guest continues behind the instruction that exited.
    fn skip(&mut self);
    /// Does what [`Exit::Forced`] tells of, and the guest continues behind it, or gets what it would get of it.
    fn forced(&mut self) {
        self.skip();
    }
    /// The guest continues at the instruction that exited, after it has taken what waits for it.
    fn again(&mut self);
    /// Makes an event happen on the next entry: one fault, or an NMI, or both, the fault first; an event whose delivery
    /// the exit interrupted goes first.
    fn inject(&mut self, event: Event);
    /// Makes this happen on the next entry instead of what the exit would; false if the processor would refuse it, or if
    /// something stands there already.
    fn inject_instead(&mut self, kind: Injection, vector: u8, code: Option<u32>) -> bool;
    /// Does to the guest what the last exit kept from it: the breakpoint, software interrupt or exception, untouched.
    fn pass_on(&mut self);
    /// Watches something or stops doing so.
    fn watch(&mut self, what: Watch, on: bool);
    /// Watches the exceptions of these vectors (bit 0: #DE) and no others, besides those of [`Core::watch`].
    fn watch_exceptions(&mut self, vectors: u32);
    /// Does the SYSCALL that exited: the guest goes on in its kernel.
    fn system_call(&mut self, length: u8);
    /// Does the SYSRET that exited, in ring 0.
    fn system_return(&mut self, wide: bool);
    /// Takes the interrupt that [`Exit::Interrupt`] tells of into root; its vector, or `None` if it cannot be taken now: then
    /// it tells of it again, or it has gone.
    fn take_interrupt(&mut self) -> Option<u8>;
    /// Delivers the interrupt that was taken on the next entry.
    fn interrupt(&mut self, vector: u8);
    /// Drops it.
    fn drop_interrupt(&mut self, vector: u8);
    /// Whether an event is delivered before the guest's next instruction: one whose delivery the last exit interrupted, or that root
    /// makes happen. NMIs that wait are none.
    fn is_due(&self) -> bool;
    /// Lets the guest execute the instruction that exited, and nothing else, with nothing kept from it.
    fn step(&mut self) -> Begun;
    /// While the guest executes this frame's code, it executes that of the frame `shown`: there, and nowhere else, until
    /// [`Core::execute_all`] or [`Core::flush`]. What guards keep from it otherwise stays so. False if it cannot be shown: then it is as by
    /// guards alone.
    fn execute(&mut self, pfn: u64, shown: u64) -> bool;
    /// It executes what guards allow.
    fn execute_all(&mut self);
    /// Whether it executes one page alone.
    fn executes_page(&self) -> bool;
    /// The event that [`Core::is_due`] is delivered with nothing kept from it, and no instruction executed.
    fn deliver_unguarded(&mut self);
    /// Whether one of the two is going on.
    fn passing(&self) -> bool;
    /// What the last exit is to it; if it is over, the guest is as it would be without it.
    fn passed(&mut self) -> Passing;
    /// What the last exit was for has been done. `None`: it is not over; else whether the instruction was executed.
    fn passed_by_root(&mut self) -> Option<bool>;
    /// Where the event is put whose delivery the last exit interrupted.
    fn delivery(&self) -> Option<Delivery>;
    /// The guest goes on at another instruction, as if it had executed the one that exited.
    fn continue_at(&mut self, rip: u64);
    /// Has the guest fetch again what [`Exit::Unread`] could not read, a few times; then it is undefined.
    fn fetch_again(&mut self);
    /// Whether the NMI that exited is one that this core has sent itself, for an exit; once.
    fn is_own_nmi(&mut self) -> bool;
    /// Takes an NMI that may be pending into root. How many were taken: 0 or 1.
    fn take_nmi(&mut self) -> u64;
    /// rax, rbx, rcx, rdx of the guest.
    fn quad(&self) -> [u64; 4];
    /// Sets rax, rbx, rcx, rdx of the guest.
    fn set_quad(&mut self, quad: [u64; 4]);
    /// The same, and the guest continues behind the instruction that exited.
    fn answer(&mut self, quad: [u64; 4]) {
        self.set_quad(quad);
        self.skip();
    }
    /// Reads bytes at the guest's instruction pointer; how many could be read.
    fn code(&self, to: &mut [u8]) -> usize;
    /// As many bytes at the guest's instruction pointer as an instruction has and one more, the first one lowest; `None` if they lie on two pages, or
    /// cannot be read. Quick where the last ones were read.
    fn near_code(&mut self) -> Option<u128>;
    /// The same, and where they lie physically.
    fn near_instruction(&mut self) -> Option<(u64, u128)>;
    /// Whether it is in 64-bit code of ring 0, with nothing due and nothing traced.
    fn is_plain(&self) -> bool;
    /// Whether the last exit was a breakpoint, with nothing passing, where it [`Core::is_plain`]: [`Core::exit`] need not be asked.
    fn meets_breakpoint(&self) -> bool;
    /// Whether it was the fetch of an instruction's first byte, which guards did not allow, with nothing passing or due: where that lies.
    fn meets_guard(&self) -> Option<u64>;
    /// The physical address of a linear one, and what all entries of the tables on the way say, bit by bit; the last says alone
    /// what it was used for. `None` if it is mapped nowhere. Quick where the last one lay.
    fn near_data(&mut self, linear: u64) -> Option<(u64, u64)>;
    /// Whether memory is there that the guest can write but for guards.
    fn may_write(&mut self, pa: u64) -> bool;
    /// Everything a person may want to see.
    fn registers(&self) -> Registers;
    /// A general register by its number in instructions (rax rcx rdx rbx rsp rbp rsi rdi r8 … r15), which is below 16.
    fn gpr(&self, number: usize) -> u64;
    /// Sets one.
    fn set_gpr(&mut self, number: u8, value: u64);
    /// Sets the instruction pointer.
    fn set_rip(&mut self, value: u64);
    /// The flags.
    fn rflags(&self) -> u64;
    /// Sets the flags; what the guest cannot set stays.
    fn set_rflags(&mut self, value: u64);
    /// A segment register by its number in instructions (es cs ss ds fs gs).
    fn segment(&self, number: u8) -> Segment;
    /// Bits of addresses in the code that runs, without a prefix: 16, 32 or 64.
    fn code_bits(&self) -> u8;
    /// The page tables that the core is in.
    fn cr3(&self) -> u64;
    /// Where the kernel's own data of this core begin, whichever ring the core is in.
    fn kernel_gs(&self) -> u64;
    /// Descriptor tables and what lies in them.
    fn system(&self) -> SystemRegisters;
    /// What RDMSR would read in the guest; `None` if it would fault.
    fn read_msr(&self, register: u32) -> Option<u64>;
    /// Does what WRMSR would do in the guest; false if it would fault, and nothing was done then.
    fn write_msr(&mut self, register: u32, value: u64) -> bool;
    /// What the instruction that exited writes to this control register, 0 or 4.
    ///
    /// # Errors
    /// What happens to the guest instead.
    fn control_wanted(&self, register: u8) -> Result<u64, Event>;
    /// Writes control register 0 or 4 as the guest would; false if that would fault, and nothing was done then.
    fn write_control(&mut self, register: u8, value: u64) -> bool;
    /// A debug register: 0 to 3, 6, 7.
    fn debug_register(&self, number: u8) -> u64;
    /// Sets it; what it does not hold is left out.
    fn set_debug_register(&mut self, number: u8, value: u64);
    /// Current privilege level.
    fn cpl(&self) -> u8;
    /// The guest's instruction pointer.
    fn rip(&self) -> u64;
    /// Hides the vendor's extension in an answer of CPUID: rax, rbx, rcx, rdx.
    fn mask_cpuid(&self, leaf: u32, quad: &mut [u64; 4]);
    /// EFER as the guest shall see it.
    fn efer(&self) -> u64;
    /// Sets EFER as the guest asks; what root needs in it stays.
    fn set_efer(&mut self, value: u64);
    /// The guest's time stamp counter is behind the real one by so many ticks.
    fn hide_time(&mut self, ticks: u64);
    /// Ticks hidden so far.
    fn hidden_time(&self) -> u64;
    /// The nested tables changed: flush before the next run.
    fn flush(&mut self);
    /// Lets the guest continue on bare metal with rax as it is. Never comes back.
    fn leave(&mut self) -> !;
}
