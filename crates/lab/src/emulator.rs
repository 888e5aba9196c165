//! What emulates the guest: QEMU for AMD's processors, Bochs for Intel's. Everything else of the lab asks here.
//!
//! Both have four serial ports: COM1 is the console and goes to a file, COM2 the debugger's link, COM3 the control channel,
//! COM4 a terminal. Both listen at the link's socket, one client at a time, and connect to the lab's sockets of the two others;
//! so who sits at a socket's other end does not know which of them runs. QEMU alone has a monitor.
//!
//! **Callers**: [`crate::builder`] sets one up and starts it; [`crate::process`] asks for names and last words.
//! **Proof**: `tests/vendors.rs`, one text for both.

use crate::{
    bochs::Bochs,
    child::Child,
    error::Error,
    packages,
    qemu::{self, Accel},
    run::Run,
    setup::Lab,
};
use std::{env, fmt, path::PathBuf, str::FromStr};

/// Who made the guest's processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Vendor {
    /// SVM and nested paging, by QEMU.
    #[default]
    Amd,
    /// VT-x and EPT, by Bochs.
    Intel,
}

impl FromStr for Vendor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "amd" => Ok(Self::Amd),
            "intel" => Ok(Self::Intel),
            other => Err(format!("`{other}` is neither amd nor intel")),
        }
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amd => "amd",
            Self::Intel => "intel",
        })
    }
}

/// The environment variable that says whose processor a guest has for which nobody says it: `amd` or `intel`.
pub const VENDOR: &str = "HYPERDBG_VENDOR";
/// The one that says which model, in the emulator's words, where none is named.
pub const MODEL: &str = "HYPERDBG_CPU";
/// The one that says how many processors, where nobody does.
pub const CPUS: &str = "HYPERDBG_CPUS";

/// What a variable says; empty is nothing.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
}

/// How many processors a guest has for which nobody says it: [`CPUS`], or else 2.
///
/// # Errors
/// [`Error::Variable`] if it is no number.
pub(crate) fn usual_cpus() -> Result<u32, Error> {
    let parse =
        |value: String| value.parse().map_err(|_| Error::Variable { name: CPUS, why: format!("`{value}` is no number") });
    variable(CPUS).map_or(Ok(Hardware::default().cpus), parse)
}

/// What the kernel leaves out of its boot that no guest here needs and an emulator is slow at: tests of its ciphers, the
/// names of constants in the formats of trace events, the keys of those who sign modules. A third of the time under QEMU.
const QUICK_BOOT: &str = "cryptomgr.notests initcall_blacklist=trace_eval_init,load_system_certificate_list";

impl Vendor {
    /// Who makes the processors of guests for which nobody says it: [`VENDOR`], or else AMD.
    ///
    /// # Errors
    /// [`Error::Variable`] if it is none of the two.
    pub fn usual() -> Result<Self, Error> {
        match variable(VENDOR) {
            Some(value) => value.parse().map_err(|why| Error::Variable { name: VENDOR, why }),
            None => Ok(Self::default()),
        }
    }

    /// What root's back end calls itself on such a processor.
    #[must_use]
    pub fn back_end(self) -> &'static str {
        match self {
            Self::Amd => "AMD SVM",
            Self::Intel => "Intel VT-x",
        }
    }

    /// What emulates such a processor.
    #[must_use]
    pub fn emulator(self) -> &'static str {
        match self {
            Self::Amd => "QEMU",
            Self::Intel => "Bochs",
        }
    }

    /// How many seconds may pass while a busy guest has one: Bochs' clock is its instructions. All limits of waiting for a guest
    /// are that much longer.
    #[must_use]
    pub fn slowness(self) -> u32 {
        match self {
            Self::Amd => 1,
            Self::Intel => 5,
        }
    }

    /// What the emulator said about a guest, without what it says about every guest.
    pub(crate) fn said(self, run: &Run) -> String {
        match self {
            Self::Amd => qemu::said(run),
            Self::Intel => crate::bochs::said(run),
        }
    }
}

/// The machine to emulate.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// Who made the processor.
    pub vendor: Vendor,
    /// Another program than the one that the lab sets up for this vendor.
    pub program: Option<PathBuf>,
    /// What executes the guest (QEMU).
    pub accel: Accel,
    /// The processor's model in the emulator's words: QEMU's `-cpu`, Bochs' `cpu: model`. `None` takes one with SVM or VT-x.
    pub cpu: Option<String>,
    /// Processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Deterministic: time is retired instructions, one processor in one thread (not with KVM; Bochs always counts so).
    pub icount: bool,
    /// The guest may boot again; otherwise a reboot ends the emulator.
    pub reboots: bool,
}

impl Default for Hardware {
    fn default() -> Self {
        Self {
            vendor: Vendor::Amd,
            program: None,
            accel: Accel::Tcg,
            cpu: None,
            cpus: 2,
            memory_mib: 1024,
            icount: false,
            reboots: false,
        }
    }
}

/// Names of files in the run's folder.
pub(crate) mod file {
    pub(crate) const CONSOLE: &str = "console.log";
    pub(crate) const LINK: &str = "link.sock";
    pub(crate) const CONTROL: &str = "control.sock";
    pub(crate) const TERMINAL: &str = "terminal.sock";
    pub(crate) const MONITOR: &str = "monitor.sock";
    pub(crate) const INITRAMFS: &str = "initramfs.cpio";
    /// What the emulator wrote to its terminal.
    pub(crate) const SAID: &str = "emulator.log";
    /// Where the processors were when a wait ran out.
    pub(crate) const PROCESSORS: &str = "processors.log";
}

/// An emulator that is there, to be started.
pub(crate) enum Emulator {
    Qemu,
    Bochs(Bochs),
}

impl Emulator {
    /// Installs or builds what this machine needs.
    pub(crate) fn set_up(lab: &Lab, hardware: &Hardware) -> Result<Self, Error> {
        match hardware.vendor {
            Vendor::Amd => {
                if hardware.accel == Accel::Kvm {
                    qemu::check_kvm()?;
                }
                if hardware.program.is_none() {
                    lab.packages(&[packages::qemu()])?;
                }
                Ok(Self::Qemu)
            }
            Vendor::Intel => {
                if hardware.accel == Accel::Kvm {
                    return Err(Error::NoKvm(
                        "Intel's processors are emulated by Bochs; leave --accel or --vendor away".into(),
                    ));
                }
                lab.bochs(hardware.program.as_deref()).map(Self::Bochs)
            }
        }
    }

    /// What the kernel is told on this emulator.
    pub(crate) fn kernel_arguments(&self, hardware: &Hardware) -> String {
        let words = match self {
            Self::Qemu => qemu::kernel_arguments(hardware),
            Self::Bochs(_) => crate::bochs::kernel_arguments(hardware),
        };
        format!("{words} {QUICK_BOOT}")
    }

    /// Starts it in the run's folder, where the initramfs and the sockets it connects to already are.
    pub(crate) fn start(&self, hardware: &Hardware, run: &Run, kernel: &std::path::Path, words: &str) -> Result<Child, Error> {
        match self {
            Self::Qemu => qemu::start(hardware, run, kernel, words),
            Self::Bochs(bochs) => bochs.start(hardware, run, kernel, words),
        }
    }
}
