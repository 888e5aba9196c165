//! Finds names of the kernel and of its modules.
//!
//!     x [MODULE!]PATTERN
//! In both * stands for any letters and ? for one; case does not matter. The kernel itself is the module vmlinux. Without * and ?
//! a name is found as it is, with all its addresses. What is found can be typed wherever an address is wanted, with +OFFSET.
//! ```kd
//! HyperDbg> x *getppid
//! ffffffff81000500 T  __x64_sys_getppid
//! ffffffff81000540 T  __ia32_sys_getppid
//! HyperDbg> x msr!*
//! ffffffffc0300010 t  msr!msr_open
//! ffffffffc0300100 t  msr!msr_read
//! HyperDbg> x read_one
//! ffffffff81000400 t  read_one
//! ffffffff81000600 t  read_one
//! HyperDbg> ? do_syscall_64 + 10
//! ffffffff81000210
//! HyperDbg> x do_sycsall_64
//! err, nothing in the kernel has the name 'do_sycsall_64'
//!      x do_sycsall_64
//!        ^~~~~~~~~~~~~
//!      try: x do_syscall_64
//! ```

use crate::answer::{Answer, Report, hex};
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::line::Line;
use crate::names;
use crate::session::Session;
use serde::Serialize;
use symbols::{Pattern, Symbol};

/// Names that are shown at most: more is no help, and the pattern can be narrowed.
const SHOWN_MAX: usize = 1000;

/// The command.
pub const COMMAND: Command = Command { names: &["x"], takes: &[Takes::Address], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let [_, word] = line.words() else { return Err(commands::usage(line)) };
    let table = session.names_needed()?.table;
    let (module, name) = word.text.split_once('!').map_or((None, &*word.text), |(module, name)| (Some(module), name));
    let is_pattern = Pattern::is_one(&word.text);
    let patterns = (module.map(Pattern::new), Pattern::new(name));
    let found: Vec<Symbol<'_>> =
        if is_pattern { table.fitting(patterns.0.as_ref(), &patterns.1).collect() } else { table.named(module, name) };
    if found.is_empty() {
        let near = if is_pattern { None } else { names::near(&table, module, name) };
        return Err(Error::NoSuchName { span: word.span.clone(), near, pattern: is_pattern });
    }
    let row = |symbol: &Symbol<'_>| Row {
        address: hex(symbol.address),
        kind: symbol.kind,
        name: symbol.name.to_owned(),
        module: symbol.module.map(str::to_owned),
    };
    Ok(Answer::of(&Shown { count: found.len(), names: found.iter().take(SHOWN_MAX).map(row).collect() }))
}

#[derive(Serialize)]
struct Shown {
    /// All of them; `names` may show fewer.
    count: usize,
    names: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    address: String,
    kind: char,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<String>,
}

impl Report for Shown {
    fn text(&self) -> String {
        let Self { count, names } = self;
        let mut lines: Vec<String> = Vec::new();
        for Row { address, kind, name, module } in names {
            let module = module.as_ref().map_or_else(String::new, |module| format!("{module}!"));
            lines.push(format!("{:0>16} {kind}  {module}{name}", address.trim_start_matches("0x")));
        }
        if *count > names.len() {
            lines.push(format!("0x{:x} of 0x{count:x} shown: a longer pattern finds fewer", names.len()));
        }
        lines.join("\n")
    }
}
