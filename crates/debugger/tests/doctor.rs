//! What `doctor` makes of machines: recorded ones against golden files (`UPDATE=1` writes them anew), and single facts changed.
//!
//! A recording in `tests/hosts/` is `== PATH` before each text of [`debugger::host::texts`], as the machine said it; `cpuid` is
//! what the processor says and Linux does not.

mod common;

use common::Prompt;
use debugger::host::kernel::Kernel;
use debugger::host::processor::Processor;
use debugger::host::texts::Texts;
use debugger::say::doctor::{self, Effect, Fact, Verdict};
use debugger::session::{Look, Verdict as Done};
use debugger::target::fake::Root;
use proptest::prelude::*;
use std::path::Path;

const EPYC: &str = include_str!("hosts/epyc-qemu.txt");
const SKYLAKE: &str = include_str!("hosts/skylake-x-bochs.txt");

fn facts(texts: &Texts) -> (Verdict, String, Vec<Fact>) {
    let processor = Processor::of(texts);
    let kernel = Kernel::of(texts, &processor);
    let facts = doctor::facts(&processor, &kernel);
    let (verdict, message) = doctor::verdict(&facts, &processor, &kernel);
    (verdict, message, facts)
}

/// Would catch a machine that is judged by another one's rules, a line that differs by a character, and one that does not fit
/// the screen.
#[test]
fn recorded_machines_are_judged_and_told_so_on_one_screen() {
    let machines = [
        ("epyc-qemu", Done::Done),
        ("epyc-firecracker", Done::Failed),
        ("skylake-x-bochs", Done::Done),
        ("arrandale-bochs", Done::Done),
        ("penryn-bochs", Done::Failed),
    ];
    for (name, expected) in machines {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let recorded = std::fs::read_to_string(folder.join(format!("hosts/{name}.txt"))).unwrap();
        let mut prompt = Prompt::on(Root { link: false, ..Root::default() }, Look::default(), 80);
        prompt.session.is_on(Texts::recorded(&recorded));
        let (verdict, printed) = prompt.typed("doctor");
        assert_eq!(verdict, expected, "{name}: {printed:#?}");
        assert!(printed.len() < 24 && printed.iter().all(|line| line.chars().count() <= 80), "{name}: {printed:#?}");
        let (path, text) = (folder.join(format!("golden/doctor-{name}.txt")), printed.join("\n") + "\n");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(golden, text, "{}: if this is what it shall be, run with UPDATE=1", path.display());
    }
}

/// A machine with one thing changed must be refused for that alone, in words that name it and what helps.
fn refused_for(texts: &Texts, what: &str, helps: &str) {
    let (verdict, message, facts) = facts(texts);
    let refused: Vec<&Fact> = facts.iter().filter(|fact| fact.effect == Effect::Refused).collect();
    assert_eq!((verdict, refused.len()), (Verdict::Refused, 1), "{what}: {facts:#?}");
    assert_eq!(message, "`load` will not work here, for one reason: see `refused` above");
    let follows = refused[0].follows.clone().unwrap_or_default();
    assert!(refused[0].fact.contains(what) && follows.contains(helps), "{what}, {helps}: {:#?}", refused[0]);
}

/// The recorded machine with other flags of its processor.
fn with_flags(recorded: &str, from: &str, to: &str) -> Texts {
    assert!(recorded.contains(from), "{from}");
    Texts::recorded(&recorded.replace(from, to))
}

