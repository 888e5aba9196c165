//! Lists the events that are registered, and enables, disables or clears them.
//!
//!     events [e|d|c NUMBER|all]
//! The list has each event's number in hex, how often it fired (past its filters), how many runs of its script ended early,
//! how many of its messages were lost in root because nobody fetched them (those that its outputs lost stand below), and
//! what was typed. `e` (enable), `d` (disable) and `c` (clear) do it at once, halted
//! or not; a cleared event's units are free again.
//! ```kd
//! 0: kHyperDbg> events
//! there are no active or disabled events
//! 0: kHyperDbg> !cpuid 1 script { .hits = .hits + 1; }
//! event 0 registered: regular-event, program of 0x{hex} bytes
//! 0: kHyperDbg> !tsc
//! event 1 registered: regular-event
//! 0: kHyperDbg> events d 1
//! event 1 disabled
//! 0: kHyperDbg> events
//! event  state       hits  faults  lost  command
//! 0      (enabled)      0       0     0  !cpuid 1 script { .hits = .hits + 1; }
//! 1      (disabled)     0       0     0  !tsc
//! 0: kHyperDbg> events c all
//! 0x2 events cleared
//! 0: kHyperDbg> events d 5
//! err, there is no event 5 (c0000000)
//!      try: events
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{self, Command, Takes};
use crate::cost::Cost;
use crate::error::Error;
use crate::event as events;
use crate::line::{Line, Word};
use crate::program;
use crate::say;
use crate::session::Session;
use abi::code;
use abi::kind::Kind;
use abi::request::{self, EventAnswer, EventChange, EventRow, Number, event, op};
use serde::Serialize;
use zerocopy::IntoBytes;

/// The command.
pub const COMMAND: Command = Command {
    names: &["events", "event"],
    takes: &[Takes::Words(&["e", "d", "c", "enable", "disable", "clear"]), Takes::Words(&["all"])],
    run,
    cost: Some(cost),
};

/// What can be done: the words, the request, and what is said of it.
const CHANGES: [(&str, &str, u32, &str); 3] = [
    ("e", "enable", event::ENABLE, "enabled"),
    ("d", "disable", event::DISABLE, "disabled"),
    ("c", "clear", event::CLEAR, "cleared"),
];
/// Letters of a command in the list.
const COMMAND_LETTERS: usize = 70;

/// What is to be changed: the request, what is said of it, and which events; `None` stands for all.
type Asked<'l> = (u32, &'static str, Option<&'l Word>);

fn parse(line: &Line) -> Result<Option<Asked<'_>>, Error> {
    let (change, which) = match line.words() {
        [_] => return Ok(None),
        [_, change, which] => (change, which),
        _ => return Err(commands::usage(line)),
    };
    let is = |name: &str| name.eq_ignore_ascii_case(&change.text);
    let Some((_, _, what, done)) = CHANGES.iter().find(|(short, long, ..)| is(short) || is(long)) else {
        let words = CHANGES.iter().flat_map(|(short, long, ..)| [*short, *long]).collect::<Vec<_>>();
        return Err(commands::unknown_word(change, "words", &words));
    };
    let one = (!which.text.eq_ignore_ascii_case("all")).then_some(which);
    Ok(Some((*what, done, one)))
}

fn cost(_: &mut Session, line: &Line) -> Result<Cost, Error> {
    // What is cleared is free again, and a plan does not count on it.
    if let Some((_, _, Some(which))) = parse(line)? {
        commands::fixed_count(which)?;
    }
    Ok(Cost::Nothing)
}

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let Some((what, done, which)) = parse(line)? else { return list(session) };
    let id = match which {
        None => event::ALL,
        Some(which) => {
            let number = commands::count(session, which)?;
            // No event has such a number, and root is not asked for another one.
            let wide = EventAnswer { id: event::ALL, ..EventAnswer::default() };
            let id = u32::try_from(number).ok().filter(|id| *id != event::ALL);
            id.ok_or_else(|| events::refused(session, code::NO_SUCH_EVENT, wide))?
        }
    };
    let (code, body) = session.call(op::EVENT_CHANGE, EventChange { what, id }.as_bytes())?;
    if code != code::SUCCESS {
        return Err(events::refused(session, code, EventAnswer { id, ..EventAnswer::default() }));
    }
    let count = request::body::<Number>(&body).map_or(0, |number| number.value);
    if what == event::CLEAR {
        session.hear_all();
        session.book().clear(id);
    }
    Ok(Answer::of(&Changed { event: which.map(|_| id), done, count }))
}

