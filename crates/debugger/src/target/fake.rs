//! A model of root and of Linux' part beside it: enough to answer every request with the abi's bytes.
//!
//! It knows the ledger, the bank, which cores are halted and what Linux would hand over; no hypervisor is in it. Tests of
//! commands type at it, and tests of the link put it behind a line.

pub mod events;
mod globals;
pub mod linux;
pub mod memory;
mod reserve;
mod tasks;
pub mod threads;

use super::{Cancel, Mode, Target};
use crate::error::Reach;
use crate::news::{Inbox, Met, News};
use abi::ioctl::{LOAD_LINK, Load};
use abi::kind::Kind;
use abi::request::note::Notes;
use abi::request::{self, goodbye, notice, op, reason, test, thread};
use abi::request::{
    CoreState, Cores, EventAsk, EventChange, ExitRow, Exits, Halted, Head, Hello, LedgerRow, Number, OwnerRow, PreallocAnswer,
    PreallocAsk, Registers, ReserveTest, StepAsk, Task,
};
use abi::{PROTOCOL, code};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use zerocopy::{FromZeros, IntoBytes};

/// A body, or a code with one.
type Answered = Result<Vec<u8>, (u32, Vec<u8>)>;

/// The model.
#[derive(Clone, Debug)]
pub struct Root {
    /// Whether the hypervisor is loaded.
    pub loaded: bool,
    /// Whether requests come over the link.
    pub link: bool,
    /// Whether a UART answers at COM2.
    pub uart: bool,
    /// Whether it was loaded to listen there, beside the device.
    pub listens: bool,
    /// Whether every core is halted.
    pub halted: bool,
    /// The core that commands refer to.
    pub core: u32,
    /// Cores under root.
    pub cores: u32,
    /// A core that is not: their numbers leave it out.
    pub offline: Option<u32>,
    /// Differs with every load.
    pub boot_id: u64,
    /// Its revision.
    pub protocol: u32,
    /// Frames of RAM.
    pub ram_frames: u64,
    /// Frames free in the bank.
    pub bank_free: u64,
    /// Frames that Linux would hand over when asked; `None`: it never answers.
    pub linux_gives: Option<u64>,
    /// What a fetch brings goes elsewhere before it can be used.
    pub fetched_is_lost: bool,
    /// Events that come while it runs for a fetch, and are missed.
    pub events_meanwhile: u64,
    /// By kind.
    pub rows: [LedgerRow; Kind::COUNT],
    /// Who holds units, by kind and owner.
    pub owners: Vec<OwnerRow>,
    /// Units of owners beyond those.
    pub owners_other: u64,
    /// By kind: the request from now that is refused, or 0.
    pub fail_in: [u64; Kind::COUNT],
    /// Registers of the core 0; others have their number in `rax`.
    pub registers: Registers,
    /// The page of code.
    pub code: Vec<u8>,
    /// Notices not sent yet, as messages.
    pub notices: VecDeque<Vec<u8>>,
    /// Events, and what they said.
    pub events: events::Table,
    /// Names of globals, in their order.
    pub globals: Vec<abi::request::global::Row>,
    /// Makes this one before it is asked to make the next: as another prompt does.
    pub global_meanwhile: Option<abi::request::global::Row>,
    /// What a load answers.
    pub load: (u32, u32),
    /// Every request so far, by its number.
    pub asked: Vec<u32>,
    /// What its system tells of itself.
    pub linux: linux::Linux,
    /// Threads under interception.
    pub threads: threads::Known,
}

impl Default for Root {
    /// Loaded, running, two cores, 512 MiB of RAM, every type at its target, 256 frames left in the bank, and a Linux that
    /// gives what it is asked for.
    fn default() -> Self {
        let mut registers = Registers { rip: 0xffff_ffff_8100_0000, rflags: 0x246, efer: 0xd01, ..Registers::default() };
        registers.gprs[0] = 0x10;
        registers.crs = [0x8005_0033, 0, 0x10_0000, 0x6f0];
        registers.selectors = [0x10, 0x18, 0, 0, 0, 0];
        Self {
            loaded: true,
            link: true,
            halted: false,
            core: 0,
            cores: 2,
            offline: None,
            uart: true,
            listens: false,
            boot_id: 1,
            protocol: PROTOCOL,
            ram_frames: 0x2_0000,
            bank_free: 0x100,
            linux_gives: Some(0x1_0000),
            fetched_is_lost: false,
            events_meanwhile: 0,
            rows: reserve::at_start(),
            owners: Vec::new(),
            owners_other: 0,
            fail_in: [0; Kind::COUNT],
            registers,
            code: memory::code_page(),
            notices: VecDeque::new(),
            events: events::Table::at_start(),
            globals: Vec::new(),
            global_meanwhile: None,
            load: (code::SUCCESS, 0),
            asked: Vec::new(),
            linux: linux::Linux::default(),
            threads: threads::Known::default(),
        }
    }
}

