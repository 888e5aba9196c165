//! Constants are computed here and not in root; what is left is cheaper.
//!
//! **Holds always**
//! - O1: the same effects in the same order, the same value, the same faults.

use crate::hir::{Compare, Expr, Order, Piece, Script, Stmt, StmtKind};
use script_vm::{arith, op};

/// Folds a whole script.
pub(crate) fn script(script: &mut Script) {
    for function in &mut script.functions {
        block(&mut function.body);
    }
}

fn block(body: &mut Vec<Stmt>) {
    for stmt in body.iter_mut() {
        statement(&mut stmt.kind);
    }
    body.retain(|stmt| !matches!(stmt.kind, StmtKind::Effect(Expr::Const(_) | Expr::Local(_))));
}

fn replace(place: &mut Expr) {
    *place = expr(std::mem::replace(place, Expr::Const(0)));
}

fn statement(kind: &mut StmtKind) {
    match kind {
        StmtKind::Effect(value) | StmtKind::Return(Some(value)) => replace(value),
        StmtKind::If(test, then, otherwise) => {
            replace(test);
            block(then);
            block(otherwise);
        }
        StmtKind::Loop { test, body, step, .. } => {
            test.iter_mut().for_each(replace);
            block(body);
            step.iter_mut().for_each(replace);
        }
        StmtKind::Print(pieces) => pieces.iter_mut().for_each(|piece| match piece {
            Piece::Number(_, value) | Piece::String(_, value) => replace(value),
            Piece::Text(..) => {}
        }),
        StmtKind::Break | StmtKind::Continue | StmtKind::Return(None) | StmtKind::Zero(..) => {}
    }
}

fn folded(boxed: Box<Expr>) -> Box<Expr> {
    match *boxed {
        leaf @ (Expr::Const(_) | Expr::Local(_) | Expr::Gpr(_) | Expr::Global(_)) => Box::new(leaf),
        other => Box::new(expr(other)),
    }
}

/// Folds an expression.
pub(crate) fn expr(value: Expr) -> Expr {
    match value {
        Expr::Unary(op, operand) => unary(op, folded(operand)),
        Expr::Binary(op, left, right) => binary(op, folded(left), folded(right)),
        Expr::Compare(how, order, left, right) => compare(how, order, folded(left), folded(right)),
        Expr::Not(operand) => match *folded(operand) {
            Expr::Const(value) => Expr::Const(u64::from(value == 0)),
            Expr::Compare(how, order, left, right) if order != Order::Float => Expr::Compare(inverse(how), order, left, right),
            other => Expr::Not(Box::new(other)),
        },
        Expr::And(left, right) => match (*folded(left), folded(right)) {
            (Expr::Const(0), _) => Expr::Const(0),
            (Expr::Const(_), right) => truth(right),
            (left, right) => Expr::And(Box::new(left), right),
        },
        Expr::Or(left, right) => match (*folded(left), folded(right)) {
            (Expr::Const(0), right) => truth(right),
            (Expr::Const(_), _) => Expr::Const(1),
            (left, right) => Expr::Or(Box::new(left), right),
        },
        Expr::SetLocal(slot, value) => Expr::SetLocal(slot, folded(value)),
        Expr::SetGlobal(cell, value) => set_global(cell, folded(value)),
        Expr::AddGlobal(cell, value) => Expr::AddGlobal(cell, folded(value)),
        Expr::SetGpr(number, value) => Expr::SetGpr(number, folded(value)),
        Expr::SetSpecial(number, value) => Expr::SetSpecial(number, folded(value)),
        Expr::Bits(start, width, value) => match *folded(value) {
            Expr::Const(value) => Expr::Const(arith::shr(value, start.into()) & arith::mask(width.into())),
            other => Expr::Bits(start, width, Box::new(other)),
        },
        Expr::SetBits(start, width, into, value) => Expr::SetBits(start, width, folded(into), folded(value)),
        Expr::Load(space, size, address) => Expr::Load(space, size, folded(address)),
        Expr::Store(space, size, address, value) => Expr::Store(space, size, folded(address), folded(value)),
        Expr::Call(number, arguments) => Expr::Call(number, arguments.into_iter().map(expr).collect()),
        Expr::System(number, arguments) => Expr::System(number, arguments.into_iter().map(expr).collect()),
        Expr::Seq(first, then) => Expr::Seq(folded(first), folded(then)),
        leaf => leaf,
    }
}

/// 1 or 0.
fn truth(value: Box<Expr>) -> Expr {
    compare(Compare::Ne, Order::Unsigned, value, Box::new(Expr::Const(0)))
}

fn unary(op: u8, operand: Box<Expr>) -> Expr {
    match *operand {
        Expr::Const(value) => arith::pure(op, value, 0).map_or(Expr::Unary(op, Box::new(Expr::Const(value))), Expr::Const),
        Expr::Load(space, size, address) if clears(op) == Some(size) => Expr::Load(space, size, address),
        // An extension of the same one.
        Expr::Unary(inner, value) if inner == op && matches!(op, op::ZX8..=op::SX32 | op::F_ROUND) => Expr::Unary(op, value),
        other => Expr::Unary(op, Box::new(other)),
    }
}

/// What a zero extension clears to: a load of that size has done it already.
const fn clears(op: u8) -> Option<script_vm::Size> {
    match op {
        op::ZX8 => Some(script_vm::Size::One),
        op::ZX16 => Some(script_vm::Size::Two),
        op::ZX32 => Some(script_vm::Size::Four),
        _ => None,
    }
}

