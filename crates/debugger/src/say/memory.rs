//! Why memory is not shown or changed, in words.

use super::Said;
use crate::line::Line;
use crate::memory::Wrong;
use abi::code;
use abi::request::memory::{BY_TABLES, NO_PID, PHYSICAL, Place};

/// The last linear address of programs.
const LOWER_HALF_END: u64 = 0x7fff_ffff_ffff;

/// What is wrong.
pub(super) fn wrong(wrong: &Wrong, typed: &Line) -> Said {
    match wrong {
        Wrong::Refused { code, place, before } => refused(*code, *place, *before),
        Wrong::TooLong { span, most, what } => {
            Said::new("length", format!("0x1 to 0x{most:x} {what} at once")).at(span).try_line(typed.with(span, "40"))
        }
        Wrong::TooWide { span, bytes } => {
            let most = u64::MAX >> (64 - 8 * (*bytes).clamp(1, 8));
            Said::new("number", format!("the value does not fit; the largest is {most:x}"))
                .at(span)
                .try_line(typed.with(span, &format!("{most:x}")))
        }
        Wrong::PidOfPhysical { span } => {
            Said::new("unknown-word", "physical memory is nobody's: it has no pid").at(span).try_line(typed.with(span, ""))
        }
        Wrong::NotInMap { address } => Said::of_root(
            code::PHYSICAL_INVALID,
            format!("the kernel's map of RAM does not have the physical address {address:x}"),
        ),
        Wrong::ReadOnly { span } => Said::new("register", "this register can only be looked at")
            .at(span)
            .help("rax to r15, their parts, rip and rflags can be set"),
        Wrong::Part { span } => Said::new("register", "of a thread that is held only whole registers can be set")
            .at(span)
            .help("rax to r15, rip and rflags can be set"),
        Wrong::NotCanonical { span } => {
            Said::new("register", "no address that the processor can jump to: bits 63 to 47 differ").at(span)
        }
    }
}

fn refused(code: u32, place: Place, before: u32) -> Said {
    let Place { address, space, pid } = place;
    let physical = if space == PHYSICAL { "physical " } else { "" };
    let message = match code {
        code::ADDRESS_INVALID => format!("nothing is mapped at {address:x}"),
        code::PHYSICAL_INVALID if space == PHYSICAL => format!("there is no RAM at the physical address {address:x}"),
        code::PHYSICAL_INVALID => format!("what is mapped at {address:x} is no RAM"),
        code::PID_INVALID => format!("there is no process 0x{pid:x}"),
        _ => format!("the hypervisor itself has the memory at {physical}{address:x}"),
    };
    let nothing = if before > 0 { "; nothing was written" } else { "" };
    let said = Said::of_root(code, format!("{message}{nothing}"));
    if code == code::ADDRESS_INVALID && space == BY_TABLES && address <= LOWER_HALF_END {
        said.help("addresses of programs are those of the one in view; `.process` tells which")
    } else if code == code::ADDRESS_INVALID && pid == NO_PID && address <= LOWER_HALF_END {
        said.help("addresses of programs are those of the one that runs on this core; `pid PID` names another")
    } else {
        said
    }
}
