//! The interpreter.
//!
//! **Holds always**
//! - R1: no panic and no wait, whatever the program: an index is a mask, a `get`, or a byte into a window of 256 words.
//! - R2: a run executes at most as many instructions as its program has words, and its steps: a jump forward only skips,
//!   and each jump back and each call pays for all that it can make run again.
//! - R3: the word before a callee's window holds where to go back to; no operand of the callee can name it.
//! - R4: nothing is cleared before a run. The compiler zeroes what the language says is 0; a register that was not written
//!   holds what some earlier script of this core left there.
//!
//! **Callers**: root, on each event that fires, one run a core at a time; the prompt and the tests.
//! **Cost**: 5 to 10 machine instructions for one of ours; what is rare, or long, is called out of line.
//! **Proof**: `crates/script/tests/`: cases, a tree walker that must agree, random programs.

use crate::arith::{self, mask, sar, set_bits, shl, shr};
use crate::limits::STACK_WORDS_MIN;
use crate::op;
use crate::program::size;
use crate::world::{BUFFER, DATA, World};
use crate::{Fault, FaultKind, Interlocked, Machine, Program, Pseudo, Size, Space, Spec, Special};

/// Memory for a run, a core's own: [`crate::limits::STACK_WORDS`] and [`crate::limits::DATA_BYTES`] are usual.
#[derive(Debug)]
pub struct Scratch<'s> {
    /// Registers and links.
    pub stack: &'s mut [u64],
    /// Arrays, structs, variables whose address is taken.
    pub data: &'s mut [u8],
}

type Window = [u64; STACK_WORDS_MIN];

#[inline]
fn window(stack: &mut [u64], base: usize) -> Option<&mut Window> {
    stack.get_mut(base..)?.first_chunk_mut()
}

#[inline]
fn target(word: u64) -> usize {
    let [.., a, b, c, d] = word.to_le_bytes();
    size(u32::from_le_bytes([a, b, c, d]))
}

#[inline]
fn immediate(word: u64) -> u64 {
    (word.cast_signed() >> 32).cast_unsigned()
}

#[inline]
fn half(b: u8, c: u8) -> u64 {
    i64::from(i16::from_le_bytes([b, c])).cast_unsigned()
}

#[inline]
fn cell(b: u8, c: u8) -> u16 {
    u16::from_le_bytes([b, c])
}

