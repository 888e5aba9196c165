//! Hooks of every sort in one guest: the modules that use what is hooked, and a request for each sort.

use crate::scripting::{Scripts, accepted, ask, change, load, register, row};
use crate::{Result, guest, scripting, wire::Wire};
use abi::kind::Kind;
use abi::request::memory::{NO_PID, Place, VIRTUAL};
use abi::request::{EventAnswer, EventAsk, Ledger, epthook, epthook2, event, monitor, op};
use lab::{Builder, Machine};
use zerocopy::IntoBytes;

/// Functions of the module `hooked`, by their place in its page: what many of the kernel's begin with, INC, a caller of the latter,
/// and two that nobody hooks.
pub const ENDBR: u64 = 0;
/// ADD, which ends in the next page.
pub const CROSSING: u64 = 0xffe;
/// PUSH.
pub const PUSH: u64 = 0x80;
/// INC, which is none of those that root does itself.
pub const INC: u64 = 0x180;
/// As `INC`.
pub const OTHER: u64 = 0x200;
/// No function: that core does nothing.
pub const NOTHING: u64 = 0xffff;

/// Functions of `hooked` that begin with whole instructions of five bytes or more which are the same wherever they lie: these, and how many are
/// the first one's. Nobody else hooks them.
pub const MOVABLE: [(u64, &[u8], u32); 2] = [
    // SUB RSP, 18; INC EAX.
    (0x100, &[0x48, 0x83, 0xec, 0x18, 0xff, 0xc0], 4),
    // XOR ECX, ECX; SETZ CL.
    (0x140, &[0x31, 0xc9, 0x0f, 0x94, 0xc1], 2),
];

/// Where the modules have what is hooked.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// The page of data that `monitored` uses, and where it is physically.
    pub data: u64,
    /// See `data`.
    pub physical: u64,
    /// Its page of code.
    pub code: u64,
    /// The page of functions of `hooked`,
    pub functions: u64,
    /// and its function that a static key changes.
    pub keyed: u64,
}

/// A machine with both modules, and with programs that make load and read the kernel's memory.
pub fn builder(cpus: u32) -> Builder {
    let builder = Machine::builder().cpus(cpus).with_stress_ng().with_guest_program(&guest::program("kcore"));
    builder.with_guest_module(&guest::module("monitored")).with_guest_module(&guest::module("hooked"))
}

/// Inserts both modules.
///
/// # Errors
/// Those of the machine.
pub fn places(machine: &mut Machine) -> Result<Places> {
    let text = machine.ok("insmod /monitored.ko; insmod /hooked.ko; cat /sys/module/monitored/parameters/where; \
         cat /sys/module/hooked/parameters/where")?;
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| u64::from_str_radix(word, 16).ok()).collect();
    let [data, physical, code, functions, keyed] = numbers[..] else { return Err(text.into()) };
    Ok(Places { data, physical, code, functions, keyed })
}

/// What each core found when it used its memory.
///
/// # Errors
/// Those of the machine.
pub fn uses(machine: &mut Machine, what: &str, count: u64) -> Result<String> {
    Ok(machine.ok(&format!("cd /sys/module/monitored/parameters; echo {what} {count} >go && cat said"))?)
}

/// How often a function was wrong, on each core. All cores but the first call another one.
///
/// # Errors
/// Those of the machine.
pub fn calls(machine: &mut Machine, offset: u64, count: u64, others: u64) -> Result<String> {
    Ok(machine.ok(&format!("cd /sys/module/hooked/parameters; echo {offset:x} {count} {others:x} >go && cat said"))?)
}

/// Where functions of the kernel and of its modules begin.
///
/// # Errors
/// If one is not there.
pub fn named(machine: &mut Machine, names: &[&str]) -> Result<Vec<u64>> {
    let list = machine.ok(&format!("grep -E ' ({})' /proc/kallsyms", names.join("|")))?;
    // Behind a name of a module's stands which.
    let is = |line: &str, name: &str| line.split_whitespace().nth(2) == Some(name);
    let at = |name: &&str| list.lines().find(|line| is(line, name)).ok_or(format!("{name}: {list}"));
    names.iter().map(|name| Ok(u64::from_str_radix(at(name)?.get(..16).unwrap_or_default(), 16)?)).collect()
}

/// How many refer to a frame, as the module `held` says.
///
/// # Errors
/// Those of the machine.
pub fn references(machine: &mut Machine, pfn: u64) -> Result<i64> {
    let here = "cd /sys/module/held/parameters";
    Ok(machine.ok(&format!("{here}; echo {pfn:x} >count && cat count"))?.trim().parse()?)
}

