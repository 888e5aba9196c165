//! The kernel and what else is in it: what root cannot cope with, who else uses the processor, and whether ours may come in.

use super::KNOWN;
use super::processor::Processor;
use super::texts::{
    AT_LOAD, COM2, COMMAND_LINE, CONFIG, DEVICE, LOCKDOWN, MEMORY, MODULES, NO_MORE_MODULES, POSSIBLE, RELEASE, SELF,
    SIGNATURES, Texts, ZONES,
};
use abi::boot::{CORES_MAX, DIRECT_BYTES_MAX, FRAME_BYTES};
use abi::code::lack;

/// What the kernel is to root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its release.
    pub release: String,
    /// Bits of [`lack`]: what root cannot cope with.
    pub lacks: u32,
    /// Cores that may ever come, if it says so.
    pub cores_possible: Option<u64>,
    /// Where its memory ends, if it says so.
    pub ram_end_bytes: Option<u64>,
    /// Its memory, if it says so.
    pub ram_bytes: Option<u64>,
    /// What keeps a module out that nobody signed.
    pub guarded: Option<Guard>,
    /// Other hypervisors.
    pub others: Vec<Other>,
    /// Whether it has a UART at COM2.
    pub com2: bool,
    /// Ours.
    pub ours: Ours,
    /// Whether this program runs as root.
    pub privileged: bool,
}

/// What keeps modules out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The kernel is built without modules.
    NoneAtAll,
    /// No module is taken any more.
    NoMore,
    /// Lockdown, as Secure Boot brings it: signed ones only.
    Lockdown,
    /// Signed ones only.
    Signatures,
}

/// Another hypervisor's module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its name.
    pub name: String,
    /// What it does.
    pub state: OtherState,
}

/// What another hypervisor does with the extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherState {
    /// Nothing, before a machine of its runs.
    Idle,
    /// It has it: a machine runs, or somebody is about to start one.
    Used,
    /// It has it from the beginning to the end.
    Always,
    /// Likewise, and it cannot be removed.
    AlwaysBuiltIn,
    /// It is built in, so nobody counts who uses it.
    Unknown,
}

/// How far ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ours {
    /// Not in the kernel.
    Absent,
    /// In the kernel.
    Inserted,
    /// Under the kernel, on so many cores.
    Loaded(u32),
}

impl Kernel {
    /// Of these texts.
    #[must_use]
    pub fn of(texts: &Texts, processor: &Processor) -> Self {
        let cores_possible = last_of_list(texts.of(POSSIBLE)).map(|last| last + 1);
        let ram_end_bytes = ram_end_frames(texts.of(ZONES)).map(|frames| frames.saturating_mul(FRAME_BYTES));
        let ours = match (texts.said_by_processor("root").map(str::parse), texts.is_there(DEVICE)) {
            (Some(cores), _) => Ours::Loaded(cores.unwrap_or(0)),
            (None, true) => Ours::Inserted,
            (None, false) => Ours::Absent,
        };
        let mut lacks = 0;
        for (bit, is) in [
            (lack::LA57, processor.five_levels),
            (lack::SME, processor.encrypts && encrypted(texts)),
            (lack::CORES, cores_possible.is_some_and(|cores| cores > CORES_MAX as u64)),
            (lack::RAM, ram_end_bytes.is_some_and(|end| end > DIRECT_BYTES_MAX)),
        ] {
            lacks |= if is { bit } else { 0 };
        }
        Self {
            release: texts.of(RELEASE).trim().to_owned(),
            lacks,
            cores_possible,
            ram_end_bytes,
            ram_bytes: kib(texts.of(MEMORY), "MemTotal").map(|kib| kib.saturating_mul(1 << 10)),
            guarded: guard(texts),
            others: others(texts),
            com2: texts.get(COM2).is_some_and(|kind| !matches!(kind.trim(), "" | "0")),
            ours,
            privileged: effective_user(texts.of(SELF)) == Some(0),
        }
    }
}

/// The last number of a list such as `0-3,8`.
fn last_of_list(text: &str) -> Option<u64> {
    text.trim().rsplit([',', '-']).next()?.parse().ok()
}

/// Where the last zone of memory ends.
fn ram_end_frames(zones: &str) -> Option<u64> {
    let (mut end, mut spanned) = (None, 0_u64);
    for line in zones.lines() {
        let mut words = line.split([' ', ':']).filter(|word| !word.is_empty());
        match (words.next(), words.next().map(str::parse::<u64>)) {
            (Some("spanned"), Some(Ok(frames))) => spanned = frames,
            (Some("start_pfn"), Some(Ok(start))) => end = end.max(Some(start.saturating_add(spanned))),
            _ => {}
        }
    }
    end
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

/// Whether Linux encrypts its memory: asked for, or by default and not refused.
fn encrypted(texts: &Texts) -> bool {
    let asked = texts.of(COMMAND_LINE).split_whitespace().filter_map(|word| word.strip_prefix("mem_encrypt=")).next_back();
    match asked {
        Some(asked) => asked == "on",
        None => texts.of(CONFIG).lines().any(|line| line.ends_with("=y")),
    }
}

fn guard(texts: &Texts) -> Option<Guard> {
    if !texts.is_there(MODULES) {
        return Some(Guard::NoneAtAll);
    }
    let says = |path: &str, word: &str| texts.of(path).trim() == word;
    if says(NO_MORE_MODULES, "1") {
        return Some(Guard::NoMore);
    }
    let lockdown = texts.of(LOCKDOWN);
    if lockdown.contains('[') && !lockdown.contains("[none]") {
        return Some(Guard::Lockdown);
    }
    says(SIGNATURES, "Y").then_some(Guard::Signatures)
}

fn others(texts: &Texts) -> Vec<Other> {
    let modules = texts.of(MODULES);
    let users = |name: &str| {
        let of_line = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.split(' ').nth(1)?.parse::<u64>().ok();
        modules.lines().find_map(of_line)
    };
    let at_load = matches!(texts.of(AT_LOAD).trim(), "Y" | "1");
    let state = |name: &str| {
        let always = at_load && name.starts_with("kvm");
        match (users(name), always) {
            (Some(_), true) => Some(OtherState::Always),
            (Some(0), false) => Some(OtherState::Idle),
            (Some(_), false) => Some(OtherState::Used),
            (None, _) if !texts.is_there(&format!("/sys/module/{name}")) => None,
            (None, true) => Some(OtherState::AlwaysBuiltIn),
            (None, false) => Some(OtherState::Unknown),
        }
    };
    KNOWN.iter().filter_map(|name| Some(Other { name: (*name).to_owned(), state: state(name)? })).collect()
}

fn effective_user(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}
