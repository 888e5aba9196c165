//! Lines drawn in place, and keys taken one by one, while a command watches.
//!
//! **Holds always**
//! - P1: the terminal's modes are those from before once a [`Drawn`] is dropped. CTRL+C stays a signal meanwhile.
//! - P2: no drawing is higher than the screen, or the next could not be put in its place.

use super::size;
use debugger::session::Picture;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

/// What was drawn, and how the keyboard was.
pub struct Drawn {
    /// Rows of the screen that the last drawing took.
    rows: usize,
    /// Modes to be restored; `None` where standard input is no terminal.
    keyboard: Option<Termios>,
}

impl Drawn {
    /// Nothing is drawn yet; `None` if standard output is no terminal.
    pub fn new() -> Option<Self> {
        io::stdout().is_terminal().then(|| Self { rows: 0, keyboard: one_by_one() })
    }
}

/// Has the terminal hand over each key at once, unseen. `None` if there is no keyboard, which is no failure: CTRL+C is left.
fn one_by_one() -> Option<Termios> {
    let before = tcgetattr(io::stdin()).ok()?;
    let mut modes = before.clone();
    modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Now, &modes).ok()?;
    Some(before)
}

impl Picture for Drawn {
    fn draw(&mut self, text: &str) {
        let (columns, rows) = size().unwrap_or((usize::MAX, usize::MAX));
        let lines = fitting(text, columns, rows.saturating_sub(1).max(1));
        let mut all = if self.rows > 0 { format!("\x1b[{}A\r", self.rows) } else { String::new() };
        for line in &lines {
            all += line;
            all += "\x1b[K\r\n";
        }
        all += "\x1b[J";
        self.rows = lines.iter().map(|line| rows_of(line, columns)).sum();
        let mut out = io::stdout().lock();
        // A terminal that is gone sends a signal, which ends the watching.
        let _ = out.write_all(all.as_bytes()).and_then(|()| out.flush());
    }

    fn settle(&mut self) {
        self.rows = 0;
    }

    fn key(&mut self, limit: Duration) -> bool {
        if self.keyboard.is_none() {
            thread::sleep(limit);
            return false;
        }
        let stdin = io::stdin();
        let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
        let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(limit.subsec_nanos()) };
        // A signal ends the wait early, and what it means is looked at by who watches.
        if !poll(&mut waiting, Some(&limit)).is_ok_and(|ready| ready > 0) {
            return false;
        }
        // All of it: an arrow is three bytes, and none of them is for the next prompt.
        let _ = rustix::io::read(&stdin, &mut [0_u8; 64]);
        true
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        if let Some(modes) = &self.keyboard {
            // It worked before; a terminal that is gone needs no modes.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, modes);
        }
    }
}

/// The lines that fit so many rows: the first ones and the very last (P2).
fn fitting(text: &str, columns: usize, rows: usize) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    let high = |lines: &[&str]| lines.iter().map(|line| rows_of(line, columns)).sum::<usize>();
    while lines.len() > 1 && high(&lines) > rows {
        lines.remove(lines.len() - 2);
    }
    lines
}

/// Rows that a line takes on a screen so wide; colours take no place.
fn rows_of(line: &str, columns: usize) -> usize {
    let (mut width, mut inside) = (0_usize, false);
    for c in line.chars() {
        match (inside, c) {
            (false, '\x1b') => inside = true,
            (true, c) => inside = !c.is_ascii_alphabetic(),
            (false, _) => width += 1,
        }
    }
    width.div_ceil(columns.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a drawing that slides down the screen, since its rows are counted wrong or do not fit.
    #[test]
    fn rows_are_counted_as_the_terminal_breaks_them_and_fit_it() {
        assert_eq!(rows_of("", 10), 1);
        assert_eq!(rows_of("0123456789", 10), 1);
        assert_eq!(rows_of("0123456789a", 10), 2);
        assert_eq!(rows_of("\x1b[1;33m012345678\x1b[0mü", 10), 1);
        assert_eq!(fitting("a\nb\nc\nd", 80, 3), ["a", "b", "d"]);
        assert_eq!(fitting("a\nb\nlast", 80, 1), ["last"]);
        assert_eq!(fitting("aaaa\nb\nc", 2, 3), ["aaaa", "c"]);
    }
}
