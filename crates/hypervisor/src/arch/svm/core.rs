//! One core under SVM: its control block, its exits, its way back to bare metal.
//!
//! **Holds always**
//! - C1: between two runs nobody but this object touches the control blocks; the processor does only inside `run`.
//! - C2: EFER.SVME is set for the processor and hidden from the guest.
//! - C3: an event whose delivery an exit interrupted is delivered before anything else (APM2 15.20).
#![expect(unsafe_code, reason = "the floor: control blocks, VMRUN, the way back")]

use super::EFER_SVME;
use super::faults::{EXCEPTION_BP, EXCEPTION_DB};
use super::interrupts::is_interrupt;
use super::run::{self, Gprs};
use super::step::Step;
use super::vmcb::{INTERCEPT_2_RDTSCP, TLB_FLUSH_ALL, Vmcb, attribute, exit_code, intercept_1};
use crate::arch::x86::decode::{INSTRUCTION_BYTES_MAX, segment};
use crate::arch::x86::efer;
use crate::arch::x86::event::{self, exception};
use crate::arch::x86::watched::Watched;
use crate::arch::x86::way::Way;
use crate::arch::x86::{self, direct, flag, msr, region, skip, vector};
use crate::arch::{self, Begun, DebugRegister, Delivery, Event, Exit, Injection, Nested, Passing, Port, Watch};
use crate::walk;
use abi::boot;
use abi::request::Registers;
use core::sync::atomic::Ordering::Relaxed;

/// INTO's, as exits have it.
const OVERFLOW: u8 = vector::OF.to_le_bytes()[0];
/// One core.
#[derive(Debug)]
pub struct Svm {
    pub(super) vmcb: &'static mut Vmcb,
    pub(super) vmcb_pa: u64,
    pub(super) gprs: Gprs,
    pub(super) core: u32,
    pub(super) seed: boot::Core,
    pub(super) next_rip_saved: bool,
    /// Delivery that the last exit interrupted (C3), as in the control block.
    pub(super) interrupted: u64,
    /// An NMI is due to the guest.
    pub(super) nmi: bool,
    /// One of the two is there.
    pub(super) due: bool,
    pub(super) hidden: u64,
    /// Where the guest's code is read,
    pub(super) text: Way,
    /// and where it reads and writes.
    pub(super) data: Way,
    /// The last page that was found to be the guest's, which it is at least until the next flush: its first address, or 1.
    pub(super) its_own: u64,
    pub(super) faults: Watched,
    /// Accesses to debug registers are watched.
    pub(super) debug_watched: bool,
    /// Root's own DR7 says nothing of the guest's (`debug`).
    pub(super) parked: bool,
    /// Vector of an interrupt that root has taken and not passed on yet, or 0.
    pub(super) held: u8,
    /// This core has sent itself an NMI, to exit right behind a delivery.
    pub(super) follows: bool,
    /// An NMI of others came between, and was sent on to the same exit.
    pub(super) stray: bool,
    /// Views of memory, and what passes unguarded.
    pub(super) step: Step,
}

impl Svm {
    pub(super) fn guest_bytes(&self, linear: u64, to: &mut [u8]) -> usize {
        walk::read_bytes(self.vmcb.cr3, linear, to, direct::read, direct::copy_out)
    }

    /// Bytes at the guest's instruction pointer; how many could be read.
    pub fn code(&self, to: &mut [u8]) -> usize {
        self.text.copy(self.vmcb.cr3, self.vmcb.cs.base.wrapping_add(self.vmcb.rip), to)
    }

    fn length(&mut self) -> u64 {
        self.text.find(self.vmcb.cr3, self.vmcb.cs.base.wrapping_add(self.vmcb.rip));
        // Without prefixes, as nearly always, the first bytes tell.
        let mut first = [0; 3];
        if self.code(&mut first) == first.len()
            && let Some(length) = skip::length(&first)
        {
            return length;
        }
        let mut bytes = [0; INSTRUCTION_BYTES_MAX];
        let n = self.code(&mut bytes);
        // It executed a moment ago, so it can be read, unless another core changes the text this instant: then the
        // shortest of the intercepted instructions keeps the guest going.
        bytes.get(..n).and_then(skip::length).unwrap_or(2)
    }

