//! What is wrong with events and scripts, in words.
//!
//! **Holds always**: a line that is offered works where the numbers of the refusal still hold.

use super::detours;
use super::{Said, plain, units};
use crate::assemble::Bound;
use crate::error;
use crate::event::{Wrong, epthook, monitor};
use crate::line::Line;
use crate::program::{Fault, Trouble};
use abi::code;
use abi::kind::Kind;
use abi::request::{EventAnswer, PreallocAnswer, event};
use std::ops::Range;

/// The word for a stage.
pub(crate) fn stage_word(stage: u32) -> &'static str {
    match stage {
        event::PRE => "pre",
        event::POST => "post",
        _ => "unknown stage",
    }
}

/// What halted the machine; a script of any event can do it, and is not named.
pub(super) fn halted_by(id: u32, stage: u32) -> String {
    let by = if id == event::ALL { "pause() of a script".to_owned() } else { format!("event {id:x}") };
    format!("{by} ({})", stage_word(stage))
}

/// What a run ended by, without its place.
pub(crate) fn fault_words(fault: u64, address: Option<u64>) -> String {
    match fault & 0xffff_ffff {
        1 => match address {
            Some(address) => format!("nothing can be read or written at {address:x}"),
            None => "an address that cannot be read or written".to_owned(),
        },
        2 => "a division by zero".to_owned(),
        3 => "more steps than a run may take".to_owned(),
        4 => "calls inside each other deeper than there is room for".to_owned(),
        5 => "something that the machine refuses here".to_owned(),
        6 => "a program that root cannot run".to_owned(),
        7 => machine_fault("condition", fault >> 32),
        8 => machine_fault("code", fault >> 32),
        other => format!("a fault with the unknown number 0x{other:x}"),
    }
}

/// What machine code ended by: its vector, and where.
fn machine_fault(what: &str, at: u64) -> String {
    const NAMES: [&str; 22] = [
        "#DE", "#DB", "", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "", "#TS", "#NP", "#SS", "#GP", "#PF", "", "#MF", "#AC",
        "", "#XF", "", "#CP",
    ];
    let (vector, offset) = (at >> 24 & 0xff, at & 0xff_ffff);
    let name = usize::try_from(vector).ok().and_then(|vector| NAMES.get(vector)).filter(|name| !name.is_empty());
    let name = name.map_or_else(String::new, |name| format!(" ({name})"));
    let place =
        if offset == u64::from(event::CODE_OUTSIDE) { "outside of it".to_owned() } else { format!("at offset {offset:x}") };
    format!("{what} faulted: vector {vector:x}{name} {place}")
}

/// A run at the prompt that ended early.
pub(super) fn fault(fault: &Fault) -> Said {
    let Fault { number, address, span } = fault;
    let message = match number & 0xffff_ffff {
        1 => fault_words(*number, Some(*address)),
        _ => format!("the run ended early by {}", fault_words(*number, Some(*address))),
    };
    Said { span: span.clone(), ..Said::new("fault", message) }
}

/// A script that does not compile.
pub(super) fn troubles(troubles: &[Trouble], instead: Option<&String>) -> Said {
    let one = |trouble: &Trouble| {
        let Trouble { span, place, message, help } = trouble;
        let mut said = Said { span: span.clone(), place: place.clone(), ..Said::new("script", message) };
        // The line that is offered has it in.
        said.help.extend(help.clone().filter(|_| instead.is_none()));
        said
    };
    let Some((first, rest)) = troubles.split_first() else { return Said::new("script", "the script cannot be compiled") };
    Said { more: rest.iter().map(one).collect(), try_line: instead.cloned(), ..one(first) }
}

/// Assembly that is no code which stands alone.
pub(crate) fn bound(why: &Bound) -> String {
    match why {
        Bound::Nowhere(name) => format!("'{name}' is nowhere: code stands alone, without symbols"),
        Bound::Itself => "code does not know its address before it runs: lea rax, [rip + LABEL] tells it".to_owned(),
        Bound::Fixed => "a fixed address is reached through a register: mov rax, ADDRESS; call rax".to_owned(),
        Bound::Section(name) => format!("all of it must stand in .text, and something is in {name}"),
        Bound::Unreadable => "what the assembler wrote cannot be read".to_owned(),
    }
}

