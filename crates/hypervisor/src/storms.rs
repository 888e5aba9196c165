//! Root above the floor, on the model: cores are threads, the prompt is the crate `link`'s client.
//!
//! One machine serves every test of this file, one test at a time.

extern crate std;
use crate::arch::model::{CORES, GUESTS, Model, ModelCore, uart};
use crate::arch::x86::direct::arena;
use crate::root::{ROOT, RUNNING};
use crate::{bank, life, line};
use abi::boot::{BLOCK_ORDER_MAX, Block, Boot, Doorbell, FRAME_BYTES, hypercall};
use abi::code;
use abi::kind::Kind;
use abi::request::{
    self, Halted, Hello, Ledger, Number, Owners, PreallocAnswer, PreallocAsk, Registers, ReserveTest, STEPS_MAX, StepAsk,
    notice, op, owner, reason, step, test,
};
use core::mem::offset_of;
use core::sync::atomic::Ordering::SeqCst;
use link::{Client, Event};
use std::boxed::Box;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};
use std::vec::Vec;
use zerocopy::IntoBytes;

/// Longer than any of it takes by far; what takes longer hangs.
const LIMIT: Duration = Duration::from_secs(30);
/// Halts of each storm.
const STORM: u64 = 1000;
/// Frames of each boot block: 2 MiB.
const BOOT_BLOCK: u64 = 512;
/// So many are handed over at the start: what all levels take, and some.
const BOOT_BLOCKS: u32 = 2;

/// The link's other end.
pub struct Prompt {
    client: Box<Client>,
    start: Instant,
    notices: Vec<(u32, Vec<u8>)>,
    /// Frames that "Linux" can still hand over, from here.
    next_block: u64,
    doorbell: u64,
}

static PROMPT: OnceLock<Mutex<Prompt>> = OnceLock::new();

/// The machine, for one test alone.
pub fn machine() -> MutexGuard<'static, Prompt> {
    let prompt = PROMPT.get_or_init(|| Mutex::new(Prompt::power_on()));
    let mut prompt = prompt.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    prompt.notices.clear();
    // On a busy host an earlier test may have kicked a core twice: its one NMI more is none that this one waits for.
    ROOT.cores_in().for_each(|(_, record)| record.late.store(false, SeqCst));
    prompt
}

/// So that there are frames of root's.
pub fn power_on_once() {
    drop(machine());
}

impl Prompt {
    /// Boots the model as the module does: a block of memory, the cores, the link.
    fn power_on() -> Prompt {
        let page = arena::run(2).unwrap() * FRAME_BYTES;
        let (table, doorbell) = (page, page + FRAME_BYTES);
        let skip = arena::run(1).unwrap();
        let first = (skip + 1).next_multiple_of(BOOT_BLOCK);
        arena::run(usize::try_from(first + (7 + u64::from(BOOT_BLOCKS)) * BOOT_BLOCK - skip).unwrap()).unwrap();
        for nth in 0..u64::from(BOOT_BLOCKS) {
            let block = Block { pfn: first + nth * BOOT_BLOCK, order: BLOCK_ORDER_MAX, used: 0 };
            #[expect(unsafe_code, reason = "the test's own frames")]
            // SAFETY: the arena gave this page to nobody else.
            unsafe {
                crate::arch::x86::direct::copy_in(table + nth * size_of::<Block>() as u64, block.as_bytes());
            }
        }
        let root = arena::run(2).unwrap() * abi::boot::FRAME_BYTES;
        let entry = root + (abi::boot::IMAGE_VA >> 39 & 511) * 8;
        #[expect(unsafe_code, reason = "the test's own frames")]
        // SAFETY: the arena gave these frames to nobody else.
        unsafe {
            assert!(crate::arch::x86::direct::write(entry, root + abi::boot::FRAME_BYTES | 3));
        }
        let boot = Boot {
            protocol: abi::PROTOCOL,
            cores: 3,
            root_cr3: root,
            ram_end_pfn: arena::FRAMES,
            ram_frames: arena::FRAMES,
            doorbell_pa: doorbell,
            blocks_pa: table,
            blocks: BOOT_BLOCKS,
            flags: abi::boot::BOOT_LINK,
            boot_id: 7,
            tsc_khz: 2_000_000,
            current_task: 0,
            task_tid: 0,
            task_pid: 0,
            task_name: 0,
            space_tables: 0,
            direct_map: 0,
            first_task: 0,
            task_next: 0,
            task_space: 0,
            notes: [0; abi::request::note::NOTES],
            window_pa: 0,
            fixed: [0; 4],
        };
        ROOT.learn(&boot, "model");
        bank::prepare::<Model>(&boot).unwrap();
        line::open(0, 99);
        ROOT.break_in_by_nmi.store(true, SeqCst);
        uart::call(0);
        for core in 0..3_u32 {
            ROOT.core(core).apic.store(core, SeqCst);
            ROOT.core(core).state.store(RUNNING, SeqCst);
            std::thread::spawn(move || life::live::<Model>(&mut ModelCore::new(core), core));
        }
        line::arm();
        let mut prompt = Prompt {
            client: Box::new(Client::new(1)),
            start: Instant::now(),
            notices: Vec::new(),
            next_block: first + u64::from(BOOT_BLOCKS) * BOOT_BLOCK,
            doorbell,
        };
        let (code, hello) = prompt.ask(op::HELLO, &[]);
        assert_eq!((code, request::body::<Hello>(&hello).unwrap().cores), (code::SUCCESS, 3));
        prompt
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap()
    }

