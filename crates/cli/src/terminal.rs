//! Standard output.

use debugger::session::{Console, Look};
use std::env;
use std::io::{self, IsTerminal, Write};
use std::process;

/// Standard output as a console.
pub struct Terminal;

impl Console for Terminal {
    fn print(&mut self, text: &str) {
        let mut out = io::stdout().lock();
        if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
            // Nobody reads any more, such as `head`: what follows cannot be shown either.
            process::exit(1);
        }
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
