//! Scripts and events over a bare client of the link.

use crate::{Result, guest, wire::Wire};
use abi::code;
use abi::kind::Kind;
use abi::request::{
    Evaluated, EventAnswer, EventAsk, EventChange, EventRow, Events, Ledger, Message, Messages, Number, STAGE_WORDS_MAX, Stage,
    event, op,
};
use lab::{Machine, Mode};
use script::{Global, NoSymbols, Options, compile, compile_expression};
use zerocopy::{FromBytes, IntoBytes};

/// Globals that scripts of one sitting share, by name.
#[derive(Default)]
pub struct Scripts {
    globals: Vec<Global>,
}

impl Scripts {
    fn options(&self) -> Options {
        Options { globals: self.globals.clone(), ..Options::default() }
    }

    /// Compiles a script and stages it; how many words it has.
    ///
    /// # Errors
    /// What the compiler says; those of the link.
    pub fn stage(&mut self, wire: &mut Wire, text: &str) -> Result<u32> {
        let program = compile(text, &NoSymbols, &self.options()).map_err(|why| format!("{text}: {why:?}"))?;
        self.globals = program.globals;
        stage(wire, &program.words)?;
        Ok(u32::try_from(program.words.len())?)
    }

    /// Evaluates an expression in root.
    ///
    /// # Errors
    /// As [`Scripts::stage`].
    pub fn evaluate(&mut self, wire: &mut Wire, text: &str) -> Result<Evaluated> {
        let program = compile_expression(text, &NoSymbols, &self.options()).map_err(|why| format!("{text}: {why:?}"))?;
        stage(wire, &program.words)?;
        wire.get(op::EVALUATE, Number { value: program.words.len() as u64 }.as_bytes())
    }

    /// Evaluates an expression that has a value.
    ///
    /// # Errors
    /// As [`Scripts::stage`]; a fault.
    pub fn value(&mut self, wire: &mut Wire, text: &str) -> Result<u64> {
        let evaluated = self.evaluate(wire, text)?;
        if evaluated.fault == 0 { Ok(evaluated.value) } else { Err(format!("{text}: {evaluated:x?}").into()) }
    }

    /// Registers an event with a script; its code and numbers.
    ///
    /// # Errors
    /// As [`Scripts::stage`].
    pub fn add(&mut self, wire: &mut Wire, ask: EventAsk, text: &str) -> Result<(u32, EventAnswer)> {
        let program_words = if text.is_empty() { 0 } else { self.stage(wire, text)? };
        register(wire, op::EVENT_ADD, EventAsk { program_words, ..ask }.as_bytes())
    }

    /// Registers an event with a script, a condition and code, each of which may be empty; its id.
    ///
    /// # Errors
    /// As [`Scripts::stage`]; a refusal.
    pub fn added_with_code(
        &mut self,
        wire: &mut Wire,
        ask: EventAsk,
        text: &str,
        [condition, code]: [&[u8]; 2],
    ) -> Result<u32> {
        let program = if text.is_empty() {
            Vec::new()
        } else {
            let program = compile(text, &NoSymbols, &self.options()).map_err(|why| format!("{text}: {why:?}"))?;
            self.globals = program.globals;
            program.words
        };
        let [condition_bytes, code_bytes] = [condition, code].map(|code| u32::try_from(code.len()).unwrap_or(0));
        let ask = EventAsk { program_words: u32::try_from(program.len())?, condition_bytes, code_bytes, ..ask };
        stage(wire, &[program, machine_code(condition), machine_code(code)].concat())?;
        accepted(register(wire, op::EVENT_ADD, ask.as_bytes())?)
    }

    /// Registers one that must be accepted; its id.
    ///
    /// # Errors
    /// As [`Scripts::stage`]; a refusal.
    pub fn added(&mut self, wire: &mut Wire, ask: EventAsk, text: &str) -> Result<u32> {
        accepted(self.add(wire, ask, text)?)
    }
}

/// Asks for an event by one of the requests that register one; its code and numbers.
///
/// # Errors
/// Those of the link.
pub fn register(wire: &mut Wire, op: u32, ask: &[u8]) -> Result<(u32, EventAnswer)> {
    let (code, body) = wire.ask(op, ask)?;
    Ok((code, EventAnswer::read_from_bytes(&body).map_err(|_| "a short answer")?))
}

/// The id of one that must be accepted.
///
/// # Errors
/// A refusal.
pub fn accepted((code, answer): (u32, EventAnswer)) -> Result<u32> {
    if code == code::SUCCESS { Ok(answer.id) } else { Err(format!("refused with {code:x}: {answer:x?}").into()) }
}

/// How many events there are.
///
/// # Errors
/// Those of the link.
pub fn events(wire: &mut Wire) -> Result<u32> {
    let events: Events = wire.get(op::EVENTS, Number { value: 0 }.as_bytes())?;
    Ok(events.count)
}

