//! Answers of a root that says anything, given to every command: no panic, and never silence about a failure.
//!
//! The line's CRC keeps noise out, not another version or a root whose memory is broken.
#![no_main]

use abi::code;
use abi::ioctl::Load;
use abi::request::memory::{Found, Read, Translation, Written};
use abi::request::{
    Cores, Evaluated, EventAnswer, Events, Exits, Halted, Hello, Ledger, MESSAGE_BYTES_MAX, Messages, Number, Owners, PreallocAnswer, Registers, op,
};
use debugger::error::Reach;
use debugger::news::Inbox;
use debugger::session::{Console, Look, Session, Verdict};
use debugger::target::{Cancel, Mode, Target};
use libfuzzer_sys::fuzz_target;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use zerocopy::FromBytes;

/// What asks root for something, in every form that reads another answer.
const LINES: [&str; 31] = [
    "!cpuid 1",
    "!tsc buffer 10 script { eq($buffer, 1); }",
    "events",
    "events d 1",
    "print poi(@rsp)",
    "events c all",
    "prealloc",
    "prealloc monitor 10",
    "prealloc release monitor",
    "prealloc release monitor 1",
    concat!("prealloc plan ", env!("CARGO_MANIFEST_DIR"), "/seeds/plan.kd"),
    "test hold monitor 10",
    "test let monitor",
    "test fail monitor 1",
    "pause",
    "r",
    "r rax",
    "~",
    "~ 1",
    "exits",
    "status",
    "load",
    "? rip",
    "g",
    "unload",
    "dq 0 l 40",
    "!eb 0 1",
    "sb 0 l 40 1",
    "u 0 l 40",
    "!pte 0",
    "!pa2va 0",
];

/// Bytes that are used up one after the other; then zeros.
struct Bytes(VecDeque<u8>);

impl Bytes {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.0.pop_front().unwrap_or(0))
    }
}

struct Anyone {
    bytes: Bytes,
    mode: Mode,
}

fn body_bytes(op: u32) -> usize {
    match op {
        op::HELLO => size_of::<Hello>(),
        op::PREALLOC | op::RELEASE | op::TEST_RESERVE => size_of::<PreallocAnswer>(),
        op::LEDGER => size_of::<Ledger>(),
        op::OWNERS => size_of::<Owners>(),
        op::PAUSE | op::CORE_SELECT => size_of::<Halted>(),
        op::CORES => size_of::<Cores>(),
        op::REGISTERS => size_of::<Registers>(),
        op::EXITS => size_of::<Exits>(),
        op::EVENT_ADD => size_of::<EventAnswer>(),
        op::EVENTS => size_of::<Events>(),
        op::EVENT_CHANGE => size_of::<Number>(),
        op::MESSAGES => size_of::<Messages>() + 64,
        op::EVALUATE => size_of::<Evaluated>(),
        op::MEMORY_READ => size_of::<Read>() + 0x40,
        op::MEMORY_WRITE => size_of::<Written>(),
        op::MEMORY_SEARCH => size_of::<Found>(),
        op::TRANSLATE => size_of::<Translation>(),
        _ => 0,
    }
}

impl Target for Anyone {
    fn mode(&self) -> Mode {
        self.mode
    }

    fn name(&self) -> String {
        "anyone".to_owned()
    }

    fn call(&mut self, op: u32, _: &[u8], _: &Cancel) -> Result<(u32, Vec<u8>), Reach> {
        let [choice] = self.bytes.take();
        let code = match choice & 7 {
            0..4 => code::SUCCESS,
            4 => code::BANK_SHORT,
            5 => code::COUNT_TOO_LARGE,
            6 => code::KERNEL_OUT_OF_MEMORY,
            _ => u32::from_le_bytes(self.bytes.take()),
        };
        // Mostly of the right size, else nobody would look into it.
        let bytes = match choice >> 3 & 7 {
            0 => 0,
            1 => usize::from(u16::from_le_bytes(self.bytes.take())) % MESSAGE_BYTES_MAX,
            _ => body_bytes(op),
        };
        Ok((code, (0..bytes).map(|_| u8::from_le_bytes(self.bytes.take())).collect()))
    }

    fn load(&mut self, _: u64, _: u32) -> Result<Load, Reach> {
        let bytes: [u8; size_of::<Load>()] = self.bytes.take();
        Load::read_from_bytes(&bytes).map_err(|_| Reach::Malformed { op: 0 })
    }

    fn unload(&mut self) -> Result<Load, Reach> {
        self.load(0, 0)
    }
}

/// Counts what was printed.
struct Heard(Arc<AtomicUsize>);

impl Console for Heard {
    fn print(&mut self, text: &str) {
        assert!(!text.is_empty(), "an empty print");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fuzz_target!(|data: &[u8]| {
    static COMMANDS: OnceLock<usize> = OnceLock::new();
    let known = *COMMANDS.get_or_init(|| LINES.iter().filter(|line| knows(line)).count());
    assert_eq!(known, LINES.len(), "a command of the list has another name now");

    let Some((choice, data)) = data.split_first() else { return };
    let mode = if choice & 1 == 0 { Mode::Debugger } else { Mode::Vmi };
    let look = Look { json: choice & 2 != 0, colour: choice & 4 != 0 };
    let target = Anyone { bytes: Bytes(data.iter().copied().collect()), mode };
    let heard = Arc::new(AtomicUsize::new(0));
    let inbox = Arc::new(Inbox::default());
    let mut session = Session::over(Box::new(target), Box::new(Heard(Arc::clone(&heard))), look, inbox, Cancel::default());
    session.set_fetch_limit(Duration::ZERO);
    let begin = usize::from(choice >> 3) % LINES.len();
    // On the link, `unload` waits for a farewell, for seconds.
    let lines = LINES.iter().filter(|line| mode == Mode::Vmi || **line != "unload");
    for line in lines.cycle().skip(begin).take(4) {
        let before = heard.load(Ordering::Relaxed);
        let verdict = session.run(line);
        let said = heard.load(Ordering::Relaxed) > before;
        assert!(said || !matches!(verdict, Verdict::Failed | Verdict::Unreachable), "silence about a failure of `{line}`");
        assert!(session.prompt().ends_with("HyperDbg> "));
    }
});

fn knows(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(|name| debugger::commands::find(name).is_some())
}
