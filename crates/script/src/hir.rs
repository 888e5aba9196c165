//! A script after checking: names are resolved, conversions are written out, every value is 64 bits.
//!
//! Operators are numbers of [`script_vm::op`]; their meaning is in `script_vm::arith`.

use script_vm::{Size, Space, Spec};

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A number.
    Const(u64),
    /// A scalar variable.
    Local(u16),
    /// Its value is what is written; so for all that write.
    SetLocal(u16, Box<Expr>),
    /// A cell that scripts share.
    Global(u16),
    /// Writes one.
    SetGlobal(u16, Box<Expr>),
    /// Adds to one, indivisibly; the sum.
    AddGlobal(u16, Box<Expr>),
    /// A general register of the guest.
    Gpr(u8),
    /// Writes one.
    SetGpr(u8, Box<Expr>),
    /// Another register of the guest.
    Special(u8),
    /// Writes one.
    SetSpecial(u8, Box<Expr>),
    /// A pseudo-register.
    Pseudo(u8),
    /// The address of the event's buffer.
    Buffer,
    /// The address of something in the function's data.
    Address(u32),
    /// A field of bits: start, width.
    Bits(u8, u8, Box<Expr>),
    /// The third with a field replaced by the fourth.
    SetBits(u8, u8, Box<Expr>, Box<Expr>),
    /// Memory.
    Load(Space, Size, Box<Expr>),
    /// Address, value.
    Store(Space, Size, Box<Expr>, Box<Expr>),
    /// One operand.
    Unary(u8, Box<Expr>),
    /// Two operands, the left one first.
    Binary(u8, Box<Expr>, Box<Expr>),
    /// 1 or 0.
    Compare(Compare, Order, Box<Expr>, Box<Expr>),
    /// 1 or 0; the right one only if the left one is true.
    And(Box<Expr>, Box<Expr>),
    /// 1 or 0; the right one only if the left one is false.
    Or(Box<Expr>, Box<Expr>),
    /// 1 or 0.
    Not(Box<Expr>),
    /// A function of the script's.
    Call(u16, Vec<Expr>),
    /// A documented function.
    System(u32, Vec<Expr>),
    /// Both; the value of the second.
    Seq(Box<Expr>, Box<Expr>),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// `==`.
    Eq,
    /// `!=`.
    Ne,
    /// `<`.
    Lt,
    /// `<=`.
    Le,
    /// `>`.
    Gt,
    /// `>=`.
    Ge,
}

/// As what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Signed integers.
    Signed,
    /// Unsigned integers.
    Unsigned,
    /// Floats.
    Float,
}

/// A statement, and the offset in the text where it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    /// What.
    pub kind: StmtKind,
    /// Where.
    pub at: u32,
}

/// What a statement does.
#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    /// Evaluates.
    Effect(Expr),
    /// The first block whose condition is true, else the last. Flat, so that nesting stays bounded.
    If(Vec<(Expr, Vec<Stmt>)>, Vec<Stmt>),
    /// Repeats.
    Loop {
        /// As long as this; for ever without one.
        test: Option<Expr>,
        /// Whether it is asked before the first time, too.
        first: bool,
        /// What is repeated.
        body: Vec<Stmt>,
        /// What follows each time, after `continue` too.
        step: Vec<Expr>,
    },
    /// Leaves the loop.
    Break,
    /// Goes on with the next time.
    Continue,
    /// Leaves the function.
    Return(Option<Expr>),
    /// A message: all values first, then the pieces.
    Print(Vec<Piece>),
    /// Zeroes some of the function's data: offset, bytes.
    Zero(u32, u32),
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text: offset, bytes.
    Text(u32, u16),
    /// A number.
    Number(Spec, Expr),
    /// A string at an address.
    String(Spec, Expr),
}

/// A function. The first is the script itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function {
    /// Scalars, arguments first.
    pub locals: u16,
    /// How many are arguments.
    pub arguments: u16,
    /// Locals that may be read before they are written, and must then be 0.
    pub zeroed: Vec<u16>,
    /// Bytes of data.
    pub data: u32,
    /// What it does.
    pub body: Vec<Stmt>,
}

/// All of a script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// Its functions.
    pub functions: Vec<Function>,
    /// Its text.
    pub text: Vec<u8>,
    /// Cells that scripts share.
    pub globals: u16,
    /// `$buffer` is used.
    pub uses_buffer: bool,
    /// The value of the run is a float.
    pub tells_float: bool,
    /// The run has no value and says a text instead: that of a pseudo-register.
    pub tells_text: bool,
}
