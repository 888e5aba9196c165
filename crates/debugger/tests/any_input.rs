//! Any input: an answer or a refusal, never a panic.

use abi::code;
use abi::ioctl::Load;
use abi::kind::Kind;
use abi::request::memory::{Translation, Written};
use abi::request::{Evaluated, EventAnswer, Events, Ledger, Number, Owners, PreallocAnswer, Registers, op};
use debugger::error::{Error, Reach};
use debugger::expr::{self, Arithmetic, World};
use debugger::fuzz::fuzz_command_line;
use debugger::names::Named;
use debugger::news::Inbox;
use debugger::session::{Console, Look, Session};
use debugger::target::{Cancel, Mode, Target};
use proptest::prelude::*;
use std::sync::Arc;

/// A world of numbers alone.
struct Numbers;

impl World for Numbers {
    fn registers(&mut self) -> Result<Registers, Error> {
        panic!("no register is named")
    }

    fn named(&mut self, word: &str) -> Named {
        panic!("{word} is a number")
    }
}

/// Expressions that are sound, beside what they are worth modulo 2^64.
fn sound() -> impl Strategy<Value = (String, u64)> {
    let leaf = any::<u64>().prop_flat_map(|value| {
        let forms = [
            format!("{value:x}"),
            format!("0x{value:X}"),
            format!("0n{value}"),
            format!("0y{value:b}"),
            format!("0t{value:o}"),
        ];
        prop::sample::select(forms.to_vec()).prop_map(move |text| (text, value))
    });
    leaf.prop_recursive(4, 32, 2, |inner| {
        (inner.clone(), inner, 0..9_u8).prop_map(|((a, x), (b, y), operator)| match operator {
            0 => (format!("({a} + {b})"), x.wrapping_add(y)),
            1 => (format!("({a}-{b})"), x.wrapping_sub(y)),
            2 => (format!("(({a}) *({b}))"), x.wrapping_mul(y)),
            3 => (format!("({a}|{b})"), x | y),
            4 => (format!("({a} & {b})"), x & y),
            5 => (format!("({a}^{b})"), x ^ y),
            6 => (format!("~{a}"), !x),
            7 => (format!("-({a})"), x.wrapping_neg()),
            _ => (format!("({a} >> (({b}) & 3f))"), x >> (y & 63)),
        })
    })
    .prop_map(|(text, value)| (format!(" ( {text} ) "), value))
}

/// Lines made of the words that mean something here, so that parsing gets deeper than the first word.
fn line() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "prealloc",
        "release",
        "monitor",
        "!epthook",
        "!epthook2",
        "BIG-EVENT",
        "10",
        "-1",
        "0n9",
        "@rax",
        "@al",
        "(",
        ")",
        "+",
        "<<",
        "~",
        "?",
        "r",
        ".formats",
        "exits",
        "core",
        "test",
        "hold",
        "let",
        "fail",
        "breakpoint",
        "fault",
        "ud",
        "load",
        "bank",
        "link",
        "unload",
        "g",
        "pause",
        ".help",
        "\"",
        "`",
        "0x",
        "\\n",
        "ffffffffffffffff",
        "100000000",
        "*",
        "%",
        "0",
        ".status",
        "exit",
        "halted",
        ".cls",
        "ü",
        "!cpuid",
        "!msrwrite",
        "!ioin",
        "!crwrite",
        "events",
        "print",
        "script",
        "{",
        "}",
        "{ x = 1; }",
        "{ $buffer }",
        "{ // }",
        "'{'",
        "\"}",
        "stage",
        "pre",
        "all",
        "sc",
        "on",
        "buffer",
        "core",
        "pid",
        "imm",
        "no",
        "output",
        "{a}",
        "yes",
        "poi(10)",
        "printf(\"\\n\")",
        ".x",
        "=",
        "db",
        "!dq",
        "u2",
        "!eb",
        "sq",
        "!sb",
        "!pte",
        "!pa2va",
        "l",
        "pid",
        "1000",
        "ffff888000000000",
    ]);
    prop::collection::vec(words, 0..8).prop_map(|words| words.join(" "))
}

/// A root that answers what concerns the reserve with any bytes.
struct Anyone {
    code: u32,
    bytes: Vec<u8>,
}

impl Target for Anyone {
    fn mode(&self) -> Mode {
        Mode::Debugger
    }

    fn name(&self) -> String {
        "anyone".to_owned()
    }

