//! What the bank is for: reserving 0x1000 units of a page from it, against fetching as many pages from the kernel.
//!
//! `cargo bench -p tests --bench bank`. Both ways in turns in one boot, each a request by the documented ioctl: once counted in
//! instructions (QEMU's `-icount`; root's and the kernel's included), once by the emulator's clock. It prints and judges
//! nothing; the goal is that the bank is 10 times faster. The prompt's way while halted costs more than this on the kernel's
//! side: the debuggee must run until its worker looks, 50 ms at most.
use lab::Machine;
use tests::{Result, guest};

/// Frames of the bank: the units, and what the start takes.
const BANK: &str = "2000";

fn compare(mut machine: Machine, unit: &str) -> Result {
    machine.hyperdbg_ok(&[&format!("load bank {BANK}")])?;
    println!("bank  kernel  kernel/bank   (0x1000 units of a page, {unit})");
    for line in machine.ok("pools time")?.lines() {
        let (bank, kernel) = line.split_once(' ').ok_or("two numbers a line")?;
        let (bank, kernel): (f64, f64) = (bank.parse()?, kernel.parse()?);
        println!("{bank}  {kernel}  {:.1}", kernel / bank);
    }
    Ok(machine.console_is_healthy()?)
}

fn main() -> Result {
    let guest = || Machine::builder().with_guest_program(&guest::program("pools"));
    compare(guest().icount().boot()?, "instructions")?;
    compare(guest().boot()?, "ticks of the TSC")
}
