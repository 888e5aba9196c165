//! A pause that is long enough for every watchdog of Linux to bark, if it could see it.
use lab::{Machine, Mode};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tests::{Result, guest, vendor, wire::Wire};

/// By how much two clocks may differ that were read one after another, over the control channel of a busy host.
const SLACK_MS: i64 = 1000;

/// The guest's clocks and the host's, in milliseconds, as near to each other as can be.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    host: Instant,
    monotonic: i64,
    real: i64,
}

impl Clocks {
    fn read(machine: &mut Machine) -> Result<Self> {
        let begun = Instant::now();
        let text = machine.ok("clocks")?;
        let numbers = text.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<i64>, _>>()?;
        // Read by the guest somewhere between the two.
        let host = begun + begun.elapsed() / 2;
        Ok(Self { host, monotonic: numbers[0], real: numbers[1] })
    }

    fn host_since(&self, earlier: &Self) -> i64 {
        i64::try_from(self.host.duration_since(earlier.host).as_millis()).unwrap_or(i64::MAX)
    }
}

/// The time of day must be right again; the module looks every few milliseconds.
fn time_of_day_is_right(machine: &mut Machine, before: &Clocks) -> Result<Clocks> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let now = Clocks::read(machine)?;
        let wrong = (now.real - before.real) - now.host_since(before);
        if wrong.abs() <= SLACK_MS {
            return Ok(now);
        }
        assert!(Instant::now() < until, "the time of day is wrong by {wrong} ms: {before:?} {now:?}");
    }
}

/// Nothing of what Linux writes when it believes that time was lost.
fn no_clock_was_blamed(machine: &Machine) {
    let console = machine.console();
    for blame in ["clocksource: timekeeping watchdog", "unstable", "hrtimer: interrupt took", "rcu: INFO"] {
        assert!(!console.contains(blame), "{blame:?} on the console:\n{console}");
    }
}

/// Would catch a pause that Linux sees: a stall or lock-up reported, a monotonic clock that jumps, a clock declared
/// unstable, a time of day that stays behind; and the same when the hypervisor leaves and the counter catches up.
#[test]
fn a_pause_of_a_minute_and_the_unload_after_it_go_unnoticed() -> Result {
    if !vendor::is_amd("Bochs' time is its instructions, and no other clock's")? {
        return Ok(());
    }
    let mut machine = Machine::builder().cpus(2).with_guest_program(&guest::program("clocks")).with_stress_ng().boot()?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    let busy = guest::keep_busy(&mut machine)?;
    let before = Clocks::read(&mut machine)?;

    let paused = Instant::now();
    wire.pause()?;
    sleep(Duration::from_secs(60));
    wire.go()?;
    let pause = i64::try_from(paused.elapsed().as_millis())?;
    let after = time_of_day_is_right(&mut machine, &before)?;
    let seen = after.monotonic - before.monotonic;
    let ran = after.host_since(&before) - pause;
    assert!(seen <= ran + SLACK_MS, "the monotonic clock went on by {seen} ms while Linux ran for {ran} ms");

    let sleep_began = Clocks::read(&mut machine)?;
    machine.ok("clocks 1000")?;
    let slept = Clocks::read(&mut machine)?;
    let seen = slept.monotonic - sleep_began.monotonic;
    let passed = slept.host_since(&sleep_began);
    assert!(seen >= 1000 && (seen - passed).abs() <= SLACK_MS, "a second took {seen} ms in the guest and {passed} ms outside");
    machine.kill_job(busy)?;
    no_clock_was_blamed(&machine);
    machine.console_is_healthy()?;

    machine.hyperdbg_ok(&["unload"])?;
    let left = time_of_day_is_right(&mut machine, &before)?;
    // RCU and the watchdogs look every few seconds; a stall that the jump made would be told within these.
    machine.ok("clocks 25000")?;
    let later = time_of_day_is_right(&mut machine, &left)?;
    let seen = later.monotonic - left.monotonic;
    assert!((seen - later.host_since(&left)).abs() <= SLACK_MS, "the clock runs wrong after unload: {left:?} {later:?}");
    no_clock_was_blamed(&machine);
    Ok(machine.console_is_healthy()?)
}

/// Would catch time that is hidden on one core only, or added twice: many short pauses, one after another.
#[test]
fn forty_pauses_in_a_row_leave_the_time_of_day_right() -> Result {
    if !vendor::is_amd("Bochs' time is its instructions, and no other clock's")? {
        return Ok(());
    }
    let mut machine = Machine::builder().with_guest_program(&guest::program("clocks")).boot()?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    let before = Clocks::read(&mut machine)?;
    let mut pause = Duration::ZERO;
    for _ in 0..40 {
        let paused = Instant::now();
        wire.pause()?;
        sleep(Duration::from_millis(100));
        wire.go()?;
        pause += paused.elapsed();
    }
    let after = time_of_day_is_right(&mut machine, &before)?;
    let seen = after.monotonic - before.monotonic;
    let ran = after.host_since(&before) - i64::try_from(pause.as_millis())?;
    assert!(seen <= ran + SLACK_MS, "the monotonic clock went on by {seen} ms while Linux ran for {ran} ms");
    no_clock_was_blamed(&machine);
    Ok(machine.console_is_healthy()?)
}
