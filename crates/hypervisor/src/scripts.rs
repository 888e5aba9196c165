//! The guest as scripts see it: registers, memory, the task that runs, and what a script says.
//!
//! **Holds always**
//! - X1: an address is walked by the page tables that the core is in, and read or written only inside RAM and outside of
//!   root's own frames; so a script never faults, whatever it asks.
//! - X2: what a script says is a message at most, cut at a limit.
//!
//! **Callers**: `watch`, on the core whose guest it is, between two of its runs.
#![expect(unsafe_code, reason = "scripts write into pages of the guest")]

use crate::arch::x86::decode::INSTRUCTION_BYTES_MAX;
use crate::arch::x86::{self, direct};
use crate::arch::{Core, Injection};
use crate::isolated::{self, PROGRAM_TABLES};
use crate::limits::{MESSAGE_TEXT_BYTES_MAX, SCRIPT_DATA_BYTES, SCRIPT_STACK_WORDS};
use crate::memory::UPPER_HALF;
use crate::root::ROOT;
use crate::tasks::{self, TASKS};
use crate::watch::Floor;
use crate::{bank, clock, decode, detours, globals, hooks, memory, messages, walk, watch};
use abi::boot::FRAME_BYTES;
use abi::request::{Task, event};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed, Ordering::SeqCst};
use events::{Buffer, Running};
use script_vm::{BadAddress, Control, Interlocked, Label, Machine, Pseudo, Refused, Scratch, Size, Space, Special};

/// Adds to a cell that scripts share.
#[inline(always)]
pub fn count(cell: u16, added: u64) {
    if let Some(cell) = globals::cell(cell) {
        cell.fetch_add(added, SeqCst);
    }
}

/// Memory of runs, one for each core. It is made once, when the core enters, and never cleared: that would cost every exit.
pub struct Bench {
    stack: [u64; SCRIPT_STACK_WORDS],
    data: [u8; SCRIPT_DATA_BYTES],
    text: Text,
}

/// What a script has said of a message that is not complete.
pub struct Text {
    bytes: [u8; MESSAGE_TEXT_BYTES_MAX],
    len: usize,
}

impl Bench {
    /// Empty.
    pub const fn new() -> Bench {
        Bench {
            stack: [0; SCRIPT_STACK_WORDS],
            data: [0; SCRIPT_DATA_BYTES],
            text: Text { bytes: [0; MESSAGE_TEXT_BYTES_MAX], len: 0 },
        }
    }

    /// Its parts.
    pub fn parts(&mut self) -> (Scratch<'_>, &mut Text) {
        self.text.len = 0;
        (Scratch { stack: &mut self.stack, data: &mut self.data }, &mut self.text)
    }
}

/// One core and one event, for one run.
pub struct Here<'h, C> {
    cpu: &'h mut C,
    core: u32,
    /// Memory for the run of an event's program; not there while one runs.
    pub scratch: Option<Scratch<'h>>,
    /// The event, or [`event::ALL`] for an evaluation.
    id: u32,
    /// 0 before, 1 behind the instruction.
    stage: u64,
    /// `$context`.
    context: u64,
    buffer: Buffer,
    /// What the script decided about the effect of the instruction.
    pub short_circuit: Option<bool>,
    /// The script asked for a halt.
    pub pause: bool,
    /// It changed which events wait for what.
    pub changed: bool,
    text: &'h mut Text,
}

impl<'h, C: Core> Here<'h, C> {
    /// On this core; `context` is what the exit says about itself.
    pub fn new(cpu: &'h mut C, core: u32, context: u64, scratch: Option<Scratch<'h>>, text: &'h mut Text) -> Self {
        Here {
            cpu,
            core,
            scratch,
            id: event::ALL,
            stage: 0,
            context,
            buffer: Buffer::default(),
            short_circuit: None,
            pause: false,
            changed: false,
            text,
        }
    }

    /// An event's program is about to run.
    pub fn begin(&mut self, event: &Running) {
        (self.id, self.buffer, self.short_circuit) = (event.id, event.buffer, None);
        self.stage = u64::from(event.stage == event::POST);
    }

    /// The core's number.
    pub fn number(&self) -> u32 {
        self.core
    }

    /// The process that runs here (Linux: thread group); 0 if that cannot be told.
    pub fn process(&self) -> u32 {
        u32::try_from(self.task_field(&TASKS.pid)).unwrap_or(0)
    }

