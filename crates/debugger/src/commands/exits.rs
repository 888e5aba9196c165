//! Shows how often each core left the guest for root, by reason.
//!
//!     exits [core CORE]
//! ```kd
//! 0: kHyperDbg> exits
//! reason  core 0  core 1  all
//! msr         22      22   44
//! cpuid        c       c   18
//! 0: kHyperDbg> exits core 9
//! err, there is no such core (c0000006)
//!      try: ~
//! ```

use crate::answer::{Answer, Report, table};
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::line::Line;
use crate::say;
use crate::session::Session;
use abi::request::{CORES_SHOWN_MAX, Cores, ExitRow, Exits, Number, op};
use serde::Serialize;
use std::collections::BTreeMap;
use zerocopy::IntoBytes;

/// The command.
pub const COMMAND: Command = Command { names: &["exits"], takes: &[Takes::Words(&["core"])], run, cost: None };

/// [`abi::request::CoreState::state`] of a core that is offline: it has no exits to count.
const NOT_UNDER_ROOT: u32 = 2;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let one = match line.words() {
        [_] => None,
        [_, word, core] if word.text.eq_ignore_ascii_case("core") => Some(commands::count(session, core)?),
        [_, word, _] => return Err(commands::unknown_word(word, "words", &["core"])),
        _ => return Err(commands::usage(line)),
    };
    let (cores, not_shown) = match one {
        Some(core) => (vec![core], 0),
        None => under_root(session)?,
    };
    let mut shown = Shown { cores: Vec::new(), not_shown };
    for value in cores {
        let exits: Exits = session.ask(op::EXITS, Number { value }.as_bytes())?;
        shown.cores.push(Core::new(&exits));
    }
    Ok(Answer::of(&shown))
}

/// Numbers of the cores under root, as many as one answer names, and how many more there are. The numbers have gaps where
/// a core is offline, so they cannot be had by counting; and how many there are is only what the other side says.
fn under_root(session: &mut Session) -> Result<(Vec<u64>, usize), Error> {
    let Cores { count, selected: _, cores } = session.ask(op::CORES, &[])?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let named = cores[..count.min(CORES_SHOWN_MAX)].iter();
    let inside = named.filter(|core| core.state != NOT_UNDER_ROOT).map(|core| core.core.into()).collect();
    Ok((inside, count.saturating_sub(CORES_SHOWN_MAX)))
}

#[derive(Serialize)]
struct Shown {
    cores: Vec<Core>,
    /// Cores that one answer of root's has no room to name; [`COMMAND`] with a number shows them.
    not_shown: usize,
}

#[derive(Serialize)]
struct Core {
    core: u32,
    reasons: BTreeMap<String, u64>,
    /// Exits of reasons that found no row.
    other: u64,
}

impl Core {
    fn new(exits: &Exits) -> Self {
        let Exits { core, count, other, rows } = exits;
        let valid = usize::try_from(*count).unwrap_or(usize::MAX).min(rows.len());
        let reasons = rows[..valid].iter().map(|ExitRow { name, count }| (say::ascii(name), *count)).collect();
        Self { core: *core, reasons, other: *other }
    }
}

impl Report for Shown {
    fn text(&self) -> String {
        let Self { cores, not_shown } = self;
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for Core { core: _, reasons, other } in cores {
            let other = (*other > 0).then_some(("(other)", *other));
            for (name, count) in reasons.iter().map(|(name, count)| (name.as_str(), *count)).chain(other) {
                let sum = sums.entry(name).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        // What never happened is in the JSON; here it would only be in the way.
        let mut sums: Vec<(&str, u64)> = sums.into_iter().filter(|(_, sum)| *sum > 0).collect();
        sums.sort_by_key(|(name, sum)| (std::cmp::Reverse(*sum), *name));
        let heads = cores.iter().map(|core| format!("core {:x}", core.core));
        let mut rows: Vec<Vec<String>> =
            vec![std::iter::once("reason".to_owned()).chain(heads).chain(["all".to_owned()]).collect()];
        for (name, sum) in sums {
            let of = |core: &Core| if name == "(other)" { core.other } else { core.reasons.get(name).copied().unwrap_or(0) };
            let counts = cores.iter().map(|core| format!("{:x}", of(core)));
            rows.push(std::iter::once(name.to_owned()).chain(counts).chain([format!("{sum:x}")]).collect());
        }
        let table = table(&rows);
        if *not_shown == 0 { table } else { format!("{table}\nand 0x{not_shown:x} more cores: `exits core CORE`") }
    }
}
