//! Conversions of `printf`: one number of the compiler's into bytes, in root.
//!
//! No `core::fmt`: that takes stack and brings panics along. Floats are exact: their digits come from integers.
//!
//! **Cost**: a number of n digits O(n), a float up to 1100 bits of integer arithmetic. **Proof**: tests below, against `std`.

use crate::limits::PRINTED_NUMBER_BYTES_MAX;

/// One conversion, checked: `%[flags][width][.precision]what`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// `d u x X o b c p f` for numbers, `s` and `w` (16-bit characters) for strings.
    pub what: u8,
    /// Padded on the right: `-`.
    pub left: bool,
    /// Padded with zeros: `0`.
    pub zeros: bool,
    /// `+`.
    pub plus: bool,
    /// A prefix: `#`.
    pub prefix: bool,
    /// Bits of the number that count: 8, 16, 32 or 64.
    pub bits: u8,
    /// Least characters.
    pub width: u8,
    /// Digits behind the dot, or characters of a string at most.
    pub precision: Option<u8>,
}

const NO_PRECISION: u8 = 0xff;

impl Spec {
    /// A plain conversion of 64 bits.
    #[must_use]
    pub const fn plain(what: u8) -> Self {
        Spec { what, left: false, zeros: false, plus: false, prefix: false, bits: 64, width: 0, precision: None }
    }

    /// As the operand of an instruction.
    #[must_use]
    pub const fn pack(self) -> i32 {
        let size = match self.bits {
            8 => 0,
            16 => 1,
            32 => 2,
            _ => 3,
        };
        let flags = (self.left as u8) | (self.zeros as u8) << 1 | (self.plus as u8) << 2 | (self.prefix as u8) << 3 | size << 4;
        let precision = match self.precision {
            Some(digits) => digits,
            None => NO_PRECISION,
        };
        i32::from_le_bytes([self.what, flags, self.width, precision])
    }

    /// The conversion that an operand names, if it is one.
    #[must_use]
    pub const fn unpack(operand: i32) -> Option<Self> {
        let [what, flags, width, precision] = operand.to_le_bytes();
        if flags >= 1 << 6 {
            return None;
        }
        let precision = if precision == NO_PRECISION { None } else { Some(precision) };
        let (left, zeros, plus, prefix) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0, flags & 8 != 0);
        Some(Spec { what, left, zeros, plus, prefix, bits: 8 << (flags >> 4), width, precision })
    }

    /// Whether it converts numbers.
    #[must_use]
    pub const fn is_number(self) -> bool {
        matches!(self.what, b'd' | b'u' | b'x' | b'X' | b'o' | b'b' | b'c' | b'p' | b'f')
    }

    /// Whether it converts strings.
    #[must_use]
    pub const fn is_string(self) -> bool {
        matches!(self.what, b's' | b'w')
    }

    /// Writes a number.
    #[inline(never)]
    pub fn write(self, value: u64, out: &mut dyn FnMut(&[u8])) {
        let unused = 64 - u32::from(self.bits.clamp(1, 64));
        let value = if self.what == b'f' { value } else { value << unused >> unused };
        let signed = (value << unused).cast_signed() >> unused;
        let (negative, magnitude) =
            if self.what == b'd' && signed < 0 { (true, signed.unsigned_abs()) } else { (false, value) };
        let mut text = Text::new();
        let mut sign: &[u8] = if negative {
            b"-"
        } else if self.plus && matches!(self.what, b'd' | b'f') {
            b"+"
        } else {
            b""
        };
        match self.what {
            b'x' => text.digits(magnitude, 16, b'a'),
            b'X' => text.digits(magnitude, 16, b'A'),
            b'o' => text.digits(magnitude, 8, b'a'),
            b'b' => text.digits(magnitude, 2, b'a'),
            b'p' => {
                text.digits(magnitude, 16, b'a');
                while text.len() < 16 {
                    text.push(b'0');
                }
            }
            b'c' => text.push(value.to_le_bytes()[0]),
            b'f' => {
                if f64::from_bits(value).is_sign_negative() && !f64::from_bits(value).is_nan() {
                    sign = b"-";
                }
                text.float(f64::from_bits(value), self.precision.unwrap_or(6));
            }
            _ => text.digits(magnitude, 10, b'a'),
        }
        if self.prefix && matches!(self.what, b'x' | b'X') {
            sign = b"0x";
        }
        let blank = usize::from(self.width).saturating_sub(text.len().saturating_add(sign.len()));
        let zeros = self.zeros && !self.left && text.is_finite;
        if !self.left && !zeros {
            pad(blank, b' ', out);
        }
        if !sign.is_empty() {
            out(sign);
        }
        if zeros {
            pad(blank, b'0', out);
        }
        out(text.reversed());
        if self.left {
            pad(blank, b' ', out);
        }
    }
}

