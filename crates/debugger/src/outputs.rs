//! Outputs: files and sockets to which events speak instead of the screen.
//!
//! ```text
//! fetch (the session, or the ear) ─ a message of event 3 ─► route: 3 ► {trace, host} ─► a queue each ─► a thread each ─► the world
//! ```
//! **Holds always**
//! - O1: nobody who brings messages waits for an output: what finds no room in its queue is lost for it and counted.
//! - O2: an output gets messages whole, in the order in which root told them. In text they are the bytes that the script said; with
//!   `--json` one object a message.
//! - O3: a message of an event with outputs never goes to the screen. What none of them can take (closed, broken) is lost and
//!   counted: for the output and for the event.
//!
//! **Callers**: the session's thread, and the ear while a prompt is open. **Proof**: `tests/outputs.rs`,
//! `tests/e2e/events_output.rs`.

pub(crate) mod open;
mod sink;

use crate::answer;
use crate::news::{Inbox, Message, News};
use sink::Sink;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Outputs that an event can have, as documented.
pub(crate) const OF_AN_EVENT_MAX: usize = 5;
/// Outputs of one sitting: each that is open has a thread and a queue.
pub(crate) const OUTPUTS_MAX: usize = 64;
/// How long an output that is closed may take for what waits in its queue.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// What an output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file, to which is appended.
    File,
    /// A FIFO, or what stands for a named pipe here: a unix socket.
    NamedPipe,
    /// `HOST:PORT`.
    Tcp,
    /// A unix socket.
    Unix,
}

impl Kind {
    /// All, with their words.
    pub(crate) const ALL: [(&str, Kind); 4] =
        [("file", Kind::File), ("tcp", Kind::Tcp), ("unix", Kind::Unix), ("namedpipe", Kind::NamedPipe)];

    /// Its word.
    pub(crate) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }
}

/// Why something is not done with outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// There is none of this name; these there are.
    Unknown(Vec<String>),
    /// There is one of this name.
    Taken,
    /// It must be open for this.
    NotOpen(String),
    /// It is open already.
    IsOpen,
    /// A name that would have to be quoted.
    Name,
    /// No `HOST:PORT`.
    NoHost,
    /// An event has so many at most.
    TooMany(usize),
    /// There are so many at most.
    Full(usize),
    /// It stands there twice.
    Twice,
    /// A word where braces must be.
    NoBraces,
    /// With `imm no`.
    Gathers,
    /// It cannot be opened.
    Cannot(io::ErrorKind),
    /// Neither a FIFO nor a socket.
    NotAPipe,
    /// Nobody has the FIFO open to read.
    NoReader,
    /// The other end did not answer within so many seconds.
    Silent(u64),
}

/// One output.
struct Output {
    name: String,
    kind: Kind,
    address: String,
    state: State,
    /// Of sinks that are closed.
    before: Counts,
}

enum State {
    Created,
    Open(Sink),
    Closed,
}

/// What an output did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Messages that are written.
    pub(crate) messages: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Messages that wait.
    pub(crate) waiting: u64,
    /// Messages that were lost.
    pub(crate) lost: u64,
}

impl Counts {
    fn plus(self, other: Counts) -> Counts {
        let Counts { messages, bytes, waiting, lost } = other;
        Counts {
            messages: self.messages + messages,
            bytes: self.bytes + bytes,
            waiting: self.waiting + waiting,
            lost: self.lost + lost,
        }
    }
}

/// An output as it is shown.
pub(crate) struct Shown {
    /// Its name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// Where.
    pub(crate) address: String,
    /// `created`, `open`, `closed` or `broken`.
    pub(crate) state: &'static str,
    /// Why, if it is broken.
    pub(crate) why: Option<io::ErrorKind>,
    /// What it did.
    pub(crate) counts: Counts,
    /// The events that speak to it.
    pub(crate) events: Vec<u32>,
}

/// Where an event's messages go.
struct Route {
    outputs: Vec<usize>,
    lost: u64,
}

/// All outputs of a sitting.
#[derive(Clone)]
pub(crate) struct Outputs(Arc<Mutex<All>>);

struct All {
    list: Vec<Output>,
    routes: BTreeMap<u32, Route>,
    json: bool,
}

