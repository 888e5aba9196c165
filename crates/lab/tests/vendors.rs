//! One text for both vendors: whoever made the processor, a guest answers alike.
use lab::{Error, Lab, Machine, Vendor};
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::Command,
    time::Duration,
};

/// What a processor says of itself: the maker's name, and the flag of its extension.
fn named(vendor: Vendor) -> (&'static str, &'static str) {
    match vendor {
        Vendor::Amd => ("AuthenticAMD", " svm "),
        Vendor::Intel => ("GenuineIntel", " vmx "),
    }
}

fn answers(vendor: Vendor, cpus: u32) -> Result<(), Error> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/hello.c");
    let mut machine =
        Machine::builder().vendor(vendor).cpus(cpus).without_hypervisor().with_file(&source, "/tmp/hello.c", 0o600).boot()?;
    assert_eq!(machine.ok("nproc")?, format!("{cpus}\n"));
    let (maker, flag) = named(vendor);
    let processors = machine.ok("cat /proc/cpuinfo")?;
    assert!(processors.contains(maker) && processors.contains(flag), "{processors}");
    let output = machine.sh("printf 'a\\0b'; echo err >&2; exit 7")?;
    assert_eq!((output.status, output.bytes.as_slice()), (7, b"a\0berr\n".as_slice()));
    assert_eq!(machine.sh("cat /tmp/hello.c")?.bytes, std::fs::read(&source).expect("it is the project's"));

    // The link, both ways, and a second client after the first.
    machine.ok("stty -F /dev/ttyS1 raw -echo 115200")?;
    for word in ["first", "second"] {
        let mut link = UnixStream::connect(machine.link_path()).expect("the emulator listens");
        link.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit is allowed");
        // What comes before the emulator has taken the client is lost, so it is said until there is an answer. The job's end
        // kills what it left running, and Linux throws away what a port has still to send when a killed process is the last to
        // close it: `stty` waits until all is sent.
        let echo = machine.spawn(
            "exec 3<>/dev/ttyS1; (while :; do echo open; sleep 1; done) >&3 & read line <&3; kill $!; echo got $line >&3; \
             stty raw -echo <&3",
        )?;
        let mut lines = BufReader::new(link.try_clone().expect("it is open")).lines();
        let mut hears = |text: &str| {
            let line = lines.by_ref().map(|line| line.expect("the guest answers")).find(|line| line.ends_with(text));
            assert!(line.is_some(), "{text}");
        };
        hears("open");
        writeln!(link, "{word}").expect("the guest's port takes it");
        hears(&format!("got {word}"));
        assert!(machine.wait_job(echo, lab::machine::COMMAND_LIMIT)?.ok());
    }

    machine.console_is_healthy()?;
    let (folder, emulator) = (machine.folder().to_owned(), machine.emulator_id());
    drop(machine);
    assert!(!folder.exists() && !Path::new(&format!("/proc/{emulator}")).exists());
    Ok(())
}

/// Would catch a guest of QEMU's that differs from Bochs' in what a test sees of it.
#[test]
fn a_guest_of_amds_answers() -> Result<(), Error> {
    answers(Vendor::Amd, 2)
}

/// Would catch a guest of Bochs' that does not boot, lacks VT-x, a processor, a file or a port, or is left behind.
#[test]
fn a_guest_of_intels_answers_with_one_core_and_with_two() -> Result<(), Error> {
    if !Lab::shared()?.tests_intel() {
        return Ok(());
    }
    answers(Vendor::Intel, 1)?;
    answers(Vendor::Intel, 2)
}

/// Would catch a model that is not asked for in the emulator's words, and a panic after which Bochs boots again, or goes on
/// silently, or whose error shows neither the console nor its log.
#[test]
fn another_model_of_intels_dies_with_its_last_words() -> Result<(), Error> {
    if !Lab::shared()?.tests_intel() {
        return Ok(());
    }
    let mut machine =
        Machine::builder().vendor(Vendor::Intel).cpu("corei7_haswell_4770").cpus(1).without_hypervisor().boot()?;
    assert!(machine.ok("cat /proc/cpuinfo")?.contains("i7-4770"));
    let error = machine.sh("echo c >/proc/sysrq-trigger").unwrap_err();
    let Error::Guest(guest) = error else { return Err(error) };
    assert_eq!(guest.fault, lab::Fault::Gone);
    let text = guest.to_string();
    for part in [
        "Kernel panic - not syncing: sysrq triggered crash",
        "Bochs said:",
        "3rd (13) exception with no resolution",
        "Bochs ended",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    drop(machine);
    for file in ["console.log", "bochs.log", "bochsrc"] {
        assert!(guest.run.join(file).exists(), "{file} of a failed run is kept");
    }
    std::fs::remove_dir_all(&guest.run).expect("they are ours");
    Ok(())
}

/// Would catch a reboot that ends Bochs though the guest may boot again, and ports that do not survive it.
#[test]
fn a_guest_of_intels_boots_again_if_it_may() -> Result<(), Error> {
    if !Lab::shared()?.tests_intel() {
        return Ok(());
    }
    let mut machine = Machine::builder().vendor(Vendor::Intel).cpus(1).reboots().without_hypervisor().boot()?;
    let first = machine.ok("cat /proc/sys/kernel/random/boot_id")?;
    machine.wait_reboot(|machine| machine.spawn("reboot -f").map(drop))?;
    assert_ne!(machine.ok("cat /proc/sys/kernel/random/boot_id")?, first);
    machine.console_is_healthy()
}

/// Would catch a Bochs that stands still now and then: one that counted instructions a second did, one guest of the first eight.
#[test]
#[ignore = "nightly: two minutes"]
fn guests_of_intels_come_up_twenty_times() -> Result<(), Error> {
    for round in 0..20 {
        let cpus = 1 + round % 2;
        let mut machine = Machine::builder().vendor(Vendor::Intel).cpus(cpus).without_hypervisor().boot()?;
        assert_eq!(machine.ok("nproc")?, format!("{cpus}\n"));
        machine.console_is_healthy()?;
    }
    Ok(())
}

/// Would catch a vendor that is mistyped in the environment, and then tests of the other one that pass for its own.
#[test]
fn a_vendor_that_is_none_is_refused_by_name() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_lab")).arg("setup").env("HYPERDBG_VENDOR", "arm").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("HYPERDBG_VENDOR: `arm` is neither amd nor intel"), "{said}");
    assert_eq!(output.status.code(), Some(125));
}

/// Would catch a Bochs that is named in vain and then built or looked for elsewhere.
#[test]
fn an_emulator_that_is_not_there_is_refused_by_name() {
    let nowhere = Path::new("/nonexistent/bochs");
    let error = Machine::builder().vendor(Vendor::Intel).emulator(nowhere).boot().map(drop).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/bochs is missing: the Bochs that"), "{error}");
}
