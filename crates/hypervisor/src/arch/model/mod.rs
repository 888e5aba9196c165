//! The third back end: a machine in plain Rust, for tests on the host.
//!
//! A core is a thread that runs [`crate::life`]; its guest is a loop that counts and, when asked, makes hypercalls. NMIs, the
//! local APIC and the UART are words in memory with the rules of the real ones: an NMI is latched once, and the UART's
//! line raises one only when it rises. So halts, the link and the bank are tried by the thousand, with no emulator.

pub mod apic;
pub mod uart;

extern crate std;
use crate::arch::x86::direct::Frame;
use crate::arch::{
    CannotEnter, Core, Event, Exit, FRAMES_PER_CORE, Frames, Injection, Machine, MsrAccess, NoFrame, SystemRegisters, Watch,
};
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
    quad: Quad,
    rip: u64,
    due: bool,
    asked: Option<Sender<Quad>>,
    exit: Exit,
}

impl ModelCore {
    /// The core of this number, on the thread that calls.
    pub fn new(core: u32) -> ModelCore {
        THIS.set(core);
        ModelCore { core, quad: [0; 4], rip: 0x1000, due: false, asked: None, exit: Exit::Nmi }
    }

    fn guest(&self) -> &'static Guest {
        &GUESTS[self.core as usize]
    }
}

impl Machine for Model {
    type Core = ModelCore;
    const NAME: &'static str = "model";

    fn supported() -> Result<(), CannotEnter> {
        Ok(())
    }
    fn prepare(_: &mut Frames) -> Result<(), NoFrame> {
        Ok(())
    }
    fn own_ports(_: u16, _: u16) {}
    fn watch_msrs(_: MsrAccess, _: bool, _: &[u32]) {}
    fn hide(_: Block, _: &mut Frames) -> Result<(), NoFrame> {
        Ok(())
    }
    fn show(_: Block) {}
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
            let _gone = asked.send(self.quad);
        }
        loop {
            if guest.nmi.load(SeqCst) {
                self.exit = Exit::Nmi;
                return false;
            }
            if let Some((quad, answer)) = guest.calls.lock().unwrap().pop_front() {
                self.quad = quad;
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

    fn inject(&mut self, event: Event) {
        self.due |= event == Event::Nmi;
    }

    fn inject_instead(&mut self, _: Injection, _: u8, _: Option<u32>) -> bool {
        false
    }

    fn pass_on(&mut self) {}

    fn watch(&mut self, _: Watch, _: bool) {}

    fn watch_exceptions(&mut self, _: u32) {}

    fn system_call(&mut self, _: u8) {}

    fn system_return(&mut self, _: bool) {}

    fn fetch_again(&mut self) {}

    fn take_nmi(&mut self) -> u64 {
        u64::from(self.guest().nmi.swap(false, SeqCst))
    }

    fn quad(&self) -> Quad {
        self.quad
    }

    fn set_quad(&mut self, quad: Quad) {
        self.quad = quad;
    }

    fn code(&self, to: &mut [u8]) -> usize {
        to.fill(0x90);
        to.len()
    }

    fn registers(&self) -> Registers {
        Registers { core: self.core, rip: self.rip, ..Registers::default() }
    }

    fn gpr(&self, number: usize) -> u64 {
        // Of the general registers the model has the four that hypercalls use.
        match number & 15 {
            0 => self.quad[0],
            1 => self.quad[2],
            2 => self.quad[3],
            3 => self.quad[1],
            _ => 0,
        }
    }

    fn set_gpr(&mut self, number: u8, value: u64) {
        match number & 15 {
            0 => self.quad[0] = value,
            1 => self.quad[2] = value,
            2 => self.quad[3] = value,
            3 => self.quad[1] = value,
            _ => {}
        }
    }

    fn set_rip(&mut self, value: u64) {
        self.rip = value;
    }

    fn set_rflags(&mut self, _: u64) {}

    fn cr3(&self) -> u64 {
        0
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
