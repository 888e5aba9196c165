//! Names of the debugged kernel at the prompt: fetched when the first one is needed, kept while they hold.
//!
//! On the machine itself they come from the system's own list, again whenever its modules have changed. Over a link they are read
//! out of the kernel's memory ([`memory`]). A file of names is taken for the machine that is debugged only after names that are
//! known of both were compared ([`check`]).
//!
//! **Holds always**
//! - M1: no name is told that was not compared with the machine that runs: a file of another boot is refused or moved, and said so.
//! - M2: names of one load of the hypervisor over a link are forgotten with it; the machine may have been started anew.
//!
//! **Callers**: the session, and completion while a line is typed, which is another handle to the same names.
//! **Cost**: the list of a whole kernel is read and sorted in a fraction of a second. **Proof**: `tests/names.rs`,
//! `tests/e2e/symbols.rs`.

mod added;
mod check;
mod memory;
mod module_types;
mod saved;
pub(crate) mod types;

use crate::disassembly;
use crate::error::Reach;
use crate::target::{Mode, Target};
pub(crate) use added::Added;
use check::{ANCHORS, Verdict};
pub(crate) use saved::Saved;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use symbols::btf::Types;
use symbols::{Module, Table, Wrong, text};

/// Where the system lists its names.
pub(crate) const LIST: &str = "/proc/kallsyms";
/// Where it lists its modules.
const MODULES: &str = "/proc/modules";

/// Why no names are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nameless {
    /// Nobody asked for them.
    NotFetched,
    /// This file could not be read.
    File {
        /// Its path.
        path: String,
        /// Why.
        why: io::ErrorKind,
    },
    /// What this file holds is not taken.
    Wrong {
        /// Its path.
        path: String,
        /// Why.
        wrong: Wrong,
    },
    /// A file is of another kernel: these names are not where they would have to be.
    Other {
        /// Its path.
        path: String,
        /// A name.
        name: String,
        /// Where it is in the machine.
        here: u64,
        /// Where it is in the file.
        there: u64,
    },
    /// A file of a module is of another build of it: these names are not where they would have to be.
    OtherModule {
        /// Its path.
        path: String,
        /// A name.
        name: String,
        /// Where it is in the machine.
        here: u64,
        /// Where the file has it.
        there: u64,
    },
    /// A file is of another build.
    OtherBuild {
        /// Its path.
        path: String,
        /// The number of the machine's.
        here: String,
        /// The number of the file's.
        there: String,
    },
    /// A file is of a module that is not loaded.
    NotLoaded {
        /// Its path.
        path: String,
        /// The module's name.
        module: String,
    },
    /// A file has no name by which it could be compared with the machine.
    NoAnchor {
        /// Its path.
        path: String,
    },
    /// The kernel did not say where its names lie in its memory.
    NoNote,
    /// What lies there is not what it should be: this part of it.
    Memory(&'static str, Wrong),
    /// This address could not be read; root's code.
    Unreadable(u64, u32),
    /// A module of this name brings no types, or is not there.
    Untyped(String),
    /// Root refused to tell.
    Refused(u32),
    /// The debuggee cannot be asked.
    Reach(Reach),
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// This address.
    Address(u64),
    /// Several: each with the name as it is typed.
    Several(Vec<(u64, String)>),
    /// None.
    Nothing {
        /// A name that is spelt much the same.
        near: Option<String>,
        /// No names are known, for this reason.
        nameless: Option<Box<Nameless>>,
    },
}

/// What a word stands for: a name, or a module and a name with `!` between them.
pub(crate) fn find(known: Result<Known, Nameless>, word: &str) -> Named {
    let table = match known {
        Ok(known) => known.table,
        Err(nameless) => return Named::Nothing { near: None, nameless: Some(Box::new(nameless)) },
    };
    let (module, name) = word.split_once('!').map_or((None, word), |(module, name)| (Some(module), name));
    match &table.named(module, name)[..] {
        [] => Named::Nothing { near: near(&table, module, name), nameless: None },
        [one] => Named::Address(one.address),
        several => Named::Several(several.iter().map(|symbol| (symbol.address, symbol.to_string())).collect()),
    }
}

