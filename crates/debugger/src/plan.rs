//! `prealloc plan`: what a file of commands takes of the reserve, told without running any.
//!
//! Each line's [`Cost`] is applied, in the order in which they would run, to a count of free units by type that may fall below
//! zero; its lowest point is what is missing. `prealloc release TYPE` without a count takes all that is free whatever was added
//! before, so what is missing after it can only be added behind it.
//!
//! **Holds always**
//! - L1: the lines offered suffice: refills by themselves are not counted on, and of what is given back no more than the levels
//!   leave there. (`tests/plan.rs` runs them, then the file.)
//! - L2: sums are exact; what does not fit 64 bits is an error.
//! - L3: it ends: scripts inside scripts have their depth, and all lines together a number.

use crate::answer::{Answer, Report, table};
use crate::commands;
use crate::cost::Cost;
use crate::error::Error;
use crate::foreign;
use crate::ledger::Shown;
use crate::line::{self, Line};
use crate::say;
use crate::session::{SCRIPT_DEPTH_MAX, Session};
use abi::kind::Kind;
use abi::request::owner;
use serde::Serialize;
use std::fs;

/// Lines that are read, all files together: a file can run another a thousand times, and that one a third.
const LINES_MAX: usize = 100_000;
/// Bytes of a page.
const PAGE_BYTES: u128 = 4096;

/// Makes the plan of a file.
pub(crate) fn run(session: &mut Session, path: &str) -> Result<Answer, Error> {
    let text = read(path)?;
    let ledger = Shown::read(session)?;
    let tracks = Kind::ALL.map(|kind| Track::new(kind, &ledger));
    let mut reader = Reader { session, tracks, lines: 0, ended: false, problems: Vec::new() };
    let depth = reader.session.script_depth() + 1;
    reader.file(path, &text, depth)?;
    let Reader { tracks, lines, problems, .. } = reader;
    Ok(Answer::of(&Plan::new(path, lines, &tracks, problems, &ledger)?))
}

fn read(path: &str) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|why| Error::File { path: path.to_owned(), why: why.kind() })
}

