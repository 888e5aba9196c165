//! Machine code of events as it is typed, `{ 90 90 }` or `{ mov eax, 1 }`, and as it is staged.
//!
//! **Holds always**
//! - M1: what is wrong is told at its place in the line, before root is asked.

use crate::assemble;
use crate::error::Error;
use crate::event::Wrong;
use crate::line::{Line, Word};
use abi::request::event;
use std::ops::Range;

/// The bytes that a word in braces stands for: digits, or statements of an assembler.
pub(crate) fn bytes(line: &Line, word: &Word, assembly: bool) -> Result<Vec<u8>, Error> {
    let wrong = |span: &Range<usize>, wrong| Err(Error::Event { span: span.clone(), wrong });
    let Some(block) = line.block(word) else { return wrong(&word.span, Wrong::NoCodeBraces { assembly }) };
    if !block.closed {
        return wrong(&(word.span.start..word.span.start + 1), Wrong::Open);
    }
    let bytes = if assembly { assemble::assemble(line, &block.inner)? } else { hex(line, &block.inner)? };
    if bytes.is_empty() {
        return wrong(&word.span, Wrong::NoCode);
    }
    Ok(bytes)
}

/// Pairs of digits, with blanks between bytes or without.
fn hex(line: &Line, part: &Range<usize>) -> Result<Vec<u8>, Error> {
    let wrong = |span: Range<usize>, wrong| Err(Error::Event { span, wrong });
    let text = &line.text()[part.clone()];
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        // It is a part of the text.
        let start = part.start + (word.as_ptr().addr() - text.as_ptr().addr());
        if let Some((at, c)) = word.char_indices().find(|(_, c)| !c.is_ascii_hexdigit()) {
            return wrong(start + at..start + at + c.len_utf8(), Wrong::NotHex);
        }
        if word.len() % 2 != 0 {
            return wrong(start..start + word.len(), Wrong::OddDigits);
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
        let (pairs, _) = word.as_bytes().as_chunks::<2>();
        bytes.extend(pairs.iter().map(|[high, low]| digit(*high) << 4 | digit(*low)));
    }
    Ok(bytes)
}

/// The words in which it is staged: a return behind it, and the last word filled up.
pub(crate) fn words(code: &[u8]) -> Vec<u64> {
    let mut bytes = code.to_vec();
    if !code.is_empty() {
        bytes.push(event::CODE_RETURN);
        bytes.resize(bytes.len().next_multiple_of(8), event::CODE_FILL);
    }
    bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch code whose return is cut off, or as many words as root does not expect.
    #[test]
    fn code_is_staged_with_a_return_behind_it() {
        assert_eq!(words(&[]), [] as [u64; 0]);
        assert_eq!(words(&[0x90]), [0xcccc_cccc_cccc_c390]);
        assert_eq!(words(&[1; 8])[1], 0xcccc_cccc_cccc_ccc3);
        for bytes in 0..40_u32 {
            assert_eq!(words(&vec![1; bytes as usize]).len(), event::code_words(bytes) as usize, "{bytes}");
        }
    }
}
