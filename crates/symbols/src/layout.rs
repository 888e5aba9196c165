//! Where the members of a type lie, and what it is called.
//!
//! Members of a member without a name are the type's own, as in C; they are told behind a row of that member's.
//!
//! **Holds always**: B2 of [`crate::btf`]; at most [`ROWS_MAX`] rows. **Proof**: tests below.

use crate::Pattern;
use crate::btf::{Id, Type, Types};
use crate::limits::TYPE_DEPTH_MAX;

/// Rows of one layout at most.
pub const ROWS_MAX: usize = 4096;

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// How deep it stands in members without a name.
    pub depth: usize,
    /// Bytes from the beginning of the whole.
    pub offset: u64,
    /// Bits from there, and how many, for a bit field.
    pub bits: Option<(u32, u32)>,
    /// Its name, or "".
    pub name: String,
    /// Its type, as C has it.
    pub of: String,
    /// Its type.
    pub id: Id,
}

/// A type that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Members.
    Members {
        /// As C has it.
        name: String,
        /// Bytes.
        bytes: u64,
        /// In their order.
        rows: Vec<Row>,
    },
    /// Named numbers.
    Values {
        /// As C has it.
        name: String,
        /// Bytes.
        bytes: u64,
        /// In their order.
        values: Vec<(String, i64)>,
    },
    /// Anything else: what it is.
    Plain {
        /// As C has it.
        name: String,
        /// Bytes.
        bytes: u64,
        /// What it stands for.
        of: String,
        /// The type itself.
        id: Id,
    },
}

/// The layout of a type; of its members, those that fit the pattern.
#[must_use]
pub fn layout(types: &Types, id: Id, members: Option<&Pattern>) -> Layout {
    let (name, bytes) = (name(types, id), types.size(id));
    match types.plain(id) {
        Type::Struct { .. } => {
            let mut rows = Vec::new();
            add_members(types, id, 0, 0, &mut rows);
            if let Some(pattern) = members {
                rows.retain(|row| !row.name.is_empty() && pattern.fits(&row.name));
                for row in &mut rows {
                    row.depth = 0;
                }
            }
            Layout::Members { name, bytes, rows }
        }
        Type::Enum { values, .. } => {
            let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            Layout::Values { name, bytes, values }
        }
        _ => {
            let of = match types.get(id) {
                Type::Typedef(_, of) => self::name(types, of),
                _ => String::new(),
            };
            Layout::Plain { name, bytes, of, id }
        }
    }
}

fn add_members(types: &Types, id: Id, base: u64, depth: usize, rows: &mut Vec<Row>) {
    let Type::Struct { members, .. } = types.plain(id) else { return };
    for member in members {
        if rows.len() >= ROWS_MAX || depth >= TYPE_DEPTH_MAX {
            return;
        }
        let bit = u64::from(member.bit);
        // A bit field lies in the unit of its type.
        let unit = types.size(member.kind).clamp(1, 8) * 8;
        let first = if member.bits == 0 { bit } else { bit - bit % unit };
        let bits = (member.bits != 0).then(|| (u32::try_from(bit - first).unwrap_or(0), member.bits));
        let offset = base + first / 8;
        let row = Row { depth, offset, bits, name: member.name.to_owned(), of: name(types, member.kind), id: member.kind };
        rows.push(row);
        if member.name.is_empty() {
            add_members(types, member.kind, offset, depth + 1, rows);
        }
    }
}

/// What C calls a type.
#[must_use]
pub fn name(types: &Types, id: Id) -> String {
    around(types, id, "", 0)
}