    /// The thread; likewise.
    pub fn thread_number(&self) -> u32 {
        u32::try_from(self.task_field(&TASKS.tid)).unwrap_or(0)
    }

    /// Enables, disables or clears an event; the processor is told when the script has ended.
    fn change_event(&mut self, what: u32, id: u64) -> Result<u64, Refused> {
        let id = u32::try_from(id).map_err(|_| Refused)?;
        let changed = watch::change_within(self.core, what, id).map_err(|_| Refused)?;
        self.changed = true;
        Ok(changed.into())
    }

    fn inject(&mut self, kind: u64, vector: u64, code: Option<u64>) -> Result<u64, Refused> {
        let kind = match kind {
            0 => Injection::External,
            2 => Injection::Nmi,
            3 => Injection::Exception,
            4 => Injection::Software,
            _ => return Err(Refused),
        };
        let vector = u8::try_from(vector).map_err(|_| Refused)?;
        let code = code.map(u32::try_from).transpose().map_err(|_| Refused)?;
        if self.cpu.inject_instead(kind, vector, code) { Ok(0) } else { Err(Refused) }
    }

    /// Its name; empty if that cannot be told.
    fn process_name(&self) -> [u8; 16] {
        let (task, mut name) = (current_task(self.cpu), [0; 16]);
        let at = task.wrapping_add(TASKS.name.load(Relaxed).into());
        if task != 0 && read(self.cpu, at, &mut name) { name } else { [0; 16] }
    }

    fn physical_of(&self, address: u64) -> Result<u64, BadAddress> {
        let cr3 = self.cpu.cr3();
        let its = walk::translate(cr3, address, direct::read);
        // A program's own tables may have nothing of its kernel.
        let kernels = || memory::kernels(self.core, cr3).filter(|_| address >= UPPER_HALF);
        its.or_else(|| walk::translate(kernels()?, address, direct::read)).ok_or(BadAddress)
    }

    /// A physical address that scripts may use: X1.
    fn place(&self, space: Space, address: u64) -> Result<u64, BadAddress> {
        let pa = match space {
            Space::Virtual => self.physical_of(address)?,
            Space::Physical => address,
        };
        if bank::owns(self.core, pa / FRAME_BYTES) { Err(BadAddress) } else { Ok(pa) }
    }

    /// Calls `each` with the physical address of every byte.
    fn bytes(
        &self,
        space: Space,
        address: u64,
        count: usize,
        mut each: impl FnMut(usize, u64) -> bool,
    ) -> Result<(), BadAddress> {
        let mut at = 0;
        while at < count {
            let here = address.checked_add(at as u64).ok_or(BadAddress)?;
            let pa = self.place(space, here)?;
            let in_page = usize::try_from(FRAME_BYTES - here % FRAME_BYTES).unwrap_or(1);
            for i in 0..in_page.min(count - at) {
                if !each(at + i, pa + i as u64) {
                    return Err(BadAddress);
                }
            }
            at += in_page.min(count - at);
        }
        Ok(())
    }

    /// A field of the task that this core runs.
    fn task_field(&self, offset: &AtomicU32) -> u64 {
        let task = current_task(self.cpu);
        let mut bytes = [0; 4];
        if task == 0 || !read(self.cpu, task.wrapping_add(offset.load(Relaxed).into()), &mut bytes) {
            return 0;
        }
        u32::from_le_bytes(bytes).into()
    }
}

/// Reads the kernel's own memory, by its tables if the program's do not have it. Without isolation that is never so.
fn read<C: Core>(cpu: &C, address: u64, to: &mut [u8]) -> bool {
    let mut by = |cr3| walk::read_bytes(cr3, address, to, direct::read, direct::copy_out) == to.len();
    let cr3 = cpu.cr3();
    by(cr3) || cr3 & PROGRAM_TABLES != 0 && by(isolated::kernels(cr3))
}

/// Address of the task that a core runs; 0 if that cannot be told.
fn current_task<C: Core>(cpu: &C) -> u64 {
    let offset = TASKS.current.load(Relaxed);
    let mut bytes = [0; 8];
    if offset == 0 || !read(cpu, cpu.kernel_gs().wrapping_add(offset), &mut bytes) { 0 } else { u64::from_le_bytes(bytes) }
}

