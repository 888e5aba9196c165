//! Names of the kernel at the prompt: found, told apart, and never those of another boot.

mod common;

use common::{Prompt, try_line};
use debugger::complete::{Completion, complete};
use debugger::target::fake::Root;
use debugger::target::fake::linux::{Linux, MODULES, NAMES};
use std::fs;
use std::path::PathBuf;

/// A file of names in the build folder.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

/// The list as of a boot in which the kernel lies elsewhere.
fn elsewhere() -> String {
    NAMES.replace("ffffffff81", "ffffffff99").replace("ffffffff82", "ffffffff9a").replace("ffffffffc03", "ffffffffc07")
}

/// Would catch an expression or a script that takes another address than the list has, or one of several.
#[test]
fn names_stand_where_addresses_do() {
    let mut prompt = Prompt::vmi();
    assert_eq!(prompt.ok("? sys_call_table + 8 * 2"), ["ffffffff81a00110"]);
    assert_eq!(prompt.ok("? msr!msr_open - msr!msr_read + 100"), ["10"]);
    assert_eq!(prompt.ok("? vmlinux!do_syscall_64"), ["ffffffff81000200"]);
    assert_eq!(prompt.ok("print sys_call_table + 1"), ["ffffffff81a00101"]);
    assert_eq!(prompt.ok("? { x = msr!msr_open; print(x); }"), ["ffffffffc0300010"]);
    let refused = prompt.err("? 1 + read_one");
    assert_eq!(refused[0], "err, 'read_one' stands for 2 addresses");
    assert!(refused.iter().any(|line| line.trim() == "ffffffff81000600 read_one"), "{refused:#?}");
    assert_eq!(try_line(&refused), Some("? 1 + ffffffff81000400"));
    assert_eq!(
        prompt.err("print read_one")[0],
        "err, 'read_one' stands for 2 addresses: read_one at ffffffff81000400, read_one at ffffffff81000600"
    );
}

/// Would catch a file for other debuggers that is not told as it is, or not written.
#[test]
fn what_is_saved_is_a_file_for_other_debuggers() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("saved.elf");
    let _ = fs::remove_file(&path);
    let mut prompt = Prompt::vmi();
    let said = prompt.ok(&format!(".sym save {}", path.display()));
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.starts_with(b"\x7fELF") && bytes.windows(8).any(|bytes| bytes == b"msr_open"));
    let told = format!("0x{:x} bytes in {}", bytes.len(), path.display());
    assert!(
        said[0].starts_with("0x14 names of the kernel and 1 module, but not how it unwinds") && said[0].ends_with(&told),
        "{said:?}"
    );
    prompt.err(".sym save");
}

/// Would catch an offer that does not work, or a module that is wrong and is not put right.
#[test]
fn a_slip_is_answered_by_a_line_that_works() {
    for (typed, offered) in [
        ("? do_sycsall_64 + 1", "? do_syscall_64 + 1"),
        ("? sys_getppid", "? __x64_sys_getppid"),
        ("? kvm!msr_open", "? msr!msr_open"),
        ("print do_sycsall_64", "print do_syscall_64"),
        ("x sys_getppid", "x __x64_sys_getppid"),
    ] {
        let mut prompt = Prompt::vmi();
        let refused = prompt.err(typed);
        assert_eq!(try_line(&refused), Some(offered), "{refused:#?}");
        prompt.ok(offered);
    }
}

