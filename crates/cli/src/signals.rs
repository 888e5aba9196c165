//! Signals: CTRL+C ends a wait; SIGTERM and a terminal that is closed end the program, and it continues a halted debuggee
//! before that.

use debugger::news::Inbox;
use debugger::target::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

/// The signal by which the program is to end, if it is.
#[derive(Clone, Debug, Default)]
pub struct Ending(Arc<AtomicU8>);

impl Ending {
    /// What a shell would say of a program that ended so: 128 and the signal's number.
    pub fn code(&self) -> Option<u8> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(128 + signal),
        }
    }
}

/// Catches them. A second CTRL+C ends a program that reads its commands from elsewhere: the first may have found no wait
/// to end.
pub fn catch(cancel: &Cancel, inbox: &Arc<Inbox>, interactive: bool) -> io::Result<Ending> {
    if !interactive {
        flag::register_conditional_shutdown(SIGINT, 128 + SIGINT, cancel.flag())?;
    }
    flag::register(SIGINT, cancel.flag())?;
    let ending = Ending::default();
    let mut signals = Signals::new([SIGTERM, SIGHUP])?;
    thread::spawn({
        let (ending, cancel, inbox) = (ending.clone(), cancel.clone(), Arc::clone(inbox));
        move || {
            for signal in signals.forever() {
                ending.0.store(u8::try_from(signal).unwrap_or(0), Ordering::Relaxed);
                cancel.end();
                inbox.end();
            }
        }
    });
    Ok(ending)
}
