//! Slips the hypervisor under this machine's running kernel.
//!
//!     load [vmm] [bank PAGES] [link]
//! `bank` says how many pages of 4 KiB root shall own beyond what it needs for itself; without it, a share of RAM. With
//! `link` root also takes COM2, hides it from Linux and speaks to a prompt on another machine there (debugger mode).
//! ```kd
//! HyperDbg> unload
//! the hypervisor is unloaded
//! HyperDbg> load bank 400
//! the hypervisor is loaded on 2 cores
//! HyperDbg> load
//! the hypervisor is loaded already, on 2 cores
//! HyperDbg> load vmx
//! err, couldn't resolve error at 'vmx'
//!      load vmx
//!           ^~~
//!      words: vmm, bank, link
//!      try: load vmm
//! ```

use crate::answer::{Answer, Report};
use crate::commands::{self, Command, Takes};
use crate::error::{Error, Refusal};
use crate::line::Line;
use crate::say;
use crate::session::Session;
use crate::target::Mode;
use abi::code;
use abi::ioctl::{LOAD_LINK, Load};
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command {
    names: &["load", ".load"],
    takes: &[Takes::Words(&["vmm", "bank", "link"]), Takes::Words(&["bank", "link"])],
    run,
    cost: None,
};

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let (mut bank_frames, mut flags) = (0, 0);
    let mut words = line.words().iter().skip(1);
    while let Some(word) = words.next() {
        match word.text.to_ascii_lowercase().as_str() {
            "vmm" => {}
            "link" => flags |= LOAD_LINK,
            "bank" => bank_frames = commands::count(session, words.next().ok_or_else(|| commands::usage(line))?)?,
            _ => return Err(commands::unknown_word(word, "words", &["vmm", "bank", "link"])),
        }
    }
    enter(session, bank_frames, flags)
}

/// Enters root, for `load` and `.debug prepare`. The module takes a second load for done and changes nothing; so it is
/// asked first who is there, and a link that an earlier load did without is not taken for one without a UART.
pub fn enter(session: &mut Session, bank_frames: u64, flags: u32) -> Result<Answer, Error> {
    let link = flags & LOAD_LINK != 0;
    session.forget();
    if session.mode() == Mode::Vmi {
        match session.greet() {
            Ok(hello) if link && hello.linked == 0 => return Err(Error::LoadedWithoutLink(hello.cores)),
            Ok(hello) => return Ok(Answer::of(&Entered { cores: hello.cores, link: hello.linked != 0, already: true })),
            Err(Error::Refused(Refusal::Plain { code: code::NOT_LOADED, .. })) => {}
            Err(error) => return Err(error),
        }
    }
    let loaded = checked(session.target().load(bank_frames, flags)?)?;
    if link && session.greet()?.linked == 0 {
        session.forget();
        checked(session.target().unload()?)?;
        return Err(Error::Refused(Refusal::of_load(code::NO_UART, 0)));
    }
    Ok(Answer::of(&Entered { cores: loaded.cores, link, already: false }))
}

/// A refusal as an error.
pub fn checked(load: Load) -> Result<Load, Error> {
    let Load { bank_frames: _, status, detail, cores: _, flags: _ } = load;
    match status {
        code::SUCCESS => Ok(load),
        status => Err(Error::Refused(Refusal::of_load(status, detail))),
    }
}

#[derive(Serialize)]
struct Entered {
    cores: u32,
    link: bool,
    /// It was before, and stays as it is.
    already: bool,
}

impl Report for Entered {
    fn text(&self) -> String {
        let Self { cores, link, already } = self;
        let link = if *link { "; it listens on COM2" } else { "" };
        let how = if *already { "loaded already, on" } else { "loaded on" };
        format!("the hypervisor is {how} {}{link}", say::cores(*cores))
    }
}
