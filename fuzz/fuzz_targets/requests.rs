//! Messages and ioctl buffers as root and the device get them: what is taken is exactly as long as its kind, and comes
//! back byte for byte; everything else is refused.
#![no_main]

use abi::boot::{Block, Boot, Doorbell, ImageHeader, Resume};
use abi::ioctl::{Call, Load, Prealloc};
use abi::kind::Kind;
use abi::request::{
    self, Cores, Exits, Halted, Head, Hello, Ledger, MESSAGE_BYTES_MAX, Number, Owners, PreallocAnswer, PreallocAsk, Registers,
    ReserveTest,
};
use libfuzzer_sys::fuzz_target;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A body is taken when, and only when, it has the size of its kind; then no bit of it is lost.
fn takes_its_size_only<T: FromBytes + IntoBytes + Immutable>(bytes: &[u8]) {
    let taken = request::body::<T>(bytes);
    assert_eq!(taken.is_some(), bytes.len() == size_of::<T>());
    assert!(taken.is_none_or(|value| value.as_bytes() == bytes));
    // The device copies as many bytes as the request's number says: the first of whatever the caller has.
    if let Some(bytes) = bytes.get(..size_of::<T>()) {
        assert!(T::read_from_bytes(bytes).is_ok_and(|value| value.as_bytes() == bytes));
    }
}

fn every_structure(bytes: &[u8]) {
    takes_its_size_only::<Number>(bytes);
    takes_its_size_only::<PreallocAsk>(bytes);
    takes_its_size_only::<PreallocAnswer>(bytes);
    takes_its_size_only::<Hello>(bytes);
    takes_its_size_only::<Halted>(bytes);
    takes_its_size_only::<Registers>(bytes);
    takes_its_size_only::<Ledger>(bytes);
    takes_its_size_only::<Owners>(bytes);
    takes_its_size_only::<ReserveTest>(bytes);
    takes_its_size_only::<Cores>(bytes);
    takes_its_size_only::<Exits>(bytes);
    takes_its_size_only::<Prealloc>(bytes);
    takes_its_size_only::<Call>(bytes);
    takes_its_size_only::<Load>(bytes);
    takes_its_size_only::<ImageHeader>(bytes);
    takes_its_size_only::<Boot>(bytes);
    takes_its_size_only::<Block>(bytes);
    takes_its_size_only::<Doorbell>(bytes);
    takes_its_size_only::<Resume>(bytes);
}

fn message(bytes: &[u8]) {
    let Some((head, body)) = request::split(bytes) else {
        let believed =
            Head::read_from_prefix(bytes).ok().and_then(|(head, rest)| Some((usize::try_from(head.bytes).ok()?, rest)));
        assert!(believed.is_none_or(|(length, rest)| length != rest.len()), "a message as long as it says was refused");
        return;
    };
    assert_eq!(body.len() + size_of::<Head>(), bytes.len());
    let mut room = [0xaa; MESSAGE_BYTES_MAX];
    match request::write(&mut room, head.code, body) {
        Some(n) => assert!(room.get(..n) == Some(bytes) && room.iter().skip(n).all(|byte| *byte == 0xaa)),
        None => assert!(bytes.len() > MESSAGE_BYTES_MAX),
    }
    every_structure(body);
    if let Some(ask) = request::body::<PreallocAsk>(body) {
        assert!(Kind::from_number(ask.kind).is_none_or(|kind| kind as u32 == ask.kind && kind.index() < Kind::COUNT));
    }
}

fuzz_target!(|data: &[u8]| {
    message(data);
    every_structure(data);
    let _word = std::str::from_utf8(data).map(Kind::from_word);
    // As a body under a true head, so that what lies behind the length is reached every time.
    let mut room = [0; MESSAGE_BYTES_MAX];
    if let Some((code, body)) = data.split_first()
        && let Some(n) = request::write(&mut room, (*code).into(), body)
    {
        assert!(request::split(&room[..n]).is_some());
        message(&room[..n]);
    }
});
