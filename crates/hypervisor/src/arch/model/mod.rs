//! The third back end: a machine in plain Rust, for tests on the host.
//!
//! A core is a thread that runs [`crate::life`]; its guest is a loop that counts and, when asked, makes hypercalls. NMIs, the
//! local APIC and the UART are words in memory with the rules of the real ones: an NMI is latched once, and the UART's
//! line raises one only when it rises. So halts, the link and the bank are tried by the thousand, with no emulator.

pub mod apic;
pub mod ports;
pub mod uart;

extern crate std;
use crate::arch::nested::guarded::Guarded;
use crate::arch::nested::open::Open;
use crate::arch::svm::npt::Npt;
use crate::arch::x86;
use crate::arch::x86::direct::arena;
use crate::arch::x86::direct::{self, Frame};
use crate::arch::{
    Begun, CannotEnter, Core, Delivery, Event, Exit, FRAMES_PER_CORE, Frames, Guard, Injection, Machine, MsrAccess, NoFrame,
    Passing, Run, Segment, SystemRegisters, Watch,
};
use crate::walk;
use abi::boot::{self, Block};
use abi::request::Registers;
use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Cores of the model.
pub const CORES: usize = 3;

std::thread_local! {
    static THIS: Cell<u32> = const { Cell::new(u32::MAX) };
}

/// What the guest of one core and its tests share.
pub struct Guest {
    nmi: AtomicBool,
    /// NMIs that reached the guest.
    pub nmis: AtomicU64,
    /// Turns of its loop: it stands still while halted.
    pub turns: AtomicU64,
    /// Ticks that are hidden from it.
    pub hidden: AtomicU64,
    calls: Mutex<VecDeque<(Quad, Sender<Quad>)>>,
}
type Quad = [u64; 4];

/// The guests, by core.
pub static GUESTS: [Guest; CORES] = [const {
    Guest {
        nmi: AtomicBool::new(false),
        nmis: AtomicU64::new(0),
        turns: AtomicU64::new(0),
        hidden: AtomicU64::new(0),
        calls: Mutex::new(VecDeque::new()),
    }
}; CORES];

/// The model's cores are threads, of which there may be more than processors.
pub fn relax() {
    std::thread::yield_now();
}

/// Latches an NMI for a core.
pub fn raise_nmi(core: u32) {
    GUESTS[core as usize].nmi.store(true, SeqCst);
}

impl Guest {
    /// Has the guest make a hypercall (rax, rbx, rcx, rdx); the answer comes when it runs on.
    pub fn call(&self, quad: Quad) -> Receiver<Quad> {
        let (answer, answers) = channel();
        self.calls.lock().unwrap().push_back((quad, answer));
        answers
    }
}

/// The vendor.
pub struct Model;

/// One core.
pub struct ModelCore {
    core: u32,
    /// By their number in instructions.
    pub gprs: [u64; 16],
    rip: u64,
    due: bool,
    asked: Option<Sender<Quad>>,
    exit: Exit,
    /// What its guest executes.
    pub text: &'static [u8],
    /// Flags, cr0, cr4.
    pub modes: [u64; 3],
    /// By their number.
    pub debug: [u64; 8],
    /// Page tables.
    pub tables: u64,
    /// 16, 32 or 64.
    pub bits: u8,
    /// Every segment register.
    pub segment: Segment,
    /// The last event but NMIs.
    pub injected: Option<Event>,
    /// The one page that is executed, and what is instead.
    pub executed: Option<(u64, u64)>,
}

impl ModelCore {
    /// The core of this number, on the thread that calls.
    pub fn new(core: u32) -> ModelCore {
        THIS.set(core);
        ModelCore {
            core,
            gprs: [0; 16],
            rip: 0x1000,
            due: false,
            asked: None,
            text: &[0x90; 16],
            modes: [0; 3],
            debug: [0; 8],
            tables: 0,
            bits: 64,
            segment: Segment::default(),
            injected: None,
            executed: None,
            exit: Exit::Nmi,
        }
    }

    fn guest(&self) -> &'static Guest {
        &GUESTS[self.core as usize]
    }
}

