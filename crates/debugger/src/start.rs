//! Programs that are started to be under interception from their first instruction on.
//!
//! ```text
//! prompt ─► itself, by the name of STARTED ─► order: held when it executes another program
//!               └─ waits until root lists it ─► executes the program ─► held
//! ```
//! **Callers**: `Device` starts, `main` of the program becomes. **Proof**: `tests/e2e/threads.rs`.

use crate::target::{Cancel, Target, device::Device};
use abi::request::thread::{Ask, Threads, op};
use abi::{code, request};
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{self, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// The name that this program has when it is to become another.
const STARTED: &str = "hyperdbg: to be started";
/// How long it waits for being under interception, and between two looks.
const LIMIT: Duration = Duration::from_secs(10);
const PACE: Duration = Duration::from_millis(2);

/// Starts one. It has no terminal to read from, and its own group, so that CTRL+C at the prompt is not for it.
/// Its number.
pub(crate) fn spawn(path: &str, arguments: &[&str]) -> io::Result<u32> {
    let (mut ready, says_so) = io::pipe()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0(STARTED).arg(path).args(arguments).stdin(says_so).process_group(0);
    let mut child = command.spawn()?;
    let process = child.id();
    // The command has the other end, too: without it, who reads learns of a child that has died.
    drop(command);
    // Only then is it this program's next one that counts.
    let is_ready = ready.read_exact(&mut [0]);
    // It ends when it ends; nobody asks with what.
    thread::spawn(move || child.wait());
    is_ready.map(|()| process)
}

/// If this process is one that [`spawn`] has made, it becomes the program, or ends.
#[must_use]
pub fn becomes_another() -> Option<ExitCode> {
    let mut words = std::env::args_os();
    if words.next()? != STARTED {
        return None;
    }
    let path: OsString = words.next()?;
    if rustix::io::write(io::stdin(), &[0]).is_err() || !is_expected() {
        return Some(ExitCode::from(126));
    }
    let why = Command::new(&path).args(words).stdin(Stdio::null()).exec();
    eprintln!("{}: {why}", path.display());
    Some(ExitCode::from(127))
}

/// Whether it is under interception.
fn is_expected() -> bool {
    let (mut device, end) = (Device::new(), Instant::now() + LIMIT);
    let ask = Ask { process: process::id(), ..Ask::default() };
    while Instant::now() < end {
        let Ok((code::SUCCESS, body)) = device.call(op::THREADS, ask.as_bytes(), &Cancel::default()) else { return false };
        if request::body::<Threads>(&body).is_some_and(|threads| threads.states.iter().any(|count| *count > 0)) {
            return true;
        }
        thread::sleep(PACE);
    }
    false
}
