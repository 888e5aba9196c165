//! Lists processes under interception and their threads, and chooses the one that commands refer to.
//!
//!     .switch
//!     .switch list [pid PID]
//!     .switch pid PID | tid TID
//! Without more it lists processes: threads, those that are held, those that are to be held and are in the kernel still, those that run.
//! `list` has each thread of a process: what it does, instructions that it stepped, how often it was held, and for how long, in
//! milliseconds. A process stands for its first thread. PID and TID are hex.
//! ```kd
//! HyperDbg> .switch
//! no process is under interception: .help .attach
//! HyperDbg> .attach pid 1c8
//! process 1c8 (busy) is under interception: 0x2 threads, 0x2 held
//! {any}
//! 1c8:1c8 (paused) u64HyperDbg> .switch tid 1c9
//! thread 1c9 is held: rip ffffffff81000000
//! ffffffff81000000  f4                            hlt
//! 1c8:1c9 (paused) u64HyperDbg> .switch
//!    pid  threads  held  coming  running  name
//! *  1c8      0x2   0x2       0        0  busy
//! 1c8:1c9 (paused) u64HyperDbg> .switch list
//!    tid  state  stepped  holds  ms held  name
//!    1c8  held         0    0x1        0  busy
//! *  1c9  held         0    0x1        0  busy
//! 1c8:1c9 (paused) u64HyperDbg> .switch tid 7
//! err, no thread 7 is under interception (c0000035)
//!      try: .switch list
//! ```

use super::process::named;
use crate::answer::{Answer, Report, hex};
use crate::commands::attach::losses;
use crate::commands::{self, Command, Takes};
use crate::disassembly;
use crate::error::Error;
use crate::line::Line;
use crate::say;
use crate::session::Session;
use crate::threads::{self, Active, Sums};
use abi::code;
use abi::request::thread::{Row, state};
use serde::Serialize;

/// The command.
pub const COMMAND: Command =
    Command { names: &[".switch", "switch"], takes: &[Takes::Words(&["list", "pid", "tid"])], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let words = line.words();
    let is = |at: usize, text: &str| words.get(at).is_some_and(|word| word.text.eq_ignore_ascii_case(text));
    match words {
        [_] => processes(session),
        [_, _] if is(1, "list") => match session.active() {
            Some(Active { process, .. }) => list(session, process),
            None => list(session, 0),
        },
        [_, _, _, number] if is(1, "list") && is(2, "pid") => {
            let process = commands::number_of_process(session, number)?;
            list(session, process)
        }
        [_, _, number] if is(1, "pid") => {
            let process = commands::number_of_process(session, number)?;
            match Standing::of_first(session, process)? {
                Some(standing) => Ok(Answer::of(&standing)),
                None => Err(threads::refused(code::NOT_ATTACHED, 0, Active { process, thread: 0 })),
            }
        }
        [_, _, number] if is(1, "tid") => {
            let thread = commands::number_of_process(session, number)?;
            let row = threads::row(session, Active { process: 0, thread })?.ok_or(threads::refused(
                code::NO_SUCH_THREAD,
                0,
                Active { process: 0, thread },
            ))?;
            Standing::new(session, &row).map(|standing| Answer::of(&standing))
        }
        [_, word, ..] => Err(commands::unknown_word(word, "words", &["list", "pid", "tid"])),
        _ => Err(commands::usage(line)),
    }
}

/// Where a thread under interception is. Commands refer to it from then on.
#[derive(Serialize)]
pub(crate) struct Standing {
    process: u32,
    thread: u32,
    pub(crate) name: String,
    state: &'static str,
    /// If it is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    rip: Option<String>,
    /// The instruction there, if it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<disassembly::Shown>,
}

impl Standing {
    /// Of the first thread of a process that is held, or the first at all; `None`: it is not under interception.
    pub(crate) fn of_first(session: &mut Session, process: u32) -> Result<Option<Self>, Error> {
        threads::first(session, process)?.map(|row| Self::new(session, &row)).transpose()
    }

    /// Of this thread.
    pub(crate) fn new(session: &mut Session, row: &Row) -> Result<Self, Error> {
        let held = row.state == state::HELD;
        session.refer_to(Some(Active { process: row.process, thread: row.thread }), held);
        let rip = if held { Some(threads::registers(session, row)?.rip) } else { None };
        let next = match rip {
            Some(rip) => threads::instruction_at(session, row.process, rip)?,
            None => None,
        };
        let Row { process, thread, .. } = *row;
        Ok(Self { process, thread, name: say::ascii(&row.name), state: threads::word(row.state), rip: rip.map(hex), next })
    }
}

