//! Tells which names of the kernel are known, fetches them, and saves them for other debuggers.
//!
//!     .sym [reload|unload|load FILE|save FILE]
//! Names are fetched when the first one is typed, so this is seldom needed. On the machine itself they are those of
//! /proc/kallsyms. Over a link they are read out of the debuggee's memory, halted or not: that takes a while, once for a kernel, and
//! is kept in the user's cache folder for the next time; `dt` does the same with types. A halt shows the name of its place when that was
//! done once.
//! `reload` fetches anew, `unload` forgets.
//!
//! A FILE is a copy of the machine's list, of another time or boot, or a System.map: it is compared with the machine, moved if the
//! same kernel lies elsewhere after a boot, and refused if it is of another one; names of modules that are not where the file has
//! them are left out.
//!
//! A FILE may also be a vmlinux, a module (.ko), or the debug file of one of them. Its names, such as static ones that the system's list
//! leaves out, come to those that are known. It must be of the very build that runs; where in memory each part lies is found by names
//! that are known already.
//!
//! `save` writes a FILE for gdb and its like (ELF): every name where it lies in this boot, and how to unwind the kernel. Over a link
//! that is fetched, too, once for a kernel. It holds until the next boot, or until modules come or go.
//!
//! If the system hides addresses (kernel.kptr_restrict), it says so, and what to type.
//! ```kd
//! HyperDbg> .sym
//! no names of the kernel are known: they were not fetched
//! HyperDbg> .sym reload
//! 0x14 names of the kernel and 1 module, from /proc/kallsyms
//! HyperDbg> .sym unload
//! no names of the kernel are known: they were not fetched
//! HyperDbg> .sym load /nowhere/names
//! err, '/nowhere/names' cannot be read: it does not exist
//! HyperDbg> .sym save /nowhere/names
//! err, '/nowhere/names' cannot be written: it does not exist
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::line::Line;
use crate::names::{Added, Known, LIST, Nameless, Origin, Saved};
use crate::say;
use crate::session::Session;
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command { names: &[".sym", "sym"], takes: &[Takes::Words(&WORDS), Takes::File], run, cost: None };

const WORDS: [&str; 4] = ["reload", "load", "unload", "save"];

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let names = session.names();
    let is = |word: &crate::line::Word, text: &str| word.text.eq_ignore_ascii_case(text);
    let known = match line.words() {
        [_] => names.known(),
        [_, word] if is(word, "reload") => {
            names.forget();
            return Ok(Answer::of(&Shown::new(&Ok(session.names_needed()?), &[])));
        }
        [_, word] if is(word, "unload") => {
            names.forget();
            names.known()
        }
        [_, word, file] if is(word, "load") => {
            return session
                .names_of_file(&file.text)
                .map(|known| Answer::of(&Shown::new(&Ok(known), &names.added())))
                .map_err(|nameless| Error::Names { nameless, span: None });
        }
        [_, word, file] if is(word, "save") => {
            let Saved { bytes, names, modules, unwinds } = session.save_names(&file.text)?;
            return Ok(Answer::of(&Written { file: file.text.clone(), bytes, names, modules, unwinds }));
        }
        [_, word] | [_, word, _] if !is(word, "load") && !is(word, "save") => {
            return Err(commands::unknown_word(word, "words", &WORDS));
        }
        _ => return Err(commands::usage(line)),
    };
    Ok(Answer::of(&Shown::new(&known, &names.added())))
}

/// A file that was written.
#[derive(Serialize)]
struct Written {
    file: String,
    bytes: usize,
    names: usize,
    modules: usize,
    unwinds: bool,
}

impl Report for Written {
    fn text(&self) -> String {
        let Self { file, bytes, names, modules, unwinds } = self;
        let modules = if *modules == 1 { "1 module".to_owned() } else { format!("{modules} modules") };
        let unwinds =
            if *unwinds { "and how it unwinds" } else { "but not how it unwinds, of which this kernel keeps no table" };
        format!("0x{names:x} names of the kernel and {modules}, {unwinds}: 0x{bytes:x} bytes in {file}")
    }
}

#[derive(Serialize)]
struct Shown {
    names: usize,
    modules: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Bytes that the kernel lies further up than in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    moved: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
    /// What files added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    added: Vec<More>,
    /// Why none are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Serialize)]
struct More {
    file: String,
    names: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved: Option<String>,
    /// Names whose place is not known.
    #[serde(skip_serializing_if = "is_none")]
    left_out: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

impl More {
    fn of(added: &Added) -> Self {
        Self {
            file: added.path.clone(),
            names: added.count,
            module: added.module.as_ref().map(|module| module.name.clone()),
            moved: (added.moved != 0).then(|| say::names::distance(added.moved)),
            left_out: added.left_out,
        }
    }

    fn text(&self) -> String {
        let Self { file, names, module, moved, left_out } = self;
        let whose = module.as_ref().map_or("the kernel", |module| module);
        let mut text = format!("0x{names:x} more of {whose}, from {file}");
        if let Some(moved) = moved {
            text += &format!(", moved by {moved}");
        }
        if *left_out != 0 {
            text += &format!("; 0x{left_out:x} left out, as nothing is known of where they lie");
        }
        text
    }
}

impl Shown {
    fn new(known: &Result<Known, Nameless>, added: &[Added]) -> Self {
        let added = added.iter().map(More::of).collect();
        let nothing = Self { names: 0, modules: 0, from: None, moved: None, left_out: Vec::new(), added, why: None };
        let known = match known {
            Ok(known) => known,
            Err(nameless) => return Self { why: Some(say::names::reason(nameless)), ..nothing },
        };
        let modules = known.table.modules().iter().filter(|module| module.base != 0).count();
        let shown = Self { names: known.table.len(), modules, ..nothing };
        match &known.origin {
            Origin::Memory(release) => Self { from: Some(format!("the memory of linux {release}")), ..shown },
            Origin::System => Self { from: Some(LIST.to_owned()), ..shown },
            Origin::File { path, moved, left_out } => Self {
                from: Some(path.clone()),
                moved: (*moved != 0).then(|| say::names::distance(*moved)),
                left_out: left_out.clone(),
                ..shown
            },
        }
    }
}

impl Report for Shown {
    fn text(&self) -> String {
        let Self { names, modules, from, moved, left_out, added, why } = self;
        if let Some(why) = why {
            return format!("no names of the kernel are known: {why}");
        }
        let from = from.as_deref().unwrap_or("");
        let modules = if *modules == 1 { "1 module".to_owned() } else { format!("{modules} modules") };
        let mut text = format!("0x{names:x} names of the kernel and {modules}, from {from}");
        if let Some(moved) = moved {
            text += &format!("\nthe kernel lies elsewhere than in the file: its names were moved by {moved}");
        }
        if !left_out.is_empty() {
            text += &format!("\nleft out, as they are not where the file has them: {}", left_out.join(", "));
        }
        for more in added {
            text += &format!("\n{}", more.text());
        }
        text
    }
}
