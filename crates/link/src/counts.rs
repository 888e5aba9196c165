//! What one end of the link saw and did. Nothing is dropped without being counted here.

use crate::frame::Fault;

/// Counters of one end, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that arrived whole, in our version.
    pub frames_in: u64,
    /// Frames that left whole.
    pub frames_out: u64,
    /// Arrived with a CRC that does not agree.
    pub crc_bad: u64,
    /// Arrived cut short, too short for a head, or not as long as the head says.
    pub length_bad: u64,
    /// Arrived longer than any frame may be.
    pub overlong: u64,
    /// Arrived whole, in another version.
    pub other_version: u64,
    /// Arrived once more: a request, an answer, a notice, an acknowledgement or a datagram already dealt with.
    pub duplicates: u64,
    /// Sent again: a request or a notice without reply, or an answer that was asked for again.
    pub resent: u64,
    /// Arrived whole, and nobody waited for it: another session, an unknown kind, the wrong direction.
    pub stray: u64,
    /// Requests that came while another was being executed; their sender repeats them.
    pub busy: u64,
    /// Notices that a newer one replaced before they were acknowledged, and datagrams before they had left.
    pub replaced: u64,
}

impl Counts {
    /// Everything zero.
    #[must_use]
    pub const fn new() -> Counts {
        Counts {
            frames_in: 0,
            frames_out: 0,
            crc_bad: 0,
            length_bad: 0,
            overlong: 0,
            other_version: 0,
            duplicates: 0,
            resent: 0,
            stray: 0,
            busy: 0,
            replaced: 0,
        }
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        count(match fault {
            Fault::Crc => &mut self.crc_bad,
            Fault::Length => &mut self.length_bad,
            Fault::Overlong => &mut self.overlong,
            Fault::OtherVersion(_) => &mut self.other_version,
            Fault::Kind => &mut self.stray,
        });
    }
}

/// One more. It stops at the top instead of panicking there: root is built with overflow checks.
pub(crate) fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
