//! Lists the kernel and its modules: where each begins, and its size.
//!
//!     lm [PATTERN]
//! In a pattern * stands for any letters and ? for one. Addresses and sizes are hex, in bytes.
//! ```kd
//! HyperDbg> lm
//! base              size     module
//! ffffffff81000000  1000000  vmlinux
//! ffffffffc0300000     4000  msr
//! HyperDbg> lm m*
//! base              size     module
//! ffffffffc0300000     4000  msr
//! HyperDbg> lm kvm
//! err, nothing in the kernel has the name 'kvm'
//!      lm kvm
//!         ^~~
//!      try: lm
//! ```

use crate::answer::{Answer, Report, hex};
use crate::commands::{self, Command};
use crate::error::Error;
use crate::line::Line;
use crate::session::Session;
use serde::Serialize;
use symbols::{KERNEL, Module, Pattern};

/// The command.
pub const COMMAND: Command = Command { names: &["lm"], takes: &[], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let pattern = match line.words() {
        [_] => None,
        [_, word] => Some(word),
        _ => return Err(commands::usage(line)),
    };
    let table = session.names_needed()?.table;
    let (first, end) = table.kernel();
    let kernel = Module { name: KERNEL[0].to_owned(), base: first, size: end - first };
    // What has names and no place is no module of its own: programs that the kernel made, marks of the tracer.
    let modules = table.modules().iter().filter(|module| module.base != 0);
    let all: Vec<&Module> = std::iter::once(&kernel).chain(modules).collect();
    let fits = |module: &&&Module| pattern.is_none_or(|word| Pattern::new(&word.text).fits(&module.name));
    let row = |module: &&Module| Row { base: hex(module.base), size: module.size, module: module.name.clone() };
    let modules: Vec<Row> = all.iter().filter(fits).map(row).collect();
    match pattern {
        Some(word) if modules.is_empty() => {
            Err(Error::NoModule { span: word.span.clone(), pattern: Pattern::is_one(&word.text) })
        }
        _ => Ok(Answer::of(&Shown { modules })),
    }
}

#[derive(Serialize)]
struct Shown {
    modules: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    base: String,
    size: u64,
    module: String,
}

impl Report for Shown {
    fn text(&self) -> String {
        let Self { modules } = self;
        let width = modules.iter().map(|row| format!("{:x}", row.size).len()).max().unwrap_or(0).max(7);
        let mut lines = vec![format!("base              {:width$}  module", "size")];
        for Row { base, size, module } in modules {
            lines.push(format!("{:0>16}  {size:width$x}  {module}", base.trim_start_matches("0x")));
        }
        lines.join("\n")
    }
}
