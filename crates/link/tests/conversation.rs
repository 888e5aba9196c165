//! Both ends talking over a line without faults of its own: each fault below is made by hand.

use link::{
    CannotAnswer, CannotAsk, Client, Event, FRAME_BYTES_MAX, PAYLOAD_BYTES_MAX, RESEND_MS, Received, SILENT_MS, Server, Silent,
    TRIES_MAX, TooLong,
};

const EPOCH: u32 = 77;

/// What an event was, owned.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Answer(Vec<u8>),
    Forgotten,
    Notice(Vec<u8>),
    Datagram(Vec<u8>),
    OtherVersion(u8),
}

fn from_server(server: &mut Server) -> Vec<u8> {
    std::iter::from_fn(|| server.next_byte()).collect()
}

fn from_client(client: &mut Client) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !client.outgoing().is_empty() {
        let count = client.outgoing().len().min(7);
        bytes.extend_from_slice(&client.outgoing()[..count]);
        client.sent(count);
    }
    bytes
}

fn to_server(server: &mut Server, bytes: &[u8]) -> Vec<Received> {
    bytes.iter().filter_map(|byte| server.receive(*byte)).collect()
}

fn to_client(client: &mut Client, mut bytes: &[u8]) -> Vec<Told> {
    let mut told = Vec::new();
    while let Some(event) = client.receive(&mut bytes) {
        told.push(match event {
            Event::Answer(payload) => Told::Answer(payload.to_vec()),
            Event::Forgotten => Told::Forgotten,
            Event::Notice(payload) => Told::Notice(payload.to_vec()),
            Event::Datagram(payload) => Told::Datagram(payload.to_vec()),
            Event::OtherVersion { theirs } => Told::OtherVersion(theirs),
        });
    }
    told
}

/// One request there and back.
fn exchange(client: &mut Client, server: &mut Server, request: &[u8], answer: &[u8]) {
    client.request(0, request).unwrap();
    assert_eq!(to_server(server, &from_client(client)), [Received::Request]);
    assert_eq!(server.request(), request);
    server.answer(answer).unwrap();
    assert_eq!(to_client(client, &from_server(server)), [Told::Answer(answer.to_vec())]);
}

mod requests {
    use super::*;

