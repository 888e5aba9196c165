//! Threads under interception: held all of them, seen by nobody, stepped each alone, and their places given back.
use lab::Machine;
use serde_json::Value;
use std::time::Duration;
use tests::ledger::Ledger;
use tests::{Result, guest};

/// What a guest may take for what is long on a busy host.
const LIMIT: Duration = Duration::from_secs(150);

/// A machine under root, without a link, with the program.
fn machine(memory_mib: u32) -> Result<Machine> {
    let builder = Machine::builder().cpus(2).memory_mib(memory_mib).with_guest_program(&guest::program("threads"));
    let mut machine = builder.boot()?;
    machine.hyperdbg_ok(&["load"])?;
    Ok(machine)
}

/// Starts the program, and waits for its first line; its number.
fn started(machine: &mut Machine, words: &str) -> Result<u32> {
    machine
        .ok(&format!("rm -f /tmp/out; exec threads {words} > /tmp/out 2>&1 & until test -s /tmp/out; do sleep 0.1; done"))?;
    number(machine, "threads")
}

/// The number of a program that runs, by its name.
fn number(machine: &mut Machine, name: &str) -> Result<u32> {
    Ok(machine.ok(&format!("pidof {name}"))?.trim().parse()?)
}

/// Waits until the program has ended; what it printed.
fn printed(machine: &mut Machine) -> Result<String> {
    let output = machine.sh_within("while pidof threads > /dev/null; do sleep 0.1; done; cat /tmp/out", LIMIT)?;
    Ok(output.text())
}

/// What the prompt on the machine itself answers to each of these lines, one prompt for all of them. Of a list of threads it is how many are held:
/// the rest is too much for the line to the guest.
fn prompt(machine: &mut Machine, lines: &[&str]) -> Result<Vec<Value>> {
    let mut words = vec!["--json"];
    words.extend(lines.iter().flat_map(|line| ["-x", line]));
    let counted = r#"awk '/"command":".switch list"/ { print "{\"ok\":true,\"result\":" gsub(/"state":"held"/, "") "}"; next } { print }'"#;
    let output =
        machine.sh_within(&format!("{} 2>/dev/null | grep '^{{' | {counted}", lab::session::command_line(&words)), LIMIT)?;
    output.text().lines().map(|line| Ok(serde_json::from_str(line).map_err(|why| format!("{why}: {line}"))?)).collect()
}

/// The same, when each is done.
fn done(machine: &mut Machine, lines: &[&str]) -> Result<Vec<Value>> {
    let answers = prompt(machine, lines)?;
    assert!(answers.len() == lines.len() && answers.iter().all(|answer| answer["ok"] == true), "{answers:?}");
    Ok(answers.into_iter().map(|mut answer| answer["result"].take()).collect())
}

/// Units of thread-interception that are used, once all is settled.
fn used(machine: &mut Machine) -> Result<(u64, Ledger)> {
    let ledger = Ledger::parse(machine.hyperdbg_ok(&["prealloc"])?.trim_end()).0;
    Ok((ledger.types["thread-interception"].used, ledger))
}

/// The process is held, all of it, and steps ten of its threads; nobody's time is looked at, but what the prompt said first is told.
fn hold(threads: u32) -> Result<Value> {
    let mut machine = machine(1024)?;
    let pid = started(&mut machine, &format!("many {threads} 600"))?;
    let attach = format!(".attach pid {pid:x}");
    let refused = prompt(&mut machine, &[&attach])?;
    let [refused] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!((&refused["ok"], &refused["error"]["code"]), (&false.into(), &"c0001014".into()), "{refused}");
    let helps = refused["error"]["try"].as_str().ok_or("no line that helps")?.to_owned();
    let units = threads.div_ceil(100);
    assert_eq!(helps, format!("prealloc thread-interception {:x}", units - 2), "two are there");
    assert_eq!(used(&mut machine)?.0, 0, "a refused attach keeps nothing");

    // Those that slept come within a second; on a busy host it may be more.
    let mut lines =
        vec![helps, attach, "pause".to_owned(), "pause".to_owned(), "prealloc".to_owned(), ".switch list".to_owned()];
    for thread in 1..=10 {
        lines.extend([format!(".switch tid {:x}", pid + threads / 50 * thread), "t".to_owned(), "t 10".to_owned()]);
    }
    lines.extend([".detach".to_owned(), ".switch".to_owned()]);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut answers = done(&mut machine, &lines)?;
    assert_eq!(answers[1]["threads"], threads, "{}", answers[1]);
    let types = answers[4]["types"].as_array().ok_or("no types")?;
    let row = types.iter().find(|row| row["type"] == "thread-interception").ok_or("no row")?;
    assert_eq!(row["used"], units, "{row}");
    assert_eq!(answers[5], threads, "listed, and held");
    for answers in answers[6..36].chunks(3) {
        let [chosen, one, ten] = answers else { panic!("{answers:?}") };
        assert_eq!((&one["steps"], &one["state"]), (&1.into(), &"held".into()), "{one}");
        assert_eq!((&ten["steps"], &ten["thread"]), (&16.into(), &chosen["thread"]), "{ten}");
    }
    assert_eq!(answers[37]["processes"].as_array().map(Vec::len), Some(0), "{}", answers[37]);
    machine.ok(&format!("kill -USR1 {pid}"))?;
    let printed = printed(&mut machine)?;
    assert!(printed.contains(&format!("{} ended, 0 wrong, lost ", threads - 1)), "{printed}");
    assert!(printed.contains("code same, 0 breakpoints more\nTracerPid:\t0"), "{printed}");
    let lost: f64 = printed.split("lost ").nth(1).and_then(|rest| rest.split(' ').next()).ok_or("no time")?.parse()?;
    assert!(lost > 0.0, "it was held: {printed}");
    println!("{printed}");
    assert_eq!(used(&mut machine)?.0, 0);
    machine.console_is_healthy()?;
    Ok(answers.swap_remove(1))
}

