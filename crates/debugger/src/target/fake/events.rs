//! The model's events: a table, the programs that are staged, what was said, and a machine of one page for evaluations.
//!
//! No event fires by itself: a test says that one did ([`Root::fire`]).

use super::{Answered, Root, write};
use abi::code;
use abi::kind::Kind;
use abi::request::{
    self, EVENT_ROWS_MAX, Evaluated, EventAnswer, EventAsk, EventChange, EventRow, Events, Message, Messages, Number,
    PROGRAM_WORDS_MAX, Stage, event, notice, reason,
};
use script::oracle::{self, Model};
use script_vm::FaultKind;
use std::collections::VecDeque;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Bytes of a big safe buffer.
const BUFFER_BYTES_MAX: u64 = 81_920;
/// Bytes of records in one answer of [`request::op::MESSAGES`].
const RECORD_BYTES_MAX: usize = 1024;

/// What the model knows of events.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// By id.
    pub rows: Vec<(EventRow, EventAsk)>,
    /// The words that are staged.
    pub staged: Vec<u64>,
    /// What was said and not fetched: event, core, text.
    pub said: VecDeque<(u32, u16, String)>,
    /// Messages lost.
    pub lost: u64,
    /// How many events there can be.
    pub most: usize,
    /// What the next event is answered, whatever it is.
    pub refusal: Option<(u32, EventAnswer)>,
    /// What each holds.
    units: Vec<(u32, Kind, Option<Kind>)>,
    /// Monitors as they were asked for.
    pub monitors: Vec<request::monitor::Ask>,
    /// What they and hooks hold beside that.
    pages: Vec<(u32, Kind, u64)>,
    next: u32,
    model: Model,
}

impl Table {
    /// No event, and room for many.
    #[must_use]
    pub fn at_start() -> Self {
        Self { most: 512, ..Self::default() }
    }
}

impl Table {
    /// The page that scripts see.
    pub(super) fn ram(&mut self) -> &mut Vec<u8> {
        &mut self.model.ram
    }
}

/// Words of program, condition and code.
fn words_of(ask: &EventAsk) -> u32 {
    let code = event::code_words(ask.condition_bytes).saturating_add(event::code_words(ask.code_bytes));
    ask.program_words.saturating_add(code)
}

/// Words that may not be sent.
const MALFORMED: (u32, Vec<u8>) = (code::REQUEST_MALFORMED, Vec::new());

impl Root {
    pub(super) fn stage(&mut self, body: &[u8]) -> Answered {
        let (stage, words) = Stage::read_from_prefix(body).map_err(|_| MALFORMED)?;
        let (first, count) = (stage.first as usize, stage.count as usize);
        let staged = &mut self.events.staged;
        if words.len() != count * 8 || first > staged.len() || first + count > PROGRAM_WORDS_MAX {
            return Err(MALFORMED);
        }
        staged.truncate(first);
        let (words, _) = words.as_chunks::<8>();
        staged.extend(words.iter().map(|word| u64::from_le_bytes(*word)));
        Ok(Vec::new())
    }

    pub(super) fn event_add(&mut self, ask: &EventAsk) -> Answered {
        let (code, answer) = self.event_added(ask);
        let bytes = answer.as_bytes().to_vec();
        if code == code::SUCCESS { Ok(bytes) } else { Err((code, bytes)) }
    }

    /// A monitor takes a unit for each page. Nothing is mapped in the first one.
    pub(super) fn monitor_add(&mut self, ask: &request::monitor::Ask) -> Answered {
        let pages = ask.last / 4096 - ask.place.address / 4096 + 1;
        let answered = self.event_with(&ask.event, ask.place.address, Kind::Monitor, pages)?;
        self.events.monitors.push(*ask);
        Ok(answered)
    }

    /// A hook takes one.
    pub(super) fn epthook_add(&mut self, ask: &request::epthook::Ask) -> Answered {
        let its = EventAsk { flags: ask.event.flags & !event::FAST, ..ask.event };
        // A breakpoint takes a unit of its own instead.
        let units = u64::from(its.flags & event::BREAKPOINT == 0);
        let answered = self.event_with(&its, ask.place.address, Kind::Epthook, units)?;
        let is_programs = ask.event.flags & event::FAST != 0 && ask.place.address >> 63 == 0;
        let answer = request::body::<EventAnswer>(&answered).unwrap_or_default();
        let rejected = if is_programs { request::epthook::PROGRAM.into() } else { answer.rejected };
        Ok(EventAnswer { rejected, ..answer }.as_bytes().to_vec())
    }

    /// So does a detour; what it takes for code must be there.
    pub(super) fn epthook2_add(&mut self, ask: &request::epthook2::Ask) -> Answered {
        let there = |(offset, byte): (u64, &u8)| self.read_byte(ask.place, offset) == Ok(*byte);
        if !(0..).zip(&ask.original).take(ask.displaced_bytes as usize).all(there) {
            let answer = EventAnswer { id: event::ALL, bytes: ask.place.address, ..EventAnswer::default() };
            return Err((code::CODE_CHANGED, answer.as_bytes().to_vec()));
        }
        self.event_with(&ask.event, ask.place.address, Kind::Epthook2, 1)
    }

