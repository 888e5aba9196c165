//! Lists breakpoints (bl), and clears (bc), disables (bd) or enables (be) them.
//!
//!     bl
//!     bc|bd|be NUMBER|all
//! The list has each breakpoint's number in hex, how often it halted the machine, and what was typed. A breakpoint that is cleared gives
//! its unit back at once.
//! ```kd
//! 0: kHyperDbg> bl
//! there are no breakpoints
//! 0: kHyperDbg> bp ffffffff81000004
//! breakpoint 0 set at ffffffff81000004
//! 0: kHyperDbg> bd 0
//! breakpoint 0 disabled
//! 0: kHyperDbg> bl
//! breakpoint  state       hits  command
//! 0           (disabled)     0  bp ffffffff81000004
//! 0: kHyperDbg> bc all
//! 0x1 breakpoint cleared
//! 0: kHyperDbg> bc 5
//! err, there is no breakpoint 5 (c0000000)
//!      try: bl
//! ```

use crate::answer::{Answer, Report, table};
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::event as events;
use crate::line::Line;
use crate::session::Session;
use abi::code;
use abi::request::{self, EventChange, EventRow, Number, event, op};
use serde::Serialize;
use zerocopy::IntoBytes;

/// The command.
pub const COMMAND: Command = Command { names: &["bl", "bc", "bd", "be"], takes: &[Takes::Words(&["all"])], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let name = line.name().to_ascii_lowercase();
    let (what, done) = match (name.as_str(), line.words()) {
        ("bl", [_]) => return list(session),
        ("bc", [_, _]) => (event::CLEAR, "cleared"),
        ("bd", [_, _]) => (event::DISABLE, "disabled"),
        ("be", [_, _]) => (event::ENABLE, "enabled"),
        _ => return Err(commands::usage(line)),
    };
    let id = match line.words() {
        [_, which] if !which.text.eq_ignore_ascii_case("all") => {
            let number = commands::count(session, which)?;
            let there = of(session)?.into_iter().find(|row| u64::from(row.id) == number);
            there.ok_or(Error::NoBreakpoint(number))?.id
        }
        _ => event::ALL_BREAKPOINTS,
    };
    let (code, body) = session.call(op::EVENT_CHANGE, EventChange { what, id }.as_bytes())?;
    match code {
        code::SUCCESS => {}
        code::NO_SUCH_EVENT => return Err(Error::NoBreakpoint(id.into())),
        code => return Err(session.refused(code)),
    }
    let count = request::body::<Number>(&body).map_or(0, |number| number.value);
    if what == event::CLEAR {
        session.book().clear(id);
    }
    Ok(Answer::of(&Changed { breakpoint: (id != event::ALL_BREAKPOINTS).then_some(id), done, count }))
}

/// The breakpoints there are.
fn of(session: &mut Session) -> Result<Vec<EventRow>, Error> {
    Ok(events::rows(session)?.into_iter().filter(events::is_breakpoint).collect())
}

fn list(session: &mut Session) -> Result<Answer, Error> {
    let rows = of(session)?;
    let book = session.book();
    let row = |row: &EventRow| {
        let known = book.events.get(&row.id).and_then(Option::as_ref);
        let command = known.map(|known| known.text.clone());
        Row { breakpoint: row.id, enabled: row.enabled != 0, hits: row.hits, command }
    };
    Ok(Answer::of(&List { breakpoints: rows.iter().map(row).collect() }))
}

/// One of them.
#[derive(Serialize)]
struct Row {
    breakpoint: u32,
    enabled: bool,
    hits: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
}

/// All of them.
#[derive(Serialize)]
struct List {
    breakpoints: Vec<Row>,
}

impl Report for List {
    fn text(&self) -> String {
        let Self { breakpoints } = self;
        if breakpoints.is_empty() {
            return "there are no breakpoints".to_owned();
        }
        let width = breakpoints.iter().map(|row| if row.enabled { 9 } else { 10 }).max().unwrap_or(0);
        let mut rows = vec![["breakpoint".to_owned(), format!("{:<width$}", "state"), "hits".to_owned()].to_vec()];
        for Row { breakpoint, enabled, hits, command: _ } in breakpoints {
            let state = if *enabled { "(enabled)" } else { "(disabled)" };
            let hits = if *hits == 0 { "0".to_owned() } else { format!("0x{hits:x}") };
            rows.push(vec![format!("{breakpoint:x}"), format!("{state:<width$}"), hits]);
        }
        let commands =
            std::iter::once("command").chain(breakpoints.iter().map(|row| row.command.as_deref().unwrap_or("(set elsewhere)")));
        let lines = table(&rows);
        lines.lines().zip(commands).map(|(line, command)| format!("{line}  {command}")).collect::<Vec<_>>().join("\n")
    }
}

/// What was done.
#[derive(Serialize)]
struct Changed {
    #[serde(skip_serializing_if = "Option::is_none")]
    breakpoint: Option<u32>,
    done: &'static str,
    count: u64,
}

impl Report for Changed {
    fn text(&self) -> String {
        let Self { breakpoint, done, count } = self;
        match (breakpoint, count) {
            (Some(breakpoint), _) => format!("breakpoint {breakpoint:x} {done}"),
            (None, 0) => "there are no breakpoints".to_owned(),
            (None, 1) => format!("0x1 breakpoint {done}"),
            (None, count) => format!("0x{count:x} breakpoints {done}"),
        }
    }
}
