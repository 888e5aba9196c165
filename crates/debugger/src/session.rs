//! One sitting at the prompt: which target, what is known of it, and one typed line after the other.
//!
//! **Holds always**
//! - S1: what is known of the machine (running, halted, away) follows answers and news in the order in which they came.
//! - S2: a line prints its answer or its refusal, never both, and never nothing about a failure.
//! - S3: nothing waits longer than the link's limit or a stated one, and CTRL+C ends every wait.
//!
//! **Callers**: one thread. **Proof**: `tests/manuals.rs`, `tests/sentences.rs`, `cli/tests/remote.rs`.

mod said;
mod served;
mod wait;

use crate::answer::{self, Answer, By, Report};
use crate::book::Book;
use crate::commands::{self, Command};
pub use crate::console::{COLUMNS, Console, Look, Picture};
use crate::error::{Error, Reach, Refusal};
use crate::foreign;
use crate::host::texts::Texts;
use crate::line::Line;
use crate::names::{Known, Names};
use crate::news::{Inbox, News};
use crate::outputs::Outputs;
use crate::say;
pub use crate::state::{State, Verdict};
use crate::stop::{By as Came, Seen, Stop};
use crate::target::{Cancel, Mode, Target, device::Device};
use crate::threads::Active;
use crate::view::View;
use crate::wrap;
use abi::request::{self, Attend, Halted, Hello, op, reason};
use abi::{PROTOCOL, code};
pub use said::Ear;
pub(crate) use served::Turn;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use zerocopy::{FromBytes, IntoBytes};

/// How long Linux may take to hand over pages.
const FETCH_LIMIT: Duration = Duration::from_secs(30);

/// How deep scripts may call each other.
pub const SCRIPT_DEPTH_MAX: usize = 8;

/// Between two looks of `prealloc --watch`.
const WATCH_PACE: Duration = Duration::from_millis(500);

/// A sitting.
pub struct Session {
    console: Box<dyn Console>,
    look: Look,
    inbox: Arc<Inbox>,
    cancel: Cancel,
    target: Arc<Mutex<Box<dyn Target>>>,
    state: State,
    hello: Option<Hello>,
    notes: Vec<String>,
    book: Book,
    names: Names,
    cache: Option<PathBuf>,
    host: Option<Texts>,
    outputs: Outputs,
    ear: Ear,
    /// Messages could not be fetched, and nothing was answered since.
    deaf: bool,
    /// What commands look at, if it is not what the core runs.
    pub(crate) view: Option<View>,
    /// What was shown of each core.
    pub(crate) seen: HashMap<u32, Seen>,
    script_depth: usize,
    active: Option<(Active, bool)>,
    fetch_limit: Duration,
    watch_pace: Duration,
}

impl Session {
    /// A sitting at this machine's own device; nothing is opened before it is needed.
    #[must_use]
    pub fn new(console: Box<dyn Console>, look: Look, inbox: Arc<Inbox>, cancel: Cancel) -> Self {
        Self::over(Box::new(Device::new()), console, look, inbox, cancel)
    }

    /// A sitting at a target; its news must go to `inbox`.
    #[must_use]
    pub fn over(target: Box<dyn Target>, console: Box<dyn Console>, look: Look, inbox: Arc<Inbox>, cancel: Cancel) -> Self {
        let outputs = Outputs::new(look.json);
        let target = Arc::new(Mutex::new(target));
        let names = Names::new(&target);
        let (state, hello, notes, book) = (State::Unknown, None, Vec::new(), Book::new(outputs.clone(), names.clone()));
        let ear = Ear::new(&target, Arc::clone(&inbox), outputs.clone());
        let (script_depth, fetch_limit, watch_pace) = (0, FETCH_LIMIT, WATCH_PACE);
        Self {
            console,
            look,
            inbox,
            cancel,
            target,
            state,
            hello,
            notes,
            book,
            names,
            cache: None,
            host: None,
            outputs,
            ear,
            deaf: false,
            seen: HashMap::new(),
            view: None,
            script_depth,
            active: None,
            fetch_limit,
            watch_pace,
        }
    }

    /// Does one line and prints what came of it.
    pub fn run(&mut self, text: &str) -> Verdict {
        self.run_line(&Line::new(text), By::Hand)
    }

    /// As [`Session::run`], for a line that nobody typed: what an option or a key stands for. Programs are told.
    pub fn run_untyped(&mut self, text: &str) -> Verdict {
        self.run_line(&Line::new(text), By::Itself)
    }

