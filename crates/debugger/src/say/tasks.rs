//! Why a process or a thread is not shown, in words.

use super::Said;
use crate::line::Line;
use crate::view::Wrong;
use std::ops::Range;
use symbols::limits::TASKS_MAX;
use symbols::tasks::End;

/// What is said below a list that was not followed to its end.
pub(crate) fn ended(end: End) -> Option<String> {
    match end {
        End::Whole => None,
        End::Limit => Some(format!("and more: no more than 0x{TASKS_MAX:x} are looked at")),
        End::Broken(task) => Some(format!("the kernel's list is broken, or changed meanwhile, behind the task at {task:x}")),
    }
}

/// What is wrong.
pub(super) fn wrong(span: Option<&Range<usize>>, wrong: &Wrong, typed: &Line) -> Said {
    let said = |message: String| {
        let said = Said::new("task", message);
        match span {
            Some(span) => said.at(span),
            None => said,
        }
    };
    let not = |what: &str, number: u64, end: End| {
        let said = said(format!("there is no {what} 0x{number:x}"));
        match ended(end) {
            Some(ended) => said.help(ended),
            None => said,
        }
    };
    match wrong {
        Wrong::Unknown(what) => said(format!("the kernel's types and names do not have what this needs: {what}")),
        Wrong::NoProcess(pid, end) => not("process", *pid, *end).try_line(".process list"),
        Wrong::NoThread(tid, end) => not("thread", *tid, *end).try_line(".thread list"),
        Wrong::NotATask(address) => said(format!("there is no task at {address:x}"))
            .try_line(if typed.name().contains("process") { ".process list" } else { ".thread list" }),
        Wrong::NoTables(pid) => said(format!("the page tables of process 0x{pid:x} cannot be told; it may be at its end")),
        Wrong::Runs(tid) => said(format!("thread 0x{tid:x} runs, or is being switched to or from: nothing of it is saved"))
            .try_line(".thread list"),
        Wrong::NoProgram(tid) => said(format!("thread 0x{tid:x} is the kernel's own and has no registers of a program"))
            .help("`r` shows what was saved of it"),
        Wrong::NotSaved(tid) => said(format!("what was saved of thread 0x{tid:x} cannot be read; it may be at its end")),
        Wrong::ReadOnly(tid) => {
            said(format!("registers of thread 0x{tid:x}, which sleeps, can only be looked at")).try_line(".thread core")
        }
        Wrong::NoCurrent => said("what runs here cannot be told".to_owned()).try_line(".process list"),
    }
}
