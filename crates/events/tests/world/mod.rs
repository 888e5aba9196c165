//! A machine for tests: a reserve like root's, frames that notice who uses them when they must not, and cores.

#![allow(dead_code, reason = "each test file uses its part of it")]

use abi::kind::Kind;
use abi::request::{EventAsk, event};
use events::{Added, Code, CodeFault, Ended, Here, Memory, NotAdded, Part, Quick, Reserve, Running, Table};
use reserve::{Block, Extent, KindPlan, Plan, Shape, Slot, table_words};
use script_vm::limits::{DATA_BYTES, STACK_WORDS};
use script_vm::{BadAddress, Control, Interlocked, Label, Machine, Program, Pseudo, Refused, Scratch, Size, Space, Special};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// What lies in frames that were given back.
pub const POISON: u64 = 0xdead_dead_dead_dead;

/// Cells that scripts share.
pub static CELLS: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

/// What `crates/hypervisor` makes of each kind; levels by hand.
pub fn reserve(levels: [u64; Kind::COUNT]) -> Reserve<'static> {
    let shapes = [(1, 256), (5, 0), (3, 256), (3, 512), (2, 512), (21, 512), (1, 0), (20, 0), (0, 256)];
    let mut kind = levels.into_iter().zip(shapes).map(|(level, (frames, bytes))| KindPlan {
        shape: Shape { frames, bytes },
        low: 0,
        target: level,
        high: u64::MAX,
        ram_1024ths: 1024,
    });
    let plan = Plan { kinds: [(); Kind::COUNT].map(|()| kind.next().unwrap()), ram_frames: 1 << 18, bank_target: 0 };
    let blocks = 1;
    let slots: &'static [Slot<'static>] = Box::leak((0..blocks).map(|_| Slot::new()).collect());
    let reserve = Reserve::new(&plan, slots).unwrap();
    for number in 0..blocks {
        reserve.add_table(Box::leak((0..table_words(9)).map(|_| AtomicU64::new(0)).collect())).unwrap();
        reserve.donate(Block { pfn: 0x1000 + number * 512, order: 9, used: 0, keep: false }).unwrap();
    }
    for (kind, level) in levels.into_iter().enumerate().filter(|(_, level)| *level > 0) {
        reserve.prealloc(kind, level).unwrap();
    }
    reserve
}

/// Levels of the four kinds that events need: regular and big event, regular and big buffer.
pub const fn levels(events: [u64; 2], buffers: [u64; 2]) -> [u64; Kind::COUNT] {
    [0, 0, 0, 0, events[0], events[1], buffers[0], buffers[1], 0]
}

/// Frames as they are used: programs by their first frame, buffers by theirs.
#[derive(Default)]
pub struct Arena {
    programs: Mutex<HashMap<u64, Arc<[u64]>>>,
    buffers: Mutex<HashMap<u64, Vec<u8>>>,
    /// What can be executed: the first frame and the bytes, by event.
    open: Mutex<HashMap<u32, (u64, u64)>>,
    /// Nothing can be made executable.
    pub closed: AtomicBool,
    /// Frames that are no memory.
    pub broken: AtomicU64,
}

impl Memory for Arena {
    type Program = Arc<[u64]>;

    fn fill(&self, pfn: u64, words: &[u64]) -> bool {
        let mut programs = self.programs.lock().unwrap();
        let before = programs.insert(pfn, words.into());
        assert!(before.is_none_or(|before| before[0] == POISON), "M1: written while it is an event's");
        pfn != self.broken.load(SeqCst)
    }

    fn clear(&self, pfn: u64, frames: u32) -> bool {
        let before = self.buffers.lock().unwrap().insert(pfn, vec![0; frames as usize * 4096]);
        assert_eq!(before, None, "M1: cleared while it is an event's");
        true
    }

    fn program(&self, pfn: u64, frames: u32) -> Option<Arc<[u64]>> {
        let program = self.programs.lock().unwrap().get(&pfn)?.clone();
        assert_ne!(program[0], POISON, "E3: read after it was given back");
        (program.len() <= frames as usize * 512).then_some(program)
    }

    fn buffer_read(&self, pfn: u64, offset: usize, size: Size) -> Option<u64> {
        let buffers = self.buffers.lock().unwrap();
        let mut value = [0; 8];
        value[..size.bytes()].copy_from_slice(&buffers.get(&pfn).expect("E3")[offset..offset + size.bytes()]);
        Some(u64::from_le_bytes(value))
    }

