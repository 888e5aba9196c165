//! gdb below the kernel: it stops a running Linux by name, reads its stack, watches its memory, steps, and lets go whatever happens to it.
use lab::{Machine, Mode};
use tests::Result;
use tests::gdb::{Gdb, Server};

/// Reads, again and again, by the system call.
const READER: &str = "while read line </proc/version; do :; done";

fn machine() -> Result<(Machine, Server)> {
    let mut machine = Machine::builder().cpus(2).boot()?;
    machine.load(Mode::Debugger)?;
    let server = Server::start(&machine, true)?;
    // It ends with the guest.
    let _reads = machine.spawn(READER)?;
    Ok((machine, server))
}

/// Linux runs, and nothing is left that could halt it.
fn is_free(machine: &mut Machine) -> Result {
    let left = machine.hyperdbg_ok(&["bl", "events"])?;
    let lines: Vec<&str> = left.lines().map(str::trim).collect();
    assert_eq!(lines, ["there are no breakpoints", "there are no active or disabled events"]);
    Ok(())
}

fn end(machine: &mut Machine, server: Server) -> Result {
    assert!(server.end()?.success());
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// What stands behind a mark of the script, up to the next one.
fn part<'s>(said: &'s str, mark: &str) -> &'s str {
    let (_, behind) = said.split_once(&format!("== {mark}\n")).unwrap_or_else(|| panic!("no {mark} in {said}"));
    behind.split("\n== ").next().unwrap_or(behind)
}

/// Would catch names that lie elsewhere, a breakpoint that is not met, or met twice, a stack without names, a breakpoint that can be read,
/// a step that goes elsewhere, a watchpoint that is not met or met before the access, memory and registers that are another's, and
/// anything that stays behind.
#[test]
fn a_script_of_gdbs_stops_a_running_kernel_by_name() -> Result {
    let (mut machine, mut server) = machine()?;
    let said = Gdb::start(
        &server,
        "set breakpoint always-inserted on\n\
         break vfs_read\n\
         continue\n\
         echo == stack\\n\n\
         bt\n\
         echo == code\\n\n\
         x/5xb vfs_read\n\
         monitor bl\n\
         echo == steps\\n\n\
         print/x $rip\n\
         stepi\n\
         print/x $rip\n\
         stepi 3\n\
         print/x $rip\n\
         finish\n\
         echo == range\\n\n\
         next\n\
         echo == again\\n\n\
         continue\n\
         delete\n\
         set breakpoint always-inserted off\n\
         echo == watch\\n\n\
         watch *(unsigned long *)&jiffies_64\n\
         continue\n\
         continue\n\
         delete\n\
         echo == names\\n\n\
         info threads\n\
         tbreak ksys_read\n\
         continue\n\
         echo == values\\n\n\
         set $r12 = 0x1234567890abcdef\n\
         print/x $r12\n\
         print $cr3 == 0\n\
         print/x *(unsigned char *)&linux_banner\n\
         monitor ? $tid\n\
         monitor g\n\
         monitor db linux_banner l 5\n\
         echo == end\\n\n\
         detach",
    )?
    .end()?;
    let stack = part(&said, "stack");
    for (nth, name) in ["vfs_read", "ksys_read", "do_syscall_64", "entry_SYSCALL_64"].into_iter().enumerate() {
        assert!(stack.lines().any(|line| line.starts_with(&format!("#{nth} ")) && line.contains(name)), "{stack}");
    }
    let code = part(&said, "code");
    assert!(code.contains("0x0f\t0x1f\t0x44\t0x00\t0x00"), "what Linux traces by, and no breakpoint: {code}");
    assert!(code.contains("(enabled)") && code.contains("0x1  bp "), "{code}");
    let steps = part(&said, "steps");
    let places: Vec<u64> = steps.lines().filter_map(|line| u64::from_str_radix(line.split_once(" = 0x")?.1, 16).ok()).collect();
    assert!(
        places.len() == 3 && places[1] == places[0] + 5 && places[2] > places[1] && places[2] < places[1] + 0x40,
        "{steps}"
    );
    assert!(steps.contains("in ksys_read ()"), "finish: {steps}");
    let range = part(&said, "range");
    // Where the processor needs it, functions return by a jump to code for all of them.
    let out = range.contains("in do_syscall_64 ()") || range.contains("_return_thunk ()");
    assert!(range.contains("Single stepping until exit from function ksys_read") && out, "{range}");
    assert!(part(&said, "again").contains("hit Breakpoint 1") && !part(&said, "again").contains("SIG"), "{said}");
    let watch = part(&said, "watch");
    let numbers =
        |what: &str| -> Vec<u64> { watch.lines().filter_map(|line| line.strip_prefix(what)?.trim().parse().ok()).collect() };
    let (old, new) = (numbers("Old value ="), numbers("New value ="));
    assert!(old.len() == 2 && old[1] == new[0] && new[0] > old[0] && new[1] > old[1], "{watch}");
    assert!(watch.contains("tick_do_update_jiffies64") || watch.contains("do_timer"), "{watch}");
    let names = part(&said, "names");
    assert!(names.contains("(CPU 0 [") && names.contains("(CPU 1 [") && names.contains("hit Temporary breakpoint"), "{names}");
    let values = part(&said, "values");
    let lines: Vec<&str> = values.lines().collect();
    assert!(lines[0].ends_with("= 0x1234567890abcdef") && lines[1].ends_with("= 0"), "{values}");
    assert!(lines[2].ends_with("= 0x4c"), "the L of Linux: {values}");
    assert!(values.contains("try: continue"), "{values}");
    assert!(values.contains("4c 69 6e 75 78"), "{values}");
    server.until_says("gdb has let go; the debuggee runs", 1)?;
    is_free(&mut machine)?;
    end(&mut machine, server)
}