/// Would catch a file of another boot whose names are believed, one of the same kernel that is not moved, and names of modules
/// that stay where they were before.
#[test]
fn a_file_of_another_boot_is_moved_and_one_of_another_kernel_refused() {
    let mut prompt = Prompt::vmi();
    let moved = file("moved", &elsewhere());
    let said = prompt.ok(&format!(".sym load {}", moved.display()));
    assert_eq!(said[0], format!("0x12 names of the kernel and 0 modules, from {}", moved.display()));
    assert_eq!(said[1], "the kernel lies elsewhere than in the file: its names were moved by -0x18000000");
    assert_eq!(prompt.ok("? do_syscall_64"), ["ffffffff81000200"]);
    assert_eq!(try_line(&prompt.err("? msr_open")), Some("? 10"), "modules do not move with the kernel");

    // The same place by chance, and a module that is elsewhere.
    let module = file("module", &NAMES.replace("ffffffffc03", "ffffffffc07"));
    let said = prompt.ok(&format!(".sym load {}", module.display()));
    assert_eq!(said[1..], ["left out, as they are not where the file has them: msr"]);
    prompt.err("? msr!msr_open");

    let other = file("other", &elsewhere().replace("ffffffff99000700", "ffffffff99000740"));
    let refused = prompt.err(&format!(".sym load {}", other.display()));
    assert!(refused[0].contains("is of another kernel: it has entry_SYSCALL_64 at ffffffff99000740"), "{refused:#?}");
    assert_eq!(prompt.ok("? do_syscall_64"), ["ffffffff81000200"], "what was known before stays");
    let stub = file("stub", "ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n");
    let refused = prompt.err(&format!(".sym load {}", stub.display()));
    assert!(refused[0].contains("line 1 of"), "{refused:#?}");
    let few = file("few", "ffffffff81000000 T _stext\n");
    assert!(prompt.err(&format!(".sym load {}", few.display()))[0].contains("none of the names"));
}

/// Would catch zeros that are taken for addresses, or a user who is not told what helps.
#[test]
fn hidden_addresses_are_told_with_what_shows_them() {
    let mut prompt = Prompt::vmi();
    let hidden: String = NAMES.lines().map(|line| format!("{:016}{}\n", 0, &line[16..])).collect();
    prompt.root.lock().unwrap().linux.files.insert("/proc/kallsyms".to_owned(), hidden.into_bytes());
    for line in ["x *", "lm", ".sym reload", "? do_syscall_64", "print do_syscall_64"] {
        let refused = prompt.err(line).join("\n");
        assert!(refused.contains("the system hides addresses"), "{line}: {refused}");
    }
    assert!(prompt.err("x *").join("\n").contains("sysctl kernel.kptr_restrict=1"));
    prompt.root.lock().unwrap().linux.files.insert("/proc/kallsyms".to_owned(), NAMES.as_bytes().to_vec());
    assert_eq!(prompt.ok("? do_syscall_64"), ["ffffffff81000200"]);
}

/// Would catch a module that came and is not found, or one that went and still is.
#[test]
fn modules_that_come_and_go_are_noticed() {
    let mut prompt = Prompt::vmi();
    assert_eq!(prompt.ok("lm").len(), 3);
    {
        let mut root = prompt.root.lock().unwrap();
        root.linux
            .files
            .insert("/proc/modules".to_owned(), format!("new 8192 0 - Live 0xffffffffc0500000\n{MODULES}").into_bytes());
        root.linux.files.insert("/proc/kallsyms".to_owned(), format!("{NAMES}ffffffffc0500000 t new_one [new]\n").into_bytes());
    }
    assert_eq!(prompt.ok("? new_one"), ["ffffffffc0500000"]);
    assert!(prompt.ok("lm").contains(&"ffffffffc0500000     2000  new".to_owned()));
    prompt.root.lock().unwrap().linux.files = Prompt::vmi().root.lock().unwrap().linux.files.clone();
    prompt.err("? new_one");
}

/// Would catch a name that is not completed, one that is offered where no address may stand, or too many at once.
#[test]
fn names_are_completed_where_addresses_stand() {
    let prompt = Prompt::vmi();
    let names = prompt.session.names();
    let offered = |before: &str| match complete(before, Some(&names)) {
        Completion::Names { start, candidates } => (start, candidates),
        other => (usize::MAX, vec![format!("{other:?}")]),
    };
    assert_eq!(offered("x do_"), (2, vec!["do_one_initcall".to_owned(), "do_syscall_64".to_owned()]));
    assert_eq!(offered("? 1+msr!msr_o"), (4, vec!["msr!msr_open".to_owned()]));
    assert_eq!(offered("!tsc script { print(sys_c"), (20, vec!["sys_call_table".to_owned()]));
    for nothing in ["prealloc monitor do_", "? @do_", "? 0", "!tsc pid do_", "? "] {
        assert!(!matches!(complete(nothing, Some(&names)), Completion::Names { .. }), "{nothing}");
    }
    prompt.root.lock().unwrap().linux.files.insert(
        "/proc/kallsyms".to_owned(),
        (0..1000).map(|n| format!("ffffffff810{n:05x} t many_{n:03}\n")).collect::<String>().into_bytes(),
    );
    names.forget();
    assert_eq!(offered("x ma"), (2, vec!["many_".to_owned()]), "what all have in common");
    assert_eq!(offered("x many_00").1.len(), 10);
}