/// Units of hooks and of monitors that are used.
///
/// # Errors
/// Those of the link.
pub fn used(wire: &mut Wire) -> Result<[u64; 2]> {
    Ok([scripting::units(wire, Kind::Epthook)?.1, scripting::units(wire, Kind::Monitor)?.1])
}

/// Bytes of the kernel as a program reads them.
///
/// # Errors
/// Those of the machine.
pub fn through_kcore(machine: &mut Machine, address: u64, count: u64) -> Result<String> {
    Ok(machine.ok(&format!("kcore bytes {address:x} {count}"))?.trim().to_owned())
}

/// The kernel's text: as the guest reads it, and as it lies in memory, read from outside where that can be.
pub struct Text {
    sum: String,
    memory: Option<Vec<u8>>,
}

impl Text {
    /// What it is now, and where.
    fn of(machine: &mut Machine, [first, end]: [u64; 2]) -> Result<Text> {
        let sum = machine.ok(&format!("kcore sum {first:x} {end:x}"))?;
        let range = machine.ok("awk '/Kernel code/ { print $1 }' /proc/iomem")?;
        let (from, to) = range.trim().split_once('-').ok_or("no range")?;
        let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
        let memory = guest::memory_from_outside(machine, from, to + 1 - from)?;
        Ok(Text { sum, memory })
    }

    /// Fails if memory is another: hooks are not written into it. What the guest reads may be a breakpoint where a hook is fast.
    ///
    /// # Panics
    /// With the bytes.
    pub fn assert_memory_is(&self, before: &Text) {
        let (Some(now), Some(before)) = (&self.memory, &before.memory) else { return };
        assert!(now.len() > 1 << 20 && now.len() == before.len());
        let bytes = now.iter().zip(before).enumerate().filter(|(_, (now, then))| now != then);
        let bytes: Vec<String> = bytes.take(32).map(|(at, (now, then))| format!("{at:x}: {then:02x} is {now:02x}")).collect();
        assert!(bytes.is_empty(), "bytes of the kernel: {bytes:#?}");
    }

    /// Fails if it is another, in memory or for who reads it.
    ///
    /// # Panics
    /// If there are any.
    pub fn assert_is(&self, before: &Text) {
        self.assert_memory_is(before);
        assert_eq!(self.sum, before.sum, "as the guest reads it");
    }
}

/// A machine under root, with a bare client.
pub struct Hooks {
    /// The machine,
    pub machine: Machine,
    /// the client,
    pub wire: Wire,
    /// its scripts,
    pub scripts: Scripts,
    /// and what there is to hook.
    pub at: Places,
    /// Where the kernel's text begins and ends.
    text: [u64; 2],
}

impl Hooks {
    /// Boots and loads.
    ///
    /// # Errors
    /// Those of the machine.
    pub fn new(cpus: u32) -> Result<Hooks> {
        Self::of(builder(cpus).boot()?)
    }

    /// Loads.
    ///
    /// # Errors
    /// Those of the machine.
    pub fn of(mut machine: Machine) -> Result<Hooks> {
        let at = places(&mut machine)?;
        // Now, as a machine that is kept busy takes long to list its names.
        let ends = named(&mut machine, &["_stext", "_etext"])?;
        let text = <[u64; 2]>::try_from(ends).map_err(|ends| format!("{ends:x?}"))?;
        let (wire, scripts) = load(&mut machine)?;
        Ok(Hooks { machine, wire, scripts, at, text })
    }

    /// What the kernel's text is now.
    ///
    /// # Errors
    /// Those of the machine.
    pub fn text(&mut self) -> Result<Text> {
        Text::of(&mut self.machine, self.text)
    }

    /// Asks for a monitor of so many bytes.
    ///
    /// # Errors
    /// Those of the link.
    pub fn ask_monitor(
        &mut self,
        its: EventAsk,
        (space, from, bytes): (u32, u64, u64),
        access: u32,
        script: &str,
    ) -> Result<(u32, EventAnswer)> {
        let program_words = if script.is_empty() { 0 } else { self.scripts.stage(&mut self.wire, script)? };
        let place = Place { address: from, space, pid: NO_PID };
        let ask = monitor::Ask { event: EventAsk { program_words, ..its }, place, last: from + (bytes - 1), access, zero: 0 };
        register(&mut self.wire, op::MONITOR_ADD, ask.as_bytes())
    }

