//! Control and debug registers whose accesses came to root, for events.
//!
//! **Holds always**
//! - S1: an access that is no such access (an undefined instruction, a place that faults) fires no event.
//! - S2: it is done with the registers as scripts have left them, and faults as the guest's own would.
//!
//! **Callers**: `life`. **Proof**: the tests below, `tests/e2e/events_registers.rs`.

use crate::arch::x86::decode::{self, INSTRUCTION_BYTES_MAX};
use crate::arch::{Core, DebugRegister, Event, Machine};
use crate::scripts::Bench;
use crate::watch::{self, What};
use abi::request::event;

const CR4_DE: u64 = 1 << 3;
const DR6_BD: u64 = 1 << 13;
const DR7_GD: u64 = 1 << 13;
/// In `$context` of an access to a debug register: it is written.
const WRITTEN: u64 = 0x10;

/// A write of control register 0 or 4.
pub fn control_write<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, register: u8) {
    let wanted = match cpu.control_wanted(register) {
        Ok(wanted) => wanted,
        Err(event) => return cpu.inject(event),
    };
    let crs = cpu.registers().crs;
    let changes = (wanted ^ if register == 0 { crs[0] } else { crs[3] }) & 0xffff_ffff;
    let what = What { kind: event::CONTROL_WRITE, option: u64::from(register) | changes << 32, context: wanted };
    watch::around::<M>(cpu, core, bench, what, |cpu| write(cpu, register));
}

fn write<C: Core>(cpu: &mut C, register: u8) {
    match cpu.control_wanted(register) {
        Ok(value) if cpu.write_control(register, value) => cpu.skip(),
        Ok(_) => cpu.inject(Event::GeneralProtection),
        Err(event) => cpu.inject(event),
    }
}

/// An access to a debug register.
pub fn debug_register<M: Machine>(cpu: &mut M::Core, core: u32, bench: &mut Bench, asked: DebugRegister) {
    let (number, general) = match which(cpu, asked) {
        Ok(both) => both,
        Err(event) => return cpu.inject(event),
    };
    let context = u64::from(number) | if asked.write { WRITTEN } else { 0 };
    let what = What { kind: event::DEBUG_REGISTER, option: 0, context };
    watch::around::<M>(cpu, core, bench, what, |cpu| access(cpu, number, general, asked.write));
}

/// The debug register that is meant, and the general one on the other side.
fn which<C: Core>(cpu: &mut C, asked: DebugRegister) -> Result<(u8, u8), Event> {
    let mut bytes = [0; INSTRUCTION_BYTES_MAX];
    let read = cpu.code(&mut bytes);
    let form = decode::split(bytes.get(..read).unwrap_or_default(), cpu.code_bits() == 64);
    let &[0x0f, 0x21 | 0x23, operand, ..] = form.rest else { return Err(Event::UndefinedInstruction) };
    let general = operand & 7 | (form.rex & 1) << 3;
    let number = match asked.number {
        4 | 5 if cpu.registers().crs[3] & CR4_DE != 0 => return Err(Event::UndefinedInstruction),
        4 | 5 => asked.number + 2,
        number => number,
    };
    let dr7 = cpu.debug_register(7);
    if dr7 & DR7_GD != 0 {
        // A debugger guards them: it is told before anything is done, and its guard is lifted (APM2 13.1.1.4).
        cpu.set_debug_register(7, dr7 & !DR7_GD);
        cpu.set_debug_register(6, cpu.debug_register(6) | DR6_BD);
        return Err(Event::Debug);
    }
    Ok((number, general))
}

fn access<C: Core>(cpu: &mut C, number: u8, general: u8, write: bool) {
    let bits = if cpu.code_bits() == 64 { u64::MAX } else { 0xffff_ffff };
    if !write {
        cpu.set_gpr(general, cpu.debug_register(number) & bits);
        return cpu.skip();
    }
    let value = cpu.gpr(general.into()) & bits;
    if number > 3 && value >> 32 != 0 {
        return cpu.inject(Event::GeneralProtection);
    }
    cpu.set_debug_register(number, value);
    cpu.skip();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::model::ModelCore;

    fn asked(number: u8, write: bool) -> DebugRegister {
        DebugRegister { number, write }
    }

    fn done(cpu: &mut ModelCore, asked: DebugRegister) -> Option<Event> {
        match which(cpu, asked) {
            Ok((number, general)) => access(cpu, number, general, asked.write),
            Err(event) => cpu.inject(event),
        }
        cpu.injected.take()
    }

    /// Would catch a register that is taken for another, a second name where there is none, a value that faults and is
    /// kept, and a guard that does not guard or is never lifted.
    #[test]
    fn debug_registers_are_read_and_written_as_the_processor_does() {
        let mut cpu = ModelCore::new(0);
        // mov dr7, r9; mov r9, dr7 differ in the opcode alone.
        cpu.text = &[0x41, 0x0f, 0x23, 0xf9];
        cpu.gprs[9] = 0x402;
        assert_eq!((done(&mut cpu, asked(7, true)), cpu.debug[7], cpu.rip() > 0x1000), (None, 0x402, true));
        cpu.gprs[9] = 0xffff_8000_1234_5678;
        assert_eq!((done(&mut cpu, asked(2, true)), cpu.debug[2]), (None, 0xffff_8000_1234_5678));
        let rip = cpu.rip();
        assert_eq!((done(&mut cpu, asked(5, true)), cpu.debug[7]), (Some(Event::GeneralProtection), 0x402));
        assert_eq!((done(&mut cpu, asked(4, false)), cpu.gprs[9]), (None, 0));
        assert_eq!((done(&mut cpu, asked(5, false)), cpu.gprs[9]), (None, 0x402));
        cpu.modes[2] = CR4_DE;
        assert_eq!(done(&mut cpu, asked(5, false)), Some(Event::UndefinedInstruction));
        assert!(cpu.rip() > rip, "two of these went on");
        cpu.debug[7] = 0x2402;
        cpu.gprs[9] = 1;
        assert_eq!((done(&mut cpu, asked(0, true)), cpu.debug[0]), (Some(Event::Debug), 0));
        assert_eq!((cpu.debug[6], cpu.debug[7]), (DR6_BD, 0x402));
        assert_eq!((done(&mut cpu, asked(0, true)), cpu.debug[0]), (None, 1));
        cpu.text = &[0x0f, 0xa2, 0x90];
        assert_eq!(done(&mut cpu, asked(0, true)), Some(Event::UndefinedInstruction));
    }

    /// Would catch a value that faults and takes effect, or an operand that is another register's.
    #[test]
    fn control_registers_take_what_they_can() {
        let mut cpu = ModelCore::new(0);
        cpu.text = &[0x41, 0x0f, 0x22, 0xe1];
        cpu.gprs[9] = 0x20;
        write(&mut cpu, 4);
        assert_eq!((cpu.modes[2], cpu.injected.take(), cpu.rip() > 0x1000), (0x20, None, true));
        cpu.gprs[9] = 1 << 32;
        write(&mut cpu, 4);
        assert_eq!((cpu.modes[2], cpu.injected.take()), (0x20, Some(Event::GeneralProtection)));
        write(&mut cpu, 0);
        assert_eq!(cpu.injected.take(), Some(Event::UndefinedInstruction), "the text writes another");
    }
}
