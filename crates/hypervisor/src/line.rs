//! The link on the UART: who may use it, when it is polled, what comes in and goes out.
//!
//! While the guest runs, a received byte raises the UART's line, which is an NMI to the link's core; while halted the
//! owner of the halt polls. The UART's interrupt is off whenever root polls, so that it rings at most once for nothing;
//! `may_have_rung` answers for that one (see `life`).

#![expect(unsafe_code, reason = "the I/O APIC's condition, kept or passed on")]

use crate::arch::x86::{self, apic, uart};
use crate::limits::LINK_BYTES_AT_ONCE;
use crate::root::ROOT;
use abi::request::{self, MESSAGE_BYTES_MAX};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use link::{Received, Server};
use spin::Mutex;
use zerocopy::IntoBytes;

const _: () = assert!(MESSAGE_BYTES_MAX <= link::PAYLOAD_BYTES_MAX, "a message fits a frame");

static LINE: Mutex<Server> = Mutex::new(Server::new(0));
/// The core whose NMI the UART raises.
static CORE: AtomicU32 = AtomicU32::new(u32::MAX);
static RANG: AtomicBool = AtomicBool::new(false);
/// Conversations began in this load. After a sleep they go on where they were, and so do the counts of what is told.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// A message for the caller to work on, copied out of the link.
pub struct Message {
    bytes: [u8; MESSAGE_BYTES_MAX],
    len: usize,
    /// The conversation that it belongs to.
    pub session: u32,
}

