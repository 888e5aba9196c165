//! A debuggee at the other end of a line: the prompt's side of it.
//!
//! A thread ([`super::wire`]) owns the line; [`Remote`] hands it one request at a time and waits for the answer.
//!
//! **Holds always**
//! - R1: requests are sent only while the debuggee has answered a HELLO of our protocol and has not said goodbye since;
//!   else they fail at once with the reason.
//! - R2: a request ends by its answer, by the link's limit, by CTRL+C or by the loss of the debuggee.
//! - R3: the line is closed when the `Remote` is dropped.
//!
//! **Proof**: `cli/tests/remote.rs`: loss, a reboot, a cut line, a silent debuggee.

pub use super::address::Address;
use super::wire::Wire;
use super::{Cancel, Mode, Target};
use crate::error::Reach;
use crate::news::{Inbox, News};
use abi::ioctl::Load;
use abi::request::{self, MESSAGE_BYTES_MAX, Number, notice};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often a waiting request looks whether CTRL+C was pressed.
const TICK: Duration = Duration::from_millis(50);
/// How long behind it an answer may still come: a search ends in order then, with what it has found, and nothing is given up of
/// which nobody knows whether it was done.
const GRACE: Duration = Duration::from_secs(2);

/// A debuggee at the other end of a line.
pub struct Remote {
    address: Address,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the prompt and the line's thread share.
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Written to, to wake the thread.
    bell: UnixStream,
}

/// See [`Shared`].
pub(super) struct State {
    /// Whether requests may be sent (R1), or why not.
    pub open: Result<(), Reach>,
    /// The one request of the prompt.
    pub slot: Slot,
    /// Whether the thread shall end.
    pub stop: bool,
}

/// The one request of the prompt.
pub(super) enum Slot {
    /// There is none.
    Empty,
    /// It waits to be sent.
    Asked(Vec<u8>),
    /// It was sent.
    Sent,
    /// The prompt does not wait for it any more.
    GivenUp,
    /// It ended.
    Ended(Result<Vec<u8>, Reach>),
}

impl Shared {
    /// The state, for as long as the guard lives.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the request of the prompt, if there is one.
    pub(super) fn end(&self, result: Result<Vec<u8>, Reach>) {
        let mut state = self.state();
        if matches!(state.slot, Slot::Asked(_) | Slot::Sent) {
            state.slot = Slot::Ended(result);
            self.changed.notify_all();
        }
    }

    /// Shuts or opens the line for requests.
    pub(super) fn set_open(&self, open: Result<(), Reach>) {
        self.state().open = open;
    }

    fn ring(&self) {
        // A full pipe is as good as a ring: the thread has not looked yet.
        let _ = (&self.bell).write(&[0]);
    }
}

impl Remote {
    /// Starts to open the line; `inbox` tells when somebody answers.
    ///
    /// # Errors
    /// If the system gives no thread or no sockets to talk to it.
    pub fn open(address: Address, inbox: Arc<Inbox>) -> io::Result<Self> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        let not_yet = Reach::NoDebuggee { address: address.to_string(), why: None };
        let state = Mutex::new(State { open: Err(not_yet), slot: Slot::Empty, stop: false });
        let shared = Arc::new(Shared { state, changed: Condvar::new(), bell });
        let wire = Wire::new(address.clone(), Arc::clone(&shared), inbox, ear);
        let thread = thread::Builder::new().name("link".to_owned()).spawn(move || wire.run())?;
        Ok(Self { address, shared, thread: Some(thread) })
    }
}

impl Target for Remote {
    fn mode(&self) -> Mode {
        Mode::Debugger
    }

    fn name(&self) -> String {
        self.address.to_string()
    }

    fn call(&mut self, op: u32, body: &[u8], cancel: &Cancel) -> Result<(u32, Vec<u8>), Reach> {
        let mut message = [0; MESSAGE_BYTES_MAX];
        let bytes = request::write(&mut message, op, body).ok_or(Reach::Malformed { op })?;
        let mut state = self.shared.state();
        state.open.clone()?;
        // One that was given up is cancelled by the thread before it takes another.
        state.slot = match state.slot {
            Slot::GivenUp => Slot::GivenUp,
            _ => Slot::Asked(message[..bytes].to_vec()),
        };
        self.shared.ring();
        let mut pressed = None;
        loop {
            match std::mem::replace(&mut state.slot, Slot::Empty) {
                Slot::Ended(result) => {
                    let answer = result?;
                    let (head, body) = request::split(&answer).ok_or(Reach::Malformed { op })?;
                    return Ok((head.code, body.to_vec()));
                }
                // The thread has dropped the one before it.
                Slot::Empty => {
                    state.open.clone()?;
                    state.slot = Slot::Asked(message[..bytes].to_vec());
                    self.shared.ring();
                }
                _ if cancel.is_set() && pressed.get_or_insert_with(Instant::now).elapsed() >= GRACE => {
                    state.slot = Slot::GivenUp;
                    self.shared.ring();
                    return Err(Reach::Cancelled);
                }
                waiting => state.slot = waiting,
            }
            let waited = self.shared.changed.wait_timeout(state, TICK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn load(&mut self, _: u64, _: u32) -> Result<Load, Reach> {
        Err(Reach::OverLink)
    }

    fn unload(&mut self) -> Result<Load, Reach> {
        Err(Reach::OverLink)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.shared.state().stop = true;
        self.shared.ring();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has closed its line all the same.
            let _ = thread.join();
        }
    }
}

/// A notice of root's as news; UP is dealt with by whoever keeps track of loads.
pub(super) fn news_of(message: &[u8]) -> Option<News> {
    let (head, body) = request::split(message)?;
    match head.code {
        notice::HALTED => request::body(body).map(News::Halted),
        notice::LAST_WORDS => Some(News::LastWords(String::from_utf8_lossy(body).trim_end().to_owned())),
        notice::GOODBYE => request::body::<Number>(body).map(|number| News::Goodbye(number.value)),
        notice::ABANDONED => Some(News::Abandoned),
        notice::SILENT => request::body::<Number>(body).map(|core| News::Silent(core.value)),
        _ => None,
    }
}
