//! What the target tells unasked, and the queue in which it waits for the session.
//!
//! **Holds always**
//! - N1: every piece of news is taken, applied and shown once, in the order in which it came; but what events said comes before
//!   the halt that it led to.
//! - N2: nothing is shown in the middle of an answer: whoever has a prompt open is knocked at ([`Inbox::knock`]) and
//!   closes it first.
//!
//! **Callers**: the link's thread pushes, a watcher of the open prompt knocks, the session takes.

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
    /// It should have halted and did not: this core was silent.
    Silent(u64),
    /// It was halted, nobody was heard of, and it goes on.
    Abandoned,
    /// A fault of root's own, in its own words.
    LastWords(String),
    /// What events said, and how many messages were lost before that.
    Said {
        /// In the order in which root told them.
        messages: Vec<Message>,
        /// Because nobody fetched them in time.
        lost: u64,
    },
    /// An output cannot be written any more.
    OutputBroke {
        /// Its name.
        name: String,
        /// Why.
        why: std::io::ErrorKind,
    },
    /// Somebody speaks another revision of the link or of the requests.
    OtherVersion(u32),
}

/// A piece of text that a script printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The event; `None`: an evaluation.
    pub event: Option<u32>,
    /// The core.
    pub core: u16,
    /// With the ends of lines that the script gave it.
    pub text: Vec<u8>,
}

impl Message {
    /// As text, without its last end of line.
    #[must_use]
    pub fn line(&self) -> String {
        let bytes = self.text.strip_suffix(b"\n").unwrap_or(&self.text);
        String::from_utf8_lossy(bytes).into_owned()
    }
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
    news: VecDeque<News>,
    /// A prompt is open.
    open: bool,
    /// An open prompt is to be closed, news or not.
    ending: bool,
    /// No prompt will be opened any more.
    closed: bool,
}

impl Inbox {
    /// Adds one.
    pub fn push(&self, news: News) {
        self.queue().news.push_back(news);
        self.changed.notify_all();
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue().news.is_empty()
    }

    /// Takes the oldest piece. Waits for `limit` at most.
    pub fn take(&self, limit: Duration) -> Option<News> {
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

    /// Takes what events said, whatever else waits before it.
    pub fn take_said(&self) -> Vec<News> {
        let mut queue = self.queue();
        let (said, others): (VecDeque<News>, VecDeque<News>) =
            std::mem::take(&mut queue.news).into_iter().partition(|news| matches!(news, News::Said { .. }));
        queue.news = others;
        Vec::from(said)
    }

    /// Whether a prompt is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.queue().open
    }

    /// Whether no prompt will be opened any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue().closed
    }

    /// Says whether a prompt is open.
    pub fn set_open(&self, open: bool) {
        self.queue().open = open;
        self.changed.notify_all();
    }

    /// From now on any open prompt is knocked at, as if there were news: the program is to end.
    pub fn end(&self) {
        self.queue().ending = true;
        self.changed.notify_all();
    }

    /// Ends [`Inbox::knock`] for ever.
    pub fn close(&self) {
        self.queue().closed = true;
        self.changed.notify_all();
    }

    /// Waits until there is news, or the program is to end, while a prompt is open, and knocks until it is closed: every
    /// `again`, since a knock may come before anybody listens. Returns false once the inbox is closed.
    pub fn knock(&self, again: Duration, mut knock: impl FnMut()) -> bool {
        let mut queue = self.queue();
        while !queue.closed && (queue.news.is_empty() && !queue.ending || !queue.open) {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        while !queue.closed && queue.open {
            knock();
            queue = self.changed.wait_timeout(queue, again).unwrap_or_else(PoisonError::into_inner).0;
        }
        !queue.closed
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;

    /// Would catch news that are shown twice or out of order.
    #[test]
    fn news_are_taken_once_and_in_order() {
        let inbox = Inbox::default();
        inbox.push(News::Lost);
        inbox.push(News::Goodbye(0));
        let taken = [(); 3].map(|()| inbox.take(Duration::ZERO));
        assert_eq!(taken, [Some(News::Lost), Some(News::Goodbye(0)), None]);
    }

    /// Would catch a knock without a prompt, a knock that is not repeated, or a watcher that never ends.
    #[test]
    fn an_open_prompt_is_knocked_at_until_it_is_closed() {
        let inbox = Arc::new(Inbox::default());
        let (knocks, knocked) = channel();
        let watcher = thread::spawn({
            let inbox = Arc::clone(&inbox);
            move || while inbox.knock(Duration::from_millis(1), || knocks.send(()).unwrap()) {}
        });
        inbox.push(News::Lost);
        assert!(knocked.try_recv().is_err(), "no prompt is open");
        inbox.set_open(true);
        assert!(knocked.recv().is_ok() && knocked.recv().is_ok(), "twice, since nobody closed it");
        inbox.set_open(false);
        inbox.close();
        watcher.join().unwrap();
    }
}
