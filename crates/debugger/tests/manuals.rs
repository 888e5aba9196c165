//! Every example of every manual, typed at a prompt over the model of root.

mod common;

use common::{Prompt, matches};
use debugger::commands;
use debugger::manual::examples;
use std::process::Command;

/// The end of a prompt, by which an example's typed lines are known.
const PROMPTS: [&str; 4] = ["0: kHyperDbg> ", "1: kHyperDbg> ", "(running) HyperDbg> ", "HyperDbg> "];

/// ... and how those of a thread under interception end.
const OF_THREAD: &str = " u64HyperDbg> ";

fn prompt_of(line: &str) -> Option<(&str, &str)> {
    let of_thread = line.find(OF_THREAD).map(|at| line.split_at(at + OF_THREAD.len()));
    of_thread.or_else(|| PROMPTS.iter().find_map(|prompt| line.strip_prefix(prompt).map(|typed| (*prompt, typed))))
}

/// Would catch an example that shows what nothing prints, or a prompt that is another one than is shown.
#[test]
fn every_example_of_every_manual_prints_what_it_shows() {
    let (mut typed_lines, mut wrong) = (0, Vec::new());
    for (command, manual) in commands::all() {
        for block in examples(&manual) {
            let (first, _) = prompt_of(block[0]).expect("an example begins with a prompt");
            let mut prompt = match first {
                "0: kHyperDbg> " => Prompt::halted(),
                "HyperDbg> " => Prompt::vmi(),
                _ => Prompt::running(),
            };
            let mut lines = block.into_iter().peekable();
            while let Some(line) = lines.next() {
                let (shown, typed) = prompt_of(line).unwrap();
                assert_eq!(prompt.session.prompt(), shown, "{}: before `{typed}`", command.names[0]);
                let mut expected = Vec::new();
                while let Some(line) = lines.next_if(|line| prompt_of(line).is_none()) {
                    expected.push(line);
                }
                let (_, printed) = prompt.typed(typed);
                if !matches(&expected, &printed) {
                    wrong.push(format!("{}: `{typed}`\nshown   {expected:#?}\nprinted {printed:#?}", command.names[0]));
                }
                typed_lines += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(typed_lines > 20, "only {typed_lines} lines were found");
}

/// Would catch a manual without what `.help` and the refusal of a wrong use rely on.
#[test]
fn every_manual_says_what_the_command_does_and_how_it_is_typed() {
    for (command, manual) in commands::all() {
        let name = command.names[0];
        let heading = manual.lines().next().unwrap();
        assert!(heading.ends_with('.') && heading.len() <= 100, "{name}: {heading}");
        let mut prompt = Prompt::vmi();
        let help = prompt.ok(&format!(".help {name}"));
        assert!(help.iter().any(|line| line.starts_with("syntax : ") && line.contains(name)), "{name}: {help:#?}");
        assert!(help.iter().any(|line| line == "e.g :"), "{name} has no example");
        assert!(!help.iter().any(|line| line.contains("```")), "{name}: {help:#?}");
    }
}

/// Would catch two commands that claim one name, or a name that can never be typed.
#[test]
fn names_are_lower_case_and_taken_once() {
    let mut names: Vec<&str> = commands::names().collect();
    assert!(names.iter().all(|name| *name == name.to_lowercase() && !name.contains(char::is_whitespace)));
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    for name in
        ["PREALLOC", "Preallocate", "preallocation", ".HELP", "!help", ".hh", "g", "go", "~", "core", "?", ".format", "clear"]
    {
        assert!(commands::find(name).is_some(), "{name}");
    }
}

/// Would catch a command file that `cargo fmt` never saw: it follows `mod` lines, and these are written by `build.rs`.
#[test]
fn command_files_are_formatted() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/commands");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let check = Command::new("rustfmt").args(["--edition", "2024", "--check"]).args(files).output();
    // A toolchain without rustfmt can build and test all the rest.
    if let Ok(output) = check {
        assert!(output.status.success(), "run rustfmt on them:\n{}", String::from_utf8_lossy(&output.stdout));
    }
}
