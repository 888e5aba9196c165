//! Machines under which root cannot slip: it says what is missing, and leaves Linux as it was.
use lab::{Builder, Lab, Machine, Vendor};
use tests::{Result, guest};

/// What a processor of neither vendor's is told.
const NO_BACK_END: &str = "this processor is neither AMD's nor Intel's: root needs SVM or VT-x";

/// Loads on a machine that cannot be loaded on; the refusal. Linux must be as before, and the module must still go.
fn refused(machine: &mut Machine, load: &str) -> Result<String> {
    let before = machine.ok("grep ^flags /proc/cpuinfo")?;
    let output = machine.hyperdbg(&[load])?;
    assert_eq!(output.status, 1, "{}", output.text());
    assert_eq!(machine.ok("grep ^flags /proc/cpuinfo")?, before);
    let status = machine.hyperdbg(&["prealloc monitor 1"])?;
    assert!(status.text().contains("the hypervisor is not loaded on this machine"), "{}", status.text());
    Ok(output.text())
}

/// Boots with this processor and wants a refusal that says `what`, in both modes.
fn refuses(cpu: &str, what: &str) -> Result {
    refuses_in(Machine::builder().vendor(Vendor::Amd).cpu(cpu), what)
}

fn refuses_in(builder: Builder, what: &str) -> Result {
    let mut machine = builder.boot()?;
    for load in ["load", "load link"] {
        let said = refused(&mut machine, load)?;
        assert!(said.contains(what), "{what:?} is not in: {said}");
    }
    machine.ok("rmmod hyperkd")?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a load that faults for want of the extension, or does not name it.
#[test]
fn a_processor_without_svm_is_told_so() -> Result {
    refuses("EPYC,-svm", "this processor lacks SVM")
}

/// Would catch a guest that runs without root's memory being hidden.
#[test]
fn a_processor_without_nested_paging_is_told_so() -> Result {
    refuses("EPYC,+svm,-npt", "this processor lacks nested paging")
}

/// Would catch root's tables on a processor that cannot walk them.
#[test]
fn a_processor_without_pages_of_a_gigabyte_is_told_so() -> Result {
    refuses("EPYC,+svm,+npt,-pdpe1gb", "this processor lacks pages of 1 GiB")
}

/// Would catch another vendor's processor that is taken for one that lacks a feature.
#[test]
fn a_processor_of_another_vendor_is_told_so() -> Result {
    refuses("EPYC,vendor=CentaurHauls", NO_BACK_END)
}

/// Would catch root on a processor with VT-x and without nested paging, or one that is not told what it lacks.
#[test]
fn a_processor_with_vtx_alone_is_told_what_it_lacks() -> Result {
    if !Lab::shared()?.tests_intel() {
        return Ok(());
    }
    refuses_in(Machine::builder().vendor(Vendor::Intel).cpu("core2_penryn_t9600"), "this processor lacks")
}

/// Would catch a processor of Intel's without the extension that is touched as if it had it.
#[test]
fn a_processor_of_intels_without_vtx_is_told_so() -> Result {
    refuses("Nehalem", "this processor lacks VT-x")
}

/// One that uses the extension: what it is called, the bit that says so, and KVM's module.
struct Used {
    extension: &'static str,
    bit: &'static str,
    kvm: &'static str,
}

fn is_left_to_whom_uses_it(vendor: Vendor) -> Result {
    let Used { extension, bit, kvm } = match vendor {
        Vendor::Amd => Used { extension: "SVM", bit: "EFER.SVME", kvm: "kvm_amd" },
        Vendor::Intel => Used { extension: "VT-x", bit: "CR4.VMXE", kvm: "kvm_intel" },
    };
    // One core: inserting KVM patches the kernel, which QEMU 7.2 (TCG) with several cores does not always survive.
    let mut machine = Machine::builder()
        .vendor(vendor)
        .cpus(1)
        .with_kernel_module(kvm)
        .with_guest_program(&guest::program("kvm_machine"))
        .with_guest_module(&guest::module("in_use"))
        .boot()?;
    machine.ok("insmod /in_use.ko")?;
    let said = refused(&mut machine, "load")?;
    assert!(said.contains(&format!("another hypervisor uses {extension} already ({bit} is set)")), "{said}");
    machine.ok("rmmod in_use")?;

    machine.modprobe(kvm)?;
    let running = machine.spawn("kvm_machine")?;
    guest::until_ok(&mut machine, "[ -e /run/kvm_machine ]")?;
    let said = refused(&mut machine, "load")?;
    let by = said.contains(&format!("{extension} is in use already, by {kvm}")) && said.contains(&format!("rmmod {kvm}"));
    assert!(by, "{said}");
    assert_eq!(machine.sh("hyperdbg doctor | grep ^refused | grep -c rmmod")?.text(), "1\n", "the doctor says the same");
    machine.kill_job(running)?;
    // KVM with no machine does not use the extension.
    assert!(guest::until_ok(&mut machine, "hyperdbg -x load")?.contains("loaded on 1 core"));
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a hypervisor that takes the extension away from another one: KVM with a machine, by its name, and whoever
/// set EFER.SVME without leaving one.
#[test]
fn an_extension_that_is_in_use_is_left_to_whom_uses_it() -> Result {
    is_left_to_whom_uses_it(Vendor::Amd)
}

/// Would catch the same on a processor of Intel's, where it is CR4.VMXE.
#[test]
fn vtx_that_is_in_use_is_left_to_whom_uses_it() -> Result {
    if !Lab::shared()?.tests_intel() {
        return Ok(());
    }
    is_left_to_whom_uses_it(Vendor::Intel)
}
