//! What commands look at, if it is not what the selected core runs: a process, or a thread that sleeps.
//!
//! A view is the prompt's alone: page tables that addresses of programs are read with, and registers that were saved when a thread was
//! switched from. Nothing in the machine changes by it, and nothing is continued for it.
//!
//! **Holds always**
//! - V1: whatever lets the core run ends it: what it was made of may be gone then.
//! - V2: what runs on a core is never looked at by what was saved of it: that core is selected instead.
//!
//! **Cost**: a walk of the system's list. **Proof**: `tests/views.rs`, `tests/e2e/tasks.rs`.

use crate::answer::hex;
use crate::error::Error;
use crate::line::Line;
use crate::memory;
use crate::names::Nameless;
use crate::program::{self, How, Text, Told};
use crate::reader::Reader;
use crate::say;
use crate::session::{Session, State};
use crate::target::Mode;
use crate::threads;
use abi::request::memory::{BY_TABLES, NO_PID, Place, VIRTUAL};
use abi::request::{Cores, Registers, op};
use serde::Serialize;
use std::ops::Range;
use symbols::tasks::{self, End, Task, Tasks};
use symbols::unwind;

/// Why a process or a thread is not shown.
#[derive(Debug)]
pub enum Wrong {
    /// The kernel's types or names lack this.
    Unknown(&'static str),
    /// No process has this number, as far as the list could be followed.
    NoProcess(u64, End),
    /// The same of a thread.
    NoThread(u64, End),
    /// At this address is none.
    NotATask(u64),
    /// Its page tables cannot be told.
    NoTables(u32),
    /// A core runs it, or is about to: nothing of it is saved.
    Runs(u32),
    /// A thread of the kernel's has no registers of a program.
    NoProgram(u32),
    /// What was saved of it cannot be read.
    NotSaved(u32),
    /// Registers of a thread that sleeps are not set.
    ReadOnly(u32),
    /// Nobody says what runs now.
    NoCurrent,
}

/// What is in view.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// First thread of the process, or the thread itself.
    pub(crate) task: Task,
    /// Where its highest table lies, physically.
    pub(crate) tables: u64,
    /// It is the thread that is in view, with what was saved of it.
    pub(crate) thread: Option<Saved>,
}

/// What was saved of a thread when the core went on with another.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    /// Registers of its program.
    pub(crate) user: Option<Registers>,
    /// Where it goes on in the kernel.
    pub(crate) place: unwind::Place,
    /// The same, for the stack.
    pub(crate) more: unwind::More,
    /// The registers of that: rip rsp rbp rbx r12 to r15.
    pub(crate) kernel: Vec<(String, u64)>,
}

/// A process or a thread, as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Shown {
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    tid: Option<u32>,
    name: String,
    task: String,
    state: &'static str,
    tables: String,
}

impl Shown {
    /// The same, and it is the thread that is meant.
    pub(crate) fn of_thread(self, tid: u32) -> Self {
        Self { tid: Some(tid), ..self }
    }

    pub(crate) fn text(&self) -> String {
        let Self { pid, tid, name, task, state, tables } = self;
        let tid = tid.map_or_else(String::new, |tid| format!("tid {tid:x} of "));
        let [task, tables] = [task, tables].map(|hex| hex.trim_start_matches("0x"));
        format!("{tid}pid {pid:x} {name}, task {task}, {state}, page tables {tables}")
    }
}

impl View {
    pub(crate) fn shown(&self) -> Shown {
        let View { task, tables, thread } = self;
        Shown {
            pid: task.pid,
            tid: thread.as_ref().map(|_| task.tid),
            name: say::ascii(&task.name),
            task: hex(task.address),
            state: task.state,
            tables: hex(*tables),
        }
    }
}

impl Session {
    /// Commands look at what the core runs again.
    pub(crate) fn end_view(&mut self) {
        self.view = None;
    }

