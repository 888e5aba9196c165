//! Lists the outputs, and makes, opens and closes them: where events speak instead of the screen.
//!
//!     output [create NAME file|tcp|unix|namedpipe ADDRESS | open NAME | close NAME]
//! ADDRESS is a path (in "quotes" if it has blanks), with tcp HOST:PORT. A file is appended to. What is a named pipe
//! elsewhere is a FIFO or a unix socket here: namedpipe takes either. An output is opened before an event can name it, by
//! the option `output {A, B}` of event commands, and can be opened again after it was closed or broke.
//!
//! An output gets the bytes that scripts print, in their order; with --json one object a message. A reader that is slow or
//! goes away holds up nobody: up to 1 MiB waits for it, what comes beyond is lost and counted, here and by `events`.
//! Outputs belong to this prompt; what events say while it is away comes to the screen of the one that fetches it.
//! ```kd
//! 0: kHyperDbg> output create trace file /dev/null
//! the output 'trace' is created
//! 0: kHyperDbg> !cpuid 1 output {trace} script { print($pid); }
//! err, the output 'trace' is not open
//!      !cpuid 1 output {trace} script { print($pid); }
//!                       ^~~~~
//!      try: output open trace
//! 0: kHyperDbg> output open trace
//! the output 'trace' is open
//! 0: kHyperDbg> !cpuid 1 output {trace} script { print($pid); }
//! event 0 registered: regular-event, program of 0x{hex} bytes
//! 0: kHyperDbg> output
//! output  kind  state  written  bytes  waiting  lost  events  address
//! trace   file  open         0      0        0     0  0       /dev/null
//! 0: kHyperDbg> output close trace
//! the output 'trace' is closed; what event 0 says is lost and counted until it is open again
//! 0: kHyperDbg> output create trace tcp 127.0.0.1:9000
//! err, there is an output 'trace' already
//!      output create trace tcp 127.0.0.1:9000
//!                    ^~~~~
//!      try: output
//! 0: kHyperDbg> output create other file /nowhere/other
//! the output 'other' is created
//! 0: kHyperDbg> output open other
//! err, the output cannot be opened: it does not exist
//!      output open other
//!                  ^~~~~
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{self, Command, Takes};
use crate::cost::Cost;
use crate::error::Error;
use crate::line::{Line, Word};
use crate::outputs::open::{is_host, within};
use crate::outputs::{Counts, Kind, Shown, Wrong};
use crate::say;
use crate::session::Session;
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command {
    names: &["output"],
    takes: &[Takes::Words(&["create", "open", "close"])],
    run,
    cost: Some(|_, _| Ok(Cost::Nothing)),
};

/// Letters of a name.
const NAME_LETTERS_MAX: usize = 32;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let is = |word: &Word, what: &str| word.text.eq_ignore_ascii_case(what);
    match line.words() {
        [_] => Ok(Answer::of(&list(session))),
        [_, what, name, kind, address] if is(what, "create") => create(session, name, kind, address),
        [_, what, name] if is(what, "open") => open(session, name),
        [_, what, name] if is(what, "close") => close(session, name),
        [_, what, ..] if !["create", "open", "close"].iter().any(|word| is(what, word)) => {
            Err(commands::unknown_word(what, "words", &["create", "open", "close"]))
        }
        _ => Err(commands::usage(line)),
    }
}

fn wrong(word: &Word, wrong: Wrong) -> Error {
    Error::Output { span: word.span.clone(), wrong }
}

fn create(session: &mut Session, name: &Word, kind: &Word, address: &Word) -> Result<Answer, Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.text.is_empty() || name.text.len() > NAME_LETTERS_MAX || !name.text.chars().all(plain) {
        return Err(wrong(name, Wrong::Name));
    }
    let found = Kind::ALL.iter().find(|(word, _)| word.eq_ignore_ascii_case(&kind.text));
    let (_, kind) = found.ok_or_else(|| commands::unknown_word(kind, "kinds", &Kind::ALL.map(|(word, _)| word)))?;
    if *kind == Kind::Tcp && !is_host(&address.text) {
        return Err(wrong(address, Wrong::NoHost));
    }
    session.outputs().create(&name.text, *kind, &address.text).map_err(|why| wrong(name, why))?;
    Ok(Answer::of(&Changed { output: name.text.clone(), done: "created", events: Vec::new() }))
}