/// What a word may have been meant to be, as it is typed.
pub(crate) fn near(table: &Table, module: Option<&str>, name: &str) -> Option<String> {
    // The name is right and the module is not.
    if module.is_some()
        && let [one] = table.named(None, name)[..]
    {
        return Some(one.to_string());
    }
    let near = table.suggest(name)?;
    // As it must be typed to mean one.
    Some(table.named(None, near).first()?.to_string())
}

/// Where names are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The system's own list.
    System,
    /// The memory of the machine at the other end of the link: its release.
    Memory(String),
    /// A file; how far it was moved, and modules that were left out.
    File {
        /// Its path as given.
        path: String,
        /// Bytes up, modulo 2^64.
        moved: u64,
        /// Their names.
        left_out: Vec<String>,
    },
}

/// Names that are known.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Them.
    pub(crate) table: Arc<Table>,
    /// Where they are from.
    pub(crate) origin: Origin,
    /// The machine's modules at that time; `None`: their names were not read.
    modules: Option<Vec<Module>>,
}

impl disassembly::Names for Known {
    fn before(&self, address: u64) -> Option<(String, u64)> {
        let near = self.table.near(address)?;
        Some((near.symbol.to_string(), near.symbol.address))
    }
}

/// What a machine tells of itself, to compare a file with.
pub(crate) struct Machine {
    /// A few names and where they lie.
    pub(crate) anchors: Vec<(String, u64)>,
    /// Its modules.
    pub(crate) modules: Vec<Module>,
}

/// Types that modules brought.
type Brought = Vec<(Module, Arc<Types>)>;

/// See the header. A clone is another handle.
#[derive(Clone)]
pub struct Names {
    target: Arc<Mutex<Box<dyn Target>>>,
    known: Arc<Mutex<Result<Known, Nameless>>>,
    types: Arc<Mutex<Option<Arc<Types>>>>,
    module_types: Arc<Mutex<Brought>>,
    added: Arc<Mutex<Vec<Added>>>,
    /// The load of the hypervisor for which names to show places by were looked for.
    tried: Arc<Mutex<u64>>,
}

impl Names {
    /// None are known.
    pub(crate) fn new(target: &Arc<Mutex<Box<dyn Target>>>) -> Self {
        Self {
            target: Arc::clone(target),
            known: Arc::new(Mutex::new(Err(Nameless::NotFetched))),
            types: Arc::default(),
            module_types: Arc::default(),
            added: Arc::default(),
            tried: Arc::default(),
        }
    }

    /// What is known, without asking anybody.
    pub(crate) fn known(&self) -> Result<Known, Nameless> {
        self.lock().clone()
    }

    /// The names, if they are known without asking anybody.
    #[must_use]
    pub fn table(&self) -> Option<Arc<Table>> {
        self.lock().as_ref().ok().map(|known| Arc::clone(&known.table))
    }

    /// The names, fetched if they can be had without a link. All of them or none: what is missing could make a name ambiguous.
    pub(crate) fn at_hand(&self) -> Result<Known, Nameless> {
        self.shown().and_then(|known| if known.modules.is_some() { Ok(known) } else { Err(Nameless::NotFetched) })
    }

    /// The same to show addresses by, or to complete what is typed: perhaps those of the kernel alone.
    pub(crate) fn shown(&self) -> Result<Known, Nameless> {
        match self.mode() {
            Mode::Vmi => self.of_this_machine(),
            Mode::Debugger => self.known(),
        }
    }

    /// The hypervisor was loaded anew: over a link that may be another machine (M2).
    pub(crate) fn of_another_load(&self) {
        if self.mode() == Mode::Debugger {
            self.forget();
        }
    }

