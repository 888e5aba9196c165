//! Types of the debugged kernel: as it describes them itself, in a file of this machine or in the memory of the other one.
//!
//! **Holds always**
//! - M4: over a link they are those of the build that runs: read out of its memory, or kept under the number of that build.
//!
//! **Cost**: 5 MiB, over a link once for a kernel. **Proof**: `tests/types.rs`, `tests/e2e/symbols.rs`.

use super::memory::keep;
use super::{Nameless, check};
use crate::session::Session;
use crate::target::Mode;
use abi::request::memory::VIRTUAL;
use std::fs;
use std::sync::Arc;
use symbols::Wrong;
use symbols::btf::{self, Types};

/// Where the system describes its types.
pub(crate) const TYPES: &str = "/sys/kernel/btf/vmlinux";
/// Bytes of a description at most.
const TYPES_BYTES_MAX: u64 = 64 << 20;

impl Session {
    /// Types of the debugged kernel, fetched if they are not known. Over a link that may take a while, once.
    pub(crate) fn types_fetched(&mut self) -> Result<Arc<Types>, Nameless> {
        let names = self.names();
        if let Some(types) = names.types() {
            return Ok(types);
        }
        let types = match self.mode() {
            Mode::Vmi => {
                let path = || TYPES.to_owned();
                let bytes = names.file(TYPES).map_err(|why| Nameless::File { path: path(), why: why.kind() })?;
                Types::read(bytes).map_err(|wrong| Nameless::Wrong { path: path(), wrong })?
            }
            Mode::Debugger => self.types_of_memory()?,
        };
        Ok(names.keep_types(types))
    }

    fn types_of_memory(&mut self) -> Result<Types, Nameless> {
        let notes = self.notes()?;
        let note = self.crash_note(&notes)?;
        let file = self.cache().map(|folder| folder.join(format!("types-{}", note.build_id)));
        let file = file.filter(|_| !note.build_id.is_empty());
        let kept = file.as_ref().and_then(|file| Types::read(fs::read(file).ok()?).ok());
        if let Some(types) = kept {
            return Ok(types);
        }
        let table = self.names_fetched()?.table;
        let wrong = |wrong| Nameless::Memory("its types", wrong);
        let place = |name: &str| check::only(&table, name).ok_or(wrong(Wrong::Empty));
        let (first, end) = (place("__start_BTF")?, place("__stop_BTF")?);
        let bytes = end.checked_sub(first).filter(|bytes| *bytes <= TYPES_BYTES_MAX);
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok()).ok_or(wrong(Wrong::Unknown))?;
        // What it says of itself is read before all the rest is fetched.
        let head = self.bytes_at(VIRTUAL, first, btf::HEAD_BYTES)?;
        if Types::bytes_of(&head).map_err(wrong)? > bytes {
            return Err(wrong(Wrong::Unknown));
        }
        self.note(format!(
            "fetching the types of linux {} over the link, 0x{bytes:x} bytes, once for this kernel; CTRL+C ends it",
            note.release
        ));
        let bytes = self.bytes_at(VIRTUAL, first, bytes)?;
        let types = Types::read(bytes).map_err(wrong)?;
        if let Some(file) = &file {
            keep(file, types.bytes());
        }
        Ok(types)
    }
}
