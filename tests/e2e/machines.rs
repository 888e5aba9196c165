//! Most of the suite in one program: the tests of others, two guests at a time from the first to the last, where each program for
//! itself would end with one guest and an idle core. `cargo test -p tests --test NAME` runs one of them as ever.
//!
//! Left to programs of their own are those that look at the clock, or that keep every core busy themselves.
use libtest_mimic::Trial;
use std::process::ExitCode;
use tests::{Result, trials};

/// The programs, those that take long first. In `Cargo.toml` they have `test = false`: they run here.
const PROGRAMS: [&str; 37] = [
    "symbols",
    "threads",
    "prealloc_refused",
    "prealloc_page",
    "events_interrupt",
    "events_code",
    "events_exception",
    "refusals",
    "last_words",
    "memory",
    "ioctl_prealloc",
    "events_syscall",
    "steps",
    "tasks",
    "bp",
    "gdb",
    "prealloc_bank",
    "epthook_fast",
    "events_registers",
    "events_output",
    "hooks_user",
    "hooks_modules",
    "hooks_hot",
    "hooks_random",
    "hooks_story",
    "hooks_weaknesses",
    "hooks_traced",
    "scripts",
    "prompt_terminal",
    "prompt_batch",
    "script_gaps",
    "dead_user_space",
    "events_ports",
    "doctor",
    "events_prompt",
    "examples",
    "disguise",
];

fn main() -> Result<ExitCode> {
    Ok(trials::run(all()?))
}

fn all() -> Result<Vec<Trial>> {
    let programs = trials::programs(&PROGRAMS)?;
    let mut all = Vec::new();
    for name in PROGRAMS {
        let Some(program) = programs.get(name) else { continue };
        for (test, nightly) in trials::names(program)? {
            let (program, named) = (program.clone(), format!("{name}::{test}"));
            all.push(Trial::test(named, move || trials::test(&program, &test, &[])).with_ignored_flag(nightly));
        }
    }
    Ok(all)
}
