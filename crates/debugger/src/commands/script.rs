//! Runs the commands of a file, one a line, until the first that fails.
//!
//!     .script FILE
//! Lines that begin with # or // are comments. Braces of a script may go over several lines. A path with blanks stands in "quotes".
//! ```kd
//! HyperDbg> .script /nowhere.kd
//! err, '/nowhere.kd' cannot be read: it does not exist
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{self, Command, Takes};
use crate::cost::Cost;
use crate::error::Error;
use crate::line::{self, Line};
use crate::session::{SCRIPT_DEPTH_MAX, Session, Verdict};
use serde::Serialize;
use std::fs;

/// The command.
pub const COMMAND: Command = Command { names: &[".script", "script"], takes: &[Takes::File], run, cost: Some(cost) };

fn cost(_: &mut Session, line: &Line) -> Result<Cost, Error> {
    let [_, path] = line.words() else { return Err(commands::usage(line)) };
    Ok(Cost::Runs(path.text.clone()))
}

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let [_, path] = line.words() else { return Err(commands::usage(line)) };
    let path = path.text.clone();
    let text = fs::read_to_string(&path).map_err(|why| Error::File { path: path.clone(), why: why.kind() })?;
    let ended = session.deeper(SCRIPT_DEPTH_MAX, |session| {
        let mut lines = 0;
        for (number, line) in line::whole(&text) {
            match session.run(&line) {
                Verdict::Done => lines = number,
                Verdict::Exit => return Ok((number, true)),
                verdict @ (Verdict::Failed | Verdict::Unreachable) => {
                    let unreachable = verdict == Verdict::Unreachable;
                    return Err(Error::Script { path: path.clone(), line: number, unreachable });
                }
            }
        }
        Ok((lines, false))
    })?;
    let (lines, exit) = ended?;
    Ok(Answer { exit, ..Answer::of(&Ran { path, lines }) })
}

#[derive(Serialize)]
struct Ran {
    path: String,
    lines: usize,
}

impl Report for Ran {
    fn text(&self) -> String {
        String::new()
    }
}