fn open(session: &mut Session, name: &Word) -> Result<Answer, Error> {
    let outputs = session.outputs().clone();
    let (kind, address) = outputs.to_open(&name.text).map_err(|why| wrong(name, why))?;
    let opened = within(kind, &address, || session.is_cancelled()).ok_or(Error::Cancelled)?;
    let end = opened.map_err(|why| wrong(name, why))?;
    outputs.opened(&name.text, end, session.inbox()).map_err(|why| wrong(name, why))?;
    Ok(Answer::of(&Changed { output: name.text.clone(), done: "open", events: Vec::new() }))
}

fn close(session: &mut Session, name: &Word) -> Result<Answer, Error> {
    // What was said before is for it still.
    session.attend();
    let events = session.outputs().close(&name.text).map_err(|why| wrong(name, why))?;
    Ok(Answer::of(&Changed { output: name.text.clone(), done: "closed", events }))
}

fn list(session: &Session) -> List {
    let row = |shown: Shown| {
        let Shown { name, kind, address, state, why, counts, events } = shown;
        let Counts { messages, bytes, waiting, lost } = counts;
        Row {
            output: name,
            kind: kind.word(),
            address,
            state,
            why: why.map(say::outputs::reason),
            messages,
            bytes,
            waiting,
            lost,
            events,
        }
    };
    List { outputs: session.outputs().shown().into_iter().map(row).collect() }
}

/// One output.
#[derive(Serialize)]
struct Row {
    output: String,
    kind: &'static str,
    address: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    messages: u64,
    bytes: u64,
    waiting: u64,
    lost: u64,
    events: Vec<u32>,
}

/// All of them.
#[derive(Serialize)]
struct List {
    outputs: Vec<Row>,
}

impl Report for List {
    fn text(&self) -> String {
        let Self { outputs } = self;
        if outputs.is_empty() {
            return "there are no outputs".to_owned();
        }
        let hex = |number: &u64| if *number == 0 { "0".to_owned() } else { format!("0x{number:x}") };
        let cells = |row: &Row| {
            let Row { output, kind, address, state, why: _, messages, bytes, waiting, lost, events } = row;
            let events: Vec<String> = events.iter().map(|event| format!("{event:x}")).collect();
            let events = if events.is_empty() { "-".to_owned() } else { events.join(",") };
            let [messages, bytes, waiting, lost] = [messages, bytes, waiting, lost].map(hex);
            [output.clone(), (*kind).to_owned(), (*state).to_owned(), messages, bytes, waiting, lost, events, address.clone()]
        };
        let head = ["output", "kind", "state", "written", "bytes", "waiting", "lost", "events", "address"].map(str::to_owned);
        let rows: Vec<[String; 9]> = std::iter::once(head).chain(outputs.iter().map(cells)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let [a, b, c, d, e, f, g, h] = [0, 1, 2, 3, 4, 5, 6, 7].map(width);
        let lines = rows.iter().map(|[output, kind, state, written, bytes, waiting, lost, events, address]| {
            format!(
                "{output:<a$}  {kind:<b$}  {state:<c$}  {written:>d$}  {bytes:>e$}  {waiting:>f$}  {lost:>g$}  {events:<h$}  {address}"
            )
        });
        let why = outputs.iter().filter_map(|row| Some(format!("{} is broken: {}", row.output, row.why.as_ref()?)));
        lines.chain(why).collect::<Vec<_>>().join("\n")
    }
}

/// What was done.
#[derive(Serialize)]
struct Changed {
    output: String,
    done: &'static str,
    /// Those that speak to it still.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<u32>,
}

impl Report for Changed {
    fn text(&self) -> String {
        let Self { output, done, events } = self;
        let mut text = format!("the output '{output}' is {done}");
        if !events.is_empty() {
            let plural = if events.len() == 1 { "event" } else { "events" };
            let say = if events.len() == 1 { "says" } else { "say" };
            let names: Vec<String> = events.iter().map(|event| format!("{event:x}")).collect();
            text += &format!("; what {plural} {} {say} is lost and counted until it is open again", names.join(", "));
        }
        text
    }
}
