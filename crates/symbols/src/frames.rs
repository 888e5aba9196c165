//! The kernel's own table of how to unwind (ORC), said in the language of DWARF's call frame information.
//!
//! Each function gets a description of its own: what holds at its first byte, and then what changes. Where a place stands on a set of
//! registers that the processor or the kernel has saved (an interrupt, an exception), its caller was interrupted rather than called:
//! such places get descriptions of their own, marked as those of signals, for there the caller's place is looked up as it is and not
//! a byte before. A system call's entry is no such place: what is behind it has called.
//!
//! **Holds always**
//! - F1: where the table says nothing, the description says that there is no caller: nobody guesses on.
//! - F2: descriptions do not overlap, and lie within the functions that were given.
//!
//! **Cost**: one pass. **Proof**: tests below, which read it back.

use crate::Wrong;
use crate::unwind::Entry;
use gimli::write::{
    Address, CallFrameInstruction, CieId, CommonInformationEntry, DebugFrame, EndianVec, Expression, FrameDescriptionEntry,
    FrameTable,
};
use gimli::{Encoding, Format, LittleEndian, Register, X86_64};

/// Where a function begins, where it ends, and whether its saved registers are those of who called it (a system call).
pub(crate) type Function = (u64, u64, bool);

/// Registers in the order in which the kernel saves them, from the lowest address up; the return place and the stack lie further up.
const SAVED: [Register; 15] = [
    X86_64::R15,
    X86_64::R14,
    X86_64::R13,
    X86_64::R12,
    X86_64::RBP,
    X86_64::RBX,
    X86_64::R11,
    X86_64::R10,
    X86_64::R9,
    X86_64::R8,
    X86_64::RAX,
    X86_64::RCX,
    X86_64::RDX,
    X86_64::RSI,
    X86_64::RDI,
];
/// Where in a whole set of saved registers the return place lies, in words.
const SAVED_IP: i32 = 16;
/// From there on, what the processor itself saves: the return place, and the stack so many words behind it.
const IP_TO_SP: i32 = 3;

/// Where the caller's stack begins, or a set of saved registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Top {
    Register(Register, i32),
    /// The word at a register and an offset, and an offset to that.
    At(Register, i32, i32),
}

/// Where a register of the caller's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Same,
    Nowhere,
    /// So far behind the top.
    Top(i32),
    /// So far behind the frame register.
    Frame(i32),
    /// It is the top itself.
    IsTop,
}

/// All that holds at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    top: Top,
    ip: Rule,
    sp: Rule,
    bp: Rule,
    /// The other registers were saved as well.
    all: bool,
}

/// What a description begins with.
const FIRST: State =
    State { top: Top::Register(X86_64::RSP, 8), ip: Rule::Top(-8), sp: Rule::IsTop, bp: Rule::Same, all: false };

impl State {
    fn of(entry: &Entry) -> Self {
        let offset = i32::from(entry.sp_offset);
        let top = match entry.sp_register {
            2 => Top::Register(X86_64::RDX, 0),
            3 => Top::Register(X86_64::RDI, 0),
            4 => Top::Register(X86_64::RBP, offset),
            5 => Top::Register(X86_64::RSP, offset),
            6 => Top::Register(X86_64::R10, 0),
            7 => Top::Register(X86_64::R13, 0),
            8 => Top::At(X86_64::RBP, offset, 0),
            9 => Top::At(X86_64::RSP, 0, offset),
            _ => return Self { ip: Rule::Nowhere, ..FIRST },
        };
        let bp = match entry.bp_register {
            1 => Rule::Top(entry.bp_offset.into()),
            4 => Rule::Frame(entry.bp_offset.into()),
            _ => Rule::Same,
        };
        let saved_at = |first: i32| (Rule::Top(8 * first), Rule::Top(8 * (first + IP_TO_SP)));
        match entry.kind {
            0 => Self { top, ip: Rule::Top(-8), sp: Rule::IsTop, bp, all: false },
            1 => {
                let (ip, sp) = saved_at(SAVED_IP);
                Self { top, ip, sp, bp: Rule::Top(8 * 4), all: true }
            }
            2 => {
                let (ip, sp) = saved_at(0);
                Self { top, ip, sp, bp, all: false }
            }
            _ => Self { ip: Rule::Nowhere, ..FIRST },
        }
    }

