//! Expressions.

use super::assign::{read_register, unary};
use super::convert::{truth, wrapped};
use super::{Checked, Checker, Value};
use crate::ast::{BinaryOp, Expr, ExprKind, UnaryOp};
use crate::diagnostic::{Trouble, nearest};
use crate::hir;
use crate::registers;
use crate::source::Span;
use crate::types::Type;
use script_vm::{NAMES, Pseudo, TEXT, op};
use std::rc::Rc;

const PSEUDO: [(&str, Option<Pseudo>); 16] = [
    ("$pid", Some(Pseudo::Pid)),
    ("$tid", Some(Pseudo::Tid)),
    ("$core", Some(Pseudo::Core)),
    ("$proc", Some(Pseudo::Process)),
    ("$thread", Some(Pseudo::Thread)),
    ("$peb", Some(Pseudo::Peb)),
    ("$teb", Some(Pseudo::Teb)),
    ("$ip", Some(Pseudo::Ip)),
    ("$context", Some(Pseudo::Context)),
    ("$event_tag", Some(Pseudo::EventTag)),
    ("$event_id", Some(Pseudo::EventId)),
    ("$event_stage", Some(Pseudo::EventStage)),
    ("$buffer", None),
    ("$pname", None),
    ("$date", None),
    ("$time", None),
];

/// Those that are strings, in the order of their addresses.
const LABELS: [&str; 3] = ["$pname", "$date", "$time"];

/// The names of all pseudo-registers.
pub(crate) fn pseudo_registers() -> impl Iterator<Item = &'static str> {
    PSEUDO.iter().map(|(name, _)| *name)
}

/// Whether this is a pseudo-register that is a string: what prints a value prints its text, and no address.
pub(super) fn is_label(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Pseudo(name) if LABELS.contains(&name))
}

