//! `monitor LINE`: any line of the prompt's, but for those that would let gdb believe what is not so.

use super::machine::Machine;
use crate::error::Error;
use crate::line::Line;
use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd};

/// Commands that gdb has itself, and must know of.
const RUNS: [(&str, &[&str]); 6] = [
    ("continue", &["g", "go"]),
    ("CTRL+C", &["pause", ".pause"]),
    ("stepi", &["t", "i", "tr", "ir"]),
    ("stepi, nexti or tbreak", &["p", "pr"]),
    ("finish", &["gu"]),
    ("detach", &["exit", ".exit"]),
];
/// Commands that take the machine away from gdb, or may do what those above do.
const LEAVES: [&str; 16] = [
    ".debug", "debug", "load", "unload", ".script", "script", ".attach", "attach", ".detach", "detach", ".kill", "kill",
    ".start", "start", "continue", "cont",
];

impl MonitorCmd for Machine<'_> {
    fn handle_monitor_cmd(&mut self, line: &[u8], mut out: ConsoleOutput<'_>) -> Result<(), Error> {
        let line = String::from_utf8_lossy(line);
        let name = Line::new(&line).name().to_ascii_lowercase();
        let instead = RUNS.iter().find(|(_, names)| names.contains(&name.as_str()));
        let text = if let Some((instead, _)) = instead {
            format!("gdb would not know of it\n     try: {instead}\n")
        } else if LEAVES.contains(&name.as_str()) {
            format!("not while gdb is attached: detach, and type `{line}` at a prompt of hyperdbg's\n")
        } else {
            self.typed(&line)
        };
        for line in text.split_inclusive('\n') {
            out.write_raw(line.as_bytes());
            out.flush();
        }
        Ok(())
    }
}
