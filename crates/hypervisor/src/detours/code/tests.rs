extern crate std;
use super::*;
use core::arch::asm;
use events::Misses;
use std::vec::Vec;

/// Carry, parity, zero, sign, overflow: set before, and found behind.
const FLAGS: u64 = 0x8d5;
const CELL: usize = 0x800;
const GLOBAL: usize = 0x900;
const COPY: usize = 0x400;
const CALL: usize = 0x500;

/// A page of memory that can be written and executed.
fn page() -> &'static mut [u8] {
    let (mut address, bytes) = (9_u64, 4096_usize);
    #[expect(unsafe_code, reason = "memory for code of the test's own")]
    // SAFETY: MMAP of anonymous memory, which nobody else knows; the kernel changes rcx and r11.
    unsafe {
        asm!("syscall", inout("rax") address, in("rdi") 0, in("rsi") bytes, in("rdx") 7, in("r10") 0x22, in("r8") -1, in("r9") 0,
            out("rcx") _, out("r11") _);
    }
    assert!(address < 1 << 47);
    #[expect(unsafe_code, reason = "memory for code of the test's own")]
    // SAFETY: as long as the mapping, which stays.
    unsafe {
        core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut(usize::try_from(address).unwrap()), bytes)
    }
}

/// What code of a place does with the registers rax, rcx and r9, and with the stack pointer if `of_stack`.
struct Seen {
    called: bool,
    kept: bool,
    hits: u64,
    global: u64,
}

fn run(page: &mut [u8], form: &Form, registers: [u64; 3]) -> Seen {
    let base = page.as_ptr().addr() as u64;
    page.fill(0xcc);
    let parts = Parts {
        call: base + CALL as u64,
        copy: base + COPY as u64,
        hits: base + CELL as u64,
        counted: form.count.map(|_| base + GLOBAL as u64),
    };
    let mut code = Code::at(base);
    quick(&mut code, form, &parts);
    let bytes = Vec::from(code.bytes().unwrap());
    page[..bytes.len()].copy_from_slice(&bytes);
    // PUSHFQ; POP RDX; MOV ESI, 1 or 2; RET.
    for (at, which) in [(COPY, 1), (CALL, 2)] {
        page[at..at + 8].copy_from_slice(&[0x9c, 0x5a, 0xbe, which, 0, 0, 0, 0xc3]);
    }
    page[CELL..CELL + 8].fill(0);
    page[GLOBAL..GLOBAL + 8].copy_from_slice(&100_u64.to_le_bytes());
    let [mut rax, mut rcx, mut r9] = registers;
    let (mut flags, mut which): (u64, u64) = (FLAGS | 2, 0);
    #[expect(unsafe_code, reason = "code of the test's own is called")]
    // SAFETY: the code above changes no register but these, and returns.
    unsafe {
        asm!("push rdx", "popfq", "call rdi", in("rdi") base, inout("rax") rax, inout("rcx") rcx, inout("r9") r9, inout("rdx") flags,
            inout("rsi") which);
    }
    let word = |at: usize| u64::from_le_bytes(page[at..at + 8].try_into().unwrap());
    Seen {
        called: which == 2,
        kept: [rax, rcx, r9] == registers && flags & FLAGS == FLAGS,
        hits: word(CELL),
        global: word(GLOBAL),
    }
}

/// Would catch a condition that is another in the guest, a count that is lost, and a register or flag that does not survive.
#[test]
fn what_needs_no_root_is_done_without_a_trace_in_registers() {
    let page = page();
    let never = Form { misses: None, count: Some((3, -2)) };
    let seen = run(page, &never, [1, 2, 3]);
    assert!(!seen.called && seen.kept);
    assert_eq!((seen.hits, seen.global), (1, 98));
    let ranges = [
        (u64::MAX, 5, 0),
        (u64::MAX, 6, u64::MAX - 1),
        (u64::MAX, 1 << 63, 4),
        (u64::MAX, 0, 5),
        (4, 1, u64::MAX - 1),
        (4, 0, 0),
    ];
    for (nth, register) in [(0, 0), (1, 1), (2, 9)] {
        for (mask, low, span) in ranges {
            for value in [0, 1, 4, 5, 6, 1 << 63, (1 << 63) + 4, (1 << 63) + 5, u64::MAX] {
                let mut registers = [0x1111_2222_3333_4444, 0x5555, 0x6666];
                registers[nth] = value;
                let misses = (value & mask).wrapping_sub(low) <= span;
                for count in [None, Some((0, 7))] {
                    let form = Form { misses: Some(Misses { register, mask, low, span }), count };
                    let seen = run(page, &form, registers);
                    let what = std::format!("{form:x?} {value:x}");
                    assert!(seen.kept, "{what}");
                    assert_eq!(seen.called, !misses && count.is_none(), "{what}");
                    assert_eq!(seen.hits, u64::from(!seen.called), "{what}");
                    assert_eq!(seen.global, if misses || count.is_none() { 100 } else { 107 }, "{what}");
                }
            }
        }
    }
}

/// Would catch a condition on the stack pointer that sees what was pushed.
#[test]
fn the_stack_pointer_is_the_kernels() {
    let page = page();
    let stack: u64;
    #[expect(unsafe_code, reason = "a register is read")]
    // SAFETY: a move between registers.
    unsafe {
        asm!("mov {}, rsp", out(reg) stack, options(nomem, nostack));
    }
    // It is read in a function that is called from here, so it is lower there, and not by much; what was pushed makes it end otherwise.
    let aligned = Form { misses: Some(Misses { register: 4, mask: 0xf, low: 8, span: 0 }), count: None };
    let others = Form { misses: Some(Misses { register: 4, mask: 0xf, low: 0, span: 0 }), count: None };
    let below = Form { misses: Some(Misses { register: 4, mask: u64::MAX, low: stack - 0x8000, span: 0x8000 }), count: None };
    let ends = [&aligned, &others].map(|form| run(page, form, [0; 3]).called);
    assert_ne!(ends[0], ends[1]);
    assert!(!run(page, &below, [0; 3]).called);
}

/// Would catch a jump that leads past what four bytes reach, and code that is cut at the end of its place.
#[test]
fn what_does_not_fit_is_not_there() {
    assert_eq!(distance(5, 0x8000_0004), Some(0x7fff_ffff_i32.to_le_bytes()));
    assert_eq!(distance(5, 0x8000_0005), None);
    assert_eq!(distance(0xffff_ffff_8100_0005, 0xffff_ffff_0100_0005), Some(i32::MIN.to_le_bytes()));
    let mut far = Code::at(0);
    far.jump(1 << 40);
    assert!(far.bytes().is_none());
    let mut long = Code::at(0);
    (0..PLACE_BYTES).for_each(|_| long.add(&[0x90]));
    assert_eq!(long.bytes().map(<[u8]>::len), Some(PLACE_BYTES));
    long.add(&[0x90]);
    assert!(long.bytes().is_none());
}