    /// Would catch an end that breaks at the limits of a payload or at a byte value.
    #[test]
    fn payloads_of_no_byte_of_every_byte_and_of_most_bytes_go_there_and_back() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        let every: Vec<u8> = (0..=u8::MAX).collect();
        exchange(&mut client, &mut server, &[], &[]);
        exchange(&mut client, &mut server, &every, &[0; 300]);
        exchange(&mut client, &mut server, &[0xff; PAYLOAD_BYTES_MAX], &[0; PAYLOAD_BYTES_MAX]);
        exchange(&mut client, &mut server, &[0; PAYLOAD_BYTES_MAX], &[0xff; PAYLOAD_BYTES_MAX]);
        assert_eq!((client.counts().frames_in, client.counts().frames_out), (4, 4));
        assert_eq!((server.counts().frames_in, server.counts().frames_out), (4, 4));
    }

    /// Would catch a payload that is cut to fit, and a refusal that leaves something behind.
    #[test]
    fn a_payload_a_byte_too_long_is_refused_and_the_next_goes_through() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        let long = [1; PAYLOAD_BYTES_MAX + 1];
        let refusal = TooLong { bytes: PAYLOAD_BYTES_MAX + 1 };
        assert_eq!(client.request(0, &long), Err(CannotAsk::TooLong(refusal)));
        assert!(!client.is_asking() && client.outgoing().is_empty());
        assert_eq!(server.notice(&long), Err(refusal));
        assert_eq!(server.datagram(&long), Err(refusal));
        assert!(server.outgoing().is_empty() && !server.notice_pending());

        client.request(0, b"ask").unwrap();
        to_server(&mut server, &from_client(&mut client));
        assert_eq!(server.answer(&long), Err(CannotAnswer::TooLong(refusal)));
        assert!(server.request_pending());
        server.answer(b"short").unwrap();
        assert_eq!(to_client(&mut client, &from_server(&mut server)), [Told::Answer(b"short".to_vec())]);
    }

    /// Would catch a second execution: of a request repeated before, while and after its answer is made.
    #[test]
    fn a_repeated_request_is_executed_once_and_answered_each_time() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        client.request(0, b"ask").unwrap();
        let request = from_client(&mut client);
        assert_eq!(to_server(&mut server, &request), [Received::Request]);
        assert_eq!(to_server(&mut server, &request), [], "not answered yet");
        assert!(server.outgoing().is_empty());
        server.answer(b"done").unwrap();
        let first = server.next_byte();
        assert_eq!(to_server(&mut server, &request), [], "the answer is on its way");
        let answer: Vec<u8> = first.into_iter().chain(from_server(&mut server)).collect();
        assert_eq!(to_server(&mut server, &request), [Received::Again]);
        assert_eq!(from_server(&mut server), answer);
        assert_eq!(to_client(&mut client, &answer), [Told::Answer(b"done".to_vec())]);
        assert_eq!(to_client(&mut client, &answer), []);
        assert_eq!((server.counts().duplicates, server.counts().resent, client.counts().duplicates), (3, 1, 1));
        assert_eq!(server.answer(b"twice"), Err(CannotAnswer::NothingAsked));
    }

    /// Would catch the answer to the request before, sent as long as this one has none.
    #[test]
    fn a_request_repeated_while_it_is_executed_is_met_with_silence() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        exchange(&mut client, &mut server, b"one", b"1");
        client.request(0, b"two").unwrap();
        let two = from_client(&mut client);
        assert_eq!(to_server(&mut server, &two), [Received::Request]);
        assert_eq!(to_server(&mut server, &two), []);
        assert!(server.outgoing().is_empty());
    }

    /// Would catch an old request that is executed because a newer one made root forget it.
    #[test]
    fn a_request_older_than_the_last_is_not_executed() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        client.request(0, b"one").unwrap();
        let one = from_client(&mut client);
        to_server(&mut server, &one);
        server.answer(b"1").unwrap();
        to_client(&mut client, &from_server(&mut server));
        exchange(&mut client, &mut server, b"two", b"2");
        assert_eq!(to_server(&mut server, &one), []);
        assert_eq!((server.request(), server.counts().duplicates), (&b"two"[..], 1));
    }

    /// Would catch an answer sent to somebody who did not ask: the request it is for is still being executed.
    #[test]
    fn a_request_that_comes_while_another_is_executed_waits() {
        let mut server = Server::new(EPOCH);
        let (mut slow, mut other) = (Client::new(1), Client::new(2));
        slow.request(0, b"slow").unwrap();
        assert_eq!(to_server(&mut server, &from_client(&mut slow)), [Received::Request]);
        other.request(0, b"other").unwrap();
        assert_eq!(to_server(&mut server, &from_client(&mut other)), []);
        assert_eq!((server.request(), server.counts().busy), (&b"slow"[..], 1));
        server.answer(b"slowly").unwrap();
        let answer = from_server(&mut server);
        assert_eq!(to_client(&mut other, &answer), []);
        assert_eq!(to_client(&mut slow, &answer), [Told::Answer(b"slowly".to_vec())]);
        assert_eq!(other.poll(RESEND_MS), None);
        assert_eq!(to_server(&mut server, &from_client(&mut other)), [Received::Request]);
        assert_eq!(server.request(), b"other");
    }

    /// Would catch a client that mixes two requests up.
    #[test]
    fn a_second_request_before_the_answer_is_refused() {
        let mut client = Client::new(1);
        client.request(0, b"one").unwrap();
        assert_eq!(client.request(1, b"two"), Err(CannotAsk::Unanswered));
    }
}

mod time {
    use super::*;

    /// Would catch a client that repeats too early, too late or not at all, or waits for ever (facts F.2).
    #[test]
    fn a_request_is_repeated_at_its_times_and_given_up_at_its_end() {
        let mut client = Client::new(1);
        client.request(1000, b"ask").unwrap();
        let request = from_client(&mut client);
        for try_ in 1..TRIES_MAX {
            let due = 1000 + try_ * RESEND_MS;
            assert_eq!(client.wake_ms(), Some(due));
            assert_eq!((client.poll(due - 1), client.outgoing().is_empty()), (None, true));
            assert_eq!(client.poll(due), None);
            assert_eq!(from_client(&mut client), request);
        }
        assert_eq!(client.poll(1000 + SILENT_MS - 1), None);
        assert_eq!(client.poll(1000 + SILENT_MS), Some(Silent { tries: 20 }));
        assert!(!client.is_asking() && client.outgoing().is_empty() && client.wake_ms().is_none());
    }

