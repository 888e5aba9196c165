//! Every sentence about something that was not done or that came unasked, made from codes and numbers.
//!
//! The shape: what was asked, what is, the code, then a caret under the place, what may stand there, and a `try:` line
//! whenever there is one that would work. Lower case, no full stop; what can be typed back is in hex, as typed.
//! **Proof**: the tests of `tests/sentences.rs` run the `try:` lines.

mod detours;
pub mod doctor;
pub(crate) mod events;
mod load;
mod memory;
pub(crate) mod names;
pub(crate) mod outputs;
pub(crate) mod tasks;
mod threads;
mod units;

use crate::error::{Error, Reach, Refusal};
use crate::expr;
use crate::foreign::Foreign;
use crate::line::Line;
use crate::nearest;
use crate::news::{Met, News};
use crate::program::Place;
use crate::registers;
use crate::stop::Running;
use crate::wrap;
use abi::code;
use abi::request::{Halted, goodbye, reason};
use std::io;
use std::ops::Range;

/// A refusal as people and programs get it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Root's code in hex, or a word for what the prompt itself refuses.
    pub code: String,
    /// The sentence.
    pub message: String,
    /// The part of the typed line that it is about.
    pub span: Option<Range<usize>>,
    /// Else the place in a file.
    pub place: Option<Place>,
    /// Lines that explain.
    pub help: Vec<String>,
    /// What else is wrong.
    pub more: Vec<Said>,
    /// A line that would work.
    pub try_line: Option<String>,
}

impl Said {
    fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), ..Self::default() }
    }

    fn of_root(code: u32, message: impl Into<String>) -> Self {
        Self::new(&format!("{code:x}"), message)
    }

    fn at(self, span: &Range<usize>) -> Self {
        Self { span: Some(span.clone()), ..self }
    }

    fn help(mut self, line: impl Into<String>) -> Self {
        self.help.push(line.into());
        self
    }

    fn try_line(self, line: impl Into<String>) -> Self {
        Self { try_line: Some(line.into()), ..self }
    }

    /// As lines for people. `typed` is the line that was refused. What may stand there is broken at words to fit
    /// `columns`; the sentence, the typed line and the line that works stay whole, to be searched for and copied.
    #[must_use]
    pub fn text(&self, typed: &Line, columns: usize) -> String {
        const INDENT: &str = "     ";
        let mut text = match self.code.as_str() {
            "usage" => self.message.clone(),
            code if code.starts_with("c000") => format!("err, {} ({code})", self.message),
            _ => format!("err, {}", self.message),
        };
        let marks = |shown: &str, column: usize, width: usize| {
            let shown = shown.replace('\t', " ");
            format!("\n{INDENT}{shown}\n{INDENT}{}^{}", " ".repeat(column), "~".repeat(width.max(1) - 1))
        };
        if let Some(span) = &self.span {
            let (start, shown) = typed.row(span.start);
            let column = typed.column(span.start) - typed.column(start);
            let width = typed.column(span.end.min(start + shown.len())).saturating_sub(typed.column(span.start));
            text += &marks(shown, column, width);
        }
        if let Some(Place { file, line, column, text: shown, marked }) = &self.place {
            text += &format!("\n{INDENT}{file}:{line}:{column}");
            text += &marks(shown, column - 1, *marked);
        }
        for line in &self.help {
            let line = wrap::lines(line, columns.saturating_sub(INDENT.len()));
            text += &format!("\n{INDENT}{}", line.replace('\n', &format!("\n{INDENT}")));
        }
        for said in &self.more {
            text += &format!("\n{}", said.text(typed, columns));
        }
        if let Some(line) = &self.try_line {
            text += &format!("\n{INDENT}try: {line}");
        }
        text
    }
}

