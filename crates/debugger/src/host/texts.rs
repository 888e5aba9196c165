//! What this machine says of itself, as it says it: texts of Linux' and a few words of the processor's.
//!
//! **Holds always**
//! - X1: nothing here needs rights, changes anything, or waits.
//! - X2: what cannot be read is not there; who looks for it decides what that means.
//!
//! **Cost**: some twenty small files, each cut at [`FILE_BYTES_MAX`]. **Proof**: `tests/doctor.rs`, by recorded machines.

use core::arch::x86_64::{__cpuid, CpuidResult};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Bytes of a file that are looked at. The longest is `/proc/cpuinfo`, some 1.5 KiB a core, of which the first one counts.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Files that are read.
const FILES: [&str; 13] = [
    CPUINFO,
    MODULES,
    POSSIBLE,
    ZONES,
    MEMORY,
    COMMAND_LINE,
    RELEASE,
    LOCKDOWN,
    SIGNATURES,
    NO_MORE_MODULES,
    AT_LOAD,
    COM2,
    SELF,
];
pub(super) const CPUINFO: &str = "/proc/cpuinfo";
pub(super) const MODULES: &str = "/proc/modules";
pub(super) const POSSIBLE: &str = "/sys/devices/system/cpu/possible";
pub(super) const ZONES: &str = "/proc/zoneinfo";
pub(super) const MEMORY: &str = "/proc/meminfo";
pub(super) const COMMAND_LINE: &str = "/proc/cmdline";
pub(super) const RELEASE: &str = "/proc/sys/kernel/osrelease";
pub(super) const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
pub(super) const SIGNATURES: &str = "/sys/module/module/parameters/sig_enforce";
pub(super) const NO_MORE_MODULES: &str = "/proc/sys/kernel/modules_disabled";
pub(super) const AT_LOAD: &str = "/sys/module/kvm/parameters/enable_virt_at_load";
pub(super) const COM2: &str = "/sys/class/tty/ttyS1/type";
pub(super) const SELF: &str = "/proc/self/status";

/// What matters by being there.
const PLACES: [&str; 6] =
    [DEVICE, "/sys/module/hyperkd", "/sys/module/kvm_amd", "/sys/module/kvm_intel", "/sys/module/vboxdrv", "/sys/module/vmmon"];
pub(super) const DEVICE: &str = crate::target::device::PATH;

/// The kernel's configuration, under its release; of it, only what is asked for.
pub(super) const CONFIG: &str = "/boot/config";
const OF_CONFIG: &str = "CONFIG_AMD_MEM_ENCRYPT_ACTIVE_BY_DEFAULT=";

/// What the processor itself says: a word a line, with what belongs to it.
pub(super) const CPUID: &str = "cpuid";
/// Who is there if it is ours: root answers so, whoever asks (docs/architecture.md "How the image gets under Linux").
const OUR_LEAF: u32 = 0x4857_4400;
const OUR_SIGNATURE: u32 = u32::from_le_bytes(*b"HKRS");

/// The texts, by where they are from.
#[derive(Clone, Debug, Default)]
pub struct Texts(BTreeMap<String, String>);

impl Texts {
    /// This machine's.
    #[must_use]
    pub fn here() -> Self {
        let mut texts = BTreeMap::new();
        for path in FILES {
            if let Some(text) = read(path) {
                texts.insert(path.to_owned(), text);
            }
        }
        for path in PLACES.iter().filter(|path| Path::new(path).exists()) {
            texts.insert((*path).to_owned(), String::new());
        }
        if let Some(config) = texts.get(RELEASE).and_then(|release| read(&format!("{CONFIG}-{}", release.trim()))) {
            let lines: Vec<&str> = config.lines().filter(|line| line.starts_with(OF_CONFIG)).collect();
            texts.insert(CONFIG.to_owned(), lines.join("\n"));
        }
        texts.insert(CPUID.to_owned(), of_processor());
        Self(texts)
    }

    /// Those of a recorded machine: `== PATH` before each text.
    #[must_use]
    pub fn recorded(text: &str) -> Self {
        let mut texts = BTreeMap::new();
        for part in format!("\n{text}").split("\n== ").skip(1) {
            let (path, text) = part.split_once('\n').unwrap_or((part, ""));
            texts.insert(path.trim().to_owned(), text.to_owned());
        }
        Self(texts)
    }

    /// Another text in the place of one, or the place of none.
    #[must_use]
    pub fn with(mut self, path: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.0.insert(path.to_owned(), text.to_owned()),
            None => self.0.remove(path),
        };
        self
    }

    pub(super) fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// A text, or an empty one.
    pub(super) fn of(&self, path: &str) -> &str {
        self.get(path).unwrap_or_default()
    }

    pub(super) fn is_there(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// What belongs to a word of the processor's.
    pub(super) fn said_by_processor(&self, word: &str) -> Option<&str> {
        self.of(CPUID).lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(':')).map(str::trim)
    }
}

fn read(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// What CPUID says and Linux does not: features that the firmware disabled, whose machine this is, and whether root is here.
fn of_processor() -> String {
    let mut said = String::new();
    let basic = __cpuid(1);
    let extended = if __cpuid(0x8000_0000).eax > 0x8000_0000 { __cpuid(0x8000_0001).ecx } else { 0 };
    for (there, word) in [(basic.ecx & 1 << 5 != 0, "vmx"), (extended & 1 << 2 != 0, "svm")] {
        if there {
            said += word;
            said += ":\n";
        }
    }
    if basic.ecx & 1 << 31 != 0 {
        let CpuidResult { eax: _, ebx, ecx, edx } = __cpuid(0x4000_0000);
        let name: String = [ebx, ecx, edx].iter().flat_map(|part| part.to_le_bytes()).map(char::from).collect();
        let name: String = name.chars().filter(char::is_ascii_graphic).collect();
        let _written = writeln!(said, "inside: {name}");
    }
    let CpuidResult { eax, ebx: _, ecx: cores, edx: _ } = __cpuid(OUR_LEAF);
    if eax == OUR_SIGNATURE {
        let _written = writeln!(said, "root: {cores}");
    }
    said
}
