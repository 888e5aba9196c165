//! What the target tells unasked, and the queue in which it waits for whoever shows it.
//!
//! **Holds always**
//! - N1: every piece of news is applied to the session's state exactly once ([`Inbox::take`]).
//! - N2: it is shown exactly once: by [`Inbox::tell`] while a prompt is open, else by whoever takes it.
//!
//! **Callers**: the link's thread pushes, the watcher of an open prompt tells, the session takes.

use abi::request::{Halted, Hello};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// News of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The debuggee answered: at the beginning, after a break of the line, or as it came up.
    Met {
        /// Who.
        hello: Hello,
        /// How it differs from before.
        how: Met,
    },
    /// The line is cut or the debuggee fell silent.
    Lost,
    /// The debuggee says goodbye; one of [`abi::request::goodbye`].
    Goodbye(u64),
    /// Every core is halted, and it was not the answer to a request.
    Halted(Halted),
    /// A fault of root's own, in its own words.
    LastWords(String),
    /// Somebody speaks another revision of the link or of the requests.
    OtherVersion(u32),
}

/// How the debuggee comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// For the first time.
    First,
    /// The same load of the hypervisor as before.
    Again,
    /// Another load, after a goodbye or with word of it.
    Back,
    /// Another load, and nobody heard the goodbye.
    Unannounced,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Inbox {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// Each with whether it was shown.
    news: VecDeque<(News, bool)>,
    /// A prompt is open, so [`Inbox::tell`] may show.
    open: bool,
    /// No prompt will be opened any more.
    closed: bool,
}

impl Inbox {
    /// Adds one.
    pub fn push(&self, news: News) {
        self.queue().news.push_back((news, false));
        self.changed.notify_all();
    }

    /// Says whether a prompt is open: only then does [`Inbox::tell`] return anything.
    pub fn set_open(&self, open: bool) {
        self.queue().open = open;
        self.changed.notify_all();
    }

    /// Ends [`Inbox::tell`] for ever.
    pub fn close(&self) {
        self.queue().closed = true;
        self.changed.notify_all();
    }

    /// Waits for a piece that was not shown yet while a prompt is open, and gives it to `show`; it stays for
    /// [`Inbox::take`]. No prompt can be closed in between, so nothing is shown in the middle of an answer. Returns
    /// false once the inbox is closed.
    pub fn tell(&self, show: impl FnOnce(&News)) -> bool {
        let mut queue = self.queue();
        loop {
            if queue.closed {
                return false;
            }
            if queue.open
                && let Some((news, told)) = queue.news.iter_mut().find(|(_, told)| !told)
            {
                *told = true;
                show(news);
                return true;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the oldest piece, with whether it was shown. Waits for `limit` at most.
    pub fn take(&self, limit: Duration) -> Option<(News, bool)> {
        let mut queue = self.queue();
        let end = Instant::now() + limit;
        loop {
            if let Some(first) = queue.news.pop_front() {
                return Some(first);
            }
            let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            queue = self.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch news that is shown twice, that is shown without a prompt, or that never reaches the session.
    #[test]
    fn what_was_told_is_still_taken_and_told_once() {
        let inbox = Inbox::default();
        inbox.push(News::Lost);
        inbox.set_open(true);
        assert!(inbox.tell(|news| assert_eq!(*news, News::Lost)));
        inbox.set_open(false);
        inbox.push(News::Goodbye(0));
        assert_eq!(inbox.take(Duration::ZERO), Some((News::Lost, true)));
        inbox.close();
        assert!(!inbox.tell(|_| panic!("no prompt is open")));
        assert_eq!(inbox.take(Duration::ZERO), Some((News::Goodbye(0), false)));
        assert_eq!(inbox.take(Duration::ZERO), None);
    }
}