/// Would catch a machine that stays halted, or a breakpoint that stays, when gdb is killed: halted, running, between hits; a server that
/// serves nobody afterwards; CTRL+C that does not halt; what somebody set by `monitor` and that halts a machine which nobody watches.
#[test]
fn a_gdb_that_is_killed_leaves_a_linux_that_runs_on() -> Result {
    let (mut machine, mut server) = machine()?;
    // Halted.
    let mut gdb =
        Gdb::start_and_stay(&server, "break vfs_read\ncontinue\nmonitor bp ksys_read\nmonitor !monitor w jiffies_64 l 8")?;
    gdb.until_says("event ", 1)?;
    gdb.kill()?;
    server.until_says("gdb is gone; the debuggee runs", 1)?;
    is_free(&mut machine)?;
    // It runs, and CTRL+C halts it; then it runs again.
    let mut gdb = Gdb::start_and_stay(&server, "hbreak panic\necho == runs\\n\ncontinue")?;
    gdb.until_says("== runs", 1)?;
    for times in 1..=2 {
        machine.ok("true")?;
        gdb.interrupt()?;
        gdb.until_says("SIGINT", times)?;
        gdb.enter("continue")?;
    }
    machine.ok("true")?;
    gdb.kill()?;
    server.until_says("gdb is gone; the debuggee runs", 2)?;
    is_free(&mut machine)?;
    // At a breakpoint, or on its way from one to the next.
    for nth in 1..=6 {
        let mut gdb = Gdb::start_and_stay(&server, "break vfs_read\nwhile 1\ncontinue\nend")?;
        gdb.until_says("hit Breakpoint 1", nth)?;
        gdb.kill()?;
        server.until_says("gdb is gone; the debuggee runs", 2 + nth)?;
        is_free(&mut machine)?;
    }
    // The server itself, while gdb's breakpoint has halted the machine: root goes on when nobody is heard of, without that breakpoint.
    let mut gdb = Gdb::start_and_stay(&server, "break vfs_read\ncontinue")?;
    gdb.until_says("hit Breakpoint 1", 1)?;
    server.kill()?;
    gdb.kill()?;
    is_free(&mut machine)?;
    // By a pipe to a server of its own, which goes with it.
    let mut gdb = Gdb::start_piped(&machine, "break vfs_read\ncontinue")?;
    gdb.until_says("hit Breakpoint 1", 1)?;
    gdb.kill()?;
    machine.ok("true")?;
    is_free(&mut machine)?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
