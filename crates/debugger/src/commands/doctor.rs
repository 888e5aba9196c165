//! Tells what this machine has, and whether `load` should work on it.
//!
//!     doctor
//! It asks the processor and Linux, changes nothing, and needs neither root nor the module: `hyperdbg doctor` does the same
//! in a shell. Each line is a fact and what follows from it: it works; root does *without* it; `load` is *refused*; it is
//! *unknown* to who is not root; something is *to do* first. The last line is the verdict. The program then ends with 0 if
//! `load` should work or the hypervisor is loaded, with 1 if not. It is about the machine of the prompt, in debugger mode, too.
//! ```kd
//! HyperDbg> doctor
//! works    processor  AMD EPYC Processor, 2 cores, in a virtual machine of QEMU (TCG)
//! works    extension  SVM with nested paging
//! {any}
//! `load` should work here
//! HyperDbg> doctor who
//! incorrect use of the 'doctor'
//!      syntax : doctor
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{self, Command};
use crate::error::Error;
use crate::host::kernel::Kernel;
use crate::host::processor::Processor;
use crate::line::Line;
use crate::say::doctor::{self, Fact, Verdict};
use crate::session::Session;
use crate::target::Mode;
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command { names: &["doctor", ".doctor"], takes: &[], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    if line.words().len() != 1 {
        return Err(commands::usage(line));
    }
    if session.mode() == Mode::Debugger {
        session.note("about the machine of this prompt, not the debuggee:".to_owned());
    }
    let texts = session.host();
    let processor = Processor::of(&texts);
    let kernel = Kernel::of(&texts, &processor);
    let facts = doctor::facts(&processor, &kernel);
    let (verdict, message) = doctor::verdict(&facts, &processor, &kernel);
    Ok(Answer { fails: verdict == Verdict::Refused, ..Answer::of(&Found { facts, verdict, message }) })
}

#[derive(Serialize)]
struct Found {
    facts: Vec<Fact>,
    verdict: Verdict,
    message: String,
}

impl Report for Found {
    fn text(&self) -> String {
        let Self { facts, verdict: _, message } = self;
        let mut text = String::new();
        for Fact { effect, about, fact, follows } in facts {
            let follows = follows.as_ref().map_or_else(String::new, |follows| format!("; {follows}"));
            text += &format!("{:<7}  {about:<9}  {fact}{follows}\n", effect.word());
        }
        text + message
    }

    fn wraps(&self) -> bool {
        true
    }
}
