//! Numeric expressions: hexadecimal by default, with the place of every error.
//!
//! ```text
//! lowest   |   ^   &   << >>   + -   * / %   - ~ +   highest       ( … )   @register   name   module!name
//! 10 0x10 \x10 x10 hex    0n16 \n16 n16 decimal    0t20 0o20 octal    0y1_0000 binary    ffff`0000
//! ```
//! **Holds always**
//! - X1: a number that does not fit 64 bits is an error, never cut and never saturated.
//! - X2: [`Arithmetic::Wrapping`] is that of the script language, modulo 2^64; [`Arithmetic::Count`] refuses any step
//!   whose true result is not a number of units.
//! - X3: no input panics, and nesting is bounded by [`DEPTH_MAX`].
//! - X4: what can be read as a number is one; a name that looks like one is reached by its module, as in `vmlinux!add`.
//!
//! **Cost**: one pass, no allocation but for errors. **Proof**: tests below, `tests/any_input.rs`.

use crate::error::Error as Trouble;
use crate::names::{Named, Nameless};
use crate::registers;
use abi::request::Registers;
use std::ops::Range;

/// Parentheses and signs that may stand inside each other.
pub const DEPTH_MAX: usize = 64;

/// What a step may do beyond 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// It wraps, as in scripts.
    Wrapping,
    /// It is an error: a count is not cut.
    Count,
}

/// What is wrong, and where in the text that was given.
#[derive(Debug)]
pub struct Error {
    /// Byte range.
    pub span: Range<usize>,
    /// What.
    pub kind: Kind,
}

/// What is wrong with an expression.
#[derive(Debug)]
pub enum Kind {
    /// There is nothing to evaluate.
    Empty,
    /// A word that is no number in any radix.
    NotANumber(String),
    /// A word that is no number and no name.
    NoName {
        /// The word.
        word: String,
        /// A name that is spelt much the same.
        near: Option<String>,
        /// No names are known, for this reason.
        nameless: Option<Box<Nameless>>,
    },
    /// A name that stands for several addresses.
    Ambiguous {
        /// The name.
        word: String,
        /// Each address, with the name as it is typed where it is told apart by that.
        places: Vec<(u64, String)>,
    },
    /// A number with a character that its radix does not have.
    NotADigit {
        /// The character.
        digit: char,
        /// 2, 8, 10 or 16.
        radix: u32,
        /// The number with its prefix replaced, if it is one in hex.
        hex: Option<String>,
    },
    /// More than 64 bits.
    TooLarge,
    /// A count below zero.
    Negative,
    /// A step of a count whose result does not fit.
    Overflow,
    /// The right side of `/` or `%` is zero.
    DivideByZero,
    /// Something else had to stand here.
    Expected(Expected),
    /// More than [`DEPTH_MAX`] levels.
    TooDeep,
    /// There is no such register.
    NoRegister(String),
    /// The registers could not be read.
    Registers(Box<Trouble>),
}

/// What had to stand where something else stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A number, a register or an opening parenthesis.
    Value,
    /// A closing parenthesis.
    Closing,
    /// An operator or the end.
    Operator,
}

/// What an expression may mention.
pub trait World {
    /// The registers; asked for once, and only if one is named.
    ///
    /// # Errors
    /// Why they cannot be read.
    fn registers(&mut self) -> Result<Registers, Trouble>;

    /// What a name stands for.
    fn named(&mut self, word: &str) -> Named;
}

/// Evaluates a text.
///
/// # Errors
/// See [`Kind`]; the span lies within `text`.
pub fn evaluate(text: &str, arithmetic: Arithmetic, world: &mut dyn World) -> Result<u64, Error> {
    let mut parser = Parser { text, at: 0, arithmetic, depth: 0, world, registers: None };
    parser.blanks();
    if parser.at == text.len() {
        return Err(Error { span: text.len()..text.len(), kind: Kind::Empty });
    }
    let value = parser.binary(0)?;
    match parser.peek() {
        None => Ok(value),
        Some(c) => Err(parser.here(c.len_utf8(), Kind::Expected(Expected::Operator))),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    arithmetic: Arithmetic,
    depth: usize,
    world: &'a mut dyn World,
    registers: Option<Registers>,
}

#[derive(Clone, Copy)]
enum Operator {
    Or,
    Xor,
    And,
    Left,
    Right,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Levels of binary operators, the lowest first.
const LEVELS: &[&[(&str, Operator)]] = &[
    &[("|", Operator::Or)],
    &[("^", Operator::Xor)],
    &[("&", Operator::And)],
    &[("<<", Operator::Left), (">>", Operator::Right)],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)],
];