    /// Behind the instruction that exited.
    #[inline(always)]
    pub(super) fn next_rip(&mut self) -> u64 {
        if self.next_rip_saved && self.vmcb.next_rip != 0 {
            return self.vmcb.next_rip;
        }
        // CPUID without prefixes, as nearly always, where the last instruction was, too.
        if self.text.begins(self.vmcb.cr3, self.vmcb.cs.base.wrapping_add(self.vmcb.rip), [0x0f, 0xa2]) {
            return self.vmcb.rip.wrapping_add(2);
        }
        self.next_rip_by_walk()
    }

    /// Behind an INT3. Another core may have put back what stood there: Linux looks for its breakpoint one byte before.
    fn behind_breakpoint(&self) -> u64 {
        let mut bytes = [0; INSTRUCTION_BYTES_MAX];
        let n = self.code(&mut bytes);
        let is_there =
            |length: &u64| usize::try_from(*length).is_ok_and(|length| bytes.get(length.wrapping_sub(1)) == Some(&0xcc));
        let length = bytes.get(..n).and_then(skip::length).filter(is_there).unwrap_or(1);
        self.vmcb.rip.wrapping_add(length)
    }

    #[cold]
    fn next_rip_by_walk(&mut self) -> u64 {
        match self.vmcb.exit_code {
            exit_code::IOIO => self.vmcb.exit_info_2,
            _ => self.vmcb.rip.wrapping_add(self.length()),
        }
    }

    fn exit(&self) -> Exit {
        match self.vmcb.exit_code {
            exit_code::CPUID => Exit::Cpuid,
            exit_code::VMMCALL => Exit::Hypercall { cpl: self.vmcb.cpl },
            exit_code::MSR => self.msr_exit(),
            exit_code::IOIO => Exit::Port(self.port()),
            exit_code::INTR => Exit::Interrupt,
            exit_code::NMI => Exit::Nmi,
            exit_code::VMRUN | exit_code::VMLOAD..=exit_code::SKINIT | exit_code::INVLPGA => Exit::Extension,
            exit_code::NPF => Exit::Nested(Nested {
                gpa: self.vmcb.exit_info_2,
                write: self.vmcb.exit_info_1 & 1 << 1 != 0,
                fetch: self.vmcb.exit_info_1 & 1 << 4 != 0,
                walk: self.vmcb.exit_info_1 & 1 << 33 != 0,
                delivery: self.vmcb.exit_int_info & event::VALID != 0,
            }),
            exit_code::EXCP_DB => Exit::Debug,
            exit_code::RDTSC => Exit::Tsc { with_core: false },
            exit_code::RDTSCP => Exit::Tsc { with_core: true },
            exit_code::EXCP_BP => Exit::Breakpoint,
            exit_code::EXCP_UD => self.undefined(),
            code @ exit_code::EXCP_FIRST..=exit_code::EXCP_LAST => self.exception(code),
            exit_code::CR0_WRITE => Exit::ControlWrite { register: 0 },
            exit_code::CR4_WRITE => Exit::ControlWrite { register: 4 },
            code @ exit_code::DR0_READ..=exit_code::DR7_WRITE if code & 8 == 0 => {
                Exit::DebugRegister(DebugRegister { number: code.to_le_bytes()[0] & 7, write: code >= exit_code::DR0_WRITE })
            }
            exit_code::SWINT => self.software_interrupt(),
            exit_code::SHUTDOWN => Exit::Shutdown,
            exit_code::INVALID => Exit::Invalid,
            code => Exit::Unknown { code },
        }
    }

    fn msr_exit(&self) -> Exit {
        #[expect(clippy::cast_possible_truncation, reason = "ecx")]
        let msr = self.gprs.rcx as u32;
        if self.vmcb.exit_info_1 & 1 == 0 { Exit::MsrRead { msr } } else { Exit::MsrWrite { msr } }
    }