/// What an error is called.
#[must_use]
pub fn error(error: &Error, typed: &Line) -> Said {
    match error {
        Error::UnknownCommand { span, nearest } => {
            let said = Said::new("unknown-command", format!("there is no command '{}'", typed.name())).at(span);
            let said = said.help("`.help` lists the commands");
            match nearest {
                Some(name) => said.try_line(typed.with(span, name)),
                None => said.try_line(".help"),
            }
        }
        Error::Foreign { span, foreign } => {
            let typed = typed.text().get(span.clone()).unwrap_or("");
            match foreign {
                Foreign::Line(ours) => {
                    Said::new("unknown-command", format!("there is no command '{typed}': here it is `{ours}`"))
                        .at(span)
                        .try_line(ours)
                }
                Foreign::NotYet => Said::new("not-yet", format!("'{typed}' is not there yet"))
                    .at(span)
                    .help("`.help` lists the commands that are")
                    .try_line(".help"),
            }
        }
        Error::Usage { typed: name, syntax } => {
            let mut said = Said::new("usage", format!("incorrect use of the '{name}'"));
            said.help = syntax.iter().map(|line| format!("syntax : {line}")).collect();
            said
        }
        Error::UnknownWord { span, what, choices } => {
            let word = typed.text().get(span.clone()).unwrap_or("");
            let said = Said::new("unknown-word", format!("couldn't resolve error at '{word}'")).at(span);
            let said = said.help(format!("{what}: {}", choices.join(", ")));
            match nearest::of(word, choices.iter().copied()) {
                Some(choice) => said.try_line(typed.with(span, choice)),
                None => said,
            }
        }
        Error::Swapped { count, kind } => {
            let part = |span: &Range<usize>| typed.text().get(span.clone()).unwrap_or("").to_owned();
            // From behind, so that the first span still holds.
            let swapped = Line::new(&typed.with(kind, &part(count))).with(count, &part(kind));
            let said = Said::new("unknown-word", format!("couldn't resolve error at '{}'", part(count))).at(count);
            said.help("the type comes before the count").try_line(swapped)
        }
        Error::Expression { error, count, whole } => expression(error, *count, whole, typed),
        Error::Refused(Refusal::Units { code, answer, wanted, bank_serves }) => {
            units::refused(*code, answer, *wanted, *bank_serves, typed)
        }
        Error::Output { span, wrong } => outputs::wrong(span, wrong, typed),
        Error::Event { span, wrong } => events::wrong(span, wrong, typed),
        Error::Program { troubles, instead, nameless } => {
            let said = events::troubles(troubles, instead.as_ref());
            match nameless {
                Some(nameless) => Said { help: [said.help, vec![names::in_script(nameless)]].concat(), ..said },
                None => said,
            }
        }
        Error::Names { nameless, span } => names::refused(nameless, span.as_ref()),
        Error::NoSuchName { span, near, pattern } => names::none(span, near.as_deref(), *pattern, typed),
        Error::Types { nameless } => Said::new("types", format!("no types are known: {}", names::reason(nameless))),
        Error::NoType { span, near } => names::no_type(span, near.as_deref(), typed),
        Error::Frames { span } => {
            Said::new("frames", "a stack has one frame at least, and no more than 100 are shown").at(span).try_line("k l 10")
        }
        Error::Times { span, most } => {
            let text = format!("at least one is done, and no more than {most:x} at once");
            Said::new("times", text).at(span).try_line(typed.with(span, "1"))
        }
        Error::NoBreakpoint(number) => {
            Said::of_root(code::NO_SUCH_EVENT, format!("there is no breakpoint {number:x}")).try_line("bl")
        }
        Error::Order(refused) => threads::refused(refused),
        Error::OrderLate(_) | Error::NoProcess(_) | Error::NoActive | Error::StartElsewhere | Error::NotStarted(_) => {
            threads::not_done(error)
        }
        Error::NoCaller => Said::new("caller", "the stack does not say where this function returns to").try_line("k"),
        Error::StepsUnhalted(core) => {
            let text = format!("core {core:x} did not halt behind the instructions: the debuggee runs");
            Said::of_root(code::CORE_SILENT, text).try_line("pause")
        }
        Error::StepsLost => Said::new("away", "the debuggee went away while it executed them"),
        Error::NoModule { span, pattern } => names::none(span, None, *pattern, typed).try_line("lm"),
        Error::Task { span, wrong } => tasks::wrong(span.as_ref(), wrong, typed),
        Error::Memory(wrong) => memory::wrong(wrong, typed),
        Error::Fault(fault) => events::fault(fault),
        Error::Refused(Refusal::Event { code, answer, debugger_mode }) => events::refused(*code, answer, *debugger_mode, typed),
        Error::Refused(Refusal::Load { code, detail, holders, maker }) => load::refused(*code, *detail, holders, *maker),
        Error::Refused(Refusal::Plain { code, debugger_mode }) => plain(*code, *debugger_mode),
        Error::Reach(reach) => self::reach(reach),
        Error::Unwritten { path, why } => Said::new("file", format!("'{path}' cannot be written: {}", io(*why))),
        Error::File { path, why } => Said::new("file", format!("'{path}' cannot be read: {}", io(*why))),
        Error::Script { path, line, unreachable: _ } => Said::new("script", format!("stopped at line {line} of '{path}'")),
        Error::ScriptDepth(most) => Said::new("script", format!("scripts call each other more than {most} deep")),
        Error::Foretold => Said::new("unforeseen", "what they hold is known only when the line is run"),
        Error::PlanTooLarge(kind) => {
            Said::new("plan", format!("what the file takes of {kind} does not fit 64 bits, and a count is not cut"))
        }
        Error::PlanTooLong(most) => Said::new("plan", format!("the file and those it runs have more than {most} lines")),
        Error::Address(address) => Said::new("address", format!("'{address}' is no address of a debuggee"))
            .help("unix:PATH, tcp:HOST:PORT or /dev/ttyS0,115200"),
        Error::LoadedWithoutLink(number) => {
            let cores = cores(*number);
            Said::new("loaded", format!("the hypervisor is loaded already, on {cores}, and without a link")).try_line("unload")
        }
        Error::OnlyCom2 => Said::new("address", "the debuggee's end of the link can only be COM2")
            .try_line(".debug prepare serial 115200 com2"),
        Error::NoLink => Said::new("no-link", "there is no link to close: this is VMI mode"),
        Error::Cancelled => Said::new("cancelled", "given up waiting; what was asked may still be done"),
        Error::Ended => Said::new("ended", "the program was asked to end; this was not done"),
        Error::FetchSilent { seconds, short } => Said::of_root(
            code::BANK_SHORT,
            format!("linux did not hand over the 0x{short:x} missing pages within {seconds} s; nothing was reserved"),
        ),
        Error::UnloadSilent(seconds) => {
            Said::new("unload", format!("the debuggee did not say within {seconds} s that the hypervisor is unloaded"))
                .try_line(".status")
        }
        Error::FetchUnhalted(core) => Said::of_root(
            code::CORE_SILENT,
            format!("the pages are there, but core {core:x} did not halt again: the debuggee runs, and nothing was reserved"),
        )
        .try_line("pause"),
        Error::FetchLost => Said::new("away", "the debuggee went away while it fetched pages; nothing was reserved"),
    }
}

