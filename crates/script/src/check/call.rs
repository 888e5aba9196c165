//! Calls: of the script's own functions and of the documented ones.

use super::assign::unary;
use super::{Checked, Checker, Value};
use crate::ast::Expr;
use crate::diagnostic::{Trouble, nearest};
use crate::hir::{self, Piece};
use crate::source::Span;
use crate::types::Type;
use script_vm::{Size, Space, Spec, op, system};

/// Reads of memory: name, space, size, bytes to skip.
const READS: [(&str, Space, Size, u64); 12] = [
    ("poi", Space::Virtual, Size::Eight, 0),
    ("db", Space::Virtual, Size::One, 0),
    ("dw", Space::Virtual, Size::Two, 0),
    ("dd", Space::Virtual, Size::Four, 0),
    ("dq", Space::Virtual, Size::Eight, 0),
    ("low", Space::Virtual, Size::Two, 0),
    ("hi", Space::Virtual, Size::Two, 2),
    ("poi_pa", Space::Physical, Size::Eight, 0),
    ("db_pa", Space::Physical, Size::One, 0),
    ("dw_pa", Space::Physical, Size::Two, 0),
    ("dd_pa", Space::Physical, Size::Four, 0),
    ("dq_pa", Space::Physical, Size::Eight, 0),
];

const MORE_READS: [(&str, Space, Size, u64); 2] =
    [("low_pa", Space::Physical, Size::Two, 0), ("hi_pa", Space::Physical, Size::Two, 2)];

/// Writes of memory.
const WRITES: [(&str, Space, Size); 6] = [
    ("eb", Space::Virtual, Size::One),
    ("ed", Space::Virtual, Size::Four),
    ("eq", Space::Virtual, Size::Eight),
    ("eb_pa", Space::Physical, Size::One),
    ("ed_pa", Space::Physical, Size::Four),
    ("eq_pa", Space::Physical, Size::Eight),
];

/// What has syntax of its own.
const OTHERS: [&str; 7] = ["printf", "print", "formats", "test_statement", "neg", "not", "reference"];

/// Records of branches: not on every processor, so not here.
const LBR: [&str; 6] = ["lbr_save", "lbr_print", "lbr_dump", "lbr_check", "lbr_restore", "lbr_restore_by_filter"];

/// The names of all functions of the language.
pub(crate) fn documented() -> impl Iterator<Item = &'static str> {
    let reads = READS.iter().chain(&MORE_READS).map(|read| read.0);
    let writes = WRITES.iter().map(|write| write.0);
    reads.chain(writes).chain(OTHERS).chain(LBR).chain(system::ALL.iter().map(|system| system.name))
}

/// Whether the language has such a function.
pub(super) fn is_documented(name: &str) -> bool {
    documented().any(|known| known == name)
}

