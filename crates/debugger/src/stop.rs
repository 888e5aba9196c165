//! The screen of a stop: why the machine halted, where, in which task, and which registers are other than when this core was shown last.
//!
//! ```text
//! halted on core 0: breakpoint 0, pid 1c8 tid 1c8 cat, cpl 0
//! rax=0000000000000001 rdi=ffff8881018f2000
//! vfs_read:
//! ffffffff9335c5d0  0f 1f 44 00 00                nop     dword ptr [rax+rax]
//! ```
//! **Holds always**
//! - C1: "shown last" is what the prompt printed of that core: a stop, steps, or `r`; the first stop shows no registers.
//! - C2: of what ran on by itself the general registers and the flags are compared: the others belong to whichever program runs.
//! - C3: behind steps the first row is left out while core, task and privilege are those that were shown.
//!
//! **Cost**: a request for the registers. **Proof**: `tests/stops.rs`, the manuals of `pause`, `t`, `p`, `~`.

use crate::answer::{Report, hex};
use crate::commands;
use crate::disassembly;
use crate::error::Error;
use crate::registers::{self, BASES, CRS, DRS, GPRS, SELECTORS};
use crate::say;
use crate::session::{Session, State};
use abi::request::{self, Halted, Registers, Task, op, reason};
use serde::Serialize;
use serde_json::{Map, Value};

/// What was shown of a core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Its registers.
    pub(crate) registers: Registers,
    /// Task and privilege, if a stop was shown.
    pub(crate) at: Option<(Task, u32)>,
}

/// Where a machine is halted.
#[derive(Serialize)]
pub struct Stop {
    core: u32,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<Running>,
    rip: String,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    rflags: String,
    cr3: String,
    cpl: u32,
    bytes: Vec<u8>,
    /// The instruction there, if it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<disassembly::Shown>,
    /// Those that are other than when this core was shown last.
    #[serde(serialize_with = "as_object")]
    registers: Vec<(String, u64)>,
    /// What it ran is as it was shown.
    #[serde(skip)]
    same: bool,
    #[serde(skip)]
    head: String,
}

/// What a core runs.
#[derive(Serialize)]
pub(crate) struct Running {
    pid: u32,
    tid: u32,
    name: String,
    task: String,
}

impl Running {
    /// `None` if nobody can tell.
    pub(crate) fn of(task: &Task) -> Option<Self> {
        let Task { task, process, thread, name } = task;
        (*task != 0).then(|| Self { pid: *process, tid: *thread, name: say::ascii(name), task: hex(*task) })
    }

    /// Process and thread, as cells of a table.
    pub(crate) fn numbers(&self) -> [String; 2] {
        [self.pid, self.tid].map(|number| format!("{number:x}"))
    }

    /// The name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// As a part of a row.
    pub(crate) fn text(&self) -> String {
        let Self { pid, tid, name, task: _ } = self;
        format!("pid {pid:x} tid {tid:x} {name}")
    }
}

/// How the machine came there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// It ran.
    Running,
    /// This core executed what it was asked to.
    Steps,
}

impl Stop {
    /// Of what root sends. From now on this is what was shown of the core.
    pub(crate) fn new(session: &mut Session, halted: &Halted, by: By) -> Self {
        let Halted { core, reason, rip, rflags, cr3, bytes, bytes_valid, cpl, event, stage, running, .. } = *halted;
        // It may have gone on already: then there is nothing to compare.
        let now = session.ask::<Registers>(op::REGISTERS, &[]).ok().filter(|now| now.core == core);
        let seen = now.and_then(|registers| session.seen.insert(core, Seen { registers, at: Some((running, cpl)) }));
        let registers = match (seen, now) {
            (Some(seen), Some(now)) => changed(&seen.registers, &now, by),
            _ => Vec::new(),
        };
        let same = by == By::Steps && seen.is_some_and(|seen| seen.at == Some((running, cpl)));
        let valid = usize::try_from(bytes_valid).unwrap_or(0).min(bytes.len());
        let next = session.instruction(rip, &bytes[..valid]);
        let place = session.place(rip);
        let (rip, rflags, cr3) = (hex(rip), hex(rflags), hex(cr3));
        let by_event = matches!(reason, reason::EVENT | reason::BREAKPOINT);
        // A script that paused does not say of which event it was.
        let named = by_event && event != request::event::ALL;
        let (event, stage) = (named.then_some(event), by_event.then(|| say::events::stage_word(stage)));
        let (reason, bytes, head) = (say::reason_word(reason), bytes[..valid].to_vec(), say::halted(halted));
        let running = Running::of(&running);
        Self { core, reason, event, stage, running, rip, place, rflags, cr3, cpl, bytes, next, registers, same, head }
    }

