//! Whether a file of names is of the kernel that runs, and where in memory that one lies.
//!
//! A kernel may lie elsewhere after each boot, all of it by the same distance. So the names that tell are a few that every
//! kernel has, far apart from each other: one distance for all is a move, two are another kernel.

use symbols::{HIGH_HALF, Module, Table};

/// Names that every kernel has, from its beginning to its end. Over a link three of them are known before: the note for dumps
/// tells `_stext`, `init_uts_ns` and `vmap_area_list`.
pub(super) const ANCHORS: [&str; 13] = [
    "_stext",
    "entry_SYSCALL_64",
    "do_syscall_64",
    "schedule",
    "linux_banner",
    "sys_call_table",
    "_etext",
    "init_task",
    "init_uts_ns",
    "swapper_pg_dir",
    "vmap_area_list",
    "jiffies_64",
    "_end",
];

/// What a comparison says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is this kernel, where it lies now.
    Same,
    /// It is this kernel, and it lies this many bytes further up, modulo 2^64.
    Moved(u64),
    /// It is another one: by this name.
    Other { name: String, here: u64, there: u64 },
    /// Fewer than two names could be compared.
    Unknown,
}

/// Compares a file with the machine.
pub(super) fn compare(file: &Table, machine: &[(String, u64)]) -> Verdict {
    let here = machine.iter().filter(|(name, _)| ANCHORS.contains(&&**name));
    let both = here.filter_map(|(name, here)| Some((&**name, *here, only(file, name)?)));
    let both: Vec<(&str, u64, u64)> = both.collect();
    let [(_, here, there), _, ..] = both[..] else { return Verdict::Unknown };
    let by = here.wrapping_sub(there);
    match both.iter().find(|(_, here, there)| here.wrapping_sub(*there) != by) {
        Some((name, here, there)) => Verdict::Other { name: (*name).to_owned(), here: *here, there: *there },
        None if by == 0 => Verdict::Same,
        None => Verdict::Moved(by),
    }
}

/// Where a name of the kernel's own lies, if it is the only one.
pub(super) fn only(table: &Table, name: &str) -> Option<u64> {
    match table.named(Some("vmlinux"), name)[..] {
        [symbol] => Some(symbol.address),
        _ => None,
    }
}

/// Modules of a file that do not lie in the machine where their names say.
pub(super) fn elsewhere(file: &Table, machine: &[Module]) -> Vec<String> {
    let mut wrong: Vec<String> = Vec::new();
    for symbol in file.all() {
        // What each core has its own copy of lies in no module.
        let Some(name) = symbol.module.filter(|_| symbol.address >= HIGH_HALF) else { continue };
        let lies = machine.iter().find(|module| module.name == name).is_some_and(|module| {
            module.size == 0 || (module.base..module.base.saturating_add(module.size)).contains(&symbol.address)
        });
        if !lies && !wrong.iter().any(|other| other == name) {
            wrong.push(name.to_owned());
        }
    }
    wrong
}