fn expression(error: &expr::Error, count: bool, whole: &Range<usize>, typed: &Line) -> Said {
    use expr::{Expected, Kind as Wrong};
    const RADIX: &str = "numbers are hex; 0n10 is decimal, 0y10 binary, 0t10 octal";
    let make = |message: String| Said::new("number", message).at(&error.span);
    let instead = |span: &Range<usize>, by: &str| typed.with(span, by);
    match &error.kind {
        Wrong::Empty => make("there is nothing to evaluate".to_owned()),
        Wrong::NotANumber(word) if registers::is_register(word) => {
            make(format!("'{word}' is not a number")).try_line(instead(&error.span, &format!("@{word}")))
        }
        Wrong::NotANumber(word) => make(format!("'{word}' is not a number")).help(RADIX).try_line(instead(whole, "10")),
        Wrong::NoName { word, near, nameless } => {
            let said = make(names::unknown(word, nameless.is_none())).help(RADIX);
            match (near, nameless) {
                (Some(near), _) => said.try_line(instead(&error.span, near)),
                (None, Some(nameless)) => names::because(said, nameless),
                (None, None) => said.try_line(instead(whole, "10")),
            }
        }
        Wrong::Ambiguous { word, places } => {
            names::ambiguous(make(names::several(word, places.len())), places, &|by| instead(&error.span, by))
        }
        Wrong::NotADigit { digit, radix, hex } => {
            let said = make(format!("'{digit}' is not a digit of a number to base {radix}"));
            said.help(RADIX).try_line(instead(whole, hex.as_deref().unwrap_or("10")))
        }
        Wrong::TooLarge => make("the number does not fit 64 bits; the largest is ffffffffffffffff".to_owned())
            .try_line(instead(whole, if count { "10" } else { "ffffffffffffffff" })),
        Wrong::Negative => make("a count cannot be negative".to_owned()).try_line(instead(whole, "10")),
        Wrong::Overflow => {
            let message = "the result does not fit 64 bits, and a count is not cut; the largest is ffffffffffffffff";
            make(message.to_owned()).try_line(instead(whole, "10"))
        }
        Wrong::DivideByZero => make("this is zero, and nothing can be divided by it".to_owned()),
        Wrong::Expected(Expected::Value) => make("a number, a register or '(' is missing here".to_owned()),
        Wrong::Expected(Expected::Closing) => make("this is never closed by ')'".to_owned()),
        Wrong::Expected(Expected::Operator) => {
            make("an operator is missing here".to_owned()).help("operators: + - * / % & | ^ ~ << >> ( )")
        }
        Wrong::TooDeep => make(format!("more than {} parentheses and signs inside each other", expr::DEPTH_MAX)),
        Wrong::NoRegister(name) => {
            let said = make(format!("there is no register '@{name}'"));
            match nearest::of(name, registers::GPRS.iter().chain(&["rip", "rflags", "efer"]).chain(&registers::CRS).copied()) {
                Some(register) => said.try_line(instead(&error.span, &format!("@{register}"))),
                None => said,
            }
        }
        Wrong::Registers(inner) => {
            let said = self::error(inner, typed);
            Said { span: Some(error.span.clone()), message: format!("no registers to read: {}", said.message), ..said }
        }
    }
}