fn list(session: &mut Session) -> Result<Answer, Error> {
    let mut rows = events::rows(session)?;
    let ids: Vec<u32> = rows.iter().map(|row| row.id).collect();
    let outputs = session.outputs().clone();
    let book = session.book();
    book.there_are(&ids);
    rows.retain(|row| !events::is_breakpoint(row));
    let shown = |row: &EventRow| {
        let EventRow { id, kind, enabled, unit, hits, faults, last_fault, lost } = *row;
        let known = book.events.get(&id).and_then(Option::as_ref);
        // Of machine code the words themselves say where.
        let is_code = [event::CONDITION_FAULT, event::CODE_FAULT].map(u64::from).contains(&(last_fault & 0xffff_ffff));
        let known_program = known.and_then(|known| known.program.as_ref()).filter(|_| !is_code);
        let place = known_program.and_then(|program| program.place(program::instruction(last_fault)));
        let place = place
            .map_or_else(String::new, |(file, line, column)| format!(" (at {}:{line}:{column})", file.unwrap_or("script")));
        Row {
            event: id,
            kind: events::word(kind),
            enabled: enabled != 0,
            by_breakpoint: enabled & event::WAITS != 0,
            unit: Kind::from_number(unit).map_or("unknown", Kind::word),
            hits,
            faults,
            last_fault: (faults > 0).then(|| format!("{}{place}", say::events::fault_words(last_fault, None))),
            lost,
            lost_by_outputs: outputs.lost(id),
            command: known.map(|known| known.text.clone()),
        }
    };
    let events = rows.iter().map(shown).collect();
    Ok(Answer::of(&List { events }))
}

/// One event.
#[derive(Serialize)]
struct Row {
    event: u32,
    kind: &'static str,
    enabled: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    by_breakpoint: bool,
    unit: &'static str,
    hits: u64,
    faults: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_fault: Option<String>,
    lost: u64,
    #[serde(skip_serializing_if = "is_zero")]
    lost_by_outputs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// All of them.
#[derive(Serialize)]
struct List {
    events: Vec<Row>,
}

impl Report for List {
    fn text(&self) -> String {
        let Self { events } = self;
        if events.is_empty() {
            return "there are no active or disabled events".to_owned();
        }
        let hex = |number: &u64| if *number == 0 { "0".to_owned() } else { format!("0x{number:x}") };
        let cells = |row: &Row| {
            let Row { event, enabled, hits, faults, lost, command, .. } = row;
            let state = if *enabled { "(enabled)" } else { "(disabled)" };
            let command = command.as_deref().map_or_else(|| "(registered elsewhere)".to_owned(), short);
            [format!("{event:x}"), state.to_owned(), hex(hits), hex(faults), hex(lost), command]
        };
        let head = ["event", "state", "hits", "faults", "lost", "command"].map(str::to_owned);
        let rows: Vec<[String; 6]> = std::iter::once(head).chain(events.iter().map(cells)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(width);
        let lines = rows.iter().map(|[event, state, hits, faults, lost, command]| {
            format!("{event:<a$}  {state:<b$}  {hits:>c$}  {faults:>d$}  {lost:>e$}  {command}")
        });
        let faults =
            events.iter().filter_map(|row| Some(format!("last fault of {:x}: {}", row.event, row.last_fault.as_ref()?)));
        let lost = events.iter().filter(|row| row.lost_by_outputs > 0);
        let lost = lost.map(|row| format!("lost by outputs of {:x}: 0x{:x}", row.event, row.lost_by_outputs));
        let waiting = events.iter().filter(|row| row.by_breakpoint);
        let waiting = waiting.map(|row| format!("{:x} fires by a breakpoint until Linux has run for a while", row.event));
        lines.chain(waiting).chain(faults).chain(lost).collect::<Vec<_>>().join("\n")
    }
}

/// A command on one line, cut if it is long.
fn short(command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(COMMAND_LETTERS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// What was done.
#[derive(Serialize)]
struct Changed {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<u32>,
    done: &'static str,
    count: u64,
}

impl Report for Changed {
    fn text(&self) -> String {
        let Self { event, done, count } = self;
        match (event, count) {
            (Some(event), _) => format!("event {event:x} {done}"),
            (None, 0) => "there are no active or disabled events".to_owned(),
            (None, 1) => format!("0x1 event {done}"),
            (None, count) => format!("0x{count:x} events {done}"),
        }
    }
}
