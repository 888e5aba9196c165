//! The heart of the suite on Intel's processors, in every `cargo test`: programs of these tests once more, with
//! `HYPERDBG_VENDOR=intel`, two guests at a time, as Bochs takes one core of the host for each.
//!
//! The whole suite on Intel takes an hour: `HYPERDBG_VENDOR=intel cargo test -p tests`. What is here is what would break first if
//! a change was made with AMD in mind: halts, steps, each hook, exits of each sort, the way in and out.
use lab::emulator::{MODEL, VENDOR};
use libtest_mimic::Trial;
use std::process::ExitCode;
use tests::{Result, trials};

/// Programs, and tests of theirs; none named are all of them.
const HEART: [(&str, &[&str]); 11] = [
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
    ("threads", &["a_program_stepped_from_its_first_instruction_to_its_last_does_what_it_does_else"]),
];

/// What runs at night on each of [`MODELS`], too.
const LEAST: [&str; 3] = ["load_unload", "halts", "epthook"];

/// Bochs' names of processors older and newer than the usual one, Skylake-X: from the first generation, whose tables have no pages
/// of 1 GiB, to the last that Bochs knows.
const MODELS: [&str; 4] = ["corei5_arrandale_m520", "corei7_haswell_4770", "tigerlake", "arrow_lake"];

fn main() -> Result<ExitCode> {
    // Who names a vendor runs all tests on that one, and none on both.
    Ok(trials::run(if std::env::var_os(VENDOR).is_some() { Vec::new() } else { all()? }))
}

fn all() -> Result<Vec<Trial>> {
    let programs = trials::programs(&HEART.map(|(program, _)| program))?;
    let mut all = Vec::new();
    for (program, chosen) in HEART {
        let Some(path) = programs.get(program) else { continue };
        let there: Vec<String> =
            trials::names(path)?.into_iter().filter(|(_, nightly)| !nightly).map(|(name, _)| name).collect();
        for test in chosen {
            assert!(there.iter().any(|name| name == test), "{program} has no test {test}");
        }
        for test in there {
            let on = |model: &'static str| {
                let (path, test) = (path.clone(), test.clone());
                move || trials::test(&path, &test, &[(VENDOR, "intel"), (MODEL, model)])
            };
            for model in MODELS.iter().filter(|_| LEAST.contains(&program)) {
                all.push(Trial::test(format!("{model}::{program}::{test}"), on(model)).with_ignored_flag(true));
            }
            if chosen.is_empty() || chosen.contains(&test.as_str()) {
                // An empty name is the usual model's.
                all.push(Trial::test(format!("{program}::{test}"), on("")));
            }
        }
    }
    Ok(all)
}
