//! Compiles a script from the standard input and writes its words to the standard output: seeds for the fuzzer.

use std::io::{Read, Write, read_to_string, stdin, stdout};

fn main() -> Result<(), std::io::Error> {
    let text = read_to_string(stdin().by_ref())?;
    match script::compile(&text, &script::NoSymbols, &script::Options::default()) {
        Ok(program) => program.words.iter().try_for_each(|word| stdout().write_all(&word.to_le_bytes())),
        Err(errors) => errors.iter().try_for_each(|error| writeln!(std::io::stderr(), "{error}")),
    }
}