impl Parser<'_> {
    fn binary(&mut self, level: usize) -> Result<u64, Error> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        loop {
            self.blanks();
            let rest = &self.text[self.at..];
            let Some((sign, operator)) = operators.iter().find(|(sign, _)| rest.starts_with(sign)) else { return Ok(left) };
            let sign_span = self.at..self.at + sign.len();
            self.at += sign.len();
            let right_start = self.at;
            let right = self.binary(level + 1)?;
            let right_span = self.trimmed(right_start..self.at);
            left = self.apply(left, *operator, right).map_err(|kind| {
                let span = if matches!(kind, Kind::DivideByZero) { right_span } else { sign_span };
                Error { span, kind }
            })?;
        }
    }

    fn apply(&self, a: u64, operator: Operator, b: u64) -> Result<u64, Kind> {
        let wraps = self.arithmetic == Arithmetic::Wrapping;
        let shift = u32::try_from(b).ok().filter(|bits| *bits < 64);
        let (wrapped, exact) = match operator {
            Operator::Or => (a | b, Some(a | b)),
            Operator::Xor => (a ^ b, Some(a ^ b)),
            Operator::And => (a & b, Some(a & b)),
            Operator::Right => {
                let moved = shift.map_or(0, |bits| a >> bits);
                (moved, Some(moved))
            }
            Operator::Left => {
                let moved = shift.map_or(0, |bits| a << bits);
                (moved, shift.map_or(a == 0, |bits| moved >> bits == a).then_some(moved))
            }
            Operator::Add => (a.wrapping_add(b), a.checked_add(b)),
            Operator::Subtract if !wraps && a < b => return Err(Kind::Negative),
            Operator::Subtract => (a.wrapping_sub(b), a.checked_sub(b)),
            Operator::Multiply => (a.wrapping_mul(b), a.checked_mul(b)),
            Operator::Divide | Operator::Remainder if b == 0 => return Err(Kind::DivideByZero),
            Operator::Divide => (a / b, Some(a / b)),
            Operator::Remainder => (a % b, Some(a % b)),
        };
        if wraps { Ok(wrapped) } else { exact.ok_or(Kind::Overflow) }
    }

    fn unary(&mut self) -> Result<u64, Error> {
        self.depth += 1;
        let value = self.unary_at_depth();
        self.depth -= 1;
        value
    }

    fn unary_at_depth(&mut self) -> Result<u64, Error> {
        let Some(c) = self.peek() else { return Err(self.here(0, Kind::Expected(Expected::Value))) };
        if self.depth > DEPTH_MAX {
            return Err(self.here(c.len_utf8(), Kind::TooDeep));
        }
        let start = self.at;
        match c {
            '+' => {
                self.at += 1;
                self.unary()
            }
            '-' => {
                self.at += 1;
                let value = self.unary()?;
                match self.arithmetic {
                    Arithmetic::Wrapping => Ok(value.wrapping_neg()),
                    Arithmetic::Count => Err(Error { span: start..self.at, kind: Kind::Negative }),
                }
            }
            '~' => {
                self.at += 1;
                Ok(!self.unary()?)
            }
            '(' => {
                self.at += 1;
                let value = self.binary(0)?;
                match self.peek() {
                    Some(')') => {
                        self.at += 1;
                        Ok(value)
                    }
                    Some(c) => Err(self.here(c.len_utf8(), Kind::Expected(Expected::Closing))),
                    None => Err(Error { span: start..start + 1, kind: Kind::Expected(Expected::Closing) }),
                }
            }
            '@' => self.register(),
            c if part_of_word(c) => {
                let word = self.word().to_owned();
                let (span, kind) = match number(&word) {
                    Ok(value) => return Ok(value),
                    Err(wrong) => wrong,
                };
                // A count is a number, and so is what begins like one.
                let is_name = self.arithmetic == Arithmetic::Wrapping
                    && !c.is_ascii_digit()
                    && !registers::is_register(&word)
                    && matches!(kind, Kind::NotANumber(_) | Kind::NotADigit { .. });
                if is_name {
                    return self.named(word, start);
                }
                Err(Error { span: start + span.start..start + span.end, kind })
            }
            c => Err(self.here(c.len_utf8(), Kind::Expected(Expected::Value))),
        }
    }

    fn named(&mut self, word: String, start: usize) -> Result<u64, Error> {
        let kind = match self.world.named(&word) {
            Named::Address(address) => return Ok(address),
            Named::Several(places) => Kind::Ambiguous { word, places },
            Named::Nothing { near, nameless } => Kind::NoName { word, near, nameless },
        };
        Err(Error { span: start..self.at, kind })
    }

    fn register(&mut self) -> Result<u64, Error> {
        let start = self.at;
        self.at += 1;
        let name = self.word().to_owned();
        let span = start..self.at;
        if !registers::is_register(&name) {
            return Err(Error { span, kind: Kind::NoRegister(name) });
        }
        if self.registers.is_none() {
            let fetched = self.world.registers();
            self.registers = Some(fetched.map_err(|e| Error { span: span.clone(), kind: Kind::Registers(Box::new(e)) })?);
        }
        let value = self.registers.as_ref().and_then(|all| registers::read(all, &name));
        value.ok_or(Error { span, kind: Kind::NoRegister(name) })
    }

    fn word(&mut self) -> &str {
        let start = self.at;
        self.at += self.text[start..].find(|c| !part_of_word(c)).unwrap_or(self.text.len() - start);
        &self.text[start..self.at]
    }

    fn blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn peek(&mut self) -> Option<char> {
        self.blanks();
        self.text[self.at..].chars().next()
    }

    fn trimmed(&self, span: Range<usize>) -> Range<usize> {
        let text = &self.text[span.clone()];
        let start = span.start + (text.len() - text.trim_start().len());
        start..start + text.trim().len()
    }

    fn here(&self, bytes: usize, kind: Kind) -> Error {
        Error { span: self.at..self.at + bytes, kind }
    }
}

