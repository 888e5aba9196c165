//! Conversions, and what two operands make of each other.

use super::assign::{binary, unary};
use super::{Checked, Checker, Value};
use crate::ast::{BinaryOp, Expr};
use crate::hir::{self, Compare, Order};
use crate::source::Span;
use crate::types::{Type, common};
use script_vm::op;

/// The extension of an integer type.
fn extension(bytes: u8, signed: bool) -> Option<u8> {
    match (bytes, signed) {
        (1, true) => Some(op::SX8),
        (2, true) => Some(op::SX16),
        (4, true) => Some(op::SX32),
        (1, false) => Some(op::ZX8),
        (2, false) => Some(op::ZX16),
        (4, false) => Some(op::ZX32),
        _ => None,
    }
}

/// Whether every value of one integer type is one of the other, as 64 bits.
fn holds(outer: &Type, inner: &Type) -> bool {
    match (outer, inner) {
        (Type::Int { .. }, Type::Bool) => true,
        (Type::Int { bytes: a, signed: s }, Type::Int { bytes: b, signed: t }) => (a, s) == (b, t) || b < a && (*s || !t),
        _ => false,
    }
}

impl<'s> Checker<'s, '_> {
    /// A value that is one number: arrays become pointers.
    pub(super) fn scalar(&mut self, expr: &Expr<'s>) -> Checked<Value> {
        let value = self.value(expr)?;
        match value.kind {
            Type::Array(of, _) => Ok(Value { kind: Type::Pointer(of), expr: value.expr }),
            Type::Void => self.wrong(expr.span, "this tells no value"),
            Type::Struct(_) => {
                let name = self.name(&value.kind);
                self.wrong(expr.span, format!("{name} is no number: name a field"))
            }
            _ => Ok(value),
        }
    }

    /// A value that is an integer or a pointer.
    pub(super) fn integer(&mut self, value: Value, span: Span) -> Checked<Value> {
        if value.kind.is_float() {
            let name = self.name(&value.kind);
            return self.wrong(span, format!("an integer must stand here, this is {name}"));
        }
        Ok(value)
    }

    /// A value that is asked whether it is true.
    pub(super) fn condition(&mut self, expr: &Expr<'s>) -> Checked<hir::Expr> {
        // In parentheses of its own it is meant.
        if let crate::ast::ExprKind::Assign(None, left, _) = &expr.kind
            && left.span.start == expr.span.start
        {
            let trouble = crate::diagnostic::Trouble::new(expr.span, "this assigns where a condition is asked for");
            return self.tell(trouble.help("== compares"));
        }
        let value = self.scalar(expr)?;
        Ok(truth(value))
    }

    /// A value as another type.
    pub(super) fn convert(&mut self, value: Value, to: &Type, span: Span) -> Checked<Value> {
        let Value { expr, kind } = value;
        if kind == *to {
            return Ok(Value { expr, kind });
        }
        let kind = match kind {
            Type::Array(of, _) => Type::Pointer(of),
            other => other,
        };
        let float = kind.is_float();
        let expr = match to {
            Type::Double if float => expr,
            Type::Float if float => unary(op::F_ROUND, expr),
            Type::Float | Type::Double if kind.is_integer() => {
                let unsigned = matches!(kind, Type::Int { signed: false, .. });
                let wide = unary(if unsigned { op::F_FROM_U } else { op::F_FROM_S }, expr);
                if *to == Type::Float { unary(op::F_ROUND, wide) } else { wide }
            }
            Type::Bool if !matches!(kind, Type::Void | Type::Struct(_)) => truth_value(Value { expr, kind }),
            Type::Int { bytes, signed } if float => {
                let whole = unary(if *signed { op::F_TO_S } else { op::F_TO_U }, expr);
                extension(*bytes, *signed).map_or(whole.clone(), |extend| unary(extend, whole))
            }
            Type::Untyped if float => unary(op::F_TO_S, expr),
            Type::Int { bytes, signed } if !matches!(kind, Type::Void | Type::Struct(_)) => match extension(*bytes, *signed) {
                Some(extend) if !holds(to, &kind) => unary(extend, expr),
                _ => expr,
            },
            Type::Untyped | Type::Pointer(_) if !float && !matches!(kind, Type::Void | Type::Struct(_)) => expr,
            _ => {
                let (from, to) = (self.name(&kind), self.name(to));
                return self.wrong(span, format!("{from} cannot become {to}"));
            }
        };
        Ok(Value { expr, kind: to.clone() })
    }

    /// An operator of two operands, but for `&&` and `||`.
    pub(super) fn binary(
        &mut self,
        op: BinaryOp,
        left: Value,
        right: Value,
        at_left: Span,
        at_right: Span,
        span: Span,
    ) -> Checked<Value> {
        if let Some(how) = compared(op) {
            return self.comparison(how, left, right, at_left, at_right);
        }
        if left.kind.is_float() || right.kind.is_float() {
            let op = match op {
                BinaryOp::Add => op::F_ADD,
                BinaryOp::Sub => op::F_SUB,
                BinaryOp::Mul => op::F_MUL,
                BinaryOp::Div => op::F_DIV,
                _ => {
                    let place = if left.kind.is_float() { at_left } else { at_right };
                    return self.wrong(place, "this operator takes integers: cast the float");
                }
            };
            let kind = if left.kind == Type::Double || right.kind == Type::Double { Type::Double } else { Type::Float };
            let left = self.convert(left, &kind, at_left)?;
            let right = self.convert(right, &kind, at_right)?;
            let value = binary(op, left.expr, right.expr);
            let expr = if kind == Type::Float { unary(op::F_ROUND, value) } else { value };
            return Ok(Value { expr, kind });
        }
        if let Some(value) = self.pointed(op, &left, &right, span)? {
            return Ok(value);
        }
        if matches!(op, BinaryOp::Shl | BinaryOp::Shr) {
            let kind = left.kind.promoted();
            let kind = if matches!(kind, Type::Int { .. }) { kind } else { Type::Untyped };
            let left = self.convert(left, &kind, at_left)?;
            let arithmetic = matches!(kind, Type::Int { signed: true, .. });
            let op = match op {
                BinaryOp::Shl => op::SHL,
                _ if arithmetic => op::SAR,
                _ => op::SHR,
            };
            return Ok(wrapped(op, binary(op, left.expr, right.expr), kind));
        }
        let kind = common(&left.kind, &right.kind);
        let left = self.convert(left, &kind, at_left)?;
        let right = self.convert(right, &kind, at_right)?;
        let signed = matches!(kind, Type::Int { signed: true, .. });
        let op = match op {
            BinaryOp::Add => op::ADD,
            BinaryOp::Sub => op::SUB,
            BinaryOp::Mul => op::MUL,
            BinaryOp::Div if signed => op::DIV_S,
            BinaryOp::Div => op::DIV_U,
            BinaryOp::Rem if signed => op::REM_S,
            BinaryOp::Rem => op::REM_U,
            BinaryOp::And => op::AND,
            BinaryOp::Or => op::OR,
            _ => op::XOR,
        };
        if matches!(op, op::DIV_S | op::DIV_U | op::REM_S | op::REM_U)
            && crate::fold::expr(right.expr.clone()) == hir::Expr::Const(0)
        {
            return self.wrong(at_right, "this divides by zero");
        }
        Ok(wrapped(op, binary(op, left.expr, right.expr), kind))
    }

    /// `+` and `-` with pointers; none if there are none.
    fn pointed(&mut self, op: BinaryOp, left: &Value, right: &Value, span: Span) -> Checked<Option<Value>> {
        let of = |value: &Value| match &value.kind {
            Type::Pointer(of) => Some(Type::clone(of)),
            _ => None,
        };
        let (pointer, kind, index, op) = match (of(left), of(right), op) {
            (None, None, _) => return Ok(None),
            (Some(a), Some(b), BinaryOp::Sub) => {
                if a != b {
                    return self.wrong(span, "these pointers point to different types: cast one");
                }
                let bytes = self.size(&a).max(1);
                let difference = binary(op::SUB, left.expr.clone(), right.expr.clone());
                let expr = binary(op::DIV_S, difference, hir::Expr::Const(bytes));
                return Ok(Some(Value { expr, kind: Type::Int { bytes: 8, signed: true } }));
            }
            (Some(kind), None, BinaryOp::Add) => (left, kind, right, op::ADD),
            (Some(kind), None, BinaryOp::Sub) => (left, kind, right, op::SUB),
            (None, Some(kind), BinaryOp::Add) => (right, kind, left, op::ADD),
            // Bits of a pointer: an address is a number.
            _ => return Ok(None),
        };
        let scaled = binary(op::MUL, index.expr.clone(), hir::Expr::Const(self.size(&kind).max(1)));
        let expr = if std::ptr::eq(pointer, left) {
            binary(op, pointer.expr.clone(), scaled)
        } else {
            binary(op, scaled, pointer.expr.clone())
        };
        Ok(Some(Value { expr, kind: pointer.kind.clone() }))
    }

    fn comparison(&mut self, how: Compare, left: Value, right: Value, at_left: Span, at_right: Span) -> Checked<Value> {
        let (kind, order) = if left.kind.is_float() || right.kind.is_float() {
            (Type::Double, Order::Float)
        } else if matches!(left.kind, Type::Pointer(_)) || matches!(right.kind, Type::Pointer(_)) {
            (Type::Untyped, Order::Unsigned)
        } else {
            let kind = common(&left.kind, &right.kind);
            let order = if matches!(kind, Type::Int { signed: false, .. }) { Order::Unsigned } else { Order::Signed };
            (kind, order)
        };
        let left = self.convert(left, &kind, at_left)?;
        let right = self.convert(right, &kind, at_right)?;
        Ok(Value::untyped(hir::Expr::Compare(how, order, Box::new(left.expr), Box::new(right.expr))))
    }
}

