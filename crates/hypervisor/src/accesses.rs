//! What memory an instruction uses: the whole width of each operand, those that are not written out included.
//!
//! **Holds always**
//! - A1: what is told is what the instruction does if it does not fault: at most more than that, never other memory.
//! - A2: what cannot be told (32-bit code, gathers and scatters, tables of descriptors that it loads) is left out; the caller knows the
//!   address that faulted.
//!
//! A string instruction that repeats is one of its elements: each is an exit of its own.
//!
//! **Callers**: `monitored`, on the core whose guest it is. **Cost**: a decoder's hundreds of instructions.

use crate::arch::Core;
use crate::arch::x86::cpuid;
use crate::arch::x86::decode::{INSTRUCTION_BYTES_MAX, segment};
use crate::limits::ACCESSES_MAX;
use abi::request::monitor::{EXECUTE, READ, WRITE};
use yaxpeax_arch::LengthedInstruction;
use yaxpeax_x86::amd64::{InstDecoder, Instruction, Opcode, Operand, RegSpec, Segment};

const RAX: usize = 0;
const RCX: usize = 1;
const RBX: usize = 3;
const RSP: usize = 4;
const RBP: usize = 5;
const RSI: usize = 6;
const RDI: usize = 7;
const CACHE_LINE: u64 = 64;

/// Bytes that are used together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The linear address of the first.
    pub linear: u64,
    /// How many.
    pub bytes: u64,
    /// What for: [`READ`], [`WRITE`], [`EXECUTE`].
    pub what: u32,
}

/// Those of one instruction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accesses {
    all: [Access; ACCESSES_MAX],
    count: usize,
    /// Its bytes; `None` if it cannot be told.
    pub length: Option<u64>,
}

impl Accesses {
    /// One more; what finds no room is not told.
    pub fn add(&mut self, linear: u64, bytes: u64, what: u32) {
        if let Some(to) = self.all.get_mut(self.count).filter(|_| bytes > 0) {
            *to = Access { linear, bytes, what };
            self.count += 1;
        }
    }

    /// All of them.
    pub fn all(&self) -> &[Access] {
        self.all.get(..self.count).unwrap_or_default()
    }
}

/// Those of the instruction that the core is about to execute, its fetch first.
pub fn of<C: Core>(cpu: &C) -> Accesses {
    let mut accesses = Accesses::default();
    let mut bytes = [0; INSTRUCTION_BYTES_MAX];
    let read = cpu.code(&mut bytes);
    let wide = cpu.code_bits() == 64;
    let start = if wide { cpu.rip() } else { cpu.segment(segment::CS).base.wrapping_add(cpu.rip()) };
    let bytes = bytes.get(..read).unwrap_or_default();
    if !wide {
        accesses.length = crate::decode::length(bytes, false);
        accesses.add(start, accesses.length.unwrap_or(1), EXECUTE);
        return accesses;
    }
    let Ok(instruction) = InstDecoder::default().decode_slice(bytes) else {
        accesses.add(start, 1, EXECUTE);
        return accesses;
    };
    let length = instruction.len().to_const();
    accesses.length = (length <= read as u64).then_some(length);
    accesses.add(start, length, EXECUTE);
    Reader { cpu, instruction: &instruction, end: start.wrapping_add(length), accesses: &mut accesses }.operands();
    accesses
}

struct Reader<'r, C> {
    cpu: &'r C,
    instruction: &'r Instruction,
    /// Where the next instruction begins.
    end: u64,
    accesses: &'r mut Accesses,
}