fn plain(code: u32, debugger_mode: bool) -> Said {
    match code {
        code::NOT_LOADED if debugger_mode => Said::of_root(code, "the hypervisor is not loaded on the debuggee"),
        code::NOT_LOADED => Said::of_root(code, "the hypervisor is not loaded on this machine").try_line("load"),
        code::NOT_HALTED if debugger_mode => {
            Said::of_root(code, "the debuggee is running, and this needs it halted").try_line("pause")
        }
        code::NOT_HALTED | code::LINK_ONLY => Said::of_root(code, "a machine cannot halt itself: this needs debugger mode")
            .help("connect from another machine: .help .debug"),
        code::CORE_INVALID => Said::of_root(code, "there is no such core").try_line("~"),
        code::CORE_SILENT => Said::of_root(code, "a core did not answer within the limit").try_line("~"),
        code::UNBALANCED => {
            Said::of_root(code, "root has left, and its ledger did not balance: a fault of its own, please report it")
        }
        code::TEST_UNKNOWN => Said::of_root(code, "root does not know this test"),
        code::REQUEST_UNKNOWN => {
            Said::of_root(code, "root does not know this request: prompt and hypervisor are of different versions")
        }
        code::PROGRAM_REJECTED => Said::of_root(
            code,
            "root did not accept the program, or the core that should run it is silent; use prompt and hypervisor from one build",
        ),
        code::GLOBALS_CHANGED => Said::of_root(code, "other prompts make globals or load the hypervisor anew just now")
            .help("the same line may work a moment later"),
        code::REQUEST_MALFORMED => {
            Said::of_root(code, "root could not read this request: prompt and hypervisor are of different versions")
        }
        code => Said::of_root(code, "root refused with a code that this prompt does not know"),
    }
}

fn reach(reach: &Reach) -> Said {
    match reach {
        Reach::NoDevice => Said::new("no-device", "this machine has no /dev/hyperdbg: the module is not loaded")
            .help("in a shell, as root: insmod hyperkd.ko, then here: load"),
        Reach::Denied => Said::new("denied", "/dev/hyperdbg may only be opened by root").help("start hyperdbg with sudo"),
        Reach::System(why) => Said::new("system", format!("/dev/hyperdbg cannot be used: {}", io(*why))),
        Reach::NoDebuggee { address, why: Some(why) } => {
            Said::new("no-debuggee", format!("there is no debuggee at {address}: {}", io(*why)))
        }
        Reach::NoDebuggee { address, why: None } => {
            Said::new("no-debuggee", format!("the line {address} is open, but no debuggee answers on it"))
        }
        Reach::Away { address } => Said::new("away", format!("the debuggee at {address} is away; it is waited for")),
        Reach::Forgotten => Said::new(
            "forgotten",
            "the debuggee was started anew or another prompt took over; whether this was done is not known",
        )
        .try_line(".status"),
        Reach::Silent { waited_ms } => Said::new("silent", format!("the debuggee did not answer within {waited_ms} ms")),
        Reach::Protocol { theirs } => Said::new(
            "protocol",
            format!("the debuggee speaks protocol {theirs}, this prompt {}; use both from one build", abi::PROTOCOL),
        ),
        Reach::Malformed { op } => Said::new(
            "malformed",
            format!("the answer to request {op} has a wrong size; use prompt and hypervisor from one build"),
        ),
        Reach::Cancelled => Said::new("cancelled", "given up waiting; what was asked may still be done"),
        Reach::OverLink => Said::new("over-link", "the debuggee can be loaded only on its own machine")
            .help("there: .debug prepare serial 115200 com2"),
    }
}

