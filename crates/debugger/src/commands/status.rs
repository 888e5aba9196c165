//! Shows which machine is debugged, who answers and what it does.
//!
//!     .status
//! ```kd
//! 0: kHyperDbg> .status
//! debugger mode over model: halted, core 0 selected
//! model, 2 cores, protocol 8, load {hex}, 0x{hex} pages of RAM
//! breaking in: by NMI, at once
//! ```

use crate::answer::{Answer, Report, hex};
use crate::commands::{self, Command};
use crate::error::Error;
use crate::line::Line;
use crate::say;
use crate::session::{Session, State};
use crate::target::Mode;
use crate::view::{Shown, View};
use abi::request::Hello;
use serde::Serialize;

/// The command.
pub const COMMAND: Command = Command { names: &[".status", "status"], takes: &[], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    if line.words().len() != 1 {
        return Err(commands::usage(line));
    }
    // Away, the last one who answered is still worth showing; else it is asked afresh.
    let hello = match session.state() {
        State::Away => session.hello(),
        _ => Some(session.greet()?),
    };
    Ok(Answer::of(&Status::new(session, hello)))
}

#[derive(Serialize)]
struct Status {
    mode: &'static str,
    target: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    core: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<Root>,
    /// What commands look at, if it is not what the core runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    view: Option<Shown>,
}

#[derive(Serialize)]
struct Root {
    backend: String,
    cores: u32,
    protocol: u32,
    boot_id: String,
    ram_pages: u64,
    break_in: &'static str,
}

impl Status {
    fn new(session: &mut Session, hello: Option<Hello>) -> Self {
        let mode = session.mode();
        let (state, core) = match (mode, session.state()) {
            (Mode::Vmi, _) | (_, State::Running) => ("running", None),
            (_, State::Halted(core)) => ("halted", Some(core)),
            (_, State::Away) => ("away", None),
            (_, State::Unknown) => ("unknown", None),
        };
        let root = hello.map(|hello| {
            let Hello { protocol, cores, halted: _, core: _, boot_id, ram_frames, backend, break_in_by_nmi, linked: _ } = hello;
            let break_in = if break_in_by_nmi == 0 { "next-exit" } else { "nmi" };
            Root { backend: say::ascii(&backend), cores, protocol, boot_id: hex(boot_id), ram_pages: ram_frames, break_in }
        });
        let view = session.view.as_ref().map(View::shown);
        let mode = if mode == Mode::Vmi { "vmi" } else { "debugger" };
        Self { mode, target: session.target().name(), state, core, root, view }
    }
}

impl Report for Status {
    fn text(&self) -> String {
        let Self { mode, target, state, core, root, view } = self;
        let core = core.map_or(String::new(), |core| format!(", core {core:x} selected"));
        let mut text = format!("{mode} mode over {target}: {state}{core}");
        if let Some(Root { backend, cores, protocol, boot_id, ram_pages, break_in }) = root {
            let (cores, boot_id) = (say::cores(*cores), boot_id.trim_start_matches("0x"));
            text += &format!("\n{backend}, {cores}, protocol {protocol}, load {boot_id}, 0x{ram_pages:x} pages of RAM");
            if *mode == "debugger" {
                let way = if *break_in == "nmi" { "by NMI, at once" } else { "when a core next exits" };
                text += &format!("\nbreaking in: {way}");
            }
        }
        if let Some(view) = view {
            text += &format!("\nin view: {}", view.text());
        }
        text
    }
}
