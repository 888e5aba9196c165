//! Displaced instructions, executed where they are and where they are not: registers, flags and memory must be the same behind them.
#![expect(unsafe_code, reason = "code that the test makes is executed")]
#![cfg(target_arch = "x86_64")]

use abi::request::epthook2::JUMP_BYTES;
use debugger::moved::{Moved, moved};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use std::arch::asm;

const ROUNDS: usize = 20_000;
const BYTES: usize = 0x1_0000;
/// Where in the mapping what lies.
const PLACE: usize = 0x4000;
const DATA: usize = 0x8000;
const STACK_TOP: usize = 0xf000;
const FUNCTION: usize = 0x1000;
/// A function that is called: INC R8; MOV R9, [RSP], its return address; RET.
const CALLED: usize = 0x6000;
const CALLED_BYTES: [u8; 8] = [0x49, 0xff, 0xc0, 0x4c, 0x8b, 0x0c, 0x24, 0xc3];
/// CF PF AF ZF SF OF.
const FLAGS: u64 = 0x8d5;

/// What a function gets and leaves. The offsets stand in `run`.
#[repr(C)]
#[derive(Clone, Debug, PartialEq, Eq)]
struct Context {
    gprs: [u64; 16],
    flags: u64,
    entry: u64,
    stack: u64,
}