    /// Moves bytes both ways; the answer, if it came.
    fn turn(&mut self) -> Option<Vec<u8>> {
        let out = self.client.outgoing().to_vec();
        self.client.sent(out.len());
        uart::feed(&out);
        let received = uart::drain();
        let mut bytes = received.as_slice();
        let mut answer = None;
        while let Some(event) = self.client.receive(&mut bytes) {
            match event {
                Event::Answer(payload) => answer = Some(payload.to_vec()),
                Event::Notice(payload) | Event::Datagram(payload) => {
                    let (head, body) = request::split(payload).unwrap();
                    self.notices.push((head.code, body.to_vec()));
                }
                Event::Forgotten | Event::OtherVersion { .. } => panic!("the link lost its session"),
            }
        }
        let silent = self.client.poll(self.now());
        assert!(silent.is_none(), "root did not answer");
        std::thread::yield_now();
        answer
    }

    /// A request; the code and the body of its answer.
    pub fn ask(&mut self, code: u32, body: &[u8]) -> (u32, Vec<u8>) {
        let mut room = [0; 256];
        let n = request::write(&mut room, code, body).unwrap();
        self.client.request(self.now(), &room[..n]).unwrap();
        let begun = Instant::now();
        loop {
            if let Some(answer) = self.turn() {
                let (head, body) = request::split(&answer).unwrap();
                return (head.code, body.to_vec());
            }
            assert!(begun.elapsed() < LIMIT, "no answer to {code}");
        }
    }

    fn ok(&mut self, code: u32, body: &[u8]) -> Vec<u8> {
        let (status, answer) = self.ask(code, body);
        assert_eq!(status, code::SUCCESS, "request {code}");
        answer
    }

    fn halted(&mut self) -> Halted {
        let begun = Instant::now();
        loop {
            if let Some(at) = self.notices.iter().position(|(code, _)| *code == notice::HALTED) {
                return request::body(&self.notices.remove(at).1).unwrap();
            }
            self.turn();
            assert!(begun.elapsed() < LIMIT, "no halt was told");
        }
    }

    fn ledger(&mut self) -> Ledger {
        request::body(&self.ok(op::LEDGER, &[])).unwrap()
    }

    fn prealloc(&mut self, kind: Kind, count: u64) -> (u32, PreallocAnswer) {
        let (code, body) = self.ask(op::PREALLOC, PreallocAsk { kind: kind as u32, zero: 0, count }.as_bytes());
        (code, request::body(&body).unwrap())
    }

    fn reserve_test(&mut self, what: u32, kind: Kind, count: u64) -> (u32, PreallocAnswer) {
        let (code, body) = self.ask(op::TEST_RESERVE, ReserveTest { what, kind: kind as u32, count }.as_bytes());
        (code, request::body(&body).unwrap())
    }

    fn call(quad: [u64; 4]) -> [u64; 4] {
        let answer = GUESTS[1].call(quad).recv_timeout(LIMIT).unwrap();
        assert_eq!(answer[0], code::SUCCESS.into());
        answer
    }

