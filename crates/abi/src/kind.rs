//! The kinds of objects that can be reserved, by the names and numbers of the documentation.

/// What one count of `prealloc TYPE` buys. The discriminants are those of the request structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Kind {
    /// Extra pages of `!monitor`.
    Monitor = 0,
    /// What root remembers about the threads of an intercepted process.
    ThreadInterception = 1,
    /// Extra pages of `!epthook`.
    Epthook = 2,
    /// Extra pages of `!epthook2`.
    Epthook2 = 3,
    /// Regular instant events with their action.
    RegularEvent = 4,
    /// Big instant events with their action.
    BigEvent = 5,
    /// Regular safe buffers (`$buffer`), 4096 bytes.
    RegularSafeBuffer = 6,
    /// Big safe buffers (`$buffer`), 81920 bytes.
    BigSafeBuffer = 7,
    /// Breakpoints (`bp`): the documentation has a number for running out of them, and no type to reserve more.
    Breakpoint = 8,
}

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = 9;

    /// Every kind, in the order of its number.
    pub const ALL: [Kind; Kind::COUNT] = [
        Kind::Monitor,
        Kind::ThreadInterception,
        Kind::Epthook,
        Kind::Epthook2,
        Kind::RegularEvent,
        Kind::BigEvent,
        Kind::RegularSafeBuffer,
        Kind::BigSafeBuffer,
        Kind::Breakpoint,
    ];

    /// The kind with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Kind> {
        let mut i = 0;
        while i < Kind::COUNT {
            if Kind::ALL[i] as u32 == number {
                return Some(Kind::ALL[i]);
            }
            i += 1;
        }
        None
    }

    /// The word that people type.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Monitor => "monitor",
            Kind::ThreadInterception => "thread-interception",
            Kind::Epthook => "epthook",
            Kind::Epthook2 => "epthook2",
            Kind::RegularEvent => "regular-event",
            Kind::BigEvent => "big-event",
            Kind::RegularSafeBuffer => "regular-safe-buffer",
            Kind::BigSafeBuffer => "big-safe-buffer",
            Kind::Breakpoint => "breakpoint",
        }
    }

    /// The kind that a word names: any case, and the spelling of the command (`!monitor`) for the three hooks.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Kind> {
        let (word, bang) = match word.strip_prefix('!') {
            Some(rest) => (rest, true),
            None => (word, false),
        };
        let kind = Kind::ALL.into_iter().find(|kind| kind.word().eq_ignore_ascii_case(word))?;
        let is_hook = matches!(kind, Kind::Monitor | Kind::Epthook | Kind::Epthook2);
        (!bang || is_hook).then_some(kind)
    }

    /// Index into a table with [`Kind::COUNT`] rows.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a number that moved: foreign programs send the documented ones.
    #[test]
    fn numbers_are_those_of_the_documentation() {
        assert_eq!(Kind::from_number(0), Some(Kind::Monitor));
        assert_eq!(Kind::from_number(1), Some(Kind::ThreadInterception));
        assert_eq!(Kind::from_number(7), Some(Kind::BigSafeBuffer));
        assert_eq!(Kind::from_number(8), Some(Kind::Breakpoint), "ours, behind theirs");
        assert_eq!(Kind::from_number(9), None);
        assert!(Kind::ALL.iter().enumerate().all(|(i, kind)| kind.index() == i));
    }

    /// Would catch a spelling that HyperDbg takes and we do not, or the other way round.
    #[test]
    fn words_are_taken_in_any_case_and_hooks_also_by_their_command() {
        assert_eq!(Kind::from_word("Regular-EVENT"), Some(Kind::RegularEvent));
        assert_eq!(Kind::from_word("!EPTHOOK2"), Some(Kind::Epthook2));
        assert_eq!(Kind::from_word("!regular-event"), None);
        assert_eq!(Kind::from_word("monitors"), None);
        assert_eq!(Kind::from_word(""), None);
    }
}
