//! One guest: from its description to its end.
//!
//! **Holds always**
//! - M1: a [`Machine`] that exists has an agent that answered; `boot` gives an error otherwise.
//! - M2: dropping it kills the emulator and waits for it; its files go unless something failed.
//! - M3: each error that concerns the guest carries its console's end and the emulator's words.

use crate::{
    builder::{Builder, Contents},
    control::{Control, Job, NoAnswer, Output},
    emulator::{Vendor, file},
    error::{Error, Fault},
    health, ignne,
    monitor::Monitor,
    process::Process,
    prompt::Feed,
};
use std::{
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// How long a guest may take to boot; a busy host makes it slow.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// How long a command in the guest may take, unless said otherwise.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// How often a file or a process is looked at that cannot be waited for.
const LOOK: Duration = Duration::from_millis(20);

/// A guest that runs.
pub struct Machine {
    control: Control,
    terminal: UnixStream,
    pub(crate) feed: Option<Arc<Feed>>,
    pub(crate) program: Option<PathBuf>,
    inserts: Vec<(String, Vec<String>)>,
    pub(crate) process: Arc<Process>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.process.emulator().end();
    }
}

impl Machine {
    /// A guest with 2 processors, 1 GiB, and the hypervisor's module inserted.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn begin(process: Process, sockets: &[UnixListener; 3], contents: Contents) -> Result<Self, Error> {
        let process = Arc::new(process);
        let [control, terminal, monitor] = sockets;
        let control = Control::new(process.accept(control)?).map_err(|error| process.socket("control channel", &error))?;
        let terminal = process.accept(terminal)?;
        if process.vendor() == Vendor::Amd {
            let monitor = Monitor::new(process.accept(monitor)?).map_err(|error| process.socket("monitor", &error))?;
            process.adopt(monitor);
            // The monitor answers, so the program is there and its guest has hardly begun.
            if let Err(error) = ignne::stop_clearing(process.emulator().id()) {
                eprintln!("lab: QEMU keeps a race that can lose the guest under load: {error}");
            }
        }
        let machine = Self { control, terminal, feed: None, program: contents.program, inserts: contents.inserts, process };
        machine.ready(1, BOOT_LIMIT)?;
        Ok(machine)
    }

    /// A limit of waiting in the time that such a guest has.
    fn patient(&self, limit: Duration) -> Duration {
        limit * self.process.vendor().slowness()
    }

    fn ready(&self, boots: u64, limit: Duration) -> Result<(), Error> {
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
        let limit = self.patient(limit);
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
        let limit = self.patient(limit);
        let answer = self.control.wait(job, limit);
        answer.map_err(|no| self.process.no_answer(no, &format!("the end of job {}", job.id), limit))
    }

    /// A job's end if it comes within the limit.
    pub(crate) fn poll_job(&mut self, job: Job, limit: Duration) -> Result<Option<Output>, Error> {
        match self.control.wait(job, limit) {
            Ok(output) => Ok(Some(output)),
            Err(NoAnswer::Late) => Ok(None),
            Err(no) => Err(self.process.no_answer(no, &format!("the end of job {}", job.id), limit)),
        }
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
    /// [`Error::Guest`] if it does not come, or the emulator ends without it.
    pub fn wait_console(&self, text: &str, limit: Duration) -> Result<(), Error> {
        let limit = self.patient(limit);
        let until = Instant::now() + limit;
        loop {
            let ended = self.process.ended().is_some();
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
    pub fn console_is_healthy(&self) -> Result<(), Error> {
        let lines = health::complaints(&self.console());
        if lines.is_empty() { Ok(()) } else { Err(self.fault(Fault::Unhealthy { lines })) }
    }

    /// The socket at which the emulator waits for a debugger: COM2.
    #[must_use]
    pub fn link_path(&self) -> PathBuf {
        self.process.run().path(file::LINK)
    }

    /// The host's end of the guest's `/dev/ttyS3`, a line for whatever wants a terminal there. Not to be used together with
    /// [`Machine::vmi`], which reads it too.
    ///
    /// # Errors
    /// [`Error::Guest`] if the stream cannot be duplicated.
    pub fn terminal(&self) -> Result<UnixStream, Error> {
        self.terminal.try_clone().map_err(|error| self.process.socket("terminal", &error))
    }

    /// The folder of this run.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.process.run().folder()
    }

    /// Who made its processors.
    #[must_use]
    pub fn vendor(&self) -> Vendor {
        self.process.vendor()
    }

    /// The emulator's process.
    #[must_use]
    pub fn emulator_id(&self) -> u32 {
        self.process.emulator().id()
    }

    /// Has QEMU's monitor execute a command; its result. Bochs has none.
    ///
    /// # Errors
    /// [`Fault::Monitor`] if it refuses.
    pub fn qmp(&mut self, command: &str, arguments: &serde_json::Value) -> Result<serde_json::Value, Error> {
        let answer = self.process.ask_monitor(command, arguments).map_err(|error| self.process.socket("monitor", &error))?;
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

    /// Whether the emulator has ended.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.process.ended().is_some()
    }

    /// Waits for the emulator's end: after a power-off, or a reboot without [`Builder::reboots`].
    ///
    /// # Errors
    /// [`Error::Guest`] if it still runs after the limit.
    pub fn wait_end(&self, limit: Duration) -> Result<ExitStatus, Error> {
        match self.process.emulator().wait_within(limit) {
            Some(status) => Ok(status),
            None => Err(self.process.late("the end of the emulator", limit)),
        }
    }

    /// An error about this guest. Its files will be kept.
    pub fn fault(&self, fault: Fault) -> Error {
        self.process.fault(fault)
    }
}
