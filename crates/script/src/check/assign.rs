//! Places: what can be assigned to, and how it is read and written.

use super::{Checked, Checker, Home, Value, Variable};
use crate::ast::{BinaryOp, Expr, ExprKind, UnaryOp};
use crate::diagnostic::Trouble;
use crate::hir;
use crate::registers::{self, Register, Whole};
use crate::source::Span;
use crate::types::Type;
use script_vm::{Size, Space, op};

/// Something that can be assigned to.
pub(super) enum Place {
    Local(u16, Type),
    Global(u16, Type),
    Register(Register),
    /// An address.
    Memory(hir::Expr, Type),
}

impl Place {
    pub(super) fn kind(&self) -> &Type {
        match self {
            Place::Local(_, kind) | Place::Global(_, kind) | Place::Memory(_, kind) => kind,
            Place::Register(_) => &Type::Untyped,
        }
    }
}

/// The size of a scalar in memory.
pub(super) fn width(kind: &Type) -> Size {
    match kind {
        Type::Bool | Type::Int { bytes: 1, .. } => Size::One,
        Type::Int { bytes: 2, .. } => Size::Two,
        Type::Int { bytes: 4, .. } | Type::Float => Size::Four,
        _ => Size::Eight,
    }
}

pub(super) fn unary(op: u8, operand: hir::Expr) -> hir::Expr {
    hir::Expr::Unary(op, Box::new(operand))
}

pub(super) fn binary(op: u8, left: hir::Expr, right: hir::Expr) -> hir::Expr {
    hir::Expr::Binary(op, Box::new(left), Box::new(right))
}

/// Bits as they come from memory, as a value of the type.
fn widened(kind: &Type, bits: hir::Expr) -> hir::Expr {
    match kind {
        Type::Int { bytes: 1, signed: true } => unary(op::SX8, bits),
        Type::Int { bytes: 2, signed: true } => unary(op::SX16, bits),
        Type::Int { bytes: 4, signed: true } => unary(op::SX32, bits),
        Type::Float => unary(op::F_WIDEN, bits),
        Type::Bool => hir::Expr::Compare(hir::Compare::Ne, hir::Order::Unsigned, Box::new(bits), Box::new(hir::Expr::Const(0))),
        _ => bits,
    }
}

