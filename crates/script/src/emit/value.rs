//! Values.

use super::{Emitter, byte};
use crate::hir::{Compare, Expr, Order};
use script_vm::{Size, Space, op};

/// Whether evaluating an expression writes a variable.
pub(super) fn writes(expr: &Expr, slot: u16) -> bool {
    match expr {
        Expr::SetLocal(written, value) => *written == slot || writes(value, slot),
        Expr::Const(_)
        | Expr::Local(_)
        | Expr::Global(_)
        | Expr::Gpr(_)
        | Expr::Special(_)
        | Expr::Pseudo(_)
        | Expr::Buffer
        | Expr::Address(_) => false,
        Expr::SetGlobal(_, a)
        | Expr::AddGlobal(_, a)
        | Expr::SetGpr(_, a)
        | Expr::SetSpecial(_, a)
        | Expr::Bits(_, _, a)
        | Expr::Load(_, _, a)
        | Expr::Unary(_, a)
        | Expr::Not(a) => writes(a, slot),
        Expr::SetBits(_, _, a, b)
        | Expr::Store(_, _, a, b)
        | Expr::Binary(_, a, b)
        | Expr::Compare(_, _, a, b)
        | Expr::And(a, b)
        | Expr::Or(a, b)
        | Expr::Seq(a, b) => writes(a, slot) || writes(b, slot),
        Expr::Call(_, arguments) | Expr::System(_, arguments) => arguments.iter().any(|argument| writes(argument, slot)),
    }
}

const fn with_immediate(op: u8) -> Option<u8> {
    Some(match op {
        op::ADD => op::ADD_I,
        op::MUL => op::MUL_I,
        op::AND => op::AND_I,
        op::OR => op::OR_I,
        op::XOR => op::XOR_I,
        op::SHL => op::SHL_I,
        op::SHR => op::SHR_I,
        op::SAR => op::SAR_I,
        _ => return None,
    })
}

fn small(value: u64) -> Option<i32> {
    i32::try_from(value.cast_signed()).ok()
}

const fn access(space: Space, size: Size, store: bool) -> u8 {
    let first = match (space, store) {
        (Space::Virtual, false) => op::LOAD8,
        (Space::Virtual, true) => op::STORE8,
        (Space::Physical, false) => op::LOAD8_P,
        (Space::Physical, true) => op::STORE8_P,
    };
    first
        + match size {
            Size::One => 0,
            Size::Two => 1,
            Size::Four => 2,
            Size::Eight => 3,
        }
}

impl Emitter {
    /// The register of a value: a variable's own, or one above.
    pub(super) fn operand(&mut self, expr: &Expr) -> u8 {
        match expr {
            Expr::Local(slot) => byte(*slot),
            _ => self.copied(expr),
        }
    }

    /// A value in a register that nobody else writes.
    pub(super) fn copied(&mut self, expr: &Expr) -> u8 {
        let register = self.temporary();
        self.value(expr, register);
        register
    }

    /// Left operand, with `right` still to come. `dest` may serve if it is no variable (E1).
    fn left(&mut self, left: &Expr, right: &Expr, dest: u8) -> u8 {
        match left {
            Expr::Local(slot) if !writes(right, *slot) => byte(*slot),
            _ if u16::from(dest) >= self.locals => {
                self.value(left, dest);
                dest
            }
            _ => self.copied(left),
        }
    }

    /// An address and what is added to it.
    fn address(expr: &Expr) -> (&Expr, i32) {
        if let Expr::Binary(op::ADD, base, offset) = expr
            && let Expr::Const(offset) = **offset
            && let Some(offset) = small(offset)
        {
            return (base, offset);
        }
        (expr, 0)
    }

