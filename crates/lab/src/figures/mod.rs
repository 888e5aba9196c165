//! What hooks cost, beside what Linux itself has to count with: one table, each row measured against the same loop without it.
//!
//! Two guests of one processor. In the first, time is retired instructions (QEMU's `-icount`, root's included), which repeat
//! whatever else the host does; exits are counted there, too. In the second, time is the emulator's clock. What an exit and a
//! flush cost a processor beside its instructions, a thousand cycles and more, no emulator shows.
//!
//! **Holds always**
//! - F1: a row's loop is run without the row's hook just before it is run with it, in the same boot.
//! - F2: what is printed was hit: a hook that counted anything but what the loop did ends the measurement.
//!
//! **Callers**: `cargo lab figures`, and the benches of the tests, which print a part. **Cost**: two boots, and a second or
//! two a row. **Proof**: F2 is an error of [`Guest::run`]; `tests` below for what is read and printed.

mod rows;

use crate::{
    builder::Builder,
    error::{Error, Fault},
    machine::Machine,
    session::Mode,
    setup::Lab,
};
use rows::{ROWS, Row, Set, Work};
use std::{collections::HashMap, fmt::Write as _, path::Path};

/// Rounds of a loop whose instructions are counted: many to a tick of the kernel's clock, whose own instructions count as well.
const ROUNDS: u64 = 10_000;
/// Nanoseconds that a loop shall take whose time is taken.
const TIMED_NS: f64 = 2e8;
/// Rounds of a loop whose time is taken, at most.
const ROUNDS_MAX: f64 = 5e7;
/// How often a detour's jump is looked for, five times a second.
const LOOKS_MAX: usize = 300;
/// Runs of which the fastest counts: on a busy host all others say more about the host.
const RUNS: usize = 3;

/// One line of the table.
struct Figure {
    what: &'static str,
    exits: f64,
    /// More than the loop has without; of a loop without anything, all of it.
    instructions: f64,
    /// Rounds a second, and those of the loop without.
    rate: f64,
    rate_without: f64,
}

/// What a loop took, for each round.
#[derive(Clone, Copy)]
struct Took {
    ticks: f64,
    nanoseconds: f64,
}

/// Measures the rows whose name has one of these words in it, or all if there are none, and gives the table as Markdown.
///
/// # Errors
/// Those of the guests, and one that says which row did not count what it should have.
pub fn table(guest: impl Fn() -> Result<Builder, Error>, words: &[String]) -> Result<String, Error> {
    let wanted = |row: &&Row| words.is_empty() || words.iter().any(|word| row.what.contains(word.as_str()));
    let rows: Vec<&Row> = ROWS.iter().filter(wanted).collect();
    let progress = Lab::shared()?.progress();
    let mut counted = Vec::new();
    let mut guest_of = Guest::boot(guest()?.icount())?;
    for row in &rows {
        let _step = progress.step(format!("counting: {}", row.what));
        counted.push(guest_of.counted(row)?);
    }
    guest_of.machine.console_is_healthy()?;
    drop(guest_of);
    let mut figures = Vec::new();
    let mut guest_of = Guest::boot(guest()?.cpus(1))?;
    for (row, (exits, instructions)) in rows.iter().zip(counted) {
        let _step = progress.step(format!("timing: {}", row.what));
        let (rate_without, rate) = guest_of.timed(row)?;
        figures.push(Figure { what: row.what, exits, instructions, rate, rate_without });
    }
    guest_of.machine.console_is_healthy()?;
    Ok(markdown(&figures))
}

/// A guest with the loops in it.
struct Guest {
    machine: Machine,
    places: HashMap<String, u64>,
    loaded: bool,
}

