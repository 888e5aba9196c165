//! How long it takes: to compile a line, to run a script that hits, one that misses, and a loop.
//!
//! `cargo bench -p script`. The machine's registers are in plain memory, as they are in root.

use divan::{Bencher, black_box};
use script::oracle::{LIMITS, Model};
use script::{NoSymbols, Options, compile};
use script_vm::limits::{DATA_BYTES, STACK_WORDS};
use script_vm::{Machine, Scratch, run, verify};

fn main() {
    divan::main();
}

const LINE: &str = "if (@rax == 5) { printf(\"hit: %llx\\n\", @rcx); }";

const EVENT: &str = "if (@rax == 1) {
    .hits = .hits + 1;
    .last = @rcx;
    x = @rdx + @rbx * 4;
    if (x > .most) { .most = x; }
    .sum = .sum + x;
}";

const LOOP: &str = "s = 0; for (i = 0; i < 0n1000000; i++) { if (i & 1) { s = s + i; } else { s = s + 2; } } return s;";

#[divan::bench]
fn compile_a_line(bencher: Bencher<'_, '_>) {
    let options = Options::default();
    bencher.bench(|| compile(black_box(LINE), &NoSymbols, &options).unwrap());
}

fn ran(bencher: Bencher<'_, '_>, script: &str, rax: u64) {
    let program = compile(script, &NoSymbols, &Options::default()).unwrap();
    let layout = verify(&program.words, &LIMITS).unwrap();
    let (mut stack, mut data) = (vec![0; STACK_WORDS], vec![0; DATA_BYTES]);
    let mut scratch = Scratch { stack: &mut stack, data: &mut data };
    let mut model = Model::default();
    model.set_gpr(0, rax);
    bencher.bench_local(|| {
        let program = layout.open(black_box(&program.words)).unwrap();
        run(program, &mut model, &mut scratch, 100_000_000).unwrap()
    });
}

#[divan::bench]
fn run_six_lines_that_hit(bencher: Bencher<'_, '_>) {
    ran(bencher, EVENT, 1);
}

#[divan::bench]
fn run_six_lines_that_miss(bencher: Bencher<'_, '_>) {
    ran(bencher, EVENT, 2);
}

#[divan::bench]
fn run_six_lines_that_miss_by_their_guard(bencher: Bencher<'_, '_>) {
    let program = compile(EVENT, &NoSymbols, &Options::default()).unwrap();
    let layout = verify(&program.words, &LIMITS).unwrap();
    let guard = layout.open(&program.words).unwrap().guard().unwrap();
    let (mut stack, mut data) = (vec![0; STACK_WORDS], vec![0; DATA_BYTES]);
    let mut scratch = Scratch { stack: &mut stack, data: &mut data };
    let mut model = Model::default();
    model.set_gpr(0, 2);
    bencher.bench_local(|| {
        let program = layout.open(black_box(&program.words)).unwrap();
        black_box(&guard).run(program, &mut model, &mut scratch, 100_000_000).unwrap()
    });
}

#[divan::bench(sample_count = 20)]
fn run_a_million_additions(bencher: Bencher<'_, '_>) {
    ran(bencher, LOOP, 1);
}

#[divan::bench]
fn verify_six_lines(bencher: Bencher<'_, '_>) {
    let program = compile(EVENT, &NoSymbols, &Options::default()).unwrap();
    bencher.bench_local(|| verify(black_box(&program.words), &LIMITS).unwrap());
}
