//! Assembly as it is typed: the statements go to `as` of binutils, and the bytes come out of the object that it writes.
//!
//! Each statement is given to it on a line of its own, so that a line number of its errors is a place in ours.
//!
//! **Holds always**
//! - A1: what comes out stands alone: an address that only a linker could fill in is refused.
//! - A2: what `as` writes goes to a folder of our own, which is gone afterwards.
//!
//! **Cost**: a process of some ten milliseconds.

use crate::error::Error;
use crate::event::Wrong;
use crate::line::Line;
use crate::program::Trouble;
use crate::say;
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind};
use std::fs::DirBuilder;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::{env, fs, process};

/// The assembler.
const PROGRAM: &str = "as";
/// 64-bit code in Intel's syntax; registers need no `%`.
const OPTIONS: [&str; 5] = ["--64", "-msyntax=intel", "-mmnemonic=intel", "-mnaked-reg", "-o"];
/// Folders that others may have left behind under our name.
const FOLDER_TRIES: u32 = 100;

/// Where a statement stands in the line.
type Place = Range<usize>;

/// Assembles a part of the typed line.
pub(crate) fn assemble(line: &Line, part: &Place) -> Result<Vec<u8>, Error> {
    let statements = statements(line.text(), part);
    let source: String = statements.iter().map(|place| format!("{}\n", one_row(&line.text()[place.clone()]))).collect();
    let failed = |why: io::ErrorKind| {
        let wrong = if why == io::ErrorKind::NotFound { Wrong::NoAssembler } else { Wrong::Assembler { why } };
        Error::Event { span: part.clone(), wrong }
    };
    let (object, said) = run(&source).map_err(|why| failed(why.kind()))?;
    let trouble = |span: &Place, message: String| Trouble { span: Some(span.clone()), place: None, message, help: None };
    let troubles = match object {
        Some(object) => match read(&object) {
            Ok(bytes) => return Ok(bytes),
            Err(why) => {
                let place =
                    why.name().and_then(|name| statements.iter().find(|place| names(&line.text()[(*place).clone()], name)));
                vec![trouble(place.unwrap_or(part), say::events::bound(&why))]
            }
        },
        None => errors(&said).map(|(row, message)| trouble(statements.get(row).unwrap_or(part), message)).collect(),
    };
    Err(Error::Program { troubles, instead: None, nameless: None })
}

/// The statements of a part of the line, without comments: what `;` and ends of rows part.
fn statements(text: &str, part: &Place) -> Vec<Place> {
    let (mut places, mut start, mut quoted) = (Vec::new(), part.start, false);
    let mut chars = text[part.clone()].char_indices().map(|(at, c)| (part.start + at, c)).peekable();
    let mut end = |start: usize, end: usize| {
        let whole = &text[start..end];
        let from = start + (whole.len() - whole.trim_start().len());
        let place = from..from + whole.trim().len();
        if !place.is_empty() {
            places.push(place);
        }
    };
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => drop(chars.next()),
            _ if quoted => {}
            ';' | '\n' => {
                end(start, at);
                start = at + 1;
            }
            '#' | '/' if c == '#' || text[at..part.end].starts_with("//") => {
                end(start, at);
                while chars.next_if(|(_, c)| *c != '\n').is_some() {}
                start = chars.peek().map_or(part.end, |(at, _)| *at);
            }
            '/' if text[at..part.end].starts_with("/*") => {
                end(start, at);
                let behind = text[at + 2..part.end].find("*/").map_or(part.end, |length| at + 2 + length + 2);
                while chars.next_if(|(at, _)| *at < behind).is_some() {}
                start = behind;
            }
            _ => {}
        }
    }
    end(start, part.end);
    places
}

/// A string with an end of row in it would shift all rows behind it.
fn one_row(statement: &str) -> String {
    statement.replace(['\n', '\r'], " ")
}

/// Whether a statement has this name in it.
fn names(statement: &str, name: &str) -> bool {
    statement.split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '.' | '$' | '@')).any(|word| word == name)
}

/// Runs it: the object, if it made one, and what it said.
fn run(source: &str) -> io::Result<(Option<Vec<u8>>, String)> {
    let folder = folder()?;
    let object = folder.join("object");
    let assembled = || {
        let mut command = Command::new(PROGRAM);
        command.args(OPTIONS).arg(&object).arg("-").env("LC_ALL", "C");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that ends early says why.
            let _whole = stdin.write_all(source.as_bytes());
        }
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((if output.status.success() { Some(fs::read(&object)?) } else { None }, said))
    };
    let result = assembled();
    // What is left of it in a temporary folder does no harm.
    let _gone = fs::remove_dir_all(&folder);
    result
}