    /// Forgets them.
    pub fn forget(&self) {
        *self.lock() = Err(Nameless::NotFetched);
        self.added.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.types.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.module_types.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The names of this machine, read if they are not known or modules came or went.
    fn of_this_machine(&self) -> Result<Known, Nameless> {
        let modules = text::modules(&self.file(MODULES).unwrap_or_default());
        match self.known() {
            Ok(known) if known.modules.as_ref() == Some(&modules) => Ok(known),
            // What was loaded from a file stays, but for modules that are not there any more.
            Ok(Known { origin: Origin::File { path, .. }, .. }) => self.load(&path, self.this_machine(modules)?),
            _ => self.keep(self.list(modules)),
        }
    }

    /// What this machine tells of itself.
    fn this_machine(&self, modules: Vec<Module>) -> Result<Machine, Nameless> {
        let list = self.list(modules)?;
        let anchors = ANCHORS.iter().filter_map(|name| Some(((*name).to_owned(), check::only(&list.table, name)?)));
        Ok(Machine { anchors: anchors.collect(), modules: list.modules.unwrap_or_default() })
    }

    /// Takes names of a file, if it is of the machine that is debugged. If it is not, what was known before stays.
    fn load(&self, path: &str, machine: Machine) -> Result<Known, Nameless> {
        let unread = |why: io::Error| Nameless::File { path: path.to_owned(), why: why.kind() };
        let bytes = std::fs::read(path).map_err(unread)?;
        let wrong = |wrong| Nameless::Wrong { path: path.to_owned(), wrong };
        let Machine { anchors, modules } = machine;
        let mut builder = symbols::Builder::default();
        for module in &modules {
            builder.module(module.clone()).map_err(wrong)?;
        }
        text::add(&bytes, &mut builder).map_err(wrong)?;
        let table = builder.build().map_err(wrong)?;
        let (table, moved) = match check::compare(&table, &anchors) {
            Verdict::Same => (table, 0),
            Verdict::Moved(by) => (table.moved(by).map_err(wrong)?, by),
            Verdict::Other { name, here, there } => return Err(Nameless::Other { path: path.to_owned(), name, here, there }),
            Verdict::Unknown => return Err(Nameless::NoAnchor { path: path.to_owned() }),
        };
        let left_out = check::elsewhere(&table, &modules);
        let names: Vec<&str> = left_out.iter().map(|name| &**name).collect();
        let table = Arc::new(if names.is_empty() { table } else { table.without(&names).map_err(wrong)? });
        let known = Known { table, origin: Origin::File { path: path.to_owned(), moved, left_out }, modules: Some(modules) };
        self.keep(Ok(known))
    }

    /// Reads the system's list.
    fn list(&self, modules: Vec<Module>) -> Result<Known, Nameless> {
        let path = || LIST.to_owned();
        let wrong = |wrong| Nameless::Wrong { path: path(), wrong };
        let bytes = self.file(LIST).map_err(|why| Nameless::File { path: path(), why: why.kind() })?;
        let mut builder = symbols::Builder::default();
        for module in &modules {
            builder.module(module.clone()).map_err(wrong)?;
        }
        text::add(&bytes, &mut builder).map_err(wrong)?;
        Ok(Known { table: Arc::new(builder.build().map_err(wrong)?), origin: Origin::System, modules: Some(modules) })
    }

    fn keep(&self, known: Result<Known, Nameless>) -> Result<Known, Nameless> {
        let known = known.and_then(|known| self.with_added(known));
        *self.lock() = known.clone();
        known
    }

    /// Whether nobody has asked this yet of this load.
    fn is_first_try(&self, load: u64) -> bool {
        std::mem::replace(&mut *self.tried.lock().unwrap_or_else(PoisonError::into_inner), load) != load
    }

    /// The types, if they are known.
    pub(crate) fn types(&self) -> Option<Arc<Types>> {
        self.types.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep_types(&self, types: Types) -> Arc<Types> {
        let types = Arc::new(types);
        *self.types.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&types));
        types
    }

    fn file(&self, path: &str) -> io::Result<Vec<u8>> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner).file(path)
    }

    fn mode(&self) -> Mode {
        self.target.lock().unwrap_or_else(PoisonError::into_inner).mode()
    }

    fn lock(&self) -> MutexGuard<'_, Result<Known, Nameless>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
