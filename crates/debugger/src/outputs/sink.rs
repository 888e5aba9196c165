//! One open output: a bounded queue, and a thread that writes.
//!
//! **Holds always**
//! - K1: brought = written + waiting + lost. A message is written when all of its bytes are.
//! - K2: once something was cut, nothing follows: the reader would take it for the rest.
//!
//! **Cost**: bringing is one lock and no wait. **Proof**: tests below.

use super::Counts;
use super::open::End;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that wait for a slow reader: what is brought beyond them is lost.
const QUEUE_BYTES_MAX: usize = 1 << 20;
/// What a message takes beside its bytes.
const MESSAGE_OVERHEAD: usize = 64;
/// How long a reader that takes nothing is left alone before the next try.
const AGAIN: Duration = Duration::from_millis(10);
/// How long the thread may take to notice that it is not waited for any more.
const ABANDON_LIMIT: Duration = Duration::from_millis(500);

/// What both sides look at.
#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<[u8]>>,
    bytes: usize,
    /// One is being written.
    writing: bool,
    counts: Counts,
    /// No more will come.
    ending: bool,
    /// And nobody waits for what is there.
    abandoned: bool,
    /// The thread has ended.
    done: bool,
    broken: Option<ErrorKind>,
}

impl Queue {
    fn counts(&self) -> Counts {
        Counts { waiting: self.waiting.len() as u64 + u64::from(self.writing), ..self.counts }
    }

    /// What waits is lost.
    fn give_up(&mut self) {
        self.counts.lost += self.counts().waiting;
        self.waiting.clear();
        (self.bytes, self.writing) = (0, false);
    }
}

/// The side that brings messages.
pub(super) struct Sink(Arc<Shared>);