impl Guest {
    fn boot(builder: Builder) -> Result<Self, Error> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest");
        let builder = builder.with_guest_module(&sources.join("figures")).with_guest_program(&sources.join("counted.c"));
        let mut machine = builder.boot()?;
        let text = machine.ok("insmod /figures.ko && cat /sys/module/figures/parameters/where")?;
        Ok(Self { machine, places: places(&text), loaded: false })
    }

    /// Exits and instructions of a round.
    fn counted(&mut self, row: &Row) -> Result<(f64, f64), Error> {
        self.ready(row)?;
        let plain = self.run(&Set::Nothing, row, ROUNDS)?.ticks;
        self.set(row)?;
        let before = self.exits()?;
        let took = self.run(&row.set, row, ROUNDS)?.ticks;
        let exits = self.exits()? - before;
        self.clear(row, ROUNDS)?;
        let with = matches!(row.set, Set::Unloaded | Set::Nothing);
        // What asks for the exits makes some itself, and so does whatever else happens meanwhile: few to so many rounds.
        #[expect(clippy::cast_precision_loss, reason = "some ten thousands")]
        let exits = exits as f64 / ROUNDS as f64;
        Ok((exits, if with { took } else { took - plain }))
    }

    /// Rounds a second, without and with.
    fn timed(&mut self, row: &Row) -> Result<(f64, f64), Error> {
        self.ready(row)?;
        let (plain, _) = self.fastest(&Set::Nothing, row)?;
        self.set(row)?;
        let (with, rounds) = self.fastest(&row.set, row)?;
        self.clear(row, rounds)?;
        Ok((1e9 / plain, 1e9 / with))
    }

    /// Nanoseconds of a round, and how many there were.
    fn fastest(&mut self, set: &Set, row: &Row) -> Result<(f64, u64), Error> {
        const FIRST: u64 = 1_000;
        let first = self.run(set, row, FIRST)?.nanoseconds;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between one and ROUNDS_MAX")]
        let rounds = (TIMED_NS / first.max(1e-3)).clamp(1e3, ROUNDS_MAX) as u64;
        let (mut best, mut all) = (f64::INFINITY, FIRST);
        for _ in 0..RUNS {
            best = best.min(self.run(set, row, rounds)?.nanoseconds);
            all += rounds;
        }
        Ok((best, all))
    }

    /// Loads the hypervisor, unless the row is of a machine without.
    fn ready(&mut self, row: &Row) -> Result<(), Error> {
        if !self.loaded && !matches!(row.set, Set::Unloaded) {
            self.machine.load(Mode::Vmi)?;
            self.loaded = true;
        }
        Ok(())
    }

    fn set(&mut self, row: &Row) -> Result<(), Error> {
        if let Set::Root { command, at, .. } = row.set {
            let command = command.replace("ADDRESS", &format!("{:x}", self.place(at)?));
            let said = self.machine.hyperdbg_ok(&[&command])?;
            // A `fast` hook is one only where it says so.
            if command.contains(" fast ") && !said.contains("fast") {
                return Err(self.wrong(&command, said));
            }
            self.as_a_jump()?;
        }
        Ok(())
    }

    /// Waits until no detour is a breakpoint still: the guest needs some time for the jump.
    fn as_a_jump(&mut self) -> Result<(), Error> {
        for _ in 0..LOOKS_MAX {
            if !self.machine.hyperdbg_ok(&["events"])?.contains("by a breakpoint") {
                return Ok(());
            }
            self.machine.ok("sleep 0.2")?;
        }
        Err(self.wrong("events", "the detour is a breakpoint still".to_owned()))
    }

    /// Takes the row's hook away, which must have been hit so often.
    fn clear(&mut self, row: &Row, rounds: u64) -> Result<(), Error> {
        if let Set::Root { hits, .. } = row.set {
            let text = self.machine.hyperdbg_ok(&["events"])?;
            let wanted = if hits { rounds } else { 0 };
            if hits_of(&text) != Some(wanted) {
                return Err(self.wrong("events", format!("{}: {wanted} hits were expected\n{text}", row.what)));
            }
            self.machine.hyperdbg_ok(&["events c all"])?;
        }
        Ok(())
    }

    /// One run of the row's loop; what Linux set for it must have counted each round.
    fn run(&mut self, set: &Set, row: &Row, rounds: u64) -> Result<Took, Error> {
        let order = match row.work {
            Work::Call(at) => format!("call {:x} {rounds}", self.place(at)?),
            Work::Store => format!("store {:x} {rounds}", self.place("word")?),
        };
        let parameters = "/sys/module/figures/parameters";
        let command = match set {
            Set::Linux { how, at } => {
                format!("counted {how} {:x} '{order}' && cat {parameters}/took", self.place(at)?)
            }
            _ => format!("echo {rounds} && echo {order} >{parameters}/go && cat {parameters}/took"),
        };
        let text = self.machine.ok(&command)?;
        match numbers(&text)[..] {
            [counted, ticks, nanoseconds] if counted == rounds => {
                #[expect(clippy::cast_precision_loss, reason = "a loop of a second has some billions of each")]
                let (rounds, ticks, nanoseconds) = (rounds as f64, ticks as f64, nanoseconds as f64);
                Ok(Took { ticks: ticks / rounds, nanoseconds: nanoseconds / rounds })
            }
            _ => Err(self.wrong(&command, format!("{}: {rounds} hits were expected\n{text}", row.what))),
        }
    }

    /// Exits so far; none without the hypervisor.
    fn exits(&mut self) -> Result<u64, Error> {
        if !self.loaded {
            return Ok(0);
        }
        exits(&mut self.machine)
    }

    fn place(&self, name: &str) -> Result<u64, Error> {
        let place = self.places.get(name).copied();
        place.ok_or_else(|| self.wrong("where", format!("the module has no {name}")))
    }

    fn wrong(&self, command: &str, output: String) -> Error {
        self.machine.fault(Fault::Command { command: command.to_owned(), status: 0, output })
    }
}

