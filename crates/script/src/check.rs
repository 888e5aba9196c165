//! From a tree of names to a tree of values: scopes, types, conversions, and every error that is not one of grammar.
//!
//! **Names**: a variable that is declared, or assigned anywhere in the function; else a number in hex; else a register
//! (flags only with `@`); else a symbol of the kernel's.
//!
//! **Holds always**
//! - K1: an untyped variable that may be read before it is written is zeroed. One whose first mention is an assignment, and
//!   that is mentioned only within the block of that, is not, and costs nothing.
//! - K2: every value of an integer type is extended to 64 bits as its type says; every conversion restores that.

mod assign;
pub(crate) mod call;
mod convert;
pub(crate) mod expr;
mod format;
mod stmt;

use crate::ast::{BaseName, Declarator, Expr, Script, Struct, TypeName};
use crate::diagnostic::{Trouble, nearest};
use crate::hir;
use crate::limits::{FRAME_BYTES_MAX, GLOBAL_NAME_BYTES_MAX, TYPE_BYTES_MAX, VARIABLES_MAX};
use crate::source::Span;
use crate::types::{Layout, Type};
use crate::{Global, Options, Resolver};
use script_vm::Spec;
use script_vm::limits::FUNCTIONS_MAX;
use std::rc::Rc;

/// An error that has been told.
struct Told;

type Checked<T> = Result<T, Told>;

/// A value: what computes it, and its type. That of an array or a struct is its address.
struct Value {
    expr: hir::Expr,
    kind: Type,
}

impl Value {
    fn untyped(expr: hir::Expr) -> Self {
        Value { expr, kind: Type::Untyped }
    }
}

/// Where a variable is.
#[derive(Clone, Copy)]
enum Home {
    Local(u16),
    Data(u32),
}

struct Variable<'s> {
    name: &'s str,
    kind: Type,
    home: Home,
    /// The block in which it was written before it was read; 0 for the function's.
    block: u32,
}

struct Signature<'s> {
    name: &'s str,
    returns: Type,
    parameters: Vec<Type>,
}

/// What is checked, of one script.
pub(crate) struct Checker<'s, 'c> {
    resolver: &'c dyn Resolver,
    troubles: &'c mut Vec<Trouble>,
    texts: &'c [Vec<u8>],
    pub(crate) globals: Vec<Global>,
    global_kinds: Vec<(&'s str, Type, u16)>,
    structs: Vec<Layout>,
    typedefs: Vec<(&'s str, Type)>,
    signatures: Vec<Signature<'s>>,
    addressed: &'c [&'s str],
    assigned: &'c [&'s str],
    out: hir::Script,

    // Of the function that is being checked.
    function: hir::Function,
    returns: Option<Type>,
    scope: Vec<Variable<'s>>,
    implicit: Vec<Variable<'s>>,
    marks: Vec<usize>,
    /// What runs before all else: variables in memory that must be 0.
    prologue: Vec<hir::Stmt>,
    /// Blocks around that may not run, or more than once.
    blocks: Vec<u32>,
    /// The last one's number.
    block: u32,
    /// Operands and conditions around that may not be evaluated.
    bare: u32,
    loops: u32,
    full: bool,
}

impl<'s, 'c> Checker<'s, 'c> {
    pub(crate) fn new(
        resolver: &'c dyn Resolver,
        options: &Options,
        texts: &'c [Vec<u8>],
        troubles: &'c mut Vec<Trouble>,
    ) -> Self {
        Checker {
            resolver,
            troubles,
            texts,
            globals: options.globals.clone(),
            global_kinds: Vec::new(),
            structs: Vec::new(),
            typedefs: Vec::new(),
            signatures: Vec::new(),
            addressed: &[],
            assigned: &[],
            out: hir::Script::default(),
            function: hir::Function::default(),
            returns: None,
            scope: Vec::new(),
            implicit: Vec::new(),
            marks: Vec::new(),
            prologue: Vec::new(),
            blocks: Vec::new(),
            block: 0,
            bare: 0,
            loops: 0,
            full: false,
        }
    }

    /// Checks a script.
    pub(crate) fn script(mut self, script: &'c Script<'s>) -> (hir::Script, Vec<Global>) {
        self.addressed = &script.addressed;
        // Structs first where functions name them: types of the top level are seen by all functions.
        let types_first = !script.functions.is_empty();
        if types_first {
            self.top_level_types(&script.body);
        }
        for function in script.functions.iter().take(FUNCTIONS_MAX) {
            self.signature(function);
        }
        self.assigned = &script.assigned;
        let mut body = Vec::new();
        for stmt in &script.body {
            if !(types_first && Self::is_type_statement(stmt)) {
                self.statement(stmt, &mut body);
            }
        }
        self.function.body = body;
        let main = self.finish();
        self.out.functions.push(main);
        for (number, function) in script.functions.iter().take(FUNCTIONS_MAX).enumerate() {
            self.assigned = &function.assigned;
            self.user_function(number, function);
        }
        self.out.globals = self.globals.iter().map(|global| global.cell + global.cells).max().unwrap_or(0);
        (self.out, self.globals)
    }

