//! Processes and threads: listed as the kernel has them, and looked at without being continued.
use lab::{Job, Machine, Mode, Prompt};
use std::time::Duration;
use tests::guest::{program, until_ok};
use tests::{Result, at_prompt};

/// What a line takes at most in front of other work; the first one has the kernel's names and types fetched.
const LIMIT: Duration = Duration::from_secs(600);

fn text(kd: &mut Prompt, line: &str) -> Result<String> {
    Ok(kd.type_line(line)?.text())
}

/// A process that sleeps: its number, and that of its second thread.
struct Sleeper {
    job: Job,
    pid: u32,
    tid: u32,
}

fn sleeper(machine: &mut Machine, text: &str) -> Result<Sleeper> {
    let job = machine.spawn(&format!("exec sleepers {text} >/tmp/{text}"))?;
    let said = until_ok(machine, &format!("grep tid /tmp/{text}"))?;
    let numbers: Vec<u32> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [pid, tid] = numbers[..] else { return Err(format!("it said {said}").into()) };
    // The thread says its number before it sleeps.
    until_ok(
        machine,
        &format!("grep -q '^State:.S' /proc/{pid}/task/{tid}/status && grep -q 'sec.ond' /proc/{pid}/task/{tid}/comm"),
    )?;
    Ok(Sleeper { job, pid, tid })
}

fn boot() -> Result<Machine> {
    Ok(Machine::builder().cpus(2).with_guest_program(&program("sleepers")).boot()?)
}

/// What Linux itself says: number, name, parent, threads of each process but those that this question takes.
fn processes(machine: &mut Machine) -> Result<Vec<(u32, u32, u32)>> {
    let said = machine.ok(
        "for s in /proc/[0-9]*/status; do awk '/^Pid:/ {p=$2} /^PPid:/ {q=$2} /^Threads:/ {t=$2} END {print p, q, t}' $s; done",
    )?;
    let row = |line: &str| {
        let numbers: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if let [pid, parent, threads] = numbers[..] { Some((pid, parent, threads)) } else { None }
    };
    Ok(said.lines().filter_map(row).collect())
}

/// Rows of `.process list`.
fn listed(said: &str) -> Vec<(u32, u32, u32)> {
    let row = |line: &str| {
        let mut words = line.split_whitespace().map(|word| u32::from_str_radix(word, 16).ok());
        Some((words.next()??, words.next()??, words.next()??))
    };
    said.lines().filter_map(row).collect()
}

