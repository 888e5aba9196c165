//! Threads of programs under interception: orders, what became of them, and the thread that commands refer to.
//!
//! ```text
//! VMI Mode        an order is carried out before the request that asks for it is answered
//! Debugger Mode   Linux must run for it: a halted debuggee is continued, and halted again
//! ```
//! **Holds always**
//! - N1: an order is told as done when, and only when, Linux has said so.
//! - N2: every wait has a limit, and CTRL+C ends it.
//!
//! **Callers**: commands. **Cost**: a request an order and a look, one for each 49 threads that are listed. **Proof**: the manuals, `tests/e2e/threads.rs`.

use crate::disassembly;
use crate::error::{Error, Reach};
use crate::memory;
use crate::registers::GPRS;
use crate::session::{Session, State};
use crate::target::Mode;
use abi::code;
use abi::request::memory::{NO_PID, Place, VIRTUAL};
use abi::request::thread::{Ask, FRAME_WORDS, Order, Ordered, ROWS_MAX, Row, Threads, op, order, stage, state};
use abi::request::{self, Number, Registers};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// How long Linux may take to carry an order out, and a program to come to its first instruction.
const ORDER_LIMIT: Duration = Duration::from_secs(10);
/// How long threads are waited for that are to be held: who sleeps in the kernel may do so for ever.
const HELD_LIMIT: Duration = Duration::from_secs(2);
/// Between two looks; at a thread that steps, which is soon done.
const PACE: Duration = Duration::from_millis(5);
const STEP_PACE: Duration = Duration::from_millis(1);
/// Which word of a frame each register is, as [`GPRS`] has them; then those of rip, cs, rflags, and the number of the system call.
const WORD_OF: [usize; 16] = [10, 11, 12, 5, 19, 4, 13, 14, 9, 8, 7, 6, 3, 2, 1, 0];
const RIP: usize = 16;
const CS: usize = 17;
const RFLAGS: usize = 18;
const SS: usize = 20;
const SYSTEM_CALL: usize = 15;

/// The thread that commands refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Active {
    /// Its process,
    pub process: u32,
    /// and its own number.
    pub thread: u32,
}

/// What there is of threads, by what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Sums {
    /// To be held, and not there yet.
    pub(crate) coming: u32,
    pub(crate) held: u32,
    pub(crate) running: u32,
    pub(crate) stepping: u32,
    /// Held without a place, of all processes.
    #[serde(skip)]
    pub(crate) unplaced: u32,
    /// Not held, of all processes.
    #[serde(skip)]
    pub(crate) missed: u32,
}

impl Sums {
    fn of(threads: &Threads) -> Self {
        let [coming, held, running, stepping] = threads.states;
        Self { coming, held, running, stepping, unplaced: threads.unplaced, missed: threads.missed }
    }

    /// All of them.
    pub(crate) fn all(&self) -> u32 {
        self.coming + self.held + self.running + self.stepping
    }
}

/// Why an order was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// One of [`abi::code`].
    pub code: u32,
    /// What was ordered.
    pub order: Order,
    /// Units that are missing, if it is for want of them.
    pub missing: u64,
}

/// Has Linux carry out an order, and waits for it. How many threads it was about.
pub(crate) fn order(session: &mut Session, what: u32, process: u32, thread: u32, count: u64) -> Result<u64, Error> {
    let order = Order { serial: 0, what, process, thread, zero: 0, count };
    let (code, body) = session.call(op::ORDER, order.as_bytes())?;
    let refused = |code, missing| Error::Order(Refused { code, order, missing });
    match code {
        code::SUCCESS => {}
        code::ORDER_PENDING => return Err(refused(code, 0)),
        code => return Err(session.refused(code)),
    }
    let asked: Ordered = request::body(&body).ok_or(Error::Reach(Reach::Malformed { op: op::ORDER }))?;
    let halted = session.mode() == Mode::Debugger && matches!(session.state(), State::Halted(_));
    if halted {
        session.note("the debuggee is continued for that, so this context will change".to_owned());
        session.go()?;
    }
    let done = wait(session, asked.serial);
    if halted {
        session.pause()?;
    }
    let done = done?;
    if done.code == code::SUCCESS { Ok(done.number) } else { Err(refused(done.code, done.number)) }
}