pub(crate) fn io(why: io::ErrorKind) -> String {
    match why {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not".to_owned(),
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        io::ErrorKind::InvalidData => "it is not text".to_owned(),
        why => why.to_string(),
    }
}

/// The word for a reason of [`reason`].
#[must_use]
pub fn reason_word(number: u32) -> &'static str {
    match number {
        reason::PAUSE => "pause",
        reason::FETCHED => "pages fetched",
        reason::FETCH_FAILED => "pages not fetched",
        reason::CORE_SELECTED => "core selected",
        reason::HYPERCALL => "hypercall",
        reason::EVENT => "event",
        reason::STEPPED => "steps",
        reason::BREAKPOINT => "breakpoint",
        _ => "unknown reason",
    }
}

/// Why a machine halted, and what it runs there.
#[must_use]
pub fn halted(halted: &Halted) -> String {
    let Halted { core, reason, cpl, event, stage, running, .. } = halted;
    let why = match *reason {
        reason::EVENT => events::halted_by(*event, *stage),
        reason::BREAKPOINT => format!("breakpoint {event:x}"),
        reason => reason_word(reason).to_owned(),
    };
    let running = Running::of(running).map_or_else(String::new, |running| format!(", {}", running.text()));
    format!("halted on core {core:x}: {why}{running}, cpl {cpl}")
}

/// A word for a program and a sentence for people. A halt has a screen of its own.
#[must_use]
pub fn news(news: &News) -> (&'static str, String) {
    match news {
        News::Met { hello, how } => {
            let halted = if hello.halted == 0 { "running" } else { "halted" };
            let who = format!("{}, {}, {halted}", ascii(&hello.backend), cores(hello.cores));
            match how {
                Met::First => ("connected", format!("connected: {who}")),
                Met::Again => ("line-back", format!("the line is back: {who}")),
                Met::Back => ("back", format!("the debuggee is back: {who}")),
                Met::Unannounced => ("back", format!("the debuggee was started again meanwhile; it is back: {who}")),
            }
        }
        News::Lost => ("lost", "the line to the debuggee is cut; trying until it is back".to_owned()),
        News::Goodbye(why) => (
            "goodbye",
            match *why {
                goodbye::REBOOT => "the debuggee is rebooting; waiting for it".to_owned(),
                goodbye::SLEEP => "the debuggee goes to sleep; waiting for it".to_owned(),
                goodbye::UNLOAD => "the hypervisor was unloaded on the debuggee; waiting for it to be loaded again".to_owned(),
                goodbye::TRIPLE_FAULT => "the debuggee shut itself down by a triple fault; waiting for it".to_owned(),
                other => format!("the debuggee goes away (reason 0x{other:x}); waiting for it"),
            },
        ),
        News::Halted(context) => ("halted", halted(context)),
        News::Abandoned => (
            "abandoned",
            "nothing was heard of this prompt while the debuggee was halted, so it runs on; try: pause".to_owned(),
        ),
        News::Silent(core) => (
            "silent",
            format!("it should have halted, and core {core:x} did not within the limit: the debuggee runs on; try: pause"),
        ),
        News::LastWords(words) => {
            let lines: Vec<String> = words.lines().map(|line| format!("  | {line}")).collect();
            ("last-words", format!("root's last words:\n{}", lines.join("\n")))
        }
        News::Said { messages, lost: _ } => {
            ("said", messages.iter().map(|message| String::from_utf8_lossy(&message.text).into_owned()).collect())
        }
        News::OutputBroke { name, why } => ("output-broken", outputs::broke(name, *why)),
        News::OtherVersion(theirs) => ("protocol", reach(&Reach::Protocol { theirs: *theirs }).message),
    }
}

/// How many cores.
#[must_use]
pub fn cores(number: u32) -> String {
    if number == 1 { "1 core".to_owned() } else { format!("{number} cores") }
}

/// ASCII out of a field that is filled up with zeros.
#[must_use]
pub fn ascii(field: &[u8]) -> String {
    field
        .iter()
        .take_while(|byte| **byte != 0)
        .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '?' })
        .collect()
}
