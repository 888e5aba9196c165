//! Finds the commands: every file in `src/commands/` is one, and nothing else has to name it.
//!
//! Writes `commands.rs` into the build folder: a module for each file and a table of each module's `COMMAND` beside the
//! file's own text, whose `//!` lines are its manual.

use std::{env, fmt::Write, fs, path::PathBuf};

fn main() {
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("src/commands");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("src/commands is there")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    let (mut modules, mut table) = (String::new(), String::new());
    for file in &files {
        let name = file.file_stem().and_then(|stem| stem.to_str()).expect("a name in ASCII");
        writeln!(modules, "#[path = {file:?}]\nmod {name};").expect("writing to a string");
        writeln!(table, "    Entry {{ command: &{name}::COMMAND, source: include_str!({file:?}) }},")
            .expect("writing to a string");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("commands.rs");
    fs::write(out, format!("{modules}\nstatic ENTRIES: &[Entry] = &[\n{table}];\n")).expect("the build folder can be written");
}
