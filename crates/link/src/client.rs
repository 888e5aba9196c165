//! The prompt's end of the link.
//!
//! **Holds always**
//! - P1: one request at a time; it ends in exactly one of [`Event::Answer`], [`Event::Forgotten`], [`Silent`] or
//!   [`Client::cancel`], and an answer is never taken for that of another request.
//! - P2: a request that ended otherwise than by its answer ends its session: the next one opens a new session, so
//!   nothing that is still under way can be mixed up with it.
//! - P3: a notice is acknowledged each time it arrives and told once; so is a datagram, without the acknowledgement.
//!
//! **Callers**: the prompt's owner of the line. Time is handed in as milliseconds of any steady clock.
//! **Cost**: 9 KiB, no allocation.
//! **Proof**: the tests below, `lossy.rs` (P1 to P3), `fuzz.rs`.

use crate::counts::{Counts, count};
use crate::frame::{Decoder, Fault, Head, Kind};
use crate::lane::{Lane, Stage, TooLong};
use crate::limits::{FRAME_BYTES_MAX, FRAME_BYTES_MIN, RESEND_MS, SILENT_MS};
use crate::newer;

/// What bytes from the line completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'c> {
    /// The answer to the request.
    Answer(&'c [u8]),
    /// Root does not know this session: it was loaded anew, or another client took over. The request was not executed
    /// by the root that says so; whether an earlier one did, nobody knows. The next request opens a new session.
    Forgotten,
    /// Root tells something. It is acknowledged already and is not told again.
    Notice(&'c [u8]),
    /// Root tells something, once and without caring whether it arrives.
    Datagram(&'c [u8]),
    /// A frame of a root that speaks another version.
    OtherVersion {
        /// Its version.
        theirs: u8,
    },
}

/// The request got no answer in time. It may have been executed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silent {
    /// How often it was sent.
    pub tries: u32,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotAsk {
    /// The one before it has no answer yet.
    Unanswered,
    /// It does not fit a frame.
    TooLong(TooLong),
}

/// The request that waits for its answer.
struct Asking {
    resend_at_ms: u64,
    deadline_ms: u64,
    tries: u32,
}

/// The prompt's end of the link.
pub struct Client {
    session: u32,
    /// Sequence of the last request; 0 if the session has none yet.
    sequence: u32,
    asking: Option<Asking>,
    /// The session has ended (P2).
    ended: bool,
    decoder: Decoder,
    request: Lane<FRAME_BYTES_MAX>,
    ack: Lane<FRAME_BYTES_MIN>,
    /// Epoch and sequence of the last notice and of the last datagram.
    noticed: Option<(u32, u32)>,
    told: Option<(u32, u32)>,
    counts: Counts,
}
const _: () = assert!(size_of::<Client>() <= 9 * 1024, "what the header says");

impl Client {
    /// An end with a session of its own: `session` is random, so that root tells it from every client before it.
    #[must_use]
    pub const fn new(session: u32) -> Client {
        Client {
            session,
            sequence: 0,
            asking: None,
            ended: false,
            decoder: Decoder::new(),
            request: Lane::new(),
            ack: Lane::new(),
            noticed: None,
            told: None,
            counts: Counts::new(),
        }
    }

    /// Queues a request; it is given up after [`SILENT_MS`].
    ///
    /// # Errors
    /// If the last one waits for its answer, or if this one is too long.
    pub fn request(&mut self, now_ms: u64, payload: &[u8]) -> Result<(), CannotAsk> {
        self.request_until(now_ms, payload, now_ms.saturating_add(SILENT_MS))
    }

    /// As [`Client::request`], given up when the clock shows `deadline_ms`.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn request_until(&mut self, now_ms: u64, payload: &[u8], deadline_ms: u64) -> Result<(), CannotAsk> {
        if self.asking.is_some() {
            return Err(CannotAsk::Unanswered);
        }
        let next = if self.ended { None } else { self.sequence.checked_add(1) };
        let (session, sequence) = next.map_or((self.session.wrapping_add(1), 1), |sequence| (self.session, sequence));
        self.request.load(Head { kind: Kind::Request, session, sequence }, payload).map_err(CannotAsk::TooLong)?;
        self.session = session;
        self.sequence = sequence;
        self.ended = false;
        self.asking = Some(Asking { resend_at_ms: now_ms.saturating_add(RESEND_MS), deadline_ms, tries: 1 });
        Ok(())
    }

    /// Whether a request waits for its answer.
    #[must_use]
    pub const fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// Stops waiting for the answer; the request may be executed all the same.
    pub fn cancel(&mut self) {
        if self.asking.take().is_some() {
            self.ended = true;
            self.request.clear();
        }
    }

    /// Takes bytes from the line until one completes something, and cuts them off `bytes`:
    /// `while let Some(event) = client.receive(&mut bytes) { … }`. With `None` all of them are taken.
    pub fn receive(&mut self, bytes: &mut &[u8]) -> Option<Event<'_>> {
        // Which event it is, is found first and its payload fetched afterwards: a borrow that is returned from within a
        // loop would last for all of it.
        let told = loop {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            if let Some(told) = self.take(*byte) {
                break told;
            }
        };
        let payload = self.decoder.payload();
        Some(match told {
            Told::Answer => Event::Answer(payload),
            Told::Forgotten => Event::Forgotten,
            Told::Notice => Event::Notice(payload),
            Told::Datagram => Event::Datagram(payload),
            Told::OtherVersion(theirs) => Event::OtherVersion { theirs },
        })
    }

    fn take(&mut self, byte: u8) -> Option<Told> {
        let head = match self.decoder.push(byte)? {
            Ok(head) => head,
            Err(fault) => {
                self.counts.fault(fault);
                let Fault::OtherVersion(theirs) = fault else { return None };
                return Some(Told::OtherVersion(theirs));
            }
        };
        count(&mut self.counts.frames_in);
        let told = match head.kind {
            Kind::Answer | Kind::Reset => self.replied(head),
            Kind::Notice => {
                self.ack.load_bare(Head { kind: Kind::Ack, ..head });
                is_first(&mut self.noticed, head).then_some(Told::Notice)
            }
            Kind::Datagram => is_first(&mut self.told, head).then_some(Told::Datagram),
            Kind::Request | Kind::Ack => {
                count(&mut self.counts.stray);
                return None;
            }
        };
        if told.is_none() {
            count(if self.is_known(head) { &mut self.counts.duplicates } else { &mut self.counts.stray });
        }
        told
    }

    fn replied(&mut self, head: Head) -> Option<Told> {
        if head.session != self.session || head.sequence != self.sequence {
            return None;
        }
        self.asking.take()?;
        // It may be queued once more already; a half frame would only be noise at the other end.
        self.request.hold_back();
        self.ended = head.kind == Kind::Reset;
        Some(if self.ended { Told::Forgotten } else { Told::Answer })
    }

    /// Whether a frame that told nothing is at least one that was dealt with before.
    fn is_known(&self, head: Head) -> bool {
        match head.kind {
            Kind::Answer | Kind::Reset => head.session == self.session,
            _ => true,
        }
    }

    /// Sends again or gives up, as the clock says. Call it when [`Client::wake_ms`] has come, or more often.
    pub fn poll(&mut self, now_ms: u64) -> Option<Silent> {
        let asking = self.asking.as_mut()?;
        if now_ms >= asking.deadline_ms {
            let tries = asking.tries;
            self.cancel();
            return Some(Silent { tries });
        }
        if self.request.stage() != Stage::Idle {
            // The line is slow: the answer cannot be late before the request has left.
            asking.resend_at_ms = now_ms.saturating_add(RESEND_MS);
        } else if now_ms >= asking.resend_at_ms && self.request.again() {
            asking.resend_at_ms = now_ms.saturating_add(RESEND_MS);
            asking.tries = asking.tries.saturating_add(1);
            count(&mut self.counts.resent);
        }
        None
    }

    /// When [`Client::poll`] has something to do at the earliest, if nothing arrives until then.
    #[must_use]
    pub fn wake_ms(&self) -> Option<u64> {
        self.asking.as_ref().map(|asking| asking.resend_at_ms.min(asking.deadline_ms))
    }

    /// The bytes to be sent next, up to the end of a frame. Call [`Client::sent`] with how many of them left before
    /// anything else of this client, then this again. Empty if nothing is to be sent.
    #[must_use]
    pub fn outgoing(&self) -> &[u8] {
        if self.is_ack_next() { self.ack.rest() } else { self.request.rest() }
    }

    /// That many bytes of [`Client::outgoing`] have left.
    pub fn sent(&mut self, bytes: usize) {
        let whole = if self.is_ack_next() { self.ack.advance(bytes) } else { self.request.advance(bytes) };
        if whole {
            count(&mut self.counts.frames_out);
        }
    }

    fn is_ack_next(&self) -> bool {
        self.request.stage() != Stage::Leaving && self.ack.stage() != Stage::Idle
    }

    /// The session of the last request.
    #[must_use]
    pub const fn session(&self) -> u32 {
        self.session
    }

    /// What this end saw and did since it was made.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// An [`Event`] whose payload still lies in the decoder.
enum Told {
    Answer,
    Forgotten,
    Notice,
    Datagram,
    OtherVersion(u8),
}

/// Whether a frame with this head has not been dealt with; remembers it. Another epoch is another load of root.
fn is_first(last: &mut Option<(u32, u32)>, head: Head) -> bool {
    let first = last.is_none_or(|(epoch, sequence)| epoch != head.session || newer(head.sequence, sequence));
    if first {
        *last = Some((head.session, head.sequence));
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a sequence that goes round to 0, which a server takes for a request long done.
    #[test]
    fn after_the_last_sequence_a_new_session_begins() {
        let mut client = Client::new(5);
        client.sequence = u32::MAX;
        assert_eq!(client.request(0, b"ask"), Ok(()));
        assert_eq!((client.session, client.sequence), (6, 1));
    }
}
