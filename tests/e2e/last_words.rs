//! A fault of root's own: it says why, lets go of the machine, and Linux runs on without it.
use lab::{Machine, Mode, Prompt};
use std::time::Duration;
use tests::{Result, at_prompt, guest};

const LIMIT: Duration = Duration::from_secs(60);
/// KiB by which available memory differs between two looks at a guest that does nothing.
const NOISE_KIB: i64 = 4096;
/// Each fault, and how its last words must tell it. A stack that overflows ends at the guard page: a page fault, or the
/// double fault of one that finds no stack.
const FAULTS: [(&str, &[&str]); 3] = [("ud", &["vector 6,"]), ("page", &["vector e,"]), ("stack", &["vector e,", "vector 8,"])];

/// The last words on the screen from a row on, whole.
fn last_words(prompt: &mut Prompt, row: usize) -> Result<String> {
    let row = prompt.wait_text(row, "root's last words:")?;
    prompt.wait_text(row, "| last exits: ")?;
    prompt.wait_prompt()?;
    let session = prompt.session();
    Ok(session.lines().skip(row).collect::<Vec<_>>().join("\n"))
}

fn assert_tells(words: &str, vectors: &[&str]) {
    assert!(vectors.iter().any(|vector| words.contains(vector)), "none of {vectors:?} in:\n{words}");
    for part in ["fault in root on core ", "address ", "rip ffff87ff", "nmi@"] {
        assert!(words.contains(part), "{part:?} is missing in:\n{words}");
    }
}

/// Would catch a fault in root that hangs the machine, that tells nothing, or after which the hypervisor's memory is lost
/// or it cannot be loaded again: each fault, with the guest running and halted.
#[test]
fn root_says_its_last_words_and_linux_runs_on() -> Result {
    let mut machine = Machine::builder().with_stress_ng().boot()?;
    machine.load(Mode::Debugger)?;
    machine.hyperdbg_ok(&["unload"])?;
    let before = guest::available_kib(&mut machine)?;
    let mut prompt = machine.debugger(&["--wait", "60"])?;
    let mut row = 0;
    for (fault, vectors) in FAULTS {
        for halted in [false, true] {
            machine.load(Mode::Debugger)?;
            let busy = guest::keep_busy(&mut machine)?;
            let command = format!("test fault {fault}");
            at_prompt::wait_running(&mut prompt, row)?;
            if halted {
                let pause = at_prompt::enter_running(&mut prompt, "pause")?;
                prompt.answer_after(pause, "pause")?;
                row = prompt.enter(&command)?;
            } else {
                row = at_prompt::enter_running(&mut prompt, &command)?;
            }
            let words = last_words(&mut prompt, row)?;
            assert_tells(&words, vectors);
            row = prompt.row();
            machine.kill_job(busy)?;
            machine.wait_console("root faulted and let go of the machine", LIMIT)?;
            guest::memory_comes_back(&mut machine, before, NOISE_KIB)?;
        }
    }
    // Once more from the beginning, with everything in order.
    machine.load(Mode::Debugger)?;
    at_prompt::wait_running(&mut prompt, row)?;
    machine.hyperdbg_ok(&["unload"])?;
    machine.ok("rmmod hyperkd")?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a fault on behalf of a program in the guest that takes the program's kernel thread along or leaves the
/// device useless.
#[test]
fn a_fault_asked_for_by_a_program_in_the_guest_is_an_error_there() -> Result {
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Vmi)?;
    machine.hyperdbg_ok(&["unload"])?;
    let before = guest::available_kib(&mut machine)?;
    for (fault, _) in FAULTS {
        machine.load(Mode::Vmi)?;
        let output = machine.hyperdbg(&[&format!("test fault {fault}")])?;
        assert!(!output.ok(), "{}", output.text());
        guest::memory_comes_back(&mut machine, before, NOISE_KIB)?;
    }
    machine.load(Mode::Vmi)?;
    assert!(machine.hyperdbg_ok(&["~"])?.contains("running"));
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a core that cannot go back into a program whose page tables have nothing of the kernel, and a program that finds
/// itself elsewhere, or with other registers, behind that.
#[test]
fn programs_on_isolated_page_tables_run_on_when_root_is_gone() -> Result {
    let mut machine = Machine::builder().cpus(2).kernel_argument("pti=on").boot()?;
    assert!(machine.ok("dmesg")?.contains("page tables isolation: enabled"));
    machine.load(Mode::Debugger)?;
    let mut prompt = machine.debugger(&["--wait", "60"])?;
    at_prompt::wait_running(&mut prompt, 0)?;
    // In their programs nearly all of the time, with a sum that any lost register would spoil.
    let sums = "while [ ! -e /tmp/stop ]; do n=0; while [ $n -lt 5000 ]; do n=$((n + 1)); done; done; echo $n";
    let jobs = [0, 1].map(|core| machine.spawn(&format!("exec taskset -c {core} sh -c '{sums}'")));
    guest::until_ok(&mut machine, "[ $(pidof taskset sh | wc -w) -ge 2 ]")?;
    let row = at_prompt::enter_running(&mut prompt, "test fault ud")?;
    assert_tells(&last_words(&mut prompt, row)?, &["vector 6,"]);
    machine.wait_console("root faulted and let go of the machine", LIMIT)?;
    machine.ok("touch /tmp/stop")?;
    for job in jobs {
        let ended = machine.wait_job(job?, LIMIT)?;
        assert_eq!((ended.text().as_str(), ended.status), ("5000\n", 0));
    }
    Ok(machine.console_is_healthy()?)
}
