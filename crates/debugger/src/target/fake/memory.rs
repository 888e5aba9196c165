//! The model's memory: a page that can be written and one of code, and page tables that say so.
//!
//! ```text
//! physical                virtual
//! 1000  the scripts' RAM  ffff888000000000, where the kernel's map of all RAM has it
//! 2000  code              ffffffff81000000, read only
//! 9000  the hypervisor's
//! ```

use super::{Answered, Root, tasks};
use abi::code;
use abi::request::memory::{
    BY_TABLES, BYTES_MAX, Entry, FOUND_MAX, Found, NO_PID, PHYSICAL, Place, READ_BYTES_MAX, Read, Search, Span, Translation,
    Written,
};
use abi::request::{self};
use iced_x86::{Decoder, DecoderOptions};
use script::oracle::{RAM, RAM_BYTES};
use zerocopy::{FromBytes, IntoBytes};

/// Where code is, virtually.
const CODE: u64 = 0xffff_ffff_8100_0000;
/// Where RAM is, physically; the page of code is the next one.
const RAM_PHYSICAL: u64 = 0x1000;
const CODE_PHYSICAL: u64 = 0x2000;
/// A page of the hypervisor's.
const ROOTS: u64 = 0x9000;
const PAGE: u64 = 0x1000;
/// The one process whose tables are known; they are those of all.
pub const PID: u32 = 0x1c8;
/// Places that one search looks at before it is asked for again.
const SEARCHED_AT_ONCE: u64 = 0x800;

const MALFORMED: (u32, Vec<u8>) = (code::REQUEST_MALFORMED, Vec::new());

/// The page of code as it is at first: hlt; ret; a nop; a call of its beginning.
#[must_use]
pub fn code_page() -> Vec<u8> {
    let mut page = vec![0xcc; RAM_BYTES];
    page[..9].copy_from_slice(&[0xf4, 0xc3, 0x66, 0x90, 0xe8, 0xf7, 0xff, 0xff, 0xff]);
    // A function that Linux may trace: PUSH RBX; MOV RBX, RDI; JE; POP RBX; RET.
    page[0x40..0x4d].copy_from_slice(&[0x0f, 0x1f, 0x44, 0, 0, 0x53, 0x48, 0x89, 0xfb, 0x74, 0, 0x5b, 0xc3]);
    page
}

impl Root {
    /// Bytes of the instruction at an address.
    pub(super) fn length_at(&self, address: u64) -> u64 {
        let at = usize::try_from(address.wrapping_sub(CODE)).unwrap_or(usize::MAX);
        let code = self.code.get(at..).unwrap_or_default();
        Decoder::new(64, code, DecoderOptions::NONE).decode().len().max(1) as u64
    }

    /// Bytes of code at an address, and how many there are.
    pub(super) fn code_at(&self, address: u64) -> ([u8; 16], u32) {
        let at = usize::try_from(address.wrapping_sub(CODE)).unwrap_or(usize::MAX);
        let (mut bytes, mut count) = ([0; 16], 0);
        for (to, from) in bytes.iter_mut().zip(self.code.get(at..).unwrap_or_default()) {
            *to = *from;
            count += 1;
        }
        (bytes, count)
    }

    /// Where a byte lies physically.
    fn physical(&self, place: Place, offset: u64) -> Result<u64, u32> {
        let address = place.address.checked_add(offset).ok_or(code::ADDRESS_INVALID)?;
        let physical = if place.space == PHYSICAL {
            address
        } else if let Some(offset) = address.checked_sub(CODE).filter(|offset| *offset < PAGE) {
            CODE_PHYSICAL + offset
        } else {
            let offset = address.checked_sub(RAM).filter(|offset| *offset < PAGE).ok_or(code::ADDRESS_INVALID)?;
            RAM_PHYSICAL + offset
        };
        match physical & !(PAGE - 1) {
            RAM_PHYSICAL | CODE_PHYSICAL => Ok(physical),
            ROOTS => Err(code::MEMORY_OF_ROOT),
            _ => Err(code::PHYSICAL_INVALID),
        }
    }

    fn byte(&mut self, physical: u64) -> Option<&mut u8> {
        let page = if physical < CODE_PHYSICAL { self.events.ram() } else { &mut self.code };
        page.get_mut(usize::try_from(physical % PAGE).ok()?)
    }

    pub(super) fn read_byte(&mut self, place: Place, offset: u64) -> Result<u8, u32> {
        if let Some(byte) = tasks::byte(place, offset).or_else(|| self.linux.byte(place, offset)) {
            return Ok(byte);
        }
        let physical = self.physical(place, offset)?;
        self.byte(physical).map(|byte| *byte).ok_or(code::PHYSICAL_INVALID)
    }

    /// Bytes until the next page, if nothing is here.
    fn hole(&self, place: Place, offset: u64) -> Option<u64> {
        let Some(address) = place.address.checked_add(offset) else { return Some(u64::MAX) };
        self.physical(place, offset).err()?;
        let pages = if place.space == PHYSICAL { [RAM_PHYSICAL, CODE_PHYSICAL] } else { [RAM, CODE] };
        Some(pages.iter().filter_map(|page| page.checked_sub(address)).filter(|hole| *hole > 0).min().unwrap_or(u64::MAX))
    }

