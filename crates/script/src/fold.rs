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

fn statement(kind: &mut StmtKind) {
    match kind {
        StmtKind::Effect(value) | StmtKind::Return(Some(value)) => fold(value),
        StmtKind::If(arms, otherwise) => {
            for (test, then) in arms {
                fold(test);
                block(then);
            }
            block(otherwise);
        }
        StmtKind::Loop { test, body, step, .. } => {
            test.iter_mut().for_each(fold);
            block(body);
            step.iter_mut().for_each(fold);
        }
        StmtKind::Print(pieces) => pieces.iter_mut().for_each(|piece| match piece {
            Piece::Number(_, value) | Piece::String(_, value) => fold(value),
            Piece::Text(..) => {}
        }),
        StmtKind::Break | StmtKind::Continue | StmtKind::Return(None) | StmtKind::Zero(..) => {}
    }
}

/// Folds an expression.
pub(crate) fn expr(mut value: Expr) -> Expr {
    fold(&mut value);
    value
}

fn take(place: &mut Expr) -> Expr {
    std::mem::replace(place, Expr::Const(0))
}

/// What is below first, then the expression itself.
fn fold(place: &mut Expr) {
    match place {
        Expr::SetLocal(_, a)
        | Expr::SetGlobal(_, a)
        | Expr::AddGlobal(_, a)
        | Expr::SetGpr(_, a)
        | Expr::SetSpecial(_, a)
        | Expr::Bits(_, _, a)
        | Expr::Load(_, _, a)
        | Expr::Unary(_, a)
        | Expr::Not(a) => fold(a),
        Expr::SetBits(_, _, a, b)
        | Expr::Store(_, _, a, b)
        | Expr::Binary(_, a, b)
        | Expr::Compare(_, _, a, b)
        | Expr::And(a, b)
        | Expr::Or(a, b)
        | Expr::Seq(a, b) => {
            fold(a);
            fold(b);
        }
        Expr::Call(_, arguments) | Expr::System(_, arguments) => arguments.iter_mut().for_each(fold),
        _ => return,
    }
    let simpler = match place {
        Expr::Unary(op, operand) => unary(*op, operand),
        Expr::Binary(op, left, right) => binary(op, left, right),
        Expr::Compare(how, order, left, right) => compare(how, *order, left, right),
        Expr::Not(operand) => match &mut **operand {
            Expr::Const(value) => Some(Expr::Const(u64::from(*value == 0))),
            Expr::Compare(how, order, ..) if *order != Order::Float => {
                *how = inverse(*how);
                Some(take(operand))
            }
            _ => None,
        },
        Expr::And(left, right) => match **left {
            Expr::Const(0) => Some(Expr::Const(0)),
            Expr::Const(_) => Some(truth(take(right))),
            _ => None,
        },
        Expr::Or(left, right) => match **left {
            Expr::Const(0) => Some(truth(take(right))),
            Expr::Const(_) => Some(Expr::Const(1)),
            _ => None,
        },
        Expr::SetGlobal(cell, value) => set_global(*cell, value),
        Expr::Bits(start, width, value) => match **value {
            Expr::Const(value) => Some(Expr::Const(arith::shr(value, (*start).into()) & arith::mask((*width).into()))),
            _ => None,
        },
        _ => None,
    };
    if let Some(simpler) = simpler {
        *place = simpler;
    }
}

/// 1 or 0.
fn truth(value: Expr) -> Expr {
    expr(Expr::Compare(Compare::Ne, Order::Unsigned, Box::new(value), Box::new(Expr::Const(0))))
}

fn unary(op: u8, operand: &mut Expr) -> Option<Expr> {
    match operand {
        Expr::Const(value) => arith::pure(op, *value, 0).map(Expr::Const),
        Expr::Load(_, size, _) if clears(op) == Some(*size) => Some(take(operand)),
        // An extension of the same one.
        Expr::Unary(inner, _) if *inner == op && matches!(op, op::ZX8..=op::SX32 | op::F_ROUND) => Some(take(operand)),
        _ => None,
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

fn binary(op: &mut u8, left: &mut Expr, right: &mut Expr) -> Option<Expr> {
    if let (Expr::Const(a), Expr::Const(b)) = (&*left, &*right) {
        return arith::pure(*op, *a, *b).map(Expr::Const);
    }
    if matches!(left, Expr::Const(_)) && commutes(*op) {
        std::mem::swap(left, right);
    }
    let Expr::Const(constant) = right else { return None };
    if *op == op::SUB {
        (*op, *constant) = (op::ADD, constant.wrapping_neg());
    }
    match (*op, *constant) {
        (op::ADD | op::OR | op::XOR | op::SHL | op::SHR | op::SAR, 0) | (op::MUL | op::DIV_U | op::DIV_S, 1) => {
            return Some(take(left));
        }
        (op::MUL, b) if b.is_power_of_two() => (*op, *constant) = (op::SHL, b.trailing_zeros().into()),
        (op::DIV_U, b) if b.is_power_of_two() => (*op, *constant) = (op::SHR, b.trailing_zeros().into()),
        (op::REM_U, b) if b.is_power_of_two() => (*op, *constant) = (op::AND, b - 1),
        _ => {}
    }
    // An operator with a constant, over the same one with a constant.
    if let Expr::Binary(inner, deeper, below) = left
        && let Expr::Const(a) = **below
        && *inner == *op
        && matches!(*op, op::ADD | op::AND | op::OR | op::XOR)
    {
        *constant = arith::pure(*op, a, *constant)?;
        *left = take(deeper);
        if *constant == 0 && *op != op::AND {
            return Some(take(left));
        }
    }
    None
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

fn compare(how: &mut Compare, order: Order, left: &mut Expr, right: &mut Expr) -> Option<Expr> {
    if let (Expr::Const(a), Expr::Const(b)) = (&*left, &*right) {
        return Some(Expr::Const(compared(*how, order, *a, *b)));
    }
    if matches!(left, Expr::Const(_)) {
        std::mem::swap(left, right);
        *how = mirrored(*how);
    }
    // What is 1 or 0 already.
    let is_truth = matches!(left, Expr::Compare(..) | Expr::And(..) | Expr::Or(..) | Expr::Not(_));
    (is_truth && *right == Expr::Const(0) && *how == Compare::Ne && order != Order::Float).then(|| take(left))
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
fn set_global(cell: u16, value: &mut Expr) -> Option<Expr> {
    let Expr::Binary(op::ADD, left, right) = value else { return None };
    let simple = |added: &Expr| matches!(added, Expr::Const(_) | Expr::Local(_) | Expr::Gpr(_) | Expr::Pseudo(_));
    let added = match (&**left, &**right) {
        (Expr::Global(same), added) if *same == cell && simple(added) => right,
        (added, Expr::Global(same)) if *same == cell && simple(added) => left,
        _ => return None,
    };
    Some(Expr::AddGlobal(cell, Box::new(take(added))))
}
