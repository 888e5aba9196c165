//! Entering: what the cores share, and how a core that runs Linux becomes its guest.
#![expect(unsafe_code, reason = "the floor: turns SVM on and builds control blocks")]

use super::core::Svm;
use super::maps::Maps;
use super::npt::Npt;
use super::run::{self, Gprs};
use super::step::{Step, Views};
use super::vmcb::{INTERCEPT_2_ALL, Segment, TLB_FLUSH_ALL, Vmcb, intercept_1};
use super::{EFER_SVME, msr};
use crate::arch::nested::executed::Executed;
use crate::arch::shared::{Shared, claim};
use crate::arch::x86::direct::Frame;
use crate::arch::x86::watched::Watched;
use crate::arch::x86::way::Way;
use crate::arch::x86::{self, cpuid, descriptor, read_msr, region, tables, write_msr};
use crate::arch::{CannotEnter, FRAMES_PER_CORE, Frames, Guard, Machine, MsrAccess, NoFrame, Run};
use abi::boot::{self, Block};
use abi::code::{self, lack};
use core::sync::atomic::Ordering::Relaxed;
use spin::Mutex;

const VM_CR_SVMDIS: u64 = 1 << 4;
const EXT_FEATURES: u32 = 0x8000_0001;
const SVM_FEATURES: u32 = 0x8000_000a;
/// The vendor.
#[derive(Debug)]
pub struct Amd;

static SHARED: Mutex<Shared<Npt, Maps>> = Mutex::new(Shared::empty());

fn views(shared: &Shared<Npt, Maps>) -> Views {
    Views { open: shared.open.root_pa(), guarded: shared.guarded.root_pa(), closed: shared.guarded.closed_pa() }
}

impl Machine for Amd {
    type Core = Svm;
    const NAME: &'static str = "AMD SVM";
    const CALL: [u8; 3] = [0x0f, 0x01, 0xd9];

    fn supported() -> Result<(), CannotEnter> {
        supported()
    }

    fn prepare(frames: &mut Frames) -> Result<(), NoFrame> {
        let msr = frames(2).ok_or(NoFrame)?;
        let io = frames(3).ok_or(NoFrame)?;
        let maps = Maps::new([claim(msr), claim(msr + 1)], [claim(io), claim(io + 1), claim(io + 2)]);
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
        false
    }

    fn guard(run: Run, guard: Guard, frames: [u64; 2]) {
        SHARED.lock().guard(run, guard, frames);
    }

    fn release(run: Run, frames: [u64; 2], frames_of: &mut dyn FnMut(Run) -> Option<[u64; 2]>) {
        SHARED.lock().release(run, frames, frames_of);
    }

    unsafe fn enter(core: u32, seed: boot::Core, frames: [Frame; FRAMES_PER_CORE]) -> Result<Svm, CannotEnter> {
        let shared = SHARED.lock();
        let maps = shared.maps.as_ref().ok_or(CannotEnter { code: code::BOOT_MEMORY, detail: 0 })?;
        // SAFETY: by the caller; `prepare` filled what is shared.
        unsafe { enter(core, seed, views(&shared), maps, frames) }
    }

    fn let_go() -> ! {
        region::let_go::<Svm>()
    }
}

/// Whether this core could be entered, or what is in the way.
///
/// # Errors
/// The first that applies, in this order: what the processor lacks, the firmware's lock, another user.
fn supported() -> Result<(), CannotEnter> {
    let vendor = cpuid(0, 0);
    let amd = (vendor.ebx, vendor.edx, vendor.ecx) == (0x6874_7541, 0x6974_6e65, 0x444d_4163);
    let hygon = (vendor.ebx, vendor.edx, vendor.ecx) == (0x6f67_7948, 0x6e65_476e, 0x656e_6975);
    if !amd && !hygon {
        return Err(CannotEnter { code: code::CPU_LACKS, detail: lack::VENDOR });
    }
    let top = cpuid(0x8000_0000, 0).eax;
    let features = cpuid(EXT_FEATURES, 0);
    let mut missing = 0;
    if features.ecx & 1 << 2 == 0 {
        missing |= lack::SVM;
    } else if top < SVM_FEATURES || cpuid(SVM_FEATURES, 0).edx & 1 == 0 {
        missing |= lack::NESTED_PAGING;
    }
    if features.edx & 1 << 26 == 0 {
        missing |= lack::GIB_PAGES;
    }
    if missing != 0 {
        return Err(CannotEnter { code: code::CPU_LACKS, detail: missing });
    }
    if x86::has_five_levels() {
        return Err(CannotEnter { code: code::KERNEL_UNSUPPORTED, detail: lack::LA57 });
    }
    // SAFETY: both registers exist where CPUID reports SVM (APM2 15.4 "Enabling SVM").
    let (vm_cr, efer) = unsafe { (read_msr(msr::VM_CR), read_msr(x86::msr::EFER)) };
    may_enable(vm_cr, efer)
}

/// The two registers' part of [`supported`].
///
/// # Errors
/// The firmware's lock, then another user.
fn may_enable(vm_cr: u64, efer: u64) -> Result<(), CannotEnter> {
    if vm_cr & VM_CR_SVMDIS != 0 {
        return Err(CannotEnter { code: code::CPU_LOCKED, detail: 0 });
    }
    if efer & EFER_SVME != 0 {
        return Err(CannotEnter { code: code::CPU_IN_USE, detail: 0 });
    }
    Ok(())
}

