//! What a session waits for: a debuggee that answers, pages, a goodbye, time.

use super::Session;
use crate::answer::By;
use crate::book::Book;
use crate::error::{Error, Reach};
use crate::line::Line;
use crate::news::{Met, News};
use crate::state::{State, Verdict};
use crate::target::device::Device;
use crate::target::remote::{Address, Remote};
use abi::request::{Halted, StepAsk, op, reason};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// How long news is waited for before CTRL+C is looked at again.
const TICK: Duration = Duration::from_millis(50);

impl Session {
    /// Sets how long Linux may take to hand over pages, for those who cannot wait 30 s: tests.
    pub fn set_fetch_limit(&mut self, limit: Duration) {
        self.fetch_limit = limit;
    }

    /// Sets how often who watches looks, for those who cannot wait half a second: tests.
    pub fn set_watch_pace(&mut self, pace: Duration) {
        self.watch_pace = pace;
    }

    /// Waits for the end of a fetch; `Err` with the limit if Linux does not answer in time.
    pub(crate) fn wait_for_fetch(&mut self) -> Result<Result<Halted, Duration>, Error> {
        let end = Instant::now() + self.fetch_limit;
        while Instant::now() < end {
            if self.cancel.is_set() {
                return Err(Error::Cancelled);
            }
            let Some(news) = self.inbox.take(TICK) else { continue };
            self.learn(&news);
            if let News::Halted(halted) = news
                && matches!(halted.reason, reason::FETCHED | reason::FETCH_FAILED)
            {
                return Ok(Ok(halted));
            }
            if let News::Silent(core) = news {
                return Err(Error::FetchUnhalted(core));
            }
            self.show(&news);
            if self.state == State::Away || matches!(news, News::Met { how: Met::Back | Met::Unannounced, .. }) {
                return Err(Error::FetchLost);
            }
        }
        Ok(Err(self.fetch_limit))
    }

    /// Executes instructions of the selected core, and waits until the debuggee is halted again: behind them, or by what halted it
    /// before. CTRL+C halts it.
    pub(crate) fn step(&mut self, count: u64, how: u32) -> Result<Halted, Error> {
        let ask = StepAsk { count, how, zero: 0 };
        self.order(op::STEP, ask.as_bytes())?;
        self.runs();
        self.wait_for_halt()
    }

    /// Waits until something halts the debuggee, as CTRL+C does.
    pub(crate) fn wait_for_halt(&mut self) -> Result<Halted, Error> {
        loop {
            if self.cancel.is_set() {
                return self.pause();
            }
            let Some(news) = self.inbox.take(TICK) else { continue };
            self.learn(&news);
            match news {
                News::Halted(halted) => {
                    if matches!(halted.reason, reason::EVENT | reason::BREAKPOINT) {
                        self.hear_before_a_halt();
                    }
                    return Ok(halted);
                }
                News::Silent(core) => return Err(Error::StepsUnhalted(core)),
                _ => {}
            }
            self.show(&news);
            if self.state == State::Away || matches!(news, News::Met { how: Met::Back | Met::Unannounced, .. }) {
                return Err(Error::StepsLost);
            }
        }
    }

    /// Waits until the debuggee says why it goes away, and takes that for said.
    pub(crate) fn wait_for_goodbye(&mut self, limit: Duration) -> Result<Option<u64>, Error> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if self.cancel.is_set() {
                return Err(Error::Cancelled);
            }
            let Some(news) = self.inbox.take(TICK) else { continue };
            self.learn(&news);
            if let News::Goodbye(why) = news {
                return Ok(Some(why));
            }
            self.show(&news);
        }
        Ok(None)
    }

    /// Waits, unless CTRL+C is pressed.
    pub(crate) fn sleep(&mut self, time: Duration) -> Result<(), Error> {
        let end = Instant::now() + time;
        loop {
            if self.cancel.is_set() {
                return Err(Error::Cancelled);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if let Some(news) = self.inbox.take(left.min(TICK)) {
                self.learn(&news);
                self.show(&news);
            } else {
                self.hear();
            }
        }
    }

    /// Connects to a debuggee at the other end of a line and waits for its first answer.
    ///
    /// # Errors
    /// If nobody answers within `limit`; with `patient` false at once if the line cannot be opened. The line is tried
    /// on and on all the same, until [`Session::disconnect`].
    pub fn connect(&mut self, address: Address, limit: Duration, patient: bool) -> Result<(), Error> {
        self.disconnect();
        let name = address.to_string();
        let opened = Remote::open(address, Arc::clone(&self.inbox));
        let opened = opened.map_err(|why| Reach::NoDebuggee { address: name, why: Some(why.kind()) })?;
        *self.target() = Box::new(opened);
        let end = Instant::now() + limit;
        loop {
            if let Some(news) = self.inbox.take(TICK) {
                self.learn(&news);
                match news {
                    // Who answers is said by whoever connects.
                    News::Met { .. } => return Ok(()),
                    News::OtherVersion(theirs) => return Err(Error::Reach(Reach::Protocol { theirs })),
                    news => self.show(&news),
                }
            }
            if self.cancel.is_set() {
                return Err(Error::Cancelled);
            }
            // The target knows why: a call fails at once while nobody has answered.
            let late = Instant::now() >= end;
            let cancel = self.cancel.clone();
            let answer = self.target().call(op::HELLO, &[], &cancel);
            match answer {
                Err(reach @ Reach::NoDebuggee { why: Some(_), .. }) if late || !patient => return Err(reach.into()),
                Err(reach) if late => return Err(reach.into()),
                _ => {}
            }
        }
    }

    /// As [`Session::connect`] for a line given when the program started: what goes wrong is printed.
    pub fn connect_at_start(&mut self, address: Address, limit: Duration) -> Verdict {
        match self.connect(address, limit, true) {
            Ok(()) => Verdict::Done,
            Err(error) => self.print_error(&Line::new(""), By::Itself, &[], &error),
        }
    }

    /// Closes the link, if there is one: back to this machine's device.
    pub fn disconnect(&mut self) {
        *self.target() = Box::new(Device::new());
        self.state = State::Unknown;
        self.hello = None;
        self.seen.clear();
        self.end_view();
        self.names.forget();
        self.book = Book::new(self.outputs.clone(), self.names.clone());
        while self.inbox.take(Duration::ZERO).is_some() {}
    }
}
