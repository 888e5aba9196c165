//! What root costs a Linux that does not use it: a `getppid` loop with the hypervisor loaded and idle, against unloaded.
//!
//! `cargo bench -p tests --bench idle`. Pairs of runs in one boot, loaded and unloaded in turn, so that whatever drifts
//! on the host hits both alike: once by the emulator's clock, once by counted instructions, root's included (QEMU's
//! `-icount`), which no busy host disturbs. It prints and judges nothing; the goal is a ratio of at least 0.95. An
//! emulator's time is not a processor's, and the counted instructions leave out what an exit costs on silicon.
use lab::Machine;
use tests::{Result, guest};

/// Calls in one run.
const CALLS: u32 = 300_000;
/// Runs of which the fastest counts: on a busy host all others say more about the host.
const RUNS: usize = 5;

/// For each call, by the guest's clock: the fastest of so many runs.
fn fastest(machine: &mut Machine, runs: usize) -> Result<f64> {
    let core = if machine.ok("nproc")? == "1\n" { 0 } else { 1 };
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        best = best.min(machine.ok(&format!("taskset -c {core} getppid {CALLS}"))?.trim().parse()?);
    }
    Ok(best)
}

/// The same with the hypervisor loaded, which it is not before and after.
fn under_root(machine: &mut Machine, runs: usize) -> Result<f64> {
    machine.hyperdbg_ok(&["load"])?;
    let with = fastest(machine, runs)?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(with)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints so many pairs, and what they come to.
fn compare(machine: &mut Machine, pairs: usize, runs: usize, unit: &str) -> Result {
    let (mut unloaded, mut loaded, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    println!("pair  unloaded  loaded  ratio   ({unit} a call)");
    fastest(machine, 1)?;
    for pair in 0..pairs {
        // Which one comes first changes, so that neither always follows the other.
        let (without, with) = if pair % 2 == 0 {
            let without = fastest(machine, runs)?;
            (without, under_root(machine, runs)?)
        } else {
            let with = under_root(machine, runs)?;
            (fastest(machine, runs)?, with)
        };
        println!("{pair:>4}  {without:>8.1}  {with:>6.1}  {:.3}", without / with);
        unloaded.push(without);
        loaded.push(with);
        ratios.push(without / with);
    }
    let (without, with) = (median(&mut unloaded), median(&mut loaded));
    println!("medians of {pairs} pairs: {without:.1} {unit} unloaded, {with:.1} loaded");
    println!(
        "speed loaded / unloaded: {:.3} of the medians, {:.3} median of the ratios\n",
        without / with,
        median(&mut ratios)
    );
    Ok(machine.console_is_healthy()?)
}

fn main() -> Result {
    let guest = || Machine::builder().with_guest_program(&guest::program("getppid"));
    compare(&mut guest().icount().boot()?, 4, 1, "instructions")?;
    compare(&mut guest().boot()?, 10, RUNS, "nanoseconds")
}
