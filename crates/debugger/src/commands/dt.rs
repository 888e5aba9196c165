//! Shows how a type of the kernel is laid out, and what memory holds of it.
//!
//!     dt [struct|union|enum] [MODULE!]TYPE[.PATTERN] [ADDRESS]
//! Each row has the offset in bytes (and bits, for a bit field), the name and the type of a member; members of one without a name
//! are indented. With PATTERN only the members that fit it are shown (* stands for any letters, ? for one). ADDRESS is an
//! expression: then each row has the value there, too, all of it hex.
//!
//! Types are those of the kernel itself and, where it has none of the name, of its modules; MODULE!TYPE is that module's own, and
//! vmlinux!TYPE the kernel's. Modules that were built without a description of their types bring none.
//! ```kd
//! HyperDbg> dt list_head
//! struct list_head, 0x10 bytes
//! +0x000  next  struct list_head *
//! +0x008  prev  struct list_head *
//! HyperDbg> dt task_struct.*t
//! struct task_struct, 0x90 bytes
//! +0x028:3  kept         unsigned int
//! +0x058    real_parent  struct list_head *
//! HyperDbg> dt task_struct.*id ffff888000000100
//! struct task_struct at ffff888000000100, 0x90 bytes
//! +0x010  pid   int  0x18171615
//! +0x014  tgid  int  0x1c1b1a19
//! HyperDbg> dt msr!msr_device
//! struct msr_device, 0x18 bytes
//! +0x000  list  struct list_head
//! +0x010  cpu   int
//! HyperDbg> dt task_strut
//! err, neither the kernel nor a module has a type 'task_strut'
//!      dt task_strut
//!         ^~~~~~~~~~
//!      try: dt task_struct
//! ```

use crate::answer::{Answer, Report, hex};
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::expr::Arithmetic;
use crate::line::Line;
use crate::memory;
use crate::names::Nameless;
use crate::nearest;
use crate::session::Session;
use crate::value;
use serde::Serialize;
use std::ops::Range;
use std::sync::Arc;
use symbols::btf::{Id, Types};
use symbols::layout::{self, Layout, Row};
use symbols::{KERNEL, Pattern};

/// The command.
pub const COMMAND: Command = Command { names: &["dt"], takes: &[Takes::Type, Takes::Address], run, cost: None };

/// Words that C has before a name.
const TAGS: [&str; 3] = ["struct", "union", "enum"];

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let words = line.words().get(1..).unwrap_or_default();
    let words = match words {
        [tag, rest @ ..] if TAGS.contains(&&*tag.text) && !rest.is_empty() => rest,
        words => words,
    };
    let Some((word, address)) = words.split_first() else { return Err(commands::usage(line)) };
    let (module, text) = word.text.split_once('!').map_or((None, &*word.text), |(module, text)| (Some(module), text));
    let (name, pattern) = text.split_once('.').map_or((text, None), |(name, pattern)| (name, Some(pattern)));
    let (types, id) = find(session, module, name, &word.span)?;
    let layout = layout::layout(&types, id, pattern.map(Pattern::new).as_ref());
    let at = match (address.first(), address.last()) {
        (Some(first), Some(last)) => {
            let span = first.span.start..last.span.end;
            let text = if address.len() == 1 { &first.text } else { &line.text()[span.clone()] };
            Some(commands::evaluate(session, text, &span, Arithmetic::Wrapping)?)
        }
        _ => None,
    };
    let (Layout::Members { bytes: size, .. } | Layout::Values { bytes: size, .. } | Layout::Plain { bytes: size, .. }) =
        &layout;
    let bytes = match at {
        Some(address) => {
            let place = session.place_in_view(address);
            memory::read(session, place, (*size).clamp(1, memory::LENGTH_MAX))?.bytes
        }
        None => Vec::new(),
    };
    let table = session.names().shown().ok().map(|known| known.table);
    let show = |id, offset: u64, bits| {
        at?;
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        value::shown(&types, id, rest, bits, table.as_deref())
    };
    let (name, size, rows) = match layout {
        Layout::Members { name, bytes, rows } => {
            let member = |row: Row| Shown { value: show(row.id, row.offset, row.bits), ..Shown::of(row) };
            (name, bytes, rows.into_iter().map(member).collect())
        }
        Layout::Values { name, bytes, values } => {
            let row = |(name, value): (String, i64)| Shown { name, value: Some(value::signed(value)), ..Shown::default() };
            (name, bytes, values.into_iter().map(row).collect())
        }
        Layout::Plain { name, bytes, of, id } => {
            (name, bytes, vec![Shown { of, value: show(id, 0, None), ..Shown::default() }])
        }
    };
    Ok(Answer::of(&Type { kind: name, size, address: at.map(hex), members: rows }))
}

