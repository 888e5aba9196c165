//! A typed line and its words, each with the place it was typed at.
//!
//! Words are parted by white space. What stands in `"…"` or in parentheses is one word, so an expression with blanks can
//! be a count: `prealloc monitor (10 + 5)`. An opening that is never closed runs to the end of the line; whoever reads
//! the word says so.
//!
//! **Holds always**: spans are byte ranges of the line on character boundaries; no input panics.
//! **Proof**: `tests/any_input.rs`.

use std::ops::Range;

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word without its quotes.
    pub text: String,
    /// Where it stands in the line, quotes included.
    pub span: Range<usize>,
}

/// A line as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    text: String,
    words: Vec<Word>,
}

impl Line {
    /// Cuts a line into words. A comment (`#` or `//` at the beginning) has none.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let text = text.trim_end_matches(['\r', '\n']).to_owned();
        let comment = text.trim_start().starts_with('#') || text.trim_start().starts_with("//");
        let words = if comment { Vec::new() } else { cut(&text) };
        Self { text, words }
    }

    /// The whole line.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its words, the command's name first.
    #[must_use]
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    /// The command's name as typed, or nothing.
    #[must_use]
    pub fn name(&self) -> &str {
        self.words.first().map_or("", |word| word.text.as_str())
    }

    /// Everything after the name, and where it begins.
    #[must_use]
    pub fn rest(&self) -> (&str, usize) {
        let start = self.words.get(1).map_or(self.text.len(), |word| word.span.start);
        (self.text[start..].trim_end(), start)
    }

    /// The same line with one part replaced.
    #[must_use]
    pub fn with(&self, span: &Range<usize>, by: &str) -> String {
        let mut text = self.text.clone();
        text.replace_range(span.clone(), by);
        text.trim().to_owned()
    }

    /// The column of a byte offset: characters before it.
    #[must_use]
    pub fn column(&self, offset: usize) -> usize {
        self.text.char_indices().take_while(|(at, _)| *at < offset).count()
    }
}

fn cut(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some(&(start, first)) = chars.peek() {
        if first.is_whitespace() {
            chars.next();
            continue;
        }
        let (mut word, mut end, mut depth, mut quoted) = (String::new(), text.len(), 0_usize, false);
        while let Some(&(at, c)) = chars.peek() {
            if c.is_whitespace() && depth == 0 && !quoted {
                end = at;
                break;
            }
            chars.next();
            match c {
                '"' => quoted = !quoted,
                '(' if !quoted => depth += 1,
                ')' if !quoted => depth = depth.saturating_sub(1),
                _ => {}
            }
            if c != '"' {
                word.push(c);
            }
        }
        if end == text.len() {
            end = start + text[start..].trim_end().len();
        }
        words.push(Word { text: word, span: start..end });
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a blank inside an expression that ends the word.
    #[test]
    fn parentheses_and_quotes_keep_blanks_in_one_word() {
        let line = Line::new("  prealloc monitor (10 + (5))  ");
        assert_eq!(
            line.words().iter().map(|word| word.text.as_str()).collect::<Vec<_>>(),
            ["prealloc", "monitor", "(10 + (5))"]
        );
        assert_eq!(line.words()[2].span, 19..29);
        assert_eq!(line.rest(), ("monitor (10 + (5))", 11));
        assert_eq!(Line::new(".script \"a b\"").words()[1].text, "a b");
        assert_eq!(Line::new("x (1").words()[1].text, "(1");
    }

    /// Would catch a comment that is run.
    #[test]
    fn a_comment_has_no_words() {
        assert!(Line::new("# prealloc monitor 1").words().is_empty());
        assert!(Line::new(" // go").words().is_empty());
        assert_eq!(Line::new("!help").name(), "!help");
    }

    /// Would catch a column in bytes: the caret would stand too far to the right.
    #[test]
    fn columns_count_characters() {
        let line = Line::new("prealloc mönitor 10");
        assert_eq!(line.column(line.words()[2].span.start), 17);
    }
}
