//! Why an instruction has no detour, in words; each time with what can be done instead.

use super::Said;
use crate::event::epthook2::Wrong;
use crate::line::Line;
use crate::moved::{Fixed, Not};
use abi::code;
use std::ops::Range;

/// The same line with the hidden breakpoint, which any instruction can have.
fn hidden(typed: &Line) -> Option<String> {
    let command = typed.words().first()?;
    command.text.eq_ignore_ascii_case("!epthook2").then(|| typed.with(&command.span, "!epthook"))
}

/// What the prompt refuses.
pub(super) fn wrong(span: &Range<usize>, why: &Wrong, typed: &Line) -> Said {
    let said = |message: String| Said { try_line: hidden(typed), ..Said::new("detour", message).at(span) };
    match why {
        Wrong::NoAddress => Said::new("address", "which instruction").help("!epthook2 NAME script { … }"),
        Wrong::Stage => said("a detour has no stage behind the instruction".to_owned()),
        Wrong::Program => said("programs have no detours, the kernel has".to_owned()),
        Wrong::Nameless => said("nobody knows which function this is in, and where that ends".to_owned())
            .help("`.sym reload` reads the kernel's names"),
        Wrong::KeptFree => said("the kernel keeps its own probes out of this code: it runs before all is in order".to_owned()),
        Wrong::Faults { address } => {
            said(format!("the instruction at {address:x} may fault, and the kernel knows it by its address"))
        }
        Wrong::Not(not) => said(match not {
            Not::Code { address } => format!("there is no instruction at {address:x}"),
            Not::Short { bytes } => format!("a jump takes 0x5 bytes, and the function has 0x{bytes:x} more"),
            Not::LedInto { from, to } => {
                format!("the instruction at {from:x} jumps to {to:x}, between the bytes that a jump would take")
            }
            Not::Fixed { address, what: Fixed::Call } => {
                format!("the call at {address:x} must stay where it is: others come back to it")
            }
            Not::Fixed { address, what: Fixed::Patched } => {
                format!("Linux changes the instruction at {address:x} while it runs")
            }
            Not::Fixed { address, what: Fixed::Breakpoint } => format!("there is a breakpoint of somebody's at {address:x}"),
            Not::Fixed { address, what: Fixed::Other } => format!("the instruction at {address:x} must stay where it is"),
        }),
    }
}

/// What root refuses.
pub(super) fn refused(code: u32, address: u64, typed: &Line) -> Said {
    let said = |message: String| Said { try_line: hidden(typed), ..Said::of_root(code, message) };
    match code {
        code::NO_PLACE => said("all places for the code of detours are taken".to_owned())
            .help("events c NUMBER clears one; its place is free when Linux has run for a second"),
        code::CODE_CHANGED => said(format!("the code at {address:x} is not what it was a moment ago")),
        code::OVERLAPS => {
            let said = Said::of_root(code, format!("a hook or a detour is at these bytes already, {address:x}"));
            said.help("events c NUMBER clears one").try_line("events")
        }
        _ => said(format!("what stands for the code at {address:x} cannot be reached from there, or lies in two pages")),
    }
}
