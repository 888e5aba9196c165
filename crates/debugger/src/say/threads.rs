//! Why threads are not held, or not as asked, in words.

use super::Said;
use crate::error::Error;
use crate::threads::Refused;
use abi::code;
use abi::request::thread::{THREADS_PER_UNIT, order};

/// Linux or root refused.
pub(super) fn refused(refused: &Refused) -> Said {
    let Refused { code, order, missing } = refused;
    let (process, thread) = (order.process, order.thread);
    let say = |text: String| Said::of_root(*code, text);
    match *code {
        code::PID_INVALID => say(format!("there is no process {process:x}")).try_line(".process list"),
        code::ATTACHED_ALREADY => {
            say(format!("process {process:x} is under interception already")).try_line(format!(".switch pid {process:x}"))
        }
        code::NOT_ATTACHED => {
            say(format!("process {process:x} is not under interception")).try_line(format!(".attach pid {process:x}"))
        }
        code::NO_SUCH_THREAD if process == 0 => say(format!("no thread {thread:x} is under interception")).try_line(".switch list"),
        code::NO_SUCH_THREAD => {
            say(format!("process {process:x} has no thread {thread:x}, or has it no more")).try_line(".switch list")
        }
        code::THREAD_NOT_HELD if order.what == order::HOLD => {
            say(format!("thread {thread:x} is in the kernel, and not held before it comes back to the program"))
        }
        code::THREAD_NOT_HELD if order.what == order::STEP || order.what == 0 => {
            say(format!("thread {thread:x} is not held")).try_line("pause")
        }
        code::USED_UP => say(format!(
            "too few thread-interception for the threads of process {process:x}: 0x{missing:x} more of 0x{THREADS_PER_UNIT:x} threads each"
        ))
        .try_line(format!("prealloc thread-interception {missing:x}")),
        code::COUNT_TOO_LARGE => say(format!("process {process:x} has more threads than can be held at once")),
        code::THREAD_EXEMPT => say(format!("process {process:x} is the kernel's own, or this prompt's, and is never held")),
        code::THREADS_UNSUPPORTED if order.what == order::STEP => {
            say("this kernel does not tell of returns to a program (CONFIG_USER_RETURN_NOTIFIER), so its threads cannot step".to_owned())
        }
        code::THREADS_UNSUPPORTED => {
            say("this kernel does not tell of new threads (tracepoints of sched_process_fork, _exec, _exit)".to_owned())
        }
        code::KERNEL_OUT_OF_MEMORY => say(format!("linux has no memory for the threads of process {process:x}; none is held")),
        code::ORDER_PENDING => say("another prompt's order about threads is not carried out yet".to_owned())
            .help("the same line may work a moment later"),
        _ => say(format!("process {process:x}: the order was not carried out")),
    }
}

/// ... or it did not come to that.
pub(super) fn not_done(error: &Error) -> Said {
    match error {
        Error::OrderLate(seconds) => {
            Said::new("threads", format!("linux did not say within {seconds} s that it was done")).try_line(".switch")
        }
        Error::NoProcess(number) => {
            Said::of_root(code::PID_INVALID, format!("there is no process {number:x}")).try_line(".process list")
        }
        Error::StartElsewhere => {
            Said::new("threads", "a program is started on this machine, and the prompt is connected to another")
                .help("start it there, and then here: .attach pid PID")
        }
        Error::NotStarted(path) => {
            Said::new("threads", format!("'{path}' could not be executed, or was ended before it was held"))
        }
        _ => Said::new("threads", "commands refer to no process").try_line(".switch"),
    }
}
