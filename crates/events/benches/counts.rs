//! Machine instructions of one exit's events, counted by callgrind: they do not depend on how busy the machine is.
//!
//! Runs itself under `valgrind --tool=callgrind` with n and with 2n exits; the difference over n is one exit. The table
//! holds 256 events at most, as root's does; the machine is the least that can be: what root's costs beside it is root's.

#[path = "../tests/world/mod.rs"]
mod world;

use abi::request::{EventAsk, event};
use events::{Code, CodeFault, Ended, Here, Memory, Quick, Reserve, Running, Table, Verdict};
use script_vm::{BadAddress, Refused};
use script_vm::{Control, Interlocked, Label, Machine, Program, Pseudo, Scratch, Size, Space, Special};
use std::hint::black_box;
use std::process::Command;
use std::sync::OnceLock;
use world::{cpuid, levels, words};

static TABLE: Table<256> = Table::new();

/// What is registered in each case, and whether there is an exit of the other kind.
const CASES: [(&str, &[&str]); 6] = [
    ("no event, not armed", &[]),
    ("one of another leaf", &["leaf"]),
    ("one, guard misses", &["if (@rcx == 5) { .a = .a + 1; }"]),
    ("two, guards miss", &["if (@rcx == 5) { .a = .a + 1; }", "if (@rcx == 6) { .a = .a + 1; }"]),
    ("one without program", &[""]),
    ("one that counts", &["if (@rcx == 1) { .a = .a + 1; }"]),
];

/// One program, in memory that stays.
struct Frames(OnceLock<&'static [u64]>);

impl Memory for &Frames {
    type Program = &'static [u64];
    fn fill(&self, _: u64, words: &[u64]) -> bool {
        self.0.get_or_init(|| words.to_vec().leak());
        true
    }
    fn clear(&self, _: u64, _: u32) -> bool {
        true
    }
    fn program(&self, _: u64, _: u32) -> Option<&'static [u64]> {
        self.0.get().copied()
    }
    fn buffer_read(&self, _: u64, _: usize, _: Size) -> Option<u64> {
        None
    }
    fn buffer_write(&self, _: u64, _: usize, _: Size, _: u64) -> Option<()> {
        None
    }
    fn open_code(&self, _: u32, _: u64, _: u64) -> bool {
        false
    }
    fn close_code(&self, _: u32) {}
}

/// Registers, one cell, and memory for runs.
struct Least {
    gprs: [u64; 16],
    cell: u64,
    core: u32,
    stack: &'static mut [u64],
    data: &'static mut [u8],
}

impl Quick for Least {
    fn option(&self) -> u64 {
        0
    }
    fn gpr(&self, number: usize) -> u64 {
        self.gprs[number]
    }
    fn count(&mut self, _: u16, added: u64) {
        self.cell = self.cell.wrapping_add(added);
    }
}

impl Here for Least {
    fn core(&self) -> u32 {
        self.core
    }
    fn thread(&mut self) -> u32 {
        self.pid()
    }

    fn pid(&mut self) -> u32 {
        1
    }
    fn run(&mut self, event: &Running, program: Program<'_>) -> Ended {
        let (stack, data) = (std::mem::take(&mut self.stack), std::mem::take(&mut self.data));
        let fault = script_vm::run(program, self, &mut Scratch { stack, data }, 1000).err();
        (self.stack, self.data) = (stack, data);
        Ended { short_circuit: event.short_circuit, fault }
    }
    fn call(&mut self, _: &Running, _: &Code) -> Result<u64, CodeFault> {
        Ok(0)
    }
}

