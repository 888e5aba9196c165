//! Machine code of events at the prompt, over the model of root: what is typed, what is staged, what is refused where.

mod common;

use abi::kind::Kind;
use abi::request::{EventAsk, event};
use common::{Prompt, try_line};
use debugger::session::Verdict;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// What root got: the request, and the bytes behind the program as they were staged.
fn got(line: &str) -> (EventAsk, Vec<u8>) {
    let mut prompt = Prompt::halted();
    prompt.ok("prealloc regular-safe-buffer 1");
    prompt.ok(line);
    let root = prompt.root.lock().unwrap();
    let ask = root.events.rows[0].1;
    let code = root.events.staged.iter().skip(ask.program_words as usize);
    (ask, code.flat_map(|word| word.to_le_bytes()).collect())
}

/// Would catch bytes that are lost or in another order, a condition that is staged as code, and an event with code that halts.
#[test]
fn bytes_are_staged_behind_the_program_condition_first() {
    let (ask, bytes) = got("!cpuid 1 condition { 31 c0 40 }");
    assert_eq!((ask.program_words, ask.condition_bytes, ask.code_bytes), (0, 3, 0));
    assert_eq!(ask.flags, event::OPTION | event::BREAK, "a condition alone says when it halts");
    assert_eq!(bytes, [0x31, 0xc0, 0x40, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc]);
    let (ask, bytes) = got("!TSC code{9090C3}");
    assert_eq!((ask.flags, ask.condition_bytes, ask.code_bytes), (0, 0, 3));
    assert_eq!(bytes, [0x90, 0x90, 0xc3, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc]);
    let both = "!cpuid code { 01020304 05060708\n\t09 } buffer 8 condition { aB } script { x = 1; }";
    let (ask, bytes) = got(both);
    assert_eq!((ask.flags, ask.condition_bytes, ask.code_bytes), (event::CODE_FIRST, 1, 9));
    assert!(ask.program_words > 0);
    assert_eq!(bytes[..8], [0xab, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc]);
    assert_eq!(bytes[8..], [1, 2, 3, 4, 5, 6, 7, 8, 9, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc]);
    let (ask, _) = got("!cpuid script { x = 1; } code { 90 }");
    assert_eq!(ask.flags, 0, "the script first");
    let mut vmi = Prompt::vmi();
    let printed = vmi.ok("!cpuid condition { 90 } code { 90 90 }");
    assert_eq!(printed, ["event 0 registered: regular-event, condition of 0x1, code of 0x2"]);
    assert_eq!(vmi.typed("!cpuid condition { 90 }").0, Verdict::Failed, "it would halt");
}

/// The line under a typed line that marks the last such part of it.
fn mark(line: &str, part: &str) -> String {
    let before = line[..line.rfind(part).expect("a part of the line")].chars().count();
    format!("     {}^{}", " ".repeat(before), "~".repeat(part.chars().count() - 1))
}

/// Would catch a caret elsewhere, or a word that is taken for bytes.
#[test]
fn what_is_no_code_is_told_at_its_place() {
    let mut prompt = Prompt::halted();
    for (line, message, marked) in [
        ("!cpuid code { 90 9x }", "'x' is no hex digit", "x"),
        ("!cpuid code { 90 909 }", "bytes have two digits each, and '909' has a digit too few or too many", "909"),
        ("!cpuid condition { ä0 }", "'ä' is no hex digit", "ä"),
        ("!cpuid code 90", "machine code stands in braces", "90"),
        ("!cpuid asm code nop", "assembly stands in braces", "nop"),
        ("!cpuid code { 90", "this is never closed by '}'", "{"),
        ("!cpuid code { }", "nothing is in these braces", "{ }"),
        ("!cpuid asm code { ; /* nop */ }", "nothing is in these braces", "{ ; /* nop */ }"),
        ("!cpuid code { 90 } code { 90 }", "'code' stands there twice", "code"),
        ("!cpuid code { 90 } asm code { nop }", "'code' stands there twice", "code"),
        ("!cpuid asm", "something is missing behind 'asm'", "asm"),
        ("!cpuid code", "something is missing behind 'code'", "code"),
        ("!cpuid asm script { nop }", "couldn't resolve error at 'script'", "script"),
    ] {
        let printed = prompt.err(line);
        assert_eq!(printed[0], format!("err, {message}"), "{line}");
        assert_eq!(printed[2], mark(line, marked), "{printed:#?}");
    }
    for line in ["!cpuid code 90", "!cpuid asm condition x", "!cpuid asm cod { nop }", "!cpuid conditon { 90 }"] {
        let printed = prompt.err(line);
        let offer = try_line(&printed).unwrap_or_else(|| panic!("{line}: {printed:#?}")).to_owned();
        prompt.ok(&offer);
    }
}

