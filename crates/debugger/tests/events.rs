//! Events at the prompt, over the model of root: what is asked of it, what is refused in which words, what events say.

mod common;

use abi::code;
use abi::kind::Kind;
use abi::request::{EventAnswer, EventAsk, event, op, reason};
use common::{Prompt, matches, try_line};
use debugger::news::{Met, News};
use debugger::session::Look;
use debugger::target::fake::Root;
use std::time::Duration;

const JSON: Look = Look { json: true, colour: false };

fn asked(line: &str) -> EventAsk {
    let mut prompt = Prompt::halted();
    prompt.ok("prealloc regular-safe-buffer 1");
    prompt.ok(line);
    let root = prompt.root.lock().unwrap();
    root.events.rows[0].1
}

/// A script of more than so many words.
fn long_script(words: usize) -> String {
    let statements: String = (0..words / 2).map(|n| format!("eq({n:x}, {:x}); ", 0x1000 + n)).collect();
    format!("{{ {statements}}}")
}

/// Would catch an option that is lost, or one that counts only in its place.
#[test]
fn options_arrive_in_any_order() {
    let plain = EventAsk { stage: event::PRE, core: event::ALL, pid: event::ALL, ..EventAsk::default() };
    assert_eq!(asked("!tsc"), EventAsk { kind: event::TSC, flags: event::BREAK, ..plain });
    let option = event::OPTION | event::BREAK;
    assert_eq!(asked("!CPUID 0n16"), EventAsk { kind: event::CPUID, flags: option, option: 0x10, ..plain });
    assert_eq!(
        asked("!vmcall pid all core all imm yes sc off"),
        EventAsk { kind: event::HYPERCALL, flags: event::BREAK, ..plain }
    );
    for line in [
        "!msrwrite c0000080 pid 1c8 core 1 sc on buffer (8 * 2) stage pre imm yes script { x = 1; }",
        "!msrwrite script{ x = 1; } STAGE PRE buffer 10 sc ON c0000080 core 1 PID 0n456",
    ] {
        let ask = asked(line);
        let flags = event::SHORT_CIRCUIT | event::OPTION;
        let words = ask.program_words;
        let (kind, core, pid, option) = (event::MSR_WRITE, 1, 0x1c8, 0xc000_0080);
        assert_eq!(
            ask,
            EventAsk { kind, flags, core, pid, option, program_words: words, buffer_bytes: 0x10, ..plain },
            "{line}"
        );
        assert!(words > 0);
    }
    for option_is in [0, 0xe, 0x1f] {
        let line = format!("!exception {option_is:x}");
        let expected = EventAsk { kind: event::EXCEPTION, flags: option, option: option_is, ..plain };
        assert_eq!(asked(&line), expected, "{line}");
    }
    assert_eq!(asked("!interrupt ff"), EventAsk { kind: event::INTERRUPT, flags: option, option: 0xff, ..plain });
    assert_eq!(asked("!syscall2 0n110"), EventAsk { kind: event::SYSCALL, flags: option, option: 0x6e, ..plain });
    assert_eq!(asked("!sysret sc off"), EventAsk { kind: event::SYSRET, flags: event::BREAK, ..plain });
    let control = |option| EventAsk { kind: event::CONTROL_WRITE, flags: event::OPTION | event::BREAK, option, ..plain };
    assert_eq!(asked("!crwrite 4"), control(4));
    assert_eq!(asked("!crwrite core all 0 0n65536 sc off"), control(0x1_0000 << 32));
    assert_eq!(asked("!msread stage all").stage, event::PRE | event::POST);
    assert_eq!(asked("!tsc stage post script { x = 1; }").flags, 0, "a script does not halt");
}