    /// Where an address of a program lies that is not said to be of another one.
    pub(crate) fn place_in_view(&self, address: u64) -> Place {
        match &self.view {
            // A frame beyond 16 TiB is refused when the view is made.
            Some(view) => Place { address, space: BY_TABLES, pid: u32::try_from(view.tables >> 12).unwrap_or(0) },
            None => Place { address, space: VIRTUAL, pid: self.pid_in_view() },
        }
    }

    /// The process whose addresses are meant, for what stays in the machine.
    pub(crate) fn pid_in_view(&self) -> u32 {
        let held = if self.mode() == Mode::Vmi { self.active().map(|active| active.process) } else { None };
        self.view.as_ref().map(|view| view.task.pid).or(held).unwrap_or(NO_PID)
    }

    /// Registers of what is looked at.
    pub(crate) fn registers_in_view(&mut self) -> Result<Registers, Error> {
        match &self.view {
            Some(View { task, thread: Some(saved), .. }) => saved.user.ok_or_else(|| wrong(Wrong::NoProgram(task.tid))),
            Some(_) => self.ask(op::REGISTERS, &[]),
            None => match threads::held_here(self)? {
                Some(row) => threads::registers(self, &row),
                None => self.ask(op::REGISTERS, &[]),
            },
        }
    }
}

fn wrong(wrong: Wrong) -> Error {
    Error::Task { span: None, wrong }
}

/// Where the kernel keeps its tasks. Over a link its types and names are fetched for that, once.
pub(crate) fn tasks(session: &mut Session) -> Result<Tasks, Error> {
    let types = session.types_fetched().map_err(|nameless: Nameless| Error::Types { nameless })?;
    let table = session.names_fetched().map_err(|nameless| Error::Names { nameless, span: None })?.table;
    Tasks::of(&types, &table).map_err(|what| wrong(Wrong::Unknown(what)))
}

/// Which one.
pub(crate) enum Which {
    /// That of this number.
    Number(u64),
    /// That at this address.
    At(u64),
}

/// Finds a process by its number, or a task by its address.
pub(crate) fn process(session: &mut Session, tasks: &Tasks, which: &Which, span: &Range<usize>) -> Result<Task, Error> {
    let at = |wrong| Error::Task { span: Some(span.clone()), wrong };
    let mut memory = Reader::new(session);
    let mut found = None;
    let end = match *which {
        Which::At(address) => {
            found = tasks.task(address, &mut memory).filter(|task| is_one(tasks, task, &mut memory));
            End::Whole
        }
        Which::Number(pid) => tasks.processes(&mut memory, &mut |task, _| {
            found = (u64::from(task.pid) == pid).then_some(*task);
            found.is_none()
        }),
    };
    memory.end()?;
    found.ok_or_else(|| match *which {
        Which::At(address) => at(Wrong::NotATask(address)),
        Which::Number(pid) => at(Wrong::NoProcess(pid, end)),
    })
}

/// Whether what was read as a task is one: it is in the list of its process' threads, and that leads back.
fn is_one(tasks: &Tasks, task: &Task, memory: &mut Reader) -> bool {
    let mut found = false;
    let end = tasks.threads(task, memory, &mut |thread, _| {
        found |= thread.address == task.address;
        true
    });
    found && end == End::Whole
}

/// Finds a thread by its number, or a task by its address.
pub(crate) fn thread(session: &mut Session, tasks: &Tasks, which: &Which, span: &Range<usize>) -> Result<Task, Error> {
    let Which::Number(tid) = *which else { return process(session, tasks, which, span) };
    let mut memory = Reader::new(session);
    let mut found = None;
    let mut broken = None;
    let end = tasks.processes(&mut memory, &mut |first, memory| {
        if u64::from(first.tid) == tid {
            found = Some(*first);
        } else if tasks.count(first, memory).is_some_and(|threads| threads > 1) {
            let end = tasks.threads(first, memory, &mut |task, _| {
                found = (u64::from(task.tid) == tid).then_some(*task);
                found.is_none()
            });
            broken = broken.or((end != End::Whole).then_some(end));
        }
        found.is_none()
    });
    memory.end()?;
    let end = broken.unwrap_or(end);
    found.ok_or_else(|| Error::Task { span: Some(span.clone()), wrong: Wrong::NoThread(tid, end) })
}

