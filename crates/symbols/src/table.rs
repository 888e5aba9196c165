//! Names by address and addresses by name.
//!
//! A [`Builder`] takes names in any order; [`Builder::build`] sorts them twice. A name may stand for several addresses, and an
//! address may have several names: the first that was added is told for it, as the kernel itself does.
//!
//! **Holds always**: L2 and L3 of the crate.
//! **Cost**: building sorts; a look-up is a binary search, a pattern one pass, a suggestion one pass with a distance for names of
//! about the length. Memory: 24 bytes and the letters for a name. **Proof**: tests below.

use crate::limits::{BEHIND_MAX, MODULES_MAX, NAME_BYTES_MAX, NAMES_MAX};
use crate::{Pattern, Wrong};
use std::collections::HashMap;
use std::fmt;

/// What the kernel itself is called before a `!`.
pub const KERNEL: [&str; 2] = ["vmlinux", "kernel"];
/// Below this there is no code and no data of a kernel's, but offsets and constants.
pub const HIGH_HALF: u64 = 0xffff_8000_0000_0000;

/// A module, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Its first byte.
    pub base: u64,
    /// Bytes; 0 if that is not known.
    pub size: u64,
}

/// One name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'t> {
    /// Where.
    pub address: u64,
    /// As `nm` has it: `T` and `t` are code.
    pub kind: char,
    /// What.
    pub name: &'t str,
    /// Whose; `None`: the kernel's own.
    pub module: Option<&'t str>,
}

impl fmt::Display for Symbol<'_> {
    /// As it can be typed.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.module {
            Some(module) => write!(to, "{module}!{}", self.name),
            None => to.write_str(self.name),
        }
    }
}

/// A name before an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Near<'t> {
    /// The name.
    pub symbol: Symbol<'t>,
    /// Bytes behind it.
    pub offset: u64,
}

impl fmt::Display for Near<'_> {
    /// As it can be typed.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            0 => write!(to, "{}", self.symbol),
            offset => write!(to, "{}+0x{offset:x}", self.symbol),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    address: u64,
    name: u32,
    bytes: u16,
    /// 0 is the kernel.
    module: u16,
    kind: u8,
}

/// Names that are gathered.
#[derive(Debug, Default)]
pub struct Builder {
    letters: String,
    entries: Vec<Entry>,
    modules: Vec<Module>,
    numbers: HashMap<String, u16>,
}

impl Builder {
    /// Adds one name.
    ///
    /// # Errors
    /// [`Wrong::TooMany`].
    pub fn add(&mut self, address: u64, kind: u8, name: &str, module: Option<&str>) -> Result<(), Wrong> {
        if self.entries.len() >= NAMES_MAX {
            return Err(Wrong::TooMany(NAMES_MAX));
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Wrong::TooMany(NAME_BYTES_MAX));
        }
        let module = match module {
            None => 0,
            Some(module) => self.number(module)?,
        };
        // So many names of so many letters fit 32 bits.
        let at = u32::try_from(self.letters.len()).map_err(|_| Wrong::TooMany(NAMES_MAX))?;
        let bytes = u16::try_from(name.len()).map_err(|_| Wrong::TooMany(NAME_BYTES_MAX))?;
        self.letters.push_str(name);
        self.entries.push(Entry { address, name: at, bytes, module, kind });
        Ok(())
    }

    /// Says where a module lies.
    ///
    /// # Errors
    /// [`Wrong::TooMany`].
    pub fn module(&mut self, module: Module) -> Result<(), Wrong> {
        let number = usize::from(self.number(&module.name)?);
        self.modules[number - 1] = module;
        Ok(())
    }

    fn number(&mut self, name: &str) -> Result<u16, Wrong> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        let number = u16::try_from(self.modules.len() + 1).ok().filter(|number| usize::from(*number) <= MODULES_MAX);
        let number = number.ok_or(Wrong::TooMany(MODULES_MAX))?;
        self.modules.push(Module { name: name.to_owned(), base: 0, size: 0 });
        self.numbers.insert(name.to_owned(), number);
        Ok(number)
    }

    /// All of it, to be looked up in.
    ///
    /// # Errors
    /// [`Wrong::Empty`], [`Wrong::Hidden`].
    pub fn build(self) -> Result<Table, Wrong> {
        let Self { letters, mut entries, modules, numbers: _ } = self;
        if entries.is_empty() {
            return Err(Wrong::Empty);
        }
        if entries.iter().all(|entry| entry.address == 0) {
            return Err(Wrong::Hidden);
        }
        entries.sort_by_key(|entry| entry.address);
        let mut by_name: Vec<u32> = (0..u32::try_from(entries.len()).unwrap_or(u32::MAX)).collect();
        by_name.sort_by_key(|at| name_of(&letters, entries[*at as usize]));
        let mut table = Table { letters, entries, by_name, modules, kernel: (0, 0) };
        table.kernel = table.kernel_bounds();
        Ok(table)
    }
}

