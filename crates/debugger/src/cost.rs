//! What a line takes of the reserve, told without running it.
//!
//! A command that takes units says so by [`crate::commands::Command::cost`], by the same function that it computes its request
//! with; `prealloc plan` adds them up. **Holds always**: sums are checked, none is cut.

use abi::kind::Kind;

/// Units by type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units([u64; Kind::COUNT]);

impl Units {
    /// So many of one type.
    #[must_use]
    pub fn of(kind: Kind, count: u64) -> Self {
        let mut units = Self::default();
        units.0[kind.index()] = count;
        units
    }

    /// Both, or `None` if a sum does not fit.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        let mut sum = self;
        for (sum, more) in sum.0.iter_mut().zip(other.0) {
            *sum = sum.checked_add(more)?;
        }
        Some(sum)
    }

    /// The types of which there are some, and how many.
    pub fn each(self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }
}

/// What a line does to the reserve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Nothing.
    Nothing,
    /// Takes free units.
    Takes(Units),
    /// Takes free units for tests, which [`Cost::Frees`] gives back.
    Holds(Units),
    /// Reserves more units of a type.
    Reserves(Kind, u64),
    /// Gives free units back to the bank: so many, or all that are free, and at least one.
    Releases(Kind, Option<u64>),
    /// Makes units free again that tests hold.
    Frees(Kind),
    /// Runs the lines of a file.
    Runs(String),
    /// Ends the program: no line after it is run.
    Ends,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a sum that is cut, or one type counted as another.
    #[test]
    fn sums_are_by_type_and_never_cut() {
        let both = Units::of(Kind::Monitor, 3).plus(Units::of(Kind::Breakpoint, u64::MAX)).unwrap();
        assert_eq!(both.each().collect::<Vec<_>>(), [(Kind::Monitor, 3), (Kind::Breakpoint, u64::MAX)]);
        assert_eq!(both.plus(Units::of(Kind::Breakpoint, 1)), None);
    }
}