    /// What the worker does for the levels: frames that the bank lacks.
    fn tend(&mut self) -> u64 {
        Self::call([hypercall::TEND, 0, 0, 0])[1]
    }

    /// The first frame of a block that root gave back.
    fn reclaim(&mut self) -> Option<u64> {
        let [_, pfn, frames, _] = Self::call([hypercall::RECLAIM, 0, 0, 0]);
        (frames > 0).then_some(pfn)
    }

    /// Hands over so many blocks of 2 MiB; their first frames.
    fn donate(&mut self, many: u64) -> Vec<u64> {
        let page = arena::run(1).unwrap() * FRAME_BYTES;
        let mut pfns = Vec::new();
        for i in 0..many {
            let block = Block { pfn: self.next_block, order: BLOCK_ORDER_MAX, used: 0 };
            self.next_block += BOOT_BLOCK;
            pfns.push(block.pfn);
            #[expect(unsafe_code, reason = "the test's own frame")]
            // SAFETY: the arena gave this page to nobody else.
            unsafe {
                crate::arch::x86::direct::copy_in(page + i * size_of::<Block>() as u64, block.as_bytes());
            }
        }
        assert_eq!(Self::call([hypercall::DONATE, page, many, 0])[2], many * BOOT_BLOCK);
        pfns
    }

    /// What the module's worker does: looks at the doorbell and hands over a block, if it can.
    fn worker(&mut self, can: bool) {
        let begun = Instant::now();
        let wanted = self.doorbell + offset_of!(Doorbell, frames_wanted) as u64;
        while crate::arch::x86::direct::read(wanted).unwrap() == 0 {
            assert!(begun.elapsed() < LIMIT, "the doorbell did not ring");
            self.turn();
        }
        let mut frames = 0;
        if can {
            self.donate(1);
            frames = BOOT_BLOCK;
        }
        // Comes back only when the halt is over.
        let _when_it_runs_on = GUESTS[1].call([hypercall::FETCH_ENDED, frames, 0, 0]);
    }
}

fn turns() -> [u64; CORES] {
    core::array::from_fn(|core| GUESTS[core].turns.load(SeqCst))
}

fn nmis() -> u64 {
    GUESTS.iter().map(|guest| guest.nmis.load(SeqCst)).sum()
}

/// Would catch a core that runs on while halted, one that does not go on afterwards, an NMI of ours that reaches Linux, and
/// a request whose bytes nobody looks at.
#[test]
fn every_core_stands_still_while_halted_and_goes_on_after() {
    let mut prompt = machine();
    let before = nmis();
    for _ in 0..STORM {
        prompt.ok(op::PAUSE, &[]);
        let still = turns();
        let registers: Registers = request::body(&prompt.ok(op::REGISTERS, &[])).unwrap();
        assert_eq!(request::body(&prompt.ok(op::REGISTERS, &[])), Some(registers));
        assert_eq!(turns(), still);
        prompt.ok(op::GO, &[]);
        let begun = Instant::now();
        while turns().iter().zip(still).any(|(now, then)| *now == then) {
            assert!(begun.elapsed() < LIMIT, "a core did not go on");
            std::thread::yield_now();
        }
    }
    assert_eq!(nmis(), before, "no NMI of ours leaks");
}

/// Would catch a halt that is lost or told twice when all cores ask at once, and time that differs between cores.
#[test]
fn halts_asked_for_from_every_core_at_once_are_told_one_by_one() {
    let mut prompt = machine();
    let before = nmis();
    let mut asked = Vec::new();
    for _ in 0..STORM {
        for guest in &GUESTS {
            asked.push(guest.call([hypercall::BREAK, 0, 0, 0]));
        }
    }
    for _ in 0..STORM * CORES as u64 {
        assert_eq!(prompt.halted().reason, reason::HYPERCALL);
        prompt.ok(op::GO, &[]);
    }
    for answer in asked {
        assert_eq!(answer.recv_timeout(LIMIT).unwrap()[0], code::SUCCESS.into());
    }
    for _ in 0..100 {
        prompt.turn();
    }
    assert!(prompt.notices.is_empty(), "no halt more than was asked for");
    assert_eq!(nmis(), before, "no NMI of ours leaks");
    let hidden: Vec<u64> = GUESTS.iter().map(|guest| guest.hidden.load(SeqCst)).collect();
    assert!(hidden.iter().all(|ticks| *ticks == hidden[0] && *ticks > 0), "{hidden:?}");
}

