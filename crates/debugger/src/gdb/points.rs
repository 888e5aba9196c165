//! Breakpoints and watchpoints of gdb's: hidden breakpoints (`bp`) and monitors (`!monitor`) that halt.
//!
//! gdb sets them before it lets the machine run and takes them away when it has halted, again and again. A breakpoint halts before its
//! instruction, as gdb has it. A watchpoint halts behind the access, for gdb compares what is there with what was.
//!
//! **Proof**: `tests/gdb.rs`, `tests/e2e/gdb.rs`.

use super::machine::{Machine, Stop};
use crate::error::Error;
use crate::event::{self, breakpoint, monitor};
use crate::line::Line;
use crate::session::Session;
use abi::request::monitor::{READ, WRITE};
use abi::request::{EventChange, Halted, event as events, op};
use gdbstub::common::Tid;
use gdbstub::stub::MultiThreadStopReason;
use gdbstub::target::TargetResult;
use gdbstub::target::ext::breakpoints::{
    Breakpoints, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps, SwBreakpoint, SwBreakpointOps, WatchKind,
};
use zerocopy::IntoBytes;

/// What gdb set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// `break`.
    Soft,
    /// `hbreak`, which is the same here.
    Hard,
    /// `watch`, `rwatch`, `awatch`: so many bytes.
    Watch(WatchKind, u64),
}

#[derive(Clone, Copy, Debug)]
struct Point {
    what: What,
    address: u64,
    /// Root's number of it.
    id: u32,
}

/// All of them, and what there was before gdb came.
#[derive(Debug, Default)]
pub(super) struct Points {
    set: Vec<Point>,
    others: Vec<u32>,
}

impl Points {
    /// Those of nobody, yet; what there is is others'.
    pub(super) fn new(session: &mut Session) -> Result<Self, Error> {
        let others = event::rows(session)?.into_iter().map(|row| row.id).collect();
        Ok(Self { set: Vec::new(), others })
    }

    fn add(&mut self, session: &mut Session, what: What, address: u64, line: &Line) -> Result<(), Error> {
        let id = match what {
            What::Soft | What::Hard => breakpoint::register(session, line, events::TEMPORARY)?.0,
            What::Watch(kind, bytes) => {
                let access = match kind {
                    WatchKind::Write => WRITE,
                    WatchKind::Read => READ,
                    WatchKind::ReadWrite => READ | WRITE,
                };
                monitor::watch(session, address, bytes, access)?
            }
        };
        self.set.push(Point { what, address, id });
        Ok(())
    }

    fn remove(&mut self, session: &mut Session, what: What, address: u64) -> Result<bool, Error> {
        let Some(at) = self.set.iter().position(|point| point.what == what && point.address == address) else {
            return Ok(false);
        };
        let Point { id, .. } = self.set.remove(at);
        clear(session, id)?;
        Ok(true)
    }

    /// Clears what was set since gdb came, by itself or by `monitor`.
    pub(super) fn clear(&mut self, session: &mut Session) -> Result<(), Error> {
        let ours: Vec<u32> = self.set.drain(..).map(|point| point.id).collect();
        let there = event::rows(session)?;
        for row in there.iter().filter(|row| ours.contains(&row.id) || !self.others.contains(&row.id)) {
            clear(session, row.id)?;
        }
        Ok(())
    }

    /// Why the machine halted, if it is for one of these.
    pub(super) fn stop(&self, halted: &Halted, thread: Tid) -> Option<Stop> {
        let point = self.set.iter().find(|point| point.id == halted.event)?;
        Some(match point.what {
            What::Soft => MultiThreadStopReason::SwBreak(thread),
            What::Hard => MultiThreadStopReason::HwBreak(thread),
            What::Watch(kind, _) => MultiThreadStopReason::Watch { tid: thread, kind, addr: point.address },
        })
    }
}

/// Clears an event. One that is not there any more is cleared: Linux may have unmapped its page, or somebody typed so.
fn clear(session: &mut Session, id: u32) -> Result<(), Error> {
    session.call(op::EVENT_CHANGE, EventChange { what: events::CLEAR, id }.as_bytes())?;
    session.book().clear(id);
    Ok(())
}

impl Machine<'_> {
    fn set(&mut self, what: What, address: u64) -> TargetResult<bool, Self> {
        let line = Line::new(&format!("bp {address:x}"));
        let (points, session) = self.points_and_session();
        let set = points.add(session, what, address, &line);
        self.checked_line(set, &line).map(|()| true)
    }

    fn unset(&mut self, what: What, address: u64) -> TargetResult<bool, Self> {
        let (points, session) = self.points_and_session();
        let unset = points.remove(session, what, address);
        self.checked(unset)
    }
}

impl Breakpoints for Machine<'_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Machine<'_> {
    fn add_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        self.set(What::Soft, address)
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        self.unset(What::Soft, address)
    }
}

impl HwBreakpoint for Machine<'_> {
    fn add_hw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        self.set(What::Hard, address)
    }

    fn remove_hw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        self.unset(What::Hard, address)
    }
}

impl HwWatchpoint for Machine<'_> {
    fn add_hw_watchpoint(&mut self, address: u64, bytes: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        self.set(What::Watch(kind, bytes), address)
    }

    fn remove_hw_watchpoint(&mut self, address: u64, bytes: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        self.unset(What::Watch(kind, bytes), address)
    }
}
