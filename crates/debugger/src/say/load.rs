//! Why the hypervisor cannot be loaded, in words: what is missing or in the way, and what to do about it.

use super::{Said, plain};
use crate::host::Maker;
use abi::code::{self, lack};

/// What a processor may lack of each maker's extension.
const PROCESSOR: [(u32, &str); 12] = [
    (lack::SVM, "SVM"),
    (lack::NESTED_PAGING, "nested paging"),
    (lack::GIB_PAGES, "pages of 1 GiB"),
    (lack::VMX, "VT-x"),
    (lack::EPT, "nested paging (EPT) of four levels in write-back memory"),
    (lack::MTF, "the monitor trap flag"),
    (lack::VIRTUAL_NMIS, "virtual NMIs"),
    (lack::TRUE_CONTROLS, "the true controls of VT-x"),
    (lack::LOAD_EFER, "loading of EFER at entry and exit"),
    (lack::INVEPT, "INVEPT of one and of all contexts"),
    (lack::EPT_2M, "EPT pages of 2 MiB"),
    (lack::MSR_BITMAPS, "MSR bitmaps"),
];

/// What a kernel may run with that root does not know.
const KERNEL: [(u32, &str); 4] = [
    (lack::LA57, "five-level page tables"),
    (lack::SME, "encrypted memory (SME)"),
    (lack::CORES, "more than 256 cores"),
    (lack::RAM, "memory beyond 7 TiB"),
];

/// The names of the bits that are set, or `else_` if none is known.
fn named(names: &[(u32, &str)], detail: u32, else_: &str) -> String {
    let named: Vec<&str> = names.iter().filter(|(bit, _)| detail & bit != 0).map(|(_, name)| *name).collect();
    if named.is_empty() { else_.to_owned() } else { named.join(", ") }
}

/// A maker's extension: its name, where it is locked, what says that it is used, what the firmware calls it.
fn extension(maker: Option<Maker>) -> [&'static str; 4] {
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
            let missing = named(&PROCESSOR, detail, "what root needs");
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
            let what = named(&KERNEL, detail, "a state that root does not know");
            let said = Said::of_root(code, format!("this kernel runs with {what}"));
            match detail {
                lack::LA57 => said.help("boot it with no5lvl"),
                lack::SME => said.help("boot it with mem_encrypt=off"),
                _ => said,
            }
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
