//! The guest as the tests see it: their programs and modules in it, and its memory.

use crate::Result;
use lab::{Job, Machine, Vendor};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The source of a guest program: `tests/guest/NAME.c`.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guest").join(format!("{name}.c"))
}

/// The sources of a guest's kernel module: `tests/guest/modules/NAME`.
#[must_use]
pub fn module(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guest/modules").join(name)
}

/// KiB of memory that the guest could give to a program, after its caches were dropped. Pages on the lists of one core are
/// free, too, and in none of Linux' sums: that is where a whole load's 2 MiB blocks wait after they were given back.
///
/// # Errors
/// As [`Machine::ok`].
pub fn available_kib(machine: &mut Machine) -> Result<i64> {
    let text = machine.ok("sync; echo 3 >/proc/sys/vm/drop_caches; grep MemAvailable /proc/meminfo; \
         awk '$1 == \"count:\" { pages += $2 } END { print pages * 4 }' /proc/zoneinfo")?;
    let available: i64 = text.split_whitespace().nth(1).ok_or("no MemAvailable")?.parse()?;
    let on_lists: i64 = text.lines().last().ok_or("no zoneinfo")?.parse()?;
    Ok(available + on_lists)
}

/// Waits until the guest has given back memory: at least `expected` KiB are available again, but for `noise` KiB.
///
/// # Errors
/// With the numbers, if they are not after a minute.
pub fn memory_comes_back(machine: &mut Machine, expected: i64, noise: i64) -> Result {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let now = available_kib(machine)?;
        if now + noise >= expected {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(format!("{now} KiB available, {expected} before, {noise} are noise").into());
        }
    }
}

/// Asks again and again until something is so.
///
/// # Errors
/// If it is not within a minute.
pub fn until(what: &str, mut is: impl FnMut() -> Result<bool>) -> Result {
    let until = Instant::now() + Duration::from_secs(60);
    while !is()? {
        if Instant::now() >= until {
            return Err(format!("{what}: not yet").into());
        }
    }
    Ok(())
}

/// Runs a command in the guest again and again until it succeeds; what it wrote.
///
/// # Errors
/// With the last answer, if it does not within a minute.
pub fn until_ok(machine: &mut Machine, command: &str) -> Result<String> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let output = machine.sh(command)?;
        if output.ok() {
            return Ok(output.text());
        }
        if Instant::now() >= until {
            return Err(format!("`{command}` fails still: {}", output.text()).into());
        }
    }
}

/// Keeps every core busy with forks, page faults, switches, and memory that comes and goes, until
/// [`Machine::kill_job`]. The guest needs stress-ng ([`lab::Builder::with_stress_ng`]).
///
/// # Errors
/// If it does not start.
pub fn keep_busy(machine: &mut Machine) -> Result<Job> {
    let job = machine.spawn("exec stress-ng --quiet --fork 2 --fault 2 --switch 1 --vm 1 --vm-bytes 32M --timeout 0")?;
    until_ok(machine, "[ $(ls -d /proc/[0-9]*/exe | while read exe; do readlink $exe; done | grep -c stress-ng) -ge 7 ]")?;
    Ok(job)
}

/// Waits until QEMU says that the machine is in this state, such as `suspended`.
///
/// # Errors
/// If it is not after a minute.
pub fn until_status(machine: &mut Machine, status: &str) -> Result {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = machine.qmp("query-status", &serde_json::json!({}))?;
        if answer["status"] == status {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(format!("the machine is {answer}, not {status}").into());
        }
    }
}

/// A part of the guest's memory as it lies there, read from outside: neither Linux nor root can show another. `None` where the
/// emulator has no monitor that reads it (Bochs).
///
/// # Errors
/// Those of the machine.
pub fn memory_from_outside(machine: &mut Machine, first: u64, bytes: u64) -> Result<Option<Vec<u8>>> {
    if machine.vendor() != Vendor::Amd {
        return Ok(None);
    }
    let file = machine.folder().join("memory");
    machine.qmp("pmemsave", &serde_json::json!({ "val": first, "size": bytes, "filename": file }))?;
    let memory = fs::read(&file)?;
    fs::remove_file(&file)?;
    Ok(Some(memory))
}

/// Exits so far, of all reasons but CPUID.
///
/// # Errors
/// Those of the machine.
pub fn exits(machine: &mut Machine) -> Result<u64> {
    Ok(lab::figures::exits(machine)?)
}