    fn known(place: Place) -> Result<(), (u32, Vec<u8>)> {
        if place.space == BY_TABLES || matches!(place.pid, NO_PID | PID) {
            Ok(())
        } else {
            Err((code::PID_INVALID, Vec::new()))
        }
    }

    pub(super) fn memory_read(&mut self, body: &[u8]) -> Answered {
        let ask: Span = request::body(body).filter(|ask: &Span| ask.bytes as usize <= READ_BYTES_MAX).ok_or(MALFORMED)?;
        Self::known(ask.place)?;
        let (mut bytes, mut why) = (Vec::new(), code::SUCCESS);
        for offset in 0..u64::from(ask.bytes) {
            match self.read_byte(ask.place, offset) {
                Ok(byte) => bytes.push(byte),
                Err(code) => {
                    why = code;
                    break;
                }
            }
        }
        let head = Read { bytes: u32::try_from(bytes.len()).unwrap_or(0), why };
        Ok([head.as_bytes(), &bytes].concat())
    }

    pub(super) fn memory_write(&mut self, body: &[u8]) -> Answered {
        let (ask, bytes) = Span::read_from_prefix(body).map_err(|_| MALFORMED)?;
        if bytes.len() != ask.bytes as usize || bytes.is_empty() || bytes.len() > BYTES_MAX {
            return Err(MALFORMED);
        }
        Self::known(ask.place)?;
        let mut written = Written::default();
        let mut places = Vec::new();
        for offset in 0..bytes.len() as u64 {
            match self.physical(ask.place, offset) {
                Ok(physical) => places.push(physical),
                Err(code) => {
                    written.bytes = u32::try_from(offset).unwrap_or(0);
                    return Err((code, written.as_bytes().to_vec()));
                }
            }
        }
        for (physical, byte) in places.iter().zip(bytes) {
            if let Some(to) = self.byte(*physical) {
                *to = *byte;
            }
        }
        written.physical = places[0];
        written.bytes = ask.bytes;
        written.read_only = u32::from(ask.place.space != PHYSICAL && places[0] >= CODE_PHYSICAL);
        Ok(written.as_bytes().to_vec())
    }

    pub(super) fn memory_search(&mut self, body: &[u8]) -> Answered {
        let ask: Search = request::body(body).ok_or(MALFORMED)?;
        let pattern = ask.pattern.get(..ask.pattern_bytes as usize).filter(|pattern| !pattern.is_empty()).ok_or(MALFORMED)?;
        let (mut found, mut places) = (Found::default(), Vec::new());
        Self::known(ask.place)?;
        let length = pattern.len() as u64;
        if !matches!(ask.step, 1 | 4 | 8) {
            return Err(MALFORMED);
        }
        for _ in 0..SEARCHED_AT_ONCE {
            if found.done >= ask.bytes {
                break;
            }
            let whole = found.done.checked_add(length).is_some_and(|end| end <= ask.bytes);
            let read: Option<Vec<u8>> = (0..length).map(|at| self.read_byte(ask.place, found.done + at).ok()).collect();
            if whole && read.as_deref() == Some(pattern) {
                if places.len() == FOUND_MAX {
                    break;
                }
                places.push(ask.place.address + found.done);
                found.count += 1;
            }
            if let Some(hole) = self.hole(ask.place, found.done).map(|hole| hole.min(ask.bytes - found.done)) {
                found.unreadable += hole;
                found.done = found.done.saturating_add(hole.checked_next_multiple_of(ask.step.into()).unwrap_or(hole));
                continue;
            }
            for at in 0..u64::from(ask.step).min(ask.bytes - found.done) {
                found.unreadable += u64::from(self.read_byte(ask.place, found.done + at).is_err());
            }
            found.done = found.done.saturating_add(ask.step.into());
        }
        Ok([found.as_bytes(), places.as_slice().as_bytes()].concat())
    }

    pub(super) fn translate(&self, body: &[u8]) -> Answered {
        let place: Place = request::body(body).ok_or(MALFORMED)?;
        Self::known(place)?;
        let physical = place.space == PHYSICAL;
        let linear = if physical { place.address.wrapping_add(RAM - RAM_PHYSICAL) } else { place.address };
        let found = self.physical(Place { address: linear, space: request::memory::VIRTUAL, pid: NO_PID }, 0).ok();
        let found = found.or_else(|| tasks::physical(linear));
        let found = found.filter(|found| !physical || *found == place.address);
        let tables = self.registers.crs[2];
        let mut answer = Translation { linear, tables, page_bytes: 1 << 39, levels: 1, ..Translation::default() };
        for (depth, entry) in (0_u64..).zip(&mut answer.entries) {
            let slot = linear >> (39 - 9 * depth) & 511;
            *entry = Entry { at: tables + depth * PAGE + slot * 8, value: tables + (depth + 1) * PAGE | 0x67 };
        }
        if let Some(found) = found {
            let bits = if found < CODE_PHYSICAL { 0x8000_0000_0000_0063 } else { 0x61 };
            (answer.physical, answer.mapped, answer.levels, answer.page_bytes) = (found, 1, 4, PAGE);
            answer.entries[3].value = found & !(PAGE - 1) | bits;
        } else {
            answer.entries[0].value = 0;
        }
        Ok(answer.as_bytes().to_vec())
    }
}
