//! Names that files add to those of the machine: of a vmlinux, of a module, or of their debug files.
//!
//! What is known of the machine stays; a file adds what the machine's own list leaves out. It is taken only if the number of its
//! build is the machine's, where both tell one, and if names that both have lie where they must: the kernel may have been moved, all
//! of it, and each section of a module lies somewhere.
//!
//! **Holds always**
//! - M6: what a file added to a module is told as long as the module lies where it was then.
//!
//! **Cost**: the file's table of names is read, the rest is not. **Proof**: `tests/names_of_files.rs`, `tests/e2e/symbols.rs`.

use super::{ANCHORS, Known, Nameless, Names, Verdict, check};
use crate::session::Session;
use crate::target::Mode;
use object::ReadCache;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use symbols::elf::{self, File, Misplaced, Placed};
use symbols::{Module, Table, Wrong};

/// Where the system tells the number of its build, among other notes.
const NOTES: &str = "/sys/kernel/notes";

/// What one file added.
#[derive(Clone, Debug)]
pub(crate) struct Added {
    /// Its path as given.
    pub(crate) path: String,
    /// How many names.
    pub(crate) count: usize,
    /// Bytes that the kernel lies further up than in the file, modulo 2^64.
    pub(crate) moved: u64,
    /// The module that they are of.
    pub(crate) module: Option<Module>,
    /// Names that could not be placed.
    pub(crate) left_out: usize,
    names: Arc<Vec<Placed>>,
}

/// Whether a file is of the kind that is read here.
pub(super) fn is_one(path: &str) -> io::Result<bool> {
    let mut head = [0; 4];
    let read = fs::File::open(path)?.take(4).read(&mut head)?;
    Ok(head[..read] == elf::MAGIC)
}

impl Session {
    /// Adds the names of a file, if it is of the machine that is debugged. If it is not, nothing changes.
    pub(super) fn names_added(&mut self, path: &str) -> Result<Known, Nameless> {
        let unread = |why: io::Error| Nameless::File { path: path.to_owned(), why: why.kind() };
        let cache = ReadCache::new(fs::File::open(path).map_err(unread)?);
        let file = File::read(&cache).map_err(|wrong| Nameless::Wrong { path: path.to_owned(), wrong })?;
        let known = self.names_now()?;
        let added = if file.module { self.of_module(path, &file, &known)? } else { self.of_kernel(path, &file, &known)? };
        self.names().add(known, added)
    }

    fn of_kernel(&mut self, path: &str, file: &File, known: &Known) -> Result<Added, Nameless> {
        let build_id = match self.mode() {
            Mode::Vmi => elf::build_id(&self.names().file(NOTES).unwrap_or_default()),
            Mode::Debugger => {
                let notes = self.notes()?;
                self.crash_note(&notes)?.build_id
            }
        };
        same_build(path, &build_id, &file.build_id)?;
        let wrong = |wrong| Nameless::Wrong { path: path.to_owned(), wrong };
        let table = file.table().map_err(wrong)?;
        let anchors = ANCHORS.iter().filter_map(|name| Some(((*name).to_owned(), check::only(&known.table, name)?)));
        let (table, moved) = match check::compare(&table, &anchors.collect::<Vec<_>>()) {
            Verdict::Same => (table, 0),
            Verdict::Moved(by) => (table.moved(by).map_err(wrong)?, by),
            Verdict::Other { name, here, there } => return Err(Nameless::Other { path: path.to_owned(), name, here, there }),
            Verdict::Unknown => return Err(Nameless::NoAnchor { path: path.to_owned() }),
        };
        let kind = |kind: char| u8::try_from(kind).unwrap_or(b'?');
        let names = table.all().map(|symbol| (symbol.address, kind(symbol.kind), symbol.name.to_owned())).collect();
        Ok(Added { path: path.to_owned(), count: 0, moved, module: None, left_out: 0, names: Arc::new(names) })
    }

    fn of_module(&mut self, path: &str, file: &File, known: &Known) -> Result<Added, Nameless> {
        // What a debug file tells of itself may have been left out of it.
        let stem = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let stem = stem.split('.').next().unwrap_or_default().replace('-', "_");
        let name = file.module_name.clone().unwrap_or(stem);
        let module = known.table.modules().iter().find(|module| module.name == name && module.base != 0);
        let module = module.ok_or_else(|| Nameless::NotLoaded { path: path.to_owned(), module: name.clone() })?;
        if self.mode() == Mode::Vmi {
            let notes = self.names().file(&format!("/sys/module/{name}/notes/.note.gnu.build-id")).unwrap_or_default();
            same_build(path, &elf::build_id(&notes), &file.build_id)?;
        }
        let (names, left_out) = file.placed(&known.table, &name).map_err(|misplaced| match misplaced {
            Misplaced::Other { name, here, there } => Nameless::OtherModule { path: path.to_owned(), name, here, there },
            Misplaced::Unknown => Nameless::NoAnchor { path: path.to_owned() },
        })?;
        let module = Some(module.clone());
        Ok(Added { path: path.to_owned(), count: 0, moved: 0, module, left_out, names: Arc::new(names) })
    }
}

impl Names {
    /// What files added.
    pub(crate) fn added(&self) -> Vec<Added> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, known: Known, added: Added) -> Result<Known, Nameless> {
        let wrong = |wrong| Nameless::Wrong { path: added.path.clone(), wrong };
        let (table, count) = merged(&known.table, &added).map_err(wrong)?;
        let mut all = self.added.lock().unwrap_or_else(PoisonError::into_inner);
        // The same file again adds nothing to what it added before.
        let before = all.iter().find(|other| other.path == added.path).map_or(0, |other| other.count);
        all.retain(|other| other.path != added.path);
        all.push(Added { count: count + before, ..added });
        drop(all);
        self.keep(Ok(Known { table: Arc::new(table), ..known }))
    }

    /// Names with what files add to them.
    pub(super) fn with_added(&self, known: Known) -> Result<Known, Nameless> {
        let mut known = known;
        for added in self.added() {
            let there = added.module.as_ref().is_none_or(|module| known.table.modules().contains(module));
            if there {
                let wrong = |wrong| Nameless::Wrong { path: added.path.clone(), wrong };
                known.table = Arc::new(merged(&known.table, &added).map_err(wrong)?.0);
            }
        }
        Ok(known)
    }
}

fn merged(table: &Table, added: &Added) -> Result<(Table, usize), Wrong> {
    let module = added.module.as_ref().map(|module| &*module.name);
    table.with(added.names.iter().map(|(address, kind, name)| (*address, *kind, &**name, module)))
}

/// Two numbers of builds, each of which may not be told.
fn same_build(path: &str, here: &str, there: &str) -> Result<(), Nameless> {
    if here.is_empty() || there.is_empty() || here == there {
        return Ok(());
    }
    Err(Nameless::OtherBuild { path: path.to_owned(), here: here.to_owned(), there: there.to_owned() })
}
