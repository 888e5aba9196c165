//! Views: what commands look at that the selected core does not run.

mod common;

use common::{Prompt, try_line};
use debugger::target::fake::Root;
use serde_json::Value;

/// Bytes that `db` shows at an address of the model's programs.
fn program(prompt: &mut Prompt) -> String {
    prompt.ok("db 400000 l 4")[0].rsplit(' ').next().unwrap().to_owned()
}

/// Would catch a view that some commands follow and others do not, and one that outlives what it was made of.
#[test]
fn a_view_is_followed_until_the_core_runs() {
    for ends in ["g", "t", "p", "~ 0", ".process core", ".thread core", "prealloc big-event 400"] {
        let mut prompt = Prompt::halted();
        prompt.err("db 400000");
        prompt.ok(".process pid 1");
        assert_eq!(program(&mut prompt), "init");
        assert_eq!(prompt.ok("dc 400000 l 4")[0].rsplit(' ').next(), Some("init"));
        assert!(prompt.ok("r rip")[0].contains("ffffffff81000000"), "registers are the core's");
        for line in [".status", "~", ".process"] {
            let shown = prompt.ok(line);
            assert!(shown.last().unwrap().starts_with("in view: pid 1 init, task ffff888100002000"), "{line}: {shown:#?}");
        }
        prompt.ok(".thread tid 1c9");
        assert_eq!(program(&mut prompt), "cat.");
        assert_eq!(prompt.ok("? 1"), ["1"]);
        assert_eq!(prompt.ok("print @r12 + 1").len(), 1);
        assert_eq!(prompt.ok("r @r12"), ["r12=0000000000001212"]);
        assert_eq!(prompt.ok("db @rip - 10 l 4")[0].rsplit(' ').next(), Some("cat."), "registers of expressions are its own");
        assert!(prompt.ok("k")[0].ends_with("do_syscall_64+0x20"));
        let refused = prompt.err("r r12 = 1");
        assert_eq!(try_line(&refused), Some(".thread core"), "{refused:#?}");
        prompt.ok(ends);
        let shown = prompt.ok(".status");
        assert!(!shown.iter().any(|line| line.starts_with("in view")), "{ends}: {shown:#?}");
        prompt.err("db 400000");
    }
}

/// Would catch what runs on a core looked at by what was saved when it last slept.
#[test]
fn a_thread_that_runs_is_looked_at_on_its_core() {
    let mut prompt = Prompt::halted();
    prompt.ok("~ 1");
    let shown = prompt.ok(".thread tid 1c8");
    assert!(shown.contains(&"halted on core 0: core selected, pid 1c8 tid 1c8 cat, cpl 0".to_owned()), "{shown:#?}");
    assert_eq!(prompt.session.prompt(), "0: kHyperDbg> ");
    // What was halted goes on, and its tasks run anywhere.
    prompt.ok("g");
    let refused = prompt.err(".thread tid 1c8");
    assert!(refused[0].contains("thread 0x1c8 runs"), "{refused:#?}");
    assert!(prompt.ok(".thread tid 1c9")[0].starts_with("in view: tid 1c9"));
}

/// Would catch a slip that is answered by nothing that works.
#[test]
fn what_is_not_there_is_refused_with_a_line_that_works() {
    let mut prompt = Prompt::halted();
    for (line, says) in [
        (".process pid 77", "there is no process 0x77"),
        (".process pid 1c9", "there is no process 0x1c9"),
        (".process process ffff888100002008", "there is no task at ffff888100002008"),
        (".thread tid 77", "there is no thread 0x77"),
        (".thread thread 1000", "there is no task at 1000"),
        (".thread list pid 77", "there is no process 0x77"),
    ] {
        let refused = prompt.err(line);
        assert!(refused.iter().any(|row| row.contains(says)), "{line}: {refused:#?}");
        let offered = try_line(&refused).expect("a line that works").to_owned();
        prompt.ok(&offered);
    }
    for line in [".process pid", ".process list 1", ".thread tid", ".thread list tid 1", ".process 1"] {
        let refused = prompt.err(line);
        assert!(refused.iter().any(|row| row.trim_start().starts_with("syntax : ")), "{line}: {refused:#?}");
    }
    // What a core was last seen with, and does not run in this model.
    assert!(prompt.err(".thread tid 0")[0].contains("thread 0x0 runs, or is being switched"));
}

/// Would catch a list that is cut without a word.
#[test]
fn a_list_that_is_broken_is_shown_as_far_as_it_goes() {
    let mut root = Root { halted: true, ..Root::default() };
    root.linux.break_tasks();
    let mut prompt = Prompt::new(root);
    let shown = prompt.ok(".process list");
    assert!(shown.last().unwrap().ends_with("behind the task at ffff888100002000"), "{shown:#?}");
    let refused = prompt.err(".process pid 1c8");
    assert!(refused.iter().any(|row| row.contains("the kernel's list is broken, or changed meanwhile")), "{refused:#?}");
    let look = debugger::session::Look { json: true, ..Default::default() };
    let mut root = Root { halted: true, ..Root::default() };
    root.linux.break_tasks();
    let mut prompt = Prompt::with_look(root, look);
    let shown: Value = serde_json::from_str(&prompt.ok(".process list")[0]).unwrap();
    assert_eq!((&shown["result"]["whole"], shown["result"]["processes"].as_array().unwrap().len()), (&false.into(), 2));
}
