//! gdb and its like at the other end of a line: their remote protocol, spoken for a debuggee that this session can halt.
//!
//! ```text
//! gdb ──bytes──► reader (a thread) ──► serve: the crate gdbstub's states ──► machine.rs: registers, memory, going on
//!                                         ▲                                    └──► points.rs: breakpoints, watchpoints
//!                                         └── what the session prints: to gdb if it asked by `monitor`, else to whoever serves
//! ```
//! **Holds always**
//! - G1: the debuggee is halted while gdb believes so, and runs on when gdb is gone, however that came.
//! - G2: what gdb set, and what its `monitor` registered, is cleared then: nothing is left that could halt a machine that nobody watches.
//! - G3: a refusal is an error to gdb, and a sentence where the server's own messages go: the protocol has no place for it.
//!
//! **Callers**: one at a time; who may connect is decided by whoever opens the line. **Proof**: `tests/gdb.rs`, `tests/e2e/gdb.rs`.

mod machine;
mod monitor;
mod page;
mod points;
mod registers;

use crate::error::Error;
use crate::say;
use crate::session::{COLUMNS, Session};
use gdbstub::conn::Connection;
use gdbstub::stub::state_machine::GdbStubStateMachine as Stub;
use gdbstub::stub::{DisconnectReason, GdbStub};
use machine::Machine;
pub use page::Page;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

/// How long one side is listened to before the other is looked at.
const TICK: Duration = Duration::from_millis(20);

/// A line to gdb.
pub struct Line {
    /// What it says. Reading must end when whoever serves closes the line.
    pub from: Box<dyn Read + Send>,
    /// Where it listens.
    pub to: Box<dyn Write>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// gdb let go of the debuggee.
    Detached,
    /// The line ended without a word.
    Lost,
    /// The debuggee went away.
    Gone,
    /// It said what is no part of the protocol, or needs what is not there.
    Misunderstood,
    /// CTRL+C, or the end of the program.
    Ended,
}

/// Serves one gdb until it goes. The debuggee is halted first and runs on afterwards. `page` is where the session prints, and
/// `tell` gets what is printed there and is not for gdb.
///
/// If the debuggee cannot be halted, gdb is not served, and it is told why.
pub fn serve(session: &mut Session, page: &Page, line: Line, tell: &mut dyn FnMut(&str)) -> End {
    let mut machine = match Machine::halted(session, page) {
        Ok(machine) => machine,
        Err(why) => {
            tell(&sentence(&why, &crate::line::Line::new("")));
            return End::Gone;
        }
    };
    let end = talk(&mut machine, line, &mut |page| tell_all(page, tell));
    machine.let_go();
    tell_all(page, tell);
    end
}

/// Why a line was not done, in words.
fn sentence(why: &Error, line: &crate::line::Line) -> String {
    say::error(why, line).text(line, COLUMNS)
}

fn tell_all(page: &Page, tell: &mut dyn FnMut(&str)) {
    let text = page.take();
    if !text.is_empty() {
        tell(text.trim_end_matches('\n'));
    }
}

fn talk(machine: &mut Machine, line: Line, tell: &mut dyn FnMut(&Page)) -> End {
    let mut bytes = Bytes::new(line.from);
    let Ok(stub) = GdbStub::builder(Writer(line.to)).build() else { return End::Misunderstood };
    let mut stub = match stub.run_state_machine(machine) {
        Ok(stub) => stub,
        Err(_) => return End::Lost,
    };
    loop {
        tell(machine.page());
        if machine.is_to_end() {
            return End::Ended;
        }
        let next = match stub {
            Stub::Idle(idle) => match bytes.next(TICK) {
                Next::Byte(byte) => idle.incoming_data(machine, byte),
                Next::Nothing => Ok(idle.into()),
                Next::End => return End::Lost,
            },
            // What gdb says counts before what the machine does: it may be CTRL+C.
            Stub::Running(running) => match bytes.next(Duration::ZERO) {
                Next::Byte(byte) => running.incoming_data(machine, byte),
                Next::End => return End::Lost,
                Next::Nothing => match machine.turn(TICK) {
                    Ok(Some(stop)) => running.report_stop(machine, stop),
                    Ok(None) => Ok(running.into()),
                    Err(why) => {
                        machine.complain(&why);
                        return End::Gone;
                    }
                },
            },
            Stub::CtrlCInterrupt(interrupt) => match machine.interrupted() {
                Ok(stop) => interrupt.interrupt_handled(machine, stop),
                Err(why) => {
                    machine.complain(&why);
                    return End::Gone;
                }
            },
            Stub::Disconnected(end) => {
                return match end.get_reason() {
                    DisconnectReason::Disconnect | DisconnectReason::Kill => End::Detached,
                    DisconnectReason::TargetExited(_) | DisconnectReason::TargetTerminated(_) => End::Gone,
                };
            }
        };
        stub = match next {
            Ok(stub) => stub,
            Err(why) if why.is_connection_error() => return End::Lost,
            Err(why) => match why.into_target_error() {
                Some(why) => {
                    machine.complain(&why);
                    return End::Gone;
                }
                None => return End::Misunderstood,
            },
        };
    }
}

/// Where gdb listens.
struct Writer(Box<dyn Write>);

impl Connection for Writer {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.0.write_all(&[byte])
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// What gdb says, byte by byte.
struct Bytes {
    pieces: Receiver<Vec<u8>>,
    piece: std::vec::IntoIter<u8>,
}

enum Next {
    Byte(u8),
    Nothing,
    End,
}

impl Bytes {
    /// A thread of its own reads: it ends with the line.
    fn new(mut from: Box<dyn Read + Send>) -> Self {
        let (read, pieces) = sync_channel(16);
        thread::spawn(move || {
            let mut room = [0; 4096];
            loop {
                match from.read(&mut room) {
                    Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                    Ok(count) if count > 0 && read.send(room[..count].to_vec()).is_ok() => {}
                    _ => return,
                }
            }
        });
        Self { pieces, piece: Vec::new().into_iter() }
    }

    fn next(&mut self, limit: Duration) -> Next {
        if let Some(byte) = self.piece.next() {
            return Next::Byte(byte);
        }
        let piece = match self.pieces.try_recv() {
            Err(TryRecvError::Empty) if limit.is_zero() => Err(RecvTimeoutError::Timeout),
            Err(TryRecvError::Empty) => self.pieces.recv_timeout(limit),
            Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
            Ok(piece) => Ok(piece),
        };
        match piece {
            Ok(piece) => {
                self.piece = piece.into_iter();
                self.piece.next().map_or(Next::Nothing, Next::Byte)
            }
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }
}
