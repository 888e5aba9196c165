//! `prealloc plan FILE`: what it says is what happens, and the lines that it offers suffice.

mod common;

use common::Prompt;
use debugger::session::{Look, Verdict};
use debugger::target::fake::Root;
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file that is gone when the test ends.
struct Script(PathBuf);

impl Script {
    fn new(text: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hyperdbg-plan-{}-{number}.kd", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn plan(prompt: &mut Prompt, path: &str) -> Vec<String> {
    prompt.ok(&format!("prealloc plan {path}"))
}

fn tries(printed: &[String]) -> Vec<String> {
    printed.iter().filter_map(|line| line.strip_prefix("     try: ")).map(str::to_owned).collect()
}

/// Would catch a sum where the lowest point counts, a fix that does not fit, or a plan that runs something.
#[test]
fn the_lowest_point_counts_in_the_order_of_the_lines() {
    let inner = Script::new("test hold epthook 2\r\n");
    let script = Script::new(&format!(
        "# hooks\n\ntest hold monitor 10\nprealloc monitor 4\n  // more\ntest hold !MONITOR b\nprealloc release monitor 1\ntest let monitor\ntest hold regular-event 14\n.script {}\n~ 1\n",
        inner.path()
    ));
    let mut prompt = Prompt::halted();
    let before = prompt.ok("prealloc");
    let printed = plan(&mut prompt, script.path());
    let path = script.path();
    let at = "short at";
    let width = path.len() + 2;
    let expected = [
        format!("type           takes  adds  gives  free now  missing  {at:>width$}"),
        format!("monitor         0x1b  0x1f    0x1      0x14      0x4  {path}:6"),
        "epthook          0x2     0      0      0x14        0".to_owned(),
        "regular-event   0x14     0      0      0x14        0".to_owned(),
        String::new(),
        "pages: about 0x18 to reserve that, 0x100 in the bank".to_owned(),
        "     try: prealloc monitor 4".to_owned(),
    ];
    assert_eq!(printed, expected);
    assert_eq!(prompt.ok("prealloc"), before, "nothing was run");
    assert_eq!(prompt.session.prompt(), "0: kHyperDbg> ", "not the other core's");
    prompt.ok("prealloc monitor 3");
    prompt.err(&format!(".script {path}"));
}

/// Would catch a plan that is called whole although lines could not be read, or that does not say which.
#[test]
fn lines_that_would_be_refused_are_located_and_the_plan_is_incomplete() {
    let script = Script::new(
        "test hold monitr 3\nprealloc monitor 0\ntest hold monitor @rax\n.script /nowhere.kd\nuf\ntest hold big-event 2\nexit\ntest hold big-event 99\n",
    );
    let path = script.path();
    let mut prompt = Prompt::halted();
    let printed = plan(&mut prompt, path);
    let expected = [
        format!("{path}:1: couldn't resolve error at 'monitr'"),
        "     test hold monitr 3".to_owned(),
        "               ^~~~~~".to_owned(),
        format!("{path}:2: nothing to reserve: 0x0 monitor asked (c0001010)"),
        format!("{path}:3: no registers to read: what they hold is known only when the line is run"),
        format!("{path}:4: '/nowhere.kd' cannot be read: it does not exist"),
        format!("{path}:5: 'uf' is not there yet"),
        "     instead: test hold monitor 3".to_owned(),
        "the plan is incomplete: 5 lines of it are not counted".to_owned(),
    ];
    for line in expected {
        assert!(printed.contains(&line), "{line}\n{printed:#?}");
    }
    assert_eq!(tries(&printed), ["prealloc big-event 2"], "what comes after `exit` is not run");
    let script = Script::new("g\n");
    assert_eq!(plan(&mut prompt, script.path()), [format!("{} takes nothing of the reserve", script.path())]);
}

/// Would catch an offer before the file for what the file itself releases.
#[test]
fn what_is_released_whole_can_only_be_reserved_again_behind_it() {
    let script = Script::new("prealloc release monitor\ntest hold monitor 3\nprealloc release big-event\n");
    let path = script.path();
    let mut prompt = Prompt::halted();
    let printed = plan(&mut prompt, path);
    assert!(printed.contains(&format!("     behind {path}:1: prealloc monitor 3")), "{printed:#?}");
    assert_eq!(tries(&printed), ["prealloc big-event 1"], "nothing to release would be refused");
    prompt.ok("prealloc big-event 1");
    let mended = Script::new("prealloc release monitor\nprealloc monitor 3\ntest hold monitor 3\nprealloc release big-event\n");
    assert_eq!(tries(&plan(&mut prompt, mended.path())), [""; 0]);
    prompt.ok(&format!(".script {}", mended.path()));
}

/// Would catch a file that includes itself and is read for ever, or deeper than it would be run.
#[test]
fn files_that_run_each_other_end() {
    let script = Script::new("");
    fs::write(&script.0, format!("test hold monitor 1\n.script {0}\n.script {0}\n", script.path())).unwrap();
    let mut prompt = Prompt::halted();
    let printed = plan(&mut prompt, script.path());
    assert!(printed.iter().any(|line| line.ends_with("scripts call each other more than 8 deep")), "{printed:#?}");
    assert!(printed[1].starts_with("monitor    0x8 "), "{printed:#?}");
    let leaf = Script::new(&"# nothing\n".repeat(1000));
    let middle = Script::new(&format!(".script {}\n", leaf.path()).repeat(1000));
    let printed = prompt.err(&format!("prealloc plan {}", middle.path()));
    assert_eq!(printed, ["err, the file and those it runs have more than 100000 lines"]);
    let large = Script::new(&"test hold monitor ffffffffffffffff\n".repeat(2));
    let printed = prompt.err(&format!("prealloc plan {}", large.path()));
    assert_eq!(printed, ["err, what the file takes of monitor does not fit 64 bits, and a count is not cut"]);
    assert_eq!(prompt.err("prealloc plan /nowhere.kd"), ["err, '/nowhere.kd' cannot be read: it does not exist"]);
}

/// Would catch a field of the plan that programs do not get.
#[test]
fn programs_get_the_plan_too() {
    let script = Script::new("test hold monitor 15\nnonsense\n");
    let mut prompt = Prompt::with_look(Root { halted: true, ..Root::default() }, Look { json: true, colour: false });
    let printed = plan(&mut prompt, script.path());
    let value: serde_json::Value = serde_json::from_str(&printed[0]).unwrap();
    let result = &value["result"];
    assert_eq!((&result["complete"], &result["lines"]), (&false.into(), &2.into()));
    assert_eq!(result["before"], serde_json::json!(["prealloc monitor 1"]));
    assert_eq!(result["types"][0]["missing"], 1);
    assert_eq!(result["problems"][0]["at"], format!("{}:2", script.path()));
}

fn runs(prompt: &mut Prompt, path: &Path) -> (Verdict, Vec<String>) {
    prompt.typed(&format!(".script {}", path.display()))
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    let kind = || prop::sample::select(vec!["monitor", "big-event", "breakpoint"]);
    let line = prop_oneof![
        4 => (kind(), 1..0x40_u64).prop_map(|(kind, count)| format!("test hold {kind} {count:x}")),
        2 => (kind(), 1..0x20_u64).prop_map(|(kind, count)| format!("prealloc {kind} {count:x}")),
        2 => (kind(), 1..0x20_u64).prop_map(|(kind, count)| format!("prealloc release {kind} {count:x}")),
        1 => kind().prop_map(|kind| format!("prealloc release {kind}")),
        2 => kind().prop_map(|kind| format!("test let {kind}")),
        1 => Just("pause".to_owned()),
        // Alone it is refused by a machine that runs.
        1 => Just("pause\ng".to_owned()),
    ];
    let lines = prop::collection::vec(line, 1..12);
    lines.prop_map(|lines| lines.iter().flat_map(|line| line.lines()).map(str::to_owned).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Would catch an order of lines for which the offered ones do not suffice, halted or running, with refills and without (L1).
    #[test]
    fn with_the_lines_that_are_offered_the_file_runs(
        halted in any::<bool>(), before in lines(), lines in lines()
    ) {
        let mut prompt = Prompt::new(Root { halted, linux_gives: Some(u64::MAX), ..Root::default() });
        for line in &before {
            prompt.typed(line);
        }
        let mut lines = lines;
        loop {
            let script = Script::new(&lines.join("\n"));
            let printed = plan(&mut prompt, script.path());
            // Lines that belong into the file are put there, the last first so that the numbers of the others stay.
            let mut inside: Vec<(usize, String)> = printed.iter().filter_map(|line| {
                let (place, line) = line.strip_prefix("     behind ")?.rsplit_once(": ")?;
                Some((place.rsplit_once(':')?.1.parse().ok()?, line.to_owned()))
            }).collect();
            if inside.is_empty() {
                for line in tries(&printed) {
                    prompt.ok(&line);
                }
                let (verdict, said) = runs(&mut prompt, &script.0);
                prop_assert_eq!(verdict, Verdict::Done, "{:#?}\n{:#?}\n{:#?}", lines, printed, said);
                break;
            }
            inside.sort();
            for (behind, line) in inside.into_iter().rev() {
                lines.insert(behind, line);
            }
        }
    }
}