fn run(context: &mut Context) {
    // SAFETY: the function was made by this test: it uses registers and flags, the stack that it is given and the mapping, and returns.
    unsafe {
        asm!(
            "push rbx", "push rbp", "mov rax, rsp", "mov rsp, [rdi + 32]", "push rax", "push rdi", "push qword ptr [rdi + 136]",
            "push qword ptr [rdi + 128]", "popfq",
            "mov rax, [rdi]", "mov rcx, [rdi + 8]", "mov rdx, [rdi + 16]", "mov rbx, [rdi + 24]", "mov rbp, [rdi + 40]",
            "mov rsi, [rdi + 48]", "mov r8, [rdi + 64]", "mov r9, [rdi + 72]", "mov r10, [rdi + 80]", "mov r11, [rdi + 88]",
            "mov r12, [rdi + 96]", "mov r13, [rdi + 104]", "mov r14, [rdi + 112]", "mov r15, [rdi + 120]", "mov rdi, [rdi + 56]",
            "call [rsp]",
            "pushfq", "push rdi", "mov rdi, [rsp + 24]",
            "mov [rdi], rax", "mov [rdi + 8], rcx", "mov [rdi + 16], rdx", "mov [rdi + 24], rbx", "mov [rdi + 40], rbp",
            "mov [rdi + 48], rsi", "mov [rdi + 64], r8", "mov [rdi + 72], r9", "mov [rdi + 80], r10", "mov [rdi + 88], r11",
            "mov [rdi + 96], r12", "mov [rdi + 104], r13", "mov [rdi + 112], r14", "mov [rdi + 120], r15",
            "pop rax", "mov [rdi + 56], rax", "pop rax", "mov [rdi + 128], rax", "mov rsp, [rsp + 16]", "pop rbp", "pop rbx",
            inout("rdi") &raw mut *context => _, out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _, out("r8") _, out("r9") _,
            out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 24
    }

    fn byte(&mut self, most: u8) -> u8 {
        u8::try_from(self.next() % (u64::from(most) + 1)).unwrap()
    }

    /// A register that is not the stack pointer.
    fn register(&mut self) -> u8 {
        [0, 1, 2, 3, 5, 6, 7][usize::from(self.byte(6))]
    }
}

/// One instruction at an offset of the mapping, and how far it moves the stack down.
fn instruction(random: &mut Random, at: usize) -> (Vec<u8>, i32) {
    let (a, b) = (random.register(), random.register());
    let pair = 0xc0 | a << 3 | b;
    let rex = 0x48 | random.byte(1) | random.byte(1) << 2;
    let away = |length: usize| i32::try_from(DATA + 8).unwrap() - i32::try_from(at + length).unwrap();
    let all = match random.byte(16) {
        0 => return (vec![0x50 | a], 8),
        1 => return (vec![0x41, 0x50 | b], 8),
        2 => return (vec![0x48, 0x83, 0xec, 0x18], 0x18),
        3 => vec![rex & 0xf8, 0x89, pair],
        4 => vec![0x31, pair],
        5 => vec![rex & 0xf8, 0x85, pair],
        6 => vec![0x48, 0x8d, 0x40 | a << 3 | b, random.byte(255)],
        7 => [vec![0xb8 | a], random.next().to_le_bytes()[..4].to_vec()].concat(),
        8 => [vec![0x48, 0xb8 | a], random.next().to_le_bytes().to_vec()].concat(),
        9 => vec![0x0f, 0x90 | random.byte(15), 0xc0 | random.byte(3)],
        10 => vec![0x48, 0x0f, 0x40 | random.byte(15), pair],
        11 => vec![0x48, 0x89, 0x44 | a << 3, 0x24, 0xc0],
        // [RIP + distance].
        12 => [vec![0x48, 0x8b, 0x05 | a << 3], away(7).to_le_bytes().to_vec()].concat(),
        13 => [vec![0x48, 0x01, 0x05 | a << 3], away(7).to_le_bytes().to_vec()].concat(),
        14 => [vec![0x83, 0x3d], away(7).to_le_bytes().to_vec(), vec![random.byte(255)]].concat(),
        15 => {
            let distance = i32::try_from(CALLED).unwrap() - i32::try_from(at + 5).unwrap();
            [vec![0xe8], distance.to_le_bytes().to_vec()].concat()
        }
        // A jump over INC of a register.
        _ => vec![0x70 | random.byte(15), 2, 0xff, 0xc0 | a],
    };
    (all, 0)
}

/// A function of some instructions, which gives back its stack.
fn function(random: &mut Random) -> Vec<u8> {
    let (mut bytes, mut depth) = (Vec::new(), 0);
    for _ in 0..12 {
        let (more, down) = instruction(random, FUNCTION + bytes.len());
        bytes.extend(more);
        depth += down;
    }
    // LEA RSP, [RSP + depth]; RET.
    bytes.extend([0x48, 0x8d, 0xa4, 0x24]);
    bytes.extend(depth.to_le_bytes());
    bytes.push(0xc3);
    bytes
}

/// The code of a place at an offset of the mapping that begins at `base`.
fn placed(moved: &Moved, base: u64) -> Vec<u8> {
    let here = base + PLACE as u64;
    let mut code = moved.code.clone();
    let distance = |from: u64, to: u64| i32::try_from(to.wrapping_sub(from).cast_signed()).unwrap().to_le_bytes();
    for fixup in &moved.fixups {
        let (offset, from) = (usize::try_from(fixup.offset).unwrap(), here + u64::from(fixup.end));
        code[offset..offset + 4].copy_from_slice(&distance(from, fixup.target));
    }
    let end = here + code.len() as u64 + JUMP_BYTES as u64;
    code.push(0xe9);
    code.extend(distance(end, moved.address + moved.original.len() as u64));
    code
}

/// Would catch a distance, a condition, a length or a flag that is another where the instructions are executed elsewhere.
#[test]
fn displaced_instructions_do_what_they_did() {
    let protection = ProtFlags::READ | ProtFlags::WRITE | ProtFlags::EXEC;
    // Where addresses are as short as the kernel's.
    let low = std::ptr::with_exposed_provenance_mut(0x3000_0000);
    // SAFETY: a new mapping that nobody else knows.
    let map = unsafe { mmap_anonymous(low, BYTES, protection, MapFlags::PRIVATE) }.unwrap().cast::<u8>();
    let base = map.addr() as u64;
    assert!(base < 1 << 31);
    // SAFETY: it is as long, and the test's own; what is executed of it is executed between two uses of this.
    let memory = || unsafe { std::slice::from_raw_parts_mut(map, BYTES) };
    let (mut random, mut moves, mut kept, mut calls) = (Random(7), 0, 0, 0);
    for round in 0..ROUNDS {
        let code = function(&mut random);
        let address = base + FUNCTION as u64;
        let Ok(found) = moved(&code, address, address) else {
            kept += 1;
            continue;
        };
        moves += 1;
        calls += usize::from(found.calls.is_some());
        let gprs = std::array::from_fn(|number| if number == 4 { base + STACK_TOP as u64 } else { random.next() });
        let before = Context { gprs, flags: random.next() & FLAGS | 0x202, entry: address, stack: 0 };
        let data = random.next();
        let mut results = Vec::new();
        for detoured in [false, true] {
            let bytes = memory();
            bytes.fill(0);
            bytes[FUNCTION..FUNCTION + code.len()].copy_from_slice(&code);
            bytes[CALLED..CALLED + CALLED_BYTES.len()].copy_from_slice(&CALLED_BYTES);
            bytes[DATA + 8..DATA + 16].copy_from_slice(&data.to_le_bytes());
            if detoured {
                let place = placed(&found, base);
                bytes[PLACE..PLACE + place.len()].copy_from_slice(&place);
                let jump = i32::try_from(PLACE).unwrap() - i32::try_from(FUNCTION + JUMP_BYTES).unwrap();
                bytes[FUNCTION] = 0xe9;
                bytes[FUNCTION + 1..FUNCTION + JUMP_BYTES].copy_from_slice(&jump.to_le_bytes());
            }
            let mut context = before.clone();
            run(&mut context);
            context.flags &= FLAGS;
            // What lies on the stack of the harness itself, which is its own business.
            let left: Vec<u8> = memory()[DATA..STACK_TOP - 0x40].to_vec();
            results.push((context, left));
        }
        assert!(results[0] == results[1], "round {round}: {code:x?}\n{:x?}\n{:x?}", results[0].0, results[1].0);
    }
    assert!(moves > ROUNDS / 2 && kept > 0 && calls > 100, "{moves} moved, {kept} not, {calls} with a call");
}
