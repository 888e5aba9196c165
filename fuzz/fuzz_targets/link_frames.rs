//! Bytes from a line, for both ends of the link: no panic, and the whole frame that follows them is understood.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| link::fuzz::frames(data));