    /// Would catch a resend on top of a request that a slow line has not taken yet.
    #[test]
    fn the_clock_starts_when_the_request_has_left() {
        let mut client = Client::new(1);
        client.request_until(0, b"ask", 1_000_000).unwrap();
        client.sent(5);
        assert_eq!(client.poll(60_000), None);
        from_client(&mut client);
        assert_eq!((client.poll(60_000 + RESEND_MS - 1), client.counts().resent), (None, 0));
        assert_eq!((client.poll(60_000 + RESEND_MS), client.counts().resent), (None, 1));
        assert_eq!(client.poll(1_000_000), Some(Silent { tries: 2 }));
    }

    /// Would catch a request that is executed though its user stopped it before a byte of it had left.
    #[test]
    fn a_request_stopped_in_the_queue_never_leaves() {
        let mut client = Client::new(1);
        client.request(0, b"ask").unwrap();
        client.cancel();
        assert!(client.outgoing().is_empty());
    }

    /// Would catch a request that is repeated although its answer came while it was queued.
    #[test]
    fn a_request_answered_in_the_queue_does_not_leave_again() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        client.request(0, b"ask").unwrap();
        to_server(&mut server, &from_client(&mut client));
        server.answer(b"done").unwrap();
        assert_eq!(client.poll(RESEND_MS), None);
        assert_eq!(to_client(&mut client, &from_server(&mut server)), [Told::Answer(b"done".to_vec())]);
        assert!(client.outgoing().is_empty());
    }

    /// Would catch the answer to a request given up being taken for that of the next one.
    #[test]
    fn after_a_request_without_answer_the_next_opens_a_session() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        exchange(&mut client, &mut server, b"one", b"1");
        client.request(0, b"two").unwrap();
        to_server(&mut server, &from_client(&mut client));
        client.cancel();
        client.request(0, b"three").unwrap();
        let three = from_client(&mut client);
        assert_eq!(to_server(&mut server, &three), [], "two is still being executed");
        server.answer(b"2").unwrap();
        assert_eq!(to_client(&mut client, &from_server(&mut server)), []);
        assert_eq!((client.counts().stray, client.session()), (1, 2));
        assert_eq!(to_server(&mut server, &three), [Received::Request]);
        server.answer(b"3").unwrap();
        assert_eq!(to_client(&mut client, &from_server(&mut server)), [Told::Answer(b"3".to_vec())]);
    }
}

mod notices {
    use super::*;