/// Would catch an offer that is refused, or a refusal without one where there is one.
#[test]
fn every_try_line_works() {
    for line in [
        "!cpuid script { x = @rxa; }",
        "!cpuid script { y = 1; x = @rxa + @rbz; }",
        "!cpuid stag post",
        "!tsc sc on stage all",
        "!tsc sc on stage pree",
        "!tsc sc onn",
        "!exception 20",
        "!interrupt 1f",
        "!interrupt 100 script { x = 1; }",
        "!sysret sc on",
        "!syscall 100000000",
        "!cpuid 100000000",
        "!msrread zz",
        "!ioin 10000",
        "!crwrite 3",
        "!crwrite 4 0 core 1",
        "!crwrite 4 100000000",
        "!cpuid pid 1ffffffff",
        "!cpuid script x",
        "!cpuid script { eq($buffer, 1); }",
        "!cpuid core 7",
        "!tsc buffer 14001 script { eq($buffer, 1); }",
        "events d 5",
        "events e 1ffffffff",
        "print @rxa + 1",
    ] {
        let mut prompt = Prompt::halted();
        for kind in ["regular-safe-buffer", "big-safe-buffer"] {
            prompt.ok(&format!("prealloc {kind} 1"));
        }
        let printed = prompt.err(line);
        let offer = try_line(&printed).unwrap_or_else(|| panic!("{line}: {printed:#?}")).to_owned();
        prompt.ok(&offer);
    }
    let mut vmi = Prompt::vmi();
    let printed = vmi.err("!tsc core 1");
    vmi.ok(try_line(&printed).unwrap());
}

/// Would catch a refusal for want of units that reads otherwise than that of a test, or whose line does not help.
#[test]
fn what_is_used_up_can_be_reserved_and_then_the_same_line_works() {
    let big = format!("!cpuid script {}", long_script(1100));
    let lines = [
        ("!cpuid script { x = 1; }".to_owned(), Kind::RegularEvent, 0x14, "c0000042"),
        (big, Kind::BigEvent, 0, "c0000043"),
        ("!tsc buffer 1000 script { eq($buffer, 1); }".to_owned(), Kind::RegularSafeBuffer, 0, "c0000049"),
        ("!tsc buffer 1001 script { eq($buffer, 1); }".to_owned(), Kind::BigSafeBuffer, 0, "c000004a"),
    ];
    for (line, kind, free, code) in lines {
        let mut prompt = Prompt::halted();
        for _ in 0..free {
            prompt.ok(&line);
        }
        let printed = prompt.err(&line);
        let mut test = Prompt::halted();
        test.ok("prealloc monitor 1");
        if free > 0 {
            test.ok(&format!("test hold {} {free:x}", kind.word()));
        }
        assert_eq!(printed, test.err(&format!("test hold {} 1", kind.word())));
        assert!(printed[0].ends_with(&format!("({code})")), "{printed:#?}");
        prompt.ok(try_line(&printed).unwrap());
        prompt.ok(&line);
    }
}

/// Would catch a program that is cut, out of order, or left behind by the one before.
#[test]
fn a_long_program_arrives_in_parts_and_whole() {
    let mut prompt = Prompt::halted();
    prompt.ok("prealloc big-event 1");
    let printed = prompt.ok(&format!("!cpuid script {}", long_script(4000)));
    assert!(printed[0].starts_with("event 0 registered: big-event, program of 0x"), "{printed:#?}");
    let ask = prompt.root.lock().unwrap().events.rows[0].1;
    assert!(ask.program_words > 2000, "{ask:?}");
    let stages = prompt.root.lock().unwrap().asked.iter().filter(|asked| **asked == op::STAGE).count();
    assert_eq!(stages, (ask.program_words as usize).div_ceil(abi::request::STAGE_WORDS_MAX));
    prompt.ok("!cpuid script { x = 1; }");
    let root = prompt.root.lock().unwrap();
    assert_eq!(root.events.staged.len(), root.events.rows[1].1.program_words as usize);
    drop(root);
    let printed = prompt.err(&format!("!cpuid script {}", long_script(30_000)));
    assert!(printed[0].contains("81920 are there"), "{}", printed[0]);
}