    /// Evaluates for the effect alone.
    pub(super) fn effect(&mut self, expr: &Expr) {
        let save = self.top;
        match expr {
            Expr::Const(_)
            | Expr::Local(_)
            | Expr::Global(_)
            | Expr::Gpr(_)
            | Expr::Special(_)
            | Expr::Pseudo(_)
            | Expr::Buffer
            | Expr::Address(_) => {}
            Expr::Unary(_, inner) | Expr::Bits(_, _, inner) | Expr::Not(inner) => self.effect(inner),
            Expr::Binary(op, left, right) if !matches!(*op, op::DIV_U | op::DIV_S | op::REM_U | op::REM_S) => {
                self.effect(left);
                self.effect(right);
            }
            Expr::Compare(_, _, left, right) | Expr::SetBits(_, _, left, right) => {
                self.effect(left);
                self.effect(right);
            }
            Expr::And(left, right) | Expr::Or(left, right) => {
                let skip = self.label();
                self.branch(left, matches!(expr, Expr::Or(..)), skip);
                if self.reachable {
                    self.effect(right);
                }
                self.place(skip);
            }
            Expr::Seq(first, then) => {
                self.effect(first);
                self.effect(then);
            }
            Expr::SetLocal(slot, value) => self.value(value, byte(*slot)),
            Expr::SetGlobal(cell, value) => {
                let register = self.operand(value);
                self.push_half(op::SET_GLOBAL, register, *cell, 0);
            }
            Expr::AddGlobal(cell, value) => match **value {
                Expr::Const(value) if small(value).is_some() => {
                    self.push_half(op::ADD_GLOBAL_I, 0, *cell, small(value).unwrap_or(0));
                }
                _ => {
                    let register = self.operand(value);
                    self.push_half(op::ADD_GLOBAL, register, *cell, 0);
                }
            },
            Expr::SetGpr(number, value) => {
                let register = self.operand(value);
                self.push(op::SET_GPR, register, *number, 0, 0);
            }
            Expr::SetSpecial(number, value) => {
                let register = self.operand(value);
                self.push(op::SET_SPECIAL, register, *number, 0, 0);
            }
            Expr::Store(space, size, address, value) => {
                self.store(*space, *size, address, value);
            }
            _ => {
                self.copied(expr);
            }
        }
        self.top = save;
    }

    /// Writes memory; the register of what was written.
    fn store(&mut self, space: Space, size: Size, address: &Expr, value: &Expr) -> u8 {
        let (base, offset) = Self::address(address);
        let base = match base {
            Expr::Local(slot) if !writes(value, *slot) => byte(*slot),
            other => self.copied(other),
        };
        let register = self.operand(value);
        self.push(access(space, size, true), register, base, 0, offset);
        register
    }

    fn moved(&mut self, dest: u8, from: u8) {
        if dest != from {
            self.push(op::MOVE, dest, from, 0, 0);
        }
    }