    fn run_line(&mut self, line: &Line, by: By) -> Verdict {
        // One CTRL+C in a script counts for all of it: it may come between two lines.
        if self.script_depth == 0 {
            self.cancel.clear();
        }
        self.attend();
        let outer_notes = std::mem::take(&mut self.notes);
        let done = self.dispatch(line);
        let notes = std::mem::replace(&mut self.notes, outer_notes);
        let verdict = match done {
            Ok(None) => Verdict::Done,
            Ok(Some(answer)) => {
                if self.look.json {
                    self.console.print(&answer::json_ok(line, by, &notes, &answer));
                } else if !answer.text.is_empty() {
                    let columns = if answer.wraps { self.console.columns() } else { usize::MAX };
                    self.console.print(&wrap::lines(&answer.text, columns));
                }
                match (answer.exit, answer.fails) {
                    (true, _) => Verdict::Exit,
                    (false, true) => Verdict::Failed,
                    (false, false) => Verdict::Done,
                }
            }
            Err(error) => self.print_error(line, by, &notes, &error),
        };
        self.attend();
        verdict
    }

    fn dispatch(&mut self, line: &Line) -> Result<Option<Answer>, Error> {
        let Some(name) = line.words().first() else { return Ok(None) };
        if self.cancel.is_ended() {
            return Err(Error::Ended);
        }
        let Some(command) = commands::find(&name.text) else {
            return Err(foreign::unknown(line));
        };
        let run: fn(&mut Session, &Line, &'static Command) -> Result<Answer, Error> = command.run;
        run(self, line, command).map(Some)
    }

    fn print_error(&mut self, line: &Line, by: By, notes: &[String], error: &Error) -> Verdict {
        let said = say::error(error, line);
        let text =
            if self.look.json { answer::json_error(line, by, notes, &said) } else { said.text(line, self.console.columns()) };
        match text.strip_prefix("err,") {
            Some(rest) if self.look.colour => self.console.print(&format!("\x1b[31merr,\x1b[0m{rest}")),
            _ => self.console.print(&text),
        }
        if error.is_unreachable() { Verdict::Unreachable } else { Verdict::Failed }
    }

    /// Applies the news that came in, and shows what nobody showed yet. Call it before a prompt is printed. Whether there
    /// was more than messages of events.
    pub fn attend(&mut self) -> bool {
        self.hear();
        let mut more = false;
        while let Some(news) = self.inbox.take(Duration::ZERO) {
            more |= !matches!(news, News::Said { .. });
            self.learn(&news);
            self.show(&news);
        }
        // While it is halted, nothing is said.
        self.ear.want(self.listens() && !matches!(self.state, State::Halted(_)));
        more
    }

    fn learn(&mut self, news: &News) {
        match news {
            News::Met { hello, .. } => {
                self.state = if hello.halted == 0 { State::Running } else { State::Halted(hello.core) };
                self.hello = Some(*hello);
                self.seen.clear();
                self.end_view();
                self.book.of_load(hello.boot_id);
            }
            News::Lost | News::Goodbye(_) | News::LastWords(_) => {
                self.state = State::Away;
                self.seen.clear();
                self.end_view();
            }
            News::Halted(halted) => {
                self.state = State::Halted(halted.core);
                self.end_view();
            }
            News::Silent(_) | News::Abandoned => self.runs(),
            News::OtherVersion(_) | News::Said { .. } | News::OutputBroke { .. } => {}
        }
    }

    fn show(&mut self, news: &News) {
        if let News::Said { messages, lost } = news {
            return self.show_said(messages, *lost);
        }
        // Of steps that were ended by a pause a moment before: whoever asked for them tells.
        if matches!(news, News::Halted(halted) if halted.reason == reason::STEPPED) {
            return;
        }
        if matches!(news, News::Halted(halted) if matches!(halted.reason, reason::EVENT | reason::BREAKPOINT)) {
            self.hear_before_a_halt();
        }
        if let News::Halted(halted) = news {
            self.names_for_places();
            let stop = Stop::new(self, halted, Came::Running);
            let text = if self.look.json { answer::json_halted(&Answer::of(&stop)) } else { stop.text() };
            return self.console.print(&text);
        }
        let (word, message) = say::news(news);
        let text = if self.look.json { answer::json_notice(word, &message) } else { message };
        self.console.print(&text);
    }

    /// The prompt that belongs to what is known of the machine.
    #[must_use]
    pub fn prompt(&self) -> String {
        match (self.mode(), self.state) {
            (Mode::Vmi, _) if let Some((Active { process, thread }, held)) = self.active => {
                format!("{process:x}:{thread:x} ({}) u64HyperDbg> ", if held { "paused" } else { "running" })
            }
            (Mode::Debugger, State::Halted(core)) => format!("{core:x}: kHyperDbg> "),
            (Mode::Debugger, State::Running) => "(running) HyperDbg> ".to_owned(),
            _ => "HyperDbg> ".to_owned(),
        }
    }

    /// Says something at once, before the answer: about what takes long or changes the context.
    pub(crate) fn note(&mut self, text: String) {
        if self.look.json {
            self.notes.push(text);
        } else {
            self.console.print(&text);
        }
    }

    /// As [`Session::note`], for what people are told otherwise.
    pub(crate) fn note_for_programs(&mut self, text: String) {
        if self.look.json {
            self.notes.push(text);
        }
    }

    /// Prints an answer that others to the same line follow.
    pub(crate) fn print_more(&mut self, line: &Line, answer: &Answer) {
        if self.look.json {
            let notes = std::mem::take(&mut self.notes);
            self.console.print(&answer::json_more(line, &notes, answer));
        } else {
            self.console.print(&answer.text);
        }
    }

    /// How answers look.
    pub(crate) fn look(&self) -> Look {
        self.look
    }

    /// Whether CTRL+C was pressed or the program is to end.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_set()
    }

