use crate::storms;
use abi::code;
use abi::kind::Kind;
use abi::request::epthook2::Ask;
use abi::request::memory::{NO_PID, Place, VIRTUAL};
use abi::request::{EventAnswer, EventAsk, PreallocAnswer, PreallocAsk, event, op};
use zerocopy::{FromBytes, IntoBytes};

const KERNEL: u64 = 0xffff_ffff_8100_0000;

/// Would catch a request that is no detour and takes a place or a unit; and one beyond the window's places that is said to be reserved.
#[test]
fn requests_that_are_none_are_refused_and_units_end_where_places_do() {
    let mut prompt = storms::machine();
    let its = EventAsk { kind: event::EPTHOOK2, stage: event::PRE, core: event::ALL, pid: event::ALL, ..EventAsk::default() };
    let place = Place { address: KERNEL, space: VIRTUAL, pid: NO_PID };
    let sound = Ask { event: its, place, displaced_bytes: 5, code_bytes: 5, first_bytes: 1, ..Ask::default() };
    let mut ask = |ask: Ask| {
        let (code, body) = prompt.ask(op::EPTHOOK2_ADD, ask.as_bytes());
        (code, EventAnswer::read_from_bytes(&body).unwrap().id)
    };
    let refused = (code::REQUEST_MALFORMED, event::ALL);
    for wrong in [
        Ask { displaced_bytes: 4, ..sound },
        Ask { displaced_bytes: 25, ..sound },
        Ask { code_bytes: 0, ..sound },
        Ask { code_bytes: 33, ..sound },
        Ask { first_bytes: 6, ..sound },
        Ask { first_bytes: 0, ..sound },
        Ask { fixups_count: 6, ..sound },
        Ask { event: EventAsk { stage: event::POST, ..its }, ..sound },
        Ask { event: EventAsk { kind: event::EPTHOOK, ..its }, ..sound },
        Ask { event: EventAsk { flags: event::OPTION, ..its }, ..sound },
    ] {
        assert_eq!(ask(wrong), refused, "{wrong:?}");
    }
    assert_eq!(ask(Ask { place: Place { address: 0x40_0000, ..place }, ..sound }), (code::EVENT_INVALID, event::ALL));
    // The model has no window, and nothing at this address.
    assert!(matches!(ask(sound).0, code::NO_PLACE | code::ADDRESS_INVALID));
    let mut reserve = |count| {
        let ask = PreallocAsk { kind: Kind::Epthook2 as u32, zero: 0, count };
        let (code, body) = prompt.ask(op::PREALLOC, ask.as_bytes());
        (code, PreallocAnswer::read_from_bytes(&body).unwrap())
    };
    let (code, answer) = reserve(crate::limits::DETOURS_MAX + 1);
    assert_eq!((code, answer.most), (code::COUNT_TOO_LARGE, crate::limits::DETOURS_MAX - answer.reserved));
    assert!(answer.most > 0);
    let (code, _) = reserve(answer.most + 1);
    assert_eq!(code, code::COUNT_TOO_LARGE);
}
