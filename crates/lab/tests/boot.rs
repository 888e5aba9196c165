//! A guest without hypervisor: what every other end-to-end test stands on.
use lab::{Error, Fault, Machine};
use std::{path::Path, time::Duration};

/// Would catch a guest that does not come up, a control channel that garbles, and a guest or its files left behind.
#[test]
fn a_plain_guest_boots_answers_and_leaves_nothing() -> Result<(), Error> {
    let mut machine = Machine::builder().without_hypervisor().boot()?;
    let version = machine.ok("uname -r")?;
    assert!(version.trim_end().ends_with("-cloud-amd64"), "{version}");
    assert_eq!(machine.ok("nproc")?, "2\n");
    assert!(machine.ok("cat /proc/cpuinfo")?.contains(" svm "));

    let output = machine.sh("printf 'a\\0b'; echo err >&2; exit 7")?;
    assert_eq!((output.status, output.bytes.as_slice()), (7, b"a\0berr\n".as_slice()));
    machine.ok("mkfifo /run/lab-test")?;
    let slow = machine.spawn("read line </run/lab-test; echo got $line")?;
    machine.ok("echo it >/run/lab-test")?;
    assert!(machine.wait_job(slow, Duration::from_secs(60))?.text().contains("got it"));
    let data: Vec<u8> = (0..=255).cycle().take(1000).collect();
    machine.put("/tmp/data", &data, 0o600)?;
    assert_eq!(machine.sh("cat /tmp/data")?.bytes, data);

    machine.console_is_healthy()?;
    assert_eq!(machine.qmp("query-status", &serde_json::json!({}))?["status"], "running");
    let (folder, qemu) = (machine.folder().to_owned(), machine.emulator_id());
    drop(machine);
    assert!(!folder.exists() && !Path::new(&format!("/proc/{qemu}")).exists());
    Ok(())
}

/// Would catch a wait to the limit for a guest that is dead, and an error that does not show its last words.
#[test]
fn a_panic_is_told_at_once_with_the_console() -> Result<(), Error> {
    let mut machine = Machine::builder().without_hypervisor().boot()?;
    let error = machine.sh("echo c >/proc/sysrq-trigger").unwrap_err();
    let Error::Guest(guest) = error else { return Err(error) };
    assert_eq!(guest.fault, Fault::Gone);
    assert!(guest.to_string().contains("Kernel panic - not syncing: sysrq triggered crash"), "{guest}");
    assert!(guest.emulator_ended.is_some());
    let Err(Error::Guest(unhealthy)) = machine.console_is_healthy() else { panic!("a panic is not healthy") };
    assert!(matches!(unhealthy.fault, Fault::Unhealthy { .. }));
    drop(machine);
    assert!(guest.run.join("console.log").exists(), "the files of a failed run are kept");
    std::fs::remove_dir_all(guest.run).expect("they are ours");
    Ok(())
}

/// Would catch a guest that lacks what a test brings: programs of the host's and of ours, modules of Debian's and of ours;
/// and a second boot that nobody notices.
#[test]
fn a_guest_has_what_it_is_given_and_has_it_again_after_a_reboot() -> Result<(), Error> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest");
    let mut machine = Machine::builder()
        .without_hypervisor()
        .cpus(1)
        .reboots()
        .with_stress_ng()
        .with_kernel_module("msr")
        .with_guest_program(&here.join("hello.c"))
        .with_guest_module(&here.join("answer"))
        .with_file(&here.join("hello.c"), "/tmp/hello.c", 0o600)
        .boot()?;
    let first = machine.ok("cat /proc/sys/kernel/random/boot_id")?;
    for boot in 0..2 {
        assert_eq!(machine.ok("hello")?, format!("protocol {}\n", abi::PROTOCOL));
        assert_eq!(machine.ok("stat -c %a /tmp/hello.c")?, "600\n");
        assert!(machine.ok("stress-ng --cpu 1 --cpu-ops 1 2>&1")?.contains("successful run"));
        machine.ok("insmod /answer.ko")?;
        machine.modprobe("msr")?;
        assert!(machine.ok("lsmod")?.contains("msr"));
        if boot == 0 {
            machine.wait_reboot(|machine| machine.spawn("reboot -f").map(drop))?;
        }
    }
    assert_ne!(machine.ok("cat /proc/sys/kernel/random/boot_id")?, first);
    machine.wait_console("answer: 42", Duration::from_secs(10))?;
    machine.console_is_healthy()
}
