//! Types that modules bring with them: in files of this machine, or in the kernel's own list of them in the memory of the other one.
//!
//! **Holds always**
//! - M5: what is known of a module is asked for by where it lies: one that went and came again is read anew.
//!
//! **Cost**: some 10 KiB a module, over a link once for each load of it. **Proof**: `tests/types.rs`, `tests/e2e/symbols.rs`.

use super::{Brought, MODULES, Nameless, Names, check};
use crate::session::Session;
use crate::target::Mode;
use abi::request::memory::VIRTUAL;
use std::io;
use std::sync::{Arc, PoisonError};
use symbols::btf::Types;
use symbols::layout::{self, Layout};
use symbols::limits::RING_MAX;
use symbols::{Module, Pattern, Wrong, text};

/// Bytes of one module's description at most.
const BYTES_MAX: u32 = 16 << 20;
/// What in memory is not right.
const WHAT: &str = "the types of modules";

/// A module that brings types, and where they lie in the memory of the other machine.
struct Bringer {
    module: Module,
    data: u64,
    bytes: u32,
}

impl Session {
    /// Types of the module of this name, or of all modules; those that bring none are left out. What is not known is fetched.
    pub(crate) fn types_of_modules(&mut self, name: Option<&str>) -> Result<Brought, Nameless> {
        let kernels = self.types_fetched()?;
        let wanted = |module: &Module| name.is_none_or(|name| module.name == name);
        match self.mode() {
            Mode::Vmi => {
                let names = self.names();
                let modules = text::modules(&names.file(MODULES).unwrap_or_default());
                let mut all = Vec::new();
                for module in modules.into_iter().filter(wanted) {
                    let read = || {
                        let path = format!("/sys/kernel/btf/{}", module.name);
                        match names.file(&path) {
                            Ok(bytes) => {
                                let types = Types::read_behind(bytes, &kernels);
                                types.map(Some).map_err(|wrong| Nameless::Wrong { path, wrong })
                            }
                            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
                            Err(why) => Err(Nameless::File { path, why: why.kind() }),
                        }
                    };
                    if let Some(types) = names.types_of(&module, read)? {
                        all.push((module, types));
                    }
                }
                Ok(all)
            }
            Mode::Debugger => self.types_of_list(name, &kernels),
        }
    }

    fn types_of_list(&mut self, name: Option<&str>, kernels: &Arc<Types>) -> Result<Brought, Nameless> {
        let names = self.names();
        let mut all = self.bringers(kernels)?;
        all.retain(|bringer| name.is_none_or(|name| bringer.module.name == name));
        let missing = all.iter().filter(|bringer| names.known_types_of(&bringer.module).is_none());
        let bytes: u64 = missing.map(|bringer| u64::from(bringer.bytes)).sum();
        if bytes != 0 {
            self.note(format!("fetching the types of modules over the link, 0x{bytes:x} bytes; CTRL+C ends it"));
        }
        let mut found = Vec::new();
        for Bringer { module, data, bytes } in all {
            let read = || {
                let bytes = self.bytes_at(VIRTUAL, data, bytes as usize)?;
                Types::read_behind(bytes, kernels).map(Some).map_err(|wrong| Nameless::Memory(WHAT, wrong))
            };
            if let Some(types) = names.types_of(&module, read)? {
                found.push((module, types));
            }
        }
        Ok(found)
    }

    /// The kernel's list of what modules brought. Where its records have what, the kernel's types say.
    fn bringers(&mut self, kernels: &Types) -> Result<Vec<Bringer>, Nameless> {
        let wrong = |wrong| Nameless::Memory(WHAT, wrong);
        let at = |of: &str, member: &str| offset(kernels, of, member).ok_or(wrong(Wrong::Unknown));
        let (list, module, own) = (at("btf_module", "list")?, at("btf_module", "module")?, at("btf_module", "btf")?);
        let (data, bytes) = (at("btf", "data")?, at("btf", "data_size")?);
        let notes = self.notes()?;
        let table = self.names_now()?.table;
        let head = check::only(&table, "btf_modules").ok_or(wrong(Wrong::Empty))?;
        let mut found = Vec::new();
        let mut next = self.word(head)?;
        for _ in 0..RING_MAX {
            if next == head {
                return Ok(found);
            }
            let record = next.wrapping_sub(list);
            let own = self.word(record.wrapping_add(own))?;
            let bytes = self.half_word(own.wrapping_add(bytes))?;
            let module = self.word(record.wrapping_add(module))?;
            let module = self.module_at(module, &notes)?.ok_or(wrong(Wrong::Unknown))?;
            if bytes > BYTES_MAX {
                return Err(wrong(Wrong::TooMany(BYTES_MAX as usize)));
            }
            found.push(Bringer { module, data: self.word(own.wrapping_add(data))?, bytes });
            next = self.word(next)?;
        }
        Err(wrong(Wrong::TooMany(RING_MAX)))
    }
}

impl Names {
    /// Types of a module, read if they are not known.
    fn types_of(
        &self,
        module: &Module,
        read: impl FnOnce() -> Result<Option<Types>, Nameless>,
    ) -> Result<Option<Arc<Types>>, Nameless> {
        if let Some(types) = self.known_types_of(module) {
            return Ok(Some(types));
        }
        let Some(types) = read()?.map(Arc::new) else { return Ok(None) };
        let mut all = self.module_types.lock().unwrap_or_else(PoisonError::into_inner);
        // One that came again has taken the place of what it was.
        all.retain(|(other, _)| other.name != module.name);
        all.push((module.clone(), Arc::clone(&types)));
        Ok(Some(types))
    }

    fn known_types_of(&self, module: &Module) -> Option<Arc<Types>> {
        let all = self.module_types.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|(known, _)| known == module).map(|(_, types)| Arc::clone(types))
    }
}

/// Where a member lies in a structure of the kernel's.
fn offset(types: &Types, of: &str, member: &str) -> Option<u64> {
    match layout::layout(types, types.find(of)?, Some(&Pattern::new(member))) {
        Layout::Members { rows, .. } => rows.first().map(|row| row.offset),
        _ => None,
    }
}
