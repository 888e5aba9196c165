//! Tests of other programs of these as trials: each in a process of its own, so many at a time as there are lanes.
use crate::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Guests at once.
const LANES: usize = 2;

/// Runs them, as the command line says.
#[must_use]
pub fn run(trials: Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(LANES);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The programs of these names, which cargo builds if they are not built yet.
///
/// # Errors
/// If one is not there.
pub fn programs(names: &[&'static str]) -> Result<BTreeMap<&'static str, PathBuf>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["test", "--quiet", "--package", "tests", "--no-run", "--message-format", "json"]).stderr(Stdio::inherit());
    for name in names {
        cargo.args(["--test", name]);
    }
    let said = cargo.output()?;
    let mut programs = BTreeMap::new();
    for line in String::from_utf8_lossy(&said.stdout).lines() {
        let message: serde_json::Value = serde_json::from_str(line)?;
        let name = names.iter().find(|name| message["target"]["name"] == **name);
        if let (Some(name), Some(path)) = (name, message["executable"].as_str()) {
            programs.insert(*name, PathBuf::from(path));
        }
    }
    match names.iter().find(|name| !programs.contains_key(*name)) {
        Some(name) => Err(format!("cargo built no {name}").into()),
        None => Ok(programs),
    }
}

/// The tests of a program, each with whether it is a nightly one.
///
/// # Errors
/// If it cannot be run.
pub fn names(program: &Path) -> Result<Vec<(String, bool)>> {
    let listed = |more: &[&str]| -> Result<Vec<String>> {
        let said = Command::new(program).args(["--list", "--format", "terse"]).args(more).output()?;
        let text = String::from_utf8_lossy(&said.stdout);
        Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    };
    let nightly = listed(&["--ignored"])?;
    Ok(listed(&[])?.into_iter().map(|name| (name.clone(), nightly.contains(&name))).collect())
}

/// One test, nightly or not, with more in its environment.
///
/// # Errors
/// With what it printed, if it fails.
pub fn test(program: &Path, test: &str, more: &[(&str, &str)]) -> std::result::Result<(), Failed> {
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture", "--include-ignored"]).envs(more.iter().copied());
    let said = command.output()?;
    if said.status.success() {
        return Ok(());
    }
    Err(format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr)).into())
}
