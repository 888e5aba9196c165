//! What Linux and its programs can see of root: a leaf that answers, and nothing else.
use lab::{Machine, Vendor};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tests::{Result, guest};

/// What the guest's program says: by what it asked, the answer.
type Seen = BTreeMap<String, String>;

fn look(machine: &mut Machine, core: u32) -> Result<Seen> {
    let text = machine.ok(&format!("disguise {core}"))?;
    let line = |line: &str| line.split_once(": ").map(|(asked, answer)| (asked.to_owned(), answer.to_owned()));
    Ok(text.lines().filter_map(line).collect())
}

fn words(seen: &Seen, asked: &str) -> Result<Vec<u64>> {
    let answer = seen.get(asked).ok_or_else(|| format!("{asked} was not asked: {seen:?}"))?;
    Ok(answer.split(' ').map(|word| u64::from_str_radix(word, 16)).collect::<std::result::Result<_, _>>()?)
}

/// eax of our leaf.
const SIGNATURE: u64 = u32::from_le_bytes(*b"HKRS") as u64;
/// EFER.SVME.
const SVME: u64 = 1 << 12;
/// What a register that is not there gives to whoever reads it through the kernel.
const NOT_THERE: &str = "Input/output error";

/// Where a maker's processors say that they have the extension, and registers that are there only with it.
struct Extension {
    leaf: &'static str,
    ecx: u64,
    registers: [&'static str; 2],
}

fn extension(vendor: Vendor) -> Extension {
    match vendor {
        // VM_CR and VM_HSAVE_PA.
        Vendor::Amd => Extension { leaf: "leaf 80000001", ecx: 1 << 2, registers: ["msr c0010114", "msr c0010117"] },
        // What it can do, from the first register that says so to the one for the secondary controls.
        Vendor::Intel => Extension { leaf: "leaf 00000001", ecx: 1 << 5, registers: ["msr 00000480", "msr 0000048b"] },
    }
}

/// Would catch a processor that Linux would take for one with SVM or VT-x, registers that show who is below, a hypercall that a
/// program can make, and COM2 used from both sides at once; on either core.
#[test]
fn a_program_sees_the_leaf_and_nothing_else_of_root() -> Result {
    let mut machine =
        Machine::builder().cpus(2).with_kernel_module("msr").with_guest_program(&guest::program("disguise")).boot()?;
    machine.modprobe("msr")?;
    machine.ok("mdev -s; [ -e /dev/cpu/0/msr ] && [ -e /dev/ttyS1 ]")?;
    let Extension { leaf, ecx, registers } = extension(machine.vendor());
    let bare = [look(&mut machine, 0)?, look(&mut machine, 1)?];
    for seen in &bare {
        assert_ne!(words(seen, "leaf 48574400")?[0], SIGNATURE, "{seen:?}");
        assert_eq!(words(seen, leaf)?[2] & ecx, ecx);
        if machine.vendor() == Vendor::Amd {
            assert_ne!(words(seen, "leaf 8000000a")?, [0, 0, 0, 0]);
        }
        assert_ne!(seen[registers[1]], NOT_THERE);
        assert_eq!(seen["hypercall"], "signal 4");
        assert_eq!(seen["ttyS1"], "written");
    }
    for (load, linked) in [("load", false), ("load link", true)] {
        machine.hyperdbg_ok(&[load])?;
        for core in 0..2 {
            let seen = look(&mut machine, core)?;
            let protocol = u64::from(abi::PROTOCOL);
            assert_eq!(words(&seen, "leaf 48574400")?, [SIGNATURE, protocol, 2, 0]);
            let bare = &bare[usize::try_from(core)?];
            let (mut expected, shown) = (words(bare, leaf)?, words(&seen, leaf)?);
            expected[2] &= !ecx;
            assert_eq!(shown, expected, "all but one bit is the processor's");
            if machine.vendor() == Vendor::Amd {
                assert_eq!(words(&seen, "leaf 8000000a")?, [0, 0, 0, 0]);
            }
            assert_eq!(words(&seen, "msr c0000080")?, words(bare, "msr c0000080")?, "EFER is what Linux wrote");
            assert_eq!(words(&seen, "msr c0000080")?[0] & SVME, 0);
            assert_eq!(registers.map(|register| seen[register].as_str()), [NOT_THERE; 2]);
            assert_eq!(seen["hypercall"], "signal 4", "#UD, as without a hypervisor");
            for port in 0x2f8..0x300 {
                let hidden = seen[&format!("port {port:x}")] == "ff";
                assert!(hidden || !linked, "port {port:x} of COM2: {seen:?}");
            }
            assert_eq!(seen["ttyS1"], if linked { NOT_THERE } else { "written" });
        }
        machine.hyperdbg_ok(&["unload"])?;
        let after = [look(&mut machine, 0)?, look(&mut machine, 1)?];
        for what in [leaf, registers[0]] {
            assert_eq!(after.each_ref().map(|seen| &seen[what]), bare.each_ref().map(|seen| &seen[what]));
        }
    }
    // COM2 is Linux' again, and carries.
    let mut outside = UnixStream::connect(machine.link_path())?;
    outside.set_read_timeout(Some(Duration::from_secs(60)))?;
    machine.ok("stty -F /dev/ttyS1 raw -echo; echo COM2 is back >/dev/ttyS1")?;
    let (mut said, mut byte) = (String::new(), [0]);
    while !said.contains("COM2 is back") {
        outside.read_exact(&mut byte)?;
        said.push(char::from(byte[0]));
    }
    Ok(machine.console_is_healthy()?)
}