/// Would catch a caret under another place than the error's, or one error told where there are two.
#[test]
fn errors_of_scripts_are_told_where_they_were_typed() {
    let mut prompt = Prompt::halted();
    let printed = prompt.err("!cpuid core 1 script { x = ; y = foo(1); }");
    let expected = [
        "err, {any}",
        "     !cpuid core 1 script { x = ; y = foo(1); }",
        "                                ^",
        "err, {any}",
        "     !cpuid core 1 script { x = ; y = foo(1); }",
        "                                      ^~~",
    ];
    assert!(matches(&expected, &printed), "{printed:#?}");
    let printed = prompt.err("!cpuid script {\n  y = 1;\n\t/* ä */ x = @rxa;\n}");
    let rows = ["      /* ä */ x = @rxa;", "                  ^~~~", "     try: !cpuid script {"];
    assert!(rows.iter().all(|row| printed.iter().any(|line| line == row)), "{printed:#?}");
    let path = std::env::temp_dir().join(format!("hyperdbg-events-{}.ds", std::process::id()));
    std::fs::write(&path, "x = 1;\ny = @rxa;\n").unwrap();
    let printed = prompt.err(&format!("!cpuid script {{file:{}}}", path.display()));
    let expected = [
        "err, there is no register rxa".to_owned(),
        format!("     {}:2:5", path.display()),
        "     y = @rxa;".to_owned(),
        "         ^~~~".to_owned(),
        "     @rax".to_owned(),
    ];
    assert_eq!(printed, expected);
    std::fs::write(&path, "x = 1;\ny = @rax;\n").unwrap();
    prompt.ok(&format!("!cpuid script {{ file:{} }}", path.display()));
    std::fs::remove_file(&path).unwrap();
    assert!(prompt.err("!cpuid script {file:/nowhere.ds}")[0].contains("cannot be read"));
    assert_eq!(prompt.err("!cpuid script { x = 1;")[0], "err, this is never closed by '}'");
    assert_eq!(prompt.root.lock().unwrap().events.rows.len(), 1, "nothing else was registered");
}

/// Would catch a refusal of root's without its numbers.
#[test]
fn what_root_refuses_is_said_with_numbers() {
    let said = |code: u32, answer: EventAnswer| {
        let mut prompt = Prompt::halted();
        prompt.root.lock().unwrap().events.refusal = Some((code, answer));
        prompt.err("!cpuid script { x = 1; }").join("\n")
    };
    let answer =
        EventAnswer { bytes: 0x15000, bytes_most: 0x14000, rejected: 7 | 3 << 32, reserved: 0x200, ..EventAnswer::default() };
    for (code, words) in [
        (code::PROGRAM_TOO_LARGE, "what the event runs takes 0x15000 bytes, and a big event holds 0x14000 (c0000047)"),
        (code::BUFFER_TOO_LARGE, "0x15000 bytes asked, and a big safe buffer has 0x14000 (c000004b)"),
        (code::EVENTS_FULL, "all 0x200 events are registered (c0001041)"),
        (code::EVENT_INVALID, "this machine has no such event, or not with these options (c0000003)"),
        (code::EXCEPTION_INVALID, "exceptions have vectors 0 to 1f (c0000007)"),
        (code::INTERRUPT_INVALID, "external interrupts have vectors 20 to ff (c0000008)"),
        (code::PROGRAM_REJECTED, "(reason 0x7 at 0x3): use prompt and hypervisor from one build (c0001040)"),
        (code::NOT_HALTED, "the debuggee is running, and this needs it halted (c0000050)\n     try: pause"),
        (code::CORE_INVALID, "there is no such core (c0000006)"),
    ] {
        let said = said(code, answer);
        assert!(said.contains(words), "{said}");
    }
}

/// Would catch messages that are lost, mixed up, shown under a wrong event, or torn.
#[test]
fn what_events_say_is_printed_line_by_line() {
    let mut prompt = Prompt::running();
    prompt.ok("!cpuid script { x = 1; }");
    let fire = |prompt: &Prompt, id: u32, text: &str| prompt.root.lock().unwrap().fire(id, text);
    for part in ["one\n", "tw", "o\nth", "ree\n", "no end"] {
        fire(&prompt, 0, part);
    }
    assert_eq!(prompt.ok(""), ["one", "two", "three", "no end"]);
    assert!(prompt.ok("").is_empty(), "once");
    prompt.ok("!tsc script { x = 1; }");
    fire(&prompt, 0, "a\x1b[2Jb\n\n");
    fire(&prompt, 1, "b\n");
    assert_eq!(prompt.ok(""), ["event 0, core 0: a.[2Jb", "event 0, core 0: ", "event 1, core 0: b"]);
    for n in 0..200 {
        fire(&prompt, 1, &format!("message {n}\n"));
    }
    prompt.root.lock().unwrap().events.lost = 3;
    let printed = prompt.ok("");
    assert_eq!((printed.len(), printed[0].as_str()), (201, "0x3 messages were lost: events said more than could be fetched"));
    assert_eq!(printed[200], "event 1, core 0: message 199");
    fire(&prompt, 1, "last words\n");
    assert_eq!(prompt.ok("events c all"), ["event 1, core 0: last words", "0x2 events cleared"]);
}