/// A folder that only this user may enter (A2).
fn folder() -> io::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..FOLDER_TRIES {
        let path = env::temp_dir().join(format!("hyperdbg-as-{}-{}", process::id(), NEXT.fetch_add(1, Relaxed)));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| path),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// What it found wrong: the row, from 0, and what.
fn errors(said: &str) -> impl Iterator<Item = (usize, String)> {
    let found = said.lines().filter_map(|line| {
        let (row, message) = line.strip_prefix("{standard input}:")?.split_once(": ")?;
        let row: usize = row.parse().ok()?;
        let message = message.strip_prefix("Error: ")?.replace('`', "'");
        Some((row.saturating_sub(1), message))
    });
    let found: Vec<_> = found.collect();
    let other = || (usize::MAX, said.lines().last().unwrap_or("the assembler failed and did not say why").to_owned());
    let none = found.is_empty();
    found.into_iter().chain(none.then(other))
}

/// Why an object is not code that stands alone (A1).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// To a symbol of this name, which is nowhere.
    Nowhere(String),
    /// To its own address.
    Itself,
    /// To a fixed one.
    Fixed,
    /// To data in this section.
    Section(String),
    /// It is none.
    Unreadable,
}

impl Bound {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Nowhere(name) | Self::Section(name) => Some(name),
            Self::Itself | Self::Fixed | Self::Unreadable => None,
        }
    }
}

/// The bytes of an object's `.text`.
fn read(object: &[u8]) -> Result<Vec<u8>, Bound> {
    let unreadable = |_| Bound::Unreadable;
    let file = ElfFile64::<object::Endianness>::parse(object).map_err(unreadable)?;
    let mut text = Vec::new();
    for section in file.sections() {
        let name = section.name().map_err(unreadable)?;
        match section.kind() {
            SectionKind::Text if name == ".text" => {
                if let Some((_, relocation)) = section.relocations().next() {
                    return Err(bound(&file, relocation.target()));
                }
                text = section.data().map_err(unreadable)?.to_vec();
            }
            SectionKind::Text | SectionKind::Data | SectionKind::ReadOnlyData | SectionKind::UninitializedData
                if section.size() > 0 =>
            {
                return Err(Bound::Section(name.to_owned()));
            }
            _ => {}
        }
    }
    Ok(text)
}

fn bound(file: &ElfFile64<'_, object::Endianness>, target: RelocationTarget) -> Bound {
    let RelocationTarget::Symbol(index) = target else { return Bound::Fixed };
    match file.symbol_by_index(index) {
        Ok(symbol) if symbol.is_undefined() => match symbol.name() {
            Ok("") | Err(_) => Bound::Fixed,
            Ok(name) => Bound::Nowhere(name.to_owned()),
        },
        Ok(_) => Bound::Itself,
        Err(_) => Bound::Fixed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<&str> {
        statements(text, &(0..text.len())).into_iter().map(|place| &text[place]).collect()
    }

    /// Would catch a statement that is lost or torn, or a comment that is assembled: the carets of all behind it would be wrong.
    #[test]
    fn statements_are_parted_by_semicolons_and_rows() {
        assert_eq!(parts(" xor eax, eax; inc eax ;\n\n ret "), ["xor eax, eax", "inc eax", "ret"]);
        assert_eq!(parts("nop # a; b\nhlt // c; d\nud2 /* e\n; */ ; int3"), ["nop", "hlt", "ud2", "int3"]);
        assert_eq!(parts(".ascii \"a;#\\\";\"; nop"), [".ascii \"a;#\\\";\"", "nop"]);
        assert_eq!(parts(" ; ;"), [] as [&str; 0]);
        assert!(names("call foo", "foo") && !names("call foo2", "foo"));
    }

    /// Would catch an error without its row, or one that is swallowed because it has none.
    #[test]
    fn every_error_has_a_row_or_is_said_anyway() {
        let said = "{standard input}: Assembler messages:\n{standard input}:2: Warning: w\n{standard input}:3: Error: no `a'\n";
        assert_eq!(errors(said).collect::<Vec<_>>(), [(2, "no 'a'".to_owned())]);
        assert_eq!(errors("as: killed\n").collect::<Vec<_>>(), [(usize::MAX, "as: killed".to_owned())]);
        assert_eq!(read(&[1, 2, 3]), Err(Bound::Unreadable));
    }
}
