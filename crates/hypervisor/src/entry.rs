//! How a core comes in: once to prepare what all share, then each core to stay.
#![expect(unsafe_code, reason = "the border to the module: physical addresses become structures")]

use crate::arch::x86::{direct, tables, uart};
use crate::arch::{CannotEnter, Machine};
use crate::root::ROOT;
use crate::{bank, life, line, ports, words};
use abi::boot::{self, BOOT_LINK, Boot, FRAME_BYTES};
use abi::code;
use core::sync::atomic::Ordering::SeqCst;
use zerocopy::FromBytes;

/// What goes back to the module: the code, and its detail in the upper half.
fn refusal(why: CannotEnter) -> u64 {
    u64::from(why.code) | u64::from(why.detail) << 32
}

/// Enters root on this core; `core_pa` = 0 only prepares. Comes back with a code, and only to refuse when `core_pa` ≠ 0.
///
/// # Safety
/// Called by the image's entry, on this core's region, under root's page tables, with interrupts off. `boot_pa` and
/// `core_pa` are what [`abi::boot::Core`] says, and the direct map reaches as far as the boot page says.
pub unsafe fn enter<M: Machine>(core: u32, boot_pa: u64, core_pa: u64) -> u64 {
    // SAFETY: the boot page lies below 4 GiB or inside RAM; both are mapped by the caller's promise, and this much of the
    // direct map is all that the next line reads.
    unsafe { direct::reaches(boot_pa + FRAME_BYTES) };
    let mut bytes = [0; size_of::<Boot>()];
    let Some(boot) = direct::copy_out(boot_pa, &mut bytes).then(|| Boot::read_from_bytes(&bytes).ok()).flatten() else {
        return u64::from(code::BOOT_VERSION);
    };
    if boot.protocol != abi::PROTOCOL {
        return u64::from(code::BOOT_VERSION);
    }
    // SAFETY: the module mapped as much.
    unsafe { direct::reaches(boot.ram_end_pfn * FRAME_BYTES) };
    let come_in = || match core_pa {
        0 => prepare::<M>(&boot),
        // SAFETY: the caller's promise, and `prepare` has run before: the module calls in this order.
        _ => unsafe { stay::<M>(core, core_pa, &boot) },
    };
    match come_in() {
        Ok(()) => u64::from(code::SUCCESS),
        Err(why) => refusal(why),
    }
}

fn prepare<M: Machine>(boot: &Boot) -> Result<(), CannotEnter> {
    M::supported()?;
    if ROOT.prepared.load(SeqCst) {
        return Ok(());
    }
    ROOT.learn(boot, M::NAME);
    crate::tasks::learn(boot);
    crate::notes::learn(boot);
    crate::places::learn(boot);
    words::prepare::<M>();
    tables::prepare();
    bank::prepare::<M>(boot).map_err(|_| CannotEnter { code: code::BOOT_MEMORY, detail: 0 })?;
    if boot.flags & BOOT_LINK != 0 {
        ports::own::<M>(uart::BASE, uart::PORTS);
    }
    ROOT.prepared.store(true, SeqCst);
    Ok(())
}

/// # Safety
/// As [`enter`], and [`prepare`] has run.
unsafe fn stay<M: Machine>(core: u32, core_pa: u64, boot: &Boot) -> Result<(), CannotEnter> {
    let memory = CannotEnter { code: code::BOOT_MEMORY, detail: 0 };
    let mut bytes = [0; size_of::<boot::Core>()];
    let seed = direct::copy_out(core_pa, &mut bytes).then(|| boot::Core::read_from_bytes(&bytes).ok()).flatten();
    let seed = seed.ok_or(memory)?;
    M::supported()?;
    let frames = bank::core_frames(core).ok_or(memory)?;
    // SAFETY: by the caller; the frames are this core's.
    let mut cpu = unsafe { M::enter(core, seed, frames)? };
    let record = ROOT.core(core);
    record.apic.store(crate::arch::x86::apic::id(), SeqCst);
    if core == 0 && boot.flags & BOOT_LINK != 0 {
        #[expect(clippy::cast_possible_truncation, reason = "any number that differs will do")]
        line::open(core, crate::arch::x86::tsc() as u32);
        if ROOT.linked.load(SeqCst) {
            // SAFETY: core 0 enters together with all others, inside `stop_machine`: none of them is in Linux' code for
            // the I/O APIC.
            unsafe { line::ring() };
            line::arm();
        }
    }
    life::live::<M>(&mut cpu, core)
}