impl Root {
    /// Answers one message with one message.
    pub fn answer(&mut self, message: &[u8]) -> Vec<u8> {
        let Some((head, body)) = request::split(message) else { return write(code::REQUEST_MALFORMED, &[]) };
        // A prompt over a line says by itself that it is there.
        if head.code != op::ATTEND {
            self.asked.push(head.code);
        }
        let answer = match self.answer_to(head, body) {
            Ok(body) => write(code::SUCCESS, &body),
            Err((code, body)) => write(code, &body),
        };
        if self.loaded && !self.halted {
            self.tend();
        }
        answer
    }

    /// Who answers.
    #[must_use]
    pub fn hello(&self) -> Hello {
        let mut backend = [0; 16];
        backend[..5].copy_from_slice(b"model");
        Hello {
            protocol: self.protocol,
            cores: self.cores,
            halted: self.halted.into(),
            core: self.core,
            boot_id: self.boot_id,
            ram_frames: self.ram_frames,
            backend,
            break_in_by_nmi: 1,
            linked: (self.link || self.listens).into(),
        }
    }

    /// Reboots it: a goodbye, and everything as after a fresh load with another number.
    pub fn reboot(&mut self) -> [Vec<u8>; 2] {
        let bye = write(notice::GOODBYE, Number { value: goodbye::REBOOT }.as_bytes());
        let boot_id = self.boot_id + 1;
        *self = Root { boot_id, link: self.link, ..Root::default() };
        [bye, write(notice::UP, self.hello().as_bytes())]
    }