/// Reads lines as they would be run.
struct Reader<'s> {
    session: &'s mut Session,
    tracks: [Track; Kind::COUNT],
    lines: usize,
    /// No line is run any more.
    ended: bool,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn file(&mut self, path: &str, text: &str, depth: usize) -> Result<(), Error> {
        for (number, line) in line::whole(text) {
            self.lines += 1;
            if self.lines > LINES_MAX {
                return Err(Error::PlanTooLong(LINES_MAX));
            }
            if self.session.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let (line, place) = (Line::new(&line), Place { path: path.to_owned(), line: number });
            let done = match self.cost(&line) {
                Ok(Cost::Runs(inner)) => self.inner(&inner, depth)?,
                Ok(Cost::Ends) => {
                    self.ended = true;
                    Ok(())
                }
                Ok(cost) => {
                    self.apply(&cost, &place);
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                let columns = self.session.console().columns();
                self.problems.push(Problem::new(&place, &line, &error, columns));
            }
            if self.ended {
                break;
            }
        }
        Ok(())
    }

    /// A file that a line runs. The outer error ends the plan, the inner one is that of the line.
    fn inner(&mut self, path: &str, depth: usize) -> Result<Result<(), Error>, Error> {
        if depth >= SCRIPT_DEPTH_MAX {
            // Here the files themselves would stop.
            self.ended = true;
            return Ok(Err(Error::ScriptDepth(SCRIPT_DEPTH_MAX)));
        }
        match read(path) {
            Ok(text) => self.file(path, &text, depth + 1).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    fn cost(&mut self, line: &Line) -> Result<Cost, Error> {
        let Some(name) = line.words().first() else { return Ok(Cost::Nothing) };
        let Some(command) = commands::find(&name.text) else { return Err(foreign::unknown(line)) };
        match command.cost {
            Some(cost) => cost(self.session, line),
            None => Ok(Cost::Nothing),
        }
    }

    fn apply(&mut self, cost: &Cost, place: &Place) {
        match *cost {
            Cost::Holds(units) => units.each().for_each(|(kind, count)| self.tracks[kind.index()].hold(count.into(), place)),
            Cost::Takes(units) => units.each().for_each(|(kind, count)| self.tracks[kind.index()].take(count.into(), place)),
            Cost::Reserves(kind, count) => self.tracks[kind.index()].add(count.into()),
            Cost::Releases(kind, Some(count)) => self.tracks[kind.index()].release(count.into(), place),
            Cost::Releases(kind, None) => self.tracks[kind.index()].release_all(place),
            Cost::Frees(kind) => self.tracks[kind.index()].free_held(place),
            Cost::Nothing | Cost::Runs(_) | Cost::Ends => {}
        }
    }
}

/// One type on its way through the file. Numbers are wide enough for every line to hold the largest count.
#[derive(Clone, Debug)]
struct Track {
    kind: Kind,
    free_now: i128,
    /// Free units, if nothing were added to what the file does; less than 0: missing.
    level: i128,
    lowest: i128,
    takes: i128,
    adds: i128,
    /// Of those, what the bank gives.
    reserves: i128,
    gives: i128,
    /// Held by tests.
    held: i128,
    kept: i128,
    /// A release took more than is kept: of units that are added before the file, some are not kept any more.
    unkept: bool,
    target: i128,
    /// Where it first ran short.
    short_at: Option<Place>,
    /// Where all were released last, or may have gone back to the bank.
    behind: Option<Place>,
    /// What is missing up to there: nowhere but before it can that be added.
    fixes: Vec<Fix>,
}

/// Units to be added, and where: before the file, or behind a line.
#[derive(Clone, Debug)]
struct Fix {
    behind: Option<Place>,
    units: i128,
}

impl Track {
    fn new(kind: Kind, ledger: &Shown) -> Self {
        let row = ledger.of(kind);
        let held = |owner: &&crate::ledger::Owner| owner.kind == Some(kind) && owner.owner == owner::TEST;
        Self {
            kind,
            free_now: row.free.into(),
            // What a halted debuggee has above its high mark goes back to the bank if it must run for pages.
            level: if row.free > row.high.saturating_add(row.kept) { row.target.saturating_add(row.kept) } else { row.free }
                .into(),
            lowest: 0,
            takes: 0,
            adds: 0,
            reserves: 0,
            gives: 0,
            held: ledger.owners.iter().filter(held).map(|owner| i128::from(owner.units)).sum(),
            kept: row.kept.into(),
            unkept: false,
            target: row.target.into(),
            short_at: None,
            behind: None,
            fixes: Vec::new(),
        }
    }

    fn lower(&mut self, count: i128, place: &Place) {
        self.level -= count;
        if self.level < 0 && self.short_at.is_none() {
            self.short_at = Some(place.clone());
        }
        self.lowest = self.lowest.min(self.level);
    }

    fn take(&mut self, count: i128, place: &Place) {
        self.takes += count;
        self.lower(count, place);
    }

    fn hold(&mut self, count: i128, place: &Place) {
        self.held += count;
        self.take(count, place);
    }

    fn add(&mut self, count: i128) {
        self.adds += count;
        self.reserves += count;
        self.kept += count;
        self.level += count;
    }

    fn release(&mut self, count: i128, place: &Place) {
        self.gives += count;
        self.unkept |= count > self.kept;
        self.kept = (self.kept - count).max(0);
        self.lower(count, place);
    }

    fn release_all(&mut self, place: &Place) {
        // With nothing to release the line would be refused.
        self.lower(1, place);
        self.level += 1;
        let units = -self.lowest;
        let released = self.level + units;
        self.gives += released;
        // All that is free may be more than is counted here, by refills: then nothing is kept any more.
        (self.kept, self.unkept) = (0, false);
        self.fixes.push(Fix { behind: self.behind.replace(place.clone()), units });
        (self.level, self.lowest) = (0, 0);
    }

    fn free_held(&mut self, place: &Place) {
        self.adds += self.held;
        self.level += self.held;
        self.held = 0;
        // What is added before the file may then go back to the bank here, so what is missing after it is added behind it.
        let units = -self.lowest;
        if self.unkept && self.level + units > self.target + self.kept {
            self.fixes.push(Fix { behind: self.behind.replace(place.clone()), units });
            (self.level, self.lowest, self.unkept) = (self.level + units, 0, false);
        }
        // While the debuggee runs, what was taken may be refilled meanwhile, and the sum above the high mark: then all but
        // this much goes back to the bank.
        self.level = self.level.min(self.target + self.kept);
    }

    /// What to add where, as far as something is missing.
    fn fixes(&self) -> impl Iterator<Item = Fix> {
        let last = Fix { behind: self.behind.clone(), units: -self.lowest };
        self.fixes.iter().cloned().chain([last]).filter(|fix| fix.units > 0)
    }

    fn number(&self, number: i128) -> Result<u64, Error> {
        u64::try_from(number).map_err(|_| Error::PlanTooLarge(self.kind.word()))
    }
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    path: String,
    line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.path, self.line)
    }
}

/// A line that would be refused as it stands.
#[derive(Serialize)]
struct Problem {
    at: String,
    message: String,
    #[serde(skip)]
    text: String,
}

