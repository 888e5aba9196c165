//! What ends a test: an error shown as the sentence it is, with the guest's console and the session at their full width.

use std::error::Error;
use std::fmt;

/// Any error, or a text. A test that returns it prints it.
pub struct Failure(Box<dyn Error>);

impl<E: Into<Box<dyn Error>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    /// Would catch a failed test that shows its guest's console as one long line.
    #[test]
    fn a_failure_is_printed_as_its_sentence() {
        let failure: super::Failure = "two\nlines".into();
        assert_eq!(format!("{failure:?}"), "two\nlines");
    }
}
