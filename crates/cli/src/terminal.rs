//! Standard output.

mod picture;

use debugger::session::{COLUMNS, Console, Look, Picture};
use picture::Drawn;
use std::env;
use std::io::{self, IsTerminal, Write};

/// Characters on a line of a file or a pipe, which have no edge: a table is one there, and prose is still to be read.
const COLUMNS_OF_A_FILE: usize = 100;

/// Columns and rows of the terminal, if there is one that knows.
fn size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

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
        match size() {
            Some((columns, _)) => columns,
            // A terminal that does not know either and says 0.
            None if io::stdout().is_terminal() => COLUMNS,
            None => COLUMNS_OF_A_FILE,
        }
    }

    fn picture(&mut self) -> Option<Box<dyn Picture>> {
        Drawn::new().map(|drawn| Box::new(drawn) as Box<dyn Picture>)
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
