//! Every command's JSON against `schema/answer.json`.

mod common;

use common::Prompt;
use debugger::commands;
use debugger::manual::examples;
use debugger::news::{Message, Met, News};
use debugger::session::Look;
use debugger::target::fake::Root;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const JSON: Look = Look { json: true, colour: false };

fn schema() -> Value {
    serde_json::from_str(include_str!("../schema/answer.json")).unwrap()
}

/// Checks the part of JSON Schema that ours uses; a word that it does not know is an error of the schema.
fn check(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let alternatives = |all: &Value, most: usize| {
        let errors: Vec<String> = all.as_array().unwrap().iter().filter_map(|one| check(root, one, value).err()).collect();
        let fitting = all.as_array().unwrap().len() - errors.len();
        if (1..=most).contains(&fitting) { Ok(()) } else { Err(format!("{fitting} alternatives fit {value}: {errors:?}")) }
    };
    for (word, wanted) in schema.as_object().unwrap() {
        match word.as_str() {
            "$schema" | "$defs" | "title" | "description" => {}
            "$ref" => {
                let name = wanted.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                check(root, root["$defs"].get(name).ok_or("no such definition")?, value)?;
            }
            "oneOf" => alternatives(wanted, 1)?,
            "anyOf" => alternatives(wanted, usize::MAX)?,
            "type" => {
                let fits = match wanted.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_u64() || value.is_i64(),
                    other => return Err(format!("unknown type {other}")),
                };
                if !fits {
                    return Err(format!("{value} is no {wanted}"));
                }
            }
            "const" if value != wanted => return Err(format!("{value} is not {wanted}")),
            "enum" if !wanted.as_array().unwrap().contains(value) => return Err(format!("{value} is none of {wanted}")),
            "minimum" if value.as_i64().is_some_and(|value| value < wanted.as_i64().unwrap()) => {
                return Err(format!("{value} is too small"));
            }
            "const" | "enum" | "minimum" | "additionalProperties" => {}
            "required" => {
                if let Some(missing) =
                    wanted.as_array().unwrap().iter().find(|name| value.get(name.as_str().unwrap()).is_none())
                {
                    return Err(format!("{missing} is missing in {value}"));
                }
            }
            "items" => value.as_array().into_iter().flatten().try_for_each(|item| check(root, wanted, item))?,
            "properties" => {}
            other => return Err(format!("the schema says {other}")),
        }
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        match (schema.get("properties").and_then(|all| all.get(name)), schema.get("additionalProperties")) {
            (Some(wanted), _) => check(root, wanted, field)?,
            (None, Some(Value::Bool(false))) => return Err(format!("{name} is not foreseen")),
            (None, Some(wanted @ Value::Object(_))) => check(root, wanted, field)?,
            (None, _) => {}
        }
    }
    Ok(())
}

fn checked(lines: &[String]) -> Vec<Value> {
    let schema = schema();
    let values: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{line}: {why}"))).collect();
    for value in &values {
        if let Err(why) = check(&schema, &schema, value) {
            panic!("{value:#}\n{why}");
        }
    }
    values
}

/// Would catch a field that came, went or changed its type without the schema.
#[test]
fn every_example_of_every_manual_answers_in_the_schema() {
    let mut done = 0;
    for (_, manual) in commands::all() {
        for line in examples(&manual).into_iter().flatten() {
            let Some((prompt, typed)) = line.split_once("HyperDbg> ") else { continue };
            let root = Root { halted: prompt.ends_with('k'), link: !prompt.is_empty(), ..Root::default() };
            let (_, printed) = Prompt::with_look(root, JSON).typed(typed);
            let values = checked(&printed);
            assert_eq!(values.iter().filter(|value| value["command"] == typed).count(), 1, "{typed}: {printed:?}");
            done += values.iter().filter(|value| value["ok"] == true).count();
        }
    }
    assert!(done > 15, "only {done} were done");
}

