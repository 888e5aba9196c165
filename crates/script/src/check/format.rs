//! `printf`: its format is read and checked here, once; root gets pieces.

use super::{Checked, Checker};
use crate::ast::{Expr, ExprKind};
use crate::diagnostic::Trouble;
use crate::hir::Piece;
use crate::source::Span;
use crate::types::Type;
use script_vm::Spec;

/// A conversion, and its bytes in the format.
fn conversion(format: &[u8]) -> Option<(Spec, usize)> {
    let mut spec = Spec { bits: 32, ..Spec::plain(b'd') };
    let mut at = 1;
    while let Some(flag) = format.get(at) {
        match flag {
            b'-' => spec.left = true,
            b'0' => spec.zeros = true,
            b'+' => spec.plus = true,
            b'#' => spec.prefix = true,
            _ => break,
        }
        at += 1;
    }
    let number = |at: &mut usize| -> Option<Option<u8>> {
        let start = *at;
        while format.get(*at).is_some_and(u8::is_ascii_digit) {
            *at += 1;
        }
        if start == *at {
            return Some(None);
        }
        // 255 says that there is none.
        let digits = std::str::from_utf8(&format[start..*at]).ok()?;
        Some(Some(digits.parse().ok().filter(|number| *number < u8::MAX)?))
    };
    spec.width = number(&mut at)?.unwrap_or(0);
    if format.get(at) == Some(&b'.') {
        at += 1;
        spec.precision = Some(number(&mut at)?.unwrap_or(0));
    }
    let mut wide = false;
    let rest = &format[at.min(format.len())..];
    let (length, bits) = match rest {
        [b'l', b'l', ..] => (2, 64),
        [b'h', b'h', ..] => (2, 8),
        [b'h', ..] => (1, 16),
        [b'l' | b'w', ..] => {
            wide = true;
            (1, 64)
        }
        _ => (0, 32),
    };
    at += length;
    spec.bits = bits;
    let what = *format.get(at)?;
    spec.what = match what {
        b'd' | b'i' => b'd',
        b'u' | b'x' | b'X' | b'o' | b'f' => what,
        b'c' => {
            spec.bits = 8;
            what
        }
        b'p' => {
            spec.bits = 64;
            what
        }
        b's' if wide => b'w',
        b's' => what,
        _ => return None,
    };
    if spec.what == b'f' {
        spec.bits = 64;
    }
    Some((spec, at + 1))
}

impl<'s> Checker<'s, '_> {
    pub(super) fn printf(&mut self, arguments: &[Expr<'s>], span: Span) -> Checked<Vec<Piece>> {
        let Some((format, values)) = arguments.split_first() else {
            return self.tell(Trouble::new(span, "printf takes a format").help("printf(\"%llx\\n\", @rax);"));
        };
        let ExprKind::Text(index) = format.kind else {
            return self.tell(Trouble::new(format.span, "the format must be a string in quotes").help("printf(\"%s\", …)"));
        };
        let texts = self.texts;
        let bytes = texts.get(index).map_or(&[][..], Vec::as_slice);
        let mut values = values.iter();
        let mut pieces = Vec::new();
        let mut plain: Vec<u8> = Vec::new();
        let (mut at, mut wanted) = (0, 0_usize);
        while let Some(byte) = bytes.get(at) {
            if *byte != b'%' || bytes.get(at + 1) == Some(&b'%') {
                plain.push(*byte);
                at += if *byte == b'%' { 2 } else { 1 };
                continue;
            }
            let Some((spec, length)) = conversion(&bytes[at..]) else {
                let shown: String = String::from_utf8_lossy(&bytes[at..]).chars().take(6).collect();
                let trouble = Trouble::new(format.span, format!("`{shown}` begins with no conversion that there is"));
                return self.tell(trouble.help("%d %u %x %llx %c %s %ws %p %f %%"));
            };
            if !plain.is_empty() {
                pieces.push(self.piece(&std::mem::take(&mut plain)));
            }
            wanted += 1;
            at += length;
            if let Some(value) = values.next() {
                pieces.push(self.converted(spec, value)?);
            }
        }
        if !plain.is_empty() {
            pieces.push(self.piece(&plain));
        }
        let given = arguments.len() - 1;
        if given != wanted {
            let place = if given > wanted { arguments[wanted + 1].span } else { span };
            return self.wrong(place, format!("the format has {wanted} conversions, {given} values follow it"));
        }
        Ok(pieces)
    }

    fn converted(&mut self, spec: Spec, expr: &Expr<'s>) -> Checked<Piece> {
        let value = self.scalar(expr)?;
        let float = value.kind.is_float();
        if float != (spec.what == b'f') {
            let (kind, help) = (self.name(&value.kind), if float { "%f" } else { "%d or %llx; (double)value is one, too" });
            return self.tell(Trouble::new(expr.span, format!("{kind} does not go with this conversion")).help(help));
        }
        if spec.is_string() && !matches!(value.kind, Type::Pointer(_) | Type::Untyped | Type::Int { bytes: 8, .. }) {
            let kind = self.name(&value.kind);
            return self.wrong(expr.span, format!("a string is named by its address, {kind} is none"));
        }
        Ok(if spec.is_string() { Piece::String(spec, value.expr) } else { Piece::Number(spec, value.expr) })
    }
}
