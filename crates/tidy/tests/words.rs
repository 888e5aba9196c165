//! Words that stand only where they belong: vendors' in `arch/`, Linux' in `module/`, no notes to oneself, no machine.

use std::collections::HashSet;
use tidy::File;

/// Words of one vendor's manual, lower case; identifiers are taken apart at `_`.
const VENDOR: [&str; 36] = [
    "amd", "asid", "clgi", "ept", "eptp", "hsave", "hygon", "intel", "invept", "invlpga", "invvpid", "iopm", "msrpm", "npf",
    "npt", "skinit", "stgi", "svm", "svmdis", "svme", "vmcall", "vmcb", "vmclear", "vmcs", "vmentry", "vmexit", "vmlaunch",
    "vmload", "vmmcall", "vmptrld", "vmread", "vmresume", "vmrun", "vmsave", "vmwrite", "vmx",
];

/// Files that may use some of them.
const VENDOR_ALLOWED: [(&str, &[&str], &str); 17] = [
    ("crates/abi/src/boot.rs", &["vmmcall", "vmcall"], "the calling convention of the hypercalls"),
    (
        "crates/abi/src/code.rs",
        &["amd", "ept", "intel", "invept", "svm", "svmdis", "svme", "vmx"],
        "a code says which feature a processor lacks",
    ),
    ("crates/abi/src/request.rs", &["amd", "svm"], "the back end's name, as an example"),
    ("crates/debugger/src/commands/vmcall.rs", &["vmcall"], "the documented name of a command, whatever the processor has"),
    ("crates/debugger/src/event.rs", &["vmcall"], "likewise"),
    ("crates/debugger/src/commands/crwrite.rs", &["intel"], "a person must know what is not told of there"),
    ("crates/debugger/src/commands/load.rs", &["vmx"], "`load vmm`, mistyped"),
    (
        "crates/debugger/src/host/mod.rs",
        &["amd", "hygon", "intel"],
        "makers' names, and the kernel's own modules that hold the extension",
    ),
    (
        "crates/debugger/src/host/processor.rs",
        &["amd", "ept", "intel", "npt", "svm", "vmx"],
        "the words by which Linux names its parts",
    ),
    (
        "crates/debugger/src/host/texts.rs",
        &["amd", "intel", "svm", "vmx"],
        "likewise, and the kernel's own modules that hold it",
    ),
    ("crates/debugger/src/commands/doctor.rs", &["amd", "svm"], "an example shows what it prints of a machine"),
    (
        "crates/debugger/src/say/load.rs",
        &["amd", "ept", "intel", "invept", "svm", "svmdis", "svme", "vmx"],
        "what a processor lacks, and what a person must change in the firmware",
    ),
    ("crates/image/src/main.rs", &["amd", "intel", "svm", "vmx"], "the one place that chooses a back end"),
    ("module/cores.c", &["vmcall", "vmmcall"], "the instruction of the hypercalls, by the kernel's own feature bit"),
    ("crates/debugger/src/assemble.rs", &["intel"], "the assembler's syntax is called so, whoever made the processor"),
    ("crates/debugger/src/disassembly.rs", &["intel"], "likewise, of the disassembler"),
    ("crates/debugger/src/commands/cpuid.rs", &["intel"], "a person must know which syntax is meant"),
];

/// Names of the kernel's own.
const LINUX: [&str; 33] = [
    "cpuhp",
    "copy_from_user",
    "copy_to_user",
    "debugfs",
    "ftrace",
    "gfp_kernel",
    "insmod",
    "jiffies",
    "kallsyms",
    "kmalloc",
    "kprobe",
    "kprobes",
    "kthread",
    "kzalloc",
    "mm_struct",
    "modprobe",
    "on_each_cpu",
    "printk",
    "procfs",
    "rcu",
    "rmmod",
    "schedule_work",
    "softlockup",
    "stop_machine",
    "synchronize_rcu",
    "sysfs",
    "task_struct",
    "vm_area_struct",
    "vma",
    "vmalloc",
    "vmlinux",
    "workqueue",
    "xarray",
];

/// Files that may use some of them.
const LINUX_ALLOWED: [(&str, &[&str], &str); 5] = [
    ("crates/debugger/src/say.rs", &["insmod"], "what a person must type in a shell"),
    ("crates/debugger/src/say/load.rs", &["rmmod"], "likewise"),
    ("crates/debugger/src/say/doctor.rs", &["insmod"], "likewise"),
    ("crates/hypervisor/src/entry.rs", &["stop_machine"], "a SAFETY comment names what the module promises"),
    ("crates/hypervisor/src/line.rs", &["stop_machine"], "a SAFETY comment names what the module promises"),
];