impl<'s> Checker<'s, '_> {
    /// The place of an expression.
    pub(super) fn place(&mut self, expr: &Expr<'s>, assigns: bool) -> Checked<Place> {
        match &expr.kind {
            ExprKind::Word(name) => self.word_place(name, expr.span, assigns),
            ExprKind::Global(name) => {
                let (cell, kind) = self.global(name, None, expr.span)?;
                if kind.is_aggregate() {
                    return Ok(Place::Memory(hir::Expr::Const(script_vm::GLOBALS + 8 * u64::from(cell)), kind));
                }
                Ok(Place::Global(cell, kind))
            }
            ExprKind::Register(name) => Ok(Place::Register(self.register(name, expr.span)?)),
            ExprKind::Unary(UnaryOp::Deref, pointer) => {
                let value = self.scalar(pointer)?;
                self.dereferenced(value, pointer.span)
            }
            ExprKind::Index(base, index) => {
                let base_value = self.value(base)?;
                let element = match &base_value.kind {
                    Type::Array(of, _) | Type::Pointer(of) => Type::clone(of),
                    Type::Untyped => Type::Untyped,
                    other => {
                        let name = self.name(other);
                        return self.wrong(base.span, format!("{name} has no elements"));
                    }
                };
                let bytes = self.size(&element);
                if element == Type::Void || bytes == 0 {
                    return self.wrong(base.span, "what this points to has no size: cast it");
                }
                let index_value = self.scalar(index)?;
                let index_value = self.integer(index_value, index.span)?;
                let scaled = binary(op::MUL, index_value.expr, hir::Expr::Const(bytes));
                Ok(Place::Memory(binary(op::ADD, base_value.expr, scaled), element))
            }
            ExprKind::Field(base, through, name, span) => {
                let value = self.value(base)?;
                let number = match (&value.kind, through) {
                    (Type::Struct(number), false) => *number,
                    (Type::Pointer(of), true) if matches!(**of, Type::Struct(_)) => match **of {
                        Type::Struct(number) => number,
                        _ => 0,
                    },
                    (Type::Struct(_), true) => {
                        return self.tell(Trouble::new(*span, "this is a struct, no pointer to one").help(format!(".{name}")));
                    }
                    (Type::Pointer(of), false) if matches!(**of, Type::Struct(_)) => {
                        return self.tell(Trouble::new(*span, "this is a pointer to a struct").help(format!("->{name}")));
                    }
                    (other, _) => {
                        let other = self.name(other);
                        return self.wrong(*span, format!("{other} has no fields"));
                    }
                };
                let layout = &self.structs[number];
                let Some((_, kind, offset)) = layout.fields.iter().find(|(known, ..)| known == name) else {
                    let near = crate::diagnostic::nearest(name, layout.fields.iter().map(|(known, ..)| known.as_str()));
                    let near = near.map(str::to_owned);
                    let message = format!("struct {} has no field {name}", layout.name);
                    return self.tell(Trouble::new(*span, message).maybe(near));
                };
                let (kind, offset) = (kind.clone(), *offset);
                Ok(Place::Memory(self.offset(value.expr, offset), kind))
            }
            ExprKind::Pseudo(name) if assigns => self.wrong(expr.span, format!("{name} cannot be written")),
            ExprKind::Number(_) | ExprKind::Float(_) | ExprKind::Text(_) | ExprKind::Wide(_) if assigns => {
                self.tell(Trouble::new(expr.span, "a constant cannot be assigned to").help("== compares"))
            }
            _ if assigns => self.wrong(expr.span, "this cannot be assigned to"),
            _ => self.wrong(expr.span, "this has no address"),
        }
    }

    pub(super) fn dereferenced(&mut self, value: Value, span: Span) -> Checked<Place> {
        let kind = match &value.kind {
            Type::Pointer(of) => Type::clone(of),
            Type::Untyped => Type::Untyped,
            other => {
                let name = self.name(other);
                return self.wrong(span, format!("{name} is no pointer"));
            }
        };
        if kind == Type::Void {
            return self.wrong(span, "what this points to has no size: cast it");
        }
        Ok(Place::Memory(value.expr, kind))
    }

    pub(super) fn register(&mut self, name: &str, span: Span) -> Checked<Register> {
        match registers::find(name) {
            Some(register) => Ok(register),
            None => {
                let near = crate::diagnostic::nearest(name, registers::names()).map(|near| format!("@{near}"));
                self.tell(Trouble::new(span, format!("there is no register {name}")).maybe(near))
            }
        }
    }

    pub(super) fn variable(&mut self, name: &str) -> Option<Place> {
        let known = self.scope.iter().rev().chain(&self.implicit).find(|known| known.name == name)?;
        if let (Home::Local(slot), true) = (known.home, known.block != 0 && !self.blocks.contains(&known.block)) {
            self.function.zeroed.push(slot);
        }
        let kind = known.kind.clone();
        Some(match known.home {
            Home::Local(slot) => Place::Local(slot, kind),
            Home::Data(offset) => Place::Memory(hir::Expr::Address(offset), kind),
        })
    }

    fn word_place(&mut self, name: &'s str, span: Span, assigns: bool) -> Checked<Place> {
        if let Some(place) = self.variable(name) {
            return Ok(place);
        }
        let register = registers::find(name).filter(|register| !register.flag);
        if let (Some(register), false) = (register, self.assigned.contains(&name) && register.is_none()) {
            return Ok(Place::Register(register));
        }
        if assigns || self.assigned.contains(&name) || self.addressed.contains(&name) {
            return self.implicit(name, span, assigns);
        }
        self.wrong(span, format!("there is no variable {name}"))
    }

    /// An untyped variable, made on first mention (K1).
    pub(super) fn implicit(&mut self, name: &'s str, span: Span, written: bool) -> Checked<Place> {
        let home = if self.addressed.contains(&name) {
            let offset = self.room(&Type::Untyped, span)?;
            let zero = hir::Stmt { kind: hir::StmtKind::Zero(offset, 8), at: span.start };
            self.prologue.push(zero);
            Home::Data(offset)
        } else {
            let slot = self.slot(span)?;
            if !written || self.bare > 0 {
                self.function.zeroed.push(slot);
            }
            Home::Local(slot)
        };
        let block = self.blocks.last().copied().unwrap_or(0);
        self.implicit.push(Variable { name, kind: Type::Untyped, home, block });
        Ok(self.variable(name).unwrap_or(Place::Local(0, Type::Untyped)))
    }

    /// What a place holds.
    pub(super) fn load(&self, place: &Place) -> Value {
        let kind = place.kind().clone();
        let expr = match place {
            Place::Local(slot, _) => hir::Expr::Local(*slot),
            Place::Global(cell, _) => {
                let whole = hir::Expr::Global(*cell);
                let narrow = match (&kind, width(&kind)) {
                    (Type::Int { signed: true, .. } | Type::Float, _) | (_, Size::Eight) => whole,
                    (_, Size::One) => unary(op::ZX8, whole),
                    (_, Size::Two) => unary(op::ZX16, whole),
                    (_, Size::Four) => unary(op::ZX32, whole),
                };
                widened(&kind, narrow)
            }
            Place::Register(register) => read_register(register),
            Place::Memory(address, _) if kind.is_aggregate() => address.clone(),
            Place::Memory(address, _) => {
                widened(&kind, hir::Expr::Load(Space::Virtual, width(&kind), Box::new(address.clone())))
            }
        };
        Value { expr, kind }
    }

    /// Writes a converted value; the result is that value.
    pub(super) fn store(&self, place: Place, value: hir::Expr) -> hir::Expr {
        let boxed = Box::new;
        match place {
            Place::Local(slot, _) => hir::Expr::SetLocal(slot, boxed(value)),
            Place::Global(cell, Type::Float) => {
                unary(op::F_WIDEN, hir::Expr::SetGlobal(cell, boxed(unary(op::F_NARROW, value))))
            }
            Place::Global(cell, _) => hir::Expr::SetGlobal(cell, boxed(value)),
            Place::Memory(address, Type::Float) => {
                let bits = unary(op::F_NARROW, value);
                unary(op::F_WIDEN, hir::Expr::Store(Space::Virtual, Size::Four, boxed(address), boxed(bits)))
            }
            Place::Memory(address, kind) => hir::Expr::Store(Space::Virtual, width(&kind), boxed(address), boxed(value)),
            Place::Register(register) => write_register(&register, value),
        }
    }

    /// Converts a value and writes it; a struct is copied.
    pub(super) fn assigned(&mut self, place: Place, value: Value, span: Span) -> Checked<hir::Expr> {
        let kind = place.kind().clone();
        match (place, &kind) {
            (Place::Memory(address, _), Type::Struct(_)) => {
                if value.kind != kind {
                    let (from, to) = (self.name(&value.kind), self.name(&kind));
                    return self.wrong(span, format!("{from} is no {to}"));
                }
                let bytes = hir::Expr::Const(self.size(&kind));
                Ok(hir::Expr::System(script_vm::system::MEMCPY, vec![address, value.expr, bytes]))
            }
            (_, Type::Array(..)) => self.wrong(span, "an array cannot be assigned whole: use memcpy"),
            (place, _) => {
                let value = self.convert(value, &kind, span)?;
                Ok(self.store(place, value.expr))
            }
        }
    }

    pub(super) fn assignment(&mut self, op: Option<BinaryOp>, left: &Expr<'s>, right: &Expr<'s>, span: Span) -> Checked<Value> {
        let Some(op) = op else {
            // The right side first: in `x = x + 1` the first mention of x is a read.
            let value = self.value(right);
            let place = self.place(left, true)?;
            let kind = place.kind().clone();
            let expr = self.assigned(place, value?, right.span)?;
            return Ok(Value { expr, kind });
        };
        let place = self.place(left, false).and_then(|place| self.writable(place, left.span))?;
        let (first, place) = self.once(place, left.span)?;
        let old = self.load(&place);
        let right_value = self.scalar(right)?;
        let new = self.binary(op, old, right_value, left.span, right.span, span)?;
        let kind = place.kind().clone();
        let stored = self.assigned(place, new, span)?;
        Ok(Value { expr: sequence(first, stored), kind })
    }

    fn writable(&mut self, place: Place, span: Span) -> Checked<Place> {
        if place.kind().is_aggregate() {
            let name = self.name(place.kind());
            return self.wrong(span, format!("{name} is no number"));
        }
        Ok(place)
    }

    /// A place whose address is computed once, and what computes it.
    fn once(&mut self, place: Place, span: Span) -> Checked<(Option<hir::Expr>, Place)> {
        match place {
            Place::Memory(address, kind) if !matches!(address, hir::Expr::Address(_) | hir::Expr::Const(_)) => {
                let slot = self.slot(span)?;
                let first = hir::Expr::SetLocal(slot, Box::new(address));
                Ok((Some(first), Place::Memory(hir::Expr::Local(slot), kind)))
            }
            place => Ok((None, place)),
        }
    }

    /// `++` and `--`.
    pub(super) fn count(&mut self, up: bool, new_is_meant: bool, counted: &Expr<'s>, span: Span) -> Checked<Value> {
        let place = self.place(counted, false).and_then(|place| self.writable(place, counted.span))?;
        let (first, place) = self.once(place, counted.span)?;
        let kind = place.kind().clone();
        let one = || Value::untyped(hir::Expr::Const(1));
        let there = if up { BinaryOp::Add } else { BinaryOp::Sub };
        let back = if up { BinaryOp::Sub } else { BinaryOp::Add };
        let old = self.load(&place);
        if new_is_meant
            || matches!(kind, Type::Int { .. } | Type::Untyped | Type::Pointer(_)) && !matches!(place, Place::Register(_))
        {
            let new = self.binary(there, old, one(), span, span, span)?;
            let stored = self.assigned(place, new, span)?;
            let mut value = Value { expr: sequence(first, stored), kind: kind.clone() };
            if !new_is_meant {
                // The old value again: whoever does not need it pays nothing for it.
                let old = self.binary(back, value, one(), span, span, span)?;
                value = self.convert(old, &kind, span)?;
            }
            return Ok(value);
        }
        let slot = self.slot(span)?;
        let keep = hir::Expr::SetLocal(slot, Box::new(old.expr));
        let kept = Value { expr: hir::Expr::Local(slot), kind: kind.clone() };
        let new = self.binary(there, kept, one(), span, span, span)?;
        let stored = self.assigned(place, new, span)?;
        let written = hir::Expr::Seq(Box::new(keep), Box::new(stored));
        let expr = hir::Expr::Seq(Box::new(sequence(first, written)), Box::new(hir::Expr::Local(slot)));
        Ok(Value { expr, kind })
    }

    /// `&x` and `reference(x)`.
    pub(super) fn address_of(&mut self, of: &Expr<'s>) -> Checked<Value> {
        match self.place(of, false)? {
            Place::Memory(address, kind) => {
                let kind = match kind {
                    Type::Array(of, _) => Type::Pointer(of),
                    other => super::stmt::pointer(&other),
                };
                Ok(Value { expr: address, kind })
            }
            Place::Global(cell, kind) => {
                let address = hir::Expr::Const(script_vm::GLOBALS + 8 * u64::from(cell));
                Ok(Value { expr: address, kind: super::stmt::pointer(&kind) })
            }
            Place::Register(_) => self.wrong(of.span, "a register has no address"),
            Place::Local(..) => self.wrong(of.span, "this has no address"),
        }
    }
}

