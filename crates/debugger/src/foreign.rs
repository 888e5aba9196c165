//! What people type who know gdb, WinDbg or HyperDbg, and what there is of it here.
//!
//! Names of HyperDbg's that are not commands yet are told from slips: nobody is offered another command in their place.
//! **Proof**: the tests below fail when a name here becomes a command, or when a line that is offered is none.

use crate::commands;
use crate::error::Error;
use crate::line::Line;
use crate::nearest;
use std::ops::Range;

/// What there is of it here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// This line does the same.
    Line(String),
    /// Nothing, so far.
    NotYet,
}

/// The error for a line whose name is no command's.
pub(crate) fn unknown(line: &Line) -> Error {
    match (of(line), line.words().first()) {
        (Some((span, foreign)), _) => Error::Foreign { span, foreign },
        (None, name) => {
            let span = name.map_or(0..0, |name| name.span.clone());
            Error::UnknownCommand { span, nearest: nearest::of(line.name(), commands::names()) }
        }
    }
}

/// A line of ours; with `Rest`, what was typed behind the name belongs behind it, too, and with `Same` it may be nothing.
#[derive(Clone, Copy)]
enum Ours {
    Line(&'static str),
    Rest(&'static str),
    Same(&'static str),
}
use Ours::{Line as Whole, Rest, Same};

/// Others' names, the longer ones before what they begin with. The last word may be cut short, as gdb has it.
const OURS: &[(&str, Ours)] = &[
    ("bt", Whole("k")),
    ("backtrace", Whole("k")),
    ("where", Whole("k")),
    ("c", Whole("g")),
    ("q", Whole("exit")),
    ("qq", Whole("exit")),
    ("quit", Whole("exit")),
    ("interrupt", Whole("pause")),
    ("info registers", Whole("r")),
    ("info regs", Whole("r")),
    ("info all-registers", Whole("r")),
    ("info threads", Whole(".thread list")),
    ("info", Whole(".status")),
    ("vertarget", Whole(".status")),
    ("version", Whole(".status")),
    ("b", Rest("bp")),
    ("break", Rest("bp")),
    ("n", Same("p")),
    ("ni", Same("p")),
    ("next", Same("p")),
    ("nexti", Same("p")),
    ("finish", Whole("gu")),
    ("info breakpoints", Whole("bl")),
    ("si", Same("t")),
    ("stepi", Same("t")),
    ("disas", Rest("u")),
    ("disassemble", Rest("u")),
    ("source", Rest(".script")),
    ("man", Rest(".help")),
    ("target remote", Whole(".help .debug")),
    ("connect", Whole(".help .debug")),
    (".connect", Whole(".help .debug")),
    ("listen", Whole(".help .debug")),
    (".listen", Whole(".help .debug")),
    ("disconnect", Whole(".debug close")),
    (".disconnect", Whole(".debug close")),
];

/// HyperDbg's commands that are still to come, and what gdb and WinDbg call the like of them.
const NOT_YET: &str = "a asm assemble assembly cpu dl struct structure \
     flush kd kq preactivate rdmsr wrmsr setting settings .setting .settings \
     cpuid ucpuid .logopen .logclose pagein .pagein .pe restart .restart sympath \
     .sympath dump .dump !a !asm !assemble !dl !dt !dump \
     !apic !lapic !localapic !ioapic !idt !pcitree !pcietree !pcicam !smi !lbr !lbrdump !pt \
     !measure !hide !unhide track !track rev !rev !pmc !xsetbv \
     !mode !trace \
     tbreak hbreak watch ba bm kb kp kv s step \
     uf da du";

/// The like of two words.
const NOT_YET_OF_TWO: &[&str] = &["info watchpoints"];

/// What somebody may have meant whose first word is no command of ours, and which part of the line says so.
#[must_use]
pub fn of(line: &Line) -> Option<(Range<usize>, Foreign)> {
    let not_yet = missing().filter_map(|name| Some((typed(line, name)?, name.len(), Foreign::NotYet)));
    let ours = OURS.iter().filter_map(|(name, ours)| {
        let (span, words) = typed(line, name)?;
        Some(((span, words), name.len(), Foreign::Line(ours.line(line, words))))
    });
    // What two words say is said more exactly than what the first of them does.
    let ((span, _), _, foreign) = not_yet.chain(ours).max_by_key(|((_, words), letters, _)| (*words, *letters))?;
    Some((span, foreign))
}

fn missing() -> impl Iterator<Item = &'static str> {
    NOT_YET.split_whitespace().chain(NOT_YET_OF_TWO.iter().copied())
}

impl Ours {
    fn line(self, typed: &Line, words: usize) -> String {
        let rest = typed.words().get(words).map_or("", |word| typed.text()[word.span.start..].trim_end());
        match self {
            Whole(ours) => ours.to_owned(),
            Rest(ours) if rest.is_empty() => format!(".help {ours}"),
            Rest(ours) | Same(ours) => format!("{ours} {rest}").trim_end().to_owned(),
        }
    }
}

/// Where `name` was typed, and how many words it has: its second word may be cut short.
fn typed(line: &Line, name: &str) -> Option<(Range<usize>, usize)> {
    let (first, second) = name.split_once(' ').map_or((name, None), |(first, second)| (first, Some(second)));
    let head = line.words().first().filter(|word| word.text.eq_ignore_ascii_case(first))?;
    let Some(second) = second else { return Some((head.span.clone(), 1)) };
    let tail = line.words().get(1).filter(|word| !word.text.is_empty() && second.starts_with(&word.text.to_lowercase()))?;
    Some((head.span.start..tail.span.end, 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands;

    fn first(line: &str) -> &str {
        line.split(' ').next().unwrap_or(line)
    }

    /// Would catch a command that has come and is still said to be missing, and a name that is never asked about.
    #[test]
    fn no_name_here_is_a_command() {
        let names = missing().chain(OURS.iter().map(|(name, _)| *name));
        let taken: Vec<&str> = names.filter(|name| commands::find(first(name)).is_some()).collect();
        assert!(taken.is_empty(), "{taken:?}");
    }

    /// Would catch a line that is offered and is none.
    #[test]
    fn every_line_of_ours_begins_with_a_command() {
        for (name, Whole(ours) | Rest(ours) | Same(ours)) in OURS {
            assert!(commands::find(first(ours)).is_some(), "{name}: {ours}");
        }
    }

    /// Would catch `info threads` that is taken for `info`, a rest that is lost, or one that is kept where it means nothing.
    #[test]
    fn two_words_say_more_than_one_and_a_rest_is_kept_where_it_belongs() {
        let said = |text: &str| of(&Line::new(text)).map(|(span, foreign)| (text[span].to_owned(), foreign));
        let ours = |typed: &str, ours: &str| Some((typed.to_owned(), Foreign::Line(ours.to_owned())));
        assert_eq!(said("info thr"), ours("info thr", ".thread list"));
        assert_eq!(said("INFO reg rax"), ours("INFO reg", "r"));
        assert_eq!(said("info regs"), ours("info regs", "r"));
        assert_eq!(said("info"), ours("info", ".status"));
        assert_eq!(said("info line 3"), ours("info", ".status"));
        assert_eq!(said("info wa"), Some(("info wa".to_owned(), Foreign::NotYet)));
        assert_eq!(said("source a b "), ours("source", ".script a b"));
        assert_eq!(said("source"), ours("source", ".help .script"));
        assert_eq!(said("c 5"), ours("c", "g"));
        assert_eq!(said("!Pmc 1"), Some(("!Pmc".to_owned(), Foreign::NotYet)));
        assert_eq!(said("nonsense"), None);
        assert_eq!(said(""), None);
    }
}
