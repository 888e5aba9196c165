//! The ledger as people see it, against golden files; `UPDATE=1` writes them anew.

mod common;

use abi::kind::Kind;
use abi::request::{OWNER_ROWS_MAX, OwnerRow};
use common::Prompt;
use debugger::session::Look;
use debugger::target::fake::Root;
use std::path::Path;

/// A prompt on a screen of so many columns, over a reserve in which something has happened.
fn eventful(columns: usize) -> Prompt {
    let mut prompt = Prompt::on(Root { halted: true, ..Root::default() }, Look::default(), columns);
    for line in
        ["prealloc monitor 10", "test hold breakpoint 2", "test hold monitor 5", "test let monitor", "test hold monitor 3"]
    {
        prompt.ok(line);
    }
    prompt.err("test hold regular-event 99");
    // As an event that is set will hold one.
    let mut root = prompt.root.lock().unwrap();
    root.owners.push(OwnerRow { kind: Kind::RegularEvent as u32, owner: 3, units: 1 });
    root.rows[Kind::RegularEvent.index()].free -= 1;
    root.rows[Kind::RegularEvent.index()].used += 1;
    root.rows[Kind::RegularEvent.index()].high_water = 1;
    root.rows[Kind::Monitor.index()].refilled = 0x14;
    drop(root);
    prompt
}

fn assert_golden(name: &str, printed: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let text = format!("{}\n", printed.join("\n"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(golden, text, "{}: if this is what it shall be, run with UPDATE=1", path.display());
}

/// Would catch a column that went, came or is crooked, on a wide screen or on one of 80 columns.
#[test]
fn the_ledger_is_the_golden_one() {
    for (columns, name) in [(100, "ledger.txt"), (80, "ledger-80.txt")] {
        let printed = eventful(columns).ok("prealloc");
        assert!(printed.iter().all(|line| line.len() <= columns), "{printed:#?}");
        assert_golden(name, &printed);
    }
}

/// Would catch owners that are dropped in silence because an answer has no row for them.
#[test]
fn owners_without_a_row_are_counted_as_others() {
    let mut prompt = Prompt::halted();
    let owners = (0..u32::try_from(OWNER_ROWS_MAX).unwrap() + 2).map(|owner| OwnerRow { kind: 0, owner, units: 1 });
    prompt.root.lock().unwrap().owners = owners.collect();
    let printed = prompt.ok("prealloc");
    assert_eq!(printed.last().unwrap(), "held by others: 0x2 units");
    assert_eq!(printed.iter().filter(|line| line.starts_with("held by owner ")).count(), OWNER_ROWS_MAX);
}

/// Would catch a test's units that are lost, or that come back twice.
#[test]
fn what_tests_hold_is_shown_and_comes_back() {
    let mut prompt = Prompt::halted();
    let before = prompt.ok("prealloc");
    assert_eq!(prompt.ok("test hold !monitor 3"), ["held: 0x3 monitor; 0x11 of 0x14 free"]);
    assert_eq!(prompt.ok("test hold epthook 14"), ["held: 0x14 epthook; 0x0 of 0x14 free"]);
    assert_eq!(prompt.ok("prealloc").last().unwrap(), "held by tests: 0x3 monitor, 0x14 epthook");
    assert_eq!(prompt.ok("test let monitor"), ["given back: 0x3 monitor; 0x14 of 0x14 free"]);
    assert_eq!(prompt.ok("test let monitor"), ["given back: 0x0 monitor; 0x14 of 0x14 free"]);
    prompt.ok("test let epthook");
    let after = prompt.ok("prealloc");
    assert_eq!(before.last(), after.last());
    assert!(!after.iter().any(|line| line.starts_with("held by")));
}

/// Would catch a refusal at another request than the one that was asked for, or one that takes something.
#[test]
fn the_nth_request_fails_once_and_can_be_called_off() {
    let mut prompt = Prompt::halted();
    assert_eq!(prompt.ok("test fail monitor 3"), ["request 0x3 of monitor from now will be refused"]);
    prompt.ok("prealloc monitor 1");
    prompt.ok("test hold monitor 1");
    prompt.ok("test hold epthook 1");
    let printed = prompt.err("prealloc  monitor 2 ");
    let sentence = "err, a test asked for this refusal: 0x2 monitor asked, nothing was taken (c0001015)";
    let expected = [sentence, "     the next request is dealt with as ever", "     try: prealloc  monitor 2"];
    assert_eq!(printed, expected);
    assert_eq!(prompt.root.lock().unwrap().rows[0].reserved, 0x15);
    prompt.ok("prealloc  monitor 2");
    prompt.ok("test fail monitor 1");
    assert_eq!(prompt.ok("test fail monitor 0"), ["no request of monitor will be refused by a test"]);
    prompt.ok("prealloc monitor 1");
}