fn part_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '`' | '_' | '\\' | '.' | '!' | '$' | '#' | ':')
}

/// Reads one number with its prefix.
fn number(word: &str) -> Result<u64, (Range<usize>, Kind)> {
    let not_a_number = || (0..word.len(), Kind::NotANumber(word.to_owned()));
    let (radix, prefix) = prefix(word);
    let digits = &word[prefix..];
    if !digits.chars().any(|c| c.is_digit(radix)) {
        return Err(not_a_number());
    }
    let mut value = 0_u64;
    for (at, c) in digits.char_indices() {
        if c == '`' {
            continue;
        }
        let Some(digit) = c.to_digit(radix) else {
            let plain: String = digits.chars().filter(|c| *c != '`').collect();
            let hex = u64::from_str_radix(&plain, 16).ok().map(|value| format!("0x{value:x}"));
            let start = prefix + at;
            return Err((start..start + c.len_utf8(), Kind::NotADigit { digit: c, radix, hex }));
        };
        let next = value.checked_mul(u64::from(radix)).and_then(|value| value.checked_add(u64::from(digit)));
        value = next.ok_or((0..word.len(), Kind::TooLarge))?;
    }
    Ok(value)
}

/// Radix and bytes of the prefix.
fn prefix(word: &str) -> (u32, usize) {
    const PREFIXES: [(&str, u32); 9] =
        [("0x", 16), ("\\x", 16), ("x", 16), ("0n", 10), ("\\n", 10), ("n", 10), ("0y", 2), ("0t", 8), ("0o", 8)];
    let begins = |prefix: &str| word.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    PREFIXES.iter().find(|(prefix, _)| begins(prefix)).map_or((16, 0), |(prefix, radix)| (*radix, prefix.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No registers, and a few names.
    struct Little;

    impl World for Little {
        fn registers(&mut self) -> Result<Registers, Trouble> {
            panic!("no register was named")
        }

        fn named(&mut self, word: &str) -> Named {
            match word {
                "sys_call_table" | "x86_init" | "vmlinux!add" => Named::Address(0x1000),
                "read_one" => Named::Several(vec![(1, "read_one".to_owned()), (2, "read_one".to_owned())]),
                _ => Named::Nothing { near: None, nameless: None },
            }
        }
    }

    fn value(text: &str) -> Option<u64> {
        evaluate(text, Arithmetic::Wrapping, &mut Little).ok()
    }

    fn count(text: &str) -> Result<u64, Error> {
        evaluate(text, Arithmetic::Count, &mut Little)
    }

    /// Would catch a prefix that is read in the wrong radix, or not at all (facts A.1, G.2).
    #[test]
    fn every_prefix_has_its_radix_and_hex_needs_none() {
        for text in
            ["10", "0x10", "0X10", "\\x10", "x10", "X10", "0n16", "0N16", "\\n16", "n16", "N16", "0y10000", "0t20", "0o20"]
        {
            assert_eq!(value(text), Some(0x10), "{text}");
        }
        assert_eq!(value("ffffffff`81000000"), Some(0xffff_ffff_8100_0000));
        assert_eq!(value("0b1"), Some(0xb1), "no prefix of ours");
    }

    /// Would catch a bare prefix or separator that counts as zero.
    #[test]
    fn a_prefix_alone_is_no_number() {
        for text in ["n", "x", "0x", "0n", "\\x", "`", "zz", "-", "", "  "] {
            assert_eq!(value(text), None, "{text}");
        }
    }

    /// Would catch saturation, as HyperDbg has it (facts A.1).
    #[test]
    fn a_number_of_seventeen_digits_is_refused() {
        assert_eq!(value("ffffffffffffffff"), Some(u64::MAX));
        assert!(matches!(count("10000000000000000").unwrap_err(), Error { kind: Kind::TooLarge, span } if span == (0..17)));
    }

    /// Would catch a precedence that is not C's for these operators.
    #[test]
    fn operators_bind_as_in_c() {
        assert_eq!(value("1|2^f&1<<1+1*2"), Some(0xb), "1 | (2 ^ (f & (1 << (1 + (1 * 2)))))");
        assert_eq!(value("(1 + 2) * 3"), Some(9));
        assert_eq!(value("0n100 / 3 % 0n10"), Some(3));
        assert_eq!(value("-1"), Some(u64::MAX));
        assert_eq!(value("~0 >> 3c"), Some(0xf));
        assert_eq!(value("8-4-2"), Some(2), "from left to right");
        assert_eq!(value("1 << 40"), Some(0), "a shift by the width or more leaves nothing");
    }

    /// Would catch B.4: a count that wraps to something small.
    #[test]
    fn a_count_never_wraps() {
        assert!(matches!(count("ffffffffffffffff+1").unwrap_err(), Error { kind: Kind::Overflow, span } if span == (16..17)));
        assert!(matches!(count("100000000*100000000").unwrap_err().kind, Kind::Overflow));
        assert!(matches!(count("1<<40").unwrap_err().kind, Kind::Overflow));
        assert!(matches!(count("-1").unwrap_err(), Error { kind: Kind::Negative, span } if span == (0..2)));
        assert!(matches!(count("1-2").unwrap_err().kind, Kind::Negative));
        assert_eq!(count("(4-2)*8").unwrap(), 0x10);
    }

    /// Would catch a caret under the wrong place.
    #[test]
    fn errors_point_at_what_is_wrong() {
        let span = |text| evaluate(text, Arithmetic::Wrapping, &mut Little).unwrap_err().span;
        assert_eq!(span("10 / (2-2)"), 5..10);
        assert_eq!(span("10 + zz"), 5..7);
        assert_eq!(span("0n1f"), 3..4);
        assert_eq!(span("(10"), 0..1);
        assert_eq!(span("10 20"), 3..4);
        assert_eq!(span("10 +"), 4..4);
        assert_eq!(span("@rbz+1"), 0..4);
    }

    /// Would catch a number that is taken for a name, a name that is taken for a number with a slip, and one of several addresses.
    #[test]
    fn a_name_is_what_is_no_number() {
        assert_eq!(value("sys_call_table + 8*2"), Some(0x1010));
        assert_eq!(value("x86_init"), Some(0x1000), "no hex number with a prefix");
        assert_eq!((value("add"), value("vmlinux!add")), (Some(0xadd), Some(0x1000)));
        let error = |text| evaluate(text, Arithmetic::Wrapping, &mut Little).unwrap_err();
        assert!(matches!(error("1 + read_one"), Error { span, kind: Kind::Ambiguous { .. } } if span == (4..12)));
        assert!(matches!(error("nobody+1"), Error { span, kind: Kind::NoName { .. } } if span == (0..6)));
        assert!(matches!(error("0n1f").kind, Kind::NotADigit { .. }), "what begins like a number is one");
        assert!(matches!(count("sys_call_table").unwrap_err().kind, Kind::NotADigit { .. }), "a count is a number");
    }

    /// Would catch a stack that overflows on nested input.
    #[test]
    fn nesting_has_an_end() {
        let text = "(".repeat(100_000);
        assert!(matches!(count(&text).unwrap_err().kind, Kind::TooDeep));
        assert!(matches!(count(&"~".repeat(100_000)).unwrap_err().kind, Kind::TooDeep));
    }
}