/// Writes so many bytes of a kind.
pub(crate) fn pad(mut count: usize, byte: u8, out: &mut dyn FnMut(&[u8])) {
    let some = [byte; 16];
    while let Some(part) = some.get(..count.min(some.len())).filter(|part| !part.is_empty()) {
        out(part);
        count = count.saturating_sub(part.len());
    }
}

/// Bytes that come from the last to the first.
struct Text {
    bytes: [u8; PRINTED_NUMBER_BYTES_MAX],
    start: usize,
    is_finite: bool,
}

impl Text {
    const fn new() -> Self {
        Text { bytes: [0; PRINTED_NUMBER_BYTES_MAX], start: PRINTED_NUMBER_BYTES_MAX, is_finite: true }
    }

    const fn len(&self) -> usize {
        PRINTED_NUMBER_BYTES_MAX.saturating_sub(self.start)
    }

    fn reversed(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or(&[])
    }

    fn push(&mut self, byte: u8) {
        let Some(start) = self.start.checked_sub(1) else { return };
        if let Some(place) = self.bytes.get_mut(start) {
            *place = byte;
            self.start = start;
        }
    }

    fn digits(&mut self, mut value: u64, radix: u64, ten: u8) {
        loop {
            let digit = (value % radix).to_le_bytes()[0];
            self.push(if digit < 10 { b'0' + digit } else { ten + digit - 10 });
            value /= radix;
            if value == 0 {
                return;
            }
        }
    }

    fn float(&mut self, value: f64, precision: u8) {
        if !value.is_finite() {
            self.is_finite = false;
            (if value.is_nan() { b"nan" } else { b"inf" }).iter().rev().for_each(|byte| self.push(*byte));
            return;
        }
        // value = mantissa * 2^exponent, exactly.
        let bits = value.to_bits();
        let biased = bits >> 52 & 0x7ff;
        let fraction = bits & ((1 << 52) - 1);
        let mantissa = if biased == 0 { fraction } else { fraction | 1 << 52 };
        let exponent = biased.max(1).cast_signed() - 1075;
        let mut number = Big::new(mantissa);
        if exponent >= 0 {
            number.shift_left(exponent.unsigned_abs());
            (0..precision).for_each(|_| self.push(b'0'));
        } else {
            // mantissa * 10^precision / 2^-exponent, rounded half to even as in C.
            (0..precision).for_each(|_| number.multiply(10));
            number.shift_right_rounded(exponent.unsigned_abs());
            (0..precision).for_each(|_| {
                let digit = number.divide(10);
                self.push(b'0' + digit);
            });
        }
        if precision > 0 {
            self.push(b'.');
        }
        loop {
            let digit = number.divide(10);
            self.push(b'0' + digit);
            if number.is_zero() {
                return;
            }
        }
    }
}

/// An integer of 1120 bits: 2^1024 and a mantissa with 254 decimal places (53 + 844 bits) both fit.
struct Big([u32; 35]);

impl Big {
    fn new(value: u64) -> Self {
        let mut words = [0; 35];
        words[0] = (value & 0xffff_ffff).try_into().unwrap_or(0);
        words[1] = (value >> 32).try_into().unwrap_or(0);
        Big(words)
    }

    fn word(&self, at: u64) -> u64 {
        usize::try_from(at).ok().and_then(|at| self.0.get(at)).copied().map_or(0, u64::from)
    }

