//! Root's end of the link.
//!
//! **Holds always**
//! - S1: a request is reported once ([`Received::Request`]), however often it arrives; its answer is kept until the next.
//! - S2: while one request is unanswered no other is reported, so [`Server::answer`] answers the one that was.
//! - S3: a session begins at sequence 1. A request of an unknown session with a later one is not executed but refused
//!   on the wire: root was loaded anew since, or another client took over, and only the client knows what it still wants.
//! - S4: notices are numbered one by one, and one is repeated until it is acknowledged or replaced.
//!
//! **Callers**: one at a time, root's owner of the link. It may take bytes in and give bytes out in any order, also
//! while a request is being executed.
//! **Cost**: 20 KiB and nothing else; `receive` and `next_byte` are a few dozen instructions, and one pass over the
//! frame where one ends.
//! **Proof**: the tests below, `lossy.rs` (S1 to S4 over a line that loses four frames in ten), `fuzz.rs`.

use crate::counts::{Counts, count};
use crate::frame::{Decoder, Fault, Head, Kind};
use crate::lane::{Lane, Stage, TooLong};
use crate::limits::{FRAME_BYTES_MAX, FRAME_BYTES_MIN, PAYLOAD_BYTES_MAX};
use crate::newer;

/// What a byte from the line completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A new request: execute what [`Server::request`] holds, then call [`Server::answer`].
    Request,
    /// The last request once more: its answer was lost, and is queued again.
    Again,
    /// The pending notice arrived.
    NoticeAcked,
    /// A frame of a client that speaks another version.
    OtherVersion {
        /// Its version.
        theirs: u8,
    },
}

/// Why an answer was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotAnswer {
    /// No request waits for one.
    NothingAsked,
    /// It does not fit a frame. The request still waits.
    TooLong(TooLong),
}

/// The last request, as far as telling others from it needs.
#[derive(Clone, Copy)]
struct Asked {
    session: u32,
    sequence: u32,
    work: Work,
}

/// How far root is with it. Nothing is 0, so that a server in a static is all zeros and takes no room in the image.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Work {
    /// There is no last request.
    Nothing = 0,
    Executing = 1,
    Answered = 2,
}

impl Asked {
    const NOTHING: Asked = Asked { session: 0, sequence: 0, work: Work::Nothing };
}

/// What a request is, seen from the last one.
enum Judgement {
    New,
    Same,
    Older,
    Busy,
    Stranger,
}

/// Which lane.
#[derive(Clone, Copy)]
enum Out {
    Datagram,
    Reset,
    Answer,
    Notice,
}

/// Root's end of the link. It owns all its memory and fits a static.
pub struct Server {
    epoch: u32,
    decoder: Decoder,
    asked: Asked,
    request: [u8; PAYLOAD_BYTES_MAX],
    request_len: usize,
    answer: Lane<FRAME_BYTES_MAX>,
    notice: Lane<FRAME_BYTES_MAX>,
    notice_sequence: u32,
    notice_pending: bool,
    datagram: Lane<FRAME_BYTES_MAX>,
    datagram_sequence: u32,
    reset: Lane<FRAME_BYTES_MIN>,
    counts: Counts,
}
const _: () = assert!(size_of::<Server>() <= 20 * 1024, "what the header says");

impl Server {
    /// An end that knows no client. `epoch` must differ with every load (see [`Server::restart`]): clients tell notices
    /// of one load from those of another by it.
    #[must_use]
    pub const fn new(epoch: u32) -> Server {
        Server {
            epoch,
            decoder: Decoder::new(),
            asked: Asked::NOTHING,
            request: [0; PAYLOAD_BYTES_MAX],
            request_len: 0,
            answer: Lane::new(),
            notice: Lane::new(),
            notice_sequence: 0,
            notice_pending: false,
            datagram: Lane::new(),
            datagram_sequence: 0,
            reset: Lane::new(),
            counts: Counts::new(),
        }
    }

