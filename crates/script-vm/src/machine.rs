//! The world as a script sees it: everything that a program can touch goes through [`Machine`].

/// Bytes of one access to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 1 byte.
    One,
    /// 2 bytes.
    Two,
    /// 4 bytes.
    Four,
    /// 8 bytes.
    Eight,
}

impl Size {
    /// As a number.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Size::One => 1,
            Size::Two => 2,
            Size::Four => 4,
            Size::Eight => 8,
        }
    }
}

/// What an address is an address of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// The address space that the core is in.
    Virtual,
    /// RAM by its physical address.
    Physical,
}

/// Nothing can be read or written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAddress;

/// The machine does not do that here, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

macro_rules! listed {
    ($(#[$about:meta])* $name:ident { $($(#[$each:meta])* $variant:ident,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$each])* $variant,)* }
        impl $name {
            /// All, in the order of their numbers in bytecode.
            pub const ALL: &[$name] = &[$($name::$variant),*];
        }
    };
}

listed! {
    /// A register of the guest that is none of the 16 general ones.
    Special {
        /// The instruction pointer.
        Rip,
        /// Flags.
        Rflags,
        /// Code segment selector.
        Cs,
        /// Data segment selector.
        Ds,
        /// Extra segment selector.
        Es,
        /// FS selector.
        Fs,
        /// GS selector.
        Gs,
        /// Stack segment selector.
        Ss,
        /// Base of the interrupt descriptor table.
        Idtr,
        /// Base of the global descriptor table.
        Gdtr,
        /// Selector of the local descriptor table.
        Ldtr,
        /// Selector of the task state segment.
        Tr,
        /// Control register 0.
        Cr0,
        /// Control register 2.
        Cr2,
        /// Control register 3.
        Cr3,
        /// Control register 4.
        Cr4,
        /// Control register 8.
        Cr8,
        /// Debug register 0.
        Dr0,
        /// Debug register 1.
        Dr1,
        /// Debug register 2.
        Dr2,
        /// Debug register 3.
        Dr3,
        /// Debug register 6.
        Dr6,
        /// Debug register 7.
        Dr7,
    }
}

listed! {
    /// A pseudo-register that is a number.
    Pseudo {
        /// `$pid`.
        Pid,
        /// `$tid`.
        Tid,
        /// `$core`.
        Core,
        /// `$proc`.
        Process,
        /// `$thread`.
        Thread,
        /// `$peb`.
        Peb,
        /// `$teb`.
        Teb,
        /// `$ip`.
        Ip,
        /// `$context`: what the event says about itself.
        Context,
        /// `$event_tag`.
        EventTag,
        /// `$event_id`.
        EventId,
        /// `$event_stage`: 0 before, 1 after.
        EventStage,
    }
}

/// A pseudo-register that is a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// `$pname`.
    ProcessName,
    /// `$date`, as `2026-11-26`.
    Date,
    /// `$time`, as `13:05:59`.
    Time,
}

/// What a script asks of the events and of the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// `event_enable(id)`.
    Enable(u64),
    /// `event_disable(id)`.
    Disable(u64),
    /// `event_clear(id)`.
    Clear(u64),
    /// `event_sc(state)`: whether the effect of the event that runs is suppressed.
    ShortCircuit(bool),
    /// `event_inject(type, vector)` and `event_inject_error_code(type, vector, code)`.
    Inject {
        /// As the processor counts: 0 external, 2 NMI, 3 exception, 4 software.
        kind: u64,
        /// The vector.
        vector: u64,
        /// The error code, if one is pushed.
        code: Option<u64>,
    },
    /// `event_trace_step()`.
    Step,
    /// `event_trace_step_in()`.
    StepIn,
    /// `event_trace_step_out()`.
    StepOut,
    /// `event_trace_instrumentation_step()`.
    InstrumentationStep,
    /// `event_trace_instrumentation_step_in()`.
    InstrumentationStepIn,
    /// `pause()`: every core halts when the script has ended.
    Pause,
    /// `flush()`: messages that are gathered are delivered.
    Flush,
}

/// One indivisible step on 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interlocked {
    /// Adds.
    Add(u64),
    /// Writes.
    Exchange(u64),
    /// Writes `new` if there is `old`.
    CompareExchange {
        /// What must be there.
        old: u64,
        /// What is written.
        new: u64,
    },
}

