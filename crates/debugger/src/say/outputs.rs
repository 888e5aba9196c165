//! What cannot be done with outputs, in words.
//!
//! **Holds always**: a line that is offered works, unless the world has changed.

use super::{Said, io};
use crate::line::Line;
use crate::nearest;
use crate::outputs::Wrong;
use std::io::ErrorKind;
use std::ops::Range;

/// What is wrong, at a place of the line.
pub(super) fn wrong(span: &Range<usize>, wrong: &Wrong, typed: &Line) -> Said {
    let word = typed.text().get(span.clone()).unwrap_or("");
    let said = |message: String| Said::new("output", message).at(span);
    let list = |said: Said| said.try_line("output");
    match wrong {
        Wrong::Unknown(names) => {
            let said = said(format!("there is no output '{word}'"));
            match nearest::of(word, names.iter().map(String::as_str)) {
                Some(near) => said.try_line(typed.with(span, near)),
                None if names.is_empty() => said.help("output create NAME file|tcp|unix|namedpipe ADDRESS makes one"),
                None => said.help(format!("outputs: {}", names.join(", "))).try_line("output"),
            }
        }
        Wrong::Taken => list(said(format!("there is an output '{word}' already"))),
        Wrong::NotOpen(name) => said(format!("the output '{name}' is not open")).try_line(format!("output open {name}")),
        Wrong::IsOpen => list(said(format!("the output '{word}' is open already"))),
        Wrong::Name => said("a name has letters, digits, '-' and '_', 32 of them at most".to_owned()),
        Wrong::NoHost => said(format!("'{word}' is no HOST:PORT")).try_line(typed.with(span, "127.0.0.1:9000")),
        Wrong::TooMany(most) => said(format!("an event speaks to {most} outputs at most")),
        Wrong::Full(most) => list(said(format!("there are {most} outputs at most, and all of them exist"))),
        Wrong::Twice => said(format!("'{word}' stands there twice")),
        Wrong::NoBraces => said("outputs stand in braces".to_owned()).try_line(typed.with(span, &format!("{{{word}}}"))),
        Wrong::Gathers => {
            said("what is gathered in root (imm no) cannot go to outputs".to_owned()).try_line(typed.with(span, "yes"))
        }
        Wrong::Cannot(why) => said(format!("the output cannot be opened: {}", reason(*why))),
        Wrong::NotAPipe => said("what is there is no FIFO and no socket".to_owned())
            .help("mkfifo in a shell makes one; file ADDRESS writes to a file"),
        Wrong::NoReader => {
            said("nobody has the FIFO open to read".to_owned()).help("begin to read from it first, such as by cat")
        }
        Wrong::Silent(seconds) => said(format!("the other end did not answer within {seconds} s")),
    }
}

/// An output that cannot be written any more.
pub(super) fn broke(name: &str, why: ErrorKind) -> String {
    format!("the output '{name}' is broken: {}; what is said to it is lost and counted until: output open {name}", reason(why))
}

/// What waited too long for its reader when the program ended.
pub(crate) fn lost_at_the_end(name: &str, lost: u64) -> String {
    let are = if lost == 1 { "message was" } else { "messages were" };
    format!("0x{lost:x} {are} lost: the reader of the output '{name}' did not take them in time")
}

/// Why.
pub(crate) fn reason(why: ErrorKind) -> String {
    match why {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => "its reader has gone".to_owned(),
        ErrorKind::IsADirectory => "it is a directory".to_owned(),
        ErrorKind::StorageFull => "the disk is full".to_owned(),
        why => io(why),
    }
}
