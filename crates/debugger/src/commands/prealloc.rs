//! Reserves units for root, so that what is done while halted cannot run out.
//!
//!     prealloc [TYPE COUNT] | prealloc release TYPE [COUNT]
//! All of the request is reserved or none of it. COUNT is a number or an expression, in hex. Without words it shows the
//! ledger: about how many bytes a unit takes, what is reserved, free and in use, the most that was in use at once, and how
//! many requests were refused. `release` gives free units back, all of them without COUNT.
//!
//! While the bank suffices nothing is continued and the context stays. If it does not, a halted debuggee is continued
//! until Linux has handed over the missing pages; the prompt says so before, and where it halted again afterwards.
//!
//! types: thread-interception, monitor, epthook, epthook2, regular-event, big-event, regular-safe-buffer,
//! big-safe-buffer; any case, and the hooks also as !monitor, !epthook, !epthook2.
//! ```kd
//! 0: kHyperDbg> prealloc regular-event 10
//! the requested pools are allocated and reserved
//! 0: kHyperDbg> prealloc !monitor 0n16
//! the requested pools are allocated and reserved
//! 0: kHyperDbg> prealloc release monitor
//! released: 0x10 monitor; 0x0 of 0x0 free
//! 0: kHyperDbg> prealloc 10 monitor
//! err, couldn't resolve error at '10'
//!      prealloc 10 monitor
//!               ^~
//!      the type comes before the count
//!      try: prealloc monitor 10
//! 0: kHyperDbg> prealloc monitor 100000001
//! err, too many monitor: 0x100000001 asked, 0x{hex} possible on this machine (c0001011)
//!      try: prealloc monitor {hex}
//! ```

use crate::answer::{Answer, Report, table};
use crate::commands::{self, Command, Takes};
use crate::error::{Error, Reach, Refusal};
use crate::line::{Line, Word};
use crate::session::{Session, State};
use crate::target::Mode;
use abi::code;
use abi::kind::Kind;
use abi::request::{self, Ledger, LedgerRow, Number, PreallocAnswer, PreallocAsk, op, reason};
use serde::Serialize;
use zerocopy::IntoBytes;

/// The command.
pub const COMMAND: Command = Command {
    names: &["prealloc", "preallocate", "preallocation"],
    takes: &[Takes::TypeOr(&["release"]), Takes::TypeAfter("release")],
    run,
};

/// Fetches at most for one command: another taker can empty the bank in between, but not for ever.
const FETCHES_MAX: usize = 3;

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    match line.words() {
        [_] => ledger(session),
        [_, release, kind] if release.text.eq_ignore_ascii_case("release") => {
            let kind = commands::kind(kind)?;
            let ledger: Ledger = session.ask(op::LEDGER, &[])?;
            give_back(session, kind, ledger.kinds[kind.index()].free)
        }
        [_, release, kind, count] if release.text.eq_ignore_ascii_case("release") => {
            let (kind, count) = asked(session, kind, count)?;
            give_back(session, kind, count)
        }
        [_, kind, count] => {
            let (kind, count) = asked(session, kind, count)?;
            reserve(session, kind, count)
        }
        _ => Err(commands::usage(line)),
    }
}

fn asked(session: &mut Session, kind: &Word, count: &Word) -> Result<(Kind, u64), Error> {
    let wrong = match commands::kind(kind) {
        Ok(kind) => return Ok((kind, commands::count(session, count)?)),
        Err(wrong) => wrong,
    };
    // The other way round it may make sense.
    if commands::kind(count).is_ok() && commands::count(session, kind).is_ok() {
        return Err(Error::Swapped { count: kind.span.clone(), kind: count.span.clone() });
    }
    Err(wrong)
}

fn request(session: &mut Session, op: u32, kind: Kind, count: u64) -> Result<(u32, PreallocAnswer), Error> {
    let (code, body) = session.call(op, PreallocAsk { kind: kind as u32, zero: 0, count }.as_bytes())?;
    match request::body(&body) {
        Some(answer) => Ok((code, answer)),
        // What is refused before root looks at it has no numbers; those of the request are known here.
        None if code != code::SUCCESS && body.is_empty() => {
            Err(Error::Refused(Refusal::Plain { code, debugger_mode: session.mode() == Mode::Debugger }))
        }
        None => Err(Error::Reach(Reach::Malformed { op })),
    }
}

fn reserve(session: &mut Session, kind: Kind, count: u64) -> Result<Answer, Error> {
    let (code, answer) = request(session, op::PREALLOC, kind, count)?;
    let mut done = Outcome { code, answer, fetches: 0 };
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
        Outcome { code: code::SUCCESS, answer, fetches } => Ok(Answer::of(&Reserved::new(kind, &answer, fetches))),
        Outcome { code, answer, fetches: _ } => Err(Error::Refused(Refusal::Prealloc { code, answer, release: false })),
    }
}