const fn compared(op: BinaryOp) -> Option<Compare> {
    Some(match op {
        BinaryOp::Eq => Compare::Eq,
        BinaryOp::Ne => Compare::Ne,
        BinaryOp::Lt => Compare::Lt,
        BinaryOp::Le => Compare::Le,
        BinaryOp::Gt => Compare::Gt,
        BinaryOp::Ge => Compare::Ge,
        _ => return None,
    })
}

/// A result that may have left its type's range, brought back.
pub(super) fn wrapped(op: u8, expr: hir::Expr, kind: Type) -> Value {
    let stays = matches!(op, op::AND | op::OR | op::XOR | op::SHR | op::SAR | op::REM_S | op::REM_U | op::DIV_U);
    let extend = match kind {
        Type::Int { bytes, signed } if !stays => extension(bytes, signed),
        _ => None,
    };
    Value { expr: extend.map_or(expr.clone(), |extend| unary(extend, expr)), kind }
}

/// A value as a condition: of a float, whether it is not zero.
pub(super) fn truth(value: Value) -> hir::Expr {
    if value.kind.is_float() { truth_value(value) } else { value.expr }
}

/// 1 or 0.
pub(super) fn truth_value(value: Value) -> hir::Expr {
    let order = if value.kind.is_float() { Order::Float } else { Order::Unsigned };
    // 0.0 has the bits of 0.
    hir::Expr::Compare(Compare::Ne, order, Box::new(value.expr), Box::new(hir::Expr::Const(0)))
}
