//! What a machine has, and what follows from it for a load, in words: a line a fact.
//!
//! What is refused is said as `load` says it ([`super::load`]).

use super::{Said, cores, load};
use crate::host::Maker;
use crate::host::kernel::{Guard, Kernel, Other, OtherState, Ours};
use crate::host::processor::{Extension, Optional, Processor, Unnamed};
use abi::boot::CORES_MAX;
use abi::code::{self, lack};
use serde::Serialize;

/// What follows from a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It is as root needs it.
    Works,
    /// Root does without it, or something else does not work.
    Without,
    /// `load` is refused.
    Refused,
    /// It cannot be seen.
    Unknown,
    /// Something is to be done first.
    ToDo,
}

impl Effect {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Without => "without",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::ToDo => "to do",
        }
    }
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What follows.
    pub effect: Effect,
    /// What it is about.
    pub about: &'static str,
    /// What is.
    pub fact: String,
    /// What that means, or what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
}

fn fact(effect: Effect, about: &'static str, fact: impl Into<String>) -> Fact {
    Fact { effect, about, fact: fact.into(), follows: None }
}

impl Fact {
    fn follows(self, follows: impl Into<String>) -> Self {
        Self { follows: Some(follows.into()), ..self }
    }

    /// What `load` would say.
    fn refused(about: &'static str, said: Said) -> Self {
        let fact = fact(Effect::Refused, about, said.message);
        if said.help.is_empty() { fact } else { fact.follows(said.help.join("; ")) }
    }
}

/// Every fact about a machine, in the order in which `load` meets them.
#[must_use]
pub fn facts(processor: &Processor, kernel: &Kernel) -> Vec<Fact> {
    let mut facts = of_processor(processor);
    facts.extend(of_kernel(kernel));
    facts.push(memory(kernel));
    let loaded = matches!(kernel.ours, Ours::Loaded(_));
    if !loaded {
        facts.extend(others(&kernel.others, processor.maker));
    }
    facts.push(if kernel.com2 {
        fact(Effect::Works, "link", "COM2 has a UART").follows("`load link` works, too")
    } else {
        fact(Effect::Without, "link", "no UART at COM2 (0x2f8)").follows("`load` works, `load link` (debugger mode) does not")
    });
    if kernel.ours == Ours::Absent {
        facts.push(modules(kernel.guarded));
    }
    facts.push(match kernel.ours {
        Ours::Absent => {
            fact(Effect::ToDo, "module", "hyperkd.ko is not in the kernel").follows("in a shell, as root: insmod hyperkd.ko")
        }
        Ours::Inserted => fact(Effect::Works, "module", "hyperkd.ko is in the kernel, and nothing is loaded"),
        Ours::Loaded(number) => fact(Effect::Works, "module", format!("the hypervisor is loaded on {}", cores(number))),
    });
    if !kernel.privileged {
        facts.push(fact(Effect::ToDo, "user", "only root may use /dev/hyperdbg").follows("start hyperdbg with sudo"));
    }
    facts
}

fn of_processor(processor: &Processor) -> Vec<Fact> {
    let Processor { maker, model, cores: number, inside, extension, without, unnamed, five_levels: _, encrypts: _ } = processor;
    let model = if model.is_empty() { "a processor without a name" } else { model };
    let number = cores(u32::try_from(*number).unwrap_or(u32::MAX));
    let inside = inside.as_ref().map_or_else(String::new, |name| format!(", in a virtual machine of {}", called(name)));
    let mut facts = vec![fact(Effect::Works, "processor", format!("{model}, {number}{inside}"))];
    let [name, ..] = load::extension(*maker);
    facts.push(match extension {
        Extension::There => fact(Effect::Works, "extension", format!("{name} with nested paging")),
        Extension::Locked => Fact::refused("extension", load::refused(code::CPU_LOCKED, 0, &[], *maker)),
        Extension::Lacks(bits) => Fact::refused("extension", load::refused(code::CPU_LACKS, *bits, &[], *maker)),
    });
    facts.extend(without.iter().map(|part| {
        let (is, follows) = match part {
            Optional::NextInstruction => {
                ("it does not tell where the next instruction begins", "root reads the code: exits are dearer")
            }
            Optional::ExecuteOnly => ("no page can be executed and not read", "a hidden breakpoint takes more exits"),
            Optional::NestedGib => ("no nested pages of 1 GiB", "2 MiB instead: tables take more memory"),
            Optional::Tags => ("translations are not tagged", "each exit forgets them: what runs is slower"),
        };
        fact(Effect::Without, "extension", is).follows(follows)
    }));
    match unnamed {
        Unnamed::Nothing => {}
        Unnamed::Some => facts.push(
            fact(Effect::Unknown, "extension", format!("its small parts ({}) are not seen from here", load::small_parts()))
                .follows("processors that have the above have them; `load` looks"),
        ),
        Unnamed::All => facts.push(
            fact(Effect::Unknown, "extension", "this kernel does not name its parts (Linux 5.6 and later do)")
                .follows("`load` looks"),
        ),
    }
    facts
}

