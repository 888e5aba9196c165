//! What a command answers: one typed report, shown as text and as JSON.
//!
//! With `--json` each command prints one object on one line, and so does each piece of news:
//! ```json
//! {"command":"prealloc monitor 10","ok":true,"notes":["…"],"result":{"type":"monitor","asked":16,…}}
//! {"command":"prealloc monitor zz","ok":false,"error":{"code":"number","message":"…","column":17,"try":"prealloc monitor 10"}}
//! {"command":"pause","typed":false,"ok":true,"result":{"core":0,"reason":"pause",…}}
//! {"command":"prealloc --watch","ok":true,"more":true,"result":{…}}
//! {"notice":"goodbye","message":"the debuggee is rebooting; waiting for it"}
//! {"notice":"halted","message":"…","result":{"core":0,"reason":"breakpoint",…}}
//! {"message":"1c8 bash","core":1,"event":3}
//! ```
//! One `message` is what one `printf` or `print` said, without its last end of line; outputs get the same objects.
//!
//! `error.code` is root's code in hex (`c0001011`) or a word for what the prompt refuses; `column` counts characters from
//! 0 (with line ends, where braces go over several lines), `place` is one in a file of a script, and `more` has what else is
//! wrong with it; they, `help` and `try` are left out where there are none. `typed` is there, and false, only for what the program did by itself:
//! the halt of `--pause` and of CTRL+C, the line that `--script` stands for. `more` is there, and true, if further answers to
//! the same line follow. Counts are JSON numbers, addresses and register values are
//! strings in hex with `0x`. The schema is `schema/answer.json`; `tests/json.rs` checks every command against it.

use crate::line::Line;
use crate::say::Said;
use serde::Serialize;
use serde_json::{Value, json};

/// A report of one command: its serialization is the JSON, its text is for people. Both destructure or derive from the
/// same fields.
pub trait Report: Serialize {
    /// Lines for people, without the last line's end; empty if there is nothing to say.
    fn text(&self) -> String;

    /// Whether its lines are lists or prose, which may be broken at words to fit the screen.
    fn wraps(&self) -> bool {
        false
    }
}

/// What a command answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// For people.
    pub text: String,
    /// Whether that may be broken at words.
    pub wraps: bool,
    /// For programs.
    pub result: Value,
    /// Whether the program ends now.
    pub exit: bool,
    /// Whether what was found counts as a failure to who runs commands one after the other: it was done nevertheless.
    pub fails: bool,
}

impl Answer {
    /// Of a report.
    #[must_use]
    pub fn of(report: &impl Report) -> Self {
        // Reports have string keys and no maps of their own, so there is nothing that JSON could not carry.
        let result = serde_json::to_value(report).unwrap_or(Value::Null);
        Self { text: report.text(), wraps: report.wraps(), result, exit: false, fails: false }
    }
}

/// An address or a register's value in JSON.
pub(crate) fn hex(value: u64) -> String {
    format!("0x{value:x}")
}

/// Who made a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Somebody typed it, here or in a script.
    Hand,
    /// The program, for an option or a key.
    Itself,
}

/// The line of a command that was done.
pub(crate) fn json_ok(line: &Line, by: By, notes: &[String], answer: &Answer) -> String {
    let mut object = json!({ "command": line.text().trim(), "ok": true, "result": answer.result });
    add_rest(&mut object, by, notes);
    object.to_string()
}

/// A line of a command that goes on.
pub(crate) fn json_more(line: &Line, notes: &[String], answer: &Answer) -> String {
    let mut object = json!({ "command": line.text().trim(), "ok": true, "more": true, "result": answer.result });
    add_rest(&mut object, By::Hand, notes);
    object.to_string()
}

/// The line of a command that was not done.
pub(crate) fn json_error(line: &Line, by: By, notes: &[String], said: &Said) -> String {
    let error = error_object(line, said);
    let mut object = json!({ "command": line.text().trim(), "ok": false, "error": error });
    add_rest(&mut object, by, notes);
    object.to_string()
}

fn error_object(line: &Line, said: &Said) -> Value {
    let Said { code, message, span, place, help, more, try_line } = said;
    let mut error = json!({ "code": code, "message": message });
    if let Some(span) = span {
        error["column"] = json!(line.column(span.start));
    }
    if let Some(place) = place {
        error["place"] = json!(format!("{}:{}:{}", place.file, place.line, place.column));
    }
    if !help.is_empty() {
        error["help"] = json!(help);
    }
    if !more.is_empty() {
        error["more"] = more.iter().map(|said| error_object(line, said)).collect();
    }
    if let Some(line) = try_line {
        error["try"] = json!(line);
    }
    error
}

/// What an event said, or an evaluation.
pub(crate) fn json_message(event: Option<u32>, core: u16, text: &str) -> String {
    let mut object = json!({ "message": text, "core": core });
    if let Some(event) = event {
        object["event"] = json!(event);
    }
    object.to_string()
}

/// The line of a piece of news.
pub(crate) fn json_notice(word: &str, message: &str) -> String {
    json!({ "notice": word, "message": message }).to_string()
}

/// The same of a halt, with its fields.
pub(crate) fn json_halted(stop: &Answer) -> String {
    json!({ "notice": "halted", "message": stop.text, "result": stop.result }).to_string()
}

fn add_rest(object: &mut Value, by: By, notes: &[String]) {
    if by == By::Itself {
        object["typed"] = json!(false);
    }
    if !notes.is_empty() {
        object["notes"] = json!(notes);
    }
}

/// Rows with aligned columns: the first to the left, the others to the right.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    marked_table(rows, &|_, _| false)
}

/// What makes text stand out on a terminal with colours.
pub(crate) fn marked(text: &str) -> String {
    format!("\x1b[1;33m{text}\x1b[0m")
}

/// As [`table`]; cells of which `is_marked` (by row and column) is true stand out.
pub(crate) fn marked_table(rows: &[Vec<String>], is_marked: &dyn Fn(usize, usize) -> bool) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |(number, row): (usize, &Vec<String>)| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(i, (cell, w))| {
            let padded = if i == 0 { format!("{cell:<w$}") } else { format!("{cell:>w$}") };
            if is_marked(number, i) { padded.replace(cell.as_str(), &marked(cell)) } else { padded }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}