impl Message {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Takes the UART; the core that calls becomes the link's. Does nothing if root has it already.
pub fn open(core: u32, epoch: u32) {
    if ROOT.linked.load(SeqCst) {
        return;
    }
    if !BEGUN.swap(true, SeqCst) {
        LINE.lock().restart(epoch);
    }
    if uart::start() {
        CORE.store(core, SeqCst);
        ROOT.linked.store(true, SeqCst);
    }
}

/// Whether this core is the one that the UART calls.
#[must_use]
pub fn is_mine(core: u32) -> bool {
    CORE.load(SeqCst) == core && ROOT.linked.load(SeqCst)
}

/// Rings this core from now on.
pub fn arm() {
    if ROOT.linked.load(SeqCst) {
        uart::interrupts(true);
    }
}

/// Does not ring any more.
pub fn disarm() {
    if ROOT.linked.load(SeqCst) {
        uart::interrupts(false);
    }
}

/// Rings this core anew if bytes wait, for a ring that was taken without a look at them.
pub fn ring_again(core: u32) {
    if is_mine(core) {
        disarm();
        arm();
    }
}

/// Whether an NMI without another cause may have been the UART's, for bytes that a poll took before it came. Asked once.
#[must_use]
pub fn may_have_rung() -> bool {
    RANG.swap(false, SeqCst)
}

/// Takes what the UART received. `None` when no whole request came; bytes that came are kept.
pub fn poll() -> Option<Message> {
    if !ROOT.linked.load(SeqCst) || !uart::waiting() {
        return None;
    }
    RANG.store(true, SeqCst);
    let mut line = LINE.lock();
    for _ in 0..LINK_BYTES_AT_ONCE {
        let Some(byte) = uart::receive() else { break };
        match line.receive(byte) {
            Some(Received::Request) => {
                let mut message = Message { bytes: [0; MESSAGE_BYTES_MAX], len: line.request().len(), session: line.session() };
                message.bytes.get_mut(..message.len)?.copy_from_slice(line.request());
                return Some(message);
            }
            Some(Received::OtherVersion { .. }) => introduce(&mut line),
            Some(_) | None => {}
        }
    }
    // What the server queued by itself: an answer once more, or word to a stranger that its session is not known.
    drain(&mut line);
    None
}

/// Says who is here to a client of another version: it understands nothing but the version that every frame of ours has.
/// One of our own knows this load already.
fn introduce(line: &mut Server) {
    let mut room = [0; 128];
    let hello = crate::serve::hello();
    if let Some(bytes) = request::write(&mut room, request::notice::UP, hello.as_bytes()).and_then(|n| room.get(..n)) {
        let _longer_than_a_frame = line.datagram(bytes);
    }
}

/// Calls the link's core for bytes that wait: its own ring may have been lost (QEMU 7.2: see the floor's `run`).
pub fn ring_for_waiting() {
    if waiting() {
        ROOT.core(CORE.load(SeqCst)).kick();
    }
}

/// Whether bytes wait.
#[must_use]
pub fn waiting() -> bool {
    ROOT.linked.load(SeqCst) && uart::waiting()
}

/// Sends the answer to the last request.
pub fn answer(bytes: &[u8]) {
    let mut line = LINE.lock();
    // `CannotAnswer` would mean that a newer request took its place: then that one is answered next.
    if line.answer(bytes).is_ok() {
        drain(&mut line);
    }
}

/// Tells something that is repeated until the prompt has it.
pub fn notice(code: u32, body: &[u8]) {
    if !ROOT.linked.load(SeqCst) {
        return;
    }
    let mut room = [0; 512];
    if let Some(bytes) = request::write(&mut room, code, body).and_then(|n| room.get(..n)) {
        let mut line = LINE.lock();
        if line.notice(bytes).is_ok() {
            drain(&mut line);
        }
    }
}

/// Repeats the last notice if the prompt has not acknowledged it; `true` if it has, or there is none.
pub fn notice_arrived(again: bool) -> bool {
    if !ROOT.linked.load(SeqCst) {
        return true;
    }
    let mut line = LINE.lock();
    if again && line.notice_again() {
        drain(&mut line);
    }
    !line.notice_pending()
}

/// Takes back what nobody has acknowledged.
pub fn withdraw() {
    if ROOT.linked.load(SeqCst) {
        LINE.lock().withdraw();
    }
}

/// Tells something once, whether anybody hears it or not.
pub fn datagram(code: u32, body: &[u8]) {
    if !ROOT.linked.load(SeqCst) {
        return;
    }
    let mut room = [0; 512];
    if let Some(bytes) = request::write(&mut room, code, body).and_then(|n| room.get(..n)) {
        let mut line = LINE.lock();
        if line.datagram(bytes).is_ok() {
            drain(&mut line);
        }
    }
}

/// Sends last words past everybody: a core that faulted may hold the link itself.
pub fn last_words(text: &[u8]) {
    static LAST: Mutex<Server> = Mutex::new(Server::new(0));
    if !ROOT.linked.load(SeqCst) {
        return;
    }
    uart::interrupts(false);
    let Some(mut line) = LAST.try_lock() else { return };
    #[expect(clippy::cast_possible_truncation, reason = "any number that differs will do")]
    line.restart(x86::tsc() as u32);
    let mut room = [0; crate::limits::LAST_WORDS_BYTES + 8];
    if let Some(bytes) = request::write(&mut room, request::notice::LAST_WORDS, text).and_then(|n| room.get(..n)) {
        let _longer_than_a_frame = line.datagram(bytes);
        while let Some(byte) = line.next_byte() {
            uart::send(byte);
        }
    }
}

fn drain(line: &mut Server) {
    while let Some(byte) = line.next_byte() {
        // A dying root speaks alone.
        if ROOT.dying.load(SeqCst) {
            return;
        }
        uart::send(byte);
    }
}

/// Makes the UART's line an NMI to this core.
///
/// # Safety
/// No other core runs Linux code at the moment (see `apic::line_to_nmi`).
pub unsafe fn ring() {
    // SAFETY: the caller's promise is the same.
    let rings = unsafe { apic::line_to_nmi(apic::id()) };
    ROOT.break_in_by_nmi.store(rings, SeqCst);
}

/// A core has left root by Linux' wish. The last one gives the UART and its line back; the link's core is the last but for
/// unloading, since the module does not let it go offline.
pub fn core_left() {
    if ROOT.linked.load(SeqCst) && ROOT.cores_in().next().is_none() {
        uart::interrupts(false);
        ROOT.linked.store(false, SeqCst);
        if ROOT.break_in_by_nmi.swap(false, SeqCst) {
            // SAFETY: the last core leaves while the module holds the others with interrupts off (`stop_machine`), so none
            // is between the I/O APIC's registers.
            unsafe { apic::line_restore() };
        }
    }
}
