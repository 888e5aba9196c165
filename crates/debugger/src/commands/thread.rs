//! Shows the thread that commands look at, lists those of a process, or looks at one that sleeps.
//!
//!     .thread|.thread2
//!     .thread list [pid PID | process ADDRESS]
//!     .thread tid TID | thread ADDRESS | core
//! Of a thread that no core runs, `r` and the @ of expressions show the registers that its program had when it came into the kernel, `k`
//! shows the stack on which it sleeps there, and addresses are those of its process (see .process). Of a thread of the kernel's there is
//! no program: `r` shows what the kernel saved. Nothing of it can be set. A thread that runs on a core of a halted debuggee is looked at
//! there: that core is selected. `core` goes back, as all does that lets the core run. TID and ADDRESS are hex; the list is that of the
//! process in view unless said. `?`, `print` and scripts are always run by the core, with what that has.
//! ```kd
//! 0: kHyperDbg> .thread list
//! {any}
//! tid     state              task  name
//! 1c8   running  ffff888100000000  cat
//! 1c9  sleeping  ffff888100001000  cat-reads
//! 0: kHyperDbg> .thread
//! tid 1c8 of pid 1c8 cat, task ffff888100000000, running, page tables 700000
//! 0: kHyperDbg> .thread tid 1c9
//! in view: tid 1c9 of pid 1c8 cat-reads, task ffff888100001000, sleeping, page tables 700000
//!   at do_syscall_64+0x20
//! 0: kHyperDbg> r rip
//! rip=0000000000400010
//! 0: kHyperDbg> k l 1
//! 0  {hex}  do_syscall_64+0x20
//! 0: kHyperDbg> .thread core
//! tid 1c8 of pid 1c8 cat, task ffff888100000000, running, page tables 700000
//! 0: kHyperDbg> .thread tid 77
//! err, there is no thread 0x77
//!      .thread tid 77
//!                  ^~
//!      try: .thread list
//! ```

use super::process::{InView, is, named, which};
use crate::answer::{Answer, Report, hex};
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::line::{Line, Word};
use crate::reader::Reader;
use crate::say;
use crate::session::Session;
use crate::stop::{By, Stop};
use crate::view::{self, View};
use abi::request::{Halted, Number, op};
use serde::Serialize;
use symbols::tasks::End;
use zerocopy::IntoBytes;

/// The command.
pub const COMMAND: Command = Command {
    names: &[".thread", "thread", ".thread2", "thread2"],
    takes: &[Takes::Words(&["list", "tid", "thread", "core"]), Takes::After(&[("list", &["pid", "process"])])],
    run,
    cost: None,
};

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    match line.words() {
        [_] => show(session),
        [_, word] if is(word, "list") => list(session, None),
        [_, word, by, of] if is(word, "list") && (is(by, "pid") || is(by, "process")) => {
            list(session, Some((is(by, "pid"), of)))
        }
        [_, word] if is(word, "core") => {
            session.end_view();
            show(session)
        }
        [_, word, which] if is(word, "tid") || is(word, "thread") => switch(session, is(word, "tid"), which),
        _ => Err(commands::usage(line)),
    }
}

fn switch(session: &mut Session, number: bool, word: &Word) -> Result<Answer, Error> {
    let which = which(session, number, word)?;
    let tasks = view::tasks(session)?;
    let task = view::thread(session, &tasks, &which, &word.span)?;
    if let Some(core) = view::core_of(session, &task)? {
        let halted: Halted = session.ask(op::CORE_SELECT, Number { value: core.into() }.as_bytes())?;
        session.selected(halted.core);
        return Ok(Answer::of(&Stop::new(session, &halted, By::Running)));
    }
    let view = view::of_thread(session, &tasks, task)?;
    let shown = in_view(session, &view);
    session.view = Some(view);
    Ok(Answer::of(&shown))
}

fn in_view(session: &Session, view: &View) -> InView {
    let at = view.thread.as_ref().map(|saved| session.place(saved.place.ip).unwrap_or_else(|| format!("{:x}", saved.place.ip)));
    InView { view: view.shown(), at, is_in_view: true }
}

fn show(session: &mut Session) -> Result<Answer, Error> {
    if let Some(view) = session.view.clone().filter(|view| view.thread.is_some()) {
        return Ok(Answer::of(&in_view(session, &view)));
    }
    let tasks = view::tasks(session)?;
    let task = view::current(session, &tasks)?;
    let view = view::of_process(session, &tasks, task)?.shown().of_thread(task.tid);
    Ok(Answer::of(&InView { view, at: None, is_in_view: false }))
}

fn list(session: &mut Session, of: Option<(bool, &Word)>) -> Result<Answer, Error> {
    let tasks = view::tasks(session)?;
    let process = match (of, &session.view) {
        (Some((number, word)), _) => {
            let which = which(session, number, word)?;
            view::process(session, &tasks, &which, &word.span)?
        }
        (None, Some(view)) => view.task,
        (None, None) => view::current(session, &tasks)?,
    };
    let mut memory = Reader::new(session);
    let mut threads = Vec::new();
    let end = tasks.threads(&process, &mut memory, &mut |task, _| {
        threads.push(Row { tid: task.tid, state: task.state, task: hex(task.address), name: say::ascii(&task.name) });
        true
    });
    memory.end()?;
    Ok(Answer::of(&Threads { pid: process.pid, threads, broken: say::tasks::ended(end), whole: end == End::Whole }))
}

#[derive(Serialize)]
struct Threads {
    pid: u32,
    threads: Vec<Row>,
    whole: bool,
    #[serde(skip)]
    broken: Option<String>,
}

#[derive(Serialize)]
struct Row {
    tid: u32,
    state: &'static str,
    task: String,
    name: String,
}

impl Report for Threads {
    fn text(&self) -> String {
        let Self { pid: _, threads, whole: _, broken } = self;
        let mut rows = vec![["tid", "state", "task"].map(str::to_owned).to_vec()];
        let mut names = vec!["name"];
        for Row { tid, state, task, name } in threads {
            rows.push(vec![format!("{tid:x}"), (*state).to_owned(), task.trim_start_matches("0x").to_owned()]);
            names.push(name);
        }
        named(&rows, &names, broken.as_deref())
    }
}
