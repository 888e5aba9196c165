//! Entering: what the cores share, and how a core that runs Linux becomes its guest.
#![expect(unsafe_code, reason = "the floor: turns VMX on and fills control structures")]

use super::capabilities::Capabilities;
use super::control::CR0_NE;
use super::core::Vmx;
use super::ept::{self, Ept};
use super::field::{self, segment};
use super::maps::Maps;
use super::mtrr::Mtrrs;
use super::step::{Step, Views};
use super::{CR4_VMXE, is_here, msr, run, vmcs};
use crate::arch::nested::executed::Executed;
use crate::arch::shared::{Shared, claim};
use crate::arch::x86::descriptor::{self, Descriptor};
use crate::arch::x86::direct::Frame;
use crate::arch::x86::{self, cpuid, read_msr, region, tables, trap, write_msr};
use crate::arch::{CannotEnter, FRAMES_PER_CORE, Frames, Guard, Machine, MsrAccess, NoFrame, Run};
use abi::boot::{self, Block};
use abi::code::{self, lack};
use core::sync::atomic::Ordering::Relaxed;
use spin::Mutex;

/// Of the register that allows the extension: locked, and allowed outside of SMX.
const LOCKED: u64 = 1;
const ALLOWED: u64 = 1 << 2;

/// The vendor.
#[derive(Debug)]
pub struct Intel;

static SHARED: Mutex<Shared<Ept, Maps>> = Mutex::new(Shared::empty());

impl Machine for Intel {
    type Core = Vmx;
    const NAME: &'static str = "Intel VT-x";
    const CALL: [u8; 3] = [0x0f, 0x01, 0xc1];

    fn supported() -> Result<(), CannotEnter> {
        supported().map(drop)
    }

    fn prepare(frames: &mut Frames) -> Result<(), NoFrame> {
        // SAFETY: `supported` came before.
        let can = unsafe { Capabilities::read() };
        ept::learn(can.execute_only(), can.gib_pages(), Mtrrs::read());
        let mut one = || frames(1).map(claim).ok_or(NoFrame);
        let maps = Maps::new(one()?, [one()?, one()?]);
        SHARED.lock().build(maps, x86::physical_bits(), frames)
    }

    fn own_ports(first: u16, count: u16) {
        SHARED.lock().own_ports(first, count);
    }

    fn watch_ports(all: bool, ports: &[u16]) {
        SHARED.lock().watch_ports(all, ports);
    }

    fn watch_msrs(access: MsrAccess, all: bool, registers: &[u32]) {
        SHARED.lock().watch_msrs(access, all, registers);
    }

    fn hide(block: Block, frames: &mut Frames) -> Result<(), NoFrame> {
        SHARED.lock().hide(block, frames)
    }

    fn show(block: Block) {
        SHARED.lock().show(block);
    }

    fn can_guard(pfn: u64) -> bool {
        SHARED.lock().guarded.reaches(pfn)
    }

    fn executes_only() -> bool {
        ept::has_execute_only()
    }

    fn guard(run: Run, guard: Guard, frames: [u64; 2]) {
        SHARED.lock().guard(run, guard, frames);
    }

    fn release(run: Run, frames: [u64; 2], frames_of: &mut dyn FnMut(Run) -> Option<[u64; 2]>) {
        SHARED.lock().release(run, frames, frames_of);
    }

    unsafe fn enter(core: u32, seed: boot::Core, frames: [Frame; FRAMES_PER_CORE]) -> Result<Vmx, CannotEnter> {
        let shared = SHARED.lock();
        // SAFETY: by the caller; `prepare` filled what is shared.
        unsafe { enter(core, seed, &shared, frames) }
    }

    fn let_go() -> ! {
        region::let_go::<Vmx>()
    }
}

/// Whether this core could be entered, or what is in the way.
///
/// # Errors
/// The first that applies, in this order: what the processor lacks, the firmware's lock, another user.
fn supported() -> Result<Capabilities, CannotEnter> {
    if !is_here() {
        return Err(CannotEnter { code: code::CPU_LACKS, detail: lack::VENDOR });
    }
    if cpuid(1, 0).ecx & 1 << 5 == 0 {
        return Err(CannotEnter { code: code::CPU_LACKS, detail: lack::VMX });
    }
    // SAFETY: CPUID reports the extension.
    let (can, control) = unsafe { (Capabilities::read(), read_msr(msr::FEATURE_CONTROL)) };
    match can.missing() {
        0 => {}
        missing => return Err(CannotEnter { code: code::CPU_LACKS, detail: missing }),
    }
    if x86::has_five_levels() {
        return Err(CannotEnter { code: code::KERNEL_UNSUPPORTED, detail: lack::LA57 });
    }
    may_enable(control, x86::cr4()).map(|()| can)
}

/// The two registers' part of [`supported`].
///
/// # Errors
/// The firmware's lock, then another user.
fn may_enable(control: u64, cr4: u64) -> Result<(), CannotEnter> {
    if control & (LOCKED | ALLOWED) == LOCKED {
        return Err(CannotEnter { code: code::CPU_LOCKED, detail: 0 });
    }
    if cr4 & CR4_VMXE != 0 {
        return Err(CannotEnter { code: code::CPU_IN_USE, detail: 0 });
    }
    Ok(())
}

