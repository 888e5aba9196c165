//! Programs that nobody wrote: the interpreter and the tree walker agree on all of them, and no text makes anything panic.

use proptest::prelude::*;
use script::oracle;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    /// Would catch a fold, an emission or an instruction that means something else than the tree.
    #[test]
    fn the_interpreter_does_what_the_tree_says(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        oracle::generated(&bytes);
    }

    /// Would catch a panic of lexer, parser, checker or compiler.
    #[test]
    fn any_text_is_compiled_or_refused(text in "\\PC{0,80}") {
        oracle::source(&text);
    }

    /// Would catch the same with text that comes further.
    #[test]
    fn any_words_of_the_language_are_compiled_or_refused(words in prop::collection::vec(prop::sample::select(WORDS), 0..40)) {
        oracle::source(&words.join(" "));
    }
}

const WORDS: &[&str] = &[
    "if",
    "elsif",
    "else",
    "while",
    "do",
    "for",
    "break",
    "continue",
    "return",
    "struct",
    "typedef",
    "int",
    "char",
    "unsigned",
    "long",
    "double",
    "float",
    "void",
    "bool",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ";",
    ",",
    "=",
    "+=",
    "==",
    "<",
    ">=",
    "&&",
    "||",
    "+",
    "-",
    "*",
    "/",
    "%",
    "&",
    "|",
    "^",
    "~",
    "!",
    "<<",
    ">>",
    "++",
    "--",
    "->",
    ".",
    "x",
    "y",
    "f",
    "p",
    ".g",
    "@rax",
    "@cf",
    "$pid",
    "$buffer",
    "5",
    "0n10",
    "1.5",
    "\"text\"",
    "L\"w\"",
    "'c'",
    "printf",
    "print",
    "poi",
    "eq",
    "strlen",
    "memcpy",
    "sizeof",
    "reference",
    "#include",
    "x = 5;",
    "int x;",
    "f(x)",
    "int f(int x) {",
    "struct p { int x; };",
    "struct p",
    "a`b",
];
