//! What is wrong with a script: where, what, and what would help.

use crate::limits::ERRORS_MAX;
use crate::source::{Source, Span};
use std::fmt;

/// Carets below a line: where something starts is what one looks for.
const CARETS_MAX: usize = 64;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The included file; none for the script itself.
    pub file: Option<String>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What, in lower case and without a full stop.
    pub message: String,
    /// What would help.
    pub help: Option<String>,
    /// The line's text.
    pub text: String,
    /// Characters to mark, from the column on.
    pub marked: usize,
}

impl fmt::Display for Diagnostic {
    /// Message, place, the line with carets below, and what would help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_deref().unwrap_or("script");
        writeln!(f, "err, {}", self.message)?;
        writeln!(f, "  --> {file}:{}:{}", self.line, self.column)?;
        let number = self.line.to_string();
        // Of a long line, what stands around the place.
        let skipped = self.column.saturating_sub(CARETS_MAX);
        let shown: String = self.text.chars().skip(skipped).take(2 * CARETS_MAX).collect();
        let blank = |c: char| if c == '\t' { '\t' } else { ' ' };
        let before: String = shown.chars().take(self.column - 1 - skipped).map(blank).collect();
        writeln!(f, "{number} | {shown}")?;
        write!(f, "{:1$} | {before}{2}", "", number.len(), "^".repeat(self.marked.clamp(1, CARETS_MAX)))?;
        match &self.help {
            Some(help) => write!(f, "\n     try: {help}"),
            None => Ok(()),
        }
    }
}

/// The same before lines are counted.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) span: Span,
    message: String,
    help: Option<String>,
}

impl Trouble {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Trouble { span, message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn maybe(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

/// All troubles in the order of the text, each place once.
pub(crate) fn diagnostics(source: &Source, mut troubles: Vec<Trouble>) -> Vec<Diagnostic> {
    troubles.sort_by_key(|trouble| trouble.span.start);
    troubles.dedup_by_key(|trouble| trouble.span.start);
    let located = troubles.into_iter().take(ERRORS_MAX).map(|trouble| {
        let (file, line, column, text) = source.locate(trouble.span.start);
        let bytes = (trouble.span.end - trouble.span.start) as usize;
        let rest: String = text.chars().skip(column - 1).collect();
        let marked = rest.char_indices().take_while(|(at, _)| *at < bytes).count();
        Diagnostic {
            file: file.map(str::to_owned),
            line,
            column,
            message: trouble.message,
            help: trouble.help,
            text: text.to_owned(),
            marked,
        }
    });
    located.collect()
}

/// The candidate that a word most likely was meant to be.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    let near = candidates.map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate));
    let most = |candidate: &str| word.len().max(candidate.len()).div_ceil(3).min(3);
    let close =
        near.filter(|(distance, candidate)| *distance <= most(candidate) && *distance < candidate.len().min(word.len()));
    close.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}
