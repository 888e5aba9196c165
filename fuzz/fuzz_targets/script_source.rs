//! Scripts: any text, and scripts that are made of any bytes. The compiler does not panic, what it makes passes the
//! verifier, and the interpreter does what a plain tree walker does.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| match data.split_first() {
    Some((0, choices)) => script::oracle::generated(choices),
    _ => script::oracle::source(&String::from_utf8_lossy(data)),
});
