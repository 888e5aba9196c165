//! One core under VMX: its control structure, its exits, its way back to bare metal.
//!
//! **Holds always**
//! - V1: the object exists on the core whose current structure is its own, from the entry until it leaves.
//! - V2: EPT, bitmaps and controls keep root's frames, ports and registers from the guest; CR4.VMXE is set for the processor and
//!   hidden from the guest.
//! - V3: every NMI that this core takes in root, in a window or at an exit, is counted by `take_nmi` once.
#![expect(unsafe_code, reason = "the floor: control structures, VMRESUME, registers of the guest's")]

use super::deliver::{BY_MOV_SS, BY_NMI, BY_STI, has_length};
use super::faults::{EXCEPTION_BP, EXCEPTION_DB};
use super::field::{self, primary, reason, rights, segment};
use super::run::{self, Gprs, Ran};
use super::step::Step;
use super::{msr, vmcs};
use crate::arch::x86::decode::INSTRUCTION_BYTES_MAX;
use crate::arch::x86::efer;
use crate::arch::x86::watched::Watched;
use crate::arch::x86::way::Way;
use crate::arch::x86::{self, direct, event, flag, region, skip, trap, vector};
use crate::arch::{self, Begun, Delivery, Event, Exit, Injection, Passing, Watch};
use crate::walk;
use abi::boot;
use abi::request::Registers;
use core::sync::atomic::Ordering::Relaxed;

/// Of pending debug exceptions: a single step.
const STEPPED: u64 = 1 << 14;

/// One core.
#[derive(Debug)]
pub struct Vmx {
    pub(super) gprs: Gprs,
    pub(super) core: u32,
    pub(super) seed: boot::Core,
    /// Physical address of its control structure.
    pub(super) structure: u64,
    launched: bool,
    /// Why it came out last; and whether it was never in, for an NMI.
    pub(super) reason: u32,
    pub(super) kept: bool,
    /// NMIs of root's stub that were looked at, and one that an exit was made of.
    nmis_known: u64,
    nmi_taken: u64,
    /// What the next entry delivers, as in `event`, or 0;
    pub(super) event: u64,
    /// what comes before that, since the last exit interrupted its delivery;
    pub(super) interrupted: u64,
    /// and bytes of the instruction that made either.
    pub(super) event_length: u64,
    /// An NMI is due to the guest.
    pub(super) nmi: bool,
    /// One of the three is there.
    pub(super) due: bool,
    pub(super) hidden: u64,
    /// Where the guest's code is read,
    pub(super) text: Way,
    /// and where it reads and writes.
    pub(super) data: Way,
    /// The last page that was found to be the guest's, which it is at least until the next flush: its first address, or 1.
    its_own: u64,
    pub(super) faults: Watched,
    /// Controls as they are.
    pub(super) pin: u32,
    pub(super) primary: u32,
    pub(super) interrupts_watched: bool,
    /// Vector of an interrupt that root has taken and not passed on yet, or 0.
    pub(super) held: u8,
    /// Translations of the guest's are tagged, and stay over an exit.
    tags: bool,
    /// Views of memory, and what passes unguarded.
    pub(super) step: Step,
}

impl Vmx {
    /// A core with nothing watched and nothing due, whose structure is current (V1).
    pub(super) fn new(structure: u64, core: u32, seed: boot::Core, step: Step, controls: [u32; 2], tags: bool) -> Vmx {
        let [pin, primary] = controls;
        Vmx {
            gprs: Gprs::default(),
            core,
            seed,
            structure,
            launched: false,
            reason: 0,
            kept: false,
            // Those of an earlier life of the core's are nobody's.
            nmis_known: trap::nmis_taken(),
            nmi_taken: 0,
            event: 0,
            interrupted: 0,
            event_length: 0,
            nmi: false,
            due: false,
            hidden: 0,
            text: Way::default(),
            data: Way::default(),
            its_own: 1,
            faults: Watched::default(),
            pin,
            primary,
            interrupts_watched: false,
            held: 0,
            tags,
            step,
        }
    }

    pub(super) fn guest_bytes(&self, linear: u64, to: &mut [u8]) -> usize {
        walk::read_bytes(vmcs::read(field::GUEST_CR3), linear, to, direct::read, direct::copy_out)
    }

    /// Where the next instruction begins, linear.
    #[inline(always)]
    pub(super) fn code_at(&self) -> u64 {
        vmcs::read(field::GUEST_BASE + 2 * segment::CS).wrapping_add(vmcs::read(field::GUEST_RIP))
    }

