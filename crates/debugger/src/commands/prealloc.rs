//! Reserves units for root, so that what is done while halted cannot run out.
//!
//!     prealloc [TYPE COUNT] | prealloc release TYPE [COUNT]
//!     prealloc --watch | prealloc plan FILE
//! All of the request is reserved or none of it. COUNT is a number or an expression, in hex. What is reserved so is kept
//! until it is released. `release` gives free units back, all of them without COUNT.
//!
//! Without words it shows the ledger, a row for each type: about how many bytes a unit takes; what is reserved, free and used;
//! the most that was used at once; requests refused; units that refills brought; units kept for a user; and the levels: while
//! the debuggee runs, fewer free ones than the low mark are refilled to the target, and what is free above the high mark and
//! not kept goes back. Below it: where all pages are, and who holds units. `--watch` (or `watch`) shows it again whenever
//! something changes, until CTRL+C or a key.
//!
//! `plan` reads a file of commands as `.script` would, runs nothing, and tells type by type what the file takes, adds and
//! gives back, in the order of its lines, what will be missing, and which lines help.
//!
//! While the bank suffices nothing is continued and the context stays. If it does not, a halted debuggee is continued
//! until Linux has handed over the missing pages; the prompt says so before, and where it halted again afterwards.
//!
//! types: thread-interception, monitor, epthook, epthook2, regular-event, big-event, regular-safe-buffer,
//! big-safe-buffer, breakpoint; any case, and the hooks also as !monitor, !epthook, !epthook2.
//! ```kd
//! 0: kHyperDbg> prealloc regular-event 10
//! the requested pools are allocated and reserved
//! 0: kHyperDbg> prealloc !monitor 0n16
//! the requested pools are allocated and reserved
//! 0: kHyperDbg> prealloc release monitor 10
//! released: 0x10 monitor; 0x14 of 0x14 free
//! 0: kHyperDbg> prealloc 10 monitor
//! err, couldn't resolve error at '10'
//!      prealloc 10 monitor
//!               ^~
//!      the type comes before the count
//!      try: prealloc monitor 10
//! 0: kHyperDbg> prealloc monitor 100000001
//! err, too many monitor: 0x100000001 asked, 0x{hex} possible on this machine (c0001011)
//!      try: prealloc monitor {hex}
//! 0: kHyperDbg> prealloc plan /nowhere.kd
//! err, '/nowhere.kd' cannot be read: it does not exist
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{self, Command, Takes};
use crate::cost::Cost;
use crate::error::{Error, Refusal, Wanted};
use crate::ledger::Shown;
use crate::line::{Line, Word};
use crate::session::{Session, State};
use crate::target::Mode;
use crate::{plan, watch};
use abi::code;
use abi::kind::Kind;
use abi::request::{Halted, Ledger, Number, PreallocAnswer, PreallocAsk, op, reason};
use serde::Serialize;
use zerocopy::IntoBytes;

/// The command.
pub const COMMAND: Command = Command {
    names: &["prealloc", "preallocate", "preallocation"],
    takes: &[Takes::TypeOr(&["release", "--watch", "watch", "plan"]), Takes::TypeOrFileAfter(&["release"], "plan")],
    run,
    cost: Some(cost),
};

/// Fetches at most for one command: another taker can empty the bank in between, but not for ever.
const FETCHES_MAX: usize = 3;

/// What a line asks for.
enum Asked<'l> {
    Ledger,
    Watch,
    Plan(&'l Word),
    Reserve(Kind, &'l Word),
    Release(Kind, Option<&'l Word>),
}

fn parse<'l>(line: &'l Line, is_count: &mut dyn FnMut(&Word) -> bool) -> Result<Asked<'l>, Error> {
    let is = |word: &Word, text: &str| word.text.eq_ignore_ascii_case(text);
    match line.words() {
        [_] => Ok(Asked::Ledger),
        [_, watch] if is(watch, "--watch") || is(watch, "watch") => Ok(Asked::Watch),
        [_, plan, file] if is(plan, "plan") => Ok(Asked::Plan(file)),
        [_, release, kind] if is(release, "release") => Ok(Asked::Release(commands::kind(kind)?, None)),
        [_, release, kind, count] if is(release, "release") => {
            Ok(Asked::Release(kind_before(kind, count, is_count)?, Some(count)))
        }
        [_, kind, count] => Ok(Asked::Reserve(kind_before(kind, count, is_count)?, count)),
        _ => Err(commands::usage(line)),
    }
}

