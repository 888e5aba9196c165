//! The emulator of one guest, and everything an error about it shows.
//!
//! Shared by the machine and the prompts connected to it, so that any of them can say what became of the guest. The
//! machine alone ends it; the run's folder goes with the last of them.

use crate::{
    child::Child,
    control::NoAnswer,
    emulator::{Vendor, file},
    error::{Error, Fault, GuestError, tail},
    health,
    monitor::Monitor,
    run::Run,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use std::{
    fs, io,
    os::unix::net::{UnixListener, UnixStream},
    process::ExitStatus,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long an emulator may take to connect to our sockets, and to end after they closed.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// Lines of the console in an error.
const CONSOLE_TAIL_LINES: usize = 40;
/// Complaints of the kernel in an error: the first ones tell the cause, and a long call trace pushes them out of the end.
const COMPLAINTS_MAX: usize = 5;

/// The emulator and the folder it works in. The emulator is dropped first: it writes there.
#[derive(Debug)]
pub(crate) struct Process {
    vendor: Vendor,
    emulator: Mutex<Child>,
    monitor: Mutex<Option<Monitor>>,
    run: Run,
}

impl Process {
    pub(crate) fn new(vendor: Vendor, emulator: Child, run: Run) -> Self {
        Self { vendor, emulator: Mutex::new(emulator), monitor: Mutex::new(None), run }
    }

    pub(crate) fn run(&self) -> &Run {
        &self.run
    }

    pub(crate) fn vendor(&self) -> Vendor {
        self.vendor
    }

    pub(crate) fn emulator(&self) -> MutexGuard<'_, Child> {
        self.emulator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// QEMU's monitor, once it is connected.
    pub(crate) fn adopt(&self, monitor: Monitor) {
        *self.monitor.lock().unwrap_or_else(PoisonError::into_inner) = Some(monitor);
    }

    /// Has the monitor execute a command.
    pub(crate) fn ask_monitor(&self, command: &str, arguments: &Value) -> io::Result<Value> {
        let mut monitor = self.monitor.lock().unwrap_or_else(PoisonError::into_inner);
        monitor.as_mut().ok_or(io::ErrorKind::NotConnected)?.execute(command, arguments)
    }

    /// A guest that is late may hang: where its processors are, twice, goes into its folder. What cannot be asked is not
    /// written.
    fn write_processors(&self) {
        let mut text = String::new();
        for look in 1..=2 {
            for command in ["info registers -a", "info lapic 0", "info lapic 1", "info pic"] {
                let Ok(answer) = self.ask_monitor("human-monitor-command", &json!({ "command-line": command })) else { break };
                let shown = answer["return"].as_str().unwrap_or_default().replace('\r', "");
                // Vector registers tell nothing here.
                let shown: Vec<&str> = shown.lines().filter(|line| !line.starts_with(['X', 'Y'])).collect();
                text += &format!("look {look}: {command}\n{}\n\n", shown.join("\n"));
            }
        }
        // The error that is on its way tells more than this one could.
        let _ = fs::write(self.run.path(file::PROCESSORS), text);
    }

    /// How the emulator ended, if it did.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.emulator().ended()
    }

    /// Waits until the emulator connects to a socket of ours.
    pub(crate) fn accept(&self, socket: &UnixListener) -> Result<UnixStream, Error> {
        let until = Instant::now() + CONNECT_LIMIT;
        let slice = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        loop {
            let mut ready = [PollFd::new(socket, PollFlags::IN)];
            if poll(&mut ready, Some(&slice)).is_ok_and(|count| count > 0) {
                return socket
                    .accept()
                    .map(|(stream, _)| stream)
                    .map_err(|error| self.socket(&format!("{} did not connect", self.vendor.emulator()), &error));
            }
            if self.ended().is_some() {
                return Err(self.fault(Fault::Gone));
            }
            if Instant::now() >= until {
                return Err(self.late(&format!("{}'s connection", self.vendor.emulator()), CONNECT_LIMIT));
            }
        }
    }

    pub(crate) fn console(&self) -> String {
        let bytes = fs::read(self.run.path(file::CONSOLE)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn socket(&self, what: &str, error: &io::Error) -> Error {
        self.fault(Fault::Socket { what: format!("{what}: {error}") })
    }

    pub(crate) fn late(&self, awaited: &str, limit: Duration) -> Error {
        self.write_processors();
        self.fault(Fault::Late { awaited: awaited.to_owned(), limit, seen: String::new() })
    }

    pub(crate) fn no_answer(&self, no: NoAnswer, awaited: &str, limit: Duration) -> Error {
        match no {
            NoAnswer::Late => self.late(awaited, limit),
            NoAnswer::Rebooted => self.fault(Fault::Socket { what: format!("the guest booted again before {awaited}") }),
            NoAnswer::Closed => {
                // The socket closes a moment before the process can be waited for.
                let _ = self.emulator().wait_within(CONNECT_LIMIT);
                self.fault(Fault::Gone)
            }
        }
    }

    pub(crate) fn fault(&self, fault: Fault) -> Error {
        self.run.keep();
        let console = self.console();
        let mut complaints = health::complaints(&console);
        complaints.truncate(COMPLAINTS_MAX);
        Error::Guest(Box::new(GuestError {
            fault,
            complaints,
            console_tail: tail(&console, CONSOLE_TAIL_LINES),
            emulator: self.vendor.emulator(),
            emulator_said: self.vendor.said(&self.run),
            emulator_ended: self.ended(),
            run: self.run.folder().to_owned(),
        }))
    }
}
