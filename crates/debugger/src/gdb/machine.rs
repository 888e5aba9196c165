//! A machine as gdb sees it: a process whose threads are cores.
//!
//! **Holds always**
//! - T1: a request about a thread goes to its core: that one is selected before, and who else selects is noticed.
//! - T2: what gdb may not do is refused, and said (G3); what ends the conversation is what leaves nothing to talk about.

use super::page::Page;
use super::points::Points;
use super::registers::{Image, Number, X86, value};
use crate::commands;
use crate::error::Error;
use crate::line::Line;
use crate::memory;
use crate::program::{self, How, Text, Told};
use crate::session::{Console, Session, Turn};
use abi::request::memory::{BYTES_MAX, NO_PID, Place, READ_BYTES_MAX, VIRTUAL};
use abi::request::{CORES_SHOWN_MAX, Cores, Halted, Number as Value, Registers, StepAsk, op, reason, step};
use gdbstub::common::{Signal, Tid};
use gdbstub::stub::MultiThreadStopReason;
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadRangeStepping, MultiThreadRangeSteppingOps, MultiThreadResume, MultiThreadResumeOps,
    MultiThreadSchedulerLocking, MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::base::single_register_access::{SingleRegisterAccess, SingleRegisterAccessOps};
use gdbstub::target::ext::breakpoints::BreakpointsOps;
use gdbstub::target::ext::monitor_cmd::MonitorCmdOps;
use gdbstub::target::ext::thread_extra_info::{ThreadExtraInfo, ThreadExtraInfoOps};
use gdbstub::target::{Target, TargetError, TargetResult};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// Why the machine stopped.
pub(super) type Stop = MultiThreadStopReason<u64>;

/// What gdb gets as the reason of a refusal: EINVAL, EFAULT.
const INVALID: u8 = 22;
const FAULT: u8 = 14;

/// How often a machine that runs is asked what its events say.
const HEAR: Duration = Duration::from_millis(200);

/// The machine.
pub(super) struct Machine<'s> {
    /// A name is asked for by reference alone.
    session: RefCell<&'s mut Session>,
    page: Page,
    points: Points,
    /// The core that requests go to, if that is known.
    core: Cell<Option<u32>>,
    runs: bool,
    wanted: Wanted,
    /// When events were last listened to.
    heard: Instant,
}

/// How it is to go on.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    /// This core steps,
    step: Option<u32>,
    /// until it is outside of this range,
    range: Option<(u64, u64)>,
    /// and the others do not run.
    alone: bool,
}

fn thread(core: u32) -> Tid {
    let number = usize::try_from(core).unwrap_or(0).saturating_add(1);
    Tid::new(number).unwrap_or(Tid::MIN)
}

fn core(thread: Tid) -> u32 {
    u32::try_from(thread.get() - 1).unwrap_or(u32::MAX)
}

impl<'s> Machine<'s> {
    /// Halts it.
    pub(super) fn halted(session: &'s mut Session, page: &Page) -> Result<Self, Error> {
        let halted = session.pause()?;
        session.settle();
        let points = match Points::new(session) {
            Ok(points) => points,
            Err(why) => {
                // If it does not go on either, it is out of reach, and that is what is told.
                let _ = session.go();
                return Err(why);
            }
        };
        let (session, page, core) = (RefCell::new(session), page.clone(), Cell::new(Some(halted.core)));
        Ok(Self { session, page, points, core, runs: false, wanted: Wanted::default(), heard: Instant::now() })
    }

    /// Clears what gdb set and lets it run, whatever it does now.
    pub(super) fn let_go(&mut self) {
        let (points, session) = self.points_and_session();
        if session.is_cancelled() {
            session.undo_cancel();
        }
        let mut done = || {
            session.pause()?;
            points.clear(session)?;
            session.settle();
            session.go()
        };
        if let Err(why) = done() {
            self.complain(&why);
        }
    }

    pub(super) fn page(&self) -> &Page {
        &self.page
    }

