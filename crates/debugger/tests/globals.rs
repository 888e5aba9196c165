//! Globals and texts at the prompt, over the model of root: what one prompt calls `.n` is `.n` at every other.

mod common;

use abi::request::{self, global::Row, op};
use common::Prompt;
use debugger::session::Look;
use debugger::target::fake::Root;

fn row(name: &str, cell: u16) -> Row {
    Row { name: request::name(name), cell, cells: 1, zero: 0 }
}

/// Would catch a prompt that takes another cell for the same name, or the same cell for another, and one that forgets names
/// when it is started anew.
#[test]
fn prompts_agree_on_what_a_global_is() {
    for root in [Root { halted: true, ..Root::default() }, Root { link: false, ..Root::default() }] {
        let mut first = Prompt::new(root);
        first.ok("? .n = 5");
        let mut second = Prompt::beside(&first);
        assert_eq!(second.ok("? .n"), ["5"]);
        second.ok("? .m = 7; int .a[4]; .a[3] = 9;");
        assert_eq!(first.ok("? .m * 10 + .n"), ["75"]);
        first.ok("!cpuid script { .hits += 1; .n = .n + 1; }");
        second.ok("? .hits = 3");
        assert_eq!(Prompt::beside(&first).ok("? int .a[4]; printf(\"%d %d\\n\", .hits, .a[3]);"), ["3 9"]);
        let names: Vec<_> = first.root.lock().unwrap().globals.iter().map(|row| (row.cell, row.cells)).collect();
        assert_eq!(names, [(0, 1), (1, 1), (2, 2), (4, 1)]);
    }
}

/// Would catch two prompts that make a global each in the same moment and get the same cell for both.
#[test]
fn a_global_that_is_made_meanwhile_keeps_its_cell() {
    let mut prompt = Prompt::halted();
    prompt.ok("? .n = 5");
    prompt.root.lock().unwrap().global_meanwhile = Some(row(".other", 1));
    prompt.ok("? .mine = 6");
    assert_eq!(prompt.root.lock().unwrap().globals, [row(".n", 0), row(".other", 1), row(".mine", 2)]);
    assert_eq!(prompt.ok("? .mine * 100 + .other * 10 + .n"), ["605"]);
}

/// Would catch cells that are taken for those of the load before, and a second that is not noticed in VMI mode.
#[test]
fn with_another_load_names_begin_anew() {
    let mut prompt = Prompt::vmi();
    prompt.ok("? .a = 1; .n = 5;");
    {
        let mut root = prompt.root.lock().unwrap();
        *root = Root { link: false, boot_id: 2, globals: vec![row(".n", 0)], ..Root::default() };
    }
    prompt.ok("? .n = 3");
    assert_eq!(prompt.root.lock().unwrap().globals, [row(".n", 0)], "what is new is not in the cell of before");
}

/// Would catch a request for names where none is needed, and a plan that makes globals.
#[test]
fn root_is_asked_for_names_only_where_a_global_may_be_meant() {
    let mut prompt = Prompt::halted();
    prompt.ok("? poi(@rsp - @rsp + ffff888000000100) == 1.5");
    let path = std::env::temp_dir().join(format!("hyperdbg-globals-{}.kd", std::process::id()));
    std::fs::write(&path, "!cpuid script { .planned = 1; }\n").unwrap();
    prompt.ok(&format!("prealloc plan {}", path.display()));
    std::fs::remove_file(path).unwrap();
    let root = prompt.root.lock().unwrap();
    assert!(!root.asked.contains(&op::GLOBALS) && !root.asked.contains(&op::GLOBAL_ADD), "{:?}", root.asked);
}

/// Would catch an address where the name of a process is meant, or the time.
#[test]
fn names_and_times_are_shown_as_texts() {
    let mut prompt = Prompt::halted();
    for line in ["? $pname", "print $pname", "? print($pname)", "? printf(\"%s\\n\", $pname)"] {
        assert_eq!(prompt.ok(line), ["bash"], "{line}");
    }
    assert_eq!(prompt.ok("? printf(\"%s at %s\\n\", $date, $time)"), ["2026-11-26 at 13:05:59"]);
    assert_eq!((prompt.ok("? $date"), prompt.ok("? $time")), (vec!["2026-11-26".to_owned()], vec!["13:05:59".to_owned()]));
    assert_eq!(prompt.ok("? db($pname)"), ["62"]);
    let json = Look { json: true, colour: false };
    let mut prompt = Prompt::with_look(Root { halted: true, ..Root::default() }, json);
    assert_eq!(prompt.ok("? $pname"), [r#"{"command":"? $pname","ok":true,"result":{"text":"bash"}}"#]);
}

/// Would catch a name that root would have to cut, and take for another.
#[test]
fn a_name_that_root_cannot_keep_is_refused_at_its_place() {
    let mut prompt = Prompt::halted();
    let longest = "n".repeat(31);
    prompt.ok(&format!("? .{longest} = 5"));
    let printed = prompt.err(&format!("? .{longest}n = 5"));
    assert_eq!(printed[0], "err, the name of a global has 31 letters at most");
}