impl<'s> Checker<'s, '_> {
    /// A call of a function that prints: its messages. None if it is another.
    pub(super) fn message(&mut self, name: &str, arguments: &[Expr<'s>], span: Span) -> Checked<Option<Vec<Vec<Piece>>>> {
        match name {
            "printf" => Ok(Some(vec![self.printf(arguments, span)?])),
            "print" | "test_statement" | "formats" => {
                let [argument] = arguments else { return self.wrong_count(name, 1, arguments.len(), span) };
                if let crate::ast::ExprKind::Text(_) | crate::ast::ExprKind::Wide(_) = argument.kind {
                    let trouble = Trouble::new(argument.span, format!("{name} takes a number"));
                    return self.tell(trouble.help("printf(\"…\")"));
                }
                let value = self.scalar(argument)?;
                if super::expr::is_label(argument) {
                    let newline = self.piece(b"\n");
                    return Ok(Some(vec![vec![Piece::String(Spec::plain(b's'), value.expr), newline]]));
                }
                let float = value.kind.is_float();
                if name != "formats" {
                    let spec = Spec::plain(if float { b'f' } else { b'x' });
                    let newline = self.piece(b"\n");
                    return Ok(Some(vec![vec![Piece::Number(spec, value.expr), newline]]));
                }
                let slot = self.slot(span)?;
                let mut pieces = Vec::new();
                let mut expr = hir::Expr::SetLocal(slot, Box::new(value.expr));
                let rows: &[(&[u8], u8)] = if float {
                    &[(b"float:   ", b'f'), (b"\nhex:     ", b'x')]
                } else {
                    &[(b"hex:     ", b'x'), (b"\ndecimal: ", b'd'), (b"\noctal:   ", b'o'), (b"\nbinary:  ", b'b')]
                };
                for (label, what) in rows {
                    pieces.push(self.piece(label));
                    pieces.push(Piece::Number(Spec::plain(*what), std::mem::replace(&mut expr, hir::Expr::Local(slot))));
                }
                pieces.push(self.piece(b"\n"));
                Ok(Some(vec![pieces]))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn piece(&mut self, bytes: &[u8]) -> Piece {
        let offset = self.text(bytes, 0);
        Piece::Text(offset, u16::try_from(bytes.len()).unwrap_or(u16::MAX))
    }

    fn wrong_count<T>(&mut self, name: &str, wanted: usize, found: usize, span: Span) -> Checked<T> {
        let plural = if wanted == 1 { "" } else { "s" };
        self.wrong(span, format!("{name} takes {wanted} argument{plural}, {found} stand here"))
    }

    /// Arguments of a documented function: integers and pointers.
    fn integers(&mut self, name: &str, arguments: &[Expr<'s>], wanted: usize, span: Span) -> Checked<Vec<hir::Expr>> {
        if arguments.len() != wanted {
            return self.wrong_count(name, wanted, arguments.len(), span);
        }
        let mut values = Vec::with_capacity(wanted);
        for argument in arguments {
            let value = self.scalar(argument).and_then(|value| self.integer(value, argument.span));
            values.push(value);
        }
        values.into_iter().map(|value| value.map(|value| value.expr)).collect()
    }

    pub(super) fn call(&mut self, name: &'s str, name_span: Span, arguments: &[Expr<'s>], span: Span) -> Checked<Value> {
        if let Some(number) = self.signatures.iter().position(|known| known.name == name) {
            return self.own_call(number, arguments, span);
        }
        if let Some((_, space, size, skipped)) = READS.iter().chain(&MORE_READS).find(|read| read.0 == name) {
            let [address] = <[_; 1]>::try_from(self.integers(name, arguments, 1, span)?).unwrap_or([hir::Expr::Const(0)]);
            let address = self.offset(address, *skipped);
            return Ok(Value::untyped(hir::Expr::Load(*space, *size, Box::new(address))));
        }
        if let Some((_, space, size)) = WRITES.iter().find(|write| write.0 == name) {
            let mut values = self.integers(name, arguments, 2, span)?.into_iter().map(Box::new);
            let nothing = || Box::new(hir::Expr::Const(0));
            let (address, value) = (values.next().unwrap_or_else(nothing), values.next().unwrap_or_else(nothing));
            return Ok(Value { expr: hir::Expr::Store(*space, *size, address, value), kind: Type::Void });
        }
        if let Some((number, known)) = (0..).zip(system::ALL).find(|(_, known)| known.name == name) {
            let values = self.integers(name, arguments, known.arguments.into(), span)?;
            let kind = if known.tells { Type::Untyped } else { Type::Void };
            // Comparisons tell a signed number; everything untyped compares signed.
            return Ok(Value { expr: hir::Expr::System(number, values), kind });
        }
        match name {
            "neg" | "not" => {
                let values = self.integers(name, arguments, 1, span)?;
                let operand = values.into_iter().next().unwrap_or(hir::Expr::Const(0));
                Ok(Value::untyped(unary(if name == "neg" { op::NEG } else { op::NOT }, operand)))
            }
            "reference" => match arguments {
                [of] => {
                    let value = self.address_of(of)?;
                    Ok(Value::untyped(value.expr))
                }
                _ => self.wrong_count(name, 1, arguments.len(), span),
            },
            "printf" | "print" | "formats" | "test_statement" => {
                self.wrong(name_span, format!("{name} tells no value: it stands as a statement of its own"))
            }
            _ if LBR.contains(&name) => {
                self.wrong(name_span, format!("{name} is not here: last branches are not recorded on every processor"))
            }
            _ => {
                let own = self.signatures.iter().map(|known| known.name);
                let near = nearest(name, own.chain(documented().map(|name| -> &str { name }))).map(str::to_owned);
                self.tell(Trouble::new(name_span, format!("there is no function {name}")).maybe(near))
            }
        }
    }

    fn own_call(&mut self, number: usize, arguments: &[Expr<'s>], span: Span) -> Checked<Value> {
        let signature = &self.signatures[number];
        let (name, kinds, returns) = (signature.name, signature.parameters.clone(), signature.returns.clone());
        if arguments.len() != kinds.len() {
            return self.wrong_count(name, kinds.len(), arguments.len(), span);
        }
        let mut values = Vec::with_capacity(kinds.len());
        for (argument, kind) in arguments.iter().zip(&kinds) {
            let value = self.scalar(argument).and_then(|value| self.convert(value, kind, argument.span));
            values.push(value.map(|value| value.expr));
        }
        let values: Checked<Vec<_>> = values.into_iter().collect();
        let number = u16::try_from(number + 1).unwrap_or(u16::MAX);
        Ok(Value { expr: hir::Expr::Call(number, values?), kind: returns })
    }
}
