//! What rustyline asks while a line is typed: completion, a hint from the history, colours.

use debugger::complete::{Completion, complete};
use debugger::line::is_open;
use debugger::names::Names;
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hinter, HistoryHinter};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Result};
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

/// What is being typed: left and right of the cursor.
#[derive(Clone, Debug, Default)]
pub struct Typed(Arc<Mutex<Option<(String, String)>>>);

impl Typed {
    /// Takes it; `None` if nothing was typed since the last time.
    pub fn take(&self) -> Option<(String, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, line: &str, at: usize) {
        let (left, right) = line.split_at_checked(at).unwrap_or((line, ""));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((left.to_owned(), right.to_owned()));
    }
}

/// See the header.
pub struct Helper {
    colour: bool,
    files: FilenameCompleter,
    history: HistoryHinter,
    typed: Typed,
    names: Names,
}

impl Helper {
    /// Without `colour` nothing is coloured, and no hint is shown: it could not be told from what was typed.
    pub fn new(colour: bool, names: Names) -> Self {
        Self { colour, files: FilenameCompleter::new(), history: HistoryHinter::new(), typed: Typed::default(), names }
    }

    /// What is being typed; follows the line as long as it is read.
    pub fn typed(&self) -> Typed {
        self.typed.clone()
    }
}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, context: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        match complete(line.get(..at).unwrap_or(line), Some(&self.names)) {
            Completion::Names { start, candidates } => {
                let pair = |name: String| Pair { display: name.clone(), replacement: name };
                Ok((start, candidates.into_iter().map(pair).collect()))
            }
            Completion::File => self.files.complete(line, at, context),
            Completion::Words { start, candidates } => {
                let pair = |word: &str| Pair { display: word.to_owned(), replacement: format!("{word} ") };
                Ok((start, candidates.into_iter().map(pair).collect()))
            }
        }
    }
}

impl Hinter for Helper {
    type Hint = String;

    fn hint(&self, line: &str, at: usize, context: &Context<'_>) -> Option<String> {
        self.typed.set(line, at);
        if self.colour && !line.is_empty() { self.history.hint(line, at, context) } else { None }
    }
}

impl Highlighter for Helper {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, default: bool) -> Cow<'b, str> {
        if default && self.colour { Cow::Owned(format!("\x1b[1m{prompt}\x1b[0m")) } else { Cow::Borrowed(prompt) }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[90m{hint}\x1b[0m"))
    }
}

impl Validator for Helper {
    /// A script whose braces are open goes on in the next row.
    fn validate(&self, context: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        let open = is_open(context.input());
        Ok(if open { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}
impl rustyline::Helper for Helper {}
