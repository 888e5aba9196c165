//! The kernel's own table of names, as it lies in its memory: each name is a row of numbers of frequent pieces of text.
//!
//! | part | what |
//! |---|---|
//! | names | for each name its length (one byte, or two if the first is 80 or more) and so many numbers of pieces; the first letter is the kind |
//! | pieces | 256 texts, each ended by a zero |
//! | index | where each of them begins, 16 bits each |
//! | offsets | 32 bits for each name: how far behind the base it lies |
//!
//! Kernels with a list of cores' own data count backwards: what is not negative is such data, and -1 - offset lies behind the base.
//! Which of both holds is found out by a name whose place is known.
//!
//! A module's names are an ordinary table of symbols.
//!
//! **Cost**: one pass. **Proof**: tests below, which pack and unpack; any bytes, too (L1).

use crate::limits::{NAME_BYTES_MAX, NAMES_MAX};
use crate::{Builder, Table, Wrong};

/// Pieces of text.
const PIECES: usize = 256;
/// Bytes of the index.
pub const INDEX_BYTES: usize = 2 * PIECES;
/// Bytes of the last piece at most.
pub const PIECE_BYTES_MAX: usize = 256;
/// First bytes of a packed table in a file.
const MAGIC: &[u8; 8] = b"HDNAMES1";
/// Bytes of one symbol of a module's table.
pub const SYMBOL_BYTES: usize = 24;

/// The parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// How many names.
    pub count: u32,
    /// All lengths and numbers.
    pub names: Vec<u8>,
    /// Texts.
    pub pieces: Vec<u8>,
    /// Where they begin.
    pub index: Vec<u8>,
    /// Where the names lie.
    pub offsets: Vec<u8>,
}

/// Finds the end of the names while they come in.
#[derive(Clone, Debug)]
pub struct End {
    at: usize,
    left: u32,
}

impl End {
    /// Of so many names.
    #[must_use]
    pub fn new(count: u32) -> Self {
        Self { at: 0, left: count }
    }

    /// Where it is, once `names` are enough.
    pub fn find(&mut self, names: &[u8]) -> Option<usize> {
        while self.left > 0 {
            let (bytes, numbers) = length(names.get(self.at..)?)?;
            let next = self.at + bytes + numbers;
            if next > names.len() {
                return None;
            }
            self.at = next;
            self.left -= 1;
        }
        Some(self.at)
    }
}

/// Bytes of a length, and the length.
fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes {
        [short, ..] if *short < 0x80 => Some((1, usize::from(*short))),
        [low, high, ..] => Some((2, usize::from(*low & 0x7f) | usize::from(*high) << 7)),
        _ => None,
    }
}

impl Packed {
    /// Where the last piece of text begins, by the index.
    #[must_use]
    pub fn last_piece(index: &[u8]) -> Option<usize> {
        index.get(INDEX_BYTES - 2..INDEX_BYTES).map(|bytes| usize::from(bytes[0]) | usize::from(bytes[1]) << 8)
    }

    /// Adds all names. `base` is where offsets begin in this boot; `known` is a name and its place.
    ///
    /// # Errors
    /// [`Wrong::Cut`], [`Wrong::TooMany`]; [`Wrong::Unknown`] if the known name is elsewhere.
    pub fn unpack(&self, base: u64, known: (&str, u64), builder: &mut Builder) -> Result<(), Wrong> {
        let names = self.texts()?;
        let backwards = |offset: i32| {
            // Behind the base if it is negative, else itself.
            if offset < 0 {
                base.wrapping_add((-1 - i64::from(offset)).unsigned_abs())
            } else {
                i64::from(offset).unsigned_abs()
            }
        };
        let forwards = |offset: i32| base.wrapping_add(u64::from(offset.cast_unsigned()));
        let (name, place) = known;
        let at =
            |how: &dyn Fn(i32) -> u64| names.iter().any(|(offset, text)| text.get(1..) == Some(name) && how(*offset) == place);
        let how: &dyn Fn(i32) -> u64 = if at(&backwards) {
            &backwards
        } else if at(&forwards) {
            &forwards
        } else {
            return Err(Wrong::Unknown);
        };
        for (offset, text) in &names {
            let Some((kind, name)) = text.as_bytes().first().zip(text.get(1..)) else { continue };
            builder.add(how(*offset), *kind, name, None)?;
        }
        Ok(())
    }