    /// Whether whoever serves is to end.
    pub(super) fn is_to_end(&self) -> bool {
        self.session.borrow().is_cancelled()
    }

    pub(super) fn points_and_session(&mut self) -> (&mut Points, &mut Session) {
        (&mut self.points, self.session.get_mut())
    }

    /// Says what went wrong where the server's own messages go.
    pub(super) fn complain(&mut self, why: &Error) {
        self.page.print(&super::sentence(why, &Line::new("")));
    }

    /// A result for gdb; what went wrong is said.
    pub(super) fn checked<T>(&mut self, result: Result<T, Error>) -> TargetResult<T, Self> {
        self.checked_line(result, &Line::new(""))
    }

    /// The same for what was done as if this line had been typed.
    pub(super) fn checked_line<T>(&mut self, result: Result<T, Error>, line: &Line) -> TargetResult<T, Self> {
        result.map_err(|why| {
            self.page.print(&super::sentence(&why, line));
            TargetError::Errno(INVALID)
        })
    }

    /// Types a line at the session; what it prints.
    pub(super) fn typed(&mut self, line: &str) -> String {
        let before = self.page.take();
        let session = self.session.get_mut();
        let was = session.ask::<Registers>(op::REGISTERS, &[]).ok();
        session.run(line);
        // It may have selected another core,
        self.core.set(None);
        let mut text = self.page.take();
        // or let the machine run for a moment: for pages, or to have a question answered.
        let is = self.session.get_mut().ask::<Registers>(op::REGISTERS, &[]).ok();
        if was != is {
            text += "registers are other than before; `maintenance flush register-cache` lets gdb look again\n";
        }
        if !before.is_empty() {
            self.page.print(before.trim_end_matches('\n'));
        }
        text
    }

    fn select(&mut self, thread: Tid) -> Result<(), Error> {
        let core = core(thread);
        if self.core.get() != Some(core) {
            select(self.session.get_mut(), core)?;
            self.core.set(Some(core));
        }
        Ok(())
    }

    /// Waits so long for what becomes of it; why it stopped, if it did.
    pub(super) fn turn(&mut self, limit: Duration) -> Result<Option<Stop>, Error> {
        let halted = match self.session.get_mut().turn(limit)? {
            Turn::Runs => {
                if self.heard.elapsed() >= HEAR {
                    self.session.get_mut().hear_speakers();
                    self.heard = Instant::now();
                }
                return Ok(None);
            }
            Turn::Gone => return Ok(Some(MultiThreadStopReason::Exited(0))),
            Turn::Halted(halted) => halted,
        };
        self.runs = false;
        self.core.set(Some(halted.core));
        let within = self.wanted.range.is_some_and(|(start, end)| (start..end).contains(&halted.rip));
        if halted.reason == reason::STEPPED && within {
            self.go_on()?;
            return Ok(None);
        }
        Ok(Some(self.stop(&halted)))
    }

    fn stop(&self, halted: &Halted) -> Stop {
        let tid = thread(halted.core);
        let by_event = matches!(halted.reason, reason::EVENT | reason::BREAKPOINT);
        let point = if by_event { self.points.stop(halted, tid) } else { None };
        point.unwrap_or(MultiThreadStopReason::SignalWithThread { tid, signal: Signal::SIGTRAP })
    }

    /// CTRL+C: halts it if it runs. One that came too late counts for nothing.
    pub(super) fn interrupted(&mut self) -> Result<Option<Stop>, Error> {
        if !std::mem::take(&mut self.runs) {
            return Ok(None);
        }
        let session = self.session.get_mut();
        let halted = session.pause()?;
        // What halted it a moment before is this halt.
        session.settle();
        self.core.set(Some(halted.core));
        Ok(Some(MultiThreadStopReason::SignalWithThread { tid: thread(halted.core), signal: Signal::SIGINT }))
    }

