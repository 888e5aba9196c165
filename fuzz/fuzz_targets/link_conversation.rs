//! Faults of the line and deaths of its ends, drawn from the bytes: each request is executed once, in order, and answered.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| link::fuzz::conversation(data));
