//! Plain accesses to memory, done by root: moves between a register and memory, and what counts or tests there.
//!
//! They are most of what monitors stop. Each costs one exit then instead of two.
//!
//! **Holds always**
//! - V1: what is done is what the processor would have done, as indivisibly: within one page, aligned to its width. What is not sure to
//!   be so is not done.
//! - V2: it is done only where the guest's own tables allow it and say so already: no entry of theirs changes, and none faults.
//!
//! **Callers**: `monitored`, on the core whose guest it is. **Cost**: tens of instructions.
//! **Proof**: the tests below; `tests/e2e/monitor.rs`.
#![expect(unsafe_code, reason = "stores into memory of the guest's")]

use crate::arch::Core;
use crate::arch::x86::decode::segment;
use crate::arch::x86::direct;
use crate::arch::x86::flag::{AF, ARITHMETIC, CF, OF, PF, SF, TF, ZF};
use crate::walk;
use abi::request::monitor::{READ, WRITE};

/// Enabled data breakpoints of the guest's own.
const DR7_ENABLED: u64 = 0xff;

/// A number that an instruction has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Register(u8),
    Number(u64),
}

/// What is done with the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// It becomes this.
    Store(Source),
    /// It becomes this register, of which so many bytes are written: between them by its sign, or zeros.
    Load { to: u8, bytes: u8, signed: bool },
    /// It is counted in, or compared.
    Count(Arithmetic, Source),
}

/// How two numbers become one, and flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Or,
    And,
    Sub,
    Xor,
    /// As `Sub`, for its flags.
    Compare,
    /// As `And`, for its flags.
    Test,
    /// As `Add` and `Sub` of 1, and the carry flag stays.
    Increment,
    Decrement,
}

impl Arithmetic {
    /// By the number that instructions with an immediate have for it.
    fn of(number: u8) -> Option<Arithmetic> {
        use Arithmetic::{Add, And, Compare, Or, Sub, Xor};
        // ADC and SBB are not done.
        [Some(Add), Some(Or), None, None, Some(And), Some(Sub), Some(Xor), Some(Compare)]
            .get(usize::from(number & 7))
            .copied()?
    }

    fn writes(self) -> bool {
        !matches!(self, Arithmetic::Compare | Arithmetic::Test)
    }

    /// The result of so many bytes, and the flags behind it.
    pub fn act(self, a: u64, b: u64, bytes: u64, flags: u64) -> (u64, u64) {
        let (mask, sign) = (u64::MAX >> (64 - bytes * 8), 1 << (bytes * 8 - 1));
        let (a, b) = (a & mask, b & mask);
        let (result, carry, overflow) = match self {
            Arithmetic::Add | Arithmetic::Increment => {
                let result = a.wrapping_add(b) & mask;
                (result, result < a, (a ^ result) & (b ^ result))
            }
            Arithmetic::Sub | Arithmetic::Compare | Arithmetic::Decrement => {
                let result = a.wrapping_sub(b) & mask;
                (result, a < b, (a ^ b) & (a ^ result))
            }
            Arithmetic::Or => (a | b, false, 0),
            Arithmetic::Xor => (a ^ b, false, 0),
            Arithmetic::And | Arithmetic::Test => (a & b, false, 0),
        };
        let carry = match self {
            Arithmetic::Increment | Arithmetic::Decrement => flags & CF != 0,
            _ => carry,
        };
        // Logic leaves AF undefined; processors clear it.
        let half = match self {
            Arithmetic::Or | Arithmetic::Xor | Arithmetic::And | Arithmetic::Test => 0,
            _ => a ^ b ^ result,
        };
        let flag = |is: bool, bit: u64| if is { bit } else { 0 };
        let flags = flags & !ARITHMETIC
            | flag(carry, CF)
            | flag((result & 0xff).count_ones() % 2 == 0, PF)
            | flag(half & 0x10 != 0, AF)
            | flag(result == 0, ZF)
            | flag(result & sign != 0, SF)
            | flag(overflow & sign != 0, OF);
        (result, flags)
    }
}

