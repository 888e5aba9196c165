//! A script that begins with a condition on one register, taken out of it: a miss then costs no run at all.
//!
//! `if (@rax == 5) { … }` with nothing behind it begins with a jump to its end. Whoever keeps the [`Guard`] beside the
//! program asks it first: about 10 instructions instead of the 80 of a run that ends at once.

use crate::op;
use crate::run::{cell, field_a, half, operation, run_from, target};
use crate::{Fault, Machine, Program, Scratch};

/// A condition under which a program does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    register: u8,
    how: u8,
    value: u64,
}

impl Program<'_> {
    /// The condition that the program begins with, if the program is over when it misses.
    #[must_use]
    pub fn guard(&self) -> Option<Guard> {
        let word = *self.code().first()?;
        let (how, value) = match operation(word) {
            op @ op::J_EQ_GI..=op::J_NONE_GI => (op.checked_sub(op::J_EQ_GI)?, half(word)),
            op @ op::J_EQ_GK..=op::J_NONE_GK => (op.checked_sub(op::J_EQ_GK)?, *self.constants().get(usize::from(cell(word)))?),
            _ => return None,
        };
        let ends = operation(*self.code().get(target(word))?) == op::END;
        ends.then_some(Guard { register: field_a(word), how, value })
    }
}

impl Guard {
    /// Whether a run would end at once, without any effect.
    #[inline]
    #[must_use]
    pub fn misses<M: Machine>(&self, machine: &M) -> bool {
        let found = machine.gpr(self.register & 15);
        let (signed, value) = (found.cast_signed(), self.value.cast_signed());
        match self.how {
            0 => found == self.value,
            1 => found != self.value,
            2 => signed < value,
            3 => signed <= value,
            4 => signed > value,
            5 => signed >= value,
            6 => found & self.value != 0,
            _ => found & self.value == 0,
        }
    }

    /// Runs the program that the guard was taken from, unless it misses: the condition is asked once.
    ///
    /// # Errors
    /// As [`crate::run()`].
    #[inline]
    pub fn run<M: Machine>(
        &self,
        program: Program<'_>,
        machine: &mut M,
        scratch: &mut Scratch<'_>,
        steps: u64,
    ) -> Result<u64, Fault> {
        if self.misses(machine) { Ok(0) } else { run_from(1, &program, machine, scratch, steps) }
    }
}
