//! Scripts and expressions on their way to root: compiled here, where names are known, staged and run there.
//!
//! **Holds always**
//! - P1: what is wrong with a script is told at its place in the line that was typed, or in its file.
//! - P2: a line that is offered instead compiles.

use crate::book::Book;
use crate::error::Error;
use crate::line::Line;
use crate::names::{self, Named, Nameless, Names};
use crate::say;
use crate::session::Session;
use abi::request::{Evaluated, Number, PROGRAM_WORDS_MAX, STAGE_WORDS_MAX, Stage, op};
use script::{Diagnostic, Options, Program, Resolver};
use std::cell::RefCell;
use std::fs;
use std::ops::Range;
use zerocopy::IntoBytes;

/// A script's text and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    text: String,
    origin: Origin,
}

#[derive(Clone, Debug)]
enum Origin {
    /// This part of the typed line.
    Line(Range<usize>),
    /// A file, by its path as given.
    File(String),
}

/// What a text shall be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Statements.
    Script,
    /// One value.
    Expression,
}

/// One thing that is wrong with a script.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Where in the typed line, if it stands there.
    pub span: Option<Range<usize>>,
    /// Else where in a file.
    pub place: Option<Place>,
    /// What.
    pub message: String,
    /// What would help.
    pub help: Option<String>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its path as given.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The line's text.
    pub text: String,
    /// Characters to mark.
    pub marked: usize,
}

/// Why a run in root ended early.
#[derive(Clone, Debug)]
pub struct Fault {
    /// As [`Evaluated::fault`] has it.
    pub number: u64,
    /// With a bad address: it.
    pub address: u64,
    /// Where in the typed line.
    pub span: Option<Range<usize>>,
}

/// What a script can mention: names of the kernel, and files of this machine.
struct Around<'n> {
    names: &'n Names,
    /// A name was asked for, and none are known.
    nameless: RefCell<Option<Box<Nameless>>>,
}

impl Around<'_> {
    fn find(&self, module: Option<&str>, name: &str) -> Named {
        let word = module.map_or_else(|| name.to_owned(), |module| format!("{module}!{name}"));
        let found = names::find(self.names.at_hand(), &word);
        if let Named::Nothing { nameless: Some(why), .. } = &found {
            *self.nameless.borrow_mut() = Some(why.clone());
        }
        found
    }
}

impl Resolver for Around<'_> {
    fn symbol(&self, module: Option<&str>, name: &str) -> Option<u64> {
        match self.find(module, name) {
            Named::Address(address) => Some(address),
            _ => None,
        }
    }

    fn unfit(&self, module: Option<&str>, name: &str) -> Option<String> {
        match self.find(module, name) {
            Named::Several(places) => Some(say::names::several_in_words(name, &places)),
            _ => None,
        }
    }

    fn suggest(&self, name: &str) -> Option<String> {
        match self.find(None, name) {
            Named::Nothing { near, .. } => near,
            _ => None,
        }
    }

    fn include(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(path).map_err(|why| say::io(why.kind()))
    }
}

impl Text {
    /// A part of the typed line.
    pub(crate) fn in_line(line: &Line, part: &Range<usize>) -> Self {
        Self { text: line.text()[part.clone()].to_owned(), origin: Origin::Line(part.clone()) }
    }