/// What a core runs; zeros for what cannot be told.
pub fn running<C: Core>(cpu: &C) -> Task {
    let task = current_task(cpu);
    if task == 0 {
        return Task::default();
    }
    let at = |offset: &AtomicU32| task.wrapping_add(offset.load(Relaxed).into());
    let number = |offset| {
        let mut bytes = [0; 4];
        if read(cpu, at(offset), &mut bytes) { u32::from_le_bytes(bytes) } else { 0 }
    };
    let mut name = [0; 16];
    if !read(cpu, at(&TASKS.name), &mut name) {
        name = [0; 16];
    }
    Task { task, process: number(&TASKS.pid), thread: number(&TASKS.tid), name }
}

impl<C: Core> Machine for Here<'_, C> {
    #[inline]
    fn gpr(&self, number: u8) -> u64 {
        self.cpu.gpr(number.into())
    }

    fn set_gpr(&mut self, number: u8, value: u64) {
        self.cpu.set_gpr(number, value);
    }

    fn special(&self, register: Special) -> u64 {
        let (r, s) = (self.cpu.registers(), self.cpu.system());
        match register {
            Special::Rip => r.rip,
            Special::Rflags => r.rflags,
            Special::Cs => r.selectors[0],
            Special::Ss => r.selectors[1],
            Special::Ds => r.selectors[2],
            Special::Es => r.selectors[3],
            Special::Fs => r.selectors[4],
            Special::Gs => r.selectors[5],
            Special::Idtr => s.idt,
            Special::Gdtr => s.gdt,
            Special::Ldtr => s.ldtr.into(),
            Special::Tr => s.tr.into(),
            Special::Cr0 => r.crs[0],
            Special::Cr2 => r.crs[1],
            Special::Cr3 => r.crs[2],
            Special::Cr4 => r.crs[3],
            Special::Cr8 => x86::cr8(),
            Special::Dr0 => x86::dr0(),
            Special::Dr1 => x86::dr1(),
            Special::Dr2 => x86::dr2(),
            Special::Dr3 => x86::dr3(),
            Special::Dr6 => r.drs[0],
            Special::Dr7 => r.drs[1],
        }
    }

    fn set_special(&mut self, register: Special, value: u64) -> Result<(), Refused> {
        match register {
            Special::Rip if x86::is_canonical(value) => self.cpu.set_rip(value),
            Special::Rflags => self.cpu.set_rflags(value),
            _ => return Err(Refused),
        }
        Ok(())
    }

    fn pseudo(&self, pseudo: Pseudo) -> u64 {
        match pseudo {
            Pseudo::Pid => self.task_field(&TASKS.pid),
            Pseudo::Tid => self.task_field(&TASKS.tid),
            Pseudo::Core => self.core.into(),
            Pseudo::Process | Pseudo::Thread => current_task(self.cpu),
            Pseudo::Peb | Pseudo::Teb => 0,
            Pseudo::Ip => self.cpu.rip(),
            Pseudo::Context => self.context,
            Pseudo::EventTag => u64::from(self.id).wrapping_add(0x100_0000),
            Pseudo::EventId => self.id.into(),
            Pseudo::EventStage => self.stage,
        }
    }

    fn label(&self, label: Label) -> [u8; 16] {
        match label {
            Label::ProcessName => self.process_name(),
            Label::Date => clock::date(),
            Label::Time => clock::time(),
        }
    }

    fn global(&self, cell: u16) -> u64 {
        globals::cell(cell).map_or(0, |cell| cell.load(Relaxed))
    }

    fn set_global(&mut self, cell: u16, value: u64) {
        if let Some(cell) = globals::cell(cell) {
            cell.store(value, Relaxed);
        }
    }

    fn change_global(&mut self, cell: u16, change: Interlocked) -> u64 {
        let Some(cell) = globals::cell(cell) else { return 0 };
        match change {
            Interlocked::Add(value) => cell.fetch_add(value, SeqCst),
            Interlocked::Exchange(value) => cell.swap(value, SeqCst),
            Interlocked::CompareExchange { old, new } => {
                cell.compare_exchange(old, new, SeqCst, SeqCst).unwrap_or_else(|found| found)
            }
        }
    }

    fn read(&mut self, space: Space, address: u64, size: Size) -> Result<u64, BadAddress> {
        let mut value = [0; 8];
        self.bytes(space, address, size.bytes(), |i, pa| {
            let mut byte = [0];
            let read = direct::copy_out(pa, &mut byte);
            value[i & 7] = byte[0];
            read
        })?;
        Ok(u64::from_le_bytes(value))
    }

    fn write(&mut self, space: Space, address: u64, size: Size, value: u64) -> Result<(), BadAddress> {
        let value = value.to_le_bytes();
        // All of it or nothing: both pages of a write across a border are looked at first.
        self.bytes(space, address, size.bytes(), |_, pa| direct::copy_out(pa, &mut [0]) && !detours::covers(pa, 1))?;
        let mut frames = [0; 2];
        self.bytes(space, address, size.bytes(), |i, pa| {
            frames[usize::from(i > 0)] = pa / FRAME_BYTES;
            // SAFETY: a page of the guest's (X1), which no Rust code refers into.
            unsafe { direct::copy_in(pa, &value[i & 7..=i & 7]) }
        })?;
        frames.into_iter().for_each(|pfn| hooks::written(self.core, pfn));
        Ok(())
    }

    fn change(&mut self, address: u64, change: Interlocked) -> Result<u64, BadAddress> {
        let pa = self.place(Space::Virtual, address)?;
        if detours::covers(pa, 8) {
            return Err(BadAddress);
        }
        // SAFETY: a page of the guest's (X1), which no Rust code refers into.
        let found = unsafe {
            direct::change(pa, |word| match change {
                Interlocked::Add(value) => word.fetch_add(value, SeqCst),
                Interlocked::Exchange(value) => word.swap(value, SeqCst),
                Interlocked::CompareExchange { old, new } => {
                    word.compare_exchange(old, new, SeqCst, SeqCst).unwrap_or_else(|found| found)
                }
            })
        };
        hooks::written(self.core, pa / FRAME_BYTES);
        found.ok_or(BadAddress)
    }

    fn physical(&mut self, address: u64) -> Result<u64, BadAddress> {
        self.physical_of(address)
    }

    fn direct(&mut self, address: u64) -> Result<u64, BadAddress> {
        let map = tasks::direct_map();
        if map == 0 || direct::read(address & !7).is_none() { Err(BadAddress) } else { Ok(map.wrapping_add(address)) }
    }

    fn instruction_bytes(&mut self, address: u64, bits: u8) -> Result<u64, BadAddress> {
        let mut bytes = [0; INSTRUCTION_BYTES_MAX];
        // Those of a page that is not there may not be needed.
        let mut readable = 0;
        for byte in &mut bytes {
            let Ok(value) = self.read(Space::Virtual, address.wrapping_add(readable as u64), Size::One) else { break };
            *byte = value.to_le_bytes()[0];
            readable += 1;
        }
        bytes.get(..readable).and_then(|bytes| decode::length(bytes, bits == 64)).ok_or(BadAddress)
    }

    fn buffer_bytes(&self) -> usize {
        self.buffer.bytes()
    }

    fn buffer_read(&self, offset: usize, size: Size) -> Option<u64> {
        self.buffer.read(&Floor, offset, size)
    }

    fn buffer_write(&mut self, offset: usize, size: Size, value: u64) -> Option<()> {
        self.buffer.write(&Floor, offset, size, value)
    }

    fn ticks(&mut self, _: bool) -> u64 {
        x86::tsc().wrapping_sub(self.cpu.hidden_time())
    }

    fn sleep(&mut self, microseconds: u64) {
        let (start, ticks) = (x86::tsc(), ROOT.ticks(microseconds) / 1000);
        while x86::tsc().wrapping_sub(start) < ticks {
            x86::relax();
        }
    }

    fn relax(&mut self) {
        x86::relax();
    }

    fn control(&mut self, control: Control) -> Result<u64, Refused> {
        match control {
            Control::ShortCircuit(on) => self.short_circuit = Some(on),
            Control::Pause => self.pause = true,
            Control::Flush => messages::deliver(),
            Control::Enable(id) => return self.change_event(event::ENABLE, id),
            Control::Disable(id) => return self.change_event(event::DISABLE, id),
            Control::Clear(id) => return self.change_event(event::CLEAR, id),
            Control::Inject { kind, vector, code } => return self.inject(kind, vector, code),
            // Nothing steps yet.
            Control::Step
            | Control::StepIn
            | Control::StepOut
            | Control::InstrumentationStep
            | Control::InstrumentationStepIn => return Err(Refused),
        }
        Ok(0)
    }

    fn say(&mut self, text: &[u8]) {
        for byte in text {
            if let Some(to) = self.text.bytes.get_mut(self.text.len) {
                *to = *byte;
                self.text.len += 1;
            }
        }
    }

    fn said(&mut self) {
        messages::push(self.id, self.core, self.text.bytes.get(..self.text.len).unwrap_or_default());
        self.text.len = 0;
    }
}
