//! What this sitting knows of scripts and events: their globals, and what was typed for each event.
//!
//! **Holds always**
//! - B1: all of it is of one load of the hypervisor; with another it begins anew.
//! - B2: a global keeps its cell from the first program that root got with it.

use crate::names::Names;
use crate::outputs::Outputs;
use abi::request::event;
use script::{Global, Program};
use std::collections::BTreeMap;

/// The book.
pub(crate) struct Book {
    boot_id: Option<u64>,
    /// Of all scripts so far: those that root is known to have, in its order.
    pub(crate) globals: Vec<Global>,
    /// The events there are, as far as is known; `None` if somebody else registered it.
    pub(crate) events: BTreeMap<u32, Option<Registered>>,
    /// Where some of them speak.
    outputs: Outputs,
    /// Names that scripts can mention.
    names: Names,
}

/// What was typed for an event.
#[derive(Debug)]
pub(crate) struct Registered {
    /// The line.
    pub(crate) text: String,
    /// What it runs.
    pub(crate) program: Option<Program>,
    /// It is a breakpoint.
    pub(crate) is_breakpoint: bool,
}

impl Book {
    /// Empty; no event speaks to an output.
    pub(crate) fn new(outputs: Outputs, names: Names) -> Self {
        outputs.keep(|_| false);
        Self { boot_id: None, globals: Vec::new(), events: BTreeMap::new(), outputs, names }
    }

    /// Begins anew if this is another load.
    pub(crate) fn of_load(&mut self, boot_id: u64) {
        if self.boot_id.is_some_and(|known| known != boot_id) {
            *self = Self::new(self.outputs.clone(), self.names.clone());
            self.names.of_another_load();
        }
        self.boot_id = Some(boot_id);
    }

    /// The load, or 0 if none is known.
    pub(crate) fn boot_id(&self) -> u64 {
        self.boot_id.unwrap_or(0)
    }

    /// Names of the kernel.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// An event is cleared, or all that are no breakpoints, or all that are.
    pub(crate) fn clear(&mut self, id: u32) {
        let is_gone = |event: u32, registered: Option<&Registered>| match id {
            event::ALL | event::ALL_BREAKPOINTS => {
                registered.is_some_and(|registered| registered.is_breakpoint) == (id == event::ALL_BREAKPOINTS)
            }
            id => id == event,
        };
        self.events.retain(|event, registered| !is_gone(*event, registered.as_ref()));
        let events = &self.events;
        self.outputs.keep(|event| events.contains_key(&event));
    }

    /// Notes what is there: what is not is forgotten.
    pub(crate) fn there_are(&mut self, ids: &[u32]) {
        self.events.retain(|id, _| ids.contains(id));
        self.outputs.keep(|event| ids.contains(&event));
        for id in ids {
            self.events.entry(*id).or_default();
        }
    }
}
