//! Addresses: what a script reads and writes, and whose memory that is.
//!
//! A script has memory of its own: text, data, globals, the event's buffer, names. It lies at addresses that no processor
//! can use (bits 56 to 63 of a virtual address are all alike), so pointers to it and to the guest's memory are one kind
//! and every function takes both. The machine is never asked for such an address.
//!
//! **Holds always**
//! - W1: an access lies within one window whole, or is a fault; the stack of registers and links is in none.

use crate::arith::{mask, set_bits};
use crate::{BadAddress, FaultKind, Interlocked, Label, Machine, Program, Scratch, Size, Space};

/// The script's text: literals, each ended by a zero.
pub const TEXT: u64 = 0x5c01 << 48;
/// Arrays, structs and variables whose address is taken.
pub const DATA: u64 = 0x5c02 << 48;
/// Cells that scripts share, 8 bytes each.
pub const GLOBALS: u64 = 0x5c03 << 48;
/// The event's buffer.
pub const BUFFER: u64 = 0x5c04 << 48;
/// `$pname`, `$date` and `$time`, 16 bytes each.
pub const NAMES: u64 = 0x5c05 << 48;

const OFFSET: u64 = (1 << 48) - 1;
const OURS: u64 = TEXT >> 56;

/// What a run works on, but for its registers.
pub(crate) struct World<'r, 's, 'w, M> {
    pub(crate) machine: &'r mut M,
    pub(crate) scratch: &'r mut Scratch<'s>,
    pub(crate) program: &'r Program<'w>,
    /// Where the running function's data starts, and ends.
    pub(crate) data_start: usize,
    pub(crate) data_end: usize,
    pub(crate) steps: u64,
}

impl<M: Machine> World<'_, '_, '_, M> {
    /// Pays for work.
    #[inline]
    pub(crate) fn pay(&mut self, steps: u64) -> Result<(), FaultKind> {
        self.steps = self.steps.checked_sub(steps).ok_or(FaultKind::StepLimit)?;
        Ok(())
    }

    #[inline]
    pub(crate) fn load(&mut self, space: Space, address: u64, size: Size) -> Result<u64, FaultKind> {
        let read = if address >> 56 == OURS && space == Space::Virtual {
            self.load_own(address, size).ok_or(BadAddress)
        } else {
            self.machine.read(space, address, size)
        };
        read.map_err(|BadAddress| FaultKind::BadAddress { address })
    }

    #[inline]
    pub(crate) fn store(&mut self, space: Space, address: u64, size: Size, value: u64) -> Result<(), FaultKind> {
        let written = if address >> 56 == OURS && space == Space::Virtual {
            self.store_own(address, size, value).ok_or(BadAddress)
        } else {
            self.machine.write(space, address, size, value)
        };
        written.map_err(|BadAddress| FaultKind::BadAddress { address })
    }

    #[inline(never)]
    fn load_own(&mut self, address: u64, size: Size) -> Option<u64> {
        let offset = usize::try_from(address & OFFSET).ok()?;
        let end = offset.checked_add(size.bytes())?;
        let (window, bytes) = (address & !OFFSET, size.bytes());
        let mut label;
        let from = match window {
            TEXT => self.program.text().get(offset..end)?,
            DATA => self.scratch.data.get(..self.data_end)?.get(offset..end)?,
            BUFFER => return self.machine.buffer_read(offset, size),
            NAMES => {
                let which = [Label::ProcessName, Label::Date, Label::Time];
                label = self.machine.label(*which.get(offset / 16)?);
                // Ended by a zero, whatever the machine says.
                label[15] = 0;
                let at = offset % 16;
                label.get(at..at + bytes)?
            }
            GLOBALS => {
                let (cell, start) = self.cell(offset, size)?;
                return Some(self.machine.global(cell) >> start & mask(8 * bytes as u64));
            }
            _ => return None,
        };
        let mut value = [0; 8];
        value.get_mut(..bytes)?.copy_from_slice(from);
        Some(u64::from_le_bytes(value))
    }

    #[inline(never)]
    fn store_own(&mut self, address: u64, size: Size, value: u64) -> Option<()> {
        let offset = usize::try_from(address & OFFSET).ok()?;
        let end = offset.checked_add(size.bytes())?;
        match address & !OFFSET {
            DATA => {
                let place = self.scratch.data.get_mut(..self.data_end)?.get_mut(offset..end)?;
                place.copy_from_slice(value.to_le_bytes().get(..size.bytes())?);
            }
            BUFFER => self.machine.buffer_write(offset, size, value)?,
            GLOBALS => {
                let (cell, start) = self.cell(offset, size)?;
                if size == Size::Eight {
                    self.machine.set_global(cell, value);
                    return Some(());
                }
                // Part of a cell: another core may write the rest meanwhile.
                loop {
                    let old = self.machine.global(cell);
                    let new = set_bits(old, value, start, 8 * size.bytes() as u64);
                    if self.machine.change_global(cell, Interlocked::CompareExchange { old, new }) == old {
                        break;
                    }
                    self.steps = self.steps.checked_sub(1)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// The cell of an offset, and the bit in it.
    fn cell(&self, offset: usize, size: Size) -> Option<(u16, u64)> {
        let cell = u16::try_from(offset / 8).ok().filter(|cell| *cell < self.program.globals())?;
        let within = offset % 8;
        (within + size.bytes() <= 8).then_some((cell, 8 * within as u64))
    }

    /// Changes 8 bytes, indivisibly; what was there.
    pub(crate) fn change(&mut self, address: u64, change: Interlocked) -> Result<u64, FaultKind> {
        let bad = FaultKind::BadAddress { address };
        if address >> 56 != OURS {
            return self.machine.change(address, change).map_err(|BadAddress| bad);
        }
        if address & !OFFSET == GLOBALS {
            let offset = usize::try_from(address & OFFSET).map_err(|_| bad)?;
            let (cell, _) = self.cell(offset, Size::Eight).ok_or(bad)?;
            return Ok(self.machine.change_global(cell, change));
        }
        // Data is this run's alone. A buffer is the event's: whoever shares one between cores takes a global as its lock.
        let before = self.load(Space::Virtual, address, Size::Eight)?;
        self.store(Space::Virtual, address, Size::Eight, change.applied(before))?;
        Ok(before)
    }

    /// Zeroes some of the running function's data.
    #[inline(never)]
    pub(crate) fn zero(&mut self, offset: usize, bytes: u16) -> Result<(), FaultKind> {
        let start = self.data_start.saturating_add(offset);
        let place = self.scratch.data.get_mut(start..start.saturating_add(bytes.into())).ok_or(FaultKind::BadProgram)?;
        place.fill(0);
        self.pay(u64::from(bytes) / 8)
    }
}
