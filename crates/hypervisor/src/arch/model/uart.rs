//! The UART of the model: two queues, and a line that raises an NMI when it rises.

extern crate std;
use core::sync::atomic::AtomicU64;
use std::collections::VecDeque;
use std::sync::Mutex;

/// As the real one's.
pub const BASE: u16 = 0x2f8;
/// As the real one's.
pub const PORTS: u16 = 8;
/// As the real one's; nothing is ever dropped here.
pub static DROPPED: AtomicU64 = AtomicU64::new(0);

struct Uart {
    received: VecDeque<u8>,
    sent: VecDeque<u8>,
    enabled: bool,
    high: bool,
    calls: u32,
}

static UART: Mutex<Uart> =
    Mutex::new(Uart { received: VecDeque::new(), sent: VecDeque::new(), enabled: false, high: false, calls: u32::MAX });

fn with<T>(change: impl FnOnce(&mut Uart) -> T) -> T {
    let mut uart = UART.lock().unwrap();
    let result = change(&mut uart);
    let high = uart.enabled && !uart.received.is_empty();
    if high && !uart.high && uart.calls != u32::MAX {
        super::raise_nmi(uart.calls);
    }
    uart.high = high;
    result
}

/// Whom the line calls.
pub fn call(core: u32) {
    with(|uart| uart.calls = core);
}

/// The other end: bytes for root.
pub fn feed(bytes: &[u8]) {
    with(|uart| uart.received.extend(bytes));
}

/// The other end: what root sent.
pub fn drain() -> std::vec::Vec<u8> {
    with(|uart| uart.sent.drain(..).collect())
}

/// There always is one.
pub fn start() -> bool {
    true
}

/// Whether received bytes raise the line.
pub fn interrupts(on: bool) {
    with(|uart| uart.enabled = on);
}

/// The next received byte.
pub fn receive() -> Option<u8> {
    with(|uart| uart.received.pop_front())
}

/// Whether one waits.
pub fn waiting() -> bool {
    with(|uart| !uart.received.is_empty())
}

/// Sends one byte.
pub fn send(byte: u8) {
    with(|uart| uart.sent.push_back(byte));
}
