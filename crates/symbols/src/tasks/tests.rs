use super::*;
use crate::btf::Maker;
use std::collections::BTreeMap;

const FIRST: u64 = 0xffff_ffff_8200_0000;
const STACK: u64 = 0xffff_c900_0000_0000;

/// A kernel's description with the members that are needed and some between them.
fn types(without: &str) -> Types {
    let mut maker = Maker::new();
    let int = maker.record("int", 0, 1, false, 4, &[1 << 24 | 32]);
    let long = maker.record("long", 0, 1, false, 8, &[1 << 24 | 64]);
    let list = maker.structure("list_head", 16, false, &[("next", long, 0, 0), ("prev", long, 64, 0)]);
    let thread = maker.structure("thread_struct", 16, false, &[("sp", long, 64, 0)]);
    let text = maker.structure("text", 16, false, &[("t", long, 0, 0)]);
    // Where they lie in a task: what comes first in its words lies far from what comes last.
    let members = [
        ("__state", int, 0x18),
        ("stack", long, 0x20),
        ("on_cpu", int, 0x34),
        ("tasks", list, 0x400),
        ("mm", long, 0x410),
        ("exit_state", int, 0x440),
        ("pid", int, 0x4a0),
        ("tgid", int, 0x4a4),
        ("real_parent", long, 0x4b0),
        ("thread_node", list, 0x540),
        ("comm", text, 0x700),
        ("signal", long, 0x740),
        ("thread", thread, 0x1000),
    ];
    let members: Vec<(&str, u32, u32, u32)> =
        members.iter().filter(|(name, ..)| *name != without).map(|(name, of, at)| (*name, *of, 8 * at, 0)).collect();
    maker.structure("task_struct", 0x1100, false, &members);
    let inner = maker.structure("", 0x40, false, &[("pgd", long, 0x18 * 8, 0)]);
    maker.structure("mm_struct", 0x40, false, &[("", inner, 0, 0)]);
    maker.structure("signal_struct", 0x40, false, &[("nr_threads", int, 64, 0), ("thread_head", list, 128, 0)]);
    let words = |names: &[&'static str]| -> Vec<(&'static str, u32, u32, u32)> {
        (0..).step_by(64).zip(names).map(|(bit, name)| (*name, long, bit, 0)).collect()
    };
    let user = words(&[
        "r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di", "orig_ax", "ip", "cs",
        "flags", "sp", "ss",
    ]);
    maker.structure("pt_regs", 8 * 21, false, &user);
    maker.structure("inactive_task_frame", 56, false, &words(&["r15", "r14", "r13", "r12", "bx", "bp", "ret_addr"]));
    maker.structure("thread_union", 0x4000, true, &[("t", long, 0, 0)]);
    Types::read(maker.bytes()).unwrap()
}

fn table() -> Table {
    let names =
        "ffffffff81000000 T _stext\nffffffff82000000 D init_task\nffffffff82100000 D init_top_pgt\nffffffff83000000 B _end\n";
    crate::text::table(names.as_bytes(), b"").unwrap()
}

/// Words of memory.
#[derive(Default)]
struct Words {
    words: BTreeMap<u64, u64>,
    reads: usize,
}

impl Words {
    fn put(&mut self, at: u64, word: u64) {
        self.words.insert(at, word);
    }

    /// A task, in no list.
    fn task(&mut self, at: u64, tid: u32, pid: u32, signal: u64) {
        for word in (at..at + 0x1100).step_by(8) {
            self.words.entry(word).or_insert(0);
        }
        self.put(at + 0x18, 1);
        self.put(at + 0x20, STACK);
        self.put(at + 0x410, if pid == 0 { 0 } else { signal + 0x1000 });
        self.put(at + 0x4a0, u64::from(tid) | u64::from(pid) << 32);
        self.put(at + 0x4b0, FIRST);
        self.put(at + 0x700, u64::from_le_bytes(*b"a\x1bname\0x"));
        self.put(at + 0x740, signal);
    }

    /// Links of a ring at these places.
    fn ring(&mut self, places: &[u64]) {
        for (nth, at) in places.iter().enumerate() {
            let next = places[(nth + 1) % places.len()];
            self.put(*at, next);
            self.put(next + 8, *at);
        }
    }
}

