//! Why the hypervisor cannot be loaded, in words: what is missing or in the way, and what to do about it.

use super::{Said, plain};
use crate::host::Maker;
use abi::boot::{CORES_MAX, DIRECT_BYTES_MAX};
use abi::code::{self, lack};

/// What a processor may lack of each maker's extension.
const PROCESSOR: [(u32, &str); 12] = [
    (lack::SVM, "SVM"),
    (lack::NESTED_PAGING, "nested paging"),
    (lack::GIB_PAGES, "pages of 1 GiB"),
    (lack::VMX, "VT-x"),
    (lack::EPT, "nested paging (EPT)"),
    (lack::MTF, "the monitor trap flag"),
    (lack::VIRTUAL_NMIS, "virtual NMIs"),
    (lack::TRUE_CONTROLS, "the true controls of VT-x"),
    (lack::LOAD_EFER, "loading of EFER at entry and exit"),
    (lack::INVEPT, "INVEPT of one and of all contexts"),
    (lack::EPT_2M, "EPT pages of 2 MiB"),
    (lack::MSR_BITMAPS, "MSR bitmaps"),
];

/// Those of them that are small: Linux does not name them.
const SMALL: u32 = lack::TRUE_CONTROLS | lack::LOAD_EFER | lack::INVEPT | lack::EPT_2M | lack::MSR_BITMAPS;

/// What a kernel may run with that root does not know, and the word that keeps it from that.
const KERNEL: [(u32, &str, &str); 4] = [
    (lack::LA57, "five-level page tables", "no5lvl"),
    (lack::SME, "encrypted memory (SME)", "mem_encrypt=off"),
    (lack::CORES, "more than 256 cores", "nr_cpus=256"),
    (lack::RAM, "memory beyond 7 TiB", "mem=7T"),
];
const _: () = assert!(CORES_MAX == 256 && DIRECT_BYTES_MAX == 7 << 40, "as the sentences say");

/// What of a table belongs to the bits that are set, or `else_` if none is known.
fn of_bits(names: impl Iterator<Item = (u32, &'static str)>, between: &str, detail: u32, else_: &str) -> String {
    let of_bits: Vec<&str> = names.filter(|(bit, _)| detail & bit != 0).map(|(_, name)| name).collect();
    if of_bits.is_empty() { else_.to_owned() } else { of_bits.join(between) }
}

/// What Linux does not name of Intel's extension.
pub(super) fn small_parts() -> String {
    of_bits(PROCESSOR.into_iter(), ", ", SMALL, "")
}

/// A maker's extension: its name, where it is locked, what says that it is used, what the firmware calls it.
pub(super) fn extension(maker: Option<Maker>) -> [&'static str; 4] {
    match maker {
        Some(Maker::Amd) => ["SVM", "VM_CR.SVMDIS", "EFER.SVME is set", "SVM (AMD-V)"],
        Some(Maker::Intel) => ["VT-x", "IA32_FEATURE_CONTROL", "CR4.VMXE is set", "VT-x (Intel Virtualization Technology)"],
        None | Some(Maker::Other) => {
            ["SVM or VT-x", "VM_CR or IA32_FEATURE_CONTROL", "EFER.SVME or CR4.VMXE is set", "virtualization"]
        }
    }
}

/// A load that was refused with this code.
pub(super) fn refused(code: u32, detail: u32, holders: &[String], maker: Option<Maker>) -> Said {
    let [name, lock, used, in_firmware] = extension(maker);
    match code {
        code::CPU_LACKS if detail & lack::VENDOR != 0 => {
            Said::of_root(code, "this processor is neither AMD's nor Intel's: root needs SVM or VT-x")
        }
        code::CPU_LACKS => {
            let missing = of_bits(PROCESSOR.into_iter(), ", ", detail, "what root needs");
            Said::of_root(code, format!("this processor lacks {missing}"))
                .help("a virtual machine has what its own hypervisor passes on (nested virtualization)")
        }
        code::CPU_LOCKED => Said::of_root(code, format!("the firmware has disabled {name} ({lock})"))
            .help(format!("enable {in_firmware} in the firmware's set-up and boot again")),
        code::CPU_IN_USE if holders.is_empty() => {
            Said::of_root(code, format!("another hypervisor uses {name} already ({used})"))
                .help("KVM, VirtualBox or VMware may; in a shell, to see who is there: lsmod | grep -E 'kvm|vbox|vmmon'")
        }
        code::CPU_IN_USE => Said::of_root(code, format!("{name} is in use already, by {}", holders.join(" and ")))
            .help(format!("stop its machines and, in a shell: rmmod {}", holders.join(" "))),
        code::KERNEL_UNSUPPORTED => {
            let names = KERNEL.iter().map(|(bit, name, _)| (*bit, *name));
            let what = of_bits(names, ", ", detail, "a state that root does not know");
            let words = of_bits(KERNEL.iter().map(|(bit, _, word)| (*bit, *word)), " ", detail, "");
            let said = Said::of_root(code, format!("this kernel runs with {what}"));
            if words.is_empty() { said } else { said.help(format!("boot it with {words}")) }
        }
        code::BOOT_MEMORY => {
            Said::of_root(code, "the memory handed over at load does not suffice for root itself").try_line("load")
        }
        code::KERNEL_OUT_OF_MEMORY => {
            Said::of_root(code, "linux could not give the pages of the bank").try_line("load bank 400")
        }
        code::NO_UART => {
            Said::of_root(code, "no UART answers at COM2 (0x2f8), so there is no link; nothing was loaded").try_line("load")
        }
        code::BOOT_VERSION => Said::of_root(code, "module and image are of different revisions; install both from one build"),
        code => plain(code, false),
    }
}
