//! For tests and the fuzzer: a machine in plain memory, and a second opinion on what a script does.
//!
//! [`walk`] evaluates the checked tree before anything is folded. It shares no code with folding, emission and the
//! interpreter, so a fault of any of them shows as a difference; only the functions of the language are the interpreter's.

mod generate;
mod walk;

use crate::{NoSymbols, Options, Program};
use script_vm::limits::{DATA_BYTES, STACK_WORDS};
use script_vm::{
    BadAddress, Control, Fault, Interlocked, Label, Limits, Machine, Pseudo, Refused, Scratch, Size, Space, Special,
};

pub use generate::generate;
pub use walk::walk;

/// Where the model's RAM starts, virtually.
pub const RAM: u64 = 0xffff_8880_0000_0000;
/// Bytes of it.
pub const RAM_BYTES: usize = 4096;

/// A machine of one core and one page, which keeps what is done to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// General registers.
    pub gprs: [u64; 16],
    /// The others.
    pub specials: [u64; 23],
    /// RAM, at [`RAM`] virtually and at 0x1000 physically.
    pub ram: Vec<u8>,
    /// The event's buffer.
    pub buffer: Vec<u8>,
    /// Cells.
    pub globals: Vec<u64>,
    /// All that was said; a message ends by `\u{1}`.
    pub said: Vec<u8>,
    /// All that was asked of the events.
    pub controls: Vec<Control>,
    /// Time.
    pub ticks: u64,
}

impl Default for Model {
    fn default() -> Self {
        let gprs = [1, 2, 3, 4, RAM + 0x800, RAM + 0x900, RAM, RAM + 0x100, 8, 9, 10, 11, 12, 13, 14, 0xffff_ffff_ffff_fff1];
        let mut ram: Vec<u8> = (0..RAM_BYTES).map(|at| (at % 251).to_le_bytes()[0]).collect();
        ram[0x100..0x106].copy_from_slice(b"hello\0");
        ram[0x200..0x20c].copy_from_slice(b"w\0i\0d\0e\0\xe4\0\0\0");
        let mut specials = [0; 23];
        specials.iter_mut().zip(0x100..).for_each(|(special, value)| *special = value);
        specials[1] = 0x246;
        Model {
            gprs,
            specials,
            ram,
            buffer: vec![0; 64],
            globals: vec![0; 512],
            said: Vec::new(),
            controls: Vec::new(),
            ticks: 0,
        }
    }
}

impl Model {
    fn at(&self, space: Space, address: u64, size: usize) -> Result<usize, BadAddress> {
        let start = if space == Space::Virtual { RAM } else { 0x1000 };
        let offset = address.checked_sub(start).and_then(|offset| usize::try_from(offset).ok()).ok_or(BadAddress)?;
        if offset.checked_add(size).is_some_and(|end| end <= RAM_BYTES) { Ok(offset) } else { Err(BadAddress) }
    }

    /// What was said, a line a message.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.said).replace('\u{1}', "")
    }
}

fn get(bytes: &[u8], at: usize, size: Size) -> Option<u64> {
    let mut value = [0; 8];
    value[..size.bytes()].copy_from_slice(bytes.get(at..at.checked_add(size.bytes())?)?);
    Some(u64::from_le_bytes(value))
}

fn set(bytes: &mut [u8], at: usize, size: Size, value: u64) -> Option<()> {
    bytes.get_mut(at..at.checked_add(size.bytes())?)?.copy_from_slice(&value.to_le_bytes()[..size.bytes()]);
    Some(())
}

