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
use crate::arch::x86::decode::{self, INSTRUCTION_BYTES_MAX, segment};
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
    Reader { cpu, bytes, instruction: &instruction, end: start.wrapping_add(length), accesses: &mut accesses }.operands();
    accesses
}

struct Reader<'r, C> {
    cpu: &'r C,
    bytes: &'r [u8],
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
            if self.only_stores() && number == 0 {
                // The library has one entry for all forms of each.
                self.add(at, self.width(), WRITE);
                continue;
            }
            let reads = access.is_none_or(|access| access.is_read());
            let writes = access.is_some_and(|access| access.is_write());
            let what = if reads { READ } else { 0 } | if writes { WRITE } else { 0 };
            self.add(at, self.width(), what);
        }
    }

    /// Whether a first operand in memory is not read.
    fn only_stores(&self) -> bool {
        use Opcode::{MOV, MOVHPD, MOVHPS, MOVLPD, MOVLPS};
        matches!(self.instruction.opcode(), MOV | MOVLPS | MOVHPS | MOVLPD | MOVHPD)
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
        // The library has the width of the widest form.
        let rex = decode::split(self.bytes, true).rex;
        let width = match (rex & 8 != 0, self.instruction.prefixes.operand_size()) {
            (true, _) => 8,
            (false, true) => 2,
            (false, false) => 4,
        };
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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::arch::Segment;
    use crate::arch::model::ModelCore;
    use std::vec::Vec;

    const R: u32 = READ;
    const W: u32 = WRITE;

    /// Code, and what it uses: address, bytes, what for.
    type Case = (&'static [u8], &'static [(u64, u64, u32)]);

    /// What an instruction of 64-bit code uses besides its own bytes.
    fn used(text: &'static [u8]) -> Vec<(u64, u64, u32)> {
        let mut cpu = ModelCore::new(0);
        for number in 0..16 {
            cpu.gprs[number] = 0x1_0000 * (number as u64 + 1);
        }
        cpu.segment = Segment { base: 0x7000_0000_0000, ..Segment::default() };
        cpu.text = text;
        let accesses = of(&cpu);
        assert_eq!(accesses.length, Some(text.len() as u64), "{text:x?}");
        let (fetch, rest) = accesses.all().split_first().unwrap();
        assert_eq!(*fetch, Access { linear: 0x1000, bytes: text.len() as u64, what: EXECUTE });
        rest.iter().map(|access| (access.linear, access.bytes, access.what)).collect()
    }

    /// Would catch a read that is taken for a write or the other way round, a width that is another's, an address without its
    /// displacement, index or segment, and an operand that is not written out and left out here.
    #[test]
    fn operands_are_what_the_manual_says() {
        let cases: &[Case] = &[
            // mov [rax], rbx; mov ebx, [rax]; add [rax], bl; cmp [rax], rbx; test [rax], rbx; xchg [rax], rbx
            (&[0x48, 0x89, 0x18], &[(0x1_0000, 8, W)]),
            (&[0x8b, 0x18], &[(0x1_0000, 4, R)]),
            (&[0x00, 0x18], &[(0x1_0000, 1, R | W)]),
            (&[0x48, 0x39, 0x18], &[(0x1_0000, 8, R)]),
            (&[0x48, 0x85, 0x18], &[(0x1_0000, 8, R)]),
            (&[0x48, 0x87, 0x18], &[(0x1_0000, 8, R | W)]),
            // movw $1, [rax+8*rcx-0x10]; lock incq [rax]; lock cmpxchg16b [rax]; sete [rax]; not dword [rax]
            (&[0x66, 0xc7, 0x44, 0xc8, 0xf0, 1, 0], &[(0x1_0000 + 8 * 0x2_0000 - 0x10, 2, W)]),
            (&[0xf0, 0x48, 0xff, 0x00], &[(0x1_0000, 8, R | W)]),
            (&[0xf0, 0x48, 0x0f, 0xc7, 0x08], &[(0x1_0000, 16, R | W)]),
            (&[0x0f, 0x94, 0x00], &[(0x1_0000, 1, W)]),
            (&[0xf7, 0x10], &[(0x1_0000, 4, R | W)]),
            // lea; nopl; prefetcht0; clflush; endbr64; ret
            (&[0x48, 0x8d, 0x18], &[]),
            (&[0x0f, 0x1f, 0x00], &[]),
            (&[0x0f, 0x18, 0x08], &[]),
            (&[0x0f, 0xae, 0x38], &[]),
            (&[0xf3, 0x0f, 0x1e, 0xfa], &[]),
            (&[0xc3], &[(0x5_0000, 8, R)]),
            // push rax; push [rax]; push $1; pop [rsp+8]; pushfw; popfq; call .; call [rax]; leave; iretq
            (&[0x50], &[(0x4_fff8, 8, W)]),
            (&[0xff, 0x30], &[(0x1_0000, 8, R), (0x4_fff8, 8, W)]),
            (&[0x6a, 1], &[(0x4_fff8, 8, W)]),
            (&[0x8f, 0x44, 0x24, 8], &[(0x5_0000, 8, R), (0x5_0010, 8, W)]),
            (&[0x66, 0x9c], &[(0x4_fffe, 2, W)]),
            (&[0x9d], &[(0x5_0000, 8, R)]),
            (&[0xe8, 0, 0, 0, 0], &[(0x4_fff8, 8, W)]),
            (&[0xff, 0x10], &[(0x1_0000, 8, R), (0x4_fff8, 8, W)]),
            (&[0xc9], &[(0x6_0000, 8, R)]),
            (&[0x48, 0xcf], &[(0x5_0000, 40, R)]),
            // mov eax, gs:[0x30]; mov [rip+0x10], rax; mov [eax], ecx by a prefix; movabs al, [...]
            (&[0x65, 0x8b, 0x04, 0x25, 0x30, 0, 0, 0], &[(0x7000_0000_0030, 4, R)]),
            (&[0x48, 0x89, 0x05, 0x10, 0, 0, 0], &[(0x1017, 8, W)]),
            (&[0x67, 0x89, 0x08], &[(0x1_0000, 4, W)]),
            (&[0xa0, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01], &[(0x0123_4567_89ab_cdef, 1, R)]),
            // movsb; rep movsq; rep stosb; lodsw; repe cmpsb; scasd; xlat
            (&[0xa4], &[(0x7_0000, 1, R), (0x8_0000, 1, W)]),
            (&[0xf3, 0x48, 0xa5], &[(0x7_0000, 8, R), (0x8_0000, 8, W)]),
            (&[0xf3, 0xaa], &[(0x8_0000, 1, W)]),
            (&[0x66, 0xad], &[(0x7_0000, 2, R)]),
            (&[0xf3, 0xa6], &[(0x7_0000, 1, R), (0x8_0000, 1, R)]),
            (&[0xaf], &[(0x8_0000, 4, R)]),
            (&[0xd7], &[(0x4_0000, 1, R)]),
            // bts [rax], rcx with a bit far away; bt dword [rax], 5; movaps [rax], xmm0; movdqu xmm0, [rax]; movnti [rax], rcx
            (&[0x48, 0x0f, 0xab, 0x08], &[(0x1_0000 + 0x2_0000 / 8, 8, R | W)]),
            (&[0x0f, 0xba, 0x20, 5], &[(0x1_0000, 4, R)]),
            (&[0x0f, 0x29, 0x00], &[(0x1_0000, 16, W)]),
            (&[0xf3, 0x0f, 0x6f, 0x00], &[(0x1_0000, 16, R)]),
            (&[0x48, 0x0f, 0xc3, 0x08], &[(0x1_0000, 8, W)]),
            // movd [rax], xmm0; movq; fstp qword [rax]; fld qword [rax]; stmxcsr; ldmxcsr; movntdq; movlps; fnstcw
            (&[0x66, 0x0f, 0x7e, 0x00], &[(0x1_0000, 4, W)]),
            (&[0x66, 0x0f, 0xd6, 0x00], &[(0x1_0000, 8, W)]),
            (&[0xdd, 0x18], &[(0x1_0000, 8, W)]),
            (&[0xdd, 0x00], &[(0x1_0000, 8, R)]),
            (&[0x0f, 0xae, 0x18], &[(0x1_0000, 4, W)]),
            (&[0x0f, 0xae, 0x10], &[(0x1_0000, 4, R)]),
            (&[0x66, 0x0f, 0xe7, 0x00], &[(0x1_0000, 16, W)]),
            (&[0x0f, 0x13, 0x00], &[(0x1_0000, 8, W)]),
            (&[0xd9, 0x38], &[(0x1_0000, 2, W)]),
            // movbe [rax], ecx; pextrd [rax], xmm0, 0; mov [rax], ds; mov ds, [rax]; shl dword [rax]; neg dword [rax]; mul dword [rax]
            (&[0x0f, 0x38, 0xf1, 0x08], &[(0x1_0000, 4, W)]),
            (&[0x66, 0x0f, 0x3a, 0x16, 0x00, 0x00], &[(0x1_0000, 4, W)]),
            (&[0x8c, 0x18], &[(0x1_0000, 2, W)]),
            (&[0x8e, 0x18], &[(0x1_0000, 2, R)]),
            (&[0xd1, 0x20], &[(0x1_0000, 4, R | W)]),
            (&[0xf7, 0x18], &[(0x1_0000, 4, R | W)]),
            (&[0xf7, 0x20], &[(0x1_0000, 4, R)]),
            // cmpxchg [rax], ecx; xadd [rax], ecx; sgdt [rax]; lgdt [rax]; sidt [rax]; jmp [rax]; cmovz ecx, [rax]
            (&[0x0f, 0xb1, 0x08], &[(0x1_0000, 4, R | W)]),
            (&[0x0f, 0xc1, 0x08], &[(0x1_0000, 4, R | W)]),
            (&[0x0f, 0x01, 0x00], &[(0x1_0000, 10, W)]),
            (&[0x0f, 0x01, 0x10], &[(0x1_0000, 10, R)]),
            (&[0x0f, 0x01, 0x08], &[(0x1_0000, 10, W)]),
            (&[0xff, 0x20], &[(0x1_0000, 8, R)]),
            (&[0x0f, 0x44, 0x08], &[(0x1_0000, 4, R)]),
            // movdir64b rcx, [rax]; clzero; maskmovdqu xmm0, xmm1
            (&[0x66, 0x0f, 0x38, 0xf8, 0x08], &[(0x2_0000, 64, W), (0x1_0000, 64, R)]),
            (&[0x0f, 0x01, 0xfc], &[(0x1_0000, 64, W)]),
            (&[0x66, 0x0f, 0xf7, 0xc1], &[(0x8_0000, 16, W)]),
            // fxsave [rax]; fxrstor [rax]; movzx ecx, word [rax]; movsxd rcx, [rax]; vmovdqu [rax], ymm0
            (&[0x0f, 0xae, 0x00], &[(0x1_0000, 512, W)]),
            (&[0x0f, 0xae, 0x08], &[(0x1_0000, 512, R)]),
            (&[0x0f, 0xb7, 0x08], &[(0x1_0000, 2, R)]),
            (&[0x48, 0x63, 0x08], &[(0x1_0000, 4, R)]),
            (&[0xc5, 0xfe, 0x7f, 0x00], &[(0x1_0000, 32, W)]),
        ];
        let wrong: Vec<_> = cases
            .iter()
            .filter(|(text, wanted)| used(text) != *wanted)
            .map(|(text, wanted)| (*text, *wanted, used(text)))
            .collect();
        assert!(wrong.is_empty(), "code, wanted, told: {wrong:x?}");
    }

    /// Would catch a string of no elements that is told to use some, and bits before the operand that are looked for behind it.
    #[test]
    fn what_registers_say_counts() {
        let mut cpu = ModelCore::new(0);
        cpu.text = &[0xf3, 0xaa];
        assert_eq!(of(&cpu).all().len(), 1, "no elements");
        cpu.text = &[0x0f, 0xab, 0x08];
        cpu.gprs[0] = 0x1000;
        cpu.gprs[1] = 0xffff_ffff;
        assert_eq!(of(&cpu).all()[1], Access { linear: 0xffc, bytes: 4, what: R | W });
        cpu.bits = 32;
        assert_eq!((of(&cpu).all().len(), of(&cpu).length), (1, Some(3)), "left to the fault");
        cpu.bits = 64;
        cpu.text = &[0x06];
        assert_eq!((of(&cpu).all().len(), of(&cpu).length), (1, None));
    }
}
