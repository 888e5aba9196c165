//! A program as words: what travels over the link and lies in an event's slot.
//!
//! ```text
//! word 0   magic (32), version (16), globals (16)
//!      1   code words (32), constants (32)
//!      2   bytes of text (32), functions (32)
//!      3   flags (32), all words (32)
//!      4   functions, two words each: start (32), end (32) | registers (16), arguments (8), zero (8), bytes of data (32)
//!      …   code, constants, text padded with zeros to a word
//! ```
//! **Holds always** (of what [`crate::verify`] has passed)
//! - P1: functions cover the code without gap or overlap, in order; the first is where a run starts.
//! - P2: each instruction names registers, constants, text, cells and functions that are there.
//! - P3: each jump stays in its function, and no function runs off its end.
//!
//! The interpreter is safe code and checks every index that is not a mask: a program that was not verified runs to a fault,
//! not to a panic.

use zerocopy::IntoBytes;

/// `HDsc`, the first 4 bytes.
pub const MAGIC: u32 = u32::from_le_bytes(*b"HDsc");
/// Raised when an instruction changes.
pub const VERSION: u16 = 1;
/// Words of the header.
pub const HEADER_WORDS: usize = 4;
/// Words of a function's entry.
pub const FUNCTION_WORDS: usize = 2;

/// Flag: the event's buffer is used.
pub const USES_BUFFER: u32 = 1;
/// Flag: the value of the run is a float.
pub const TELLS_FLOAT: u32 = 2;
/// Flag: something is said.
pub const SAYS: u32 = 4;
/// All flags.
pub const FLAGS: u32 = USES_BUFFER | TELLS_FLOAT | SAYS;

/// Words of a layout that is kept as words.
pub const LAYOUT_WORDS: usize = 6;

/// How large the areas of a program are, as its header says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Areas {
    /// Words of code.
    pub code: u32,
    /// Constants.
    pub constants: u32,
    /// Bytes of text.
    pub text: u32,
    /// Functions.
    pub functions: u32,
    /// Cells that scripts share: every one that is named is below this.
    pub globals: u16,
    /// [`USES_BUFFER`] and its like.
    pub flags: u32,
}

/// Where the areas of a program are. To be kept beside the words: [`Layout::open`] is then one comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    words: usize,
    code: u32,
    code_start: u32,
    constants: u32,
    constants_start: u32,
    text_start: u32,
    pub(crate) functions: u32,
    globals: u16,
    data: u32,
    flags: u32,
}

/// A function's entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// Its first word of code.
    pub start: u32,
    /// The word after its last.
    pub end: u32,
    /// Registers that it uses.
    pub registers: u16,
    /// How many of them are its arguments: the first ones.
    pub arguments: u8,
    /// Bytes of its data, a multiple of 8.
    pub data: u32,
}

