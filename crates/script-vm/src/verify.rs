//! The verifier: which words are a program. It runs in root, over what came through the link or the device.
//!
//! One pass over the code, no recursion, no memory of its own: every word of code is an instruction, so a jump needs no
//! more than two comparisons.
//!
//! **Cost**: O(words). **Proof**: `crates/script/tests/verifier.rs`: whatever passes runs without a panic and within its
//! limit, random words and mutated programs alike.

use crate::limits::{ARGUMENTS_MAX, FUNCTIONS_MAX, PROGRAM_WORDS_MAX, REGISTERS_MAX};
use crate::machine::{Pseudo, Special};
use crate::op::{self, SHAPES, Shape};
use crate::program::{Areas, Function, Layout, Program, size};
use crate::{Spec, system};

/// What the embedder has room for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Words of a program.
    pub words: usize,
    /// Cells that scripts share.
    pub globals: u16,
    /// Bytes of data that a run is given.
    pub data: usize,
}

/// Why words are no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// More words than there is room for.
    TooLong {
        /// How many came.
        words: usize,
    },
    /// No header of this version, or one that names other areas than came.
    Header,
    /// More cells than there are.
    Globals {
        /// How many it wants.
        asked: u16,
    },
    /// A function's entry.
    Function {
        /// Its number.
        number: u32,
    },
    /// An instruction.
    Instruction {
        /// Its word in the code.
        at: u32,
    },
    /// Padding behind the text that is not zero.
    Padding,
}

/// Checks words; the layout opens them ever after.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(words: &[u64], limits: &Limits) -> Result<Layout, Rejected> {
    if words.len() > limits.words.min(PROGRAM_WORDS_MAX) {
        return Err(Rejected::TooLong { words: words.len() });
    }
    let areas = Areas::decode(words).ok_or(Rejected::Header)?;
    let layout = Layout::new(&areas, words).ok_or(Rejected::Header)?;
    let program = layout.open(words).ok_or(Rejected::Header)?;
    if areas.globals > limits.globals {
        return Err(Rejected::Globals { asked: areas.globals });
    }
    if !(1..=FUNCTIONS_MAX).contains(&size(areas.functions)) {
        return Err(Rejected::Header);
    }
    if program.text().get(size(areas.text)..).unwrap_or(&[]).iter().any(|byte| *byte != 0) {
        return Err(Rejected::Padding);
    }
    let mut end = 0;
    for number in 0..areas.functions {
        let checked = program.function(size(number)).filter(|function| {
            function.start == end
                && function.end > function.start
                && function.end <= areas.code
                && (1..=REGISTERS_MAX).contains(&function.registers)
                && u16::from(function.arguments) <= function.registers.min(ARGUMENTS_MAX)
                && (number > 0 || function.arguments == 0)
                && size(function.data) <= limits.data
                && function.data % 8 == 0
        });
        let function = checked.ok_or(Rejected::Function { number })?;
        check_code(&program, &areas, &function)?;
        end = function.end;
    }
    if end == areas.code { Ok(layout) } else { Err(Rejected::Header) }
}

fn check_code(program: &Program<'_>, areas: &Areas, function: &Function) -> Result<(), Rejected> {
    let code = program.code().get(size(function.start)..size(function.end)).unwrap_or(&[]);
    for (at, word) in (function.start..function.end).zip(code) {
        if !is_well_formed(program, areas, function, *word) {
            return Err(Rejected::Instruction { at });
        }
    }
    // P3: the last instruction leads elsewhere.
    match code.last().map(|word| word.to_le_bytes()[0]) {
        Some(op::END | op::RETURN | op::JUMP) => Ok(()),
        _ => Err(Rejected::Instruction { at: function.end.saturating_sub(1) }),
    }
}

fn is_well_formed(program: &Program<'_>, areas: &Areas, function: &Function, word: u64) -> bool {
    let [op, a, b, c, i, j, k, l] = word.to_le_bytes();
    let Some(shape) = SHAPES.get(usize::from(op)) else { return false };
    let imm = u32::from_le_bytes([i, j, k, l]);
    let half = u16::from_le_bytes([b, c]);
    let register = |number: u8| u16::from(number) < function.registers;
    let registers = |first: u8, count: u16| u16::from(first) + count <= function.registers;
    let target = || (function.start..function.end).contains(&imm);
    let constant = |number: u32| number < areas.constants;
    let gpr = |number: u8| number < 16;
    match shape {
        Shape::Plain => true,
        Shape::A => register(a),
        Shape::AB => register(a) && register(b),
        Shape::ABC => register(a) && register(b) && register(c),
        Shape::Field => register(a) && register(b) && i < 64 && (1..=64 - i).contains(&j) && k == 0 && l == 0,
        Shape::AConstant => register(a) && constant(imm),
        Shape::Jump => target(),
        Shape::AJump => register(a) && target(),
        Shape::ABJump => register(a) && register(b) && target(),
        Shape::AConstantJump => register(a) && constant(half.into()) && target(),
        Shape::GprJump => gpr(a) && target(),
        Shape::GprConstantJump => gpr(a) && constant(half.into()) && target(),
        Shape::AGpr => register(a) && gpr(b),
        Shape::ASpecial => register(a) && usize::from(b) < Special::ALL.len(),
        Shape::APseudo => register(a) && usize::from(b) < Pseudo::ALL.len(),
        Shape::ACell => register(a) && half < areas.globals,
        Shape::Cell => half < areas.globals,
        Shape::Range => registers(b, a.into()),
        Shape::AData => register(a) && imm < function.data,
        Shape::DataRange => {
            imm % 8 == 0 && half % 8 == 0 && imm.checked_add(half.into()).is_some_and(|end| end <= function.data)
        }
        Shape::Call => {
            program.function(size(imm)).is_some_and(|called| imm > 0 && registers(a, 1 + u16::from(called.arguments)))
        }
        Shape::System => {
            let known = system::ALL.get(size(imm));
            known.is_some_and(|known| known.arguments == c) && register(a) && registers(b, c.into())
        }
        Shape::Text => imm.checked_add(half.into()).is_some_and(|end| end <= areas.text),
        Shape::Number => register(a) && Spec::unpack(imm.cast_signed()).is_some_and(Spec::is_number),
        Shape::String => register(a) && Spec::unpack(imm.cast_signed()).is_some_and(Spec::is_string),
    }
}
