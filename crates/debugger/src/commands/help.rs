//! Shows what commands there are, or the manual of one.
//!
//!     .help [COMMAND]
//! ```kd
//! HyperDbg> .help sleep
//! sleep : Waits, for scripts.
//!
//! syntax : sleep MILLISECONDS
//! {any}
//! HyperDbg> .help puase
//! err, couldn't resolve error at 'puase'
//!      .help puase
//!            ^~~~~
//!      commands: {any}
//!      try: .help pause
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::line::Line;
use crate::manual;
use crate::session::Session;
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command { names: &[".help", ".hh", "help", "!help"], takes: &[Takes::Command], run, cost: None };

fn run(_: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    match line.words() {
        [_] => Ok(Answer::of(&List { commands: commands::all().map(|(command, text)| Item::new(command, &text)).collect() })),
        [_, name] => {
            let found = commands::find(&name.text).zip(commands::manual_of(&name.text));
            let (command, text) = found.ok_or_else(|| {
                let names: Vec<&'static str> = commands::names().collect();
                commands::unknown_word(name, "commands", &names)
            })?;
            let syntax = manual::syntax(&text);
            Ok(Answer::of(&Manual { names: command.names, syntax, manual: manual::shown(command.names, &text) }))
        }
        _ => Err(commands::usage(line)),
    }
}

#[derive(Serialize)]
struct List {
    commands: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    names: &'static [&'static str],
    about: String,
}

impl Item {
    fn new(command: &Command, text: &str) -> Self {
        Self { names: command.names, about: manual::heading(text).to_owned() }
    }
}

impl Report for List {
    fn text(&self) -> String {
        let width = self.commands.iter().map(|Item { names, .. }| names[0].len()).max().unwrap_or(0);
        let line = |Item { names, about }: &Item| {
            let others = if names.len() > 1 { format!(" (also {})", names[1..].join(", ")) } else { String::new() };
            format!("  {:<width$}  {about}{others}", names[0])
        };
        let lines: Vec<String> = self.commands.iter().map(line).collect();
        format!("{}\n\n`.help COMMAND` shows one with its examples", lines.join("\n"))
    }

    fn wraps(&self) -> bool {
        true
    }
}

#[derive(Serialize)]
struct Manual {
    names: &'static [&'static str],
    syntax: Vec<String>,
    manual: String,
}

impl Report for Manual {
    fn text(&self) -> String {
        let Self { names: _, syntax: _, manual } = self;
        manual.clone()
    }

    fn wraps(&self) -> bool {
        true
    }
}