fn kind_before(kind: &Word, count: &Word, is_count: &mut dyn FnMut(&Word) -> bool) -> Result<Kind, Error> {
    commands::kind(kind).map_err(|wrong| {
        // The other way round it may make sense.
        if commands::kind(count).is_ok() && is_count(kind) {
            Error::Swapped { count: kind.span.clone(), kind: count.span.clone() }
        } else {
            wrong
        }
    })
}

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    match parse(line, &mut |word| commands::count(session, word).is_ok())? {
        Asked::Ledger => Ok(Answer::of(&Shown::read(session)?)),
        Asked::Watch => watch::run(session, line),
        Asked::Plan(file) => plan::run(session, &file.text),
        Asked::Reserve(kind, count) => {
            let count = commands::count(session, count)?;
            reserve(session, kind, count)
        }
        Asked::Release(kind, Some(count)) => {
            let count = commands::count(session, count)?;
            give_back(session, kind, count)
        }
        Asked::Release(kind, None) => {
            let ledger: Ledger = session.ask(op::LEDGER, &[])?;
            give_back(session, kind, ledger.kinds[kind.index()].free)
        }
    }
}

fn cost(_: &mut Session, line: &Line) -> Result<Cost, Error> {
    let some = |kind, count: &Word, wanted| match commands::fixed_count(count)? {
        0 => Err(commands::none_of(kind, wanted)),
        count => Ok(count),
    };
    Ok(match parse(line, &mut |word| commands::fixed_count(word).is_ok())? {
        Asked::Ledger | Asked::Watch | Asked::Plan(_) => Cost::Nothing,
        Asked::Reserve(kind, count) => Cost::Reserves(kind, some(kind, count, Wanted::Reserve)?),
        Asked::Release(kind, Some(count)) => Cost::Releases(kind, Some(some(kind, count, Wanted::Release)?)),
        Asked::Release(kind, None) => Cost::Releases(kind, None),
    })
}

fn request(session: &mut Session, op: u32, kind: Kind, count: u64) -> Result<(u32, PreallocAnswer), Error> {
    commands::ask_units(session, op, PreallocAsk { kind: kind as u32, zero: 0, count }.as_bytes())
}

fn reserve(session: &mut Session, kind: Kind, count: u64) -> Result<Answer, Error> {
    let (code, answer) = request(session, op::PREALLOC, kind, count)?;
    let mut done = Outcome { code, answer, fetches: 0, missed: 0 };
    if code == code::BANK_SHORT && session.mode() == Mode::Debugger {
        let short = answer.short;
        let ran = session.state() == State::Running;
        let how =
            if ran { "paused and continued to fetch them" } else { "continued to fetch them, so this context will change" };
        session.note(format!("the bank is short by 0x{short:x} pages: the debuggee is {how}"));
        if ran {
            session.pause()?;
        }
        let fetched = fetch_and_reserve(session, kind, count, answer);
        if ran && matches!(session.state(), State::Halted(_)) {
            session.go()?;
            session.note("the debuggee is running again".to_owned());
        }
        done = fetched?;
    }
    match done {
        Outcome { code: code::SUCCESS, answer, fetches, missed } => {
            Ok(Answer::of(&Reserved::new(kind, &answer, fetches, missed)))
        }
        Outcome { code, answer, .. } => {
            let bank_serves = match code {
                code::BANK_SHORT | code::KERNEL_OUT_OF_MEMORY => bank_serves(session, kind, &answer)?,
                _ => 0,
            };
            Err(Error::Refused(Refusal::Units { code, answer, wanted: Wanted::Reserve, bank_serves }))
        }
    }
}

/// Units of a refused request that the bank could have served: those asked for less those that the missing pages would have
/// made. The mean size of a unit is rounded up, so it is taken one byte smaller; what is missing is then never too few.
fn bank_serves(session: &mut Session, kind: Kind, answer: &PreallocAnswer) -> Result<u64, Error> {
    const PAGE_BYTES: u128 = 4096;
    let ledger: Ledger = session.ask(op::LEDGER, &[])?;
    let unit_bytes = u128::from(ledger.kinds[kind.index()].unit_bytes.saturating_sub(1).max(1));
    let missing = (u128::from(answer.short) * PAGE_BYTES).div_ceil(unit_bytes);
    if answer.short == 0 {
        // What is missing is not known, so nothing is.
        return Ok(0);
    }
    Ok(u64::try_from(u128::from(answer.asked).saturating_sub(missing)).unwrap_or(0))
}

