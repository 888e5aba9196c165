//! What a monitored access costs: those rows of `cargo lab figures`. `cargo bench -p tests --bench monitor`. It prints and judges
//! nothing; the goals are at most 500 instructions and two exits. What an exit and a flush cost a processor beside its
//! instructions, on silicon a thousand cycles and more, no emulator shows.
use lab::{Machine, figures};
use tests::Result;

fn main() -> Result {
    print!("{}", figures::table(|| Ok(Machine::builder()), &["!monitor".to_owned()])?);
    Ok(())
}