/// Nested tables of the model: those of SVM, which nobody walks but tests.
#[expect(unsafe_code, reason = "frames of the tests' own RAM")]
pub fn views<T>(with: impl FnOnce(&Guarded<Npt>) -> T) -> T {
    type Views = (std::boxed::Box<Open<Npt>>, Guarded<Npt>);
    static VIEWS: Mutex<Option<Views>> = Mutex::new(None);
    let mut views = VIEWS.lock().unwrap();
    let (_, guarded) = views.get_or_insert_with(|| {
        let mut open = std::boxed::Box::new(Open::empty());
        // SAFETY: the arena hands out each frame once.
        let mut frame = || arena::run(1).map(|pfn| unsafe { Frame::claim(pfn) });
        open.build(40, x86::direct::end(), &mut frame).unwrap();
        let mut guarded = Guarded::empty();
        guarded.build(open.root_pa(), x86::direct::end(), &mut || frame().map(|frame| frame.pfn())).unwrap();
        (open, guarded)
    });
    with(guarded)
}

impl Machine for Model {
    type Core = ModelCore;
    const NAME: &'static str = "model";
    const CALL: [u8; 3] = [0x0f, 0x01, 0xd9];

    fn supported() -> Result<(), CannotEnter> {
        Ok(())
    }
    fn prepare(_: &mut Frames) -> Result<(), NoFrame> {
        Ok(())
    }
    fn own_ports(_: u16, _: u16) {}
    fn watch_ports(_: bool, _: &[u16]) {}
    fn watch_msrs(_: MsrAccess, _: bool, _: &[u32]) {}
    fn hide(_: Block, _: &mut Frames) -> Result<(), NoFrame> {
        Ok(())
    }
    fn show(_: Block) {}
    fn can_guard(pfn: u64) -> bool {
        views(|views| views.reaches(pfn))
    }
    fn executes_only() -> bool {
        false
    }

    fn guard(run: Run, guard: Guard, frames: [u64; 2]) {
        views(|views| views.guard(run, guard, frames));
    }
    fn release(run: Run, frames: [u64; 2], frames_of: &mut dyn FnMut(Run) -> Option<[u64; 2]>) {
        views(|views| views.release(run, frames, frames_of));
    }
    #[expect(unsafe_code, reason = "the trait's")]
    unsafe fn enter(core: u32, _: boot::Core, _: [Frame; FRAMES_PER_CORE]) -> Result<ModelCore, CannotEnter> {
        Ok(ModelCore::new(core))
    }
    fn let_go() -> ! {
        std::panic::panic_any("let go")
    }
}

impl Core for ModelCore {
    fn settle_down(&mut self) {}

    fn exit(&self) -> Exit {
        self.exit
    }

    fn run(&mut self) -> bool {
        let guest = self.guest();
        if core::mem::take(&mut self.due) {
            guest.nmis.fetch_add(1, SeqCst);
        }
        if let Some(asked) = self.asked.take() {
            // Nobody may be waiting for it any more.
            let _gone = asked.send(self.quad());
        }
        loop {
            if guest.nmi.load(SeqCst) {
                self.exit = Exit::Nmi;
                return false;
            }
            if let Some((quad, answer)) = guest.calls.lock().unwrap().pop_front() {
                self.set_quad(quad);
                self.asked = Some(answer);
                self.exit = Exit::Hypercall { cpl: 0 };
                return false;
            }
            guest.turns.fetch_add(1, SeqCst);
            relax();
        }
    }

    fn skip(&mut self) {
        self.rip += 3;
    }

    fn again(&mut self) {}

    fn inject(&mut self, event: Event) {
        match event {
            Event::Nmi => self.due = true,
            event => self.injected = Some(event),
        }
    }

    fn inject_instead(&mut self, _: Injection, _: u8, _: Option<u32>) -> bool {
        false
    }

    fn pass_on(&mut self) {}

    fn watch(&mut self, _: Watch, _: bool) {}

    fn watch_exceptions(&mut self, _: u32) {}

    fn system_call(&mut self, _: u8) {}

    fn system_return(&mut self, _: bool) {}

    fn take_interrupt(&mut self) -> Option<u8> {
        None
    }

    fn interrupt(&mut self, _: u8) {}

    fn drop_interrupt(&mut self, _: u8) {}

    fn fetch_again(&mut self) {}

    fn is_own_nmi(&mut self) -> bool {
        false
    }

    fn is_due(&self) -> bool {
        false
    }

    fn step(&mut self) -> Begun {
        self.rip += 3;
        Begun::Done
    }

    fn execute(&mut self, pfn: u64, shown: u64) -> bool {
        self.executed = Some((pfn, shown));
        true
    }

    fn execute_all(&mut self) {
        self.executed = None;
    }

    fn executes_page(&self) -> bool {
        self.executed.is_some()
    }

    fn rflags(&self) -> u64 {
        self.modes[0]
    }

    fn deliver_unguarded(&mut self) {}

    fn passing(&self) -> bool {
        false
    }

