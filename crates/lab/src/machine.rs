//! One guest: from its description to its end.
//!
//! **Holds always**
//! - M1: a [`Machine`] that exists has an agent that answered; `boot` gives an error otherwise.
//! - M2: dropping it kills QEMU and waits for it; its files go unless something failed.
//! - M3: each error that concerns the guest carries its console's end and QEMU's words.

use crate::{
    child::Child,
    control::{Control, Job, NoAnswer, Output},
    error::{At, Error, Fault, GuestError, tail},
    health,
    initramfs::Files,
    monitor::Monitor,
    packages,
    qemu::{self, Accel, Hardware, file},
    run::Run,
    setup::Lab,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    fs, io,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::ExitStatus,
    thread,
    time::{Duration, Instant},
};

/// How long a guest may take to boot; a busy host makes it slow.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// How long a command in the guest may take, unless said otherwise.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// How long QEMU may take to connect to our sockets.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// How often a file or a process is looked at that cannot be waited for.
const LOOK: Duration = Duration::from_millis(20);
/// Lines of the console in an error.
const CONSOLE_TAIL_LINES: usize = 40;
/// What every guest's kernel is told. The console shows everything; panics end the machine; TCG's timer may be late
/// while the host is busy, which is no reason to panic; the time stamp counters of emulated processors agree, though
/// no CPUID bit says so.
const KERNEL_ARGUMENTS: &str = "console=ttyS0,115200 loglevel=7 panic=-1 no_timer_check tsc=reliable";

/// A guest to be.
#[derive(Debug)]
#[must_use = "a builder does nothing until `boot`"]
pub struct Builder {
    hardware: Hardware,
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

impl Builder {
    /// Processors; 2 if not said.
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.hardware.cpus = cpus;
        self
    }

    /// Memory in MiB; 1024 if not said.
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.hardware.memory_mib = memory_mib;
        self
    }

    /// QEMU's `-cpu`, such as `EPYC,-svm`.
    pub fn cpu(mut self, model: &str) -> Self {
        self.hardware.cpu = Some(model.to_owned());
        self
    }

    /// Another QEMU than the installed one.
    pub fn qemu(mut self, program: &Path) -> Self {
        self.hardware.qemu = program.to_owned();
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
        self.hardware.cpus = 1;
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
    pub fn boot_in(self, lab: &Lab) -> Result<Machine, Error> {
        if self.hardware.accel == Accel::Kvm {
            qemu::check_kvm()?;
        }
        if self.hardware.qemu == Hardware::default().qemu {
            lab.packages(&[packages::qemu()])?;
        }
        let kernel = lab.kernel()?;
        let mut inserts = Vec::new();
        let files = self.files(lab, &mut inserts)?;
        let run = Run::begin(lab.cache())?;
        files.write(&run.path(file::INITRAMFS))?;
        let listen = |name: &str| UnixListener::bind(run.path(name)).at("listen at", &run.path(name));
        let sockets = [listen(file::CONTROL)?, listen(file::TERMINAL)?, listen(file::MONITOR)?];
        let mut arguments = KERNEL_ARGUMENTS.to_owned();
        for words in
            self.kernel_arguments.iter().map(String::as_str).chain((self.hypervisor && self.insmod).then_some("hyperdbg.load"))
        {
            arguments.push(' ');
            arguments.push_str(words);
        }
        let _step = lab.progress().step("booting the guest");
        let qemu = self.hardware.start(&run, &kernel.image(), &arguments)?;
        Machine::begin(run, qemu, &sockets, inserts)
    }

    fn files(&self, lab: &Lab, inserts: &mut Vec<(String, Vec<String>)>) -> Result<Files, Error> {
        let mut files = Files::base(&lab.busybox()?);
        if self.hypervisor {
            let hypervisor = lab.hypervisor()?;
            files.host(&hypervisor.module, "/hyperkd.ko", 0o644);
            files.program(&hypervisor.program, "/bin/hyperdbg")?;
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
            inserts.push((module.clone(), order));
        }
        for (host, guest, mode) in &self.files {
            files.host(host, guest, *mode);
        }
        Ok(files)
    }
}

/// A guest that runs.
pub struct Machine {
    control: Control,
    monitor: Monitor,
    terminal: UnixStream,
    inserts: Vec<(String, Vec<String>)>,
    process: Process,
}

/// QEMU and the folder it works in. QEMU is dropped first: it writes there.
struct Process {
    qemu: Child,
    run: Run,
}

impl Process {
    /// Waits until QEMU connects to a socket of ours.
    fn accept(&mut self, socket: &UnixListener) -> Result<UnixStream, Error> {
        let until = Instant::now() + CONNECT_LIMIT;
        let slice = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        loop {
            let mut ready = [PollFd::new(socket, PollFlags::IN)];
            if poll(&mut ready, Some(&slice)).is_ok_and(|count| count > 0) {
                return socket.accept().map(|(stream, _)| stream).map_err(|error| self.socket("QEMU did not connect", &error));
            }
            if self.qemu.ended().is_some() {
                return Err(self.fault(Fault::Gone));
            }
            if Instant::now() >= until {
                return Err(self.late("QEMU's connection", CONNECT_LIMIT));
            }
        }
    }