    fn event_with(&mut self, ask: &EventAsk, address: u64, kind: Kind, count: u64) -> Answered {
        let refuse = |code, answer: EventAnswer| Err((code, answer.as_bytes().to_vec()));
        if address < 4096 {
            return refuse(code::ADDRESS_INVALID, EventAnswer { bytes: address, ..EventAnswer::default() });
        }
        let at = kind.index();
        let (free, reserved) = (self.rows[at].free, self.rows[at].reserved);
        if free < count {
            self.rows[at].refused += 1;
            let short = EventAnswer { unit: kind as u32, asked: count, free, reserved, ..EventAnswer::default() };
            return refuse(code::used_up(kind), short);
        }
        let (code, answer) = self.event_added(ask);
        if code != code::SUCCESS {
            return refuse(code, answer);
        }
        self.rows[at].free -= count;
        self.rows[at].used += count;
        self.rows[at].high_water = self.rows[at].high_water.max(self.rows[at].used);
        self.events.pages.push((answer.id, kind, count));
        Ok(EventAnswer { asked: count, ..answer }.as_bytes().to_vec())
    }

    fn event_added(&mut self, ask: &EventAsk) -> (u32, EventAnswer) {
        let answer = EventAnswer::default();
        if let Some(refusal) = self.events.refusal.take() {
            return refusal;
        }
        if ask.core != event::ALL && !self.is_core(ask.core.into()) {
            return (code::CORE_INVALID, answer);
        }
        if self.events.rows.len() >= self.events.most {
            return (code::EVENTS_FULL, EventAnswer { reserved: self.events.most as u64, ..answer });
        }
        if ask.buffer_bytes > BUFFER_BYTES_MAX {
            let (bytes, bytes_most) = (ask.buffer_bytes, BUFFER_BYTES_MAX);
            return (code::BUFFER_TOO_LARGE, EventAnswer { bytes, bytes_most, ..answer });
        }
        let words = words_of(ask);
        if words as usize != self.events.staged.len() && words != 0 {
            return (code::REQUEST_MALFORMED, answer);
        }
        let (unit, buffer) = self.units(ask);
        for kind in [Some(unit), buffer].into_iter().flatten() {
            let row = self.rows[kind.index()];
            if row.free == 0 {
                self.rows[kind.index()].refused += 1;
                let (free, reserved) = (0, row.reserved);
                return (code::used_up(kind), EventAnswer { unit: kind as u32, asked: 1, free, reserved, ..answer });
            }
        }
        for kind in [Some(unit), buffer].into_iter().flatten() {
            let row = &mut self.rows[kind.index()];
            row.free -= 1;
            row.used += 1;
            row.high_water = row.high_water.max(row.used);
        }
        let id = self.events.next;
        self.events.next += 1;
        let (kind, number) = (ask.kind, unit as u32);
        self.events.units.push((id, unit, buffer));
        self.events.rows.push((EventRow { id, kind, enabled: 1, unit: number, ..EventRow::default() }, *ask));
        let row = self.rows[unit.index()];
        (code::SUCCESS, EventAnswer { id, unit: number, asked: 1, free: row.free, reserved: row.reserved, ..answer })
    }

    /// The units that an event takes: regular ones if it fits them, big ones if those are used up.
    fn units(&self, ask: &EventAsk) -> (Kind, Option<Kind>) {
        if ask.flags & event::BREAKPOINT != 0 {
            return (Kind::Breakpoint, None);
        }
        let free = |kind: Kind| self.rows[kind.index()].free > 0;
        let fitting = |fits: bool, regular, big| if fits && (free(regular) || !free(big)) { regular } else { big };
        let event = fitting(words_of(ask) <= 1024 && ask.condition_bytes <= 100, Kind::RegularEvent, Kind::BigEvent);
        let buffer = || fitting(ask.buffer_bytes <= 4096, Kind::RegularSafeBuffer, Kind::BigSafeBuffer);
        (event, (ask.buffer_bytes > 0).then(buffer))
    }

    pub(super) fn events(&self, from: u64) -> Events {
        let mut all = Events::new_zeroed();
        let mut left = self.events.rows.iter().map(|(row, _)| row).filter(|row| u64::from(row.id) >= from);
        for (to, from) in all.rows.iter_mut().zip(left.by_ref().take(EVENT_ROWS_MAX)) {
            *to = *from;
            all.count += 1;
        }
        all.more = left.next().is_some().into();
        all
    }

