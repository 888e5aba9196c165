//! Processes that end with the lab, however it ends.
//!
//! **Holds always**
//! - P1: the kernel kills such a process when the thread that started it ends (`PR_SET_PDEATHSIG`, prctl(2)). So all
//!   are started by one thread that lives as long as the lab, whichever test thread asks for it.
//! - P2: it has a process group of its own: Ctrl-C at the user's terminal does not reach it.
//! - P3: dropping a [`Child`] kills it and waits for it.

use crate::{command::shown, error::Error};
use std::{
    ffi::OsStr,
    io,
    os::unix::process::CommandExt,
    process::{self, Command, ExitStatus},
    sync::{Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

/// How often a process is looked at; std cannot wait for one with a limit.
const LOOK: Duration = Duration::from_millis(10);

type Order = (Command, mpsc::Sender<io::Result<process::Child>>);

static KEEPER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();

/// A process that ends with the lab.
#[derive(Debug)]
pub(crate) struct Child {
    child: process::Child,
}

/// A command that will be killed when the lab ends (util-linux' setpriv sets that up and then becomes the program).
pub(crate) fn mortal(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

impl Child {
    /// Starts a [`mortal`] command, in a process group of its own.
    pub(crate) fn start(mut command: Command) -> Result<Self, Error> {
        command.process_group(0);
        Self::start_session(command)
    }

    /// Starts a command that makes itself a session (setsid would start another process if it led a group already).
    pub(crate) fn start_session(command: Command) -> Result<Self, Error> {
        let text = shown(&command);
        let (answer, child) = mpsc::channel();
        let sent = KEEPER.get_or_init(keeper).lock().unwrap_or_else(PoisonError::into_inner).send((command, answer));
        let lost = || io::Error::other("the thread that starts processes is gone");
        let child = sent.map_err(|_| lost()).and_then(|()| child.recv().unwrap_or_else(|_| Err(lost())));
        child.map(|child| Self { child }).map_err(|source| Error::Start { command: text, source })
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Waits for its end, not longer than the limit.
    pub(crate) fn wait_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + limit;
        loop {
            let ended = self.ended();
            if ended.is_some() || Instant::now() >= until {
                return ended;
            }
            thread::sleep(LOOK);
        }
    }

    /// Kills it, if it still runs, and waits for it.
    pub(crate) fn end(&mut self) {
        // Both fail only if it has been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

fn keeper() -> Mutex<mpsc::Sender<Order>> {
    let (orders, queue) = mpsc::channel::<Order>();
    thread::spawn(move || {
        for (mut command, answer) in queue {
            // Whoever asked may have given up; then the child is dropped, not killed: it dies with the lab.
            let _ = answer.send(command.spawn());
        }
    });
    Mutex::new(orders)
}
