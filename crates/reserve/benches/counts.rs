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
    if pool == "ours" {
        let (ours, cost) = (Ours::new(size, busy), one(DEEPEST));
        (0..calls).for_each(|_| ours.cycle(Core(0), &cost, DEEPEST));
    } else {
        let textbook = Textbook::new(size, busy);
        (0..calls).for_each(|_| textbook.cycle(DEEPEST));
    }
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
    println!("instructions of one request and return, deepest kind");
    println!("{:>9} {:>6} {:>9} {:>12}", "units", "busy", "ours", "textbook");
    for busy in BUSY_PERCENTS {
        for size in SIZES.into_iter().filter(|size| *size <= 100_000) {
            let count = |pool, calls: u32| {
                let difference = instructions(pool, size, busy, 2 * calls)? - instructions(pool, size, busy, calls)?;
                Some(difference / u64::from(calls))
            };
            match (count("ours", 1000), count("textbook", 10)) {
                (Some(ours), Some(textbook)) => println!("{size:>9} {busy:>5}% {ours:>9} {textbook:>12}"),
                _ => return println!("no valgrind here: apt-get install valgrind"),
            }
        }
    }
}
