//! Arithmetic that the language defines where hardware and Rust leave a choice; the compiler folds constants by the same.
//!
//! Floats: the target of root is soft-float, so plain `f64` compiles to integer code there and touches no vector register;
//! on the host it is the hardware's. Both are IEEE 754 and differ in the bits of a NaN at most.

use crate::op;

/// `a << b`; a shift by the width or more leaves nothing.
#[inline]
#[must_use]
pub const fn shl(a: u64, b: u64) -> u64 {
    if b < 64 { a << b } else { 0 }
}

/// `a >> b`, logical, likewise.
#[inline]
#[must_use]
pub const fn shr(a: u64, b: u64) -> u64 {
    if b < 64 { a >> b } else { 0 }
}

/// `a >> b`, arithmetic; beyond the width the sign is left.
#[inline]
#[must_use]
pub const fn sar(a: u64, b: u64) -> u64 {
    let by = if b < 64 { b } else { 63 };
    (a.cast_signed() >> by).cast_unsigned()
}

/// The bits of a field that is `width` bits wide.
#[inline]
#[must_use]
pub const fn mask(width: u64) -> u64 {
    if width < 64 { (1 << width) - 1 } else { u64::MAX }
}

/// Replaces the field of `into` that starts at bit `start`.
#[inline]
#[must_use]
pub const fn set_bits(into: u64, value: u64, start: u64, width: u64) -> u64 {
    let mask = shl(mask(width), start);
    into & !mask | shl(value, start) & mask
}

/// An instruction of two operands without effects; `b` is not looked at where there is one only. `None` for a division
/// by zero and for what is none.
#[must_use]
pub fn pure(op: u8, a: u64, b: u64) -> Option<u64> {
    let (s, t) = (a.cast_signed(), b.cast_signed());
    Some(match op {
        op::ADD | op::ADD_I => a.wrapping_add(b),
        op::SUB => a.wrapping_sub(b),
        op::MUL | op::MUL_I => a.wrapping_mul(b),
        op::DIV_U => a.checked_div(b)?,
        op::REM_U => a.checked_rem(b)?,
        op::DIV_S if t != 0 => s.wrapping_div(t).cast_unsigned(),
        op::REM_S if t != 0 => s.wrapping_rem(t).cast_unsigned(),
        op::AND | op::AND_I => a & b,
        op::OR | op::OR_I => a | b,
        op::XOR | op::XOR_I => a ^ b,
        op::SHL | op::SHL_I => shl(a, b),
        op::SHR | op::SHR_I => shr(a, b),
        op::SAR | op::SAR_I => sar(a, b),
        op::NEG => a.wrapping_neg(),
        op::NOT => !a,
        op::ZX8 => a & 0xff,
        op::ZX16 => a & 0xffff,
        op::ZX32 => a & 0xffff_ffff,
        op::SX8 => sar(a << 56, 56),
        op::SX16 => sar(a << 48, 48),
        op::SX32 => sar(a << 32, 32),
        op::SET_EQ => u64::from(a == b),
        op::SET_NE => u64::from(a != b),
        op::SET_LT => u64::from(s < t),
        op::SET_LE => u64::from(s <= t),
        op::SET_LT_U => u64::from(a < b),
        op::SET_LE_U => u64::from(a <= b),
        _ => return float(op, a, b),
    })
}

/// An instruction on floats; `None` for what is none.
#[inline(never)]
#[must_use]
pub fn float(op: u8, a: u64, b: u64) -> Option<u64> {
    let (x, y) = (f64::from_bits(a), f64::from_bits(b));
    Some(match op {
        op::F_ADD => (x + y).to_bits(),
        op::F_SUB => (x - y).to_bits(),
        op::F_MUL => (x * y).to_bits(),
        op::F_DIV => (x / y).to_bits(),
        op::F_EQ => u64::from(x == y),
        op::F_NE => u64::from(x != y),
        op::F_LT => u64::from(x < y),
        op::F_LE => u64::from(x <= y),
        op::F_NEG => a ^ 1 << 63,
        op::F_FROM_S => (a.cast_signed() as f64).to_bits(),
        op::F_FROM_U => (a as f64).to_bits(),
        op::F_TO_S => to_signed(x).cast_unsigned(),
        op::F_TO_U => to_unsigned(x),
        op::F_ROUND => f64::from(narrow(x)).to_bits(),
        op::F_WIDEN => f64::from(f32::from_bits(low(a))).to_bits(),
        op::F_NARROW => u64::from(narrow(x).to_bits()),
        _ => return None,
    })
}

#[expect(clippy::cast_possible_truncation, reason = "towards zero and saturating is what is wanted")]
const fn to_signed(x: f64) -> i64 {
    x as i64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "towards zero and saturating is what is wanted")]
const fn to_unsigned(x: f64) -> u64 {
    x as u64
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest is what is wanted")]
const fn narrow(x: f64) -> f32 {
    x as f32
}

const fn low(a: u64) -> u32 {
    let [i, j, k, l, ..] = a.to_le_bytes();
    u32::from_le_bytes([i, j, k, l])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a shift that takes its count modulo the width, as the processor does.
    #[test]
    fn shifts_by_the_width_or_more_leave_nothing() {
        for by in [64, 65, 127, 1 << 32, u64::MAX] {
            assert_eq!((shl(1, by), shr(u64::MAX, by), sar(1 << 63, by)), (0, 0, u64::MAX));
        }
        assert_eq!((shl(1, 63), shr(1 << 63, 63), sar(1 << 63, 63)), (1 << 63, 1, u64::MAX));
    }

    /// Would catch a fault of the processor's: the one quotient that does not fit.
    #[test]
    fn the_least_number_divided_by_minus_one_wraps() {
        let least = 1 << 63;
        assert_eq!(pure(op::DIV_S, least, u64::MAX), Some(least));
        assert_eq!(pure(op::REM_S, least, u64::MAX), Some(0));
        for op in [op::DIV_S, op::DIV_U, op::REM_S, op::REM_U] {
            assert_eq!(pure(op, 5, 0), None);
        }
    }

    /// Would catch a field that spills over its neighbours.
    #[test]
    fn a_field_is_replaced_alone() {
        assert_eq!(set_bits(u64::MAX, 0, 8, 8), 0xffff_ffff_ffff_00ff);
        assert_eq!(set_bits(0, u64::MAX, 63, 1), 1 << 63);
        assert_eq!(set_bits(1, 2, 0, 64), 2);
    }
}
