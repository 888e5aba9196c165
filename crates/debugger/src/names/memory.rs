//! The session's part: names of the machine at hand, or out of the memory of the one at the other end of the link.
//!
//! The kernel keeps a note for dumps after a crash. It says where its own table of names lies; the module told root where the note is,
//! and how records of modules look. So nothing is needed on the debuggee beyond what runs there, a halted machine will do, and the names
//! are those of this very boot. The table is the same in every boot of one build: it is kept in a folder of the user's.
//!
//! **Holds always**
//! - M3: nothing that memory says is trusted: every size has a limit, rings end, and a table is taken only if names that the note
//!   tells lie where it has them.
//!
//! **Cost**: of a kernel of today, some 2 MiB over the link, once. **Proof**: `tests/names.rs`, `tests/e2e/symbols.rs`.

use super::{Known, MODULES, Machine, Nameless, Origin, Verdict, added, check};
use crate::error::Error;
use crate::memory;
use crate::session::Session;
use crate::target::Mode;
use abi::code;
use abi::request::memory::{NO_PID, PHYSICAL, Place, READ_BYTES_MAX, VIRTUAL};
use abi::request::note::{self as what, Notes};
use abi::request::op;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use symbols::limits::{MODULE_NAMES_MAX, NAME_BYTES_MAX, NAMES_MAX, PACKED_BYTES_MAX, RING_MAX};
use symbols::note::{self, Note};
use symbols::packed::{self, End, INDEX_BYTES, PIECE_BYTES_MAX, Packed, SYMBOL_BYTES};
use symbols::{Builder, HIGH_HALF, Module, Table, Wrong, text};

/// Where the kernel itself lies; modules lie behind it.
const IMAGE: std::ops::Range<u64> = 0xffff_ffff_8000_0000..0xffff_ffff_c000_0000;
/// Bytes of a module's name at most.
const MODULE_NAME_BYTES: usize = 56;

impl Session {
    /// Names of the debugged kernel, fetched if they are not known. Over a link that may take a while, once.
    pub(crate) fn names_fetched(&mut self) -> Result<Known, Nameless> {
        match self.mode() {
            Mode::Vmi => self.names().of_this_machine(),
            Mode::Debugger => match self.names().known() {
                Err(_) => {
                    let known = self.names_of_memory();
                    self.names().keep(known)
                }
                Ok(known) if known.modules.is_none() => self.with_modules_of_now(known),
                known => known,
            },
        }
    }

    /// Names to show places by, if they cost little: those of a kernel that was kept, without its modules'. Tried once a load.
    pub(crate) fn names_for_places(&mut self) {
        let load = self.hello().map_or(0, |hello| hello.boot_id);
        let kept = self.cache().is_some_and(|folder| folder.is_dir());
        let unknown = matches!(self.names().known(), Err(Nameless::NotFetched));
        if self.mode() == Mode::Vmi || !kept || !unknown || !self.names().is_first_try(load) {
            return;
        }
        // Who only halts is not told why there are none.
        if let Ok(Some((builder, note, _))) = self.kernel_of_memory(false)
            && let Ok(table) = builder.build()
            && check::compare(&table, &note.symbols) == Verdict::Same
        {
            let known = Known { table: Arc::new(table), origin: Origin::Memory(note.release), modules: None };
            let _ = self.names().keep(Ok(known));
        }
    }

    /// The same, with the modules that are there now.
    pub(crate) fn names_now(&mut self) -> Result<Known, Nameless> {
        let fresh = self.names().at_hand().is_err();
        let known = self.names_fetched()?;
        if fresh || self.mode() == Mode::Vmi || matches!(known.origin, Origin::File { .. }) {
            return Ok(known);
        }
        self.with_modules_of_now(known)
    }

    fn with_modules_of_now(&mut self, known: Known) -> Result<Known, Nameless> {
        let notes = self.notes()?;
        let modules = self.ring(&notes)?;
        if known.modules.as_ref() == Some(&modules) {
            return Ok(known);
        }
        let builder = known.table.kernels().map_err(|wrong| Nameless::Memory("the kernel's names", wrong))?;
        let table = self.with_modules(builder, &notes, &modules)?;
        let known = Known { table: Arc::new(table), modules: Some(modules), ..known };
        self.names().keep(Ok(known))
    }