    pub(super) fn text_bytes(&self, to: &mut [u8]) -> usize {
        self.text.copy(vmcs::read(field::GUEST_CR3), self.code_at(), to)
    }

    /// Current privilege level: that of SS (SDM3 25.4.1).
    #[inline(always)]
    pub(super) fn ring(&self) -> u8 {
        vmcs::read(field::GUEST_RIGHTS + 2 * segment::SS).to_le_bytes()[0] >> 5 & 3
    }

    /// Whether the guest is in 64-bit code.
    pub(super) fn is_long(&self) -> bool {
        let code = vmcs::read(field::GUEST_RIGHTS + 2 * segment::CS);
        vmcs::read(field::GUEST_EFER) & efer::LMA != 0 && code & rights::LONG != 0
    }

    /// The guest goes on there, and nothing holds interrupts back.
    #[inline(always)]
    pub(super) fn go(&mut self, rip: u64) {
        vmcs::write(field::GUEST_RIP, rip);
        let state = vmcs::read(field::INTERRUPTIBILITY);
        if state & (BY_STI | BY_MOV_SS) != 0 {
            vmcs::write(field::INTERRUPTIBILITY, state & !(BY_STI | BY_MOV_SS));
        }
    }

    /// Bytes of the instruction that exited. Of one that faulted, as SYSCALL does while it is watched, the exit does not tell.
    #[inline(always)]
    fn length(&self) -> u64 {
        if self.reason != reason::EXCEPTION_OR_NMI || has_length(self.raised()) {
            return vmcs::read(field::EXIT_LENGTH);
        }
        let mut bytes = [0; INSTRUCTION_BYTES_MAX];
        let n = self.text_bytes(&mut bytes);
        bytes.get(..n).and_then(skip::length).unwrap_or(2)
    }

    /// Translations of the guest's own tables are forgotten.
    pub(super) fn forget_linear(&self) {
        if self.tags {
            vmcs::invalidate_linear();
        }
    }

    /// A control register as the guest reads it: of bits that are root's, what it wrote.
    pub(super) fn control(&self, register: u8) -> u64 {
        let [real, mask, shadow] = match register {
            0 => [field::GUEST_CR0, field::CR0_MASK, field::CR0_SHADOW],
            _ => [field::GUEST_CR4, field::CR4_MASK, field::CR4_SHADOW],
        }
        .map(vmcs::read);
        real & !mask | shadow & mask
    }

    /// What root has to see to at an exit that is not a guest's CPUID.
    fn look(&mut self) {
        match self.reason {
            reason::EXCEPTION_OR_NMI if self.decode() == Exit::Nmi => {
                self.nmi_taken = 1;
                // SAFETY: root's IDT is loaded (V1), as the exit loads it.
                unsafe { run::open_nmis() };
            }
            reason::EXCEPTION_OR_NMI if self.is_exception(vector::DB) => self.note_debug(),
            reason::INTERRUPT if !self.takes_interrupts() => {
                self.wait_for_window();
                self.reason = reason::INTERRUPT_WINDOW;
            }
            reason::INTERRUPT_WINDOW => {
                self.window_came();
                self.due |= self.nmi;
            }
            reason::NMI_WINDOW => {
                self.set_primary(primary::NMI_WINDOW, false);
                self.due |= self.nmi;
            }
            code if code & reason::ENTRY_FAILED != 0 => super::check::refused(self.reason),
            reason::EPT_MISCONFIGURATION => panic!("a wrong entry for {:#x}", vmcs::read(field::GUEST_PHYSICAL)),
            _ => {}
        }
        let vectoring = vmcs::read(field::VECTORING);
        if vectoring & event::VALID != 0 {
            self.remember(vectoring);
        } else if self.undoes_iret() {
            self.set_blocking(BY_NMI, true);
        }
    }
}

impl arch::Core for Vmx {
    const MASKS_LEAF_1: bool = true;

    fn settle_down(&mut self) {
        region::local().object.store(core::ptr::from_mut(self).expose_provenance() as u64, Relaxed);
    }

