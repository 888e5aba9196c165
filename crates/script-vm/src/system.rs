//! The documented functions that a program calls by number: those that are no instruction of their own.

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct System {
    /// As scripts call it.
    pub name: &'static str,
    /// Arguments.
    pub arguments: u8,
    /// Whether it tells something.
    pub tells: bool,
}

macro_rules! systems {
    ($($(#[$about:meta])* $constant:ident = $name:literal, $arguments:literal, $tells:literal;)*) => {
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "numbers for the constants below")]
        enum Numbers { $($constant),* }
        $($(#[$about])* pub const $constant: u32 = Numbers::$constant as u32;)*
        /// All, by number.
        pub const ALL: &[System] = &[$(System { name: $name, arguments: $arguments, tells: $tells }),*];
    };
}

systems! {
    /// To, from, bytes.
    MEMCPY = "memcpy", 3, false;
    /// To, from, bytes; both physical.
    MEMCPY_PA = "memcpy_pa", 3, false;
    /// Two addresses and bytes; below zero, zero, above.
    MEMCMP = "memcmp", 3, true;
    /// 1 if a byte can be read there.
    CHECK_ADDRESS = "check_address", 1, true;
    /// A physical address.
    VIRTUAL_TO_PHYSICAL = "virtual_to_physical", 1, true;
    /// A virtual one.
    PHYSICAL_TO_VIRTUAL = "physical_to_virtual", 1, true;
    /// Bytes before the zero.
    STRLEN = "strlen", 1, true;
    /// Below zero, zero, above.
    STRCMP = "strcmp", 2, true;
    /// The same for so many at most.
    STRNCMP = "strncmp", 3, true;
    /// 16-bit characters before the zero.
    WCSLEN = "wcslen", 1, true;
    /// Below zero, zero, above.
    WCSCMP = "wcscmp", 2, true;
    /// The same for so many at most.
    WCSNCMP = "wcsncmp", 3, true;
    /// Waits for the lock, within the step limit.
    SPINLOCK_LOCK = "spinlock_lock", 1, false;
    /// Lets it go.
    SPINLOCK_UNLOCK = "spinlock_unlock", 1, false;
    /// The same with so many turns between two tries at most.
    SPINLOCK_LOCK_CUSTOM_WAIT = "spinlock_lock_custom_wait", 2, false;
    /// What is there afterwards.
    INTERLOCKED_INCREMENT = "interlocked_increment", 1, true;
    /// What is there afterwards.
    INTERLOCKED_DECREMENT = "interlocked_decrement", 1, true;
    /// What was there.
    INTERLOCKED_EXCHANGE = "interlocked_exchange", 2, true;
    /// What was there.
    INTERLOCKED_EXCHANGE_ADD = "interlocked_exchange_add", 2, true;
    /// Address, new, old; what was there.
    INTERLOCKED_COMPARE_EXCHANGE = "interlocked_compare_exchange", 3, true;
    /// Bytes of an instruction of 64-bit code.
    DISASSEMBLE_LEN = "disassemble_len", 1, true;
    /// The same.
    DISASSEMBLE_LEN64 = "disassemble_len64", 1, true;
    /// Bytes of an instruction of 32-bit code.
    DISASSEMBLE_LEN32 = "disassemble_len32", 1, true;
    /// The time stamp counter.
    RDTSC = "rdtsc", 0, true;
    /// The same, in order.
    RDTSCP = "rdtscp", 0, true;
    /// Stands still.
    MICROSLEEP = "microsleep", 1, false;
    /// By the event's number.
    EVENT_ENABLE = "event_enable", 1, false;
    /// By the event's number.
    EVENT_DISABLE = "event_disable", 1, false;
    /// By the event's number.
    EVENT_CLEAR = "event_clear", 1, false;
    /// Whether this event's effect is suppressed.
    EVENT_SC = "event_sc", 1, false;
    /// Type, vector.
    EVENT_INJECT = "event_inject", 2, false;
    /// Type, vector, code.
    EVENT_INJECT_ERROR_CODE = "event_inject_error_code", 3, false;
    /// Steps over calls.
    EVENT_TRACE_STEP = "event_trace_step", 0, false;
    /// Steps into calls.
    EVENT_TRACE_STEP_IN = "event_trace_step_in", 0, false;
    /// Steps until the function returns.
    EVENT_TRACE_STEP_OUT = "event_trace_step_out", 0, false;
    /// One instruction of this core, the others standing still.
    EVENT_TRACE_INSTRUMENTATION_STEP = "event_trace_instrumentation_step", 0, false;
    /// The same, into the kernel.
    EVENT_TRACE_INSTRUMENTATION_STEP_IN = "event_trace_instrumentation_step_in", 0, false;
    /// Halts when the script has ended.
    PAUSE = "pause", 0, false;
    /// Throws messages that wait away.
    FLUSH = "flush", 0, false;
}
