//! What is known: of the machine, and of a line that was typed.

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done, or there was nothing to do.
    Done,
    /// Refused; it was said why.
    Failed,
    /// The target cannot be reached; it was said why.
    Unreachable,
    /// Done, and the program ends now.
    Exit,
}

/// What the debugged machine does, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody answered yet.
    Unknown,
    /// Every core runs.
    Running,
    /// Every core is halted; commands refer to this one.
    Halted(u32),
    /// It said goodbye, or the line is cut.
    Away,
}