    /// Takes names of a file, if it is of the machine that is debugged.
    pub(crate) fn names_of_file(&mut self, path: &str) -> Result<Known, Nameless> {
        if added::is_one(path).unwrap_or(false) {
            return self.names_added(path);
        }
        let names = self.names();
        let machine = match self.mode() {
            Mode::Vmi => {
                let modules = text::modules(&names.file(MODULES).unwrap_or_default());
                names.this_machine(modules)?
            }
            Mode::Debugger => {
                let notes = self.notes()?;
                let anchors = self.crash_note(&notes)?.symbols;
                Machine { anchors, modules: self.ring(&notes)? }
            }
        };
        names.load(path, machine)
    }

    fn names_of_memory(&mut self) -> Result<Known, Nameless> {
        let Some((builder, note, notes)) = self.kernel_of_memory(true)? else { return Err(Nameless::NotFetched) };
        let modules = self.ring(&notes)?;
        let table = self.with_modules(builder, &notes, &modules)?;
        match check::compare(&table, &note.symbols) {
            Verdict::Same => {
                let (table, origin) = (Arc::new(table), Origin::Memory(note.release));
                Ok(Known { table, origin, modules: Some(modules) })
            }
            _ => Err(Nameless::Memory("its names", Wrong::Unknown)),
        }
    }

    /// The kernel's own names; `None` if they were not kept and shall not be fetched.
    fn kernel_of_memory(&mut self, fetch: bool) -> Result<Option<(Builder, Note, [u64; what::NOTES])>, Nameless> {
        let notes = self.notes()?;
        let note = self.crash_note(&notes)?;
        let place = |name: &'static str| note.symbol(name).ok_or(Nameless::Memory(name, Wrong::Empty));
        let base = self.word(place("kallsyms_relative_base")?)?;
        let known = ("_stext", place("_stext")?);
        let unpack = |packed: &Packed| -> Result<Builder, Wrong> {
            let mut builder = Builder::default();
            packed.unpack(base, known, &mut builder)?;
            Ok(builder)
        };
        let file = self.cache().map(|folder| folder.join(format!("names-{}", note.build_id)));
        let file = file.filter(|_| !note.build_id.is_empty());
        let kept = file.as_ref().and_then(|file| Packed::from_bytes(&fs::read(file).ok()?).ok());
        // What was kept and does not fit is fetched anew.
        let builder = match kept.as_ref().and_then(|packed| unpack(packed).ok()) {
            Some(builder) => builder,
            None if !fetch => return Ok(None),
            None => {
                let release = &note.release;
                self.note(format!("fetching the names of linux {release} over the link, once for this kernel; CTRL+C ends it"));
                let packed = self.packed(&note)?;
                let builder = unpack(&packed).map_err(|wrong| Nameless::Memory("its names", wrong))?;
                if let Some(file) = &file {
                    keep(file, &packed.to_bytes());
                }
                builder
            }
        };
        Ok(Some((builder, note, notes)))
    }

    /// What Linux told root of itself.
    pub(super) fn notes(&mut self) -> Result<[u64; what::NOTES], Nameless> {
        let notes: Notes = self.ask(op::NOTES, &[]).map_err(nameless)?;
        if notes.notes[what::CRASH_NOTE] == 0 { Err(Nameless::NoNote) } else { Ok(notes.notes) }
    }

    /// The note for dumps.
    pub(super) fn crash_note(&mut self, notes: &[u64; what::NOTES]) -> Result<Note, Nameless> {
        let wrong = |wrong| Nameless::Memory("its note", wrong);
        let at = notes[what::CRASH_NOTE];
        let head = self.bytes_at(PHYSICAL, at, note::HEAD_BYTES)?;
        let most = usize::try_from(notes[what::CRASH_NOTE_BYTES]).unwrap_or(usize::MAX);
        let bytes = note::bytes(&head).map_err(wrong)?.min(most);
        Note::read(&self.bytes_at(PHYSICAL, at, bytes)?).map_err(wrong)
    }

