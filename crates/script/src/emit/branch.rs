//! Conditions: one instruction for a comparison of a register, or of a guest register, with a number.

use super::value::writes;
use super::{Emitter, Label};
use crate::fold::inverse;
use crate::hir::{Compare, Expr, Order};
use script_vm::op;

/// Order of the instructions for one kind of operands: six comparisons, then the tests of bits.
const fn index(how: Compare) -> u8 {
    match how {
        Compare::Eq => 0,
        Compare::Ne => 1,
        Compare::Lt => 2,
        Compare::Le => 3,
        Compare::Gt => 4,
        Compare::Ge => 5,
    }
}

const ANY: u8 = 6;
const NONE: u8 = 7;

const _: () = assert!(op::J_GE_I == op::J_EQ_I + 5 && op::J_ANY_I == op::J_EQ_I + ANY && op::J_NONE_I == op::J_EQ_I + NONE);
const _: () = assert!(op::J_EQ_K == op::J_EQ_I + 8 && op::J_EQ_GI == op::J_EQ_I + 16 && op::J_EQ_GK == op::J_EQ_I + 24);
const _: () = assert!(op::J_NONE_GK == op::J_EQ_I + 31);

impl Emitter {
    fn jump(&mut self, word: u64, label: Label) {
        self.patches.push((self.code.len(), label));
        self.labels[label].1 = true;
        self.code.push(word);
    }

    /// Goes to the label if the condition is what is wanted.
    pub(super) fn branch(&mut self, test: &Expr, wanted: bool, label: Label) {
        match test {
            Expr::Const(value) => {
                if (*value != 0) == wanted {
                    self.jump_to(label);
                }
            }
            Expr::Not(inner) => self.branch(inner, !wanted, label),
            Expr::And(left, right) | Expr::Or(left, right) => {
                let and = matches!(test, Expr::And(..));
                if and == wanted {
                    let skip = self.label();
                    self.branch(left, !wanted, skip);
                    if self.reachable {
                        self.branch(right, wanted, label);
                    }
                    self.place(skip);
                } else {
                    self.branch(left, wanted, label);
                    if self.reachable {
                        self.branch(right, wanted, label);
                    }
                }
            }
            Expr::Compare(how, order, left, right) if *order != Order::Float => {
                let how = if wanted { *how } else { inverse(*how) };
                self.comparison(how, *order, left, right, label);
            }
            Expr::Binary(op::AND, left, right) if matches!(**right, Expr::Const(_)) => {
                let Expr::Const(bits) = **right else { return };
                self.with_constant(if wanted { ANY } else { NONE }, left, bits, label);
            }
            other => self.with_constant(index(if wanted { Compare::Ne } else { Compare::Eq }), other, 0, label),
        }
    }

    fn comparison(&mut self, how: Compare, order: Order, left: &Expr, right: &Expr, label: Label) {
        let equality = matches!(how, Compare::Eq | Compare::Ne);
        if let (Expr::Const(value), true) = (right, equality || order == Order::Signed) {
            if let (Expr::Binary(op::AND, inner, mask), 0, true) = (left, *value, equality)
                && let Expr::Const(bits) = **mask
            {
                return self.with_constant(if how == Compare::Ne { ANY } else { NONE }, inner, bits, label);
            }
            return self.with_constant(index(how), left, *value, label);
        }
        let save = self.top;
        let a = match left {
            Expr::Local(slot) if writes(right, *slot) => self.copied(left),
            _ => self.operand(left),
        };
        let b = self.operand(right);
        let (how, a, b) = match how {
            Compare::Gt => (Compare::Lt, b, a),
            Compare::Ge => (Compare::Le, b, a),
            other => (other, a, b),
        };
        let op = match (how, order) {
            (Compare::Eq, _) => op::J_EQ,
            (Compare::Ne, _) => op::J_NE,
            (Compare::Lt, Order::Unsigned) => op::J_LT_U,
            (Compare::Lt, _) => op::J_LT,
            (_, Order::Unsigned) => op::J_LE_U,
            _ => op::J_LE,
        };
        self.top = save;
        self.jump(op::encode(op, a, b, 0, 0), label);
    }

    /// Compares with, or tests bits of, a number.
    fn with_constant(&mut self, index: u8, left: &Expr, value: u64, label: Label) {
        let save = self.top;
        let (register, guest) = match left {
            Expr::Gpr(number) => (*number, true),
            other => (self.operand(other), false),
        };
        self.top = save;
        let (immediate, constant) = if guest { (op::J_EQ_GI, op::J_EQ_GK) } else { (op::J_EQ_I, op::J_EQ_K) };
        let word = match i16::try_from(value.cast_signed()) {
            Ok(value) => op::encode_half(immediate + index, register, value.cast_unsigned(), 0),
            Err(_) => {
                let at = self.constant(value);
                op::encode_half(constant + index, register, u16::try_from(at).unwrap_or(u16::MAX), 0)
            }
        };
        self.jump(word, label);
    }
}