impl Memory for Words {
    fn read(&mut self, address: u64, to: &mut [u8]) -> bool {
        self.reads += 1;
        for (offset, byte) in (0..).zip(to) {
            let at: u64 = address + offset;
            let Some(word) = self.words.get(&(at & !7)) else { return false };
            *byte = word.to_le_bytes()[usize::try_from(at & 7).unwrap()];
        }
        true
    }
}

/// Three processes, the last one with three threads.
fn machine() -> (Tasks, Words) {
    let mut words = Words::default();
    let (one, two) = (0xffff_8880_0001_0000, 0xffff_8880_0002_0000);
    words.task(FIRST, 0, 0, 0xffff_8880_0090_0000);
    words.task(one, 1, 1, 0xffff_8880_0091_0000);
    words.ring(&[FIRST + 0x400, one + 0x400, two + 0x400]);
    for (nth, tid) in (0..3).zip([2, 0x22, 0x23]) {
        words.task(two + nth * 0x2000, tid, 2, 0xffff_8880_0092_0000);
    }
    words.ring(&[0xffff_8880_0092_0010, two + 0x540, two + 0x2540, two + 0x4540]);
    words.put(0xffff_8880_0092_0008, 3);
    words.put(0xffff_8880_0092_1018, 0xffff_8880_0077_7000);
    (Tasks::of(&types(""), &table()).unwrap(), words)
}

fn numbers(tasks: &Tasks, words: &mut Words) -> (Vec<u32>, End) {
    let mut all = Vec::new();
    let end = tasks.processes(words, &mut |task, _| {
        all.push(task.pid);
        all.len() < 0x1_0000
    });
    (all, end)
}

/// Would catch a process or a thread that is left out, and members that are read elsewhere than the description has them.
#[test]
fn processes_and_their_threads_are_found_in_the_kernels_lists() {
    let (tasks, mut words) = machine();
    let (all, end) = numbers(&tasks, &mut words);
    assert_eq!((all, end), (vec![0, 1, 2], End::Whole));
    assert!(words.reads <= 3 * 5, "{} reads of three tasks", words.reads);
    let last = tasks.task(0xffff_8880_0002_0000, &mut words).unwrap();
    assert_eq!((last.state, last.runs, last.is_kernels(), &last.name[..3]), ("sleeping", false, false, &b"a\x1bn"[..]));
    let mut threads = Vec::new();
    let end = tasks.threads(&last, &mut words, &mut |task, _| {
        threads.push(task.tid);
        true
    });
    assert_eq!((threads, end), (vec![2, 0x22, 0x23], End::Whole));
    assert_eq!((tasks.count(&last, &mut words), tasks.parent(&last, &mut words)), (Some(3), Some(0)));
    assert_eq!(tasks.tables(&last, &mut words), Some(0xffff_8880_0077_7000));
    let first = tasks.task(FIRST, &mut words).unwrap();
    assert_eq!((first.is_kernels(), tasks.tables(&first, &mut words)), (true, Some(0xffff_ffff_8210_0000)));
    assert_eq!(tasks.task(0x1000, &mut words), None, "no address of the kernel's");
}

/// Would catch a list that is followed for ever, one that ends early without a word, and a word for a list that is whole.
#[test]
fn a_list_that_is_broken_ends_and_says_where() {
    let (tasks, mut words) = machine();
    let two = 0xffff_8880_0002_0000;
    words.put(two + 0x400, 0xdead_0000_0000_0100);
    assert_eq!(numbers(&tasks, &mut words), (vec![0, 1, 2], End::Broken(two)));
    // It leads back into itself, and that is not where it came from.
    words.put(two + 0x400, 0xffff_8880_0001_0400);
    assert_eq!(numbers(&tasks, &mut words), (vec![0, 1, 2], End::Broken(two)));
    words.put(FIRST + 0x400, 0);
    assert_eq!(numbers(&tasks, &mut words), (vec![0], End::Broken(FIRST)));
    // A ring that never comes back to its head.
    let (tasks, mut words) = machine();
    let lies = 0xffff_8880_0001_0400;
    words.put(lies, lies);
    words.put(lies + 8, lies);
    words.put(FIRST + 0x400, lies);
    assert_eq!(numbers(&tasks, &mut words).1, End::Broken(FIRST));
    let task = tasks.task(two, &mut words).unwrap();
    words.put(0xffff_8880_0092_0010, two + 0x2540);
    assert_eq!(tasks.threads(&task, &mut words, &mut |_, _| true), End::Broken(two));
}