fn sequence(first: Option<hir::Expr>, then: hir::Expr) -> hir::Expr {
    match first {
        Some(first) => hir::Expr::Seq(Box::new(first), Box::new(then)),
        None => then,
    }
}

fn whole(register: &Register) -> hir::Expr {
    match register.whole {
        Whole::Gpr(number) => hir::Expr::Gpr(number),
        Whole::Special(special) => hir::Expr::Special(special as u8),
    }
}

/// What a register holds.
pub(super) fn read_register(register: &Register) -> hir::Expr {
    match register.bits {
        None => whole(register),
        Some((start, width)) => hir::Expr::Bits(start, width, Box::new(whole(register))),
    }
}

fn write_register(register: &Register, value: hir::Expr) -> hir::Expr {
    let new = match (register.bits, register.whole) {
        (None, _) => value,
        // As the processor does: 32 bits clear the upper half, 8 and 16 leave the rest.
        (Some((0, 32)), Whole::Gpr(_)) => unary(op::ZX32, value),
        (Some((start, width)), _) => hir::Expr::SetBits(start, width, Box::new(whole(register)), Box::new(value)),
    };
    let written = match register.whole {
        Whole::Gpr(number) => hir::Expr::SetGpr(number, Box::new(new)),
        Whole::Special(special) => hir::Expr::SetSpecial(special as u8, Box::new(new)),
    };
    match register.bits {
        Some((start, width)) if (start, width) != (0, 32) => hir::Expr::Bits(start, width, Box::new(written)),
        _ => written,
    }
}