impl<'s> Checker<'s, '_> {
    /// A value of any type; one without is `void`.
    pub(super) fn value(&mut self, expr: &Expr<'s>) -> Checked<Value> {
        match &expr.kind {
            ExprKind::Number(value) => Ok(Value::untyped(hir::Expr::Const(*value))),
            ExprKind::Float(value) => Ok(Value { expr: hir::Expr::Const(value.to_bits()), kind: Type::Double }),
            ExprKind::Text(index) | ExprKind::Wide(index) => {
                let wide = matches!(expr.kind, ExprKind::Wide(_));
                let texts = self.texts;
                let offset = self.text(texts.get(*index).map_or(&[][..], Vec::as_slice), if wide { 2 } else { 1 });
                let unit = if wide { Type::Int { bytes: 2, signed: false } } else { Type::Int { bytes: 1, signed: true } };
                Ok(Value { expr: hir::Expr::Const(TEXT + u64::from(offset)), kind: Type::Pointer(Rc::new(unit)) })
            }
            ExprKind::Word(name) => self.word(name, expr.span),
            ExprKind::Register(name) => Ok(Value::untyped(read_register(&self.register(name, expr.span)?))),
            ExprKind::Pseudo(name) => self.pseudo(name, expr.span),
            ExprKind::Symbol(name) => self.symbol(name, expr.span),
            ExprKind::Global(_) | ExprKind::Index(..) | ExprKind::Field(..) | ExprKind::Unary(UnaryOp::Deref, _) => {
                let place = self.place(expr, false)?;
                Ok(self.load(&place))
            }
            ExprKind::Unary(UnaryOp::AddressOf, of) => self.address_of(of),
            ExprKind::Unary(op, operand) => {
                let value = self.scalar(operand)?;
                self.unary_value(*op, value, operand.span)
            }
            ExprKind::Binary(op @ (BinaryOp::AndAlso | BinaryOp::OrElse), left, right) => {
                let left = self.condition(left);
                self.bare += 1;
                let right = self.condition(right);
                self.bare -= 1;
                let (left, right) = (Box::new(left?), Box::new(right?));
                let and = *op == BinaryOp::AndAlso;
                Ok(Value::untyped(if and { hir::Expr::And(left, right) } else { hir::Expr::Or(left, right) }))
            }
            ExprKind::Binary(op, left, right) => {
                let left_value = self.scalar(left);
                let right_value = self.scalar(right)?;
                self.binary(*op, left_value?, right_value, left.span, right.span, expr.span)
            }
            ExprKind::Assign(op, left, right) => self.assignment(*op, left, right, expr.span),
            ExprKind::Count(up, new, counted) => self.count(*up, *new, counted, expr.span),
            ExprKind::Call(name, span, arguments) => self.call(name, *span, arguments, expr.span),
            ExprKind::Cast(name, operand) => {
                let kind = self.resolve(name)?;
                let value = self.value(operand)?;
                if kind == Type::Void {
                    return Ok(Value { expr: value.expr, kind });
                }
                if matches!(kind, Type::Pointer(_)) && value.kind.is_float() {
                    let from = self.name(&value.kind);
                    return self.wrong(expr.span, format!("{from} cannot become a pointer"));
                }
                self.convert(value, &kind, expr.span)
            }
            ExprKind::SizeofType(name) => {
                let kind = self.resolve(name)?;
                Ok(Value::untyped(hir::Expr::Const(self.size(&kind))))
            }
            ExprKind::Sizeof(of) => {
                // Looked at for its type only: what it would make is taken back.
                let (text, locals) = (self.out.text.len(), self.function.locals);
                let value = self.value(of)?;
                if self.function.locals == locals {
                    self.out.text.truncate(text);
                }
                if value.kind == Type::Void {
                    return self.wrong(of.span, "this tells no value");
                }
                Ok(Value::untyped(hir::Expr::Const(self.size(&value.kind))))
            }
        }
    }

    fn unary_value(&mut self, op: UnaryOp, value: Value, span: Span) -> Checked<Value> {
        match op {
            UnaryOp::Not => Ok(Value::untyped(hir::Expr::Not(Box::new(truth(value))))),
            UnaryOp::Plus => Ok(value),
            UnaryOp::Minus if value.kind.is_float() => Ok(Value { expr: unary(op::F_NEG, value.expr), kind: value.kind }),
            UnaryOp::Complement if value.kind.is_float() => self.wrong(span, "this operator takes integers: cast the float"),
            _ => {
                let op = if op == UnaryOp::Minus { op::NEG } else { op::NOT };
                let kind = if value.kind.is_integer() { value.kind.promoted() } else { Type::Untyped };
                let value = self.convert(value, &kind, span)?;
                Ok(wrapped(op, unary(op, value.expr), kind))
            }
        }
    }

    fn word(&mut self, name: &'s str, span: Span) -> Checked<Value> {
        if let Some(place) = self.variable(name) {
            return Ok(self.load(&place));
        }
        let register = registers::find(name);
        if let Some(register) = register.filter(|register| !register.flag) {
            return Ok(Value::untyped(read_register(&register)));
        }
        if self.assigned.contains(&name) || self.addressed.contains(&name) {
            let place = self.implicit(name, span, false)?;
            return Ok(self.load(&place));
        }
        if let Ok(number) = crate::lex::integer(name) {
            return Ok(Value::untyped(hir::Expr::Const(number)));
        }
        if let Some(address) = self.resolver.symbol(None, name) {
            return Ok(Value::untyped(hir::Expr::Const(address)));
        }
        if register.is_some() {
            let help = format!("@{name}");
            return self.tell(Trouble::new(span, format!("the flag {name} needs its @")).help(help));
        }
        if let Some(why) = self.resolver.unfit(None, name) {
            return self.tell(Trouble::new(span, why));
        }
        let variables = self.scope.iter().chain(&self.implicit).map(|known| known.name);
        let near = nearest(
            name,
            variables.chain(self.assigned.iter().copied()).chain(registers::names().map(|name| -> &str { name })),
        );
        let near = near.map(str::to_owned).or_else(|| self.resolver.suggest(name));
        self.tell(Trouble::new(span, format!("{name} is no variable, no register, no number and no symbol")).maybe(near))
    }

    fn symbol(&mut self, name: &'s str, span: Span) -> Checked<Value> {
        let (module, symbol) = name.split_once('!').unwrap_or(("", name));
        match self.resolver.symbol(Some(module), symbol) {
            Some(address) => Ok(Value::untyped(hir::Expr::Const(address))),
            None => {
                if let Some(why) = self.resolver.unfit(Some(module), symbol) {
                    return self.tell(Trouble::new(span, why));
                }
                let near = self.resolver.suggest(name);
                self.tell(Trouble::new(span, format!("there is no symbol {name}")).maybe(near))
            }
        }
    }

    fn pseudo(&mut self, name: &str, span: Span) -> Checked<Value> {
        match PSEUDO.iter().find(|(known, _)| *known == name) {
            Some((_, Some(pseudo))) => Ok(Value::untyped(hir::Expr::Pseudo(*pseudo as u8))),
            Some(("$buffer", None)) => {
                self.out.uses_buffer = true;
                Ok(Value::untyped(hir::Expr::Buffer))
            }
            Some((label, None)) => {
                let number = (0..).zip(LABELS).find(|(_, known)| known == label).map_or(0, |(number, _)| number);
                let character = Type::Int { bytes: 1, signed: true };
                Ok(Value { expr: hir::Expr::Const(NAMES + 16 * number), kind: Type::Pointer(Rc::new(character)) })
            }
            None => {
                let near = nearest(name, pseudo_registers()).map(str::to_owned);
                self.tell(Trouble::new(span, format!("there is no pseudo-register {name}")).maybe(near))
            }
        }
    }
}
