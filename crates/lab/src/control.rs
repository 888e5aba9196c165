//! The control channel: shell scripts sent to the agent in the guest, and what became of them.
//!
//! The protocol stands in `guest/agent`. Many jobs may run at once; one thread reads the answers and files them.
//!
//! **Holds always**
//! - J1: an answer is given out once, to whoever waits for its id.
//! - J2: when the guest boots again the jobs it had never answer: whoever waits for one is told at once.

use std::{
    collections::HashMap,
    fmt::Write as _,
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Bytes of one answer at most; a longer one is taken for a broken channel.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What a job did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit status; 128 + n if signal n ended it.
    pub status: i32,
    /// What it wrote, standard output and standard error in the order of writing.
    pub bytes: Vec<u8>,
}

impl Output {
    /// What it wrote, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Whether it ended with 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.status == 0
    }
}

/// A script that runs in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a job is waited for, or forgotten on purpose"]
pub struct Job {
    /// Its number in the guest: `/run/lab/<id>.pid` holds its session while it runs.
    pub id: u64,
    boot: u64,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    Late,
    Closed,
    Rebooted,
}

#[derive(Default)]
struct State {
    boots: u64,
    boot_id: String,
    answers: HashMap<u64, Output>,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The host's end of the channel.
pub(crate) struct Control {
    writer: UnixStream,
    shared: Arc<Shared>,
    next: u64,
}

impl Control {
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let reader = BufReader::new(stream.try_clone()?);
        let filed = Arc::clone(&shared);
        thread::spawn(move || {
            // However reading ends, whoever waits must know.
            let _ = read_answers(reader, &filed);
            filed.lock().closed = true;
            filed.changed.notify_all();
        });
        Ok(Self { writer: stream, shared, next: 1 })
    }

    /// Starts a script.
    pub(crate) fn start(&mut self, script: &str) -> io::Result<Job> {
        let id = self.next;
        self.next += 1;
        let boot = self.shared.lock().boots;
        self.writer.write_all(request(id, script).as_bytes())?;
        Ok(Job { id, boot })
    }

    /// Waits for a job's end.
    pub(crate) fn wait(&self, job: Job, limit: Duration) -> Result<Output, NoAnswer> {
        self.shared.wait(limit, |state| match state.answers.remove(&job.id) {
            Some(output) => Some(Ok(output)),
            None => (state.boots != job.boot).then_some(Err(NoAnswer::Rebooted)),
        })?
    }

    /// Waits until the agent has said for the n-th time that it listens; its boot id.
    pub(crate) fn ready(&self, boots: u64, limit: Duration) -> Result<String, NoAnswer> {
        self.shared.wait(limit, |state| (state.boots >= boots).then(|| state.boot_id.clone()))
    }

    /// How often the agent has said that it listens.
    pub(crate) fn boots(&self) -> u64 {
        self.shared.lock().boots
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<T>(&self, limit: Duration, mut look: impl FnMut(&mut State) -> Option<T>) -> Result<T, NoAnswer> {
        let until = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&mut state) {
                return Ok(found);
            }
            if state.closed {
                return Err(NoAnswer::Closed);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NoAnswer::Late);
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn read_answers(mut reader: impl BufRead, shared: &Shared) -> io::Result<()> {
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        // The first line after a boot may have noise of the port's set-up before it.
        let line = String::from_utf8_lossy(&line);
        if let Some((_, boot_id)) = line.split_once("READY ") {
            let mut state = shared.lock();
            state.boots += 1;
            boot_id.trim_end().clone_into(&mut state.boot_id);
            state.answers.clear();
        } else if let Some((id, status, bytes)) = parse_done(&line) {
            let mut room = vec![0; bytes];
            reader.read_exact(&mut room)?;
            shared.lock().answers.insert(id, Output { status, bytes: room });
        }
        shared.changed.notify_all();
    }
}

fn parse_done(line: &str) -> Option<(u64, i32, usize)> {
    let mut words = line.strip_prefix("DONE ")?.split_ascii_whitespace();
    let done = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (words.next().is_none() && done.2 <= ANSWER_BYTES_MAX).then_some(done)
}

/// One line: the id and the script, everything but letters and digits written in octal for `printf %b`.
fn request(id: u64, script: &str) -> String {
    let mut line = format!("{id} ");
    for byte in script.bytes() {
        if byte.is_ascii_alphanumeric() {
            line.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(line, "\\0{byte:03o}");
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A channel whose guest end is ours.
    fn channel() -> (Control, UnixStream) {
        let (host, guest) = UnixStream::pair().unwrap();
        (Control::new(host).unwrap(), guest)
    }

    const LIMIT: Duration = Duration::from_secs(10);

    /// Would catch output that is taken for protocol, and answers given to the wrong job.
    #[test]
    fn answers_find_their_jobs_in_any_order_and_may_hold_anything() {
        let (mut control, mut guest) = channel();
        let first = control.start("one").unwrap();
        let second = control.start("two").unwrap();
        guest.write_all(b"DONE 2 0 13\nDONE 1 0 0\n\0\xffDONE 1 7 2\nab").unwrap();
        assert_eq!(control.wait(first, LIMIT).unwrap(), Output { status: 7, bytes: b"ab".to_vec() });
        assert_eq!(control.wait(second, LIMIT).unwrap().bytes, b"DONE 1 0 0\n\0\xff");
    }

    /// Would catch a wait to the limit for a guest that is dead, and one for a job of an earlier boot.
    #[test]
    fn a_wait_ends_at_once_when_the_guest_reboots_or_dies() {
        let (mut control, mut guest) = channel();
        guest.write_all(b"\0noise READY a\n").unwrap();
        assert_eq!(control.ready(1, LIMIT).unwrap(), "a");
        let job = control.start("x").unwrap();
        guest.write_all(b"READY b\n").unwrap();
        assert_eq!(control.wait(job, LIMIT).unwrap_err(), NoAnswer::Rebooted);
        let job = control.start("x").unwrap();
        drop(guest);
        assert_eq!(control.wait(job, LIMIT).unwrap_err(), NoAnswer::Closed);
    }

    /// Would catch a script that is cut at a line's end or read as an escape.
    #[test]
    fn a_request_is_one_line_whatever_the_script() {
        assert_eq!(request(3, "a\n\\0é"), "3 a\\0012\\01340\\0303\\0251\n");
    }
}
