//! Types: sizes, and what becomes of two that meet.

use std::rc::Rc;

/// A type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Void,
    /// No type: 64 bits, division and shift unsigned, comparison signed.
    Untyped,
    Bool,
    Int {
        bytes: u8,
        signed: bool,
    },
    Float,
    Double,
    Pointer(Rc<Type>),
    Array(Rc<Type>, u64),
    Struct(usize),
}

/// A struct.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) name: String,
    pub(crate) fields: Vec<(String, Type, u64)>,
    pub(crate) bytes: u64,
    pub(crate) align: u64,
}

pub(crate) const INT: Type = Type::Int { bytes: 4, signed: true };

impl Type {
    pub(crate) fn size(&self, structs: &[Layout]) -> u64 {
        match self {
            Type::Void => 1,
            Type::Bool => 1,
            Type::Int { bytes, .. } => u64::from(*bytes),
            Type::Float => 4,
            Type::Untyped | Type::Double | Type::Pointer(_) => 8,
            Type::Array(of, count) => of.size(structs).saturating_mul(*count),
            Type::Struct(number) => structs.get(*number).map_or(0, |layout| layout.bytes),
        }
    }

    pub(crate) fn align(&self, structs: &[Layout]) -> u64 {
        match self {
            Type::Array(of, _) => of.align(structs),
            Type::Struct(number) => structs.get(*number).map_or(1, |layout| layout.align),
            _ => self.size(structs),
        }
    }

    pub(crate) fn is_float(&self) -> bool {
        matches!(self, Type::Float | Type::Double)
    }

    pub(crate) fn is_aggregate(&self) -> bool {
        matches!(self, Type::Array(..) | Type::Struct(_))
    }

    pub(crate) fn is_integer(&self) -> bool {
        matches!(self, Type::Untyped | Type::Bool | Type::Int { .. })
    }

    /// As a script writes it.
    pub(crate) fn name(&self, structs: &[Layout]) -> String {
        match self {
            Type::Void => "void".to_owned(),
            Type::Untyped => "an untyped value".to_owned(),
            Type::Bool => "bool".to_owned(),
            Type::Int { bytes, signed } => {
                let word = match bytes {
                    1 => "char",
                    2 => "short",
                    4 => "int",
                    _ => "long",
                };
                if *signed { word.to_owned() } else { format!("unsigned {word}") }
            }
            Type::Float => "float".to_owned(),
            Type::Double => "double".to_owned(),
            Type::Pointer(of) => format!("{} *", of.name(structs)),
            Type::Array(of, count) => format!("{}[{count:x}]", of.name(structs)),
            Type::Struct(number) => format!("struct {}", structs.get(*number).map_or("?", |layout| &layout.name)),
        }
    }

    /// What a narrow integer becomes before it is computed with.
    pub(crate) fn promoted(&self) -> Type {
        match self {
            Type::Bool => INT,
            Type::Int { bytes, .. } if *bytes < 4 => INT,
            other => other.clone(),
        }
    }
}

/// What two integers are computed as: as in C, and 64 bits of the typed one's sign where the other has no type.
pub(crate) fn common(left: &Type, right: &Type) -> Type {
    match (left.promoted(), right.promoted()) {
        (Type::Int { bytes: a, signed: s }, Type::Int { bytes: b, signed: t }) => {
            let bytes = a.max(b);
            Type::Int { bytes, signed: (s || a < bytes) && (t || b < bytes) }
        }
        (Type::Untyped, Type::Int { signed, .. }) | (Type::Int { signed, .. }, Type::Untyped) => Type::Int { bytes: 8, signed },
        _ => Type::Untyped,
    }
}
