//! What a function with a detour costs: those rows of `cargo lab figures`. `cargo bench -p tests --bench epthook2`. It prints and
//! judges nothing; the goal is no exit for a script that only counts and for a condition that is false.
use lab::{Machine, figures};
use tests::Result;

fn main() -> Result {
    print!("{}", figures::table(|| Ok(Machine::builder()), &["!epthook2".to_owned()])?);
    Ok(())
}
