//! The doctor is asked on machines that can be loaded on and on others, and `load` must agree with it.
use lab::{Builder, Lab, Machine, Vendor};
use serde_json::Value;
use tests::Result;

/// Its verdict, what it says to programs, and its exit status.
fn asked(machine: &mut Machine) -> Result<(i32, Value, String)> {
    let people = machine.sh("hyperdbg doctor")?;
    let programs = machine.sh("hyperdbg doctor --json")?;
    assert_eq!(people.status, programs.status, "{}", people.text());
    Ok((people.status, serde_json::from_str(&programs.text())?, people.text()))
}

/// Boots with this processor, which lacks something: the doctor must say what, and `load` must be refused, too.
fn refuses(builder: Builder, lacks: &str) -> Result {
    let mut machine = builder.boot()?;
    let (status, json, text) = asked(&mut machine)?;
    assert_eq!((status, json["result"]["verdict"].as_str()), (1, Some("refused")), "{text}");
    assert!(text.contains(lacks), "{lacks} is not in {text}");
    let load = machine.hyperdbg(&["doctor", "load"])?;
    assert!(load.text().contains("stopped at -x 1: doctor"), "what follows a refusal is not run: {}", load.text());
    assert_eq!(machine.hyperdbg(&["load"])?.status, 1);
    Ok(machine.console_is_healthy()?)
}

/// Would catch a doctor who needs the module or sends people away from a machine that works, whose verdict a shell cannot read, and
/// who does not see root once it is there.
fn is_well(vendor: Vendor) -> Result {
    let mut machine = Machine::builder().cpus(2).vendor(vendor).without_insmod().boot()?;
    let (status, json, text) = asked(&mut machine)?;
    assert_eq!((status, json["result"]["verdict"].as_str()), (0, Some("works")), "{text}");
    assert!(text.contains("insmod hyperkd.ko") && text.contains("`load` should work here, after what is to do"), "{text}");
    machine.ok("insmod /hyperkd.ko")?;
    let (status, _, text) = asked(&mut machine)?;
    assert!(status == 0 && text.contains("`load` should work here") && !text.contains("to do"), "{text}");
    for load in ["load", "load link"] {
        machine.hyperdbg_ok(&[load])?;
        let (status, json, text) = asked(&mut machine)?;
        assert_eq!((status, json["result"]["verdict"].as_str()), (0, Some("loaded")), "{text}");
        assert!(text.ends_with("the hypervisor is loaded on 2 cores\n"), "{text}");
        machine.hyperdbg_ok(&["unload"])?;
    }
    let (status, json, text) = asked(&mut machine)?;
    assert_eq!((status, json["result"]["verdict"].as_str()), (0, Some("works")), "{text}");
    Ok(machine.console_is_healthy()?)
}

/// Would catch what [`is_well`] would, on a processor of AMD's.
#[test]
fn a_machine_of_amds_is_well_before_under_and_after_root() -> Result {
    is_well(Vendor::Amd)
}

/// Would catch a doctor who says of a machine without the extension that `load` works there.
#[test]
fn a_machine_without_svm_is_not() -> Result {
    refuses(Machine::builder().vendor(Vendor::Amd).cpu("EPYC,-svm"), "this processor lacks SVM")
}

/// Would catch what [`is_well`] would, on a processor of Intel's.
#[test]
fn a_machine_of_intels_is_well_before_under_and_after_root() -> Result {
    if !Lab::shared()?.tests_intel() {
        return Ok(());
    }
    is_well(Vendor::Intel)
}

/// Would catch a doctor who takes VT-x without nested paging for enough.
#[test]
fn a_machine_of_intels_without_ept_is_not() -> Result {
    if !Lab::shared()?.tests_intel() {
        return Ok(());
    }
    refuses(Machine::builder().vendor(Vendor::Intel).cpu("core2_penryn_t9600"), "this processor lacks nested paging (EPT)")
}
