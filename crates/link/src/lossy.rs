//! Both ends on a line that drops, corrupts, cuts and doubles frames, while either end may die: the proof of the link.
//!
//! Everything is drawn from one source of bytes, so a failure repeats, and shrinks towards a perfect line.
//!
//! **Checked**
//! - M1: no request is executed twice, but for the question that opens a session when root is loaded anew meanwhile.
//! - M2: each answer is that of its request, and was told once.
//! - M3: a client is told notices once and in order; one it was never told was replaced, and that was counted.
//! - M4: everything comes to its end once the line is perfect.

use crate::counts::Counts;
use crate::limits::{PAYLOAD_BYTES_MAX, RESEND_MS};
use crate::{Client, Event, Received, Server};
use std::collections::{BTreeMap, VecDeque};
use std::vec::Vec;

/// Simulated milliseconds between two looks at the line.
const TICK_MS: u64 = 25;
/// How often root repeats a notice.
const NOTICE_AGAIN_MS: u64 = 200;
/// M4: looks at the line, for each request, until everything must have come to its end. The longest request takes 170
/// of them on the slowest line, its answer as many, and each is needed twice on the average.
const TICKS_PER_REQUEST_MAX: u32 = 4_000;

/// How much happens.
pub(crate) struct Plan {
    /// Requests that are asked one after the other, answered or not.
    pub requests: u32,
    /// Notices at most.
    pub notices: u32,
    /// Clients killed at most, each followed by another.
    pub kills: u32,
    /// Loads of root at most, after the first.
    pub reloads: u32,
}

/// Where chance comes from.
pub(crate) enum Chances<'d> {
    /// These bytes, and when they are used up no faults any more.
    Bytes(core::slice::Iter<'d, u8>),
    /// Pseudo-random for ever (SplitMix64).
    #[cfg(test)]
    Seed(u64),
}

impl<'d> Chances<'d> {
    pub fn from_bytes(data: &'d [u8]) -> Chances<'d> {
        Chances::Bytes(data.iter())
    }

    /// The next byte; 0xff means that nothing unusual happens.
    fn draw(&mut self) -> u8 {
        match self {
            Chances::Bytes(bytes) => bytes.next().copied().unwrap_or(0xff),
            #[cfg(test)]
            Chances::Seed(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb).to_le_bytes()[7]
            }
        }
    }

    /// A place in `len` bytes; `len` is not 0.
    fn place(&mut self, len: usize) -> usize {
        usize::from(u16::from_le_bytes([self.draw(), self.draw()])) % len
    }

    /// True once in `n` draws.
    fn once_in(&mut self, n: u8) -> bool {
        self.draw().is_multiple_of(n)
    }
}

/// One direction of the line.
#[derive(Default)]
struct Wire {
    /// The frame that is leaving.
    leaving: Vec<u8>,
    /// Bytes on their way.
    bytes: VecDeque<u8>,
}

impl Wire {
    /// The frame has left: each of the four faults befalls one in ten.
    fn carry(&mut self, chances: &mut Chances<'_>) {
        let mut frame = core::mem::take(&mut self.leaving);
        match chances.draw() {
            0..26 => frame.clear(),
            26..52 => {
                let at = chances.place(frame.len());
                match chances.draw() {
                    bit @ 0..128 => frame[at] ^= 1 << (bit % 8),
                    byte => frame[at] = byte.wrapping_mul(2),
                }
            }
            52..78 => frame.truncate(chances.place(frame.len())),
            78..104 => frame.extend_from_within(..),
            _ => {}
        }
        self.bytes.extend(frame);
    }
}

/// What both ends, the line and those who watch know.
struct World<'d> {
    chances: Chances<'d>,
    now_ms: u64,
    bytes_per_tick: usize,
    client: Client,
    server: Server,
    up: Wire,
    down: Wire,
    /// Number of the request that the client waits for. 0 is the question that opens a session.
    asked: Option<(u32, Vec<u8>)>,
    next_request: u32,
    next_session: u32,
    opens: bool,
    answer_at_ms: u64,
    executed: BTreeMap<u32, u32>,
    answered: u32,
    next_notice: u32,
    /// Numbers of the notices of which the present load of root still owes one, in order: those sent, not replaced.
    owed: Vec<u32>,
    pending_notice: Option<u32>,
    /// Notices that the present client was told.
    told: Vec<u32>,
    /// Notices that any client was told.
    told_any: Vec<u32>,
}

/// What the ends counted when everything had come to its end.
#[cfg_attr(not(test), expect(dead_code, reason = "only the tests look at it"))]
pub(crate) struct Seen {
    pub client: Counts,
    pub server: Counts,
    pub answered: u32,
}

