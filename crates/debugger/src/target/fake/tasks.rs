//! The model's tasks: what its kernel's lists have, and programs with memory of their own.
//!
//! ```text
//! ffffffff81c10000   the first task: the idle loop's of core 0
//! ffff888100000000   cat, 1c8, which core 0 runs; 1000 behind it its second thread, which sleeps
//! ffff888100002000   init, 1
//! 700000, 701000     highest tables of cat's and of init's, physically; each has four bytes at 400000
//! ```

use abi::request::memory::{BY_TABLES, Place};
use abi::request::{self, Task};
use symbols::btf::Maker;

/// A member of a type: its name, its type, its first bit, how many.
type Member = (&'static str, u32, u32, u32);

/// Address of the first task, and of the kernel's own tables.
const FIRST: u64 = 0xffff_ffff_81c1_0000;
const KERNELS_TABLES: u64 = 0xffff_ffff_81c2_0000;
const CAT: u64 = 0xffff_8881_0000_0000;
const READS: u64 = CAT + 0x1000;
const INIT: u64 = CAT + 0x2000;
const IDLE: u64 = CAT + 0x8000;
/// Address space and signals of a process.
const SPACES: u64 = CAT + 0x1_0000;
const SIGNALS: u64 = CAT + 0x1_1000;
const STACK: u64 = CAT + 0x2_0000;
const STACK_BYTES: u64 = 0x4000;
/// Where all of RAM is for the tables.
const MAP: u64 = CAT;
const TABLES: u64 = 0x70_0000;
/// Where programs have their bytes.
const PROGRAM: u64 = 0x40_0000;

/// Where what this model adds to a task lies in it.
const STATE: usize = 0x30;
const RUNS: usize = 0x38;
const LIST: usize = 0x40;
const SPACE: usize = 0x50;
const PARENT: usize = 0x58;
const SIGNAL: usize = 0x60;
const STACK_AT: usize = 0x68;
const NODE: usize = 0x70;
const SAVED_SP: usize = 0x80;
const TASK_BYTES: usize = 0x90;
/// In what is saved of a program: where it goes on, and its first register that is a pattern.
const USER_WORDS: usize = 21;

/// Members of a task behind those that were there, by number of type: int, unsigned, pointer, list.
pub(super) fn members(int: u32, unsigned: u32, pointer: u32, list: u32, thread: u32) -> Vec<Member> {
    let bits = |at: usize| u32::try_from(8 * at).unwrap_or(0);
    vec![
        ("__state", unsigned, bits(STATE), 0),
        ("exit_state", int, bits(STATE + 4), 0),
        ("on_cpu", int, bits(RUNS), 0),
        ("tasks", list, bits(LIST), 0),
        ("mm", pointer, bits(SPACE), 0),
        ("real_parent", pointer, bits(PARENT), 0),
        ("signal", pointer, bits(SIGNAL), 0),
        ("stack", pointer, bits(STACK_AT), 0),
        ("thread_node", list, bits(NODE), 0),
        ("thread", thread, bits(SAVED_SP), 0),
    ]
}

/// Bytes of a task.
pub(super) fn task_bytes() -> u32 {
    u32::try_from(TASK_BYTES).unwrap_or(0)
}

/// Types that tasks lead to; the one of a thread's own.
pub(super) fn types(maker: &mut Maker, int: u32, pointer: u32, list: u32) -> u32 {
    let thread = maker.structure("thread_struct", 16, false, &[("sp", pointer, 0, 0)]);
    maker.structure("mm_struct", 16, false, &[("pgd", pointer, 64, 0)]);
    maker.structure("signal_struct", 24, false, &[("nr_threads", int, 0, 0), ("thread_head", list, 64, 0)]);
    let words = |names: &[&'static str]| -> Vec<Member> {
        (0..).step_by(64).zip(names).map(|(bit, name)| (*name, pointer, bit, 0)).collect()
    };
    let user = words(&[
        "r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di", "orig_ax", "ip", "cs",
        "flags", "sp", "ss",
    ]);
    maker.structure("pt_regs", 8 * 21, false, &user);
    maker.structure("inactive_task_frame", 56, false, &words(&["r15", "r14", "r13", "r12", "bx", "bp", "ret_addr"]));
    maker.structure("thread_union", 0x4000, true, &[("task", int, 0, 0)]);
    thread
}

/// What a core runs.
pub(super) fn running(core: u32) -> Task {
    match core {
        0 => Task { task: CAT, process: 0x1c8, thread: 0x1c8, name: request::name("cat") },
        core => {
            let task = IDLE + u64::from(core) * 0x1000;
            Task { task, process: 0, thread: 0, name: request::name(&format!("swapper/{core}")) }
        }
    }
}

/// One of them.
struct One {
    at: u64,
    ids: [u32; 2],
    name: &'static str,
    runs: bool,
    parent: u64,
    /// Next and previous in the list of processes, and in that of threads.
    links: [u64; 4],
    process: u64,
}

/// Pieces of memory that have all of them.
pub(super) fn memory() -> Vec<(u64, Vec<u8>)> {
    let list = |task: u64| task + LIST as u64;
    let node = |task: u64| task + NODE as u64;
    let head = |process: u64| SIGNALS + process * 0x100 + 8;
    let all = [
        One {
            at: FIRST,
            ids: [0, 0],
            name: "swapper/0",
            runs: true,
            parent: FIRST,
            links: [list(INIT), list(CAT), head(0), head(0)],
            process: 0,
        },
        One {
            at: INIT,
            ids: [1, 1],
            name: "init",
            runs: false,
            parent: FIRST,
            links: [list(CAT), list(FIRST), head(1), head(1)],
            process: 1,
        },
        One {
            at: CAT,
            ids: [0x1c8, 0x1c8],
            name: "cat",
            runs: true,
            parent: INIT,
            links: [list(FIRST), list(INIT), node(READS), head(2)],
            process: 2,
        },
        One {
            at: READS,
            ids: [0x1c9, 0x1c8],
            name: "cat-reads",
            runs: false,
            parent: INIT,
            links: [0, 0, head(2), node(CAT)],
            process: 2,
        },
    ];
    let mut pieces = Vec::new();
    for One { at, ids: [tid, pid], name, runs, parent, links, process } in all {
        let mut bytes = vec![0; TASK_BYTES];
        let space = if process == 0 { 0 } else { SPACES + process * 0x100 };
        let words = [
            (0x10, u64::from(tid) | u64::from(pid) << 32),
            (STATE, u64::from(!runs)),
            (RUNS, u64::from(runs)),
            (LIST, links[0]),
            (LIST + 8, links[1]),
            (SPACE, space),
            (PARENT, parent),
            (SIGNAL, SIGNALS + process * 0x100),
            (STACK_AT, STACK),
            (NODE, links[2]),
            (NODE + 8, links[3]),
            (SAVED_SP, STACK + 0x3e00),
        ];
        for (at, word) in words {
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        bytes[0x18..0x18 + name.len()].copy_from_slice(name.as_bytes());
        pieces.push((at, bytes));
    }
    for (process, threads, first, last) in
        [(0, 1, node(FIRST), node(FIRST)), (1, 1, node(INIT), node(INIT)), (2, 2, node(CAT), node(READS))]
    {
        pieces.push((SIGNALS + process * 0x100, [threads, first, last].map(u64::to_le_bytes).concat()));
        pieces
            .push((SPACES + process * 0x100, [0, MAP + TABLES + (2 - process.min(2)) * 0x1000].map(u64::to_le_bytes).concat()));
    }
    pieces.push((STACK, stack()));
    pieces
}

/// The list ends behind init.
pub(super) fn break_list(memory: &mut [(u64, Vec<u8>)]) {
    for (_, bytes) in memory.iter_mut().filter(|(at, _)| *at == INIT) {
        bytes[LIST..LIST + 8].fill(0);
    }
}

/// The stack of the thread that sleeps: where it goes on in the kernel, and what its program had.
fn stack() -> Vec<u8> {
    let mut stack = vec![0; usize::try_from(STACK_BYTES).unwrap_or(0)];
    let mut put = |at: usize, words: &[u64]| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        stack[at..at + bytes.len()].copy_from_slice(&bytes);
    };
    put(0x3e00, &[0x15, 0x14, 0x13, 0x12, 0xb, 0, 0xffff_ffff_8100_0220]);
    let mut user = [0; USER_WORDS];
    (user[3], user[16], user[17], user[18], user[19], user[20]) = (0x1212, PROGRAM + 0x10, 0x33, 0x246, 0x7ffc_0000, 0x2b);
    put(0x4000 - 8 * USER_WORDS, &user);
    stack
}

/// A byte of a program, by its tables.
pub(super) fn byte(place: Place, offset: u64) -> Option<u8> {
    let text = match (place.space, u64::from(place.pid) * 0x1000) {
        (BY_TABLES, TABLES) => b"cat.",
        (BY_TABLES, frame) if frame == TABLES + 0x1000 => b"init",
        _ => return None,
    };
    let at = place.address.checked_add(offset)?.checked_sub(PROGRAM)?;
    text.get(usize::try_from(at).ok()?).copied()
}

/// Where the highest table of a program, or the kernel's, lies physically.
pub(super) fn physical(linear: u64) -> Option<u64> {
    match linear {
        KERNELS_TABLES => Some(0x1c2_0000),
        _ => linear.checked_sub(MAP).filter(|at| (TABLES..TABLES + 0x2000).contains(at)),
    }
}
