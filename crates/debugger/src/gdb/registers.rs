//! Registers as gdb knows them: their numbers, sizes and order, and a description that says so.
//!
//! The first features are gdb's own ("x86 Features" in its manual): without them it takes the target for another one. Those of the
//! floating-point unit must be there and are told to be unavailable; the last feature has what a kernel's debugger wants beside.
//!
//! **Proof**: tests below; `tests/e2e/gdb.rs`.

use crate::registers;
use abi::request::Registers as All;
use gdbstub::arch::{Arch, RegId, Registers};
use std::num::NonZeroUsize;

/// The processor.
pub(super) enum X86 {}

impl Arch for X86 {
    type Usize = u64;
    type Registers = Image;
    type RegId = Number;
    type BreakpointKind = usize;

    fn target_description_xml() -> Option<&'static str> {
        Some(include_str!("target.xml"))
    }
}

/// Bytes of each register and its name here; those without one are not known. In the order of the description.
const LAYOUT: [(usize, &str); 50] = [
    (8, "rax"),
    (8, "rbx"),
    (8, "rcx"),
    (8, "rdx"),
    (8, "rsi"),
    (8, "rdi"),
    (8, "rbp"),
    (8, "rsp"),
    (8, "r8"),
    (8, "r9"),
    (8, "r10"),
    (8, "r11"),
    (8, "r12"),
    (8, "r13"),
    (8, "r14"),
    (8, "r15"),
    (8, "rip"),
    (4, "rflags"),
    (4, "cs"),
    (4, "ss"),
    (4, "ds"),
    (4, "es"),
    (4, "fs"),
    (4, "gs"),
    (10, ""),
    (10, ""),
    (10, ""),
    (10, ""),
    (10, ""),
    (10, ""),
    (10, ""),
    (10, ""),
    (4, ""),
    (4, ""),
    (4, ""),
    (4, ""),
    (4, ""),
    (4, ""),
    (4, ""),
    (4, ""),
    (8, "fs_base"),
    (8, "gs_base"),
    (8, "kernel_gs_base"),
    (8, "cr0"),
    (8, "cr2"),
    (8, "cr3"),
    (8, "cr4"),
    (8, "efer"),
    (8, "dr6"),
    (8, "dr7"),
];

/// One of them, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number(usize);

impl Number {
    /// Its bytes, and its name here; none if its value is not known.
    pub(super) fn layout(self) -> (usize, Option<&'static str>) {
        let (bytes, name) = LAYOUT.get(self.0).copied().unwrap_or((0, ""));
        (bytes, Some(name).filter(|name| !name.is_empty()))
    }

    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Number> {
        (0..LAYOUT.len()).map(Number)
    }
}

impl RegId for Number {
    fn from_raw_id(id: usize) -> Option<(Self, Option<NonZeroUsize>)> {
        let (bytes, _) = LAYOUT.get(id)?;
        Some((Number(id), NonZeroUsize::new(*bytes)))
    }

    fn to_raw_id(&self) -> Option<usize> {
        Some(self.0)
    }
}

/// The values of all: none of one that is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image(pub(super) Vec<Option<u64>>);

impl Image {
    pub(super) fn of(all: &All) -> Self {
        Self(Number::all().map(|number| number.layout().1.and_then(|name| registers::read(all, name))).collect())
    }
}

impl Registers for Image {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        self.0.get(16).copied().flatten().unwrap_or(0)
    }

    fn gdb_serialize(&self, mut write: impl FnMut(Option<u8>)) {
        for (number, value) in Number::all().zip(&self.0) {
            let value = value.map(u64::to_le_bytes);
            for at in 0..number.layout().0 {
                // Sizes above that of a value are those of registers whose value is not known.
                write(value.map(|bytes| bytes.get(at).copied().unwrap_or(0)));
            }
        }
    }

    fn gdb_deserialize(&mut self, mut bytes: &[u8]) -> Result<(), ()> {
        self.0.clear();
        for number in Number::all() {
            let (size, name) = number.layout();
            let (own, rest) = bytes.split_at_checked(size).ok_or(())?;
            self.0.push(name.map(|_| value(own)));
            bytes = rest;
        }
        Ok(())
    }
}

/// Bytes as a value, the lowest first.
pub(super) fn value(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> All {
        let mut all = All { rip: 0xffff_ffff_8100_0000, rflags: 0x246, efer: 0xd01, ..All::default() };
        all.gprs.iter_mut().zip(1..).for_each(|(register, value)| *register = value);
        all.selectors[0] = 0x10;
        all.bases = [0xb0, 0xb1, 0xb2];
        all
    }

    /// Would catch a description that has registers in another order, of another size or number, than their values come.
    #[test]
    fn values_come_as_the_description_says() {
        let text = X86::target_description_xml().unwrap();
        let attribute = |line: &str, name: &str| {
            line.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split('"').next().map(str::to_owned))
        };
        let described: Vec<(String, usize)> = text
            .lines()
            .filter(|line| line.trim_start().starts_with("<reg "))
            .map(|line| (attribute(line, "name").unwrap(), attribute(line, "bitsize").unwrap().parse::<usize>().unwrap() / 8))
            .collect();
        assert_eq!(described.len(), LAYOUT.len());
        for ((name, bytes), (expected, own)) in described.iter().zip(LAYOUT) {
            let same = match name.as_str() {
                "eflags" => own == "rflags",
                "k_gs_base" => own == "kernel_gs_base",
                name => own.is_empty() || own == name,
            };
            assert!(same && *bytes == expected, "{name}, {bytes} bytes: {own}, {expected}");
        }
    }

    /// Would catch a value that is told as another's, one that is made up, and a set that does not come back as it went.
    #[test]
    fn values_go_and_come_back() {
        let image = Image::of(&all());
        let mut told = Vec::new();
        image.gdb_serialize(|byte| told.push(byte));
        assert_eq!(told.len(), LAYOUT.iter().map(|(bytes, _)| bytes).sum::<usize>());
        let bytes = |from: usize, count: usize| told[from..from + count].iter().copied().collect::<Option<Vec<u8>>>();
        // rbx is the second here, and the fourth in the order of instructions.
        assert_eq!(bytes(8, 8).as_deref().map(value), Some(4));
        assert_eq!(bytes(128, 8).as_deref().map(value), Some(0xffff_ffff_8100_0000));
        assert_eq!(bytes(164, 10), None, "a register of the floating-point unit");
        let whole: Vec<u8> = told.iter().map(|byte| byte.unwrap_or(0)).collect();
        let mut back = Image::default();
        assert_eq!((back.gdb_deserialize(&whole), &back), (Ok(()), &image));
        assert_eq!(back.gdb_deserialize(&whole[1..]), Err(()));
    }
}