impl Report for Standing {
    fn text(&self) -> String {
        let Self { process: _, thread, name: _, state, rip, next } = self;
        let mut lines = vec![match (rip, *state) {
            (Some(rip), state) => format!("thread {thread:x} is {state}: rip {:0>16}", rip.trim_start_matches("0x")),
            (None, "coming") => format!("thread {thread:x} is in the kernel, and held when it comes back to the program"),
            (None, state) => format!("thread {thread:x} {state}"),
        }];
        match next {
            Some(next) => lines.push(next.line()),
            None if rip.is_some() => lines.push("(the bytes there are not in memory yet)".to_owned()),
            None => {}
        }
        lines.join("\n")
    }
}

fn count(number: impl Into<u64>) -> String {
    match number.into() {
        0 => "0".to_owned(),
        number => format!("0x{number:x}"),
    }
}

fn list(session: &mut Session, process: u32) -> Result<Answer, Error> {
    let (rows, sums) = threads::rows(session, process)?;
    if rows.is_empty() && process != 0 {
        return Err(threads::refused(code::NOT_ATTACHED, 0, Active { process, thread: 0 }));
    }
    let active = session.active();
    let row = |row: &Row| Thread {
        active: active.is_some_and(|active| active.thread == row.thread),
        process: row.process,
        thread: row.thread,
        state: threads::word(row.state),
        stepped: row.stepped,
        holds: row.holds,
        held_ns: row.held,
        name: say::ascii(&row.name),
    };
    Ok(Answer::of(&List { threads: rows.iter().map(row).collect(), unplaced: sums.unplaced, missed: sums.missed }))
}

#[derive(Serialize)]
struct Thread {
    active: bool,
    process: u32,
    thread: u32,
    state: &'static str,
    stepped: u64,
    holds: u64,
    held_ns: u64,
    name: String,
}

#[derive(Serialize)]
struct List {
    threads: Vec<Thread>,
    unplaced: u32,
    missed: u32,
}

impl Report for List {
    fn text(&self) -> String {
        let Self { threads, unplaced, missed } = self;
        let width = threads.iter().map(|row| row.state.len()).max().unwrap_or(0).max(5);
        let mut rows =
            vec![["", "tid", &format!("{:<width$}", "state"), "stepped", "holds", "ms held"].map(str::to_owned).to_vec()];
        for Thread { active, process: _, thread, state, stepped, holds, held_ns, name: _ } in threads {
            let mark = if *active { "*" } else { "" };
            let state = format!("{state:<width$}");
            rows.push(vec![
                mark.to_owned(),
                format!("{thread:x}"),
                state,
                count(*stepped),
                count(*holds),
                count(held_ns / 1_000_000),
            ]);
        }
        let names: Vec<&str> = std::iter::once("name").chain(threads.iter().map(|row| row.name.as_str())).collect();
        named(&rows, &names, losses(*unplaced, *missed).as_deref())
    }
}

fn processes(session: &mut Session) -> Result<Answer, Error> {
    let (rows, sums) = threads::rows(session, 0)?;
    let mut processes: Vec<Process> = Vec::new();
    let active = session.active();
    for row in &rows {
        let at = match processes.iter().position(|process| process.process == row.process) {
            Some(at) => at,
            None => {
                let active = active.is_some_and(|active| active.process == row.process);
                processes.push(Process { active, process: row.process, name: say::ascii(&row.name), sums: Sums::default() });
                processes.len() - 1
            }
        };
        let Sums { coming, held, running, stepping, .. } = &mut processes[at].sums;
        *match row.state {
            state::COMING => coming,
            state::HELD => held,
            state::RUNS => running,
            _ => stepping,
        } += 1;
    }
    // It has ended since.
    if !processes.iter().any(|process| process.active) {
        session.refer_to(None, false);
    }
    Ok(Answer::of(&Processes { processes, unplaced: sums.unplaced, missed: sums.missed }))
}

#[derive(Serialize)]
struct Process {
    active: bool,
    process: u32,
    name: String,
    #[serde(flatten)]
    sums: Sums,
}

#[derive(Serialize)]
struct Processes {
    processes: Vec<Process>,
    unplaced: u32,
    missed: u32,
}

impl Report for Processes {
    fn text(&self) -> String {
        let Self { processes, unplaced, missed } = self;
        if processes.is_empty() {
            return "no process is under interception: .help .attach".to_owned();
        }
        let mut rows = vec![["", "pid", "threads", "held", "coming", "running"].map(str::to_owned).to_vec()];
        for Process { active, process, name: _, sums } in processes {
            let mark = if *active { "*" } else { "" };
            let running = sums.running + sums.stepping;
            let counts = [sums.all(), sums.held, sums.coming, running].map(count);
            rows.push([vec![mark.to_owned(), format!("{process:x}")], counts.to_vec()].concat());
        }
        let names: Vec<&str> = std::iter::once("name").chain(processes.iter().map(|row| row.name.as_str())).collect();
        named(&rows, &names, losses(*unplaced, *missed).as_deref())
    }
}