/// Would catch a halt that two cores own or none, a core that runs on while another one steps alone, a step that is not counted or twice,
/// a request whose bytes nobody looks at meanwhile, and an NMI of ours that leaks.
#[test]
fn cores_step_in_turns_alone_and_beside_others() {
    let mut prompt = machine();
    let before = nmis();
    let ask = |prompt: &mut Prompt, count, how| {
        prompt.ok(op::STEP, StepAsk { count, how, zero: 0 }.as_bytes());
    };
    for _ in 0..STORM / 4 {
        prompt.ok(op::PAUSE, &[]);
        for core in [0, 2, 1, 1, 0] {
            let at: Halted = request::body(&prompt.ok(op::CORE_SELECT, Number { value: core }.as_bytes())).unwrap();
            let mut rip = at.rip;
            for (count, how) in [(1, step::ALONE), (300, step::ALONE), (7, step::TOGETHER), (1, step::ALONE)] {
                let still = turns();
                ask(&mut prompt, count, how);
                let halted = prompt.halted();
                assert_eq!((halted.reason, u64::from(halted.core), halted.steps), (reason::STEPPED, core, count));
                // Each instruction of the model's has three bytes; before its steps it may have run beside the others.
                let moved = halted.rip.wrapping_sub(rip);
                assert!(moved == 3 * count || how == step::TOGETHER, "{moved:x} by {count}");
                assert!(turns() == still || how == step::TOGETHER, "somebody ran");
                rip = halted.rip;
            }
        }
        ask(&mut prompt, STEPS_MAX, step::ALONE);
        let halted: Halted = request::body(&prompt.ok(op::PAUSE, &[])).unwrap();
        assert!(halted.steps <= STEPS_MAX);
        assert_eq!(prompt.halted().steps, halted.steps, "told, and then asked");
        prompt.ok(op::GO, &[]);
    }
    for _ in 0..100 {
        prompt.turn();
    }
    assert!(prompt.notices.is_empty(), "no halt more than was asked for");
    assert_eq!(nmis(), before, "no NMI of ours leaks");
}

/// Would catch an NMI of Linux' own that root swallows.
#[test]
fn an_nmi_without_a_cause_of_ours_reaches_the_guest() {
    let prompt = machine();
    let before = GUESTS[2].nmis.load(SeqCst);
    for n in 1..=50 {
        crate::arch::model::raise_nmi(2);
        let begun = Instant::now();
        while GUESTS[2].nmis.load(SeqCst) < before + n {
            assert!(begun.elapsed() < LIMIT, "NMI {n} was lost");
            std::thread::yield_now();
        }
    }
    assert_eq!(GUESTS[2].nmis.load(SeqCst), before + 50);
    drop(prompt);
}

/// Would catch a reserve that is served by continuing the guest, or that says success and has not.
#[test]
fn what_the_bank_can_carry_is_reserved_while_everything_stands_still() {
    let mut prompt = machine();
    prompt.ok(op::PAUSE, &[]);
    let (still, before) = (turns(), prompt.ledger());
    let (code, answer) = prompt.prealloc(Kind::RegularEvent, 0x10);
    assert_eq!((code, answer.asked), (code::SUCCESS, 0x10));
    let after = prompt.ledger();
    let index = Kind::RegularEvent.index();
    assert_eq!(after.kinds[index].reserved, before.kinds[index].reserved + 0x10);
    assert_eq!(after.frames, after.frames_free + after.frames_kinds + after.frames_root);
    assert_eq!(prompt.prealloc(Kind::Monitor, u64::MAX).0, code::COUNT_TOO_LARGE);
    assert_eq!(prompt.prealloc(Kind::Monitor, 0).0, code::COUNT_ZERO);
    assert_eq!(prompt.ledger().kinds[index], after.kinds[index]);
    let ask = PreallocAsk { kind: Kind::RegularEvent as u32, zero: 0, count: 0x10 };
    prompt.ok(op::RELEASE, ask.as_bytes());
    let last = prompt.ledger();
    assert_eq!(last.kinds[index].reserved, before.kinds[index].reserved);
    assert!(last.frames_free + 7 >= before.frames_free, "all but one slab, which units of the level may share");
    assert_eq!(last.frames, last.frames_free + last.frames_kinds + last.frames_root);
    assert_eq!(turns(), still, "nothing was continued");
    prompt.ok(op::GO, &[]);
}

