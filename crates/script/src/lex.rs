//! Text into tokens. Includes are followed here, so the parser sees one script.
//!
//! **Holds always**
//! - L1: a number that does not fit 64 bits is an error, never cut.
//! - L2: no input panics; spans lie on boundaries of characters.

use crate::Resolver;
use crate::diagnostic::Trouble;
use crate::limits::LITERAL_BYTES_MAX;
use crate::source::{Source, Span};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// An integer that begins with a digit, or a character.
    Number(u64),
    /// A number with a dot.
    Float(f64),
    /// A string; its bytes by index.
    Text(usize),
    /// `L"…"`, likewise, as UTF-16LE.
    Wide(usize),
    /// A name or a keyword.
    Word,
    /// `@name`.
    Register,
    /// `$name`.
    Pseudo,
    /// `.name`.
    Global,
    /// `module!name`.
    Symbol,
    /// A sign.
    Sign(&'static str),
    /// The end of all.
    End,
}

/// A token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

/// All tokens of a script.
pub(crate) struct Tokens {
    pub(crate) tokens: Vec<Token>,
    pub(crate) texts: Vec<Vec<u8>>,
}

/// The longest first.
const SIGNS: [&str; 46] = [
    "<<=", ">>=", "...", "==", "!=", "<=", ">=", "&&", "||", "++", "--", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<",
    ">>", "->", "+", "-", "*", "/", "%", "&", "|", "^", "~", "!", "=", "<", ">", "(", ")", "{", "}", "[", "]", ";", ",", ":",
    "?", ".",
];

/// Reads all tokens.
pub(crate) fn lex(source: &mut Source, resolver: &dyn Resolver, troubles: &mut Vec<Trouble>) -> Tokens {
    let end = source.text.len();
    let tokens = Tokens { tokens: Vec::with_capacity(end / 3 + 2), texts: Vec::new() };
    let mut lexer = Lexer { source, resolver, troubles, tokens, at: 0, end };
    lexer.file(0);
    let mut tokens = lexer.tokens;
    let last = span(end, end);
    tokens.tokens.push(Token { kind: Kind::End, span: last });
    tokens
}

fn span(start: usize, end: usize) -> Span {
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Span { start: offset(start), end: offset(end) }
}

struct Lexer<'a> {
    source: &'a mut Source,
    resolver: &'a dyn Resolver,
    troubles: &'a mut Vec<Trouble>,
    tokens: Tokens,
    at: usize,
    end: usize,
}

const fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

const fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