    /// Begins anew, in place: for a static, whose epoch is only known at run time. Counts are kept.
    pub fn restart(&mut self, epoch: u32) {
        self.epoch = epoch;
        self.decoder.forget();
        self.asked = Asked::NOTHING;
        self.request_len = 0;
        self.notice_sequence = 0;
        self.notice_pending = false;
        self.datagram_sequence = 0;
        self.answer.clear();
        self.notice.clear();
        self.datagram.clear();
        self.reset.clear();
    }

    /// Takes one byte from the line.
    pub fn receive(&mut self, byte: u8) -> Option<Received> {
        let head = match self.decoder.push(byte)? {
            Ok(head) => head,
            Err(fault) => {
                self.counts.fault(fault);
                let Fault::OtherVersion(theirs) = fault else { return None };
                return Some(Received::OtherVersion { theirs });
            }
        };
        count(&mut self.counts.frames_in);
        match head.kind {
            Kind::Request => match judge(self.asked, head) {
                Judgement::New => {
                    // As long as a payload can be: the decoder's room is that of a whole frame.
                    let payload = self.decoder.payload();
                    self.request_len = payload.len();
                    for (to, from) in self.request.iter_mut().zip(payload) {
                        *to = *from;
                    }
                    self.asked = Asked { session: head.session, sequence: head.sequence, work: Work::Executing };
                    Some(Received::Request)
                }
                Judgement::Same => {
                    count(&mut self.counts.duplicates);
                    // Unanswered, the lane holds an answer to another request; on its way, this one need not leave twice.
                    let queued = self.asked.work == Work::Answered && self.answer.again();
                    queued.then(|| {
                        count(&mut self.counts.resent);
                        Received::Again
                    })
                }
                Judgement::Older => {
                    count(&mut self.counts.duplicates);
                    None
                }
                Judgement::Busy => {
                    count(&mut self.counts.busy);
                    None
                }
                Judgement::Stranger => {
                    count(&mut self.counts.stray);
                    self.reset.load_bare(Head { kind: Kind::Reset, ..head });
                    None
                }
            },
            Kind::Ack if head.session == self.epoch && head.sequence == self.notice_sequence => {
                if !self.notice_pending {
                    count(&mut self.counts.duplicates);
                    return None;
                }
                self.notice_pending = false;
                self.notice.hold_back();
                Some(Received::NoticeAcked)
            }
            Kind::Ack | Kind::Answer | Kind::Notice | Kind::Datagram | Kind::Reset => {
                count(&mut self.counts.stray);
                None
            }
        }
    }

