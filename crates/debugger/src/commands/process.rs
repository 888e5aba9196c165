//! Shows the process that commands look at, lists all, or looks at another, without continuing.
//!
//!     .process|.process2
//!     .process list
//!     .process pid PID | process ADDRESS | core
//! The process in view is the one whose page tables addresses of programs are read with, unless `pid` names another: by db, u, eb, sb,
//! !pte, dt and their like, and by bp, !epthook and !monitor. It is what the selected core runs until another is chosen: by its number,
//! or by the ADDRESS of its task; all of them hex. Registers and the stack stay the core's (.thread shows those of a thread that
//! sleeps). `core` goes back, as all does that lets the core run. Processes are found in the kernel's own list, by its types; each row
//! has parent, threads, what the first thread does, and the address of its task. In VMI mode it is the prompt's own process at first,
//! and what a list says may have passed.
//! ```kd
//! 0: kHyperDbg> .process list
//! {any}
//! pid  ppid  threads     state              task  name
//! 0       0        1   running  ffffffff81c10000  swapper/0
//! 1       0        1  sleeping  ffff888100002000  init
//! 1c8     1        2   running  ffff888100000000  cat
//! 0: kHyperDbg> .process
//! pid 1c8 cat, task ffff888100000000, running, page tables 700000
//! 0: kHyperDbg> .process pid 1
//! in view: pid 1 init, task ffff888100002000, sleeping, page tables 701000
//! 0: kHyperDbg> db 400000 l 4
//! 0000000000400000  69 6e 69 74                                       init
//! 0: kHyperDbg> .process core
//! pid 1c8 cat, task ffff888100000000, running, page tables 700000
//! 0: kHyperDbg> .process pid 7
//! err, there is no process 0x7
//!      .process pid 7
//!                   ^
//!      try: .process list
//! ```

use crate::answer::{Answer, Report, hex, table};
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::expr::Arithmetic;
use crate::line::{Line, Word};
use crate::reader::Reader;
use crate::say;
use crate::session::Session;
use crate::view::{self, Shown, Which};
use serde::Serialize;
use std::collections::HashMap;
use symbols::tasks::End;

/// The command.
pub const COMMAND: Command = Command {
    names: &[".process", "process", ".process2", "process2"],
    takes: &[Takes::Words(&["list", "pid", "process", "core"])],
    run,
    cost: None,
};

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    match line.words() {
        [_] => show(session),
        [_, word] if is(word, "list") => list(session),
        [_, word] if is(word, "core") => {
            session.end_view();
            show(session)
        }
        [_, word, which] if is(word, "pid") || is(word, "process") => {
            let which_one = self::which(session, is(word, "pid"), which)?;
            let tasks = view::tasks(session)?;
            let task = view::process(session, &tasks, &which_one, &which.span)?;
            let view = view::of_process(session, &tasks, task)?;
            let shown = view.shown();
            session.view = Some(view);
            Ok(Answer::of(&InView { view: shown, at: None, is_in_view: true }))
        }
        _ => Err(commands::usage(line)),
    }
}

/// Whether a word is this one.
pub(crate) fn is(word: &Word, text: &str) -> bool {
    word.text.eq_ignore_ascii_case(text)
}

/// A number, or an address.
pub(crate) fn which(session: &mut Session, number: bool, word: &Word) -> Result<Which, Error> {
    if number {
        return Ok(Which::Number(commands::count(session, word)?));
    }
    commands::evaluate(session, &word.text, &word.span, Arithmetic::Wrapping).map(Which::At)
}

fn show(session: &mut Session) -> Result<Answer, Error> {
    if let Some(view) = &session.view {
        return Ok(Answer::of(&InView { view: view.shown(), at: None, is_in_view: true }));
    }
    let tasks = view::tasks(session)?;
    let task = view::current(session, &tasks)?;
    let view = view::of_process(session, &tasks, task)?.shown();
    Ok(Answer::of(&InView { view, at: None, is_in_view: false }))
}

fn list(session: &mut Session) -> Result<Answer, Error> {
    let tasks = view::tasks(session)?;
    let mut memory = Reader::new(session);
    let mut all = Vec::new();
    let end = tasks.processes(&mut memory, &mut |task, memory| {
        all.push((*task, tasks.count(task, memory)));
        true
    });
    let numbers: HashMap<u64, u32> = all.iter().map(|(task, _)| (task.address, task.pid)).collect();
    let mut processes = Vec::new();
    for (task, threads) in all {
        let parent = numbers.get(&task.parent).copied().or_else(|| tasks.parent(&task, &mut memory));
        processes.push(Process {
            pid: task.pid,
            ppid: parent.unwrap_or(0),
            threads: threads.unwrap_or(0),
            state: task.state,
            task: hex(task.address),
            name: say::ascii(&task.name),
        });
    }
    memory.end()?;
    Ok(Answer::of(&Processes { processes, broken: say::tasks::ended(end), whole: end == End::Whole }))
}

/// What is looked at.
#[derive(Serialize)]
pub(crate) struct InView {
    #[serde(flatten)]
    pub(crate) view: Shown,
    /// Where the thread goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<String>,
    /// It is not what the core runs.
    #[serde(rename = "in_view")]
    pub(crate) is_in_view: bool,
}

impl Report for InView {
    fn text(&self) -> String {
        let Self { view, at, is_in_view } = self;
        let front = if *is_in_view { "in view: " } else { "" };
        let at = at.as_ref().map_or_else(String::new, |at| format!("\n  at {at}"));
        format!("{front}{}{at}", view.text())
    }
}

#[derive(Serialize)]
struct Processes {
    processes: Vec<Process>,
    whole: bool,
    #[serde(skip)]
    broken: Option<String>,
}

#[derive(Serialize)]
struct Process {
    pid: u32,
    ppid: u32,
    threads: u32,
    state: &'static str,
    task: String,
    name: String,
}

impl Report for Processes {
    fn text(&self) -> String {
        let Self { processes, whole: _, broken } = self;
        let mut rows = vec![["pid", "ppid", "threads", "state", "task"].map(str::to_owned).to_vec()];
        let mut names = vec!["name"];
        for Process { pid, ppid, threads, state, task, name } in processes {
            let task = task.trim_start_matches("0x").to_owned();
            rows.push(vec![format!("{pid:x}"), format!("{ppid:x}"), format!("{threads:x}"), (*state).to_owned(), task]);
            names.push(name);
        }
        named(&rows, &names, broken.as_deref())
    }
}

/// A table whose rows end by a name, and what is said below it.
pub(crate) fn named(rows: &[Vec<String>], names: &[&str], below: Option<&str>) -> String {
    let table = table(rows);
    let rows = table.lines().zip(names).map(|(row, name)| format!("{row}  {name}").trim_end().to_owned());
    rows.chain(below.map(str::to_owned)).collect::<Vec<_>>().join("\n")
}