    fn go_on(&mut self) -> Result<(), Error> {
        match self.wanted.step {
            Some(core) => {
                self.select(thread(core))?;
                let how = if self.wanted.alone { step::ALONE } else { step::TOGETHER };
                let session = self.session.get_mut();
                session.order(op::STEP, StepAsk { count: 1, how, zero: 0 }.as_bytes())?;
                session.runs();
            }
            None => self.session.get_mut().go()?,
        }
        self.runs = true;
        Ok(())
    }

    fn set_register(&mut self, name: &str, value: u64) -> TargetResult<(), Self> {
        let line = Line::new(&format!("r {name} = 0x{value:x}"));
        let set = commands::set_register(self.session.get_mut(), &line);
        self.checked_line(set, &line)
    }

    fn registers(&mut self, thread: Tid) -> Result<Registers, Error> {
        self.select(thread)?;
        self.session.get_mut().ask(op::REGISTERS, &[])
    }
}

fn select(session: &mut Session, core: u32) -> Result<(), Error> {
    let halted: Halted = session.ask(op::CORE_SELECT, Value { value: core.into() }.as_bytes())?;
    session.selected(halted.core);
    Ok(())
}

/// What runs on a core, by its name.
fn program_name(session: &mut Session) -> Result<Option<String>, Error> {
    let line = Line::new("$pname");
    let text = Text::in_line(&line, &(0..line.text().len()));
    let program = text.compile(session.book(), &line, How::Expression)?;
    match program::evaluate(session, &text, program)? {
        Told::Text(name) => Ok(Some(name)),
        Told::Value(_) => Ok(None),
    }
}

impl Target for Machine<'_> {
    type Arch = X86;
    type Error = Error;

    fn base_ops(&mut self) -> BaseOps<'_, X86, Error> {
        BaseOps::MultiThread(self)
    }

    fn use_fork_stop_reason(&self) -> bool {
        false
    }

    fn use_vfork_stop_reason(&self) -> bool {
        false
    }

    fn use_vforkdone_stop_reason(&self) -> bool {
        false
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadBase for Machine<'_> {
    fn read_registers(&mut self, image: &mut Image, thread: Tid) -> TargetResult<(), Self> {
        let all = self.registers(thread);
        *image = Image::of(&self.checked(all)?);
        Ok(())
    }

    fn write_registers(&mut self, image: &Image, thread: Tid) -> TargetResult<(), Self> {
        let all = self.registers(thread);
        let before = Image::of(&self.checked(all)?);
        for ((number, value), before) in Number::all().zip(&image.0).zip(before.0) {
            if let ((_, Some(name)), Some(value)) = (number.layout(), value.filter(|value| before != Some(*value))) {
                self.set_register(name, value)?;
            }
        }
        Ok(())
    }

    fn support_single_register_access(&mut self) -> Option<SingleRegisterAccessOps<'_, Tid, Self>> {
        Some(self)
    }

    fn read_addrs(&mut self, start: u64, data: &mut [u8], thread: Tid) -> TargetResult<usize, Self> {
        let selected = self.select(thread);
        self.checked(selected)?;
        let mut done = 0;
        while done < data.len() {
            let room = (data.len() - done).min(READ_BYTES_MAX);
            let place = Place { address: start.wrapping_add(done as u64), space: VIRTUAL, pid: NO_PID };
            let read = memory::request_bytes(self.session.get_mut(), place, room as u64);
            // What is not mapped is no mistake of anybody's: gdb looks for much.
            let Ok((bytes, _)) = self.checked(read)? else { break };
            let got = bytes.len().min(room);
            data[done..done + got].copy_from_slice(&bytes[..got]);
            done += got;
            if got < room {
                break;
            }
        }
        if done == 0 && !data.is_empty() { Err(TargetError::Errno(FAULT)) } else { Ok(done) }
    }

    fn write_addrs(&mut self, start: u64, data: &[u8], thread: Tid) -> TargetResult<(), Self> {
        let selected = self.select(thread);
        self.checked(selected)?;
        for (piece, at) in data.chunks(BYTES_MAX).zip((start..).step_by(BYTES_MAX)) {
            let place = Place { address: at, space: VIRTUAL, pid: NO_PID };
            let written = memory::write(self.session.get_mut(), place, piece);
            self.checked(written)?;
        }
        Ok(())
    }

    fn list_active_threads(&mut self, is_active: &mut dyn FnMut(Tid)) -> Result<(), Error> {
        let all: Cores = self.session.get_mut().ask(op::CORES, &[])?;
        let shown = usize::try_from(all.count).unwrap_or(usize::MAX).min(CORES_SHOWN_MAX);
        let there = || all.cores[..shown].iter().filter(|core| core.state < 2).map(|core| core.core);
        // The first one is where gdb begins: the core that commands refer to.
        there()
            .filter(|core| *core == all.selected)
            .chain(there().filter(|core| *core != all.selected))
            .map(thread)
            .for_each(is_active);
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }

    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }
}

