//! Bytes from a line, for both ends of the link: no panic, and the whole frame that follows them is understood.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Ended by a zero: a frame that lacks only its last byte is completed by the next one's first, and is then a request
    // that waits for its answer, which `frames` does not expect.
    link::fuzz::frames(&[data, &[0]].concat());
});