    #[inline(always)]
    fn run(&mut self) -> bool {
        if self.due {
            self.deliver();
        }
        let known = self.nmis_known;
        // SAFETY: V1, V2: `enter` filled the structure from this core's Linux and root.
        let ran = unsafe { run::run(&mut self.gprs, self.launched, &region::local().nmis, known) };
        self.kept = ran == Ran::Nmi;
        if self.kept {
            self.not_entered();
            return false;
        }
        if ran == Ran::Refused {
            super::check::failed();
        }
        (self.launched, self.event) = (true, 0);
        self.reason = vmcs::read32(field::EXIT_REASON);
        if self.reason == reason::CPUID && !self.is_passing() {
            return true;
        }
        self.look();
        false
    }

    fn exit(&self) -> Exit {
        self.decode()
    }

    #[inline(always)]
    fn skip(&mut self) {
        self.go(vmcs::read(field::GUEST_RIP).wrapping_add(self.length()));
        if vmcs::read(field::GUEST_RFLAGS) & flag::TF != 0 {
            // It was executed, as far as a single step is concerned.
            vmcs::write(field::PENDING_DEBUG, STEPPED);
        }
    }

    #[inline(always)]
    fn answer(&mut self, quad: [u64; 4]) {
        self.set_quad(quad);
        self.skip();
    }

    fn forced(&mut self) {
        if self.reason == reason::XSETBV {
            let [rax, _, rcx, rdx] = self.quad();
            #[expect(clippy::cast_possible_truncation, reason = "ecx")]
            if !trap::try_write_extended(rcx as u32, rdx << 32 | rax & 0xffff_ffff) {
                return self.make(Event::GeneralProtection);
            }
        } else {
            // INVD would throw away what root has written: it is written back instead.
            x86::write_back_caches();
        }
        self.skip();
    }

    fn again(&mut self) {
        self.set_blocking(BY_STI | BY_MOV_SS, false);
    }

    fn inject(&mut self, what: Event) {
        self.make(what);
    }

    fn inject_instead(&mut self, kind: Injection, vector: u8, code: Option<u32>) -> bool {
        self.make_instead(kind, vector, code)
    }

    fn pass_on(&mut self) {
        self.pass_exception();
    }

    fn watch(&mut self, what: Watch, on: bool) {
        match what {
            Watch::Breakpoints => self.pass_exceptions(EXCEPTION_BP, on),
            Watch::Debug => self.pass_exceptions(EXCEPTION_DB, on),
            Watch::SystemCalls => self.watch_calls(on),
            Watch::Interrupts => self.watch_interrupts(on),
            Watch::Tsc => self.set_primary(primary::RDTSC, on),
            Watch::Control0 => self.watch_control(0, on),
            Watch::Control4 => self.watch_control(4, on),
            Watch::DebugRegisters => self.set_primary(primary::DEBUG_REGISTERS, on),
            Watch::Guarded => self.watch_guarded(on),
        }
    }

    fn watch_exceptions(&mut self, vectors: u32) {
        self.want_exceptions(vectors);
    }

    fn system_call(&mut self, length: u8) {
        self.enter_kernel(length);
    }

    fn system_return(&mut self, wide: bool) {
        self.leave_kernel(wide);
    }

    fn take_interrupt(&mut self) -> Option<u8> {
        self.acknowledge()
    }

    fn interrupt(&mut self, vector: u8) {
        self.deliver_interrupt(vector);
    }

    fn drop_interrupt(&mut self, vector: u8) {
        self.end_interrupt(vector);
    }

    fn is_due(&self) -> bool {
        self.has_event_due()
    }

    fn step(&mut self) -> Begun {
        self.begin_step()
    }

    fn execute(&mut self, pfn: u64, shown: u64) -> bool {
        self.execute_page(pfn, shown)
    }

    fn execute_all(&mut self) {
        self.leave_page();
    }

    fn executes_page(&self) -> bool {
        self.step.executed.on
    }

    fn deliver_unguarded(&mut self) {
        self.begin_delivery();
    }

    #[inline(always)]
    fn passing(&self) -> bool {
        self.is_passing()
    }

    fn passed(&mut self) -> Passing {
        let exit = self.decode();
        self.pass(&exit)
    }

    fn passed_by_root(&mut self) -> Option<bool> {
        self.pass_by_root()
    }

    fn delivery(&self) -> Option<Delivery> {
        let stacks = event::Stacks {
            idt: vmcs::read(field::GUEST_IDT_BASE),
            task: vmcs::read(field::GUEST_BASE + 2 * segment::TR),
            cpl: self.ring(),
            rsp: vmcs::read(field::GUEST_RSP),
        };
        event::delivery(self.interrupted, &stacks, |at, to| self.guest_bytes(at, to))
    }