fn wait(session: &mut Session, serial: u64) -> Result<Ordered, Error> {
    let end = Instant::now() + ORDER_LIMIT;
    loop {
        let ordered: Ordered = session.ask(op::ORDERED, Number { value: serial }.as_bytes())?;
        if ordered.stage == stage::DONE {
            return Ok(ordered);
        }
        if Instant::now() > end {
            return Err(Error::OrderLate(ORDER_LIMIT.as_secs()));
        }
        session.sleep(PACE)?;
    }
}

/// Threads of a process, or of all with 0, by their places.
pub(crate) fn rows(session: &mut Session, process: u32) -> Result<(Vec<Row>, Sums), Error> {
    let mut ask = Ask { process, thread: 0, from: 0, rows: u32::try_from(ROWS_MAX).unwrap_or(0) };
    let (mut rows, mut sums) = (Vec::new(), Sums::default());
    loop {
        let threads: Threads = session.ask(op::THREADS, ask.as_bytes())?;
        if ask.from == 0 {
            sums = Sums::of(&threads);
        }
        let count = usize::try_from(threads.count).unwrap_or(usize::MAX);
        rows.extend_from_slice(threads.rows.get(..count).ok_or(Error::Reach(Reach::Malformed { op: op::THREADS }))?);
        // Places only grow, so this ends.
        if threads.next <= ask.from {
            return Ok((rows, sums));
        }
        if session.is_cancelled() {
            return Err(Error::Cancelled);
        }
        ask.from = threads.next;
    }
}

/// What the threads of a process do.
pub(crate) fn sums(session: &mut Session, process: u32) -> Result<Sums, Error> {
    let threads: Threads = session.ask(op::THREADS, Ask { process, ..Ask::default() }.as_bytes())?;
    Ok(Sums::of(&threads))
}

/// The first thread of a process, which it has the longest as a rule, if it is held; else any that is, or any.
pub(crate) fn first(session: &mut Session, process: u32) -> Result<Option<Row>, Error> {
    if let Some(row) = row(session, Active { process, thread: process })?.filter(|row| row.state == state::HELD) {
        return Ok(Some(row));
    }
    let (rows, _) = rows(session, process)?;
    Ok(rows.iter().find(|row| row.state == state::HELD).or(rows.first()).copied())
}

/// One thread, of any process with 0; `None`: it has ended, or is not under interception.
pub(crate) fn row(session: &mut Session, active: Active) -> Result<Option<Row>, Error> {
    let Active { process, thread } = active;
    let threads: Threads = session.ask(op::THREADS, Ask { process, thread, from: 0, rows: 1 }.as_bytes())?;
    Ok(threads.rows.first().filter(|_| threads.count > 0).copied())
}

/// Waits until the threads of a process that are to be held are, as far as they come; they are told when they do not.
pub(crate) fn wait_until_held(session: &mut Session, process: u32) -> Result<Sums, Error> {
    let end = Instant::now() + HELD_LIMIT;
    loop {
        let sums = sums(session, process)?;
        if sums.coming + sums.stepping == 0 || Instant::now() > end {
            return Ok(sums);
        }
        session.sleep(PACE)?;
    }
}

/// Waits until a process that is to be held when it executes another program has come to that. `None`: it has ended before.
pub(crate) fn wait_until_started(session: &mut Session, process: u32) -> Result<Option<Sums>, Error> {
    let end = Instant::now() + ORDER_LIMIT;
    loop {
        let sums = sums(session, process)?;
        if sums.all() == 0 {
            return Ok(None);
        }
        if sums.held > 0 {
            return Ok(Some(sums));
        }
        if Instant::now() > end {
            return Err(Error::OrderLate(ORDER_LIMIT.as_secs()));
        }
        session.sleep(PACE)?;
    }
}

/// What was not even ordered: it would be refused.
pub(crate) fn refused(code: u32, what: u32, Active { process, thread }: Active) -> Error {
    Error::Order(Refused { code, order: Order { what, process, thread, ..Order::default() }, missing: 0 })
}

