//! Holds every thread of a process, without the system's debugging interface: the process cannot tell.
//!
//!     .attach pid PID
//! PID is hex. Each thread is held where it would return to its program, now and when one is created; the rest of Linux runs on, and so
//! does the machine. One that sleeps in the kernel is held when it comes back. Nothing is traced, no signal is sent, no byte of the
//! program's is changed; held threads take no processor. For each hundred threads a unit of thread-interception is taken: all that are
//! needed, or it is refused. Of threads that are created when none is left, all are held, and places follow as the reserve is
//! refilled; `.switch` tells how many wait for one. Commands refer to the process' first thread then: `t` and `r` of it, addresses of its
//! program, `g`, `pause` and `.detach`. It is let go when this prompt ends.
//! ```kd
//! HyperDbg> .attach pid 1c8
//! process 1c8 (busy) is under interception: 0x2 threads, 0x2 held
//! thread 1c8 is held: rip ffffffff81000000
//! ffffffff81000000  f4                            hlt
//! 1c8:1c8 (paused) u64HyperDbg> .attach pid 1c8
//! err, process 1c8 is under interception already (c0000032)
//!      try: .switch pid 1c8
//! ```
//! ```kd
//! HyperDbg> .attach pid 7
//! err, there is no process 7 (c000001e)
//!      try: .process list
//! ```

use crate::answer::{Answer, Report};
use crate::commands::switch::Standing;
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::line::Line;
use crate::session::Session;
use crate::threads::{self, Sums};
use abi::request::thread::order;
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command { names: &[".attach", "attach"], takes: &[Takes::Words(&["pid"])], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let [_, word, number] = line.words() else { return Err(commands::usage(line)) };
    if !word.text.eq_ignore_ascii_case("pid") {
        return Err(commands::unknown_word(word, "options", &["pid"]));
    }
    let process = commands::number_of_process(session, number)?;
    threads::order(session, order::ATTACH, process, 0, 0)?;
    let sums = threads::wait_until_held(session, process)?;
    tell(session, process, sums)
}

/// Tells of a process under interception, whose first thread commands refer to from now on.
pub(crate) fn tell(session: &mut Session, process: u32, sums: Sums) -> Result<Answer, Error> {
    let standing = Standing::of_first(session, process)?;
    let name = standing.as_ref().map(|standing| standing.name.clone()).unwrap_or_default();
    let Sums { coming, held, unplaced, missed, .. } = sums;
    Ok(Answer::of(&Attached { process, name, threads: sums.all(), held, coming, unplaced, missed, standing }))
}

#[derive(Serialize)]
struct Attached {
    process: u32,
    name: String,
    threads: u32,
    held: u32,
    coming: u32,
    unplaced: u32,
    missed: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    standing: Option<Standing>,
}

impl Report for Attached {
    fn text(&self) -> String {
        let Self { process, name, threads, held, coming, unplaced, missed, standing } = self;
        let plural = if *threads == 1 { "" } else { "s" };
        let mut lines =
            vec![format!("process {process:x} ({name}) is under interception: 0x{threads:x} thread{plural}, 0x{held:x} held")];
        match coming {
            0 => {}
            1 => lines.push("0x1 is in the kernel, and held when it comes back to the program".to_owned()),
            coming => lines.push(format!("0x{coming:x} are in the kernel, and held when they come back to the program")),
        }
        lines.extend(losses(*unplaced, *missed));
        lines.extend(standing.as_ref().map(Report::text));
        lines.join("\n")
    }
}

/// What is to be said of threads that found no place, or no memory.
pub(crate) fn losses(unplaced: u32, missed: u32) -> Option<String> {
    let units = abi::request::thread::THREADS_PER_UNIT;
    match (unplaced, missed) {
        (0, 0) => None,
        (unplaced, 0) => {
            let units = usize::try_from(unplaced).unwrap_or(usize::MAX).div_ceil(units);
            Some(format!(
                "0x{unplaced:x} more are held, and have no place yet to be shown in: prealloc thread-interception {units:x}"
            ))
        }
        (unplaced, missed) => Some(format!(
            "0x{unplaced:x} more are held and not shown; 0x{missed:x} are not held, since linux had no memory for that"
        )),
    }
}
