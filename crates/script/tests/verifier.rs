//! The verifier is the border: whatever it takes, the interpreter runs to its end within the limit and without a panic.

use proptest::prelude::*;
use script::oracle::{self, LIMITS, Model, run_words};
use script::{NoSymbols, Options, compile};
use script_vm::{Areas, FaultKind, Limits, Rejected, Scratch, limits::STACK_WORDS, op, program, verify};

/// Programs to start from.
const SCRIPTS: [&str; 6] = [
    "if (@rax == 5) { .hits = .hits + 1; }",
    "int fib(int n) { if (n < 2) { return n; } return fib(n - 1) + fib(n - 2); } return fib(9);",
    "int x[8]; for (i = 0; i < 8; i++) { x[i] = i * i; } printf(\"%d %s %f\\n\", x[3], $pname, 1.5);",
    "eq($buffer, 5); memcpy($buffer + 8, @rsi, 8); spinlock_lock(&.l); spinlock_unlock(&.l); @ah = 5; @cf = 1;",
    "s = 0; for (i = 0; i < 0n100; i++) { if (i & 1) { s += i; } } .s = s; return strlen(\"abc\") + strcmp(@rdi, \"hello\");",
    "x = 123456789abcdef; if (x > 123456789abcdee && x != 5) { event_inject(3, e); pause(); } ed_pa(1000, 5); return hi(@rsi);",
];

fn words(script: &str) -> Vec<u64> {
    compile(script, &NoSymbols, &Options::default()).unwrap_or_else(|errors| panic!("{}", errors[0])).words
}

/// A header around any code, so that more than headers is tried.
fn wrapped(code: &[u64], registers: u16) -> Vec<u64> {
    let layout = Areas { code: u32::try_from(code.len()).unwrap(), constants: 2, text: 8, functions: 1, globals: 4, flags: 0 };
    let main = program::Function { start: 0, end: layout.code, registers, arguments: 0, data: 64 };
    let mut words = layout.encode().to_vec();
    words.extend(main.encode());
    words.extend(code);
    words.extend([u64::MAX, 0x5c02_0000_0000_0000, u64::from_le_bytes(*b"abcdefg\0")]);
    words
}

/// Fields of an instruction that are often within range.
fn instruction() -> impl Strategy<Value = u64> {
    let small = || prop_oneof![4 => 0..8_u8, 1 => any::<u8>()];
    let imm = prop_oneof![4 => 0..40_i32, 1 => any::<i32>()];
    let op = 0..u8::try_from(op::SHAPES.len() + 2).unwrap();
    (op, small(), small(), small(), imm).prop_map(|(op, a, b, c, imm)| op::encode(op, a, b, c, imm))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    /// Would catch a header that leads beyond its words.
    #[test]
    fn random_words_run_to_an_end(words in prop::collection::vec(any::<u64>(), 0..64)) {
        oracle::words(&words);
    }

    /// Would catch an operand that is not checked.
    #[test]
    fn random_instructions_run_to_an_end(mut code in prop::collection::vec(instruction(), 1..40), registers in 1..=256_u16) {
        code.push(op::encode(op::END, 0, 0, 0, 0));
        oracle::words(&wrapped(&code, registers));
    }

    /// Would catch a check that only well-made programs pass by luck.
    #[test]
    fn mutated_programs_run_to_an_end(
        script in prop::sample::select(&SCRIPTS[..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..64_u32, any::<u64>(), any::<bool>()), 1..4),
    ) {
        let mut words = words(script);
        for (at, bit, word, whole) in changes {
            let at = at.index(words.len());
            words[at] = if whole { word } else { words[at] ^ 1 << bit };
        }
        oracle::words(&words);
    }
}

/// Would catch a limit of the embedder's that the verifier does not ask about.
#[test]
fn what_the_embedder_has_no_room_for_is_refused() {
    let program = words(SCRIPTS[2]);
    let refused = |limits: Limits| verify(&program, &limits).unwrap_err();
    assert_eq!(refused(Limits { words: 10, ..LIMITS }), Rejected::TooLong { words: program.len() });
    assert_eq!(refused(Limits { data: 0, ..LIMITS }), Rejected::Function { number: 0 });
    let counted = words(SCRIPTS[0]);
    assert_eq!(verify(&counted, &Limits { globals: 0, ..LIMITS }).unwrap_err(), Rejected::Globals { asked: 1 });
    assert!(verify(&counted, &Limits { globals: 1, ..LIMITS }).is_ok());
}