/// Would catch frames that are fetched and not counted, a machine that runs on after the fetch, and a refusal of Linux
/// that looks like success.
#[test]
fn a_short_bank_is_filled_by_linux_and_the_machine_halts_again() {
    let mut prompt = machine();
    prompt.ok(op::PAUSE, &[]);
    let before = prompt.ledger();
    let too_many = before.frames_free / 20 + 1;
    let (code, answer) = prompt.prealloc(Kind::BigSafeBuffer, too_many);
    assert_eq!(code, code::BANK_SHORT);
    prompt.ok(op::FETCH, Number { value: answer.short }.as_bytes());
    prompt.worker(false);
    assert_eq!(prompt.halted().reason, reason::FETCH_FAILED);
    let kind = Kind::BigSafeBuffer.index();
    assert_eq!(prompt.ledger().frames, before.frames);
    assert_eq!(prompt.ledger().kinds[kind].refused, before.kinds[kind].refused + 1);
    prompt.ok(op::FETCH, Number { value: answer.short }.as_bytes());
    prompt.worker(true);
    let halted = prompt.halted();
    assert_eq!((halted.reason, halted.fetched, halted.core), (reason::FETCHED, BOOT_BLOCK, 1));
    assert_eq!(prompt.ledger().frames, before.frames + BOOT_BLOCK);
    assert_eq!(prompt.prealloc(Kind::BigSafeBuffer, too_many).0, code::SUCCESS);
    assert_eq!(prompt.ledger().kinds[kind].refused, before.kinds[kind].refused + 1, "asking Linux is no refusal");
    let ask = PreallocAsk { kind: Kind::BigSafeBuffer as u32, zero: 0, count: too_many };
    prompt.ok(op::RELEASE, ask.as_bytes());
    prompt.ok(op::GO, &[]);
}

/// Would catch a kind without its start-up budget, one that runs out without its own number or by half, a refusal that
/// takes units, an injected failure that leaks, and units that are not free again at once.
#[test]
fn each_kind_runs_out_with_its_own_number_and_fails_at_any_request_without_a_trace() {
    let mut prompt = machine();
    prompt.ok(op::PAUSE, &[]);
    let before = prompt.ledger();
    for (kind, row) in Kind::ALL.into_iter().zip(before.kinds) {
        assert!(row.free >= row.target, "{kind:?}: {row:?}");
        let (mut free, reserved) = (row.free, row.reserved);
        if free == 0 {
            assert_eq!(prompt.prealloc(kind, 2).0, code::SUCCESS);
            free = 2;
        }
        let (code, answer) = prompt.reserve_test(test::HOLD, kind, free + 1);
        assert_eq!((code, answer.free), (code::used_up(kind), free), "{kind:?}");
        assert_eq!(prompt.reserve_test(test::HOLD, kind, free).0, code::SUCCESS);
        let owners: Owners = request::body(&prompt.ok(op::OWNERS, &[])).unwrap();
        assert_eq!((owners.count, owners.rows[0].units, owners.rows[0].owner), (1, free, owner::TEST));
        assert_eq!(prompt.reserve_test(test::HOLD, kind, 1).0, code::used_up(kind), "{kind:?}");
        assert_eq!(prompt.reserve_test(test::LET, kind, 0).1.asked, free);
        for nth in 1..=4 {
            assert_eq!(prompt.reserve_test(test::FAIL, kind, nth).0, code::SUCCESS);
            let codes = [(); 4].map(|()| prompt.reserve_test(test::HOLD, kind, 1).0);
            prompt.reserve_test(test::LET, kind, 0);
            let failed: Vec<u64> = (1..).zip(codes).filter(|(_, code)| *code == code::INJECTED).map(|(n, _)| n).collect();
            assert_eq!(failed, [nth], "{kind:?} {codes:x?}");
        }
        assert_eq!(prompt.reserve_test(test::FAIL, kind, 1).0, code::SUCCESS);
        assert_eq!(prompt.prealloc(kind, 1).0, code::INJECTED);
        let after = prompt.ledger().kinds[kind.index()];
        assert_eq!((after.free, after.used, after.high_water), (free, 0, free), "{kind:?}");
        if reserved == 0 {
            prompt.ok(op::RELEASE, PreallocAsk { kind: kind as u32, zero: 0, count: 2 }.as_bytes());
        }
    }
    let after = prompt.ledger();
    assert_eq!((after.frames_free, after.frames_kinds), (before.frames_free, before.frames_kinds));
    prompt.ok(op::GO, &[]);
}

