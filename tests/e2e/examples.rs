//! The examples, each as its users run it: typed at the prompt, in front of a machine in which what they ask about happens.
use lab::{Machine, Mode, Prompt};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tests::{Result, at_prompt, guest};

/// An example, what happens in the guest, and what is said about it.
struct Case {
    file: &'static str,
    happens: &'static str,
    said: &'static [&'static str],
}

const CASES: [Case; 12] = [
    Case { file: "opened-files.kd", happens: "cat /proc/sys/kernel/ostype", said: &["opens /proc/sys/kernel/ostype, flags"] },
    Case { file: "executed-programs.kd", happens: "env faults divide 1", said: &["executes", "faults: faults divide 1"] },
    Case { file: "signals.kd", happens: "sleep 100 & kill -USR1 $!; wait $! || true", said: &["sends signal 10 to"] },
    Case { file: "slow-calls.kd", happens: "sleep SECONDS", said: &["sleep (", "call e6 took", "million ticks"] },
    Case {
        file: "exceptions-by-process.kd",
        happens: "faults undefined 7",
        // On each core.
        said: &["faults (", "page faults, 14 undefined instructions, 0 others"],
    },
    Case { file: "null-pointers.kd", happens: "faults null", said: &["faults (", "touches 8 at", ": 48 8b 40 08"] },
    Case {
        file: "msr-writers.kd",
        happens: "instructions wrmsr 1 c0000082 $(instructions rdmsr 1 c0000082 1)",
        said: &["to MSR c0000082"],
    },
    Case { file: "protections.kd", happens: "registers tsc 3", said: &["registers (", "CR4 from"] },
    Case { file: "hardware-breakpoints.kd", happens: "registers breakpoints", said: &["registers (", " arms "] },
    Case {
        file: "clock-memory.kd",
        happens: "ports out 70 1 f 1; ports in 71 1 1",
        said: &["ports (", "from register f of the clock"],
    },
    Case {
        file: "tsc-readers.kd",
        happens: "instructions tsc 10",
        said: &["instructions (", "reads the time stamp counter at"],
    },
    Case {
        file: "hide-hypervisor.kd",
        happens: "instructions cpuid 40000000 1",
        said: &["instructions (", "asked who is below"],
    },
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// Runs one at a prompt in front of the running machine, and waits for all that is said.
fn run(machine: &mut Machine, kd: &mut Prompt, case: &Case) -> Result {
    let path = folder().join(case.file);
    let row = at_prompt::enter_running(kd, &format!(".script {}", path.display()))?;
    kd.wait_text(row, "registered")?;
    let row = at_prompt::wait_running(kd, row + 1)?;
    // The counter of Bochs' processors is slow: what is long in ticks takes them longer.
    let seconds = 1 + machine.vendor().slowness();
    machine.ok(&case.happens.replace("SECONDS", &seconds.to_string()))?;
    for said in case.said {
        kd.wait_text(row, said)?;
    }
    let row = at_prompt::enter_running(kd, "events c all")?;
    kd.wait_text(row, "cleared")?;
    at_prompt::wait_running(kd, row + 1)?;
    Ok(())
}

/// Would catch an example that is refused, that says nothing or something else, and one that nobody runs.
#[test]
fn each_example_answers_its_question() -> Result {
    let there: BTreeSet<String> =
        std::fs::read_dir(folder())?.map(|file| Ok(file?.file_name().to_string_lossy().into_owned())).collect::<Result<_>>()?;
    let run_here = CASES.iter().map(|case| case.file.to_owned()).chain(["README.md".to_owned()]).collect();
    assert_eq!(there, run_here);
    let mut builder = Machine::builder().cpus(2).with_kernel_module("msr");
    for program in ["instructions", "faults", "registers", "ports"] {
        builder = builder.with_guest_program(&guest::program(program));
    }
    let mut machine = builder.boot()?;
    machine.modprobe("msr")?;
    machine.ok("echo on >/sys/module/msr/parameters/allow_writes; echo 0 >/proc/sys/debug/exception-trace")?;
    machine.load(Mode::Debugger)?;
    let mut kd = machine.debugger(&[])?;
    at_prompt::wait_running(&mut kd, 0)?;
    for case in &CASES {
        run(&mut machine, &mut kd, case).map_err(|why| format!("{}: {why:?}", case.file))?;
    }
    drop(kd);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
