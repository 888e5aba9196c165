//! The thread that owns the line to a debuggee.
//!
//! It opens the line again and again, says HELLO on it until somebody of our protocol answers, carries the prompt's
//! requests, and tells the inbox what comes unasked. Rules: R1 to R3 of [`super::remote`].
//!
//! **Holds always**
//! - W1: the prompt's request and a HELLO of the thread's own are never on the link at once.
//! - W2: a break of the line, a goodbye and a return are each told once.
//!
//! **Cost**: sleeps in `poll` between bytes, and [`RETRY`] between two attempts to open the line.

use super::address::Address;
use super::remote::{Shared, Slot, news_of};
use crate::error::Reach;
use crate::news::{Inbox, Met, News};
use abi::request::{self, Attend, Hello, MESSAGE_BYTES_MAX, notice, op};
use abi::{PROTOCOL, code};
use link::{Client, Event};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// Between two attempts to open the line.
const RETRY: Duration = Duration::from_millis(200);
/// Milliseconds for one HELLO; then it is said anew, in a session of its own.
const HELLO_MS: u64 = 1000;
/// Milliseconds between two words that somebody is at the prompt, while the debuggee is halted.
const ATTEND_MS: u64 = 2000;
/// Milliseconds of silence behind which a halted debuggee goes on.
const ATTEND_LIMIT_MS: u64 = 10_000;
const _: () = assert!(4 * ATTEND_MS <= ATTEND_LIMIT_MS, "some may be late");
/// Milliseconds that nothing is sent after a goodbye, so that what is under way can end.
const GOODBYE_MS: u64 = 500;

/// What is on the link.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asking {
    Nothing,
    Hello,
    /// By [`op::ATTEND`].
    Attend,
    /// The prompt's request of this number.
    ForPrompt(u32),
}

/// The line and what is known of the debuggee.
pub(super) struct Wire {
    address: Address,
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    ear: UnixStream,
    client: Client,
    begun: Instant,
    asking: Asking,
    /// When the prompt's request was sent.
    asked_at_ms: u64,
    /// The debuggee answered, and has not gone since.
    met: bool,
    /// When to say HELLO, while `met` is false.
    hello_at_ms: u64,
    /// What this prompt is called by root.
    who: u64,
    /// When to say that somebody is there; `None`: while the debuggee runs, or shall be left as it is.
    attend_at_ms: Option<u64>,
    /// Whether it is halted, and waits for this prompt.
    halted: bool,
    last_boot_id: Option<u64>,
    /// It said goodbye since it was last met.
    announced: bool,
    /// The other version was told.
    told_version: bool,
}

impl Wire {
    /// Nothing is opened yet.
    pub(super) fn new(address: Address, shared: Arc<Shared>, inbox: Arc<Inbox>, ear: UnixStream) -> Self {
        // Every hasher of the standard library begins with a random key: enough for a number that differs each time.
        let random = RandomState::new().build_hasher().finish();
        let session = u32::try_from(random >> 32).unwrap_or(1);
        Self {
            address,
            shared,
            inbox,
            ear,
            client: Client::new(session),
            begun: Instant::now(),
            asking: Asking::Nothing,
            asked_at_ms: 0,
            met: false,
            hello_at_ms: 0,
            who: random,
            attend_at_ms: None,
            halted: false,
            last_boot_id: None,
            announced: false,
            told_version: false,
        }
    }

    /// Runs until the prompt says stop.
    pub(super) fn run(mut self) {
        while !self.stopped() {
            match self.address.open() {
                Ok(line) => {
                    self.hello_at_ms = self.now_ms();
                    if self.last_boot_id.is_none() {
                        self.shared.set_open(Err(Reach::NoDebuggee { address: self.address.to_string(), why: None }));
                    }
                    self.serve(&line);
                    self.gone(None);
                }
                Err(why) if self.last_boot_id.is_none() => {
                    self.shared.set_open(Err(Reach::NoDebuggee { address: self.address.to_string(), why: Some(why.kind()) }));
                }
                Err(_) => {}
            }
            self.rest(RETRY);
        }
    }

    /// Carries bytes until the line ends or the prompt says stop.
    fn serve(&mut self, line: &OwnedFd) {
        let mut room = [0; 4096];
        while !self.stopped() {
            self.ask();
            if self.send(line).is_err() {
                return;
            }
            self.wait(line);
            let _ = read(&self.ear, &mut [0; 64]);
            match read(line, &mut room) {
                Ok(0) => return,
                Ok(bytes) => self.receive(&room[..bytes]),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return,
            }
            let now_ms = self.now_ms();
            if self.client.poll(now_ms).is_some() {
                self.silent(now_ms);
            }
        }
    }