    fn buffer_write(&self, pfn: u64, offset: usize, size: Size, value: u64) -> Option<()> {
        let mut buffers = self.buffers.lock().unwrap();
        let place = &mut buffers.get_mut(&pfn).expect("E3")[offset..offset + size.bytes()];
        place.copy_from_slice(&value.to_le_bytes()[..size.bytes()]);
        Some(())
    }

    fn open_code(&self, id: u32, pfn: u64, bytes: u64) -> bool {
        let closed = self.closed.load(SeqCst);
        if !closed {
            assert_eq!(self.open.lock().unwrap().insert(id, (pfn, bytes)), None, "M4: opened while it is open");
        }
        !closed
    }

    fn close_code(&self, id: u32) {
        assert!(self.open.lock().unwrap().remove(&id).is_some(), "M4: closed, and it was not open");
    }

    fn given_back(&self, extent: &Extent) {
        assert!(self.open.lock().unwrap().values().all(|(pfn, _)| *pfn != extent.pfn), "M4: given back while it is open");
        let mut programs = self.programs.lock().unwrap();
        if let Some(program) = programs.get_mut(&extent.pfn) {
            assert_eq!(Arc::strong_count(program), 1, "M2: a core reads what is given back");
            *program = [POISON; 8].into();
        }
        self.buffers.lock().unwrap().remove(&extent.pfn);
    }
}

/// Everything that an event is registered with.
pub struct World<const EVENTS: usize> {
    pub table: Table<EVENTS>,
    pub reserve: Reserve<'static>,
    pub arena: Arena,
}

impl Arena {
    /// The bytes of machine code of an event, with the return behind them.
    pub fn code(&self, id: u32, code: &Code) -> Vec<u8> {
        let (pfn, bytes) = *self.open.lock().unwrap().get(&id).expect("M4: run while it is not open");
        let words = self.program(pfn, 32).expect("E3: run after it was given back");
        let all: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).take(usize::try_from(bytes).unwrap()).collect();
        all[code.offset as usize..=(code.offset + code.bytes) as usize].to_vec()
    }

    /// Events whose code can be executed.
    pub fn open(&self) -> usize {
        self.open.lock().unwrap().len()
    }
}

impl<const EVENTS: usize> World<EVENTS> {
    pub fn new(levels: [u64; Kind::COUNT]) -> Self {
        World { table: Table::new(), reserve: reserve(levels), arena: Arena::default() }
    }

    pub fn add(&self, ask: &EventAsk, program: &[u64]) -> Result<Added, NotAdded> {
        let ask = EventAsk { program_words: u32::try_from(program.len()).unwrap(), ..*ask };
        self.table.add(&ask, program, &self.arena, &self.reserve, 0)
    }

    /// With machine code: of a condition and of an action.
    pub fn add_code(&self, ask: &EventAsk, program: &[u64], condition: &[u8], code: &[u8]) -> Result<Added, NotAdded> {
        let [condition_bytes, code_bytes] = [condition, code].map(|code| u32::try_from(code.len()).unwrap());
        let program_words = u32::try_from(program.len()).unwrap();
        let ask = EventAsk { program_words, condition_bytes, code_bytes, ..*ask };
        let staged = [program, &staged(condition), &staged(code)].concat();
        self.table.add(&ask, &staged, &self.arena, &self.reserve, 0)
    }

    pub fn change(&self, what: u32, id: u32) -> Result<u32, u32> {
        self.table.change(what, id, &self.arena, &self.reserve, 0)
    }

    pub fn settle(&self) -> u32 {
        self.table.settle(&self.arena, &self.reserve, 0)
    }

    /// Units in use: of regular and big events, regular and big buffers.
    pub fn used(&self) -> [u64; 4] {
        self.reserve.audit().unwrap();
        let ledger = self.reserve.ledger();
        [4, 5, 6, 7].map(|kind: usize| ledger.kinds[kind].used)
    }

    pub fn row(&self, id: u32) -> abi::request::EventRow {
        let rows = self.table.rows(id);
        assert!(rows.count > 0 && rows.rows[0].id == id, "no event {id:x}");
        rows.rows[0]
    }
}