/// Words of an event command that do not go together.
pub(super) fn wrong(span: &Range<usize>, wrong: &Wrong, typed: &Line) -> Said {
    let word = typed.text().get(span.clone()).unwrap_or("");
    let said = |message: String| Said::new("event", message).at(span);
    let behind = |more: &str| format!("{} {more}", typed.text().trim());
    match wrong {
        Wrong::Twice => said(format!("'{word}' stands there twice")),
        Wrong::NoValue => said(format!("something is missing behind '{word}'")),
        Wrong::TooLarge { what, most } => {
            said(format!("{what} is {most:x} at most")).try_line(typed.with(span, &format!("{most:x}")))
        }
        Wrong::NotException => {
            let message = format!("exceptions have vectors 0 to 1f, and this is {word}");
            Said { code: format!("{:x}", code::EXCEPTION_INVALID), ..said(message) }.try_line(typed.with(span, "e"))
        }
        Wrong::NotInterrupt => {
            let message = format!("external interrupts have vectors 20 to ff, and this is {word}");
            Said { code: format!("{:x}", code::INTERRUPT_INVALID), ..said(message) }.try_line(typed.with(span, "ec"))
        }
        Wrong::NoWayBack => {
            let message = "a kernel cannot go on without its way back: !sysret suppresses nothing".to_owned();
            said(message).try_line(typed.with(span, "off"))
        }
        Wrong::NoSuchControl => said(format!("writes of control register {word} cannot be watched, those of 0 and 4 can"))
            .try_line(typed.with(span, "4")),
        Wrong::NoBit => {
            let help = "without a mask every write is meant, whether it changes something or not";
            said("no bit of this mask can change".to_owned()).help(help).try_line(typed.with(span, ""))
        }
        Wrong::NoBraces => said("a script stands in braces".to_owned()).try_line(typed.with(span, "{ print($pid); }")),
        Wrong::Open => said("this is never closed by '}'".to_owned()),
        Wrong::NoCodeBraces { assembly: false } => {
            said("machine code stands in braces".to_owned()).try_line(typed.with(span, "{ 90 }"))
        }
        Wrong::NoCodeBraces { assembly: true } => {
            said("assembly stands in braces".to_owned()).try_line(typed.with(span, "{ nop }"))
        }
        Wrong::NoCode => said("nothing is in these braces".to_owned()),
        Wrong::NotHex => {
            said(format!("'{word}' is no hex digit")).help("bytes have two digits each, as in { 31 c0 } or { 31c0 }")
        }
        Wrong::OddDigits => {
            let mut even = format!("0{word}");
            if word.len() > 1 {
                even = format!("{}0{}", &word[..word.len() - 1], &word[word.len() - 1..]);
            }
            said(format!("bytes have two digits each, and '{word}' has a digit too few or too many"))
                .help(format!("such as {even}"))
        }
        Wrong::NoAssembler => said("there is no assembler here: as, of binutils".to_owned())
            .help("apt install binutils")
            .help("without it the same is written in bytes: condition { … }, code { … }"),
        Wrong::Assembler { why } => said(format!("the assembler (as) cannot be run: {}", super::io(*why))),
        Wrong::ShortCircuitPost => {
            let message = "only before the instruction its effect can be suppressed (sc on)".to_owned();
            Said { code: format!("{:x}", code::SHORT_CIRCUIT_POST), ..said(message) }.try_line(typed.with(span, "pre"))
        }
        Wrong::NoBuffer => Said::new("event", "the script uses $buffer, and the event has none").try_line(behind("buffer 8")),
        Wrong::Range(range) => {
            let said = |message: &str| Said::new("range", message).at(span);
            match range {
                monitor::Wrong::NoAccess => {
                    Said::new("range", "which accesses: reads (r), writes (w), executed instructions (x), or several of them")
                        .help("!monitor w FROM l LENGTH")
                }
                monitor::Wrong::NoRange => Said::new("range", "which bytes").help("!monitor w FROM l LENGTH"),
                monitor::Wrong::NoEnd => said("up to where").try_line(typed.with(&(span.end..span.end), " l 8")),
                monitor::Wrong::Backward { from } => {
                    said("the last byte is before the first").try_line(typed.with(span, &format!("{from:x}")))
                }
                monitor::Wrong::Empty => said("no byte is none to be monitored").try_line(typed.with(span, "1")),
                monitor::Wrong::Beyond => said("there are not so many addresses").try_line(typed.with(span, "1")),
            }
        }
        Wrong::NotFast => said("only a hook can be fast".to_owned()).try_line(typed.with(span, "")),
        Wrong::Hook(epthook::Wrong::NoAddress) => Said::new("address", "which instruction").help("!epthook NAME script { … }"),
        Wrong::Hook(epthook::Wrong::Inside { address, begins, next }) => {
            Said::new("address", format!("{address:x} is inside of an instruction"))
                .at(span)
                .help(format!("it begins at {begins:x}, and the next one at {next:x}"))
                .try_line(typed.with(span, &format!("{begins:x}")))
        }
        Wrong::Detour(why) => detours::wrong(span, why, typed),
        Wrong::CannotHalt => {
            Said::new("event", "without a script the event would halt the machine, and a machine cannot halt itself")
                .help("here an event has a script; halting needs debugger mode: .help .debug")
                .try_line(behind("script { print($pid); }"))
        }
    }
}

