//! The heart of the suite on Intel's processors, in every `cargo test`: programs of these tests once more, with
//! `HYPERDBG_VENDOR=intel`, two guests at a time, as Bochs takes one core of the host for each.
//!
//! The whole suite on Intel takes an hour: `HYPERDBG_VENDOR=intel cargo test -p tests`. What is here is what would break first if
//! a change was made with AMD in mind: halts, steps, each hook, exits of each sort, the way in and out.
use lab::emulator::{MODEL, VENDOR};
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use tests::Result;

/// Programs, and tests of theirs; none named are all of them.
const HEART: [(&str, &[&str]); 10] = [
    (
        "epthook",
        &["calls_are_exact_on_both_cores_at_once_and_neighbours_run_right", "whatever_an_instruction_is_it_does_what_it_does"],
    ),
    ("halts", &["two_hundred_halts_from_each_core_at_once_all_arrive", "two_hundred_pauses_of_busy_cores_disturb_nothing"]),
    ("events", &["a_break_halts_at_the_instruction_and_a_flood_is_counted"]),
    ("load_unload", &["the_module_comes_and_goes_with_the_hypervisor_loaded"]),
    ("monitor", &["each_monitor_counts_what_it_waits_for_and_no_other_byte"]),
    ("epthook2", &["calls_are_exact_on_both_cores_at_once_and_a_count_has_no_exit"]),
    ("events_steer", &["a_script_injects_what_the_guest_takes_for_its_own"]),
    ("last_words", &["programs_on_isolated_page_tables_run_on_when_root_is_gone"]),
    ("shield", &[]),
    ("steps", &["each_step_ends_where_its_instruction_does"]),
];

/// What runs at night on each of [`MODELS`], too.
const LEAST: [&str; 3] = ["load_unload", "halts", "epthook"];

/// Bochs' names of processors older and newer than the usual one, Skylake-X: from the first generation, whose tables have no pages
/// of 1 GiB, to the last that Bochs knows.
const MODELS: [&str; 4] = ["corei5_arrandale_m520", "corei7_haswell_4770", "tigerlake", "arrow_lake"];

/// Guests at once.
const LANES: usize = 2;

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(LANES);
    // Who names a vendor runs all tests on that one, and none on both.
    let trials = if std::env::var_os(VENDOR).is_some() { Vec::new() } else { trials()? };
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

fn trials() -> Result<Vec<Trial>> {
    let programs = programs()?;
    let mut trials = Vec::new();
    for (program, chosen) in HEART {
        let path = programs.get(program).ok_or(format!("cargo built no {program}"))?;
        let all = names(path)?;
        for test in chosen {
            assert!(all.iter().any(|name| name == test), "{program} has no test {test}");
        }
        for test in all {
            for model in MODELS.iter().filter(|_| LEAST.contains(&program)) {
                let (path, test, name) = (path.clone(), test.clone(), format!("{model}::{program}::{test}"));
                trials.push(Trial::test(name, move || on_intel(&path, &test, model)).with_ignored_flag(true));
            }
            if chosen.is_empty() || chosen.contains(&test.as_str()) {
                let path = path.clone();
                trials.push(Trial::test(format!("{program}::{test}"), move || on_intel(&path, &test, "")));
            }
        }
    }
    Ok(trials)
}

/// The programs that cargo has just built, by name.
fn programs() -> Result<BTreeMap<String, PathBuf>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["test", "--package", "tests", "--no-run", "--message-format", "json"]).stderr(Stdio::null());
    for (program, _) in HEART {
        cargo.args(["--test", program]);
    }
    let said = cargo.output()?;
    let mut programs = BTreeMap::new();
    for line in String::from_utf8_lossy(&said.stdout).lines() {
        let message: serde_json::Value = serde_json::from_str(line)?;
        if let (Some(name), Some(path)) = (message["target"]["name"].as_str(), message["executable"].as_str()) {
            programs.insert(name.to_owned(), PathBuf::from(path));
        }
    }
    Ok(programs)
}

/// The tests of a program that are no nightly ones.
fn names(program: &Path) -> Result<Vec<String>> {
    let listed = |more: &[&str]| -> Result<Vec<String>> {
        let said = Command::new(program).args(["--list", "--format", "terse"]).args(more).output()?;
        let text = String::from_utf8_lossy(&said.stdout);
        Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    };
    let ignored = listed(&["--ignored"])?;
    Ok(listed(&[])?.into_iter().filter(|name| !ignored.contains(name)).collect())
}

/// A test on a model, or, if none is named, on the usual one.
fn on_intel(program: &Path, test: &str, model: &str) -> std::result::Result<(), Failed> {
    let mut command = Command::new(program);
    let said = command.args(["--exact", test, "--nocapture"]).env(VENDOR, "intel").env(MODEL, model).output()?;
    if said.status.success() {
        return Ok(());
    }
    Err(format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr)).into())
}