/// A type around what it declares, from the inside out as C has it.
fn around(types: &Types, id: Id, inner: &str, depth: usize) -> String {
    if depth > TYPE_DEPTH_MAX {
        return "...".to_owned();
    }
    let spaced = |word: String| match inner.chars().next() {
        None => word,
        Some(_) => format!("{word} {inner}"),
    };
    let tagged = |word: &str, name: &str| if name.is_empty() { format!("{word} {{...}}") } else { format!("{word} {name}") };
    match types.get(id) {
        Type::Void => spaced("void".to_owned()),
        Type::Int { name, .. } | Type::Float { name, .. } | Type::Typedef(name, _) => spaced(name.to_owned()),
        Type::Struct { name, union, .. } | Type::Forward { name, union } => {
            spaced(tagged(if union { "union" } else { "struct" }, name))
        }
        Type::Enum { name, .. } => spaced(tagged("enum", name)),
        Type::Also("", of) => around(types, of, inner, depth + 1),
        Type::Also(word, of) if matches!(types.get(of), Type::Pointer(_)) => {
            around(types, of, &format!("{word} {inner}"), depth + 1)
        }
        Type::Also(word, of) => format!("{word} {}", around(types, of, inner, depth + 1)),
        Type::Pointer(of) => {
            let inside = match types.get(of) {
                Type::Function(..) | Type::Array(..) => format!("(*{inner})"),
                _ => format!("*{inner}"),
            };
            around(types, of, &inside, depth + 1)
        }
        Type::Array(of, count) => around(types, of, &format!("{inner}[{count}]"), depth + 1),
        Type::Function(returns, arguments) => {
            let argument = |id: &Id| if *id == 0 { "...".to_owned() } else { around(types, *id, "", depth + 1) };
            let all: Vec<String> = arguments.iter().map(argument).collect();
            let all = if all.is_empty() { "void".to_owned() } else { all.join(", ") };
            around(types, returns, &format!("{inner}({all})"), depth + 1)
        }
        Type::Other => spaced("?".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wrong;
    use crate::btf::Maker;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// A few types: int, char, `struct pair`, a union in it without a name, a pointer to it, a function's, an enumeration.
    fn maker() -> Maker {
        let mut maker = Maker::new();
        let int = maker.record("int", 0, 1, false, 4, &[1 << 24 | 32]);
        let char = maker.record("char", 0, 1, false, 1, &[8]);
        let name = maker.record("", 0, 3, false, 0, &[char, int, 16]);
        let inner = maker.structure("", 8, true, &[("low", int, 0, 0), ("all", int, 0, 0)]);
        let constant = maker.record("", 0, 10, false, char, &[]);
        let text = maker.record("", 0, 2, false, constant, &[]);
        let pair = maker.structure(
            "pair",
            40,
            false,
            &[
                ("name", name, 0, 0),
                ("", inner, 128, 0),
                ("text", text, 192, 0),
                ("three", int, 258, 3),
                ("twelve", int, 261, 12),
            ],
        );
        let pointer = maker.record("", 0, 2, false, pair, &[]);
        let unnamed = maker.text("a");
        let function = maker.record("", 2, 13, false, 0, &[unnamed, pointer, 0, 0]);
        let callback = maker.record("", 0, 2, false, function, &[]);
        let rows = maker.record("", 0, 3, false, 0, &[name, int, 4]);
        maker.record("callback_t", 0, 8, false, callback, &[]);
        maker.record("rows_t", 0, 8, false, rows, &[]);
        let (a, b) = (maker.text("OFF"), maker.text("ON"));
        maker.record("state", 2, 6, true, 4, &[a, u32::MAX, b, 1]);
        maker
    }

    fn types() -> Types {
        Types::read(maker().bytes()).unwrap()
    }

    /// Would catch an offset in bits that is told in bytes, a bit field at the wrong unit, or a nameless member whose members are lost.
    #[test]
    fn members_lie_where_the_description_has_them() {
        let types = types();
        let Layout::Members { name, bytes, rows } = layout(&types, types.find("pair").unwrap(), None) else { panic!() };
        assert_eq!((&*name, bytes), ("struct pair", 40));
        let told: Vec<String> =
            rows.iter().map(|row| format!("{} {:x} {:?} {} {}", row.depth, row.offset, row.bits, row.name, row.of)).collect();
        assert_eq!(
            told,
            [
                "0 0 None name char [16]",
                "0 10 None  union {...}",
                "1 10 None low int",
                "1 10 None all int",
                "0 18 None text const char *",
                "0 20 Some((2, 3)) three int",
                "0 20 Some((5, 12)) twelve int",
            ]
        );
        let few = layout(&types, types.find("pair").unwrap(), Some(&Pattern::new("t*e")));
        assert!(matches!(few, Layout::Members { rows, .. } if rows.len() == 2), "three and twelve");
    }

    /// Would catch a name that C reads as another type.
    #[test]
    fn types_are_called_as_in_c() {
        let types = types();
        let of = |name: &str| match layout(&types, types.find(name).unwrap(), None) {
            Layout::Plain { of, bytes, .. } => (of, bytes),
            other => panic!("{other:?}"),
        };
        assert_eq!(of("callback_t"), ("void (*)(struct pair *, ...)".to_owned(), 8));
        assert_eq!(of("rows_t"), ("char [4][16]".to_owned(), 64));
        let Layout::Values { name, values, .. } = layout(&types, types.find("state").unwrap(), None) else { panic!() };
        assert_eq!((&*name, values), ("enum state", vec![("OFF".to_owned(), -1), ("ON".to_owned(), 1)]));
        assert_eq!(types.beginning("ca", 9), ["callback_t"]);
        assert_eq!(types.find("nobody"), None);
    }

    /// Would catch types that refer to themselves and never end.
    #[test]
    fn loops_of_types_end() {
        let mut maker = Maker::new();
        maker.record("a", 0, 8, false, 1, &[]);
        maker.record("", 0, 2, false, 2, &[]);
        maker.record("", 0, 3, false, 0, &[3, 3, 2]);
        maker.structure("loop", 8, false, &[("", 4, 0, 0), ("p", 2, 0, 0), ("r", 3, 0, 0)]);
        let types = Types::read(maker.bytes()).unwrap();
        for id in 0..6 {
            let _ = (layout(&types, id, None), types.size(id), name(&types, id));
        }
        assert!(matches!(layout(&types, 4, None), Layout::Members { rows, .. } if rows.len() <= ROWS_MAX));
    }

    /// Would catch a module's type whose members are those of another one, since numbers and texts go on behind the kernel's.
    #[test]
    fn types_of_a_module_refer_to_those_of_the_kernel() {
        let kernel = maker();
        let mut maker = Maker::behind(&kernel);
        let kernels = Arc::new(Types::read(kernel.bytes()).unwrap());
        let pair = kernels.find("pair").unwrap();
        let own = maker.structure("own", 44, false, &[("pair", pair, 0, 0), ("more", 1, 320, 0)]);
        maker.record("own_t", 0, 8, false, own, &[]);
        let types = Types::read_behind(maker.bytes(), &kernels).unwrap();
        let told = |name: &str| match layout(&types, types.find(name)?, None) {
            Layout::Members { name, rows, .. } => {
                Some((name, rows.iter().map(|row| format!("{} {:x} {}", row.of, row.offset, row.name)).collect::<Vec<_>>()))
            }
            _ => None,
        };
        let members = ["struct pair 0 pair", "int 28 more"].map(str::to_owned).to_vec();
        assert_eq!(told("own"), Some(("struct own".to_owned(), members.clone())));
        assert_eq!(told("own_t"), Some(("own_t".to_owned(), members)));
        assert_eq!((types.find("pair"), types.names().collect::<Vec<_>>()), (None, vec!["own", "own_t"]));
        assert_eq!(types.size(own), 44);
    }

    /// Would catch a description that is cut and still taken.
    #[test]
    fn a_part_of_a_description_is_refused() {
        let whole = maker().bytes();
        assert_eq!(Types::bytes_of(&whole[..24]), Ok(whole.len()));
        for length in 0..whole.len() {
            assert!(Types::read(whole[..length].to_vec()).is_err(), "{length}");
        }
        let mut other = whole;
        other[2] = 9;
        assert_eq!(Types::read(other).unwrap_err(), Wrong::Unknown);
    }

    proptest! {
        /// Would catch bytes that panic (L1).
        #[test]
        fn any_bytes_are_read_or_refused(at in 0_usize..600, value in any::<u8>(), bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            let _ = Types::read(bytes.clone());
            let mut changed = maker().bytes();
            let at = at % changed.len();
            changed[at] = value;
            let kernel = Arc::new(types());
            let _ = Types::read_behind(bytes, &kernel);
            if let Ok(types) = Types::read_behind(changed.clone(), &kernel) {
                for id in 0..40 {
                    let _ = (layout(&types, id, None), types.size(id), name(&types, id));
                }
            }
            if let Ok(types) = Types::read(changed) {
                for id in 0..20 {
                    let _ = (layout(&types, id, None), types.size(id), name(&types, id));
                }
            }
        }
    }
}
