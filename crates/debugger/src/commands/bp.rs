//! Sets a breakpoint: the machine halts before an instruction, and nobody who reads that sees it.
//!
//!     bp ADDRESS [pid N|all] [tid N|all] [core N|all]
//! ADDRESS is where the instruction begins: a name, an expression, a number; of an address of a program's, that of `pid` if it is given.
//! It halts for that process, that thread, or on that core alone if they are given. It is hidden and stays at its address as a hook of
//! !epthook does, and takes a unit of breakpoint of the reserve and nothing else: 64 are there at start. `bl` lists breakpoints.
//! ```kd
//! 0: kHyperDbg> bp ffffffff81000004
//! breakpoint 0 set at ffffffff81000004
//! 0: kHyperDbg> bp ffffffff81000002 tid 1c9 core 1
//! breakpoint 1 set at ffffffff81000002
//! 0: kHyperDbg> bp ffffffff81000004 stage post
//! err, couldn't resolve error at 'stage'
//!      bp ffffffff81000004 stage post
//!                          ^~~~~
//!      options: pid, tid, core
//! 0: kHyperDbg> bp 10
//! err, nothing is mapped at 10 (c0000005)
//!      addresses of programs are those of the one that runs on this core; `pid PID` names another
//! ```

use crate::answer::{Answer, Report, hex};
use crate::commands::{Command, Takes};
use crate::cost::Cost;
use crate::error::Error;
use crate::event::breakpoint;
use crate::line::Line;
use crate::session::Session;
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command {
    names: &["bp"],
    takes: &[Takes::OneAddress, Takes::Options(&[("pid", &["all"]), ("tid", &["all"]), ("core", &["all"])])],
    run,
    cost: Some(cost),
};

fn cost(_: &mut Session, line: &Line) -> Result<Cost, Error> {
    breakpoint::cost(line)
}

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let (breakpoint, address) = breakpoint::register(session, line, 0)?;
    Ok(Answer::of(&Set { breakpoint, address: hex(address), place: session.place(address) }))
}

/// One that was set.
#[derive(Serialize)]
struct Set {
    breakpoint: u32,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

impl Report for Set {
    fn text(&self) -> String {
        let Self { breakpoint, address, place } = self;
        let place = place.as_ref().map_or_else(String::new, |place| format!(" ({place})"));
        format!("breakpoint {breakpoint:x} set at {:0>16}{place}", address.trim_start_matches("0x"))
    }
}