/// Would catch a level that is not filled again, one that grows with each look, what a user keeps being taken away, and
/// blocks that Linux does not get back.
#[test]
fn levels_are_filled_and_shed_and_whole_blocks_go_back() {
    let mut prompt = machine();
    let before = prompt.ledger();
    let kind = Kind::RegularSafeBuffer;
    assert_eq!(prompt.reserve_test(test::HOLD, Kind::Monitor, 5).0, code::SUCCESS);
    assert_eq!(prompt.tend(), 0);
    let row = prompt.ledger().kinds[Kind::Monitor.index()];
    assert_eq!((row.free, row.used), (20, 5), "filled to its level");
    assert_eq!(prompt.tend(), 0);
    assert_eq!(prompt.ledger().kinds[Kind::Monitor.index()], row, "once");
    prompt.reserve_test(test::LET, Kind::Monitor, 0);
    assert_eq!(prompt.tend(), 0);
    assert_eq!(prompt.ledger().kinds[Kind::Monitor.index()].free, 25, "below its high mark");

    // Two blocks come, are used, and go.
    let blocks = prompt.donate(2);
    assert_eq!(prompt.ledger().frames, before.frames + 2 * BOOT_BLOCK);
    let count = prompt.ledger().frames_free;
    assert_eq!(prompt.prealloc(kind, count).0, code::SUCCESS);
    assert_eq!(prompt.tend(), before.frames_target, "the bank is empty");
    assert_eq!(prompt.reclaim(), None, "all of it is reserved");
    assert_eq!(prompt.ledger().kinds[kind.index()].kept, count, "what a user keeps stays");
    prompt.ok(op::RELEASE, PreallocAsk { kind: kind as u32, zero: 0, count }.as_bytes());
    assert_eq!(prompt.tend(), 0);
    let gone: Vec<u64> = core::iter::from_fn(|| prompt.reclaim()).collect();
    // One may carry the tables of both, if no earlier one does.
    assert!(gone.contains(&blocks[1]) && gone.iter().all(|block| blocks.contains(block)), "{gone:?} of {blocks:?}");
    let after = prompt.ledger();
    assert_eq!(after.frames, before.frames + (2 - gone.len() as u64) * BOOT_BLOCK);
    assert_eq!(after.frames, after.frames_free + after.frames_kinds + after.frames_root);
}

/// Would catch a request that is done although the machine is not halted, or refused with the wrong words.
#[test]
fn what_needs_a_halt_is_refused_without_one() {
    let mut prompt = machine();
    for asked in [op::GO, op::REGISTERS, op::CORE_SELECT, op::FETCH] {
        assert_eq!(prompt.ask(asked, &[]).0, code::NOT_HALTED);
    }
    assert_eq!(prompt.ask(12345, &[]).0, code::REQUEST_UNKNOWN);
    assert_eq!(prompt.ask(op::PREALLOC, &[0; 15]).0, code::REQUEST_MALFORMED);
    assert_eq!(prompt.ask(op::EXITS, Number { value: 3 }.as_bytes()).0, code::CORE_INVALID);
    prompt.ok(op::PAUSE, &[]);
    assert_eq!(prompt.ask(op::CORE_SELECT, Number { value: 3 }.as_bytes()).0, code::CORE_INVALID);
    for core in 0..3 {
        let halted: Halted = request::body(&prompt.ok(op::CORE_SELECT, Number { value: core }.as_bytes())).unwrap();
        assert_eq!(u64::from(halted.core), core);
    }
    prompt.ok(op::GO, &[]);
}