    /// Its caller was interrupted.
    fn interrupts(&self) -> bool {
        self.sp != Rule::IsTop
    }

    /// What there is to say behind `before`.
    fn behind(&self, before: &State) -> Vec<CallFrameInstruction> {
        let mut said = Vec::new();
        if self.top != before.top {
            said.push(match self.top {
                Top::Register(register, offset) => CallFrameInstruction::Cfa(register, offset),
                Top::At(register, offset, behind) => {
                    let mut code = based(register, offset);
                    code.push(gimli::DW_OP_deref.0);
                    if behind != 0 {
                        code.push(gimli::DW_OP_consts.0);
                        code.extend(signed(behind));
                        code.push(gimli::DW_OP_plus.0);
                    }
                    CallFrameInstruction::CfaExpression(Expression::raw(code))
                }
            });
        }
        let rules = [(X86_64::RA, self.ip, before.ip), (X86_64::RSP, self.sp, before.sp), (X86_64::RBP, self.bp, before.bp)];
        for (register, now, _) in rules.into_iter().filter(|(_, now, before)| now != before) {
            said.push(match now {
                Rule::Same => CallFrameInstruction::SameValue(register),
                Rule::Nowhere => CallFrameInstruction::Undefined(register),
                Rule::Top(offset) => CallFrameInstruction::Offset(register, offset),
                Rule::Frame(offset) => CallFrameInstruction::Expression(register, Expression::raw(based(X86_64::RBP, offset))),
                Rule::IsTop => CallFrameInstruction::ValOffset(register, 0),
            });
        }
        if self.all != before.all {
            let others = (0..).step_by(8).zip(SAVED).filter(|(_, register)| *register != X86_64::RBP);
            said.extend(others.map(|(offset, register)| {
                if self.all {
                    CallFrameInstruction::Offset(register, offset)
                } else {
                    CallFrameInstruction::SameValue(register)
                }
            }));
        }
        said
    }
}

/// A register and an offset, as an expression.
fn based(register: Register, offset: i32) -> Vec<u8> {
    // All of them are below 16.
    let number = u8::try_from(register.0).unwrap_or(0);
    let mut code = vec![gimli::DW_OP_breg0.0 + number];
    code.extend(signed(offset));
    code
}

