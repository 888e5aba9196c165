//! What bytes of memory are as a type: a number, a name, a text.
//!
//! **Cost**: none to speak of. **Proof**: tests below, `tests/types.rs`.

use symbols::Table;
use symbols::btf::{Id, Type, Types};

/// Letters of a text that are shown at most.
const TEXT_MAX: usize = 64;

/// The value of a type in these bytes and those behind; `None` if it has members or is too large to be told in a row.
pub(crate) fn shown(
    types: &Types,
    id: Id,
    bytes: &[Option<u8>],
    bits: Option<(u32, u32)>,
    names: Option<&Table>,
) -> Option<String> {
    let kind = types.plain(id);
    if let Type::Array(of, count) = kind {
        let is_text = matches!(types.plain(of), Type::Int { bytes: 1, .. });
        return is_text.then(|| text(bytes.get(..usize::try_from(count).unwrap_or(0)).unwrap_or(bytes)));
    }
    let size = usize::try_from(types.size(id)).unwrap_or(0);
    if !(1..=8).contains(&size) || matches!(kind, Type::Struct { .. }) {
        return None;
    }
    let Some(read) = bytes.get(..size).and_then(|bytes| bytes.iter().copied().collect::<Option<Vec<u8>>>()) else {
        return Some("??".to_owned());
    };
    let mut number = read.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    if let Some((first, count)) = bits {
        number = number >> first.min(63) & (u64::MAX >> (64 - count.clamp(1, 64)));
    }
    Some(match kind {
        Type::Pointer(_) => {
            let near = names.and_then(|names| names.near(number));
            near.map_or_else(|| format!("{number:016x}"), |near| format!("{number:016x} {near}"))
        }
        Type::Enum { values, .. } => {
            // A value is written with the sign of its size.
            let whole = if bits.is_some() { number.cast_signed() } else { extended(number, size) };
            let known = values.iter().find(|(_, value)| *value == whole || value.cast_unsigned() == number);
            known.map_or_else(|| format!("0x{number:x}"), |(name, _)| (*name).to_owned())
        }
        _ => format!("0x{number:x}"),
    })
}

/// A number of so many bytes with its sign.
fn extended(number: u64, bytes: usize) -> i64 {
    let unused = 64 - 8 * u32::try_from(bytes.clamp(1, 8)).unwrap_or(8);
    (number << unused).cast_signed() >> unused
}

/// A number with its sign, in hex.
pub(crate) fn signed(value: i64) -> String {
    if value < 0 { format!("-0x{:x}", value.unsigned_abs()) } else { format!("0x{value:x}") }
}

/// Letters up to a zero; what is no text is told byte by byte.
fn text(bytes: &[Option<u8>]) -> String {
    let letters: Vec<Option<u8>> = bytes.iter().copied().take_while(|byte| *byte != Some(0)).collect();
    let printable = letters.iter().all(|byte| byte.is_some_and(|byte| byte.is_ascii_graphic() || byte == b' '));
    let more = if letters.len() > TEXT_MAX { "..." } else { "" };
    if printable {
        let text: String = letters.iter().take(TEXT_MAX).flatten().map(|byte| char::from(*byte)).collect();
        return format!("\"{text}\"{more}");
    }
    let few = 16;
    let byte = |byte: &Option<u8>| byte.map_or_else(|| "??".to_owned(), |byte| format!("{byte:02x}"));
    let more = if bytes.len() > few { " ..." } else { "" };
    format!("{}{more}", bytes.iter().take(few).map(byte).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a value that is read beyond its type, with another sign, or of bytes that could not be read.
    #[test]
    fn values_are_those_of_their_types() {
        let mut maker = symbols::btf::Maker::new();
        let int = maker.record("int", 0, 1, false, 4, &[1 << 24 | 32]);
        let char = maker.record("char", 0, 1, false, 1, &[8]);
        let name = maker.record("", 0, 3, false, 0, &[char, int, 4]);
        let (a, b) = (maker.text("OFF"), maker.text("ON"));
        let state = maker.record("state", 2, 6, true, 4, &[a, u32::MAX, b, 1]);
        let types = Types::read(maker.bytes()).unwrap();
        let of = |id, bytes: &[u8], bits| shown(&types, id, &bytes.iter().copied().map(Some).collect::<Vec<_>>(), bits, None);
        assert_eq!(of(int, &[0x10, 2, 0, 0, 9], None).as_deref(), Some("0x210"));
        assert_eq!(of(int, &[0b0110_1000, 0, 0, 0], Some((3, 2))).as_deref(), Some("0x1"));
        assert_eq!(of(state, &[0xff; 4], None).as_deref(), Some("OFF"));
        assert_eq!(of(state, &[7, 0, 0, 0], None).as_deref(), Some("0x7"));
        assert_eq!(of(name, b"ab\0c", None).as_deref(), Some("\"ab\""));
        assert_eq!(of(name, &[1, 2, 0, 4], None).as_deref(), Some("01 02 00 04"));
        assert_eq!(of(int, &[1], None).as_deref(), Some("??"));
        assert_eq!((signed(-1), signed(16)), ("-0x1".to_owned(), "0x10".to_owned()));
    }
}
