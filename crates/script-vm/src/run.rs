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
//! **Cost**: about 15 machine instructions for one of ours and 50 for a run; what is rare, or long, is called out of line.
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

// The fields of an instruction, each taken where it is used: taken at once, they would cost every instruction.

// Shifts and masks, not `to_le_bytes`: of that all eight bytes are computed before the instruction is known.

#[inline(always)]
pub(crate) const fn operation(word: u64) -> u8 {
    (word & 0xff) as u8
}

#[inline(always)]
pub(crate) const fn field_a(word: u64) -> u8 {
    (word >> 8 & 0xff) as u8
}

#[inline(always)]
const fn field_b(word: u64) -> u8 {
    (word >> 16 & 0xff) as u8
}

#[inline(always)]
const fn field_c(word: u64) -> u8 {
    (word >> 24 & 0xff) as u8
}

#[inline(always)]
pub(crate) const fn target(word: u64) -> usize {
    size((word >> 32 & 0xffff_ffff) as u32)
}

#[inline(always)]
pub(crate) const fn immediate(word: u64) -> u64 {
    (word.cast_signed() >> 32).cast_unsigned()
}

/// `b` and `c` as a signed number.
#[inline(always)]
pub(crate) const fn half(word: u64) -> u64 {
    ((word << 32).cast_signed() >> 48).cast_unsigned()
}

/// `b` and `c` as a cell or the number of a constant.
#[inline(always)]
pub(crate) const fn cell(word: u64) -> u16 {
    (word >> 16 & 0xffff) as u16
}

/// All of a run but for what the loop holds in registers.
struct Run<'r, 's, 'w, M> {
    world: World<'r, 's, 'w, M>,
    /// Where the window lies.
    base: usize,
}

/// What an instruction out of line leads to.
enum Next {
    /// On at this word, with the window where it lies now.
    At(usize),
    /// The run is over.
    Done(u64),
}

/// Runs a program; what it returns, 0 if nothing.
///
/// # Errors
/// The fault that ended it.
#[inline]
pub fn run<M: Machine>(program: Program<'_>, machine: &mut M, scratch: &mut Scratch<'_>, steps: u64) -> Result<u64, Fault> {
    run_from(0, &program, machine, scratch, steps)
}