    fn continue_at(&mut self, rip: u64) {
        self.go(rip);
    }

    fn fetch_again(&mut self) {
        self.fetch_unread();
    }

    /// V3.
    fn take_nmi(&mut self) -> u64 {
        let count = trap::nmis_taken();
        let taken = count - self.nmis_known + core::mem::take(&mut self.nmi_taken);
        self.nmis_known = count;
        taken
    }

    fn is_own_nmi(&mut self) -> bool {
        false
    }

    fn quad(&self) -> [u64; 4] {
        [self.gprs.rax, self.gprs.rbx, self.gprs.rcx, self.gprs.rdx]
    }

    fn set_quad(&mut self, [rax, rbx, rcx, rdx]: [u64; 4]) {
        (self.gprs.rax, self.gprs.rbx, self.gprs.rcx, self.gprs.rdx) = (rax, rbx, rcx, rdx);
    }

    fn code(&self, to: &mut [u8]) -> usize {
        self.text_bytes(to)
    }

    #[inline(always)]
    fn near_code(&mut self) -> Option<u128> {
        self.near_bytes().map(|(_, bytes)| bytes)
    }

    #[inline(always)]
    fn near_instruction(&mut self) -> Option<(u64, u128)> {
        self.near_bytes()
    }

    #[inline(always)]
    fn near_data(&mut self, linear: u64) -> Option<(u64, u64)> {
        self.data.datum(vmcs::read(field::GUEST_CR3), linear)
    }

    #[inline(always)]
    fn is_plain(&self) -> bool {
        self.is_plainly_kernel()
    }

    #[inline(always)]
    fn meets_breakpoint(&self) -> bool {
        !self.kept && !self.is_passing() && self.is_exception(vector::BP) && self.is_plainly_kernel()
    }

    #[inline(always)]
    fn meets_guard(&self) -> Option<u64> {
        if self.kept || self.due || self.is_passing() {
            return None;
        }
        self.fetched().filter(|at| self.code_at() & 0xfff == at & 0xfff)
    }

    #[inline(always)]
    fn may_write(&mut self, pa: u64) -> bool {
        if self.its_own != pa & !0xfff && self.guest_writes(pa) {
            self.its_own = pa & !0xfff;
        }
        self.its_own == pa & !0xfff
    }

    fn registers(&self) -> Registers {
        let selector = |number: u64| vmcs::read(field::GUEST_SELECTOR + 2 * number);
        let base = |number: u64| vmcs::read(field::GUEST_BASE + 2 * number);
        Registers {
            core: self.core,
            zero: 0,
            gprs: core::array::from_fn(|number| self.gpr(number)),
            rip: self.rip(),
            rflags: self.rflags(),
            selectors: [segment::CS, segment::SS, segment::DS, segment::ES, segment::FS, segment::GS].map(selector),
            bases: [base(segment::FS), base(segment::GS), self.read_msr(x86::msr::KERNEL_GS_BASE).unwrap_or(0)],
            crs: [self.control(0), self.fault_address(), self.cr3(), self.control(4)],
            drs: [x86::dr6(), vmcs::read(field::GUEST_DR7)],
            efer: self.efer(),
        }
    }

    #[inline(always)]
    fn gpr(&self, number: usize) -> u64 {
        if number == 4 { vmcs::read(field::GUEST_RSP) } else { self.gprs.get(number) }
    }

    fn set_gpr(&mut self, number: u8, value: u64) {
        if number == 4 { vmcs::write(field::GUEST_RSP, value) } else { self.gprs.set(number.into(), value) }
    }

    fn set_rip(&mut self, value: u64) {
        if self.is_passing() && value != self.rip() {
            self.end_step(false);
        }
        vmcs::write(field::GUEST_RIP, value);
    }

    fn rflags(&self) -> u64 {
        vmcs::read(field::GUEST_RFLAGS)
    }

    fn set_rflags(&mut self, value: u64) {
        let value = value & flag::SETTABLE | self.rflags() & !flag::SETTABLE;
        if value & flag::IF == 0 {
            // Nobody is behind STI whose flag is clear (SDM3 27.3.1.5).
            self.set_blocking(BY_STI, false);
        }
        vmcs::write(field::GUEST_RFLAGS, value);
    }

