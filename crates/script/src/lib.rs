//! The script language: lexer, parser, checker, compiler to the bytecode of `script-vm`.
//!
//! `docs/script.md` is the language. A script is compiled at the prompt, where names are known; root gets words.
//!
//! | file | idea |
//! |---|---|
//! | `source` | the text of all files, and where in it something stands |
//! | `lex`, `parse`, `ast` | text into a tree |
//! | `check`, `types`, `registers` | names and types; the tree of values, `hir` |
//! | `fold` | what can be computed before |
//! | `emit` | bytecode |
//! | `diagnostic` | what is wrong, where, and what would help |
//! | `oracle` | for tests: a machine in plain memory, and an evaluator of `hir` |
//!
//! ```
//! use script::{NoSymbols, Options, compile};
//! let program = compile("if (@rax == 5) { .hits = .hits + 1; }", &NoSymbols, &Options::default()).unwrap();
//! assert_eq!(program.globals[0].name, ".hits");
//! let wrong = compile("x = @rxa;", &NoSymbols, &Options::default()).unwrap_err();
//! assert_eq!((wrong[0].line, wrong[0].column, wrong[0].help.as_deref()), (1, 5, Some("@rax")));
//! ```
#![forbid(unsafe_code)]

mod ast;
mod check;
mod diagnostic;
mod emit;
mod fold;
pub mod hir;
mod lex;
pub mod limits;
#[cfg(feature = "fuzz")]
pub mod oracle;
mod parse;
mod registers;
mod source;
mod types;

use diagnostic::Trouble;
use limits::SOURCE_BYTES_MAX;
use source::{Source, Span};

pub use diagnostic::Diagnostic;

/// What the prompt knows and the compiler does not.
pub trait Resolver {
    /// The address of a symbol; `module` is what stood before the `!`.
    fn symbol(&self, module: Option<&str>, name: &str) -> Option<u64>;

    /// Why a name that is known has no address here, such as that it has several: in words of a message.
    fn unfit(&self, _module: Option<&str>, _name: &str) -> Option<String> {
        None
    }

    /// A symbol that is spelt much the same; `name` may have a module before a `!`.
    fn suggest(&self, _name: &str) -> Option<String> {
        None
    }

    /// The text of a file that a script includes.
    ///
    /// # Errors
    /// Why not, in words that follow a colon.
    fn include(&self, _path: &str) -> Result<String, String> {
        Err("files are not read here".to_owned())
    }
}

/// A resolver without symbols and files.
#[derive(Clone, Copy, Debug)]
pub struct NoSymbols;

impl Resolver for NoSymbols {
    fn symbol(&self, _module: Option<&str>, _name: &str) -> Option<u64> {
        None
    }
}

/// A variable that scripts share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// With its dot.
    pub name: String,
    /// Its first cell.
    pub cell: u16,
    /// How many; 1 but for arrays and structs.
    pub cells: u16,
}

/// How to compile.
#[derive(Clone, Debug)]
pub struct Options {
    /// The globals that other scripts have already: what [`Program::globals`] said last.
    pub globals: Vec<Global>,
    /// Words that the program may have: what the slot holds.
    pub words_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { globals: Vec::new(), words_max: script_vm::limits::PROGRAM_WORDS_MAX }
    }
}

/// A compiled script.
#[derive(Debug)]
pub struct Program {
    /// What root gets.
    pub words: Vec<u64>,
    /// All globals: those of the options and the new ones.
    pub globals: Vec<Global>,
    /// `$buffer` is used, so the event needs one.
    pub uses_buffer: bool,
    /// The value of the run is the bits of a double.
    pub tells_float: bool,
    /// The run says a text that stands for its value: `$pname` and its like.
    pub tells_text: bool,
    lines: Vec<(u32, u32)>,
    source: Source,
}

impl Program {
    /// The place of an instruction in the text, for a fault: file, line and column, from 1.
    #[must_use]
    pub fn place(&self, instruction: u32) -> Option<(Option<&str>, usize, usize)> {
        let after = self.lines.partition_point(|(word, _)| *word <= instruction);
        let (_, offset) = self.lines.get(after.checked_sub(1)?)?;
        let (file, line, column, _) = self.source.locate(*offset);
        Some((file, line, column))
    }
}