    /// Computes a value into a register.
    pub(super) fn value(&mut self, expr: &Expr, dest: u8) {
        let save = self.top;
        match expr {
            Expr::Const(value) => match small(*value) {
                Some(value) => self.push(op::LOAD_I, dest, 0, 0, value),
                None => {
                    let at = self.constant(*value);
                    self.push(op::LOAD_K, dest, 0, 0, at.cast_signed());
                }
            },
            Expr::Local(slot) => self.moved(dest, byte(*slot)),
            Expr::Global(cell) => self.push_half(op::GET_GLOBAL, dest, *cell, 0),
            Expr::Gpr(number) => self.push(op::GET_GPR, dest, *number, 0, 0),
            Expr::Special(number) => self.push(op::GET_SPECIAL, dest, *number, 0, 0),
            Expr::Pseudo(number) => self.push(op::GET_PSEUDO, dest, *number, 0, 0),
            Expr::Buffer => self.push(op::GET_BUFFER, dest, 0, 0, 0),
            Expr::Address(offset) => self.push(op::ADDRESS, dest, 0, 0, i32::try_from(*offset).unwrap_or(0)),
            Expr::Unary(op, operand) => {
                let register = self.left(operand, &Expr::Const(0), dest);
                self.push(*op, dest, register, 0, 0);
            }
            Expr::Bits(start, width, operand) => {
                let register = self.left(operand, &Expr::Const(0), dest);
                self.push(op::GET_BITS, dest, register, 0, i32::from(*start) | i32::from(*width) << 8);
            }
            Expr::SetBits(start, width, into, value) => {
                let room = if u16::from(dest) >= self.locals { dest } else { self.temporary() };
                self.value(into, room);
                let register = self.operand(value);
                self.push(op::SET_BITS, room, register, 0, i32::from(*start) | i32::from(*width) << 8);
                self.moved(dest, room);
            }
            Expr::Binary(op, left, right) => {
                let a = self.left(left, right, dest);
                match (&**right, with_immediate(*op)) {
                    (Expr::Const(value), Some(op)) if small(*value).is_some() => {
                        self.push(op, dest, a, 0, small(*value).unwrap_or(0));
                    }
                    _ => {
                        let b = self.operand(right);
                        self.push(*op, dest, a, b, 0);
                    }
                }
            }
            Expr::Compare(how, order, left, right) => {
                let a = self.left(left, right, dest);
                let b = self.operand(right);
                let (how, a, b) = match how {
                    Compare::Gt => (Compare::Lt, b, a),
                    Compare::Ge => (Compare::Le, b, a),
                    other => (*other, a, b),
                };
                let op = match (how, order) {
                    (Compare::Eq, Order::Float) => op::F_EQ,
                    (Compare::Ne, Order::Float) => op::F_NE,
                    (Compare::Lt, Order::Float) => op::F_LT,
                    (_, Order::Float) => op::F_LE,
                    (Compare::Eq, _) => op::SET_EQ,
                    (Compare::Ne, _) => op::SET_NE,
                    (Compare::Lt, Order::Signed) => op::SET_LT,
                    (Compare::Lt, Order::Unsigned) => op::SET_LT_U,
                    (_, Order::Signed) => op::SET_LE,
                    (_, Order::Unsigned) => op::SET_LE_U,
                };
                self.push(op, dest, a, b, 0);
            }
            Expr::Not(_) | Expr::And(..) | Expr::Or(..) => {
                let (no, end) = (self.label(), self.label());
                self.branch(expr, false, no);
                if self.reachable {
                    self.push(op::LOAD_I, dest, 0, 0, 1);
                    self.jump_to(end);
                }
                self.place(no);
                if self.reachable {
                    self.push(op::LOAD_I, dest, 0, 0, 0);
                }
                self.place(end);
            }
            Expr::Load(space, size, address) => {
                let (base, offset) = Self::address(address);
                let register = self.left(base, &Expr::Const(0), dest);
                self.push(access(*space, *size, false), dest, register, 0, offset);
            }
            Expr::Store(space, size, address, value) => {
                let register = self.store(*space, *size, address, value);
                self.moved(dest, register);
            }
            Expr::SetLocal(slot, value) => {
                self.value(value, byte(*slot));
                self.moved(dest, byte(*slot));
            }
            Expr::SetGlobal(cell, value) => {
                let register = self.operand(value);
                self.push_half(op::SET_GLOBAL, register, *cell, 0);
                self.moved(dest, register);
            }
            Expr::AddGlobal(cell, value) => {
                let register = self.copied(value);
                self.push_half(op::ADD_GLOBAL_GET, register, *cell, 0);
                self.moved(dest, register);
            }
            Expr::SetGpr(number, value) => {
                let register = self.operand(value);
                self.push(op::SET_GPR, register, *number, 0, 0);
                self.moved(dest, register);
            }
            Expr::SetSpecial(number, value) => {
                let register = self.operand(value);
                self.push(op::SET_SPECIAL, register, *number, 0, 0);
                self.moved(dest, register);
            }
            Expr::Call(number, arguments) => {
                // The register before the arguments takes the link, then the result.
                let link =
                    if u16::from(dest) >= self.locals && u16::from(dest) + 1 == self.top { dest } else { self.temporary() };
                for argument in arguments {
                    self.copied(argument);
                }
                self.push(op::CALL, link, 0, 0, i32::from(*number));
                self.moved(dest, link);
            }
            Expr::System(number, arguments) => {
                let first = byte(self.top);
                for argument in arguments {
                    self.copied(argument);
                }
                let count = u8::try_from(arguments.len()).unwrap_or(0);
                let first = if count == 0 { 0 } else { first };
                self.push(op::SYSTEM, dest, first, count, number.cast_signed());
            }
            Expr::Seq(first, then) => {
                self.effect(first);
                self.value(then, dest);
            }
        }
        self.top = save;
    }
}
