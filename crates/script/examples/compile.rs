//! Compiles a line so many times.
fn main() {
    let n: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let options = script::Options::default();
    for _ in 0..n {
        let _ = std::hint::black_box(script::compile(
            std::hint::black_box("if (@rax == 5) { printf(\"hit: %llx\\n\", @rcx); }"),
            &script::NoSymbols,
            &options,
        ));
    }
}
