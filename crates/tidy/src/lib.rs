//! What rustc and clippy cannot see, as tests: arrows between rooms, words that belong elsewhere, the shape of files, and
//! pages that are made of source text. Nothing here runs outside tests.
//!
//! **Holds always**
//! - T1: a test reads the files as they lie in the project's folder, committed or not; build folders are left out.
//! - T2: an exception stands in a list beside its reason, and one that nothing needs any more fails, too.
//! - T3: a generated page is rewritten when `UPDATE` is set and compared otherwise.
#![forbid(unsafe_code)]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Folders that hold nothing written by hand; in a worktree one of them is a file.
const LEFT_OUT: [&str; 6] = ["target", ".git", "fuzz/target", "fuzz/corpus", "fuzz/artifacts", "fuzz/coverage"];

/// One text file of the project.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path from the project's folder, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl File {
    /// Whether its path ends with a dot and one of these.
    #[must_use]
    pub fn is(&self, endings: &[&str]) -> bool {
        let ending = Path::new(&self.path).extension().unwrap_or_default();
        endings.iter().any(|known| ending == *known)
    }

    /// Its lines with their numbers from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }
}

/// The project's folder.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("/")).to_owned()
}

/// Every file of the project that is text, in the order of their paths.
#[must_use]
pub fn files() -> Vec<File> {
    let mut found = Vec::new();
    collect(&root(), "", &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(folder: &Path, prefix: &str, found: &mut Vec<File>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type();
        if LEFT_OUT.contains(&path.as_str()) {
            continue;
        }
        if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
            collect(&entry.path(), &format!("{path}/"), found);
        } else if kind.is_ok_and(|kind| kind.is_file())
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            found.push(File { path, text });
        }
    }
}

/// The text of one file, by its path from the project's folder; empty if it is not there.
#[must_use]
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_default()
}

/// Compares a generated page with the committed one, or writes it when `UPDATE` is set. `None`, or what is wrong.
#[must_use]
pub fn stale(path: &str, text: &str) -> Option<String> {
    let at = root().join(path);
    if env::var_os("UPDATE").is_some() {
        let folder = at.parent().map_or(Ok(()), fs::create_dir_all);
        return folder.and_then(|()| fs::write(&at, text)).err().map(|error| format!("{path}: {error}"));
    }
    (read(path) != text).then(|| format!("{path} is stale; run: UPDATE=1 cargo test -p tidy"))
}

/// The cells of a line of a Markdown table, without the blanks and backticks around them.
#[must_use]
pub fn cells(line: &str) -> Vec<&str> {
    let Some(inner) = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|')) else { return Vec::new() };
    inner.split('|').map(|cell| cell.trim().trim_matches('`')).collect()
}

/// The rows of the first Markdown table behind a heading, without its head.
#[must_use]
pub fn table<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let lines = text.lines().skip_while(|line| *line != heading).skip_while(|line| !line.starts_with('|'));
    lines.take_while(|line| line.starts_with('|')).skip(2).map(cells).collect()
}
