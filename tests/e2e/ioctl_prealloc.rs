//! The documented ioctl, asked by a C program that was built with nothing but the header which ships.

use lab::{Machine, Mode};
use std::time::Duration;
use tests::ledger::Ledger;
use tests::{Result, guest};

const LIMIT: Duration = Duration::from_secs(120);

/// The page's names by the numbers of `DEBUGGER_PREALLOC_COMMAND_TYPE`.
const TYPES: [&str; 8] = [
    "monitor",
    "thread-interception",
    "epthook",
    "epthook2",
    "regular-event",
    "big-event",
    "regular-safe-buffer",
    "big-safe-buffer",
];

fn boot() -> Result<Machine> {
    Ok(Machine::builder().with_guest_program(&guest::program("ioctl_prealloc")).boot()?)
}

fn ledger(machine: &mut Machine) -> Result<Ledger> {
    Ok(Ledger::parse(machine.hyperdbg_ok(&["prealloc"])?.trim_end()).0)
}

fn ask(machine: &mut Machine, words: &str) -> Result<String> {
    Ok(machine.ok(&format!("ioctl_prealloc {words}"))?.trim_end().to_owned())
}

/// Would catch a structure, a number or a status that is not the documented one, a type by a wrong number, garbage that
/// is taken for a status or a flag, and an alignment that the documentation does not ask for.
#[test]
fn a_c_program_reserves_every_type_by_its_number() -> Result {
    let mut machine = boot()?;
    assert_eq!(ask(&mut machine, "ask 0 1")?, "status c0001020 type 0 count 0x1", "the hypervisor is not loaded");
    machine.load(Mode::Vmi)?;
    let mut expected = ledger(&mut machine)?;
    for (number, kind) in (0_u64..).zip(TYPES) {
        let units = number + 1;
        let said = ask(&mut machine, &format!("ask {number} {units}"))?;
        assert_eq!(said, format!("status ffffffff type {number} count {units:#x}"));
        expected = expected.with(kind, units);
    }
    for (how, units) in [("misaligned", 2), ("at-the-end-of-a-page", 3)] {
        assert_eq!(ask(&mut machine, &format!("{how} 4 {units}"))?, format!("status ffffffff type 4 count {units:#x}"));
        expected = expected.with("regular-event", units);
    }
    ledger(&mut machine)?.assert_types(&expected, "every type by its number");
    machine.hyperdbg_ok(&["unload"])?;
    assert_eq!(ask(&mut machine, "ask 0 1")?, "status c0001020 type 0 count 0x1", "it was unloaded");
    Ok(machine.console_is_healthy()?)
}

/// Would catch a request that is refused and yet takes something, a count that is cut to 32 bits, an unknown type that is
/// guessed, and a pointer that the kernel trusts.
#[test]
fn a_bad_request_is_told_and_takes_nothing() -> Result {
    let mut machine = boot()?;
    machine.load(Mode::Vmi)?;
    let before = ledger(&mut machine)?;
    for (words, said) in [
        ("ask 9 1", "status c0000028 type 9 count 0x1"),
        ("ask 0xffffffff 1", "status c0000028 type 4294967295 count 0x1"),
        ("ask 0x100 1", "status c0000028 type 256 count 0x1"),
        ("ask 0 0", "status c0001010 type 0 count 0x0"),
        ("ask 9 0", "status c0000028 type 9 count 0x0"),
        ("ask 0 0xffffffffffffffff", "status c0001011 type 0 count 0xffffffffffffffff"),
        ("ask 0 0x100000001", "status c0001011 type 0 count 0x100000001"),
        ("ask 4 0x100000000", "status c0001011 type 4 count 0x100000000"),
        ("ask 7 0x8000000000000000", "status c0001011 type 7 count 0x8000000000000000"),
        ("ask 7 0xccccccccccccccd", "status c0001011 type 7 count 0xccccccccccccccd"),
        ("null", "errno EFAULT"),
        ("unmapped", "errno EFAULT"),
        ("half-unmapped", "errno EFAULT"),
        ("kernel-address", "errno EFAULT"),
        ("not-canonical", "errno EFAULT"),
        ("read-only 0 1", "errno EFAULT"),
        ("wrong-numbers 0 1", &["errno ENOTTY"; 12].join("\n")),
    ] {
        assert_eq!(ask(&mut machine, words)?, said, "{words}");
        assert_eq!(ledger(&mut machine)?, before, "after {words:?}");
    }
    assert_eq!(ask(&mut machine, "ask 0 1")?, "status ffffffff type 0 count 0x1", "nothing is left behind");
    Ok(machine.console_is_healthy()?)
}

