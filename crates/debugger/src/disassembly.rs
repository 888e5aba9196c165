//! Instructions out of bytes, in Intel's syntax.
//!
//! **Holds always**
//! - D1: every byte belongs to one line; a byte that is no instruction is a line of its own, and so are those
//!   side by side that cannot be read.
//! - D2: an instruction that begins within the length is shown whole, also if it ends behind it.
//!
//! **Cost**: a microsecond or so a line. **Proof**: the tests below.

use crate::answer::hex;
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, OpKind, SymbolResolver, SymbolResult};
use serde::Serialize;
use std::rc::Rc;
use symbols::HIGH_HALF;

/// Bytes of the longest instruction.
pub(crate) const INSTRUCTION_BYTES_MAX: usize = 15;

/// Names of addresses.
pub(crate) trait Names {
    /// The name that begins at or before an address, and where it begins.
    fn before(&self, address: u64) -> Option<(String, u64)>;
}

/// No address has a name.
pub(crate) struct NoNames;

impl Names for NoNames {
    fn before(&self, _: u64) -> Option<(String, u64)> {
        None
    }
}

/// One instruction, or a byte that is none.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Shown {
    /// Where it begins.
    pub(crate) address: String,
    /// What begins there, if it has a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Its bytes, in hex.
    pub(crate) bytes: String,
    /// What it says.
    pub(crate) text: String,
    /// Where it jumps to or what it calls, if it says so itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
}

impl Shown {
    /// As a line of the screen.
    pub(crate) fn line(&self) -> String {
        let Self { address, name: _, bytes, text, target: _ } = self;
        format!("{:0>16}  {bytes:<28}  {text}", address.trim_start_matches("0x"))
    }
}

/// Instructions from `address` on that begin within the first `length` bytes; `bits` is 64 or 32.
pub(crate) fn instructions(bytes: &[Option<u8>], address: u64, length: usize, bits: u32, names: &Rc<dyn Names>) -> Vec<Shown> {
    let mut formatter = formatter(names);
    let mut shown = Vec::new();
    let mut at = 0;
    while at < length.min(bytes.len()) {
        let here = address.wrapping_add(at as u64);
        let code: Vec<u8> = bytes[at..].iter().take(INSTRUCTION_BYTES_MAX).map_while(|byte| *byte).collect();
        let mut decoder = Decoder::with_ip(bits, &code, here, DecoderOptions::NONE);
        let instruction = decoder.decode();
        let (line, taken) = match code.get(..instruction.len()) {
            _ if code.is_empty() => (line(here, &[], "??".to_owned(), None, names), unreadable(bytes, at)),
            Some(bytes) if !instruction.is_invalid() => {
                let mut text = String::new();
                formatter.format(&instruction, &mut text);
                (line(here, bytes, text, target(&instruction), names), bytes.len())
            }
            _ => (line(here, &code[..1], "(bad)".to_owned(), None, names), 1),
        };
        shown.push(line);
        at += taken;
    }
    shown
}

/// Where the instruction begins that has the byte at an offset, and where it ends, if what begins at 0 are instructions up to
/// there: both as offsets.
pub(crate) fn around(bytes: &[Option<u8>], offset: u64) -> Option<(u64, u64)> {
    let code: Vec<u8> = bytes.iter().map_while(|byte| *byte).collect();
    let mut decoder = Decoder::with_ip(64, &code, 0, DecoderOptions::NONE);
    while decoder.can_decode() {
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            return None;
        }
        if instruction.next_ip() > offset {
            return Some((instruction.ip(), instruction.next_ip()));
        }
    }
    None
}

/// How many bytes from here on cannot be read.
fn unreadable(bytes: &[Option<u8>], at: usize) -> usize {
    bytes[at..].iter().take_while(|byte| byte.is_none()).count()
}

fn line(address: u64, bytes: &[u8], text: String, target: Option<u64>, names: &Rc<dyn Names>) -> Shown {
    let name = names.before(address).filter(|(_, begin)| *begin == address).map(|(name, _)| name);
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Shown { address: hex(address), name, bytes: bytes.join(" "), text, target: target.map(hex) }
}

/// Where a branch leads that says so itself.
fn target(instruction: &Instruction) -> Option<u64> {
    let direct = matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64);
    direct.then(|| instruction.near_branch_target())
}

fn formatter(names: &Rc<dyn Names>) -> IntelFormatter {
    let mut formatter = IntelFormatter::with_options(Some(Box::new(ByName(Rc::clone(names)))), None);
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_space_after_operand_separator(true);
    options.set_branch_leading_zeros(false);
    options.set_first_operand_char_index(8);
    formatter
}