/// Would catch a load that is refused on a machine of which the doctor said that it works, or the wrong advice.
#[test]
fn what_load_refuses_the_doctor_foretells() {
    let epyc = || Texts::recorded(EPYC);
    refused_for(&with_flags(EPYC, " svm ", " "), "the firmware has disabled SVM", "enable SVM (AMD-V)");
    refused_for(&with_flags(EPYC, " svm ", " ").with("cpuid", None), "this processor lacks SVM", "nested virtualization");
    refused_for(&with_flags(EPYC, " npt", ""), "this processor lacks nested paging", "");
    refused_for(&with_flags(EPYC, " pdpe1gb", ""), "this processor lacks pages of 1 GiB", "");
    refused_for(&with_flags(EPYC, "AuthenticAMD", "CentaurHauls"), "neither AMD's nor Intel's", "");
    refused_for(&with_flags(EPYC, " nx ", " nx la57 "), "five-level page tables", "no5lvl");
    let sme = || with_flags(EPYC, " nx ", " nx sme ");
    refused_for(&sme().with("/proc/cmdline", Some("quiet mem_encrypt=on")), "encrypted memory (SME)", "mem_encrypt=off");
    let default = "CONFIG_AMD_MEM_ENCRYPT_ACTIVE_BY_DEFAULT=y";
    refused_for(&sme().with("/boot/config", Some(default)), "encrypted memory (SME)", "mem_encrypt=off");
    let possible = "/sys/devices/system/cpu/possible";
    refused_for(&epyc().with(possible, Some("0-256\n")), "more than 256 cores", "nr_cpus=256");
    let zone = "Node 1, zone Normal\n  spanned 1073741824\n  start_pfn: 1073741824\n";
    refused_for(&epyc().with("/proc/zoneinfo", Some(zone)), "memory beyond 7 TiB", "mem=7T");

    let absent = || epyc().with("/dev/hyperdbg", None);
    refused_for(
        &absent().with("/sys/kernel/security/lockdown", Some("none [integrity] confidentiality")),
        "lockdown",
        "mokutil",
    );
    refused_for(&absent().with("/sys/module/module/parameters/sig_enforce", Some("Y\n")), "sig_enforce", "sign hyperkd.ko");
    refused_for(&absent().with("/proc/sys/kernel/modules_disabled", Some("1\n")), "kernel.modules_disabled", "boot again");
    refused_for(&absent().with("/proc/modules", None), "built without them", "");

    let kvm = |users: u32| format!("kvm_amd 155648 {users} - Live 0x0\nkvm 1032192 1 kvm_amd, Live 0x0\n");
    refused_for(&epyc().with("/proc/modules", Some(&kvm(1))), "SVM is in use already, by kvm_amd", "rmmod kvm_amd");
    let always = "/sys/module/kvm/parameters/enable_virt_at_load";
    let early = epyc().with(always, Some("Y\n"));
    refused_for(&early.clone().with("/proc/modules", Some(&kvm(0))), "SVM is in use already, by kvm_amd", "rmmod kvm_amd");
    let built_in = early.with("/sys/module/kvm_amd", Some(""));
    refused_for(&built_in, "SVM is in use already, by kvm_amd", "boot with kvm.enable_virt_at_load=0");

    refused_for(&with_flags(SKYLAKE, " vmx ", " "), "the firmware has disabled VT-x", "enable VT-x");
    refused_for(&with_flags(SKYLAKE, " vmx ", " ").with("cpuid", None), "this processor lacks VT-x", "");
    refused_for(&with_flags(SKYLAKE, " mtf", ""), "this processor lacks the monitor trap flag", "");
    let without = SKYLAKE.replace(" vnmi", "");
    refused_for(&Texts::recorded(&without), "this processor lacks virtual NMIs", "");
    let vbox = Texts::recorded(SKYLAKE).with("/proc/modules", Some("vboxdrv 1 3 vboxnetflt, Live 0x0\n"));
    refused_for(&vbox, "VT-x is in use already, by vboxdrv", "rmmod vboxdrv");
}

