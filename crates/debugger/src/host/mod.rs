//! What this machine tells a program without rights about its processor and about who uses it.
//!
//! Texts of Linux' go in, facts come out; what follows from them is said elsewhere.
//!
//! **Callers**: the command `doctor`, and [`crate::error::Refusal::of_load`] for a load that was refused.
//! **Cost**: two files of `/proc`, read once a refusal; those of [`texts`], once a `doctor`.
//! **Proof**: below, and `tests/doctor.rs` over texts of real machines.

pub mod kernel;
pub mod processor;
pub mod texts;

use std::fs;

/// Modules of other hypervisors.
pub(crate) const KNOWN: [&str; 4] = ["kvm_amd", "kvm_intel", "vboxdrv", "vmmon"];

/// Who made the processor: what its extension is called, and where it is locked, depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// AMD, or Hygon, whose processors are AMD's.
    Amd,
    /// Intel.
    Intel,
    /// Anybody else.
    Other,
}

impl Maker {
    /// That of the processor which the text of `/proc/cpuinfo` describes.
    #[must_use]
    pub fn of(cpuinfo: &str) -> Option<Self> {
        let (_, name) = cpuinfo.lines().find_map(|line| line.strip_prefix("vendor_id")?.split_once(':'))?;
        Some(match name.trim() {
            "AuthenticAMD" | "HygonGenuine" => Self::Amd,
            "GenuineIntel" => Self::Intel,
            _ => Self::Other,
        })
    }

    /// That of this machine's processor, if it can be seen.
    #[must_use]
    pub fn here() -> Option<Self> {
        fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| Self::of(&text))
    }
}

/// Modules of this machine that are hypervisors, by [`holders`]. Not to see them is no reason not to go on.
#[must_use]
pub fn holders_here() -> Vec<String> {
    holders(&fs::read_to_string("/proc/modules").unwrap_or_default())
}

/// Hypervisors in the text of `/proc/modules`: those that somebody uses, or else those that are there.
#[must_use]
pub fn holders(modules: &str) -> Vec<String> {
    let of = |line: &str| {
        let mut fields = line.split(' ');
        let name = fields.next()?;
        let used = fields.nth(1)?.parse::<u64>().is_ok_and(|users| users > 0);
        KNOWN.contains(&name).then(|| (name.to_owned(), used))
    };
    let all: Vec<(String, bool)> = modules.lines().filter_map(of).collect();
    let any_used = all.iter().any(|(_, used)| *used);
    all.into_iter().filter(|(_, used)| *used || !any_used).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a module that is blamed although nobody uses it while another is in use.
    #[test]
    fn the_module_in_use_is_named_before_one_that_is_only_there() {
        let idle = "kvm_amd 155648 0 - Live 0x0\nkvm 1032192 1 kvm_amd, Live 0x0\n";
        assert_eq!(holders(idle), ["kvm_amd"]);
        assert_eq!(holders(&format!("{idle}vboxdrv 1 2 - Live 0x0\n")), ["vboxdrv"]);
        assert!(holders("ext4 1 1 - Live 0x0\n\nkvm_amd\n").is_empty());
    }

    /// Would catch a processor of Hygon's that is refused, and a maker that is guessed where none is named.
    #[test]
    fn the_maker_is_read_and_not_guessed() {
        let of = |name: &str| Maker::of(&format!("processor\t: 0\nvendor_id\t: {name}\ncpu family\t: 6\n"));
        assert_eq!(["AuthenticAMD", "HygonGenuine"].map(of), [Some(Maker::Amd); 2]);
        assert_eq!((of("GenuineIntel"), of("CentaurHauls")), (Some(Maker::Intel), Some(Maker::Other)));
        assert_eq!((Maker::of("processor\t: 0\n"), Maker::of("")), (None, None));
    }
}