/// What is said while names are fetched.
const FETCHING: &str = "fetching the names of linux 6.1.0-model over the link, once for this kernel; CTRL+C ends it";

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    folder
}

/// Would catch names that differ from those the machine itself lists, a kernel that is fetched again although it was kept, and
/// names of one boot that are told in another.
#[test]
fn names_come_out_of_memory_and_are_kept_for_the_next_boot() {
    let folder = folder("kept");
    let mut prompt = Prompt::halted();
    prompt.session.keep_in(folder.clone());
    assert_eq!(prompt.ok("r rip"), ["rip=ffffffff81000000"], "nothing is fetched to show a name");
    let mut fetched = prompt.ok("x *");
    assert_eq!(fetched.remove(0), FETCHING);
    let listed: Vec<String> = Prompt::vmi().ok("x *").into_iter().collect();
    assert_eq!(fetched, listed);
    assert_eq!(prompt.ok("lm"), Prompt::vmi().ok("lm"));
    assert_eq!(prompt.ok(".sym"), ["0x14 names of the kernel and 1 module, from the memory of linux 6.1.0-model"]);
    assert_eq!(prompt.ok("r rip"), ["rip=ffffffff81000000 (_stext)"]);
    assert_eq!(prompt.ok("pause")[1], "_stext:");
    assert!(prompt.ok("~")[1].ends_with("_stext"));
    assert_eq!(prompt.ok("u _stext l 1")[0], "_stext:");
    assert_eq!(prompt.ok("print msr!msr_open + 1"), ["ffffffffc0300011"]);

    // The same kernel after another boot, elsewhere.
    let moved = Linux::new(&elsewhere(), &MODULES.replace("ffffffffc03", "ffffffffc07"));
    let mut next = Prompt::new(Root { halted: true, linux: moved, ..Root::default() });
    next.session.keep_in(folder.clone());
    let mut kept = Prompt::halted();
    kept.session.keep_in(folder.clone());
    assert_eq!(kept.ok("pause")[1], "_stext:", "what was kept costs little");
    assert_eq!(kept.ok("print msr_open"), ["ffffffffc0300010"], "modules are read when they are asked for");
    assert_eq!(next.ok("? do_syscall_64"), ["ffffffff99000200"], "and no word of fetching");
    assert_eq!(next.ok("? msr_open"), ["ffffffffc0700010"]);

    // What was kept is broken: it is fetched anew.
    let kept = folder.join("names-00c0ffee");
    let bytes = fs::read(&kept).unwrap();
    fs::write(&kept, &bytes[..bytes.len() / 2]).unwrap();
    let mut third = Prompt::halted();
    third.session.keep_in(folder);
    assert_eq!(third.ok("? do_syscall_64"), [FETCHING, "ffffffff81000200"]);
    assert_eq!(fs::read(&kept).unwrap(), bytes);
}

/// Would catch names of a machine that was started anew, and modules over a link that are those of before.
#[test]
fn another_load_and_other_modules_are_noticed_over_a_link() {
    let mut prompt = Prompt::halted();
    assert_eq!(prompt.ok("? do_syscall_64").last().map(String::as_str), Some("ffffffff81000200"));
    {
        let mut root = prompt.root.lock().unwrap();
        let names = NAMES.replace("msr_read", "msr_write").replace("[msr]", "[msw]");
        root.linux = Linux::new(&names, &MODULES.replace("msr", "msw"));
    }
    assert_eq!(prompt.ok("? msw!msr_write"), ["ffffffffc0300100"], "a name that is missing is looked for once more");
    assert_eq!(prompt.ok("print msr_write"), ["ffffffffc0300100"]);
    assert!(prompt.ok("lm").last().unwrap().ends_with("msw"));
    {
        let mut root = prompt.root.lock().unwrap();
        root.boot_id += 1;
        root.linux = Linux::new(&elsewhere(), MODULES);
    }
    prompt.ok(".status");
    assert_eq!(prompt.ok("? do_syscall_64").last().map(String::as_str), Some("ffffffff99000200"));
}