    /// Checks one expression: the script that returns its value.
    pub(crate) fn expression(mut self, expr: &Expr<'s>) -> (hir::Script, Vec<Global>) {
        if let Ok(value) = self.scalar(expr) {
            self.out.tells_float = value.kind.is_float();
            self.out.tells_text = expr::is_label(expr);
            let kind = match self.out.tells_text {
                true => hir::StmtKind::Print(vec![hir::Piece::String(Spec::plain(b's'), value.expr)]),
                false => hir::StmtKind::Return(Some(value.expr)),
            };
            self.function.body.push(hir::Stmt { kind, at: expr.span.start });
        }
        let main = self.finish();
        self.out.functions.push(main);
        self.out.globals = self.globals.iter().map(|global| global.cell + global.cells).max().unwrap_or(0);
        (self.out, self.globals)
    }

    fn finish(&mut self) -> hir::Function {
        self.scope.clear();
        self.implicit.clear();
        self.full = false;
        self.function.data = self.function.data.next_multiple_of(8);
        if !self.prologue.is_empty() {
            let mut body = std::mem::take(&mut self.prologue);
            body.append(&mut self.function.body);
            self.function.body = body;
        }
        std::mem::take(&mut self.function)
    }

    fn tell<T>(&mut self, trouble: Trouble) -> Checked<T> {
        self.troubles.push(trouble);
        Err(Told)
    }

    fn wrong<T>(&mut self, span: Span, message: impl Into<String>) -> Checked<T> {
        self.tell(Trouble::new(span, message))
    }

    fn size(&self, kind: &Type) -> u64 {
        kind.size(&self.structs)
    }

    fn name(&self, kind: &Type) -> String {
        kind.name(&self.structs)
    }

    /// A new scalar.
    fn slot(&mut self, span: Span) -> Checked<u16> {
        let slot = self.function.locals;
        if slot >= VARIABLES_MAX {
            if self.full {
                return Err(Told);
            }
            self.full = true;
            return self.wrong(span, format!("a function has {VARIABLES_MAX} variables at most"));
        }
        self.function.locals += 1;
        Ok(slot)
    }

    /// Room in the function's data.
    fn room(&mut self, kind: &Type, span: Span) -> Checked<u32> {
        let bytes = self.size(kind).next_multiple_of(8);
        let offset = self.function.data;
        match u32::try_from(bytes).ok().and_then(|bytes| offset.checked_add(bytes)).filter(|end| *end <= FRAME_BYTES_MAX) {
            Some(end) => {
                self.function.data = end;
                Ok(offset)
            }
            None => self.wrong(span, format!("arrays and structs of a function take {FRAME_BYTES_MAX} bytes at most")),
        }
    }

    fn resolve(&mut self, name: &TypeName<'s>) -> Checked<Type> {
        let mut kind = match name.base {
            BaseName::Untyped => Type::Untyped,
            BaseName::Void => Type::Void,
            BaseName::Bool => Type::Bool,
            BaseName::Int(bytes, signed) => Type::Int { bytes, signed },
            BaseName::Float => Type::Float,
            BaseName::Double => Type::Double,
            BaseName::Struct(wanted) => match self.structs.iter().rposition(|known| known.name == wanted) {
                Some(number) => Type::Struct(number),
                None => {
                    let near = nearest(wanted, self.structs.iter().map(|known| known.name.as_str())).map(str::to_owned);
                    return self.tell(Trouble::new(name.span, format!("there is no struct {wanted}")).maybe(near));
                }
            },
            BaseName::Named(wanted) => match self.typedefs.iter().rev().find(|(known, _)| *known == wanted) {
                Some((_, kind)) => kind.clone(),
                None => return self.wrong(name.span, format!("there is no type {wanted}")),
            },
        };
        for _ in 0..name.pointers {
            kind = Type::Pointer(Rc::new(kind));
        }
        Ok(kind)
    }

