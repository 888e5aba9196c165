//! The instructions: 8 bytes each, so that every word of code is one and every jump within it lands on one.
//!
//! ```text
//!  bits  63 ─────── 32   31 ─ 24   23 ─ 16   15 ─ 8   7 ─ 0
//!         imm (i32)        c         b         a       op       b and c together: `half`, 16 bits
//! ```
//! `r[x]` is a register of the running function. Jumps go to the word `imm`, counted from the start of the code. 64-bit
//! constants lie in the constant area and are named by number, so no instruction is longer than its word.

/// What the fields of an instruction are: all that the verifier must know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing is used.
    Plain,
    /// `a` is a register.
    A,
    /// `a` and `b` are registers.
    AB,
    /// `a`, `b` and `c` are registers.
    ABC,
    /// `a` and `b` are registers, `imm` is a field of bits: `imm & 0xff` its start, `imm >> 8` its width.
    Field,
    /// `a` is a register, `imm` names a constant.
    AConstant,
    /// `imm` is a target.
    Jump,
    /// `a` is a register, `imm` a target (`half` is a number).
    AJump,
    /// `a` and `b` are registers, `imm` is a target.
    ABJump,
    /// `a` is a register, `half` names a constant, `imm` is a target.
    AConstantJump,
    /// `a` is a guest register, `imm` a target (`half` is a number).
    GprJump,
    /// `a` is a guest register, `half` names a constant, `imm` is a target.
    GprConstantJump,
    /// `a` is a register, `b` a general register of the guest.
    AGpr,
    /// `a` is a register, `b` one of [`crate::Special::ALL`].
    ASpecial,
    /// `a` is a register, `b` one of [`crate::Pseudo::ALL`].
    APseudo,
    /// `a` is a register, `half` a global cell.
    ACell,
    /// `half` is a global cell.
    Cell,
    /// `a` registers from `b` on (`a` is the count).
    Range,
    /// `a` is a register, `imm` an offset into the function's own data.
    AData,
    /// `imm` is an offset into the function's own data, `half` a number of bytes, both multiples of 8.
    DataRange,
    /// `imm` is a function, `a` the register before its arguments, which takes the link and then the result.
    Call,
    /// `imm` is one of [`crate::system`], `a` takes its result, `c` arguments stand from `b` on.
    System,
    /// `half` bytes of text from `imm` on.
    Text,
    /// `a` is a register, `imm` a conversion ([`crate::Spec`]) of a number.
    Number,
    /// `a` is a register, `imm` a conversion of a string.
    String,
}

