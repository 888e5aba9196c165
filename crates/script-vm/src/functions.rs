//! What the documented functions do. Each pays steps for the bytes that it looks at, so none outlives the limit.

use crate::format::pad;
use crate::limits::{PRINTED_STRING_BYTES_MAX, STEPS_PER_MICROSECOND};
use crate::world::World;
use crate::{Control, FaultKind, Interlocked, Machine, Size, Space, Spec, system};

/// Turns between two tries of a lock unless the script says otherwise.
const TURNS: u64 = 64;

impl<M: Machine> World<'_, '_, '_, M> {
    /// Calls a function by number.
    #[inline(never)]
    pub(crate) fn call(&mut self, function: u32, [a, b, c]: [u64; 3]) -> Result<u64, FaultKind> {
        let control = |world: &mut Self, control| world.machine.control(control).map_err(|_| FaultKind::Refused);
        match function {
            system::MEMCPY => self.copy(Space::Virtual, a, b, c),
            system::MEMCPY_PA => self.copy(Space::Physical, a, b, c),
            system::MEMCMP => self.compare(a, b, c, Size::One, false),
            system::CHECK_ADDRESS => Ok(u64::from(self.load(Space::Virtual, a, Size::One).is_ok())),
            system::VIRTUAL_TO_PHYSICAL => self.machine.physical(a).map_err(|_| FaultKind::BadAddress { address: a }),
            system::PHYSICAL_TO_VIRTUAL => self.machine.direct(a).map_err(|_| FaultKind::BadAddress { address: a }),
            system::STRLEN => self.length(a, Size::One, u64::MAX),
            system::WCSLEN => self.length(a, Size::Two, u64::MAX),
            system::STRCMP => self.compare(a, b, u64::MAX, Size::One, true),
            system::STRNCMP => self.compare(a, b, c, Size::One, true),
            system::WCSCMP => self.compare(a, b, u64::MAX, Size::Two, true),
            system::WCSNCMP => self.compare(a, b, c, Size::Two, true),
            system::SPINLOCK_LOCK => self.lock(a, TURNS),
            system::SPINLOCK_LOCK_CUSTOM_WAIT => self.lock(a, b),
            system::SPINLOCK_UNLOCK => self.change(a, Interlocked::Exchange(0)).map(|_| 0),
            system::INTERLOCKED_INCREMENT => Ok(self.change(a, Interlocked::Add(1))?.wrapping_add(1)),
            system::INTERLOCKED_DECREMENT => Ok(self.change(a, Interlocked::Add(u64::MAX))?.wrapping_sub(1)),
            system::INTERLOCKED_EXCHANGE => self.change(a, Interlocked::Exchange(b)),
            system::INTERLOCKED_EXCHANGE_ADD => self.change(a, Interlocked::Add(b)),
            system::INTERLOCKED_COMPARE_EXCHANGE => self.change(a, Interlocked::CompareExchange { old: c, new: b }),
            system::DISASSEMBLE_LEN | system::DISASSEMBLE_LEN64 => self.instruction(a, 64),
            system::DISASSEMBLE_LEN32 => self.instruction(a, 32),
            system::RDTSC => Ok(self.machine.ticks(false)),
            system::RDTSCP => Ok(self.machine.ticks(true)),
            system::MICROSLEEP => {
                self.pay(a.saturating_mul(STEPS_PER_MICROSECOND))?;
                self.machine.sleep(a);
                Ok(0)
            }
            system::EVENT_ENABLE => control(self, Control::Enable(a)),
            system::EVENT_DISABLE => control(self, Control::Disable(a)),
            system::EVENT_CLEAR => control(self, Control::Clear(a)),
            system::EVENT_SC => control(self, Control::ShortCircuit(a != 0)),
            system::EVENT_INJECT => control(self, Control::Inject { kind: a, vector: b, code: None }),
            system::EVENT_INJECT_ERROR_CODE => control(self, Control::Inject { kind: a, vector: b, code: Some(c) }),
            system::EVENT_TRACE_STEP => control(self, Control::Step),
            system::EVENT_TRACE_STEP_IN => control(self, Control::StepIn),
            system::EVENT_TRACE_STEP_OUT => control(self, Control::StepOut),
            system::EVENT_TRACE_INSTRUMENTATION_STEP => control(self, Control::InstrumentationStep),
            system::EVENT_TRACE_INSTRUMENTATION_STEP_IN => control(self, Control::InstrumentationStepIn),
            system::PAUSE => control(self, Control::Pause),
            system::FLUSH => control(self, Control::Flush),
            _ => Err(FaultKind::BadProgram),
        }
    }

    /// Copies upwards, 8 bytes at once where it can.
    fn copy(&mut self, space: Space, to: u64, from: u64, bytes: u64) -> Result<u64, FaultKind> {
        self.pay((bytes / 8).saturating_add(bytes % 8))?;
        let mut done: u64 = 0;
        while done < bytes {
            let size = if bytes - done >= 8 { Size::Eight } else { Size::One };
            let value = self.load(space, from.wrapping_add(done), size)?;
            self.store(space, to.wrapping_add(done), size, value)?;
            done = done.wrapping_add(size.bytes() as u64);
        }
        Ok(0)
    }

    /// -1, 0 or 1, as the first difference among `most` characters says.
    fn compare(&mut self, a: u64, b: u64, most: u64, size: Size, ends: bool) -> Result<u64, FaultKind> {
        let mut at: u64 = 0;
        for _ in 0..most {
            self.pay(1)?;
            let x = self.load(Space::Virtual, a.wrapping_add(at), size)?;
            let y = self.load(Space::Virtual, b.wrapping_add(at), size)?;
            if x != y {
                return Ok(if x < y { u64::MAX } else { 1 });
            }
            if ends && x == 0 {
                break;
            }
            at = at.wrapping_add(size.bytes() as u64);
        }
        Ok(0)
    }

    /// Characters before the zero, `most` at most.
    fn length(&mut self, string: u64, size: Size, most: u64) -> Result<u64, FaultKind> {
        let mut count: u64 = 0;
        while count < most {
            self.pay(1)?;
            let at = string.wrapping_add(count.wrapping_mul(size.bytes() as u64));
            if self.load(Space::Virtual, at, size)? == 0 {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    fn lock(&mut self, lock: u64, turns: u64) -> Result<u64, FaultKind> {
        let take = Interlocked::CompareExchange { old: 0, new: 1 };
        while self.change(lock, take)? != 0 {
            // Whoever holds it may be halted, or may have ended by a fault: the limit ends this.
            for _ in 0..turns.max(1) {
                self.pay(1)?;
                self.machine.relax();
            }
        }
        Ok(0)
    }

    fn instruction(&mut self, address: u64, bits: u8) -> Result<u64, FaultKind> {
        self.machine.instruction_bytes(address, bits).map_err(|_| FaultKind::BadAddress { address })
    }

    /// Says a string, 16-bit characters as UTF-8.
    #[inline(never)]
    pub(crate) fn say_string(&mut self, spec: Spec, string: u64) -> Result<(), FaultKind> {
        let size = if spec.what == b'w' { Size::Two } else { Size::One };
        let most = spec.precision.map_or(PRINTED_STRING_BYTES_MAX / 2, u32::from);
        let width = usize::from(spec.width);
        let length = if width > 0 { self.length(string, size, most.into())? } else { 0 };
        let blank = width.saturating_sub(usize::try_from(length).unwrap_or(width));
        if !spec.left {
            pad(blank, b' ', &mut |text| self.machine.say(text));
        }
        let (mut chunk, mut used) = ([0; 64], 0);
        for at in 0..most {
            self.pay(1)?;
            let character = self.load(Space::Virtual, string.wrapping_add(u64::from(at) * size.bytes() as u64), size)?;
            if character == 0 {
                break;
            }
            let mut bytes = [character.to_le_bytes()[0], 0, 0, 0];
            let mut count = 1;
            if size == Size::Two {
                let known = u32::try_from(character).ok().and_then(char::from_u32);
                count = known.unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut bytes).len();
            }
            for byte in bytes.iter().take(count) {
                if let Some(place) = chunk.get_mut(used) {
                    *place = *byte;
                    used += 1;
                }
            }
            if used > 60 {
                self.machine.say(chunk.get(..used).unwrap_or(&[]));
                used = 0;
            }
        }
        self.machine.say(chunk.get(..used).unwrap_or(&[]));
        if spec.left {
            pad(blank, b' ', &mut |text| self.machine.say(text));
        }
        Ok(())
    }
}
