//! Instructions of one request and its return, counted by callgrind: they do not depend on how busy the machine is.
//!
//! Runs itself under `valgrind --tool=callgrind` with n and with 2n calls; the difference over n is one call.

mod pools;

use pools::{BUSY_PERCENTS, DEEPEST, Ours, SIZES, Textbook, one};
use reserve::Core;
use std::process::Command;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", pool, size, busy, calls] => {
            run(pool, size.parse().unwrap(), busy.parse().unwrap(), calls.parse().unwrap());
        }
        ref words if words.contains(&"--bench") => table(),
        _ => {}
    }
}

fn run(pool: &str, size: usize, busy: usize, calls: u32) {
    let cost = one(DEEPEST);
    let (ours, textbook) = (|| Ours::new(size, busy), || Textbook::new(size, busy));
    match pool {
        "ticket" => repeat(calls, &ours(), |ours| ours.ticket(Core(0), &cost)),
        "owned" => repeat(calls, &ours(), |ours| ours.cycle(Core(0), &cost, DEEPEST)),
        _ => repeat(calls, &textbook(), |textbook| textbook.cycle(DEEPEST)),
    }
}

fn repeat<T>(calls: u32, pool: &T, work: impl Fn(&T)) {
    (0..calls).for_each(|_| work(pool));
}

/// Instructions of the whole program; none if there is no valgrind.
fn instructions(pool: &str, size: usize, busy: usize, calls: u32) -> Option<u64> {
    let this = std::env::current_exe().ok()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args(["run", pool, &size.to_string(), &busy.to_string(), &calls.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

fn table() {
    println!("instructions of one request and return, deepest kind (columns as in `ratios`)");
    println!("{:>9} {:>5} {:>8} {:>8} {:>12}", "units", "busy", "ticket", "owned", "list");
    for busy in BUSY_PERCENTS {
        for size in SIZES.into_iter().filter(|size| *size <= 100_000) {
            let count = |pool, calls: u32| {
                let difference = instructions(pool, size, busy, 2 * calls)? - instructions(pool, size, busy, calls)?;
                Some(difference / u64::from(calls))
            };
            match (count("ticket", 1000), count("owned", 1000), count("list", 10)) {
                (Some(ticket), Some(owned), Some(list)) => {
                    println!("{size:>9} {busy:>4}% {ticket:>8} {owned:>8} {list:>12}");
                }
                _ => return println!("no valgrind here: apt-get install valgrind"),
            }
        }
    }
}
