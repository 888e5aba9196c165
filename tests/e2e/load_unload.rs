//! Load and unload, again and again, while both cores have other things to do.
use lab::{Machine, Vendor};
use std::time::Duration;
use tests::{Result, guest};

const LIMIT: Duration = Duration::from_secs(240);
/// KiB by which available memory differs between two looks at a guest that does nothing.
const NOISE_KIB: i64 = 4096;

/// What the module asked of the kernel's address space and has not given back.
fn vmalloc_of_module(machine: &mut Machine) -> Result<String> {
    Ok(machine.ok("grep '\\[hyperkd\\]' /proc/vmallocinfo | cut -d' ' -f2- || true")?)
}

/// Would catch a core that is left behind in root or outside of it, memory that is not given back, and anything that
/// entry or exit breaks in a Linux that works: a hundred cycles under load, half of them with the link.
#[test]
fn a_hundred_cycles_under_load_leave_nothing_behind() -> Result {
    // Bochs is slow: there thirty do, and the nightly test has more.
    cycles(|vendor| if vendor == Vendor::Amd { 100 } else { 30 }, LIMIT)
}

/// Would catch what only comes now and then.
#[test]
#[ignore = "nightly: minutes in Bochs"]
fn a_hundred_and_fifty_cycles_leave_nothing_behind() -> Result {
    cycles(|_| 150, 4 * LIMIT)
}

fn cycles(count: impl Fn(Vendor) -> u32, limit: Duration) -> Result {
    let mut machine = Machine::builder().with_guest_program(&guest::program("cycle")).with_stress_ng().boot()?;
    let count = count(machine.vendor());
    let cores = machine.ok("nproc")?;
    // What Linux keeps of a first time is not lost: both loads run once before.
    machine.ok("cycle 4")?;
    let busy = guest::keep_busy(&mut machine)?;
    machine.kill_job(busy)?;
    let vmalloc = vmalloc_of_module(&mut machine)?;
    let before = guest::available_kib(&mut machine)?;

    let busy = guest::keep_busy(&mut machine)?;
    let cycles = machine.sh_within(&format!("cycle {count}"), limit)?;
    assert_eq!((cycles.text(), cycles.status), (format!("{count} cycles on {} cores\n", cores.trim()), 0));
    machine.kill_job(busy)?;
    guest::memory_comes_back(&mut machine, before, NOISE_KIB)?;
    assert_eq!(vmalloc_of_module(&mut machine)?, vmalloc);
    Ok(machine.console_is_healthy()?)
}

/// Would catch a module that leaves a thread, a timer, a notifier or root itself behind when it is removed while loaded.
#[test]
fn the_module_comes_and_goes_with_the_hypervisor_loaded() -> Result {
    let mut machine = Machine::builder().with_guest_program(&guest::program("cycle")).with_stress_ng().boot()?;
    machine.ok("rmmod hyperkd; ! [ -e /dev/hyperdbg ]")?;
    let busy = guest::keep_busy(&mut machine)?;
    for round in 0..10 {
        let load = if round % 2 == 0 { "load" } else { "load link" };
        machine.ok("insmod /hyperkd.ko")?;
        machine.hyperdbg_ok(&[load])?;
        machine.ok("rmmod hyperkd")?;
    }
    machine.kill_job(busy)?;
    let before = guest::available_kib(&mut machine)?;
    machine.ok("for i in 0 1 2 3 4 5 6 7 8 9; do insmod /hyperkd.ko && hyperdbg -x load && rmmod hyperkd || exit 1; done")?;
    guest::memory_comes_back(&mut machine, before, NOISE_KIB)?;
    assert_eq!(vmalloc_of_module(&mut machine)?, "");
    Ok(machine.console_is_healthy()?)
}
