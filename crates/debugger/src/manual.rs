//! A command's manual: the `//!` lines of its own file.
//!
//! The first paragraph says what it does; then come its syntax, indented by four blanks and parted by ` | `; then what
//! one has to know; then `kd` blocks, which are examples here and tests in `tests/manuals.rs`.

/// The `//!` lines of a source file, without the marks.
pub(crate) fn text(source: &str) -> String {
    let lines = source.lines().take_while(|line| line.starts_with("//!"));
    let lines = lines.map(|line| line.strip_prefix("//! ").or_else(|| line.strip_prefix("//!")).unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n")
}

/// What the command does, in one line.
pub(crate) fn heading(manual: &str) -> &str {
    manual.lines().next().unwrap_or("")
}

/// The lines of its syntax.
pub(crate) fn syntax(manual: &str) -> Vec<String> {
    let before_examples = manual.lines().take_while(|line| !line.starts_with("```"));
    let indented = before_examples.filter(|line| line.starts_with("    "));
    indented.flat_map(|line| line.split(" | ")).map(|form| form.trim().to_owned()).filter(|form| !form.is_empty()).collect()
}

/// The `kd` blocks: what is typed, and what is then printed.
#[must_use]
pub fn examples(manual: &str) -> Vec<Vec<&str>> {
    let mut blocks = Vec::new();
    let mut lines = manual.lines();
    while lines.by_ref().any(|line| line.starts_with("```kd")) {
        blocks.push(lines.by_ref().take_while(|line| !line.starts_with("```")).collect());
    }
    blocks
}

/// The manual as `.help` prints it.
pub(crate) fn shown(names: &[&str], manual: &str) -> String {
    let mut text = format!("{} : {}\n", names.join(", "), heading(manual));
    for form in syntax(manual) {
        text += &format!("\nsyntax : {form}");
    }
    let mut example = false;
    let mut body = String::new();
    for line in manual.lines().skip(1) {
        if line.starts_with("```") {
            example = !example;
            body += if example { "\n\ne.g :" } else { "" };
        } else if example {
            // What differs from one machine to the next.
            body += &format!("\n    {}", line.replace("{hex}", "…").replace("{any}", "…"));
        } else if !line.starts_with("    ") {
            // Prose is one line a paragraph here; the screen has its own width.
            let goes_on = !line.is_empty() && !body.is_empty() && !body.ends_with('\n');
            body += &if goes_on { format!(" {line}") } else { format!("\n{line}") };
        }
    }
    let body = body.trim_matches('\n');
    if body.is_empty() { text } else { format!("{text}\n\n{body}") }
}