    /// A file.
    pub(crate) fn in_file(path: &str) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|why| Error::File { path: path.to_owned(), why: why.kind() })?;
        Ok(Self { text, origin: Origin::File(path.to_owned()) })
    }

    /// Compiles it with the globals there are.
    pub(crate) fn compile(&self, book: &Book, line: &Line, how: How) -> Result<Program, Error> {
        let around = Around { names: book.names(), nameless: RefCell::default() };
        compile(&self.text, &around, book, how).map_err(|all| {
            let nameless = around.nameless.take();
            let troubles = all.iter().map(|one| self.trouble(one)).collect();
            Error::Program { troubles, instead: self.instead(&all, &around, book, line, how), nameless }
        })
    }

    /// Whether it could mention a global: in root, where nothing else is asked for it, that costs a request.
    pub(crate) fn may_have_globals(&self) -> bool {
        self.text.contains("#include")
            || self.text.split('.').skip(1).any(|behind| behind.starts_with(|c: char| c.is_alphabetic() || c == '_'))
    }

    /// The same as statements, for what is no value by itself.
    pub(crate) fn as_statement(&self) -> Self {
        Self { text: format!("{};", self.text), origin: self.origin.clone() }
    }

    fn trouble(&self, diagnostic: &Diagnostic) -> Trouble {
        let Diagnostic { file, line, column, message, help, text, marked } = diagnostic;
        let (line, column, marked) = (*line, *column, (*marked).max(1));
        let place = |file: &str| Place { file: file.to_owned(), line, column, text: text.clone(), marked };
        let (span, place) = match (file, &self.origin) {
            (Some(file), _) => (None, Some(place(file))),
            (None, Origin::File(path)) => (None, Some(place(path))),
            (None, Origin::Line(_)) => (self.span(line, column, marked), None),
        };
        Trouble { span, place, message: message.clone(), help: help.clone() }
    }

    /// A place of the text as one of the typed line.
    fn span(&self, line: usize, column: usize, letters: usize) -> Option<Range<usize>> {
        let Origin::Line(part) = &self.origin else { return None };
        let within = self.range(line, column, letters);
        Some((part.start + within.start).min(part.end)..(part.start + within.end).min(part.end))
    }

    fn range(&self, line: usize, column: usize, letters: usize) -> Range<usize> {
        let before: usize = self.text.split_inclusive('\n').take(line - 1).map(str::len).sum();
        let rest = self.text.get(before..).unwrap_or("");
        let byte = |letters: usize| before + rest.char_indices().nth(letters).map_or(rest.len(), |(at, _)| at);
        byte(column - 1)..byte(column - 1 + letters)
    }

    /// The typed line with everything put right, if that is enough to make it compile.
    fn instead(&self, all: &[Diagnostic], around: &Around<'_>, book: &Book, line: &Line, how: How) -> Option<String> {
        let Origin::Line(part) = &self.origin else { return None };
        let mut text = self.text.clone();
        let mut untouched = text.len();
        // From behind, so that the places before still hold.
        for one in all.iter().rev() {
            let range = self.range(one.line, one.column, one.marked);
            let help = one.help.as_deref().filter(|_| one.file.is_none() && range.end <= untouched)?;
            untouched = range.start;
            text.replace_range(range, help);
        }
        compile(&text, around, book, how).ok()?;
        Some(line.with(part, &text))
    }
}

fn compile(text: &str, around: &Around<'_>, book: &Book, how: How) -> Result<Program, Vec<Diagnostic>> {
    let options = Options { globals: book.globals.clone(), words_max: PROGRAM_WORDS_MAX };
    match how {
        How::Script => script::compile(text, around, &options),
        How::Expression => script::compile_expression(text, around, &options),
    }
}

/// Puts a program where root finds it.
pub(crate) fn stage(session: &mut Session, words: &[u64]) -> Result<(), Error> {
    let mut first = 0_u32;
    for chunk in words.chunks(STAGE_WORDS_MAX) {
        // A chunk has 480 words at most, and a program 10 240.
        let count = u32::try_from(chunk.len()).unwrap_or(0);
        let mut body = Stage { first, count }.as_bytes().to_vec();
        body.extend_from_slice(chunk.as_bytes());
        session.order(op::STAGE, &body)?;
        first += count;
    }
    Ok(())
}

/// What a run told.
pub(crate) enum Told {
    /// Its value.
    Value(u64),
    /// A text that stands for it.
    Text(String),
}

/// Runs a program once in root, prints what it says, and gives what it tells.
pub(crate) fn evaluate(session: &mut Session, text: &Text, program: Program) -> Result<Told, Error> {
    stage(session, &program.words)?;
    let words = Number { value: program.words.len() as u64 };
    let Evaluated { value, fault, address } = session.ask(op::EVALUATE, words.as_bytes())?;
    let said = if program.tells_text {
        session.hear_evaluation()
    } else {
        session.hear_all();
        None
    };
    if fault == 0 {
        return Ok(said.map_or(Told::Value(value), Told::Text));
    }
    let place = program.place(instruction(fault));
    let span = place.filter(|(file, ..)| file.is_none()).and_then(|(_, line, column)| text.span(line, column, 1));
    Err(Error::Fault(Fault { number: fault, address, span }))
}

/// The instruction of `kind | at << 32`.
pub(crate) fn instruction(fault: u64) -> u32 {
    u32::try_from(fault >> 32).unwrap_or(0)
}