macro_rules! operations {
    ($($(#[$about:meta])* $name:ident = $shape:ident;)*) => {
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "numbers for the constants below")]
        enum Numbers { $($name),* }
        $($(#[$about])* pub const $name: u8 = Numbers::$name as u8;)*
        /// The shape of each instruction, by number. What has none is no instruction.
        pub const SHAPES: &[Shape] = &[$(Shape::$shape),*];
        /// The name of each instruction, by number.
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

operations! {
    /// Ends the run with 0.
    END = Plain;
    /// Returns `r[a]`: to the caller, or from the run.
    RETURN = A;
    /// Calls a function.
    CALL = Call;
    /// Calls one of the documented functions.
    SYSTEM = System;
    /// Goes there.
    JUMP = Jump;

    /// `r[a] = r[b]`.
    MOVE = AB;
    /// `r[a] = imm`, sign-extended.
    LOAD_I = A;
    /// `r[a] =` a constant.
    LOAD_K = AConstant;
    /// `r[b..b + a] = 0`.
    ZERO = Range;

    /// `r[a] = r[b] + r[c]`, and so on.
    ADD = ABC;
    /// Subtraction.
    SUB = ABC;
    /// Multiplication.
    MUL = ABC;
    /// Unsigned division; by zero a fault.
    DIV_U = ABC;
    /// Signed division, wrapping; by zero a fault.
    DIV_S = ABC;
    /// Unsigned remainder; by zero a fault.
    REM_U = ABC;
    /// Signed remainder; by zero a fault.
    REM_S = ABC;
    /// Bits of both.
    AND = ABC;
    /// Bits of either.
    OR = ABC;
    /// Bits of one.
    XOR = ABC;
    /// Left shift; 64 and more leaves nothing.
    SHL = ABC;
    /// Logical right shift; 64 and more leaves nothing.
    SHR = ABC;
    /// Arithmetic right shift; 64 and more leaves the sign.
    SAR = ABC;
    /// `r[a] = r[b] + imm`, and so on.
    ADD_I = AB;
    /// Multiplication.
    MUL_I = AB;
    /// Bits of both.
    AND_I = AB;
    /// Bits of either.
    OR_I = AB;
    /// Bits of one.
    XOR_I = AB;
    /// Left shift.
    SHL_I = AB;
    /// Logical right shift.
    SHR_I = AB;
    /// Arithmetic right shift.
    SAR_I = AB;
    /// `r[a] = -r[b]`.
    NEG = AB;
    /// `r[a] = ~r[b]`.
    NOT = AB;
    /// `r[a] =` the low byte of `r[b]`.
    ZX8 = AB;
    /// The low 2 bytes.
    ZX16 = AB;
    /// The low 4 bytes.
    ZX32 = AB;
    /// The low byte, sign-extended.
    SX8 = AB;
    /// The low 2 bytes, sign-extended.
    SX16 = AB;
    /// The low 4 bytes, sign-extended.
    SX32 = AB;
    /// `r[a] =` the field of `r[b]` that starts at bit `imm & 63` and is `imm >> 8` bits wide.
    GET_BITS = Field;
    /// That field of `r[a]` `= r[b]`.
    SET_BITS = Field;
    /// `r[a] = r[b] == r[c]`, and so on; 1 or 0.
    SET_EQ = ABC;
    /// Unequal.
    SET_NE = ABC;
    /// Signed below.
    SET_LT = ABC;
    /// Signed below or equal.
    SET_LE = ABC;
    /// Unsigned below.
    SET_LT_U = ABC;
    /// Unsigned below or equal.
    SET_LE_U = ABC;

    /// Floating point, IEEE 754 binary64 in the bits of a register.
    F_ADD = ABC;
    /// Subtraction.
    F_SUB = ABC;
    /// Multiplication.
    F_MUL = ABC;
    /// Division; by zero infinite, no fault.
    F_DIV = ABC;
    /// Equal.
    F_EQ = ABC;
    /// Unequal.
    F_NE = ABC;
    /// Below.
    F_LT = ABC;
    /// Below or equal.
    F_LE = ABC;
    /// The other sign.
    F_NEG = AB;
    /// A signed integer as a float.
    F_FROM_S = AB;
    /// An unsigned integer as a float.
    F_FROM_U = AB;
    /// A float as a signed integer: towards zero, saturating, 0 for no number.
    F_TO_S = AB;
    /// A float as an unsigned integer, likewise.
    F_TO_U = AB;
    /// Rounded to what binary32 can hold.
    F_ROUND = AB;
    /// The binary32 in the low 4 bytes, as binary64.
    F_WIDEN = AB;
    /// As binary32 in the low 4 bytes.
    F_NARROW = AB;

    /// Goes there if `r[a] == r[b]`, and so on.
    J_EQ = ABJump;
    /// Unequal.
    J_NE = ABJump;
    /// Signed below.
    J_LT = ABJump;
    /// Signed below or equal.
    J_LE = ABJump;
    /// Unsigned below.
    J_LT_U = ABJump;
    /// Unsigned below or equal.
    J_LE_U = ABJump;
    /// Goes there if `r[a] == half`, sign-extended, and so on.
    J_EQ_I = AJump;
    /// Unequal.
    J_NE_I = AJump;
    /// Signed below.
    J_LT_I = AJump;
    /// Signed below or equal.
    J_LE_I = AJump;
    /// Signed above.
    J_GT_I = AJump;
    /// Signed above or equal.
    J_GE_I = AJump;
    /// A bit of both is set.
    J_ANY_I = AJump;
    /// No bit of both is set.
    J_NONE_I = AJump;
    /// Goes there if `r[a] ==` a constant, and so on.
    J_EQ_K = AConstantJump;
    /// Unequal.
    J_NE_K = AConstantJump;
    /// Signed below.
    J_LT_K = AConstantJump;
    /// Signed below or equal.
    J_LE_K = AConstantJump;
    /// Signed above.
    J_GT_K = AConstantJump;
    /// Signed above or equal.
    J_GE_K = AConstantJump;
    /// A bit of both is set.
    J_ANY_K = AConstantJump;
    /// No bit of both is set.
    J_NONE_K = AConstantJump;
    /// Goes there if a guest register `a` equals `half`, sign-extended, and so on.
    J_EQ_GI = GprJump;
    /// Unequal.
    J_NE_GI = GprJump;
    /// Signed below.
    J_LT_GI = GprJump;
    /// Signed below or equal.
    J_LE_GI = GprJump;
    /// Signed above.
    J_GT_GI = GprJump;
    /// Signed above or equal.
    J_GE_GI = GprJump;
    /// A bit of both is set.
    J_ANY_GI = GprJump;
    /// No bit of both is set.
    J_NONE_GI = GprJump;
    /// Goes there if a guest register `a` equals a constant, and so on.
    J_EQ_GK = GprConstantJump;
    /// Unequal.
    J_NE_GK = GprConstantJump;
    /// Signed below.
    J_LT_GK = GprConstantJump;
    /// Signed below or equal.
    J_LE_GK = GprConstantJump;
    /// Signed above.
    J_GT_GK = GprConstantJump;
    /// Signed above or equal.
    J_GE_GK = GprConstantJump;
    /// A bit of both is set.
    J_ANY_GK = GprConstantJump;
    /// No bit of both is set.
    J_NONE_GK = GprConstantJump;

    /// `r[a] =` general register `b` of the guest.
    GET_GPR = AGpr;
    /// General register `b` of the guest `= r[a]`.
    SET_GPR = AGpr;
    /// `r[a] =` another register of the guest.
    GET_SPECIAL = ASpecial;
    /// Another register of the guest `= r[a]`.
    SET_SPECIAL = ASpecial;
    /// `r[a] =` a pseudo-register.
    GET_PSEUDO = APseudo;
    /// `r[a] =` the address of the event's buffer, 0 without one.
    GET_BUFFER = A;
    /// `r[a] =` a global.
    GET_GLOBAL = ACell;
    /// A global `= r[a]`.
    SET_GLOBAL = ACell;
    /// A global `+= r[a]`, at once: no count of another core is lost.
    ADD_GLOBAL = ACell;
    /// The same, and `r[a] =` the sum.
    ADD_GLOBAL_GET = ACell;
    /// A global `+= imm`, at once: no count of another core is lost.
    ADD_GLOBAL_I = Cell;
    /// `r[a] =` the address of the function's own data at `imm`.
    ADDRESS = AData;
    /// Zeroes `half` bytes of the function's own data from `imm` on.
    ZERO_DATA = DataRange;

    /// `r[a] =` 1 byte at `r[b] + imm`, and so on.
    LOAD8 = AB;
    /// 2 bytes.
    LOAD16 = AB;
    /// 4 bytes.
    LOAD32 = AB;
    /// 8 bytes.
    LOAD64 = AB;
    /// 1 byte at `r[b] + imm` `= r[a]`, and so on.
    STORE8 = AB;
    /// 2 bytes.
    STORE16 = AB;
    /// 4 bytes.
    STORE32 = AB;
    /// 8 bytes.
    STORE64 = AB;
    /// As [`LOAD8`], at a physical address.
    LOAD8_P = AB;
    /// 2 bytes.
    LOAD16_P = AB;
    /// 4 bytes.
    LOAD32_P = AB;
    /// 8 bytes.
    LOAD64_P = AB;
    /// As [`STORE8`], at a physical address.
    STORE8_P = AB;
    /// 2 bytes.
    STORE16_P = AB;
    /// 4 bytes.
    STORE32_P = AB;
    /// 8 bytes.
    STORE64_P = AB;

    /// Says text of the program.
    SAY = Text;
    /// Says a number.
    SAY_NUMBER = Number;
    /// Says a string of the guest's, or of the script's.
    SAY_STRING = String;
    /// The message is complete.
    SAID = Plain;
}

/// Puts an instruction together.
#[must_use]
pub const fn encode(op: u8, a: u8, b: u8, c: u8, imm: i32) -> u64 {
    let [i, j, k, l] = imm.to_le_bytes();
    u64::from_le_bytes([op, a, b, c, i, j, k, l])
}

/// Puts an instruction together whose `b` and `c` are one number.
#[must_use]
pub const fn encode_half(op: u8, a: u8, half: u16, imm: i32) -> u64 {
    let [b, c] = half.to_le_bytes();
    encode(op, a, b, c, imm)
}
