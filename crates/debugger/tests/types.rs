//! Types of the kernel at the prompt: their layout, and values in memory.

mod common;

use common::{Prompt, try_line};
use debugger::complete::{Completion, complete};
use std::fs;
use std::path::PathBuf;

/// What is said while types are fetched.
const FETCHING: &str =
    "fetching the types of linux 6.1.0-model over the link, 0x1000 bytes, once for this kernel; CTRL+C ends it";

/// Would catch types that differ over a link, or are fetched again although they were kept.
#[test]
fn types_come_out_of_memory_and_are_kept() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("types");
    let _ = fs::remove_dir_all(&folder);
    let mut prompt = Prompt::halted();
    prompt.session.keep_in(folder.clone());
    let mut fetched = prompt.ok("dt task_struct");
    assert!(fetched[0].starts_with("fetching the names"), "{fetched:#?}");
    assert_eq!(fetched[1], FETCHING);
    assert_eq!(fetched.split_off(2), Prompt::vmi().ok("dt task_struct"));
    let mut next = Prompt::halted();
    next.session.keep_in(folder);
    assert_eq!(next.ok("dt struct pid_t"), ["pid_t, 0x4 bytes", "int"]);
}

/// Would catch a value of another member, a pointer without its name, and memory that cannot be read taken for zero.
#[test]
fn an_address_shows_values() {
    let mut prompt = Prompt::halted();
    prompt.ok("eq ffff888000000200 ffffffff81000500 0");
    prompt.ok("eq ffff888000000210 3000000005");
    prompt.ok("eq ffff888000000218 68736162 0");
    prompt.ok("eq ffff888000000228 9");
    let shown = prompt.ok("dt task_struct ffff888000000100 + 100");
    let row = |name: &str| shown.iter().find(|row| row.contains(name)).unwrap().split_whitespace().last().unwrap().to_owned();
    assert_eq!((row(" pid "), row(" tgid ")), ("0x5".to_owned(), "0x30".to_owned()));
    assert_eq!((row(" comm "), row(" state "), row(" kept ")), ("\"bash\"".to_owned(), "WAITING".to_owned(), "0x1".to_owned()));
    assert_eq!(
        prompt.ok("dt list_head.next ffff888000000200")[1],
        "+0x000  next  struct list_head *  ffffffff81000500 __x64_sys_getppid"
    );
    assert!(prompt.ok("dt list_head ffff888000000ff8")[2].ends_with("??"));
    assert!(prompt.err("dt list_head 1000")[0].contains("1000"));
}

/// Would catch a slip without an offer, an offer that fails, and a module's type that is taken for the kernel's.
#[test]
fn a_type_that_is_not_there_is_refused_with_one_that_is() {
    let mut prompt = Prompt::vmi();
    let refused = prompt.err("dt list_haed");
    assert_eq!(try_line(&refused), Some("dt list_head"), "{refused:#?}");
    assert!(prompt.err("dt msr!list_head")[0].contains("no type"));
    assert_eq!(prompt.ok("dt vmlinux!list_head"), prompt.ok("dt struct list_head"));
    let offered = match complete("dt ta", Some(&prompt.session.names())) {
        Completion::Names { candidates, .. } => candidates,
        other => panic!("{other:?}"),
    };
    assert_eq!(offered, ["task_struct"]);
    prompt.root.lock().unwrap().linux.files.remove("/sys/kernel/btf/vmlinux");
    prompt.session.names().forget();
    assert_eq!(
        prompt.err("dt list_head")[0],
        "err, no types are known: '/sys/kernel/btf/vmlinux' cannot be read: it does not exist"
    );
}