    pub(super) fn event_change(&mut self, ask: EventChange) -> Answered {
        let all = matches!(ask.id, event::ALL | event::ALL_BREAKPOINTS);
        let is = |row: &EventRow| match all {
            true => (row.unit == Kind::Breakpoint as u32) == (ask.id == event::ALL_BREAKPOINTS),
            false => row.id == ask.id,
        };
        let count = self.events.rows.iter().filter(|(row, _)| is(row)).count();
        if count == 0 && !all {
            return Err((code::NO_SUCH_EVENT, Vec::new()));
        }
        match ask.what {
            event::ENABLE | event::DISABLE => {
                let rows = self.events.rows.iter_mut().map(|(row, _)| row).filter(|row| is(row));
                rows.for_each(|row| row.enabled = (ask.what == event::ENABLE).into());
            }
            event::CLEAR => {
                let (gone, left): (Vec<_>, Vec<_>) = self.events.rows.drain(..).partition(|(row, _)| is(row));
                self.events.rows = left;
                for (row, _) in gone {
                    if let Some(at) = self.events.pages.iter().position(|(id, ..)| *id == row.id) {
                        let (_, kind, count) = self.events.pages.remove(at);
                        self.rows[kind.index()].free += count;
                        self.rows[kind.index()].used -= count;
                    }
                    let Some(at) = self.events.units.iter().position(|(id, ..)| *id == row.id) else { continue };
                    let (_, unit, buffer) = self.events.units.remove(at);
                    for kind in [Some(unit), buffer].into_iter().flatten() {
                        self.rows[kind.index()].free += 1;
                        self.rows[kind.index()].used -= 1;
                    }
                }
            }
            _ => return Err(MALFORMED),
        }
        Ok(Number { value: count as u64 }.as_bytes().to_vec())
    }

    pub(super) fn messages(&mut self) -> Vec<u8> {
        let table = &mut self.events;
        let mut head = Messages { lost: std::mem::take(&mut table.lost), ..Messages::default() };
        let mut records = Vec::new();
        while let Some((event, core, text)) = table.said.pop_front() {
            let bytes = u16::try_from(text.len()).unwrap_or(0);
            records.extend_from_slice(Message { event, core, bytes }.as_bytes());
            records.extend_from_slice(&text.as_bytes()[..bytes.into()]);
            records.resize(records.len().next_multiple_of(8), 0);
            head.count += 1;
            if records.len() >= RECORD_BYTES_MAX {
                break;
            }
        }
        head.more = u32::from(!table.said.is_empty());
        [head.as_bytes(), &records].concat()
    }

    pub(super) fn evaluate(&mut self, words: u64) -> Answered {
        if words != self.events.staged.len() as u64 {
            return Err(MALFORMED);
        }
        let registers = self.registers();
        let Table { staged, model, said, .. } = &mut self.events;
        if script_vm::verify(staged, &oracle::LIMITS).is_err() {
            return Err((code::PROGRAM_REJECTED, Vec::new()));
        }
        model.gprs = registers.gprs;
        (model.specials[0], model.specials[1]) = (registers.rip, registers.rflags);
        let mut answer = Evaluated::default();
        match oracle::run_words(staged, model, script_vm::limits::STEPS_DEFAULT) {
            Ok(value) => answer.value = value,
            Err(fault) => {
                let number: u64 = match fault.kind {
                    FaultKind::BadAddress { address } => {
                        answer.address = address;
                        1
                    }
                    FaultKind::DivideByZero => 2,
                    FaultKind::StepLimit => 3,
                    FaultKind::CallDepth => 4,
                    FaultKind::Refused => 5,
                    FaultKind::BadProgram => 6,
                };
                answer.fault = number | u64::from(fault.at) << 32;
            }
        }
        // The other cores have nothing but their number.
        if self.core == 0 {
            let set = &mut self.registers;
            (set.gprs, set.rip, set.rflags) = (model.gprs, model.specials[0], model.specials[1]);
        }
        let text = String::from_utf8_lossy(&std::mem::take(&mut model.said)).into_owned();
        let core = u16::try_from(self.core).unwrap_or(0);
        // A record has 16 bits for its length; the model says no more.
        let short = |text: &&str| !text.is_empty() && text.len() <= RECORD_BYTES_MAX;
        said.extend(text.split('\u{1}').filter(short).map(|text| (event::ALL, core, text.to_owned())));
        Ok(answer.as_bytes().to_vec())
    }

    /// An event fires on the selected core, and says this; it halts the machine if it was registered so.
    pub fn fire(&mut self, id: u32, text: &str) {
        let core = u16::try_from(self.core).unwrap_or(0);
        let Some((row, ask)) = self.events.rows.iter_mut().find(|(row, _)| row.id == id) else { return };
        row.hits += 1;
        let (breaks, stage) = (ask.flags & event::BREAK != 0, ask.stage);
        if !text.is_empty() {
            self.events.said.push_back((id, core, text.to_owned()));
        }
        if breaks {
            self.halted = true;
            let context = request::Halted { event: id, stage, ..self.context(reason::EVENT, 0) };
            self.notices.push_back(write(notice::HALTED, context.as_bytes()));
        }
    }
}
