//! gdb and the server that it attaches to, on the host.

use crate::Result;
use lab::{Lab, Machine};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// What the server may take before gdb can connect: a whole kernel's names and frames may have to come over the link before.
const START_LIMIT: Duration = Duration::from_secs(900);
/// What one thing may take that gdb or its server does, in front of other work.
const LIMIT: Duration = Duration::from_secs(180);
/// How often a file is looked at that cannot be waited for.
const LOOK: Duration = Duration::from_millis(20);

/// `hyperdbg gdbserver` in front of a guest. Dropped, it is ended as its user would end it.
pub struct Server {
    child: Child,
    folder: PathBuf,
}

impl Server {
    /// Starts one and waits until gdb can connect; with `symbols` it writes a file of names before.
    ///
    /// # Errors
    /// With what it said, if it ends or does not come so far.
    pub fn start(machine: &Machine, symbols: bool) -> Result<Self> {
        Lab::shared()?.packages(&[lab::packages::gdb()])?;
        let folder = machine.folder().to_owned();
        let mut command = machine.debugger_command()?;
        command.arg("gdbserver").arg(format!("unix:{}", folder.join("gdb.sock").display()));
        if symbols {
            command.arg("--symbols").arg(folder.join("names.elf"));
        }
        let log = File::create(folder.join("gdbserver.log"))?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut server = Self { child, folder };
        until_says(&mut server.child, &server.folder.join("gdbserver.log"), "gdb may connect", 1, START_LIMIT)?;
        Ok(server)
    }

    /// What it said so far.
    ///
    /// # Errors
    /// Those of the file.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.join("gdbserver.log"))?)
    }

    /// Waits until it has said something so often.
    ///
    /// # Errors
    /// With what it said, if it does not or ends.
    pub fn until_says(&mut self, text: &str, times: usize) -> Result {
        until_says(&mut self.child, &self.folder.join("gdbserver.log"), text, times, LIMIT)
    }

    /// Kills it, so that it can do nothing more.
    ///
    /// # Errors
    /// Those of the process.
    pub fn kill(mut self) -> Result {
        self.child.kill()?;
        Ok(self.child.wait().map(drop)?)
    }

    /// Has it end, and waits for that.
    ///
    /// # Errors
    /// Those of the process.
    pub fn end(mut self) -> Result<ExitStatus> {
        signal("INT", self.child.id())?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, or the guest goes with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal; the shell's own `kill`: a small Debian has no program of that name.
fn signal(name: &str, id: u32) -> Result {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status()?.success();
    if sent { Ok(()) } else { Err(format!("no {name} to {id}").into()) }
}

/// A gdb with a script, attached to a server.
pub struct Gdb {
    child: Child,
    said: PathBuf,
}

impl Gdb {
    /// Starts gdb: names are loaded if the server wrote them, it attaches, and then does the lines of the script. Then it ends, at the
    /// first line that fails before that.
    ///
    /// # Errors
    /// Those of files and processes.
    pub fn start(server: &Server, script: &str) -> Result<Self> {
        Self::start_with(server, script, &["-batch"])
    }

    /// The same, but it stays attached behind the script, as somebody does who thinks.
    ///
    /// # Errors
    /// As [`Gdb::start`].
    pub fn start_and_stay(server: &Server, script: &str) -> Result<Self> {
        Self::start_with(server, script, &[])
    }

    /// One that starts a server of its own and talks to it through a pipe. It stays attached behind the script.
    ///
    /// # Errors
    /// As [`Gdb::start`].
    pub fn start_piped(machine: &Machine, script: &str) -> Result<Self> {
        let command = machine.debugger_command()?;
        let words = std::iter::once(command.get_program()).chain(command.get_args()).map(|word| word.to_string_lossy());
        let server = format!("| {} gdbserver -", words.collect::<Vec<_>>().join(" "));
        Self::start_at(machine.folder(), &server, script, &[])
    }

    fn start_with(server: &Server, script: &str, options: &[&str]) -> Result<Self> {
        Self::start_at(&server.folder, &server.folder.join("gdb.sock").display().to_string(), script, options)
    }

    fn start_at(folder: &Path, target: &str, script: &str, options: &[&str]) -> Result<Self> {
        let names = folder.join("names.elf");
        let symbols = if names.exists() { format!("symbol-file {}\n", names.display()) } else { String::new() };
        let text = format!(
            "set confirm off\nset pagination off\nset width 0\nset remotetimeout 120\n{symbols}target remote {target}\n{script}\n",
        );
        let (file, said) = (folder.join("script.gdb"), folder.join("gdb.said"));
        fs::write(&file, text)?;
        let out = File::create(&said)?;
        let mut command = Command::new("gdb");
        command.args(["-nx", "-q"]).args(options).arg("-x").arg(file);
        let child = command.stdin(Stdio::piped()).stdout(out.try_clone()?).stderr(out).spawn()?;
        Ok(Self { child, said })
    }

    /// Types a line at one that stays.
    ///
    /// # Errors
    /// If it is gone.
    pub fn enter(&mut self, line: &str) -> Result {
        let stdin = self.child.stdin.as_mut().ok_or("it reads nothing")?;
        Ok(writeln!(stdin, "{line}")?)
    }

    /// What it said so far.
    ///
    /// # Errors
    /// Those of the file.
    pub fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.said)?)
    }

    /// Waits until it has said something so often.
    ///
    /// # Errors
    /// With what it said, if it does not.
    pub fn until_says(&mut self, text: &str, times: usize) -> Result {
        until_says(&mut self.child, &self.said, text, times, LIMIT)
    }

    /// Waits for its end; what it said.
    ///
    /// # Errors
    /// With what it said, if it does not end in time or fails.
    pub fn end(mut self) -> Result<String> {
        drop(self.child.stdin.take());
        let (told, ended) = channel();
        let id = self.child.id();
        let waiter = thread::spawn(move || {
            let status = self.child.wait();
            // Whoever waited may have given up.
            let _ = told.send(());
            (status, self.said)
        });
        let late = ended.recv_timeout(LIMIT).is_err();
        if late {
            signal("KILL", id)?;
        }
        let (status, said) = waiter.join().map_err(|_| "the waiting thread panicked")?;
        let said = fs::read_to_string(said)?;
        if late || !status?.success() {
            let how = if late { "did not end" } else { "failed" };
            return Err(format!("gdb {how}:\n{said}").into());
        }
        Ok(said)
    }

    /// Kills it as no program can prevent.
    ///
    /// # Errors
    /// Those of the process.
    pub fn kill(mut self) -> Result {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Types CTRL+C at it.
    ///
    /// # Errors
    /// If it is gone.
    pub fn interrupt(&self) -> Result {
        signal("INT", self.child.id())
    }
}

/// Waits until a program has said something so often.
fn until_says(child: &mut Child, said: &Path, text: &str, times: usize, limit: Duration) -> Result {
    let until = Instant::now() + limit;
    loop {
        let ended = child.try_wait()?.is_some();
        let now = fs::read_to_string(said)?;
        if now.matches(text).count() >= times {
            return Ok(());
        }
        if ended || Instant::now() >= until {
            return Err(format!("{text:?} is not said {times} times: {now}").into());
        }
        thread::sleep(LOOK);
    }
}