    /// Would catch a notice told twice, or repeated for ever because its acknowledgement was lost once.
    #[test]
    fn a_notice_is_told_once_and_acknowledged_each_time() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        server.notice(b"halted").unwrap();
        assert!(!server.notice_again(), "it has not even left");
        let notice = from_server(&mut server);
        assert_eq!(to_client(&mut client, &notice), [Told::Notice(b"halted".to_vec())]);
        let lost = from_client(&mut client);
        assert!(server.notice_again());
        assert_eq!(from_server(&mut server), notice);
        assert_eq!(to_client(&mut client, &notice), []);
        let ack = from_client(&mut client);
        assert_eq!(ack, lost);
        assert_eq!(to_server(&mut server, &ack), [Received::NoticeAcked]);
        assert_eq!(to_server(&mut server, &ack), []);
        assert!(!server.notice_pending() && !server.notice_again() && server.outgoing().is_empty());
        assert_eq!((server.counts().duplicates, client.counts().duplicates), (1, 1));
    }

    /// Would catch a notice that is repeated although its acknowledgement came while it was queued.
    #[test]
    fn a_notice_acknowledged_in_the_queue_does_not_leave_again() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        server.notice(b"halted").unwrap();
        to_client(&mut client, &from_server(&mut server));
        assert!(server.notice_again());
        assert_eq!(to_server(&mut server, &from_client(&mut client)), [Received::NoticeAcked]);
        assert!(server.outgoing().is_empty());
    }

    /// Would catch a halt that is told to whoever connects next, when it has long ended.
    #[test]
    fn a_notice_that_is_withdrawn_is_told_to_nobody_and_the_next_one_is() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        server.notice(b"halted").unwrap();
        server.withdraw();
        assert!(!server.notice_pending() && !server.notice_again() && server.outgoing().is_empty());
        server.notice(b"halted again").unwrap();
        assert_eq!(to_client(&mut client, &from_server(&mut server)), [Told::Notice(b"halted again".to_vec())]);
    }

    /// Would catch a replaced notice that vanishes without being counted, or whose acknowledgement ends the new one.
    #[test]
    fn a_newer_notice_replaces_the_pending_one_and_that_is_counted() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        server.notice(b"first").unwrap();
        to_client(&mut client, &from_server(&mut server));
        let ack_of_first = from_client(&mut client);
        server.notice(b"second").unwrap();
        assert_eq!(server.counts().replaced, 1);
        assert_eq!(to_server(&mut server, &ack_of_first), []);
        assert!(server.notice_pending());
        assert_eq!(to_client(&mut client, &from_server(&mut server)), [Told::Notice(b"second".to_vec())]);
        assert_eq!(to_server(&mut server, &from_client(&mut client)), [Received::NoticeAcked]);
    }

    /// Would catch the first notice of a root loaded anew being taken for one told long ago.
    #[test]
    fn another_epoch_is_another_count_of_notices() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        for epoch in [EPOCH, EPOCH + 1, EPOCH - 1] {
            server.restart(epoch);
            server.notice(b"up").unwrap();
            assert_eq!(to_client(&mut client, &from_server(&mut server)), [Told::Notice(b"up".to_vec())]);
            server.datagram(b"words").unwrap();
            assert_eq!(to_client(&mut client, &from_server(&mut server)), [Told::Datagram(b"words".to_vec())]);
        }
    }

    /// Would catch an answer lost because of a notice or of last words, or frames mixed into each other.
    #[test]
    fn answer_notice_and_datagram_all_leave_whole_whatever_is_under_way() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        client.request(0, b"ask").unwrap();
        to_server(&mut server, &from_client(&mut client));
        server.notice(b"notice").unwrap();
        let mut wire = vec![server.next_byte().unwrap(), server.next_byte().unwrap()];
        server.answer(b"answer").unwrap();
        wire.push(server.next_byte().unwrap());
        server.datagram(b"last words").unwrap();
        wire.extend(from_server(&mut server));
        let told = to_client(&mut client, &wire);
        assert_eq!(
            told,
            [Told::Notice(b"notice".to_vec()), Told::Datagram(b"last words".to_vec()), Told::Answer(b"answer".to_vec())]
        );
        assert_eq!((client.counts().length_bad, client.counts().crc_bad), (0, 0));
    }

    /// Would catch an acknowledgement that breaks into a request.
    #[test]
    fn a_request_under_way_and_an_acknowledgement_both_arrive() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        server.notice(b"notice").unwrap();
        client.request(0, b"ask").unwrap();
        let mut wire = client.outgoing()[..9].to_vec();
        client.sent(9);
        to_client(&mut client, &from_server(&mut server));
        wire.extend(from_client(&mut client));
        assert_eq!(to_server(&mut server, &wire), [Received::Request, Received::NoticeAcked]);
    }

    /// Would catch a datagram told twice, or lost without a count.
    #[test]
    fn a_datagram_is_told_once_and_counted_if_replaced() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        server.datagram(b"one").unwrap();
        server.next_byte();
        server.datagram(b"two").unwrap();
        assert_eq!(server.counts().replaced, 1);
        let wire = from_server(&mut server);
        assert_eq!(to_client(&mut client, &wire), [Told::Datagram(b"two".to_vec())]);
        assert_eq!(to_client(&mut client, &wire), []);
    }
}

mod sessions {
    use super::*;

    /// Would catch a server that waits for a client that is dead (SIGKILL while its request is half sent).
    #[test]
    fn a_new_client_works_at_once_where_another_was_killed() {
        let mut server = Server::new(EPOCH);
        let mut killed = Client::new(1);
        exchange(&mut killed, &mut server, b"one", b"1");
        killed.request(0, b"two").unwrap();
        let half = from_client(&mut killed);
        assert_eq!(to_server(&mut server, &half[..half.len() / 2]), []);
        exchange(&mut Client::new(2), &mut server, b"one", b"1");
    }

