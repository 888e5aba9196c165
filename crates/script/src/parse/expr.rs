//! Expressions.
//!
//! ```text
//! lowest   = += …   ||   &&   == != < <= > >=   |   ^   &   << >>   + -   * / %   - + ~ ! * & ++ -- (type)   () [] . -> ++ --
//! ```

use super::{Parser, Read, remember};
use crate::ast::{BinaryOp, Expr, ExprKind, UnaryOp};
use crate::diagnostic::Trouble;
use crate::lex::Kind;

/// How tight an operator binds, and what it is.
fn binary(sign: &str) -> Option<(u8, BinaryOp)> {
    Some(match sign {
        "||" => (0, BinaryOp::OrElse),
        "&&" => (1, BinaryOp::AndAlso),
        "==" => (2, BinaryOp::Eq),
        "!=" => (2, BinaryOp::Ne),
        "<" => (2, BinaryOp::Lt),
        "<=" => (2, BinaryOp::Le),
        ">" => (2, BinaryOp::Gt),
        ">=" => (2, BinaryOp::Ge),
        "|" => (3, BinaryOp::Or),
        "^" => (4, BinaryOp::Xor),
        "&" => (5, BinaryOp::And),
        "<<" => (6, BinaryOp::Shl),
        ">>" => (6, BinaryOp::Shr),
        "+" => (7, BinaryOp::Add),
        "-" => (7, BinaryOp::Sub),
        "*" => (8, BinaryOp::Mul),
        "/" => (8, BinaryOp::Div),
        "%" => (8, BinaryOp::Rem),
        _ => return None,
    })
}

/// What a compound assignment does besides.
fn compound(sign: &str) -> Option<Option<BinaryOp>> {
    match sign {
        "=" => Some(None),
        "==" | "!=" | "<=" | ">=" => None,
        _ => sign.strip_suffix('=').and_then(binary).map(|(_, op)| Some(op)),
    }
}

impl<'s> Parser<'s, '_> {
    pub(super) fn expression(&mut self) -> Read<Expr<'s>> {
        self.nested(Self::assignment)
    }

    fn assignment(&mut self) -> Read<Expr<'s>> {
        let left = self.binary(0)?;
        let Kind::Sign(sign) = self.peek().kind else { return Ok(left) };
        let Some(op) = compound(sign) else { return Ok(left) };
        self.at += 1;
        remember(&mut self.assigned, &left);
        let right = self.expression()?;
        let span = left.span.to(right.span);
        self.made(ExprKind::Assign(op, Box::new(left), Box::new(right)), span)
    }

    fn binary(&mut self, least: u8) -> Read<Expr<'s>> {
        let mut left = self.unary()?;
        loop {
            let token = self.peek();
            let Kind::Sign(sign) = token.kind else { return Ok(left) };
            let Some((binds, op)) = binary(sign).filter(|(binds, _)| *binds >= least) else { return Ok(left) };
            self.at += 1;
            let right = self.binary(binds + 1)?;
            let span = left.span.to(right.span);
            left = self.made(ExprKind::Binary(op, Box::new(left), Box::new(right)), span)?;
        }
    }

    fn unary(&mut self) -> Read<Expr<'s>> {
        let token = self.peek();
        let start = token.span;
        if token.kind == Kind::Word && self.slice(start) == "sizeof" {
            return self.sizeof();
        }
        let Kind::Sign(sign) = token.kind else { return self.postfix() };
        let op = match sign {
            "-" => UnaryOp::Minus,
            "+" => UnaryOp::Plus,
            "~" => UnaryOp::Complement,
            "!" => UnaryOp::Not,
            "*" => UnaryOp::Deref,
            "&" => UnaryOp::AddressOf,
            "++" | "--" => {
                self.at += 1;
                let counted = self.nested(Self::unary)?;
                remember(&mut self.assigned, &counted);
                let span = start.to(counted.span);
                return self.made(ExprKind::Count(sign == "++", true, Box::new(counted)), span);
            }
            "(" if self.is_type_at(1) => {
                self.at += 1;
                let kind = self.type_name()?;
                self.expect(")")?;
                let value = self.nested(Self::unary)?;
                let span = start.to(value.span);
                return self.made(ExprKind::Cast(kind, Box::new(value)), span);
            }
            _ => return self.postfix(),
        };
        self.at += 1;
        let operand = self.nested(Self::unary)?;
        if op == UnaryOp::AddressOf {
            remember(&mut self.addressed, &operand);
        }
        let span = start.to(operand.span);
        self.made(ExprKind::Unary(op, Box::new(operand)), span)
    }

    fn sizeof(&mut self) -> Read<Expr<'s>> {
        let start = self.next().span;
        self.expect("(")?;
        let kind = if self.is_type() {
            ExprKind::SizeofType(self.type_name()?)
        } else {
            ExprKind::Sizeof(Box::new(self.expression()?))
        };
        self.expect(")")?;
        self.made(kind, start.to(self.last()))
    }

    fn postfix(&mut self) -> Read<Expr<'s>> {
        let mut value = self.primary()?;
        loop {
            let start = value.span;
            let Kind::Sign(sign) = self.peek().kind else { return Ok(value) };
            let kind = match sign {
                "[" => {
                    self.at += 1;
                    let index = self.expression()?;
                    self.expect("]")?;
                    ExprKind::Index(Box::new(value), Box::new(index))
                }
                "." | "->" => {
                    self.at += 1;
                    let name = self.next();
                    if name.kind != Kind::Word {
                        self.at -= 1;
                        return Err(self.unexpected("the name of a field"));
                    }
                    ExprKind::Field(Box::new(value), sign == "->", self.slice(name.span), name.span)
                }
                "++" | "--" => {
                    self.at += 1;
                    remember(&mut self.assigned, &value);
                    ExprKind::Count(sign == "++", false, Box::new(value))
                }
                _ => return Ok(value),
            };
            value = self.made(kind, start.to(self.last()))?;
        }
    }

    fn primary(&mut self) -> Read<Expr<'s>> {
        let token = self.peek();
        let span = token.span;
        let text = self.slice(span);
        let kind = match token.kind {
            Kind::Number(value) => ExprKind::Number(value),
            Kind::Float(value) => ExprKind::Float(value),
            Kind::Text(index) => ExprKind::Text(index),
            Kind::Wide(index) => ExprKind::Wide(index),
            Kind::Register => ExprKind::Register(text.get(1..).unwrap_or("")),
            Kind::Pseudo => ExprKind::Pseudo(text),
            Kind::Global => ExprKind::Global(text),
            Kind::Symbol => ExprKind::Symbol(text),
            Kind::Sign("(") => {
                self.at += 1;
                let mut inner = self.expression()?;
                if !self.is_sign(")") {
                    return self.tell(Trouble::new(span, "this `(` is never closed"));
                }
                self.at += 1;
                inner.span = span.to(self.last());
                return Ok(inner);
            }
            Kind::Word if matches!(self.ahead(1).kind, Kind::Sign("(")) => {
                self.at += 2;
                let mut arguments = Vec::new();
                while !self.is_sign(")") {
                    arguments.push(self.expression()?);
                    if !self.accept(",") {
                        break;
                    }
                }
                if !self.accept(")") {
                    return Err(self.unexpected("`,` or `)`"));
                }
                if let ("reference", [of]) = (text, &arguments[..]) {
                    remember(&mut self.addressed, of);
                }
                return self.made(ExprKind::Call(text, span, arguments), span.to(self.last()));
            }
            Kind::Word => ExprKind::Word(text),
            _ => return Err(self.unexpected("a value")),
        };
        self.at += 1;
        self.made(kind, span)
    }
}
