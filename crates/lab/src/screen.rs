//! What a user sees: bytes of a terminal made into lines.
//!
//! A model of a terminal so wide that nothing wraps and so long that nothing scrolls away: rows are counted from the
//! beginning of the session. It knows what line editors use: cursor movements, erasing, inserting and deleting.

use vte::{Params, Parser, Perform};

/// Columns that programs are told of; no line of ours is longer.
pub const COLUMNS: u16 = 1000;
/// Rows that programs are told of.
pub const ROWS: u16 = 50;
/// Width of a tabulator.
const TAB: usize = 8;

/// A screen with everything that was ever on it.
#[derive(Default)]
pub struct Screen {
    grid: Grid,
    parser: Parser,
}

#[derive(Default)]
struct Grid {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// Where the page begins that the last clearing began.
    page: usize,
}

impl Screen {
    /// Takes what the program wrote, in pieces of any size.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.parser.advance(&mut self.grid, bytes);
    }

    /// The row of the cursor, counted from the beginning of the session.
    #[must_use]
    pub fn row(&self) -> usize {
        self.grid.row
    }

    /// What stands in the cursor's row before the cursor.
    #[must_use]
    pub fn before_cursor(&self) -> String {
        let row = self.grid.rows.get(self.grid.row).map_or(&[][..], Vec::as_slice);
        row.iter().copied().chain(std::iter::repeat(' ')).take(self.grid.column).collect()
    }

    /// One row, without the blanks at its end.
    #[must_use]
    pub fn line(&self, row: usize) -> String {
        let text: String = self.grid.rows.get(row).into_iter().flatten().collect();
        text.trim_end().to_owned()
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.grid.rows.len().max(self.grid.row + 1)
    }

    /// Everything from a row on.
    #[must_use]
    pub fn text_from(&self, row: usize) -> String {
        (row..self.rows()).map(|row| self.line(row)).collect::<Vec<_>>().join("\n")
    }
}

impl Grid {
    fn current(&mut self) -> &mut Vec<char> {
        if self.rows.len() <= self.row {
            self.rows.resize(self.row + 1, Vec::new());
        }
        &mut self.rows[self.row]
    }

    /// The cursor's row, filled with blanks up to the cursor.
    fn filled(&mut self) -> &mut Vec<char> {
        let column = self.column;
        let row = self.current();
        if row.len() < column {
            row.resize(column, ' ');
        }
        row
    }

    /// The first row that a real terminal would still show.
    fn top(&self) -> usize {
        self.rows.len().max(self.row + 1).saturating_sub(usize::from(ROWS)).max(self.page)
    }

    fn erase_line(&mut self, how: usize) {
        let column = self.column;
        let row = self.filled();
        match how {
            0 => row.truncate(column),
            1 => {
                let until = row.len().min(column + 1);
                row[..until].fill(' ');
            }
            _ => row.clear(),
        }
    }

    fn erase_display(&mut self, how: usize) {
        match how {
            0 => {
                self.erase_line(0);
                let below = self.row + 1;
                self.rows.truncate(below);
            }
            // Clearing everything begins a new page: what was seen is not forgotten.
            _ => {
                self.page = self.rows.len();
                self.row = self.page;
                self.current();
            }
        }
    }
}

impl Perform for Grid {
    fn print(&mut self, c: char) {
        let column = self.column;
        let row = self.filled();
        match row.get_mut(column) {
            Some(cell) => *cell = c,
            None => row.push(c),
        }
        self.column += 1;
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                self.row += 1;
                self.current();
            }
            b'\r' => self.column = 0,
            8 => self.column = self.column.saturating_sub(1),
            b'\t' => self.column = (self.column / TAB + 1) * TAB,
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _ignore: bool, action: char) {
        if !intermediates.is_empty() {
            return; // private modes: bracketed paste, cursor shape
        }
        let mut numbers = params.iter().map(|param| usize::from(param.first().copied().unwrap_or(0)));
        let first = numbers.next().unwrap_or(0);
        let second = numbers.next().unwrap_or(0);
        let count = first.max(1);
        match action {
            'A' => self.row = self.row.saturating_sub(count).max(self.top()),
            'B' => self.row += count,
            'C' => self.column += count,
            'D' => self.column = self.column.saturating_sub(count),
            'E' => (self.row, self.column) = (self.row + count, 0),
            'F' => (self.row, self.column) = (self.row.saturating_sub(count).max(self.top()), 0),
            'G' => self.column = count - 1,
            'H' | 'f' => (self.row, self.column) = (self.top() + count - 1, second.max(1) - 1),
            'J' => self.erase_display(first),
            'K' => self.erase_line(first),
            'P' => {
                let column = self.column;
                let row = self.filled();
                let until = row.len().min(column + count);
                row.drain(column..until);
            }
            '@' => {
                let column = self.column;
                self.filled().splice(column..column, std::iter::repeat_n(' ', count));
            }
            _ => {} // colours
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(bytes: &str) -> Vec<String> {
        let mut screen = Screen::default();
        // One byte at a time: a sequence cut anywhere must be read the same.
        for byte in bytes.as_bytes() {
            screen.feed(std::slice::from_ref(byte));
        }
        (0..screen.rows()).map(|row| screen.line(row)).collect()
    }

    /// Would catch a line editor's redraw that is taken for a torn line.
    #[test]
    fn a_line_that_is_redrawn_is_seen_once() {
        assert_eq!(seen("\r\x1b[K> a\r\x1b[K> ab\x1b[1;32mc\x1b[0m\r\x1b[5C\r\ndone\r\n"), ["> abc", "done", ""]);
    }

    /// Would catch output that lands in the middle of what the user types, as seen on a real terminal.
    #[test]
    fn what_tears_on_a_terminal_tears_here() {
        assert_eq!(seen("0: kHyperDbg> preallevent\r\n"), ["0: kHyperDbg> preallevent", ""]);
        assert_eq!(seen("long line\rX"), ["Xong line"]);
    }

    /// Would catch cursor movements that are off by one.
    #[test]
    fn insert_delete_and_movements_act_where_a_terminal_does() {
        assert_eq!(seen("abcd\x1b[3D\x1b[1P"), ["acd"]);
        assert_eq!(seen("ac\x1b[1D\x1b[1@b"), ["abc"]);
        assert_eq!(seen("one\r\ntwo\x1b[1A\x1b[1GO\r\n"), ["One", "two"]);
        assert_eq!(seen("a\r\nb\x1b[2J\x1b[Hc"), ["a", "b", "c"]);
        assert_eq!(seen("x\ty"), ["x       y"]);
    }
}