    /// Would catch a request executed twice by two loads of root, and a client that waits for one that is gone.
    #[test]
    fn a_root_loaded_anew_executes_nothing_of_an_old_session_and_says_so() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        exchange(&mut client, &mut server, b"hello", b"1");
        client.request(0, b"deed").unwrap();
        let deed = from_client(&mut client);
        server.restart(EPOCH + 1);
        assert_eq!(to_server(&mut server, &deed), []);
        assert_eq!(to_client(&mut client, &from_server(&mut server)), [Told::Forgotten]);
        assert!(!client.is_asking());
        exchange(&mut client, &mut server, b"hello", b"2");
    }

    /// Would catch what one load of root leaves to the next: half a frame, bytes to be sent, a notice acknowledged by
    /// what was said to another.
    #[test]
    fn a_root_loaded_anew_begins_with_nothing() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        server.notice(b"old").unwrap();
        to_client(&mut client, &from_server(&mut server));
        let old_ack = from_client(&mut client);
        exchange(&mut client, &mut server, b"hello", b"1");
        client.request(0, b"deed").unwrap();
        let deed = from_client(&mut client);
        to_server(&mut server, &deed);
        server.answer(b"done").unwrap();
        server.datagram(b"words").unwrap();
        server.notice_again();
        to_server(&mut server, &deed[..deed.len() / 2]);

        server.restart(EPOCH + 1);
        assert!(server.outgoing().is_empty() && !server.notice_pending() && !server.request_pending());
        assert_eq!(server.request(), b"");
        server.notice(b"new").unwrap();
        assert_eq!(to_server(&mut server, &old_ack), []);
        assert!(server.notice_pending());
        assert_eq!((server.counts().length_bad, server.counts().crc_bad), (0, 0));
    }

    /// Would catch two clients that go on taking the line from each other in silence.
    #[test]
    fn a_client_whose_line_was_taken_over_is_told() {
        let mut server = Server::new(EPOCH);
        let (mut first, mut second) = (Client::new(1), Client::new(2));
        exchange(&mut first, &mut server, b"hello", b"1");
        exchange(&mut second, &mut server, b"hello", b"2");
        first.request(0, b"deed").unwrap();
        assert_eq!(to_server(&mut server, &from_client(&mut first)), []);
        assert_eq!(to_client(&mut first, &from_server(&mut server)), [Told::Forgotten]);
        exchange(&mut second, &mut server, b"more", b"3");
    }
}

mod foreign {
    use super::*;

    /// Would catch a prompt that calls a machine dead which only speaks another version.
    #[test]
    fn another_version_is_told_at_both_ends() {
        let mut raw = vec![9, 1, 2, 3];
        raw.extend(crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&raw).to_le_bytes());
        let mut wire = cobs::encode_vec(&raw);
        wire.push(0);
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        assert_eq!(to_server(&mut server, &wire), [Received::OtherVersion { theirs: 9 }]);
        assert_eq!(to_client(&mut client, &wire), [Told::OtherVersion(9)]);
        assert_eq!((server.counts().other_version, client.counts().other_version), (1, 1));
    }

    /// Would catch an end that believes its own echo (a terminal left in cooked mode sends everything back).
    #[test]
    fn an_echo_is_stray() {
        let (mut client, mut server) = (Client::new(1), Server::new(EPOCH));
        client.request(0, b"ask").unwrap();
        let request = from_client(&mut client);
        assert_eq!(to_client(&mut client, &request), []);
        to_server(&mut server, &request);
        server.answer(b"done").unwrap();
        server.notice(b"notice").unwrap();
        server.datagram(b"words").unwrap();
        let echo = from_server(&mut server);
        assert_eq!(to_server(&mut server, &echo), []);
        assert_eq!((client.counts().stray, server.counts().stray), (1, 3));
        assert!(server.notice_pending() && server.outgoing().is_empty());
    }

    /// Would catch a frame longer than root has room for.
    #[test]
    fn no_frame_exceeds_its_bound() {
        let mut server = Server::new(!0);
        server.datagram(&[0xff; PAYLOAD_BYTES_MAX]).unwrap();
        assert!(server.outgoing().len() <= FRAME_BYTES_MAX);
    }
}