/// Lower and upper half.
pub(crate) const fn halves(word: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

const fn join(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

pub(crate) const fn size(number: u32) -> usize {
    number as usize
}

impl Function {
    /// As words.
    #[must_use]
    pub const fn encode(self) -> [u64; FUNCTION_WORDS] {
        let [a, b] = self.registers.to_le_bytes();
        [join(self.start, self.end), join(u32::from_le_bytes([a, b, self.arguments, 0]), self.data)]
    }

    /// From words; `None` if what must be zero is not.
    #[must_use]
    pub const fn decode(place: u64, needs: u64) -> Option<Self> {
        let (start, end) = halves(place);
        let (shape, data) = halves(needs);
        let [a, b, arguments, zero] = shape.to_le_bytes();
        if zero != 0 {
            return None;
        }
        Some(Function { start, end, registers: u16::from_le_bytes([a, b]), arguments, data })
    }
}

impl Areas {
    /// Words of all areas together.
    #[must_use]
    pub const fn words(&self) -> usize {
        HEADER_WORDS
            + size(self.functions) * FUNCTION_WORDS
            + size(self.code)
            + size(self.constants)
            + size(self.text).div_ceil(8)
    }

    /// The header.
    #[must_use]
    pub fn encode(&self) -> [u64; HEADER_WORDS] {
        let words = u32::try_from(self.words()).unwrap_or(u32::MAX);
        let [a, b] = VERSION.to_le_bytes();
        let [c, d] = self.globals.to_le_bytes();
        [
            join(MAGIC, u32::from_le_bytes([a, b, c, d])),
            join(self.code, self.constants),
            join(self.text, self.functions),
            join(self.flags, words),
        ]
    }

    /// What a header says. `None`: it is none of this version, or names other words than are there.
    #[must_use]
    pub fn decode(words: &[u64]) -> Option<Self> {
        let [first, code, text, rest, ..] = *words else { return None };
        let ((magic, kind), (code, constants), (text, functions), (flags, all)) =
            (halves(first), halves(code), halves(text), halves(rest));
        let [a, b, c, d] = kind.to_le_bytes();
        let areas = Areas { code, constants, text, functions, globals: u16::from_le_bytes([c, d]), flags };
        let fits = [code, constants, text, functions].iter().all(|area| size(*area) <= 8 * words.len());
        let known = magic == MAGIC && u16::from_le_bytes([a, b]) == VERSION && flags & !FLAGS == 0;
        (known && fits && areas.words() == words.len() && size(all) == words.len()).then_some(areas)
    }
}

impl Layout {
    /// Where the areas are that a header names.
    pub(crate) fn new(areas: &Areas, words: &[u64]) -> Option<Self> {
        let start = |after: usize| u32::try_from(after).ok();
        let code_start = HEADER_WORDS + size(areas.functions) * FUNCTION_WORDS;
        let constants_start = code_start + size(areas.code);
        let (_, data) = halves(*words.get(HEADER_WORDS + 1)?);
        Some(Layout {
            words: words.len(),
            code: areas.code,
            code_start: start(code_start)?,
            constants: areas.constants,
            constants_start: start(constants_start)?,
            text_start: start(constants_start + size(areas.constants))?,
            functions: areas.functions,
            globals: areas.globals,
            data,
            flags: areas.flags,
        })
    }

    /// As words, for a table of words. [`Layout::from_words`] makes the same of them.
    #[must_use]
    pub const fn to_words(&self) -> [u64; LAYOUT_WORDS] {
        let [a, b] = self.globals.to_le_bytes();
        [
            self.words as u64,
            join(self.code, self.code_start),
            join(self.constants, self.constants_start),
            join(self.text_start, self.functions),
            join(u32::from_le_bytes([a, b, 0, 0]), self.flags),
            self.data as u64,
        ]
    }

    /// From words. Any words make a layout, but of words that were no layout's a program that does nothing good: it ends by
    /// a fault, and never reads beyond what it is opened with.
    #[must_use]
    pub fn from_words([words, code, constants, text, rest, data]: [u64; LAYOUT_WORDS]) -> Self {
        let ((code, code_start), (constants, constants_start)) = (halves(code), halves(constants));
        let ((text_start, functions), (globals, flags)) = (halves(text), halves(rest));
        let [a, b, ..] = globals.to_le_bytes();
        let words = usize::try_from(words).unwrap_or(usize::MAX);
        let (data, _) = halves(data);
        let globals = u16::from_le_bytes([a, b]);
        Layout { words, code, code_start, constants, constants_start, text_start, functions, globals, data, flags }
    }

    /// [`USES_BUFFER`] and its like.
    #[must_use]
    pub const fn flags(&self) -> u32 {
        self.flags
    }

    /// The program in words that this layout was read from; `None` if they are others.
    #[must_use]
    #[inline]
    pub const fn open<'w>(&'w self, words: &'w [u64]) -> Option<Program<'w>> {
        if self.words == words.len() { Some(Program { words, layout: self }) } else { None }
    }
}

/// A program, open: its areas.
#[derive(Clone, Copy, Debug)]
pub struct Program<'w> {
    words: &'w [u64],
    layout: &'w Layout,
}

impl<'w> Program<'w> {
    #[inline]
    fn area(&self, start: u32, length: u32) -> &'w [u64] {
        self.words.get(size(start)..).and_then(|rest| rest.get(..size(length))).unwrap_or(&[])
    }

    /// Its code.
    #[must_use]
    #[inline]
    pub fn code(&self) -> &'w [u64] {
        self.area(self.layout.code_start, self.layout.code)
    }

    /// Its constants.
    #[must_use]
    #[inline]
    pub fn constants(&self) -> &'w [u64] {
        self.area(self.layout.constants_start, self.layout.constants)
    }

    /// Cells that it may name.
    #[must_use]
    #[inline]
    pub const fn globals(&self) -> u16 {
        self.layout.globals
    }

    /// Bytes of data of the script itself.
    #[inline]
    pub(crate) const fn data(&self) -> u32 {
        self.layout.data
    }

    /// Its text, padding included.
    #[must_use]
    pub fn text(&self) -> &'w [u8] {
        self.words.get(size(self.layout.text_start)..).unwrap_or(&[]).as_bytes()
    }

    /// A function by number.
    #[must_use]
    #[inline]
    pub fn function(&self, number: usize) -> Option<Function> {
        if number >= size(self.layout.functions) {
            return None;
        }
        let at = number.checked_mul(FUNCTION_WORDS)?.checked_add(HEADER_WORDS)?;
        let [place, needs] = *self.words.get(at..)?.first_chunk()?;
        Function::decode(place, needs)
    }
}