    fn console(&self) -> String {
        let bytes = fs::read(self.run.path(file::CONSOLE)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn socket(&mut self, what: &str, error: &io::Error) -> Error {
        self.fault(Fault::Socket { what: format!("{what}: {error}") })
    }

    fn late(&mut self, awaited: &str, limit: Duration) -> Error {
        self.fault(Fault::Late { awaited: awaited.to_owned(), limit, seen: String::new() })
    }

    fn no_answer(&mut self, no: NoAnswer, awaited: &str, limit: Duration) -> Error {
        match no {
            NoAnswer::Late => self.late(awaited, limit),
            NoAnswer::Rebooted => self.fault(Fault::Socket { what: format!("the guest booted again before {awaited}") }),
            NoAnswer::Closed => {
                // The socket closes a moment before the process can be waited for.
                let _ = self.qemu.wait_within(CONNECT_LIMIT);
                self.fault(Fault::Gone)
            }
        }
    }

    fn fault(&mut self, fault: Fault) -> Error {
        self.run.keep();
        Error::Guest(Box::new(GuestError {
            fault,
            console_tail: tail(&self.console(), CONSOLE_TAIL_LINES),
            qemu_said: qemu::said(&self.run),
            qemu_ended: self.qemu.ended(),
            run: self.run.folder().to_owned(),
        }))
    }
}

impl Machine {
    /// A guest with 2 processors, 1 GiB, and the hypervisor's module inserted.
    pub fn builder() -> Builder {
        Builder {
            hardware: Hardware::default(),
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

    fn begin(run: Run, qemu: Child, sockets: &[UnixListener; 3], inserts: Vec<(String, Vec<String>)>) -> Result<Self, Error> {
        let mut process = Process { qemu, run };
        let [control, terminal, monitor] = sockets;
        let control = Control::new(process.accept(control)?).map_err(|error| process.socket("control channel", &error))?;
        let terminal = process.accept(terminal)?;
        let monitor = Monitor::new(process.accept(monitor)?).map_err(|error| process.socket("monitor", &error))?;
        let mut machine = Self { control, monitor, terminal, inserts, process };
        machine.ready(1, BOOT_LIMIT)?;
        Ok(machine)
    }

    fn ready(&mut self, boots: u64, limit: Duration) -> Result<(), Error> {
        let answer = self.control.ready(boots, limit);
        answer.map(drop).map_err(|no| self.process.no_answer(no, "the guest's agent", limit))
    }

    /// Runs a shell script in the guest, as root, and waits for its end. An exit status other than 0 is no error here.
    ///
    /// # Errors
    /// [`Error::Guest`] if it takes longer than [`COMMAND_LIMIT`], or the guest dies or boots again meanwhile.
    pub fn sh(&mut self, script: &str) -> Result<Output, Error> {
        self.sh_within(script, COMMAND_LIMIT)
    }

    /// As [`Machine::sh`], with a limit of one's own.
    ///
    /// # Errors
    /// As [`Machine::sh`].
    pub fn sh_within(&mut self, script: &str, limit: Duration) -> Result<Output, Error> {
        let job = self.spawn(script)?;
        let answer = self.control.wait(job, limit);
        answer.map_err(|no| self.process.no_answer(no, &format!("the end of `{script}`"), limit))
    }

    /// As [`Machine::sh`], but an exit status other than 0 is an error; what it wrote.
    ///
    /// # Errors
    /// As [`Machine::sh`], and [`Fault::Command`].
    pub fn ok(&mut self, script: &str) -> Result<String, Error> {
        let output = self.sh(script)?;
        if output.ok() {
            return Ok(output.text());
        }
        Err(self.fault(Fault::Command { command: script.to_owned(), status: output.status, output: output.text() }))
    }

    /// Starts a shell script in the guest and does not wait.
    ///
    /// # Errors
    /// [`Error::Guest`] if the guest is gone.
    pub fn spawn(&mut self, script: &str) -> Result<Job, Error> {
        let started = self.control.start(script);
        started.map_err(|error| self.process.socket("control channel", &error))
    }

    /// Waits for the end of a script.
    ///
    /// # Errors
    /// As [`Machine::sh`].
    pub fn wait_job(&mut self, job: Job, limit: Duration) -> Result<Output, Error> {
        let answer = self.control.wait(job, limit);
        answer.map_err(|no| self.process.no_answer(no, &format!("the end of job {}", job.id), limit))
    }

    /// Ends a script and everything it started, by SIGKILL. Its job then ends with status 137.
    ///
    /// # Errors
    /// As [`Machine::sh`].
    pub fn kill_job(&mut self, job: Job) -> Result<(), Error> {
        self.ok(&format!("kill -9 -$(cat /run/lab/{}.pid)", job.id)).map(drop)
    }

    /// Inserts a module of Debian's that [`Builder::with_kernel_module`] brought, after those it needs.
    ///
    /// # Errors
    /// As [`Machine::ok`].
    pub fn modprobe(&mut self, name: &str) -> Result<(), Error> {
        let order = self.inserts.iter().find(|(module, _)| module == name).map(|(_, order)| order.clone()).unwrap_or_default();
        if order.is_empty() {
            return Err(self.fault(Fault::Command {
                command: format!("modprobe {name}"),
                status: 1,
                output: "not in this guest".into(),
            }));
        }
        for module in order {
            let loaded = Path::new(&module).file_stem().unwrap_or_default().to_string_lossy().replace('-', "_");
            self.ok(&format!("[ -d /sys/module/{loaded} ] || insmod {module}"))?;
        }
        Ok(())
    }

    /// Writes a file in the guest.
    ///
    /// # Errors
    /// As [`Machine::ok`].
    pub fn put(&mut self, guest: &str, data: &[u8], mode: u32) -> Result<(), Error> {
        self.ok(&format!(": >{guest} && chmod {mode:o} {guest}"))?;
        // A port's buffer in the guest holds 4 KiB while the shell reads; in octal a byte takes five, twice escaped ten.
        for piece in data.chunks(300) {
            let octal: String = piece.iter().map(|byte| format!("\\0{byte:03o}")).collect();
            self.ok(&format!("printf %b '{octal}' >>{guest}"))?;
        }
        Ok(())
    }

    /// The whole console so far.
    #[must_use]
    pub fn console(&self) -> String {
        self.process.console()
    }

    /// Waits for a text on the console; searches all of it.
    ///
    /// # Errors
    /// [`Error::Guest`] if it does not come, or QEMU ends without it.
    pub fn wait_console(&mut self, text: &str, limit: Duration) -> Result<(), Error> {
        let until = Instant::now() + limit;
        loop {
            let ended = self.process.qemu.ended().is_some();
            if self.console().contains(text) {
                return Ok(());
            }
            if ended {
                return Err(self.fault(Fault::Gone));
            }
            if Instant::now() >= until {
                return Err(self.process.late(&format!("{text:?} on the console"), limit));
            }
            thread::sleep(LOOK);
        }
    }

    /// Whether the kernel wrote nothing that a healthy one does not write.
    ///
    /// # Errors
    /// [`Fault::Unhealthy`] with the lines.
    pub fn console_is_healthy(&mut self) -> Result<(), Error> {
        let lines = health::complaints(&self.console());
        if lines.is_empty() { Ok(()) } else { Err(self.fault(Fault::Unhealthy { lines })) }
    }

    /// The socket at which QEMU waits for a debugger: COM2.
    #[must_use]
    pub fn link_path(&self) -> PathBuf {
        self.process.run.path(file::LINK)
    }

    /// The host's end of the guest's `/dev/ttyS3`, a line for whatever wants a terminal there.
    ///
    /// # Errors
    /// [`Error::Guest`] if the stream cannot be duplicated.
    pub fn terminal(&mut self) -> Result<UnixStream, Error> {
        self.terminal.try_clone().map_err(|error| self.process.socket("terminal", &error))
    }

    /// The folder of this run.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.process.run.folder()
    }

    /// QEMU's process.
    #[must_use]
    pub fn qemu_id(&self) -> u32 {
        self.process.qemu.id()
    }

    /// Has QEMU's monitor execute a command; its result.
    ///
    /// # Errors
    /// [`Fault::Monitor`] if it refuses.
    pub fn qmp(&mut self, command: &str, arguments: &serde_json::Value) -> Result<serde_json::Value, Error> {
        let answer = self.monitor.execute(command, arguments).map_err(|error| self.process.socket("monitor", &error))?;
        match answer.get("return") {
            Some(result) => Ok(result.clone()),
            None => Err(self.fault(Fault::Monitor { command: command.to_owned(), answer: answer.to_string() })),
        }
    }

    /// Does something that makes the guest boot again, and waits until its agent answers. Needs [`Builder::reboots`].
    ///
    /// # Errors
    /// [`Error::Guest`] if it does not come back.
    pub fn wait_reboot(&mut self, act: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        let boots = self.control.boots();
        act(self)?;
        self.ready(boots + 1, BOOT_LIMIT)
    }

    /// Waits for QEMU's end: after a power-off, or a reboot without [`Builder::reboots`].
    ///
    /// # Errors
    /// [`Error::Guest`] if it still runs after the limit.
    pub fn wait_end(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        match self.process.qemu.wait_within(limit) {
            Some(status) => Ok(status),
            None => Err(self.process.late("the end of QEMU", limit)),
        }
    }

    /// An error about this guest. Its files will be kept.
    pub fn fault(&mut self, fault: Fault) -> Error {
        self.process.fault(fault)
    }
}