impl<C: Core> Reader<'_, C> {
    fn width(&self) -> u64 {
        self.instruction.mem_size().and_then(|size| size.bytes_size()).map_or(0, u64::from)
    }

    /// Bytes of an element that PUSH and POP move.
    fn stacked(&self) -> u64 {
        if self.instruction.prefixes.operand_size() { 2 } else { 8 }
    }

    fn add(&mut self, linear: u64, bytes: u64, what: u32) {
        self.accesses.add(linear, bytes, what);
    }

    fn push(&mut self, bytes: u64) {
        self.add(self.cpu.gpr(RSP).wrapping_sub(bytes), bytes, WRITE);
    }

    fn pop(&mut self, bytes: u64) {
        self.add(self.cpu.gpr(RSP), bytes, READ);
    }

    fn operands(&mut self) {
        match self.instruction.opcode() {
            // They have an operand like memory and do not use it.
            Opcode::LEA
            | Opcode::NOP
            | Opcode::UD0
            | Opcode::UD1
            | Opcode::UD2
            | Opcode::INVLPG
            | Opcode::CLFLUSH
            | Opcode::CLFLUSHOPT
            | Opcode::CLWB
            | Opcode::PREFETCHNTA
            | Opcode::PREFETCH0
            | Opcode::PREFETCH1
            | Opcode::PREFETCH2
            | Opcode::PREFETCHW
            | Opcode::MONITOR => {}
            Opcode::MOVS | Opcode::CMPS | Opcode::STOS | Opcode::LODS | Opcode::SCAS | Opcode::INS | Opcode::OUTS => {
                self.string()
            }
            Opcode::PUSH => {
                self.explicit(0);
                self.push(self.stacked());
            }
            Opcode::POP => {
                self.pop(self.stacked());
                // An address that uses RSP does so behind the POP (APM3 "POP").
                self.explicit(self.stacked());
            }
            Opcode::CALL => {
                self.explicit(0);
                self.push(8);
            }
            Opcode::CALLF => {
                self.explicit(0);
                self.push(16);
            }
            Opcode::RETURN => self.pop(8),
            Opcode::RETF => self.pop(16),
            Opcode::IRET | Opcode::IRETD | Opcode::IRETQ => self.pop(40),
            Opcode::PUSHF => self.push(self.stacked()),
            Opcode::POPF => self.pop(self.stacked()),
            Opcode::ENTER => self.push(8),
            Opcode::LEAVE => self.add(self.cpu.gpr(RBP), 8, READ),
            Opcode::XLAT => {
                let at = self.cpu.gpr(RBX).wrapping_add(self.cpu.gpr(RAX) & 0xff);
                self.add(self.based(at, None), 1, READ);
            }
            Opcode::MASKMOVQ => self.add(self.based(self.cpu.gpr(RDI), None), 8, WRITE),
            Opcode::MASKMOVDQU | Opcode::VMASKMOVDQU => self.add(self.based(self.cpu.gpr(RDI), None), 16, WRITE),
            Opcode::CLZERO => self.add(self.cpu.gpr(RAX) & !(CACHE_LINE - 1), CACHE_LINE, WRITE),
            Opcode::MOVDIR64B => {
                if let Operand::Register { reg } = self.instruction.operand(0) {
                    self.add(self.register(reg, 0), 64, WRITE);
                }
                if let Some(at) = self.address(1, 0) {
                    self.add(at, 64, READ);
                }
            }
            Opcode::FXSAVE => self.state(512, WRITE),
            Opcode::FXRSTOR => self.state(512, READ),
            Opcode::XSAVE | Opcode::XSAVEC | Opcode::XSAVEOPT | Opcode::XSAVES | Opcode::XSAVEC64 | Opcode::XSAVES64 => {
                self.state(xsave_bytes(), WRITE);
            }
            Opcode::XRSTOR | Opcode::XRSTORS | Opcode::XRSTORS64 => self.state(xsave_bytes(), READ),
            Opcode::BT | Opcode::BTS | Opcode::BTR | Opcode::BTC => self.bits(),
            _ => self.explicit(0),
        }
    }

    /// Operands that are written out; `ahead` is added to RSP in addresses.
    fn explicit(&mut self, ahead: u64) {
        let behavior = self.instruction.behavior();
        for number in 0..self.instruction.operand_count().min(4) {
            let Some(at) = self.address(number, ahead) else { continue };
            let access = behavior.operand_access(number);
            let reads = access.is_none_or(|access| access.is_read());
            let writes = access.is_some_and(|access| access.is_write());
            let what = if reads { READ } else { 0 } | if writes { WRITE } else { 0 };
            self.add(at, self.width(), what);
        }
    }

    /// The processor's state, saved or loaded by an operand without a width.
    fn state(&mut self, bytes: u64, what: u32) {
        if let Some(at) = self.address(0, 0) {
            self.add(at, bytes, what);
        }
    }

    /// A bit of a string of bits that may lie far from where the operand begins.
    fn bits(&mut self) {
        let Some(at) = self.address(0, 0) else { return };
        let width = self.width();
        let ahead = match self.instruction.operand(1) {
            Operand::Register { reg } => {
                let unused = 64_u64.saturating_sub(width * 8) & 63;
                let number = (self.register(reg, 0) << unused).cast_signed() >> unused;
                // Bits to whole elements: the sign is the string's, too.
                number.div_euclid((width * 8).max(1).cast_signed()).wrapping_mul(width.cast_signed())
            }
            _ => 0,
        };
        let what = if self.instruction.opcode() == Opcode::BT { READ } else { READ | WRITE };
        self.add(at.wrapping_add_signed(ahead), width, what);
    }

    fn string(&mut self) {
        let prefixes = self.instruction.prefixes;
        let narrow = prefixes.address_size();
        let index = |number: usize| {
            let value = self.cpu.gpr(number);
            if narrow { value & 0xffff_ffff } else { value }
        };
        if prefixes.rep_any() && index(RCX) == 0 {
            return;
        }
        let (from, to) = (self.based(index(RSI), None), index(RDI));
        let width = match self.width() {
            // It is written out where it is an operand.
            0 => self.stacked().min(4),
            width => width,
        };
        let opcode = self.instruction.opcode();
        if matches!(opcode, Opcode::MOVS | Opcode::CMPS | Opcode::LODS | Opcode::OUTS) {
            self.add(from, width, READ);
        }
        match opcode {
            Opcode::MOVS | Opcode::STOS | Opcode::INS => self.add(to, width, WRITE),
            Opcode::CMPS | Opcode::SCAS => self.add(to, width, READ),
            _ => {}
        }
    }

    /// The linear address of an operand in memory.
    fn address(&self, number: u8, ahead: u64) -> Option<u64> {
        let register = |reg: RegSpec| self.register(reg, ahead);
        let at = |base: u64, disp: i32| base.wrapping_add_signed(disp.into());
        let scaled = |index: RegSpec, scale: u8| register(index).wrapping_mul(scale.into());
        let mut narrow = self.instruction.prefixes.address_size();
        let effective = match self.instruction.operand(number) {
            Operand::AbsoluteU32 { addr } => addr.into(),
            Operand::AbsoluteU64 { addr } => {
                narrow = false;
                addr
            }
            Operand::MemDeref { base } | Operand::MemDerefMasked { base, .. } => register(base),
            Operand::Disp { base, disp } | Operand::DispMasked { base, disp, .. } => at(register(base), disp),
            Operand::MemIndexScale { index, scale } | Operand::MemIndexScaleMasked { index, scale, .. } => scaled(index, scale),
            Operand::MemIndexScaleDisp { index, scale, disp } | Operand::MemIndexScaleDispMasked { index, scale, disp, .. } => {
                at(scaled(index, scale), disp)
            }
            Operand::MemBaseIndexScale { base, index, scale } | Operand::MemBaseIndexScaleMasked { base, index, scale, .. } => {
                register(base).wrapping_add(scaled(index, scale))
            }
            Operand::MemBaseIndexScaleDisp { base, index, scale, disp }
            | Operand::MemBaseIndexScaleDispMasked { base, index, scale, disp, .. } => {
                at(register(base).wrapping_add(scaled(index, scale)), disp)
            }
            _ => return None,
        };
        Some(self.based(if narrow { effective & 0xffff_ffff } else { effective }, Some(number)))
    }

    /// With the base of the segment that it is in: in 64-bit code two have one.
    fn based(&self, effective: u64, operand: Option<u8>) -> u64 {
        let named = match operand {
            Some(number) => self.instruction.segment_override_for_op(number),
            None => Some(self.instruction.prefixes.segment()),
        };
        match named {
            Some(Segment::FS) => effective.wrapping_add(self.cpu.segment(segment::FS).base),
            Some(Segment::GS) => effective.wrapping_add(self.cpu.segment(segment::GS).base),
            _ => effective,
        }
    }

    fn register(&self, reg: RegSpec, ahead: u64) -> u64 {
        if reg == RegSpec::RIP {
            return self.end;
        }
        let number = usize::from(reg.num());
        let value = self.cpu.gpr(number & 15).wrapping_add(if number == RSP { ahead } else { 0 });
        match reg.width() {
            8 => value,
            4 => value & 0xffff_ffff,
            _ => value & 0xffff,
        }
    }
}

/// What XSAVE writes at most.
fn xsave_bytes() -> u64 {
    // CPUID 0xd: bytes for the features that the guest has enabled; root leaves XCR0 as it is.
    u64::from(cpuid(0xd, 0).ebx).clamp(576, 4096)
}