/// What an address begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Nothing,
    Register(u8),
    /// The instruction pointer behind the instruction.
    Next,
}

/// An instruction with an access that root can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// 1, 2, 4 or 8.
    pub bytes: u64,
    /// [`READ`], [`WRITE`].
    pub what: u32,
    /// Bytes of the instruction.
    pub length: u64,
    does: Does,
    base: Base,
    /// A register, and by how many bits it is shifted.
    index: Option<(u8, u8)>,
    displacement: u64,
    /// A segment with a base.
    segment: Option<u8>,
}

/// Bytes of an instruction that are left, the next one lowest, and how many were taken.
struct Bytes {
    left: u128,
    taken: u64,
}

impl Bytes {
    #[inline(always)]
    fn byte(&mut self) -> u8 {
        let [byte, ..] = self.left.to_le_bytes();
        (self.left, self.taken) = (self.left >> 8, self.taken + 1);
        byte
    }

    /// A number of 1, 2 or 4 bytes with its sign.
    #[inline(always)]
    fn signed(&mut self, bytes: u64) -> u64 {
        #[expect(clippy::cast_possible_truncation, reason = "the next bytes")]
        let value = extend(self.left as u64, bytes);
        (self.left, self.taken) = (self.left >> (bytes * 8), self.taken + bytes);
        value
    }
}

/// A number of so many bytes as one of eight, by its sign.
fn extend(value: u64, bytes: u64) -> u64 {
    let unused = 64 - bytes * 8;
    ((value << unused).cast_signed() >> unused).cast_unsigned()
}

/// A register of which the low bytes are used, if it is not the second byte of another.
fn low(number: u8, bytes: u64, rex: u8) -> Option<u8> {
    (bytes > 1 || rex != 0 || number < 4).then_some(number)
}

/// What these bytes of 64-bit code begin with, the first one lowest.
fn decode(all: u128) -> Option<Move> {
    let mut bytes = Bytes { left: all, taken: 0 };
    let (mut segment, mut short, mut rex) = (None, false, 0);
    let mut opcode = bytes.byte();
    if let 0x64 | 0x65 = opcode {
        segment = Some(if opcode == 0x64 { segment::FS } else { segment::GS });
        opcode = bytes.byte();
    }
    if opcode == 0x66 {
        short = true;
        opcode = bytes.byte();
    }
    if opcode & 0xf0 == 0x40 {
        rex = opcode;
        opcode = bytes.byte();
    }
    let two = opcode == 0x0f;
    if two {
        opcode = bytes.byte();
    }
    let whole = match (rex & 8 != 0, short) {
        (true, _) => 8,
        (false, true) => 2,
        (false, false) => 4,
    };
    let modrm = bytes.byte();
    let (mode, middle, memory) = (modrm >> 6, modrm >> 3 & 7, modrm & 7);
    if mode == 3 {
        return None;
    }
    let reg = middle | (rex & 4) << 1;
    let mut index = None;
    let mut base = Base::Register(memory | (rex & 1) << 3);
    let mut displaced = if mode == 1 { 1 } else { u64::from(mode) * 2 };
    if memory == 4 {
        let sib = bytes.byte();
        let number = sib >> 3 & 7 | (rex & 2) << 2;
        index = (number != 4).then_some((number, sib >> 6));
        base = Base::Register(sib & 7 | (rex & 1) << 3);
        if sib & 7 == 5 && mode == 0 {
            (base, displaced) = (Base::Nothing, 4);
        }
    } else if memory == 5 && mode == 0 {
        (base, displaced) = (Base::Next, 4);
    }
    let displacement = if displaced == 0 { 0 } else { bytes.signed(displaced) };
    let wide = if opcode & 1 == 0 { 1 } else { whole };
    let register = || low(reg, wide, rex).map(Source::Register);
    let (width, does) = match (two, opcode) {
        (false, 0x88 | 0x89) => (wide, Does::Store(register()?)),
        (false, 0xc6 | 0xc7) if middle == 0 => (wide, Does::Store(Source::Number(bytes.signed(wide.min(4))))),
        (false, 0x8a | 0x8b) => (wide, load(low(reg, wide, rex)?, wide, false)),
        (false, 0x63) if whole == 8 => (4, load(reg, 8, true)),
        (true, 0xb6 | 0xbe) => (1, load(reg, whole, opcode == 0xbe)),
        (true, 0xb7 | 0xbf) if whole > 2 => (2, load(reg, whole, opcode == 0xbf)),
        (false, 0x84 | 0x85) => (wide, Does::Count(Arithmetic::Test, register()?)),
        (false, 0x00..=0x3f) if opcode & 6 == 0 => (wide, Does::Count(Arithmetic::of(opcode >> 3)?, register()?)),
        (false, 0x80 | 0x81) => (wide, Does::Count(Arithmetic::of(middle)?, Source::Number(bytes.signed(wide.min(4))))),
        (false, 0x83) => (wide, Does::Count(Arithmetic::of(middle)?, Source::Number(bytes.signed(1)))),
        (false, 0xf6 | 0xf7) if middle == 0 => (wide, Does::Count(Arithmetic::Test, Source::Number(bytes.signed(wide.min(4))))),
        (false, 0xfe | 0xff) if middle == 0 => (wide, Does::Count(Arithmetic::Increment, Source::Number(1))),
        (false, 0xfe | 0xff) if middle == 1 => (wide, Does::Count(Arithmetic::Decrement, Source::Number(1))),
        _ => return None,
    };
    let what = match does {
        Does::Store(_) => WRITE,
        Does::Load { .. } => READ,
        Does::Count(how, _) => READ | if how.writes() { WRITE } else { 0 },
    };
    Some(Move { bytes: width, what, length: bytes.taken, does, base, index, displacement, segment })
}