    /// The kernel's own table.
    fn packed(&mut self, note: &Note) -> Result<Packed, Nameless> {
        let place = |name: &'static str| note.symbol(name).ok_or(Nameless::Memory(name, Wrong::Empty));
        let count = self.half_word(place("kallsyms_num_syms")?)?;
        let number = usize::try_from(count).ok().filter(|number| *number <= NAMES_MAX);
        let number = number.ok_or(Nameless::Memory("its names", Wrong::TooMany(NAMES_MAX)))?;
        let index = self.bytes_at(VIRTUAL, place("kallsyms_token_index")?, INDEX_BYTES)?;
        let last = Packed::last_piece(&index).unwrap_or(0);
        let pieces = self.bytes_at(VIRTUAL, place("kallsyms_token_table")?, last + PIECE_BYTES_MAX)?;
        let offsets = self.bytes_at(VIRTUAL, place("kallsyms_offsets")?, 4 * number)?;
        let at = place("kallsyms_names")?;
        let (mut names, mut end) = (Vec::new(), End::new(count));
        let whole = loop {
            if let Some(whole) = end.find(&names) {
                break whole;
            }
            if names.len() > PACKED_BYTES_MAX {
                return Err(Nameless::Memory("its names", Wrong::TooMany(PACKED_BYTES_MAX)));
            }
            names.extend(self.bytes_at(VIRTUAL, at.wrapping_add(names.len() as u64), READ_BYTES_MAX)?);
        };
        names.truncate(whole);
        Ok(Packed { count, names, pieces, index, offsets })
    }

    /// The modules that are there now, the newest last. A record that makes no sense ends the ring.
    fn ring(&mut self, notes: &[u64; what::NOTES]) -> Result<Vec<Module>, Nameless> {
        let (first, next) = (notes[what::MODULE], notes[what::MODULE_NEXT]);
        let mut modules = Vec::new();
        let mut record = first;
        for _ in 0..RING_MAX {
            // The ring's own head lies in the kernel, and in no record.
            if !IMAGE.contains(&record) {
                match self.module_at(record, notes)? {
                    Some(module) => modules.push(module),
                    None => break,
                }
            }
            record = self.word(record.wrapping_add(next))?.wrapping_sub(next);
            if record == first {
                break;
            }
        }
        modules.sort_by_key(|module| module.base);
        Ok(modules)
    }

    pub(super) fn module_at(&mut self, record: u64, notes: &[u64; what::NOTES]) -> Result<Option<Module>, Nameless> {
        let name = self.bytes_at(VIRTUAL, record.wrapping_add(notes[what::MODULE_NAME]), MODULE_NAME_BYTES)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let base = self.word(record.wrapping_add(notes[what::MODULE_BASE]))?;
        let size = self.half_word(record.wrapping_add(notes[what::MODULE_SIZE]))?.into();
        let sound = !name.is_empty() && name.iter().all(u8::is_ascii_graphic) && base >= HIGH_HALF;
        let name = String::from_utf8_lossy(name).into_owned();
        Ok(sound.then_some(Module { name, base, size }))
    }

    /// All names of the kernel and of these modules.
    fn with_modules(
        &mut self,
        mut builder: Builder,
        notes: &[u64; what::NOTES],
        modules: &[Module],
    ) -> Result<Table, Nameless> {
        let wrong = |wrong| Nameless::Memory("names of modules", wrong);
        for module in modules {
            builder.module(module.clone()).map_err(wrong)?;
        }
        let mut record = notes[what::MODULE];
        for _ in 0..=modules.len() {
            if !IMAGE.contains(&record)
                && let Some(module) = self.module_at(record, notes)?
                && modules.contains(&module)
            {
                self.names_of_module(&module.name, record, notes, &mut builder)?;
            }
            let next = notes[what::MODULE_NEXT];
            record = self.word(record.wrapping_add(next))?.wrapping_sub(next);
            if record == notes[what::MODULE] {
                break;
            }
        }
        builder.build().map_err(wrong)
    }