/// Runs a plan to its end.
///
/// # Panics
/// If a promise is broken.
pub(crate) fn talk(plan: Plan, chances: Chances<'_>) -> Seen {
    let Plan { requests, mut notices, mut kills, mut reloads } = plan;
    let mut world = World::new(chances);
    let (mut kill_at, mut reload_at, mut notice_at) = (None, None, None);
    let due = |at: &mut Option<u64>, now: u64| at.take_if(|at| *at <= now).is_some();
    for _ in 0..requests * TICKS_PER_REQUEST_MAX {
        world.now_ms += TICK_MS;
        if !world.client.is_asking() {
            if world.next_request > requests && !world.server.notice_pending() {
                return world.finish();
            }
            if world.next_request <= requests {
                world.ask();
                let mut soon = |left: &mut u32, one_in: u8| {
                    let happens = *left > 0 && world.chances.once_in(one_in);
                    *left -= u32::from(happens);
                    happens.then(|| world.now_ms + u64::from(world.chances.draw()) * TICK_MS)
                };
                notice_at = soon(&mut notices, 2).or(notice_at);
                kill_at = soon(&mut kills, 4).or(kill_at);
                reload_at = soon(&mut reloads, 4).or(reload_at);
            }
        }
        if due(&mut notice_at, world.now_ms) {
            world.notice();
        }
        if due(&mut kill_at, world.now_ms) {
            world.kill();
        }
        if due(&mut reload_at, world.now_ms) {
            world.reload();
        }
        world.tick();
    }
    panic!("the line has been perfect for long, and something still waits");
}