/// Makes this core's Linux the guest of the returned object, which has not run yet.
///
/// # Errors
/// As [`supported`].
///
/// # Safety
/// This core runs in root on its own region's stack with interrupts off; `seed` tells where its Linux continues; the
/// frames are its own; the views hide all of root's frames; [`tables::prepare`] has run.
unsafe fn enter(
    core: u32,
    seed: boot::Core,
    views: Views,
    maps: &Maps,
    [guest, host, save, executed @ ..]: [Frame; FRAMES_PER_CORE],
) -> Result<Svm, CannotEnter> {
    supported()?;
    let (gdt, idt) = tables::current();
    // SAFETY: `supported` saw the extension, and that nobody uses it; the frame for the host's state is this core's own.
    let (efer, pat) = unsafe {
        let efer = read_msr(x86::msr::EFER);
        write_msr(x86::msr::EFER, efer | EFER_SVME);
        write_msr(msr::VM_HSAVE_PA, save.pa());
        (efer, read_msr(x86::msr::PAT))
    };
    // SAFETY: SVM is on since the lines above. The guest's FS, GS, TR, LDTR and system-call registers are still loaded:
    // they are saved before root loads its own tables, and root's after.
    unsafe {
        run::close();
        run::save(guest.pa());
        tables::load_root(region::local());
        run::save(host.pa());
    }
    // SAFETY: a frame is 4096 bytes, mapped for as long as root runs (D1), and this is its only name from here on; every
    // bit pattern is a `Vmcb`.
    let vmcb = unsafe { &mut *guest.address().cast::<Vmcb>() };
    fill_state(vmcb, seed, efer, pat, gdt, idt);
    fill_control(vmcb, views, maps);
    let next_rip_saved = cpuid(SVM_FEATURES, 0).edx & 1 << 3 != 0;
    region::local().core.store(core, Relaxed);
    let mut svm = Svm::new(vmcb, guest.pa(), host.pa(), core, seed, views);
    (svm.next_rip_saved, svm.due) = (next_rip_saved, true);
    svm.step.executed = Executed::of(executed.map(|frame| frame.pfn()));
    svm.park();
    Ok(svm)
}

impl Svm {
    /// A core with nothing watched and nothing due. `guest` and `host` are the physical addresses of its control blocks, `vmcb` is
    /// the guest's.
    pub(super) fn new(vmcb: &'static mut Vmcb, guest: u64, host: u64, core: u32, seed: boot::Core, views: Views) -> Svm {
        Svm {
            vmcb,
            vmcb_pa: guest,
            gprs: Gprs::new(host),
            core,
            seed,
            next_rip_saved: false,
            interrupted: 0,
            nmi: false,
            due: false,
            hidden: 0,
            text: Way::default(),
            data: Way::default(),
            its_own: 1,
            faults: Watched::default(),
            debug_watched: false,
            parked: false,
            held: 0,
            follows: false,
            stray: false,
            step: Step::new(views),
        }
    }
}

fn fill_control(vmcb: &mut Vmcb, views: Views, maps: &Maps) {
    use intercept_1::{CPUID, INVLPGA, IOIO, MSR, NMI, SHUTDOWN};
    vmcb.intercept_1 = CPUID | INVLPGA | IOIO | MSR | NMI | SHUTDOWN;
    vmcb.intercept_2 = INTERCEPT_2_ALL;
    vmcb.msrpm_base = maps.msr_pa();
    vmcb.iopm_base = maps.io_pa();
    vmcb.asid = 1;
    vmcb.tlb_control = TLB_FLUSH_ALL;
    vmcb.np_enable = 1;
    vmcb.n_cr3 = views.open;
}

fn fill_state(vmcb: &mut Vmcb, seed: boot::Core, efer: u64, pat: u64, gdt: tables::Table, idt: tables::Table) {
    let [cs, ss, ds, es, ..] = descriptor::selectors();
    let segment = |selector| Segment::from(descriptor::read(seed.guest_cr3, gdt, selector));
    (vmcb.cs, vmcb.ss, vmcb.ds, vmcb.es) = (segment(cs), segment(ss), segment(ds), segment(es));
    vmcb.gdtr = Segment { base: gdt.base, limit: gdt.limit.into(), ..Segment::default() };
    vmcb.idtr = Segment { base: idt.base, limit: idt.limit.into(), ..Segment::default() };
    vmcb.cpl = 0;
    vmcb.efer = efer | EFER_SVME;
    vmcb.cr0 = x86::cr0();
    vmcb.cr2 = x86::cr2();
    vmcb.cr3 = seed.guest_cr3;
    vmcb.cr4 = x86::cr4();
    vmcb.dr6 = x86::dr6();
    vmcb.dr7 = x86::dr7();
    // Interrupts are off at entry; the way in restores the flags from its stack.
    vmcb.rflags = 2;
    vmcb.rip = seed.guest_rip;
    vmcb.rsp = seed.guest_rsp;
    vmcb.rax = u64::from(code::SUCCESS);
    vmcb.g_pat = pat;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a load on a machine whose firmware forbids SVM, or on top of another hypervisor.
    #[test]
    fn a_locked_or_used_extension_is_refused() {
        assert_eq!(may_enable(0, 0), Ok(()));
        assert_eq!(may_enable(1 << 4, 0).unwrap_err().code, code::CPU_LOCKED);
        assert_eq!(may_enable(0, 1 << 12).unwrap_err().code, code::CPU_IN_USE);
    }
}