    fn answer_to(&mut self, head: Head, body: &[u8]) -> Answered {
        let no = |code| Err((code, Vec::new()));
        if !self.loaded {
            return no(code::NOT_LOADED);
        }
        let number = || request::body::<Number>(body).map(|number| number.value).ok_or((code::REQUEST_MALFORMED, Vec::new()));
        match head.code {
            op::HELLO => Ok(self.hello().as_bytes().to_vec()),
            op::PREALLOC | op::RELEASE => {
                let ask = request::body::<PreallocAsk>(body).ok_or((code::REQUEST_MALFORMED, Vec::new()))?;
                numbers(if head.code == op::PREALLOC { self.prealloc(ask) } else { self.release(ask) })
            }
            op::TEST_RESERVE => {
                let ask = request::body::<ReserveTest>(body).ok_or((code::REQUEST_MALFORMED, Vec::new()))?;
                numbers(self.test_reserve(ask))
            }
            op::STAGE => self.stage(body),
            op::EVENT_ADD => {
                let ask = request::body::<EventAsk>(body).ok_or((code::REQUEST_MALFORMED, Vec::new()))?;
                self.event_add(&ask)
            }
            op::MONITOR_ADD => {
                let ask = request::body::<request::monitor::Ask>(body).ok_or((code::REQUEST_MALFORMED, Vec::new()))?;
                self.monitor_add(&ask)
            }
            op::EPTHOOK_ADD => {
                let ask = request::body::<request::epthook::Ask>(body).ok_or((code::REQUEST_MALFORMED, Vec::new()))?;
                self.epthook_add(&ask)
            }
            op::EPTHOOK2_ADD => {
                let ask = request::body::<request::epthook2::Ask>(body).ok_or((code::REQUEST_MALFORMED, Vec::new()))?;
                self.epthook2_add(&ask)
            }
            op::EVENTS => Ok(self.events(number()?).as_bytes().to_vec()),
            op::EVENT_CHANGE => {
                let ask = request::body::<EventChange>(body).ok_or((code::REQUEST_MALFORMED, Vec::new()))?;
                self.event_change(ask)
            }
            op::GLOBALS => self.globals(body),
            op::GLOBAL_ADD => self.global_add(body),
            op::MESSAGES => Ok(self.messages()),
            op::EVALUATE => self.evaluate(number()?),
            op::MEMORY_READ => self.memory_read(body),
            op::MEMORY_WRITE => self.memory_write(body),
            op::MEMORY_SEARCH => self.memory_search(body),
            thread::op::ORDER => self.order(body),
            thread::op::ORDERED => self.ordered(body),
            thread::op::THREADS => self.all_threads(body),
            op::NOTES => Ok(Notes { notes: self.linux.notes }.as_bytes().to_vec()),
            op::TRANSLATE => self.translate(body),
            op::LEDGER => Ok(self.ledger().as_bytes().to_vec()),
            op::OWNERS => Ok(self.owners().as_bytes().to_vec()),
            op::PAUSE | op::GO | op::FETCH | op::STEP | op::UNLOAD | op::ATTEND if !self.link => no(code::LINK_ONLY),
            op::ATTEND => Ok(Vec::new()),
            op::PAUSE => {
                self.halted = true;
                Ok(self.context(reason::PAUSE, 0).as_bytes().to_vec())
            }
            op::UNLOAD => {
                self.notices.push_back(write(notice::GOODBYE, Number { value: goodbye::UNLOAD }.as_bytes()));
                self.halted = false;
                self.loaded = false;
                Ok(Vec::new())
            }
            op::CORES => Ok(self.all_cores().as_bytes().to_vec()),
            op::EXITS if !self.is_core(number()?) => no(code::CORE_INVALID),
            op::EXITS => Ok(self.exits(u32::try_from(number()?).unwrap_or(0)).as_bytes().to_vec()),
            op::TEST if !(test::FAULT_UD..=test::TRAP_PASS_OFF).contains(&number()?) => no(code::TEST_UNKNOWN),
            op::TEST => {
                self.test(number()?);
                Ok(Vec::new())
            }
            op::GO | op::CORE_SELECT | op::REGISTERS | op::FETCH | op::STEP if !self.halted => no(code::NOT_HALTED),
            op::GO => {
                self.halted = false;
                Ok(Vec::new())
            }
            op::CORE_SELECT if !self.is_core(number()?) => no(code::CORE_INVALID),
            op::CORE_SELECT => {
                self.core = u32::try_from(number()?).unwrap_or(0);
                Ok(self.context(reason::CORE_SELECTED, 0).as_bytes().to_vec())
            }
            op::STEP => {
                let ask = request::body::<StepAsk>(body).ok_or((code::REQUEST_MALFORMED, Vec::new()))?;
                self.step(ask.count);
                Ok(Vec::new())
            }
            op::REGISTERS => Ok(self.registers().as_bytes().to_vec()),
            op::FETCH => {
                self.fetch(number()?);
                Ok(Vec::new())
            }
            _ => no(code::REQUEST_UNKNOWN),
        }
    }

    fn fetch(&mut self, frames: u64) {
        self.halted = false;
        let (reason, fetched) = match self.linux_gives {
            None => return,
            Some(gives) if gives >= frames => (reason::FETCHED, frames),
            Some(_) => (reason::FETCH_FAILED, 0),
        };
        if !self.fetched_is_lost {
            self.bank_free += fetched;
        }
        self.tend();
        self.halted = true;
        self.core = 1;
        let context = Halted { missed: self.events_meanwhile, ..self.context(reason, fetched) };
        self.notices.push_back(write(notice::HALTED, context.as_bytes()));
    }

    /// From one instruction to the one behind it, wherever it would lead.
    fn step(&mut self, count: u64) {
        for _ in 0..count {
            self.registers.rip += self.length_at(self.registers.rip);
        }
        let context = Halted { steps: count, ..self.context(reason::STEPPED, 0) };
        self.notices.push_back(write(notice::HALTED, context.as_bytes()));
    }

    fn test(&mut self, number: u64) {
        if number <= test::FAULT_STACK {
            self.notices.push_back(write(
                notice::LAST_WORDS,
                b"root: vector 0x6 at 0xffff87ff80001000, core 0\nlast exits: cpuid msr cpuid",
            ));
            self.loaded = false;
        }
    }

    fn context(&self, reason: u32, fetched: u64) -> Halted {
        let registers = self.registers();
        let (core, rip, rflags, cr3) = (self.core, registers.rip, registers.rflags, registers.crs[2]);
        let (bytes, bytes_valid) = self.code_at(rip);
        let running = tasks::running(core);
        Halted { core, reason, rip, rflags, cr3, bytes, bytes_valid, cpl: 0, fetched, running, ..Halted::default() }
    }

    fn registers(&self) -> Registers {
        let mut registers = self.registers;
        if self.core != 0 {
            registers.core = self.core;
            registers.gprs[0] = self.core.into();
        }
        registers
    }

