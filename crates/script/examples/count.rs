//! Runs one of the bench's scripts so many times: for counting instructions with `valgrind --tool=callgrind`.
use script::oracle::{LIMITS, Model};
use script::{NoSymbols, Options, compile};
use script_vm::limits::{DATA_BYTES, STACK_WORDS};
use script_vm::{Machine, Scratch, run, verify};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let n: u64 = args[1].parse().unwrap();
    let program = compile(&args[2], &NoSymbols, &Options::default()).unwrap();
    let layout = verify(&program.words, &LIMITS).unwrap();
    let code: Vec<_> =
        layout.open(&program.words).unwrap().code().iter().map(|w| script_vm::op::NAMES[w.to_le_bytes()[0] as usize]).collect();
    eprintln!("{code:?}");
    let (mut stack, mut data) = (vec![0; STACK_WORDS], vec![0; DATA_BYTES]);
    let mut scratch = Scratch { stack: &mut stack, data: &mut data };
    let mut model = Model::default();
    model.set_gpr(0, 1);
    for _ in 0..n {
        let program = layout.open(std::hint::black_box(&program.words)).unwrap();
        let _ = std::hint::black_box(run(program, &mut model, &mut scratch, 100_000_000));
    }
}