/// Where the system that is debugged is known by name: its symbols, and what the prompt says of them.
const OF_LINUX: [&str; 10] = [
    "crates/symbols/",
    "crates/debugger/src/names",
    "crates/debugger/src/say/names.rs",
    "crates/debugger/src/expr.rs",
    "crates/debugger/src/target/fake/linux.rs",
    "crates/debugger/src/target/fake/tasks.rs",
    "crates/debugger/src/commands/x.rs",
    "crates/debugger/src/commands/lm.rs",
    "crates/debugger/src/commands/sym.rs",
    "crates/debugger/src/commands/dt.rs",
];

/// Files of the machine that is debugged and of this room: they speak of everything.
const OF_ALL_WORDS: [&str; 2] = ["crates/lab/", "crates/tidy/"];

fn sources(files: &[File]) -> impl Iterator<Item = &File> {
    let in_scope = |path: &str| path.starts_with("crates/") && path.contains("/src/") || path.starts_with("include/");
    files.iter().filter(move |file| {
        file.is(&["rs", "c", "h", "S"])
            && (in_scope(&file.path) || file.path.starts_with("module/"))
            && !OF_ALL_WORDS.iter().any(|room| file.path.starts_with(room))
    })
}

/// Words found, by the rules of their list, and exceptions that nothing needs.
fn misplaced<'a>(
    files: impl Iterator<Item = &'a File>,
    words: &[&str],
    apart_at: impl Fn(char) -> bool + Copy,
    allowed: &[(&str, &[&str], &str)],
) -> Vec<String> {
    let mut found = Vec::new();
    let mut used = HashSet::new();
    for file in files {
        for (number, line) in file.lines() {
            for word in line.split(apart_at).map(str::to_lowercase).filter(|word| words.contains(&word.as_str())) {
                let entry = allowed.iter().find(|(path, known, _)| *path == file.path && known.contains(&word.as_str()));
                match entry {
                    Some((path, ..)) => drop(used.insert((*path, word))),
                    None => found.push(format!("{}:{number}: {word}", file.path)),
                }
            }
        }
    }
    for (path, known, _) in allowed {
        let needless = known.iter().filter(|word| !used.contains(&(*path, (**word).to_owned())));
        found.extend(needless.map(|word| format!("{path}: nothing there says {word} any more; take it off the list")));
    }
    found
}

/// Would catch a decision above `arch/` that is made for one vendor's machine.
#[test]
fn words_of_a_vendor_stay_in_arch() {
    let files = tidy::files();
    let above = sources(&files).filter(|file| !file.path.starts_with("crates/hypervisor/src/arch/"));
    let wrong = misplaced(above, &VENDOR, |c| !c.is_ascii_alphanumeric(), &VENDOR_ALLOWED);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Would catch root learning how Linux is built inside.
#[test]
fn words_of_linux_stay_in_the_module() {
    let files = tidy::files();
    let inside = |path: &str| OF_LINUX.iter().chain(&["module/", "include/"]).any(|part| path.starts_with(part));
    let outside = sources(&files).filter(|file| !inside(&file.path));
    let wrong = misplaced(outside, &LINUX, |c| !c.is_ascii_alphanumeric() && c != '_', &LINUX_ALLOWED);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Would catch a stub that is called done, and a note to oneself where an issue belongs.
#[test]
fn nothing_is_left_to_be_done_in_the_text() {
    let marks = ["todo!(", "unimplemented!(", "FIXME", "XXX", "TODO", "HACK"];
    let mut wrong = Vec::new();
    for file in tidy::files().iter().filter(|file| !file.path.starts_with("crates/tidy/")) {
        for (number, line) in file.lines() {
            let marked = marks.iter().any(|mark| line.contains(mark));
            let names_them = file.path == "CONTRIBUTING.md" && line.contains('`');
            if marked && !names_them {
                wrong.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Would catch a path or a package registry of the machine that somebody worked on.
#[test]
fn no_machine_and_no_registry_is_named() {
    // Written in halves, so that this file does not name them either.
    let marks = [
        ("/wor", "k/"),
        ("/hom", "e/"),
        ("/roo", "t/"),
        ("/User", "s/"),
        ("crates.", "io"),
        ("pypi.", "org"),
        ("npmjs.", "org"),
        ("debian.", "org"),
        ("golang.", "org"),
    ];
    let marks = marks.map(|(front, back)| format!("{front}{back}"));
    let mut wrong = Vec::new();
    for file in tidy::files() {
        for (number, line) in file.lines() {
            // cargo's own name for the index that everybody uses; a mirror's would be another.
            let cargos = file.path.ends_with("Cargo.lock")
                && line == format!("source = \"registry+https://github.com/rust-lang/{}-index\"", marks[4]);
            if !cargos && marks.iter().any(|mark| line.contains(mark)) {
                wrong.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
