//! What a hooked function costs: those rows of `cargo lab figures`. `cargo bench -p tests --bench epthook`. It prints and judges
//! nothing; the goals are one exit and 300 instructions for a `fast` hit, three exits for a hidden one. What an exit and a
//! flush cost a processor beside its instructions, on silicon a thousand cycles and more, no emulator shows.
use lab::{Machine, figures};
use tests::Result;

fn main() -> Result {
    print!("{}", figures::table(|| Ok(Machine::builder()), &["!epthook`", "!epthook …"].map(str::to_owned))?);
    Ok(())
}
