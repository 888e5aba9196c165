//! Names that are not known, in words.

use super::{Said, io};
use crate::line::Line;

use crate::names::{LIST, Nameless};
use std::ops::Range;
use symbols::Wrong;

/// Rows of an ambiguous name that a refusal shows.
const PLACES_SHOWN: usize = 16;

/// A word that is nothing.
pub(super) fn unknown(word: &str, names_known: bool) -> String {
    if names_known {
        format!("'{word}' is not a number, and nothing in the kernel has this name")
    } else {
        format!("'{word}' is not a number, and no names of the kernel are known")
    }
}

/// A word that is too much.
pub(crate) fn several(word: &str, count: usize) -> String {
    format!("'{word}' stands for {count} addresses")
}

/// The same for one line: the first few.
pub(crate) fn several_in_words(word: &str, places: &[(u64, String)]) -> String {
    const FEW: usize = 4;
    let shown: Vec<String> = places.iter().take(FEW).map(|(address, name)| format!("{name} at {address:x}")).collect();
    let more = if places.len() > FEW { format!(", and {} more", places.len() - FEW) } else { String::new() };
    format!("{}: {}{more}", several(word, places.len()), shown.join(", "))
}

/// Each of them, and the line with the first.
pub(super) fn ambiguous(mut said: Said, places: &[(u64, String)], instead: &dyn Fn(&str) -> String) -> Said {
    said.help = places.iter().take(PLACES_SHOWN).map(|(address, name)| format!("{address:016x} {name}")).collect();
    if places.len() > PLACES_SHOWN {
        said.help.push(format!("and {} more", places.len() - PLACES_SHOWN));
    }
    match places.first() {
        Some((address, _)) => said.try_line(instead(&format!("{address:x}"))),
        None => said,
    }
}

/// Adds why no names are known, and what helps.
pub(super) fn because(said: Said, nameless: &Nameless) -> Said {
    let why = reason(nameless);
    match nameless {
        Nameless::Wrong { wrong: Wrong::Hidden, .. } => said.help(why).help(UNHIDE).try_line(".sym reload"),
        Nameless::NotFetched => said.help(why).try_line(".sym reload"),
        _ => said.help(why).try_line(".help .sym"),
    }
}

/// Why a script finds no names.
pub(super) fn in_script(nameless: &Nameless) -> String {
    format!("no names of the kernel are known: {} (.help .sym)", reason(nameless))
}

/// What shows hidden addresses again.
const UNHIDE: &str = "in a shell, as root: sysctl kernel.kptr_restrict=1";

/// A distance in bytes, with its sign.
pub(crate) fn distance(bytes: u64) -> String {
    let down = bytes.wrapping_neg();
    if down < bytes { format!("-0x{down:x}") } else { format!("0x{bytes:x}") }
}

/// Why no names are known, after a colon or on a line of its own.
pub(crate) fn reason(nameless: &Nameless) -> String {
    match nameless {
        Nameless::NotFetched => "they were not fetched".to_owned(),
        Nameless::File { path, why } => format!("'{path}' cannot be read: {}", io(*why)),
        Nameless::Wrong { path, wrong } => match wrong {
            Wrong::Hidden => format!("the system hides addresses: in {path} all are zero"),
            Wrong::Empty => format!("there are no names in '{path}'"),
            Wrong::Line(number) => format!("line {number} of '{path}' is not an address, a kind and a name"),
            Wrong::TooMany(most) => format!("'{path}' holds more than the {most} that can be kept"),
            Wrong::Cut(what) => format!("'{path}' is not whole: {what}"),
            Wrong::Unknown => format!("'{path}' is of no kind that is read here"),
        },
        Nameless::Other { path, name, here, there } => {
            format!("'{path}' is of another kernel: it has {name} at {there:x}, and here it is at {here:x}")
        }
        Nameless::OtherModule { path, name, here, there } => {
            format!("'{path}' is of another build of the module: by it {name} is at {there:x}, and here it is at {here:x}")
        }
        Nameless::OtherBuild { path, here, there } => {
            format!("'{path}' is of another build: its number is {there}, and what runs has {here}")
        }
        Nameless::NotLoaded { path, module } => format!("'{path}' is of the module '{module}', which is not loaded"),
        Nameless::NoAnchor { path } => format!("'{path}' has none of the names by which a file is compared with the machine"),
        Nameless::NoNote => "the debuggee's kernel did not say where they lie in its memory".to_owned(),
        Nameless::Memory(what, wrong) => {
            let wrong = match wrong {
                Wrong::Empty => "is not there".to_owned(),
                Wrong::TooMany(most) => format!("is larger than {most}"),
                Wrong::Cut(part) => format!("is not whole ({part})"),
                Wrong::Hidden | Wrong::Line(_) | Wrong::Unknown => "is not what it should be".to_owned(),
            };
            format!("in the debuggee's memory, {what} {wrong}")
        }
        Nameless::Untyped(module) => format!("no module '{module}' that brings any is loaded"),
        Nameless::Unreadable(address, code) => format!("nothing can be read at {address:x} of the debuggee ({code:x})"),
        Nameless::Refused(code) => super::plain(*code, true).message,
        Nameless::Reach(reach) => super::reach(reach).message,
    }
}

/// A command that needs names.
pub(super) fn refused(nameless: &Nameless, span: Option<&Range<usize>>) -> Said {
    let of_a_file = match nameless {
        Nameless::File { path, .. } | Nameless::Wrong { path, .. } => path != LIST,
        Nameless::Other { .. } | Nameless::OtherModule { .. } | Nameless::OtherBuild { .. } => true,
        Nameless::NotLoaded { .. } | Nameless::NoAnchor { .. } => true,
        _ => false,
    };
    let reason = reason(nameless);
    let message = if of_a_file { reason } else { format!("no names of the kernel are known: {reason}") };
    let said = Said { span: span.cloned(), ..Said::new("names", message) };
    match nameless {
        Nameless::NotFetched => said.try_line(".sym reload"),
        Nameless::Wrong { wrong: Wrong::Hidden, path } if path == LIST => said.help(UNHIDE).try_line(".sym reload"),
        Nameless::Wrong { path, .. } if path != LIST => said
            .help("a file of names is a copy of the machine's own list (/proc/kallsyms or System.map),")
            .help("or a vmlinux, a module or a debug file of one of them, with its names"),
        Nameless::NotLoaded { .. } => said.try_line("lm"),
        Nameless::Other { .. } => {
            said.help("take one of the kernel that runs: on that machine, as root: cat /proc/kallsyms >FILE")
        }
        _ => said,
    }
}

/// A name or a pattern that nothing has.
pub(super) fn none(span: &Range<usize>, near: Option<&str>, pattern: bool, typed: &Line) -> Said {
    let word = typed.text().get(span.clone()).unwrap_or("");
    let what = if pattern { "fits" } else { "has the name" };
    let said = Said::new("no-name", format!("nothing in the kernel {what} '{word}'")).at(span);
    match near {
        Some(near) => said.try_line(typed.with(span, near)),
        None => said,
    }
}

/// A type that there is not.
pub(super) fn no_type(span: &Range<usize>, near: Option<&str>, typed: &Line) -> Said {
    let word = typed.text().get(span.clone()).unwrap_or("");
    let said = match word.split_once('!') {
        Some((module, name)) => format!("{module} has no type '{name}' of its own"),
        None => format!("neither the kernel nor a module has a type '{word}'"),
    };
    let said = Said::new("no-type", said).at(span);
    match near {
        Some(near) => said.try_line(typed.with(span, near)),
        None => said,
    }
}
