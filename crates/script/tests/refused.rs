//! Scripts that must be refused, with the place and the words: one line a case, in `refused/*.ds`.
//!
//! `script //! [FILE:]LINE:COLUMN part of the message [| help][; the next error]`

mod common;

use common::{Files, cases};
use script::{Options, compile};

/// Would catch an error that is told of the wrong place, with the wrong words, without its help, or not at all.
#[test]
fn every_refusal_names_its_place_and_what_would_help() {
    let (mut count, mut wrong) = (0, Vec::new());
    for (place, text, expected) in cases("refused", "//!") {
        count += 1;
        let errors = match compile(&text, &Files, &Options::default()) {
            Ok(_) => {
                wrong.push(format!("{place}: {text}\n    was taken"));
                continue;
            }
            Err(errors) => errors,
        };
        let several = expected.contains("; 1:");
        let parts = if several { expected.split("; ").collect() } else { vec![expected.as_str()] };
        for (part, error) in parts.iter().zip(&errors) {
            let (told, help) = part.split_once(" | ").map_or((*part, None), |(told, help)| (told, Some(help)));
            let (at, message) = told.split_once(' ').expect("a place and a message");
            let file = error.file.as_ref().map_or(String::new(), |file| format!("{file}:"));
            let found = format!("{file}{}:{}", error.line, error.column);
            let helped = help.is_none_or(|help| error.help.as_ref().is_some_and(|found| found.contains(help)));
            if found != at || !error.message.contains(message) || !helped {
                wrong.push(format!(
                    "{place}: {text}\n    wanted {part}\n    found {found} {} | {:?}",
                    error.message, error.help
                ));
            }
        }
        if errors.len() < parts.len() {
            wrong.push(format!("{place}: {text}\n    only {} errors", errors.len()));
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 100, "only {count} cases");
}

/// Would catch a caret under the wrong word.
#[test]
fn an_error_shows_its_line_with_carets_and_what_to_try() {
    let errors = compile("x = 1;\n\ty = @rxa + 1;", &Files, &Options::default()).unwrap_err();
    let shown = "err, there is no register rxa\n  --> script:2:6\n2 | \ty = @rxa + 1;\n  | \t    ^^^^\n     try: @rax";
    assert_eq!(errors[0].to_string(), shown);
    let long = format!("{}y = @rxa;", "x = 1; ".repeat(100));
    let shown = compile(&long, &Files, &Options::default()).unwrap_err()[0].to_string();
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[2].find("@rxa"), lines[3].find("^^^^"), "{shown}");
    assert!(lines[2].len() < 140, "{shown}");
}

/// Would catch a second error that is an echo of the first, or the third that is lost behind it.
#[test]
fn many_errors_are_told_in_one_run() {
    let text = "x = @rxa;\nif (x = 5) { foo(1); }\ny = \"a;\nz = 5 +;\nw = $pidd;\n";
    let errors = compile(text, &Files, &Options::default()).unwrap_err();
    let places: Vec<_> = errors.iter().map(|error| (error.line, error.column)).collect();
    assert_eq!(places, [(1, 5), (2, 5), (2, 14), (3, 5), (4, 8), (5, 5)]);
}

/// Would catch a stack that overflows on what is just within the limits.
#[test]
fn a_script_at_its_limits_is_compiled() {
    let arms = "elsif (x == 1) { x = 2; } ".repeat(300);
    for text in [
        format!("x = 1{};", " + x".repeat(255)),
        format!("int x = 1; x = x{};", " * x".repeat(255)),
        format!("double x = 1; x = x{};", " * x".repeat(255)),
        format!("x = {}1{};", "-(".repeat(30), ")".repeat(30)),
        format!("{} x = 1; {}", "if (x) {".repeat(60), "}".repeat(60)),
        format!("if (x) {{ }} {arms} else {{ if (x) {{ }} {arms} }}"),
        format!("x = 1{};", " && x == 2".repeat(127)),
    ] {
        let compiled = compile(&text, &Files, &Options::default());
        assert!(compiled.is_ok(), "{}", compiled.unwrap_err()[0]);
        script::oracle::source(&text);
    }
}

/// Would catch a limit that ends in a crash, in silence, or in a program that the verifier refuses.
#[test]
fn a_script_beyond_a_limit_is_refused_in_words() {
    let variables: String = (0..161).map(|number| format!("x{number:x}_ = {number:x};\n")).collect();
    let half_computed = |levels: usize| format!("x = 1; y = {}x{};", "x + (x * (".repeat(levels), "))".repeat(levels));
    for (text, message) in [
        (" ".repeat((1 << 20) + 1), "a script has 1048576 bytes at most"),
        (format!("x = 1{};", " + 1".repeat(257)), "more than 256 operators stand above each other"),
        (format!("x = {}1{};", "(".repeat(60), " + 1 + 1 + 1 + 1 + 1)".repeat(60)), "more than 256 operators"),
        (format!("x{};", "[1]".repeat(300)), "more than 256 operators"),
        (variables, "a function has 160 variables at most"),
        (format!("printf(\"{}\");", "a".repeat(4097)), "a string has 4096 bytes at most"),
        (half_computed(40), "levels stand inside each other"),
        ("f(1, ".repeat(100), "levels stand inside each other"),
        ("if (1) {".repeat(100), "levels stand inside each other"),
        (format!("printf(\"{}\"{});", "%d".repeat(300), ", @rax".repeat(300)), "too much of this is half computed"),
    ] {
        let errors = compile(&text, &Files, &Options::default()).err().unwrap_or_default();
        let told = errors.first().map(|error| error.message.as_str()).unwrap_or("nothing");
        assert!(told.contains(message), "wanted {message}, told {told}");
    }
    let small = Options { words_max: 16, ..Options::default() };
    let errors =
        compile("printf(\"a long text that takes its room\"); x = 5; print(x); print(x + 1);", &Files, &small).unwrap_err();
    assert!(errors[0].message.contains("128 are there"), "{}", errors[0].message);
}