    fn port(&self) -> Port {
        let info = self.vmcb.exit_info_1;
        #[expect(clippy::cast_possible_truncation, reason = "bits 4 to 6 and 16 to 31 of the field")]
        let (bytes, port) = ((info >> 4 & 7) as u8, (info >> 16) as u16);
        Port { port, bytes, input: info & 1 != 0, string: info & 1 << 2 != 0 }
    }

    /// QEMU reports INT3 as a software interrupt (0x75) and not as #BP.
    fn software_interrupt(&self) -> Exit {
        let mut byte = [0];
        let n = self.code(&mut byte);
        match byte {
            [0xcd] if n == 1 => Exit::SoftInterrupt,
            // INTO, which 64-bit code does not have.
            [0xce] if n == 1 && !self.is_long() => Exit::Exception { vector: OVERFLOW },
            _ => Exit::Breakpoint,
        }
    }

    pub(super) fn set_event(&mut self, kind: u64, vector: u64) {
        let error = if vector == vector::GP && kind == event::EXCEPTION { event::ERROR } else { 0 };
        self.vmcb.event_injection = event::VALID | error | kind | vector;
    }

    /// C3, and an NMI that is due.
    #[cold]
    fn deliver(&mut self) {
        // An NMI waits for the end of what passes (P1 of `step`), and behind that the exit is certain.
        let passing = self.is_passing();
        self.due = self.nmi && passing;
        if self.interrupted != 0 {
            // What root wanted to inject here (#UD, #GP) cannot be asked for by an exit that interrupted a delivery: no
            // instruction was executing.
            self.put_off_interrupt();
            self.vmcb.event_injection = core::mem::take(&mut self.interrupted);
        }
        if passing {
            return;
        }
        if self.vmcb.event_injection & event::VALID == 0 {
            if core::mem::take(&mut self.nmi) {
                self.set_event(event::NMI, 2);
            }
        } else if self.nmi || is_interrupt(self.vmcb.event_injection) {
            // Two events cannot be injected at once: the NMI comes behind the other's delivery.
            self.due = self.nmi;
            self.follow();
        }
    }

    /// An exit came while an event was being delivered.
    #[cold]
    fn remember(&mut self) {
        self.due = true;
        let interrupted = self.vmcb.exit_int_info;
        // QEMU calls an external interrupt an exception here, and would refuse it so (vectors above 31).
        let external = interrupted & event::TYPE == event::EXCEPTION && interrupted & 0xff >= 32;
        self.interrupted = if external { interrupted & !event::TYPE | event::EXTERNAL } else { interrupted };
    }

    /// The privilege check of a software interrupt, which an injected one would fail at the wrong instruction.
    pub(super) fn gate_allows(&self, vector: u64) -> bool {
        let mut gate = [0; 8];
        let n = self.guest_bytes(self.vmcb.idtr.base + vector * 16, &mut gate);
        n < 8 || gate[5] >> 5 & 3 >= self.vmcb.cpl
    }
}

impl arch::Core for Svm {
    fn settle_down(&mut self) {
        region::local().object.store(core::ptr::from_mut(self).expose_provenance() as u64, Relaxed);
    }

    #[inline(always)]
    fn run(&mut self) -> bool {
        if self.due {
            self.deliver();
        }
        // SAFETY: by C1 nobody else refers to the control blocks; `enter` filled the guest's from this core's Linux, with
        // the intercepts, maps and nested tables that keep root's frames, ports and registers from it.
        unsafe { run::run(&mut self.gprs, self.vmcb_pa) };
        // QEMU's exit clears a bit among this core's pending interrupts without its lock (7.2, `do_vmexit`), so
        // one that another thread sets at that moment is lost: the APIC has it, the core never takes it. On silicon this
        // is two moves.
        x86::renew_task_priority();
        let vmcb = &mut *self.vmcb;
        let is_cpuid = vmcb.exit_code == self.step.quick;
        vmcb.event_injection = 0;
        vmcb.tlb_control = 0;
        if vmcb.exit_int_info & event::VALID != 0 {
            self.remember();
        }
        is_cpuid
    }

    fn exit(&self) -> Exit {
        Svm::exit(self)
    }

    fn skip(&mut self) {
        let next = self.next_rip();
        let vmcb = &mut *self.vmcb;
        (vmcb.rip, vmcb.interrupt_shadow) = (next, 0);
    }

