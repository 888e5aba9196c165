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
    assert_eq!(try_line(&prompt.err("dt msr!list_head")), Some("dt list_head"));
    assert_eq!(try_line(&prompt.err("dt msr!msr_devise")), Some("dt msr!msr_device"));
    assert_eq!(prompt.err("dt loop!list_head")[0], "err, no types are known: no module 'loop' that brings any is loaded");
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

/// Would catch types of modules that are known on one side of the link only, or looked for before the kernel's.
#[test]
fn types_of_modules_are_found_behind_those_of_the_kernel() {
    let told = ["struct msr_device, 0x18 bytes", "+0x000  list  struct list_head", "+0x010  cpu   int"];
    assert_eq!(Prompt::vmi().ok("dt msr_device"), told);
    assert_eq!(Prompt::vmi().ok("dt struct msr!msr_device"), told);
    let mut prompt = Prompt::halted();
    let mut fetched = prompt.ok("dt msr_device");
    assert_eq!(fetched.split_off(fetched.len() - 3), told);
    assert!(fetched.last().unwrap().starts_with("fetching the types of modules over the link"), "{fetched:#?}");
    assert_eq!(prompt.ok("dt msr!msr_device"), told, "they were kept");
    assert!(prompt.err("dt vmlinux!msr_device")[0].contains("has no type"));
}

/// Would catch a module that came anew and is told by the types of what it was before.
#[test]
fn a_module_that_lies_elsewhere_is_read_anew() {
    let mut prompt = Prompt::vmi();
    prompt.ok("dt msr_device");
    let files = |prompt: &Prompt, path: &str, text: &[u8]| {
        prompt.root.lock().unwrap().linux.files.insert(path.to_owned(), text.to_vec());
    };
    files(&prompt, "/sys/kernel/btf/msr", b"nothing of the kind");
    assert_eq!(prompt.ok("dt msr_device").len(), 3);
    files(&prompt, "/proc/modules", b"msr 16384 0 - Live 0xffffffffc0500000\n");
    assert!(prompt.err("dt msr_device")[0].contains("'/sys/kernel/btf/msr'"));
}