/// The same from some word on; it must be one of the script's own.
#[inline(never)]
pub(crate) fn run_from<M: Machine>(
    start: usize,
    program: &Program<'_>,
    machine: &mut M,
    scratch: &mut Scratch<'_>,
    steps: u64,
) -> Result<u64, Fault> {
    let code = program.code();
    let data_end = size(program.data());
    let world = World { machine, scratch, program, data_start: 0, data_end, steps };
    let mut run = Run { world, base: 0 };
    let mut pc = start;
    macro_rules! fault {
        ($kind:expr) => {
            return Err(Fault { kind: $kind, at: u32::try_from(pc.wrapping_sub(1)).unwrap_or(u32::MAX) })
        };
    }
    let Some(mut r) = window(run.world.scratch.stack, 0) else { fault!(FaultKind::BadProgram) };

    loop {
        let Some(&word) = code.get(pc) else { fault!(FaultKind::BadProgram) };
        pc = pc.wrapping_add(1);
        let op = operation(word);
        macro_rules! a {
            () => {
                r[usize::from(field_a(word))]
            };
        }
        macro_rules! b {
            () => {
                r[usize::from(field_b(word))]
            };
        }
        macro_rules! c {
            () => {
                r[usize::from(field_c(word))]
            };
        }
        macro_rules! jump_if {
            ($condition:expr) => {
                if $condition {
                    let to = target(word);
                    if to < pc {
                        let Some(left) = run.world.steps.checked_sub(pc.wrapping_sub(to) as u64) else {
                            fault!(FaultKind::StepLimit)
                        };
                        run.world.steps = left;
                    }
                    pc = to;
                }
            };
        }
        // Right sides of comparisons.
        macro_rules! constant {
            () => {
                match program.constants().get(usize::from(cell(word))) {
                    Some(value) => *value,
                    None => fault!(FaultKind::BadProgram),
                }
            };
        }
        macro_rules! gpr {
            () => {
                run.world.machine.gpr(field_a(word) & 15)
            };
        }
        macro_rules! signed {
            ($left:expr, $sign:tt, $right:expr) => {
                $left.cast_signed() $sign $right.cast_signed()
            };
        }
        match op {
            op::END => return Ok(0),
            op::JUMP => jump_if!(true),

            op::MOVE => a!() = b!(),
            op::LOAD_I => a!() = immediate(word),
            op::ADD => a!() = b!().wrapping_add(c!()),
            op::SUB => a!() = b!().wrapping_sub(c!()),
            op::MUL => a!() = b!().wrapping_mul(c!()),
            op::AND => a!() = b!() & c!(),
            op::OR => a!() = b!() | c!(),
            op::XOR => a!() = b!() ^ c!(),
            op::SHL => a!() = shl(b!(), c!()),
            op::SHR => a!() = shr(b!(), c!()),
            op::SAR => a!() = sar(b!(), c!()),
            op::ADD_I => a!() = b!().wrapping_add(immediate(word)),
            op::MUL_I => a!() = b!().wrapping_mul(immediate(word)),
            op::AND_I => a!() = b!() & immediate(word),
            op::OR_I => a!() = b!() | immediate(word),
            op::XOR_I => a!() = b!() ^ immediate(word),
            op::SHL_I => a!() = shl(b!(), immediate(word)),
            op::SHR_I => a!() = shr(b!(), immediate(word)),
            op::SAR_I => a!() = sar(b!(), immediate(word)),
            op::NEG => a!() = b!().wrapping_neg(),
            op::NOT => a!() = !b!(),
            op::ZX8 => a!() = b!() & 0xff,
            op::ZX16 => a!() = b!() & 0xffff,
            op::ZX32 => a!() = b!() & 0xffff_ffff,
            op::SX8 => a!() = sar(b!() << 56, 56),
            op::SX16 => a!() = sar(b!() << 48, 48),
            op::SX32 => a!() = sar(b!() << 32, 32),
            op::SET_EQ => a!() = u64::from(b!() == c!()),
            op::SET_NE => a!() = u64::from(b!() != c!()),
            op::SET_LT => a!() = u64::from(signed!(b!(), <, c!())),
            op::SET_LE => a!() = u64::from(signed!(b!(), <=, c!())),
            op::SET_LT_U => a!() = u64::from(b!() < c!()),
            op::SET_LE_U => a!() = u64::from(b!() <= c!()),

            op::J_EQ => jump_if!(a!() == b!()),
            op::J_NE => jump_if!(a!() != b!()),
            op::J_LT => jump_if!(signed!(a!(), <, b!())),
            op::J_LE => jump_if!(signed!(a!(), <=, b!())),
            op::J_LT_U => jump_if!(a!() < b!()),
            op::J_LE_U => jump_if!(a!() <= b!()),
            op::J_EQ_I => jump_if!(a!() == half(word)),
            op::J_NE_I => jump_if!(a!() != half(word)),
            op::J_LT_I => jump_if!(signed!(a!(), <, half(word))),
            op::J_LE_I => jump_if!(signed!(a!(), <=, half(word))),
            op::J_GT_I => jump_if!(signed!(a!(), >, half(word))),
            op::J_GE_I => jump_if!(signed!(a!(), >=, half(word))),
            op::J_ANY_I => jump_if!(a!() & half(word) != 0),
            op::J_NONE_I => jump_if!(a!() & half(word) == 0),
            op::J_EQ_K => jump_if!(a!() == constant!()),
            op::J_NE_K => jump_if!(a!() != constant!()),
            op::J_LT_K => jump_if!(signed!(a!(), <, constant!())),
            op::J_LE_K => jump_if!(signed!(a!(), <=, constant!())),
            op::J_GT_K => jump_if!(signed!(a!(), >, constant!())),
            op::J_GE_K => jump_if!(signed!(a!(), >=, constant!())),
            op::J_ANY_K => jump_if!(a!() & constant!() != 0),
            op::J_NONE_K => jump_if!(a!() & constant!() == 0),
            op::J_EQ_GI => jump_if!(gpr!() == half(word)),
            op::J_NE_GI => jump_if!(gpr!() != half(word)),
            op::J_LT_GI => jump_if!(signed!(gpr!(), <, half(word))),
            op::J_LE_GI => jump_if!(signed!(gpr!(), <=, half(word))),
            op::J_GT_GI => jump_if!(signed!(gpr!(), >, half(word))),
            op::J_GE_GI => jump_if!(signed!(gpr!(), >=, half(word))),
            op::J_ANY_GI => jump_if!(gpr!() & half(word) != 0),
            op::J_NONE_GI => jump_if!(gpr!() & half(word) == 0),
            op::J_EQ_GK => jump_if!(gpr!() == constant!()),
            op::J_NE_GK => jump_if!(gpr!() != constant!()),
            op::J_LT_GK => jump_if!(signed!(gpr!(), <, constant!())),
            op::J_LE_GK => jump_if!(signed!(gpr!(), <=, constant!())),
            op::J_GT_GK => jump_if!(signed!(gpr!(), >, constant!())),
            op::J_GE_GK => jump_if!(signed!(gpr!(), >=, constant!())),
            op::J_ANY_GK => jump_if!(gpr!() & constant!() != 0),
            op::J_NONE_GK => jump_if!(gpr!() & constant!() == 0),

            op::GET_GPR => a!() = run.world.machine.gpr(field_b(word) & 15),
            op::SET_GPR => run.world.machine.set_gpr(field_b(word) & 15, a!()),
            // The embedder has as many cells as the verifier was told.
            op::GET_GLOBAL => a!() = run.world.machine.global(cell(word)),
            op::SET_GLOBAL => run.world.machine.set_global(cell(word), a!()),
            op::ADD_GLOBAL => {
                run.world.machine.change_global(cell(word), Interlocked::Add(a!()));
            }
            op::ADD_GLOBAL_I => {
                run.world.machine.change_global(cell(word), Interlocked::Add(immediate(word)));
            }

            _ => {
                match run.rare(word, pc) {
                    Ok(Next::At(to)) => pc = to,
                    Ok(Next::Done(value)) => return Ok(value),
                    Err(kind) => fault!(kind),
                }
                match window(run.world.scratch.stack, run.base) {
                    Some(window) => r = window,
                    None => fault!(FaultKind::BadProgram),
                }
            }
        }
    }
}