/// Exits so far, of all reasons but CPUID: no row is about that, and programs ask it as they start, on Intel's processors hundreds of
/// times.
///
/// # Errors
/// As [`Machine::ok`].
pub fn exits(machine: &mut Machine) -> Result<u64, Error> {
    Ok(exits_of(&machine.hyperdbg_ok(&["exits"])?))
}

/// Names and addresses of the module's.
fn places(text: &str) -> HashMap<String, u64> {
    let place = |line: &str| {
        let (name, address) = line.split_once(' ')?;
        Some((name.to_owned(), u64::from_str_radix(address.trim(), 16).ok()?))
    };
    text.lines().filter_map(place).collect()
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().map_while(|word| word.parse().ok()).collect()
}

/// The sum of what `exits` shows: a row a reason, and the last number is that of all cores.
fn exits_of(text: &str) -> u64 {
    let rows = text.lines().skip(1).filter(|line| !line.starts_with("cpuid "));
    rows.filter_map(|line| hex(line.split_whitespace().last()?)).sum()
}

/// Hits of the one event that `events` shows.
fn hits_of(text: &str) -> Option<u64> {
    hex(text.lines().nth(1)?.split_whitespace().nth(2)?)
}

fn hex(word: &str) -> Option<u64> {
    u64::from_str_radix(word.strip_prefix("0x").unwrap_or(word), 16).ok()
}

fn markdown(figures: &[Figure]) -> String {
    let mut text = String::from("| | exits | instructions | a second | the loop without, a second |\n|---|--:|--:|--:|--:|\n");
    for Figure { what, exits, instructions, rate, rate_without } in figures {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {what} | {} | {} | {} | {} |",
            spaced(*exits, usize::from((exits - exits.round()).abs() > 0.05)),
            spaced(*instructions, 0),
            spaced(*rate, 0),
            spaced(*rate_without, 0)
        );
    }
    text
}

/// A number with a space between thousands.
fn spaced(number: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", number.abs());
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(whole, fraction)| (whole, Some(fraction)));
    let mut out = String::new();
    for (place, digit) in whole.char_indices() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    let sign = if number < 0.0 && text.contains(|digit| matches!(digit, '1'..='9')) { "-" } else { "" };
    fraction.map_or_else(|| format!("{sign}{out}"), |fraction| format!("{sign}{out}.{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch columns that are mixed up, and a number that nobody can read.
    #[test]
    fn a_row_says_its_numbers_in_their_order() {
        let figure = Figure { what: "a", exits: 2.001, instructions: 1398.4, rate: 12_345_678.9, rate_without: 999.0 };
        let text = markdown(&[figure]);
        assert_eq!(text.lines().last().unwrap(), "| a | 2 | 1 398 | 12 345 679 | 999 |");
        assert_eq!([spaced(-0.3, 0), spaced(-1234.0, 0), spaced(2.5, 1)], ["0", "-1 234", "2.5"]);
    }

    /// Would catch a figure of a hook that was never hit, taken for one that is cheap.
    #[test]
    fn what_is_shown_of_events_and_exits_is_read() {
        let events =
            "event  state       hits  faults  lost  command\n0      (enabled)  0x2710  0     0  !epthook 1 script { }\n";
        assert_eq!(hits_of(events), Some(10_000));
        assert_eq!(exits_of("reason  core 0  all\ncpuid  10  1f\nnmi  1  1\nport  10  1f\n"), 0x20);
        assert_eq!(places("word ffff888000000800\nx\n")["word"], 0xffff_8880_0000_0800);
        assert_eq!(numbers("3 4\n5\nno"), [3, 4, 5]);
    }

    /// Would catch a row whose hook names a place that the loop does not use, by a slip of the hand.
    #[test]
    fn each_row_that_is_hit_hooks_what_its_loop_uses() {
        for row in ROWS {
            let used = match row.work {
                Work::Call(at) => at,
                Work::Store => "word",
            };
            match row.set {
                Set::Root { at, hits, .. } => assert!(!hits || used == at, "{}", row.what),
                Set::Linux { at, .. } => {
                    assert!(used == at || (used, at) == ("traced", "inside"), "{}", row.what)
                }
                Set::Unloaded | Set::Nothing => {}
            }
        }
    }
}
