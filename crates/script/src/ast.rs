//! A script as it is written. Names are slices of the text.

use crate::source::Span;

/// An expression and where it stands.
#[derive(Debug)]
pub(crate) struct Expr<'s> {
    pub(crate) kind: ExprKind<'s>,
    pub(crate) span: Span,
    /// Operators above each other in it.
    pub(crate) height: u32,
}

impl ExprKind<'_> {
    /// Operators above each other.
    pub(crate) fn height(&self) -> u32 {
        match self {
            ExprKind::Unary(_, a)
            | ExprKind::Count(_, _, a)
            | ExprKind::Field(a, ..)
            | ExprKind::Cast(_, a)
            | ExprKind::Sizeof(a) => a.height + 1,
            ExprKind::Binary(_, a, b) | ExprKind::Assign(_, a, b) | ExprKind::Index(a, b) => a.height.max(b.height) + 1,
            ExprKind::Call(_, _, arguments) => arguments.iter().map(|argument| argument.height).max().unwrap_or(0) + 1,
            _ => 0,
        }
    }
}

pub(crate) type Boxed<'s> = Box<Expr<'s>>;

/// Operators of two operands, but for assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    OrElse,
    AndAlso,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Or,
    Xor,
    And,
    Shl,
    Shr,
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

/// Operators of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnaryOp {
    Plus,
    Minus,
    Not,
    Complement,
    Deref,
    AddressOf,
}

#[derive(Debug)]
pub(crate) enum ExprKind<'s> {
    Number(u64),
    Float(f64),
    Text(usize),
    Wide(usize),
    Word(&'s str),
    Register(&'s str),
    Pseudo(&'s str),
    Global(&'s str),
    Symbol(&'s str),
    Unary(UnaryOp, Boxed<'s>),
    Binary(BinaryOp, Boxed<'s>, Boxed<'s>),
    Assign(Option<BinaryOp>, Boxed<'s>, Boxed<'s>),
    /// Whether it counts up, whether the new value is meant, and what is counted.
    Count(bool, bool, Boxed<'s>),
    Call(&'s str, Span, Vec<Expr<'s>>),
    Index(Boxed<'s>, Boxed<'s>),
    /// Through a pointer or not.
    Field(Boxed<'s>, bool, &'s str, Span),
    Cast(TypeName<'s>, Boxed<'s>),
    SizeofType(TypeName<'s>),
    Sizeof(Boxed<'s>),
}

/// A type without its dimensions.
#[derive(Clone, Debug)]
pub(crate) struct TypeName<'s> {
    pub(crate) base: BaseName<'s>,
    pub(crate) pointers: usize,
    pub(crate) span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum BaseName<'s> {
    /// None: an untyped parameter.
    Untyped,
    Void,
    Bool,
    Int(u8, bool),
    Float,
    Double,
    Struct(&'s str),
    Named(&'s str),
}

/// A name that is declared.
#[derive(Debug)]
pub(crate) struct Declarator<'s> {
    pub(crate) name: &'s str,
    pub(crate) span: Span,
    pub(crate) kind: TypeName<'s>,
    pub(crate) dimensions: Vec<Expr<'s>>,
    pub(crate) initial: Option<Initial<'s>>,
    /// `.name`.
    pub(crate) global: bool,
}

#[derive(Debug)]
pub(crate) enum Initial<'s> {
    Value(Expr<'s>),
    List(Vec<Initial<'s>>, Span),
}

#[derive(Debug)]
pub(crate) struct Stmt<'s> {
    pub(crate) kind: StmtKind<'s>,
    pub(crate) span: Span,
}

pub(crate) type Block<'s> = Vec<Stmt<'s>>;

#[derive(Debug)]
pub(crate) enum StmtKind<'s> {
    Expr(Expr<'s>),
    Declare(Vec<Declarator<'s>>),
    If(Vec<(Expr<'s>, Block<'s>)>, Option<Block<'s>>),
    While(Expr<'s>, Block<'s>),
    Do(Block<'s>, Expr<'s>),
    For(Option<Box<Stmt<'s>>>, Option<Expr<'s>>, Vec<Expr<'s>>, Block<'s>),
    Break,
    Continue,
    Return(Option<Expr<'s>>),
    Block(Block<'s>),
    Struct(Struct<'s>),
    Typedef(Declarator<'s>),
}

#[derive(Debug)]
pub(crate) struct Struct<'s> {
    pub(crate) name: &'s str,
    pub(crate) span: Span,
    pub(crate) fields: Vec<Declarator<'s>>,
}

#[derive(Debug)]
pub(crate) struct Function<'s> {
    pub(crate) name: &'s str,
    pub(crate) span: Span,
    pub(crate) returns: TypeName<'s>,
    pub(crate) parameters: Vec<Declarator<'s>>,
    pub(crate) body: Block<'s>,
    /// Names that something is assigned to.
    pub(crate) assigned: Vec<&'s str>,
}

#[derive(Debug, Default)]
pub(crate) struct Script<'s> {
    pub(crate) functions: Vec<Function<'s>>,
    pub(crate) body: Block<'s>,
    /// Names that something is assigned to, outside of functions.
    pub(crate) assigned: Vec<&'s str>,
    /// Names whose address is taken, anywhere.
    pub(crate) addressed: Vec<&'s str>,
}