impl Sink {
    /// Writes to this; `broke` is called once if that fails.
    pub(super) fn new(end: End, broke: impl FnOnce(ErrorKind) + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            if let Some(why) = theirs.write(end) {
                broke(why);
            }
        })?;
        Ok(Self(shared))
    }

    /// Brings a message; false: it is lost.
    pub(super) fn push(&self, message: &Arc<[u8]>) -> bool {
        let mut queue = self.0.queue();
        let fits = queue.bytes + message.len() + MESSAGE_OVERHEAD <= QUEUE_BYTES_MAX && queue.broken.is_none() && !queue.ending;
        if fits {
            queue.bytes += message.len() + MESSAGE_OVERHEAD;
            queue.waiting.push_back(Arc::clone(message));
            self.0.changed.notify_all();
        } else {
            queue.counts.lost += 1;
        }
        fits
    }

    /// What it did.
    pub(super) fn counts(&self) -> Counts {
        self.0.queue().counts()
    }

    /// Why it writes no more.
    pub(super) fn broken(&self) -> Option<ErrorKind> {
        self.0.queue().broken
    }

    /// No more will come.
    pub(super) fn end(&self) {
        self.0.queue().ending = true;
        self.0.changed.notify_all();
    }

    /// Waits until what was brought is written, until then at most; what it did.
    pub(super) fn close(self, until: Instant) -> Counts {
        self.end();
        let queue = self.0.wait_done(self.0.queue(), until);
        let mut queue = self.0.abandon(queue);
        if !queue.done {
            queue = self.0.wait_done(queue, Instant::now() + ABANDON_LIMIT);
        }
        // A thread that hangs in the kernel still has one.
        queue.give_up();
        queue.counts
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.0.abandon(self.0.queue()));
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn abandon<'q>(&self, mut queue: MutexGuard<'q, Queue>) -> MutexGuard<'q, Queue> {
        (queue.ending, queue.abandoned) = (true, true);
        self.changed.notify_all();
        queue
    }

    fn wait_done<'q>(&self, mut queue: MutexGuard<'q, Queue>, until: Instant) -> MutexGuard<'q, Queue> {
        while !queue.done {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue = self.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue
    }

    /// Writes what comes, until the end; why it could not.
    fn write(&self, mut end: End) -> Option<ErrorKind> {
        while let Some(message) = self.next() {
            let written = self.write_one(&mut end, &message);
            let mut queue = self.queue();
            match written {
                Ok(true) if queue.writing => {
                    queue.writing = false;
                    queue.bytes -= message.len() + MESSAGE_OVERHEAD;
                    queue.counts.messages += 1;
                    queue.counts.bytes += message.len() as u64;
                    self.changed.notify_all();
                }
                Ok(_) => break,
                Err(why) => {
                    queue.broken = Some(why.kind());
                    queue.give_up();
                    queue.done = true;
                    self.changed.notify_all();
                    return Some(why.kind());
                }
            }
        }
        // The other end sees the end before anybody is told that it is there.
        drop(end);
        let mut queue = self.queue();
        queue.give_up();
        queue.done = true;
        self.changed.notify_all();
        None
    }

    fn next(&self) -> Option<Arc<[u8]>> {
        let mut queue = self.queue();
        loop {
            if queue.abandoned {
                return None;
            }
            if let Some(message) = queue.waiting.pop_front() {
                queue.writing = true;
                return Some(message);
            }
            if queue.ending {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// False: nobody waits for it any more.
    fn write_one(&self, end: &mut End, mut rest: &[u8]) -> io::Result<bool> {
        while !rest.is_empty() {
            match end.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => rest = &rest[bytes..],
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    let queue = self.queue();
                    if queue.abandoned {
                        return Ok(false);
                    }
                    drop(self.changed.wait_timeout(queue, AGAIN).unwrap_or_else(PoisonError::into_inner));
                }
                Err(why) => return Err(why),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::channel;

    fn pair() -> (End, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Box::new(ours), theirs)
    }

    /// A kilobyte that says which one it is.
    fn numbered(number: u32) -> Arc<[u8]> {
        format!("{number:1023}\n").into_bytes().into()
    }

    /// Would catch who brings messages waiting for a reader that takes none, a message that is torn, twice there or out of
    /// order, and a count that does not add up.
    #[test]
    fn a_slow_reader_gets_whole_messages_in_their_order_and_the_others_are_counted() {
        let (end, mut theirs) = pair();
        let sink = Sink::new(end, |_| panic!("not broken")).unwrap();
        let brought = 5000_u32;
        let taken: Vec<u32> = (0..brought).filter(|number| sink.push(&numbered(*number))).collect();
        assert!((900..2000).contains(&taken.len()), "a megabyte, and what the socket holds: {}", taken.len());
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            theirs.read_to_end(&mut bytes).map(|_| bytes)
        });
        let counts = sink.close(Instant::now() + Duration::from_secs(30));
        let bytes = reader.join().unwrap().unwrap();
        let expected: Vec<u8> = taken.iter().flat_map(|number| numbered(*number).to_vec()).collect();
        assert!(bytes == expected, "{} bytes of {}", bytes.len(), expected.len());
        let lost = u64::from(brought) - taken.len() as u64;
        assert_eq!(counts, Counts { messages: taken.len() as u64, bytes: bytes.len() as u64, waiting: 0, lost });
    }

    /// Would catch a closing that hangs on a reader that takes nothing, and one that forgets what it did not write.
    #[test]
    fn closing_does_not_wait_for_a_reader_that_takes_nothing() {
        let (end, theirs) = pair();
        let sink = Sink::new(end, |_| panic!("not broken")).unwrap();
        (0..900).for_each(|number| assert!(sink.push(&numbered(number))));
        let counts = sink.close(Instant::now());
        assert_eq!((counts.messages + counts.lost, counts.waiting), (900, 0));
        assert!(counts.lost > 0);
        drop(theirs);
    }

    /// Would catch a reader that goes away and is not told of, or told of twice, and messages that are lost by that uncounted.
    #[test]
    fn a_reader_that_goes_away_is_told_once_and_everything_else_is_counted_as_lost() {
        let (end, theirs) = pair();
        let (tell, told) = channel();
        let sink = Sink::new(end, move |why| tell.send(why).unwrap()).unwrap();
        drop(theirs);
        sink.push(&numbered(0));
        assert_eq!(told.recv().unwrap(), ErrorKind::BrokenPipe);
        assert!(!sink.push(&numbered(1)));
        assert_eq!(sink.broken(), Some(ErrorKind::BrokenPipe));
        let counts = sink.close(Instant::now());
        assert_eq!(counts, Counts { messages: 0, bytes: 0, waiting: 0, lost: 2 });
        assert!(told.recv().is_err(), "once");
    }
}