/// Puts names in place of addresses.
struct ByName(Rc<dyn Names>);

impl SymbolResolver for ByName {
    fn symbol(&mut self, _: &Instruction, _: u32, _: Option<u32>, address: u64, _: u32) -> Option<SymbolResult<'_>> {
        // Smaller numbers are counts and offsets as often.
        let (name, begin) = self.0.before(address).filter(|_| address >= HIGH_HALF)?;
        Some(SymbolResult::with_string(begin, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Two;

    impl Names for Two {
        fn before(&self, address: u64) -> Option<(String, u64)> {
            let named = [(0xffff_ffff_8100_0010, "second"), (0xffff_ffff_8100_0000, "first"), (0, "zero")];
            named.iter().find(|(begin, _)| *begin <= address).map(|(begin, name)| ((*name).to_owned(), *begin))
        }
    }

    fn shown(bytes: &[Option<u8>], length: usize, bits: u32, names: Rc<dyn Names>) -> Vec<(String, String)> {
        let all = instructions(bytes, 0xffff_ffff_8100_0000, length, bits, &names);
        all.into_iter().map(|one| (one.bytes, one.text)).collect()
    }

    fn pair(bytes: &str, text: &str) -> (String, String) {
        (bytes.to_owned(), text.to_owned())
    }

    /// Would catch an instruction that is cut at the end of the length, decoded over a hole or a byte that is none, or for
    /// another mode.
    #[test]
    fn each_byte_belongs_to_one_line() {
        let code = [0x55, 0x48, 0x89, 0xe5, 0x06, 0x0f, 0x1f, 0x44, 0, 0, 0xb8, 1, 0, 0, 0].map(Some);
        let nobody: Rc<dyn Names> = Rc::new(NoNames);
        let lines = shown(&code, 11, 64, Rc::clone(&nobody));
        let expected = [
            pair("55", "push    rbp"),
            pair("48 89 e5", "mov     rbp, rsp"),
            pair("06", "(bad)"),
            pair("0f 1f 44 00 00", "nop     [rax+rax]"),
            pair("b8 01 00 00 00", "mov     eax, 1"),
        ];
        assert_eq!(lines, expected);
        let narrow = shown(&code, 4, 32, Rc::clone(&nobody));
        assert_eq!(narrow[1..], [pair("48", "dec     eax"), pair("89 e5", "mov     ebp, esp")]);
        let holed = [Some(0x55), Some(0x48), None, None, Some(0xc3)];
        assert_eq!(
            shown(&holed, 5, 64, nobody),
            [pair("55", "push    rbp"), pair("48", "(bad)"), pair("", "??"), pair("c3", "ret")]
        );
    }

    /// Would catch a boundary that is told of bytes that are none, or one that is beside the instruction.
    #[test]
    fn an_offset_is_in_the_instruction_around_it() {
        let code = [0x55, 0x48, 0x89, 0xe5, 0x0f, 0x1f, 0x44, 0, 0, 0xc3, 0x06, 0x90].map(Some);
        let around: Vec<_> = [0, 1, 3, 4, 8, 9].map(|offset| around(&code, offset).unwrap()).into();
        assert_eq!(around, [(0, 1), (1, 4), (1, 4), (4, 9), (4, 9), (9, 10)]);
        assert_eq!((super::around(&code, 11), super::around(&[None], 0)), (None, None));
    }

    /// Would catch a target that is another's, a name that stands for a small number, or one without its offset.
    #[test]
    fn branches_say_where_they_lead_by_name_where_there_is_one() {
        let code = [0xe8, 0x0d, 0, 0, 0, 0x74, 9, 0x6a, 0x12, 0xff, 0xe0, 0x48, 0x8b, 0x05, 0, 0, 0, 0].map(Some);
        let all = instructions(&code, 0xffff_ffff_8100_0000, code.len(), 64, &(Rc::new(Two) as Rc<dyn Names>));
        let texts: Vec<&str> = all.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(
            texts,
            ["call    second+2", "je      short second", "push    0x12", "jmp     rax", "mov     rax, [second+2]"]
        );
        let target = |n: usize| all[n].target.as_deref();
        assert_eq!((target(0), target(1), target(3)), (Some("0xffffffff81000012"), Some("0xffffffff81000010"), None));
        assert_eq!((all[0].name.as_deref(), all[1].name.as_deref()), (Some("first"), None));
    }
}