impl SingleRegisterAccess<Tid> for Machine<'_> {
    fn read_register(&mut self, thread: Tid, number: Number, to: &mut [u8]) -> TargetResult<usize, Self> {
        let (bytes, Some(name)) = number.layout() else { return Ok(0) };
        let all = self.registers(thread);
        let value = crate::registers::read(&self.checked(all)?, name).unwrap_or(0).to_le_bytes();
        let to = to.get_mut(..bytes).ok_or(TargetError::NonFatal)?;
        to.iter_mut().zip(value).for_each(|(to, byte)| *to = byte);
        Ok(bytes)
    }

    fn write_register(&mut self, thread: Tid, number: Number, bytes: &[u8]) -> TargetResult<(), Self> {
        let (_, Some(name)) = number.layout() else { return Err(TargetError::Errno(INVALID)) };
        let selected = self.select(thread);
        self.checked(selected)?;
        self.set_register(name, value(bytes))
    }
}

impl ThreadExtraInfo for Machine<'_> {
    fn thread_extra_info(&self, thread: Tid, to: &mut [u8]) -> Result<usize, Error> {
        let session = &mut **self.session.borrow_mut();
        // Whoever asks next selects.
        self.core.set(None);
        let name = select(session, core(thread)).and_then(|()| program_name(session));
        // A thread without a name is one all the same.
        let text = match name {
            Ok(Some(name)) => format!("CPU {} [{name}]", core(thread)),
            _ => format!("CPU {}", core(thread)),
        };
        let bytes = text.len().min(to.len());
        to[..bytes].copy_from_slice(&text.as_bytes()[..bytes]);
        Ok(bytes)
    }
}

impl MultiThreadResume for Machine<'_> {
    fn resume(&mut self) -> Result<(), Error> {
        self.go_on()
    }

    fn clear_resume_actions(&mut self) -> Result<(), Error> {
        self.wanted = Wanted::default();
        Ok(())
    }

    /// Signals mean nothing to a machine.
    fn set_resume_action_continue(&mut self, _: Tid, _: Option<Signal>) -> Result<(), Error> {
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_range_step(&mut self) -> Option<MultiThreadRangeSteppingOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadSingleStep for Machine<'_> {
    fn set_resume_action_step(&mut self, thread: Tid, _: Option<Signal>) -> Result<(), Error> {
        self.wanted.step = Some(core(thread));
        Ok(())
    }
}

impl MultiThreadRangeStepping for Machine<'_> {
    fn set_resume_action_range_step(&mut self, thread: Tid, start: u64, end: u64) -> Result<(), Error> {
        self.wanted.step = Some(core(thread));
        self.wanted.range = Some((start, end));
        Ok(())
    }
}

impl MultiThreadSchedulerLocking for Machine<'_> {
    /// One core goes on alone. Without a step the others run as well: a machine has no clock of its own for one of them.
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), Error> {
        self.wanted.alone = true;
        Ok(())
    }
}
