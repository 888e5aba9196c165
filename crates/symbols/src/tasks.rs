//! Processes and threads, as the kernel has them: found in its lists, by its own types.
//!
//! ```text
//! init_task ─tasks─► a process' first thread ─tasks─► the next process' … ─► init_task
//!                          └─signal─► thread_head ─thread_node─► each of its threads
//! a thread that does not run:   top of its stack  │ registers of its program (pt_regs)
//!                               thread.sp ─►      │ r15 … rbp, where it goes on: saved by the switch to another
//! ```
//! **Holds always**
//! - K1: nothing that memory says is trusted: a list ends after [`TASKS_MAX`], and a link that is not led back to ends it at once. How it
//!   ended is told with what was found.
//! - K2: members lie where the kernel's description has them; one that is missing is named.
//!
//! **Cost**: two or three reads a task, each next to no more than what is needed of it. **Proof**: tests below, `tests/e2e/tasks.rs`.

use crate::btf::Types;
use crate::layout::{self, Layout};
use crate::limits::{TASK_GAP_BYTES, TASKS_MAX};
use crate::unwind::{Memory, More, Place};
use crate::{HIGH_HALF, Pattern, Table};

/// Bytes of a name.
pub const NAME_BYTES: usize = 16;
/// Registers of a program as the kernel saves them, in the order of the instruction encoding.
const GPRS: [&str; 16] = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
/// What may lie between them and the end of the stack: nothing, or two words (with FRED).
const PADDINGS: [u64; 2] = [0, 16];

/// How a list ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where it began.
    Whole,
    /// There are more than are looked at.
    Limit,
    /// A link behind the task at this address leads nowhere, or is not led back to.
    Broken(u64),
}

/// A thread; the first one of a process stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Where it lies.
    pub address: u64,
    /// Its number,
    pub tid: u32,
    /// its process',
    pub pid: u32,
    /// and its name, filled up with zeros.
    pub name: [u8; NAME_BYTES],
    /// Whether a core runs it.
    pub runs: bool,
    /// What it does.
    pub state: &'static str,
    /// Its parent's address.
    pub parent: u64,
    /// Its address space; 0 for a thread of the kernel's.
    space: u64,
    signal: u64,
    stack: u64,
    next: u64,
    previous: u64,
}

impl Task {
    /// Whether it is one of the kernel's own, which has no program.
    #[must_use]
    pub fn is_kernels(&self) -> bool {
        self.space == 0
    }
}

/// Registers of a program that is in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// In the order of the instruction encoding; a system call's number has been replaced by what it answers so far.
    pub gprs: [u64; 16],
    /// Where it goes on.
    pub ip: u64,
    /// Its flags.
    pub flags: u64,
    /// cs and ss.
    pub selectors: [u64; 2],
}

/// Which list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Processes,
    Threads,
}

/// Where everything lies.
#[derive(Clone, Debug)]
pub struct Tasks {
    first: u64,
    tasks: u64,
    tid: u64,
    pid: u64,
    name: u64,
    state: u64,
    exit_state: u64,
    on_cpu: u64,
    parent: u64,
    space: u64,
    signal: u64,
    stack: u64,
    stack_bytes: u64,
    saved_sp: u64,
    thread_node: u64,
    thread_head: u64,
    threads: u64,
    tables: u64,
    kernels_tables: u64,
    user: [u64; 20],
    user_bytes: u64,
    switch: [u64; 7],
    switch_bytes: u64,
    /// Pieces of a task that have all that is needed of it.
    pieces: Vec<(u64, usize)>,
}

struct Finder<'t> {
    types: &'t Types,
}

impl Finder<'_> {
    fn size(&self, of: &'static str) -> Result<u64, &'static str> {
        self.types.find(of).map(|id| self.types.size(id)).filter(|bytes| *bytes != 0).ok_or(of)
    }

    /// Where the member lies that has one of these names, the newest first.
    fn member(&self, of: &'static str, names: &[&'static str]) -> Result<u64, &'static str> {
        let id = self.types.find(of).ok_or(of)?;
        let found = names.iter().find_map(|name| match layout::layout(self.types, id, Some(&Pattern::new(name))) {
            Layout::Members { rows, .. } => rows.iter().find(|row| row.name == *name).map(|row| row.offset),
            _ => None,
        });
        found.ok_or(names.first().copied().unwrap_or(of))
    }
}