fn load(to: u8, bytes: u64, signed: bool) -> Does {
    Does::Load { to, bytes: bytes.to_le_bytes()[0], signed }
}

/// The instruction that was looked at last.
#[derive(Debug)]
pub struct Last {
    bytes: u128,
    is: Option<Move>,
}

impl Last {
    /// None.
    pub const NONE: Last = Last { bytes: 0, is: None };

    #[inline(always)]
    fn decode(&mut self, bytes: u128) -> Option<&Move> {
        if self.bytes != bytes {
            *self = Last { bytes, is: decode(bytes) };
        }
        self.is.as_ref()
    }
}

/// Whether a store of root's might be one that the guest waits for itself.
#[inline(always)]
pub fn has_data_breakpoints<C: Core>(cpu: &C) -> bool {
    cpu.debug_register(7) & DR7_ENABLED != 0
}

/// The access that the core is about to do, and its physical address, if root can do it.
#[inline(always)]
pub fn of<'l, C: Core>(cpu: &mut C, last: &'l mut Last) -> Option<(&'l Move, u64)> {
    if cpu.code_bits() != 64 || cpu.rflags() & TF != 0 || has_data_breakpoints(cpu) {
        return None;
    }
    let found = last.decode(cpu.near_code()?)?;
    let linear = found.linear(cpu);
    let (pa, says) = cpu.near_data(linear)?;
    let wanted = if found.what & WRITE == 0 { walk::ACCESSED } else { walk::WRITTEN };
    // What it may not write, as root's own frames, it does not read either: it sees zeros there.
    let does = linear & (found.bytes - 1) == 0 && says & wanted == wanted && cpu.may_write(pa);
    does.then_some((found, pa))
}

impl Move {
    #[inline(always)]
    fn linear<C: Core>(&self, cpu: &C) -> u64 {
        let base = match self.base {
            Base::Nothing => 0,
            Base::Register(number) => cpu.gpr(number.into()),
            Base::Next => cpu.rip().wrapping_add(self.length),
        };
        let mut at = base.wrapping_add(self.displacement);
        if let Some((number, shift)) = self.index {
            at = at.wrapping_add(cpu.gpr(number.into()) << (shift & 3));
        }
        if let Some(segment) = self.segment {
            at = at.wrapping_add(cpu.segment(segment).base);
        }
        at
    }

