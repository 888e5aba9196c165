//! The text of a script with all that it includes, as one: a span is two offsets into it.

use crate::Resolver;
use crate::diagnostic::Trouble;
use crate::limits::{INCLUDE_DEPTH_MAX, SOURCE_BYTES_MAX};

/// Where something stands in the text of all files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Its first byte.
    pub start: u32,
    /// The byte behind its last.
    pub end: u32,
}

impl Span {
    /// From here to the end of another.
    #[must_use]
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start, end: other.end.max(self.start) }
    }
}

/// A file and where its text starts in the whole.
#[derive(Debug)]
pub(crate) struct File {
    /// Its name, but for the script itself.
    pub(crate) name: Option<String>,
    start: usize,
}

/// All text.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) text: String,
    files: Vec<File>,
}

impl Source {
    /// The script alone.
    pub(crate) fn new(text: &str) -> Self {
        Source { text: text.to_owned(), files: vec![File { name: None, start: 0 }] }
    }

    /// Appends a file; its range in the text.
    pub(crate) fn include(
        &mut self,
        name: &str,
        span: Span,
        depth: usize,
        resolver: &dyn Resolver,
    ) -> Result<(usize, usize), Trouble> {
        if depth >= INCLUDE_DEPTH_MAX {
            let most = format!("{INCLUDE_DEPTH_MAX} files include each other at most; does one include itself?");
            return Err(Trouble::new(span, format!("\"{name}\" is included too deep")).help(most));
        }
        let text = resolver.include(name).map_err(|why| Trouble::new(span, format!("cannot include \"{name}\": {why}")))?;
        if self.text.len() + text.len() > SOURCE_BYTES_MAX {
            return Err(Trouble::new(span, format!("with \"{name}\" the script is longer than {SOURCE_BYTES_MAX} bytes")));
        }
        // A newline between files, so that no word of one touches a word of the next.
        self.text.push('\n');
        let start = self.text.len();
        self.files.push(File { name: Some(name.to_owned()), start });
        self.text.push_str(&text);
        Ok((start, self.text.len()))
    }

    /// The file of an offset, its line there, that line's text, and the column; from 1, in characters.
    pub(crate) fn locate(&self, offset: u32) -> (Option<&str>, usize, usize, &str) {
        let offset = (offset as usize).min(self.text.len());
        let at = self.files.partition_point(|file| file.start <= offset).max(1) - 1;
        let file = &self.files[at];
        let end = self.files.get(at + 1).map_or(self.text.len(), |next| next.start - 1);
        let text = &self.text[file.start..end];
        let mut within = (offset - file.start).min(text.len());
        while !text.is_char_boundary(within) {
            within -= 1;
        }
        let line = text[..within].matches('\n').count() + 1;
        let start = text[..within].rfind('\n').map_or(0, |newline| newline + 1);
        let shown = text[start..].lines().next().unwrap_or("");
        (file.name.as_deref(), line, text[start..within].chars().count() + 1, shown)
    }
}