/// What became of a reservation.
struct Outcome {
    code: u32,
    answer: PreallocAnswer,
    fetches: usize,
    /// Events missed while the debuggee ran for them.
    missed: u64,
}

/// Has Linux fill the bank of a halted debuggee and asks again. The pages that come need not lie together as some types
/// want them, and others may take them: hence several fetches, and an end to them.
fn fetch_and_reserve(session: &mut Session, kind: Kind, count: u64, answer: PreallocAnswer) -> Result<Outcome, Error> {
    let mut done = Outcome { code: code::BANK_SHORT, answer, fetches: 0, missed: 0 };
    while done.code == code::BANK_SHORT && done.fetches < FETCHES_MAX {
        let short = done.answer.short;
        if done.fetches > 0 {
            session.note(format!("the bank is still short by 0x{short:x} pages: the debuggee is continued once more"));
        }
        done.fetches += 1;
        let (fetched, missed) = fetch(session, short)?;
        done.missed = done.missed.saturating_add(missed);
        if fetched {
            (done.code, done.answer) = request(session, op::PREALLOC, kind, count)?;
        } else {
            done.code = code::KERNEL_OUT_OF_MEMORY;
        }
    }
    Ok(done)
}

/// Lets the debuggee run until Linux has handed over `short` frames; false if it could not. Afterwards it is halted. Also says
/// how many events were missed.
fn fetch(session: &mut Session, short: u64) -> Result<(bool, u64), Error> {
    session.order(op::FETCH, Number { value: short }.as_bytes())?;
    session.runs();
    match session.wait_for_fetch()? {
        Ok(halted) => {
            let fetched = halted.reason == reason::FETCHED;
            let got = if fetched { "the pages are there" } else { "linux could not give them" };
            let Halted { core, missed, .. } = halted;
            session.note(format!("halted again on core {core:x}: {got}; events missed meanwhile: 0x{missed:x}"));
            Ok((fetched, missed))
        }
        Err(limit) => {
            let halted = session.pause()?;
            session.note(format!("halted again on core {:x}", halted.core));
            Err(Error::FetchSilent { seconds: limit.as_secs(), short })
        }
    }
}

fn give_back(session: &mut Session, kind: Kind, count: u64) -> Result<Answer, Error> {
    match request(session, op::RELEASE, kind, count)? {
        (code::SUCCESS, answer) => Ok(Answer::of(&Released::new(kind, &answer))),
        (code, answer) => Err(Error::Refused(Refusal::Units { code, answer, wanted: Wanted::Release, bank_serves: 0 })),
    }
}

#[derive(Serialize)]
struct Reserved {
    r#type: &'static str,
    asked: u64,
    free: u64,
    reserved: u64,
    bank_free: u64,
    fetches: usize,
    missed: u64,
}

impl Reserved {
    fn new(kind: Kind, answer: &PreallocAnswer, fetches: usize, missed: u64) -> Self {
        let PreallocAnswer { kind: _, zero: _, asked, free, reserved, most: _, short: _, bank_free } = *answer;
        Self { r#type: kind.word(), asked, free, reserved, bank_free, fetches, missed }
    }
}

impl Report for Reserved {
    fn text(&self) -> String {
        "the requested pools are allocated and reserved".to_owned()
    }
}

#[derive(Serialize)]
struct Released {
    r#type: &'static str,
    released: u64,
    free: u64,
    reserved: u64,
    bank_free: u64,
}

impl Released {
    fn new(kind: Kind, answer: &PreallocAnswer) -> Self {
        let PreallocAnswer { kind: _, zero: _, asked, free, reserved, most: _, short: _, bank_free } = *answer;
        Self { r#type: kind.word(), released: asked, free, reserved, bank_free }
    }
}

impl Report for Released {
    fn text(&self) -> String {
        let Self { r#type, released, free, reserved, bank_free: _ } = self;
        format!("released: 0x{released:x} {type}; 0x{free:x} of 0x{reserved:x} free")
    }
}