/// # Safety
/// As [`Machine::enter`].
unsafe fn enter(
    core: u32,
    seed: boot::Core,
    shared: &Shared<Ept, Maps>,
    frames: [Frame; FRAMES_PER_CORE],
) -> Result<Vmx, CannotEnter> {
    let can = supported()?;
    let maps = shared.maps.as_ref().ok_or(CannotEnter { code: code::BOOT_MEMORY, detail: 0 })?;
    // Another vendor needs one more.
    let [region_frame, structure, _spare, executed @ ..] = frames;
    for frame in [&region_frame, &structure] {
        frame.set(0, can.revision().into());
    }
    let linux = Linux::now();
    let in_use = CannotEnter { code: code::CPU_IN_USE, detail: 0 };
    if x86::cr0() & can.fixed() != can.fixed() {
        return Err(CannotEnter { code: code::KERNEL_UNSUPPORTED, detail: lack::VMX });
    }
    // SAFETY: `supported` saw the extension and that nobody uses it; both frames are this core's own. The feature control
    // register is written only where nobody has locked it yet, with what Linux would write.
    unsafe {
        let control = read_msr(msr::FEATURE_CONTROL);
        if control & LOCKED == 0 {
            write_msr(msr::FEATURE_CONTROL, control | LOCKED | ALLOWED);
        }
        x86::write_cr4(linux.cr4 | CR4_VMXE);
        if vmcs::on(region_frame.pa()).is_err() {
            x86::write_cr4(linux.cr4);
            return Err(in_use);
        }
        if vmcs::clear(structure.pa()).and_then(|()| vmcs::load(structure.pa())).is_err() {
            vmcs::off();
            x86::write_cr4(linux.cr4);
            return Err(in_use);
        }
        tables::load_root(region::local());
    }
    region::local().core.store(core, Relaxed);
    let views = Views { open: shared.open.root_pa(), guarded: shared.guarded.root_pa() };
    let mut step = Step::new(views);
    step.executed = Executed::of(executed.map(|frame| frame.pfn()));
    let controls = fill_controls(&can, maps);
    fill_root(&linux);
    fill_guest(&linux, &seed);
    let mut vmx = Vmx::new(structure.pa(), core, seed, step, controls, can.tags());
    // What the way in says of it.
    vmx.gprs.rax = u64::from(code::SUCCESS);
    vmx.change_view();
    vmx.intercept();
    Ok(vmx)
}

/// This core's Linux as it is, before root loads its own tables.
struct Linux {
    cr4: u64,
    gdt: tables::Table,
    idt: tables::Table,
    selectors: [u16; 8],
}

impl Linux {
    fn now() -> Linux {
        let (gdt, idt) = tables::current();
        Linux { cr4: x86::cr4(), gdt, idt, selectors: descriptor::selectors() }
    }
}

/// Controls; the pin's and the primary ones, which change later.
fn fill_controls(can: &Capabilities, maps: &Maps) -> [u32; 2] {
    let controls = can.controls();
    let [io_a, io_b] = maps.io_pa();
    for (field, value) in [
        (field::PIN_CONTROLS, controls.pin.into()),
        (field::PRIMARY_CONTROLS, controls.primary.into()),
        (field::SECONDARY_CONTROLS, controls.secondary.into()),
        (field::EXIT_CONTROLS, controls.exit.into()),
        (field::ENTRY_CONTROLS, controls.entry.into()),
        (field::IO_BITMAP_A, io_a),
        (field::IO_BITMAP_B, io_b),
        (field::MSR_BITMAP, maps.msr_pa()),
        (field::TSC_OFFSET, 0),
        (field::XSS_BITMAP, 0),
        (field::PAGE_FAULT_MASK, 0),
        (field::PAGE_FAULT_MATCH, 0),
        (field::CR3_TARGETS, 0),
        (field::EXIT_MSR_STORES, 0),
        (field::EXIT_MSR_LOADS, 0),
        (field::ENTRY_MSR_LOADS, 0),
        (field::ENTRY_EVENT, 0),
    ] {
        vmcs::write(field, value);
    }
    if can.tags() {
        vmcs::write(field::VPID, 1);
        // Whoever used the extension before may have left translations with this tag.
        vmcs::invalidate_linear();
    }
    vmcs::invalidate_ept();
    [controls.pin, controls.primary]
}