/// What became of a reservation.
struct Outcome {
    code: u32,
    answer: PreallocAnswer,
    fetches: usize,
}

/// Has Linux fill the bank of a halted debuggee and asks again. The pages that come need not lie together as some types
/// want them, and others may take them: hence several fetches, and an end to them.
fn fetch_and_reserve(session: &mut Session, kind: Kind, count: u64, answer: PreallocAnswer) -> Result<Outcome, Error> {
    let mut done = Outcome { code: code::BANK_SHORT, answer, fetches: 0 };
    while done.code == code::BANK_SHORT && done.fetches < FETCHES_MAX {
        let short = done.answer.short;
        if done.fetches > 0 {
            session.note(format!("the bank is still short by 0x{short:x} pages: the debuggee is continued once more"));
        }
        done.fetches += 1;
        if fetch(session, short)? {
            (done.code, done.answer) = request(session, op::PREALLOC, kind, count)?;
        } else {
            done.code = code::KERNEL_OUT_OF_MEMORY;
        }
    }
    Ok(done)
}

/// Lets the debuggee run until Linux has handed over `short` frames; false if it could not. Afterwards it is halted.
fn fetch(session: &mut Session, short: u64) -> Result<bool, Error> {
    session.order(op::FETCH, Number { value: short }.as_bytes())?;
    session.runs();
    match session.wait_for_fetch()? {
        Ok(halted) => {
            let fetched = halted.reason == reason::FETCHED;
            let got = if fetched { "the pages are there" } else { "linux could not give them" };
            session.note(format!("halted again on core {:x}: {got}", halted.core));
            Ok(fetched)
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
        (code, answer) => Err(Error::Refused(Refusal::Prealloc { code, answer, release: true })),
    }
}

fn ledger(session: &mut Session) -> Result<Answer, Error> {
    let ledger: Ledger = session.ask(op::LEDGER, &[])?;
    Ok(Answer::of(&Shown::new(&ledger)))
}

#[derive(Serialize)]
struct Reserved {
    r#type: &'static str,
    asked: u64,
    free: u64,
    reserved: u64,
    bank_free: u64,
    fetches: usize,
}

impl Reserved {
    fn new(kind: Kind, answer: &PreallocAnswer, fetches: usize) -> Self {
        let PreallocAnswer { kind: _, zero: _, asked, free, reserved, most: _, short: _, bank_free } = *answer;
        Self { r#type: kind.word(), asked, free, reserved, bank_free, fetches }
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

#[derive(Serialize)]
struct Shown {
    types: Vec<Row>,
    pages: u64,
    pages_root: u64,
    pages_free: u64,
    pages_types: u64,
}

#[derive(Serialize)]
struct Row {
    r#type: &'static str,
    /// A unit's share of its slab, rounded up: units of other types may share the pages with it.
    unit_bytes_mean: u64,
    reserved: u64,
    free: u64,
    used: u64,
    high_water: u64,
    refused: u64,
}

impl Shown {
    fn new(ledger: &Ledger) -> Self {
        let Ledger { kinds, frames, frames_root, frames_free, frames_kinds } = *ledger;
        let row = |(kind, row): (Kind, LedgerRow)| {
            let LedgerRow { unit_bytes, reserved, free, used, high_water, refused } = row;
            Row { r#type: kind.word(), unit_bytes_mean: unit_bytes, reserved, free, used, high_water, refused }
        };
        let types = Kind::ALL.into_iter().zip(kinds).map(row).collect();
        Self { types, pages: frames, pages_root: frames_root, pages_free: frames_free, pages_types: frames_kinds }
    }
}

impl Report for Shown {
    fn text(&self) -> String {
        let Self { types, pages, pages_root, pages_free, pages_types } = self;
        let head = ["type", "~bytes each", "reserved", "free", "in use", "peak", "refused"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for Row { r#type, unit_bytes_mean, reserved, free, used, high_water, refused } in types {
            let numbers = [unit_bytes_mean, reserved, free, used, high_water, refused].map(|number| format!("0x{number:x}"));
            rows.push(std::iter::once((*r#type).to_owned()).chain(numbers).collect());
        }
        let table = table(&rows);
        format!(
            "{table}\n\npages: 0x{pages:x} from linux = 0x{pages_free:x} in the bank + 0x{pages_types:x} of types + 0x{pages_root:x} of root itself"
        )
    }

    fn wraps(&self) -> bool {
        true
    }
}
