//! Standard output.

use debugger::session::{COLUMNS, Console, Look};
use std::env;
use std::io::{self, IsTerminal, Write};

/// Standard output as a console.
pub struct Terminal;

impl Console for Terminal {
    fn print(&mut self, text: &str) {
        let mut out = io::stdout().lock();
        // Nobody reads any more: `head` has enough, or the terminal is gone. The commands that follow are done all the
        // same; above all a halted debuggee is still continued at the end.
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    fn columns(&self) -> usize {
        // No terminal, or one that does not know either and says 0.
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(COLUMNS)
    }

    fn clear(&mut self) {
        let mut out = io::stdout().lock();
        if out.is_terminal() {
            // A screen that stays as it is, is no failure of the command.
            let _ = out.write_all(b"\x1b[H\x1b[2J\x1b[3J").and_then(|()| out.flush());
        }
    }
}

/// Colours only on a terminal, and only if nobody asked for none (`NO_COLOR`).
pub fn look(json: bool) -> Look {
    let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Look { json, colour: wanted && !json && io::stdout().is_terminal() }
}
