//! Linux' tasks: what is known of them, and from their list whose page tables are whose.
//!
//! **Holds always**
//! - T1: it is only read, and nothing that it says is trusted: what it leads to is walked and bounded as any address is.
//! - T2: the list ends after [`TASKS_MAX`] processes, also where a list that changes meanwhile never comes back to its beginning.
//!
//! **Callers**: `memory` and `scripts`. **Cost**: three reads a process. **Proof**: the test below, `tests/e2e/memory.rs`.

use crate::limits::TASKS_MAX;
use abi::boot::Boot;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// What Linux said about its tasks when it loaded root: offsets, and where its list begins.
pub struct Tasks {
    /// In what the kernel has for each core, the task that runs there; 0 if that is not known.
    pub current: AtomicU64,
    /// In a task, its number,
    pub tid: AtomicU32,
    /// its process' (thread group's),
    pub pid: AtomicU32,
    /// and its name.
    pub name: AtomicU32,
    direct_map: AtomicU64,
    first: AtomicU64,
    next: AtomicU32,
    space: AtomicU32,
    tables: AtomicU32,
    fixed: [AtomicU64; 4],
}

/// The one.
pub static TASKS: Tasks = Tasks::unknown();

/// Takes what the boot page says.
pub fn learn(boot: &Boot) {
    TASKS.current.store(boot.current_task, Relaxed);
    TASKS.tid.store(boot.task_tid, Relaxed);
    TASKS.pid.store(boot.task_pid, Relaxed);
    TASKS.name.store(boot.task_name, Relaxed);
    TASKS.direct_map.store(boot.direct_map, Relaxed);
    TASKS.first.store(boot.first_task, Relaxed);
    TASKS.next.store(boot.task_next, Relaxed);
    TASKS.space.store(boot.task_space, Relaxed);
    TASKS.tables.store(boot.space_tables, Relaxed);
    TASKS.fixed.iter().zip(boot.fixed).for_each(|(to, from)| to.store(from, Relaxed));
}

/// Whether the kernel maps a linear address for ever to where it is mapped now.
pub fn is_fixed(linear: u64) -> bool {
    let [first, behind, first_more, behind_more] = &TASKS.fixed;
    let is_in = |first: &AtomicU64, behind: &AtomicU64| (first.load(Relaxed)..behind.load(Relaxed)).contains(&linear);
    is_in(first, behind) || is_in(first_more, behind_more)
}

/// Where the kernel has all of RAM in its address space; 0 if that is not known.
pub fn direct_map() -> u64 {
    TASKS.direct_map.load(Relaxed)
}

impl Tasks {
    const fn unknown() -> Tasks {
        Tasks {
            current: AtomicU64::new(0),
            tid: AtomicU32::new(0),
            pid: AtomicU32::new(0),
            name: AtomicU32::new(0),
            direct_map: AtomicU64::new(0),
            first: AtomicU64::new(0),
            next: AtomicU32::new(0),
            space: AtomicU32::new(0),
            tables: AtomicU32::new(0),
            fixed: [const { AtomicU64::new(0) }; 4],
        }
    }

    /// Where a process has its highest table, in the kernel's address space; 0 if it has none of its own, `None` if there is no
    /// such process. `read` reads the kernel's memory.
    pub fn tables_of(&self, pid: u32, read: impl Fn(u64, &mut [u8]) -> bool) -> Option<u64> {
        let word = |at: u64| {
            let mut bytes = [0; 8];
            read(at, &mut bytes).then_some(u64::from_le_bytes(bytes))
        };
        let field = |task: u64, offset: &AtomicU32| task.wrapping_add(offset.load(Relaxed).into());
        let first = self.first.load(Relaxed);
        let mut task = first;
        for _ in 0..TASKS_MAX {
            let mut bytes = [0; 4];
            if first == 0 || !read(field(task, &self.pid), &mut bytes) {
                return None;
            }
            if u32::from_le_bytes(bytes) == pid {
                let space = word(field(task, &self.space))?;
                return if space == 0 { Some(0) } else { word(field(space, &self.tables)) };
            }
            task = word(field(task, &self.next))?.wrapping_sub(self.next.load(Relaxed).into());
            if task == first {
                return None;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a process that is taken for another, a kernel's thread that has tables, and a list without an end that is
    /// followed for ever.
    #[test]
    fn a_process_is_found_and_a_list_has_an_end() {
        let tasks = Tasks {
            first: AtomicU64::new(0x1000),
            next: AtomicU32::new(0x10),
            pid: AtomicU32::new(0x20),
            space: AtomicU32::new(0x28),
            tables: AtomicU32::new(0x40),
            ..Tasks::unknown()
        };
        let read = |last: u64| {
            move |at: u64, to: &mut [u8]| {
                let value = match at {
                    0x1010 => 0x2010,
                    0x2010 => 0x3010,
                    0x3010 => last,
                    0x2020 => 7,
                    0x3020 => 9,
                    0x3028 => 0x5000,
                    0x5040 => 0xabc0,
                    0x1020 | 0x2028 => 0,
                    _ => return false,
                };
                to.copy_from_slice(&u64::to_le_bytes(value)[..to.len()]);
                true
            }
        };
        let found = |pid| tasks.tables_of(pid, read(0x1010));
        assert_eq!((found(7), found(9), found(8)), (Some(0), Some(0xabc0), None));
        assert_eq!(tasks.tables_of(8, read(0x2010)), None, "it goes in circles");
        assert_eq!(tasks.tables_of(8, read(0x7777)), None, "it leads nowhere");
        tasks.first.store(0, Relaxed);
        assert_eq!(tasks.tables_of(9, read(0x1010)), None, "it is not known");
    }
}