impl Tasks {
    /// By the kernel's types and names.
    ///
    /// # Errors
    /// The name of what it does not have.
    pub fn of(types: &Types, table: &Table) -> Result<Self, &'static str> {
        let at = |name: &'static str| match table.named(Some("vmlinux"), name)[..] {
            [symbol] => Ok(symbol.address),
            _ => Err(name),
        };
        let find = Finder { types };
        let task = |names: &[&'static str]| find.member("task_struct", names);
        let (mut user, mut switch) = ([0; 20], [0; 7]);
        let of_user = ["ip", "flags", "cs", "ss"];
        for (to, name) in user.iter_mut().zip(GPRS.iter().chain(&of_user)) {
            *to = find.member("pt_regs", &[name])?;
        }
        for (to, name) in switch.iter_mut().zip(["ret_addr", "bp", "bx", "r12", "r13", "r14", "r15"]) {
            *to = find.member("inactive_task_frame", &[name])?;
        }
        // The first task's stack lies between these, and all are as large.
        let first_stack = || Ok::<u64, &'static str>(at("__end_init_task")?.wrapping_sub(at("__start_init_task")?));
        let stack_bytes = find.size("thread_union").or_else(|_| first_stack());
        let mut tasks = Self {
            first: at("init_task")?,
            tasks: task(&["tasks"])?,
            tid: task(&["pid"])?,
            pid: task(&["tgid"])?,
            name: task(&["comm"])?,
            state: task(&["__state", "state"])?,
            exit_state: task(&["exit_state"])?,
            on_cpu: task(&["on_cpu"])?,
            parent: task(&["real_parent"])?,
            space: task(&["mm"])?,
            signal: task(&["signal"])?,
            stack: task(&["stack"])?,
            stack_bytes: stack_bytes?,
            saved_sp: task(&["thread"])? + find.member("thread_struct", &["sp"])?,
            thread_node: task(&["thread_node"])?,
            thread_head: find.member("signal_struct", &["thread_head"])?,
            threads: find.member("signal_struct", &["nr_threads"])?,
            tables: find.member("mm_struct", &["pgd"])?,
            kernels_tables: at("init_top_pgt").or_else(|_| at("swapper_pg_dir"))?,
            user,
            user_bytes: find.size("pt_regs")?,
            switch,
            switch_bytes: find.size("inactive_task_frame")?,
            pieces: Vec::new(),
        };
        tasks.pieces = tasks.cut();
        Ok(tasks)
    }

    /// Pieces of a task: what lies near each other is read at once.
    fn cut(&self) -> Vec<(u64, usize)> {
        let words = [self.parent, self.space, self.signal, self.stack].map(|at| (at, 8));
        let halves = [self.tid, self.pid, self.state, self.exit_state, self.on_cpu].map(|at| (at, 4));
        let more = [(self.tasks, 16), (self.thread_node, 16), (self.name, NAME_BYTES as u64)];
        let mut all: Vec<(u64, u64)> = words.into_iter().chain(halves).chain(more).collect();
        all.sort_unstable();
        let mut pieces: Vec<(u64, usize)> = Vec::new();
        for (at, bytes) in all {
            match pieces.last_mut().filter(|(first, have)| at <= first + *have as u64 + TASK_GAP_BYTES) {
                Some((first, have)) => *have = (*have).max(usize::try_from(at + bytes - *first).unwrap_or(usize::MAX)),
                None => pieces.push((at, usize::try_from(bytes).unwrap_or(usize::MAX))),
            }
        }
        pieces
    }

    /// The task at an address; `None` if not all of it can be read.
    pub fn task(&self, address: u64, memory: &mut dyn Memory) -> Option<Task> {
        self.task_of(List::Processes, address, memory)
    }

    fn task_of(&self, list: List, address: u64, memory: &mut dyn Memory) -> Option<Task> {
        if address < HIGH_HALF {
            return None;
        }
        let mut read = Vec::with_capacity(self.pieces.len());
        for (at, bytes) in &self.pieces {
            let mut piece = vec![0; *bytes];
            if !memory.read(address.wrapping_add(*at), &mut piece) {
                return None;
            }
            read.push((*at, piece));
        }
        let bytes = |at: u64, count: usize| {
            let within = |(first, piece): &(u64, Vec<u8>)| {
                let from = usize::try_from(at.checked_sub(*first)?).ok()?;
                piece.get(from..from + count).map(<[u8]>::to_vec)
            };
            read.iter().find_map(within)
        };
        let word = |at| Some(u64::from_le_bytes(bytes(at, 8)?.try_into().ok()?));
        let half = |at| Some(u32::from_le_bytes(bytes(at, 4)?.try_into().ok()?));
        let links = if list == List::Processes { self.tasks } else { self.thread_node };
        let runs = half(self.on_cpu)? != 0;
        Some(Task {
            address,
            tid: half(self.tid)?,
            pid: half(self.pid)?,
            name: bytes(self.name, NAME_BYTES)?.try_into().ok()?,
            runs,
            state: state(half(self.state)?, half(self.exit_state)?, runs),
            parent: word(self.parent)?,
            space: word(self.space)?,
            signal: word(self.signal)?,
            stack: word(self.stack)?,
            next: word(links)?,
            previous: word(links + 8)?,
        })
    }

    /// Calls `each` with the first thread of every process, until it says enough.
    pub fn processes(&self, memory: &mut dyn Memory, each: &mut dyn FnMut(&Task, &mut dyn Memory) -> bool) -> End {
        let Some(first) = self.task(self.first, memory) else { return End::Broken(self.first) };
        if !each(&first, memory) {
            return End::Whole;
        }
        self.follow(List::Processes, self.first, (self.first.wrapping_add(self.tasks), first.next), memory, each)
    }

    /// Calls `each` with every thread of the process of a task, until it says enough.
    pub fn threads(&self, of: &Task, memory: &mut dyn Memory, each: &mut dyn FnMut(&Task, &mut dyn Memory) -> bool) -> End {
        let head = of.signal.wrapping_add(self.thread_head);
        match word(memory, head).filter(|_| of.signal != 0) {
            Some(next) => self.follow(List::Threads, of.address, (head, next), memory, each),
            None => End::Broken(of.address),
        }
    }

    /// Follows a list from its head; `of` is what is told if its first link is broken.
    fn follow(
        &self,
        list: List,
        of: u64,
        (head, mut next): (u64, u64),
        memory: &mut dyn Memory,
        each: &mut dyn FnMut(&Task, &mut dyn Memory) -> bool,
    ) -> End {
        let offset = if list == List::Processes { self.tasks } else { self.thread_node };
        let (mut at, mut link) = (of, head);
        for _ in 0..TASKS_MAX {
            if next == head {
                return End::Whole;
            }
            let task = self.task_of(list, next.wrapping_sub(offset), memory);
            let Some(task) = task.filter(|task| task.previous == link) else { return End::Broken(at) };
            if !each(&task, memory) {
                return End::Whole;
            }
            (at, link, next) = (task.address, next, task.next);
        }
        End::Limit
    }

    /// How many threads its process has.
    pub fn count(&self, of: &Task, memory: &mut dyn Memory) -> Option<u32> {
        half(memory, of.signal.wrapping_add(self.threads)).filter(|_| of.signal != 0)
    }

    /// Number of the process that its parent belongs to.
    pub fn parent(&self, of: &Task, memory: &mut dyn Memory) -> Option<u32> {
        half(memory, of.parent.wrapping_add(self.pid)).filter(|_| of.parent >= HIGH_HALF)
    }

    /// Where its highest page table lies, in the kernel's address space: the kernel's own, if it has no program.
    pub fn tables(&self, of: &Task, memory: &mut dyn Memory) -> Option<u64> {
        if of.is_kernels() { Some(self.kernels_tables) } else { word(memory, of.space.wrapping_add(self.tables)) }
    }

    /// Registers that its program had when it came into the kernel; `None` if it has no program, or they make no sense.
    pub fn user(&self, of: &Task, memory: &mut dyn Memory) -> Option<User> {
        if of.is_kernels() {
            return None;
        }
        let top = of.stack.wrapping_add(self.stack_bytes).wrapping_sub(self.user_bytes);
        PADDINGS.into_iter().find_map(|padding| {
            let mut bytes = vec![0; usize::try_from(self.user_bytes).ok()?];
            if !memory.read(top.wrapping_sub(padding), &mut bytes) {
                return None;
            }
            let mut all = self.user.map(|at| {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                let word = at.checked_add(8).and_then(|end| bytes.get(at..end)).and_then(|word| word.try_into().ok());
                word.map_or(0, u64::from_le_bytes)
            });
            // Selectors are half words; what stands above them is the processor's.
            all[18] &= 0xffff;
            all[19] &= 0xffff;
            let [gprs @ .., ip, flags, cs, ss] = all;
            (cs & 3 == 3 && ss & 3 == 3 && ip < HIGH_HALF).then_some(User { gprs, ip, flags, selectors: [cs, ss] })
        })
    }

    /// Where it goes on in the kernel, and what was saved for that: bx and r12 to r15 behind the others. `None` if that cannot be read.
    pub fn kernel(&self, of: &Task, memory: &mut dyn Memory) -> Option<(Place, More, [u64; 5])> {
        let sp = word(memory, of.address.wrapping_add(self.saved_sp))?;
        if !(of.stack..of.stack.wrapping_add(self.stack_bytes)).contains(&sp) {
            return None;
        }
        let mut saved = [0; 7];
        for (to, at) in saved.iter_mut().zip(self.switch) {
            *to = word(memory, sp.wrapping_add(at))?;
        }
        let [ip, bp, bx, r12, r13, r14, r15] = saved;
        let place = Place { ip, sp: sp.wrapping_add(self.switch_bytes), bp };
        Some((place, More { r13, ..More::default() }, [bx, r12, r13, r14, r15]))
    }
}

/// What a thread does, by the kernel's numbers (include/linux/sched.h, `TASK_…` and `EXIT_…`).
fn state(state: u32, exit_state: u32, runs: bool) -> &'static str {
    match (exit_state, state) {
        (0x20.., _) => "zombie",
        (0x10.., _) => "dead",
        _ if runs => "running",
        (_, 0) => "ready",
        (_, state) if state & 0x402 == 0x402 => "idle",
        (_, state) if state & 1 != 0 => "sleeping",
        (_, state) if state & 2 != 0 => "waiting",
        (_, state) if state & 8 != 0 => "traced",
        (_, state) if state & 4 != 0 => "stopped",
        (_, state) if state & 0x40 != 0 => "parked",
        _ => "other",
    }
}

fn word(memory: &mut dyn Memory, address: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    memory.read(address, &mut bytes).then_some(u64::from_le_bytes(bytes))
}

fn half(memory: &mut dyn Memory, address: u64) -> Option<u32> {
    let mut bytes = [0; 4];
    memory.read(address, &mut bytes).then_some(u32::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests;