impl Interlocked {
    /// What is there afterwards.
    #[must_use]
    pub const fn applied(self, before: u64) -> u64 {
        match self {
            Interlocked::Add(value) => before.wrapping_add(value),
            Interlocked::Exchange(value) => value,
            Interlocked::CompareExchange { old, new } if before == old => new,
            Interlocked::CompareExchange { .. } => before,
        }
    }
}

/// All that a script can see and do.
///
/// Implementations must not panic whatever they are asked: numbers come from scripts. Nothing here waits, but for
/// [`Machine::sleep`], and that is bounded by the step limit.
pub trait Machine {
    /// A general register: rax rcx rdx rbx rsp rbp rsi rdi r8 … r15, so `number` is below 16.
    fn gpr(&self, number: u8) -> u64;
    /// Writes one.
    fn set_gpr(&mut self, number: u8, value: u64);
    /// Another register.
    fn special(&self, register: Special) -> u64;
    /// Writes one.
    ///
    /// # Errors
    /// The guest would not live with it.
    fn set_special(&mut self, register: Special, value: u64) -> Result<(), Refused>;
    /// A pseudo-register.
    fn pseudo(&self, pseudo: Pseudo) -> u64;
    /// A name, ended by zeros.
    fn label(&self, label: Label) -> [u8; 16];

    /// A cell that scripts share. `cell` is below what the program's header says.
    fn global(&self, cell: u16) -> u64;
    /// Writes one.
    fn set_global(&mut self, cell: u16, value: u64);
    /// Changes one, indivisibly; what was there before.
    fn change_global(&mut self, cell: u16, change: Interlocked) -> u64;

    /// Reads the guest's memory; the value is zero-extended.
    ///
    /// # Errors
    /// Nothing is mapped there, or it is not for scripts.
    fn read(&mut self, space: Space, address: u64, size: Size) -> Result<u64, BadAddress>;
    /// Writes the guest's memory; only `size` bytes of the value count.
    ///
    /// # Errors
    /// As [`Machine::read`].
    fn write(&mut self, space: Space, address: u64, size: Size, value: u64) -> Result<(), BadAddress>;
    /// Changes 8 bytes of the guest's, indivisibly; what was there before.
    ///
    /// # Errors
    /// As [`Machine::read`].
    fn change(&mut self, address: u64, change: Interlocked) -> Result<u64, BadAddress>;
    /// A virtual address as a physical one.
    ///
    /// # Errors
    /// Nothing is mapped there.
    fn physical(&mut self, address: u64) -> Result<u64, BadAddress>;
    /// A physical address as a virtual one of the kernel's.
    ///
    /// # Errors
    /// The kernel has none.
    fn direct(&mut self, address: u64) -> Result<u64, BadAddress>;
    /// Bytes of the instruction there; `bits` is 32 or 64. 0 if it is none.
    ///
    /// # Errors
    /// Nothing is mapped there.
    fn instruction_bytes(&mut self, address: u64, bits: u8) -> Result<u64, BadAddress>;

    /// Bytes of the event's buffer; 0 without one.
    fn buffer_bytes(&self) -> usize;
    /// Reads it; `None` beyond its end.
    fn buffer_read(&self, offset: usize, size: Size) -> Option<u64>;
    /// Writes it; `None` beyond its end.
    fn buffer_write(&mut self, offset: usize, size: Size, value: u64) -> Option<()>;

    /// The time stamp counter; with the core's number if asked (`rdtscp`), which scripts do not see.
    fn ticks(&mut self, ordered: bool) -> u64;
    /// Does nothing for so long.
    fn sleep(&mut self, microseconds: u64);
    /// A turn in a spinlock.
    fn relax(&mut self) {
        core::hint::spin_loop();
    }
    /// Does what the script asks; what it tells.
    ///
    /// # Errors
    /// Not here.
    fn control(&mut self, control: Control) -> Result<u64, Refused>;

    /// Says bytes of a message.
    fn say(&mut self, text: &[u8]);
    /// Says a number. Whoever wants numbers rather than text writes this one.
    fn say_number(&mut self, spec: crate::Spec, value: u64) {
        spec.write(value, &mut |text| self.say(text));
    }
    /// The message is complete.
    fn said(&mut self);
}