/// Machine code as it is staged.
pub fn staged(code: &[u8]) -> Vec<u64> {
    let mut bytes = code.to_vec();
    if !code.is_empty() {
        bytes.push(event::CODE_RETURN);
        bytes.resize(bytes.len().next_multiple_of(8), event::CODE_FILL);
    }
    bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

/// An event on CPUID, before it, everywhere.
pub fn cpuid() -> EventAsk {
    EventAsk { kind: event::CPUID, stage: event::PRE, core: event::ALL, pid: event::ALL, ..EventAsk::default() }
}

/// A script as words.
pub fn words(text: &str) -> Vec<u64> {
    script::compile(text, &script::NoSymbols, &script::Options::default()).expect("a script").words
}

/// A core, in an exit.
pub struct Core<'w, const EVENTS: usize> {
    pub world: &'w World<EVENTS>,
    pub number: u32,
    pub process: u32,
    /// How often it was asked which process runs.
    pub pids: u32,
    pub gprs: [u64; 16],
    /// What was said, a number a message.
    pub said: Vec<u8>,
    /// Ids whose programs ran, in order.
    pub ran: Vec<u32>,
    /// What ran of what: ids, and which part; `None` stands for the program.
    pub parts: Vec<(u32, Option<Part>)>,
    /// What its programs do happens again inside of them.
    pub nests: bool,
    running: Option<Running>,
    short_circuit: bool,
    stack: Vec<u64>,
    data: Vec<u8>,
}

impl<'w, const EVENTS: usize> Core<'w, EVENTS> {
    pub fn new(world: &'w World<EVENTS>, number: u32) -> Self {
        Core {
            world,
            number,
            process: 100,
            pids: 0,
            gprs: [0; 16],
            said: Vec::new(),
            ran: Vec::new(),
            parts: Vec::new(),
            nests: false,
            running: None,
            short_circuit: false,
            stack: vec![0; STACK_WORDS],
            data: vec![0; DATA_BYTES],
        }
    }

    pub fn fire(&mut self, kind: u32, stage: u32, option: u64) -> events::Verdict {
        let world = self.world;
        world.table.fire(kind, stage, option, &world.arena, self)
    }

    /// A CPUID of leaf 0, before it, the quick way.
    pub fn cpuid(&mut self) -> events::Verdict {
        self.cpuid_of(0)
    }

    /// A CPUID of this leaf, before it, the quick way.
    pub fn cpuid_of(&mut self, leaf: u64) -> events::Verdict {
        let world = self.world;
        let mut exit = Exit { gprs: self.gprs, leaf };
        match world.table.fire_quick::<{ event::CPUID }>(world.table.mark(self.number), &mut exit) {
            Some(rest) => world.table.fire_rest(rest, event::CPUID, leaf, &world.arena, self),
            None => events::Verdict::default(),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }

    fn event(&self) -> Running {
        self.running.expect("inside an event")
    }
}

/// A core that came out for a CPUID.
struct Exit {
    gprs: [u64; 16],
    leaf: u64,
}

impl Quick for Exit {
    fn option(&self) -> u64 {
        self.leaf
    }
    fn gpr(&self, number: usize) -> u64 {
        self.gprs[number]
    }
    fn count(&mut self, cell: u16, added: u64) {
        CELLS[usize::from(cell)].fetch_add(added, SeqCst);
    }
}

impl<const EVENTS: usize> Here for Core<'_, EVENTS> {
    fn core(&self) -> u32 {
        self.number
    }
    fn thread(&mut self) -> u32 {
        self.pid()
    }

    fn pid(&mut self) -> u32 {
        self.pids += 1;
        self.process
    }
    fn run(&mut self, event: &Running, program: Program<'_>) -> Ended {
        self.ran.push(event.id);
        self.parts.push((event.id, None));
        if self.nests {
            assert_eq!(self.fire(event.kind, event.stage, 0), events::Verdict::default(), "F2");
        }
        (self.running, self.short_circuit) = (Some(*event), event.short_circuit);
        let (mut stack, mut data) = (std::mem::take(&mut self.stack), std::mem::take(&mut self.data));
        let mut scratch = Scratch { stack: &mut stack, data: &mut data };
        let fault = script_vm::run(program, self, &mut scratch, 1000).err();
        (self.stack, self.data, self.running) = (stack, data, None);
        Ended { short_circuit: self.short_circuit, fault }
    }
    /// What the model understands: the first byte is compared with the first byte of rax (a condition), or written there; 0xee
    /// is an exception of the vector that the second byte says, at the third.
    fn call(&mut self, event: &Running, code: &Code) -> Result<u64, CodeFault> {
        let bytes = self.world.arena.code(event.id, code);
        assert_eq!(bytes.last(), Some(&event::CODE_RETURN), "N1");
        self.parts.push((event.id, Some(code.part)));
        match bytes[0] {
            0xee => Err(CodeFault { vector: bytes[1], offset: Some(bytes[2].into()).filter(|offset| *offset < 0xff) }),
            byte if code.part == Part::Condition => Ok(u64::from(self.gprs[0] & 0xff == byte.into()) << 40),
            byte => {
                self.gprs[0] = byte.into();
                if event.buffer.bytes() > 0 {
                    let offset = usize::from(bytes[1]);
                    event.buffer.write(&self.world.arena, offset, Size::One, 0x77).expect("within the buffer");
                }
                Ok(0)
            }
        }
    }
}

