//! The screen of a stop: what it compares with, and what it leaves out.

mod common;

use abi::request::{self, Halted, Task};
use common::Prompt;
use debugger::session::Look;
use debugger::target::fake::Root;
use serde_json::Value;

const HLT: &str = "ffffffff81000000  f4                            hlt";

/// Would catch registers that are compared with another core's, with those of a stop before the last, or that are noise: system registers
/// of whichever program runs.
#[test]
fn what_changed_is_what_is_other_than_when_this_core_was_shown_last() {
    let mut prompt = Prompt::running();
    let head = "halted on core 0: pause, pid 1c8 tid 1c8 cat, cpl 0";
    assert_eq!(prompt.ok("pause"), [head, HLT], "nothing was shown before");
    assert_eq!(prompt.ok("pause"), [head, HLT], "nothing has changed");
    prompt.ok("g");
    prompt.root.lock().unwrap().registers.gprs[1] = 0x51;
    prompt.root.lock().unwrap().registers.bases[0] = 0x52;
    assert_eq!(prompt.ok("pause"), [head, "rcx=0000000000000051", HLT]);
    assert_eq!(prompt.ok("~ 1")[1..], [HLT], "the other core was never shown");
    prompt.root.lock().unwrap().registers.gprs[2] = 0x53;
    assert_eq!(prompt.ok("~ 0")[1..], ["rdx=0000000000000053", HLT]);
    // What is set and shown is no change.
    prompt.ok("r rbx = 54");
    assert_eq!(prompt.ok("pause"), [head, HLT]);
    // Behind steps there is nobody else's.
    prompt.root.lock().unwrap().registers.bases[0] = 0x55;
    let stepped = prompt.ok("i");
    assert_eq!(stepped[0].trim_start().split(' ').next(), Some("fs_base=0000000000000055"), "{stepped:#?}");
}

/// Would catch a head that is repeated step by step, or left out where the core came into another task.
#[test]
fn steps_say_where_they_are_when_that_is_another_place_than_before() {
    let mut prompt = Prompt::halted();
    assert_eq!(prompt.ok("i")[0], "halted on core 0: steps, pid 1c8 tid 1c8 cat, cpl 0");
    assert_eq!(prompt.ok("i")[0], "ffffffff81000002  66 90                         xchg    ax, ax");
    prompt.ok("~ 1");
    assert_eq!(prompt.ok("t").len(), 1, "it was said when the core was selected");
    prompt.ok("~ 0");
    prompt.ok("g");
    prompt.ok("pause");
    assert_eq!(prompt.ok("t").len(), 1);
}

/// Would catch fields that programs do not get, in answers and in what comes unasked, and steps that tell them less than a pause does.
#[test]
fn programs_get_the_same_as_fields() {
    let look = Look { json: true, ..Look::default() };
    let mut prompt = Prompt::with_look(Root::default(), look);
    let pause: Value = serde_json::from_str(&prompt.ok("pause")[0]).unwrap();
    let running = serde_json::json!({"pid": 0x1c8, "tid": 0x1c8, "name": "cat", "task": "0xffff888100000000"});
    assert_eq!((&pause["result"]["running"], &pause["result"]["next"]["text"]), (&running, &"hlt".into()));
    prompt.root.lock().unwrap().registers.gprs[0] = 0x56;
    let step: Value = serde_json::from_str(&prompt.ok("i")[0]).unwrap();
    assert_eq!((&step["result"]["running"], &step["result"]["steps"]), (&running, &1.into()));
    assert_eq!(step["result"]["registers"], serde_json::json!({"rax": "0x56"}));
    assert_eq!((&step["result"]["reason"], &step["result"]["next"]["text"]), (&"steps".into(), &"ret".into()));
    prompt.ok("g");
    prompt.ok("!cpuid 1");
    prompt.root.lock().unwrap().fire(0, "before\n");
    let printed = [prompt.ok("~"), prompt.typed("").1].concat();
    let notices: Vec<Value> = printed.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let halted = notices.iter().find(|notice| notice["notice"] == "halted").expect("a halt");
    assert_eq!((&halted["result"]["reason"], &halted["result"]["running"]), (&"event".into(), &running));
}

/// Would catch a name that moves the cursor, and a task that nobody knows shown as one that is idle.
#[test]
fn names_of_the_guests_are_printable_and_unknown_tasks_are_left_out() {
    let running = Task { task: 1, process: 2, thread: 3, name: request::name("a\x1b[2Jb") };
    let halted = Halted { reason: request::reason::PAUSE, cpl: 3, running, ..Halted::default() };
    assert_eq!(debugger::say::halted(&halted), "halted on core 0: pause, pid 2 tid 3 a?[2Jb, cpl 3");
    let halted = Halted { running: Task::default(), ..halted };
    assert_eq!(debugger::say::halted(&halted), "halted on core 0: pause, cpl 3");
}