/// What runs where commands look without a view: on the selected core of a halted machine, else who asks.
pub(crate) fn current(session: &mut Session, tasks: &Tasks) -> Result<Task, Error> {
    let address = match (session.mode(), session.state()) {
        (Mode::Debugger, State::Halted(_)) => {
            running(session)?.iter().find(|(_, _, selected)| *selected).map_or(0, |one| one.1)
        }
        _ => {
            let line = Line::new("$thread");
            let text = Text::in_line(&line, &(0..line.text().len()));
            let program = text.compile(session.book(), &line, How::Expression)?;
            match program::evaluate(session, &text, program)? {
                Told::Value(task) => task,
                Told::Text(_) => 0,
            }
        }
    };
    let mut memory = Reader::new(session);
    let task = tasks.task(address, &mut memory);
    memory.end()?;
    task.ok_or_else(|| wrong(Wrong::NoCurrent))
}

/// Cores of a halted machine: number, address of the task there, and whether it is the selected one.
fn running(session: &mut Session) -> Result<Vec<(u32, u64, bool)>, Error> {
    let all: Cores = session.ask(op::CORES, &[])?;
    let shown = usize::try_from(all.count).unwrap_or(usize::MAX).min(all.cores.len());
    let halted = all.cores[..shown].iter().filter(|core| core.state == 1);
    Ok(halted.map(|core| (core.core, core.running.task, core.core == all.selected)).collect())
}

/// The core that runs a task of a halted machine.
pub(crate) fn core_of(session: &mut Session, task: &Task) -> Result<Option<u32>, Error> {
    if session.mode() == Mode::Vmi || !matches!(session.state(), State::Halted(_)) {
        return Ok(None);
    }
    Ok(running(session)?.iter().find(|(_, address, _)| *address == task.address).map(|(core, ..)| *core))
}

/// A view of a process.
pub(crate) fn of_process(session: &mut Session, tasks: &Tasks, task: Task) -> Result<View, Error> {
    let mut memory = Reader::new(session);
    let linear = tasks.tables(&task, &mut memory);
    memory.end()?;
    let none = || wrong(Wrong::NoTables(task.pid));
    let place = Place { address: linear.ok_or_else(none)?, space: VIRTUAL, pid: NO_PID };
    let told = memory::translate(session, place)?;
    let tables =
        Some(told.physical).filter(|tables| told.mapped != 0 && tables % 0x1000 == 0 && u32::try_from(tables >> 12).is_ok());
    Ok(View { task, tables: tables.ok_or_else(none)?, thread: None })
}

/// A view of a thread that does not run.
pub(crate) fn of_thread(session: &mut Session, tasks: &Tasks, task: Task) -> Result<View, Error> {
    if task.runs {
        return Err(wrong(Wrong::Runs(task.tid)));
    }
    let view = of_process(session, tasks, task)?;
    let mut memory = Reader::new(session);
    let (user, kernel) = (tasks.user(&task, &mut memory), tasks.kernel(&task, &mut memory));
    memory.end()?;
    let (place, more, [rbx, r12, r13, r14, r15]) = kernel.ok_or_else(|| wrong(Wrong::NotSaved(task.tid)))?;
    let kernel = [
        ("rip", place.ip),
        ("rsp", place.sp),
        ("rbp", place.bp),
        ("rbx", rbx),
        ("r12", r12),
        ("r13", r13),
        ("r14", r14),
        ("r15", r15),
    ];
    let kernel = kernel.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let user = user.map(|tasks::User { gprs, ip, flags, selectors: [cs, ss] }| Registers {
        gprs,
        rip: ip,
        rflags: flags,
        selectors: [cs, ss, 0, 0, 0, 0],
        crs: [0, 0, view.tables, 0],
        ..Registers::default()
    });
    Ok(View { thread: Some(Saved { user, place, more, kernel }), ..view })
}