    fn segment(&self, number: u8) -> arch::Segment {
        // Numbered as in instructions.
        let at = 2 * u64::from(number.min(5));
        let has = vmcs::read(field::GUEST_RIGHTS + at);
        let there = has & (rights::UNUSABLE | rights::PRESENT) == rights::PRESENT;
        arch::Segment {
            base: vmcs::read(field::GUEST_BASE + at),
            limit: vmcs::read32(field::GUEST_LIMIT + at),
            usable: there,
            writable: there && has & (rights::CODE | rights::WRITABLE) == rights::WRITABLE,
        }
    }

    fn code_bits(&self) -> u8 {
        match vmcs::read(field::GUEST_RIGHTS + 2 * segment::CS) {
            code if code & rights::LONG != 0 => 64,
            code if code & rights::BIG != 0 => 32,
            _ => 16,
        }
    }

    fn cr3(&self) -> u64 {
        vmcs::read(field::GUEST_CR3)
    }

    fn kernel_gs(&self) -> u64 {
        // Between SWAPGS and the change of rings both hold the same question; a canonical upper half tells the kernel's.
        let now = vmcs::read(field::GUEST_BASE + 2 * segment::GS);
        if now >> 63 == 1 { now } else { self.read_msr(x86::msr::KERNEL_GS_BASE).unwrap_or(0) }
    }

    fn system(&self) -> arch::SystemRegisters {
        #[expect(clippy::cast_possible_truncation, reason = "a selector")]
        let selector = |number: u64| vmcs::read(field::GUEST_SELECTOR + 2 * number) as u16;
        arch::SystemRegisters {
            idt: vmcs::read(field::GUEST_IDT_BASE),
            gdt: vmcs::read(field::GUEST_GDT_BASE),
            ldtr: selector(segment::LDTR),
            tr: selector(segment::TR),
        }
    }

    fn read_msr(&self, register: u32) -> Option<u64> {
        match register {
            x86::msr::EFER => Some(self.efer()),
            x86::msr::TSC | x86::msr::TSC_DEADLINE => x86::clock::read(register, self.hidden),
            // Locked, and nothing allowed: as on a processor whose firmware has switched it off.
            msr::FEATURE_CONTROL => Some(1),
            msr::CAPABILITIES_FIRST..=msr::CAPABILITIES_LAST => None,
            _ => self.saved(register).or_else(|| trap::try_read_msr(register)),
        }
    }

    fn write_msr(&mut self, register: u32, value: u64) -> bool {
        match register {
            x86::msr::EFER => self.write_efer(value),
            x86::msr::TSC | x86::msr::TSC_DEADLINE => x86::clock::write(register, value, self.hidden),
            msr::FEATURE_CONTROL | msr::CAPABILITIES_FIRST..=msr::CAPABILITIES_LAST => false,
            _ => match self.save(register, value) {
                Some(done) => done,
                // SAFETY: what root depends on was handled above; the rest is the guest's, as without root.
                None => unsafe { trap::try_write_msr(register, value) },
            },
        }
    }

    fn control_wanted(&self, register: u8) -> Result<u64, Event> {
        self.wanted(register)
    }

    fn write_control(&mut self, register: u8, value: u64) -> bool {
        self.set_control(register, value)
    }

    fn debug_register(&self, number: u8) -> u64 {
        self.debug(number)
    }

    fn set_debug_register(&mut self, number: u8, value: u64) {
        self.set_debug(number, value);
    }

    fn cpl(&self) -> u8 {
        self.ring()
    }

    #[inline(always)]
    fn rip(&self) -> u64 {
        vmcs::read(field::GUEST_RIP)
    }

    fn mask_cpuid(&self, leaf: u32, quad: &mut [u64; 4]) {
        if leaf == 1 {
            // SDM2 "CPUID", leaf 1: ecx bit 5 "VMX".
            quad[2] &= !(1 << 5);
        }
    }

    fn efer(&self) -> u64 {
        self.guest_efer()
    }

    fn set_efer(&mut self, value: u64) {
        self.set_guest_efer(value);
    }

    fn hide_time(&mut self, ticks: u64) {
        self.hidden = ticks;
        vmcs::write(field::TSC_OFFSET, ticks.wrapping_neg());
    }

    fn hidden_time(&self) -> u64 {
        self.hidden
    }

    fn flush(&mut self) {
        self.forget_page();
        self.its_own = 1;
        vmcs::invalidate_ept();
    }

    fn leave(&mut self) -> ! {
        self.leave_for_good()
    }
}
