//! Threads under interception: held all of them, seen by nobody, stepped each alone, and places given back.
use lab::Machine;
use serde_json::Value;
use tests::ledger::Ledger;
use tests::{Result, guest};

/// A machine under root, without a link, with the program.
fn machine(memory_mib: u32) -> Result<Machine> {
    let builder = Machine::builder().cpus(2).memory_mib(memory_mib).with_guest_program(&guest::program("threads"));
    let mut machine = builder.boot()?;
    machine.hyperdbg_ok(&["load"])?;
    Ok(machine)
}

/// What the prompt on the machine itself answers to each of these lines, one prompt for all of them.
fn prompt(machine: &mut Machine, lines: &[String]) -> Result<Vec<Value>> {
    let mut words = vec!["--json".to_owned()];
    words.extend(lines.iter().flat_map(|line| ["-x".to_owned(), line.clone()]));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = machine.sh(&format!("{} 2>&1", lab::session::command_line(&words)))?;
    output.text().lines().map(|line| Ok(serde_json::from_str(line).map_err(|why| format!("{why}: {line}"))?)).collect()
}

fn ledger(machine: &mut Machine) -> Result<Ledger> {
    Ok(Ledger::parse(machine.ok("hyperdbg -x prealloc")?.trim_end()).0)
}

/// Would catch a thread that runs on while its process is held, and a process that notices.
#[test]
fn a_program_is_held_stepped_and_let_go() -> Result {
    let mut machine = machine(512)?;
    let job = machine.spawn("threads many 20 30 > /tmp/out 2>&1")?;
    machine.ok("until grep -q threads /tmp/out; do sleep 0.1; done")?;
    let pid = u32::from_str_radix(&machine.ok("printf %x $(pidof threads)")?.trim().to_owned(), 16)?;
    let before = ledger(&mut machine)?;
    let lines = [format!(".attach pid {pid:x}"), ".switch list".into(), "r".into(), "t".into(), "t 100".into(), ".detach".into()];
    let answers = prompt(&mut machine, &lines)?;
    for answer in &answers {
        println!("{answer}");
    }
    let out = machine.ok("kill -USR1 $(pidof threads); while pidof threads; do sleep 0.1; done; cat /tmp/out; dmesg | tail -5")?;
    println!("{out}");
    assert_eq!(ledger(&mut machine)?, before);
    drop(job);
    Ok(machine.console_is_healthy()?)
}
