//! Connects to the machine to be debugged, or makes this machine one.
//!
//!     .debug remote [pause] namedpipe PATH
//!     .debug remote [pause] serial BAUD DEVICE
//!     .debug remote [pause] tcp HOST:PORT
//!     .debug prepare serial BAUD com2
//!     .debug close
//! PATH is a unix socket, such as that of a virtual machine's COM2; BAUD is decimal. `remote` waits a few seconds for an
//! answer; with `pause` the debuggee is halted at once. `prepare` loads the hypervisor here with its end of the link.
//! `close` goes back to this machine.
//! ```kd
//! HyperDbg> .debug remote namedpipe /nowhere.sock
//! err, there is no debuggee at unix:/nowhere.sock: it does not exist
//! HyperDbg> .debug remote serial fast /dev/ttyS0
//! err, 'serial fast' is no address of a debuggee
//!      unix:PATH, tcp:HOST:PORT or /dev/ttyS0,115200
//! HyperDbg> .debug close
//! err, there is no link to close: this is VMI mode
//! ```

use super::load;
use crate::answer::{Answer, Report};
use crate::commands::{self, Command, Takes};
use crate::error::Error;
use crate::line::{Line, Word};
use crate::session::Session;
use crate::stop::{By, Stop};
use crate::target::Mode;
use crate::target::remote::Address;
use abi::ioctl::LOAD_LINK;
use serde::Serialize;
use std::time::Duration;

/// The command.
pub const COMMAND: Command = Command {
    names: &[".debug"],
    takes: &[
        Takes::Words(&["remote", "prepare", "close"]),
        Takes::After(&[("remote", &["pause", "namedpipe", "serial", "tcp"]), ("prepare", &["serial"])]),
        Takes::FileAfter("namedpipe"),
    ],
    run,
    cost: None,
};

/// How long somebody may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let [_, what, rest @ ..] = line.words() else { return Err(commands::usage(line)) };
    match what.text.to_ascii_lowercase().as_str() {
        "remote" => match rest {
            [pause, rest @ ..] if pause.text.eq_ignore_ascii_case("pause") => remote(session, address(line, rest)?, true),
            rest => remote(session, address(line, rest)?, false),
        },
        "prepare" => match rest {
            [serial, baud, port] if serial.text.eq_ignore_ascii_case("serial") => {
                // Root sets its UART itself, at the one speed that the prompt's side takes for granted.
                if !port.text.eq_ignore_ascii_case("com2") || baud.text != "115200" {
                    return Err(Error::OnlyCom2);
                }
                load::enter(session, 0, LOAD_LINK)
            }
            _ => Err(commands::usage(line)),
        },
        "close" if rest.is_empty() => close(session),
        "close" => Err(commands::usage(line)),
        _ => Err(commands::unknown_word(what, "words", &["remote", "prepare", "close"])),
    }
}

fn address(line: &Line, words: &[Word]) -> Result<Address, Error> {
    let Some(way) = words.first() else { return Err(commands::usage(line)) };
    match (way.text.to_ascii_lowercase().as_str(), &words[1..]) {
        ("namedpipe", [path]) => Address::parse(&format!("unix:{}", path.text)),
        ("tcp", [host]) => Address::parse(&format!("tcp:{}", host.text)),
        ("serial", [baud, device]) => match baud.text.parse() {
            Ok(baud) => Ok(Address::Serial { path: device.text.clone().into(), baud }),
            Err(_) => Err(Error::Address(format!("serial {}", baud.text))),
        },
        ("namedpipe" | "tcp" | "serial", _) => Err(commands::usage(line)),
        _ => Err(commands::unknown_word(way, "words", &["namedpipe", "serial", "tcp", "pause"])),
    }
}

fn remote(session: &mut Session, address: Address, pause: bool) -> Result<Answer, Error> {
    let target = address.to_string();
    if let Err(error) = session.connect(address, ANSWER_LIMIT, false) {
        session.disconnect();
        return Err(error);
    }
    let halted = if pause {
        let halted = session.pause()?;
        Some(Stop::new(session, &halted, By::Running))
    } else {
        None
    };
    Ok(Answer::of(&Connected { target, halted }))
}

fn close(session: &mut Session) -> Result<Answer, Error> {
    if session.mode() == Mode::Vmi {
        return Err(Error::NoLink);
    }
    session.leave();
    session.disconnect();
    Ok(Answer::of(&Closed { mode: "vmi" }))
}

#[derive(Serialize)]
struct Connected {
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    halted: Option<Stop>,
}

impl Report for Connected {
    fn text(&self) -> String {
        let Self { target, halted } = self;
        let halted = halted.as_ref().map_or(String::new(), |context| format!("\n{}", context.text()));
        format!("connected to {target}{halted}")
    }
}

#[derive(Serialize)]
struct Closed {
    mode: &'static str,
}

impl Report for Closed {
    fn text(&self) -> String {
        let Self { mode: _ } = self;
        "the link is closed; this is VMI mode on this machine".to_owned()
    }
}