/// Would catch requests for messages where there are no events, or in the middle of a halt without an end.
#[test]
fn nothing_is_fetched_without_events_and_only_while_it_runs() {
    let mut prompt = Prompt::running();
    let ear = prompt.session.ear();
    let asks = |prompt: &Prompt| prompt.root.lock().unwrap().asked.iter().filter(|asked| **asked == op::MESSAGES).count();
    prompt.ok("~");
    ear.listen();
    assert_eq!(asks(&prompt), 0);
    prompt.ok("!cpuid script { x = 1; }");
    prompt.root.lock().unwrap().fire(0, "heard\n");
    ear.listen();
    assert!(
        matches!(prompt.inbox.take(Duration::ZERO), Some(News::Said { messages, lost: 0 }) if messages[0].text == b"heard\n")
    );
    prompt.ok("pause");
    let before = asks(&prompt);
    ear.listen();
    assert_eq!(asks(&prompt), before);
    prompt.ok("g");
    prompt.ok("events c 0");
    let before = asks(&prompt);
    ear.listen();
    prompt.ok("~");
    assert_eq!(asks(&prompt), before);
}

/// Would catch a halt that does not say which event it was, or what that said before in the wrong order.
#[test]
fn a_halt_names_its_event() {
    let halt = |look: Look| {
        let mut prompt = Prompt::with_look(Root::default(), look);
        prompt.ok("!cpuid 1");
        let mut root = prompt.root.lock().unwrap();
        root.fire(0, "before\n");
        drop(root);
        // The notice comes with the next answer.
        let mut printed = prompt.ok("~");
        printed.extend(prompt.typed("").1);
        (prompt, printed)
    };
    let (prompt, printed) = halt(Look::default());
    let at = printed.iter().position(|line| line == "halted on core 0: event 0 (pre), pid 1c8 tid 1c8 cat, cpl 0").unwrap();
    assert!(printed[..at].contains(&"before".to_owned()), "{printed:#?}");
    assert_eq!(prompt.session.prompt(), "0: kHyperDbg> ");
    let halted = abi::request::Halted { reason: reason::EVENT, event: event::ALL, stage: event::POST, ..Default::default() };
    assert_eq!(debugger::say::halted(&halted), "halted on core 0: pause() of a script (post), cpl 0");
    let (_, printed) = halt(JSON);
    assert!(printed.contains(&r#"{"core":0,"event":0,"message":"before"}"#.to_owned()), "{printed:#?}");
}

/// Would catch texts of events that are gone, or an event of somebody else's that is hidden.
#[test]
fn the_list_is_roots_and_the_texts_are_ours() {
    let mut prompt = Prompt::halted();
    let long = format!("!cpuid  script {{\n {} }}", "x = 1; ".repeat(20));
    prompt.ok(&long);
    {
        let mut root = prompt.root.lock().unwrap();
        let (mut row, ask) = root.events.rows[0];
        row.faults = 2;
        row.last_fault = 2;
        root.events.rows[0].0 = row;
        (row.id, row.faults, row.enabled, row.hits) = (0x1f, 0, 0, 0x123);
        root.events.rows.push((row, ask));
    }
    let printed = prompt.ok("events");
    let cut = format!("!cpuid script {{ {}", "x = 1; ".repeat(20));
    let expected = [
        "event  state        hits  faults  lost  command".to_owned(),
        format!("0      (enabled)       0     0x2     0  {}…", &cut[..70]),
        "1f     (disabled)  0x123       0     0  (registered elsewhere)".to_owned(),
        "last fault of 0: a division by zero (at script:2:2)".to_owned(),
    ];
    assert_eq!(printed, expected);
    let rows = (0..150).map(|id| (abi::request::EventRow { id, ..Default::default() }, EventAsk::default())).collect();
    prompt.root.lock().unwrap().events.rows = rows;
    assert_eq!(prompt.ok("event").len(), 151, "all of them, in three answers");
    let mut hello = prompt.root.lock().unwrap().hello();
    hello.boot_id += 1;
    prompt.inbox.push(News::Met { hello, how: Met::Back });
    prompt.ok("");
    assert!(!prompt.ok("events").iter().any(|line| line.contains("!cpuid")), "the texts were of the load before");
    prompt.root.lock().unwrap().events.rows.clear();
    assert_eq!(prompt.ok("events"), ["there are no active or disabled events"]);
}

/// Would catch globals that lose their cells between scripts, or that outlive the load they were in.
#[test]
fn globals_are_those_of_all_scripts_of_a_load() {
    let mut prompt = Prompt::halted();
    prompt.ok("? .a = 5;");
    prompt.ok("!cpuid script { .b = 7; }");
    assert_eq!(prompt.ok("? .b = 3; .c = .a + .b;"), Vec::<String>::new());
    assert_eq!(prompt.ok("? .c"), ["8"]);
    assert_eq!(prompt.ok("print .a"), ["5"]);
}

/// Would catch a value in the wrong radix, a fault without its place, or a statement that is taken for a value.
#[test]
fn what_the_prompt_cannot_evaluate_root_does() {
    let mut prompt = Prompt::vmi();
    assert_eq!(prompt.ok("? db(ffff888000000100)"), ["68"]);
    assert_eq!(prompt.ok("? 1.5 + 2"), ["3.5"]);
    assert_eq!(prompt.ok("? 2 > 1 && 1 > 2"), ["0"]);
    assert_eq!(prompt.ok("? printf(\"%d\\n%s\", 0n12, $pname)"), ["12", "bash"]);
    assert_eq!(prompt.ok("? for (i = 0; i < 3; i++) { print(i); }"), ["0", "1", "2"]);
    assert_eq!(prompt.ok("? 10 + 10"), ["20"], "without root");
    let printed = prompt.err("? 1 + dq(123)");
    assert_eq!(printed[0], "err, nothing can be read or written at 123");
    assert_eq!(printed[1..], ["     ? 1 + dq(123)", "       ^"]);
    assert_eq!(prompt.err("? x = 0; y = 1 / x;")[0], "err, the run ended early by a division by zero");
    assert_eq!(prompt.err("? while (1) { x = x + 1; }")[0], "err, the run ended early by more steps than a run may take");
    assert!(prompt.err("print @rxa")[0].contains("no register rxa"));
    assert_eq!(prompt.err("? printf(1)")[0], "err, the format must be a string in quotes");
    assert_eq!(prompt.err("print")[0], "incorrect use of the 'print'");
}

/// Would catch a plan that does not know what events take.
#[test]
fn a_plan_counts_events_and_their_buffers() {
    let path = std::env::temp_dir().join(format!("hyperdbg-events-plan-{}.kd", std::process::id()));
    let lines = format!(
        "!cpuid 1\n!tsc script {{\n  x = 1;\n}}\n!vmcall buffer 10 script {{ eq($buffer, 1); }}\n!cpuid buffer 1001 script {}\n\
         test let regular-event\nevents c all\n",
        long_script(1100)
    );
    std::fs::write(&path, lines).unwrap();
    let mut prompt = Prompt::halted();
    prompt.ok("test hold regular-event 12");
    let printed = prompt.ok(&format!("prealloc plan {}", path.display()));
    let offers: Vec<String> = printed.iter().filter_map(|line| line.strip_prefix("     try: ")).map(str::to_owned).collect();
    assert_eq!(
        offers,
        ["prealloc regular-event 1", "prealloc big-event 1", "prealloc regular-safe-buffer 1", "prealloc big-safe-buffer 1"],
        "{printed:#?}"
    );
    for offer in offers {
        prompt.ok(&offer);
    }
    prompt.ok(&format!(".script {}", path.display()));
    std::fs::remove_file(&path).unwrap();
    assert!(prompt.root.lock().unwrap().events.rows.is_empty());
}
