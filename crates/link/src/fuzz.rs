//! Entry points for a fuzzer, and for the property tests of this crate: bytes in, and a panic if a promise is broken.
//!
//! **Callers**: a fuzz target each, with whatever bytes it has. Never built into root (feature `fuzz`).
//! **Cost**: linear in the bytes.

use crate::lossy::{Chances, Plan, talk};
use crate::{Client, Event, PAYLOAD_BYTES_MAX, Received, Server};
use std::vec::Vec;

/// Both ends take any bytes without a panic; unless they held a whole frame, the request that follows is understood,
/// and so is its answer (F1 to F3).
///
/// # Panics
/// If not.
pub fn frames(data: &[u8]) {
    let (mut client, mut server) = (Client::new(1), Server::new(2));
    let payload = data.get(..PAYLOAD_BYTES_MAX).unwrap_or(data);
    // Ended by a zero: a frame that lacks only its last byte is completed by the next one's first, and waits for its answer.
    for byte in data.iter().chain(&[0]) {
        if server.receive(*byte) == Some(Received::Request) {
            assert_eq!(server.answer(payload), Ok(()));
        }
    }
    let reply: Vec<u8> = core::iter::from_fn(|| server.next_byte()).collect();
    for mut bytes in [data, &reply] {
        while client.receive(&mut bytes).is_some() {}
    }
    while !client.outgoing().is_empty() {
        client.sent(1);
    }
    if server.counts().frames_in > 0 {
        return;
    }

    assert_eq!(client.request(0, payload), Ok(()));
    let received: Vec<Received> = client.outgoing().iter().filter_map(|byte| server.receive(*byte)).collect();
    assert_eq!((received.last(), server.request()), (Some(&Received::Request), payload));
    assert_eq!(server.answer(payload), Ok(()));
    let mut bytes = server.outgoing();
    let mut answered = false;
    while let Some(event) = client.receive(&mut bytes) {
        answered = event == Event::Answer(payload);
    }
    assert!(answered, "a whole answer after noise was not understood");
}

/// Both ends talk over a line whose faults, and their own deaths, are drawn from `data`; when it is used up the line is
/// perfect. Every promise of S1 to S4 and P1 to P3 is checked.
///
/// # Panics
/// If one is broken.
pub fn conversation(data: &[u8]) {
    talk(Plan { requests: 12, notices: 6, kills: 2, reloads: 2 }, Chances::from_bytes(data));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Would catch an oracle that takes the last frame of its data, a zero short of whole, for the one under test.
    #[test]
    fn a_request_that_lacks_only_its_last_zero_is_no_surprise() {
        let mut client = Client::new(7);
        assert_eq!(client.request(0, b"ab"), Ok(()));
        let whole = client.outgoing();
        frames(&whole[..whole.len() - 1]);
    }

    /// Noise in which zeros, and the first bytes of a true head, are not rare.
    fn noise() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<u8>().prop_map(|byte| std::vec![byte]),
            Just(std::vec![0]),
            Just(std::vec![0, 5, 1, 1, 4]),
            prop::collection::vec(1u8.., 300..600),
        ];
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// Would catch a panic on what the line brings, and noise that costs more than itself.
        #[test]
        fn any_bytes_are_taken_and_a_whole_frame_after_them_is_understood(data in noise()) {
            frames(&data);
        }

        /// Would catch the same as the fuzzer, with fewer tries.
        #[test]
        fn any_faults_and_deaths_leave_every_promise_kept(data in prop::collection::vec(any::<u8>(), 0..2000)) {
            conversation(&data);
        }
    }

    /// Would catch an end that believes what it sent itself, or what was recorded of another conversation.
    #[test]
    fn whole_frames_of_others_are_taken_too() {
        let mut client = Client::new(1);
        assert_eq!(client.request(0, b"ask"), Ok(()));
        frames(client.outgoing());
        let mut server = Server::new(2);
        assert_eq!(server.notice(b"notice"), Ok(()));
        frames(server.outgoing());
    }
}