    /// The type of a declared name, dimensions included.
    fn declared(&mut self, declarator: &Declarator<'s>) -> Checked<Type> {
        let mut kind = self.resolve(&declarator.kind)?;
        for dimension in declarator.dimensions.iter().rev() {
            let value = self.scalar(dimension)?;
            let hir::Expr::Const(count) = crate::fold::expr(value.expr) else {
                return self.wrong(dimension.span, "a dimension must be a constant");
            };
            if count == 0 {
                return self.wrong(dimension.span, "an array has one element at least");
            }
            kind = Type::Array(Rc::new(kind), count);
        }
        if self.size(&kind) > TYPE_BYTES_MAX {
            return self.wrong(declarator.span, format!("a type has {TYPE_BYTES_MAX} bytes at most"));
        }
        Ok(kind)
    }

    fn structure(&mut self, structure: &Struct<'s>) -> Checked<()> {
        if self.structs.iter().any(|known| known.name == structure.name) {
            return self.wrong(structure.span, format!("struct {} is there already", structure.name));
        }
        let number = self.structs.len();
        // Known by name while its fields are read: a list points to its own kind.
        self.structs.push(Layout { name: structure.name.to_owned(), fields: Vec::new(), bytes: 0, align: 1 });
        let (mut fields, mut bytes, mut align) = (Vec::<(String, Type, u64)>::new(), 0_u64, 1);
        for field in &structure.fields {
            let Ok(kind) = self.declared(field) else { continue };
            if kind == Type::Void || self.size(&kind) == 0 {
                let _ = self.wrong::<()>(field.span, "a field cannot be of this type: its size is not known");
                continue;
            }
            if fields.iter().any(|(name, ..)| name == field.name) {
                let _ = self.wrong::<()>(field.span, format!("the field {} is there already", field.name));
                continue;
            }
            let aligned = kind.align(&self.structs).max(1);
            align = align.max(aligned);
            let offset = bytes.next_multiple_of(aligned);
            bytes = offset + self.size(&kind);
            fields.push((field.name.to_owned(), kind, offset));
        }
        let bytes = bytes.next_multiple_of(align);
        if bytes > TYPE_BYTES_MAX {
            return self.wrong(structure.span, format!("a type has {TYPE_BYTES_MAX} bytes at most"));
        }
        let layout = &mut self.structs[number];
        (layout.fields, layout.bytes, layout.align) = (fields, bytes, align);
        Ok(())
    }

    /// The cell and the type of a global, made on first mention.
    fn global(&mut self, name: &'s str, kind: Option<Type>, span: Span) -> Checked<(u16, Type)> {
        if let Some((_, known, cell)) = self.global_kinds.iter().find(|(known, ..)| *known == name) {
            let (known, cell) = (known.clone(), *cell);
            return match kind {
                Some(kind) if kind != known => {
                    let known = self.name(&known);
                    self.wrong(span, format!("{name} is {known} already"))
                }
                _ => Ok((cell, known)),
            };
        }
        let kind = kind.unwrap_or(Type::Untyped);
        let cells = self.size(&kind).div_ceil(8).max(1);
        let known = self.globals.iter().find(|known| known.name == name);
        let cell = match known {
            Some(known) if u64::from(known.cells) >= cells => known.cell,
            Some(known) => {
                let message = format!("{name} has {:x} bytes in other scripts", u32::from(known.cells) * 8);
                return self.wrong(span, message);
            }
            None if name.len() > GLOBAL_NAME_BYTES_MAX => {
                let most = GLOBAL_NAME_BYTES_MAX - 1;
                return self.wrong(span, format!("the name of a global has {most} letters at most"));
            }
            None => {
                let next = self.globals.iter().map(|global| global.cell + global.cells).max().unwrap_or(0);
                let end = u64::from(next) + cells;
                match u16::try_from(cells).ok().filter(|_| end <= u64::from(script_vm::limits::GLOBALS_DEFAULT)) {
                    Some(cells) => {
                        self.globals.push(Global { name: name.to_owned(), cell: next, cells });
                        next
                    }
                    None => {
                        let most = script_vm::limits::GLOBALS_DEFAULT;
                        return self.wrong(span, format!("all scripts together have {most} global cells at most"));
                    }
                }
            }
        };
        self.global_kinds.push((name, kind.clone(), cell));
        Ok((cell, kind))
    }

    /// Text of the program, ended by a zero or two; its offset.
    fn text(&mut self, bytes: &[u8], zeros: usize) -> u32 {
        let all = &mut self.out.text;
        let whole: Vec<u8> = bytes.iter().copied().chain(std::iter::repeat_n(0, zeros)).collect();
        let short = all.len() < 4096 && !whole.is_empty();
        let found = if short { all.windows(whole.len()).position(|there| there == whole) } else { None };
        let offset = found.unwrap_or_else(|| {
            all.extend(&whole);
            all.len() - whole.len()
        });
        u32::try_from(offset).unwrap_or(u32::MAX)
    }
}