/// Would catch a machine that is refused for what root can do without, or for what is none of its business.
#[test]
fn what_load_takes_the_doctor_does_not_refuse() {
    let works = |texts: &Texts, effect: Effect, what: &str| {
        let (verdict, _, facts) = facts(texts);
        assert_eq!(verdict, Verdict::Works, "{what}: {facts:#?}");
        assert!(facts.iter().any(|fact| fact.effect == effect && fact.fact.contains(what)), "{what}: {facts:#?}");
    };
    let epyc = || Texts::recorded(EPYC);
    let idle = "kvm_amd 155648 0 - Live 0x0\nkvm 1032192 1 kvm_amd, Live 0x0\n";
    works(&epyc().with("/proc/modules", Some(idle)), Effect::Works, "kvm_amd is there, and nobody uses it");
    works(&epyc().with("/sys/module/kvm_amd", Some("")), Effect::ToDo, "kvm_amd is built into the kernel");
    works(&epyc().with("/sys/class/tty/ttyS1/type", Some("0\n")), Effect::Without, "no UART at COM2");
    works(&epyc().with("/sys/kernel/security/lockdown", Some("[none] integrity")), Effect::Works, "COM2 has a UART");
    works(&epyc().with("/proc/self/status", Some("Uid:\t1000\t1000\t1000\t1000\n")), Effect::ToDo, "only root may");
    works(&epyc().with("/dev/hyperdbg", None), Effect::ToDo, "hyperkd.ko is not in the kernel");
    works(&epyc().with("/proc/zoneinfo", None), Effect::Unknown, "Linux does not say");
    let sme = with_flags(EPYC, " nx ", " nx sme ");
    works(&sme.with("/proc/cmdline", Some("mem_encrypt=off")), Effect::Works, "page tables of four levels");
    works(&with_flags(SKYLAKE, " ept_x_only", ""), Effect::Without, "no page can be executed and not read");
    works(&with_flags(SKYLAKE, " ept_1gb", ""), Effect::Without, "no nested pages of 1 GiB");
    // A kernel before 5.6 names nothing but what all of them do.
    let old = SKYLAKE.lines().filter(|line| !line.starts_with("vmx flags")).collect::<Vec<_>>().join("\n");
    works(&Texts::recorded(&old), Effect::Unknown, "this kernel does not name its parts");
}

/// Would catch a doctor who sends people to load what is loaded, or finds root's own traces and calls them another's.
#[test]
fn under_root_it_says_so_whatever_else_there_is() {
    let texts = Texts::recorded(EPYC).with("cpuid", Some("inside: TCGTCGTCGTCG\nroot: 2\n"));
    let used = "kvm_amd 155648 1 - Live 0x0\n";
    for texts in [texts.clone(), texts.with("/proc/modules", Some(used))] {
        let (verdict, message, facts) = facts(&texts);
        assert_eq!((verdict, message.as_str()), (Verdict::Loaded, "the hypervisor is loaded on 2 cores"));
        assert!(!facts.iter().any(|fact| fact.effect == Effect::Refused), "{facts:#?}");
    }
}

/// Would catch advice about silicon that is given to a virtual machine, or kept from a real one.
#[test]
fn silicon_is_warned_of() {
    let (_, in_machine, _) = facts(&Texts::recorded(EPYC));
    let (_, metal, _) = facts(&Texts::recorded(EPYC).with("cpuid", Some("svm:\n")));
    assert_eq!(in_machine, "`load` should work here");
    assert!(metal.contains("nobody has tried it on silicon yet"), "{metal}");
}

/// Would catch a debugger's own machine that is taken for the debuggee.
#[test]
fn in_debugger_mode_it_says_whose_machine_it_looked_at() {
    let printed = Prompt::halted().ok("doctor");
    assert_eq!(printed[0], "about the machine of this prompt, not the debuggee:");
}

proptest! {
    /// Would catch a text that ends the program: files of other kernels are none of ours.
    #[test]
    fn any_text_is_read(text in r"(== (cpuid|/proc/(cpuinfo|modules|zoneinfo|meminfo|self/status)|/sys/devices/system/cpu/possible)\n([a-z_]+ ?:? ?[-0-9]{0,22}[ \n])*){0,6}") {
        let (verdict, ..) = facts(&Texts::recorded(&text));
        prop_assert!(verdict == Verdict::Loaded || verdict == Verdict::Refused);
    }
}