/// Would catch a thread that runs on while its process is held, places that are given by half, and a process that notices: by its sums, by what
/// traces it, by its code, or by steps of ten of its threads.
#[test]
fn every_thread_of_a_program_is_held_stepped_and_let_go_and_it_does_not_notice() -> Result {
    hold(1000).map(drop)
}

/// The same of five thousand, which are held before the prompt gives up waiting: two seconds.
#[test]
#[ignore = "nightly: a minute, and wants a host that is not busy"]
fn five_thousand_threads_are_held_within_two_seconds() -> Result {
    let attached = hold(5000)?;
    assert_eq!((&attached["held"], &attached["coming"]), (&5000.into(), &0.into()), "{attached}");
    Ok(())
}

/// Threads come and go under interception, held first and then running; the ledger is as before.
fn churn(count: u32) -> Result {
    let mut machine = machine(512)?;
    let (_, before) = used(&mut machine)?;
    let line = format!(".start path /bin/threads churn {count}");
    // The prompt stays, so that it holds; it says `continue`, and waits for the end.
    let begun = format!("hyperdbg -x '{line}' -x continue -x 'sleep 0n100000000' > /tmp/out 2>&1 &");
    machine.ok(&format!("{begun} until grep -q begins /tmp/out; do sleep 0.1; done"))?;
    let output = machine.sh_within("while pidof threads > /dev/null; do sleep 0.2; done; cat /tmp/out", LIMIT * 8)?;
    assert!(output.text().contains(&format!("{count} ended, 0 failed")), "{}", output.text());
    machine.ok("kill -9 $(pidof hyperdbg)")?;
    let (used, after) = used(&mut machine)?;
    assert_eq!(used, 0);
    assert_eq!((after.pages, after.of_root), (before.pages, before.of_root));
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a place that a thread which has ended keeps: of two thousand.
#[test]
fn threads_that_end_give_their_places_back() -> Result {
    churn(2000)
}

/// The same of a hundred thousand.
#[test]
#[ignore = "nightly: minutes"]
fn a_hundred_thousand_threads_that_end_give_their_places_back() -> Result {
    churn(100_000)
}

/// Would catch a trap flag that a program sees, an instruction that is done twice or not at all, a signal that is lost, and a thread that is
/// not held behind its steps: from the first instruction to the last.
#[test]
fn a_program_stepped_from_its_first_instruction_to_its_last_does_what_it_does_else() -> Result {
    let mut machine = machine(512)?;
    let plain = machine.ok("threads steps 3")?;
    assert!(plain.contains("3 rounds: sum 36, 6 signals, trap flag never seen"), "{plain}");
    let lines = ["-x", ".start path /bin/threads steps 3", "-x", "t", "-x", "t 1000", "-x", "t 1001", "-x", "t 100000"];
    let output = machine.sh_within(&format!("{} 2>&1", lab::session::command_line(&lines)), LIMIT)?;
    let text = output.text();
    assert!(text.contains(plain.trim_end()), "{text}");
    assert!(
        text.contains("were done: thread ") && text.contains(" ended"),
        "the last request is for more than there are: {text}"
    );
    assert!(!text.contains("err,") && output.status == 1, "{text}");
    assert_eq!(used(&mut machine)?.0, 0);
    Ok(machine.console_is_healthy()?)
}

/// Would catch registers that are shown and not the program's, or set and not used.
#[test]
fn registers_of_a_held_thread_are_read_and_written() -> Result {
    let mut machine = machine(512)?;
    let first = done(
        &mut machine,
        &[".start path /bin/threads steps 1", "r", "r rbx = 1234567", "r rip", "t", "r rbx", ".kill", ".switch"],
    )?;
    let rip = &first[1]["registers"]["rip"];
    assert_eq!((&first[0]["standing"]["rip"], &first[3]["registers"]["rip"]), (rip, rip));
    assert_eq!(first[5]["registers"]["rbx"], "0x1234567", "{}", first[5]);
    assert_eq!(first[7]["processes"].as_array().map(Vec::len), Some(0));
    machine.ok("until ! pidof threads; do sleep 0.1; done")?;
    assert_eq!(used(&mut machine)?.0, 0);
    let wrong = prompt(&mut machine, &[".attach pid 1"])?;
    assert_eq!(wrong[0]["ok"], true, "{wrong:?}");
    let absent = prompt(&mut machine, &[".start path /bin/no-such-program"])?;
    assert_eq!(absent.last().map(|answer| &answer["ok"]), Some(&false.into()), "{absent:?}");
    Ok(machine.console_is_healthy()?)
}

/// Would catch a thread that slips away because no place was left when it was created.
#[test]
fn a_thread_that_finds_no_place_is_held_and_gets_one() -> Result {
    let mut machine = machine(512)?;
    let start = ".start path /bin/threads many 150 600";
    let lines = [
        start,
        "test fail thread-interception 1",
        "continue",
        "sleep 0n5000",
        "pause",
        "pause",
        ".switch",
        "prealloc",
        ".kill",
    ];
    let answers = done(&mut machine, &lines)?;
    let process = &answers[6]["processes"][0];
    assert_eq!(
        (&process["held"], &process["coming"], &answers[6]["unplaced"]),
        (&150.into(), &0.into(), &0.into()),
        "{}",
        answers[6]
    );
    let types = answers[7]["types"].as_array().ok_or("no types")?;
    let row = types.iter().find(|row| row["type"] == "thread-interception").ok_or("no row")?;
    assert!(row["refused"] == 1 && row["used"] == 2, "the hundred-and-first was refused a place: {row}");
    machine.ok("until ! pidof threads; do sleep 0.1; done")?;
    assert_eq!(used(&mut machine)?.0, 0);
    Ok(machine.console_is_healthy()?)
}

/// Would catch an order that a halted machine cannot carry out, and a process that is held when it is over.
#[test]
fn a_halted_debuggee_is_continued_for_an_order_and_halted_again() -> Result {
    let builder = Machine::builder().cpus(2).with_guest_program(&guest::program("threads"));
    let mut machine = builder.boot()?;
    machine.load(lab::Mode::Debugger)?;
    let pid = started(&mut machine, "many 20 600")?;
    let (attach, detach) = (format!(".attach pid {pid:x}"), format!(".detach pid {pid:x}"));
    let lines = ["-x", "pause", "-x", &attach, "-x", ".switch", "-x", "g", "-x", &detach];
    let output = machine.debugger_command()?.args(lines).output()?;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{text}");
    assert!(text.contains("the debuggee is continued for that, so this context will change"), "{text}");
    assert!(text.contains(&format!("process {pid:x} (threads) is under interception: 0x14 threads, ")), "{text}");
    assert!(text.contains(&format!("process {pid:x} is let go")), "{text}");
    machine.ok(&format!("kill -USR1 {pid}"))?;
    let printed = printed(&mut machine)?;
    assert!(printed.contains("19 ended, 0 wrong"), "{printed}");
    Ok(machine.console_is_healthy()?)
}

/// Would catch a process that stays held when the prompt that holds it is killed, also while it steps, when root leaves or dies, or one that is killed and never ends.
#[test]
fn who_is_held_is_let_go_when_the_prompt_is_killed_and_when_root_leaves_or_dies() -> Result {
    let mut machine = machine(512)?;
    let waits = "sleep 0n100000000";
    for (does, ends) in [
        (waits, "kill -9 $(pidof hyperdbg)"),
        ("t 100000", "until hyperdbg -x '.switch list' | grep -q steps; do :; done; kill -9 $(pidof hyperdbg)"),
        (waits, "hyperdbg -x unload && hyperdbg -x load"),
        (waits, "hyperdbg -x 'test fault ud'; until hyperdbg -x load; do sleep 0.2; done"),
    ] {
        let pid = started(&mut machine, "many 50 600")?;
        let hold = format!("hyperdbg -x '.attach pid {pid:x}' -x '{does}' > /tmp/held 2>&1 & ");
        machine.ok(&format!("{hold} until grep -q 'is held' /tmp/held; do sleep 0.1; done"))?;
        machine.ok(&format!("kill -USR1 {pid}"))?;
        machine.ok(ends)?;
        let printed = printed(&mut machine)?;
        assert!(printed.contains("49 ended, 0 wrong"), "{does}, {ends}: {printed}");
        machine.ok("kill -9 $(pidof hyperdbg); true")?;
    }
    assert_eq!(used(&mut machine)?.0, 0);
    // Killed by others while it is held.
    let pid = started(&mut machine, "many 50 600")?;
    let hold = format!("hyperdbg -x '.attach pid {pid:x}' -x 'sleep 0n100000000' > /tmp/held 2>&1 & ");
    machine.ok(&format!("{hold} until grep -q 'is held' /tmp/held; do sleep 0.1; done; kill -9 {pid}"))?;
    printed(&mut machine)?;
    assert_eq!(used(&mut machine)?.0, 0);
    machine.ok("kill -9 $(pidof hyperdbg); until rmmod hyperkd; do sleep 0.1; done")?;
    Ok(machine.console_is_healthy()?)
}
