//! Code of a place: the call of root, what stands for the displaced instructions, the way back, and what needs no root.
//!
//! ```text
//! 0       call of root          it fires the events, and lets the guest go on behind itself
//! 3       the copy              then a jump behind the displaced instructions
//! QUICK   flags saved ─ is the condition on a register true? ─ no: the hit is counted, flags back, to the copy
//!                                └ yes: the script's count is counted, too, and to the copy; or, flags back, to the call of root
//! ```
//! **Holds always**
//! - C1: the copy finds all registers and flags, and the stack, as the kernel had them before the displaced instructions; so does root.
//! - C2: below the stack pointer is nothing of the kernel's: it is compiled without a red zone, and entries of its, which run on other
//!   stacks, have no detours.
//!
//! **Callers**: `detours`. **Proof**: the tests below execute it; `tests/e2e/epthook2.rs`.

use abi::boot::PLACE_BYTES;
use events::Form;

/// Code under construction, and where it is to run.
pub struct Code {
    bytes: [u8; PLACE_BYTES],
    length: usize,
    address: u64,
    /// Something did not fit.
    wrong: bool,
}

/// Where the parts of a place are, and what they count in.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// The call of root.
    pub call: u64,
    /// The copy.
    pub copy: u64,
    /// The counter of hits.
    pub hits: u64,
    /// The cell that the script counts in, if it does.
    pub counted: Option<u64>,
}

impl Code {
    /// None, to run at an address.
    pub fn at(address: u64) -> Code {
        Code { bytes: [0; PLACE_BYTES], length: 0, address, wrong: false }
    }

    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        match self.bytes.get_mut(self.length..self.length + bytes.len()) {
            Some(to) => {
                to.copy_from_slice(bytes);
                self.length += bytes.len();
            }
            None => self.wrong = true,
        }
    }

    /// Adds a distance to an address from the end of an instruction that has so many bytes more.
    fn distance(&mut self, target: u64, more: u64) {
        let from = self.address.wrapping_add(self.length as u64 + 4 + more);
        match distance(from, target) {
            Some(bytes) => self.add(&bytes),
            None => self.wrong = true,
        }
    }

    /// Adds a jump.
    pub fn jump(&mut self, target: u64) {
        self.add(&[0xe9]);
        self.distance(target, 0);
    }

    /// All of it, if it is whole.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.bytes.get(..self.length).filter(|_| !self.wrong)
    }
}

/// Four bytes that lead from an address to another.
pub fn distance(from: u64, to: u64) -> Option<[u8; 4]> {
    let distance = i32::try_from(to.wrapping_sub(from).cast_signed()).ok()?;
    Some(distance.to_le_bytes())
}

/// LOCK INC of a quadword.
fn count(code: &mut Code, cell: u64) {
    code.add(&[0xf0, 0x48, 0xff, 0x05]);
    code.distance(cell, 0);
}

/// What an event does without root, and how it gets there if it must.
pub fn quick(code: &mut Code, form: &Form, parts: &Parts) {
    const PUSHFQ: u8 = 0x9c;
    const POPFQ: u8 = 0x9d;
    code.add(&[PUSHFQ]);
    if let Some(misses) = form.misses {
        // PUSH RAX, PUSH RCX.
        code.add(&[0x50, 0x51]);
        match misses.register {
            0 => {}
            // LEA RAX, [RSP + 24]: as it was.
            4 => code.add(&[0x48, 0x8d, 0x44, 0x24, 24]),
            // MOV RAX, register.
            low @ 1..=7 => code.add(&[0x48, 0x89, 0xc0 | low << 3]),
            high => code.add(&[0x4c, 0x89, 0xc0 | (high & 7) << 3]),
        }
        // MOV RCX, number; AND, SUB, CMP RAX, RCX.
        for (number, operation, is_needed) in
            [(misses.mask, 0x21, misses.mask != u64::MAX), (misses.low, 0x29, misses.low != 0), (misses.span, 0x39, true)]
        {
            if is_needed {
                code.add(&[0x48, 0xb9]);
                code.add(&number.to_le_bytes());
                code.add(&[0x48, operation, 0xc8]);
            }
        }
        // POP RCX, POP RAX; JA over what a miss does: LOCK INC, POPFQ, JMP.
        code.add(&[0x59, 0x58, 0x77, 8 + 1 + 5]);
        count(code, parts.hits);
        code.add(&[POPFQ]);
        code.jump(parts.copy);
    }
    let Some((cell, (_, added))) = parts.counted.zip(form.count) else {
        code.add(&[POPFQ]);
        return code.jump(parts.call);
    };
    count(code, parts.hits);
    // LOCK ADD of a number to a quadword.
    code.add(&[0xf0, 0x48, 0x81, 0x05]);
    code.distance(cell, 4);
    code.add(&added.to_le_bytes());
    code.add(&[POPFQ]);
    code.jump(parts.copy);
}

#[cfg(test)]
mod tests;