/// The thread that commands refer to, and that it is held.
pub(crate) fn held(session: &mut Session) -> Result<Option<Row>, Error> {
    let Some(active) = session.active() else { return Ok(None) };
    let Some(row) = row(session, active)? else {
        let code = if sums(session, active.process)?.all() == 0 { code::NOT_ATTACHED } else { code::NO_SUCH_THREAD };
        session.refer_to(None, false);
        return Err(refused(code, 0, active));
    };
    if row.state == state::HELD {
        return Ok(Some(row));
    }
    // That it is to be held is ordered already.
    let what = if row.state == state::COMING { order::HOLD } else { 0 };
    Err(refused(code::THREAD_NOT_HELD, what, active))
}

/// The same for who looks at what is in view: at a prompt on the machine itself, unless something else is.
pub(crate) fn held_here(session: &mut Session) -> Result<Option<Row>, Error> {
    if session.mode() == Mode::Vmi && session.view.is_none() { held(session) } else { Ok(None) }
}

/// Has a held thread execute so many instructions of its program, and waits until it is held again: it, or as far as it came. `None`: it has
/// ended.
pub(crate) fn step(session: &mut Session, active: Active, count: u64) -> Result<Option<Row>, Error> {
    order(session, order::STEP, active.process, active.thread, count)?;
    loop {
        let row = row(session, active)?;
        if row.is_none_or(|row| row.state != state::STEPS) {
            return Ok(row);
        }
        if session.is_cancelled() {
            // What is left of them it does not execute.
            order(session, order::HOLD, active.process, active.thread, 0)?;
            wait_until_held(session, active.process)?;
            return self::row(session, active);
        }
        session.sleep(STEP_PACE)?;
    }
}

fn place_of(row: &Row, word: usize) -> Place {
    Place { address: row.frame.wrapping_add(8 * word as u64), space: VIRTUAL, pid: NO_PID }
}

/// Registers with which a held thread will go on, as far as the kernel keeps them where they can be read: those of a core that are not the
/// program's are zero.
pub(crate) fn registers(session: &mut Session, row: &Row) -> Result<Registers, Error> {
    let place = place_of(row, 0);
    let (bytes, why) = match memory::request_bytes(session, place, 8 * FRAME_WORDS as u64)? {
        Ok(read) => read,
        Err(code) => return Err(memory::refused(code, place, 0)),
    };
    let mut words = [0; FRAME_WORDS];
    if bytes.len() != size_of_val(&words) {
        return Err(memory::refused(why, place, 0));
    }
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(<[u8; 8]>::try_from(bytes).unwrap_or_default());
    }
    let mut registers = Registers { rip: words[RIP], rflags: words[RFLAGS], ..Registers::default() };
    for (register, word) in registers.gprs.iter_mut().zip(WORD_OF) {
        *register = words[word];
    }
    (registers.selectors[0], registers.selectors[1]) = (words[CS], words[SS]);
    Ok(registers)
}

/// Sets one of them, by its name.
pub(crate) fn set_register(session: &mut Session, row: &Row, name: &str, value: u64) -> Result<(), Error> {
    let at = GPRS.iter().position(|register| *register == name);
    let word = match name {
        "rip" => RIP,
        "rflags" => RFLAGS,
        _ => at.and_then(|at| WORD_OF.get(at)).copied().unwrap_or(0),
    };
    memory::write(session, place_of(row, word), &value.to_le_bytes())?;
    // Else the kernel would have a system call that it interrupted begin again, by these two.
    if matches!(name, "rip" | "rax") {
        memory::write(session, place_of(row, SYSTEM_CALL), &u64::MAX.to_le_bytes())?;
    }
    Ok(())
}

/// The instruction of a program at an address, if it can be read.
pub(crate) fn instruction_at(session: &mut Session, process: u32, rip: u64) -> Result<Option<disassembly::Shown>, Error> {
    let bytes = memory::instruction_bytes(session, Place { address: rip, space: VIRTUAL, pid: process })?;
    Ok(session.instruction(rip, &bytes))
}

/// A state of a thread's as a word.
pub(crate) fn word(now: u32) -> &'static str {
    match now {
        state::COMING => "coming",
        state::HELD => "held",
        state::RUNS => "runs",
        _ => "steps",
    }
}
