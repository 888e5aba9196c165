//! The crate graph against the table "Rooms" in docs/architecture.md: an arrow that is not drawn there does not exist.

use serde_json::Value;
use std::{collections::BTreeMap, process::Command};

/// What a room calls: in its own code, and in its tests only.
#[derive(Debug, Default, PartialEq, Eq)]
struct Calls {
    always: Vec<String>,
    in_tests: Vec<String>,
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(tidy::root());
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

fn built() -> BTreeMap<String, Calls> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let names: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let calls = |package: &Value, name: &str| {
        let mut calls = Calls::default();
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let on = dependency["name"].as_str().unwrap_or_default();
            if on != name && names.contains(&on) {
                let list = if dependency["kind"] == "dev" { &mut calls.in_tests } else { &mut calls.always };
                list.push(on.to_owned());
            }
        }
        calls.in_tests.retain(|on| !calls.always.contains(on));
        for list in [&mut calls.always, &mut calls.in_tests] {
            list.sort();
            list.dedup();
        }
        calls
    };
    packages.iter().filter_map(|package| package["name"].as_str().map(|name| (name.to_owned(), calls(package, name)))).collect()
}

fn drawn() -> BTreeMap<String, Calls> {
    let page = tidy::read("docs/architecture.md");
    let names = |cell: &str| {
        let mut names: Vec<String> =
            cell.split(',').map(|name| name.trim().trim_matches('`').to_owned()).filter(|name| !name.is_empty()).collect();
        names.sort();
        names
    };
    let rows = tidy::table(&page, "## Rooms");
    rows.iter().map(|row| (row[0].to_owned(), Calls { always: names(row[2]), in_tests: names(row[3]) })).collect()
}

/// Would catch a room that calls one it must not know, and a picture that no longer shows what is built.
#[test]
fn every_arrow_between_rooms_is_drawn_and_every_drawn_one_is_built() {
    let (built, drawn) = (built(), drawn());
    let wrong: Vec<String> = built
        .keys()
        .chain(drawn.keys().filter(|room| !built.contains_key(*room)))
        .filter(|room| built.get(*room) != drawn.get(*room))
        .map(|room| format!("{room}: built {:?}, drawn {:?}", built.get(room), drawn.get(room)))
        .collect();
    assert!(wrong.is_empty(), "docs/architecture.md, table \"Rooms\":\n{}", wrong.join("\n"));
    assert!(built.len() >= 9, "only {} rooms were found", built.len());
}

/// Would catch a heart that learnt to say `unsafe`: what the table calls forbidden is forbidden by its first lines.
#[test]
fn a_room_without_unsafe_forbids_it() {
    let page = tidy::read("docs/architecture.md");
    let (mut checked, mut wrong) = (0, Vec::new());
    for row in tidy::table(&page, "## Rooms") {
        if row[4] != "forbidden" {
            continue;
        }
        let folder = if row[0] == "tests" { "tests".to_owned() } else { format!("crates/{}/src", row[0]) };
        let head = tidy::read(&format!("{folder}/lib.rs"));
        checked += 1;
        if !head.contains("#![forbid(unsafe_code)]") {
            wrong.push(row[0]);
        }
    }
    assert!(wrong.is_empty(), "`#![forbid(unsafe_code)]` is missing in {wrong:?}");
    assert!(checked >= 4, "only {checked} rooms were found");
}