    fn call(&mut self, op: u32, _: &[u8], _: &Cancel) -> Result<(u32, Vec<u8>), Reach> {
        let (code, bytes) = match op {
            op::LEDGER => (code::SUCCESS, size_of::<Ledger>()),
            op::OWNERS => (code::SUCCESS, size_of::<Owners>()),
            op::EVENTS => (code::SUCCESS, size_of::<Events>()),
            op::MESSAGES => (code::SUCCESS, self.bytes.len()),
            op::EVALUATE => (code::SUCCESS, size_of::<Evaluated>()),
            op::STAGE => (code::SUCCESS, 0),
            op::EVENT_ADD => (self.code, size_of::<EventAnswer>()),
            op::EVENT_CHANGE => (self.code, size_of::<Number>()),
            op::MEMORY_READ | op::MEMORY_SEARCH => (code::SUCCESS, self.bytes.len()),
            op::TRANSLATE => (code::SUCCESS, size_of::<Translation>()),
            op::MEMORY_WRITE => (self.code, size_of::<Written>()),
            _ => (self.code, size_of::<PreallocAnswer>()),
        };
        self.bytes.rotate_left(7);
        Ok((code, self.bytes.iter().copied().cycle().take(bytes).collect()))
    }

    fn load(&mut self, _: u64, _: u32) -> Result<Load, Reach> {
        Err(Reach::OverLink)
    }

    fn unload(&mut self) -> Result<Load, Reach> {
        Err(Reach::OverLink)
    }
}

struct Nowhere;

impl Console for Nowhere {
    fn print(&mut self, text: &str) {
        assert!(!text.is_empty(), "an empty print");
    }
}

proptest! {
    /// Would catch a sum over root's numbers that overflows, a row that is not there, or a list without an end.
    #[test]
    fn any_answer_is_shown_and_planned_with(
        bytes in prop::collection::vec(prop::sample::select(vec![0, 0, 1, 8, 0x7f, 0xff, 0xff]), 8..2000),
        code in prop::sample::select(vec![
            code::SUCCESS, code::INJECTED, code::KERNEL_OUT_OF_MEMORY, code::COUNT_TOO_LARGE, code::COUNT_ZERO,
            code::used_up(Kind::Monitor), code::TEST_UNKNOWN,
        ]),
        json in any::<bool>(),
    ) {
        let (inbox, look) = (Arc::new(Inbox::default()), Look { json, colour: false });
        let target = Box::new(Anyone { code, bytes });
        let mut session = Session::over(target, Box::new(Nowhere), look, inbox, Cancel::default());
        let plan = concat!("prealloc plan ", env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/plan.kd");
        for line in ["!tsc buffer 1 script { eq($buffer, 1); }", "events", "events d 0", "? poi(1)", "db 0 l 40", "sb 0 l 40 1", "u 0", "!pte 0", "!va2pa 0", "!pa2va 0", "eb 0 1", "events c all", "prealloc", plan, "test hold monitor ffffffffffffffff", "test let monitor", "prealloc monitor 3"] {
            session.run(line);
        }
    }

    /// Would catch a panic, a span outside of the line, or a print without text.
    #[test]
    fn any_bytes_are_answered(data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz_command_line(&data);
    }

    /// Would catch the same behind words that are known.
    #[test]
    fn any_words_are_answered(choice in any::<u8>(), lines in prop::collection::vec(line(), 1..6)) {
        let mut data = vec![choice];
        data.extend(lines.join("\n").bytes());
        fuzz_command_line(&data);
    }

    /// Would catch an operator, a radix or a precedence that computes something else.
    #[test]
    fn a_sound_expression_has_its_value((text, value) in sound()) {
        let got = expr::evaluate(&text, Arithmetic::Wrapping, &mut Numbers).map_err(|error| format!("{error:?}"));
        prop_assert_eq!(got, Ok(value), "{}", text);
    }

    /// Would catch a count that differs from the true result instead of being refused.
    #[test]
    fn a_count_is_true_or_refused(a in any::<u64>(), b in any::<u64>(), operator in prop::sample::select(vec!['+', '-', '*'])) {
        let (wide_a, wide_b) = (i128::from(a), i128::from(b));
        let exact = match operator {
            '+' => Some(wide_a + wide_b),
            '-' => Some(wide_a - wide_b),
            _ => wide_a.checked_mul(wide_b),
        };
        let exact = exact.and_then(|exact| u64::try_from(exact).ok());
        let got = expr::evaluate(&format!("{a:x}{operator}{b:x}"), Arithmetic::Count, &mut Numbers).ok();
        prop_assert_eq!(got, exact);
    }
}