    /// Whether something came that [`Session::attend`] would show.
    pub(crate) fn has_news(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Between two looks of who watches.
    pub(crate) fn watch_pace(&self) -> Duration {
        self.watch_pace
    }

    /// How deep in scripts this line stands.
    pub(crate) fn script_depth(&self) -> usize {
        self.script_depth
    }

    /// Sends a request and returns root's code with the bytes of its body.
    pub(crate) fn call(&mut self, op: u32, body: &[u8]) -> Result<(u32, Vec<u8>), Error> {
        if self.mode() == Mode::Vmi && self.hello.is_none() && op != op::HELLO {
            self.greet()?;
        }
        let cancel = self.cancel.clone();
        let (code, body) = self.target().call(op, body, &cancel)?;
        self.deaf = false;
        if code == code::NOT_LOADED {
            self.hello = None;
        }
        // It went on, and word of that was lost.
        if code == code::NOT_HALTED && matches!(self.state, State::Halted(_)) {
            self.runs();
        }
        Ok((code, body))
    }

    /// Sends a request whose refusal has no body.
    pub(crate) fn ask<T: FromBytes>(&mut self, op: u32, body: &[u8]) -> Result<T, Error> {
        let (code, body) = self.call(op, body)?;
        if code != code::SUCCESS {
            return Err(self.refused(code));
        }
        request::body(&body).ok_or(Error::Reach(Reach::Malformed { op }))
    }

    /// Sends a request that is answered by a code alone.
    pub(crate) fn order(&mut self, op: u32, body: &[u8]) -> Result<(), Error> {
        match self.call(op, body)? {
            (code::SUCCESS, _) => Ok(()),
            (code, _) => Err(self.refused(code)),
        }
    }

    /// A refusal that has no numbers.
    pub(crate) fn refused(&self, code: u32) -> Error {
        Error::Refused(Refusal::Plain { code, debugger_mode: self.mode() == Mode::Debugger })
    }

    /// Who answers. In VMI mode it is asked afresh.
    pub(crate) fn greet(&mut self) -> Result<Hello, Error> {
        let hello: Hello = self.ask(op::HELLO, &[])?;
        if hello.protocol != PROTOCOL {
            return Err(Error::Reach(Reach::Protocol { theirs: hello.protocol }));
        }
        self.hello = Some(hello);
        self.book.of_load(hello.boot_id);
        Ok(hello)
    }

    /// Stops every core.
    pub(crate) fn pause(&mut self) -> Result<Halted, Error> {
        let halted: Halted = self.ask(op::PAUSE, &[])?;
        self.state = State::Halted(halted.core);
        self.names_for_places();
        Ok(halted)
    }

    /// Lets every core run.
    pub(crate) fn go(&mut self) -> Result<(), Error> {
        self.order(op::GO, &[])?;
        self.runs();
        Ok(())
    }

    /// Notes that another core is referred to.
    pub(crate) fn selected(&mut self, core: u32) {
        self.state = State::Halted(core);
        self.end_view();
    }

    /// Notes that the cores were let run by a request that halts them again.
    pub(crate) fn runs(&mut self) {
        self.state = State::Running;
        self.end_view();
    }

    /// One line about the machine that is debugged, for the beginning of a sitting.
    #[must_use]
    pub fn banner(&self) -> String {
        let name = self.target().name();
        match (self.mode(), &self.hello) {
            (Mode::Vmi, _) => format!("VMI mode on this machine ({name})"),
            (Mode::Debugger, Some(hello)) => {
                let state = if matches!(self.state, State::Halted(_)) { "halted" } else { "running" };
                format!("debugger mode over {name}: {}, {}, {state}", say::ascii(&hello.backend), say::cores(hello.cores))
            }
            (Mode::Debugger, None) => format!("debugger mode over {name}: nobody has answered yet"),
        }
    }

    /// Before the program ends: a halted debuggee is continued, so that nobody leaves a frozen machine behind by
    /// accident. `exit halted` has left no machine known as halted here.
    pub fn leave(&mut self) {
        self.attend();
        self.close_outputs();
        // Whatever ended the lines before must not end this one.
        self.cancel = self.cancel.for_the_last();
        if self.mode() != Mode::Debugger || !matches!(self.state, State::Halted(_)) {
            return;
        }
        let (word, message) = match self.go() {
            Ok(()) => ("continued", "the debuggee is continued (`exit halted` would have left it halted)".to_owned()),
            Err(error) => {
                ("not-continued", format!("the debuggee stays halted: {}", say::error(&error, &Line::new("")).message))
            }
        };
        let text = if self.look.json { answer::json_notice(word, &message) } else { message };
        self.console.print(&text);
    }

    /// Forgets that the machine is halted, so that [`Session::leave`] leaves it so, and tells root that it waits for nobody.
    pub(crate) fn leave_halted(&mut self) {
        if self.mode() == Mode::Debugger && matches!(self.state, State::Halted(_)) {
            // Nobody answers: then it has gone.
            let _ = self.call(op::ATTEND, Attend::default().as_bytes());
        }
        self.state = State::Unknown;
    }

    /// The thread under interception that commands refer to.
    pub(crate) fn active(&self) -> Option<Active> {
        self.active.map(|(active, _)| active)
    }

    /// Commands refer to this one from now on, and it is held or runs.
    pub(crate) fn refer_to(&mut self, active: Option<Active>, held: bool) {
        self.active = active.map(|active| (active, held));
    }

    /// Which machine is debugged.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.target().mode()
    }