/// Would catch a list that has no end where every link is led back to: a kernel of a million tasks.
#[test]
fn no_more_tasks_are_looked_at_than_the_limit() {
    let (tasks, mut words) = machine();
    // Each link is its own neighbour to both sides of a chain that goes on and on, in one piece of memory.
    struct Endless(Words);
    impl Memory for Endless {
        fn read(&mut self, address: u64, to: &mut [u8]) -> bool {
            if !(0xffff_9000_0000_0000..FIRST).contains(&address) {
                return self.0.read(address, to);
            }
            to.fill(0);
            for (offset, byte) in (0..).zip(to.iter_mut()) {
                let at: u64 = address + offset;
                let (task, within) = (at & !0x1fff, at & 0x1fff);
                let word: u64 = match within & !7 {
                    0x400 => task + 0x2400,
                    0x408 if task == 0xffff_9000_0000_0000 => FIRST + 0x400,
                    0x408 => task - 0x2000 + 0x400,
                    _ => 0,
                };
                *byte = word.to_le_bytes()[usize::try_from(within & 7).unwrap()];
            }
            true
        }
    }
    words.put(FIRST + 0x400, 0xffff_9000_0000_0400);
    let mut seen = 0;
    let end = tasks.processes(&mut Endless(words), &mut |_, _| {
        seen += 1;
        true
    });
    assert_eq!((seen, end), (TASKS_MAX + 1, End::Limit));
}

/// Would catch registers of another thread, of the kernel taken for a program's, and a stack pointer that is believed.
#[test]
fn what_was_saved_of_a_thread_is_found_on_its_stack() {
    let (tasks, mut words) = machine();
    let task = tasks.task(0xffff_8880_0002_0000, &mut words).unwrap();
    assert_eq!(tasks.kernel(&task, &mut words), None, "it points nowhere");
    words.put(task.address + 0x1008, STACK + 0x3e00);
    for (nth, word) in (0..).zip([15, 14, 13, 12, 0xb, 0xb9, 0xffff_ffff_8100_1234]) {
        words.put(STACK + 0x3e00 + 8 * nth, word);
    }
    let place = Place { ip: 0xffff_ffff_8100_1234, sp: STACK + 0x3e38, bp: 0xb9 };
    let more = More { r13: 13, ..More::default() };
    assert_eq!(tasks.kernel(&task, &mut words), Some((place, more, [0xb, 12, 13, 14, 15])));

    for padding in [0, 16] {
        for word in (STACK + 0x3f00..STACK + 0x4000).step_by(8) {
            words.put(word, 0);
        }
        assert_eq!(tasks.user(&task, &mut words), None, "zeros are no program's");
        let at = STACK + 0x4000 - padding - 8 * 21;
        for (nth, word) in
            [(3, 0x1212), (10, 0xa), (14, 0xd1), (16, 0x40_1000), (17, 0x33), (18, 0x246), (19, 0x7ffc), (20, 0x2b)]
        {
            words.put(at + 8 * nth, word);
        }
        let user = tasks.user(&task, &mut words).unwrap();
        assert_eq!((user.ip, user.flags, user.selectors), (0x40_1000, 0x246, [0x33, 0x2b]));
        assert_eq!((user.gprs[0], user.gprs[4], user.gprs[7], user.gprs[12]), (0xa, 0x7ffc, 0xd1, 0x1212));
    }
}

/// Would catch a kernel without a member that is taken for one that has it at its beginning.
#[test]
fn what_a_kernel_does_not_have_is_named() {
    assert_eq!(Tasks::of(&types("thread_node"), &table()).unwrap_err(), "thread_node");
    let nameless = crate::text::table(b"ffffffff81000000 T _stext\n", b"").unwrap();
    assert_eq!(Tasks::of(&types(""), &nameless).unwrap_err(), "init_task");
}