    /// Does it, but for the instruction pointer; false if there is no RAM.
    #[inline(always)]
    pub fn execute<C: Core>(&self, cpu: &mut C, pa: u64) -> bool {
        let number = |cpu: &C, source| match source {
            Source::Register(number) => cpu.gpr(u8::into(number)),
            Source::Number(number) => number,
        };
        match self.does {
            Does::Store(value) => store(pa, self.bytes, number(cpu, value)),
            Does::Load { to, bytes, signed } => self.load(cpu, pa, (to, bytes, signed)),
            Does::Count(how, by) => self.count(cpu, pa, how, number(cpu, by)),
        }
    }

    fn read(&self, pa: u64) -> Option<u64> {
        direct::read(pa & !7).map(|word| word >> (pa % 8 * 8) & u64::MAX >> (64 - self.bytes * 8))
    }

    fn load<C: Core>(&self, cpu: &mut C, pa: u64, (to, bytes, signed): (u8, u8, bool)) -> bool {
        let Some(read) = self.read(pa) else { return false };
        let value = if signed { extend(read, self.bytes) } else { read };
        let value = match bytes {
            8 => value,
            4 => value & 0xffff_ffff,
            bytes => {
                let mask = u64::MAX >> (64 - u64::from(bytes) * 8);
                cpu.gpr(to.into()) & !mask | value & mask
            }
        };
        cpu.set_gpr(to, value);
        true
    }

    fn count<C: Core>(&self, cpu: &mut C, pa: u64, how: Arithmetic, by: u64) -> bool {
        let Some(read) = self.read(pa) else { return false };
        let (result, flags) = how.act(read, by, self.bytes, cpu.rflags());
        if how.writes() && !store(pa, self.bytes, result) {
            return false;
        }
        cpu.set_rflags(flags);
        true
    }
}

