//! Hands the user's terminal to the prompt, on the host or in the guest, and takes it back.
//!
//! **Holds always**
//! - F1: however the lab ends but by SIGKILL, the terminal is as it was before ([`watch_signals`] for signals).
//! - F2: while a prompt has the terminal, Ctrl-C is the prompt's; before and after, it ends the lab.

use crate::{child::Child, control::Job, error::Error, machine::Machine, run};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    stdio::{stdin, stdout},
    termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH},
    iterator::Signals,
};
use std::{
    env, io,
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process,
    process::ExitStatus,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Size of a terminal that does not tell its own.
const SIZE: (u16, u16) = (24, 80);
/// How long the guest's terminal may be silent after the end of what ran there before its output counts as whole; also how
/// often its end is looked for.
const SILENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// The end of input is typed again after this time: a program that was just starting may have thrown it away.
const END_AGAIN: Duration = Duration::from_secs(1);
/// Ctrl-D: the end of input on a terminal.
const END_OF_INPUT: u8 = 4;

/// A prompt has the terminal.
static LENT: AtomicBool = AtomicBool::new(false);
/// The terminal has another size than the guest was told.
static RESIZED: AtomicBool = AtomicBool::new(false);
/// How the terminal was.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The time in which a prompt has the terminal.
struct Lent;

impl Lent {
    fn begin() -> Self {
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = tcgetattr(stdin()).ok();
        LENT.store(true, Ordering::SeqCst);
        Self
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        restore();
        LENT.store(false, Ordering::SeqCst);
    }
}

fn restore() {
    if let Some(termios) = &*BEFORE.lock().unwrap_or_else(PoisonError::into_inner) {
        // Nothing better can be done than go on.
        let _ = tcsetattr(stdin(), OptionalActions::Now, termios);
    }
}

/// Lets a signal that ends the lab clean up first: terminal and files (guests end with the process by themselves).
///
/// # Errors
/// Those of the system if signals cannot be caught.
pub fn watch_signals() -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH])?;
    thread::spawn(move || {
        for signal in &mut signals {
            match signal {
                SIGWINCH => RESIZED.store(true, Ordering::SeqCst),
                SIGINT | SIGQUIT if LENT.load(Ordering::SeqCst) => {}
                _ => {
                    restore();
                    run::abandon();
                    process::exit(128 + signal);
                }
            }
        }
    });
    Ok(())
}

/// Runs the host's `hyperdbg` on this terminal until it ends; its exit code.
///
/// # Errors
/// [`Error::Start`]; [`Error::Guest`] for a guest without hypervisor.
pub fn debugger(machine: &Machine, options: &[String]) -> Result<u8, Error> {
    let command = machine.debugger_command()?;
    let mut mortal = process::Command::new("setpriv");
    mortal.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args()).args(options);
    let lent = Lent::begin();
    let ended = Child::start_session(mortal)?.wait();
    drop(lent);
    ended.map(code).map_err(|source| Error::Start { command: "hyperdbg".into(), source })
}

/// Runs a command of the guest's shell on this terminal until it ends; its exit code. Input that is no terminal is
/// typed as it is, and its end as Ctrl-D.
///
/// # Errors
/// [`Error::Guest`] if the guest dies; [`Error::File`] if this terminal does.
pub fn in_guest(machine: &mut Machine, command: &str) -> Result<u8, Error> {
    let lent = Lent::begin();
    if isatty(stdin())
        && let Ok(mut raw) = tcgetattr(stdin())
    {
        raw.make_raw();
        let _ = tcsetattr(stdin(), OptionalActions::Now, &raw);
    }
    let (rows, columns) = size();
    let kind = env::var("TERM").unwrap_or_else(|_| "dumb".into());
    let job = machine.on_terminal(command, rows, columns, &kind)?;
    let status = pass(machine, job)?;
    drop(lent);
    Ok(u8::try_from(status & 0xff).unwrap_or(u8::MAX))
}

/// Carries bytes between this terminal and the guest's until the job has ended and everything is written.
fn pass(machine: &mut Machine, job: Job) -> Result<i32, Error> {
    let mut line = machine.terminal()?;
    let broken = |what: &'static str| move |source| Error::File { what, path: "the terminal".into(), source };
    let mut room = [0; 4096];
    let mut status = None;
    let mut set_up = false;
    let mut at_end = false;
    let mut end_typed: Option<Instant> = None;
    loop {
        let listening = set_up && !at_end;
        let mut ready = [PollFd::new(&line, PollFlags::IN), PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
        let count = if listening { 2 } else { 1 };
        let silent = match poll(&mut ready[..count], Some(&SILENCE)) {
            Ok(count) => count == 0,
            Err(rustix::io::Errno::INTR) => false,
            Err(error) => return Err(broken("wait for")(error.into())),
        };
        let [from_guest, from_user] = ready.map(|side| !side.revents().is_empty());
        if from_guest {
            let count = line.read(&mut room).map_err(broken("read"))?;
            let mut said = &room[..count];
            if !set_up && let Some(at) = said.iter().position(|byte| *byte == 0) {
                set_up = true;
                said = &said[at + 1..];
            }
            let said = if set_up { said } else { &[] };
            let mut out = io::stdout().lock();
            out.write_all(said).and_then(|()| out.flush()).map_err(broken("write to"))?;
            if count == 0 {
                // QEMU is gone; the job tells it with all its circumstances.
                return machine.wait_job(job, crate::machine::COMMAND_LIMIT).map(|output| output.status);
            }
        }
        if listening && from_user {
            let count = rustix::io::read(stdin(), &mut room).map_err(|error| broken("read")(error.into()))?;
            at_end = count == 0;
            line.write_all(&room[..count]).map_err(broken("write to"))?;
        }
        if at_end && silent && end_typed.is_none_or(|when| when.elapsed() >= END_AGAIN) {
            line.write_all(&[END_OF_INPUT]).map_err(broken("write to"))?;
            end_typed = Some(Instant::now());
        }
        if RESIZED.swap(false, Ordering::SeqCst) {
            let (rows, columns) = size();
            machine.resize_terminal(rows, columns)?;
        }
        match status {
            Some(status) if silent => return Ok(status),
            Some(_) => {}
            None => status = machine.job_ended(job)?.map(|output| output.status),
        }
    }
}

fn size() -> (u16, u16) {
    match tcgetwinsize(stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row, size.ws_col),
        _ => SIZE,
    }
}

/// The exit code as a shell would give it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a prompt killed by a signal that counts as a success.
    #[test]
    fn a_prompt_that_was_killed_is_no_success() {
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code(ExitStatus::from_raw(0)), 0);
    }
}