    #[inline(always)]
    fn answer(&mut self, [rax, rbx, rcx, rdx]: [u64; 4]) {
        let next = self.next_rip();
        (self.gprs.rbx, self.gprs.rcx, self.gprs.rdx) = (rbx, rcx, rdx);
        let vmcb = &mut *self.vmcb;
        (vmcb.rax, vmcb.rip, vmcb.interrupt_shadow) = (rax, next, 0);
    }

    fn again(&mut self) {
        self.vmcb.interrupt_shadow = 0;
    }

    fn inject(&mut self, what: Event) {
        match what {
            Event::Nmi => (self.nmi, self.due) = (true, true),
            Event::UndefinedInstruction => self.set_event(event::EXCEPTION, vector::UD),
            Event::GeneralProtection => self.set_event(event::EXCEPTION, vector::GP),
            Event::Debug => self.set_event(event::EXCEPTION, vector::DB),
            Event::PageFault { address, error } => {
                self.vmcb.cr2 = address;
                self.vmcb.event_injection = exception(vector::PF, error.into());
            }
        }
    }

    fn inject_instead(&mut self, kind: Injection, vector: u8, code: Option<u32>) -> bool {
        let kind = match kind {
            Injection::External => event::EXTERNAL,
            Injection::Nmi if vector == 2 => event::NMI,
            // VMRUN refuses the exception that is an NMI, and those that there are not (APM2 15.20).
            Injection::Exception if vector < 32 && vector != 2 => event::EXCEPTION,
            Injection::Software => event::SOFTWARE,
            _ => return false,
        };
        if self.interrupted != 0 {
            return false;
        }
        let error = code.map_or(0, |code| event::ERROR | u64::from(code) << 32);
        // What is due first at the next entry (C3).
        self.interrupted = event::VALID | kind | u64::from(vector) | error;
        self.due = true;
        true
    }

    fn pass_on(&mut self) {
        match self.exit() {
            Exit::Debug => self.set_event(event::EXCEPTION, vector::DB),
            Exit::Breakpoint => {
                if self.gate_allows(3) {
                    self.vmcb.rip = self.behind_breakpoint();
                    self.set_event(event::EXCEPTION, 3);
                } else {
                    self.vmcb.event_injection = exception(vector::GP, vector::BP * 8 + 2);
                }
            }
            Exit::Exception { vector: OVERFLOW } => self.overflow(),
            Exit::Exception { .. } => self.pass_exception(),
            Exit::SoftInterrupt => {
                let mut bytes = [0; 2];
                let vector = if self.code(&mut bytes) == 2 { u64::from(bytes[1]) } else { 0 };
                if self.gate_allows(vector) {
                    self.vmcb.rip = self.next_rip();
                    self.set_event(event::SOFTWARE, vector);
                } else {
                    self.vmcb.event_injection = exception(vector::GP, vector * 8 + 2);
                }
            }
            _ => {}
        }
    }

