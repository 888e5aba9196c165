//! Steps a second: many by one request, one by each request, one by each line that is typed; and by gdb at QEMU's own stub.
//!
//! `cargo bench -p tests --bench steps`. All in one run, on one guest that is halted wherever it is, by the host's clock: it prints and
//! judges nothing. The goal is that `t COUNT` is ten times as fast as gdb. On Intel there is no stub to compare with.
use abi::request::{Halted, StepAsk, op, reason, step};
use lab::{Machine, Mode, Vendor};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::Result;
use tests::wire::Wire;
use zerocopy::IntoBytes;

const LIMIT: Duration = Duration::from_secs(60);
/// Of gdb, and of requests of one each.
const FEW: u32 = 2000;
/// Of one request.
const MANY: u32 = 100_000;
/// Lines that are typed.
const LINES: u32 = 100;

fn stepped(wire: &mut Wire, count: u32, how: u32) -> Result<Halted> {
    wire.get::<[u8; 0]>(op::STEP, StepAsk { count: count.into(), how, zero: 0 }.as_bytes())?;
    let halted = wire.halted(LIMIT)?;
    if (halted.reason, halted.steps) == (reason::STEPPED, count.into()) {
        Ok(halted)
    } else {
        Err(format!("{halted:x?}").into())
    }
}

fn tell(what: &str, count: u32, begun: Instant) {
    println!("{what:40}  {:8.0} a second", f64::from(count) / begun.elapsed().as_secs_f64());
}

/// How long gdb takes to attach, to step so often, and to let go.
fn gdb(machine: &mut Machine, count: u32) -> Result<Duration> {
    let socket = machine.folder().join("gdb.sock");
    let serve = format!("gdbserver unix:{},server=on,wait=off", socket.display());
    machine.qmp("human-monitor-command", &serde_json::json!({ "command-line": serve }))?;
    let begun = Instant::now();
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-ex", "set architecture i386:x86-64", "-ex"])
        .arg(format!("target remote {}", socket.display()));
    if count > 0 {
        gdb.args(["-ex", &format!("stepi {count}")]);
    }
    let ended = gdb.args(["-ex", "detach"]).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let took = begun.elapsed();
    machine.qmp("human-monitor-command", &serde_json::json!({ "command-line": "gdbserver none" }))?;
    if ended.success() { Ok(took) } else { Err(format!("gdb ended with {ended}").into()) }
}

fn main() -> Result {
    let mut machine = Machine::builder().cpus(1).boot()?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    wire.pause()?;
    for (name, how) in [("i", step::ALONE), ("t", step::TOGETHER)] {
        let begun = Instant::now();
        stepped(&mut wire, MANY, how)?;
        tell(&format!("{name}, {MANY} by one request"), MANY, begun);
        let begun = Instant::now();
        for _ in 0..FEW {
            stepped(&mut wire, 1, how)?;
        }
        tell(&format!("{name}, one by each request"), FEW, begun);
    }
    wire.go()?;
    drop(wire);
    let mut kd = machine.debugger(&["--pause"])?;
    kd.wait_prompt()?;
    let begun = Instant::now();
    for _ in 0..LINES {
        kd.type_line("t")?;
    }
    tell("t, one by each line that is typed", LINES, begun);
    let row = kd.enter("g")?;
    tests::at_prompt::wait_running(&mut kd, row)?;
    drop(kd);
    machine.hyperdbg_ok(&["unload"])?;
    if machine.vendor() == Vendor::Amd {
        let alone = gdb(&mut machine, 0)?;
        let all = gdb(&mut machine, FEW)?;
        let begun = Instant::now().checked_sub(all.saturating_sub(alone)).ok_or("a host that has just started")?;
        tell("gdb at QEMU's stub, stepi", FEW, begun);
    }
    Ok(machine.console_is_healthy()?)
}
