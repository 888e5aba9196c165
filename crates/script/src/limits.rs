//! Every maximum of the crate, and why it is what it is.

/// Bytes of a script with all that it includes: a big slot holds a program of a tenth of that.
pub const SOURCE_BYTES_MAX: usize = 1 << 20;

/// Files that include each other.
pub const INCLUDE_DEPTH_MAX: usize = 16;

/// Blocks, parentheses and signs inside each other: all passes recurse as deep, on a stack of 2 MiB at least.
pub const DEPTH_MAX: u32 = 64;

/// Operators above each other in the tree of an expression: `1 + 1 + …` is as high as it is long, and all passes recurse.
pub const HEIGHT_MAX: u32 = 256;

/// Errors that are told of one script; what follows is mostly their echo.
pub const ERRORS_MAX: usize = 20;

/// Scalar variables of one function, parameters included. The rest of the 256 registers is for what is half computed.
pub const VARIABLES_MAX: u16 = 160;

/// Bytes of arrays, structs and variables with an address, in one function.
pub const FRAME_BYTES_MAX: u32 = 8192;

/// Bytes of one type.
pub const TYPE_BYTES_MAX: u64 = 1 << 20;

/// Bytes of one string literal: `printf` takes no more.
pub const LITERAL_BYTES_MAX: usize = 4096;

/// Cells of 8 bytes that all scripts share.
pub const GLOBALS: u16 = script_vm::limits::GLOBALS_DEFAULT;

/// Bytes of a global's name, its dot included: root keeps the names.
pub const GLOBAL_NAME_BYTES_MAX: usize = 32;
