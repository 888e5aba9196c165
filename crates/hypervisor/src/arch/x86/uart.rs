//! COM2, a 16550: polled, and raising an interrupt that the I/O APIC delivers as NMI.
//!
//! Registers as in the 16550 data sheet. Root owns the ports as long as it runs; Linux reads 0xff there (`port` exits).
#![expect(unsafe_code, reason = "port input and output")]

use super::{port_in, port_out, relax, tsc};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// First port of COM2, and how many it has.
pub const BASE: u16 = 0x2f8;
/// Ports of one UART.
pub const PORTS: u16 = 8;
/// The ISA interrupt line of COM2.
pub const LINE: u8 = 3;

const LSR_DATA: u8 = 1;
const LSR_ROOM: u8 = 1 << 5;
/// A byte that the UART does not take within this many ticks is dropped and counted: nobody may hang root.
const WRITE_TICKS_MAX: u64 = 200_000_000;

/// Bytes that could not be sent in time.
pub static DROPPED: AtomicU64 = AtomicU64::new(0);

fn read(register: u16) -> u8 {
    // SAFETY: COM2 is root's while the link is up, and only `link` calls this.
    unsafe { port_in(BASE + register) }
}

fn write(register: u16, value: u8) {
    // SAFETY: as `read`; a 16550 does no DMA.
    unsafe { port_out(BASE + register, value) }
}

/// Sets 115200 8N1, FIFOs on, no interrupts. `false` if there is no UART.
pub fn start() -> bool {
    write(1, 0);
    write(3, 0x80);
    write(0, 1);
    write(1, 0);
    write(3, 0x03);
    write(2, 0x07);
    write(4, 0x0b);
    // The scratch register remembers what a missing UART cannot.
    write(7, 0x5a);
    read(7) == 0x5a && read(5) != 0xff
}

/// Whether received bytes raise the interrupt line.
pub fn interrupts(on: bool) {
    write(1, u8::from(on));
}

/// The next received byte, if there is one.
pub fn receive() -> Option<u8> {
    (read(5) & LSR_DATA != 0).then(|| read(0))
}

/// Whether a byte waits, without taking it.
#[must_use]
pub fn waiting() -> bool {
    read(5) & LSR_DATA != 0
}

/// Sends one byte; gives up after a limit, counted.
pub fn send(byte: u8) {
    let start = tsc();
    while read(5) & LSR_ROOM == 0 {
        if tsc().wrapping_sub(start) > WRITE_TICKS_MAX {
            DROPPED.fetch_add(1, Relaxed);
            return;
        }
        relax();
    }
    write(0, byte);
}