/// Would catch a device that anybody may open, or that opens because its mode was loosened.
#[test]
fn only_root_may_open_the_device() -> Result {
    let mut machine = boot()?;
    machine.load(Mode::Vmi)?;
    assert_eq!(machine.ok("stat -c '%a %u %g %F' /dev/hyperdbg")?.trim_end(), "600 0 0 character special file");
    let user = machine.sh("ioctl_prealloc as-user 1000")?;
    assert_eq!((user.status, user.text().trim_end()), (1, "open: errno EACCES"));
    machine.ok("chmod 666 /dev/hyperdbg")?;
    let user = machine.sh("ioctl_prealloc as-user 1000")?;
    assert_eq!((user.status, user.text().trim_end()), (1, "open: errno EPERM"));
    assert_eq!(ask(&mut machine, "as-user 0")?, "opened");
    Ok(machine.console_is_healthy()?)
}

/// Would catch units that are lost or given twice when programs ask at the same time, on both cores, while another reads
/// the ledger and while the bank has to be filled up.
#[test]
fn programs_that_ask_at_once_get_exactly_what_they_were_granted() -> Result {
    const TIMES: u64 = 300;
    let mut machine = boot()?;
    machine.hyperdbg_ok(&["load bank 40"])?;
    let before = ledger(&mut machine)?;
    let script = format!("ioctl_prealloc many 6 {TIMES}");
    let asking = [machine.spawn(&script)?, machine.spawn(&script)?];
    // Whatever is read meanwhile must add up.
    let meanwhile = ledger(&mut machine)?;
    assert!(meanwhile.types["regular-safe-buffer"].reserved <= 2 * TIMES);
    for job in asking {
        let said = machine.wait_job(job, LIMIT)?;
        assert_eq!(said.text(), format!("granted {TIMES}\n"));
    }
    ledger(&mut machine)?.assert_types(&before.with("regular-safe-buffer", 2 * TIMES), "both have ended");
    Ok(machine.console_is_healthy()?)
}

/// Would catch units that are lost, given twice or refused without need when a program asks through the device while a
/// prompt over the link halts the machine in the midst of it, reserves, and has pages fetched.
#[test]
fn a_program_and_a_prompt_over_the_link_share_one_reserve() -> Result {
    const TIMES: u64 = 300;
    const HALTS: u64 = 5;
    let mut machine = boot()?;
    machine.hyperdbg_ok(&["load link bank 40"])?;
    let before = ledger(&mut machine)?;
    let asking = machine.spawn(&format!("ioctl_prealloc many 6 {TIMES}"))?;
    for _ in 0..HALTS {
        let halted = ["-x", "pause", "-x", "prealloc regular-safe-buffer 80", "-x", "g"];
        let output = machine.debugger_command()?.args(halted).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let linux =
                machine.sh("cat /proc/uptime /proc/interrupts; ps; hyperdbg -x prealloc -x '~' -x 'exits 0' -x 'exits 1'")?;
            return Err(format!("{said}\nmeanwhile in the guest:\n{}", linux.text()).into());
        }
    }
    assert_eq!(machine.wait_job(asking, LIMIT)?.text(), format!("granted {TIMES}\n"));
    let expected = before.with("regular-safe-buffer", TIMES + HALTS * 0x80);
    ledger(&mut machine)?.assert_types(&expected, "both have ended");
    Ok(machine.console_is_healthy()?)
}