    fn core_numbers(&self) -> impl Iterator<Item = u32> {
        let most = usize::try_from(self.cores).unwrap_or(usize::MAX);
        (0..).filter(|number| Some(*number) != self.offline).take(most)
    }

    fn is_core(&self, number: u64) -> bool {
        self.core_numbers().take_while(|core| u64::from(*core) <= number).any(|core| u64::from(core) == number)
    }

    fn all_cores(&self) -> Cores {
        let mut all = Cores::new_zeroed();
        all.count = self.cores;
        all.selected = self.core;
        for (number, core) in self.core_numbers().zip(&mut all.cores) {
            let rip = if self.halted { self.registers.rip } else { 0 };
            let running = if self.halted { tasks::running(number) } else { Task::default() };
            *core = CoreState { core: number, state: self.halted.into(), rip, exits: 0x100, running };
        }
        all
    }

    fn exits(&self, core: u32) -> Exits {
        let mut exits = Exits::new_zeroed();
        exits.core = core;
        let counted = [("cpuid", 12), ("msr", 34), ("hlt", 0)];
        exits.count = 3;
        for (row, (name, count)) in exits.rows.iter_mut().zip(counted) {
            let mut bytes = [0; 16];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            *row = ExitRow { name: bytes, count };
        }
        exits
    }
}

/// An answer that has its numbers with every code.
fn numbers((code, answer): (u32, PreallocAnswer)) -> Answered {
    let bytes = answer.as_bytes().to_vec();
    if code == code::SUCCESS { Ok(bytes) } else { Err((code, bytes)) }
}

fn write(code: u32, body: &[u8]) -> Vec<u8> {
    let mut room = [0; request::MESSAGE_BYTES_MAX];
    let bytes = request::write(&mut room, code, body).unwrap_or(0);
    room[..bytes].to_vec()
}

/// The model as a target, shared with the test that looks into it.
#[derive(Debug)]
pub struct Fake {
    root: Arc<Mutex<Root>>,
    inbox: Arc<Inbox>,
}

impl Fake {
    /// A target over `root`, whose notices go to `inbox`.
    #[must_use]
    pub fn new(root: Arc<Mutex<Root>>, inbox: Arc<Inbox>) -> Self {
        let fake = Self { root, inbox };
        let hello = fake.with(|root| (root.loaded && root.link).then(|| root.hello()));
        if let Some(hello) = hello {
            fake.inbox.push(News::Met { hello, how: Met::First });
        }
        fake
    }

    fn with<T>(&self, act: impl FnOnce(&mut Root) -> T) -> T {
        act(&mut self.root.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Target for Fake {
    fn mode(&self) -> Mode {
        if self.with(|root| root.link) { Mode::Debugger } else { Mode::Vmi }
    }

    fn name(&self) -> String {
        "model".to_owned()
    }

    fn call(&mut self, op: u32, body: &[u8], _: &Cancel) -> Result<(u32, Vec<u8>), Reach> {
        let message = write(op, body);
        let (answer, notices) = self.with(|root| (root.answer(&message), std::mem::take(&mut root.notices)));
        for notice in notices {
            if let Some(news) = crate::target::remote::news_of(&notice) {
                self.inbox.push(news);
            }
        }
        let (head, body) = request::split(&answer).ok_or(Reach::Malformed { op })?;
        Ok((head.code, body.to_vec()))
    }

    fn load(&mut self, bank_frames: u64, flags: u32) -> Result<Load, Reach> {
        self.with(|root| {
            let (status, detail) = root.load;
            // As the module does: one that is loaded stays as it is.
            if status == code::SUCCESS && !root.loaded {
                root.loaded = true;
                root.listens = flags & LOAD_LINK != 0 && root.uart;
                if bank_frames != 0 {
                    root.bank_free = bank_frames;
                }
            }
            let cores = if status == code::SUCCESS { root.cores } else { 0 };
            Ok(Load { bank_frames, status, detail, cores, flags })
        })
    }

    fn file(&self, path: &str) -> io::Result<Vec<u8>> {
        self.with(|root| root.linux.files.get(path).cloned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn start(&mut self, _: &str, _: &[&str]) -> io::Result<u32> {
        Ok(memory::PID)
    }

    fn unload(&mut self) -> Result<Load, Reach> {
        self.with(|root| {
            let status = if root.loaded { code::SUCCESS } else { code::NOT_LOADED };
            (root.loaded, root.listens) = (false, false);
            Ok(Load { status, ..Load::default() })
        })
    }
}