impl Lexer<'_> {
    fn file(&mut self, depth: usize) {
        while let Some(byte) = self.peek(0) {
            let start = self.at;
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'/' if self.peek(1) == Some(b'/') => {
                    while self.peek(0).is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                b'/' if self.peek(1) == Some(b'*') => self.comment(),
                b'#' => self.include(depth),
                b'"' => self.text(start, false),
                b'\'' => self.character(),
                b'L' if self.peek(1) == Some(b'"') => {
                    self.at += 1;
                    self.text(start, true);
                }
                b'0'..=b'9' => self.number(),
                b'@' => self.named(Kind::Register, "a register"),
                b'$' => self.named(Kind::Pseudo, "a pseudo-register"),
                b'.' if self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) && !self.touches_value() => self.number(),
                b'.' if self.peek(1).is_some_and(starts_word) && !self.touches_value() => self.named(Kind::Global, "a global"),
                _ if starts_word(byte) => self.word(),
                _ => self.sign(),
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        let at = self.at + ahead;
        if at < self.end { self.source.text.as_bytes().get(at).copied() } else { None }
    }

    fn push(&mut self, kind: Kind, start: usize) {
        self.tokens.tokens.push(Token { kind, span: span(start, self.at) });
    }

    fn trouble(&mut self, start: usize, message: impl Into<String>) {
        self.troubles.push(Trouble::new(span(start, self.at), message));
    }

    /// Whether a dot here selects a field of what stands directly before it.
    fn touches_value(&self) -> bool {
        self.tokens.tokens.last().is_some_and(|last| {
            let value = matches!(last.kind, Kind::Word | Kind::Global | Kind::Sign(")" | "]"));
            value && last.span.end as usize == self.at
        })
    }

    fn comment(&mut self) {
        let start = self.at;
        match self.source.text[self.at..self.end].find("*/") {
            Some(length) => self.at += length + 2,
            None => {
                self.at += 2;
                self.trouble(start, "this comment has no end");
                self.at = self.end;
            }
        }
    }

    fn word(&mut self) {
        let start = self.at;
        // A number in hex may begin with a letter and have its backtick.
        let hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
        while self.peek(0).is_some_and(in_word) || self.peek(0) == Some(b'`') && hex(self.peek(1)) {
            self.at += 1;
        }
        let symbol = self.peek(0) == Some(b'!') && self.peek(1).is_some_and(starts_word);
        if symbol {
            self.at += 1;
            while self.peek(0).is_some_and(in_word) {
                self.at += 1;
            }
        }
        self.push(if symbol { Kind::Symbol } else { Kind::Word }, start);
    }

    fn named(&mut self, kind: Kind, what: &str) {
        let start = self.at;
        self.at += 1;
        while self.peek(0).is_some_and(in_word) {
            self.at += 1;
        }
        if self.at == start + 1 {
            self.trouble(start, format!("the name of {what} must follow"));
            return;
        }
        self.push(kind, start);
    }

    fn sign(&mut self) {
        let start = self.at;
        let rest = &self.source.text.as_bytes()[self.at..self.end];
        let first = rest.first();
        match SIGNS.iter().find(|sign| sign.as_bytes().first() == first && rest.starts_with(sign.as_bytes())) {
            Some(sign) => {
                self.at += sign.len();
                self.push(Kind::Sign(sign), start);
            }
            None => {
                let character = self.source.text[self.at..].chars().next().unwrap_or(' ');
                self.at += character.len_utf8();
                self.trouble(start, format!("{character:?} means nothing here"));
            }
        }
    }

    fn number(&mut self) {
        let start = self.at;
        let more = |byte: u8| in_word(byte) || byte == b'`';
        while self.peek(0).is_some_and(more) {
            self.at += 1;
        }
        let decimal = self.source.text.as_bytes()[start..self.at].iter().all(u8::is_ascii_digit);
        if decimal && self.peek(0) == Some(b'.') && self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
            while self.peek(0).is_some_and(|byte| byte.is_ascii_digit()) {
                self.at += 1;
            }
            let value = self.source.text[start..self.at].parse().unwrap_or(0.0);
            if self.peek(0) == Some(b'f') {
                self.at += 1;
            }
            self.push(Kind::Float(value), start);
            return;
        }
        match integer(&self.source.text[start..self.at]) {
            Ok(value) => self.push(Kind::Number(value), start),
            Err((at, message)) => {
                let wrong = start + at;
                self.troubles.push(Trouble::new(span(wrong, if at > 0 { wrong + 1 } else { self.at }), message));
                // The parser goes on with some number.
                self.push(Kind::Number(1), start);
            }
        }
    }

    /// One character of a literal; none at its end.
    fn unit(&mut self, quote: u8) -> Option<Unit> {
        let start = self.at;
        let character = self.source.text[self.at..self.end].chars().next()?;
        self.at += character.len_utf8();
        if character == '\n' || character == quote as char {
            self.at = start;
            return None;
        }
        if character != '\\' {
            return Some(Unit::Plain(character));
        }
        let escape = self.source.text[self.at..self.end].chars().next()?;
        self.at += escape.len_utf8();
        Some(Unit::Escaped(match escape {
            'n' => b'\n',
            't' => b'\t',
            'r' => b'\r',
            '0' => 0,
            '\\' | '"' | '\'' => u8::try_from(escape).unwrap_or(0),
            'x' => {
                let digits = |lexer: &Self| lexer.source.text.get(lexer.at..(lexer.at + 2).min(lexer.end)).map(str::to_owned);
                let value = digits(self).and_then(|digits| u8::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 2));
                match value {
                    Some(value) => {
                        self.at += 2;
                        value
                    }
                    None => {
                        self.trouble(start, "\\x needs two hex digits");
                        0
                    }
                }
            }
            _ => {
                self.trouble(start, format!("\\{escape} is no escape; there are \\n \\t \\r \\0 \\\\ \\\" \\xNN"));
                0
            }
        }))
    }

    fn text(&mut self, start: usize, wide: bool) {
        self.at += 1;
        let mut bytes = Vec::new();
        while let Some(unit) = self.unit(b'"') {
            let mut room = [0; 4];
            match unit {
                Unit::Plain(character) if wide => {
                    let mut units = [0; 2];
                    bytes.extend(character.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_le_bytes()));
                }
                Unit::Plain(character) => bytes.extend(character.encode_utf8(&mut room).as_bytes()),
                Unit::Escaped(byte) if wide => bytes.extend([byte, 0]),
                Unit::Escaped(byte) => bytes.push(byte),
            }
        }
        let closed = self.peek(0) == Some(b'"');
        if closed {
            self.at += 1;
        } else {
            self.troubles
                .push(Trouble::new(span(start, start + 1), "this string has no end").help("close it with \" on the same line"));
        }
        if bytes.len() > LITERAL_BYTES_MAX {
            self.trouble(start, format!("a string has {LITERAL_BYTES_MAX} bytes at most"));
            bytes.clear();
        }
        self.tokens.texts.push(bytes);
        let index = self.tokens.texts.len() - 1;
        self.push(if wide { Kind::Wide(index) } else { Kind::Text(index) }, start);
        if !closed {
            // The `;` is in the string: to tell that it is missing would be an echo.
            self.push(Kind::Sign(";"), self.at);
        }
    }

    fn character(&mut self) {
        let start = self.at;
        self.at += 1;
        let unit = self.unit(b'\'');
        let closed = self.peek(0) == Some(b'\'');
        match unit {
            Some(unit) if closed => {
                self.at += 1;
                let value = match unit {
                    Unit::Plain(character) => u64::from(u32::from(character)),
                    Unit::Escaped(byte) => byte.into(),
                };
                self.push(Kind::Number(value), start);
            }
            _ => self.trouble(start, "one character in single quotes is a number; strings stand in double quotes"),
        }
    }

    fn include(&mut self, depth: usize) {
        let start = self.at;
        self.at += 1;
        while self.peek(0).is_some_and(|byte| byte.is_ascii_alphabetic()) {
            self.at += 1;
        }
        if &self.source.text[start..self.at] != "#include" {
            self.trouble(start, "after # only include may stand");
            return;
        }
        while self.peek(0) == Some(b' ') {
            self.at += 1;
        }
        let quote = self.at;
        let rest = &self.source.text[self.at..self.end];
        let name = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')).map(|(name, _)| name.to_owned());
        let Some(name) = name.filter(|name| !name.contains('\n')) else {
            self.troubles.push(Trouble::new(span(start, self.at), "the file's name must follow").help("#include \"file.ds\";"));
            return;
        };
        self.at += name.len() + 2;
        let place = span(quote, self.at);
        while self.peek(0) == Some(b' ') {
            self.at += 1;
        }
        if self.peek(0) == Some(b';') {
            self.at += 1;
        }
        match self.source.include(&name, place, depth, self.resolver) {
            Ok((from, to)) => {
                let here = (self.at, self.end);
                (self.at, self.end) = (from, to);
                self.file(depth + 1);
                (self.at, self.end) = here;
            }
            Err(trouble) => self.troubles.push(trouble),
        }
    }
}

enum Unit {
    Plain(char),
    Escaped(u8),
}

/// An integer with its prefix; where it goes wrong, and how.
pub(crate) fn integer(word: &str) -> Result<u64, (usize, String)> {
    let bytes = word.as_bytes();
    let (radix, skipped) = match bytes {
        [b'0', b'x' | b'X', _, ..] => (16, 2),
        [b'0', b'n' | b'N', _, ..] => (10, 2),
        [b'0', b'y' | b'Y', _, ..] => (2, 2),
        [b'0', b't' | b'T' | b'o' | b'O', _, ..] => (8, 2),
        _ => (16_u32, 0),
    };
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate().skip(skipped).filter(|(_, byte)| **byte != b'`') {
        let Some(digit) = char::from(*byte).to_digit(radix) else {
            return Err((at, format!("{:?} is no digit of a number in base {radix}", char::from(*byte))));
        };
        let next = value.checked_mul(radix.into()).and_then(|value| value.checked_add(digit.into()));
        value = next.ok_or_else(|| (0, format!("{word} has more than 64 bits")))?;
    }
    Ok(value)
}