/// Stores 1, 2, 4 or 8 bytes where the guest can write itself ([`Core::may_write`]); false if there is no RAM.
#[inline(always)]
pub fn store(pa: u64, bytes: u64, value: u64) -> bool {
    // SAFETY: the guest can write there itself (V2), and until this core flushes, so no Rust code refers into it.
    unsafe { direct::put(pa, bytes, value) }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::arch::Segment;
    use crate::arch::model::ModelCore;
    use core::arch::asm;

    fn decoded(text: &'static [u8]) -> Option<Move> {
        let mut all = [0x90; 16];
        all[..text.len()].copy_from_slice(text);
        decode(u128::from_le_bytes(all))
    }

    /// A core with rax 0x1000, rcx 0x2000 and so on, gs at 0x7000_0000 and rip 0x1000.
    fn core() -> ModelCore {
        let mut cpu = ModelCore::new(0);
        for number in 0..16 {
            cpu.gprs[number] = 0x1000 * (number as u64 + 1);
        }
        cpu.segment = Segment { base: 0x7000_0000, ..Segment::default() };
        cpu
    }

    /// Code, its linear address, its width, and what it does.
    type Case = (&'static [u8], u64, u64, (u32, Does));

    /// Would catch an operand whose index, scale, displacement, segment or width is another's, and a length that leaves the guest in
    /// the middle of an instruction.
    #[test]
    fn what_moves_and_counts_is_known_with_its_address_and_its_length() {
        use Arithmetic::{Add, And, Compare, Decrement, Increment, Sub, Test, Xor};
        let register = |number| Source::Register(number);
        let number = Source::Number;
        let store = |value| (WRITE, Does::Store(value));
        let load = |to, bytes, signed| (READ, Does::Load { to, bytes, signed });
        let count = |how: Arithmetic, by| (READ | if how.writes() { WRITE } else { 0 }, Does::Count(how, by));
        let cases: &[Case] = &[
            // mov [rax], rbx; mov [rax], ebx; mov [rax], bx; mov [rax], bl; mov [r8+8], r9b
            (&[0x48, 0x89, 0x18], 0x1000, 8, store(register(3))),
            (&[0x89, 0x18], 0x1000, 4, store(register(3))),
            (&[0x66, 0x89, 0x18], 0x1000, 2, store(register(3))),
            (&[0x88, 0x18], 0x1000, 1, store(register(3))),
            (&[0x45, 0x88, 0x48, 8], 0x9008, 1, store(register(9))),
            // mov [rax+rcx*8-0x80], sil; mov [rsp+0x100], rax; mov [rip+0x10], rax; mov gs:[0x10], eax
            (&[0x40, 0x88, 0x74, 0xc8, 0x80], 0x1000 + 0x1_0000 - 0x80, 1, store(register(6))),
            (&[0x48, 0x89, 0x84, 0x24, 0, 1, 0, 0], 0x5100, 8, store(register(0))),
            (&[0x48, 0x89, 0x05, 0x10, 0, 0, 0], 0x1000 + 7 + 0x10, 8, store(register(0))),
            (&[0x65, 0x89, 0x04, 0x25, 0x10, 0, 0, 0], 0x7000_0010, 4, store(register(0))),
            // mov qword [rdi], -1; mov dword [rip+4], 5; mov byte [rdi+1], 7; mov word [rdi], 0x1234
            (&[0x48, 0xc7, 0x07, 0xff, 0xff, 0xff, 0xff], 0x8000, 8, store(number(u64::MAX))),
            (&[0xc7, 0x05, 4, 0, 0, 0, 5, 0, 0, 0], 0x1000 + 10 + 4, 4, store(number(5))),
            (&[0xc6, 0x47, 1, 7], 0x8001, 1, store(number(7))),
            (&[0x66, 0xc7, 0x07, 0x34, 0x12], 0x8000, 2, store(number(0x1234))),
            // mov rbx, [r13]; mov bl, [rax]; movzx ebx, byte [rax]; movsx rbx, word [rax]; movsxd rbx, dword [rax]
            (&[0x49, 0x8b, 0x5d, 0], 0xe000, 8, load(3, 8, false)),
            (&[0x8a, 0x18], 0x1000, 1, load(3, 1, false)),
            (&[0x0f, 0xb6, 0x18], 0x1000, 1, load(3, 4, false)),
            (&[0x48, 0x0f, 0xbf, 0x18], 0x1000, 2, load(3, 8, true)),
            (&[0x48, 0x63, 0x18], 0x1000, 4, load(3, 8, true)),
            // add [rax], rbx; sub dword [rax], 1; and byte [rax], -2; xor [rax], bx; cmp [rax], rbx; test byte [rax], 1
            (&[0x48, 0x01, 0x18], 0x1000, 8, count(Add, register(3))),
            (&[0x83, 0x28, 1], 0x1000, 4, count(Sub, number(1))),
            (&[0x80, 0x20, 0xfe], 0x1000, 1, count(And, number(-2_i64 as u64))),
            (&[0x66, 0x31, 0x18], 0x1000, 2, count(Xor, register(3))),
            (&[0x48, 0x39, 0x18], 0x1000, 8, count(Compare, register(3))),
            (&[0xf6, 0x00, 1], 0x1000, 1, count(Test, number(1))),
            (&[0x85, 0x18], 0x1000, 4, count(Test, register(3))),
            // inc dword [rax]; dec qword [rax]; cmp dword [rip+0], 7
            (&[0xff, 0x00], 0x1000, 4, count(Increment, number(1))),
            (&[0x48, 0xff, 0x08], 0x1000, 8, count(Decrement, number(1))),
            (&[0x83, 0x3d, 0, 0, 0, 0, 7], 0x1007, 4, count(Compare, number(7))),
        ];
        for (text, linear, bytes, (what, does)) in cases {
            let found = decoded(text).unwrap();
            let all = (found.linear(&core()), found.bytes, found.what, found.does, found.length);
            assert_eq!(all, (*linear, *bytes, *what, *does, text.len() as u64), "{text:x?}");
        }
    }

    /// Would catch an instruction that is done as one that looks like it.
    #[test]
    fn everything_else_is_left_to_the_processor() {
        let cases: &[&[u8]] = &[
            // lock add; rep movsb; adc; sbb; xchg; mov to a register; mov [rax], bh; call [rax]; jmp [rax]; push [rax]; add rax, [rcx]
            &[0xf0, 0x01, 0x18],
            &[0xf3, 0xa4],
            &[0x11, 0x18],
            &[0x19, 0x18],
            &[0x87, 0x18],
            &[0x89, 0xd8],
            &[0x88, 0x38],
            &[0xff, 0x10],
            &[0xff, 0x20],
            &[0xff, 0x30],
            &[0x48, 0x03, 0x01],
            // xbegin's neighbour; not [rax]; neg [rax]; movups; mov with a 32-bit address; two prefixes of operand size
            &[0xc7, 0xf8, 0, 0, 0, 0],
            &[0xf7, 0x10],
            &[0xf7, 0x18],
            &[0x0f, 0x11, 0x00],
            &[0x67, 0x89, 0x18],
            &[0x66, 0x66, 0x89, 0x18],
            &[0x66, 0x0f, 0xb7, 0x18],
        ];
        for text in cases {
            assert_eq!(decoded(text), None, "{text:x?}");
        }
    }

    /// Result and flags as this processor has them.
    macro_rules! native {
        ($name:literal, $a:ident, $b:ident, $flags:ident, $register:tt) => {{
            let (mut result, mut after): (u64, u64) = ($a, $flags);
            // SAFETY: pushes flags that a program may set, and takes them back.
            unsafe {
                asm!("push {f}", "popfq", concat!($name, " {a:", $register, "}, {b:", $register, "}"), "pushfq", "pop {f}",
                    a = inout(reg) result, b = in(reg) $b, f = inout(reg) after);
            }
            (result, after)
        }};
    }

    /// Would catch a flag that a processor has otherwise, at any of the borders of signs and carries.
    #[test]
    fn results_and_flags_are_those_of_the_processor() {
        let numbers =
            [0, 1, 2, 0xf, 0x10, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, u64::MAX >> 1, 1 << 63, u64::MAX];
        let flags = [2_u64, 2 | ARITHMETIC];
        for (a, b, flags) in numbers.iter().flat_map(|a| numbers.iter().flat_map(move |b| flags.map(|flags| (*a, *b, flags)))) {
            let check = |how: Arithmetic, (result, after): (u64, u64), bytes: u64, defined: u64| {
                let mask = u64::MAX >> (64 - bytes * 8);
                let mine = how.act(a, b, bytes, flags);
                let result = if how.writes() { result & mask } else { mine.0 };
                assert_eq!((mine.0, mine.1 & defined), (result, after & defined), "{how:?} {a:x} {b:x} {bytes}");
            };
            let logic = ARITHMETIC & !AF;
            check(Arithmetic::Add, native!("add", a, b, flags, "r"), 8, ARITHMETIC);
            check(Arithmetic::Add, native!("add", a, b, flags, "e"), 4, ARITHMETIC);
            check(Arithmetic::Sub, native!("sub", a, b, flags, "r"), 8, ARITHMETIC);
            check(Arithmetic::Sub, native!("sub", a, b, flags, "x"), 2, ARITHMETIC);
            check(Arithmetic::Compare, native!("cmp", a, b, flags, "l"), 1, ARITHMETIC);
            check(Arithmetic::And, native!("and", a, b, flags, "r"), 8, logic);
            check(Arithmetic::Or, native!("or", a, b, flags, "e"), 4, logic);
            check(Arithmetic::Xor, native!("xor", a, b, flags, "x"), 2, logic);
            check(Arithmetic::Test, native!("test", a, b, flags, "l"), 1, logic);
        }
        for (how, flags) in [(Arithmetic::Increment, 2), (Arithmetic::Increment, 3), (Arithmetic::Decrement, 3)] {
            assert_eq!(how.act(0, 1, 4, flags).1 & CF, flags & CF, "the carry stays");
        }
    }
}
