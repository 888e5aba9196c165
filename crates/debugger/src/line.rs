//! A typed line and its words, each with the place it was typed at.
//!
//! Words are parted by white space. What stands in `"…"` or in parentheses is one word, so an expression with blanks can
//! be a count: `prealloc monitor (10 + 5)`. What stands in braces is one word, too, with the braces and as it was typed:
//! a script, in which strings, characters, comments and inner braces are those of its language. An opening that is never
//! closed runs to the end of the line; whoever reads the word says so. Braces may go over several lines of a file or of
//! the terminal: [`is_open`] says whether more belongs to a line, and [`Rows`] puts
//! them together.
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

/// Bytes at which a line with open braces is taken for one whose braces were forgotten. A longer script has a file.
const LINE_BYTES_MAX: usize = 1 << 16;

/// What stands in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it stands in the line, without the braces.
    pub inner: Range<usize>,
    /// Whether the last brace is there.
    pub closed: bool,
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

    /// A word that stands in braces.
    #[must_use]
    pub fn block(&self, word: &Word) -> Option<Block> {
        let text = self.text.get(word.span.clone()).filter(|text| text.starts_with('{'))?;
        let closed = closing(text).is_some();
        Some(Block { inner: word.span.start + 1..word.span.end - usize::from(closed), closed })
    }

    /// The same line with one part replaced.
    #[must_use]
    pub fn with(&self, span: &Range<usize>, by: &str) -> String {
        let mut text = self.text.clone();
        text.replace_range(span.clone(), by);
        text.trim().to_owned()
    }

    /// Where the row begins in which a byte stands, and its text: a line with braces may have several.
    #[must_use]
    pub fn row(&self, offset: usize) -> (usize, &str) {
        let start = self.text[..offset].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        (start, self.text[start..end].trim_end_matches('\r'))
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
            if (c.is_whitespace() || c == '{' && at > start) && depth == 0 && !quoted {
                end = at;
                break;
            }
            if c == '{' && at == start {
                end = closing(&text[at..]).map_or(text.trim_end().len(), |after| at + after);
                word.push_str(&text[at..end]);
                while chars.next_if(|(at, _)| *at < end).is_some() {}
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
        if end == text.len() && first != '{' {
            end = start + text[start..].trim_end().len();
        }
        words.push(Word { text: word, span: start..end });
    }
    words
}

/// Where the braces close that `text` begins with: the byte behind the last one.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let rest = &text[at..];
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            '\\' => {
                chars.next();
            }
            '"' => {
                // A string ends with its line if nothing else ends it, as in the language.
                while let Some((_, c)) = chars.next_if(|(_, c)| *c != '\n') {
                    match c {
                        '"' => break,
                        '\\' => {
                            chars.next();
                        }
                        _ => {}
                    }
                }
            }
            '\'' => {
                let letters = if rest.starts_with("'\\") { 3 } else { 2 };
                if rest.chars().nth(letters) == Some('\'') {
                    chars.nth(letters - 1);
                }
            }
            '/' if rest.starts_with("//") => while chars.next_if(|(_, c)| *c != '\n').is_some() {},
            '/' if rest.starts_with("/*") => {
                let end = rest[2..].find("*/").map(|end| at + 2 + end + 2)?;
                while chars.next_if(|(at, _)| *at < end).is_some() {}
            }
            _ => {}
        }
    }
    None
}

/// Whether braces of a line are not closed: what is typed next belongs to it.
#[must_use]
pub fn is_open(text: &str) -> bool {
    let line = Line::new(text);
    line.words.last().and_then(|word| line.block(word)).is_some_and(|block| !block.closed)
}

/// Puts rows together that braces hold together.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    begun: Option<String>,
}

impl Rows {
    /// Takes the next row; gives the line that ends with it.
    pub fn push(&mut self, row: &str) -> Option<String> {
        // With what is begun already, only this row could close it.
        let (line, open) = match self.begun.take() {
            None => (row.to_owned(), is_open(row)),
            Some(begun) => {
                let line = format!("{begun}\n{row}");
                let open = !row.contains('}') || is_open(&line);
                (line, open)
            }
        };
        if open && line.len() < LINE_BYTES_MAX {
            self.begun = Some(line);
            return None;
        }
        Some(line)
    }

    /// What was begun when there are no more rows.
    pub fn end(&mut self) -> Option<String> {
        self.begun.take()
    }
}

/// The lines of a file, each with the number of its first row, from 1.
pub fn whole(text: &str) -> impl Iterator<Item = (usize, String)> {
    let (mut rows, mut lines, mut first) = (Rows::default(), (1..).zip(text.lines()), 1);
    std::iter::from_fn(move || {
        for (number, row) in lines.by_ref() {
            first = if rows.begun.is_none() { number } else { first };
            if let Some(line) = rows.push(row) {
                return Some((first, line));
            }
        }
        rows.end().map(|line| (first, line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let line = Line::new(text);
        assert!(line.words().iter().all(|word| line.block(word).is_none() || line.text()[word.span.clone()] == word.text));
        line.words().iter().map(|word| word.text.clone()).collect()
    }

    /// Would catch a script that is cut in two, or one that swallows the word behind it.
    #[test]
    fn braces_keep_a_script_in_one_word() {
        assert_eq!(words("!cpuid script { if (x) { y = 1; } } core 1")[2..], ["{ if (x) { y = 1; } }", "core", "1"]);
        assert_eq!(words("a script{x}b"), ["a", "script", "{x}", "b"]);
        assert_eq!(words(r#"a { printf("}\"{"); } b"#), ["a", r#"{ printf("}\"{"); }"#, "b"]);
        assert_eq!(words("a { x = '}'; y = '\\''; } b"), ["a", "{ x = '}'; y = '\\''; }", "b"]);
        assert_eq!(words("a { // don't }\n } b"), ["a", "{ // don't }\n }", "b"]);
        assert_eq!(words("a { /* } */ } b"), ["a", "{ /* } */ }", "b"]);
        assert_eq!(words("a { x "), ["a", "{ x"]);
        assert_eq!(words("a (1 {2}) \"{\""), ["a", "(1 {2})", "{"]);
    }

    /// Would catch a file whose script ends at the end of its first line, or lines that are numbered anew behind it.
    #[test]
    fn lines_between_braces_are_one() {
        let lines: Vec<_> = whole("g\n!cpuid script {\n  x = 1;\n}\n# {\npause\na {").collect();
        let numbers: Vec<usize> = lines.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 2, 5, 6, 7]);
        assert_eq!(lines[1].1, "!cpuid script {\n  x = 1;\n}");
        assert!(is_open("a { \"}\"") && !is_open("a {} ") && !is_open("a \"{\"") && !is_open(""));
    }

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
