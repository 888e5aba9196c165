//! What ends a run early, as numbers.

/// Why a run ended early. What it did before stays done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// The instruction, counted from the start of the code; `Program::lines` of the compiler makes a line of it.
    pub at: u32,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Nothing can be read or written there.
    BadAddress {
        /// As the script named it.
        address: u64,
    },
    /// The right side of `/` or `%` was zero.
    DivideByZero,
    /// The run took more steps than it was given.
    StepLimit,
    /// Calls inside each other took all of the stack, or of the data.
    CallDepth,
    /// The machine refused: a register that cannot be written so, an event that is not there.
    Refused,
    /// The program was not verified, or the embedder handed in less stack than [`crate::limits::STACK_WORDS_MIN`].
    BadProgram,
}
