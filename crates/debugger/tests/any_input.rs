//! Any input: an answer or a refusal, never a panic.

use debugger::expr::{self, Arithmetic};
use debugger::fuzz::fuzz_command_line;
use proptest::prelude::*;

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
    ]);
    prop::collection::vec(words, 0..8).prop_map(|words| words.join(" "))
}

proptest! {
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
        let got = expr::evaluate(&text, Arithmetic::Wrapping, &mut || panic!("no register")).map_err(|error| format!("{error:?}"));
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
        let got = expr::evaluate(&format!("{a:x}{operator}{b:x}"), Arithmetic::Count, &mut || panic!("no register")).ok();
        prop_assert_eq!(got, exact);
    }
}