/// Adds what messages say to what they said, until a text is in it.
///
/// # Errors
/// If it is not after a minute; those of the link.
pub fn hear(wire: &mut Wire, heard: &mut String, text: &str) -> Result {
    let here = guest::until(text, || {
        heard.extend(said(wire)?.texts.into_iter().map(|line| line.text));
        Ok(heard.contains(text))
    });
    here.map_err(|why| format!("{why:?}; said: {heard}").into())
}

/// Machine code as it is staged: a return behind it, and filled up to whole words.
#[must_use]
pub fn machine_code(code: &[u8]) -> Vec<u64> {
    let mut bytes = code.to_vec();
    if !code.is_empty() {
        bytes.push(event::CODE_RETURN);
        bytes.resize(bytes.len().next_multiple_of(8), event::CODE_FILL);
    }
    bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

/// Puts root under a machine, and connects to it.
///
/// # Errors
/// Those of the machine and of the link.
pub fn load(machine: &mut Machine) -> Result<(Wire, Scripts)> {
    machine.load(Mode::Debugger)?;
    Ok((Wire::connect(&machine.link_path())?, Scripts::default()))
}

/// A machine under root with the program `instructions` and the driver for MSRs.
///
/// # Errors
/// As [`load`].
pub fn machine() -> Result<(Machine, Wire, Scripts)> {
    let builder = Machine::builder().cpus(2).with_guest_program(&guest::program("instructions")).with_kernel_module("msr");
    let mut machine = builder.boot()?;
    machine.modprobe("msr")?;
    let (wire, scripts) = load(&mut machine)?;
    Ok((machine, wire, scripts))
}

/// An event that fires before, everywhere, for everything.
#[must_use]
pub fn ask(kind: u32) -> EventAsk {
    EventAsk { kind, stage: event::PRE, core: event::ALL, pid: event::ALL, ..EventAsk::default() }
}

/// The same for one leaf, one register.
#[must_use]
pub fn ask_for(kind: u32, option: u64) -> EventAsk {
    EventAsk { option, flags: event::OPTION, ..ask(kind) }
}

/// Hands words of a program over.
///
/// # Errors
/// Those of the link.
pub fn stage(wire: &mut Wire, words: &[u64]) -> Result {
    for (nth, piece) in words.chunks(STAGE_WORDS_MAX).enumerate() {
        let head = Stage { first: u32::try_from(nth * STAGE_WORDS_MAX)?, count: u32::try_from(piece.len())? };
        let (code, _) = wire.ask(op::STAGE, &[head.as_bytes(), piece.as_bytes()].concat())?;
        if code != code::SUCCESS {
            return Err(format!("staging was answered by {code:x}").into());
        }
    }
    Ok(())
}

/// Whether one unit more is in use than before, of (free, used). The worker may have filled the reserve up again meanwhile.
pub fn one_more(before: (u64, u64), now: (u64, u64)) -> bool {
    now.1 == before.1 + 1 && (before.0 - 1..=before.0).contains(&now.0)
}

/// Units of a kind: free ones, and those in use.
///
/// # Errors
/// Those of the link.
pub fn units(wire: &mut Wire, kind: Kind) -> Result<(u64, u64)> {
    let row = wire.get::<Ledger>(op::LEDGER, &[])?.kinds[kind.index()];
    Ok((row.free, row.used))
}

/// The row of one event.
///
/// # Errors
/// Those of the link; there is none.
pub fn row(wire: &mut Wire, id: u32) -> Result<EventRow> {
    let events: Events = wire.get(op::EVENTS, Number { value: id.into() }.as_bytes())?;
    let row = events.rows.iter().take(events.count as usize).find(|row| row.id == id);
    Ok(*row.ok_or("there is no such event")?)
}

/// Enables, disables or clears; how many.
///
/// # Errors
/// Those of the link; a refusal.
pub fn change(wire: &mut Wire, what: u32, id: u32) -> Result<u64> {
    Ok(wire.get::<Number>(op::EVENT_CHANGE, EventChange { what, id }.as_bytes())?.value)
}

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// The event's id, or [`event::ALL`].
    pub event: u32,
    /// The core.
    pub core: u16,
    /// What it says.
    pub text: String,
}

/// Messages, and how many were lost before them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// In their order.
    pub texts: Vec<Line>,
    /// Lost ones.
    pub lost: u64,
}

/// What was said since the last time.
///
/// # Errors
/// Those of the link.
pub fn said(wire: &mut Wire) -> Result<Said> {
    let Said { mut texts, mut lost } = Said::default();
    loop {
        let (_, body) = wire.ask(op::MESSAGES, &[])?;
        let (head, mut rest) = Messages::read_from_prefix(&body).map_err(|_| "a short answer")?;
        lost += head.lost;
        for _ in 0..head.count {
            let (message, behind) = Message::read_from_prefix(rest).map_err(|_| "a short record")?;
            let bytes = usize::from(message.bytes);
            let text = behind.get(..bytes).ok_or("a short text")?;
            let text = String::from_utf8_lossy(text).into_owned();
            texts.push(Line { event: message.event, core: message.core, text });
            rest = behind.get(bytes.next_multiple_of(8)..).unwrap_or_default();
        }
        if head.more == 0 {
            return Ok(Said { texts, lost });
        }
    }
}
