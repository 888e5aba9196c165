//! Lines that somebody types, over the model of root: no panic, spans within the line, never silence.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| debugger::fuzz::fuzz_command_line(data));