    fn passed(&mut self) -> Passing {
        Passing::Broken
    }

    fn passed_by_root(&mut self) -> Option<bool> {
        None
    }

    fn delivery(&self) -> Option<Delivery> {
        None
    }

    fn continue_at(&mut self, rip: u64) {
        self.rip = rip;
    }

    fn take_nmi(&mut self) -> u64 {
        u64::from(self.guest().nmi.swap(false, SeqCst))
    }

    fn quad(&self) -> Quad {
        [0, 3, 1, 2].map(|number| self.gprs[number])
    }

    fn set_quad(&mut self, quad: Quad) {
        [0, 3, 1, 2].into_iter().zip(quad).for_each(|(number, value)| self.gprs[number] = value);
    }

    fn code(&self, to: &mut [u8]) -> usize {
        let count = to.len().min(self.text.len());
        to[..count].copy_from_slice(&self.text[..count]);
        count
    }

    fn near_code(&mut self) -> Option<u128> {
        let mut bytes = [0; 16];
        (self.code(&mut bytes) > 0).then_some(u128::from_le_bytes(bytes))
    }

    fn near_instruction(&mut self) -> Option<(u64, u128)> {
        let (pa, _) = self.near_data(self.rip)?;
        Some((pa, self.near_code()?))
    }

    fn is_plain(&self) -> bool {
        true
    }

    fn meets_breakpoint(&self) -> bool {
        false
    }

    fn meets_guard(&self) -> Option<u64> {
        None
    }

    fn near_data(&mut self, linear: u64) -> Option<(u64, u64)> {
        let look = walk::look(self.tables, linear, direct::read);
        let entries = look.entries.get(..look.levels)?;
        let last = entries.last()?.value;
        Some((look.found?, entries.iter().fold(last, |all, entry| all & (entry.value | walk::DIRTY))))
    }

    fn may_write(&mut self, _: u64) -> bool {
        true
    }

    fn registers(&self) -> Registers {
        let [rflags, cr0, cr4] = self.modes;
        Registers { core: self.core, rip: self.rip, rflags, crs: [cr0, 0, self.tables, cr4], ..Registers::default() }
    }

    fn gpr(&self, number: usize) -> u64 {
        self.gprs[number & 15]
    }

    fn set_gpr(&mut self, number: u8, value: u64) {
        self.gprs[usize::from(number & 15)] = value;
    }

    fn set_rip(&mut self, value: u64) {
        self.rip = value;
    }

    fn set_rflags(&mut self, _: u64) {}

    fn segment(&self, _: u8) -> Segment {
        self.segment
    }

    fn code_bits(&self) -> u8 {
        self.bits
    }

    fn cr3(&self) -> u64 {
        self.tables
    }

    fn kernel_gs(&self) -> u64 {
        0
    }

    fn system(&self) -> SystemRegisters {
        SystemRegisters::default()
    }

    fn read_msr(&self, _: u32) -> Option<u64> {
        None
    }

    fn write_msr(&mut self, _: u32, _: u64) -> bool {
        false
    }

    fn control_wanted(&self, register: u8) -> Result<u64, Event> {
        let form = x86::decode::split(self.text, self.bits == 64);
        match x86::control::source(&form, register, |number| self.gpr(number.into()), |_| 0) {
            Some(x86::control::Source::Register(number)) => Ok(self.gpr(number.into())),
            _ => Err(Event::UndefinedInstruction),
        }
    }

    fn write_control(&mut self, register: u8, value: u64) -> bool {
        if value >> 32 == 0 {
            self.modes[1 + usize::from(register) / 4] = value;
        }
        value >> 32 == 0
    }

    fn debug_register(&self, number: u8) -> u64 {
        self.debug[usize::from(number & 7)]
    }

    fn set_debug_register(&mut self, number: u8, value: u64) {
        self.debug[usize::from(number & 7)] = value;
    }

    fn cpl(&self) -> u8 {
        0
    }

    fn rip(&self) -> u64 {
        self.rip
    }

    fn mask_cpuid(&self, _: u32, _: &mut [u64; 4]) {}

    fn efer(&self) -> u64 {
        0
    }

    fn set_efer(&mut self, _: u64) {}

    fn hide_time(&mut self, ticks: u64) {
        self.guest().hidden.store(ticks, SeqCst);
    }

    fn hidden_time(&self) -> u64 {
        self.guest().hidden.load(SeqCst)
    }

    fn flush(&mut self) {}

    fn leave(&mut self) -> ! {
        std::panic::panic_any("left")
    }
}
