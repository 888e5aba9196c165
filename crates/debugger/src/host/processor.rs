//! The processor: whose it is, what of its extension is there, and what root must or can do without.
//!
//! Linux names what an extension can do in `/proc/cpuinfo`: AMD's in `flags`, Intel's in `vmx flags` (since 5.6). It takes a
//! flag away that the firmware disabled, while CPUID still has it.

use super::texts::CPUINFO;
use super::{Maker, texts::Texts};
use abi::code::lack;

/// What the processor is to root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processor {
    /// Whose it is, if it says so.
    pub maker: Option<Maker>,
    /// Its name.
    pub model: String,
    /// Cores that run.
    pub cores: usize,
    /// The hypervisor in whose machine it is, by the name that this one gives itself.
    pub inside: Option<String>,
    /// What is there of its extension.
    pub extension: Extension,
    /// What root does another way, or more slowly.
    pub without: Vec<Optional>,
    /// The extension has parts that Linux does not name.
    pub unnamed: Unnamed,
    /// Linux runs with page tables of five levels.
    pub five_levels: bool,
    /// Memory can be encrypted.
    pub encrypts: bool,
}

/// A processor's extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// All of it that can be seen.
    There,
    /// There, and the firmware disabled it.
    Locked,
    /// These bits of [`lack`] are missing.
    Lacks(u32),
}

/// Parts that root can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optional {
    /// It tells where the next instruction begins.
    NextInstruction,
    /// Pages that can be executed and not read.
    ExecuteOnly,
    /// Nested pages of 1 GiB.
    NestedGib,
    /// Translations that are tagged.
    Tags,
}

/// Parts that `load` alone will see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// None.
    Nothing,
    /// Small ones, that came together with others which are there.
    Some,
    /// All of them: the kernel is too old to name any.
    All,
}

impl Processor {
    /// Of these texts.
    #[must_use]
    pub fn of(texts: &Texts) -> Self {
        let cpuinfo = texts.of(CPUINFO);
        let first = cpuinfo.split("\n\n").next().unwrap_or_default();
        let field = |name: &str| {
            let of_line = |line: &str| {
                line.split_once(':').filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
            };
            first.lines().find_map(of_line)
        };
        let flags = field("flags").unwrap_or_default();
        let more = field("vmx flags");
        let has = |name: &str| {
            let more = more.iter().flat_map(|more| more.split(' '));
            flags.split(' ').chain(more).any(|flag| flag == name)
        };
        let maker = Maker::of(cpuinfo);
        let here = |name: &str| texts.said_by_processor(name).is_some();
        let (extension, without, unnamed) = match maker {
            Some(Maker::Amd) => {
                (amd(&has, here("svm")), optional(&has, &[("nrip_save", Optional::NextInstruction)]), Unnamed::Nothing)
            }
            Some(Maker::Intel) => {
                let without =
                    [("ept_x_only", Optional::ExecuteOnly), ("ept_1gb", Optional::NestedGib), ("vpid", Optional::Tags)];
                match (intel(&has, here("vmx"), more.is_some()), more.is_some()) {
                    (Extension::There, true) => (Extension::There, optional(&has, &without), Unnamed::Some),
                    (Extension::There, false) => (Extension::There, Vec::new(), Unnamed::All),
                    (extension, _) => (extension, Vec::new(), Unnamed::Nothing),
                }
            }
            Some(Maker::Other) | None => (Extension::Lacks(lack::VENDOR), Vec::new(), Unnamed::Nothing),
        };
        Self {
            maker,
            // Makers fill it up with blanks.
            model: field("model name").unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "),
            cores: cpuinfo.lines().filter(|line| line.split(':').next().is_some_and(|key| key.trim() == "processor")).count(),
            inside: texts.said_by_processor("inside").map(str::to_owned),
            extension,
            without: if extension == Extension::There { without } else { Vec::new() },
            unnamed,
            five_levels: has("la57"),
            encrypts: has("sme"),
        }
    }
}

fn optional(has: &impl Fn(&str) -> bool, parts: &[(&str, Optional)]) -> Vec<Optional> {
    parts.iter().filter(|(name, _)| !has(name)).map(|(_, part)| *part).collect()
}

fn lacking(has: &impl Fn(&str) -> bool, parts: &[(&str, u32)]) -> u32 {
    parts.iter().filter(|(name, _)| !has(name)).fold(0, |bits, (_, bit)| bits | bit)
}

fn of_bits(bits: u32) -> Extension {
    if bits == 0 { Extension::There } else { Extension::Lacks(bits) }
}

fn amd(has: &impl Fn(&str) -> bool, here: bool) -> Extension {
    let pages = lacking(has, &[("pdpe1gb", lack::GIB_PAGES)]);
    match (has("svm"), here) {
        (true, _) => of_bits(pages | lacking(has, &[("npt", lack::NESTED_PAGING)])),
        (false, true) => Extension::Locked,
        (false, false) => Extension::Lacks(lack::SVM | pages),
    }
}

fn intel(has: &impl Fn(&str) -> bool, here: bool, named: bool) -> Extension {
    let seen = [("ept", lack::EPT), ("vnmi", lack::VIRTUAL_NMIS), ("mtf", lack::MTF)];
    match (has("vmx"), here) {
        // Linux has told of the first two for longer.
        (true, _) => of_bits(lacking(has, if named { &seen } else { &seen[..2] })),
        (false, true) => Extension::Locked,
        (false, false) => Extension::Lacks(lack::VMX),
    }
}
