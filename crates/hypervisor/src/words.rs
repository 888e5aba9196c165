//! Last words: what a fault of root's own leaves behind, and how root lets go of the machine.
//!
//! The fault is told on the link with the core's last exits, Linux' worker is told by the doorbell, every other core is
//! kicked out of its guest, and each gives its guest back to bare metal: Linux runs on, without a hypervisor.

use crate::arch::x86::{self, direct, trap, trap::Fault};
use crate::arch::{Core, Machine};
use crate::limits::{HALT_WAIT_MS, LAST_WORDS_BYTES};
use crate::root::{OUT, ROOT, RUNNING};
use crate::{detours, line};
use abi::boot::Doorbell;
use core::fmt::{self, Write};
use core::mem::offset_of;
use core::sync::atomic::Ordering::SeqCst;

struct Text {
    bytes: [u8; LAST_WORDS_BYTES],
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let n = s.len().min(room.len());
        room[..n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

/// Says who handles faults of root.
pub fn prepare<M: Machine>() {
    trap::on_fault(fault::<M>);
}

fn fault<M: Machine>(fault: &Fault) -> ! {
    let core = x86::region::local().core.load(SeqCst);
    let mut text = Text { bytes: [0; LAST_WORDS_BYTES], len: 0 };
    let _never = writeln!(
        text,
        "fault in root on core {core:x}: vector {:x}, error {:x}, address {:x}, rip {:x}, rsp {:x}",
        fault.vector,
        fault.error,
        x86::cr2(),
        fault.rip,
        fault.rsp,
    );
    die::<M>(core, text)
}

/// The end of a program error that Rust found: an assertion, an index, an overflow.
pub fn panic<M: Machine>(info: &fmt::Arguments) -> ! {
    let core = x86::region::local().core.load(SeqCst);
    let mut text = Text { bytes: [0; LAST_WORDS_BYTES], len: 0 };
    let _never = writeln!(text, "panic in root on core {core:x}: {info}");
    die::<M>(core, text)
}

fn die<M: Machine>(core: u32, mut text: Text) -> ! {
    if ROOT.core(core).state.load(SeqCst) == OUT {
        // A second fault while dying, or one before the guest ran: there is nothing to give back.
        x86::halt_for_ever();
    }
    let _never = write!(text, "last exits:");
    for (name, rip) in ROOT.core(core).last_exits() {
        let _never = write!(text, " {name}@{rip:x}");
    }
    let first = !ROOT.dying.swap(true, SeqCst);
    ROOT.attend();
    if first {
        line::last_words(text.bytes.get(..text.len).unwrap_or_default());
        for (number, record) in ROOT.cores_in() {
            if number != core && record.state.load(SeqCst) == RUNNING {
                record.kick();
            }
        }
        ROOT.called.store(true, SeqCst);
        detours::let_go(core);
    }
    wait_until_called();
    count_out(core);
    M::let_go()
}

/// Marks a core as gone after a fault, for the module's worker.
fn count_out(core: u32) {
    ROOT.core(core).state.store(OUT, SeqCst);
    let doorbell = ROOT.doorbell_pa.load(SeqCst);
    direct::doorbell_add(doorbell + offset_of!(Doorbell, left) as u64, 1);
    direct::doorbell_add(doorbell + offset_of!(Doorbell, dead) as u64, 1);
}

/// Until the core that faulted first has called the others: an NMI that comes when its core has left would come to Linux. Not
/// for ever, as that one may fault again.
fn wait_until_called() {
    let start = x86::tsc();
    while !ROOT.called.load(SeqCst) && x86::tsc().wrapping_sub(start) <= ROOT.ticks(HALT_WAIT_MS) {
        x86::relax();
    }
}

/// A core that finds root dying leaves.
pub fn leave_dying<C: Core>(cpu: &mut C, core: u32) -> ! {
    wait_until_called();
    count_out(core);
    // As when the vendor lets go: one that is pending now is root's.
    let _taken = cpu.take_nmi();
    cpu.leave()
}