    /// Puts the next request on the link, if it is free.
    fn ask(&mut self) {
        let now_ms = self.now_ms();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        if matches!(state.slot, Slot::GivenUp) {
            state.slot = Slot::Empty;
            if matches!(self.asking, Asking::ForPrompt(_)) {
                self.client.cancel();
                self.asking = Asking::Nothing;
            }
        }
        if self.asking != Asking::Nothing {
            return;
        }
        if self.met {
            if let Slot::Asked(message) = &state.slot
                && self.client.request(now_ms, message).is_ok()
            {
                let what = request::split(message).map_or(0, |(head, _)| head.code);
                state.slot = Slot::Sent;
                self.asking = Asking::ForPrompt(what);
                self.asked_at_ms = now_ms;
            } else if self.attend_at_ms.is_some_and(|at_ms| now_ms >= at_ms) {
                drop(state);
                self.attend(now_ms);
            }
        } else if now_ms >= self.hello_at_ms {
            let mut message = [0; MESSAGE_BYTES_MAX];
            let bytes = request::write(&mut message, op::HELLO, &[]).unwrap_or(0);
            if self.client.request_until(now_ms, &message[..bytes], now_ms + HELLO_MS).is_ok() {
                self.asking = Asking::Hello;
            }
        }
    }

    /// Says that somebody is there.
    fn attend(&mut self, now_ms: u64) {
        let ask = Attend { who: self.who, limit_ms: ATTEND_LIMIT_MS };
        let mut message = [0; MESSAGE_BYTES_MAX];
        let bytes = request::write(&mut message, op::ATTEND, ask.as_bytes()).unwrap_or(0);
        self.attend_at_ms = self.halted.then_some(now_ms + ATTEND_MS);
        if self.client.request(now_ms, &message[..bytes]).is_ok() {
            self.asking = Asking::Attend;
        }
    }

    /// The debuggee is halted or runs.
    fn is_halted(&mut self, halted: bool) {
        self.halted = halted;
        self.attend_at_ms = halted.then(|| self.attend_at_ms.unwrap_or_else(|| self.now_ms()));
    }

    /// What the prompt asked was done.
    fn done(&mut self, what: u32) {
        match what {
            op::PAUSE => self.is_halted(true),
            // The prompt says how the debuggee is to be left.
            op::GO | op::STEP | op::FETCH | op::UNLOAD | op::ATTEND => self.is_halted(false),
            _ => {}
        }
    }