/// Runs a program; what it returns, 0 if nothing.
///
/// # Errors
/// The fault that ended it.
pub fn run<M: Machine>(program: Program<'_>, machine: &mut M, scratch: &mut Scratch<'_>, steps: u64) -> Result<u64, Fault> {
    let code = program.code;
    let stack = &mut *scratch.stack;
    let mut pc: usize = 0;
    let mut base: usize = 0;
    macro_rules! fault {
        ($kind:expr) => {
            return Err(Fault { kind: $kind, at: u32::try_from(pc.wrapping_sub(1)).unwrap_or(u32::MAX) })
        };
    }
    let Some(mut r) = window(stack, 0) else { fault!(FaultKind::BadProgram) };
    let data_end = program.function(0).map_or(0, |main| size(main.data));
    let mut world =
        World { machine, data: scratch.data, data_start: 0, data_end, text: program.text(), globals: program.globals, steps };

    loop {
        let Some(&word) = code.get(pc) else { fault!(FaultKind::BadProgram) };
        pc = pc.wrapping_add(1);
        let [op, a, b, c, ..] = word.to_le_bytes();
        let (ra, rb, rc) = (usize::from(a), usize::from(b), usize::from(c));
        macro_rules! attempt {
            ($what:expr) => {
                match $what {
                    Ok(value) => value,
                    Err(kind) => fault!(kind),
                }
            };
        }
        macro_rules! jump_if {
            ($condition:expr) => {
                if $condition {
                    let to = target(word);
                    if to < pc {
                        let Some(left) = world.steps.checked_sub(pc.wrapping_sub(to) as u64) else {
                            fault!(FaultKind::StepLimit)
                        };
                        world.steps = left;
                    }
                    pc = to;
                }
            };
        }
        macro_rules! constant {
            ($index:expr) => {
                match program.constants.get($index) {
                    Some(value) => *value,
                    None => fault!(FaultKind::BadProgram),
                }
            };
        }
        // Left and right side of a comparison: register or guest register, immediate or constant.
        macro_rules! signed {
            ($left:expr, $sign:tt, $right:expr) => {
                $left.cast_signed() $sign $right.cast_signed()
            };
        }
        match op {
            op::END => return Ok(0),
            op::RETURN => {
                let value = r[ra];
                let Some(link) = base.checked_sub(1) else { return Ok(value) };
                let Some(place) = stack.get_mut(link) else { fault!(FaultKind::BadProgram) };
                let saved = Link::unpack(*place);
                *place = value;
                pc = saved.pc;
                base = link.wrapping_sub(saved.register);
                world.data_end = world.data_start;
                world.data_start = world.data_start.wrapping_sub(saved.data);
                match window(stack, base) {
                    Some(window) => r = window,
                    None => fault!(FaultKind::BadProgram),
                }
            }
            op::CALL => {
                let Some(called) = program.function(target(word)) else { fault!(FaultKind::BadProgram) };
                attempt!(world.pay(u64::from(called.end.wrapping_sub(called.start))));
                let data = world.data_end.wrapping_sub(world.data_start);
                let data_end = world.data_end.saturating_add(size(called.data));
                if data_end > world.data.len() {
                    fault!(FaultKind::CallDepth);
                }
                r[ra] = Link { pc, register: ra, data }.pack();
                match window(stack, base.wrapping_add(ra).wrapping_add(1)) {
                    Some(window) => r = window,
                    None => fault!(FaultKind::CallDepth),
                }
                base = base.wrapping_add(ra).wrapping_add(1);
                (world.data_start, world.data_end) = (world.data_end, data_end);
                pc = size(called.start);
            }
            op::SYSTEM => {
                let argument = |at: u8| r[usize::from(b.wrapping_add(at))];
                let arguments = [argument(0), argument(1), argument(2)];
                r[ra] = attempt!(world.call(u32::try_from(target(word)).unwrap_or(u32::MAX), arguments));
            }
            op::JUMP => jump_if!(true),

            op::MOVE => r[ra] = r[rb],
            op::LOAD_I => r[ra] = immediate(word),
            op::LOAD_K => r[ra] = constant!(target(word)),
            op::ZERO => r.iter_mut().skip(rb).take(ra).for_each(|register| *register = 0),

            op::ADD => r[ra] = r[rb].wrapping_add(r[rc]),
            op::SUB => r[ra] = r[rb].wrapping_sub(r[rc]),
            op::MUL => r[ra] = r[rb].wrapping_mul(r[rc]),
            op::DIV_U | op::DIV_S | op::REM_U | op::REM_S => match arith::pure(op, r[rb], r[rc]) {
                Some(value) => r[ra] = value,
                None => fault!(FaultKind::DivideByZero),
            },
            op::AND => r[ra] = r[rb] & r[rc],
            op::OR => r[ra] = r[rb] | r[rc],
            op::XOR => r[ra] = r[rb] ^ r[rc],
            op::SHL => r[ra] = shl(r[rb], r[rc]),
            op::SHR => r[ra] = shr(r[rb], r[rc]),
            op::SAR => r[ra] = sar(r[rb], r[rc]),
            op::ADD_I => r[ra] = r[rb].wrapping_add(immediate(word)),
            op::MUL_I => r[ra] = r[rb].wrapping_mul(immediate(word)),
            op::AND_I => r[ra] = r[rb] & immediate(word),
            op::OR_I => r[ra] = r[rb] | immediate(word),
            op::XOR_I => r[ra] = r[rb] ^ immediate(word),
            op::SHL_I => r[ra] = shl(r[rb], immediate(word)),
            op::SHR_I => r[ra] = shr(r[rb], immediate(word)),
            op::SAR_I => r[ra] = sar(r[rb], immediate(word)),
            op::NEG => r[ra] = r[rb].wrapping_neg(),
            op::NOT => r[ra] = !r[rb],
            op::ZX8 => r[ra] = r[rb] & 0xff,
            op::ZX16 => r[ra] = r[rb] & 0xffff,
            op::ZX32 => r[ra] = r[rb] & 0xffff_ffff,
            op::SX8 => r[ra] = sar(r[rb] << 56, 56),
            op::SX16 => r[ra] = sar(r[rb] << 48, 48),
            op::SX32 => r[ra] = sar(r[rb] << 32, 32),
            op::GET_BITS => r[ra] = shr(r[rb], immediate(word) & 0x3f) & mask(immediate(word) >> 8 & 0xff),
            op::SET_BITS => r[ra] = set_bits(r[ra], r[rb], immediate(word) & 0x3f, immediate(word) >> 8 & 0xff),
            op::SET_EQ => r[ra] = u64::from(r[rb] == r[rc]),
            op::SET_NE => r[ra] = u64::from(r[rb] != r[rc]),
            op::SET_LT => r[ra] = u64::from(signed!(r[rb], <, r[rc])),
            op::SET_LE => r[ra] = u64::from(signed!(r[rb], <=, r[rc])),
            op::SET_LT_U => r[ra] = u64::from(r[rb] < r[rc]),
            op::SET_LE_U => r[ra] = u64::from(r[rb] <= r[rc]),

            op::F_ADD..=op::F_NARROW => match arith::float(op, r[rb], r[rc]) {
                Some(value) => r[ra] = value,
                None => fault!(FaultKind::BadProgram),
            },

            op::J_EQ => jump_if!(r[ra] == r[rb]),
            op::J_NE => jump_if!(r[ra] != r[rb]),
            op::J_LT => jump_if!(signed!(r[ra], <, r[rb])),
            op::J_LE => jump_if!(signed!(r[ra], <=, r[rb])),
            op::J_LT_U => jump_if!(r[ra] < r[rb]),
            op::J_LE_U => jump_if!(r[ra] <= r[rb]),
            op::J_EQ_I => jump_if!(r[ra] == half(b, c)),
            op::J_NE_I => jump_if!(r[ra] != half(b, c)),
            op::J_LT_I => jump_if!(signed!(r[ra], <, half(b, c))),
            op::J_LE_I => jump_if!(signed!(r[ra], <=, half(b, c))),
            op::J_GT_I => jump_if!(signed!(r[ra], >, half(b, c))),
            op::J_GE_I => jump_if!(signed!(r[ra], >=, half(b, c))),
            op::J_ANY_I => jump_if!(r[ra] & half(b, c) != 0),
            op::J_NONE_I => jump_if!(r[ra] & half(b, c) == 0),
            op::J_EQ_K => jump_if!(r[ra] == constant!(usize::from(cell(b, c)))),
            op::J_NE_K => jump_if!(r[ra] != constant!(usize::from(cell(b, c)))),
            op::J_LT_K => jump_if!(signed!(r[ra], <, constant!(usize::from(cell(b, c))))),
            op::J_LE_K => jump_if!(signed!(r[ra], <=, constant!(usize::from(cell(b, c))))),
            op::J_GT_K => jump_if!(signed!(r[ra], >, constant!(usize::from(cell(b, c))))),
            op::J_GE_K => jump_if!(signed!(r[ra], >=, constant!(usize::from(cell(b, c))))),
            op::J_ANY_K => jump_if!(r[ra] & constant!(usize::from(cell(b, c))) != 0),
            op::J_NONE_K => jump_if!(r[ra] & constant!(usize::from(cell(b, c))) == 0),
            op::J_EQ_GI => jump_if!(world.machine.gpr(a & 15) == half(b, c)),
            op::J_NE_GI => jump_if!(world.machine.gpr(a & 15) != half(b, c)),
            op::J_LT_GI => jump_if!(signed!(world.machine.gpr(a & 15), <, half(b, c))),
            op::J_LE_GI => jump_if!(signed!(world.machine.gpr(a & 15), <=, half(b, c))),
            op::J_GT_GI => jump_if!(signed!(world.machine.gpr(a & 15), >, half(b, c))),
            op::J_GE_GI => jump_if!(signed!(world.machine.gpr(a & 15), >=, half(b, c))),
            op::J_ANY_GI => jump_if!(world.machine.gpr(a & 15) & half(b, c) != 0),
            op::J_NONE_GI => jump_if!(world.machine.gpr(a & 15) & half(b, c) == 0),
            op::J_EQ_GK => jump_if!(world.machine.gpr(a & 15) == constant!(usize::from(cell(b, c)))),
            op::J_NE_GK => jump_if!(world.machine.gpr(a & 15) != constant!(usize::from(cell(b, c)))),
            op::J_LT_GK => jump_if!(signed!(world.machine.gpr(a & 15), <, constant!(usize::from(cell(b, c))))),
            op::J_LE_GK => jump_if!(signed!(world.machine.gpr(a & 15), <=, constant!(usize::from(cell(b, c))))),
            op::J_GT_GK => jump_if!(signed!(world.machine.gpr(a & 15), >, constant!(usize::from(cell(b, c))))),
            op::J_GE_GK => jump_if!(signed!(world.machine.gpr(a & 15), >=, constant!(usize::from(cell(b, c))))),
            op::J_ANY_GK => jump_if!(world.machine.gpr(a & 15) & constant!(usize::from(cell(b, c))) != 0),
            op::J_NONE_GK => jump_if!(world.machine.gpr(a & 15) & constant!(usize::from(cell(b, c))) == 0),

            op::GET_GPR => r[ra] = world.machine.gpr(b & 15),
            op::SET_GPR => world.machine.set_gpr(b & 15, r[ra]),
            op::GET_SPECIAL => match Special::ALL.get(rb) {
                Some(special) => r[ra] = world.machine.special(*special),
                None => fault!(FaultKind::BadProgram),
            },
            op::SET_SPECIAL => match Special::ALL.get(rb).map(|special| world.machine.set_special(*special, r[ra])) {
                Some(Ok(())) => {}
                Some(Err(_)) => fault!(FaultKind::Refused),
                None => fault!(FaultKind::BadProgram),
            },
            op::GET_PSEUDO => match Pseudo::ALL.get(rb) {
                Some(pseudo) => r[ra] = world.machine.pseudo(*pseudo),
                None => fault!(FaultKind::BadProgram),
            },
            op::GET_BUFFER => r[ra] = if world.machine.buffer_bytes() > 0 { BUFFER } else { 0 },
            // The embedder has as many cells as the verifier was told.
            op::GET_GLOBAL => r[ra] = world.machine.global(cell(b, c)),
            op::SET_GLOBAL => world.machine.set_global(cell(b, c), r[ra]),
            op::ADD_GLOBAL => {
                r[ra] = r[ra].wrapping_add(world.machine.change_global(cell(b, c), Interlocked::Add(r[ra])));
            }
            op::ADD_GLOBAL_I => {
                world.machine.change_global(cell(b, c), Interlocked::Add(immediate(word)));
            }
            op::ADDRESS => r[ra] = DATA.wrapping_add(world.data_start as u64).wrapping_add(target(word) as u64),
            op::ZERO_DATA => attempt!(world.zero(target(word), cell(b, c))),

            op::LOAD8..=op::LOAD64_P if !(op::STORE8..=op::STORE64).contains(&op) => {
                let at = if op < op::STORE8 { op.wrapping_sub(op::LOAD8) } else { op.wrapping_sub(op::LOAD8_P) };
                let space = if op < op::STORE8 { Space::Virtual } else { Space::Physical };
                r[ra] = attempt!(world.load(space, r[rb].wrapping_add(immediate(word)), width(at)));
            }
            op::STORE8..=op::STORE64 | op::STORE8_P..=op::STORE64_P => {
                let at = if op < op::STORE8_P { op.wrapping_sub(op::STORE8) } else { op.wrapping_sub(op::STORE8_P) };
                let space = if op < op::STORE8_P { Space::Virtual } else { Space::Physical };
                attempt!(world.store(space, r[rb].wrapping_add(immediate(word)), width(at), r[ra]));
            }

            op::SAY => {
                let start = target(word);
                let text = world.text.get(start..start.wrapping_add(usize::from(cell(b, c))));
                world.machine.say(text.unwrap_or(&[]));
            }
            op::SAY_NUMBER | op::SAY_STRING => {
                let [.., i, j, k, l] = word.to_le_bytes();
                let Some(spec) = Spec::unpack(i32::from_le_bytes([i, j, k, l])) else { fault!(FaultKind::BadProgram) };
                if op == op::SAY_NUMBER {
                    world.machine.say_number(spec, r[ra]);
                } else {
                    attempt!(world.say_string(spec, r[ra]));
                }
            }
            op::SAID => world.machine.said(),
            _ => fault!(FaultKind::BadProgram),
        }
    }
}

#[inline]
const fn width(at: u8) -> Size {
    match at & 3 {
        0 => Size::One,
        1 => Size::Two,
        2 => Size::Four,
        _ => Size::Eight,
    }
}

/// Where a callee goes back to, in one word: 24 bits of place, 8 of register, 32 of data.
struct Link {
    pc: usize,
    register: usize,
    data: usize,
}

impl Link {
    #[inline]
    const fn pack(self) -> u64 {
        (self.pc as u64 & 0xff_ffff) | (self.register as u64 & 0xff) << 24 | (self.data as u64) << 32
    }

    #[inline]
    fn unpack(word: u64) -> Self {
        let [a, b, c, register, ..] = word.to_le_bytes();
        Link { pc: size(u32::from_le_bytes([a, b, c, 0])), register: usize::from(register), data: target(word) }
    }
}