/// Would catch code other than what was written, or a place of an error in another statement.
#[test]
fn assembly_becomes_bytes_and_its_errors_have_a_place() {
    let (ask, bytes) = got("!cpuid 1 asm condition { xor eax, eax; cmp dword ptr [rcx], 1 # the leaf\n sete al; }");
    assert_eq!(ask.condition_bytes, 8);
    assert_eq!(bytes[..9], [0x31, 0xc0, 0x83, 0x39, 0x01, 0x0f, 0x94, 0xc0, 0xc3]);
    let (_, bytes) = got("!cpuid ASM CODE { again: dec rcx; jnz again; lea rax, [rip + again] }");
    assert_eq!(bytes[..13], [0x48, 0xff, 0xc9, 0x75, 0xfb, 0x48, 0x8d, 0x05, 0xf4, 0xff, 0xff, 0xff, 0xc3]);

    let mut prompt = Prompt::halted();
    let line = "!cpuid asm code { nop; mov rxa, 1; nop; pusch rax }";
    let printed = prompt.err(line);
    assert_eq!(printed.iter().filter(|line| line.starts_with("err, ")).count(), 2, "{printed:#?}");
    assert!(printed.contains(&mark(line, "mov rxa, 1")) && printed.contains(&mark(line, "pusch rax")), "{printed:#?}");
    for (line, message, marked) in [
        ("!cpuid asm code { nop; call foo }", "'foo' is nowhere: code stands alone, without symbols", "call foo"),
        (
            "!cpuid asm code { a: mov rax, offset a }",
            "code does not know its address before it runs: lea rax, [rip + LABEL] tells it",
            " a: mov rax, offset a ",
        ),
        (
            "!cpuid asm code { call 0x1234 }",
            "a fixed address is reached through a register: mov rax, ADDRESS; call rax",
            " call 0x1234 ",
        ),
        ("!cpuid asm code { nop; .data; .byte 1 }", "all of it must stand in .text, and something is in .data", ".data"),
    ] {
        let printed = prompt.err(line);
        assert_eq!(printed[0], format!("err, {message}"), "{line}");
        assert_eq!(printed[2], mark(line, marked), "{printed:#?}");
    }
    let printed = prompt.err("!cpuid asm code { frobnicate rax }");
    assert!(printed[0].contains("no such instruction: 'frobnicate rax'"), "{printed:#?}");
    assert!(prompt.root.lock().unwrap().events.rows.is_empty());
}

/// Would catch a plan that is not what registering takes, a limit of another size, and a refusal that root would not give.
#[test]
fn the_plan_knows_what_code_takes() {
    static NTH: AtomicU32 = AtomicU32::new(0);
    let plan = |line: &str| {
        let mut prompt = Prompt::halted();
        prompt.ok("test hold regular-event 14");
        let path = std::env::temp_dir().join(format!("hyperdbg-code-{}-{}.kd", std::process::id(), NTH.fetch_add(1, SeqCst)));
        std::fs::write(&path, line).unwrap();
        let printed = prompt.ok(&format!("prealloc plan {}", path.display()));
        std::fs::remove_file(&path).unwrap();
        let offers: Vec<String> =
            printed.iter().filter_map(|line| line.strip_prefix("     try: ")).map(str::to_owned).collect();
        for offer in &offers {
            prompt.ok(offer);
        }
        let done = prompt.typed(line);
        (offers, done.0, printed.join("\n"))
    };
    let code = |bytes: usize| "90".repeat(bytes);
    let regular = vec![format!("prealloc {} 1", Kind::RegularEvent.word())];
    let big = vec![format!("prealloc {} 1", Kind::BigEvent.word())];
    for (condition, bytes, offers) in
        [(100, 8192 - 105, &regular), (100, 8192 - 104, &big), (101, 1, &big), (4096, 81_920 - 4105, &big)]
    {
        let line = format!("!cpuid condition {{ {} }} code {{ {} }}", code(condition), code(bytes));
        let (offered, verdict, printed) = plan(&line);
        assert_eq!((&offered, verdict), (offers, Verdict::Done), "{condition} and {bytes}: {printed}");
    }
    for (condition, bytes, message) in [
        (4096, 81_920 - 4104, "what the event runs takes 0x14008 bytes, and a big event holds 0x14000 (c0000047)"),
        (4097, 1, "the condition takes 0x1001 bytes, and in a big event it has 0x1000 (c0000041)"),
    ] {
        let line = format!("!cpuid condition {{ {} }} code {{ {} }}", code(condition), code(bytes));
        let (offered, verdict, printed) = plan(&line);
        assert!(offered.is_empty() && verdict == Verdict::Failed && printed.contains(message), "{printed}");
        assert!(Prompt::halted().err(&line)[0].ends_with(message));
    }
}

/// Would catch a fault of code that is shown as an instruction of the script.
#[test]
fn a_fault_of_code_is_told_with_its_vector_and_place() {
    let mut prompt = Prompt::halted();
    prompt.ok("!cpuid 1 condition { 90 } script { x = 1; }");
    let mut told = |fault: u32, at: u32| {
        let mut root = prompt.root.lock().unwrap();
        let row = &mut root.events.rows[0].0;
        (row.faults, row.last_fault) = (1, u64::from(fault) | u64::from(at) << 32);
        drop(root);
        prompt.ok("events").pop().unwrap()
    };
    let condition = told(event::CONDITION_FAULT, 14 << 24 | 0x1f);
    assert_eq!(condition, "last fault of 0: condition faulted: vector e (#PF) at offset 1f");
    for (at, words) in [
        (6 << 24 | event::CODE_OUTSIDE, "code faulted: vector 6 (#UD) outside of it"),
        (9 << 24, "code faulted: vector 9 at offset 0"),
        (0xff << 24 | 1, "code faulted: vector ff at offset 1"),
    ] {
        assert_eq!(told(event::CODE_FAULT, at), format!("last fault of 0: {words}"));
    }
}