impl Machine for Model {
    #[inline]
    fn gpr(&self, number: u8) -> u64 {
        self.gprs[usize::from(number & 15)]
    }
    #[inline]
    fn set_gpr(&mut self, number: u8, value: u64) {
        self.gprs[usize::from(number & 15)] = value;
    }
    fn special(&self, register: Special) -> u64 {
        self.specials[register as usize]
    }
    fn set_special(&mut self, register: Special, value: u64) -> Result<(), Refused> {
        if register == Special::Cr0 && value == 0 {
            return Err(Refused);
        }
        self.specials[register as usize] = value;
        Ok(())
    }
    fn pseudo(&self, pseudo: Pseudo) -> u64 {
        0x1000 + pseudo as u64
    }
    fn label(&self, label: Label) -> [u8; 16] {
        let mut bytes = [0; 16];
        let text: &[u8] = match label {
            Label::ProcessName => b"bash",
            Label::Date => b"2026-11-26",
            Label::Time => b"13:05:59",
        };
        bytes[..text.len()].copy_from_slice(text);
        bytes
    }
    #[inline]
    fn global(&self, cell: u16) -> u64 {
        self.globals[usize::from(cell)]
    }
    #[inline]
    fn set_global(&mut self, cell: u16, value: u64) {
        self.globals[usize::from(cell)] = value;
    }
    #[inline]
    fn change_global(&mut self, cell: u16, change: Interlocked) -> u64 {
        let before = self.global(cell);
        self.set_global(cell, change.applied(before));
        before
    }
    fn read(&mut self, space: Space, address: u64, size: Size) -> Result<u64, BadAddress> {
        let at = self.at(space, address, size.bytes())?;
        get(&self.ram, at, size).ok_or(BadAddress)
    }
    fn write(&mut self, space: Space, address: u64, size: Size, value: u64) -> Result<(), BadAddress> {
        let at = self.at(space, address, size.bytes())?;
        set(&mut self.ram, at, size, value).ok_or(BadAddress)
    }
    fn change(&mut self, address: u64, change: Interlocked) -> Result<u64, BadAddress> {
        let before = self.read(Space::Virtual, address, Size::Eight)?;
        self.write(Space::Virtual, address, Size::Eight, change.applied(before))?;
        Ok(before)
    }
    fn physical(&mut self, address: u64) -> Result<u64, BadAddress> {
        self.at(Space::Virtual, address, 1).map(|offset| offset as u64 + 0x1000)
    }
    fn direct(&mut self, address: u64) -> Result<u64, BadAddress> {
        self.at(Space::Physical, address, 1).map(|offset| offset as u64 + RAM)
    }
    fn instruction_bytes(&mut self, address: u64, bits: u8) -> Result<u64, BadAddress> {
        self.at(Space::Virtual, address, 1).map(|_| if bits == 64 { 3 } else { 2 })
    }
    fn buffer_bytes(&self) -> usize {
        self.buffer.len()
    }
    fn buffer_read(&self, offset: usize, size: Size) -> Option<u64> {
        get(&self.buffer, offset, size)
    }
    fn buffer_write(&mut self, offset: usize, size: Size, value: u64) -> Option<()> {
        set(&mut self.buffer, offset, size, value)
    }
    fn ticks(&mut self, _ordered: bool) -> u64 {
        self.ticks += 100;
        self.ticks
    }
    fn sleep(&mut self, microseconds: u64) {
        self.ticks += microseconds;
    }
    fn control(&mut self, control: Control) -> Result<u64, Refused> {
        if let Control::Enable(0xdead) = control {
            return Err(Refused);
        }
        self.controls.push(control);
        Ok(0)
    }
    fn say(&mut self, text: &[u8]) {
        self.said.extend(text);
    }
    fn said(&mut self) {
        self.said.push(1);
    }
}

/// What a verifier in these tests has room for.
pub const LIMITS: Limits = Limits { words: usize::MAX, globals: 512, data: DATA_BYTES };

/// Runs words that pass the verifier.
///
/// # Errors
/// The fault.
///
/// # Panics
/// They do not pass.
pub fn run_words(words: &[u64], model: &mut Model, steps: u64) -> Result<u64, Fault> {
    let layout = script_vm::verify(words, &LIMITS).expect("what is run was verified");
    let (mut stack, mut data) = (vec![0x5555_5555_5555_5555; STACK_WORDS], vec![0x55; DATA_BYTES]);
    let program = layout.open(words).expect("what was verified opens");
    script_vm::run(program, model, &mut Scratch { stack: &mut stack, data: &mut data }, steps)
}

/// Runs a compiled script on a fresh model.
///
/// # Errors
/// The fault.
pub fn run(program: &Program, model: &mut Model) -> Result<u64, Fault> {
    run_words(&program.words, model, script_vm::limits::STEPS_DEFAULT)
}

/// Any text: no panic, what compiles passes the verifier, and the walker agrees with the interpreter.
///
/// # Panics
/// If not.
pub fn source(text: &str) {
    let Ok((program, tree)) = crate::compile_with_tree(text, &NoSymbols, &Options::default()) else { return };
    let (mut by_run, mut by_walk) = (Model::default(), Model::default());
    let Some(walked) = walk(&tree, &mut by_walk, 20_000) else { return };
    let ran = run_words(&program.words, &mut by_run, 10_000_000);
    assert_eq!(ran.map_err(|fault| fault.kind), walked, "{text}");
    assert_eq!(by_run, by_walk, "{text}");
}

/// A script made of any bytes by [`generate`]: it compiles, and the walker agrees with the interpreter.
///
/// # Panics
/// If not.
pub fn generated(bytes: &[u8]) {
    let text = generate(bytes);
    if let Err(errors) = crate::compile(&text, &NoSymbols, &Options::default()) {
        panic!("{}\n{text}", errors[0]);
    }
    source(&text);
}

/// Any words: whatever passes the verifier runs within its steps and without a panic.
pub fn words(words: &[u64]) {
    if script_vm::verify(words, &LIMITS).is_ok() {
        let _ended = run_words(words, &mut Model::default(), 10_000);
    }
}
