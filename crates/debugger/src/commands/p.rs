//! Executes instructions as t does, but a call as one (p), or all up to the end of a function (gu).
//!
//!     p|pr [COUNT]
//!     gu [COUNT]
//! COUNT is hex (1 unless said, 1000 at most): so many instructions, or so many functions to be left. A call, a system call, a software
//! interrupt and a repeated string instruction are run up to the instruction behind them, by the thread that the core runs now: the
//! others and other cores run meanwhile, and it may come out on another core. For that a breakpoint is set there, and cleared again.
//! gu finds by the kernel's own table (see k) where the function returns to; it needs the names of the kernel. What halts before ends
//! it, as CTRL+C does.
//! ```kd
//! 0: kHyperDbg> p
//! halted on core 0: steps, pid 1c8 tid 1c8 cat, cpl 0
//! ffffffff81000001  c3                            ret
//! 0: kHyperDbg> p 0
//! err, at least one is done, and no more than 1000 at once
//!      p 0
//!        ^
//!      try: p 1
//! ```

use crate::answer::Answer;
use crate::commands::t::{self, Gone};
use crate::commands::{self, Command, k};
use crate::error::Error;
use crate::event::breakpoint;
use crate::line::Line;
use crate::memory;
use crate::session::Session;
use abi::request::memory::{NO_PID, Place, VIRTUAL};
use abi::request::{Halted, Registers, op, reason, step};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};

/// The command.
pub const COMMAND: Command = Command { names: &["p", "pr", "gu"], takes: &[], run, cost: None };

/// Instructions, or functions, of one line at most: each may be a request or ten.
const TIMES_MAX: u64 = 0x1000;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let count = commands::times(session, line, TIMES_MAX)?;
    let name = line.name().to_ascii_lowercase();
    session.end_view();
    session.look_before_steps()?;
    let mut done = 0;
    loop {
        let (halted, came) = if name == "gu" { leave(session)? } else { over(session)? };
        done += u64::from(came);
        let gone = Gone { done, count, halted };
        if !came || done == count {
            return t::tell(session, &gone, name == "pr");
        }
        if name == "pr" {
            let answer = t::tell(session, &Gone { count: done, ..gone }, true)?;
            session.print_more(line, &answer);
        }
        if session.is_cancelled() {
            return Err(Error::Cancelled);
        }
    }
}

/// One instruction, or what it calls and the way back. Whether it came behind it.
fn over(session: &mut Session) -> Result<(Halted, bool), Error> {
    let all: Registers = session.ask(op::REGISTERS, &[])?;
    let code = memory::instruction_bytes(session, Place { address: all.rip, space: VIRTUAL, pid: NO_PID })?;
    let instruction = Decoder::with_ip(64, &code, all.rip, DecoderOptions::NONE).decode();
    if runs_others(&instruction) {
        return breakpoint::run_to(session, instruction.next_ip(), (all.core, all.gprs[4]));
    }
    let halted = session.step(1, step::TOGETHER)?;
    Ok((halted, halted.reason == reason::STEPPED && halted.steps > 0))
}

/// Whether other instructions, or itself again, come before the one behind it.
fn runs_others(instruction: &Instruction) -> bool {
    let calls = matches!(instruction.mnemonic(), Mnemonic::Call | Mnemonic::Syscall | Mnemonic::Int | Mnemonic::Int3);
    // Strings alone have operands there.
    let is_string = |operand| {
        use OpKind::{MemoryESDI, MemoryESEDI, MemoryESRDI, MemorySegESI, MemorySegRSI, MemorySegSI};
        matches!(operand, MemorySegSI | MemorySegESI | MemorySegRSI | MemoryESDI | MemoryESEDI | MemoryESRDI)
    };
    let repeats = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    calls || repeats && (is_string(instruction.op0_kind()) || is_string(instruction.op1_kind()))
}

/// Up to the instruction behind the call of this function. Whether it came there.
fn leave(session: &mut Session) -> Result<(Halted, bool), Error> {
    let (core, frames) = k::frames(session, 2)?;
    let caller = frames.get(1).ok_or(Error::NoCaller)?;
    breakpoint::run_to(session, caller.ip, (core.unwrap_or(0), caller.sp))
}
