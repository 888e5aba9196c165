//! Types as the kernel describes them (BTF): a table of records, each pointing to others by number, and a table of texts.
//!
//! Format: Documentation/bpf/btf.rst of Linux, version 1. A module's description goes on where the kernel's ends: its first type has
//! the number behind the kernel's last one, and its texts lie behind the kernel's.
//!
//! **Holds always**
//! - B1: a number of a type that does not exist reads as [`Type::Void`]; a text outside of the table as "".
//! - B2: what follows types from one to the next does so [`TYPE_DEPTH_MAX`] times at most.
//!
//! **Cost**: one pass to find the records, a sort of those with a name. **Proof**: tests below; any bytes, too (L1).

use crate::Wrong;
use crate::limits::{TYPE_DEPTH_MAX, TYPES_MAX};
use std::sync::Arc;

/// First bytes.
const MAGIC: [u8; 2] = [0x9f, 0xeb];
/// Bytes of the head that are read.
pub const HEAD_BYTES: usize = 24;

/// A type by its number.
pub type Id = u32;

/// One member of a structure or a union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'t> {
    /// Empty if its own members stand for it.
    pub name: &'t str,
    /// Its type.
    pub kind: Id,
    /// Bits from the beginning.
    pub bit: u32,
    /// Bits that it has if it is a bit field, else 0.
    pub bits: u32,
}

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type<'t> {
    /// None.
    Void,
    /// A whole number.
    Int {
        /// Its name.
        name: &'t str,
        /// Bytes.
        bytes: u32,
        /// Whether it has a sign.
        signed: bool,
    },
    /// A number with a point.
    Float {
        /// Its name.
        name: &'t str,
        /// Bytes.
        bytes: u32,
    },
    /// The address of something.
    Pointer(Id),
    /// So many of something.
    Array(Id, u32),
    /// Members side by side, or in a union over each other.
    Struct {
        /// Its name, or "".
        name: &'t str,
        /// Bytes.
        bytes: u32,
        /// Whether it is a union.
        union: bool,
        /// In their order.
        members: Vec<Member<'t>>,
    },
    /// Named numbers.
    Enum {
        /// Its name, or "".
        name: &'t str,
        /// Bytes.
        bytes: u32,
        /// In their order.
        values: Vec<(&'t str, i64)>,
    },
    /// A structure or a union that is only named.
    Forward {
        /// Its name.
        name: &'t str,
        /// Whether it is a union.
        union: bool,
    },
    /// Another name.
    Typedef(&'t str, Id),
    /// The same with a word such as const, or a mark.
    Also(&'static str, Id),
    /// A function: what it returns, and the types of its arguments; 0 stands for more of any type.
    Function(Id, Vec<Id>),
    /// What is no type: a function's or a variable's name, a section.
    Other,
}

/// All of them.
#[derive(Debug)]
pub struct Types {
    bytes: Vec<u8>,
    /// The kernel's, of a module's.
    base: Option<Arc<Types>>,
    /// Where the record of each begins; the first has the number 1, or the one behind the kernel's last.
    records: Vec<u32>,
    /// First byte of the texts, and the first behind them.
    texts: (usize, usize),
    /// Numbers of types that can be asked for, by name.
    named: Vec<Id>,
}

fn half(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// A record's head: its name, how many parts it has, its kind, a flag, and its size or type.
struct Head {
    name: u32,
    parts: u32,
    kind: u32,
    flag: bool,
    size: u32,
}

impl Types {
    /// Bytes that a description has, by its head.
    ///
    /// # Errors
    /// [`Wrong::Unknown`], [`Wrong::Cut`].
    pub fn bytes_of(head: &[u8]) -> Result<usize, Wrong> {
        if head.get(..3) != Some(&[MAGIC[0], MAGIC[1], 1]) {
            return Err(Wrong::Unknown);
        }
        let number = |at: usize| half(head, at).and_then(|value| usize::try_from(value).ok()).ok_or(Wrong::Cut("its head"));
        let (own, first) = (number(4)?, [8, 16]);
        let mut most = own;
        for at in first {
            most = most.max(own.saturating_add(number(at)?).saturating_add(number(at + 4)?));
        }
        Ok(most)
    }

    /// Reads a description.
    ///
    /// # Errors
    /// [`Wrong::Unknown`], [`Wrong::Cut`], [`Wrong::TooMany`], [`Wrong::Empty`].
    pub fn read(bytes: Vec<u8>) -> Result<Self, Wrong> {
        Self::read_with(bytes, None)
    }

    /// Reads the description of a module, which goes on where this one of its kernel ends. A name that is asked for is the
    /// module's own; what its types refer to may be the kernel's.
    ///
    /// # Errors
    /// As [`Types::read`].
    pub fn read_behind(bytes: Vec<u8>, kernel: &Arc<Types>) -> Result<Self, Wrong> {
        Self::read_with(bytes, Some(Arc::clone(kernel)))
    }

    fn read_with(bytes: Vec<u8>, base: Option<Arc<Types>>) -> Result<Self, Wrong> {
        let whole = Self::bytes_of(&bytes)?;
        if bytes.len() < whole || whole > u32::MAX as usize {
            return Err(Wrong::Cut("its parts"));
        }
        let number = |at: usize| half(&bytes, at).map_or(0, |value| value as usize);
        let own = number(4);
        let (first, end) = (own + number(8), own + number(8) + number(12));
        let texts = (own + number(16), own + number(16) + number(20));
        let mut types = Self { base, records: Vec::new(), texts, named: Vec::new(), bytes };
        let mut at = first;
        while at < end {
            if types.records.len() >= TYPES_MAX {
                return Err(Wrong::TooMany(TYPES_MAX));
            }
            let head = types.head(at).filter(|_| at + 12 <= end).ok_or(Wrong::Cut("a type"))?;
            let parts = head.parts as usize;
            let more = match head.kind {
                1 | 14 | 17 => 4,
                3 => 12,
                4 | 5 | 15 | 19 => 12 * parts,
                6 | 13 => 8 * parts,
                2 | 7..=12 | 16 | 18 => 0,
                _ => return Err(Wrong::Unknown),
            };
            types.records.push(u32::try_from(at).map_err(|_| Wrong::Cut("a type"))?);
            at += 12 + more;
        }
        if at != end {
            return Err(Wrong::Cut("a type"));
        }
        let before = types.before();
        let mut named: Vec<Id> =
            (1..=u32::try_from(types.records.len()).unwrap_or(0)).map(|own| before.saturating_add(own)).collect();
        named.retain(|id| !types.name(*id).is_empty());
        named.sort_by_key(|id| types.name(*id));
        types.named = named;
        if types.named.is_empty() { Err(Wrong::Empty) } else { Ok(types) }
    }

    /// Types before the first of these.
    fn before(&self) -> Id {
        let kernels = self.base.as_ref().map_or(0, |base| base.records.len());
        u32::try_from(kernels).unwrap_or(u32::MAX)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none; never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The bytes that were read.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A type of this name; a structure, a union or an enumeration before a typedef before a number.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Id> {
        let first = self.named.partition_point(|id| self.name(*id) < name);
        let all = self.named[first..].iter().copied().take_while(|id| self.name(*id) == name);
        all.min_by_key(|id| match self.get(*id) {
            Type::Struct { .. } | Type::Enum { .. } => 0,
            Type::Typedef(..) => 1,
            Type::Int { .. } | Type::Float { .. } => 2,
            _ => 3,
        })
    }

    /// Names that can be asked for, in their order; some stand there more than once.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(|id| self.name(*id))
    }

    /// Names that begin so, each once, and `most` at most.
    #[must_use]
    pub fn beginning(&self, typed: &str, most: usize) -> Vec<&str> {
        let first = self.named.partition_point(|id| self.name(*id) < typed);
        let mut names: Vec<&str> = Vec::new();
        for name in self.named[first..].iter().map(|id| self.name(*id)).take_while(|name| name.starts_with(typed)) {
            if names.last() != Some(&name) {
                names.push(name);
            }
            if names.len() == most {
                break;
            }
        }
        names
    }

    /// The name of a type that can be asked for, or "".
    fn name(&self, id: Id) -> &str {
        match self.record(id) {
            Some((_, head)) if matches!(head.kind, 1 | 4..=8 | 16 | 19) => self.text(head.name),
            _ => "",
        }
    }

    /// A type.
    #[must_use]
    pub fn get(&self, id: Id) -> Type<'_> {
        if let Some(base) = self.base.as_deref().filter(|_| id <= self.before()) {
            return base.get(id);
        }
        let Some((at, head)) = self.record(id) else { return Type::Void };
        let (name, bytes) = (self.text(head.name), head.size);
        let word = |place: usize| half(&self.bytes, at + 12 + place).unwrap_or(0);
        let parts = |of: usize| (0..head.parts as usize).map(move |part| part * of);
        match head.kind {
            1 => Type::Int { name, bytes, signed: word(0) >> 24 & 1 != 0 },
            2 => Type::Pointer(head.size),
            3 => Type::Array(word(0), word(8)),
            4 | 5 => {
                let member = |part: usize| {
                    let place = word(part + 8);
                    let (bit, bits) = if head.flag { (place & 0xff_ffff, place >> 24) } else { (place, 0) };
                    Member { name: self.text(word(part)), kind: word(part + 4), bit, bits }
                };
                Type::Struct { name, bytes, union: head.kind == 5, members: parts(12).map(member).collect() }
            }
            6 => {
                let value = |part: usize| {
                    let value = word(part + 4);
                    (self.text(word(part)), if head.flag { value.cast_signed().into() } else { value.into() })
                };
                Type::Enum { name, bytes, values: parts(8).map(value).collect() }
            }
            7 => Type::Forward { name, union: head.flag },
            8 => Type::Typedef(name, head.size),
            9 => Type::Also("volatile", head.size),
            10 => Type::Also("const", head.size),
            11 | 18 => Type::Also("", head.size),
            13 => Type::Function(head.size, parts(8).map(|part| word(part + 4)).collect()),
            16 => Type::Float { name, bytes },
            19 => {
                let value = |part: usize| {
                    let value = u64::from(word(part + 4)) | u64::from(word(part + 8)) << 32;
                    (self.text(word(part)), value.cast_signed())
                };
                Type::Enum { name, bytes, values: parts(12).map(value).collect() }
            }
            _ => Type::Other,
        }
    }

    /// What a type is without its other names and words.
    #[must_use]
    pub fn plain(&self, id: Id) -> Type<'_> {
        let mut id = id;
        for _ in 0..TYPE_DEPTH_MAX {
            match self.get(id) {
                Type::Typedef(_, of) | Type::Also(_, of) => id = of,
                other => return other,
            }
        }
        Type::Other
    }

    /// Bytes of a type; 0 if it has none of its own.
    #[must_use]
    pub fn size(&self, id: Id) -> u64 {
        let (mut id, mut times) = (id, 1_u64);
        for _ in 0..TYPE_DEPTH_MAX {
            match self.plain(id) {
                Type::Int { bytes, .. } | Type::Float { bytes, .. } | Type::Struct { bytes, .. } | Type::Enum { bytes, .. } => {
                    return times.saturating_mul(bytes.into());
                }
                Type::Pointer(_) => return times.saturating_mul(8),
                Type::Array(of, count) => {
                    times = times.saturating_mul(count.into());
                    id = of;
                }
                _ => return 0,
            }
        }
        0
    }

    fn head(&self, at: usize) -> Option<Head> {
        let [name, info, size] = [half(&self.bytes, at)?, half(&self.bytes, at + 4)?, half(&self.bytes, at + 8)?];
        Some(Head { name, parts: info & 0xffff, kind: info >> 24 & 0x1f, flag: info >> 31 != 0, size })
    }

    /// A record of these, not of the kernel's.
    fn record(&self, id: Id) -> Option<(usize, Head)> {
        let own = id.checked_sub(self.before())?;
        let at = *self.records.get(usize::try_from(own).ok()?.checked_sub(1)?)? as usize;
        Some((at, self.head(at)?))
    }

    fn text(&self, offset: u32) -> &str {
        let (first, end) = self.texts;
        let mut offset = offset as usize;
        if let Some(base) = self.base.as_deref() {
            let (first, end) = base.texts;
            match offset.checked_sub(end - first) {
                Some(own) => offset = own,
                None => return base.text(u32::try_from(offset).unwrap_or(0)),
            }
        }
        let start = first.saturating_add(offset);
        let rest = self.bytes.get(start..end).unwrap_or_default();
        let text = rest.split(|byte| *byte == 0).next().unwrap_or_default();
        std::str::from_utf8(text).ok().filter(|text| text.is_ascii()).unwrap_or("")
    }
}

/// Makes descriptions: for tests.
#[derive(Clone, Debug, Default)]
pub struct Maker {
    records: Vec<u8>,
    texts: Vec<u8>,
    count: Id,
    /// Bytes of texts before these.
    before: usize,
}

impl Maker {
    /// Of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { texts: vec![0], ..Self::default() }
    }

    /// Of a module of a kernel that has what another one made.
    #[must_use]
    pub fn behind(kernel: &Maker) -> Self {
        Self { count: kernel.count, before: kernel.texts.len(), ..Self::default() }
    }

    /// A text; its offset.
    pub fn text(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let offset = u32::try_from(self.before + self.texts.len()).unwrap_or(0);
        self.texts.extend_from_slice(text.as_bytes());
        self.texts.push(0);
        offset
    }

    /// A record: a name, how many parts, a kind, a flag, its size or type, and what follows; its number.
    pub fn record(&mut self, name: &str, parts: u32, kind: u32, flag: bool, size: u32, rest: &[u32]) -> Id {
        let name = self.text(name);
        let info = parts | kind << 24 | u32::from(flag) << 31;
        for word in [name, info, size].iter().chain(rest) {
            self.records.extend(word.to_le_bytes());
        }
        self.count += 1;
        self.count
    }

    /// A structure of members: name, type, first bit, bits.
    pub fn structure(&mut self, name: &str, bytes: u32, union: bool, members: &[(&str, Id, u32, u32)]) -> Id {
        let flag = members.iter().any(|(.., bits)| *bits != 0);
        let mut rest = Vec::new();
        for (name, kind, bit, bits) in members {
            rest.extend([self.text(name), *kind, if flag { bit | bits << 24 } else { *bit }]);
        }
        self.record(name, u32::try_from(members.len()).unwrap_or(0), if union { 5 } else { 4 }, flag, bytes, &rest)
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let [records, texts] = [&self.records, &self.texts].map(|part| u32::try_from(part.len()).unwrap_or(0));
        let head = [24, 0, records, records, texts].map(u32::to_le_bytes).concat();
        [&MAGIC[..], &[1, 0], &head, &self.records, &self.texts].concat()
    }
}
