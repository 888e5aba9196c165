//! Machine instructions of a run, counted by callgrind: they do not depend on how busy the machine is.
//!
//! Runs itself under `valgrind --tool=callgrind` with n and with 2n runs; the difference over n is one run, with the loop
//! around it. `cargo bench -p script --bench counts`

use script::oracle::{LIMITS, Model};
use script::{NoSymbols, Options, compile};
use script_vm::limits::{DATA_BYTES, STACK_WORDS};
use script_vm::{Scratch, run, verify};
use std::{hint::black_box, process::Command};

const RUNS: u32 = 10_000;

/// What is run, whether its guard is asked first, and the script. `@rax` is 1.
const ROWS: [(&str, bool, &str); 8] = [
    ("nothing", false, ""),
    ("a miss", false, "if (@rax == 5) { .hits = .hits + 1; }"),
    ("a miss, guarded", true, "if (@rax == 5) { .hits = .hits + 1; }"),
    ("a counted hit", false, "if (@rax == 1) { .hits = .hits + 1; }"),
    ("a counted hit, guarded", true, "if (@rax == 1) { .hits = .hits + 1; }"),
    ("a count", false, ".hits = .hits + 1;"),
    ("a count, guarded", true, ".hits = .hits + 1;"),
    (
        "six lines that hit",
        false,
        "if (@rax == 1) { .hits = .hits + 1; .last = @rcx; x = @rdx + @rbx * 4; if (x > .most) { .most = x; } .sum = .sum + x; }",
    ),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", row, runs] => repeat(row.parse().unwrap(), runs.parse().unwrap()),
        ref words if words.contains(&"--bench") => table(),
        _ => {}
    }
}

fn repeat(row: usize, runs: u32) {
    let (_, guarded, script) = ROWS[row];
    let program = compile(script, &NoSymbols, &Options::default()).unwrap();
    let layout = verify(&program.words, &LIMITS).unwrap();
    let guard = layout.open(&program.words).unwrap().guard();
    let (mut stack, mut data) = (vec![0; STACK_WORDS], vec![0; DATA_BYTES]);
    let mut scratch = Scratch { stack: &mut stack, data: &mut data };
    let mut model = Model::default();
    for _ in 0..runs {
        let program = layout.open(black_box(&program.words)).unwrap();
        let ended = match &guard {
            Some(guard) if guarded => guard.run(program, &mut model, &mut scratch, 1_000_000),
            _ => run(program, &mut model, &mut scratch, 1_000_000),
        };
        let _ended = black_box(ended);
    }
}

/// Instructions of the whole program; none if there is no valgrind.
fn instructions(row: usize, runs: u32) -> Option<u64> {
    let this = std::env::current_exe().ok()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args(["run", &row.to_string(), &runs.to_string()])
        .output()
        .ok()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let count = told.lines().find_map(|line| line.split("Collected : ").nth(1))?;
    count.trim().parse().ok()
}

fn table() {
    println!("instructions of a run");
    for (row, (name, ..)) in ROWS.iter().enumerate() {
        match (instructions(row, RUNS), instructions(row, 2 * RUNS)) {
            (Some(once), Some(twice)) => println!("{:6}  {name}", (twice - once) / u64::from(RUNS)),
            _ => return println!("no valgrind here"),
        }
    }
}