/// Would catch a list that misses a process or invents one, addresses that are read by another program's tables, a thread's registers
/// that are not those it sleeps with, a stack without its names, and a view that outlives the halt that it was made in.
#[test]
#[ignore = "nightly: minutes, for names and types over the line"]
fn who_is_halted_sees_all_processes_and_looks_at_any_thread() -> Result {
    let mut machine = boot()?;
    let first = sleeper(&mut machine, "first-text")?;
    let second = sleeper(&mut machine, "second-text")?;
    machine.load(Mode::Debugger)?;
    let there = processes(&mut machine)?;
    let mut kd = machine.debugger(&["--pause"])?;
    kd.wait_prompt()?;
    kd.set_limit(LIMIT);
    let said = text(&mut kd, ".process list")?;
    let all = listed(&said);
    for one in there.iter().filter(|(pid, ..)| *pid < first.pid || [first.pid, second.pid].contains(pid)) {
        assert!(all.contains(one), "{one:x?} is not there: {said}");
    }
    assert!(said.contains("swapper/0") && said.contains("sleeping") && said.contains("sleepers"), "{said}");

    for (sleeper, its) in [(&first, "66 69 72 73 74 2d 74 65 78 74"), (&second, "73 65 63 6f 6e 64 2d 74 65 78 74")] {
        let (pid, tid) = (sleeper.pid, sleeper.tid);
        let view = text(&mut kd, &format!(".process pid {pid:x}"))?;
        assert!(view.starts_with(&format!("in view: pid {pid:x} sleepers, task ffff")), "{view}");
        let shown = text(&mut kd, "db 10000000 l 10")?;
        let other = text(&mut kd, &format!("db 10000000 l 10 pid {pid:x}"))?;
        assert_eq!(shown, other, "the same by the number of the process");
        assert!(shown.replace("  ", " ").contains(its), "{shown}");
        let physical = text(&mut kd, "!va2pa 10000000")?;
        let there = text(&mut kd, &format!("!db {} l 10", physical.trim()))?;
        assert!(there.replace("  ", " ").contains(its), "{physical}: {there}");
        assert!(!text(&mut kd, "!pte 10000000")?.contains("not mapped"));
        for line in [".status", "~", ".process"] {
            let shown = text(&mut kd, line)?;
            assert!(shown.contains(&format!("in view: pid {pid:x} sleepers")), "{line}: {shown}");
        }
        let threads = text(&mut kd, ".thread list")?;
        assert_eq!(threads.lines().count(), 3, "{threads}");
        assert!(threads.contains(&format!("{tid:x}  ")) && threads.contains("sec?ond"), "{threads}");

        let view = text(&mut kd, &format!(".thread tid {tid:x}"))?;
        assert!(view.contains(&format!("in view: tid {tid:x} of pid {pid:x} sec?ond")) && view.contains("sleeping"), "{view}");
        let registers = text(&mut kd, "r")?;
        for its in ["r12=0000000000001212", "r13=0000000000001313", "rbx=000000000000b0b0", "cs=0033", "in the kernel"] {
            assert!(registers.contains(its), "{its}: {registers}");
        }
        // Its program is behind the system call, and @rip is that.
        let code = text(&mut kd, "u @rip - 2 l 4")?;
        assert!(code.contains("syscall") && code.contains("jmp"), "{code}");
        let stack = text(&mut kd, "k")?;
        for its in ["schedule", "pause", "do_syscall_64", "entry_SYSCALL_64"] {
            assert!(stack.contains(its), "{its}: {stack}");
        }
        let refused = text(&mut kd, "r r12 = 1")?;
        assert!(refused.contains("can only be looked at") && refused.contains("try: .thread core"), "{refused}");
    }
    // One of the kernel's own.
    let said = text(&mut kd, ".process list")?;
    let kthreadd = said.lines().find(|line| line.ends_with("kthreadd")).ok_or("no kthreadd")?;
    let address = kthreadd.split_whitespace().nth(4).ok_or("no address")?.to_owned();
    let view = text(&mut kd, &format!(".thread thread {address}"))?;
    assert!(view.contains("in view: tid 2 of pid 2 kthreadd"), "{view}");
    let stack = text(&mut kd, "k")?;
    assert!(stack.contains("kthreadd") && stack.contains("ret_from_fork"), "{stack}");
    let registers = text(&mut kd, "r")?;
    assert!(registers.contains("in the kernel") && !registers.contains("rax="), "{registers}");
    assert!(text(&mut kd, "db 10000000 l 1")?.contains("nothing is mapped at 10000000"));

    let refused = text(&mut kd, ".process pid 7fffffff")?;
    assert!(refused.contains("there is no process 0x7fffffff") && refused.contains("try: .process list"), "{refused}");
    let refused = text(&mut kd, &format!(".process process {:x}", 0xffff_8880_0000_1000_u64))?;
    assert!(refused.contains("there is no task at"), "{refused}");

    // Whatever runs ends the view.
    assert!(text(&mut kd, &format!(".process pid {:x}", first.pid))?.starts_with("in view"));
    text(&mut kd, "t")?;
    assert!(!text(&mut kd, ".status")?.contains("in view"));
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row)?;
    machine.kill_job(first.job)?;
    machine.kill_job(second.job)?;
    drop(kd);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a view that needs a halt: in VMI mode the machine runs, and the prompt is one of its own programs.
#[test]
fn a_prompt_in_the_machine_looks_at_other_processes() -> Result {
    let mut machine = boot()?;
    let sleeper = sleeper(&mut machine, "first-text")?;
    let (pid, tid) = (sleeper.pid, sleeper.tid);
    machine.load(Mode::Vmi)?;
    let lines = [
        ".process".to_owned(),
        ".process list".to_owned(),
        format!(".process pid {pid:x}"),
        "db 10000000 l 10".to_owned(),
        format!(".thread tid {tid:x}"),
        "r r12".to_owned(),
        "k".to_owned(),
        ".process core".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let said = machine.hyperdbg_ok(&lines)?;
    for its in [
        "hyperdbg, task ffff",
        "66 69 72 73 74 2d 74 65  78 74",
        "r12=0000000000001212",
        "do_syscall_64",
        &format!("in view: tid {tid:x} of pid {pid:x} sec?ond"),
    ] {
        assert!(said.contains(its), "{its}: {said}");
    }
    machine.kill_job(sleeper.job)?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