/// A number as DWARF has it: seven bits a byte, the lowest first.
fn signed(mut value: i32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        let sign = low & 0x40 != 0;
        if value == 0 && !sign || value == -1 && sign {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// The bytes of `.debug_frame`: `rows` by their places, functions by theirs.
///
/// # Errors
/// [`Wrong::Cut`] if what there is does not fit that language; a function of 4 GiB.
pub(crate) fn debug_frame(rows: &[(u64, Entry)], functions: &[Function]) -> Result<Vec<u8>, Wrong> {
    let mut table = FrameTable::default();
    let encoding = Encoding { address_size: 8, format: Format::Dwarf32, version: 3 };
    let head = |signal: bool| {
        // Offsets are bytes: not every one is a multiple of a word.
        let mut head = CommonInformationEntry::new(encoding, 1, -1, X86_64::RA);
        head.signal_trampoline = signal;
        head.add_instruction(CallFrameInstruction::Cfa(X86_64::RSP, 8));
        head.add_instruction(CallFrameInstruction::Offset(X86_64::RA, -8));
        head.add_instruction(CallFrameInstruction::ValOffset(X86_64::RSP, 0));
        head.add_instruction(CallFrameInstruction::SameValue(X86_64::RBP));
        head
    };
    let heads = [table.add_cie(head(false)), table.add_cie(head(true))];
    for function in functions {
        add(&mut table, heads, rows, *function)?;
    }
    let mut section = DebugFrame::from(EndianVec::new(LittleEndian));
    table.write_debug_frame(&mut section).map_err(|_| CUT)?;
    Ok(section.0.into_vec())
}

const CUT: Wrong = Wrong::Cut("its table of frames");

/// Adds the descriptions of one function.
fn add(
    table: &mut FrameTable,
    heads: [CieId; 2],
    rows: &[(u64, Entry)],
    (start, end, is_called): Function,
) -> Result<(), Wrong> {
    let first = rows.partition_point(|(ip, _)| *ip <= start).saturating_sub(1);
    let behind = first + rows[first..].partition_point(|(ip, _)| *ip < end);
    let its: Vec<(u64, State)> = rows[first..behind].iter().map(|(ip, entry)| ((*ip).max(start), State::of(entry))).collect();
    let kind = |state: &State| usize::from(state.interrupts() && !is_called);
    for piece in its.chunk_by(|(_, one), (_, other)| kind(one) == kind(other)) {
        let Some((from, state)) = piece.first() else { continue };
        // The next piece begins where this one ends.
        let next = its.iter().find(|(ip, one)| ip > from && kind(one) != kind(state)).map_or(end, |(ip, _)| *ip);
        let length = u32::try_from(next - from).map_err(|_| CUT)?;
        let mut description = FrameDescriptionEntry::new(Address::Constant(*from), length);
        let mut before = FIRST;
        for (ip, state) in piece {
            let offset = u32::try_from(ip - from).map_err(|_| CUT)?;
            state.behind(&before).into_iter().for_each(|said| description.add_instruction(offset, said));
            before = *state;
        }
        table.add_fde(heads[kind(state)], description);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gimli::read::{BaseAddresses, CfaRule, EndianSlice, RegisterRule, UnwindContext, UnwindSection as _, UnwindTableRow};

    const CODE: u64 = 0xffff_ffff_8100_0000;

    fn entry(sp_offset: i16, bp_offset: i16, sp_register: u8, bp_register: u8, kind: u8) -> Entry {
        Entry { sp_offset, bp_offset, sp_register, bp_register, kind }
    }

    /// What another reader finds at a place, and whether its caller was interrupted.
    fn found(section: &[u8], place: u64) -> Option<(UnwindTableRow<usize>, bool)> {
        let frames = gimli::read::DebugFrame::from(EndianSlice::new(section, LittleEndian));
        let bases = BaseAddresses::default();
        let description = frames.fde_for_address(&bases, place, gimli::read::DebugFrame::cie_from_offset).ok()?;
        let mut context = UnwindContext::new();
        let row = description.unwind_info_for_address(&frames, &bases, &mut context, place).ok()?.clone();
        Some((row, description.cie().is_signal_trampoline()))
    }

    fn rule(row: &UnwindTableRow<usize>, register: Register) -> RegisterRule<usize> {
        row.register(register).expect("it is told of")
    }

    fn section() -> Vec<u8> {
        let rows = [
            (CODE, entry(8, 0, 5, 0, 0)),          // nothing is pushed
            (CODE + 1, entry(16, -16, 5, 1, 0)),   // the frame register is
            (CODE + 4, entry(16, -16, 4, 1, 0)),   // the stack is found by it
            (CODE + 0x100, entry(0, 0, 9, 0, 0)),  // the stack is another one, and its caller's lies there
            (CODE + 0x110, entry(-8, 0, 8, 4, 0)), // likewise, by the frame register
            (CODE + 0x200, entry(8, 0, 5, 0, 2)),  // what the processor saved, and a code
            (CODE + 0x210, entry(8, 0, 5, 0, 1)),  // all registers, and where this was called from
            (CODE + 0x220, entry(8, 0, 5, 0, 0)),  // somebody calls
            (CODE + 0x300, entry(0, 0, 5, 0, 1)),  // a system call
            (CODE + 0x400, entry(0, 0, 0, 0, 0)),  // nothing is known
        ];
        let functions =
            [(0, 0x100, false), (0x100, 0x200, false), (0x200, 0x300, false), (0x300, 0x400, true), (0x400, 0x500, false)]
                .map(|(from, to, called)| (CODE + from, CODE + to, called));
        debug_frame(&rows, &functions).unwrap()
    }

    /// Would catch a caller that is looked for elsewhere than the kernel's table says, at the borders of what holds, too.
    #[test]
    fn another_reader_finds_callers_where_the_table_has_them() {
        let section = section();
        for (at, register, offset, bp) in [
            (0, X86_64::RSP, 8, RegisterRule::SameValue),
            (1, X86_64::RSP, 16, RegisterRule::Offset(-16)),
            (3, X86_64::RSP, 16, RegisterRule::Offset(-16)),
            (4, X86_64::RBP, 16, RegisterRule::Offset(-16)),
            (0xff, X86_64::RBP, 16, RegisterRule::Offset(-16)),
        ] {
            let (row, signal) = found(&section, CODE + at).unwrap();
            assert_eq!((row.cfa(), signal), (&CfaRule::RegisterAndOffset { register, offset }, false), "{at:x}");
            assert_eq!((rule(&row, X86_64::RA), rule(&row, X86_64::RBP)), (RegisterRule::Offset(-8), bp), "{at:x}");
        }
        for at in [0x100, 0x110] {
            let (row, _) = found(&section, CODE + at).unwrap();
            assert!(matches!(row.cfa(), CfaRule::Expression(_)), "{at:x}");
        }
        assert!(matches!(rule(&found(&section, CODE + 0x110).unwrap().0, X86_64::RBP), RegisterRule::Expression(_)));
        assert!(found(&section, CODE - 1).is_none() && found(&section, CODE + 0x500).is_none());
    }

    /// Would catch an interrupted place that is looked up a byte too early, one that was called and is not, registers that were saved and
    /// are lost, and those that stay known behind their end.
    #[test]
    fn what_was_interrupted_is_told_from_what_called() {
        let section = section();
        let (row, signal) = found(&section, CODE + 0x200).unwrap();
        assert_eq!(
            (rule(&row, X86_64::RA), rule(&row, X86_64::RSP), signal),
            (RegisterRule::Offset(0), RegisterRule::Offset(24), true)
        );
        let (row, signal) = found(&section, CODE + 0x210).unwrap();
        assert_eq!(row.cfa(), &CfaRule::RegisterAndOffset { register: X86_64::RSP, offset: 8 });
        let expected =
            [(X86_64::RA, 128), (X86_64::RSP, 152), (X86_64::RBP, 32), (X86_64::R15, 0), (X86_64::RBX, 40), (X86_64::RDI, 112)];
        for (register, offset) in expected {
            assert_eq!(rule(&row, register), RegisterRule::Offset(offset), "{register:?}");
        }
        assert!(signal);
        let (row, signal) = found(&section, CODE + 0x220).unwrap();
        assert!(!signal && row.register(X86_64::R15).is_none());
        let (row, signal) = found(&section, CODE + 0x300).unwrap();
        assert_eq!((rule(&row, X86_64::RA), signal), (RegisterRule::Offset(128), false));
    }

    /// Would catch a walk that goes on where nobody knows how (F1).
    #[test]
    fn where_the_table_says_nothing_there_is_no_caller() {
        let (row, _) = found(&section(), CODE + 0x480).unwrap();
        assert_eq!(rule(&row, X86_64::RA), RegisterRule::Undefined);
    }

    /// Would catch a number that another reader takes for another one.
    #[test]
    fn numbers_are_written_in_as_few_bytes_as_they_need() {
        for (value, bytes) in [
            (0, &[0][..]),
            (63, &[63]),
            (64, &[0xc0, 0]),
            (-1, &[0x7f]),
            (-64, &[0x40]),
            (-65, &[0xbf, 0x7f]),
            (300, &[0xac, 2]),
        ] {
            assert_eq!(signed(value), bytes, "{value}");
        }
    }
}