impl Machine for Least {
    fn gpr(&self, number: u8) -> u64 {
        self.gprs[usize::from(number & 15)]
    }
    fn set_gpr(&mut self, number: u8, value: u64) {
        self.gprs[usize::from(number & 15)] = value;
    }
    fn special(&self, _: Special) -> u64 {
        0
    }
    fn set_special(&mut self, _: Special, _: u64) -> Result<(), Refused> {
        Err(Refused)
    }
    fn pseudo(&self, _: Pseudo) -> u64 {
        0
    }
    fn label(&self, _: Label) -> [u8; 16] {
        [0; 16]
    }
    fn global(&self, _: u16) -> u64 {
        self.cell
    }
    fn set_global(&mut self, _: u16, value: u64) {
        self.cell = value;
    }
    fn change_global(&mut self, _: u16, change: Interlocked) -> u64 {
        let before = self.cell;
        self.cell = change.applied(before);
        before
    }
    fn read(&mut self, _: Space, _: u64, _: Size) -> Result<u64, BadAddress> {
        Err(BadAddress)
    }
    fn write(&mut self, _: Space, _: u64, _: Size, _: u64) -> Result<(), BadAddress> {
        Err(BadAddress)
    }
    fn change(&mut self, _: u64, _: Interlocked) -> Result<u64, BadAddress> {
        Err(BadAddress)
    }
    fn physical(&mut self, _: u64) -> Result<u64, BadAddress> {
        Err(BadAddress)
    }
    fn direct(&mut self, _: u64) -> Result<u64, BadAddress> {
        Err(BadAddress)
    }
    fn instruction_bytes(&mut self, _: u64, _: u8) -> Result<u64, BadAddress> {
        Err(BadAddress)
    }
    fn buffer_bytes(&self) -> usize {
        0
    }
    fn buffer_read(&self, _: usize, _: Size) -> Option<u64> {
        None
    }
    fn buffer_write(&mut self, _: usize, _: Size, _: u64) -> Option<()> {
        None
    }
    fn ticks(&mut self, _: bool) -> u64 {
        0
    }
    fn sleep(&mut self, _: u64) {}
    fn control(&mut self, _: Control) -> Result<u64, Refused> {
        Err(Refused)
    }
    fn say(&mut self, _: &[u8]) {}
    fn said(&mut self) {}
}

/// What an exit does: look, and fire.
#[inline(never)]
fn exit(memory: &Frames, least: &mut Least) -> Verdict {
    if !TABLE.armed(event::CPUID) {
        return Verdict::default();
    }
    match TABLE.fire_quick::<{ event::CPUID }>(TABLE.mark(least.core), least) {
        Some(rest) => TABLE.fire_rest(rest, event::CPUID, 0, &memory, least),
        None => Verdict::default(),
    }
}

/// The same call, and the same loop, without any event.
#[inline(never)]
fn nothing(_: &Frames, least: &mut Least) -> Verdict {
    black_box(least.cell);
    Verdict::default()
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", case, exits] => run(case.parse().unwrap(), exits.parse().unwrap()),
        ref words if words.contains(&"--bench") => table(),
        _ => {}
    }
}

fn run(case: usize, exits: u32) {
    let reserve: Reserve<'static> = world::reserve(levels([4, 0], [0, 0]));
    let memory = Frames(OnceLock::new());
    for text in CASES.get(case).map_or(&[][..], |(_, texts)| texts) {
        let leaf = *text == "leaf";
        let program = if text.is_empty() || leaf { Vec::new() } else { words(text) };
        let (flags, option) = if leaf { (event::OPTION, 1) } else { (0, 0) };
        let program_words = u32::try_from(program.len()).unwrap();
        let ask = EventAsk { program_words, flags, option, ..cpuid() };
        TABLE.add(&ask, &program, &&memory, &reserve, 0).unwrap();
    }
    let mut least = Least { gprs: [1; 16], cell: 0, core: 1, stack: vec![0; 512].leak(), data: vec![0; 64].leak() };
    let what = if case < CASES.len() { exit } else { nothing };
    for _ in 0..exits {
        black_box(what(&memory, black_box(&mut least)));
    }
}

/// Instructions of the whole program; none if there is no valgrind.
fn instructions(case: usize, exits: u32) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().ok()?)
        .args(["run", &case.to_string(), &exits.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

fn table() {
    let count = |case| Some((instructions(case, 2000)? - instructions(case, 1000)?) as f64 / 1000.0);
    let Some(empty) = count(CASES.len()) else {
        println!("there is no valgrind here");
        return;
    };
    println!("machine instructions of one exit's events, beyond a call that does nothing ({empty})");
    for (case, (name, _)) in CASES.iter().enumerate() {
        println!("{name:>20} {:>6}", count(case).map_or(0.0, |all| all - empty));
    }
}