    /// A monitor of virtual addresses that must be accepted; its id.
    ///
    /// # Errors
    /// As `ask_monitor`; a refusal.
    pub fn monitor(&mut self, from: u64, bytes: u64, access: u32, script: &str) -> Result<u32> {
        accepted(self.ask_monitor(ask(event::MONITOR), (VIRTUAL, from, bytes), access, script)?)
    }

    /// Asks for a hidden breakpoint.
    ///
    /// # Errors
    /// Those of the link.
    pub fn ask_epthook(&mut self, its: EventAsk, address: u64, script: &str) -> Result<(u32, EventAnswer)> {
        let program_words = if script.is_empty() { 0 } else { self.scripts.stage(&mut self.wire, script)? };
        let place = Place { address, space: VIRTUAL, pid: NO_PID };
        let ask = epthook::Ask { event: EventAsk { program_words, ..its }, place };
        register(&mut self.wire, op::EPTHOOK_ADD, ask.as_bytes())
    }

    /// One that must be accepted; its id.
    ///
    /// # Errors
    /// As `ask_epthook`; a refusal.
    pub fn epthook(&mut self, address: u64, script: &str) -> Result<u32> {
        accepted(self.ask_epthook(ask(event::EPTHOOK), address, script)?)
    }

    /// One that may be seen by who reads it, and is fast for it.
    ///
    /// # Errors
    /// As `ask_epthook`; a refusal.
    pub fn fast(&mut self, address: u64, script: &str) -> Result<u32> {
        accepted(self.ask_epthook(EventAsk { flags: event::FAST, ..ask(event::EPTHOOK) }, address, script)?)
    }

    /// Asks for a detour in a function of `hooked` that begins with what is the same wherever it lies.
    ///
    /// # Errors
    /// Those of the link; if it is none of these.
    pub fn ask_detour(&mut self, offset: u64, script: &str) -> Result<(u32, EventAnswer)> {
        let (_, bytes, first_bytes) = MOVABLE.into_iter().find(|(at, ..)| *at == offset).ok_or("it is not movable")?;
        let program_words = if script.is_empty() { 0 } else { self.scripts.stage(&mut self.wire, script)? };
        let place = Place { address: self.at.functions + offset, space: VIRTUAL, pid: NO_PID };
        let mut detour = epthook2::Ask { place, first_bytes, ..epthook2::Ask::default() };
        detour.event = EventAsk { program_words, ..ask(event::EPTHOOK2) };
        let count = u32::try_from(bytes.len())?;
        (detour.displaced_bytes, detour.code_bytes) = (count, count);
        detour.original[..bytes.len()].copy_from_slice(bytes);
        detour.code[..bytes.len()].copy_from_slice(bytes);
        register(&mut self.wire, op::EPTHOOK2_ADD, detour.as_bytes())
    }

    /// How often an event fired.
    ///
    /// # Errors
    /// Those of the link.
    pub fn hits(&mut self, id: u32) -> Result<u64> {
        Ok(row(&mut self.wire, id)?.hits)
    }

    /// Clears all events.
    ///
    /// # Errors
    /// Those of the link.
    pub fn clear(&mut self) -> Result {
        change(&mut self.wire, event::CLEAR, event::ALL).map(|_| ())
    }

    /// Free and used units of a type.
    ///
    /// # Errors
    /// Those of the link.
    pub fn units(&mut self, kind: Kind) -> Result<(u64, u64)> {
        scripting::units(&mut self.wire, kind)
    }

    /// Used units of every type; each type's sum is asserted.
    ///
    /// # Errors
    /// Those of the link.
    ///
    /// # Panics
    /// If free and used units are not those that are reserved.
    pub fn used(&mut self) -> Result<Vec<u64>> {
        let ledger = self.wire.get::<Ledger>(op::LEDGER, &[])?;
        for row in &ledger.kinds {
            assert_eq!(row.free + row.used, row.reserved, "{row:?}");
        }
        Ok(ledger.kinds.iter().map(|row| row.used).collect())
    }

    /// [`uses`].
    ///
    /// # Errors
    /// Those of the machine.
    pub fn uses(&mut self, what: &str, count: u64) -> Result<String> {
        uses(&mut self.machine, what, count)
    }

    /// [`calls`] of one function on all cores.
    ///
    /// # Errors
    /// Those of the machine.
    pub fn calls(&mut self, offset: u64, count: u64) -> Result<String> {
        calls(&mut self.machine, offset, count, offset)
    }

    /// The end: unloads.
    ///
    /// # Errors
    /// Those of the machine; what its kernel complained about.
    pub fn end(mut self) -> Result {
        self.machine.hyperdbg_ok(&["unload"])?;
        Ok(self.machine.console_is_healthy()?)
    }
}