    /// What it does, as far as is known.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Who answered last.
    pub(crate) fn hello(&self) -> Option<Hello> {
        self.hello
    }

    /// The target itself, for what is no request.
    pub(crate) fn target(&self) -> MutexGuard<'_, Box<dyn Target>> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of scripts and events.
    pub(crate) fn book(&mut self) -> &mut Book {
        &mut self.book
    }

    /// Names of the debugged kernel: a handle for who completes what is typed.
    #[must_use]
    pub fn names(&self) -> Names {
        self.names.clone()
    }

    /// Name and offset of an address, if names are known and it has one. Nothing is fetched over a link for it.
    pub(crate) fn place(&self, address: u64) -> Option<String> {
        let table = self.names.shown().ok()?.table;
        table.near(address).map(|near| near.to_string())
    }

    /// Says where a user's files may be kept that can be made again.
    pub fn keep_in(&mut self, folder: PathBuf) {
        self.cache = Some(folder);
    }

    /// That place.
    pub(crate) fn cache(&self) -> Option<PathBuf> {
        self.cache.clone()
    }

    /// Says which machine this is, for who does not mean the one that it runs on.
    pub fn is_on(&mut self, host: Texts) {
        self.host = Some(host);
    }

    /// What the machine of this prompt says of itself.
    pub(crate) fn host(&self) -> Texts {
        self.host.clone().unwrap_or_else(Texts::here)
    }

    /// The same for a command that can do nothing without them: as they are now.
    pub(crate) fn names_needed(&mut self) -> Result<Known, Error> {
        self.names_now().map_err(|nameless| Error::Names { nameless, span: None })
    }

    /// Where events can speak.
    pub(crate) fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// Where news go.
    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// Forgets who answered: the hypervisor was loaded or unloaded.
    pub(crate) fn forget(&mut self) {
        self.hello = None;
    }

    /// Where lines go.
    pub(crate) fn console(&mut self) -> &mut dyn Console {
        &mut *self.console
    }

    /// Runs `act` one script deeper.
    pub(crate) fn deeper<T>(&mut self, most: usize, act: impl FnOnce(&mut Self) -> T) -> Result<T, Error> {
        if self.script_depth >= most {
            return Err(Error::ScriptDepth(most));
        }
        self.script_depth += 1;
        let done = act(self);
        self.script_depth -= 1;
        Ok(done)
    }
}