    fn names_of_module(
        &mut self,
        name: &str,
        record: u64,
        notes: &[u64; what::NOTES],
        builder: &mut Builder,
    ) -> Result<(), Nameless> {
        let names = self.word(record.wrapping_add(notes[what::MODULE_NAMES]))?;
        let field = |note: usize| names.wrapping_add(notes[note]);
        let count = self.half_word(field(what::NAMES_COUNT))?;
        if count > MODULE_NAMES_MAX {
            return Err(Nameless::Memory("names of modules", Wrong::TooMany(MODULE_NAMES_MAX as usize)));
        }
        let [table, texts, kinds] = [what::NAMES_TABLE, what::NAMES_TEXTS, what::NAMES_KINDS];
        let (table, texts, kinds) = (self.word(field(table))?, self.word(field(texts))?, self.word(field(kinds))?);
        let symbols = self.bytes_at(VIRTUAL, table, count as usize * SYMBOL_BYTES)?;
        let last = packed::last_name(&symbols).min(PACKED_BYTES_MAX);
        // Nobody says where the texts end; behind them there may be nothing.
        let texts = self.bytes_there(VIRTUAL, texts, last + NAME_BYTES_MAX)?.0;
        let kinds = self.bytes_there(VIRTUAL, kinds, count as usize)?.0;
        packed::module(name, &symbols, &texts, &kinds, builder).map_err(|wrong| Nameless::Memory("names of modules", wrong))
    }

    pub(super) fn word(&mut self, address: u64) -> Result<u64, Nameless> {
        let bytes = self.bytes_at(VIRTUAL, address, 8)?;
        Ok(bytes.try_into().map_or(0, u64::from_le_bytes))
    }

    pub(super) fn half_word(&mut self, address: u64) -> Result<u32, Nameless> {
        let bytes = self.bytes_at(VIRTUAL, address, 4)?;
        Ok(bytes.try_into().map_or(0, u32::from_le_bytes))
    }

    pub(super) fn bytes_at(&mut self, space: u32, address: u64, count: usize) -> Result<Vec<u8>, Nameless> {
        match self.bytes_there(space, address, count)? {
            (bytes, code::SUCCESS) => Ok(bytes),
            (bytes, why) => Err(Nameless::Unreadable(address.wrapping_add(bytes.len() as u64), why)),
        }
    }

    /// As many bytes as can be read, and why not more.
    fn bytes_there(&mut self, space: u32, address: u64, count: usize) -> Result<(Vec<u8>, u32), Nameless> {
        let mut bytes = Vec::with_capacity(count);
        while bytes.len() < count {
            let wanted = (count - bytes.len()).min(READ_BYTES_MAX);
            let place = Place { address: address.wrapping_add(bytes.len() as u64), space, pid: NO_PID };
            let read = memory::request_bytes(self, place, wanted as u64).map_err(nameless)?;
            let (got, why) = read.map_err(Nameless::Refused)?;
            bytes.extend_from_slice(&got);
            if why != code::SUCCESS {
                return Ok((bytes, why));
            }
        }
        Ok((bytes, code::SUCCESS))
    }
}

fn nameless(error: Error) -> Nameless {
    match error {
        Error::Refused(crate::error::Refusal::Plain { code, .. }) => Nameless::Refused(code),
        Error::Reach(reach) => Nameless::Reach(reach),
        _ => Nameless::Reach(crate::error::Reach::Cancelled),
    }
}

/// Writes a file whole or not at all; a full disk must not stop the debugging.
pub(super) fn keep(file: &Path, bytes: &[u8]) {
    let Some(folder) = file.parent() else { return };
    let beside: PathBuf = file.with_extension(format!("{}", std::process::id()));
    let written = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let written = written.and_then(|()| fs::write(&beside, bytes)).and_then(|()| fs::rename(&beside, file));
    if written.is_err() {
        // Nothing of it is left then; whether this works changes nothing.
        let _ = fs::remove_file(&beside);
    }
}