    /// Offset and text of each name, the kind before it.
    fn texts(&self) -> Result<Vec<(i32, String)>, Wrong> {
        let count = usize::try_from(self.count).ok().filter(|count| *count <= NAMES_MAX).ok_or(Wrong::TooMany(NAMES_MAX))?;
        let (offsets, _) = self.offsets.as_chunks::<4>();
        if offsets.len() < count {
            return Err(Wrong::Cut("offsets"));
        }
        let (index, _) = self.index.as_chunks::<2>();
        let piece = |number: u8| -> Option<&[u8]> {
            let start = usize::from(u16::from_le_bytes(*index.get(usize::from(number))?));
            self.pieces.get(start..)?.split(|byte| *byte == 0).next()
        };
        let mut rest = &self.names[..];
        let mut texts = Vec::with_capacity(count);
        for offset in &offsets[..count] {
            let (bytes, numbers) = length(rest).ok_or(Wrong::Cut("names"))?;
            let body = rest.get(bytes..bytes + numbers).ok_or(Wrong::Cut("names"))?;
            rest = &rest[bytes + numbers..];
            let mut text = Vec::with_capacity(32);
            for number in body {
                text.extend_from_slice(piece(*number).ok_or(Wrong::Cut("pieces"))?);
                if text.len() > NAME_BYTES_MAX {
                    return Err(Wrong::TooMany(NAME_BYTES_MAX));
                }
            }
            let text = String::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
            texts.push((i32::from_le_bytes(*offset), text.ok_or(Wrong::Cut("a name"))?));
        }
        Ok(texts)
    }

    /// As bytes of a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.count.to_le_bytes());
        for part in [&self.names, &self.pieces, &self.index, &self.offsets] {
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// Of bytes of a file.
    ///
    /// # Errors
    /// [`Wrong::Unknown`], [`Wrong::Cut`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Wrong> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(Wrong::Unknown)?;
        let (count, mut rest) = rest.split_first_chunk().ok_or(Wrong::Cut("the file"))?;
        let mut part = || -> Result<Vec<u8>, Wrong> {
            let (length, behind) = rest.split_first_chunk().ok_or(Wrong::Cut("the file"))?;
            let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| Wrong::Cut("the file"))?;
            let (part, behind) = behind.split_at_checked(length).ok_or(Wrong::Cut("the file"))?;
            rest = behind;
            Ok(part.to_vec())
        };
        let (names, pieces, index, offsets) = (part()?, part()?, part()?, part()?);
        Ok(Self { count: u32::from_le_bytes(*count), names, pieces, index, offsets })
    }
}

/// Where the last name of a module's table begins.
#[must_use]
pub fn last_name(symbols: &[u8]) -> usize {
    let (symbols, _) = symbols.as_chunks::<SYMBOL_BYTES>();
    let name = |symbol: &[u8; SYMBOL_BYTES]| u32::from_le_bytes([symbol[0], symbol[1], symbol[2], symbol[3]]);
    symbols.iter().map(name).max().and_then(|name| usize::try_from(name).ok()).unwrap_or(0)
}

/// Adds names of a module: its table, its texts, and a kind for each symbol. What cannot be read is left out.
///
/// # Errors
/// [`Wrong::TooMany`].
pub fn module(name: &str, symbols: &[u8], texts: &[u8], kinds: &[u8], builder: &mut Builder) -> Result<(), Wrong> {
    let (symbols, _) = symbols.as_chunks::<SYMBOL_BYTES>();
    for (number, symbol) in symbols.iter().enumerate() {
        let start = usize::try_from(u32::from_le_bytes([symbol[0], symbol[1], symbol[2], symbol[3]])).unwrap_or(usize::MAX);
        let defined = symbol[6..8] != [0, 0];
        let address = symbol[8..16].try_into().map_or(0, u64::from_le_bytes);
        let text = texts.get(start..).and_then(|rest| rest.split(|byte| *byte == 0).next());
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        let text =
            text.filter(|text| !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic()));
        if let Some(text) = text.filter(|_| defined) {
            let kind = kinds.get(number).copied().filter(u8::is_ascii_graphic).unwrap_or(b'?');
            builder.add(address, kind, text, Some(name))?;
        }
    }
    Ok(())
}