/// Would catch the same in what no manual shows, and in notes.
#[test]
fn other_answers_are_in_the_schema_too() {
    let mut prompt = Prompt::with_look(Root { halted: true, bank_free: 1, ..Root::default() }, JSON);
    for line in [
        ".help",
        "r",
        "prealloc monitor 10",
        "prealloc epthook 0",
        "~ \"1 2\"",
        "g g",
        "test hold monitor 2",
        "test hold big-event 2",
        "test let monitor",
        "test fail monitor 1",
        "!cpuid script { .x = @rxa; z = @rbz; }",
        "!cpuid script {file:/nowhere.ds}",
        "!cpuid 1",
        "!tsc script { .x = 1; }",
        "events",
        "events d 1",
        "? 1.5",
        "? printf(\"a\\nb\")",
        "events c all",
        "prealloc",
        "dq ffff888000000ff8 l 1001",
        "!db 9000",
        "!sb 0 l ffffffffffffffff cc",
        "sd ffff888000000000 l 100 1",
        "!eb 2000 1",
        "u ffffffff81000ff8 l 10",
        "!pte 1000",
        "r rax = 5",
        "test fault ud",
    ] {
        checked(&prompt.typed(line).1);
    }
    let saved = std::env::temp_dir().join(format!("hyperdbg-json-{}.elf", std::process::id()));
    checked(
        &Prompt::with_look(Root { link: false, ..Root::default() }, JSON).typed(&format!(".sym save {}", saved.display())).1,
    );
    std::fs::remove_file(saved).unwrap();
    let script = std::env::temp_dir().join(format!("hyperdbg-json-{}.kd", std::process::id()));
    std::fs::write(&script, "prealloc release monitor\ntest hold monitor 3\ntest hold big-event 3\nnonsense\n").unwrap();
    let mut planner = Prompt::with_look(Root { halted: true, ..Root::default() }, JSON);
    let (_, planned) = planner.typed(&format!("prealloc plan {}", script.display()));
    std::fs::remove_file(script).unwrap();
    let plan = &checked(&planned)[0]["result"];
    assert!(
        ["types", "problems", "before", "inside"].iter().all(|all| plan[all].as_array().is_some_and(|all| !all.is_empty()))
    );
    let hello = Root::default().hello();
    for news in [
        News::Lost,
        News::Goodbye(0),
        News::Goodbye(77),
        News::LastWords("x".to_owned()),
        News::OtherVersion(3),
        News::Said { messages: vec![Message { event: Some(3), core: 1, text: b"a\nb\n".to_vec() }], lost: 2 },
        News::Met { hello, how: Met::Back },
        News::Met { hello, how: Met::Again },
        News::Met { hello, how: Met::Unannounced },
        News::Met { hello, how: Met::First },
    ] {
        prompt.inbox.push(news);
    }
    let (_, printed) = prompt.typed("");
    assert_eq!(checked(&printed).len(), 11);
}

/// Would catch a watched ledger that is no ledger.
#[test]
fn what_is_watched_is_in_the_schema() {
    let mut prompt = Prompt::with_look(Root { halted: true, ..Root::default() }, JSON);
    let cancel = prompt.cancel.clone();
    let (done, begun) = (AtomicBool::new(false), Instant::now());
    let printed = thread::scope(|scope| {
        // Again and again, since each line begins by forgetting it.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(30) {
                cancel.flag().store(true, Ordering::Relaxed);
                thread::yield_now();
            }
        });
        let (_, printed) = prompt.typed("prealloc --watch");
        done.store(true, Ordering::Relaxed);
        printed
    });
    let values = checked(&printed);
    assert_eq!((values.len(), &values[0]["more"], values[1].get("more")), (2, &true.into(), None));
    assert!(values[0]["notes"][0].as_str().unwrap().contains("halted"));
}

/// Would catch an answer that a program takes for that of its own line.
#[test]
fn what_nobody_typed_is_marked() {
    let mut prompt = Prompt::with_look(Root::default(), JSON);
    for (line, ok) in [("pause", true), ("pause twice", false)] {
        prompt.session.run_untyped(line);
        let values = checked(&prompt.typed("").1);
        assert_eq!((&values[0]["command"], &values[0]["ok"], &values[0]["typed"]), (&line.into(), &ok.into(), &false.into()));
        let values = checked(&prompt.typed(line).1);
        assert_eq!(values[0].get("typed"), None);
    }
}
