//! What a session prints on, and how it looks there. `cli` has a terminal; tests have a page.

use std::time::Duration;

/// Characters on a line where nobody knows better.
pub const COLUMNS: usize = 80;

/// Where lines go.
pub trait Console {
    /// Prints one or more lines; `text` has no end of line.
    fn print(&mut self, text: &str);

    /// Empties the screen.
    fn clear(&mut self) {}

    /// A picture that is drawn over and over, where that can be done: on a terminal.
    fn picture(&mut self) -> Option<Box<dyn Picture>> {
        None
    }

    /// Characters on a line; lists and long prose are broken at words to fit.
    fn columns(&self) -> usize {
        COLUMNS
    }
}

/// Lines on a terminal that are drawn in place. Dropped, it leaves what was drawn last, and the terminal as it was.
pub trait Picture {
    /// Draws these lines in place of those that were drawn before.
    fn draw(&mut self, text: &str);

    /// Leaves what was drawn: other lines come below it, and the next drawing below these.
    fn settle(&mut self);

    /// Waits for a key, and takes it; false if none comes within `limit`.
    fn key(&mut self, limit: Duration) -> bool;
}

/// How answers look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// One JSON object on a line instead of text.
    pub json: bool,
    /// Colours for a terminal.
    pub colour: bool,
}