/// Packs a table's own names as a kernel does that counts backwards, each letter being a piece: for tests.
#[must_use]
pub fn pack(table: &Table, base: u64) -> Packed {
    let mut packed = Packed { index: Vec::with_capacity(INDEX_BYTES), ..Packed::default() };
    for byte in 0..=u8::MAX {
        packed.index.extend(u16::try_from(packed.pieces.len()).unwrap_or(0).to_le_bytes());
        packed.pieces.extend([byte, 0]);
    }
    for symbol in table.all().filter(|symbol| symbol.module.is_none()) {
        let text = format!("{}{}", symbol.kind, symbol.name);
        let bytes = u16::try_from(text.len()).unwrap_or(0);
        let [low, high] = [bytes & 0x7f, bytes >> 7].map(|half| u8::try_from(half).unwrap_or(0));
        if bytes < 0x80 {
            packed.names.push(low)
        } else {
            packed.names.extend([low | 0x80, high])
        }
        packed.names.extend(text.bytes());
        let offset = match i32::try_from(symbol.address) {
            Ok(own) => own,
            Err(_) => -1 - i32::try_from(symbol.address.wrapping_sub(base)).unwrap_or(0),
        };
        packed.offsets.extend(offset.to_le_bytes());
        packed.count += 1;
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: u64 = 0xffff_ffff_8100_0000;

    fn table(text: &str) -> Table {
        crate::text::table(text.as_bytes(), b"").unwrap()
    }

    fn unpacked(packed: &Packed, base: u64, known: (&str, u64)) -> Result<Vec<String>, Wrong> {
        let mut builder = Builder::default();
        packed.unpack(base, known, &mut builder)?;
        Ok(builder.build()?.all().map(|s| format!("{:x} {} {}", s.address, s.kind, s.name)).collect())
    }

    /// Would catch a name, a kind or an address that is unpacked as another: long names, offsets that are data of cores, a base
    /// that moved.
    #[test]
    fn what_is_packed_comes_out_wherever_the_kernel_lies() {
        let long = "n".repeat(300);
        let text = format!("0000000000001000 A own\nffffffff81000000 T _stext\nffffffff81000010 t {long}\n");
        let packed = pack(&table(&text), BASE);
        let expected =
            |base: u64| vec!["1000 A own".to_owned(), format!("{base:x} T _stext"), format!("{:x} t {long}", base + 0x10)];
        assert_eq!(unpacked(&packed, BASE, ("_stext", BASE)).unwrap(), expected(BASE));
        let moved = BASE + 0x1800_0000;
        assert_eq!(unpacked(&packed, moved, ("_stext", moved)).unwrap(), expected(moved));
        assert_eq!(unpacked(&packed, BASE, ("_stext", moved)), Err(Wrong::Unknown), "a base that is not this boot's");
        assert_eq!(Packed::from_bytes(&packed.to_bytes()).unwrap(), packed);
        let mut end = End::new(packed.count);
        assert_eq!(end.find(&packed.names[..100]), None);
        assert_eq!(end.find(&[&packed.names[..], b"more"].concat()), Some(packed.names.len()));
    }

    /// Would catch a kernel that counts forwards and is read backwards.
    #[test]
    fn offsets_that_count_forwards_are_noticed() {
        let mut packed = pack(&table("ffffffff81000000 T _stext\nffffffff81000010 t a\n"), BASE);
        packed.offsets = [0x1000_u32, 0x1010].map(u32::to_le_bytes).concat();
        let got = unpacked(&packed, BASE - 0x1000, ("_stext", BASE)).unwrap();
        assert_eq!(got, ["ffffffff81000000 T _stext", "ffffffff81000010 t a"]);
    }

    /// Would catch a module's name that is undefined and still told, or that is read beyond its text.
    #[test]
    fn a_modules_table_is_read_like_that_of_a_file() {
        let symbol = |name: u32, section: u16, value: u64| {
            let mut bytes = [name.to_le_bytes(), [0, 0, 0, 0]].concat();
            bytes[6..8].copy_from_slice(&section.to_le_bytes());
            bytes.extend(value.to_le_bytes());
            bytes.extend([0; 8]);
            bytes
        };
        let symbols = [symbol(0, 0, 0), symbol(1, 1, 0x100), symbol(3, 0, 0), symbol(5, 2, 0x200), symbol(99, 1, 1)].concat();
        assert_eq!(last_name(&symbols), 99);
        let mut builder = Builder::default();
        module("m", &symbols, b"\0a\0b\0c\0", b"?t?d", &mut builder).unwrap();
        let table = builder.build().unwrap();
        let got: Vec<String> = table.all().map(|s| format!("{s} {} {:x}", s.kind, s.address)).collect();
        assert_eq!(got, ["m!a t 100", "m!c d 200"]);
    }

    proptest! {
        /// Would catch bytes that panic (L1).
        #[test]
        fn any_parts_are_unpacked_or_refused(
            count in 0_u32..6,
            names in prop::collection::vec(any::<u8>(), 0..40),
            pieces in prop::collection::vec(0_u8..4, 0..40),
            index in prop::collection::vec(0_u8..4, 0..520),
            offsets in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let packed = Packed { count, names, pieces, index, offsets };
            let _ = packed.unpack(BASE, ("a", BASE), &mut Builder::default());
            let _ = Packed::last_piece(&packed.index);
            let _ = Packed::from_bytes(&packed.to_bytes()[..20]);
            let _ = Packed::from_bytes(&packed.names);
            let _ = module("m", &packed.names, &packed.pieces, &packed.index, &mut Builder::default());
        }
    }
}
