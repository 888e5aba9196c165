//! A script that begins with a condition on one register, taken out of it: a miss then costs no run at all.
//!
//! `if (@rax == 5) { … }` with nothing behind it begins with a jump to its end. Whoever keeps the [`Guard`] beside the
//! program asks it first: about 10 instructions instead of the 80 of a run that ends at once. A script that only counts,
//! with or without a condition, is done as cheaply.

use crate::op;
use crate::run::{cell, field_a, half, immediate, operation, run_from, target};
use crate::{Fault, Interlocked, Machine, Program, Scratch};

/// What of a program can be done without a run: the condition under which it does nothing, and a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    register: u8,
    how: u8,
    value: u64,
    /// All that a hit does: the cell and what is added to it.
    count: Option<(u16, u64)>,
}

/// There is no condition.
const ALWAYS: u8 = 8;

impl Program<'_> {
    /// What of this program can be done without a run, if anything.
    #[must_use]
    pub fn guard(&self) -> Option<Guard> {
        let code = self.code();
        let word = *code.first()?;
        let (how, value) = match operation(word) {
            op @ op::J_EQ_GI..=op::J_NONE_GI => (op.checked_sub(op::J_EQ_GI)?, half(word)),
            op @ op::J_EQ_GK..=op::J_NONE_GK => (op.checked_sub(op::J_EQ_GK)?, *self.constants().get(usize::from(cell(word)))?),
            _ => {
                let count = counted(code);
                return count.map(|_| Guard { register: 0, how: ALWAYS, value: 0, count });
            }
        };
        let ends = operation(*code.get(target(word))?) == op::END;
        ends.then_some(Guard { register: field_a(word), how, value, count: counted(code.get(1..)?) })
    }
}

/// What code counts, if it does nothing else.
fn counted(code: &[u64]) -> Option<(u16, u64)> {
    let [count, end, ..] = *code else { return None };
    let only = operation(count) == op::ADD_GLOBAL_I && operation(end) == op::END;
    only.then_some((cell(count), immediate(count)))
}

impl Guard {
    /// All that a run does if the guard does not miss, if that is adding to a cell: which, and what is added.
    #[must_use]
    pub const fn count(&self) -> Option<(u16, u64)> {
        self.count
    }

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
            7 => found & self.value == 0,
            _ => false,
        }
    }

    /// What a run of the program does that the guard was taken from, in fewer steps.
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
        if self.misses(machine) {
            return Ok(0);
        }
        match self.count {
            Some((cell, added)) => {
                machine.change_global(cell, Interlocked::Add(added));
                Ok(0)
            }
            None => run_from(1, &program, machine, scratch, steps),
        }
    }
}
