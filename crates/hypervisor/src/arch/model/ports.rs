//! Ports of the model: every one remembers the last value written to it, and counts how often it was touched.
#![expect(unsafe_code, reason = "the signatures of the real ones")]

extern crate std;
use std::sync::Mutex;
use std::vec::Vec;

/// Port, bytes, and the value written or `None`, in their order.
pub static TOUCHED: Mutex<Vec<(u16, u8, Option<u32>)>> = Mutex::new(Vec::new());

/// As the real one; what is read is the port's number twice.
///
/// # Safety
/// None is needed.
#[must_use]
pub unsafe fn read(port: u16, bytes: u8) -> u32 {
    TOUCHED.lock().unwrap().push((port, bytes, None));
    let all = u32::from(port) << 16 | u32::from(port);
    if bytes < 4 { all & ((1 << (8 * bytes)) - 1) } else { all }
}

/// As the real one.
///
/// # Safety
/// None is needed.
pub unsafe fn write(port: u16, bytes: u8, value: u32) {
    TOUCHED.lock().unwrap().push((port, bytes, Some(value)));
}
