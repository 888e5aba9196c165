//! The description of a guest, and how it comes up.

use crate::{
    emulator::{self, Emulator, Hardware, Vendor, file},
    error::{At, Error},
    initramfs::Files,
    machine::Machine,
    packages,
    process::Process,
    qemu::Accel,
    run::Run,
    setup::Lab,
};
use std::{
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
};

/// The word by which the guest's `/init` inserts `/hyperkd.ko`.
const INSMOD_ARGUMENT: &str = "hyperdbg.load";

/// A guest to be.
#[derive(Debug)]
#[must_use = "a builder does nothing until `boot`"]
pub struct Builder {
    hardware: Hardware,
    vendor: Option<Vendor>,
    cpus: Option<u32>,
    kernel_arguments: Vec<String>,
    hypervisor: bool,
    insmod: bool,
    files: Vec<(PathBuf, String, u32)>,
    programs: Vec<PathBuf>,
    guest_programs: Vec<PathBuf>,
    guest_modules: Vec<PathBuf>,
    kernel_modules: Vec<String>,
    stress: bool,
}

/// What a machine must know of the files in its guest.
#[derive(Default)]
pub(crate) struct Contents {
    /// Modules of Debian's: name, and paths in the order in which they are inserted.
    pub(crate) inserts: Vec<(String, Vec<String>)>,
    /// The program `hyperdbg` on the host.
    pub(crate) program: Option<PathBuf>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            hardware: Hardware::default(),
            vendor: None,
            cpus: None,
            kernel_arguments: Vec::new(),
            hypervisor: true,
            insmod: true,
            files: Vec::new(),
            programs: Vec::new(),
            guest_programs: Vec::new(),
            guest_modules: Vec::new(),
            kernel_modules: Vec::new(),
            stress: false,
        }
    }

    /// Processors. If not said, the environment decides ([`emulator::CPUS`]); else there are 2.
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = Some(cpus);
        self
    }

    /// Memory in MiB; 1024 if not said.
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.hardware.memory_mib = memory_mib;
        self
    }

    /// Who made the processor, which decides what emulates it. If not said, the environment does ([`Vendor::usual`]), and may
    /// name a model, too ([`emulator::MODEL`]); else it is AMD, by QEMU.
    pub fn vendor(mut self, vendor: Vendor) -> Self {
        self.vendor = Some(vendor);
        self
    }

    /// The processor's model in the emulator's words, such as `EPYC,-svm` (QEMU) or `corei7_haswell_4770` (Bochs).
    pub fn cpu(mut self, model: &str) -> Self {
        self.hardware.cpu = Some(model.to_owned());
        self
    }

    /// Another emulator than the one that is installed (QEMU) or built (Bochs).
    pub fn emulator(mut self, program: &Path) -> Self {
        self.hardware.program = Some(program.to_owned());
        self
    }

    /// What executes the guest; TCG if not said.
    pub fn accel(mut self, accel: Accel) -> Self {
        self.hardware.accel = accel;
        self
    }

    /// One processor whose time is retired instructions: counts repeat to the last digit.
    pub fn icount(mut self) -> Self {
        self.hardware.icount = true;
        self.cpus = Some(1);
        self
    }

    /// Lets the guest boot again when it reboots; see [`Machine::wait_reboot`].
    pub fn reboots(mut self) -> Self {
        self.hardware.reboots = true;
        self
    }

    /// Words to add to the kernel's command line, such as `nokaslr`.
    pub fn kernel_argument(mut self, words: &str) -> Self {
        self.kernel_arguments.push(words.to_owned());
        self
    }

    /// A guest without hyperkd.ko and hyperdbg; nothing of the project is built.
    pub fn without_hypervisor(mut self) -> Self {
        self.hypervisor = false;
        self
    }

    /// Leaves `/hyperkd.ko` for the caller to insert.
    pub fn without_insmod(mut self) -> Self {
        self.insmod = false;
        self
    }

    /// A file of the host's in the guest.
    pub fn with_file(mut self, host: &Path, guest: &str, mode: u32) -> Self {
        self.files.push((host.to_owned(), guest.to_owned(), mode));
        self
    }

    /// A program of the host's in the guest's `/bin`, with the shared libraries it needs.
    pub fn with_program(mut self, host: &Path) -> Self {
        self.programs.push(host.to_owned());
        self
    }

    /// stress-ng in the guest's `/bin`; installed on the host if it is missing there.
    pub fn with_stress_ng(mut self) -> Self {
        self.stress = true;
        self
    }

    /// A program made of one file of C, in the guest's `/bin` under the file's name without `.c`.
    pub fn with_guest_program(mut self, source: &Path) -> Self {
        self.guest_programs.push(source.to_owned());
        self
    }

    /// A kernel module made of a folder of C, in the guest's root as `/NAME.ko`.
    pub fn with_guest_module(mut self, sources: &Path) -> Self {
        self.guest_modules.push(sources.to_owned());
        self
    }

    /// A module of Debian's kernel, such as `msr`, and all that it needs; [`Machine::modprobe`] inserts them.
    pub fn with_kernel_module(mut self, name: &str) -> Self {
        self.kernel_modules.push(name.to_owned());
        self
    }

    /// Sets up what is missing, builds what is out of date, and boots.
    ///
    /// # Errors
    /// Those of the set-up; [`Error::Guest`] if the guest does not come up.
    pub fn boot(self) -> Result<Machine, Error> {
        self.boot_in(Lab::shared()?)
    }

    /// As [`Builder::boot`], in a lab of one's own.
    ///
    /// # Errors
    /// As [`Builder::boot`].
    pub fn boot_in(mut self, lab: &Lab) -> Result<Machine, Error> {
        if let Some(vendor) = self.vendor {
            self.hardware.vendor = vendor;
        } else {
            self.hardware.vendor = Vendor::usual()?;
            self.hardware.cpu = self.hardware.cpu.or_else(|| emulator::variable(emulator::MODEL));
        }
        self.hardware.cpus = match self.cpus {
            Some(cpus) => cpus,
            None => emulator::usual_cpus()?,
        };
        let emulator = Emulator::set_up(lab, &self.hardware)?;
        let kernel = lab.kernel()?;
        let mut contents = Contents::default();
        let files = self.files(lab, &mut contents)?;
        let run = Run::begin(lab.cache())?;
        files.write(&run.path(file::INITRAMFS))?;
        let listen = |name: &str| UnixListener::bind(run.path(name)).at("listen at", &run.path(name));
        let sockets = [listen(file::CONTROL)?, listen(file::TERMINAL)?, listen(file::MONITOR)?];
        let insmod = (self.hypervisor && self.insmod).then_some(INSMOD_ARGUMENT);
        let more = self.kernel_arguments.iter().map(String::as_str).chain(insmod);
        let always = emulator.kernel_arguments(&self.hardware);
        let arguments = [always.as_str()].into_iter().chain(more).collect::<Vec<_>>().join(" ");
        let _step = lab.progress().step("booting the guest");
        let child = emulator.start(&self.hardware, &run, &kernel.image(), &arguments)?;
        Machine::begin(Process::new(self.hardware.vendor, child, run), &sockets, contents)
    }

    fn files(&self, lab: &Lab, contents: &mut Contents) -> Result<Files, Error> {
        let mut files = Files::base(&lab.busybox()?);
        let polled = lab.guest_program(&Path::new(env!("CARGO_MANIFEST_DIR")).join("guest/polled.c"))?;
        files.host(&polled, "/lab/polled", 0o755);
        if self.hypervisor {
            let hypervisor = lab.hypervisor()?;
            files.host(&hypervisor.module, "/hyperkd.ko", 0o644);
            files.program(&hypervisor.program, "/bin/hyperdbg")?;
            contents.program = Some(hypervisor.program);
        }
        if self.stress {
            lab.packages(&[packages::stress_ng()])?;
            files.program(Path::new(&packages::stress_ng().evidence), "/bin/stress-ng")?;
        }
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for program in &self.programs {
            files.program(program, &format!("/bin/{}", name(program)))?;
        }
        for source in &self.guest_programs {
            let program = lab.guest_program(source)?;
            files.host(&program, &format!("/bin/{}", name(&program)), 0o755);
        }
        for sources in &self.guest_modules {
            let module = lab.guest_module(sources)?;
            files.host(&module, &format!("/{}", name(&module)), 0o644);
        }
        let kernel = lab.kernel()?;
        for module in &self.kernel_modules {
            let mut order = Vec::new();
            for path in kernel.module(module)? {
                let guest = format!("/lib/modules/{}", name(&path));
                files.host(&path, &guest, 0o644);
                order.push(guest);
            }
            contents.inserts.push((module.clone(), order));
        }
        for (host, guest, mode) in &self.files {
            files.host(host, guest, *mode);
        }
        Ok(files)
    }
}