    fn is_zero(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn multiply(&mut self, by: u64) {
        let mut carry = 0;
        for word in &mut self.0 {
            let product = u64::from(*word) * by + carry;
            *word = low(product);
            carry = product >> 32;
        }
    }

    /// Divides; the remainder, for a divisor below 256.
    fn divide(&mut self, by: u64) -> u8 {
        let mut rest = 0;
        for word in self.0.iter_mut().rev() {
            let part = rest << 32 | u64::from(*word);
            *word = low(part / by);
            rest = part % by;
        }
        rest.to_le_bytes()[0]
    }

    fn shift_left(&mut self, bits: u64) {
        for _ in 0..bits / 32 {
            self.0.rotate_right(1);
            self.0[0] = 0;
        }
        self.multiply(1 << (bits % 32));
    }

    fn shift_right_rounded(&mut self, bits: u64) {
        let bit = |at: u64| self.word(at / 32) >> (at % 32) & 1 != 0;
        let half = bits > 0 && bit(bits - 1);
        let rest = (0..bits.saturating_sub(1).min(1120)).any(bit);
        let mut shifted = Big([0; 35]);
        for (at, word) in (0..).zip(&mut shifted.0) {
            let from = at + bits / 32;
            let pair = self.word(from) | self.word(from + 1) << 32;
            *word = low(pair >> (bits % 32));
        }
        if half && (rest || shifted.0[0] & 1 != 0) {
            for word in &mut shifted.0 {
                let (sum, carry) = word.overflowing_add(1);
                *word = sum;
                if !carry {
                    break;
                }
            }
        }
        *self = shifted;
    }
}

const fn low(value: u64) -> u32 {
    let [i, j, k, l, ..] = value.to_le_bytes();
    u32::from_le_bytes([i, j, k, l])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, string::String};

    fn written(spec: Spec, value: u64) -> String {
        let mut text = String::new();
        spec.write(value, &mut |bytes| text.push_str(core::str::from_utf8(bytes).unwrap()));
        text
    }

    /// Would catch a digit, a pad or a sign in the wrong place.
    #[test]
    fn numbers_are_written_as_printf_would() {
        let spec = Spec::plain;
        assert_eq!(written(spec(b'd'), u64::MAX), "-1");
        assert_eq!(written(spec(b'u'), u64::MAX), "18446744073709551615");
        assert_eq!(written(Spec { bits: 32, ..spec(b'd') }, 0xffff_fffe), "-2");
        assert_eq!(written(Spec { bits: 32, ..spec(b'x') }, 0x1_dead_beef), "deadbeef");
        assert_eq!(written(Spec { width: 8, zeros: true, ..spec(b'X') }, 0xabc), "00000ABC");
        assert_eq!(written(Spec { width: 8, zeros: true, prefix: true, ..spec(b'x') }, 0xabc), "0x000abc");
        assert_eq!(written(Spec { width: 6, left: true, ..spec(b'd') }, 5), "5     ");
        assert_eq!(written(Spec { width: 20, ..spec(b'd') }, 5), "                   5");
        assert_eq!(written(Spec { width: 4, zeros: true, ..spec(b'd') }, (-5_i64).cast_unsigned()), "-005");
        assert_eq!(written(Spec { plus: true, ..spec(b'd') }, 5), "+5");
        assert_eq!(written(spec(b'p'), 0x1000), "0000000000001000");
        assert_eq!(written(spec(b'c'), 0x41), "A");
        assert_eq!(written(spec(b'o'), 8), "10");
        assert_eq!(written(spec(b'b'), 5), "101");
        assert_eq!(written(spec(b'x'), 0), "0");
    }

    /// Would catch a float whose digits are not those of its exact value, from the least to the largest.
    #[test]
    fn floats_are_written_as_std_writes_them() {
        let some =
            [0.0, -0.0, 1.0, 0.5, 1.5, 2.5, 0.1, 1e-300, 5e-324, 1e300, f64::MAX, f64::MIN, 123_456_789.987_654_3, 1e22, 1e23];
        let mut seed = 1_u64;
        let random = (0..2000).map(|_| {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            f64::from_bits(seed)
        });
        for value in some.into_iter().chain(random).filter(|value| value.is_finite()) {
            for digits in [0, 1, 6, 17, 254] {
                let ours = written(Spec { precision: Some(digits), ..Spec::plain(b'f') }, value.to_bits());
                assert_eq!(ours, format!("{value:.*}", usize::from(digits)), "{value:e}");
            }
        }
        assert_eq!(written(Spec::plain(b'f'), f64::NAN.to_bits()), "nan");
        assert_eq!(written(Spec { width: 6, zeros: true, ..Spec::plain(b'f') }, f64::NEG_INFINITY.to_bits()), "  -inf");
    }

    /// Would catch a conversion that means something else in root than at the prompt.
    #[test]
    fn a_packed_conversion_is_unpacked_as_it_was() {
        for bits in [8, 16, 32, 64] {
            let spec =
                Spec { what: b'x', left: true, zeros: false, plus: true, prefix: true, bits, width: 200, precision: Some(3) };
            assert_eq!(Spec::unpack(spec.pack()), Some(spec));
        }
        assert_eq!(Spec::unpack(Spec::plain(b's').pack()), Some(Spec::plain(b's')));
        assert_eq!(Spec::unpack(i32::from_le_bytes([b'x', 0x40, 0, 0])), None);
    }
}