/// Compiles a script.
///
/// # Errors
/// All that is wrong with it, in the order of the text, up to [`limits::ERRORS_MAX`].
pub fn compile(text: &str, resolver: &dyn Resolver, options: &Options) -> Result<Program, Vec<Diagnostic>> {
    build(text, resolver, options, What::Script).map(|(program, _)| program)
}

/// Compiles one expression; the run returns its value.
///
/// # Errors
/// As [`compile`].
pub fn compile_expression(text: &str, resolver: &dyn Resolver, options: &Options) -> Result<Program, Vec<Diagnostic>> {
    build(text, resolver, options, What::Expression).map(|(program, _)| program)
}

/// Compiles, and gives the tree as it was before anything was folded.
///
/// # Errors
/// As [`compile`].
#[cfg(feature = "fuzz")]
pub fn compile_with_tree(
    text: &str,
    resolver: &dyn Resolver,
    options: &Options,
) -> Result<(Program, hir::Script), Vec<Diagnostic>> {
    build(text, resolver, options, What::ScriptAndTree)
}

/// The names of all functions of the language, for completion.
pub fn functions() -> impl Iterator<Item = &'static str> {
    check::call::documented()
}

/// The names of all registers, without `@`.
pub fn registers() -> impl Iterator<Item = &'static str> {
    registers::names()
}

/// The names of all pseudo-registers, with `$`.
pub fn pseudo_registers() -> impl Iterator<Item = &'static str> {
    check::expr::pseudo_registers()
}

/// What is compiled, and what is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Script,
    Expression,
    #[cfg_attr(not(feature = "fuzz"), allow(dead_code, reason = "for tests and the fuzzer"))]
    ScriptAndTree,
}

fn build(
    text: &str,
    resolver: &dyn Resolver,
    options: &Options,
    what: What,
) -> Result<(Program, hir::Script), Vec<Diagnostic>> {
    let mut source = Source::new(text);
    let mut troubles = Vec::new();
    if text.len() > SOURCE_BYTES_MAX {
        let trouble = Trouble::new(Span::default(), format!("a script has {SOURCE_BYTES_MAX} bytes at most"));
        return Err(diagnostic::diagnostics(&source, vec![trouble]));
    }
    let tokens = lex::lex(&mut source, resolver, &mut troubles);
    let (mut script, globals) = checked(&source.text, &tokens, resolver, options, what == What::Expression, &mut troubles);
    if !troubles.is_empty() {
        return Err(diagnostic::diagnostics(&source, troubles));
    }
    let tree = if what == What::ScriptAndTree { script.clone() } else { hir::Script::default() };
    fold::script(&mut script);
    let emitted = emit::emit(&script, options.words_max.min(script_vm::limits::PROGRAM_WORDS_MAX)).map_err(|error| {
        let trouble = match error {
            emit::TooLarge::Registers(start) => {
                let message = "too much of this is half computed at once";
                Trouble::new(Span { start, end: start }, message).help("keep parts of it in variables")
            }
            emit::TooLarge::Words(words) => {
                let most = options.words_max * 8;
                Trouble::new(Span::default(), format!("the program takes {} bytes, {most} are there", words * 8))
            }
        };
        diagnostic::diagnostics(&source, vec![trouble])
    })?;
    // E2.
    debug_assert_eq!(
        script_vm::verify(
            &emitted.words,
            &script_vm::Limits { words: usize::MAX, globals: u16::MAX, data: script_vm::limits::DATA_BYTES }
        )
        .err(),
        None,
        "{text}"
    );
    let program = Program {
        words: emitted.words,
        globals,
        uses_buffer: script.uses_buffer,
        tells_float: script.tells_float,
        tells_text: script.tells_text,
        lines: emitted.lines,
        source,
    };
    Ok((program, tree))
}

fn checked(
    text: &str,
    tokens: &lex::Tokens,
    resolver: &dyn Resolver,
    options: &Options,
    expression: bool,
    troubles: &mut Vec<Trouble>,
) -> (hir::Script, Vec<Global>) {
    let empty = || (hir::Script::default(), Vec::new());
    if expression {
        let Some(tree) = parse::expression(text, &tokens.tokens, troubles) else {
            return empty();
        };
        return check::Checker::new(resolver, options, &tokens.texts, troubles).expression(&tree);
    }
    let tree = parse::script(text, &tokens.tokens, troubles);
    check::Checker::new(resolver, options, &tokens.texts, troubles).script(&tree)
}
