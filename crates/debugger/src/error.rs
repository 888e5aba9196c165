//! Why a command was not done: fields, no sentences. [`crate::say`] makes the sentences.

use crate::foreign::Foreign;
use crate::host::{self, Maker};
use crate::names::Nameless;
use crate::{event, expr, memory, outputs, program, threads, view};
use abi::code;
use abi::request::{EventAnswer, PreallocAnswer};
use std::{io, ops::Range};

/// Why a command was not done. Spans are byte ranges of the typed line.
#[derive(Debug)]
pub enum Error {
    /// No command has this name.
    UnknownCommand {
        /// Where it was typed.
        span: Range<usize>,
        /// The nearest name there is.
        nearest: Option<&'static str>,
    },
    /// A name that others use for what is done by another line here, or is not done yet.
    Foreign {
        /// Where it was typed.
        span: Range<usize>,
        /// What there is of it.
        foreign: Foreign,
    },
    /// The wrong number of words.
    Usage {
        /// The command's name as typed.
        typed: String,
        /// The syntax lines of its manual.
        syntax: Vec<String>,
    },
    /// A word that is none of those which may stand here.
    UnknownWord {
        /// Where it was typed.
        span: Range<usize>,
        /// What may stand here, such as "types".
        what: &'static str,
        /// The words that may.
        choices: Vec<&'static str>,
    },
    /// A count where the type belongs, and the type where the count does.
    Swapped {
        /// Where the count was typed.
        count: Range<usize>,
        /// Where the type was.
        kind: Range<usize>,
    },
    /// A number or expression that has no value.
    Expression {
        /// What is wrong; its span is that of the line.
        error: expr::Error,
        /// Whether a count of units was wanted.
        count: bool,
        /// The span of the whole expression, for the line that would work.
        whole: Range<usize>,
    },
    /// Words of an event command that do not go together.
    Event {
        /// Where.
        span: Range<usize>,
        /// What.
        wrong: event::Wrong,
    },
    /// Something that cannot be done with outputs.
    Output {
        /// Where.
        span: Range<usize>,
        /// What.
        wrong: outputs::Wrong,
    },
    /// A script or an expression that does not compile.
    Program {
        /// All that is wrong with it, in the order of its text.
        troubles: Vec<program::Trouble>,
        /// The line with all of that put right, if that can be told.
        instead: Option<String>,
        /// It mentions what could be a name, and none are known for this reason.
        nameless: Option<Box<Nameless>>,
    },
    /// Names of the kernel are needed, and not known.
    Names {
        /// Why.
        nameless: Nameless,
        /// What was typed that asks for them, if that is to be shown.
        span: Option<Range<usize>>,
    },
    /// Nothing has this name.
    NoSuchName {
        /// Where it was typed.
        span: Range<usize>,
        /// A name that is spelt much the same, as it is typed.
        near: Option<String>,
        /// Whether it was a pattern.
        pattern: bool,
    },
    /// Types of the kernel are needed, and not known.
    Types {
        /// Why.
        nameless: Nameless,
    },
    /// No type has this name.
    NoType {
        /// Where it was typed.
        span: Range<usize>,
        /// One that is spelt much the same.
        near: Option<String>,
    },
    /// No number of frames that can be shown.
    Frames {
        /// Where it was typed.
        span: Range<usize>,
    },
    /// How often something is to be done, which is never or too often.
    Times {
        /// Where it was typed.
        span: Range<usize>,
        /// The largest number.
        most: u64,
    },
    /// Linux did not do what was ordered about threads, or they did not come to what was waited for.
    Order(threads::Refused),
    /// ... within so many seconds.
    OrderLate(u64),
    /// There can be no process of this number.
    NoProcess(u64),
    /// Commands refer to no process under interception.
    NoActive,
    /// A program is to be started on another machine than this prompt's.
    StartElsewhere,
    /// What was to be started ended before it was this program.
    NotStarted(String),
    /// There is no breakpoint of this number.
    NoBreakpoint(u64),
    /// A process or a thread is not shown.
    Task {
        /// Where it was typed, if it was.
        span: Option<Range<usize>>,
        /// Why.
        wrong: view::Wrong,
    },
    /// It is not known where the function returns to.
    NoCaller,
    /// They were to be executed, and the debuggee did not halt behind them: this core was silent.
    StepsUnhalted(u64),
    /// ... or went away.
    StepsLost,
    /// No module has this name.
    NoModule {
        /// Where it was typed.
        span: Range<usize>,
        /// Whether it was a pattern.
        pattern: bool,
    },
    /// Memory or a register that is not shown or changed.
    Memory(memory::Wrong),
    /// It ran in root and ended early.
    Fault(program::Fault),
    /// Root refused.
    Refused(Refusal),
    /// The target cannot be reached, or what it says cannot be understood.
    Reach(Reach),
    /// A file could not be read.
    File {
        /// Its path as given.
        path: String,
        /// Why.
        why: io::ErrorKind,
    },
    /// A file could not be written.
    Unwritten {
        /// Its path as given.
        path: String,
        /// Why.
        why: io::ErrorKind,
    },
    /// A line of a script failed; its own error was said already.
    Script {
        /// The script's path as given.
        path: String,
        /// The line, from 1.
        line: usize,
        /// Whether it failed because the target cannot be reached.
        unreachable: bool,
    },
    /// Scripts call each other deeper than this.
    ScriptDepth(usize),
    /// An address for the link that cannot be one.
    Address(String),
    /// A link was asked for, and this many cores run under a load that has none.
    LoadedWithoutLink(u32),
    /// What is to be foretold depends on registers, which nobody knows before.
    Foretold,
    /// What a file takes of this type does not fit 64 bits.
    PlanTooLarge(&'static str),
    /// A file and those that it runs have more lines than this.
    PlanTooLong(usize),
    /// Another place of load's link than this has no back end.
    OnlyCom2,
    /// There is no link to close.
    NoLink,
    /// CTRL+C while waiting.
    Cancelled,
    /// The program is to end, and this was not begun any more.
    Ended,
    /// A fetch ended without Linux' answer in time; the machine was halted again.
    FetchSilent {
        /// Seconds waited.
        seconds: u64,
        /// Frames that were missing.
        short: u64,
    },
    /// Linux was asked to unload the hypervisor and did not say within this many seconds that it did.
    UnloadSilent(u64),
    /// After a fetch the machine could not be halted again: this core was silent.
    FetchUnhalted(u64),
    /// A fetch was asked for, and the debuggee went away.
    FetchLost,
}

/// A code of root's with the numbers that explain it.
#[derive(Debug)]
pub enum Refusal {
    /// Units of the reserve.
    Units {
        /// One of [`abi::code`].
        code: u32,
        /// Numbers.
        answer: PreallocAnswer,
        /// What was to be done with them.
        wanted: Wanted,
        /// Units that the bank could serve now, where that is known and matters; else 0.
        bank_serves: u64,
    },
    /// `load` or `unload`.
    Load {
        /// One of [`abi::code`].
        code: u32,
        /// Bits of [`abi::code::lack`].
        detail: u32,
        /// Modules of this machine that use the extension, if they can be seen.
        holders: Vec<String>,
        /// Whose processor this is, if that can be seen.
        maker: Option<Maker>,
    },
    /// An event.
    Event {
        /// One of [`abi::code`].
        code: u32,
        /// Numbers.
        answer: EventAnswer,
        /// Whether the debuggee is at the other end of a link.
        debugger_mode: bool,
    },
    /// Any other request.
    Plain {
        /// One of [`abi::code`].
        code: u32,
        /// Whether the debuggee is at the other end of a link.
        debugger_mode: bool,
    },
}

/// What was to be done with units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Reserve more of them.
    Reserve,
    /// Give them back to the bank.
    Release,
    /// Take them, as a command that applies something does.
    Take,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This machine has no `/dev/hyperdbg`.
    NoDevice,
    /// It has, and this user may not open it.
    Denied,
    /// An error of the system's that has no sentence of its own.
    System(io::ErrorKind),
    /// Nothing listens at this address.
    NoDebuggee {
        /// The address.
        address: String,
        /// Why the last attempt failed; `None` if it is open and nobody answers on it.
        why: Option<io::ErrorKind>,
    },
    /// The debuggee said goodbye or the line is cut; it is waited for.
    Away {
        /// The address.
        address: String,
    },
    /// The debuggee does not know who asks: it was started anew, or another prompt took over.
    Forgotten,
    /// The line is open and the debuggee does not answer.
    Silent {
        /// Milliseconds waited.
        waited_ms: u64,
    },
    /// The other side has another revision of the protocol.
    Protocol {
        /// Its number, 0 if it did not say.
        theirs: u32,
    },
    /// An answer of the wrong size.
    Malformed {
        /// The request, one of [`abi::request::op`].
        op: u32,
    },
    /// CTRL+C while waiting.
    Cancelled,
    /// `load` and `unload` act on this machine, and the prompt is connected to another.
    OverLink,
}

impl From<Reach> for Error {
    fn from(reach: Reach) -> Self {
        match reach {
            Reach::Cancelled => Error::Cancelled,
            reach => Error::Reach(reach),
        }
    }
}

impl Refusal {
    /// What the module said to a load or unload of this machine, with what can be seen here of who is in the way.
    pub(crate) fn of_load(code: u32, detail: u32) -> Self {
        let holders = if code == code::CPU_IN_USE { host::holders_here() } else { Vec::new() };
        Self::Load { code, detail, holders, maker: Maker::here() }
    }
}

impl Error {
    /// Whether the target could not be reached at all: the program then ends with 3 instead of 1.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Error::Script { unreachable: true, .. }
                | Error::Reach(
                    Reach::NoDevice | Reach::Denied | Reach::NoDebuggee { .. } | Reach::Away { .. } | Reach::Silent { .. }
                )
        )
    }
}