fn name_of(letters: &str, entry: Entry) -> &str {
    let at = entry.name as usize;
    letters.get(at..at + usize::from(entry.bytes)).unwrap_or("")
}

/// All names.
#[derive(Debug)]
pub struct Table {
    letters: String,
    /// By address, and then as they were added.
    entries: Vec<Entry>,
    /// Their numbers, by name.
    by_name: Vec<u32>,
    modules: Vec<Module>,
    /// First byte of the kernel, and the first behind it.
    kernel: (u64, u64),
}

impl Table {
    /// How many names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none; never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The modules, in the order in which they were told.
    #[must_use]
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// The kernel's first byte and the first behind it.
    #[must_use]
    pub fn kernel(&self) -> (u64, u64) {
        self.kernel
    }

    /// Every name, by address.
    pub fn all(&self) -> impl Iterator<Item = Symbol<'_>> {
        self.entries.iter().map(|entry| self.symbol(*entry))
    }

    /// Everything of this name, by address; `module` may be one of [`KERNEL`]. What stands twice at one address is one.
    #[must_use]
    pub fn named(&self, module: Option<&str>, name: &str) -> Vec<Symbol<'_>> {
        let whose = |symbol: &Symbol<'_>| match module {
            None => true,
            Some(module) => symbol.module == Some(module) || symbol.module.is_none() && KERNEL.contains(&module),
        };
        let mut found: Vec<Symbol<'_>> = self.run(name).filter(whose).collect();
        found.sort_by_key(|symbol| symbol.address);
        found.dedup_by_key(|symbol| symbol.address);
        found
    }

    fn run(&self, name: &str) -> impl Iterator<Item = Symbol<'_>> {
        let first = self.by_name.partition_point(|at| self.name(*at) < name);
        self.by_name[first..].iter().take_while(move |at| self.name(**at) == name).map(|at| self.at(*at))
    }

    /// Names that begin so, in their order, each once: `most` at most, and whether there are more.
    #[must_use]
    pub fn beginning(&self, module: Option<&str>, typed: &str, most: usize) -> (Vec<&str>, bool) {
        let first = self.by_name.partition_point(|at| self.name(*at) < typed);
        let mut names: Vec<&str> = Vec::new();
        for symbol in self.by_name[first..].iter().map(|at| self.at(*at)).take_while(|symbol| symbol.name.starts_with(typed)) {
            if names.last() == Some(&symbol.name) || module.is_some_and(|module| symbol.module.unwrap_or(KERNEL[0]) != module) {
                continue;
            }
            if names.len() >= most {
                return (names, true);
            }
            names.push(symbol.name);
        }
        (names, false)
    }

    /// What all names that begin so have in common.
    #[must_use]
    pub fn common<'t>(&'t self, typed: &'t str) -> &'t str {
        let first = self.by_name.partition_point(|at| self.name(*at) < typed);
        let count = self.by_name[first..].partition_point(|at| self.name(*at).starts_with(typed));
        let Some([one, .., other]) = self.by_name.get(first..first + count) else {
            return self.by_name.get(first).filter(|_| count == 1).map_or("", |at| self.name(*at));
        };
        // They are sorted: what the first and the last have in common, all have.
        let (one, other) = (self.name(*one), self.name(*other));
        let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        one.get(..same).unwrap_or(typed)
    }

    /// Names that fit, by address; `module` is a pattern, too.
    pub fn fitting<'t>(&'t self, module: Option<&'t Pattern>, name: &'t Pattern) -> impl Iterator<Item = Symbol<'t>> {
        let whose = move |symbol: &Symbol<'_>| match (module, symbol.module) {
            (None, _) => true,
            (Some(pattern), Some(module)) => pattern.fits(module),
            (Some(pattern), None) => KERNEL.iter().any(|kernel| pattern.fits(kernel)),
        };
        self.all().filter(move |symbol| name.fits(symbol.name) && whose(symbol))
    }

    /// The name before an address, in the same piece (L2).
    #[must_use]
    pub fn near(&self, address: u64) -> Option<Near<'_>> {
        if address < HIGH_HALF {
            return None;
        }
        let behind = self.entries.partition_point(|entry| entry.address <= address);
        let last = self.entries.get(behind.checked_sub(1)?)?;
        let first = self.entries[..behind].partition_point(|entry| entry.address < last.address);
        // Of several names the kernel's own order decides, but for marks of linkers and compilers.
        let same = &self.entries[first..behind];
        let plain = |entry: &&Entry| !self.symbol(**entry).name.starts_with(['.', '$']);
        let entry = same.iter().find(plain).unwrap_or(last);
        let near = Near { symbol: self.symbol(*entry), offset: address - entry.address };
        self.together(*entry, address).then_some(near)
    }

    /// Whether an address lies in the piece of an entry before it.
    fn together(&self, entry: Entry, address: u64) -> bool {
        if entry.address < HIGH_HALF {
            return false;
        }
        let within = |base: u64, end: u64| (base..end).contains(&address);
        let (first, end) = self.kernel;
        match self.modules.get(usize::from(entry.module).wrapping_sub(1)) {
            None => within(first, end),
            Some(_) if within(first, end) => false,
            Some(Module { base, size, .. }) if (*base..base.saturating_add(*size)).contains(&entry.address) => {
                within(*base, base.saturating_add(*size))
            }
            // A piece whose end nobody told.
            Some(_) => address - entry.address < BEHIND_MAX,
        }
    }

    /// From a name before an address up to the next one, or to the end of the piece: a function, as far as names tell.
    #[must_use]
    pub fn extent(&self, address: u64) -> Option<(u64, u64)> {
        let start = address - self.near(address)?.offset;
        let next = self.entries.partition_point(|entry| entry.address <= address);
        let (_, kernel_end) = self.kernel;
        let entry = self.entries[..next].last()?;
        let limit = match self.modules.get(usize::from(entry.module).wrapping_sub(1)) {
            None => kernel_end,
            Some(Module { base, size, .. }) if *size != 0 && address < base.saturating_add(*size) => base.saturating_add(*size),
            Some(_) => start.saturating_add(BEHIND_MAX),
        };
        let end = self.entries.get(next).map_or(limit, |entry| entry.address.min(limit));
        Some((start, end))
    }

    /// A name that a word most likely was meant to be.
    #[must_use]
    pub fn suggest(&self, word: &str) -> Option<&str> {
        if word.len() < 3 || word.len() > 64 {
            return None;
        }
        let folded = word.to_ascii_lowercase();
        let most = (word.len() / 4).clamp(1, 3);
        let mut near: Option<(usize, &str)> = None;
        let mut holding: Option<&str> = None;
        for at in &self.by_name {
            let name = self.name(*at);
            let room = near.map_or(most, |(distance, _)| distance.saturating_sub(1));
            if name.len().abs_diff(word.len()) <= room
                && let Some(distance) = distance(folded.as_bytes(), name.as_bytes(), room)
            {
                near = Some((distance, name));
                if distance == 0 {
                    break;
                }
            }
            if near.is_none()
                && name.len() > word.len()
                && holding.is_none_or(|held| name.len() < held.len())
                && name.contains(word)
            {
                holding = Some(name);
            }
        }
        near.map(|(_, name)| name).or(holding)
    }

    /// The kernel's own names, to be added to.
    ///
    /// # Errors
    /// [`Wrong::TooMany`]; never, since they were built before.
    pub fn kernels(&self) -> Result<Builder, Wrong> {
        let mut builder = Builder::default();
        for Symbol { address, kind, name, module } in self.all() {
            if module.is_none() {
                builder.add(address, kind as u8, name, None)?;
            }
        }
        Ok(builder)
    }

    /// The kernel's own names as they are when it lies `by` bytes further up (modulo 2^64), without those of modules: where
    /// they lie has nothing to do with it.
    ///
    /// # Errors
    /// [`Wrong::Empty`].
    pub fn moved(&self, by: u64) -> Result<Table, Wrong> {
        let mut builder = Builder::default();
        for Symbol { address, kind, name, module } in self.all() {
            // Offsets and constants stay what they are.
            let address = if address < HIGH_HALF { address } else { address.wrapping_add(by) };
            if module.is_none() {
                builder.add(address, kind as u8, name, None)?;
            }
        }
        builder.build()
    }

    /// All names but those of some modules.
    ///
    /// # Errors
    /// [`Wrong::Empty`].
    pub fn without(&self, modules: &[&str]) -> Result<Table, Wrong> {
        let mut builder = Builder::default();
        for module in self.modules.iter().filter(|module| !modules.contains(&&*module.name)) {
            builder.module(module.clone())?;
        }
        for Symbol { address, kind, name, module } in self.all() {
            if module.is_none_or(|module| !modules.contains(&module)) {
                builder.add(address, kind as u8, name, module)?;
            }
        }
        builder.build()
    }

    /// All names, and those of these that are not among them: address, kind, name, module. How many that were.
    ///
    /// # Errors
    /// [`Wrong::TooMany`].
    pub fn with<'n>(&self, more: impl Iterator<Item = (u64, u8, &'n str, Option<&'n str>)>) -> Result<(Table, usize), Wrong> {
        let mut builder = Builder::default();
        for module in &self.modules {
            builder.module(module.clone())?;
        }
        for Symbol { address, kind, name, module } in self.all() {
            builder.add(address, kind as u8, name, module)?;
        }
        let mut added = 0;
        for (address, kind, name, module) in more {
            if !self.run(name).any(|symbol| symbol.address == address && symbol.module == module) {
                builder.add(address, kind, name, module)?;
                added += 1;
            }
        }
        Ok((builder.build()?, added))
    }

    fn kernel_bounds(&self) -> (u64, u64) {
        let own = |name: &str| self.named(None, name).into_iter().find(|symbol| symbol.module.is_none());
        let mut kernel = self.entries.iter().filter(|entry| entry.module == 0 && entry.address >= HIGH_HALF);
        let first = ["_text", "_stext"].iter().find_map(|name| own(name)).map(|symbol| symbol.address);
        let first = first.or_else(|| kernel.next().map(|entry| entry.address)).unwrap_or(0);
        let last = kernel.next_back().map_or(first, |entry| entry.address);
        let end = own("_end").map_or(last.saturating_add(BEHIND_MAX), |symbol| symbol.address);
        (first, end)
    }

    fn name(&self, at: u32) -> &str {
        self.entries.get(at as usize).map_or("", |entry| name_of(&self.letters, *entry))
    }

    fn at(&self, at: u32) -> Symbol<'_> {
        self.symbol(self.entries[at as usize])
    }

    fn symbol(&self, entry: Entry) -> Symbol<'_> {
        let module = self.modules.get(usize::from(entry.module).wrapping_sub(1)).map(|module| &*module.name);
        Symbol { address: entry.address, kind: char::from(entry.kind), name: name_of(&self.letters, entry), module }
    }
}

