//! Lines of `/proc/kallsyms` and of System.map, which is the same without modules; and of `/proc/modules`.
//!
//! ```text
//! ffffffff81000000 T _stext
//! ffffffffc0300010 t msr_open     [msr]
//! ```
//! **Cost**: one pass. **Proof**: tests below; any bytes, too (L1).

use crate::{Builder, Module, Table, Wrong};

/// Adds every line. Programs that the kernel made from bytecode stand there as a module `bpf`.
///
/// # Errors
/// [`Wrong::Line`], [`Wrong::TooMany`]; what stood before was added.
pub fn add(bytes: &[u8], builder: &mut Builder) -> Result<(), Wrong> {
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let (address, kind, name, module) = parts(line).ok_or(Wrong::Line(number + 1))?;
        builder.add(address, kind, name, module)?;
    }
    Ok(())
}

/// A whole table of them.
///
/// # Errors
/// As [`add`]; [`Wrong::Hidden`] and [`Wrong::Empty`].
pub fn table(names: &[u8], modules: &[u8]) -> Result<Table, Wrong> {
    let mut builder = Builder::default();
    for module in self::modules(modules) {
        builder.module(module)?;
    }
    add(names, &mut builder)?;
    builder.build()
}

fn parts(line: &[u8]) -> Option<(u64, u8, &str, Option<&str>)> {
    let line = std::str::from_utf8(line).ok().filter(|line| line.is_ascii())?;
    let mut words = line.split_ascii_whitespace();
    let address = words.next().filter(|word| word.len() <= 16).and_then(|word| u64::from_str_radix(word, 16).ok())?;
    let kind = match words.next()?.as_bytes() {
        [kind] => *kind,
        _ => return None,
    };
    let name = words.next()?;
    let module = match words.next() {
        None => None,
        Some(word) => Some(word.strip_prefix('[')?.strip_suffix(']').filter(|name| !name.is_empty())?),
    };
    words.next().is_none().then_some((address, kind, name, module))
}

/// The modules of `/proc/modules`; lines that are none are left out.
#[must_use]
pub fn modules(bytes: &[u8]) -> Vec<Module> {
    let text = String::from_utf8_lossy(bytes);
    let one = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [name, size, _, _, _, base, ..] = words[..] else { return None };
        let base = u64::from_str_radix(base.strip_prefix("0x")?, 16).ok()?;
        Some(Module { name: name.to_owned(), base, size: size.parse().ok()? })
    };
    text.lines().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Would catch a module's name that is taken for the symbol's, or a line that is read as another.
    #[test]
    fn a_line_is_address_kind_name_and_perhaps_a_module() {
        let all = b"ffffffff81000000 T _stext\r\nffffffffc0300010 t msr_open\t[msr]\n\n";
        let table = table(all, b"msr 16384 0 - Live 0xffffffffc0300000\n").unwrap();
        let found = table.named(None, "msr_open");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].address, found[0].kind, found[0].module), (0xffff_ffff_c030_0010, 't', Some("msr")));
        assert_eq!(table.named(None, "_stext")[0].module, None);
        assert_eq!(table.modules()[0], Module { name: "msr".to_owned(), base: 0xffff_ffff_c030_0000, size: 16384 });
    }

    /// Would catch a file of something else that is taken for one of names: Debian's System.map is a sentence.
    #[test]
    fn a_line_of_anything_else_is_refused_with_its_number() {
        let wrong = |bytes: &[u8]| table(bytes, b"").unwrap_err();
        assert_eq!(wrong(b"ffffffffffffffff B The real System.map is in the package"), Wrong::Line(1));
        assert_eq!(wrong(b"ffffffff81000000 T a\nhello\n"), Wrong::Line(2));
        assert_eq!(wrong(b"ffffffff81000000 T a [b\n"), Wrong::Line(1));
        assert_eq!(wrong(b"11111111111111111 T a\n"), Wrong::Line(1));
        assert_eq!(wrong(b"\x7fELF"), Wrong::Line(1));
        assert_eq!(wrong(b"\n"), Wrong::Empty);
    }

    /// Would catch addresses that the system hides and that are taken for real.
    #[test]
    fn a_table_of_zeros_is_hidden() {
        assert_eq!(table(b"0000000000000000 T _stext\n0000000000000000 t a [m]\n", b"").unwrap_err(), Wrong::Hidden);
    }

    proptest! {
        /// Would catch bytes that panic (L1).
        #[test]
        fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[0-9a-f tT\\[\\]\n\t]{0,80}") {
            let _ = table(&bytes, &bytes);
            let _ = table(text.as_bytes(), text.as_bytes());
        }
    }
}
