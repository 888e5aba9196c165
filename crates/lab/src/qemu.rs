//! QEMU's command line: which machine the guest is.
//!
//! Each serial port has an interrupt of its own (the ACPI tables tell Linux). No network, no disk, no display. QEMU listens
//! at the link's socket and connects to all others, so the lab hears every byte from the first on.

use crate::{
    child::{Child, mortal},
    emulator::{Hardware, file},
    error::{At, Error},
    run::Run,
};
use std::{fmt, fs::File, path::Path, process::Stdio, str::FromStr};

/// What executes the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// QEMU's own translator; has AMD SVM with nested paging on any host.
    Tcg,
    /// The host's processor, with nested virtualization.
    Kvm,
}

impl FromStr for Accel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "tcg" => Ok(Self::Tcg),
            "kvm" => Ok(Self::Kvm),
            other => Err(format!("`{other}` is neither tcg nor kvm")),
        }
    }
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
        })
    }
}

/// Debian's program.
const PROGRAM: &str = "qemu-system-x86_64";

/// What every guest's kernel is told. The console shows everything; panics end the machine; TCG's timer may be late
/// while the host is busy, which is no reason to panic; the time stamp counters of emulated processors agree, though
/// no CPUID bit says so.
const KERNEL_ARGUMENTS: &str = "console=ttyS0,115200 loglevel=7 panic=-1 no_timer_check tsc=reliable";
/// And what a kernel is told whose processors run in threads of their own. Linux patches itself as it boots (static keys):
/// INT3, the new bytes, the first byte. QEMU 7.2 looks for code that a write changes before it knows of the code that
/// another thread translates at that moment, so that thread may keep the INT3 for ever: Linux sees that none is there any
/// more, tries again, and the guest stands still in its timer's interrupt. So the others come when that is over (`/init`),
/// and locks are not patched for their sake.
const ONE_BY_ONE: &str = " maxcpus=1 noreplace-smp";

pub(crate) fn kernel_arguments(hardware: &Hardware) -> String {
    let threads = hardware.accel == Accel::Tcg && !hardware.icount && hardware.cpus > 1;
    format!("{KERNEL_ARGUMENTS}{}", if threads { ONE_BY_ONE } else { "" })
}

fn arguments(hardware: &Hardware, kernel: &Path, kernel_arguments: &str) -> Vec<String> {
    let mut arguments: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
    add(&["-nodefaults", "-no-user-config", "-display", "none", "-name", "hyperdbg-lab"]);
    match (hardware.accel, hardware.icount) {
        (Accel::Tcg, false) => add(&["-accel", "tcg,thread=multi"]),
        (Accel::Tcg, true) => add(&["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]),
        (Accel::Kvm, _) => add(&["-accel", "kvm"]),
    }
    let cpu = match (&hardware.cpu, hardware.accel) {
        (Some(cpu), _) => cpu,
        (None, Accel::Tcg) => "EPYC,+svm,+npt",
        (None, Accel::Kvm) => "host",
    };
    add(&["-cpu", cpu, "-smp", &hardware.cpus.to_string(), "-m", &format!("{}M", hardware.memory_mib)]);
    if !hardware.reboots {
        add(&["-no-reboot"]);
    }
    add(&["-kernel", &kernel.to_string_lossy(), "-initrd", file::INITRAMFS, "-append", kernel_arguments]);
    add(&["-chardev", &format!("file,id=console,path={}", file::CONSOLE), "-device", "isa-serial,index=0,chardev=console"]);
    add(&["-chardev", &format!("socket,id=link,path={},server=on,wait=off", file::LINK)]);
    add(&["-device", "isa-serial,index=1,chardev=link"]);
    add(&["-chardev", &format!("socket,id=control,path={}", file::CONTROL)]);
    add(&["-device", "isa-serial,index=2,chardev=control,iobase=0x3e8,irq=5"]);
    add(&["-chardev", &format!("socket,id=terminal,path={}", file::TERMINAL)]);
    add(&["-device", "isa-serial,index=3,chardev=terminal,iobase=0x2e8,irq=10"]);
    add(&["-chardev", &format!("socket,id=monitor,path={}", file::MONITOR), "-mon", "chardev=monitor,mode=control"]);
    arguments
}

/// Starts QEMU in the run's folder, where the initramfs and the sockets it connects to already are.
pub(crate) fn start(hardware: &Hardware, run: &Run, kernel: &Path, kernel_arguments: &str) -> Result<Child, Error> {
    let said = run.path(file::SAID);
    let said = File::create(&said).at("make", &said)?;
    let mut command = mortal(hardware.program.as_deref().unwrap_or(Path::new(PROGRAM)));
    command.args(arguments(hardware, kernel, kernel_arguments));
    command.current_dir(run.folder()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
    Child::start(command)
}

/// What QEMU said, without its list of processor features that TCG does not have.
pub(crate) fn said(run: &Run) -> String {
    let text = std::fs::read(run.path(file::SAID)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().filter(|line| !line.contains("TCG doesn't support requested feature")).collect::<Vec<_>>().join("\n")
}

/// Whether the host lets a guest of KVM's have SVM or VT-x.
///
/// # Errors
/// [`Error::NoKvm`] says what is missing.
pub fn check_kvm() -> Result<(), Error> {
    let device = Path::new("/dev/kvm");
    File::options().read(true).write(true).open(device).map_err(|error| Error::NoKvm(format!("/dev/kvm: {error}")))?;
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if !processor.split_ascii_whitespace().any(|word| matches!(word, "svm" | "vmx")) {
        return Err(Error::NoKvm("this processor shows neither SVM nor VT-x".into()));
    }
    let nested = |module: &str| std::fs::read_to_string(format!("/sys/module/{module}/parameters/nested"));
    match nested("kvm_amd").or_else(|_| nested("kvm_intel")) {
        Ok(text) if matches!(text.trim(), "1" | "Y") => Ok(()),
        Ok(_) => Err(Error::NoKvm("nested virtualization is off (module parameter `nested` of kvm_amd or kvm_intel)".into())),
        Err(_) => Err(Error::NoKvm("the host does not say whether it has nested virtualization".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(hardware: &Hardware) -> String {
        arguments(hardware, Path::new("vmlinuz"), "quiet").join(" ")
    }

    /// Would catch a guest without SVM, and two ports on one interrupt, one of which root will own.
    #[test]
    fn the_machine_has_svm_and_an_interrupt_for_each_port() {
        let line = line(&Hardware::default());
        assert!(line.contains("-cpu EPYC,+svm,+npt -smp 2"), "{line}");
        assert!(line.contains("iobase=0x3e8,irq=5") && line.contains("iobase=0x2e8,irq=10"), "{line}");
        assert!(line.contains("-no-reboot"), "{line}");
    }

    /// Would catch a guest whose other processors translate what the first one patches.
    #[test]
    fn the_first_processor_boots_alone_if_the_others_are_threads() {
        assert!(kernel_arguments(&Hardware::default()).contains("maxcpus=1"));
        assert!(!kernel_arguments(&Hardware { icount: true, cpus: 1, ..Hardware::default() }).contains("maxcpus"));
    }

    /// Would catch an instruction count that several threads disturb.
    #[test]
    fn counting_instructions_takes_one_thread() {
        let line = line(&Hardware { icount: true, ..Hardware::default() });
        assert!(line.contains("tcg,thread=single -icount shift=0,sleep=off"), "{line}");
    }
}
