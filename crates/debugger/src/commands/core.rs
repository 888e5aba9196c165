//! Shows the cores, or selects the one that commands refer to.
//!
//!     ~ [CORE]
//! CORE is in hex. Selecting needs a halted debuggee. Each halted core is shown with what it runs.
//! ```kd
//! 0: kHyperDbg> ~
//!    core   state               rip  exits  pid  tid  name
//! *     0  halted  {hex}    100  1c8  1c8  cat
//!       1  halted  {hex}    100    0    0  swapper/1
//! 0: kHyperDbg> ~ 1
//! halted on core 1: core selected, pid 0 tid 0 swapper/1, cpl 0
//! ffffffff81000000  f4                            hlt
//! 1: kHyperDbg> ~ 7
//! err, there is no such core (c0000006)
//!      try: ~
//! ```

use super::process::named;
use crate::answer::{Answer, Report, hex};
use crate::commands::{self, Command};
use crate::error::Error;
use crate::line::Line;
use crate::session::Session;
use crate::stop::{By, Running, Stop};
use crate::view::{self, View};
use abi::request::{CoreState, Cores, Halted, Number, op};
use serde::Serialize;
use zerocopy::IntoBytes;

/// The command.
pub const COMMAND: Command = Command { names: &["~", "core"], takes: &[], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    match line.words() {
        [_] => {
            let cores = session.ask::<Cores>(op::CORES, &[])?;
            Ok(Answer::of(&Shown::new(session, &cores)))
        }
        [_, core] => {
            let value = commands::count(session, core)?;
            let halted: Halted = session.ask(op::CORE_SELECT, Number { value }.as_bytes())?;
            session.selected(halted.core);
            Ok(Answer::of(&Stop::new(session, &halted, By::Running)))
        }
        _ => Err(commands::usage(line)),
    }
}

#[derive(Serialize)]
struct Shown {
    /// All of them; `cores` may show fewer.
    count: u32,
    selected: u32,
    cores: Vec<Core>,
    /// What commands look at, if it is not what the selected one runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    view: Option<view::Shown>,
}

#[derive(Serialize)]
struct Core {
    core: u32,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rip: Option<String>,
    exits: u64,
    /// The name of the place.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    /// What it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<Running>,
}

impl Shown {
    fn new(session: &Session, all: &Cores) -> Self {
        let Cores { count, selected, cores } = all;
        let shown = usize::try_from(*count).unwrap_or(usize::MAX).min(cores.len());
        let core = |CoreState { core, state, rip, exits, running }: &CoreState| {
            let state_word = match state {
                0 => "running",
                1 => "halted",
                _ => "not under root",
            };
            let place = if *state == 1 { session.place(*rip) } else { None };
            let running = Running::of(running).filter(|_| *state == 1);
            Core { core: *core, state: state_word, rip: (*state == 1).then(|| hex(*rip)), exits: *exits, place, running }
        };
        Self {
            count: *count,
            selected: *selected,
            cores: cores[..shown].iter().map(core).collect(),
            view: session.view.as_ref().map(View::shown),
        }
    }
}

impl Report for Shown {
    fn text(&self) -> String {
        let Self { count, selected, cores, view } = self;
        let mut rows = vec![["", "core", "state", "rip", "exits", "pid", "tid"].map(str::to_owned).to_vec()];
        let mut names = vec!["name".to_owned()];
        for Core { core, state, rip, exits, place, running } in cores {
            let mark = if core == selected { "*" } else { "" };
            let rip = rip.as_deref().map_or("-", |rip| rip.trim_start_matches("0x"));
            let mut row = vec![mark.to_owned(), format!("{core:x}"), (*state).to_owned(), rip.to_owned(), format!("{exits:x}")];
            row.extend(running.iter().flat_map(Running::numbers));
            rows.push(row);
            let name = running.iter().map(Running::name).chain(place.as_deref());
            names.push(name.collect::<Vec<_>>().join("  "));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut table = named(&rows, &names, None);
        let missing = usize::try_from(*count).unwrap_or(usize::MAX).saturating_sub(cores.len());
        if missing > 0 {
            table += &format!("\nand 0x{missing:x} more");
        }
        if let Some(view) = view {
            table += &format!("\nin view: {}", view.text());
        }
        table
    }
}