/// Would catch an operand that may be anything: each is put one beyond its range.
#[test]
fn an_operand_beyond_its_range_is_refused() {
    let end = op::encode(op::END, 0, 0, 0, 0);
    let bad = [
        op::encode(op::ADD, 4, 0, 0, 0),
        op::encode(op::ADD, 0, 4, 0, 0),
        op::encode(op::ADD, 0, 0, 4, 0),
        op::encode(op::LOAD_K, 0, 0, 0, 2),
        op::encode(op::JUMP, 0, 0, 0, 2),
        op::encode(op::JUMP, 0, 0, 0, -1),
        op::encode(op::J_EQ_K, 0, 2, 0, 0),
        op::encode(op::J_EQ_GI, 16, 0, 0, 0),
        op::encode(op::GET_GPR, 0, 16, 0, 0),
        op::encode(op::GET_SPECIAL, 0, 23, 0, 0),
        op::encode(op::GET_PSEUDO, 0, 12, 0, 0),
        op::encode_half(op::GET_GLOBAL, 0, 4, 0),
        op::encode_half(op::ADD_GLOBAL_I, 0, 4, 0),
        op::encode(op::ZERO, 4, 1, 0, 0),
        op::encode(op::ADDRESS, 0, 0, 0, 64),
        op::encode_half(op::ZERO_DATA, 0, 72, 0),
        op::encode_half(op::ZERO_DATA, 0, 8, 4),
        op::encode(op::CALL, 0, 0, 0, 0),
        op::encode(op::CALL, 0, 0, 0, 1),
        op::encode(op::SYSTEM, 0, 2, 3, 0),
        op::encode(op::SYSTEM, 0, 0, 2, 0),
        op::encode(op::SYSTEM, 0, 0, 0, i32::MAX),
        op::encode_half(op::SAY, 0, 9, 0),
        op::encode(op::SAY_NUMBER, 0, 0, 0, i32::from(b's')),
        op::encode(op::SAY_STRING, 0, 0, 0, i32::from(b'x')),
        op::encode(op::GET_BITS, 0, 0, 0, 64 | 1 << 8),
        op::encode(op::GET_BITS, 0, 0, 0, 60 | 5 << 8),
        op::encode(op::GET_BITS, 0, 0, 0, 0),
        op::encode(255, 0, 0, 0, 0),
    ];
    for word in bad {
        let refused = verify(&wrapped(&[word, end], 4), &LIMITS).unwrap_err();
        assert_eq!(refused, Rejected::Instruction { at: 0 }, "{word:x}");
    }
    let falls = verify(&wrapped(&[end, op::encode(op::MOVE, 0, 0, 0, 0)], 4), &LIMITS).unwrap_err();
    assert_eq!(falls, Rejected::Instruction { at: 1 }, "a function that runs off its end");
}

/// Would catch a loop or a recursion that outlives its steps.
#[test]
fn a_run_ends_with_its_steps() {
    for (script, kind) in [
        ("while (1) { }", FaultKind::StepLimit),
        ("int f() { return f(); } f();", FaultKind::CallDepth),
        ("char x[2]; x[0] = 1; for (;;) { strlen(@rdi); }", FaultKind::StepLimit),
        ("memcpy(@rsi, @rsi, fffffffffffffff);", FaultKind::StepLimit),
        ("memcmp(@rsi, @rsi, fffffffffffffff);", FaultKind::BadAddress { address: oracle::RAM + 0x1000 }),
    ] {
        let fault = run_words(&words(script), &mut Model::default(), 100_000).unwrap_err();
        assert_eq!(fault.kind, kind, "{script}");
    }
}

/// Would catch a fault that is told of another line.
#[test]
fn a_fault_is_traced_to_its_line() {
    let program = compile("x = 1;\nif (x == 1) {\n  y = 0;\n  z = 5 / y;\n}\n", &NoSymbols, &Options::default()).unwrap();
    let fault = oracle::run(&program, &mut Model::default()).unwrap_err();
    assert_eq!((fault.kind, program.place(fault.at)), (FaultKind::DivideByZero, Some((None, 4, 3))));
}

/// Would catch a count of another core that is lost, and a miss that costs more than it must.
#[test]
fn a_miss_is_two_instructions_and_a_counted_hit_three() {
    let words = words(SCRIPTS[0]);
    let layout = verify(&words, &LIMITS).unwrap();
    let ops: Vec<_> =
        layout.open(&words).unwrap().code().iter().map(|word| op::NAMES[usize::from(word.to_le_bytes()[0])]).collect();
    assert_eq!(ops, ["J_NE_GI", "ADD_GLOBAL_I", "END"]);
}

/// Would catch a guard that keeps a script from running, or one that lets a miss through.
#[test]
fn a_guard_misses_exactly_when_a_run_does_nothing() {
    let values = [0, 1, 5, 6, u64::MAX, 1 << 63, 0x1234_5678_9abc, 0x1234_5678_9abd];
    for sign in ["==", "!=", "<", "<=", ">", ">=", "&"] {
        for right in ["5", "123456789abc", "-1"] {
            for body in [".hit = 1;", ".hit++;", ".hit += 5; x = 1;"] {
                let program = words(&format!("if (@rcx {sign} {right}) {{ {body} }}"));
                let layout = verify(&program, &LIMITS).unwrap();
                let guard = layout.open(&program).unwrap().guard().expect("it begins with a condition");
                for value in values {
                    let mut model = Model::default();
                    model.gprs[1] = value;
                    let misses = guard.misses(&model);
                    run_words(&program, &mut model, 1000).unwrap();
                    assert_eq!(misses, model.globals[0] == 0, "{value:x} {sign} {right}");
                    let mut guarded = Model::default();
                    guarded.gprs[1] = value;
                    let (mut stack, mut data) = (vec![0; STACK_WORDS], vec![0; 64]);
                    let mut scratch = Scratch { stack: &mut stack, data: &mut data };
                    guard.run(layout.open(&program).unwrap(), &mut guarded, &mut scratch, 1000).unwrap();
                    assert_eq!(guarded, model, "{value:x} {sign} {right}");
                }
            }
        }
    }
    let count = words(".x = .x + 5;");
    let layout = verify(&count, &LIMITS).unwrap();
    let (mut model, mut scratch) = (Model::default(), Scratch { stack: &mut [], data: &mut [] });
    let program = layout.open(&count).unwrap();
    assert_eq!(program.guard().expect("it only counts").run(program, &mut model, &mut scratch, 0), Ok(0));
    assert_eq!(model.globals[0], 5);
    for without in
        ["if (@rax == 5) { .x = 1; } .y = 1;", ".x = 1;", ".x++; .y++;", "if (@rax == 5) { .x = 1; } else { .x = 2; }"]
    {
        let program = words(without);
        let layout = verify(&program, &LIMITS).unwrap();
        assert_eq!(layout.open(&program).unwrap().guard(), None, "{without}");
    }
}
