//! Completion: which words may stand where the cursor is. Of a command's names the usual one is offered; the others only
//! to whoever has begun to type one of them and nothing else, or `pre` would be stuck before three spellings of one.
//!
//! Names of the kernel are completed where an address may stand, and in scripts. There are hundreds of thousands: found by a binary
//! search, and where too many fit, what they have in common is offered.

use crate::commands::{self, Takes};
use crate::line;
use crate::names::Names;
use abi::kind::Kind;

/// What can be completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// One of these words, in place of everything from the byte `start` on.
    Words {
        /// Where the word begins.
        start: usize,
        /// Whole words.
        candidates: Vec<&'static str>,
    },
    /// One of these names of the kernel's, or the beginning of all that fit, in place of everything from the byte `start` on.
    Names {
        /// Where the name begins.
        start: usize,
        /// Names.
        candidates: Vec<String>,
    },
    /// A path.
    File,
}

/// Names that are offered at most.
const NAMES_MAX: usize = 200;

/// Completes the end of `before`, the part of a line before the cursor.
#[must_use]
pub fn complete(before: &str, names: Option<&Names>) -> Completion {
    let start = before.rfind(char::is_whitespace).map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let typed = before[start..].to_lowercase();
    let words: Vec<&str> = before[..start].split_whitespace().collect();
    let among = |all: &mut dyn Iterator<Item = &'static str>| {
        let mut candidates: Vec<&'static str> = all.filter(|word| word.starts_with(&typed)).collect();
        candidates.sort_unstable();
        candidates.dedup();
        Completion::Words { start, candidates }
    };
    let none = Completion::Words { start, candidates: Vec::new() };
    let command = || match among(&mut commands::usual_names()) {
        Completion::Words { candidates, .. } if candidates.is_empty() => among(&mut commands::names()),
        usual => usual,
    };
    let Some((name, rest)) = words.split_first() else { return command() };
    let takes = commands::find(name).and_then(|command| match command.takes.get(rest.len()) {
        None => command.takes.last().filter(|last| matches!(last, Takes::Options(_) | Takes::Address)),
        takes => takes,
    });
    let Some(takes) = takes else { return none };
    let after = |word: &str| rest.last().is_some_and(|last| last.eq_ignore_ascii_case(word));
    // Whoever types the exclamation mark gets the types that may have one.
    let types = || {
        Kind::ALL
            .into_iter()
            .map(Kind::word)
            .chain(["!monitor", "!epthook", "!epthook2"])
            .filter(|word| !word.starts_with('!') || typed.starts_with('!'))
    };
    match takes {
        Takes::Words(choices) => among(&mut choices.iter().copied()),
        Takes::TypeOr(others) => among(&mut types().chain(others.iter().copied())),
        Takes::TypeOrFileAfter(words, _) | Takes::TypeOrAfter(words, _) if words.iter().any(|word| after(word)) => {
            among(&mut types())
        }
        Takes::TypeOrFileAfter(_, word) if after(word) => Completion::File,
        Takes::After(table) | Takes::TypeOrAfter(_, table) => match table.iter().find(|(word, _)| after(word)) {
            Some((_, choices)) => among(&mut choices.iter().copied()),
            None => none,
        },
        Takes::Options(_) if line::is_open(before) => named(before, names).unwrap_or(none),
        Takes::Type => typed_type(before, start, names).unwrap_or(none),
        Takes::Address | Takes::OneAddress => named(before, names).unwrap_or(none),
        Takes::Options(table) => match table.iter().find(|(word, _)| after(word)) {
            Some((_, choices)) => among(&mut choices.iter().copied()),
            None => {
                let left = table.iter().filter(|(word, _)| !rest.iter().any(|typed| typed.eq_ignore_ascii_case(word)));
                among(&mut left.map(|(word, _)| *word))
            }
        },
        Takes::File => Completion::File,
        Takes::FileAfter(word) if after(word) => Completion::File,
        Takes::TypeOrFileAfter(..) | Takes::FileAfter(_) => none,
        Takes::Command => command(),
    }
}

