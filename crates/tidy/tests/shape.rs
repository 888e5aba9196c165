//! The shape of files: how long they are, and who may say `unsafe` and with what argument.

use std::collections::BTreeSet;
use tidy::File;

/// Lines of a file at most; past 500 one looks for the second idea in it.
const LINES_MAX: usize = 700;

/// Longer ones, and why.
const LONGER: [(&str, &str); 0] = [];

/// Lines between a SAFETY comment and its `unsafe`: the head of a statement or a method chain may stand there.
const SAFETY_LINES: usize = 4;

fn rust(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.is(&["rs"]) && !file.path.starts_with("crates/tidy/"))
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// The part of a line that is code.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or("")
}

/// Would catch a second idea that moved into a file beside the first.
#[test]
fn no_file_is_longer_than_a_reader_takes_in() {
    let files = tidy::files();
    let written = files.iter().filter(|file| file.is(&["rs", "c", "h", "S", "ld", "sh"]));
    let long: BTreeSet<&str> =
        written.filter(|file| file.text.lines().count() > LINES_MAX).map(|file| file.path.as_str()).collect();
    let allowed: BTreeSet<&str> = LONGER.iter().map(|(path, _)| *path).collect();
    assert_eq!(long, allowed, "files of more than {LINES_MAX} lines, and those of which we know");
}

/// Would catch an `unsafe` that docs/soundness.md does not account for, and an account of one that is gone.
#[test]
fn every_file_that_says_unsafe_is_accounted_for() {
    let files = tidy::files();
    let page = tidy::read("docs/soundness.md");
    let says = |file: &&File| {
        let attribute = |line: &str| line.contains("expect(unsafe_code") || line.contains("allow(unsafe_code");
        file.text.lines().any(|line| attribute(line) && !is_comment(line))
    };
    let found: BTreeSet<&str> = rust(&files).filter(says).map(|file| file.path.as_str()).collect();
    let rows = tidy::table(&page, "## Where unsafe is");
    let told: BTreeSet<&str> = rows.iter().map(|row| row[0]).collect();
    let untold: Vec<_> = found.difference(&told).collect();
    let gone: Vec<_> = told.difference(&found).collect();
    assert!(untold.is_empty() && gone.is_empty(), "docs/soundness.md lacks {untold:?} and tells of {gone:?}");
}

/// Would catch an opt-in that outlives its need (`allow` does not notice) or gives no reason.
#[test]
fn unsafe_is_expected_with_a_reason_and_never_just_allowed() {
    let files = tidy::files();
    let mut wrong = Vec::new();
    for file in rust(&files) {
        for (number, line) in file.lines().filter(|(_, line)| !is_comment(line)) {
            let expected = !line.contains("expect(unsafe_code") || line.contains("reason = \"");
            if line.contains("allow(unsafe_code") || !expected {
                wrong.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Would catch an operation that nobody argued for.
#[test]
fn every_unsafe_block_stands_below_its_argument() {
    let files = tidy::files();
    let (mut blocks, mut wrong) = (0, Vec::new());
    for file in rust(&files) {
        let lines: Vec<&str> = file.text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let block = code(line).contains("unsafe {") || code(line).trim_start().starts_with("unsafe impl");
            if is_comment(line) || !block {
                continue;
            }
            blocks += 1;
            let mut above = lines[..at].iter().rev();
            let near = above.by_ref().take(SAFETY_LINES).position(|line| is_comment(line));
            // The rest of the comment, of any length, up to its first line.
            let comment = near.map(|near| lines[..at - near].iter().rev().take_while(|line| is_comment(line)));
            if !comment.is_some_and(|mut comment| comment.any(|line| line.trim_start().starts_with("// SAFETY: "))) {
                wrong.push(format!("{}:{}: {}", file.path, at + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(blocks > 40, "only {blocks} blocks were found");
}