/// Who calls itself so.
fn called(name: &str) -> &str {
    match name {
        "TCGTCGTCGTCG" => "QEMU (TCG)",
        "KVMKVMKVM" => "KVM",
        "MicrosoftHv" => "Hyper-V",
        "VMwareVMware" => "VMware",
        "VBoxVBoxVBox" => "VirtualBox",
        "XenVMMXenVMM" => "Xen",
        "" => "an unnamed hypervisor",
        name => name,
    }
}

fn of_kernel(kernel: &Kernel) -> Vec<Fact> {
    let bits = [lack::LA57, lack::SME, lack::CORES, lack::RAM].into_iter().filter(|bit| kernel.lacks & bit != 0);
    let refused: Vec<Fact> =
        bits.map(|bit| Fact::refused("kernel", load::refused(code::KERNEL_UNSUPPORTED, bit, &[], None))).collect();
    if !refused.is_empty() {
        return refused;
    }
    let number =
        kernel.cores_possible.map_or_else(|| "? cores".to_owned(), |number| cores(u32::try_from(number).unwrap_or(u32::MAX)));
    let release = &kernel.release;
    vec![fact(Effect::Works, "kernel", format!("Linux {release}, page tables of four levels, {number} of {CORES_MAX} at most"))]
}

fn memory(kernel: &Kernel) -> Fact {
    match (kernel.ram_bytes, kernel.ram_end_bytes) {
        (Some(bytes), Some(end)) => fact(Effect::Works, "memory", format!("{}, which ends at {}", amount(bytes), amount(end)))
            .follows(format!("`load` takes 1/64 of it for the bank, {}", amount(bytes / 64))),
        _ => fact(Effect::Unknown, "memory", "Linux does not say how much there is").follows("`load` looks"),
    }
}

/// An amount of memory.
#[expect(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
fn amount(bytes: u64) -> String {
    let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB")];
    let (unit, name) = units.into_iter().find(|(unit, _)| bytes >= *unit).unwrap_or((1 << 10, "KiB"));
    format!("{:.1} {name}", bytes as f64 / unit as f64)
}

fn others(others: &[Other], maker: Option<Maker>) -> Vec<Fact> {
    if others.is_empty() {
        return vec![fact(Effect::Works, "others", "no module of another hypervisor is in the kernel")];
    }
    let of = |Other { name, state }: &Other| {
        let in_use = || load::refused(code::CPU_IN_USE, 0, std::slice::from_ref(name), maker);
        match state {
            OtherState::Idle => fact(Effect::Works, "others", format!("{name} is there, and nobody uses it"))
                .follows("its machines will not start while the hypervisor is loaded"),
            OtherState::Used | OtherState::Always => Fact::refused("others", in_use()),
            OtherState::AlwaysBuiltIn => Fact { follows: None, ..Fact::refused("others", in_use()) }
                .follows("it is built in: boot with kvm.enable_virt_at_load=0"),
            OtherState::Unknown => fact(Effect::ToDo, "others", format!("{name} is built into the kernel"))
                .follows("stop its machines before `load`"),
        }
    };
    others.iter().map(of).collect()
}

fn modules(guarded: Option<Guard>) -> Fact {
    let (is, follows) = match guarded {
        None => return fact(Effect::Works, "modules", "may be inserted without a signature"),
        Some(Guard::NoneAtAll) => ("this kernel is built without them", "boot one that has them"),
        Some(Guard::NoMore) => ("none may be inserted any more (kernel.modules_disabled)", "boot again"),
        Some(Guard::Lockdown) => (
            "only signed ones may be inserted (lockdown)",
            "sign hyperkd.ko with a key that mokutil enrolled, or turn Secure Boot off in the firmware's set-up",
        ),
        Some(Guard::Signatures) => (
            "only signed ones may be inserted (module.sig_enforce)",
            "sign hyperkd.ko with a key of the kernel's, or boot without that word",
        ),
    };
    fact(Effect::Refused, "modules", is).follows(follows)
}

/// What all of it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// `load` should work, once done what is to do.
    Works,
    /// It is loaded.
    Loaded,
    /// `load` will be refused.
    Refused,
}

/// The verdict on a machine, and the line that says it.
#[must_use]
pub fn verdict(facts: &[Fact], processor: &Processor, kernel: &Kernel) -> (Verdict, String) {
    if let Ours::Loaded(number) = kernel.ours {
        return (Verdict::Loaded, format!("the hypervisor is loaded on {}", cores(number)));
    }
    match facts.iter().filter(|fact| fact.effect == Effect::Refused).count() {
        0 => {}
        1 => return (Verdict::Refused, "`load` will not work here, for one reason: see `refused` above".to_owned()),
        more => return (Verdict::Refused, format!("`load` will not work here, for {more} reasons: see `refused` above")),
    }
    let to_do = if facts.iter().any(|fact| fact.effect == Effect::ToDo) { ", after what is to do" } else { "" };
    let metal = if processor.inside.is_some() {
        ""
    } else {
        "; nobody has tried it on silicon yet, so not on a machine with data on it"
    };
    (Verdict::Works, format!("`load` should work here{to_do}{metal}"))
}