/// How many letters were changed, left out, added or swapped with their neighbour, if that is `most` at most. Case apart in `b`.
fn distance(a: &[u8], b: &[u8], most: usize) -> Option<usize> {
    let width = b.len() + 1;
    let mut rows = [vec![0; width], vec![0; width], (0..width).collect::<Vec<usize>>()];
    for (i, x) in a.iter().enumerate() {
        rows.rotate_left(1);
        let [before_last, last, now] = &mut rows;
        now[0] = i + 1;
        let mut least = now[0];
        for (j, y) in b.iter().map(u8::to_ascii_lowercase).enumerate() {
            let cost = usize::from(*x != y);
            let mut value = (last[j] + cost).min(last[j + 1] + 1).min(now[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1].to_ascii_lowercase() && a[i - 1] == y {
                value = value.min(before_last[j - 1] + 1);
            }
            now[j + 1] = value;
            least = least.min(value);
        }
        if least > most {
            return None;
        }
    }
    let [_, _, last] = rows;
    last.last().copied().filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0000000000000000 A fixed_percpu_data\n\
        ffffffff81000000 T _stext\n\
        ffffffff81000100 T do_syscall_64\n\
        ffffffff81000200 t pad\n\
        ffffffff81000300 t read_one\n\
        ffffffff81000300 T __x64_sys_getppid\n\
        ffffffff81000400 t read_one\n\
        ffffffff82000000 B _end\n\
        ffffffffc0300010 t msr_open [msr]\n\
        ffffffffc0300010 t .text_mark [msr]\n\
        ffffffffc0300020 t read_one [msr]\n\
        ffffffffc0500000 t bpf_prog_1 [bpf]\n";

    fn table() -> Table {
        crate::text::table(TEXT.as_bytes(), b"msr 16384 0 - Live 0xffffffffc0300000\n").unwrap()
    }

    fn near(address: u64) -> Option<String> {
        table().near(address).map(|near| near.to_string())
    }

    /// Would catch a name that is told for memory of somebody else: behind the kernel, in another module, between modules.
    #[test]
    fn an_address_is_named_by_its_own_piece_or_not_at_all() {
        assert_eq!(near(0xffff_ffff_8100_0100).as_deref(), Some("do_syscall_64"));
        assert_eq!(near(0xffff_ffff_8100_01ff).as_deref(), Some("do_syscall_64+0xff"));
        assert_eq!(near(0xffff_ffff_8100_0300).as_deref(), Some("read_one"), "the first of two names");
        assert_eq!(near(0xffff_ffff_8200_0000), None, "the end is not the kernel any more");
        assert_eq!(near(0xffff_ffff_80ff_ffff), None);
        assert_eq!(near(0xffff_ffff_c030_0000), None, "before the module's first name");
        assert_eq!(near(0xffff_ffff_c030_0012).as_deref(), Some("msr!msr_open+0x2"), "no mark of a linker's");
        assert_eq!(near(0xffff_ffff_c030_3fff).as_deref(), Some("msr!read_one+0x3fdf"));
        assert_eq!(near(0xffff_ffff_c030_4000), None, "behind the module");
        assert_eq!(near(0xffff_ffff_c050_ffff).as_deref(), Some("bpf!bpf_prog_1+0xffff"));
        assert_eq!(near(0xffff_ffff_c051_0000), None);
        assert_eq!(near(0x10), None, "offsets of a core's own data are no addresses");
    }

    /// Would catch an ambiguous name of which one address is told as if it were the only one.
    #[test]
    fn all_addresses_of_a_name_are_told() {
        let table = table();
        let told =
            |module, name| table.named(module, name).iter().map(|symbol| symbol.address & 0xfff_ffff).collect::<Vec<_>>();
        assert_eq!(told(None, "read_one"), [0x100_0300, 0x100_0400, 0x30_0020]);
        assert_eq!(told(Some("msr"), "read_one"), [0x30_0020]);
        assert_eq!(told(Some("vmlinux"), "read_one"), [0x100_0300, 0x100_0400]);
        assert_eq!(told(None, "read"), [0_u64; 0]);
        assert_eq!(told(None, "fixed_percpu_data"), [0]);
    }

    /// Would catch a function that reaches into the next one, or beyond its piece.
    #[test]
    fn a_function_ends_where_the_next_name_or_its_piece_does() {
        let of = |address: u64| table().extent(address).map(|(start, end)| (start & 0xfff_ffff, end - start));
        assert_eq!(of(0xffff_ffff_8100_0155), Some((0x100_0100, 0x100)));
        assert_eq!(of(0xffff_ffff_8100_0300), Some((0x100_0300, 0x100)), "through its other name");
        assert_eq!(of(0xffff_ffff_c030_0021), Some((0x30_0020, 0x3fe0)));
        assert_eq!(of(0xffff_ffff_8200_0000), None);
    }

    /// Would catch a pattern that is taken for part of a name, or a module that does not narrow.
    #[test]
    fn patterns_find_names_of_all_or_of_one_module() {
        let table = table();
        let found = |module: Option<&str>, name: &str| {
            let (module, name) = (module.map(Pattern::new), Pattern::new(name));
            table.fitting(module.as_ref(), &name).map(|symbol| symbol.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(found(None, "*GETPPID*"), ["__x64_sys_getppid"]);
        assert_eq!(found(Some("m*"), "*"), ["msr!msr_open", "msr!.text_mark", "msr!read_one"]);
        assert_eq!(found(Some("kernel"), "read*"), ["read_one", "read_one"]);
    }

    /// Would catch an offer that is something else, or none for a slip or for a system call by its usual name.
    #[test]
    fn a_slip_or_a_part_finds_its_name() {
        let table = table();
        assert_eq!(table.suggest("do_sycsall_64"), Some("do_syscall_64"));
        assert_eq!(table.suggest("DO_SYSCALL_64"), Some("do_syscall_64"));
        assert_eq!(table.suggest("sys_getppid"), Some("__x64_sys_getppid"));
        assert_eq!(table.suggest("do_syscall_46x"), Some("do_syscall_64"));
        assert_eq!(table.suggest("qqqqqq"), None);
        assert_eq!(table.suggest("x"), None);
    }

    /// Would catch a completion that goes too far or stops too early.
    #[test]
    fn what_is_common_is_what_all_begin_with() {
        let table = table();
        assert_eq!(table.beginning(None, "re", 10), (vec!["read_one"], false));
        assert_eq!(table.beginning(Some("msr"), "", 10), (vec![".text_mark", "msr_open", "read_one"], false));
        assert_eq!(table.common("re"), "read_one");
        assert_eq!(table.common("_"), "_");
        assert_eq!(table.common("do"), "do_syscall_64");
        assert_eq!(table.common("zz"), "");
        assert_eq!(table.beginning(None, "_", 2), (vec!["__x64_sys_getppid", "_end"], true));
    }

    /// Would catch a table that is moved in part, or keeps modules where they were in another boot.
    #[test]
    fn a_moved_kernel_keeps_its_distances_and_loses_its_modules() {
        let table = table();
        let moved = table.moved(0x10_0000_u64.wrapping_neg()).unwrap();
        assert_eq!(moved.named(None, "do_syscall_64")[0].address, 0xffff_ffff_80f0_0100);
        assert_eq!(moved.near(0xffff_ffff_80f0_0101).unwrap().to_string(), "do_syscall_64+0x1");
        assert_eq!(moved.named(None, "fixed_percpu_data")[0].address, 0);
        assert!(moved.named(None, "msr_open").is_empty());
        let without = table.without(&["msr"]).unwrap();
        assert!(without.named(None, "msr_open").is_empty() && without.modules().len() == 1);
        assert_eq!(without.named(Some("bpf"), "bpf_prog_1").len(), 1);
    }

    /// Would catch a distance that is not the least number of slips.
    #[test]
    fn slips_are_counted_and_no_further_than_asked() {
        let of = |a: &str, b: &str, most| distance(a.as_bytes(), b.as_bytes(), most);
        assert_eq!(of("abc", "abc", 0), Some(0));
        assert_eq!(of("abc", "ABC", 0), Some(0));
        assert_eq!(of("abc", "acb", 1), Some(1));
        assert_eq!(of("abc", "ab", 1), Some(1));
        assert_eq!(of("kitten", "sitting", 3), Some(3));
        assert_eq!(of("kitten", "sitting", 2), None);
    }
}