    /// The payload of the last request. It stays until the next one is reported.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        self.request.get(..self.request_len).unwrap_or_default()
    }

    /// The session of the last request that was reported.
    #[must_use]
    pub const fn session(&self) -> u32 {
        self.asked.session
    }

    /// Whether a request was reported and not answered yet.
    #[must_use]
    pub fn request_pending(&self) -> bool {
        self.asked.work == Work::Executing
    }

    /// Queues the answer to the last request and keeps it, for the case that it is asked for again.
    ///
    /// # Errors
    /// If no request waits, or if the answer is too long; then the request still waits.
    pub fn answer(&mut self, payload: &[u8]) -> Result<(), CannotAnswer> {
        if !self.request_pending() {
            return Err(CannotAnswer::NothingAsked);
        }
        let head = Head { kind: Kind::Answer, session: self.asked.session, sequence: self.asked.sequence };
        self.answer.load(head, payload).map_err(CannotAnswer::TooLong)?;
        self.asked.work = Work::Answered;
        Ok(())
    }

    /// Queues a notice. Until [`Received::NoticeAcked`] the caller repeats it by [`Server::notice_again`]; one that is
    /// still pending is replaced and counted ([`Counts::replaced`]).
    ///
    /// # Errors
    /// If it is too long; then the pending one stays.
    pub fn notice(&mut self, payload: &[u8]) -> Result<(), TooLong> {
        let sequence = self.notice_sequence.wrapping_add(1);
        self.notice.load(Head { kind: Kind::Notice, session: self.epoch, sequence }, payload)?;
        if self.notice_pending {
            count(&mut self.counts.replaced);
        }
        self.notice_sequence = sequence;
        self.notice_pending = true;
        Ok(())
    }

    /// Queues the pending notice once more. False if none is pending or if it has not left yet.
    pub fn notice_again(&mut self) -> bool {
        let queued = self.notice_pending && self.notice.again();
        if queued {
            count(&mut self.counts.resent);
        }
        queued
    }

    /// Takes back the pending notice: what it tells is so no more.
    pub fn withdraw(&mut self) {
        self.notice_pending = false;
        self.notice.hold_back();
    }

    /// Whether a notice waits to be acknowledged.
    #[must_use]
    pub const fn notice_pending(&self) -> bool {
        self.notice_pending
    }

    /// Queues what is sent once and never repeated: last words, a greeting. It goes before everything else that has
    /// not begun to leave; one that has not left whole yet is replaced and counted ([`Counts::replaced`]).
    ///
    /// # Errors
    /// If it is too long; then an earlier one stays.
    pub fn datagram(&mut self, payload: &[u8]) -> Result<(), TooLong> {
        let sequence = self.datagram_sequence.wrapping_add(1);
        let waiting = self.datagram.stage() != Stage::Idle;
        self.datagram.load(Head { kind: Kind::Datagram, session: self.epoch, sequence }, payload)?;
        if waiting {
            count(&mut self.counts.replaced);
        }
        self.datagram_sequence = sequence;
        Ok(())
    }

    /// The bytes to be sent next, for a line that takes many at once: up to the end of a frame. Call [`Server::sent`]
    /// with how many of them left before anything else of this server, then this again. Empty if nothing is to be sent.
    #[must_use]
    pub fn outgoing(&self) -> &[u8] {
        match self.turn() {
            Some(Out::Datagram) => self.datagram.rest(),
            Some(Out::Reset) => self.reset.rest(),
            Some(Out::Answer) => self.answer.rest(),
            Some(Out::Notice) => self.notice.rest(),
            None => &[],
        }
    }

    /// That many bytes of [`Server::outgoing`] have left.
    pub fn sent(&mut self, bytes: usize) {
        let whole = match self.turn() {
            Some(Out::Datagram) => self.datagram.advance(bytes),
            Some(Out::Reset) => self.reset.advance(bytes),
            Some(Out::Answer) => self.answer.advance(bytes),
            Some(Out::Notice) => self.notice.advance(bytes),
            None => false,
        };
        if whole {
            count(&mut self.counts.frames_out);
        }
    }

    /// The byte to be sent next, taken: for a UART that is free to take one.
    pub fn next_byte(&mut self) -> Option<u8> {
        let byte = *self.outgoing().first()?;
        self.sent(1);
        Some(byte)
    }

    /// What this end saw and did since it was made.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whose turn it is: the one that is leaving, else the most urgent.
    fn turn(&self) -> Option<Out> {
        let stages = [
            (Out::Datagram, self.datagram.stage()),
            (Out::Reset, self.reset.stage()),
            (Out::Answer, self.answer.stage()),
            (Out::Notice, self.notice.stage()),
        ];
        let first = |stage| stages.iter().find(|lane| lane.1 == stage).map(|lane| lane.0);
        first(Stage::Leaving).or_else(|| first(Stage::Queued))
    }
}

fn judge(last: Asked, head: Head) -> Judgement {
    let in_session = last.work != Work::Nothing && last.session == head.session;
    if in_session && last.sequence == head.sequence {
        Judgement::Same
    } else if in_session && !newer(head.sequence, last.sequence) {
        Judgement::Older
    } else if last.work == Work::Executing {
        Judgement::Busy
    } else if in_session || head.sequence == 1 {
        Judgement::New
    } else {
        Judgement::Stranger
    }
}