impl<M: Machine> Run<'_, '_, '_, M> {
    /// What is rare, or long anyway. The loop above is small so that all that it needs stays in registers.
    #[inline(never)]
    fn rare(&mut self, word: u64, pc: usize) -> Result<Next, FaultKind> {
        let op = operation(word);
        let (ra, rb) = (usize::from(field_a(word)), usize::from(field_b(word)));
        let Run { world, base } = self;
        let program = world.program;
        let r = window(world.scratch.stack, *base).ok_or(FaultKind::BadProgram)?;
        let (va, vb, vc) = (r[ra], r[rb], r[usize::from(field_c(word))]);
        let value = match op {
            op::RETURN => {
                let Some(link) = base.checked_sub(1) else { return Ok(Next::Done(va)) };
                let place = world.scratch.stack.get_mut(link).ok_or(FaultKind::BadProgram)?;
                let saved = Link::unpack(*place);
                *place = va;
                *base = link.wrapping_sub(saved.register);
                world.data_end = world.data_start;
                world.data_start = world.data_start.wrapping_sub(saved.data);
                return Ok(Next::At(saved.pc));
            }
            op::CALL => {
                let called = program.function(target(word)).ok_or(FaultKind::BadProgram)?;
                let data = world.data_end.wrapping_sub(world.data_start);
                r[ra] = Link { pc, register: ra, data }.pack();
                world.pay(u64::from(called.end.wrapping_sub(called.start)))?;
                let data_end = world.data_end.saturating_add(size(called.data));
                let callee = base.wrapping_add(ra).wrapping_add(1);
                if data_end > world.scratch.data.len() || window(world.scratch.stack, callee).is_none() {
                    return Err(FaultKind::CallDepth);
                }
                *base = callee;
                (world.data_start, world.data_end) = (world.data_end, data_end);
                return Ok(Next::At(size(called.start)));
            }
            op::ZERO => {
                r.iter_mut().skip(rb).take(ra).for_each(|register| *register = 0);
                return Ok(Next::At(pc));
            }
            op::SYSTEM => {
                let argument = |at: u8| r[usize::from(field_b(word).wrapping_add(at))];
                let arguments = [argument(0), argument(1), argument(2)];
                world.call(u32::try_from(target(word)).unwrap_or(u32::MAX), arguments)?
            }
            op::LOAD_K => *program.constants().get(target(word)).ok_or(FaultKind::BadProgram)?,
            op::DIV_U | op::DIV_S | op::REM_U | op::REM_S => arith::pure(op, vb, vc).ok_or(FaultKind::DivideByZero)?,
            op::GET_BITS => shr(vb, immediate(word) & 0x3f) & mask(immediate(word) >> 8 & 0xff),
            op::SET_BITS => set_bits(va, vb, immediate(word) & 0x3f, immediate(word) >> 8 & 0xff),
            op::F_ADD..=op::F_NARROW => arith::float(op, vb, vc).ok_or(FaultKind::BadProgram)?,
            op::GET_SPECIAL => world.machine.special(*Special::ALL.get(rb).ok_or(FaultKind::BadProgram)?),
            op::GET_PSEUDO => world.machine.pseudo(*Pseudo::ALL.get(rb).ok_or(FaultKind::BadProgram)?),
            op::GET_BUFFER if world.machine.buffer_bytes() > 0 => BUFFER,
            op::GET_BUFFER => 0,
            op::ADD_GLOBAL_GET => va.wrapping_add(world.machine.change_global(cell(word), Interlocked::Add(va))),
            op::ADDRESS => DATA.wrapping_add(world.data_start as u64).wrapping_add(target(word) as u64),
            op::LOAD8..=op::LOAD64 | op::LOAD8_P..=op::LOAD64_P => {
                let physical = op >= op::LOAD8_P;
                let at = op.wrapping_sub(if physical { op::LOAD8_P } else { op::LOAD8 });
                let space = if physical { Space::Physical } else { Space::Virtual };
                world.load(space, vb.wrapping_add(immediate(word)), width(at))?
            }
            _ => {
                Self::without_value(world, word, va, vb)?;
                return Ok(Next::At(pc));
            }
        };
        if let Some(r) = window(world.scratch.stack, *base) {
            r[ra] = value;
        }
        Ok(Next::At(pc))
    }

    fn without_value(world: &mut World<'_, '_, '_, M>, word: u64, va: u64, vb: u64) -> Result<(), FaultKind> {
        let op = operation(word);
        match op {
            op::SET_SPECIAL => {
                let special = *Special::ALL.get(usize::from(field_b(word))).ok_or(FaultKind::BadProgram)?;
                world.machine.set_special(special, va).map_err(|_| FaultKind::Refused)
            }
            op::ZERO_DATA => world.zero(target(word), cell(word)),
            op::STORE8..=op::STORE64 | op::STORE8_P..=op::STORE64_P => {
                let physical = op >= op::STORE8_P;
                let at = op.wrapping_sub(if physical { op::STORE8_P } else { op::STORE8 });
                let space = if physical { Space::Physical } else { Space::Virtual };
                world.store(space, vb.wrapping_add(immediate(word)), width(at), va)
            }
            op::SAY => {
                let start = target(word);
                let text = world.program.text().get(start..start.wrapping_add(usize::from(cell(word))));
                world.machine.say(text.unwrap_or(&[]));
                Ok(())
            }
            op::SAY_NUMBER | op::SAY_STRING => {
                let spec = Spec::unpack(i32::from_le_bytes(high(word))).ok_or(FaultKind::BadProgram)?;
                if op == op::SAY_STRING {
                    // What was said before a fault is a message still.
                    return world.say_string(spec, va).inspect_err(|_| world.machine.said());
                }
                world.machine.say_number(spec, va);
                Ok(())
            }
            op::SAID => {
                world.machine.said();
                Ok(())
            }
            _ => Err(FaultKind::BadProgram),
        }
    }
}

/// The bytes of an immediate.
const fn high(word: u64) -> [u8; 4] {
    let [.., i, j, k, l] = word.to_le_bytes();
    [i, j, k, l]
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