impl Problem {
    fn new(place: &Place, line: &Line, error: &Error, columns: usize) -> Self {
        let mut said = say::error(error, line);
        // The lines offered at the end belong to the plan; this one would be in its way.
        if let Some(line) = said.try_line.take().filter(|line| line != ".help") {
            said.help.push(format!("instead: {line}"));
        }
        let text = said.text(line, columns);
        let text = text.strip_prefix("err, ").unwrap_or(&text);
        Self { at: place.to_string(), message: said.message, text: format!("{place}: {text}") }
    }
}

/// The plan as it is shown.
#[derive(Serialize)]
struct Plan {
    path: String,
    lines: usize,
    complete: bool,
    types: Vec<Row>,
    problems: Vec<Problem>,
    /// Lines to be typed before the file is run.
    before: Vec<String>,
    /// Lines to be put into it.
    inside: Vec<Inside>,
    pages: u64,
    pages_free: u64,
}

#[derive(Serialize)]
struct Row {
    r#type: &'static str,
    takes: u64,
    adds: u64,
    gives: u64,
    free: u64,
    missing: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    short_at: Option<String>,
}

#[derive(Serialize)]
struct Inside {
    behind: String,
    line: String,
}

impl Plan {
    fn new(path: &str, lines: usize, tracks: &[Track], problems: Vec<Problem>, ledger: &Shown) -> Result<Self, Error> {
        let (mut types, mut before, mut inside, mut pages) = (Vec::new(), Vec::new(), Vec::new(), 0_u128);
        for track in tracks.iter().filter(|track| track.takes != 0 || track.adds != 0 || track.gives != 0) {
            let word = track.kind.word();
            for Fix { behind, units } in track.fixes() {
                let line = format!("prealloc {word} {units:x}");
                match behind {
                    None => before.push(line),
                    Some(place) => inside.push(Inside { behind: place.to_string(), line }),
                }
            }
            let missing = track.fixes().map(|fix| fix.units).sum();
            let unit_bytes = ledger.of(track.kind).unit_bytes_mean;
            let reserved = u128::from(track.number(missing)?) + u128::from(track.number(track.reserves)?);
            pages = pages.saturating_add(reserved.saturating_mul(unit_bytes.into()).div_ceil(PAGE_BYTES));
            types.push(Row {
                r#type: word,
                takes: track.number(track.takes)?,
                adds: track.number(track.adds)?,
                gives: track.number(track.gives)?,
                free: track.number(track.free_now)?,
                missing: track.number(missing)?,
                short_at: track.short_at.as_ref().map(Place::to_string),
            });
        }
        let complete = problems.is_empty();
        let (pages, pages_free) = (u64::try_from(pages).unwrap_or(u64::MAX), ledger.pages_free);
        Ok(Self { path: path.to_owned(), lines, complete, types, problems, before, inside, pages, pages_free })
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let head = ["type", "takes", "adds", "gives", "free now", "missing", "short at"];
        let row = |row: &Row| {
            let Row { r#type, takes, adds, gives, free, missing, short_at } = row;
            let numbers = [takes, adds, gives, free, missing].map(|number| match number {
                0 => "0".to_owned(),
                number => format!("0x{number:x}"),
            });
            let first = std::iter::once((*r#type).to_owned());
            first.chain(numbers).chain([short_at.clone().unwrap_or_default()]).collect()
        };
        std::iter::once(head.map(str::to_owned).to_vec()).chain(self.types.iter().map(row)).collect()
    }
}

impl Report for Plan {
    fn text(&self) -> String {
        let Self { path, lines: _, complete, types, problems, before, inside, pages, pages_free } = self;
        let mut parts = Vec::new();
        if !types.is_empty() {
            parts.push(table(&self.rows()));
        }
        parts.extend(problems.iter().map(|problem| problem.text.clone()));
        let mut end = Vec::new();
        if *pages > 0 {
            let bank = if pages > pages_free { "; linux will be asked for the rest" } else { "" };
            end.push(format!("pages: about 0x{pages:x} to reserve that, 0x{pages_free:x} in the bank{bank}"));
        }
        if !complete {
            let (some, are) =
                if problems.len() == 1 { ("1 line".to_owned(), "is") } else { (format!("{} lines", problems.len()), "are") };
            end.push(format!("the plan is incomplete: {some} of it {are} not counted"));
        }
        let enough = before.is_empty() && inside.is_empty();
        if types.is_empty() && *complete {
            end.push(format!("{path} takes nothing of the reserve"));
        } else if enough && !types.is_empty() {
            end.push("what is free suffices".to_owned());
        }
        end.extend(inside.iter().map(|Inside { behind, line }| format!("     behind {behind}: {line}")));
        end.extend(before.iter().map(|line| format!("     try: {line}")));
        parts.push(end.join("\n"));
        parts.join("\n\n")
    }
}