    /// Has all registers instead of those that are other than before.
    pub(crate) fn show_all(&mut self, all: &Registers) {
        self.registers = rows(all).concat();
    }

    /// The first row.
    pub(crate) fn head(&self) -> Option<&str> {
        (!self.same).then_some(&*self.head)
    }

    /// The rows behind the registers: what is executed next.
    pub(crate) fn place_text(&self) -> String {
        let place = self.place.as_ref().map_or_else(String::new, |place| format!("{place}:\n"));
        let rip = self.rip.trim_start_matches("0x");
        match &self.next {
            Some(disassembly::Shown { bytes, text, .. }) => format!("{place}{rip:0>16}  {bytes:<28}  {text}"),
            None => format!("{place}{rip:0>16}  (the bytes there cannot be read)"),
        }
    }
}

impl Report for Stop {
    fn text(&self) -> String {
        let mut lines: Vec<String> = self.head().map(str::to_owned).into_iter().collect();
        lines.extend(self.registers.chunks(4).map(row));
        lines.push(self.place_text());
        lines.join("\n")
    }
}

impl Session {
    /// Notes what the selected core has, unless it was shown: what comes is compared with it.
    pub(crate) fn look_before_steps(&mut self) -> Result<(), Error> {
        if !matches!(self.state(), State::Halted(core) if self.seen.contains_key(&core)) {
            let registers: Registers = self.ask(op::REGISTERS, &[])?;
            self.seen.insert(registers.core, Seen { registers, at: None });
        }
        Ok(())
    }

    /// These registers are shown.
    pub(crate) fn saw(&mut self, registers: &Registers) {
        let at = self.seen.get(&registers.core).and_then(|seen| seen.at);
        self.seen.insert(registers.core, Seen { registers: *registers, at });
    }

    /// The instruction of these bytes.
    pub(crate) fn instruction(&self, address: u64, bytes: &[u8]) -> Option<disassembly::Shown> {
        let bytes: Vec<Option<u8>> = bytes.iter().copied().map(Some).collect();
        let names = commands::names_for_instructions(self);
        disassembly::instructions(&bytes, address, 1, 64, &names).pop()
    }
}

/// Registers that are other than before, but the instruction pointer, which nearly always is.
pub(crate) fn changed(before: &Registers, after: &Registers, by: By) -> Vec<(String, u64)> {
    let counts = |name: &str| by == By::Steps || name == "rflags" || GPRS.contains(&name);
    let pairs = rows(before).concat().into_iter().zip(rows(after).concat());
    pairs.filter(|(before, after)| before != after && after.0 != "rip" && counts(&after.0)).map(|(_, after)| after).collect()
}

/// Name and value of all, as the rows of the screen.
pub(crate) fn rows(all: &Registers) -> Vec<Vec<(String, u64)>> {
    let Registers { core: _, zero: _, gprs, rip, rflags, selectors, bases, crs, drs, efer } = all;
    let pairs = |names: &[&str], values: &[u64]| -> Vec<(String, u64)> {
        names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), *value)).collect()
    };
    let mut rows: Vec<Vec<(String, u64)>> = pairs(&GPRS, gprs).chunks(4).map(<[_]>::to_vec).collect();
    rows.push(pairs(&["rip", "rflags", "efer"], &[*rip, *rflags, *efer]));
    rows.push(pairs(&CRS, crs));
    rows.push(pairs(&SELECTORS, selectors));
    rows.push(pairs(&BASES, bases));
    rows.push(pairs(&DRS, drs));
    rows
}

/// Those that are known of a program that does not run.
pub(crate) fn of_program(all: &Registers) -> Vec<(String, u64)> {
    let is_known = |name: &str| GPRS.contains(&name) || matches!(name, "rip" | "rflags" | "cs" | "ss");
    rows(all).concat().into_iter().filter(|(name, _)| is_known(name)).collect()
}

/// One row of the screen.
pub(crate) fn row(registers: &[(String, u64)]) -> String {
    let one = |(name, value): &(String, u64)| {
        let width = if registers::SELECTORS.contains(&name.as_str()) { 4 } else { 16 };
        format!("{name:>3}={value:0width$x}")
    };
    registers.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Registers in JSON.
pub(crate) fn as_object<S: serde::Serializer>(all: &[(String, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    let object: Map<String, Value> = all.iter().map(|(name, value)| (name.clone(), hex(*value).into())).collect();
    object.serialize(serializer)
}
