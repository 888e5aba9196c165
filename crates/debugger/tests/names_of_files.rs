//! Names in a vmlinux, a module and their debug files, as they come to those that are known.

mod common;

use common::{Prompt, try_line};
use std::fs;
use std::path::PathBuf;
use symbols::elf::Maker;

/// How far the machine's kernel was moved from where the files have it.
const MOVED: u64 = 0x800_0000;

/// A file of this name; its path.
fn file(name: &str, maker: &Maker) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, maker.bytes()).unwrap();
    path.display().to_string()
}

fn names(all: &[(u64, u16, &str)]) -> Vec<(u64, u16, bool, String)> {
    all.iter().map(|(value, section, name)| (*value, *section, false, (*name).to_owned())).collect()
}

/// The model's kernel, before it was moved, with two names that its list leaves out.
fn kernel() -> Maker {
    let all = [
        (0xffff_ffff_8100_0000, 1, "_stext"),
        (0xffff_ffff_8100_0200, 1, "do_syscall_64"),
        (0xffff_ffff_8100_0280, 1, "do_static_work"),
        (0xffff_ffff_8100_0700, 1, "entry_SYSCALL_64"),
        (0xffff_ffff_81a0_0100, 2, "sys_call_table"),
        (0xffff_ffff_81c0_0040, 2, "some_lock"),
    ];
    let all = all.map(|(value, section, name)| (value - MOVED, section, name));
    Maker { build_id: vec![0x00, 0xc0, 0xff, 0xee], names: names(&all), ..Maker::default() }
}

fn module() -> Maker {
    let all = [(0x10, 1, "msr_open"), (0x80, 1, "msr_hidden"), (0x100, 1, "msr_read"), (0, 2, "msr_state")];
    Maker { module: true, information: b"name=msr\0".to_vec(), names: names(&all), ..Maker::default() }
}

/// Would catch names of a file that are not moved with the kernel, that go when modules come, or that differ over a link.
#[test]
fn a_vmlinux_adds_what_the_list_leaves_out() {
    let path = file("vmlinux", &kernel());
    for mut prompt in [Prompt::vmi(), Prompt::halted()] {
        assert!(prompt.err("? do_static_work").iter().any(|line| line.contains("nothing in the kernel has this name")));
        let said = prompt.ok(&format!(".sym load {path}"));
        let added = said.last().unwrap().clone();
        assert_eq!(added, format!("0x2 more of the kernel, from {path}, moved by 0x8000000"), "{said:#?}");
        assert_eq!(prompt.ok("? do_static_work"), ["ffffffff81000280"]);
        assert_eq!(prompt.ok("? vmlinux!some_lock"), ["ffffffff81c00040"]);
        assert_eq!(prompt.ok("? do_syscall_64"), ["ffffffff81000200"], "a name that both have is one");
        prompt.root.lock().unwrap().linux.files.insert("/proc/modules".to_owned(), Vec::new());
        assert_eq!(prompt.ok("? do_static_work"), ["ffffffff81000280"], "modules came or went");
        assert_eq!(prompt.ok(&format!(".sym load {path}")).last(), Some(&added), "the same file again is the same");
        assert!(!prompt.ok(".sym reload").last().unwrap().contains("more of"));
    }
}

/// Would catch a file of another build that is believed, by its number or, where there is none, by where its names lie.
#[test]
fn a_vmlinux_of_another_build_is_refused_and_nothing_changes() {
    let other = file("vmlinux-build", &Maker { build_id: vec![1, 2], ..kernel() });
    let mut prompt = Prompt::vmi();
    let notes =
        [&4_u32.to_le_bytes()[..], &4_u32.to_le_bytes(), &3_u32.to_le_bytes(), b"GNU\0", &[0, 0xc0, 0xff, 0xee]].concat();
    prompt.root.lock().unwrap().linux.files.insert("/sys/kernel/notes".to_owned(), notes);
    let refused = prompt.err(&format!(".sym load {other}"));
    assert_eq!(refused[0], format!("err, '{other}' is of another build: its number is 0102, and what runs has 00c0ffee"));
    assert!(Prompt::halted().err(&format!(".sym load {other}")).iter().any(|line| line.contains("its number is 0102")));
    let mut without = kernel();
    without.build_id.clear();
    without.names[3].0 += 0x10;
    let swapped = file("vmlinux-names", &without);
    let refused = prompt.err(&format!(".sym load {swapped}"));
    assert!(refused[0].contains("is of another kernel: it has entry_SYSCALL_64"), "{refused:#?}");
    assert!(prompt.ok(".sym")[0].starts_with("0x14 names of the kernel and 1 module"));
}

/// Would catch a module's names by another section's place, those of another build, and names that stay when the module has gone.
#[test]
fn a_module_is_found_by_its_names_and_goes_with_it() {
    let path = file("msr.ko", &module());
    for mut prompt in [Prompt::vmi(), Prompt::halted()] {
        let said = prompt.ok(&format!(".sym load {path}"));
        let left_out = "0x1 left out, as nothing is known of where they lie";
        assert_eq!(said.last(), Some(&format!("0x1 more of msr, from {path}; {left_out}")), "{said:#?}");
        assert_eq!(prompt.ok("? msr!msr_hidden"), ["ffffffffc0300080"]);
    }
    let mut prompt = Prompt::vmi();
    prompt.ok(&format!(".sym load {path}"));
    let elsewhere = b"msr 16384 0 - Live 0xffffffffc0500000\n".to_vec();
    prompt.root.lock().unwrap().linux.files.insert("/proc/modules".to_owned(), elsewhere);
    assert!(prompt.err("? msr_hidden")[0].contains("nothing in the kernel has this name"));

    let mut other = module();
    other.names[2].0 += 8;
    let refused = Prompt::vmi().err(&format!(".sym load {}", file("other.ko", &other)));
    assert!(refused[0].contains("is of another build of the module: by it msr_read is at ffffffffc0300108"), "{refused:#?}");
    let nobody = Maker { information: Vec::new(), ..module() };
    let refused = Prompt::vmi().err(&format!(".sym load {}", file("no-body.ko.debug", &nobody)));
    assert!(refused[0].contains("is of the module 'no_body', which is not loaded"), "{refused:#?}");
    assert_eq!(try_line(&refused), Some("lm"));
}

/// Would catch a file that is no such file, taken or refused without a reason.
#[test]
fn a_file_without_names_is_refused() {
    let empty = file("empty", &Maker { names: Vec::new(), ..kernel() });
    assert_eq!(Prompt::vmi().err(&format!(".sym load {empty}"))[0], format!("err, there are no names in '{empty}'"));
    let cut = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cut");
    fs::write(&cut, &kernel().bytes()[..100]).unwrap();
    let refused = Prompt::vmi().err(&format!(".sym load {}", cut.display()));
    assert!(refused[0].contains("is not whole") || refused[0].contains("of no kind"), "{refused:#?}");
}