const fn commutes(op: u8) -> bool {
    matches!(op, op::ADD | op::MUL | op::AND | op::OR | op::XOR)
}

fn binary(op: u8, left: Box<Expr>, right: Box<Expr>) -> Expr {
    let (left, right) = match (*left, *right) {
        (Expr::Const(a), Expr::Const(b)) => match arith::pure(op, a, b) {
            Some(value) => return Expr::Const(value),
            None => (Expr::Const(a), Expr::Const(b)),
        },
        (constant @ Expr::Const(_), other) if commutes(op) => (other, constant),
        pair => pair,
    };
    let Expr::Const(b) = right else { return Expr::Binary(op, Box::new(left), Box::new(right)) };
    let power = if b.is_power_of_two() { Some(u64::from(b.trailing_zeros())) } else { None };
    match (op, b, power) {
        (op::SUB, ..) => binary(op::ADD, Box::new(left), Box::new(Expr::Const(b.wrapping_neg()))),
        (op::ADD | op::OR | op::XOR | op::SHL | op::SHR | op::SAR, 0, _) | (op::MUL | op::DIV_U | op::DIV_S, 1, _) => left,
        (op::MUL, _, Some(power)) => again(op::SHL, left, power),
        (op::DIV_U, _, Some(power)) => again(op::SHR, left, power),
        (op::REM_U, _, Some(_)) => again(op::AND, left, b - 1),
        _ => again(op, left, b),
    }
}

/// An operator with a constant, over another one with a constant.
fn again(op: u8, left: Expr, b: u64) -> Expr {
    match left {
        Expr::Binary(inner, deeper, constant) if inner == op && matches!(op, op::ADD | op::AND | op::OR | op::XOR) => {
            match *constant {
                Expr::Const(a) => {
                    let both = arith::pure(op, a, b).unwrap_or(b);
                    binary(op, deeper, Box::new(Expr::Const(both)))
                }
                other => {
                    let left = Expr::Binary(inner, deeper, Box::new(other));
                    Expr::Binary(op, Box::new(left), Box::new(Expr::Const(b)))
                }
            }
        }
        left => Expr::Binary(op, Box::new(left), Box::new(Expr::Const(b))),
    }
}

/// The comparison that is true where this one is not; not for floats, which may be neither.
pub(crate) const fn inverse(how: Compare) -> Compare {
    match how {
        Compare::Eq => Compare::Ne,
        Compare::Ne => Compare::Eq,
        Compare::Lt => Compare::Ge,
        Compare::Le => Compare::Gt,
        Compare::Gt => Compare::Le,
        Compare::Ge => Compare::Lt,
    }
}

/// The same with its sides exchanged.
const fn mirrored(how: Compare) -> Compare {
    match how {
        Compare::Lt => Compare::Gt,
        Compare::Le => Compare::Ge,
        Compare::Gt => Compare::Lt,
        Compare::Ge => Compare::Le,
        same => same,
    }
}

fn compare(how: Compare, order: Order, left: Box<Expr>, right: Box<Expr>) -> Expr {
    match (*left, *right) {
        (Expr::Const(a), Expr::Const(b)) => Expr::Const(compared(how, order, a, b)),
        (constant @ Expr::Const(_), other) => Expr::Compare(mirrored(how), order, Box::new(other), Box::new(constant)),
        // What is 1 or 0 already.
        (truth @ (Expr::Compare(..) | Expr::And(..) | Expr::Or(..) | Expr::Not(_)), Expr::Const(0))
            if how == Compare::Ne && order != Order::Float =>
        {
            truth
        }
        (left, right) => Expr::Compare(how, order, Box::new(left), Box::new(right)),
    }
}

/// 1 or 0.
fn compared(how: Compare, order: Order, a: u64, b: u64) -> u64 {
    let ordering = match order {
        Order::Signed => Some(a.cast_signed().cmp(&b.cast_signed())),
        Order::Unsigned => Some(a.cmp(&b)),
        Order::Float => f64::from_bits(a).partial_cmp(&f64::from_bits(b)),
    };
    u64::from(match how {
        Compare::Eq => ordering.is_some_and(|ordering| ordering.is_eq()),
        Compare::Ne => ordering.is_none_or(|ordering| ordering.is_ne()),
        Compare::Lt => ordering.is_some_and(|ordering| ordering.is_lt()),
        Compare::Le => ordering.is_some_and(|ordering| ordering.is_le()),
        Compare::Gt => ordering.is_some_and(|ordering| ordering.is_gt()),
        Compare::Ge => ordering.is_some_and(|ordering| ordering.is_ge()),
    })
}

/// `.hits = .hits + 1` becomes one instruction, and one that loses no count of another core.
fn set_global(cell: u16, value: Box<Expr>) -> Expr {
    match *value {
        Expr::Binary(op::ADD, left, right) => match (*left, *right) {
            (Expr::Global(same), added @ (Expr::Const(_) | Expr::Local(_) | Expr::Gpr(_) | Expr::Pseudo(_)))
            | (added @ (Expr::Local(_) | Expr::Gpr(_) | Expr::Pseudo(_)), Expr::Global(same))
                if same == cell =>
            {
                Expr::AddGlobal(cell, Box::new(added))
            }
            (left, right) => Expr::SetGlobal(cell, Box::new(Expr::Binary(op::ADD, Box::new(left), Box::new(right)))),
        },
        other => Expr::SetGlobal(cell, Box::new(other)),
    }
}