/// Completes a name of the kernel's at the end of a text.
fn named(before: &str, names: Option<&Names>) -> Option<Completion> {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '!');
    let start = before.rfind(|c| !part(c)).map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let word = &before[start..];
    // Registers, variables of scripts and numbers are none of the kernel's.
    let foreign = before[..start].ends_with(['@', '$', '"']) || word.starts_with(|c: char| c == '.' || c.is_ascii_digit());
    if word.is_empty() || foreign {
        return None;
    }
    let table = names?.shown().ok()?.table;
    let (module, typed) = word.split_once('!').map_or((None, word), |(module, name)| (Some(module), name));
    let with_module = |name: &str| module.map_or_else(|| name.to_owned(), |module| format!("{module}!{name}"));
    let candidates = match table.beginning(module, typed, NAMES_MAX) {
        (_, true) if table.common(typed).len() > typed.len() => vec![with_module(table.common(typed))],
        (found, _) => found.into_iter().map(with_module).collect(),
    };
    Some(Completion::Names { start, candidates })
}

/// Completes the name of a type, if types are known.
fn typed_type(before: &str, start: usize, names: Option<&Names>) -> Option<Completion> {
    let word = &before[start..];
    let types = names?.types().filter(|_| !word.is_empty())?;
    let candidates = types.beginning(word, NAMES_MAX).into_iter().map(str::to_owned).collect();
    Some(Completion::Names { start, candidates })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(before: &str) -> Vec<&'static str> {
        match complete(before, None) {
            Completion::Words { candidates, .. } => candidates,
            Completion::Names { .. } => vec!["(names)"],
            Completion::File => vec!["(file)"],
        }
    }

    /// Would catch a position whose words are those of another.
    #[test]
    fn each_position_offers_what_may_stand_there() {
        assert_eq!(words("ex"), ["exit", "exits"]);
        assert_eq!(words("PREALLOC reg"), ["regular-event", "regular-safe-buffer"]);
        assert_eq!(words("prealloc !mo"), ["!monitor"]);
        assert_eq!(words("prealloc release mo"), ["monitor"]);
        assert_eq!(words("prealloc pl"), ["plan"]);
        assert_eq!(words("prealloc plan "), ["(file)"]);
        assert_eq!(words("prealloc -"), ["--watch"]);
        assert_eq!(words("test hold br"), ["breakpoint"]);
        assert_eq!(words("test fail !mo"), ["!monitor"]);
        assert_eq!(words("test l"), ["let"]);
        assert!(words("prealloc monitor ").is_empty(), "a number comes here");
        assert_eq!(words("test fault "), ["page", "stack", "ud"]);
        assert_eq!(words("test trap o"), ["off", "on"]);
        assert_eq!(words("!msrread c0000080 st"), ["stage"]);
        assert_eq!(words("!cpuid 1 stage p"), ["post", "pre"]);
        assert_eq!(words("!tsc core 1 sc on s"), ["script", "stage"], "each once");
        assert!(words("!tsc script { s").is_empty(), "nobody knows names here");
        assert_eq!(words("events d"), ["d", "disable"]);
        assert_eq!(words(".script "), ["(file)"]);
        assert_eq!(words(".help .sc"), [".script"]);
        assert!(words("nonsense ").is_empty());
    }

    /// Would catch `pre` that stops before three spellings of one command, or a spelling that cannot be completed.
    #[test]
    fn other_names_are_offered_only_where_no_usual_name_fits() {
        assert_eq!(words("pre"), ["prealloc"]);
        assert_eq!(words(".help pre"), ["prealloc"]);
        assert_eq!(words("prealloca"), ["preallocate", "preallocation"]);
        assert_eq!(words("cle"), ["clear"]);
    }

    /// Would catch a start in the middle of a character.
    #[test]
    fn the_replaced_part_begins_after_any_blank() {
        assert_eq!(complete("prealloc\u{3000}mon", None), Completion::Words { start: 11, candidates: vec!["monitor"] });
    }
}
