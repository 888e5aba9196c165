//! What root costs a Linux that does not use it: a `getppid` loop with the hypervisor loaded and idle, against unloaded.
//!
//! `cargo bench -p tests --bench idle`. Pairs of runs in one boot, loaded and unloaded in turn, so that whatever drifts
//! on the host hits both alike. It prints and judges nothing: the goal is a ratio of at least 0.95, the emulator's time is
//! not a processor's, and a busy host makes it noise.
use lab::Machine;
use tests::{Result, guest};

/// Pairs of runs.
const PAIRS: usize = 12;
/// Calls in each.
const CALLS: u32 = 2_000_000;

fn nanoseconds(machine: &mut Machine) -> Result<f64> {
    Ok(machine.ok(&format!("taskset -c 1 getppid {CALLS}"))?.trim().parse()?)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result {
    let mut machine = Machine::builder().with_guest_program(&guest::program("getppid")).boot()?;
    nanoseconds(&mut machine)?;
    let (mut unloaded, mut loaded, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    println!("pair  unloaded ns  loaded ns  ratio");
    for pair in 0..PAIRS {
        // Which one comes first changes, so that neither always follows the other's caches.
        let (without, with);
        if pair % 2 == 0 {
            without = nanoseconds(&mut machine)?;
            machine.hyperdbg_ok(&["load"])?;
            with = nanoseconds(&mut machine)?;
            machine.hyperdbg_ok(&["unload"])?;
        } else {
            machine.hyperdbg_ok(&["load"])?;
            with = nanoseconds(&mut machine)?;
            machine.hyperdbg_ok(&["unload"])?;
            without = nanoseconds(&mut machine)?;
        }
        println!("{pair:>4}  {without:>11.1}  {with:>9.1}  {:.3}", without / with);
        unloaded.push(without);
        loaded.push(with);
        ratios.push(without / with);
    }
    let (without, with) = (median(&mut unloaded), median(&mut loaded));
    println!("median of {PAIRS}: {without:.1} ns unloaded, {with:.1} ns loaded");
    println!(
        "speed loaded / unloaded: {:.3} of the medians, {:.3} median of the pairs (goal 0.95)",
        without / with,
        median(&mut ratios)
    );
    Ok(machine.console_is_healthy()?)
}