impl<const EVENTS: usize> Machine for Core<'_, EVENTS> {
    fn gpr(&self, number: u8) -> u64 {
        self.gprs[usize::from(number)]
    }
    fn set_gpr(&mut self, number: u8, value: u64) {
        self.gprs[usize::from(number)] = value;
    }
    fn special(&self, _: Special) -> u64 {
        0
    }
    fn set_special(&mut self, _: Special, _: u64) -> Result<(), Refused> {
        Err(Refused)
    }
    fn pseudo(&self, pseudo: Pseudo) -> u64 {
        match pseudo {
            Pseudo::EventId => self.event().id.into(),
            Pseudo::EventStage => u64::from(self.event().stage == event::POST),
            _ => 0,
        }
    }
    fn label(&self, _: Label) -> [u8; 16] {
        [0; 16]
    }
    fn global(&self, cell: u16) -> u64 {
        CELLS[usize::from(cell)].load(SeqCst)
    }
    fn set_global(&mut self, cell: u16, value: u64) {
        CELLS[usize::from(cell)].store(value, SeqCst);
    }
    fn change_global(&mut self, cell: u16, change: Interlocked) -> u64 {
        CELLS[usize::from(cell)].fetch_update(SeqCst, SeqCst, |before| Some(change.applied(before))).unwrap()
    }
    fn read(&mut self, _: Space, _: u64, _: Size) -> Result<u64, BadAddress> {
        Err(BadAddress)
    }
    fn write(&mut self, _: Space, _: u64, _: Size, _: u64) -> Result<(), BadAddress> {
        Err(BadAddress)
    }
    fn change(&mut self, _: u64, _: Interlocked) -> Result<u64, BadAddress> {
        Err(BadAddress)
    }
    fn physical(&mut self, _: u64) -> Result<u64, BadAddress> {
        Err(BadAddress)
    }
    fn direct(&mut self, _: u64) -> Result<u64, BadAddress> {
        Err(BadAddress)
    }
    fn instruction_bytes(&mut self, _: u64, _: u8) -> Result<u64, BadAddress> {
        Err(BadAddress)
    }
    fn buffer_bytes(&self) -> usize {
        self.event().buffer.bytes()
    }
    fn buffer_read(&self, offset: usize, size: Size) -> Option<u64> {
        self.event().buffer.read(&self.world.arena, offset, size)
    }
    fn buffer_write(&mut self, offset: usize, size: Size, value: u64) -> Option<()> {
        self.event().buffer.write(&self.world.arena, offset, size, value)
    }
    fn ticks(&mut self, _: bool) -> u64 {
        // Another core may come in between.
        std::thread::yield_now();
        0
    }
    fn sleep(&mut self, _: u64) {}
    fn control(&mut self, control: Control) -> Result<u64, Refused> {
        let change = |what, id| {
            let id = u32::try_from(id).map_err(|_| Refused)?;
            let world = self.world;
            world.table.change(what, id, &world.arena, &world.reserve, self.number).map(u64::from).map_err(|_| Refused)
        };
        match control {
            Control::Enable(id) => change(event::ENABLE, id),
            Control::Disable(id) => change(event::DISABLE, id),
            Control::Clear(id) => change(event::CLEAR, id),
            Control::ShortCircuit(state) => {
                self.short_circuit = state;
                Ok(0)
            }
            _ => Err(Refused),
        }
    }
    fn say(&mut self, text: &[u8]) {
        self.said.extend_from_slice(text);
    }
    fn said(&mut self) {}
}
