//! Names that are known, saved for other debuggers: a file with all of them where they lie now, and how to unwind.
//!
//! How to unwind is read out of the kernel's memory whole. It is the same in every boot of one build: over a link it is kept in the
//! folder of the user's where names are.
//!
//! **Cost**: of a kernel of today some 6 MiB over the link, once. **Proof**: `tests/names.rs`, `tests/e2e/gdb.rs`.

use super::Nameless;
use super::memory::keep;
use crate::error::Error;
use crate::session::Session;
use crate::target::Mode;
use abi::request::memory::VIRTUAL;
use std::fs;
use std::path::PathBuf;
use symbols::Wrong;
use symbols::export::{self, Unwind};
use symbols::unwind::Orc;

/// Bytes of the table of how to unwind at most.
const UNWIND_BYTES_MAX: usize = 160 << 20;
/// What in memory is not right.
const WHAT: &str = "its table of frames";

/// What was saved.
pub(crate) struct Saved {
    /// Bytes of the file.
    pub(crate) bytes: usize,
    /// Names.
    pub(crate) names: usize,
    /// Modules.
    pub(crate) modules: usize,
    /// Whether it says how to unwind.
    pub(crate) unwinds: bool,
}

impl Session {
    /// Saves the names of now to a file.
    pub(crate) fn save_names(&mut self, path: &str) -> Result<Saved, Error> {
        let because = |nameless| Error::Names { nameless, span: None };
        let table = self.names_needed()?.table;
        let orc = Orc::of(&table);
        let parts = match orc {
            Some(orc) => Some(self.unwind_parts(orc).map_err(because)?),
            None => None,
        };
        let unwind = orc.zip(parts.as_ref()).map(|(orc, [ips, entries])| Unwind { orc, parts: [ips, entries] });
        let bytes = export::file(&table, unwind.as_ref()).map_err(|wrong| because(Nameless::Memory(WHAT, wrong)))?;
        fs::write(path, &bytes).map_err(|why| Error::Unwritten { path: path.to_owned(), why: why.kind() })?;
        let modules = table.modules().iter().filter(|module| module.base != 0).count();
        Ok(Saved { bytes: bytes.len(), names: table.len(), modules, unwinds: unwind.is_some() })
    }

    /// The parts of the kernel's own table.
    fn unwind_parts(&mut self, orc: Orc) -> Result<[Vec<u8>; 2], Nameless> {
        let sizes = orc.parts().map(|(_, bytes)| usize::try_from(bytes).unwrap_or(usize::MAX));
        let whole = sizes[0].saturating_add(sizes[1]);
        if whole > UNWIND_BYTES_MAX {
            return Err(Nameless::Memory(WHAT, Wrong::TooMany(UNWIND_BYTES_MAX)));
        }
        let (file, release) = match self.mode() {
            Mode::Vmi => (None, String::new()),
            Mode::Debugger => self.unwind_file()?,
        };
        let kept = file.as_ref().and_then(|file| fs::read(file).ok()).filter(|bytes| bytes.len() == whole);
        let mut bytes = match kept {
            Some(bytes) => bytes,
            None => {
                if self.mode() == Mode::Debugger {
                    self.note(format!(
                        "fetching how linux {release} unwinds over the link, 0x{whole:x} bytes, once for this kernel; CTRL+C ends it"
                    ));
                }
                let mut bytes = Vec::with_capacity(whole);
                for ((address, _), size) in orc.parts().into_iter().zip(sizes) {
                    bytes.extend(self.bytes_at(VIRTUAL, address, size)?);
                }
                if let Some(file) = &file {
                    keep(file, &bytes);
                }
                bytes
            }
        };
        let entries = bytes.split_off(sizes[0]);
        Ok([bytes, entries])
    }

    /// Where the table is kept, if it can be, and the kernel's release.
    fn unwind_file(&mut self) -> Result<(Option<PathBuf>, String), Nameless> {
        let notes = self.notes()?;
        let note = self.crash_note(&notes)?;
        let file = self.cache().map(|folder| folder.join(format!("unwind-{}", note.build_id)));
        Ok((file.filter(|_| !note.build_id.is_empty()), note.release))
    }
}