/// Would catch memory that is believed although it makes no sense, and a file that is taken for another machine's.
#[test]
fn what_is_wrong_in_memory_is_told_and_a_file_helps() {
    let mut broken = Linux::default();
    broken.notes = [0; abi::request::note::NOTES];
    let mut prompt = Prompt::new(Root { halted: true, linux: broken, ..Root::default() });
    let refused = prompt.err("x *");
    assert_eq!(
        refused[0],
        "err, no names of the kernel are known: the debuggee's kernel did not say where they lie in its memory"
    );
    for line in ["? do_syscall_64", "print do_syscall_64"] {
        assert!(prompt.err(line).join("\n").contains("did not say where they lie"), "{line}");
    }
    let mut elsewhere_note = Linux::default();
    elsewhere_note.notes[abi::request::note::CRASH_NOTE] += 4;
    let mut prompt = Prompt::new(Root { halted: true, linux: elsewhere_note, ..Root::default() });
    assert!(prompt.err("lm")[0].contains("its note is not what it should be"));

    let mut prompt = Prompt::halted();
    let moved = file("over-link", &elsewhere());
    let said = prompt.ok(&format!(".sym load {}", moved.display()));
    assert_eq!(said[1], "the kernel lies elsewhere than in the file: its names were moved by -0x18000000");
    assert_eq!(prompt.ok("? do_syscall_64"), ["ffffffff81000200"]);
    prompt.err("? msr_open");
    prompt.ok(".sym reload");
    assert_eq!(prompt.ok("? msr_open"), ["ffffffffc0300010"]);
}

/// Would catch a hook inside of an instruction, a refusal of one that is at its beginning, and a line that is offered and is refused
/// again.
#[test]
fn a_hook_inside_of_an_instruction_is_refused_with_the_two_around_it() {
    let mut prompt = Prompt::vmi();
    for at in ["startup_64", "startup_64+1", "startup_64+2", "startup_64+4", "startup_64+9"] {
        prompt.ok(&format!("!epthook {at} script {{ .n = .n + 1; }}"));
    }
    let refused = prompt.err("!epthook startup_64+5 script { .n = 1; }");
    assert_eq!(refused[0], "err, ffffffff81000005 is inside of an instruction");
    assert!(refused.iter().any(|line| line.trim() == "it begins at ffffffff81000004, and the next one at ffffffff81000009"));
    let offered = try_line(&refused).unwrap().to_owned();
    assert_eq!(offered, "!epthook ffffffff81000004 script { .n = 1; }");
    prompt.ok(&offered);
    assert_eq!(
        prompt.err("!epthook startup_64 startup_64 script { .n = 1; }")[0],
        "err, couldn't resolve error at 'startup_64'"
    );
}

/// Would catch a hook on the place of the kernel's tracer, where that one would find a breakpoint; one that is moved in silence, or for
/// nothing; and one that is hidden in silence.
#[test]
fn a_fast_hook_is_behind_the_place_of_the_tracer_and_says_how_it_is() {
    let mut prompt = Prompt::vmi();
    let script = "script { .n = .n + 1; }";
    let mut said = |line: &str| prompt.ok(line).join("\n");
    assert!(said(&format!("!epthook startup_64 fast {script}")).ends_with(", fast"));
    said("eb startup_64 0f 1f 44 00 00");
    let moved = said(&format!("!epthook FAST startup_64 {script}"));
    assert!(moved.ends_with(", fast at ffffffff81000005: behind the place that the kernel keeps for its tracer"), "{moved}");
    assert!(said(&format!("!epthook startup_64 {script}")).ends_with("bytes"), "a hidden one may be anywhere");
    said("eb startup_64 f3 0f 1e fa 0f 1f 44 00 00");
    assert!(said(&format!("!epthook startup_64 fast {script}")).ends_with(", fast"));
    assert!(said(&format!("!epthook startup_64+4 fast {script}")).contains(", fast at ffffffff81000009: "));
    let hidden = said(&format!("!epthook 555555554000 fast {script}"));
    assert!(
        hidden.ends_with(", hidden: the kernel copies and moves pages of programs, and would copy the breakpoint"),
        "{hidden}"
    );
    assert_eq!(prompt.err(&format!("!epthook startup_64 fast fast {script}"))[0], "err, 'fast' stands there twice");
    assert_eq!(prompt.err(&format!("!monitor w startup_64 l 8 fast {script}"))[0], "err, only a hook can be fast");
}