    fn send(&mut self, line: &OwnedFd) -> Result<(), Errno> {
        while !self.client.outgoing().is_empty() {
            match write(line, self.client.outgoing()) {
                Ok(bytes) => self.client.sent(bytes),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// Sleeps until a byte comes, one can leave, the prompt rings or the clock says so.
    fn wait(&self, line: &OwnedFd) {
        let now_ms = self.now_ms();
        let hello = (!self.met && self.asking == Asking::Nothing).then_some(self.hello_at_ms);
        let attend = self.attend_at_ms.filter(|_| self.met && self.asking == Asking::Nothing);
        let wake_ms = [self.client.wake_ms(), hello, attend].into_iter().flatten().min();
        let limit = wake_ms.map(|wake_ms| timespec(Duration::from_millis(wake_ms.saturating_sub(now_ms))));
        let mut wanted = PollFlags::IN;
        if !self.client.outgoing().is_empty() {
            wanted |= PollFlags::OUT;
        }
        let mut both =
            [PollFd::from_borrowed_fd(line.as_fd(), wanted), PollFd::from_borrowed_fd(self.ear.as_fd(), PollFlags::IN)];
        // An interrupted sleep ends early, and everything is looked at afresh.
        let _ = poll(&mut both, limit.as_ref());
    }

    fn receive(&mut self, mut bytes: &[u8]) {
        loop {
            // The payload lies in the client, which the reaction to it needs as a whole.
            let (what, payload) = match self.client.receive(&mut bytes) {
                None => return,
                Some(Event::Answer(payload)) => (What::Answer, payload.to_vec()),
                Some(Event::Notice(payload) | Event::Datagram(payload)) => (What::Told, payload.to_vec()),
                Some(Event::Forgotten) => (What::Forgotten, Vec::new()),
                Some(Event::OtherVersion { theirs }) => (What::OtherVersion(theirs), Vec::new()),
            };
            match what {
                What::Answer => match std::mem::replace(&mut self.asking, Asking::Nothing) {
                    Asking::Hello => self.greeted(&payload),
                    Asking::ForPrompt(what) => {
                        if request::split(&payload).is_some_and(|(head, _)| head.code == code::SUCCESS) {
                            self.done(what);
                        }
                        self.shared.end(Ok(payload));
                    }
                    Asking::Attend | Asking::Nothing => {}
                },
                What::Told => self.told(&payload),
                What::Forgotten => {
                    if matches!(std::mem::replace(&mut self.asking, Asking::Nothing), Asking::ForPrompt(_)) {
                        self.shared.end(Err(Reach::Forgotten));
                    }
                    self.met = false;
                    self.hello_at_ms = self.now_ms();
                }
                What::OtherVersion(theirs) => self.other_version(theirs.into()),
            }
        }
    }

    fn greeted(&mut self, answer: &[u8]) {
        self.hello_at_ms = self.now_ms() + HELLO_MS;
        let Some((head, body)) = request::split(answer) else { return };
        match request::body::<Hello>(body) {
            Some(hello) if head.code == code::SUCCESS => self.meet(hello),
            // A HELLO of another size is that of another protocol.
            _ => self.other_version(0),
        }
    }

    fn meet(&mut self, hello: Hello) {
        if hello.protocol != PROTOCOL {
            self.other_version(hello.protocol);
            return;
        }
        let same = self.last_boot_id == Some(hello.boot_id);
        let how = match self.last_boot_id {
            _ if self.met && same => return,
            None => Met::First,
            Some(_) if self.announced => Met::Back,
            Some(_) if same => Met::Again,
            Some(_) => Met::Unannounced,
        };
        self.met = true;
        self.announced = false;
        // Said at once, also of one that runs: what another prompt has left is cleared then.
        self.halted = hello.halted != 0;
        self.attend_at_ms = Some(self.now_ms());
        self.last_boot_id = Some(hello.boot_id);
        self.shared.set_open(Ok(()));
        self.inbox.push(News::Met { hello, how });
    }

    fn told(&mut self, message: &[u8]) {
        if let Some((head, body)) = request::split(message)
            && head.code == notice::UP
        {
            if let Some(hello) = request::body::<Hello>(body) {
                // What was asked of the load before this one is answered by nobody, and this one does not know the session.
                if self.last_boot_id != Some(hello.boot_id) {
                    self.drop_request(Reach::Forgotten);
                    self.client = Client::new(self.client.session().wrapping_add(1));
                }
                self.meet(hello);
            }
            return;
        }
        let Some(news) = news_of(message) else { return };
        if matches!(news, News::Goodbye(_) | News::LastWords(_)) {
            self.gone(Some(news));
        } else {
            match news {
                News::Halted(_) => self.is_halted(true),
                News::Abandoned | News::Silent(_) => self.is_halted(false),
                _ => {}
            }
            self.inbox.push(news);
        }
    }

    /// The debuggee goes away, in its own words, or the line is cut.
    fn gone(&mut self, news: Option<News>) {
        let away = Reach::Away { address: self.address.to_string() };
        if self.last_boot_id.is_some() {
            self.shared.set_open(Err(away.clone()));
        }
        self.drop_request(away);
        self.hello_at_ms = self.now_ms() + GOODBYE_MS;
        self.attend_at_ms = None;
        let was_met = std::mem::replace(&mut self.met, false);
        match news {
            Some(news) => {
                self.announced = true;
                self.inbox.push(news);
            }
            None if was_met => self.inbox.push(News::Lost),
            None => {}
        }
    }

    fn drop_request(&mut self, why: Reach) {
        self.client.cancel();
        self.asking = Asking::Nothing;
        self.shared.end(Err(why));
    }

    fn silent(&mut self, now_ms: u64) {
        match std::mem::replace(&mut self.asking, Asking::Nothing) {
            Asking::ForPrompt(_) => self.shared.end(Err(Reach::Silent { waited_ms: now_ms.saturating_sub(self.asked_at_ms) })),
            Asking::Hello => {
                self.hello_at_ms = now_ms;
                // A request can wait for this HELLO if it came between a reset of the session and now.
                self.shared.end(Err(Reach::Silent { waited_ms: HELLO_MS }));
            }
            Asking::Attend | Asking::Nothing => {}
        }
    }

    fn other_version(&mut self, theirs: u32) {
        self.shared.set_open(Err(Reach::Protocol { theirs }));
        if !std::mem::replace(&mut self.told_version, true) {
            self.inbox.push(News::OtherVersion(theirs));
        }
    }

    /// Sleeps, unless the prompt rings.
    fn rest(&self, time: Duration) {
        let mut ear = [PollFd::from_borrowed_fd(self.ear.as_fd(), PollFlags::IN)];
        let _ = poll(&mut ear, Some(&timespec(time)));
        let _ = read(&self.ear, &mut [0; 64]);
    }

    fn stopped(&self) -> bool {
        self.shared.state().stop
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

enum What {
    Answer,
    Told,
    Forgotten,
    OtherVersion(u8),
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(time.subsec_nanos()) }
}
