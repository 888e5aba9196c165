//! A race in QEMU that loses guests, taken out of the running emulator.
//!
//! Whenever a virtual processor loads an x87 state without a pending error (every XRSTOR of a context switch), QEMU clears
//! IGNNE# of the *first* processor: `cpu_clear_ignne` in target/i386 clears one bit of that processor's `hflags2`, by load and
//! store, on the thread of the processor that runs the instruction. In the same word the first processor's own thread keeps
//! its global interrupt flag, its NMI mask and whether nested paging is on. What it changes in between is undone: root then
//! walks its own page tables through the nested ones, or a guest never gets an interrupt or an NMI again. A hypervisor
//! changes these bits at every exit, so with tens of thousands of exits a second a minute is enough.
//!
//! IGNNE# is set by a write to port 0xf0 only (external x87 errors of the time before the 486), which Linux does not do, so
//! clearing it has no effect but that race. The function is made to return at once: one byte, in the memory of the process
//! that the lab has started. The emulator's file stays as it is.
//!
//! **Callers**: [`crate::machine`], once for each guest. **Proof**: `tests/e2e/events_syscall.rs`, which lost a guest in one of
//! six runs before.

use object::{Object, ObjectKind, ObjectSymbol, read::File as Elf};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
};

const FUNCTION: &str = "cpu_clear_ignne";
const RET: u8 = 0xc3;

/// Takes the race out of this process. `false` if its program has no such function, so may not have the race either.
///
/// # Errors
/// The program or the process' memory cannot be read or written.
pub(crate) fn stop_clearing(process: u32) -> io::Result<bool> {
    let exe = format!("/proc/{process}/exe");
    let program = fs::read(&exe)?;
    let Some((address, moves)) = find(&program)? else { return Ok(false) };
    let base = if moves { base(process, &fs::read_link(&exe)?.to_string_lossy())? } else { 0 };
    let memory: File = OpenOptions::new().read(true).write(true).open(format!("/proc/{process}/mem"))?;
    memory.write_all_at(&[RET], base + address)?;
    Ok(true)
}

/// Where the function is in the program, and whether the program is loaded where there is room.
fn find(program: &[u8]) -> io::Result<Option<(u64, bool)>> {
    let elf = Elf::parse(program).map_err(io::Error::other)?;
    let symbol =
        elf.dynamic_symbols().chain(elf.symbols()).find(|symbol| symbol.is_definition() && symbol.name() == Ok(FUNCTION));
    Ok(symbol.map(|symbol| (symbol.address(), elf.kind() == ObjectKind::Dynamic)))
}

/// Where a program begins in a process (proc(5), `maps`).
fn base(process: u32, program: &str) -> io::Result<u64> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
    let first = maps.lines().find(|line| line.ends_with(program));
    let start = first.and_then(|line| line.split('-').next()).and_then(|start| u64::from_str_radix(start, 16).ok());
    start.ok_or_else(|| io::Error::other(format!("{program} is not in the process' memory")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a patch that goes into another program's memory.
    #[test]
    fn a_program_without_the_function_is_left_alone() {
        assert!(!stop_clearing(std::process::id()).unwrap());
    }

    /// Would catch a base that is not where this program lies: its first bytes are read from there.
    #[test]
    fn the_base_is_where_the_program_begins() {
        let exe = fs::read_link("/proc/self/exe").unwrap();
        let base = base(std::process::id(), &exe.to_string_lossy()).unwrap();
        let mut magic = [0; 4];
        File::open("/proc/self/mem").unwrap().read_exact_at(&mut magic, base).unwrap();
        assert_eq!(&magic, b"\x7fELF");
    }
}