/// Root's state is what this core has now.
fn fill_root(linux: &Linux) {
    let (gdt, idt) = tables::current();
    let local = region::local();
    // SAFETY: every 64-bit processor has these.
    let (efer, pat) = unsafe { (read_msr(x86::msr::EFER), read_msr(x86::msr::PAT)) };
    for (field, value) in [
        (field::HOST_CR0, x86::cr0()),
        (field::HOST_CR3, x86::cr3()),
        (field::HOST_CR4, linux.cr4 | CR4_VMXE),
        (field::HOST_CS, tables::CODE.into()),
        (field::HOST_SS, tables::DATA.into()),
        (field::HOST_DS, tables::DATA.into()),
        (field::HOST_ES, tables::DATA.into()),
        (field::HOST_FS, 0),
        (field::HOST_GS, 0),
        (field::HOST_TR, tables::TASK.into()),
        (field::HOST_FS_BASE, 0),
        (field::HOST_GS_BASE, 0),
        (field::HOST_TR_BASE, (&raw const local.tss) as u64),
        (field::HOST_GDT_BASE, gdt.base),
        (field::HOST_IDT_BASE, idt.base),
        (field::HOST_SYSENTER_CS, 0),
        (field::HOST_SYSENTER_ESP, 0),
        (field::HOST_SYSENTER_EIP, 0),
        (field::HOST_EFER, efer),
        (field::HOST_PAT, pat),
        (field::HOST_RIP, run::exit_at()),
    ] {
        vmcs::write(field, value);
    }
}

fn fill_guest(linux: &Linux, seed: &boot::Core) {
    let [cs, ss, ds, es, fs, gs, ldtr, tr] = linux.selectors.map(|it| descriptor::read(seed.guest_cr3, linux.gdt, it));
    // SAFETY: every 64-bit processor has these registers; root has not changed them yet.
    let read = |register| unsafe { read_msr(register) };
    let (fs_base, gs_base) = (read(x86::msr::FS_BASE), read(x86::msr::GS_BASE));
    for (number, it) in [
        (segment::CS, cs),
        (segment::SS, ss),
        (segment::DS, ds),
        (segment::ES, es),
        (segment::FS, Descriptor { base: fs_base, ..fs }),
        (segment::GS, Descriptor { base: gs_base, ..gs }),
        (segment::LDTR, ldtr),
        (segment::TR, tr),
    ] {
        fill_segment(number, &it);
    }
    for (field, value) in [
        (field::GUEST_GDT_BASE, linux.gdt.base),
        (field::GUEST_GDT_LIMIT, linux.gdt.limit.into()),
        (field::GUEST_IDT_BASE, linux.idt.base),
        (field::GUEST_IDT_LIMIT, linux.idt.limit.into()),
        (field::CR0_MASK, CR0_NE),
        (field::CR0_SHADOW, x86::cr0()),
        (field::GUEST_CR0, x86::cr0()),
        (field::CR4_MASK, CR4_VMXE),
        (field::CR4_SHADOW, linux.cr4),
        (field::GUEST_CR4, linux.cr4 | CR4_VMXE),
        (field::GUEST_CR3, seed.guest_cr3),
        (field::GUEST_DR7, x86::dr7()),
        // Interrupts are off at entry; the way in restores the flags from its stack.
        (field::GUEST_RFLAGS, 2),
        (field::GUEST_RIP, seed.guest_rip),
        (field::GUEST_RSP, seed.guest_rsp),
        (field::GUEST_EFER, read(x86::msr::EFER)),
        (field::GUEST_PAT, read(x86::msr::PAT)),
        (field::GUEST_DEBUGCTL, trap::try_read_msr(msr::DEBUGCTL).unwrap_or(0)),
        (field::GUEST_SYSENTER_CS, read(x86::msr::SYSENTER_CS)),
        (field::GUEST_SYSENTER_ESP, read(x86::msr::SYSENTER_ESP)),
        (field::GUEST_SYSENTER_EIP, read(x86::msr::SYSENTER_EIP)),
        (field::INTERRUPTIBILITY, 0),
        (field::ACTIVITY, 0),
        (field::PENDING_DEBUG, 0),
        (field::LINK_POINTER, u64::MAX),
    ] {
        vmcs::write(field, value);
    }
}

/// A segment as the structure has it: rights with a gap of four bits, and usable segments of code and data accessed.
fn fill_segment(number: u64, it: &Descriptor) {
    let attributes = u64::from(it.attributes);
    let rights = match it.attributes & 1 << 7 {
        0 => field::rights::UNUSABLE,
        _ => attributes & 0xff | (attributes & 0xf00) << 4 | u64::from(number < segment::LDTR),
    };
    vmcs::write(field::GUEST_SELECTOR + 2 * number, it.selector.into());
    vmcs::write(field::GUEST_LIMIT + 2 * number, it.limit.into());
    vmcs::write(field::GUEST_RIGHTS + 2 * number, rights);
    vmcs::write(field::GUEST_BASE + 2 * number, it.base);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a load on a machine whose firmware forbids VT-x, or on top of another hypervisor.
    #[test]
    fn a_locked_or_used_extension_is_refused() {
        assert_eq!(may_enable(LOCKED | ALLOWED, 0), Ok(()));
        assert_eq!(may_enable(0, 0), Ok(()), "nobody has locked it: root does");
        assert_eq!(may_enable(LOCKED, 0).unwrap_err().code, code::CPU_LOCKED);
        assert_eq!(may_enable(LOCKED | ALLOWED, CR4_VMXE).unwrap_err().code, code::CPU_IN_USE);
    }
}
