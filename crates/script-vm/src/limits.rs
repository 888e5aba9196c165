//! Every maximum of the crate, and why it is what it is.

/// Steps of one run if nobody says otherwise, as documented. A step is a word of code: each backward jump and each call
/// pays for the words that it makes executable again, so a run executes this and the length of the program at most.
pub const STEPS_DEFAULT: u64 = 1_000_000;

/// Registers of one function: an operand is a byte, and a window of this many words needs no check of an index.
pub const REGISTERS_MAX: u16 = 256;

/// Words of stack below which nothing runs: one window.
pub const STACK_WORDS_MIN: usize = 256;

/// Words of stack to hand in: 32 KiB. A call takes as many as its caller holds registers, and one; `fib` takes 5.
pub const STACK_WORDS: usize = 4096;

/// Bytes to hand in for arrays, structs and variables whose address is taken.
pub const DATA_BYTES: usize = 16384;

/// Words of a program, all areas together: offsets in it are 32 bits, and a big slot is 10 240 words.
pub const PROGRAM_WORDS_MAX: usize = 1 << 16;

/// Functions of a program; the first is the script itself.
pub const FUNCTIONS_MAX: usize = 256;

/// Arguments of a user's function.
pub const ARGUMENTS_MAX: u16 = 16;

/// Cells that scripts share if nobody says otherwise, as documented: 8 bytes each.
pub const GLOBALS_DEFAULT: u16 = 512;

/// Bytes that one conversion of `printf` writes for a string at most: the documented buffer.
pub const PRINTED_STRING_BYTES_MAX: u32 = 4096;

/// Bytes that one conversion of `printf` writes for a number at most: 309 digits before the dot, a sign, a dot, a width
/// and a precision below 256 together.
pub const PRINTED_NUMBER_BYTES_MAX: usize = 640;

/// Steps that one microsecond of `microsleep` costs: with the default limit a script stands still for 10 ms at most.
pub const STEPS_PER_MICROSECOND: u64 = 100;

const _: () = assert!(STACK_WORDS_MIN == REGISTERS_MAX as usize, "a window fits the least stack");
const _: () = assert!(STACK_WORDS > STACK_WORDS_MIN, "STACK_WORDS leaves room for calls");