    fn watch(&mut self, what: Watch, on: bool) {
        let (instructions, more) = match what {
            Watch::Breakpoints => return self.pass_exceptions(EXCEPTION_BP, on),
            Watch::Debug => return self.pass_exceptions(EXCEPTION_DB, on),
            Watch::SystemCalls => return self.watch_calls(on),
            Watch::Interrupts => (intercept_1::INTR, 0),
            Watch::Tsc => (intercept_1::RDTSC, INTERCEPT_2_RDTSCP),
            Watch::Control0 => return self.watch_control(0, on),
            Watch::Control4 => return self.watch_control(4, on),
            Watch::DebugRegisters => return self.watch_debug_registers(on),
            Watch::Guarded => return self.watch_guarded(on),
        };
        if on {
            self.vmcb.intercept_1 |= instructions;
            self.vmcb.intercept_2 |= more;
        } else {
            self.vmcb.intercept_1 &= !instructions;
            self.vmcb.intercept_2 &= !more;
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

    fn rflags(&self) -> u64 {
        self.guest_flags()
    }

    fn deliver_unguarded(&mut self) {
        self.begin_delivery();
    }

    #[inline(always)]
    fn passing(&self) -> bool {
        self.is_passing()
    }

    fn passed(&mut self) -> Passing {
        let exit = self.exit();
        self.pass(&exit)
    }

    fn passed_by_root(&mut self) -> Option<bool> {
        self.pass_by_root()
    }

    fn delivery(&self) -> Option<Delivery> {
        self.delivered_where()
    }

    fn continue_at(&mut self, rip: u64) {
        (self.vmcb.rip, self.vmcb.interrupt_shadow) = (rip, 0);
    }

    fn fetch_again(&mut self) {
        self.fetch_unread();
    }

    fn take_nmi(&mut self) -> u64 {
        let before = x86::trap::nmis_taken();
        // SAFETY: SVM is on (C2), root's IDT is loaded, and VMEXIT left both interrupt flags clear.
        unsafe { run::window() };
        x86::trap::nmis_taken() - before
    }

    fn is_own_nmi(&mut self) -> bool {
        core::mem::take(&mut self.follows) & !core::mem::take(&mut self.stray)
    }

    fn quad(&self) -> [u64; 4] {
        [self.vmcb.rax, self.gprs.rbx, self.gprs.rcx, self.gprs.rdx]
    }

    fn set_quad(&mut self, [rax, rbx, rcx, rdx]: [u64; 4]) {
        self.vmcb.rax = rax;
        self.gprs.rbx = rbx;
        self.gprs.rcx = rcx;
        self.gprs.rdx = rdx;
    }

    fn code(&self, to: &mut [u8]) -> usize {
        Svm::code(self, to)
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
        Svm::near_data(self, linear)
    }

    #[inline(always)]
    fn is_plain(&self) -> bool {
        self.is_plainly_kernel()
    }

    #[inline(always)]
    fn meets_breakpoint(&self) -> bool {
        self.is_at_breakpoint()
    }

    #[inline(always)]
    fn meets_guard(&self) -> Option<u64> {
        self.is_at_guard()
    }

    #[inline(always)]
    fn may_write(&mut self, pa: u64) -> bool {
        if self.its_own != pa & !0xfff && self.guest_writes(pa) {
            self.its_own = pa & !0xfff;
        }
        self.its_own == pa & !0xfff
    }

    fn registers(&self) -> Registers {
        let v = &self.vmcb;
        let selector = |segment: &super::vmcb::Segment| u64::from(segment.selector);
        Registers {
            core: self.core,
            zero: 0,
            gprs: core::array::from_fn(|number| self.gpr(number)),
            rip: v.rip,
            rflags: self.guest_flags(),
            selectors: [selector(&v.cs), selector(&v.ss), selector(&v.ds), selector(&v.es), selector(&v.fs), selector(&v.gs)],
            bases: [v.fs.base, v.gs.base, v.kernel_gs_base],
            crs: [v.cr0, self.fault_address(), v.cr3, v.cr4],
            drs: [v.dr6, v.dr7],
            efer: self.efer(),
        }
    }

    #[inline(always)]
    fn gpr(&self, number: usize) -> u64 {
        match number {
            0 => self.vmcb.rax,
            4 => self.vmcb.rsp,
            number => self.gprs.get(number),
        }
    }

    fn set_gpr(&mut self, number: u8, value: u64) {
        match usize::from(number) {
            0 => self.vmcb.rax = value,
            4 => self.vmcb.rsp = value,
            number => self.gprs.set(number, value),
        }
    }

    fn set_rip(&mut self, value: u64) {
        if self.is_passing() && value != self.vmcb.rip {
            self.end_step(false);
        }
        self.vmcb.rip = value;
    }

    fn set_rflags(&mut self, value: u64) {
        self.set_guest_flags(value & flag::SETTABLE | self.vmcb.rflags & !flag::SETTABLE);
    }

    fn segment(&self, number: u8) -> arch::Segment {
        let v = &self.vmcb;
        let segment = match number {
            segment::ES => &v.es,
            segment::CS => &v.cs,
            segment::SS => &v.ss,
            segment::DS => &v.ds,
            segment::FS => &v.fs,
            _ => &v.gs,
        };
        segment.plain()
    }

    fn code_bits(&self) -> u8 {
        match self.vmcb.cs.attributes {
            attributes if attributes & attribute::LONG != 0 => 64,
            attributes if attributes & attribute::BIG != 0 => 32,
            _ => 16,
        }
    }

    fn cr3(&self) -> u64 {
        self.vmcb.cr3
    }

    fn kernel_gs(&self) -> u64 {
        // Between SWAPGS and the change of rings both hold the same question; a canonical upper half tells the kernel's.
        let (now, swapped) = (self.vmcb.gs.base, self.vmcb.kernel_gs_base);
        if now >> 63 == 1 { now } else { swapped }
    }

    fn system(&self) -> arch::SystemRegisters {
        let v = &self.vmcb;
        arch::SystemRegisters { idt: v.idtr.base, gdt: v.gdtr.base, ldtr: v.ldtr.selector, tr: v.tr.selector }
    }

    fn read_msr(&self, register: u32) -> Option<u64> {
        let v = &self.vmcb;
        Some(match register {
            msr::EFER => self.efer(),
            msr::PAT => v.g_pat,
            msr::TSC | msr::TSC_DEADLINE => x86::clock::read(register, self.hidden)?,
            super::msr::VM_CR | super::msr::VM_HSAVE_PA => return None,
            _ => match self.saved(register) {
                Some(value) => value,
                None => x86::trap::try_read_msr(register)?,
            },
        })
    }

    fn write_msr(&mut self, register: u32, value: u64) -> bool {
        match register {
            msr::EFER => self.set_efer(value),
            msr::PAT => {
                if !x86::is_pat(value) {
                    return false;
                }
                self.vmcb.g_pat = value;
            }
            msr::TSC | msr::TSC_DEADLINE => return x86::clock::write(register, value, self.hidden),
            super::msr::VM_CR | super::msr::VM_HSAVE_PA => return false,
            _ => match self.saved_mut(register) {
                Some((to, canonical)) => {
                    if canonical && !x86::is_canonical(value) {
                        return false;
                    }
                    *to = value;
                }
                // SAFETY: what root depends on was handled above; the rest is the guest's, as without root.
                None => return unsafe { x86::trap::try_write_msr(register, value) },
            },
        }
        true
    }

    fn control_wanted(&self, register: u8) -> Result<u64, Event> {
        Svm::control_wanted(self, register)
    }

    fn write_control(&mut self, register: u8, value: u64) -> bool {
        Svm::write_control(self, register, value)
    }

    fn debug_register(&self, number: u8) -> u64 {
        Svm::debug_register(self, number)
    }

    fn set_debug_register(&mut self, number: u8, value: u64) {
        Svm::set_debug_register(self, number, value);
    }

    fn cpl(&self) -> u8 {
        self.vmcb.cpl
    }

    fn rip(&self) -> u64 {
        self.vmcb.rip
    }

    fn mask_cpuid(&self, leaf: u32, quad: &mut [u64; 4]) {
        match leaf {
            // APM3 appendix E.4.2: ecx bit 2 "SVM", bit 12 "SKINIT".
            0x8000_0001 => quad[2] &= !(1 << 2 | 1 << 12),
            0x8000_000a => *quad = [0; 4],
            _ => {}
        }
    }

    fn efer(&self) -> u64 {
        self.vmcb.efer & !EFER_SVME | self.faults.hidden_efer()
    }

    fn set_efer(&mut self, value: u64) {
        // LMA follows LME and paging; the guest cannot write it (APM2 3.1.7 "Extended Feature Enable Register").
        let lma = self.vmcb.efer & efer::LMA;
        self.vmcb.efer = self.faults.hide_efer(value & !efer::LMA | lma | EFER_SVME);
        self.flush();
    }

    fn hide_time(&mut self, ticks: u64) {
        self.hidden = ticks;
        self.vmcb.tsc_offset = ticks.wrapping_neg();
    }

    fn hidden_time(&self) -> u64 {
        self.hidden
    }

    fn flush(&mut self) {
        self.forget_page();
        self.its_own = 1;
        self.vmcb.tlb_control = TLB_FLUSH_ALL;
    }

    fn leave(&mut self) -> ! {
        self.leave_for_good()
    }
}