/// A type by its name, and the description that it is of.
fn find(session: &mut Session, module: Option<&str>, name: &str, span: &Range<usize>) -> Result<(Arc<Types>, Id), Error> {
    let nameless = |nameless| Error::Types { nameless };
    let none = |near: Option<String>| Error::NoType { span: span.clone(), near };
    let kernels = session.types_fetched().map_err(nameless)?;
    let kernels_own = kernels.find(name);
    if let Some(module) = module.filter(|module| !KERNEL.contains(module)) {
        let found = session.types_of_modules(Some(module)).map_err(nameless)?;
        let Some((_, types)) = found.into_iter().next() else {
            return Err(nameless(Nameless::Untyped(module.to_owned())));
        };
        return match (types.find(name), kernels_own) {
            (Some(id), _) => Ok((types, id)),
            (None, Some(_)) => Err(none(Some(name.to_owned()))),
            (None, None) => Err(none(nearest::of(name, types.names()).map(|near| format!("{module}!{near}")))),
        };
    }
    if let Some(id) = kernels_own {
        return Ok((kernels, id));
    }
    let modules = if module.is_none() { session.types_of_modules(None).map_err(nameless)? } else { Vec::new() };
    let with: Vec<(&str, &Arc<Types>, Id)> =
        modules.iter().filter_map(|(module, types)| Some((&*module.name, types, types.find(name)?))).collect();
    let Some((first, types, id)) = with.first() else {
        let all = modules.iter().flat_map(|(_, types)| types.names());
        return Err(none(nearest::of(name, kernels.names().chain(all)).map(str::to_owned)));
    };
    let others: Vec<&str> = with.iter().skip(1).map(|(module, ..)| *module).collect();
    if !others.is_empty() {
        session.note(format!("this is {first}'s; the name is one of {}'s, too", others.join("'s, of ")));
    }
    Ok((Arc::clone(types), *id))
}

#[derive(Serialize)]
struct Type {
    #[serde(rename = "type")]
    kind: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    members: Vec<Shown>,
}

#[derive(Default, Serialize)]
struct Shown {
    #[serde(skip)]
    depth: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// First bit and how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    bits: Option<(u32, u32)>,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    of: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl Shown {
    fn of(row: Row) -> Self {
        let Row { depth, offset, bits, name, of, id: _ } = row;
        Self { depth, offset: Some(offset), bits, name, of, value: None }
    }

    fn cells(&self) -> [String; 4] {
        let Self { depth, offset, bits, name, of, value } = self;
        let bits = match bits {
            Some((first, 1)) => format!(":{first}"),
            Some((first, count)) => format!(":{first}-{}", first + count - 1),
            None => String::new(),
        };
        let offset = offset.map_or_else(String::new, |offset| format!("+0x{offset:03x}{bits}"));
        [offset, format!("{}{name}", "  ".repeat(*depth)), of.clone(), value.clone().unwrap_or_default()]
    }
}

impl Report for Type {
    fn text(&self) -> String {
        let Self { kind, size, address, members } = self;
        let at = address.as_ref().map_or_else(String::new, |at| format!(" at {:0>16}", at.trim_start_matches("0x")));
        let mut lines = vec![format!("{kind}{at}, 0x{size:x} bytes")];
        let rows: Vec<[String; 4]> = members.iter().map(Shown::cells).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths = [0, 1, 2, 3].map(width);
        for row in &rows {
            let cells = row.iter().zip(widths).filter(|(_, width)| *width != 0);
            let cells: Vec<String> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
            lines.push(cells.join("  ").trim_end().to_owned());
        }
        lines.join("\n")
    }
}
