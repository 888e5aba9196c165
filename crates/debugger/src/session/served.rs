//! A session that somebody else drives, a look at a time: a debugger of another kind.

use super::Session;
use crate::book::Registered;
use crate::error::Error;
use crate::news::{Met, News};
use abi::request::{Halted, reason};
use std::time::Duration;

/// What a debuggee does that was let run.
pub(crate) enum Turn {
    /// It runs.
    Runs,
    /// It halted.
    Halted(Halted),
    /// It is not there any more, or is another load.
    Gone,
}

impl Session {
    /// Waits so long at most for what becomes of a debuggee that runs. Other news are shown.
    pub(crate) fn turn(&mut self, limit: Duration) -> Result<Turn, Error> {
        let Some(news) = self.inbox.take(limit) else { return Ok(Turn::Runs) };
        self.learn(&news);
        if let News::Halted(halted) = news {
            if matches!(halted.reason, reason::EVENT | reason::BREAKPOINT) {
                self.hear_before_a_halt();
            }
            return Ok(Turn::Halted(halted));
        }
        self.show(&news);
        match news {
            News::Goodbye(_) | News::LastWords(_) | News::Met { how: Met::Back | Met::Unannounced, .. } => Ok(Turn::Gone),
            // What was told while the line was cut is not told again.
            News::Met { hello, .. } if hello.halted != 0 => self.pause().map(Turn::Halted),
            _ => Ok(Turn::Runs),
        }
    }

    /// Fetches what events said, if one of them has something to say: it is asked for over the line that the guest waits at.
    pub(crate) fn hear_speakers(&mut self) {
        let speaks = |registered: &Option<Registered>| registered.as_ref().is_none_or(|its| its.program.is_some());
        if self.book.events.values().any(speaks) {
            self.hear();
        }
    }

    /// Whatever ended the requests before must not end those that follow.
    pub(crate) fn undo_cancel(&mut self) {
        self.cancel = self.cancel.for_the_last();
    }

    /// Takes halts for known that were told before the last request was answered, and shows other news.
    pub(crate) fn settle(&mut self) {
        while let Some(news) = self.inbox.take(Duration::ZERO) {
            if !matches!(news, News::Halted(_)) {
                self.learn(&news);
                self.show(&news);
            }
        }
    }
}