impl World<'_> {
    fn new(mut chances: Chances<'_>) -> World<'_> {
        // A slow UART, a fast one, a socket.
        let bytes_per_tick = [24, 288, 8192][chances.place(3)];
        World {
            chances,
            now_ms: 0,
            bytes_per_tick,
            client: Client::new(1000),
            server: Server::new(1),
            up: Wire::default(),
            down: Wire::default(),
            asked: None,
            next_request: 1,
            next_session: 2000,
            opens: true,
            answer_at_ms: 0,
            executed: BTreeMap::new(),
            answered: 0,
            next_notice: 0,
            owed: Vec::new(),
            pending_notice: None,
            told: Vec::new(),
            told_any: Vec::new(),
        }
    }

    /// Asks the next request, or the question that opens a session. Bytes of every value and length.
    fn ask(&mut self) {
        let number = if self.opens { 0 } else { self.next_request };
        self.next_request += u32::from(!self.opens);
        self.opens = false;
        let length = match self.chances.draw() {
            small @ 0..240 => usize::from(small / 4),
            large => usize::from(large - 239) * (PAYLOAD_BYTES_MAX - 4) / 16,
        };
        let filler = self.chances.draw();
        let mut payload = number.to_le_bytes().to_vec();
        payload.extend((0..length).map(|i| filler.wrapping_mul(i.to_le_bytes()[0])));
        self.client.request_until(self.now_ms, &payload, u64::MAX).unwrap();
        self.asked = Some((number, payload));
    }

    /// What root answers to a request.
    fn answer_to(request: &[u8]) -> Vec<u8> {
        request.iter().rev().map(|byte| !byte).collect()
    }

    fn notice(&mut self) {
        self.next_notice += 1;
        let replaced = self.server.counts().replaced;
        self.server.notice(&self.next_notice.to_le_bytes()).unwrap();
        let was_pending = self.pending_notice.replace(self.next_notice);
        assert_eq!(self.server.counts().replaced - replaced, u64::from(was_pending.is_some()), "M3: replaced, not counted");
        self.owed.retain(|number| Some(*number) != was_pending);
        self.owed.push(self.next_notice);
    }

    /// SIGKILL: half a frame stays on the line; another client begins.
    fn kill(&mut self) {
        let half = core::mem::take(&mut self.up.leaving);
        self.up.bytes.extend(half);
        self.next_session += 1000;
        self.client = Client::new(self.next_session);
        self.asked = None;
        self.opens = true;
        self.told.clear();
    }

    /// Root is loaded anew: it forgets everything, and owes nothing.
    fn reload(&mut self) {
        let half = core::mem::take(&mut self.down.leaving);
        self.down.bytes.extend(half);
        let epoch = self.now_ms.to_le_bytes();
        self.server.restart(u32::from_le_bytes([epoch[0], epoch[1], epoch[2], epoch[3]]));
        self.owed.retain(|number| Some(*number) != self.pending_notice);
        self.pending_notice = None;
    }

    fn tick(&mut self) {
        assert_eq!(self.client.poll(self.now_ms), None);
        self.client_sends();
        self.server_receives();
        if self.server.request_pending() && self.now_ms >= self.answer_at_ms {
            let answer = World::answer_to(self.server.request());
            self.server.answer(&answer).unwrap();
        }
        if self.now_ms.is_multiple_of(NOTICE_AGAIN_MS) {
            self.server.notice_again();
        }
        self.server_sends();
        self.client_receives();
    }

    fn client_sends(&mut self) {
        for _ in 0..self.bytes_per_tick {
            let Some(byte) = self.client.outgoing().first().copied() else { return };
            let whole = self.client.counts().frames_out;
            self.client.sent(1);
            self.up.leaving.push(byte);
            if self.client.counts().frames_out != whole {
                self.up.carry(&mut self.chances);
            }
        }
    }

    fn server_sends(&mut self) {
        for _ in 0..self.bytes_per_tick {
            let whole = self.server.counts().frames_out;
            let Some(byte) = self.server.next_byte() else { return };
            self.down.leaving.push(byte);
            if self.server.counts().frames_out != whole {
                self.down.carry(&mut self.chances);
            }
        }
    }

    fn server_receives(&mut self) {
        for byte in self.up.bytes.drain(..) {
            match self.server.receive(byte) {
                Some(Received::Request) => {
                    let number = u32::from_le_bytes(*self.server.request().first_chunk().unwrap());
                    let times = self.executed.entry(number).or_default();
                    *times += 1;
                    assert!(number == 0 || *times == 1, "M1: request {number} was executed twice");
                    // Often longer than it takes the client to lose patience.
                    let wait = u64::from(self.chances.draw()) * 4 * RESEND_MS / 256;
                    self.answer_at_ms = self.now_ms + wait;
                }
                Some(Received::NoticeAcked) => {
                    let number = self.pending_notice.take().expect("M3: an acknowledgement for nothing");
                    assert!(self.told_any.contains(&number), "M3: notice {number} is acknowledged, nobody was told");
                }
                Some(Received::OtherVersion { theirs }) => panic!("a version {theirs} made of noise"),
                Some(Received::Again) | None => {}
            }
        }
    }

    fn client_receives(&mut self) {
        let bytes: Vec<u8> = self.down.bytes.drain(..).collect();
        let mut bytes = bytes.as_slice();
        while let Some(event) = self.client.receive(&mut bytes) {
            match event {
                Event::Answer(answer) => {
                    let (number, request) = self.asked.take().expect("M2: an answer nobody waits for");
                    assert_eq!(answer, World::answer_to(&request), "M2: the answer to another request");
                    assert!(self.executed.contains_key(&number), "M2: an answer without an execution");
                    self.answered += u32::from(number != 0);
                }
                Event::Forgotten => {
                    self.asked.take().expect("P1: forgotten what was not asked");
                    self.opens = true;
                }
                Event::Notice(payload) => {
                    let number = u32::from_le_bytes(payload.try_into().unwrap());
                    assert!(self.told.last().is_none_or(|last| *last < number), "M3: notice {number} out of order or twice");
                    self.told.push(number);
                    self.told_any.push(number);
                }
                Event::Datagram(_) => panic!("a datagram made of noise"),
                Event::OtherVersion { theirs } => panic!("a version {theirs} made of noise"),
            }
        }
    }

    fn finish(self) -> Seen {
        for number in &self.owed {
            assert!(self.told_any.contains(number), "M3: notice {number} was neither told nor replaced");
        }
        Seen { client: *self.client.counts(), server: *self.server.counts(), answered: self.answered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Would catch a request lost, executed twice or answered wrongly, and a notice lost: nobody dies here, so every
        /// single request must be executed and answered.
        #[test]
        fn four_faulty_frames_in_ten_cost_nothing_but_time(chances in prop::collection::vec(any::<u8>(), 0..4000)) {
            let seen = talk(Plan { requests: 20, notices: 10, kills: 0, reloads: 0 }, Chances::from_bytes(&chances));
            prop_assert_eq!(seen.answered, 20);
        }

        /// Would catch what a client killed half way, or a root loaded anew, leaves behind for those who come after.
        #[test]
        fn deaths_of_either_end_never_make_a_deed_happen_twice(chances in prop::collection::vec(any::<u8>(), 0..4000)) {
            talk(Plan { requests: 20, notices: 10, kills: 4, reloads: 4 }, Chances::from_bytes(&chances));
        }
    }

    /// Would catch what shows itself rarely: a long conversation on a line that never gets better. It also shows that
    /// the line did what it should: every fault was seen at both ends.
    #[test]
    fn two_thousand_requests_on_a_line_that_stays_bad_are_all_executed_once() {
        for seed in 0..4 {
            let seen = talk(Plan { requests: 500, notices: 250, kills: 0, reloads: 0 }, Chances::Seed(seed));
            assert_eq!(seen.answered, 500, "seed {seed}");
            for counts in [seen.client, seen.server] {
                let Counts { crc_bad, length_bad, duplicates, resent, .. } = counts;
                let all = crc_bad.min(length_bad).min(duplicates);
                assert!(all > 10, "seed {seed}: the line was too good: {counts:?}");
                assert!(resent > 10, "seed {seed}: {counts:?}");
            }
        }
    }
}
