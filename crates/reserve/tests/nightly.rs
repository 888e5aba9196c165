//! What takes minutes, for nights: `cargo test -p reserve --test nightly -- --ignored --nocapture`.

use std::process::Command;

/// Runs cargo on this crate and says whether it went well.
fn cargo(words: &[&str], environment: &[(&str, &str)]) -> bool {
    let target = concat!(env!("CARGO_TARGET_TMPDIR"), "/nightly");
    let mut command = Command::new(env!("CARGO"));
    command.args(words).current_dir(env!("CARGO_MANIFEST_DIR")).env("CARGO_TARGET_DIR", target);
    command.envs(environment.iter().copied()).status().expect("cargo runs").success()
}

/// Would catch an interleaving of two or three cores, or of an NMI, that loses or doubles a unit (`tests/loom.rs`).
#[test]
#[ignore = "nightly: minutes"]
fn every_interleaving_keeps_every_unit() {
    let words = ["test", "--release", "-p", "reserve", "--test", "loom", "--", "--nocapture"];
    assert!(cargo(&words, &[("RUSTFLAGS", "--cfg loom")]));
}

/// Would catch the one sequence in a million that the few hundred of every day do not (`tests/model.rs`).
#[test]
#[ignore = "nightly: minutes"]
fn a_million_sequences_do_what_the_model_does() {
    let words = ["test", "--release", "-p", "reserve", "--test", "model", "--", "--nocapture"];
    assert!(cargo(&words, &[("PROPTEST_CASES", "1000000")]));
}