/// What root refuses about an event.
pub(super) fn refused(code: u32, answer: &EventAnswer, debugger_mode: bool, typed: &Line) -> Said {
    let EventAnswer { id, unit, asked, free, reserved, bytes, bytes_most, rejected } = *answer;
    let kind = Kind::from_number(unit);
    match code {
        code if kind.is_some_and(|kind| code == code::used_up(kind) || code == code::INJECTED) => {
            // What the machine could reserve at most is not told here: `prealloc` says it.
            let answer = PreallocAnswer { kind: unit, asked, free, reserved, most: u64::MAX, ..PreallocAnswer::default() };
            units::refused(code, &answer, error::Wanted::Take, 0, typed)
        }
        code::NO_SUCH_EVENT => Said::of_root(code, format!("there is no event {id:x}")).try_line("events"),
        code::PROGRAM_TOO_LARGE => {
            Said::of_root(code, format!("what the event runs takes 0x{bytes:x} bytes, and a big event holds 0x{bytes_most:x}"))
        }
        code::CONDITION_TOO_LARGE => {
            Said::of_root(code, format!("the condition takes 0x{bytes:x} bytes, and in a big event it has 0x{bytes_most:x}"))
        }
        code::BUFFER_TOO_LARGE => {
            let said = Said::of_root(code, format!("0x{bytes:x} bytes asked, and a big safe buffer has 0x{bytes_most:x}"));
            match value_of("buffer", typed) {
                Some(span) => said.at(&span).try_line(typed.with(&span, &format!("{bytes_most:x}"))),
                None => said,
            }
        }
        code::EVENTS_FULL => {
            let all =
                if reserved == 0 { "as many events as there can be".to_owned() } else { format!("all 0x{reserved:x} events") };
            Said::of_root(code, format!("{all} are registered")).help("events c NUMBER clears one").try_line("events")
        }
        code::COUNT_TOO_LARGE => {
            Said::of_root(code, format!("the range has more than 0x{bytes_most:x} pages")).help("several monitors can share it")
        }
        code::EVENT_INVALID => Said::of_root(code, "this machine has no such event, or not with these options"),
        code::NO_PLACE | code::CODE_CHANGED | code::NOT_MOVABLE | code::OVERLAPS => detours::refused(code, bytes, typed),
        code::EXCEPTION_INVALID => Said::of_root(code, "exceptions have vectors 0 to 1f"),
        code::INTERRUPT_INVALID => Said::of_root(code, "external interrupts have vectors 20 to ff"),
        code::SHORT_CIRCUIT_POST => Said::of_root(code, "only before the instruction its effect can be suppressed (sc on)"),
        // The verifier's third refusal has a reason that a person can do something about.
        code::PROGRAM_REJECTED if rejected & 0xffff_ffff == 3 => {
            let cells = rejected >> 32;
            Said::of_root(code, format!("the globals of all scripts take 0x{cells:x} cells of 8 bytes, and root has fewer"))
                .help("unload and load begin anew")
        }
        code::PROGRAM_REJECTED if rejected != 0 => {
            let (what, at) = (rejected & 0xffff_ffff, rejected >> 32);
            let why = format!("root did not accept the program (reason 0x{what:x} at 0x{at:x})");
            Said::of_root(code, format!("{why}: use prompt and hypervisor from one build"))
        }
        code => plain(code, debugger_mode),
    }
}

/// Where the word behind an option stands.
fn value_of(option: &str, typed: &Line) -> Option<Range<usize>> {
    let mut words = typed.words().iter();
    words.find(|word| word.text.eq_ignore_ascii_case(option))?;
    words.next().map(|word| word.span.clone())
}
