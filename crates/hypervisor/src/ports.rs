//! Accesses to ports that come to root: its own, which Linux must not find, and those that events wait for.
//!
//! **Holds always**
//! - P1: a port of root's own is never touched for the guest, whoever watches it: reads are all ones, writes go nowhere.
//! - P2: any other is touched as the guest's instruction would have, once, between the events before and behind it.
//! - P3: an access that faults is none: nothing was touched, and no event fires; the guest comes again.
//!
//! **Callers**: `life`. **Proof**: the tests below, `tests/e2e/events_ports.rs`.
#![expect(unsafe_code, reason = "ports are touched for the guest")]

use crate::arch::x86::ports;
use crate::arch::{Core, Machine, Port};
use crate::scripts::Bench;
use crate::strings::Element;
use crate::watch::{self, What};
use abi::request::event;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Root's own: the first, and how many in the upper half. Said once, before any core enters.
static OWN: AtomicU32 = AtomicU32::new(0);

const RAX: u8 = 0;

/// These ports are root's own from now on.
pub fn own<M: Machine>(first: u16, count: u16) {
    OWN.store(u32::from(first) | u32::from(count) << 16, Relaxed);
    M::own_ports(first, count);
}

/// Whether a byte of this access is root's.
fn is_own(port: Port) -> bool {
    let own = OWN.load(Relaxed);
    let (first, count) = (own & 0xffff, own >> 16);
    let (from, bytes) = (u32::from(port.port), u32::from(port.bytes));
    from < first + count && first < from + bytes
}

/// An access came to root.
pub fn exit<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, port: Port) {
    if port.string && !is_own(port) {
        match Element::next(cpu, core, port) {
            Ok(Some(_)) => {}
            Ok(None) => return cpu.skip(),
            Err(event) => return cpu.inject(event),
        }
    }
    let kind = if port.input { event::PORT_IN } else { event::PORT_OUT };
    let what = What { kind, option: port.port.into(), context: port.port.into() };
    watch::around::<M>(cpu, core, bench, what, |cpu| act(cpu, core, port));
}

/// Does what the instruction does, with the registers as scripts have left them.
fn act<C: Core>(cpu: &mut C, core: u32, port: Port) {
    if is_own(port) {
        // INS and OUTS move nothing: nobody drives a UART that is not there by them.
        if port.input && !port.string {
            cpu.set_gpr(RAX, merged(cpu.gpr(RAX.into()), u32::MAX, port.bytes));
        }
        return cpu.skip();
    }
    if port.string {
        return match Element::next(cpu, core, port) {
            Ok(Some(element)) => string(cpu, core, port, element),
            Ok(None) => cpu.skip(),
            Err(event) => cpu.inject(event),
        };
    }
    let rax = cpu.gpr(RAX.into());
    if port.input {
        // SAFETY: the device is the guest's (P1), and the guest asks for it.
        let value = unsafe { ports::read(port.port, port.bytes) };
        cpu.set_gpr(RAX, merged(rax, value, port.bytes));
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "eax")]
        // SAFETY: as above.
        unsafe {
            ports::write(port.port, port.bytes, rax as u32);
        };
    }
    cpu.skip();
}

fn string<C: Core>(cpu: &mut C, core: u32, port: Port, element: Element) {
    if port.input {
        // SAFETY: as in `act`.
        element.store(unsafe { ports::read(port.port, port.bytes) });
    } else {
        // SAFETY: as in `act`.
        unsafe { ports::write(port.port, port.bytes, element.load(core)) };
    }
    element.step(cpu);
}