impl Outputs {
    /// None; with `json` they get objects.
    pub(crate) fn new(json: bool) -> Self {
        Self(Arc::new(Mutex::new(All { list: Vec::new(), routes: BTreeMap::new(), json })))
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes one that is still to be opened.
    pub(crate) fn create(&self, name: &str, kind: Kind, address: &str) -> Result<(), Wrong> {
        let mut all = self.all();
        if all.find(name).is_ok() {
            return Err(Wrong::Taken);
        }
        if all.list.len() >= OUTPUTS_MAX {
            return Err(Wrong::Full(OUTPUTS_MAX));
        }
        let (name, address, state, before) = (name.to_owned(), address.to_owned(), State::Created, Counts::default());
        all.list.push(Output { name, kind, address, state, before });
        Ok(())
    }

    /// What one is that can be opened.
    pub(crate) fn to_open(&self, name: &str) -> Result<(Kind, String), Wrong> {
        let all = self.all();
        let output = &all.list[all.find(name)?];
        match &output.state {
            State::Open(sink) if sink.broken().is_none() => Err(Wrong::IsOpen),
            _ => Ok((output.kind, output.address.clone())),
        }
    }

    /// It is open now. Whoever reads from `inbox` is told when it breaks.
    pub(crate) fn opened(&self, name: &str, end: open::End, inbox: &Arc<Inbox>) -> Result<(), Wrong> {
        let mut all = self.all();
        let at = all.find(name)?;
        let (inbox, told) = (Arc::clone(inbox), name.to_owned());
        let sink = Sink::new(end, move |why| inbox.push(News::OutputBroke { name: told, why }))
            .map_err(|why| Wrong::Cannot(why.kind()))?;
        let output = &mut all.list[at];
        if let State::Open(broken) = std::mem::replace(&mut output.state, State::Open(sink)) {
            output.before = output.before.plus(broken.close(Instant::now()));
        }
        Ok(())
    }

    /// Closes one, when what waits in it is written or after a limit; the events that speak to it still.
    pub(crate) fn close(&self, name: &str) -> Result<Vec<u32>, Wrong> {
        let (at, sink) = {
            let mut all = self.all();
            let at = all.find(name)?;
            match std::mem::replace(&mut all.list[at].state, State::Closed) {
                State::Open(sink) => (at, sink),
                before => {
                    all.list[at].state = before;
                    return Err(Wrong::NotOpen(name.to_owned()));
                }
            }
        };
        // Others may bring messages meanwhile.
        let counts = sink.close(Instant::now() + CLOSE_LIMIT);
        let mut all = self.all();
        all.list[at].before = all.list[at].before.plus(counts);
        Ok(all.speakers(at))
    }

    /// Closes all within one limit; those that lost something by that, and how much.
    pub(crate) fn close_all(&self) -> Vec<(String, u64)> {
        let sinks: Vec<(usize, String, Sink)> = {
            let mut all = self.all();
            let open = |(at, output): (usize, &mut Output)| match std::mem::replace(&mut output.state, State::Closed) {
                State::Open(sink) => Some((at, output.name.clone(), sink)),
                before => {
                    output.state = before;
                    None
                }
            };
            all.list.iter_mut().enumerate().filter_map(open).collect()
        };
        sinks.iter().for_each(|(.., sink)| sink.end());
        let until = Instant::now() + CLOSE_LIMIT;
        let mut lost = Vec::new();
        for (at, name, sink) in sinks {
            let before = sink.counts().lost;
            let counts = sink.close(until);
            if counts.lost > before {
                lost.push((name, counts.lost - before));
            }
            let output = &mut self.all().list[at];
            output.before = output.before.plus(counts);
        }
        lost
    }

    /// Those of these names, for an event; where the first stands that cannot be.
    pub(crate) fn resolve(&self, names: &[&str]) -> Result<Vec<usize>, (usize, Wrong)> {
        let all = self.all();
        let one = |(nth, name): (usize, &&str)| {
            let at = all.find(name).map_err(|wrong| (nth, wrong))?;
            match &all.list[at].state {
                State::Open(sink) if sink.broken().is_none() => Ok(at),
                _ => Err((nth, Wrong::NotOpen((*name).to_owned()))),
            }
        };
        names.iter().enumerate().map(one).collect()
    }

    /// An event speaks to these from now on.
    pub(crate) fn route(&self, event: u32, outputs: Vec<usize>) {
        let mut all = self.all();
        if outputs.is_empty() {
            all.routes.remove(&event);
        } else {
            all.routes.insert(event, Route { outputs, lost: 0 });
        }
    }

    /// Forgets events that are not among these.
    pub(crate) fn keep(&self, is_there: impl Fn(u32) -> bool) {
        self.all().routes.retain(|event, _| is_there(*event));
    }

    /// Messages of an event that its outputs lost.
    pub(crate) fn lost(&self, event: u32) -> u64 {
        self.all().routes.get(&event).map_or(0, |route| route.lost)
    }

    /// Brings messages to where they belong; what is left is for the screen.
    pub(crate) fn bring(&self, messages: Vec<Message>) -> Vec<Message> {
        let mut all = self.all();
        if all.routes.is_empty() {
            return messages;
        }
        messages.into_iter().filter_map(|message| all.bring(message)).collect()
    }

    /// All, in the order in which they were made.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let all = self.all();
        let shown = |(at, output): (usize, &Output)| {
            let Output { name, kind, address, state, before } = output;
            let (state, why, now) = match state {
                State::Created => ("created", None, Counts::default()),
                State::Closed => ("closed", None, Counts::default()),
                State::Open(sink) => {
                    let why = sink.broken();
                    (if why.is_some() { "broken" } else { "open" }, why, sink.counts())
                }
            };
            let (name, address, counts) = (name.clone(), address.clone(), before.plus(now));
            Shown { name, kind: *kind, address, state, why, counts, events: all.speakers(at) }
        };
        all.list.iter().enumerate().map(shown).collect()
    }
}

impl All {
    fn find(&self, name: &str) -> Result<usize, Wrong> {
        let found = self.list.iter().position(|output| output.name == name);
        found.ok_or_else(|| Wrong::Unknown(self.list.iter().map(|output| output.name.clone()).collect()))
    }

    fn speakers(&self, at: usize) -> Vec<u32> {
        self.routes.iter().filter(|(_, route)| route.outputs.contains(&at)).map(|(event, _)| *event).collect()
    }

    fn bring(&mut self, message: Message) -> Option<Message> {
        let Some(route) = message.event.and_then(|event| self.routes.get_mut(&event)) else { return Some(message) };
        let bytes: Arc<[u8]> = if self.json {
            let line = answer::json_message(message.event, message.core, &message.line());
            (line + "\n").into_bytes().into()
        } else {
            message.text.into()
        };
        for at in &route.outputs {
            let output = &mut self.list[*at];
            let taken = match &output.state {
                State::Open(sink) => sink.push(&bytes),
                State::Created | State::Closed => {
                    output.before.lost += 1;
                    false
                }
            };
            route.lost += u64::from(!taken);
        }
        None
    }
}