/// rax behind an IN of so many bytes: one and two leave the others, four clear them.
fn merged(rax: u64, value: u32, bytes: u8) -> u64 {
    match bytes {
        1 => rax & !0xff | u64::from(value & 0xff),
        2 => rax & !0xffff | u64::from(value & 0xffff),
        _ => value.into(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    extern crate std;
    use super::*;
    use crate::arch::Event;
    use crate::arch::model::{ModelCore, ports::TOUCHED};
    use crate::arch::x86::direct::{Frame, arena};
    use std::sync::Mutex;
    use std::vec::Vec;

    /// One at a time: the ports of the model are one machine's.
    static ONE: Mutex<()> = Mutex::new(());
    const UP: u64 = 0;
    const DOWN: u64 = 1 << 10;

    fn touched() -> Vec<(u16, u8, Option<u32>)> {
        core::mem::take(&mut *TOUCHED.lock().unwrap())
    }

    fn port(port: u16, bytes: u8, input: bool, string: bool) -> Port {
        Port { port, bytes, input, string }
    }

    /// Tables of two user pages side by side at linear 0x1000, the second read only, and nothing behind.
    fn tables() -> (u64, Frame) {
        let first = arena::run(6).unwrap();
        // SAFETY: the arena hands out each frame once.
        let frames: Vec<Frame> = (first..first + 6).map(|pfn| unsafe { Frame::claim(pfn) }).collect();
        for level in 0..3 {
            frames[level].set(0, frames[level + 1].pa() | 7);
        }
        frames[3].set(1, frames[4].pa() | 7);
        frames[3].set(2, frames[5].pa() | 5);
        let root = frames[0].pa();
        (root, frames.into_iter().nth(4).unwrap())
    }

    /// Would catch an access of root's own port that reaches it, by its neighbour or as a string.
    #[test]
    fn roots_own_ports_are_not_touched() {
        let _one = ONE.lock().unwrap();
        OWN.store(0x2f8 | 8 << 16, Relaxed);
        let mut cpu = ModelCore::new(0);
        for (asked, rax) in [
            (port(0x2f8, 1, true, false), 0x1122_33ff),
            (port(0x2ff, 2, true, false), 0x1122_ffff),
            (port(0x2f5, 4, true, false), 0xffff_ffff),
            (port(0x2f8, 1, false, false), 0x1122_3344),
            (port(0x2f8, 1, true, true), 0x1122_3344),
        ] {
            cpu.gprs[0] = 0x1122_3344;
            act(&mut cpu, 0, asked);
            assert_eq!((cpu.gprs[0], touched()), (rax, Vec::new()), "{asked:x?}");
        }
        for near in [port(0x2f4, 4, true, false), port(0x300, 1, true, false)] {
            act(&mut cpu, 0, near);
            assert_eq!(touched(), [(near.port, near.bytes, None)]);
        }
        OWN.store(0, Relaxed);
    }

    /// Would catch bytes of rax that an IN must leave or clear, and an OUT of more than was asked.
    #[test]
    fn in_and_out_have_their_sizes() {
        let _one = ONE.lock().unwrap();
        let mut cpu = ModelCore::new(0);
        for (bytes, rax) in [(1, 0x1111_2222_3333_4470), (2, 0x1111_2222_3333_0170), (4, 0x0170_0170)] {
            cpu.gprs[0] = 0x1111_2222_3333_4444;
            act(&mut cpu, 0, port(0x170, bytes, true, false));
            assert_eq!(cpu.gprs[0], rax);
        }
        act(&mut cpu, 0, port(0x80, 2, false, false));
        assert_eq!(touched().last(), Some(&(0x80, 2, Some(0x0170_0170))));
    }

    /// Would catch an element that goes elsewhere, a count or a direction that is not the guest's, and a guest that leaves a
    /// repeated instruction early or late.
    #[test]
    fn strings_move_one_element_at_a_time() {
        let _one = ONE.lock().unwrap();
        let (root, page) = tables();
        let mut cpu = ModelCore::new(0);
        cpu.tables = root;
        cpu.text = &[0xf3, 0x66, 0x6d];
        let ins = port(0x1f0, 2, true, true);
        for (flags, expected) in [(UP, 0x1014), (DOWN, 0x100c)] {
            (cpu.modes[0], cpu.gprs[7], cpu.gprs[1]) = (flags, 0x1010, 2);
            let rip = cpu.rip();
            act(&mut cpu, 0, ins);
            assert_eq!((cpu.gprs[1], cpu.rip()), (1, rip), "it stays");
            act(&mut cpu, 0, ins);
            assert_eq!((cpu.gprs[7], cpu.gprs[1], cpu.rip() > rip), (expected, 0, true));
        }
        assert_eq!(touched().len(), 4);
        assert_eq!((page.get(2), page.get(1)), (0x01f0_01f0, 0x01f0_0000_0000_0000), "10, 12, then 10, e");
        let rip = cpu.rip();
        assert_eq!(Element::next(&cpu, 0, ins), Ok(None), "nothing is left");
        act(&mut cpu, 0, ins);
        assert_eq!((touched().len(), cpu.rip() > rip), (0, true));
        // OUTS reads across the border of two pages, by 32-bit addresses, and clears the upper half.
        page.set(511, 0xaabb_0000_0000_0000);
        cpu.text = &[0x67, 0x6f];
        (cpu.modes[0], cpu.gprs[6]) = (UP, 0x9_0000_1ffe);
        act(&mut cpu, 0, port(0x1f0, 4, false, true));
        assert_eq!((touched(), cpu.gprs[6]), (Vec::from([(0x1f0, 4, Some(0xaabb))]), 0x2002));
    }

    /// Would catch a port that is read for an element that has no place, a fault without its address, and one where the
    /// guest may write.
    #[test]
    fn what_faults_has_touched_nothing() {
        let _one = ONE.lock().unwrap();
        let (root, _) = tables();
        let mut cpu = ModelCore::new(0);
        cpu.tables = root;
        cpu.text = &[0x6d];
        cpu.modes[1] = 1 << 16;
        for (at, event) in [
            (0x3000, Event::PageFault { address: 0x3000, error: 2 }),
            (0x1ffe, Event::PageFault { address: 0x2000, error: 3 }),
            (0x8000_0000_0000, Event::GeneralProtection),
            (0x7fff_ffff_fffe, Event::GeneralProtection),
        ] {
            cpu.gprs[7] = at;
            act(&mut cpu, 0, port(0x1f0, 4, true, true));
            assert_eq!((cpu.injected.take(), cpu.rip(), cpu.gprs[7]), (Some(event), 0x1000, at));
        }
        // The kernel may not touch a program's page, unless it says so.
        (cpu.modes[2], cpu.gprs[7]) = (1 << 21, 0x1000);
        act(&mut cpu, 0, port(0x1f0, 4, true, true));
        assert_eq!(cpu.injected.take(), Some(Event::PageFault { address: 0x1000, error: 3 }));
        assert_eq!(touched(), []);
        cpu.modes[0] = 1 << 18;
        act(&mut cpu, 0, port(0x1f0, 4, true, true));
        assert_eq!((cpu.injected.take(), touched().len()), (None, 1));
        // 32-bit code has segments.
        cpu.bits = 32;
        for (limit, usable, fits) in [(0x1003, true, true), (0x1002, true, false), (0x1003, false, false)] {
            cpu.segment = crate::arch::Segment { base: 0, limit, usable, writable: true };
            cpu.gprs[7] = 0x1000;
            act(&mut cpu, 0, port(0x1f0, 4, true, true));
            assert_eq!(cpu.injected.take().is_none(), fits);
        }
        touched();
    }
}
